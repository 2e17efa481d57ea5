#!/bin/sh
# From Docker and kind to a Service that answers, in one command and without a decision. Linux and macOS.
set -eu
LC_ALL=C
export LC_ALL

usage() {
    cat <<'TEXT'
Usage: kind/quickstart.sh [--name CLUSTER] [--image FILE] [--dry-run]
       kind/quickstart.sh --uninstall [--name CLUSTER] [--delete-cluster] [--dry-run]

Installs Lanlord in a kind cluster, gives it free addresses of kind's network, starts a small application with a Service of
type LoadBalancer, and asks that Service. It finds by itself: docker, podman or nerdctl, the cluster (if there is none, it makes one),
the network, and addresses that nothing else uses. It says first what it is going to do, and prints each command that it runs.
About a minute on a cluster that is there; two or three more if it must make one. It can be run again.

  --name CLUSTER     the kind cluster; needed only if there are several. The same: --context kind-CLUSTER
  --image FILE       an archive of Lanlord's image; if not given: lanlord-VERSION-ARCH.docker.tar in this folder or where
                     scripts/image.sh puts it, of the version that lanlord.yaml names; then the image of that name that the
                     container engine has, then the published one
  --manifest FILE    lanlord.yaml; if not given, ../manifests/lanlord.yaml beside this script
  --dry-run          only say what would be done; change nothing
  --uninstall        remove Lanlord and the application again; with --delete-cluster the whole cluster
  --wait SECONDS     how long to wait for each condition; 180 if not given

Environment: KIND_EXPERIMENTAL_PROVIDER, KIND_EXPERIMENTAL_DOCKER_NETWORK, KIND_EXPERIMENTAL_PODMAN_NETWORK as kind has them.
Only clusters of kind are touched: the context is always kind-CLUSTER.
TEXT
}

say() { printf '%s\n' "$*"; }
head_line() { printf '\n==> %s\n' "$*"; }
fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}
# run COMMAND…: shows it, then does it.
run() {
    printf '    $ %s\n' "$*"
    "$@"
}
planned=0
plan() { planned=$((planned + 1)) && printf '  %d. %s\n' "$planned" "$*"; }

# until_true COMMAND…: asks every second until the command succeeds; its status after $wait seconds is 1.
until_true() {
    left=$wait
    until "$@" >/dev/null 2>&1; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 1
    done
}

here=$(cd "$(dirname "$0")" && pwd)
name='' lent='' image='' manifest=${here%/*}/manifests/lanlord.yaml dry='' uninstall='' delete='' wait=180
while [ $# -gt 0 ]; do
    case $1 in
    --name | --image | --manifest | --wait | --context)
        [ $# -gt 1 ] || fail "$1 wants a value. See --help"
        case $1 in
        --name) name=$2 ;;
        --image) image=$2 ;;
        --manifest) manifest=$2 ;;
        --wait) wait=$2 ;;
        --context)
            case $2 in
            kind-?*) name=${2#kind-} ;;
            *) fail "context $2 is no kind cluster, and this script touches no other. There: kubectl apply -f manifests/lanlord.yaml" ;;
            esac
            ;;
        esac
        shift
        ;;
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    --delete-cluster) delete=yes ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && fail "there is no option $1" ;;
    esac
    shift
done
case $wait in '' | *[!0-9]*) fail "--wait wants seconds, not \"$wait\"" ;; esac
[ -z "$delete" ] || [ -n "$uninstall" ] || fail "--delete-cluster goes with --uninstall"

# ---------------------------------------------------------------------------------------------------- what there is

# find_engine: sets engine, and tells kind where it would guess another one.
find_engine() {
    engine=${KIND_EXPERIMENTAL_PROVIDER-}
    case $engine in
    docker | podman | nerdctl | finch | nerdctl.lima) command -v "$engine" >/dev/null || fail "KIND_EXPERIMENTAL_PROVIDER is $engine, but there is no command of that name" ;;
    '')
        for engine in docker podman nerdctl ''; do
            [ -z "$engine" ] || ! command -v "$engine" >/dev/null || ! "$engine" ps >/dev/null 2>&1 || break
        done
        [ -n "$engine" ] || no_engine
        # The command docker may be podman in disguise.
        [ "$engine" != docker ] || case $(docker --version 2>/dev/null) in *[Pp]odman*) engine=podman ;; esac
        [ "$engine" = docker ] || { KIND_EXPERIMENTAL_PROVIDER=$engine && export KIND_EXPERIMENTAL_PROVIDER; }
        ;;
    *) fail "KIND_EXPERIMENTAL_PROVIDER is \"$engine\"; kind knows docker, podman and nerdctl" ;;
    esac
    case $engine in
    docker) network=${KIND_EXPERIMENTAL_DOCKER_NETWORK:-kind} ;;
    podman) network=${KIND_EXPERIMENTAL_PODMAN_NETWORK:-kind} ;;
    *) network=kind ;;
    esac
}

# no_engine: what docker says of it decides what is to be done.
no_engine() {
    what="Start one, or install it: https://docs.docker.com/engine/install"
    if command -v docker >/dev/null; then
        said=$(docker ps 2>&1 | tail -n 1)
        case $said in *"permission denied"*) what="Your user may have to be in the group docker: https://docs.docker.com/engine/install/linux-postinstall" ;; esac
        what="docker says: ${said:-nothing}
    $what"
    fi
    fail "neither docker nor podman nor nerdctl works here. $what"
}

# find_distance: sets far to the reason why addresses of the containers' network are not reachable from this machine; empty if they are.
find_distance() {
    far=''
    # Each engine has its own words; the first that it understands counts.
    about=$("$engine" info -f '{{.OperatingSystem}} {{.SecurityOptions}}' 2>/dev/null ||
        "$engine" info -f '{{.Host.OS}} rootless={{.Host.Security.Rootless}}' 2>/dev/null || true)
    case $about in
    *OrbStack*) return 0 ;;
    *"Docker Desktop"*) far="Docker Desktop runs its containers in a virtual machine" ;;
    *rootless=true* | *name=rootless*) far="$engine runs without root here, its networks are hidden from this machine" ;;
    esac
    [ -n "$far" ] || [ "$(uname -s)" = Linux ] || far="on $(uname -s) $engine runs its containers in a virtual machine"
    case ${DOCKER_HOST-} in
    tcp://* | ssh://*) [ "$engine" != docker ] || far="docker runs on another machine ($DOCKER_HOST)" ;;
    esac
}

# find_cluster: sets name, and create where there is none of that name.
find_cluster() {
    create=''
    clusters=$(kind get clusters 2>/dev/null) || fail "\"kind get clusters\" fails. See why: kind get clusters"
    if [ -n "$name" ]; then
        printf '%s\n' "$clusters" | grep -qx "$name" || create=yes
        return 0
    fi
    case $(printf '%s' "$clusters" | grep -c .) in
    0) name=kind create=yes ;;
    1) name=$clusters ;;
    *)
        [ -t 0 ] || fail "there are several kind clusters: $(printf '%s' "$clusters" | tr '\n' ' '). Say which: --name CLUSTER"
        printf 'There are several kind clusters:\n%s\nWhich one? ' "$clusters"
        read -r name
        printf '%s\n' "$clusters" | grep -qx "$name" || fail "there is no kind cluster \"$name\""
        ;;
    esac
}

# find_context: sets lent where kubectl does not know the cluster: it was made with another KUBECONFIG. To look, kind's own file does.
find_context() {
    kubectl config get-contexts "kind-$name" >/dev/null 2>&1 || lent=$work/kubeconfig
    [ -z "$lent" ] || kind get kubeconfig --name "$name" >"$lent" 2>/dev/null || true
}
plan_context() { [ -z "$lent" ] || plan "kind export kubeconfig: kubectl has no context kind-$name, and gets it"; }
export_context() {
    if [ -n "$lent" ]; then run kind export kubeconfig --name "$name"; fi
    lent=''
}

kctl() { kubectl ${lent:+"--kubeconfig=$lent"} --context "kind-$name" "$@"; }

# ---------------------------------------------------------------------------------------------------- free addresses

# strings: the strings of a JSON text, one a line. All engines print one, and each names its fields differently.
strings() { tr '",[]{}' '\n\n\n\n\n\n' | sed 's/^[[:space:]]*//; s/[[:space:]]*$//'; }

# subnets: those of the network, IPv4 and IPv6, in no order.
subnets() { "$engine" network inspect "$network" 2>/dev/null | strings | awk 'tolower(last) == "subnet" && $0 ~ /\// { print } $0 != ":" && $0 != "" { last = $0 }'; }

# taken: addresses of containers on the network, and what other clusters' Lanlords have for theirs (ADDRESS or FIRST-LAST), one a line.
taken() {
    # shellcheck disable=SC2046 # a list of words
    { "$engine" network inspect "$network" && "$engine" inspect $("$engine" ps -q); } 2>/dev/null | strings |
        sed -n 's|^\(\([0-9]\{1,3\}\.\)\{3\}[0-9]\{1,3\}\)\(/[0-9]*\)\{0,1\}$|\1|p; s|^\([0-9a-fA-F]*:[0-9a-fA-F:]*\)\(/[0-9]*\)\{0,1\}$|\1|p' | grep -v '^:*$' | sort -u
    for other in $clusters; do
        [ "$other" = "$name" ] || kubectl --context "kind-$other" --request-timeout=3s get configmap lanlord -n lanlord -o 'jsonpath={.data.addresses}' 2>/dev/null |
            tr ', ' '\n\n'
        echo
    done | grep . || true
}

number() {
    # shellcheck disable=SC2046 # four words
    set -- $(printf '%s' "$1" | tr . ' ')
    echo $(((($1 * 256 + $2) * 256 + $3) * 256 + $4))
}
dotted() { echo "$(($1 >> 24 & 255)).$(($1 >> 16 & 255)).$(($1 >> 8 & 255)).$(($1 & 255))"; }

# slice4 SUBNET: a part at its upper end, far from what the engine gives containers, which begins at the lower end. Which part the name of
# the cluster decides, so that several clusters on the one network differ, and the same cluster gets the same one again.
slice4() {
    bits=$((32 - ${1#*/})) base=$(number "${1%/*}")
    [ "$bits" -ge 6 ] || fail "network $network ($1) is too small to share"
    size=$((1 << (bits - 4)))
    [ "$size" -le 64 ] || size=64
    slices=$(((1 << (bits - 1)) / size))
    [ "$slices" -le 64 ] || slices=64
    tries=0
    while [ "$tries" -lt "$slices" ]; do
        first=$((base + (1 << bits) - size * (slices - (hash + tries) % slices)))
        last=$((first + size - 1))
        # The last address of all is the broadcast.
        [ "$last" -lt $((base + (1 << bits) - 1)) ] || last=$((last - 1))
        if is_free4 "$first" "$last"; then
            echo "$(dotted "$first")-$(dotted "$last")"
            return
        fi
        tries=$((tries + 1))
    done
    fail "all addresses at the upper end of network $network ($1) are in use. Remove clusters that you do not need: kind get clusters"
}

is_free4() {
    while read -r used; do
        from=${used%-*} to=${used#*-}
        # What people wrote into the configuration of another cluster may be a network, or have a short end.
        case $used in
        *:*) continue ;;
        */*) from=$(number "${used%/*}") && to=$((from + (1 << (32 - ${used#*/})) - 1)) ;;
        *.*.*.*-*.*.*.* | *.*.*.*) from=$(number "$from") && case $to in *.*) to=$(number "$to") ;; *) to=$((from / 256 * 256 + to)) ;; esac ;;
        *) continue ;;
        esac
        [ "$from" -gt "$2" ] || [ "$to" -lt "$1" ] || return 1
    done <"$work/taken"
}

# slice6 SUBNET: sixteen addresses that begin with the network's prefix and ::ffff, four thousand million away from the containers'. The
# last four digits are 1000 to fff0: 3840 slices.
slice6() {
    prefix=${1%%::/*}
    case $1 in *::/*) [ "${1#*/}" -le 96 ] || return 0 ;; *) return 0 ;; esac
    tries=0
    while [ "$tries" -lt 3840 ]; do
        slice=$(printf '%s::ffff:%x' "$prefix" $(((hash + tries) % 3840 * 16 + 4096)))
        slice=${slice%0}
        if ! grep -qi "^${slice}[0-9a-f]\(-\|$\)" "$work/taken"; then
            echo "${slice}0-${slice}f"
            return
        fi
        tries=$((tries + 1))
    done
}

find_range() {
    hash=$(printf '%s' "$name" | cksum | cut -d ' ' -f 1)
    taken >"$work/taken"
    ranges=''
    for subnet in $(subnets | sort -u); do
        case $subnet in *:*) part=$(slice6 "$subnet") ;; *) part=$(slice4 "$subnet") ;; esac
        case $part in '') ;; *:*) ranges="$ranges${ranges:+,}$part" ;; *) ranges="$part${ranges:+,}$ranges" ;; esac
    done
    [ -n "$ranges" ] || fail "$engine tells of no subnet of network $network. See for yourself: $engine network inspect $network"
}

# ---------------------------------------------------------------------------------------------------- the image

# find_image: sets image to an archive if there is one; else source to where it comes from, and other to an archive of another version.
find_image() {
    source=archive other=''
    wanted=$(sed -n 's/^ *image: *//p' "$manifest" | head -n 1)
    [ -z "$image" ] || { [ -r "$image" ] || fail "there is no file $image. scripts/image.sh makes it"; }
    [ -z "$image" ] || return 0
    case $(uname -m) in x86_64 | amd64) arch=amd64 ;; aarch64 | arm64) arch=arm64 ;; *) arch=armv7 ;; esac
    for folder in "$here" "${here%/*}" "${here%/*}/target/image"; do
        for file in "$folder"/lanlord-*-"$arch".docker.tar; do
            [ -f "$file" ] || continue
            if [ "${file##*/}" = "lanlord-${wanted##*:}-$arch.docker.tar" ]; then image=$file; else other=$file; fi
        done
    done
    [ -n "$image" ] || { source=pulled && ! "$engine" image inspect "$wanted" >/dev/null 2>&1 || source=local; }
}

# get_image: makes an archive of what is none yet.
get_image() {
    [ -z "$image" ] || return 0
    # Without Linux or Rust docker builds it.
    [ "$source" = local ] || run "$engine" pull "$wanted" || fail "there is no image $wanted to be had, and nothing was changed. Make it from the sources, and run this again:
    ${here%/*}/scripts/image.sh --arch $arch$([ "$(uname -s)" = Linux ] && command -v cargo >/dev/null || echo ' --docker')"
    image=$work/lanlord.tar
    run "$engine" save -o "$image" "$wanted"
}

# ---------------------------------------------------------------------------------------------------- the answer

demo_address() { address=$(kctl get service hello -n lanlord-demo -o 'jsonpath={.status.loadBalancer.ingress[0].ip}') && [ -n "$address" ]; }
from_here() { [ -z "$far" ] && command -v curl >/dev/null && curl -fsS --max-time 3 "http://$host/hostname"; }
# The image of kind's nodes is there already, and has curl.
from_container() { "$engine" run --rm --network "$network" --entrypoint curl "$node_image" -fsS --max-time 3 "http://$host/hostname"; }

answers() { from_here || from_container; }

ask() {
    head_line "Asking the Service"
    until_true demo_address || fail "the Service got no address within $wait s. Why: kubectl --context kind-$name describe service hello -n lanlord-demo"
    demo_address
    case $address in *:*) host="[$address]" ;; *) host=$address ;; esac
    node_image=$("$engine" ps --filter "label=io.x-k8s.kind.cluster=$name" --format '{{.Image}}' | head -n 1)
    until_true answers || fail "$address does not answer within $wait s. Why: kubectl --context kind-$name describe service hello -n lanlord-demo"
    # It answers a container. This machine may be a moment behind, or have no way there.
    full=$wait wait=5
    if from_here >/dev/null 2>&1 || { [ -z "$far" ] && until_true from_here; }; then
        run curl -fsS --max-time 3 "http://$host/hostname"
        say ""
    else
        [ -n "$far" ] || say "This machine itself does not reach $address; a container on the network is asked to."
        run "$engine" run --rm --network "$network" --entrypoint curl "$node_image" -fsS --max-time 3 "http://$host/hostname"
        say ""
        say "To open it in a browser of this machine, publish a port; then http://localhost:8080/hostname:"
        say "    $engine run -d --rm --name lanlord-port --network $network -p 8080:80 alpine/socat tcp-listen:80,fork,reuseaddr tcp-connect:$host:80"
        say "To end that (--uninstall does it, too): $engine rm -f lanlord-port"
    fi
    wait=$full
    say ""
    say "That was the name of the pod that answered. The address is $address."
    say "More:      kubectl --context kind-$name describe service hello -n lanlord-demo"
    say "Your own:  kubectl --context kind-$name expose deployment NAME --port=80 --type=LoadBalancer"
    say "Undo:      $0 --uninstall --name $name"
}

# ---------------------------------------------------------------------------------------------------- taking it off

# told: Services that carry words of Lanlord, as "namespace name mark": "served" where the address is Lanlord's to take back; "left" where
# its condition says that it serves them no more (the address is somebody else's); "marked" where there are annotations alone.
told() {
    kctl get services -A -o go-template='{{range .items}}{{$mark := ""}}{{range $key, $value := .metadata.annotations}}{{if or (eq $key "lanlord.dev/announced") (eq $key "lanlord.dev/ip-allocated-from-pool") (eq $key "lanlord.dev/released")}}{{$mark = "marked"}}{{end}}{{end}}{{range .status.conditions}}{{if eq .type "lanlord.dev/Announced"}}{{$mark = "served"}}{{if eq .reason "NotServed"}}{{$mark = "left"}}{{end}}{{end}}{{end}}{{if $mark}}{{.metadata.namespace}} {{.metadata.name}} {{$mark}}{{"\n"}}{{end}}{{end}}'
}

# find_port: whether the container runs that ask() proposes, in whatever cluster.
find_port() {
    port=''
    ! "$engine" container inspect lanlord-port >/dev/null 2>&1 || port=yes
}

remove() {
    head_line "Taking Lanlord off"
    [ -z "$port" ] || run "$engine" rm -f lanlord-port
    if [ -n "$delete" ]; then
        run kind delete cluster --name "$name"
        return
    fi
    export_context
    run kubectl --context "kind-$name" delete namespace lanlord-demo --ignore-not-found "--timeout=${wait}s"
    run kubectl --context "kind-$name" delete daemonset lanlord -n lanlord --ignore-not-found --cascade=foreground "--timeout=${wait}s"
    run kubectl --context "kind-$name" delete clusterrole,clusterrolebinding -l app.kubernetes.io/name=lanlord --ignore-not-found
    run kubectl --context "kind-$name" delete namespace lanlord --ignore-not-found "--timeout=${wait}s"
    # Of the overlay `hardened`. A command of its own: Kubernetes before 1.30 does not know these, and kubectl would delete nothing at all.
    policies=validatingadmissionpolicy,validatingadmissionpolicybinding
    [ -z "$(kctl get "$policies" -l app.kubernetes.io/name=lanlord -o name 2>/dev/null)" ] ||
        run kubectl --context "kind-$name" delete "$policies" -l app.kubernetes.io/name=lanlord
    told >"$work/told"
    while read -r namespace service mark; do
        words='"metadata":{"annotations":{"lanlord.dev/announced":null,"lanlord.dev/ip-allocated-from-pool":null,"lanlord.dev/released":null}}'
        case $mark in
        served) words=$words',"status":{"loadBalancer":{"ingress":null},"conditions":[{"type":"lanlord.dev/Announced","$patch":"delete"}]}' ;;
        left) words=$words',"status":{"conditions":[{"type":"lanlord.dev/Announced","$patch":"delete"}]}' ;;
        esac
        run kubectl --context "kind-$name" patch service "$service" -n "$namespace" --subresource=status --type strategic -p "{$words}" </dev/null
    done <"$work/told"
    say ""
    say "Lanlord is gone. The Services of type LoadBalancer that it served have no address now."
}

# ---------------------------------------------------------------------------------------------------- the order of things

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
command -v kind >/dev/null || fail "there is no command kind. Install it: https://kind.sigs.k8s.io/docs/user/quick-start"
command -v kubectl >/dev/null || fail "there is no command kubectl. Install it: https://kubernetes.io/docs/tasks/tools"
find_engine
find_distance
find_cluster
[ -n "$create" ] || find_context

head_line "What this will do"
say "With $engine, in kind cluster \"$name\"$([ -z "$create" ] || echo ", which is not there yet"), on network \"$network\":"
if [ -n "$uninstall" ]; then
    [ -z "$create" ] || fail "there is no kind cluster \"$name\""
    find_port
    [ -z "$port" ] || plan "remove the container lanlord-port, which publishes a port"
    if [ -n "$delete" ]; then
        plan "delete the cluster \"$name\" with everything in it"
    else
        plan_context
        plan "delete the application (namespace lanlord-demo)"
        plan "delete Lanlord: DaemonSet, rights, policies, namespace with configuration and Leases; and its words in the status of Services"
    fi
    [ -z "$dry" ] || { printf '\nNothing was changed (--dry-run).\n' && exit 0; }
    remove
    exit 0
fi
[ -r "$manifest" ] || fail "there is no file $manifest. Run this script inside a copy of the project, or say where lanlord.yaml is: --manifest FILE"
find_image
[ -n "$image" ] || [ "$source" = local ] || plan "pull the image $wanted from its registry"
if [ -z "$create" ]; then
    plan_context
    find_range
    old=$(kctl --request-timeout=5s get configmap lanlord -n lanlord -o 'jsonpath={.data.addresses}' 2>/dev/null) && old=${old:-ConfigMap lanlord/lanlord} || old=''
else
    ranges='' old=''
    plan "make the cluster: kind create cluster, $([ -f "$here/cluster.yaml" ] && echo "one control plane node and two workers (kind/cluster.yaml)" || echo "one node"); this takes two or three minutes"
fi
plan "load the image ${image:-$wanted} into the nodes"
[ -n "$image" ] || [ -z "$other" ] || say "     (not $other: it is of another version than ${manifest##*/} names)"
plan "kubectl apply -f ${manifest#"${here%/*}/"}"
if [ -n "$old" ]; then
    plan "keep the configuration that is there: $old"
else
    plan "give Lanlord free addresses of the network: ${ranges:-a part at its upper end, once the network is there}"
fi
case ${ranges:-:} in *:*) ;; *) say "     (IPv4 alone: the network has no IPv6)" ;; esac
plan "start an application with a Service of type LoadBalancer (namespace lanlord-demo), and ask it with curl"
if [ -n "$far" ]; then
    say ""
    say "Before you start: $far. The addresses of Services will NOT be reachable from this machine itself,"
    say "only from containers. The Service is asked from a container, and at the end stands a command that publishes a port."
fi
if "$engine" ps --format '{{.Names}} {{.Image}}' 2>/dev/null | grep -q cloud-provider-kind; then
    say ""
    say "cloud-provider-kind is at work on this machine. It writes the same Services; end it, or the two undo each other's work."
fi
[ -z "$dry" ] || { printf '\nNothing was changed (--dry-run).\n' && exit 0; }

head_line "Installing"
get_image
if [ -n "$create" ]; then
    if [ -f "$here/cluster.yaml" ]; then
        run kind create cluster --name "$name" --config "$here/cluster.yaml" --wait "${wait}s"
    else
        run kind create cluster --name "$name" --wait "${wait}s"
    fi
    find_range
else
    export_context
fi
run kind load image-archive "$image" --name "$name"
run kubectl --context "kind-$name" apply -f "$manifest"
kctl get configmap lanlord -n lanlord >/dev/null 2>&1 || run kubectl --context "kind-$name" create configmap lanlord -n lanlord "--from-literal=addresses=$ranges"
run kubectl --context "kind-$name" rollout status daemonset/lanlord -n lanlord "--timeout=${wait}s" ||
    fail "Lanlord is not ready on every node. See why: kubectl --context kind-$name describe pods -n lanlord"
run kubectl --context "kind-$name" apply -f "$here/demo.yaml"
run kubectl --context "kind-$name" rollout status deployment/hello -n lanlord-demo "--timeout=${wait}s" ||
    fail "the application did not start. See why: kubectl --context kind-$name describe pods -n lanlord-demo"
ask
