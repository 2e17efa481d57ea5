#!/usr/bin/env bash
# Prints what BGP costs and how fast it is, beside GoBGP and FRR in the same run. Nothing is asserted: the machine decides too.
set -euo pipefail
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

usage() {
    cat <<'TEXT'
Usage: scripts/bench-bgp.sh [--only lab|cluster] [--profile release|fast]

Between network namespaces, about 7 minutes after the builds: 10,000 routes announced to FRR and to BIRD and withdrawn again, beside
GoBGP; memory with 10,000 routes and four peers, beside GoBGP; a link cut under BFD until the router's kernel has no route by it,
beside FRR as the speaker. In a cluster, 6 minutes: from a Service that is created to its route in the router's kernel, and what a client
loses while agents are killed and updated. Needs root; best on a machine that does nothing else.

  --only lab|cluster  only that half
  --profile …         measure what ships in the cluster (release, default), or the quicker build of the tests
TEXT
}

only='' profile=release
while [ $# -gt 0 ]; do
    case $1 in
    --only) only=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --profile) profile=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

need_root "the benchmark"
need_rust
need_commands ip:iproute2 nft:nftables /usr/lib/frr/bfdd:frr bird:bird2 gobgpd:gobgpd

if [ "$only" != cluster ]; then
    step "Routes, memory, links cut"
    # PROFILE=dev for the build that is there.
    cargo test --locked --profile "${PROFILE:-fast}" --test lab -- --ignored --test-threads 1 --nocapture bench_bgp::
fi
if [ "$only" != lab ]; then
    need_go
    need_commands iptables:iptables openssl:openssl curl:curl
    LANLORD_BIN=$(scripts/build.sh --profile "$profile") KUBE_BIN=$(scripts/kube.sh) && export LANLORD_BIN KUBE_BIN
    step "A cluster: Services to routes, restarts"
    cargo test --locked --test cluster -- --ignored --test-threads 1 --nocapture bench_bgp::
fi
