#!/usr/bin/env bash
# A real Kubernetes cluster on a real LAN, all of it in network namespaces of this machine. No Docker, no virtual machine.
#
#                       bridge br0 in namespace PREFIX-sw
#        ┌──────────────────┬───────┴──────┬──────────────┬─────────────┐
#   PREFIX-cp          PREFIX-n1      PREFIX-n2      PREFIX-n3      PREFIX-cl
#   10.77.0.2          10.77.0.11     10.77.0.12     10.77.0.13     10.77.0.100
#   fd77::2            fd77::11       fd77::12       fd77::13       fd77::100
#   etcd, API server,  kube-proxy, nodelet, Pods (a namespace       the client: a machine of
#   controllers,       each: 10.244.1.2, fd44:0:0:1::2 …),          the LAN that knows nothing
#   scheduler          lanlord on the host's network                of Kubernetes
#
# And the router PREFIX-gw (10.77.0.1, fd77::1), next hop of all nodes, with a network behind it: 10.78.0.0/24, fd78::/64 and there
# PREFIX-far (10.78.0.100, fd78::100), a client that reaches Services only by routes that somebody has told the router.
#
# Everything but the kubelet is genuine; tests/cluster/kube/nodelet has its duties and says why. Nothing appears in the
# machine's own namespace, so clusters of different prefixes run side by side. All state is in the directory DIR.
#
# Measured on two cores (Debian 12, seven runs): `up` 3.9 to 5.1 s until all nodes are Ready, `down` 0.06 s; `agent start`
# 0.5 s, `backend` on three nodes 0.8 s, `control-plane start` 2.5 s. Three nodes with everything take 410 MB.
set -euo pipefail
shopt -s inherit_errexit
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

usage() {
    cat <<'TEXT'
Usage: scripts/cluster.sh COMMAND DIR …      DIR holds the state of one cluster; it must not be under /run

The cluster
  up DIR [--prefix lc] [--nodes 3]         starts it; returns when all nodes are Ready
         [--proxy-mode nftables|iptables]  how kube-proxy works; nftables if not given
         [--proxy-mode-of NODE=MODE]       the same for one node; may be repeated
         [--two-links NODE]                a second link eth1 in the same subnet (10.77.0.111 for n1); may be repeated
         [--mld-snooping]                  the bridge forwards multicast only to who asked for it
         [--grace SECONDS]                 a node silent for so long is NotReady; 8 if not given, Leases are renewed 8 times as often
         [--no-gateway]                    nobody is 10.77.0.1 and fd77::1; without this place gw is, the router to place far
  down DIR                                 kills all its processes, removes its namespaces; logs stay in DIR/log
  exec DIR WHERE COMMAND…                  in a namespace: sw, cp, cl, gw, far, n1 …; with kubectl on the path and KUBECONFIG set
  kubectl DIR ARGUMENT…                    as administrator, on the control plane
  control-plane stop|start DIR             all of it, at once (SIGKILL); what etcd stored stays
  control-plane kill DIR                   the API server alone (SIGKILL); `start` brings it back
  control-plane pause|resume DIR           the API server hangs: connections are accepted, nothing is answered

What runs on it
  agent start DIR NODE [--in-cluster] -- COMMAND…
                                           COMMAND on NODE's network as the container of the Pod that DaemonSet lanlord/lanlord
                                           has there (without a DaemonSet: of a Pod made now). It has that Pod's token for
                                           ServiceAccount lanlord, as a kubeconfig, or with --in-cluster as a Pod finds it,
                                           and NODE_NAME. Output: DIR/log/agent-NODE.log; /run/lanlord is DIR/agent/NODE/run/lanlord
  agent stop|kill|pause|resume DIR NODE    SIGTERM (and waits), SIGKILL, SIGSTOP, SIGCONT
  agent beside DIR NODE [--in-cluster] -- COMMAND…
                                           a second instance beside the first, as an update with surge starts it; its /run is
                                           DIR/agent/NODE/beside/run
  agent succeed DIR NODE                   the first one is stopped (SIGTERM), the second one is the agent of the node now
  backend DIR NAME [--nodes n1,n2] [--port 80] [--namespace default] [--labels app=NAME]
                                           a Pod NAME-NODE on each node that answers HTTP with who it is and whom it sees

What goes wrong
  kubelet pause|resume DIR NODE            the node falls silent towards the API server; its Pods live on
  proxy stop|start DIR NODE                kube-proxy is gone (its rules stay), and back
  link down|up DIR NODE [eth0]             carrier lost, and back
  link cut|heal DIR NODE [eth0]            nothing passes any more, with carrier; and back
  link add|delete DIR NODE eth1            a link appears, vanishes
  api cut|heal DIR NODE                    this node alone does not reach the API server
  lan block|unblock DIR A B                B hears nothing from A any more, neither ARP; A still hears B
  lan filter|pass DIR PORT                 the switch drops UDP to this port, and nothing else
  power off DIR PLACE…                     nodes or cp: all at once they are off the LAN (with carrier), then their processes are
                                           killed, Pods and agent too. What an agent kept in memory (/run/lanlord) is gone
  power on DIR PLACE…                      they boot, with a kernel that remembers nothing. `agent start` is for the caller to do
TEXT
}

fail() { echo "cluster.sh: $*" >&2 && exit 1; }

[[ ${1-} != --help && ${1-} != -h ]] || { usage && exit 0; }
[ $# -ge 2 ] || { usage >&2 && exit 2; }
here=$(cd "$(dirname "$0")" && pwd)

# ---------------------------------------------------------------------------------------------------- processes

# in_ns WHERE COMMAND…
in_ns() { ip netns exec "$PREFIX-$1" "${@:2}"; }

# start NAME WHERE COMMAND…: in the background; what it prints goes to log/NAME.log, its process id to run/NAME.pid.
start() {
    setsid ip netns exec "$PREFIX-$2" "${@:3}" >>"$DIR/log/${1%.beside}.log" 2>&1 </dev/null &
    echo $! >"$DIR/run/$1.pid"
}

# alive PID: not gone and not a zombie that nobody has collected yet.
alive() { [ -n "${1-}" ] && grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

# pid NAME: the process id, if that process lives.
pid() {
    local pid
    pid=$(cat "$DIR/run/$1.pid" 2>/dev/null) && alive "$pid" && echo "$pid"
}

# signal SIGNAL NAME…: a killed process is gone when this returns.
signal() {
    local name pid
    for name in "${@:2}"; do
        pid=$(pid "$name") || fail "$name is not running"
        kill "-$1" "$pid"
        [ "$1" != KILL ] || await 5 "$name to end" dead "$pid"
    done
}

# await SECONDS WHAT COMMAND…
await() {
    local end=$((SECONDS + $1)) what=$2
    until "${@:3}" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "waited $1 s for $what; see $DIR/log"
        sleep 0.05
    done
}

dead() { ! alive "$1"; }

kubectl() { KUBECONFIG=$DIR/kubeconfig in_ns cp "$KUBE/kubectl" "$@"; }

# ---------------------------------------------------------------------------------------------------- the network

number() { echo "${1#n}"; }

# host PLACE: the last part of its addresses.
host() {
    case $1 in
    gw) echo 1 ;;
    cp) echo 2 ;;
    cl) echo 100 ;;
    n*) echo $((10 + $(number "$1"))) ;;
    esac
}

# add_link WHERE INTERFACE HOST: a cable from there to the bridge. Both ends are made where they belong.
add_link() {
    ip -n "$PREFIX-$1" -batch - <<TEXT
link add $2 address 02:77:00:00:0${2#eth}:$(printf %02x "$3") type veth peer name $1-$2 netns $PREFIX-sw
addr add 10.77.0.$3/24 dev $2
addr add fd77::$3/64 dev $2 nodad
link set $2 up
TEXT
    ip -n "$PREFIX-sw" link set "$1-$2" master br0 up
}

# add_place WHERE: a machine on the LAN.
add_place() {
    ip netns add "$PREFIX-$1"
    # `default` is what links made later begin with. Without duplicate address detection addresses work at once.
    in_ns "$1" sh -c 'cd /proc/sys/net/ipv6/conf/default && echo 0 | tee accept_dad dad_transmits router_solicitations accept_ra' >/dev/null
    ip -n "$PREFIX-$1" link set lo up
    add_link "$1" eth0 "$(host "$1")"
}

# add_node NODE: a machine with its routes to the Pods of the others.
add_node() {
    local node=$1 other link
    add_place "$node"
    for link in $TWO_LINKS; do [ "$link" != "$node" ] || link add "$node" eth1; done
    {
        # Without a default route a process on the node could not reach a ClusterIP.
        echo "route add default via 10.77.0.1"
        echo "route add default via fd77::1"
        for other in $NODES; do
            [ "$other" = "$node" ] && continue
            echo "route add 10.244.$(number "$other").0/24 via 10.77.0.$(host "$other")"
            echo "route add fd44:0:0:$(number "$other")::/64 via fd77::$(host "$other")"
        done
    } | ip -n "$PREFIX-$node" -batch -
    [ "$node" = cp ] || forward "$node"
}

# add_router: the place gw and the network behind it. Of several ways to one address it takes one by source port.
add_router() {
    add_place gw && forward gw
    in_ns gw sh -c 'echo 1 | tee /proc/sys/net/ipv4/fib_multipath_hash_policy /proc/sys/net/ipv6/fib_multipath_hash_policy' >/dev/null
    ip netns add "$PREFIX-far"
    ip -n "$PREFIX-far" link set lo up
    ip -n "$PREFIX-gw" -batch - <<TEXT
link add eth1 type veth peer name eth0 netns $PREFIX-far
addr add 10.78.0.1/24 dev eth1
addr add fd78::1/64 dev eth1 nodad
link set eth1 up
TEXT
    ip -n "$PREFIX-far" -batch - <<TEXT
addr add 10.78.0.100/24 dev eth0
addr add fd78::100/64 dev eth0 nodad
link set eth0 up
route add default via 10.78.0.1
route add default via fd78::1
TEXT
}

forward() { in_ns "$1" sh -c 'echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding' >/dev/null; }

network_up() {
    local node
    ip netns add "$PREFIX-sw"
    ip -n "$PREFIX-sw" link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
    if [ -n "$SNOOPING" ]; then
        ip -n "$PREFIX-sw" link set br0 type bridge mcast_query_interval 500 mcast_query_response_interval 100 \
            mcast_startup_query_interval 100 mcast_snooping 1 mcast_querier 1
    fi
    ip -n "$PREFIX-sw" link set br0 up
    # A switch does not filter what it forwards.
    # shellcheck disable=SC2016 # for the inner shell
    in_ns sw sh -c 'for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 >$f; done'
    add_place cl
    [ -z "$GATEWAY" ] || add_router
    for node in cp $NODES; do add_node "$node"; done
}

link() {
    local port=$2-${3:-eth0}
    case $1 in
    add) add_link "$2" "$3" $((100 * ${3#eth} + $(host "$2"))) ;;
    delete) ip -n "$PREFIX-$2" link delete "$3" ;;
    down | up) ip -n "$PREFIX-sw" link set "$port" "$1" ;;
    cut) ip netns exec "$PREFIX-sw" bridge link set dev "$port" state 0 ;;
    heal) ip netns exec "$PREFIX-sw" bridge link set dev "$port" state 3 ;;
    *) fail "link: add, delete, down, up, cut or heal, not \"$1\"" ;;
    esac
}

api() {
    local address
    case $1 in
    cut)
        for address in "ip 10.77.0.$(host "$2")" "ip6 fd77::$(host "$2")"; do
            cat <<TEXT
add table inet cut-$2
add chain inet cut-$2 input { type filter hook input priority 0; }
add chain inet cut-$2 output { type filter hook output priority 0; }
add rule inet cut-$2 input ${address% *} saddr ${address#* } drop
add rule inet cut-$2 output ${address% *} daddr ${address#* } drop
TEXT
        done | in_ns cp nft -f -
        ;;
    heal) in_ns cp nft delete table inet "cut-$2" ;;
    *) fail "api: cut or heal, not \"$1\"" ;;
    esac
}

# The switch is where a direction can be named: a node's own filter would not stop ARP, nor what its raw sockets hear.
lan() {
    case $1 in
    block) switch_drops "block-$2-$3" "iifname \"$2-*\" oifname \"$3-*\"" ;;
    unblock) in_ns sw nft delete table bridge "block-$2-$3" ;;
    filter) switch_drops "filter-$2" "udp dport $2" ;;
    pass) in_ns sw nft delete table bridge "filter-$2" ;;
    *) fail "lan: block, unblock, filter or pass, not \"$1\"" ;;
    esac
}

# switch_drops TABLE MATCH
switch_drops() {
    in_ns sw nft -f - <<TEXT
add table bridge $1
add chain bridge $1 forward { type filter hook forward priority 0; }
add rule bridge $1 forward $2 drop
TEXT
}

# ports PLACE: those of the switch where its cables end.
ports() { ip -n "$PREFIX-sw" -o link show type veth | sed -n "s/^[0-9]*: \($1-[^@:]*\).*/\1/p"; }

power() {
    case $1 in
    off) power_off "${@:2}" ;;
    on) power_on "${@:2}" ;;
    *) fail "power: off or on, not \"$1\"" ;;
    esac
}

# Off the LAN first, all in one moment: the dying processes must not say goodbye.
power_off() {
    local place pid pids
    for place in "$@"; do ports "$place"; done | sed 's/.*/link set dev & state 0/' | in_ns sw bridge -batch -
    for place in "$@"; do
        pids=$(ip netns pids "$PREFIX-$place")
        # shellcheck disable=SC2086 # a list of words
        [ -z "$pids" ] || kill -KILL $pids
        # shellcheck disable=SC2086
        for pid in $pids; do await 5 "the processes of $place to end" dead "$pid"; done
        rm -rf "$DIR/agent/$place/run/lanlord" "$DIR/agent/$place/beside"
    done
}

power_on() {
    local place port
    for place in "$@"; do
        for port in $(ports "$place"); do ip -n "$PREFIX-sw" link delete "$port"; done
        ip netns delete "$PREFIX-$place"
        add_node "$place"
    done
    [[ " $* " != *" cp "* ]] || control_plane_start
    for place in "$@"; do
        [ "$place" = cp ] || { nodelet_start "$place" && kube_proxy_start "$place"; }
    done
}

# ---------------------------------------------------------------------------------------------------- certificates

# certificate NAME SUBJECT [EXTENSION]
certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -days 365 -out "$1.crt" \
        -extfile <(echo "${3:-extendedKeyUsage=clientAuth}") 2>/dev/null
}

# kubeconfig FILE CREDENTIALS: for the API server's address on the LAN.
kubeconfig() {
    cat >"$1" <<TEXT
apiVersion: v1
kind: Config
current-context: lab
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
clusters: [{name: lab, cluster: {server: "https://10.77.0.2:6443", certificate-authority-data: $(base64 -w0 "$DIR/pki/ca.crt")}}]
users: [{name: lab, user: {$2}}]
TEXT
}

# certified FILE NAME: a kubeconfig with the certificate of that name.
certified() { kubeconfig "$1" "client-certificate-data: $(base64 -w0 "$DIR/pki/$2.crt"), client-key-data: $(base64 -w0 "$DIR/pki/$2.key")"; }

pki_up() {
    local node name
    cd "$DIR/pki"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 365 -subj /CN=lab 2>/dev/null
    openssl ecparam -name prime256v1 -genkey -noout -out sa.key
    openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
    certificate server /CN=kube-apiserver \
        "subjectAltName=DNS:kubernetes.default.svc,IP:127.0.0.1,IP:::1,IP:10.77.0.2,IP:fd77::2,IP:10.96.0.1,IP:fd96::1"
    certificate admin /O=system:masters/CN=admin
    for name in kube-controller-manager kube-scheduler kube-proxy; do certificate "$name" "/CN=system:$name" && certified "$name.kubeconfig" "$name"; done
    for node in $NODES; do certificate "$node" "/O=system:nodes/CN=system:node:$node"; done
    certified "$DIR/kubeconfig" admin
}

# ---------------------------------------------------------------------------------------------------- Kubernetes

SERVICE_CIDRS=10.96.0.0/16,fd96::/112
POD_CIDRS=10.244.0.0/16,fd44::/56
CONTROLLERS=serviceaccount-controller,serviceaccount-token-controller,root-ca-certificate-publisher-controller
CONTROLLERS+=,endpoints-controller,endpointslice-controller,namespace-controller,node-lifecycle-controller,taint-eviction-controller
CONTROLLERS+=,garbage-collector-controller,daemonset-controller,deployment-controller,replicaset-controller,clusterrole-aggregation-controller

# The parts may start in any order: each retries until what it needs is there.
control_plane_start() {
    pid etcd >/dev/null || start etcd cp "$KUBE/etcd" --name lab --data-dir "$DIR/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster lab=http://127.0.0.1:2380
    pid kube-apiserver >/dev/null || start kube-apiserver cp "$KUBE/kube-apiserver" \
        --bind-address=:: --advertise-address=10.77.0.2 --secure-port=6443 --etcd-servers=http://127.0.0.1:2379 \
        --client-ca-file="$DIR/pki/ca.crt" --tls-cert-file="$DIR/pki/server.crt" --tls-private-key-file="$DIR/pki/server.key" \
        --service-account-key-file="$DIR/pki/sa.pub" --service-account-signing-key-file="$DIR/pki/sa.key" \
        --service-account-issuer=https://kubernetes.default.svc --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
        --service-cluster-ip-range="$SERVICE_CIDRS" --event-ttl=15m --allow-privileged=true --profiling=false --shutdown-delay-duration=0s
    # Its default of 20 requests a second would delay the first ServiceAccount by seconds.
    pid kube-controller-manager >/dev/null || start kube-controller-manager cp "$KUBE/kube-controller-manager" \
        --kubeconfig="$DIR/pki/kube-controller-manager.kubeconfig" --leader-elect=false --use-service-account-credentials=true \
        --root-ca-file="$DIR/pki/ca.crt" --service-account-private-key-file="$DIR/pki/sa.key" --bind-address=127.0.0.1 \
        --service-cluster-ip-range="$SERVICE_CIDRS" --node-monitor-period=1s --node-monitor-grace-period="${GRACE}s" \
        --kube-api-qps=500 --kube-api-burst=500 --flex-volume-plugin-dir="$DIR/flexvolume" --controllers="$CONTROLLERS"
    await 30 "the API server" ready
    pid kube-scheduler >/dev/null || start kube-scheduler cp "$KUBE/kube-scheduler" \
        --kubeconfig="$DIR/pki/kube-scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
}

ready() { in_ns cp curl -fsSk --max-time 1 https://10.77.0.2:6443/readyz; }

control_plane() {
    local name
    case $1 in
    start) control_plane_start ;;
    # Never SIGTERM: an API server without its etcd takes minutes to shut down in good order.
    stop)
        for name in kube-scheduler kube-controller-manager kube-apiserver etcd; do ! pid "$name" >/dev/null || signal KILL "$name"; done
        ;;
    kill) signal KILL kube-apiserver ;;
    pause) signal STOP kube-apiserver ;;
    resume) signal CONT kube-apiserver ;;
    *) fail "control-plane: stop, start, kill, pause or resume, not \"$1\"" ;;
    esac
}

nodelet_start() {
    start "nodelet-$1" "$1" "$KUBE/nodelet" run --node "$1" --addresses "10.77.0.$(host "$1"),fd77::$(host "$1")" \
        --pod-cidrs "10.244.$(number "$1").0/24,fd44:0:0:$(number "$1")::/64" --renew "$((GRACE * 125))ms" --pids "$DIR/pods" \
        --server https://10.77.0.2:6443 --ca "$DIR/pki/ca.crt" --cert "$DIR/pki/$1.crt" --key "$DIR/pki/$1.key"
}

kube_proxy_start() {
    local mode=$PROXY_MODE choice
    for choice in $PROXY_MODE_OF; do [ "${choice%=*}" != "$1" ] || mode=${choice#*=}; done
    # The limit of tracked connections is not for a namespace to set.
    start "kube-proxy-$1" "$1" "$KUBE/kube-proxy" --kubeconfig="$DIR/pki/kube-proxy.kubeconfig" --hostname-override="$1" \
        --proxy-mode="$mode" --cluster-cidr="$POD_CIDRS" --conntrack-max-per-core=0 \
        --healthz-bind-address=127.0.0.1:10256 --metrics-bind-address=127.0.0.1:10249
}

up() {
    local count=3 node pki
    PREFIX=lc PROXY_MODE=nftables PROXY_MODE_OF='' TWO_LINKS='' SNOOPING='' GATEWAY=yes GRACE=8 NODES=''
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix) PREFIX=$2 && shift 2 ;;
        --nodes) count=$2 && shift 2 ;;
        --proxy-mode) PROXY_MODE=$2 && shift 2 ;;
        --proxy-mode-of) PROXY_MODE_OF+=" $2" && shift 2 ;;
        --two-links) TWO_LINKS+=" $2" && shift 2 ;;
        --mld-snooping) SNOOPING=yes && shift ;;
        --grace) GRACE=$2 && shift 2 ;;
        --no-gateway) GATEWAY='' && shift ;;
        *) fail "up: unknown option \"$1\"; see scripts/cluster.sh --help" ;;
        esac
    done
    for node in $(seq "$count"); do NODES+=" n$node"; done
    need
    ! ip netns list | grep -q "^$PREFIX-sw\b" || fail "a cluster with prefix $PREFIX is running; take it down, or give another --prefix"
    KUBE=$("$here/kube.sh")
    rm -rf "$DIR"/{pki,run,log,pods,agent,etcd}
    mkdir -p "$DIR"/{pki,run,log,pods,agent}
    declare -p PREFIX NODES KUBE PROXY_MODE PROXY_MODE_OF TWO_LINKS SNOOPING GATEWAY GRACE | sed 's/^declare -- //' >"$DIR/settings"
    (pki_up) &
    pki=$!
    network_up
    wait "$pki"
    for node in $NODES; do nodelet_start "$node"; done
    control_plane_start
    for node in $NODES; do kube_proxy_start "$node"; done
    # shellcheck disable=SC2086 # a list of words
    kubectl wait --timeout=30s --for=create ${NODES// / node/} >/dev/null
    # shellcheck disable=SC2086
    kubectl wait --timeout=30s --for=condition=Ready ${NODES// / node/} >/dev/null
    kubectl wait --timeout=30s --for=create serviceaccount/default >/dev/null
}

need() {
    local command missing=()
    [ "$(id -u)" -eq 0 ] || fail "network namespaces need root; run this with sudo"
    for command in ip:iproute2 nft:nftables iptables:iptables openssl:openssl curl:curl setsid:util-linux; do
        command -v "${command%:*}" >/dev/null || missing+=("${command#*:}")
    done
    [ ${#missing[@]} -eq 0 ] || fail "not installed: ${missing[*]} (apt-get install ${missing[*]})"
    [[ $DIR != /run/* ]] || fail "DIR must not be under /run: agents see another /run"
}

# Whatever runs in our namespaces is killed; Pods, in namespaces of their own, die with their nodelet.
down() {
    local place pids
    for place in $NODES cp cl gw far sw; do
        pids=$(ip netns pids "$PREFIX-$place" 2>/dev/null) || continue
        # shellcheck disable=SC2086 # a list of words
        [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
    done
    for place in $NODES cp cl gw far sw; do ip netns delete "$PREFIX-$place" 2>/dev/null || true; done
    rm -rf "$DIR/etcd" "$DIR/settings"
}

# ---------------------------------------------------------------------------------------------------- Pods

backend() {
    local name=$1 nodes=$NODES port=80 namespace=default labels='' node
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --nodes) nodes=${2//,/ } ;;
        --port) port=$2 ;;
        --namespace) namespace=$2 ;;
        --labels) labels=$2 ;;
        *) fail "backend: unknown option \"$1\"; see scripts/cluster.sh --help" ;;
        esac
        shift 2
    done
    labels=${labels:-app=$name}
    for node in $nodes; do
        cat <<TEXT
---
apiVersion: v1
kind: Pod
metadata: {name: $name-$node, namespace: $namespace, labels: {$(sed 's/=/: /g; s/,/, /g' <<<"$labels")}}
spec:
  nodeName: $node
  containers: [{name: server, image: nodelet, ports: [{containerPort: $port}, {containerPort: $port, protocol: UDP}]}]
TEXT
    done | kubectl apply -f - >/dev/null
    # shellcheck disable=SC2046,SC2086 # lists of words
    kubectl wait -n "$namespace" --timeout=30s --for=condition=Ready $(printf "pod/$name-%s " $nodes) >/dev/null
}

# agent_pod NODE: the name of the Pod whose container the agent is.
agent_pod() {
    local pod=lanlord-$1
    if kubectl get daemonset lanlord -n lanlord >/dev/null 2>&1; then
        await 20 "a Pod of DaemonSet lanlord on $1" has_pod "$1"
        has_pod "$1"
    else
        kubectl apply -f - >/dev/null <<TEXT
apiVersion: v1
kind: Pod
metadata: {name: $pod, namespace: lanlord, labels: {app: lanlord}}
spec: {nodeName: $1, hostNetwork: true, serviceAccountName: lanlord, containers: [{name: lanlord, image: lanlord}]}
TEXT
        echo "$pod"
    fi
}

has_pod() {
    kubectl get pods -n lanlord -l app=lanlord --field-selector "spec.nodeName=$1" \
        -o go-template='{{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}' | grep -m 1 .
}

# agent_prepare NODE: what the kubelet gives a container: the Pod's token and a /run of its own.
agent_prepare() {
    local pod account=$DIR/agent/$1/run/secrets/kubernetes.io/serviceaccount
    pod=$(agent_pod "$1")
    # An emptyDir goes with its Pod.
    rm -rf "$DIR/agent/$1/run/lanlord"
    mkdir -p "$account" "$DIR/agent/$1/run/lanlord"
    kubectl create token lanlord -n lanlord --duration=24h --bound-object-kind=Pod --bound-object-name="$pod" >"$account/token"
    cp "$DIR/pki/ca.crt" "$account/ca.crt"
    printf lanlord >"$account/namespace"
    kubeconfig "$DIR/agent/$1/kubeconfig" "token: $(cat "$account/token")"
    echo "$pod" >"$DIR/agent/$1/pod"
    : >"$DIR/pods/lanlord.$pod"
}

agent_start() {
    ! pid "agent-$1" >/dev/null || fail "an agent runs on $1 already"
    # A container that starts again in the same Pod asks nothing of the API server, which may be down.
    [ -e "$DIR/pods/lanlord.$(cat "$DIR/agent/$1/pod" 2>/dev/null)" ] || agent_prepare "$1"
    mkdir -p "$DIR/agent/$1/run/lanlord"
    agent_run "agent-$1" "$DIR/agent/$1/run" "$@"
    cp "$DIR/run/agent-$1.pid" "$DIR/pods/lanlord.$(cat "$DIR/agent/$1/pod")"
}

agent_beside() {
    local run=$DIR/agent/$1/beside/run
    pid "agent-$1" >/dev/null || fail "no agent runs on $1"
    ! pid "agent-$1.beside" >/dev/null || fail "two agents run on $1 already"
    rm -rf "$run" && mkdir -p "$run/lanlord" && cp -a "$DIR/agent/$1/run/secrets" "$run"
    agent_run "agent-$1.beside" "$run" "$@"
}

# The directory may be renamed while it is mounted: the mount goes with it.
agent_succeed() {
    pid "agent-$1.beside" >/dev/null || fail "no second agent runs on $1"
    cp "$DIR/run/agent-$1.beside.pid" "$DIR/pods/lanlord.$(cat "$DIR/agent/$1/pod")"
    agent stop "$1"
    mv "$DIR/run/agent-$1.beside.pid" "$DIR/run/agent-$1.pid"
    rm -rf "$DIR/agent/$1/run" && mv "$DIR/agent/$1/beside/run" "$DIR/agent/$1/run"
}

# agent_run NAME RUN NODE [--in-cluster] -- COMMAND…: as the container of its Pod, with this directory as its /run.
agent_run() {
    local name=$1 run=$2 node=$3 settings
    shift 3
    settings=(NODE_NAME="$node" KUBECONFIG="$DIR/agent/$node/kubeconfig")
    if [ "${1-}" = --in-cluster ]; then
        settings=(-u KUBECONFIG NODE_NAME="$node" KUBERNETES_SERVICE_HOST=10.96.0.1 KUBERNETES_SERVICE_PORT=443) && shift
    fi
    [[ ${1-} == -- && $# -gt 1 ]] || fail "agent start DIR NODE [--in-cluster] -- COMMAND…"
    shift
    # `ip netns exec` has given the command mounts of its own: this one is seen by nobody else.
    # shellcheck disable=SC2016 # for the inner shell
    start "$name" "$node" sh -c 'mount --bind "$1" /run && shift && exec env "$@"' - "$run" "${settings[@]}" "$@"
}

agent() {
    local pid
    case $1 in
    start | beside | succeed) "agent_$1" "${@:2}" ;;
    stop)
        pid=$(pid "agent-$2") || fail "no agent runs on $2"
        kill -TERM "$pid"
        await 15 "the agent on $2 to stop" dead "$pid"
        ;;
    kill) signal KILL "agent-$2" ;;
    pause) signal STOP "agent-$2" ;;
    resume) signal CONT "agent-$2" ;;
    *) fail "agent: start, beside, succeed, stop, kill, pause or resume, not \"$1\"" ;;
    esac
}

kubelet() {
    case $1 in
    pause) signal STOP "nodelet-$2" ;;
    resume) signal CONT "nodelet-$2" ;;
    *) fail "kubelet: pause or resume, not \"$1\"" ;;
    esac
}

proxy() {
    case $1 in
    stop) signal KILL "kube-proxy-$2" ;;
    start) kube_proxy_start "$2" ;;
    *) fail "proxy: stop or start, not \"$1\"" ;;
    esac
}

# ---------------------------------------------------------------------------------------------------- commands

# The directory stands behind the verb, or behind verb and action.
command=$1 && shift
action=()
case $command in
agent | control-plane | kubelet | proxy | link | api | lan | power)
    [ $# -ge 2 ] || { usage >&2 && exit 2; }
    action=("$1") && shift
    ;;
esac
DIR=$(realpath -m "$1") && shift
if [ "$command" != up ]; then
    [ -e "$DIR/settings" ] || { [ "$command" = down ] && exit 0; } || fail "no cluster in $DIR"
    # shellcheck disable=SC1091 # written by up
    . "$DIR/settings"
fi
case $command in
up | down | backend | kubectl) "$command" "$@" ;;
exec) KUBECONFIG=$DIR/kubeconfig PATH=$KUBE:$PATH exec ip netns exec "$PREFIX-$1" "${@:2}" ;;
agent | kubelet | proxy | link | api | lan | power) "$command" "${action[@]}" "$@" ;;
control-plane) control_plane "${action[@]}" "$@" ;;
*) usage >&2 && exit 2 ;;
esac
