#!/usr/bin/env bash
# The whole story on one screen: a real control plane, three nodes, one line of configuration, a Service, its address,
# and what happens when the node that answers for it leaves.
set -euo pipefail
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

usage() {
    cat <<'TEXT'
Usage: scripts/demo.sh [--keep]

Shows Lanlord at work in a real Kubernetes cluster on a LAN of its own, all of it in network namespaces of this machine.
Needs root, Rust and Go; installs the few Debian packages it misses; removes everything else at the end. No Docker.

  --keep   at the end, open a shell on the client with kubectl; the cluster goes when you leave the shell.
           Without a terminal the cluster stays, and the last line says how to remove it.
TEXT
}

keep=
case ${1-} in
'') ;;
--keep) keep=yes ;;
--help | -h) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac

say() { printf '%s\n' "$*"; }

# forecast: how many minutes are ahead, from what is there already.
forecast() {
    local minutes=1 parts='1 for the demo itself'
    if ! compgen -G "${CARGO_TARGET_DIR:-target}/*/fast/lanlord" >/dev/null; then
        minutes=$((minutes + 5)) parts+=', about 5 to build Lanlord'
    fi
    if [ -z "${KUBE_BIN-}" ] && ! compgen -G "${XDG_CACHE_HOME:-$HOME/.cache}/lanlord/*/kube-apiserver" >/dev/null; then
        minutes=$((minutes + 8)) parts+=', up to 8 to get or build Kubernetes (once; then it is kept)'
    fi
    if [ "$minutes" = 1 ]; then say "It takes about a minute."; else say "It takes about $minutes minutes: $parts."; fi
}

cluster() { "$ROOT/scripts/cluster.sh" "$@"; }
on_client() { cluster exec "$dir" cl "$@"; }

# show COMMAND…: a command as a person types it on the client, and what it prints.
show() {
    printf '\n    $ %s\n' "$*"
    on_client "$@" 2>&1 | sed 's/^/    /'
}

finish() {
    local status=$?
    trap - EXIT INT TERM
    [ "$status" -ne 130 ] || say ''
    cluster down "$dir" || true
    if [ "$status" -eq 0 ] || [ "$status" -eq 130 ]; then
        rm -rf "$dir"
    else
        tail -n 5 "$dir"/log/agent-*.log >&2 2>/dev/null || true
        printf '\nThe demo failed. What the programs said is in %s/log; the cluster is gone.\n' "$dir" >&2
    fi
    exit "$status"
}

# The agents run as their container does: user 65532 with no capability but NET_RAW, which comes with the file.
start_agent() {
    # shellcheck disable=SC2016 # expanded on the node
    cluster agent start "$dir" "$1" -- sh -c 'chmod 0777 /run/lanlord && exec setpriv --reuid 65532 --regid 65532 --clear-groups \
        --bounding-set=-all,+net_raw "$0" run --config configmap:lanlord/lanlord' "$dir/lanlord"
}

answers() { on_client curl -fsS --max-time 1 "http://$address/"; }

# The node that answers for the address, as the client sees it: by the hardware address in its neighbour table.
answering_node() {
    local mac
    mac=$(on_client ip -4 neigh show "$address" | grep -o 'lladdr [^ ]*')
    printf 'n%d' $((16#${mac##*:} - 10))
}

# knock: asks for the page every 20 ms until the file $dir/knock is gone; a line a request.
knock() {
    # shellcheck disable=SC2016 # expanded inside the namespace
    on_client bash -c 'while [ -e "$1" ]; do
        begun=$(date +%s%3N)
        if curl -fsS --max-time 0.3 "http://$2/" >/dev/null 2>&1; then echo "$begun ok"; else echo "$begun lost"; fi
        sleep 0.02
    done' - "$dir/knock" "$address" >"$dir/knocks"
}

knocks() {
    awk '$2 == "ok" { if (last && $1 - last > gap) gap = $1 - last; last = $1 } $2 == "lost" { lost++ }
        END { printf "%d requests, %d without an answer, longest time between two answers %d ms", NR, lost, gap }' "$dir/knocks"
}

cat <<'TEXT'
Lanlord: a demo.

It starts a real Kubernetes control plane and three nodes (n1, n2, n3) on a small LAN inside this machine, runs Lanlord on
each node, and plays a laptop on that LAN that knows nothing of Kubernetes. Your own network is not touched.

TEXT
need_root "the demo"
forecast
need_rust
need_go
need_commands ip:iproute2 nft:nftables iptables:iptables openssl:openssl curl:curl arping:iputils-arping setcap:libcap2-bin setpriv:util-linux

binary=$(scripts/build.sh)
step "Looking for Kubernetes"
KUBE_BIN=$(scripts/kube.sh) && export KUBE_BIN
note "$KUBE_BIN"

dir=$(mktemp -d "${TMPDIR:-/tmp}/lanlord-demo.XXXXXX")
chmod 755 "$dir"
trap finish EXIT
trap 'exit 130' INT TERM

step "Starting the cluster: control plane, three nodes, one laptop"
cluster up "$dir" --prefix "demo$$"
install -m 755 "$binary" "$dir/lanlord"
setcap cap_net_raw+p "$dir/lanlord"
cp -r manifests "$dir/"
show kubectl get nodes

step "Installing Lanlord: one file"
cd "$dir" # so that the commands read as they would in the project's folder
show kubectl apply -f manifests/lanlord.yaml
note "There are no container images here: the demo starts in each of the three pods what the image would hold."
for node in n1 n2 n3; do start_agent "$node"; done
show kubectl wait --namespace lanlord --for=condition=ready pod --selector=app=lanlord --timeout=60s

step "The whole configuration: one line with free addresses of the LAN"
show kubectl create configmap lanlord -n lanlord --from-literal addresses=10.77.0.240-10.77.0.250

step "An application, and a Service of type LoadBalancer"
show kubectl create deployment hello --image=hello --replicas=3 --port=8080
on_client kubectl wait --timeout=30s --for=condition=Available deployment/hello >/dev/null || fail "the application did not start"
show kubectl expose deployment hello --port=80 --target-port=8080 --type=LoadBalancer
on_client kubectl wait --timeout=30s --for=jsonpath='{.status.loadBalancer.ingress[0].ip}' service/hello >/dev/null ||
    fail "the Service got no address within 30 s"
address=$(on_client kubectl get service hello -o jsonpath='{.status.loadBalancer.ingress[0].ip}')
printf '\n    The address is %s.\n' "$address"
show kubectl get svc hello

step "The laptop asks for the page"
wait_for 20 answers || fail "$address does not answer on the LAN"
show curl -s "http://$address/"
show arping -c 1 -I eth0 "$address"
owner=$(answering_node)
printf '\n    That hardware address is the one of node %s.\n' "$owner"

step "What Kubernetes shows"
show kubectl describe svc hello
show kubectl get leases -n lanlord

step "The agent of $owner stops in good order, while the laptop asks again and again"
: >"$dir/knock"
knock &
knocker=$!
sleep 1
cluster agent stop "$dir" "$owner"
sleep 3
rm "$dir/knock"
wait "$knocker" || true
wait_for 20 answers || fail "$address does not answer after $owner left"
printf '\n    %s.\n' "$(knocks)"
new=$(answering_node)
[ "$new" != "$owner" ] || fail "the laptop still sends to $owner"
printf '    Now node %s answers for %s.\n' "$new" "$address"
show curl -s "http://$address/"
show kubectl get leases -n lanlord
show kubectl events --for svc/hello

step "The agent of $owner comes back. The address stays where it is, so that no connection breaks twice"
start_agent "$owner"
on_client kubectl wait -n lanlord --timeout=30s --for=jsonpath='{.spec.holderIdentity}' "lease/node.$owner" >/dev/null ||
    fail "the agent of $owner did not join again"
show kubectl get leases -n lanlord
printf '\n    Node %s answers for %s.\n' "$(answering_node)" "$address"

if [ -z "$keep" ]; then
    step "Done. Removing everything again; with --keep you get a shell here instead"
elif [ -t 0 ] && [ -t 1 ]; then
    step "A shell on the laptop. Try: kubectl get svc, curl $address, arping -I eth0 $address. Leave it with exit"
    note "logs of the agents: $dir/log. Stop one: $ROOT/scripts/cluster.sh agent stop $dir n1"
    on_client env PS1='laptop \w\$ ' bash --norc || true
else
    trap - EXIT
    step "The cluster runs on. A shell on the laptop: $ROOT/scripts/cluster.sh exec $dir cl bash"
    note "Remove it: $ROOT/scripts/cluster.sh down $dir && rm -r $dir"
fi
