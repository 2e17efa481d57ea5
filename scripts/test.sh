#!/usr/bin/env bash
# All tests, cheapest first. A failing tier does not stop the later ones. The last line counts.
set -euo pipefail
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

usage() {
    cat <<'TEXT'
Usage: scripts/test.sh [--tier NAME]…

Runs the tests and prints "N passed, N failed" at the end. The tiers, in this order:

  formatting   cargo fmt --check
  lints        cargo clippy, warnings are errors; syntax of the scripts; rendered manifests
  it           what needs nothing: no rights, no network
  simulation   thousands of clusters in one process, everything going wrong (SIMULATION_SEEDS=4000)
  lab          real packets between network namespaces (root)
  cluster      a real Kubernetes control plane, nodes as network namespaces (root, Go)

  --tier NAME  only this tier; may be given several times

The first run on two cores takes about 50 minutes, a quarter of it to build Kubernetes and Helm once; later runs about 35.
TEXT
}

all=(formatting lints it simulation lab cluster)
tiers=()
while [ $# -gt 0 ]; do
    case $1 in
    --tier) tiers+=("${2-}") && shift $(($# > 1 ? 2 : 1)) ;;
    --tier=*) tiers+=("${1#*=}") && shift ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
[ ${#tiers[@]} -gt 0 ] || tiers=("${all[@]}")
wanted() { [[ " ${tiers[*]} " == *" $1 "* ]]; }
for tier in "${tiers[@]}"; do
    [[ " ${all[*]} " == *" $tier "* ]] || { echo "test.sh: no tier \"$tier\"" >&2 && usage >&2 && exit 2; }
done

formatting() { cargo fmt --check; }

# `--all-targets` leaves out the targets that plain `cargo test` leaves out, so these are named.
lints() {
    cargo clippy --locked --all-targets -- -D warnings &&
        cargo clippy --locked --test lab --test cluster -- -D warnings &&
        bash -n scripts/*.sh .ci/run && sh -n k3s/install.sh && sh -n kind/quickstart.sh && sh -n scripts/kubectl-lanlord &&
        scripts/render.sh --check
}

it() { cargo test --locked; }
# Optimised: ten times as many seeds in the same time.
simulation() { SIMULATION_SEEDS=${SIMULATION_SEEDS:-4000} cargo test --locked --profile fast --test it simulation; }
lab() { cargo test --locked --test lab; }

cluster() {
    local binary kube
    binary=$(scripts/build.sh) && kube=$(scripts/kube.sh) && scripts/tools.sh >/dev/null || return 1
    LANLORD_BIN=$binary KUBE_BIN=$kube cargo test --locked --test cluster
}

passed=0 failed=0 summary=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run TIER MINUTES: one tier with a time limit. Tests are counted by what cargo said; formatting and lints count as one each.
# A tier of tests that failed without a count (it did not build, it ran out of time), or that ran none, is one failure.
run() {
    local tier=$1 minutes=$2 begun=$SECONDS status=0 ok=0 bad=0
    wanted "$tier" || return 0
    step "$tier (at most $minutes minutes)"
    # A shell of its own, because the time limit is for commands and not for functions.
    timeout --kill-after=10 "${minutes}m" bash -euo pipefail -c "$(declare -f "$tier"); $tier" </dev/null 2>&1 | tee "$log" || status=$?
    read -r ok bad < <(awk '/^test result: / { ok += $4; bad += $6 } END { print ok + 0, bad + 0 }' "$log")
    case $tier in formatting | lints) [ "$status" -ne 0 ] || ok=1 ;; esac
    [ $((ok + bad)) -gt 0 ] && [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + ok)) failed=$((failed + bad))
    summary+=("$(printf '%-12s %5d passed %5d failed %5d s' "$tier" "$ok" "$bad" $((SECONDS - begun)))")
}

if wanted lab || wanted cluster; then
    need_root "this"
fi
need_rust
if wanted lab || wanted cluster; then
    need_commands ip:iproute2 nft:nftables iptables:iptables openssl:openssl curl:curl arping:iputils-arping setpriv:util-linux \
        /usr/lib/frr/bfdd:frr prometheus:prometheus
fi
# The image is packed, imported and run as on a node.
! wanted cluster || need_commands python3:python3 containerd:containerd runc:runc
# More opponents in the lab.
! wanted lab || need_commands bird:bird2 gobgpd:gobgpd
# The status page is looked at with a real browser.
! wanted cluster || need_commands chromium:chromium chromedriver:chromium-driver
! wanted cluster || need_go

run formatting 2
run lints 10
run it 15
run simulation 20
run lab 10
run cluster 45

printf '\n'
printf '%s\n' "${summary[@]}"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
