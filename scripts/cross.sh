#!/usr/bin/env bash
# Builds for another architecture where rustup's server cannot be reached: in a Debian of its own, made once and kept.
set -euo pipefail
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

CHROOT=${XDG_CACHE_HOME:-$HOME/.cache}/lanlord/cross
SUITE=trixie
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

usage() {
    cat <<TEXT
Usage: scripts/cross.sh arm64|armv7 [--profile fast|release]
       scripts/cross.sh --remove

Does what \`scripts/build.sh --target\` does, inside a Debian $SUITE under $CHROOT.
It has Debian's Rust and cross compilers, takes about 2 GB and two minutes the first time, and needs root (chroot,
and mounts that nobody else sees). scripts/build.sh calls this by itself where it has to.

  --remove        deletes that Debian
  DEBIAN_MIRROR   another mirror than http://deb.debian.org/debian
TEXT
}

profile=fast target=
while [ $# -gt 0 ]; do
    case $1 in
    arm64 | armv7) target=$1 && shift ;;
    --profile) profile=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --remove) rm -rf --one-file-system "$CHROOT" && exit 0 ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
[ -n "$target" ] || { usage >&2 && exit 2; }
[ "$(id -u)" -eq 0 ] || fail "building for $target needs root here, for a chroot. Without root: \`rustup target add\` with access to
static.rust-lang.org, and the cross compiler; see scripts/build.sh --help."

# make DIR: the Debian. A shell of its own, which ends at the first error.
make() {
    bash -euc '
        dir=$1 suite=$2 mirror=$3
        debootstrap --variant=minbase "$suite" "$dir" "$mirror"
        cp /etc/resolv.conf /etc/hosts "$dir/etc/"
        # No program of a package is started in there.
        printf "#!/bin/sh\nexit 101\n" >"$dir/usr/sbin/policy-rc.d" && chmod 755 "$dir/usr/sbin/policy-rc.d"
        chroot "$dir" dpkg --add-architecture arm64
        chroot "$dir" dpkg --add-architecture armhf
        chroot "$dir" apt-get update -q
        # The -web ones are the newer Rust that browsers are built with; the one called rustc is too old.
        DEBIAN_FRONTEND=noninteractive chroot "$dir" apt-get install -q -y --no-install-recommends rustc-web cargo-web gcc libc6-dev \
            libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev:arm64 \
            libstd-rust-web-dev:armhf gcc-arm-linux-gnueabihf libc6-dev:armhf
        chroot "$dir" apt-get clean
        mkdir -p "$dir/lanlord" "$dir/target" "$dir/etc/ssl/certs" "$dir/root/.cargo/registry"
    ' - "$1" "$SUITE" "$MIRROR"
}

# One at a time: a second run waits for the first and finds its work.
mkdir -p "$(dirname "$CHROOT")"
exec 9>"$CHROOT.lock"
flock -n 9 || { note "another run is making the Debian for cross builds; waiting for it" && flock 9; }
if [ ! -x "$CHROOT/usr/bin/cargo" ] || [ ! -d "$CHROOT/target" ]; then
    need_commands debootstrap:debootstrap
    step "Making a Debian for cross builds, once: two minutes, 2 GB in $CHROOT"
    rm -rf --one-file-system "$CHROOT" "$CHROOT.part"
    make "$CHROOT.part" </dev/null >"$CHROOT.log" 2>&1 || fail "$(tail -n 5 "$CHROOT.log")

The Debian for cross builds could not be made; $CHROOT.log says more."
    mv "$CHROOT.part" "$CHROOT"
fi
flock -u 9

# The machine's own certificates, in case it trusts one more than others do (a proxy's).
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[ ! -e "$certificates" ] || cp "$certificates" "$CHROOT/etc/ssl/certs/ca-certificates.crt"
output=${CARGO_TARGET_DIR:-$PWD/target} registry=${CARGO_HOME:-$HOME/.cargo}/registry
mkdir -p "$output" "$registry"
# The mounts are in a namespace of their own and end with it. Crates that were downloaded once serve here, too.
# shellcheck disable=SC2016 # for the inner shell
unshare --mount --propagation private bash -euc '
    chroot=$1 root=$2 output=$3 registry=$4 && shift 4
    mount --bind "$root" "$chroot/lanlord" && mount --bind "$output" "$chroot/target"
    mount --bind "$registry" "$chroot/root/.cargo/registry"
    mount -t proc proc "$chroot/proc" && mount --bind /dev "$chroot/dev"
    exec env -i PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin HOME=/root LANG=C.UTF-8 CARGO_TARGET_DIR=/target \
        ${CARGO_BUILD_JOBS:+CARGO_BUILD_JOBS="$CARGO_BUILD_JOBS"} ${http_proxy:+http_proxy="$http_proxy"} \
        ${https_proxy:+https_proxy="$https_proxy"} ${HTTPS_PROXY:+HTTPS_PROXY="$HTTPS_PROXY"} \
        chroot "$chroot" /lanlord/scripts/build.sh "$@"
' - "$CHROOT" "$PWD" "$output" "$registry" --target "$target" --profile "$profile" | sed "s|^/target/|$output/|"
