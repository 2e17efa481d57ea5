#!/usr/bin/env bash
# Prints Lanlord's figures, each beside a number to compare it with. Nothing is asserted: the machine decides too.
set -euo pipefail
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

usage() {
    cat <<'TEXT'
Usage: scripts/bench.sh [--count N] [--profile release|fast]

Measures in a cluster of scripts/cluster.sh, about 6 minutes after the builds: how fast a Service gets its address and its
first ARP answer, many Services at once, an edit of the configuration, a restart of all agents, what the API server is made to
write, memory, the size of the binary, and how fast ARP is answered beside the kernel's own answers. Needs root; best on a machine that does nothing else.

  --count N           Services at once, at most 10000 (default 1000); above 2000 without kube-proxy
  --profile release   measure what ships (default), or the quicker build of the tests
TEXT
}

count=1000 profile=release
while [ $# -gt 0 ]; do
    case $1 in
    --count) count=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --profile) profile=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

need_root "the benchmark"
need_rust
need_go
need_commands ip:iproute2 nft:nftables iptables:iptables openssl:openssl curl:curl python3:python3

binary=$(scripts/build.sh --profile "$profile")
KUBE_BIN=$(scripts/kube.sh) && export KUBE_BIN
dir=$(mktemp -d "${TMPDIR:-/tmp}/lanlord-bench.XXXXXX")
finish() {
    local status=$?
    trap - EXIT INT TERM
    scripts/cluster.sh down "$dir" || true
    [ "$status" -ne 0 ] || rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

step "Starting the cluster"
scripts/cluster.sh up "$dir" --prefix "bench$$"
kubectl() { scripts/cluster.sh kubectl "$dir" "$@" >/dev/null; }
kubectl apply -f manifests/lanlord.yaml
scripts/cluster.sh backend "$dir" web --port 8080
# The Python of the system: a version manager's wrapper would be measured too.
python=$(PATH=/usr/bin:$PATH command -v python3)
measure() {
    "$KUBE_BIN/kubectl" --kubeconfig "$dir/kubeconfig" config view --raw -o json |
        scripts/cluster.sh exec "$dir" cl "$python" "$ROOT/scripts/bench.py" "$@" \
            --namespaces "$(printf "bench$$-%s " cp n1 n2 n3 cl)" --count "$count"
}

step "A minute of rest without Lanlord, for comparison"
baseline=$(measure baseline)
# A second, wider network on the same cables: room for some thousand Services.
for place in n1=11 n2=12 n3=13 cl=100; do
    scripts/cluster.sh exec "$dir" "${place%=*}" ip addr add "10.78.0.${place#*=}/16" dev eth0
done
for node in n1 n2 n3; do scripts/cluster.sh agent start "$dir" "$node" -- "$binary" run --config configmap:lanlord/lanlord; done
kubectl create configmap lanlord -n lanlord --from-literal addresses=10.78.8.0-10.78.63.254
kubectl wait -n lanlord --for=condition=ready pod --selector=app=lanlord --timeout=60s
sleep 10

if [ "$count" -gt 2000 ]; then
    note "kube-proxy is stopped: three of them with so many Services leave two cores nothing for anybody else"
    for node in n1 n2 n3; do scripts/cluster.sh proxy stop "$dir" "$node"; done
fi

step "Measuring: a minute of rest, 50 Services one by one, then $count at once"
measure figures --baseline "$baseline"

step "All agents killed and started again"
begun=$(date +%s.%N)
for node in n1 n2 n3; do scripts/cluster.sh agent kill "$dir" "$node"; done
for node in n1 n2 n3; do scripts/cluster.sh agent start "$dir" "$node" -- "$binary" run --config configmap:lanlord/lanlord; done
measure restarted --begun "$begun"
printf '%-52s %22s   %s\n' "Size of the static binary ($profile)" "$(stat -c %s "$binary" | awk '{ printf "%.1f MB", $1 / 1e6 }')" "MetalLB 0.16: 64 + 67 MB"

scripts/cluster.sh down "$dir"
step "ARP answers, ours and the kernel's in turns"
scripts/bench-arp.sh
