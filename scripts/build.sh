#!/usr/bin/env bash
# Builds the static binary. Its path is the only line on standard output; the rest goes to standard error.
set -euo pipefail
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

usage() {
    cat <<'TEXT'
Usage: scripts/build.sh [--profile fast|release] [--target amd64|arm64|armv7]

Builds lanlord as one static binary and prints its path.

  --profile fast      links quickly: for the demo, the tests, your own loops (default; first build about 4 minutes)
  --profile release   what ships: smaller, link-time optimised (first build about 6 minutes), and without a trace of where it was
                      built: the same source and compilers give the same bytes in any directory
  --target ARCH       for another machine than this one; twice the time. With rustup and its server the standard library comes from
                      there, and Debian's cross compiler (gcc-aarch64-linux-gnu, gcc-arm-linux-gnueabihf) is installed: it links,
                      and compiles what of our cryptography is C. Otherwise scripts/cross.sh does it in a Debian of its own (root).
TEXT
}

profile=fast target=
while [ $# -gt 0 ]; do
    case $1 in
    --target) target=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --target=*) target=${1#*=} && shift ;;
    --profile) profile=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --profile=*) profile=${1#*=} && shift ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
case $profile in fast | release) ;; *) usage >&2 && exit 2 ;; esac


need_rust
host=$(rustc -vV | sed -n 's/^host: //p')
# The target's name in Rust and that of its cross compiler and C library in Debian.
case ${target:-$host} in
"$host") triple=$host cross= ;;
amd64) triple=x86_64-unknown-linux-gnu cross=x86_64-linux-gnu debian=amd64 package=x86-64-linux-gnu ;;
arm64) triple=aarch64-unknown-linux-gnu cross=aarch64-linux-gnu debian=arm64 package=aarch64-linux-gnu ;;
armv7) triple=armv7-unknown-linux-gnueabihf cross=arm-linux-gnueabihf debian=armhf package=arm-linux-gnueabihf ;;
*) usage >&2 && exit 2 ;;
esac
[ "$triple" != "$host" ] || cross=

has_std() { [ -d "$(rustc --print target-libdir --target "$triple")" ]; }
has_libc() { "$cross-gcc" -print-file-name=libc.a 2>/dev/null | grep -q /; }

# From inside that Debian this finds everything in place.
if [ -n "$cross" ]; then
    if ! has_std && command -v rustup >/dev/null; then
        step "Getting Rust's standard library for $target"
        timeout 120 rustup target add "$triple" >&2 || note "rustup could not get it"
    fi
    has_std || exec scripts/cross.sh "$target" --profile "$profile"
    need_commands "$cross-gcc:gcc-$package"
    has_libc || need_commands "C library for $target:libc6-dev-$debian-cross"
    name=${triple//-/_}
    export "CARGO_TARGET_${name^^}_LINKER=$cross-gcc" "CC_$name=$cross-gcc" "AR_$name=$cross-ar"
fi
binary=${CARGO_TARGET_DIR:-$PWD/target}/$triple/$profile/lanlord

# A static C library, so that the binary runs in an image with nothing else in it. `--target` keeps these flags away from
# build scripts and macros. getrandom finds its system call by dlsym, which a static binary lacks; linux_raw calls it directly.
# shellcheck disable=SC2206 # RUSTFLAGS is a list of words
flags=(${RUSTFLAGS:-} -C target-feature=+crt-static --cfg 'getrandom_backend="linux_raw"')
# What panics name is the same on every machine; of prefixes that fit, the last one counts. Not for the other profile: each directory would build all crates anew.
[ "$profile" != release ] || flags+=(
    --remap-path-prefix="${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates"
    --remap-path-prefix="$PWD=/lanlord"
    --remap-path-prefix="${CARGO_TARGET_DIR:-$PWD/target}=/target"
)
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${flags[*]}") && export CARGO_ENCODED_RUSTFLAGS
# What `cargo test` tells its tests would make ring, and all that rests on it, look changed.
unset CARGO_MANIFEST_DIR CARGO_MANIFEST_PATH "${!CARGO_PKG_@}"
step "Building lanlord ($profile, static${target:+, $target})"
# Cargo forgets `strip` of a profile for a package that has settings of its own there, as ours has.
cargo rustc --locked --profile "$profile" --target "$triple" --bin lanlord -- -C strip=symbols </dev/null >&2
note "$(stat -c %s "$binary" | awk '{printf "%.1f MB", $1 / 1e6}'): $binary"
printf '%s\n' "$binary"
