#!/usr/bin/env bash
# Prints what a client loses when nodes, agents and the API server are lost, beside MetalLB's figures, and draws it.
# Nothing is asserted: the machine decides too.
set -euo pipefail
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

usage() {
    cat <<'TEXT'
Usage: scripts/bench-failover.sh [--runs N] [--only NAME]… [--nodes N]… [--svg FILE] [--profile release|fast] [--busy]

In a cluster of scripts/cluster.sh a client sends a datagram every millisecond and holds 20 TCP connections, while

  power    the node that owns the address is cut off from the LAN; then it is connected again
  api      … together with the API server
  stall    … while the API server hangs: it accepts connections and answers nothing
  kill     the agent there is killed (SIGKILL) and starts again a second later, as a container does
  update   all agents are replaced in place, as an update of the DaemonSet does
  drain    the node is drained

What the client lost is printed as minimum, median, p99 and maximum; then what the agents send, use and write at rest. Takes
about 25 minutes with 20 runs each. Needs root; best on a machine that does nothing else.

  --runs N       runs of each (default 20, or RUNS)
  --only NAME    only this; may be given several times. `rest` is the part after the runs
  --nodes N      for the agents at rest: also a cluster of N nodes; may be given several times (default 16; 0 for none)
  --svg FILE     where to draw it (default docs/failover.svg, when all of them ran)
  --profile …    measure what ships (release, default), or the quicker build of the tests
  --busy         instead: keeps all cores busy for 30 minutes (or MINUTES) and counts who is taken for lost
TEXT
}

runs=${RUNS:-20} only=() nodes=() svg='' profile=release busy=''
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --only) only+=("${2-}") && shift $(($# > 1 ? 2 : 1)) ;;
    --nodes) nodes+=("${2-}") && shift $(($# > 1 ? 2 : 1)) ;;
    --svg) svg=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --profile) profile=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --busy) busy=yes && shift ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
[ ${#nodes[@]} -gt 0 ] || nodes=(16)
if [ ${#only[@]} -eq 0 ]; then
    only=(power api stall kill update drain rest)
    svg=${svg:-docs/failover.svg}
fi

need_root "the benchmark"
need_rust
need_go
need_commands ip:iproute2 nft:nftables iptables:iptables openssl:openssl curl:curl python3:python3

binary=$(scripts/build.sh --profile "$profile")
KUBE_BIN=$(scripts/kube.sh) && export KUBE_BIN
dir=$(mktemp -d "${TMPDIR:-/tmp}/lanlord-failover.XXXXXX")
# The Python of the system: a version manager's wrapper would be measured too.
python=$(PATH=/usr/bin:$PATH command -v python3)
load=()
finish() {
    local status=$?
    trap - EXIT INT TERM
    [ ${#load[@]} -eq 0 ] || kill "${load[@]}" 2>/dev/null || true
    scripts/cluster.sh down "$dir" || true
    if [ "$status" -eq 0 ]; then rm -rf "$dir"; else note "logs: $dir/log"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# cluster NODES: one that runs Lanlord. Only the first two announce, the Pods are on the last: what is lost is never a Pod.
cluster() {
    local node
    step "Starting a cluster of $1 nodes"
    scripts/cluster.sh up "$dir" --prefix "bf$$" --nodes "$1"
    scripts/cluster.sh kubectl "$dir" apply -f manifests/lanlord.yaml >/dev/null
    scripts/cluster.sh backend "$dir" web --nodes "n$1"
    scripts/cluster.sh kubectl "$dir" apply -f - >/dev/null <<'TEXT'
apiVersion: v1
kind: ConfigMap
metadata: {name: lanlord, namespace: lanlord}
data:
  metallb.yaml: |
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: lan}
    spec: {addresses: [10.77.0.240-10.77.0.245]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: lan}
    spec: {nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n1, n2]}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  {type: LoadBalancer, selector: {app: web}, ports: [{name: tcp, port: 80}, {name: udp, port: 80, protocol: UDP}]}
TEXT
    for node in $(seq -f n%g "$1"); do
        scripts/cluster.sh agent start "$dir" "$node" -- "$binary" run --config configmap:lanlord/lanlord --health-socket /run/lanlord/health.sock
    done
    scripts/cluster.sh kubectl "$dir" wait --for=condition=lanlord.dev/Announced svc/web --timeout=30s >/dev/null
}

# measure ARGUMENT…
measure() { "$python" scripts/bench_failover.py --dir "$dir" --prefix "bf$$" --binary "$binary" "$@"; }

cluster 3
if [ -n "$busy" ]; then
    step "All cores busy for ${MINUTES:-30} minutes"
    for _ in $(seq $((2 * $(nproc)))); do
        while :; do :; done &
        load+=($!)
    done
    measure busy --minutes "${MINUTES:-30}"
    exit
fi
runs_of=()
for name in "${only[@]}"; do [ "$name" = rest ] || runs_of+=("$name"); done
if [ ${#runs_of[@]} -gt 0 ]; then
    step "Measuring: $runs runs each"
    measure runs --runs "$runs" --only "${runs_of[@]}" ${svg:+--svg "$svg"}
    [ -z "$svg" ] || note "drawn: $svg"
fi
[[ " ${only[*]} " == *" rest "* ]] || exit 0
step "At rest: a minute"
measure rest
for count in "${nodes[@]}"; do
    [ "$count" -gt 0 ] || continue
    scripts/cluster.sh down "$dir"
    cluster "$count"
    step "At rest: a minute"
    measure rest
done
