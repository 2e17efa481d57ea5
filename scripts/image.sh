#!/usr/bin/env bash
# Makes the container images, without a container engine: archives that docker, podman, containerd, k3s and kind load.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

usage() {
    cat <<TEXT
Usage: scripts/image.sh [--arch amd64,arm64,armv7 | --all] [--profile release|fast] [--out DIR] [--tag NAME] [--verify]
                        [--binary FILE | --docker]

Builds lanlord and packs it as a container image: one layer with one static file, which carries the capability NET_RAW.
In DIR are then

  lanlord-$VERSION-ARCH.docker.tar   the image for one architecture: docker load, podman load, kind load image-archive,
                                 k3s' images folder, ctr images import
  lanlord-$VERSION.oci.tar           the image for all that were built: registries (skopeo copy), ctr images import, podman load

On standard output: the SHA-256 sum of each file, as sha256sum prints it. The same commit and compilers give the same sums.
docs/image.md says which file goes where.

  --arch LIST        architectures, separated by commas; this machine's if not given. Others are cross compiled
  --all              amd64, arm64 and armv7: about 25 minutes on two cores
  --profile release  what ships (default), about 6 minutes an architecture; fast builds quicker and is a little larger
  --out DIR          target/image if not given
  --tag NAME         ghcr.io/lanlord/lanlord:$VERSION if not given, which is the image that the manifests name
  --verify           runs each program out of its archive, under qemu-user where it is for another processor
  --binary FILE      packs this static binary instead of building one; for one architecture
  --docker           builds in Docker (scripts/Dockerfile) instead of with the Rust of this machine
TEXT
}

# absolute FILE: as the caller means it.
absolute() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac }

archs= profile=release out=target/image tag=ghcr.io/lanlord/lanlord:$VERSION verify= binary= docker=
while [ $# -gt 0 ]; do
    case $1 in
    --arch | --profile | --out | --tag | --binary)
        [ $# -gt 1 ] || { usage >&2 && exit 2; }
        case $1 in
        --arch) archs=${2//,/ } ;;
        --profile) profile=$2 ;;
        --out) out=$(absolute "$2") ;;
        --tag) tag=$2 ;;
        --binary) binary=$(absolute "$2") ;;
        esac
        shift 2
        ;;
    --all) archs='amd64 arm64 armv7' && shift ;;
    --verify) verify=yes && shift ;;
    --docker) docker=yes && shift ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

case $(uname -m) in x86_64) mine=amd64 ;; aarch64 | arm64) mine=arm64 ;; armv7* | armv8l) mine=armv7 ;; *) mine= ;; esac
archs=${archs:-$mine}
[ -n "$archs" ] || fail "this machine is $(uname -m); say what to build for: --arch amd64, arm64 or armv7"
for arch in $archs; do
    case $arch in amd64 | arm64 | armv7) ;; *) fail "no architecture \"$arch\"; there are amd64, arm64 and armv7" ;; esac
done
[ -z "$binary" ] || [ -r "$binary" ] || fail "there is no file $binary"
[ -z "$binary" ] || [ "$archs" = "${archs%% *}" ] || fail "--binary is one file, for one architecture"
[ "$(uname -s)" = Linux ] || [ -n "$docker$binary" ] || fail "this machine does not run Linux, which the program is for; let Docker build it: --docker"
need_commands python3:python3 gzip:gzip

# build ARCH: the path of the binary. In $(…) the shell goes on after a command that failed: each says what then.
build() {
    if [ -n "$binary" ]; then
        echo "$binary"
    elif [ -n "$docker" ]; then
        step "Building lanlord in Docker ($profile, $1); 15 minutes the first time"
        # What an earlier build left must not be packed in the name of this one.
        rm -f "$out/$1/lanlord" || return
        docker build --platform "linux/${1/armv7/arm/v7}" --build-arg PROFILE="$profile" --target binary \
            --output "$out/$1" --file scripts/Dockerfile . >&2 || return
        [ -f "$out/$1/lanlord" ] || fail "docker build made no $out/$1/lanlord"
        echo "$out/$1/lanlord"
    elif [ "$1" = "$mine" ]; then
        scripts/build.sh --profile "$profile"
    else
        scripts/build.sh --profile "$profile" --target "$1"
    fi
}

# check ARCH: the program that is in the archive reads a configuration.
check() {
    local archive=$out/lanlord-$VERSION-$1.docker.tar dir layer run=
    case $1 in "$mine") ;; amd64) run=qemu-x86_64 ;; arm64) run=qemu-aarch64 ;; armv7) run=qemu-arm ;; esac
    [ -z "$run" ] || need_commands "$run:qemu-user"
    dir=$(mktemp -d)
    layer=$(tar -xOf "$archive" manifest.json | sed 's/.*"Layers":\["\([^"]*\)".*/\1/')
    tar -xOf "$archive" "$layer" | tar -xzf - -C "$dir"
    printf 'addresses: 192.168.1.240-192.168.1.250\n' >"$dir/config.yaml"
    $run "$dir/lanlord" check "$dir/config.yaml" >"$dir/said" 2>&1 && grep -q '11 addresses' "$dir/said" ||
        fail "the program for $1 does not read a configuration: $(cat "$dir/said")"
    note "$1: $($run "$dir/lanlord" --version), ${run:-here}: $(grep '11 addresses' "$dir/said")"
    rm -rf "$dir"
}

mkdir -p "$out"
packed=()
for arch in $archs; do
    path=$(build "$arch")
    packed+=("$arch=$path")
done
labels=(title=Lanlord description="$(sed -n 's/^description = "\(.*\)"/\1/p' Cargo.toml)" version="$VERSION" licenses=Apache-2.0
    source="$(sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml)")
# The commit says what is inside only if nothing else is. A binary from elsewhere is of an unknown one.
if [ -z "$binary" ] && commit=$(git rev-parse HEAD 2>/dev/null) && [ -z "$(git status --porcelain)" ]; then
    labels+=(revision="$commit")
fi
step "Packing $tag"
sums=$(python3 scripts/image.py --out "$out" --tag "$tag" --version "$VERSION" \
    "${labels[@]/#/--label=org.opencontainers.image.}" "${packed[@]}")
if [ -n "$verify" ]; then
    step "Running each program"
    for arch in $archs; do check "$arch"; done
fi
printf '%s\n' "$sums"
