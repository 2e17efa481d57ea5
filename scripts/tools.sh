#!/usr/bin/env bash
# Makes the programs that the cluster tests try Lanlord with, and that are no part of Kubernetes, and prints the directory that holds them.
set -euo pipefail

HELM=v4.3.1
METALLB=v0.16.2

usage() {
    cat <<TEXT
Usage: scripts/tools.sh

Prints a directory with Helm $HELM and MetalLB $METALLB: helm, controller, speaker, and metallb-native.yaml, MetalLB's manifest.
They are built from the Go modules pinned in tests/cluster/tools (needs Go 1.26): two minutes on two idle cores, 300 MB to download,
1.5 GB of disk. Kept in the cache, \${XDG_CACHE_HOME:-~/.cache}/lanlord, under a key of everything they depend on; then it takes no time.
Nothing is ever written to the source tree.

Of the module github.com/metallb/frr-k8s, which MetalLB speaks to FRR with, a stand-in is compiled: no test uses that.
TEXT
}

say() { printf 'tools.sh: %s\n' "$*" >&2; }
fail() { say "$*" && exit 1; }

case ${1-} in
'') ;;
--help | -h) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac

source_dir=$(cd "$(dirname "$0")/../tests/cluster/tools" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lanlord
# As scripts/kube.sh does: a quarter less to build, and a little slower.
gcflags='all=-l -dwarf=0'
go_version=$(cd "$source_dir" && go env GOVERSION 2>/dev/null) || fail "go is not on the path. Install Go 1.26 or newer: https://go.dev/dl"
for module in "helm.sh/helm/v4 $HELM" "go.universe.tf/metallb $METALLB"; do
    grep -q "[[:space:]]$module\( \|\$\)" "$source_dir/go.mod" || fail "tests/cluster/tools/go.mod pins another version than $module"
done
key=$({ cat "$source_dir"/go.{mod,sum} "$source_dir"/frr-k8s/go.mod "$source_dir"/frr-k8s/api/v1beta1/*.go && echo "$gcflags $go_version manifest"; } | sha256sum | cut -c -16)
home=$cache/tools-$key
if [ -d "$home" ]; then echo "$home" && exit 0; fi

# One at a time: a second run waits for the first and finds its work in the cache.
mkdir -p "$cache"
exec 9>"$cache/lock-tools"
flock -n 9 || { say "another run is at work; waiting for it" && flock 9; }
if [ -d "$home" ]; then echo "$home" && exit 0; fi

work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
begun=$SECONDS
say "building Helm $HELM and MetalLB $METALLB: two minutes on two idle cores, up to 5 on busy ones"
# One after the other: the linkers are what takes memory.
for package in helm.sh/helm/v4/cmd/helm go.universe.tf/metallb/controller go.universe.tf/metallb/speaker; do
    (cd "$source_dir" && CGO_ENABLED=0 go build -trimpath -gcflags="$gcflags" -ldflags="-s -w" -o "$work/" "$package") >&2
done
metallb=$(cd "$source_dir" && go list -m -f '{{.Dir}}' go.universe.tf/metallb)
install -m 644 "$metallb/config/manifests/metallb-native.yaml" "$work/"
chmod 755 "$work" && mv "$work" "$home"
say "$((SECONDS - begun)) s: $home"
echo "$home"
