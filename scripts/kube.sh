#!/usr/bin/env bash
# Finds or makes the programs of a Kubernetes control plane and prints the directory that holds them.
set -euo pipefail

KUBERNETES=v1.36.3
ETCD=v3.6.8
PROGRAMS="etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl"
OURS="nodelet meter"

usage() {
    cat <<TEXT
Usage: scripts/kube.sh [--version VERSION]

Prints a directory with the programs of Kubernetes $KUBERNETES (kube-apiserver, kube-controller-manager, kube-scheduler,
kube-proxy, kubectl), etcd $ETCD, and two of ours: nodelet, which speaks for a node that has no kubelet, and meter, which
measures what a client sees. Looked for in this order:

  1. the cache, \${XDG_CACHE_HOME:-~/.cache}/lanlord                               at once
  2. \$KUBE_BIN, a directory of yours that holds these programs                    at once
  3. the official release, checked by its SHA-256 sums, if the network allows     about a minute (250 MB)
  4. a build from the Go modules pinned in tests/cluster/kube (needs Go 1.26)     5 minutes on two idle cores, 3 GB of disk

What 3 and 4 find is kept in the cache, under a key of everything it depends on. Ours are always built here (half a
minute once, Go's standard library only). Nothing is ever written to the source tree.

  --version VERSION   another Kubernetes, such as v1.34.4, to see whether Lanlord works there:
                      KUBE_BIN=\$(scripts/kube.sh --version v1.34.4) scripts/test.sh --tier cluster
                      If it has to be built, the newest modules that go with it are taken.

  KUBE_RELEASE_URL, ETCD_RELEASE_URL   mirrors of https://dl.k8s.io/release and https://github.com/etcd-io/etcd/releases/download
TEXT
}

say() { printf 'kube.sh: %s\n' "$*" >&2; }
fail() { say "$*" && exit 1; }

pinned=$KUBERNETES
case ${1-} in
'') ;;
--version)
    [[ ${2-} =~ ^v1\.[0-9]+\.[0-9]+$ ]] || fail "--version wants a version such as v1.34.4, not \"${2-}\""
    KUBERNETES=$2
    ;;
--help | -h) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac

source_dir=$(cd "$(dirname "$0")/../tests/cluster/kube" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lanlord
# Without inlining the build takes a quarter less and an API server starts half a CPU second later.
gcflags='all=-l -dwarf=0'
ldflags='-s -w'
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    ldflags+=" -X $package.gitVersion=$KUBERNETES -X $package.gitMajor=1 -X $package.gitMinor=${KUBERNETES:3:2}"
done
go_version=$(cd "$source_dir" && go env GOVERSION 2>/dev/null || echo none)

# complete DIRECTORY [PROGRAM…]: does it hold every program, and these?
complete() {
    local program
    for program in $PROGRAMS "${@:2}"; do [ -x "$1/$program" ] || return 1; done
}

# key NAME… < TEXT: a short hash of what a directory in the cache was made from.
key() { { cat "$@" && echo "$go_version"; } | sha256sum | cut -c -16; }

# Two directories: the programs, and links to them with ours beside, so that an edit of ours builds nothing else.
if [ -n "${KUBE_BIN-}" ]; then
    complete "$KUBE_BIN" || fail "KUBE_BIN=$KUBE_BIN does not hold all of: $PROGRAMS"
    programs=$(cd "$KUBE_BIN" && pwd)
    # A directory that another run of this script printed needs nothing more.
    # shellcheck disable=SC2086 # a list of words
    if complete "$programs" $OURS; then echo "$programs" && exit 0; fi
else
    programs=$cache/kube-$(key "$source_dir"/go.mod "$source_dir"/go.sum "$source_dir"/*.go - <<<"$gcflags $ldflags")
fi
home=$cache/lab-$(key "$source_dir"/{nodelet,meter}/*.go - <<<"$programs")
# shellcheck disable=SC2086
if complete "$home" $OURS; then echo "$home" && exit 0; fi
[ "$go_version" != none ] || fail "go is not on the path, and ours are built with it. Install Go 1.26 or newer: https://go.dev/dl"

# One at a time: a second run waits for the first and finds its work in the cache.
mkdir -p "$cache"
exec 9>"$cache/lock"
flock -n 9 || { say "another run is at work; waiting for it" && flock 9; }
# shellcheck disable=SC2086
if complete "$home" $OURS; then echo "$home" && exit 0; fi

work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
begun=$SECONDS

# fetch URL FILE SUM: downloads and checks.
fetch() {
    curl -fsSL --connect-timeout 3 --retry 2 -o "$2" "$1" || return 1
    echo "$3  $2" | sha256sum --check --status || fail "$1: the checksum does not fit"
}

from_release() {
    local arch=amd64 program sum release etcd archive
    [ "$(uname -m)" = x86_64 ] || arch=arm64
    release=${KUBE_RELEASE_URL:-https://dl.k8s.io/release}/$KUBERNETES/bin/linux/$arch
    etcd=${ETCD_RELEASE_URL:-https://github.com/etcd-io/etcd/releases/download}/$ETCD
    archive=etcd-$ETCD-linux-$arch
    # Both must be reachable, or the time is better spent building.
    curl -fsSL --connect-timeout 3 --max-time 10 -o /dev/null "$release/kubectl.sha256" 2>/dev/null &&
        curl -fsSL --connect-timeout 3 --max-time 10 -o "$work/sums" "$etcd/SHA256SUMS" 2>/dev/null || return 1
    say "downloading Kubernetes $KUBERNETES and etcd $ETCD (250 MB)"
    for program in $PROGRAMS; do
        [ "$program" = etcd ] && continue
        sum=$(curl -fsSL --connect-timeout 3 --max-time 10 "$release/$program.sha256") || return 1
        fetch "$release/$program" "$work/$program" "$sum" || return 1
        chmod +x "$work/$program"
    done
    sum=$(awk -v file="$archive.tar.gz" '$2 == file { print $1 }' "$work/sums")
    fetch "$etcd/$archive.tar.gz" "$work/etcd.tar.gz" "$sum" || return 1
    tar -xzf "$work/etcd.tar.gz" -C "$work" --strip-components=1 --no-same-owner "$archive/etcd" && rm "$work/etcd.tar.gz" "$work/sums"
}

# module_of_version DIRECTORY: our module there, with another Kubernetes in it; what that one requires is asked for anew.
module_of_version() {
    mkdir -p "$1" && cp "$source_dir/main.go" "$1/"
    # Its libraries are v0 where it is v1.
    sed "/\/\/ indirect/d; s/ v\([01]\)${pinned#v1}\$/ v\1${KUBERNETES#v1}/" "$source_dir/go.mod" >"$1/go.mod"
    (cd "$1" && go mod tidy) >&2
}

from_modules() {
    local program source_dir=$source_dir
    if [ "$KUBERNETES" != "$pinned" ]; then
        module_of_version "$work/module" && source_dir=$work/module
    fi
    say "no release to be had; building Kubernetes $KUBERNETES from its Go modules: 5 minutes on two idle cores, up to 9 on busy ones"
    (cd "$source_dir" && CGO_ENABLED=0 go build -trimpath -gcflags="$gcflags" -ldflags="$ldflags" -o "$work/kube" .) >&2
    for program in $PROGRAMS; do ln -sf kube "$work/$program"; done
    rm -rf "$work/module"
}

# keep DIRECTORY: what is in $work becomes that directory, whole or not at all.
keep() {
    chmod 755 "$work" && rm -rf "$1" && mv "$work" "$1"
    say "$((SECONDS - begun)) s: $1"
}

if ! complete "$programs"; then
    from_release || from_modules
    complete "$work" || fail "something is missing in $work"
    keep "$programs" && mkdir "$work"
fi
(cd "$source_dir" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$work/" ./nodelet ./meter) >&2
for program in $PROGRAMS; do ln -s "$programs/$program" "$work/$program"; done
keep "$home"
echo "$home"
