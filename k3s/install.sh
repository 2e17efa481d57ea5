#!/bin/sh
# Puts Lanlord on a k3s cluster, or takes it off again. Run as root on ONE k3s server. Needs nothing but k3s itself.
set -eu
LC_ALL=C
export LC_ALL
# k3s kubectl would follow it, perhaps to another cluster. Without it that takes the file of this server.
unset KUBECONFIG

usage() {
    cat <<'TEXT'
Usage: sudo sh k3s/install.sh RANGE [--image FILE] [--disable-servicelb] [--routed] [--dry-run]
       sudo sh k3s/install.sh --keep-config [--image FILE] [--dry-run]     another version, your configuration as it is
       sudo sh k3s/install.sh --disable-servicelb [--dry-run]              this alone, on each further server
       sudo sh k3s/install.sh --uninstall [--disable-servicelb] [--dry-run]

RANGE is free addresses of your LAN, outside of your router's DHCP range: 192.168.1.240-192.168.1.250, or several with commas.

First it says everything that it is going to do, in numbers; then it does it, and prints each command. It can be run again.
About a minute, most of it waiting for k3s, which looks for new manifests every 15 seconds.

  --image FILE         an archive of the image (scripts/image.sh makes lanlord-VERSION-ARCH.docker.tar), where there is no registry
  --disable-servicelb  switch off k3s's own load balancer on this server, and restart k3s here. With --uninstall: switch it on again
                       where this script switched it off
  --routed             take a RANGE that is in no network of this server: a BGP router makes it reachable, or nodes elsewhere have it
  --manifest FILE      lanlord.yaml, a file or an address (https://…); if not given, the one beside this script
  --data-dir DIR       k3s's own --data-dir; found in its configuration if not given, else /var/lib/rancher/k3s
  --node NAME          this server's name as a node; found if not given
  --dry-run            only say what would be done; change nothing
  --uninstall          take Lanlord off the cluster
  --wait SECONDS       how long to wait for each condition; 180 if not given
  --root DIR           files are read and written below DIR instead of /; commands on the path are not. For trials: the tests use it
TEXT
}

say() { printf '%s\n' "$*"; }
head_line() { printf '\n==> %s\n' "$*"; }
warn() { printf 'Note: %s\n' "$*"; }
fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}
# run COMMAND…: shows it, then does it.
run() {
    printf '    $ %s\n' "$*"
    "$@"
}
kubectl() { k3s kubectl "$@"; }
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

# quoted TEXT: as a shell takes it for one word.
quoted() {
    case $1 in
    *[!A-Za-z0-9_./:@%+,=-]* | '') printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
    esac
}
# there ADDRESS COMMAND: the command line that does it on another node; there_from FILE ADDRESS PATH: the one that copies a file to it.
there() { printf 'ssh -t %s %s' "$1" "$(quoted "$2")"; }
there_from() {
    case $2 in *:*) set -- "$1" "[$2]" "$3" ;; esac
    printf 'scp %s %s' "$(quoted "$1")" "$(quoted "$2:$3")"
}

# networks FAMILY (inet, inet6): those in which this server has a router, with commas; if it has none, all but those of containers.
networks() {
    { ip -o route show default || true; ip -6 -o route show default || true; ip -o addr show || true; } 2>/dev/null | awk -v family="$1" '
        $1 == "default" { for (i = 1; i < NF; i++) if ($i == "dev") { lan[$(i + 1)] = 1; routed = 1 } next }
        $3 != family || (routed ? !($2 in lan) : $2 ~ /^(lo|cni|flannel|docker|br-|veth)/) || split($4, part, /[.\/]/) < 2 { next }
        family == "inet6" && $4 !~ /^fe80|\/128$/ { all[$4] = 1 }
        family == "inet" && part[5] != "" {
            # Of each byte what the prefix leaves. No powers: the awk of small systems may have none.
            for (i = 1; i <= 4; i++) {
                unit = 1
                for (bit = 8 * i; bit > 8 * (i - 1) && bit > part[5]; bit--) unit *= 2
                part[i] -= part[i] % unit
            }
            all[part[1] "." part[2] "." part[3] "." part[4] "/" part[5]] = 1
        }
        END { for (one in all) { printf "%s%s", comma, one; comma = ", " } }'
}

range='' image='' manifest='' data='' root='' node='' wait=180 dry='' uninstall='' disable='' keep='' routed='' switched=''
while [ $# -gt 0 ]; do
    case $1 in
    --image | --manifest | --data-dir | --node | --root | --wait)
        [ $# -gt 1 ] || fail "$1 wants a value. See --help"
        case $1 in
        --image) image=$2 ;;
        --manifest) manifest=$2 ;;
        --data-dir) data=$2 ;;
        --node) node=$2 ;;
        --root) root=${2%/} ;;
        --wait) wait=$2 ;;
        esac
        shift
        ;;
    --disable-servicelb) disable=yes ;;
    --keep-config) keep=yes ;;
    --routed) routed=yes ;;
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    --help | -h) usage && exit 0 ;;
    -*) usage >&2 && fail "there is no option $1" ;;
    *)
        [ -z "$range" ] || fail "one RANGE, please: several parts are separated by commas, without spaces. Got \"$range\" and \"$1\""
        range=$1
        ;;
    esac
    shift
done
case $wait in '' | *[!0-9]*) fail "--wait wants seconds, not \"$wait\"" ;; esac
# What sudo leaves out on some systems. Hints name k3s by its whole path there.
k3s=k3s
command -v k3s >/dev/null || k3s=''
PATH=$PATH:$root/usr/local/bin:$root/opt/bin:$root/usr/sbin:$root/sbin
[ -n "$k3s" ] || k3s=$(command -v k3s) ||
    fail "this is not a k3s server: there is no command k3s on the path of this shell (PATH=$PATH). On kubeadm and others: kubectl apply -f manifests/lanlord.yaml"
install=yes
[ -z "$uninstall" ] || install=''
if [ -z "$range$keep$uninstall" ]; then
    if [ -z "$disable" ]; then
        usage >&2
        lan=$(networks inet)
        fail "RANGE is missing: FIRST-LAST, free addresses of ${lan:-your LAN}, outside of your router's DHCP range"
    fi
    install=''
fi
[ -z "$range" ] || [ -z "$keep$uninstall" ] || fail "a RANGE goes neither with --keep-config nor with --uninstall"

# ---------------------------------------------------------------------------------------------------- how k3s was started

# words FILE…: the arguments of k3s and the variables in units, init scripts and files of variables, a word a line, without quotes.
# Only what stands behind "server" is k3s's: what is run before it, or around it, has flags of its own.
words() {
    awk '
        function finish(   n, i, word, command, behind) {
            command = line ~ /^[[:space:]]*(ExecStart|command_args)[[:space:]]*=/
            if (command || line ~ /^[[:space:]]*(Environment[[:space:]]*=|(export[[:space:]]+)?[A-Z][A-Z0-9_]*=)/) {
                gsub(/["\047\\=]/, " ", line)
                n = split(line, word)
                for (i = 1; i <= n; i++) { if (!command || behind) print word[i]; if (word[i] == "server") behind = 1 }
            }
            line = ""
        }
        FNR == 1 { finish() }
        /^[[:space:]]*[#;]/ { next }
        { line = line " " $0 }
        sub(/\\[[:space:]]*$/, "", line) || (line ~ /^[[:space:]]*command_args/ && gsub(/"/, "&", line) % 2) { next }
        { finish() }
        END { finish() }' "$@"
}

# value LIKE FLAG [FLAG]: what stands behind it in the words on standard input, if it matches LIKE; the last one counts.
value() { awk -v like="$1" -v a="$2" -v b="${3-$2}" '(last == a || last == b) && $0 ~ like { found = $0 } { last = $0 } END { print found }'; }

# disabled: the parts of k3s that the arguments on standard input switch off, one a line.
disabled() { awk 'last == "--disable" || last == "--no-deploy" { n = split($0, part, ","); for (i = 1; i <= n; i++) print part[i] } { last = $0 }'; }

# configured KEY FILE…: the values of a key in k3s's configuration files, merged as k3s does: KEY takes the place of what files
# before it said, KEY+ is added to it.
configured() {
    key=$1
    shift
    [ $# -gt 0 ] || return 0
    awk -v key="$key" '
        function add(text,   n, i, part) {
            gsub(/[]["\047[:space:]]/, "", text)
            n = split(text, part, ",")
            for (i = 1; i <= n; i++) if (part[i] != "") list[++count] = part[i]
        }
        FNR == 1 { block = flow = 0 }
        { sub(/^#.*/, ""); sub(/[[:space:]]#.*/, "") }
        flow { add($0); if ($0 ~ /\]/) flow = 0; next }
        match($0, /^["\047]?[a-z-]+[+]?["\047]?[[:space:]]*:/) {
            name = substr($0, 1, RLENGTH); text = substr($0, RLENGTH + 1)
            gsub(/["\047:[:space:]]/, "", name)
            block = 0
            if (name != key && name != key "+") next
            if (name == key) count = 0
            if (text ~ /^[[:space:]]*$/) { block = 1; next }
            flow = (text ~ /\[/ && text !~ /\]/)
            add(text)
            next
        }
        block && match($0, /^[[:space:]]*-[[:space:]]*/) { add(substr($0, RLENGTH + 1)); next }
        END { for (i = 1; i <= count; i++) print list[i] }' "$@"
}

has() { grep -qxF -e "$1"; }
# plainly FILE: whether it says `disable:` without a plus.
plainly() { grep -q "^[\"']\{0,1\}disable[\"']\{0,1\}[[:space:]]*:" "$1"; }

# readable FILE…: k3s keeps much of this to root, and what cannot be read must not count as empty.
readable() {
    for file in "$@"; do
        if [ -d "$file" ]; then
            [ -x "$file" ] || fail "${file#"$root"} cannot be looked into: this needs root, --dry-run, too. Run it with sudo"
        elif [ -e "$file" ]; then
            cat "$file" >/dev/null 2>&1 || fail "${file#"$root"} cannot be read: this needs root, --dry-run, too. Run it with sudo"
        fi
    done
}

# The service: its name, and the files that decide with which arguments it starts, as paths of the machine.
find_service() {
    service='' starts='' init=''
    for file in "$root"/etc/systemd/system/k3s.service "$root"/usr/lib/systemd/system/k3s.service \
        "$root"/etc/systemd/system/k3s-*.service "$root"/etc/init.d/k3s "$root"/etc/init.d/k3s-*; do
        if [ ! -f "$file" ] || sed 's/^[[:space:]]*#.*//' "$file" | tr -s "\"'[:space:]" '\n' | has agent; then continue; fi
        service=${file##*/} && service=${service%.service}
        case $file in */init.d/*) init=openrc ;; *) init=systemd ;; esac
        break
    done
    if [ "$init" = systemd ]; then
        set -- "$file" "$root/etc/systemd/system/$service.service.d"/*.conf \
            "$root/etc/default/$service" "$root/etc/sysconfig/$service" "$root/etc/systemd/system/$service.service.env"
    elif [ "$init" = openrc ]; then
        set -- "$file" "$root/etc/conf.d/$service" "$root/etc/rancher/k3s/$service.env"
    fi
    for file in "$@"; do [ ! -f "$file" ] || starts="$starts $file"; done
}

restart() {
    case $init in
    systemd) echo "systemctl restart $service" ;;
    openrc) echo "rc-service $service restart" ;;
    *) echo "restart k3s" ;;
    esac
}

is_running() {
    case $init in
    systemd) systemctl is-active --quiet "$service" ;;
    openrc) rc-service "$service" status >/dev/null 2>&1 ;;
    *) kubectl get --raw /readyz >/dev/null 2>&1 ;;
    esac
}

# live: the arguments of the running process. k3s hides them from most, and then this is empty.
live() {
    for proc in $(grep -ls k3s "$root"/proc/[0-9]*/cmdline); do
        tr '\0' '\n' <"$proc" 2>/dev/null | awk 'NR == 1 && $0 !~ /(^|\/)k3s$/ || NR == 2 && $0 != "server" { exit } { gsub(/=/, "\n"); print }' || true
    done
}

# read_start: fills in config (the main file), dropins, flagged (the file with --disable), and whether the files switch ServiceLB off. By
# k3s's documentation a list among the flags takes the place of those in configuration files: then these count only if k3s heeds them.
read_start() {
    find_service
    # shellcheck disable=SC2086 # lists of paths; k3s has none with spaces
    readable $starts
    # shellcheck disable=SC2086
    arguments=$({ [ -z "$starts" ] || words $starts; } && live)
    config=$(printf '%s\n' "$arguments" | value '^/' --config -c)
    [ -n "$config" ] || config=$(printf '%s\n' "$arguments" | value '^/' K3S_CONFIG_FILE)
    config=$root${config:-/etc/rancher/k3s/config.yaml}
    dropins=$config.d files=''
    [ ! -f "$config" ] || files=$config
    for file in "$dropins"/*.yaml "$dropins"/*.yml; do [ ! -f "$file" ] || echo "$file"; done | sort >"$work/dropins"
    while read -r file; do files="$files $file"; done <"$work/dropins"
    # shellcheck disable=SC2086
    readable $files
    flagged=''
    for file in $starts; do
        [ -n "$flagged" ] || [ -z "$(words "$file" | disabled)" ] || flagged=$file
    done
    printf '%s\n' "$arguments" | disabled >"$work/disabled"
    here_off='' in_files=''
    ! has servicelb <"$work/disabled" || here_off=yes
    # shellcheck disable=SC2086
    ! configured disable $files | has servicelb || in_files=yes
    [ -s "$work/disabled" ] || here_off=$in_files
    # shellcheck disable=SC2086
    configured disable $files >>"$work/disabled"
    if [ -z "$data" ]; then
        data=$(printf '%s\n' "$arguments" | value '^/' --data-dir -d)
        # shellcheck disable=SC2086
        [ -n "$data" ] || data=$(configured data-dir $files | tail -n 1)
        [ -n "$data" ] || data=$(printf '%s\n' "$arguments" | value '^/' K3S_DATA_DIR)
    fi
    data=$root${data:-/var/lib/rancher/k3s}
    readable "$data" "$data/server"
    # Not beside it: in /etc/init.d every file is a service.
    kept=$data/server/before-lanlord.${flagged##*/}
    cloud=$data/server/etc/cloud-config.yaml
    me=$node
    [ -n "$me" ] || me=$(printf '%s\n' "$arguments" | value . --node-name)
    # shellcheck disable=SC2086
    [ -n "$me" ] || me=$(configured node-name $files | tail -n 1)
    [ -n "$me" ] || me=$(printf '%s\n' "$arguments" | value . K3S_NODE_NAME)
    [ -n "$me" ] || me=$(uname -n | tr '[:upper:]' '[:lower:]')
    # shellcheck disable=SC2086
    agentless=$({ printf '%s\n' "$arguments" | grep -x -e --disable-agent || configured disable-agent $files | grep -x true; } | tail -n 1)
}

# k3s_says_on: whether the k3s that runs here was started with ServiceLB, by what it wrote then.
k3s_says_on() { grep -qs '"lbEnabled":true' "$cloud"; }

# ---------------------------------------------------------------------------------------------------- what the cluster says

# find_me: makes sure that this server is a node of the cluster that answers. Where k3s adds to its name (--with-node-id) the address tells.
find_me() {
    ! cut -d '|' -f 1 "$work/raw" | has "$me" || return 0
    if [ -n "$agentless" ]; then
        echo "$me||unknown|" >>"$work/raw"
        return
    fi
    same=$({ ip -o addr show 2>/dev/null && cat "$work/raw"; } | awk -F '|' '
        NF < 4 { split($0, part, " "); sub(/\/.*/, "", part[4]); own[part[4]] = 1; next }
        { n = split($2, part, " "); for (i = 1; i <= n; i++) if (part[i] in own) { print $1; exit } }')
    if [ -n "$node" ] || [ -z "$same" ]; then
        names=$(cut -d '|' -f 1 "$work/raw" | tr '\n' ' ')
        fail "the cluster that answers has no node $me, but: ${names% }. If this server has another name there, say it: --node NAME. If that is not the cluster of this server: is /etc/rancher/k3s/k3s.yaml there? k3s writes it at each start"
    fi
    me=$same
}

# read_nodes: $work/nodes, a node a line: name, role (server, agent), ServiceLB (on, off, -), address, architecture.
# A server says with which arguments it runs, those of its configuration files included, in the annotation k3s.io/node-args.
read_nodes() {
    kubectl get nodes -o 'jsonpath={range .items[*]}{.metadata.name}{"|"}{.status.addresses[?(@.type=="InternalIP")].address}{"|"}{.status.nodeInfo.architecture}{"|"}{.metadata.annotations.k3s\.io/node-args}{"\n"}{end}' >"$work/raw" ||
        fail "the API server does not answer (k3s kubectl get nodes). Is k3s running? Look: journalctl -u ${service:-k3s} -n 20"
    find_me
    while IFS='|' read -r name address arch arguments; do
        printf '%s' "$arguments" | awk '{ gsub(/^\["|"\]$/, ""); gsub(/","/, "\n"); print }' | tr '=' '\n' >"$work/words"
        role=agent lb='-'
        if [ "$(head -n 1 "$work/words")" = server ]; then
            role=server lb=on
            ! disabled <"$work/words" | has servicelb || lb=off
        fi
        if [ "$name" = "$me" ]; then
            # Without the annotation it is taken for what its files say; after a switch the annotation may be a moment behind.
            [ -n "$arguments" ] || role=server lb=on
            [ -n "$arguments" ] || [ -z "$here_off" ] || lb=off
            [ -z "$switched" ] || lb=off
            ! k3s_says_on || lb=on
        fi
        address=${address%% *}
        echo "$name $role $lb ${address:--} ${arch:-unknown}"
    done <"$work/raw" >"$work/nodes"
    on=$(awk '$3 == "on" { print $1 }' "$work/nodes" | tr '\n' ' ')
    on=${on% }
    servers=$(awk '$2 == "server" { print $1 }' "$work/nodes" | tr '\n' ' ')
    others=$(awk -v me="$me" '$2 == "server" && $1 != me { print $1 }' "$work/nodes" | tr '\n' ' ')
    others=${others% }
    case " $servers" in *" $me "*) ;; *) fail "this is an agent, $me. Run this on a k3s server${servers:+: ${servers% }}" ;; esac
    # Its files say so, and it runs so: k3s heeds them.
    [ -z "$in_files" ] || runs_here || here_off=yes
}

# runs_here: whether the k3s that runs on this server was started with ServiceLB.
runs_here() { case " $on " in *" $me "*) ;; *) return 1 ;; esac; }

# services: Services of type LoadBalancer, one a line: namespace name class(-) deleted(-) finalizers(-) told(-) addresses…
services() {
    kubectl get services -A -o go-template='{{range .items}}{{if eq .spec.type "LoadBalancer"}}{{.metadata.namespace}} {{.metadata.name}} {{or .spec.loadBalancerClass "-"}} {{or .metadata.deletionTimestamp "-"}} {{range .metadata.finalizers}}{{.}},{{end}}- {{range .status.conditions}}{{if eq .type "lanlord.dev/Announced"}}{{.status}}{{end}}{{end}}-{{range .status.loadBalancer.ingress}} {{or .ip .hostname}}{{end}}{{"\n"}}{{end}}{{end}}'
}

# told: Services that carry words of Lanlord, as "namespace name mark": "served" where the address is Lanlord's to take back; "left" where
# its condition says that it serves them no more (the address is somebody else's); "marked" where there are annotations alone.
told() {
    kubectl get services -A -o go-template='{{range .items}}{{$mark := ""}}{{range $key, $value := .metadata.annotations}}{{if or (eq $key "lanlord.dev/announced") (eq $key "lanlord.dev/ip-allocated-from-pool") (eq $key "lanlord.dev/released")}}{{$mark = "marked"}}{{end}}{{end}}{{range .status.conditions}}{{if eq .type "lanlord.dev/Announced"}}{{$mark = "served"}}{{if eq .reason "NotServed"}}{{$mark = "left"}}{{end}}{{end}}{{end}}{{if $mark}}{{.metadata.namespace}} {{.metadata.name}} {{$mark}}{{"\n"}}{{end}}{{end}}'
}

# ---------------------------------------------------------------------------------------------------- the range

# check_range: its shape, and how it lies to this server's own networks. Lanlord itself checks it to the last bit, and tells in Events.
check_range() {
    ip -o addr show 2>/dev/null | awk '$3 ~ /^inet/ && $2 != "lo" { print "net", $4 }' >"$work/own"
    { ip -o route show default 2>/dev/null && ip -6 -o route show default 2>/dev/null; } | awk '{ for (i = 1; i < NF; i++) if ($i == "via") print "gateway", $(i + 1) }' >>"$work/own"
    awk '{ print "node", $4 }' "$work/nodes" >>"$work/own"
    { cat "$work/own" && printf '%s\n' "$range" | tr -s ', ' '\n' | sed 's/^/range /'; } | awk -v routed="$routed" -v lan4="$(networks inet)" -v lan6="$(networks inet6)" '
        # An address as hexadecimal digits: those of one family compare as text. Empty where it is none.
        function hex(text,   n, part, i, out, left, right, m, k) {
            if (text ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) {
                split(text, part, ".")
                for (i = 1; i <= 4; i++) { if (part[i] > 255) return ""; out = out sprintf("%02x", part[i]) }
                return out
            }
            if (text !~ /^[0-9a-fA-F:]+$/ || text !~ /:/) return ""
            k = index(text, "::")
            n = split(k ? substr(text, 1, k - 1) : text, left, ":")
            m = k ? split(substr(text, k + 2), right, ":") : 0
            if (n + m > 8 || (!k && n != 8)) return ""
            for (i = 1; i <= 8; i++) {
                part[i] = i <= n ? left[i] : (i > 8 - m ? right[i - 8 + m] : "0")
                if (length(part[i]) > 4) return ""
                out = out substr("0000" tolower(part[i]), length(part[i]) + 1)
            }
            return out
        }
        # The first (fill 0) or last (fill 1) address of a network.
        function edge(digits, bits, fill,   i, out, digit, keep, unit) {
            for (i = 1; i <= length(digits); i++) {
                digit = index("0123456789abcdef", substr(digits, i, 1)) - 1
                keep = bits - 4 * (i - 1); if (keep > 4) keep = 4; if (keep < 0) keep = 0
                unit = substr("168 4 2 1 ", 2 * keep + 1, 2) + 0
                digit = int(digit / unit) * unit + (fill ? unit - 1 : 0)
                out = out substr("0123456789abcdef", digit + 1, 1)
            }
            return out
        }
        $1 == "net" { split($2, p, "/"); if (h = hex(p[1])) { own[h] = "an address of this server: " p[1]; nets[++n] = edge(h, p[2], 0); ends[n] = edge(h, p[2], 1) } next }
        $1 == "gateway" { if (h = hex($2)) own[h] = "the address of your router: " $2; next }
        $1 == "node" { if ((h = hex($2)) && !(h in own)) own[h] = "the address of a node: " $2; next }
        NF < 2 { next }
        {
            some = 1
            if (split($2, p, "/") == 2) { h = hex(p[1]); first = h == "" || p[2] !~ /^[0-9]+$/ ? "" : edge(h, p[2], 0); last = first == "" ? "" : edge(h, p[2], 1) }
            else { m = split($2, p, "-"); first = hex(p[1]); last = m < 2 ? first : hex(p[2])
                if (m == 2 && p[2] ~ /^[0-9]+$/ && p[1] ~ /\./) { short = p[1]; sub(/[0-9]+$/, p[2], short); last = hex(short) }
                if (m > 2) first = "" }
            if (first == "" || last == "" || length(first) != length(last)) { print "error \"" $2 "\" is no range of addresses. Write 192.168.1.240-192.168.1.250, 192.168.1.240/28 or fd00::240-fd00::24f"; next }
            if (first > last) { print "error \"" $2 "\" ends before it begins"; next }
            for (h in own) if (length(h) == length(first) && h >= first && h <= last) print "note " $2 " contains " own[h] ". Lanlord leaves it out"
            inside = routed != "" || !n
            for (i = 1; i <= n; i++) if (length(nets[i]) == length(first) && first >= nets[i] && last <= ends[i]) inside = 1
            if (inside) next
            lan = length(first) == 8 ? lan4 : lan6
            lan = lan == "" ? "any network of this server" : "the network" (lan ~ /,/ ? "s" : "") " of this server, " lan
            print "error " $2 " is not in " lan ". Choose free addresses of your LAN, outside of your router\047s DHCP range. (If a BGP router shall make these reachable, or they are for nodes in another network: --routed)"
        }
        END { if (!some) print "error the range is empty" }' >"$work/range"
    ! grep -q '^error ' "$work/range" || fail "$(sed -n 's/^error //p' "$work/range" | head -n 1)"
}

# ---------------------------------------------------------------------------------------------------- what is to be said

# tell_servicelb: who runs it, and the way to switch it off that fits how k3s is started there.
tell_servicelb() {
    if [ -z "$on" ]; then
        say "k3s's own load balancer, ServiceLB, is off on every server (${servers% }). Lanlord serves all Services of type LoadBalancer."
        [ -z "$(kubectl get daemonsets -A -l svccontroller.k3s.cattle.io/svcname -o name 2>/dev/null)" ] ||
            warn "DaemonSets of ServiceLB (svclb-…) are there still. k3s removes them at its next start: sudo $(restart)"
        return
    fi
    say "k3s's own load balancer, ServiceLB, is on: $on."
    say "While it is on, Lanlord leaves Services without a class to it, so that the two do not undo each other's work; a Service of"
    say "\"loadBalancerClass: lanlord.dev/lb\" is Lanlord's. To give all to Lanlord, switch ServiceLB off on EVERY server, one after the other:"
    for server in $on; do
        address=$(awk -v name="$server" '$1 == name { print $4 }' "$work/nodes")
        say ""
        if [ "$server" = "$me" ]; then
            if [ -n "$here_off" ]; then
                say "  $server (this server): its files switch it off already; k3s has not been restarted since:"
                say "      sudo $(restart)"
            elif [ -n "$disable" ]; then
                say "  $server (this server): done below."
            elif [ -n "$flagged" ]; then
                say "  $server (this server): k3s is started with --disable in ${flagged#"$root"}, and such a list takes the place of those in"
                say "  configuration files. Add --disable=servicelb in that file, then:"
                say "      sudo $([ "$init" != systemd ] || echo 'systemctl daemon-reload && sudo ')$(restart)"
                say "  or let this script do it: --disable-servicelb. Installing k3s anew writes that file anew: give the installer the flag, too."
            else
                say "  $server (this server):"
                say "      sudo mkdir -p ${dropins#"$root"} && printf 'disable+:\\n  - servicelb\\n' | sudo tee ${dropins#"$root"}/90-lanlord.yaml && sudo $(restart)"
                say "  or let this script do it: --disable-servicelb"
            fi
        else
            [ ! -f "$0" ] || say "  $server:  $(there_from "$0" "$address" /tmp/install.sh) && $(there "$address" 'sudo sh /tmp/install.sh --disable-servicelb')"
            [ -f "$0" ] || say "  $server:  fetch this script there, too, and run it: sudo sh install.sh --disable-servicelb"
            say "      by hand, if k3s has no --disable among its flags there (grep -e --disable /etc/systemd/system/k3s.service* /etc/init.d/k3s):"
            say "      sudo mkdir -p /etc/rancher/k3s/config.yaml.d && printf 'disable+:\\n  - servicelb\\n' | sudo tee /etc/rancher/k3s/config.yaml.d/90-lanlord.yaml && sudo systemctl restart k3s"
        fi
    done
    say ""
    say "All servers must agree: k3s refuses a server that joins with another setting."
}

# tell_traefik: the address that most k3s users know by heart will be another.
tell_traefik() {
    # Announced by Lanlord already: nothing is going to change.
    old=$(services | awk '$1 == "kube-system" && $2 == "traefik" && $6 !~ /^True/ { for (i = 7; i <= NF; i++) printf "%s ", $i }')
    [ -n "$old" ] || return 0
    first=$(printf '%s' "$range" | sed 's/[-,/ ].*//')
    [ -n "$first" ] || first=ADDRESS
    say ""
    say "Traefik, the Ingress controller of k3s, is reached at ${old}now. Once Lanlord serves it, it gets one address of your range instead,"
    say "and Ingress names (DNS) and port forwards in your router that point to the old ones must move there. To choose the address, say so"
    say "in $data_shown/server/manifests/traefik-config.yaml (merge it, if that file or another HelmChartConfig of Traefik exists):"
    cat <<TEXT

      apiVersion: helm.cattle.io/v1
      kind: HelmChartConfig
      metadata:
        name: traefik
        namespace: kube-system
      spec:
        valuesContent: |-
          service:
            annotations:
              lanlord.dev/loadBalancerIPs: "$first"
TEXT
}

# tell_finalizers: ServiceLB marks what it serves; once it is off, nobody takes the mark off, and such a Service is never gone.
tell_finalizers() {
    services | awk '$4 != "-" && $5 ~ /service.kubernetes.io\/load-balancer-cleanup/ { print $1, $2 }' >"$work/stuck"
    [ -s "$work/stuck" ] || return 0
    say ""
    warn "these Services are being deleted, but wait for a load balancer that cleans up after itself (finalizer"
    say "service.kubernetes.io/load-balancer-cleanup, left by ServiceLB). If ServiceLB is off, nobody will. This lets each of them go:"
    while read -r namespace name; do
        say "      sudo $k3s kubectl patch service $name -n $namespace --type merge -p '{\"metadata\":{\"finalizers\":null}}'"
    done <"$work/stuck"
}

# image_for NODE-ARCHITECTURE: the name that scripts/image.sh gives the archive for it.
image_for() {
    case $1 in arm) arch=armv7 ;; *) arch=$1 ;; esac
    printf '%s' "${image##*/}" | sed "s/-\(amd64\|arm64\|armv7\)\./-$arch./"
}

check_image() {
    [ -r "$image" ] || fail "there is no file $image. scripts/image.sh makes it"
    mine=$(awk -v me="$me" '$1 == me && $5 != "unknown" { print $5 }' "$work/nodes")
    fit=$(image_for "${mine:-unknown}")
    case ${image##*/} in *-amd64.* | *-arm64.* | *-armv7.*) [ -z "$mine" ] || [ "$fit" = "${image##*/}" ] ||
        fail "$image is for another processor: this server is $mine and needs $fit" ;; esac
}

tell_image() {
    [ "$(awk '{ print $1 }' "$work/nodes" | sort -u | wc -l)" -gt 1 ] || return 0
    say ""
    images=$(quoted "$data_shown/agent/images")
    say "Every node needs the image. This script reaches this server only; for the others, before or while it waits:"
    while read -r name _ _ address arch; do
        [ "$name" != "$me" ] || continue
        file=$(dirname "$image")/$(image_for "$arch")
        say "      $name:  $(there_from "$file" "$address" /tmp/lanlord.tar) && $(there "$address" "sudo mkdir -p $images && sudo mv /tmp/lanlord.tar $images && sudo $k3s ctr images import $images/lanlord.tar")"
    done <"$work/nodes"
}

# ---------------------------------------------------------------------------------------------------- what is to be done

# check_switch: what would make the drop-in useless is found before anything is touched.
check_switch() {
    if [ -n "$flagged" ]; then
        [ -w "$flagged" ] || fail "${flagged#"$root"} starts k3s with --disable and cannot be written. Add --disable=servicelb where you manage it"
        return
    fi
    while read -r file; do
        if ! expr "x${file##*/}" \> x90-lanlord.yaml >/dev/null || ! plainly "$file"; then continue; fi
        fail "${file#"$root"} says \"disable:\", which takes the place of all before it, 90-lanlord.yaml included. Write \"disable+:\" there, or add servicelb to its list, then run this again"
    done <"$work/dropins"
}

plan_switch() {
    if [ -n "$here_off" ]; then
        ! runs_here || plan "restart k3s on this server ($(restart)): its files switch ServiceLB off, the running k3s does not know yet"
    elif [ -n "$flagged" ]; then
        plan "write --disable=servicelb into ${flagged#"$root"}, before the --disable that is there (as it was it stays in ${kept#"$root"})"
        plan "restart k3s on this server ($(restart)). Pods keep running; the API server of this node is away for some seconds"
    else
        plan "write ${dropins#"$root"}/90-lanlord.yaml, which adds servicelb to what k3s disables"
        plan "restart k3s on this server ($(restart)). Pods keep running; the API server of this node is away for some seconds"
    fi
}

do_restart() {
    case $init in
    systemd)
        run systemctl daemon-reload
        run systemctl restart "$service"
        ;;
    openrc) run rc-service "$service" restart ;;
    *) fail "k3s runs neither under systemd nor under openrc: restart it yourself" ;;
    esac
    until_true kubectl get --raw /readyz || fail "k3s does not answer $wait s after its restart. Look: journalctl -u $service -n 50"
}

# without_flag FILE: its text without what do_switch puts there.
without_flag() { sed "s/'--disable=servicelb' //; s/\"--disable=servicelb\" //; s/--disable=servicelb //" "$1"; }

# replace FILE NEW: FILE gets the text of NEW in one step, or stays as it was; mode, owner and links are kept. The text is prepared one
# folder higher: in /etc/init.d every file is a service.
replace() {
    target=$(readlink -f "$1") && aside=$(mktemp -d "${target%/*}/../.lanlord.XXXXXX") || fail "could not write beside ${1#"$root"}; it is as it was"
    if [ -s "$2" ] && cp -p "$target" "$aside/new" && cat "$2" >"$aside/new" && cmp -s "$2" "$aside/new" && mv "$aside/new" "$target"; then
        rmdir "$aside"
    else
        rm -rf "$aside"
        fail "could not write ${1#"$root"}; it is as it was. Is the disk full?"
    fi
}

# Never on the left of && or ||: there the shell goes on after a command that failed.
do_switch() {
    if [ -n "$here_off" ]; then
        runs_here || { say "ServiceLB is off on this server already." && return 0; }
    elif [ -n "$flagged" ]; then
        say "    in ${flagged#"$root"}: --disable=servicelb"
        cp -p "$flagged" "$kept" && cmp -s "$flagged" "$kept" || fail "could not copy ${flagged#"$root"} to ${kept#"$root"}. Is the disk full?"
        # Before the first --disable of a line, and before its quote.
        awk '!done && $0 !~ /^[[:space:]]*#/ && match($0, /["\047]?--(disable|no-deploy)["\047]?[=[:space:]]/) {
                quote = substr($0, RSTART, 1); if (quote == "-") quote = ""
                inner = quote; if (inner == "\"" && $0 ~ /^[A-Za-z_0-9]+=/) inner = ""
                at = RSTART; if (inner == "" && quote != "") at++
                $0 = substr($0, 1, at - 1) inner "--disable=servicelb" inner " " substr($0, at); done = 1 }
            { print }' "$kept" >"$work/flagged" || fail "could not write below $work. Is the disk full?"
        if ! words "$work/flagged" | disabled | has servicelb || [ "$(without_flag "$work/flagged")" != "$(without_flag "$kept")" ]; then
            fail "${flagged#"$root"} is not written in a way that this script can change. Add --disable=servicelb to it, then: sudo $(restart)"
        fi
        replace "$flagged" "$work/flagged"
    else
        say "    in ${dropins#"$root"}/90-lanlord.yaml: disable+: [servicelb]"
        mkdir -p "$dropins"
        printf '# Lanlord gives Services their addresses. The plus adds to the lists of other files.\ndisable+:\n  - servicelb\n' >"$work/dropin"
        chmod 600 "$work/dropin"
        mv "$work/dropin" "$dropins/90-lanlord.yaml"
    fi
    do_restart
    switched=yes
    ! k3s_says_on || fail "k3s still starts ServiceLB (${cloud#"$root"} says \"lbEnabled\":true). Look how it is started: ${starts:-no service file found}, ${config#"$root"}"
}

# in_place FILE: k3s sees the whole file or none; names with a dot in front it does not look at.
in_place() {
    cp "$1" "${2%/*}/.${2##*/}.new"
    chmod 600 "${2%/*}/.${2##*/}.new"
    mv "${2%/*}/.${2##*/}.new" "$2"
}

configmap_keys() { kubectl get configmap lanlord -n lanlord -o go-template='{{range $key, $value := .data}}{{$key}}{{"\n"}}{{end}}' 2>/dev/null; }
addresses_now() { kubectl get configmap lanlord -n lanlord -o 'jsonpath={.data.addresses}' 2>/dev/null; }

# check_configuration: sets `change` to nothing, create or patch. What somebody else wrote is not overwritten.
check_configuration() {
    change='create'
    configmap_keys >"$work/keys" || { [ -z "$keep" ] || fail "--keep-config, but there is no ConfigMap lanlord/lanlord yet. Give a RANGE" && return 0; }
    [ -z "$keep" ] || { change='' && return 0; }
    now=$(addresses_now)
    if [ "$now" = "$range" ]; then
        change=''
    elif [ "$(cat "$work/keys")" = addresses ] || [ ! -s "$work/keys" ]; then
        change='patch'
    else
        fail "ConfigMap lanlord/lanlord has a configuration of its own (keys: $(tr '\n' ' ' <"$work/keys")); this script does not overwrite it. Change it yourself: sudo $k3s kubectl edit configmap lanlord -n lanlord. To install this version and keep it: --keep-config instead of a RANGE"
    fi
}

fetch_manifest() {
    case $manifest in
    '')
        beside=$(dirname "$0")/lanlord.yaml
        [ -f "$beside" ] || fail "lanlord.yaml is not beside this script. Fetch it, too (k3s/lanlord.yaml of the project), or say where it is: --manifest FILE, --manifest https://…"
        manifest=$beside
        ;;
    http://* | https://*)
        if command -v curl >/dev/null; then curl -fsSL -o "$work/lanlord.yaml" "$manifest"; else wget -qO "$work/lanlord.yaml" "$manifest"; fi ||
            fail "could not fetch $manifest"
        manifest=$work/lanlord.yaml
        ;;
    *) [ -r "$manifest" ] || fail "there is no file $manifest" ;;
    esac
    grep -q '^kind: DaemonSet' "$manifest" || fail "$manifest is not Lanlord's manifest: it has no DaemonSet"
    wanted=$(sed -n 's/^ *image: *//p' "$manifest" | head -n 1)
}

is_applied() { [ "$(kubectl get daemonset lanlord -n lanlord -o 'jsonpath={.spec.template.spec.containers[0].image}')" = "$wanted" ]; }

# untold: Services that are Lanlord's to serve and of which it has not said anything yet.
untold() {
    others_too=yes
    [ -z "$on" ] || others_too=''
    services | awk -v all="$others_too" '$4 == "-" && ($3 == "lanlord.dev/lb" || (all != "" && $3 == "-")) && $6 == "-"'
}
all_told() { [ -z "$(untold)" ]; }

do_install() {
    head_line "Installing"
    if [ -n "$image" ]; then
        mkdir -p "$data/agent/images"
        cmp -s "$image" "$data/agent/images/lanlord.tar" || in_place "$image" "$data/agent/images/lanlord.tar"
        run k3s ctr images import "$image"
    fi
    say "    $manifest -> $data_shown/server/manifests/lanlord.yaml"
    cmp -s "$manifest" "$data/server/manifests/lanlord.yaml" || in_place "$manifest" "$data/server/manifests/lanlord.yaml"
    say "    waiting for k3s to apply it (it looks every 15 s)"
    until_true is_applied || fail "k3s did not apply the manifest within $wait s. Its reason: sudo $k3s kubectl describe addon lanlord -n kube-system"
    case $change in
    create) run k3s kubectl create configmap lanlord -n lanlord "--from-literal=addresses=$range" ;;
    patch) run k3s kubectl patch configmap lanlord -n lanlord --type merge -p "{\"data\":{\"addresses\":\"$range\"}}" ;;
    esac
    run k3s kubectl rollout status daemonset/lanlord -n lanlord "--timeout=${wait}s" || {
        kubectl get pods -n lanlord -o wide || true
        fail "Lanlord is not ready on every node after $wait s. If a pod says ErrImagePull or ImagePullBackOff: that node cannot get $wanted; give the image as a file (--image), on that node, too. Otherwise: sudo $k3s kubectl describe pods -n lanlord"
    }
    if [ -n "$disable" ]; then
        do_switch
        read_nodes
    fi
    head_line "Waiting for addresses"
    until_true all_told || untold | while read -r namespace name rest; do
        warn "$namespace/$name has no address yet. Why: sudo $k3s kubectl describe service $name -n $namespace"
    done
    run k3s kubectl get services -A --field-selector spec.type=LoadBalancer
    say ""
    # What has no class is ServiceLB's as long as that is on.
    class=''
    [ -z "$on" ] || class=" --overrides='{\"spec\":{\"loadBalancerClass\":\"lanlord.dev/lb\"}}'"
    say "Lanlord runs. To try it: sudo $k3s kubectl create deployment hello --image=nginx:alpine && sudo $k3s kubectl expose deployment hello --port=80 --type=LoadBalancer$class"
    say "Why a Service has its address, or none: sudo $k3s kubectl describe service NAME. Change the range: sudo $k3s kubectl edit configmap lanlord -n lanlord"
}

plan_uninstall() {
    [ ! -f "$data/server/manifests/lanlord.yaml" ] || plan "remove $data_shown/server/manifests/lanlord.yaml"
    [ ! -f "$data/agent/images/lanlord.tar" ] || plan "remove $data_shown/agent/images/lanlord.tar, the image"
    plan "delete the DaemonSet; its agents stop announcing. Then rights, policies and namespace of Lanlord, with its configuration and Leases"
    plan "take what is left of Lanlord's out of the status of Services: address, condition, annotation"
    if [ -n "$disable" ]; then
        [ ! -f "$dropins/90-lanlord.yaml" ] || plan "remove ${dropins#"$root"}/90-lanlord.yaml"
        [ -z "$flagged" ] || [ ! -f "$kept" ] || plan "take --disable=servicelb out of ${flagged#"$root"}"
        plan "restart k3s on this server ($(restart)); ServiceLB takes over within a minute"
    fi
    say ""
    say "Services of type LoadBalancer stay, without an address, until another load balancer serves them. Services of class lanlord.dev/lb have"
    say "none until they are made anew: a class cannot be changed."
    [ -z "$others" ] || say "If the manifest lies on another server, too ($others), remove it there FIRST: else that k3s brings Lanlord back at its next start."
    elsewhere=$(awk -v me="$me" '$1 != me { print $1 }' "$work/nodes" | tr '\n' ' ')
    [ -z "$elsewhere" ] || say "If the image was copied to other nodes (${elsewhere% }), remove it there, too: sudo rm -f $(quoted "$data_shown/agent/images/lanlord.tar")"
    if [ -z "$disable" ] && [ -f "$dropins/90-lanlord.yaml" ]; then
        say "ServiceLB stays off: ${dropins#"$root"}/90-lanlord.yaml is kept. To have it back: run this with --uninstall --disable-servicelb on every server."
    fi
}

do_uninstall() {
    head_line "Taking Lanlord off"
    if [ -f "$data/server/manifests/lanlord.yaml" ]; then
        run rm "$data/server/manifests/lanlord.yaml"
    fi
    [ ! -f "$data/agent/images/lanlord.tar" ] || run rm "$data/agent/images/lanlord.tar"
    # First, and until they are gone: an agent would write again what is taken out of the Services below.
    run k3s kubectl delete daemonset lanlord -n lanlord --ignore-not-found --cascade=foreground "--timeout=${wait}s"
    ! kubectl get crd addons.k3s.cattle.io >/dev/null 2>&1 || run k3s kubectl delete addons.k3s.cattle.io lanlord -n kube-system --ignore-not-found
    run k3s kubectl delete clusterrole,clusterrolebinding -l app.kubernetes.io/name=lanlord --ignore-not-found
    # Of the overlay "hardened"; Kubernetes before 1.30 does not know them.
    ! kubectl get validatingadmissionpolicies >/dev/null 2>&1 ||
        run k3s kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy -l app.kubernetes.io/name=lanlord --ignore-not-found
    run k3s kubectl delete namespace lanlord --ignore-not-found "--timeout=${wait}s"
    told >"$work/told"
    while read -r namespace name mark; do
        words='"metadata":{"annotations":{"lanlord.dev/announced":null,"lanlord.dev/ip-allocated-from-pool":null,"lanlord.dev/released":null}}'
        case $mark in
        served) words=$words',"status":{"loadBalancer":{"ingress":null},"conditions":[{"type":"lanlord.dev/Announced","$patch":"delete"}]}' ;;
        left) words=$words',"status":{"conditions":[{"type":"lanlord.dev/Announced","$patch":"delete"}]}' ;;
        esac
        run k3s kubectl patch service "$name" -n "$namespace" --subresource=status --type strategic -p "{$words}" </dev/null
    done <"$work/told"
    if [ -n "$disable" ]; then
        [ ! -f "$dropins/90-lanlord.yaml" ] || run rm "$dropins/90-lanlord.yaml"
        if [ -n "$flagged" ] && [ -f "$kept" ]; then
            without_flag "$flagged" >"$work/flagged" || fail "could not write below $work. Is the disk full?"
            replace "$flagged" "$work/flagged"
            rm "$kept"
        fi
        do_restart
    fi
    say ""
    say "Lanlord is gone."
}

# ---------------------------------------------------------------------------------------------------- the order of things

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
readable "$root/etc/rancher/k3s" "$root/etc/rancher/k3s/config.yaml.d" "$root/etc/rancher/k3s/k3s.yaml"
read_start
data_shown=${data#"$root"}
[ -d "$data/server" ] ||
    fail "this is not a k3s server: there is no $data_shown/server. Run this on a server (kubectl get nodes shows which), or say where its data is: --data-dir DIR"
is_running || fail "k3s is not running here${service:+ ($init service $service)}. Start it first"
[ -n "$dry" ] || [ -w "$data/server" ] || fail "this needs root: $data_shown/server cannot be written. Run it with sudo"
read_nodes
[ -z "$range" ] || check_range
[ -z "$image" ] || check_image
[ -z "$disable" ] || [ -n "$here_off$uninstall" ] || check_switch
if [ -n "$install" ]; then
    fetch_manifest
    check_configuration
    [ ! -e "$data/server/manifests/lanlord.yaml.skip" ] || fail "$data_shown/server/manifests/lanlord.yaml.skip tells k3s to ignore Lanlord's manifest. Remove it, then run this again"
    ! has lanlord <"$work/disabled" || fail "k3s is told to --disable lanlord, and would delete its manifest. Take that out of ${config#"$root"} or the service file, then run this again"
fi

head_line "What is"
say "k3s servers: ${servers% }; this one is $me${init:+, started by $init ($service)}"
[ -n "$uninstall" ] || tell_servicelb
[ -z "$install" ] || tell_traefik
tell_finalizers
[ ! -s "${work}/range" ] || sed 's/^note /Note: /' "$work/range"

head_line "What this will do"
if [ -n "$uninstall" ]; then
    plan_uninstall
elif [ -n "$install" ]; then
    [ -z "$image" ] || plan "copy $image to $data_shown/agent/images/lanlord.tar, where k3s finds it at each start, and import it now (k3s ctr images import)"
    plan "write $data_shown/server/manifests/lanlord.yaml on this server; k3s applies it, now and at each start"
    case $change in
    create) plan "create the ConfigMap lanlord in namespace lanlord: addresses=$range" ;;
    patch) plan "change addresses in the ConfigMap lanlord/lanlord from \"$now\" to \"$range\"" ;;
    *) plan "leave the ConfigMap lanlord/lanlord as it is" ;;
    esac
    plan "wait until Lanlord ($wanted) is ready on every node"
    [ -z "$disable" ] || plan_switch
    plan "wait until the Services that are Lanlord's have addresses, and show them"
    [ -z "$others" ] || say "The manifest belongs on one server only, this one: k3s does not copy it, and different ones on $others would undo each other."
    [ -z "$image" ] || tell_image
else
    plan_switch
    [ "$planned" -gt 0 ] || say "  Nothing: ServiceLB is off on this server."
fi
[ -z "$dry" ] || { printf '\nNothing was changed (--dry-run).\n' && exit 0; }

if [ -n "$uninstall" ]; then
    do_uninstall
elif [ -n "$install" ]; then
    do_install
elif [ "$planned" -gt 0 ]; then
    head_line "Switching ServiceLB off"
    do_switch
    say "ServiceLB is off on this server."
fi
