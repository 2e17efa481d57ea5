#!/usr/bin/env bash
# Builds the static binary. Its path is the only line on standard output; the rest goes to standard error.
set -euo pipefail
cd "$(dirname "$0")/.."
ARGS=$* && . scripts/lib.sh

usage() {
    cat <<'TEXT'
Usage: scripts/build.sh [--profile fast|release]

Builds lanlord as one static binary for this machine and prints its path.

  --profile fast      links quickly: for the demo, the tests, your own loops (default; first build about 4 minutes)
  --profile release   what ships: smaller, link-time optimised (first build about 6 minutes)
TEXT
}

profile=fast
while [ $# -gt 0 ]; do
    case $1 in
    --profile) profile=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --profile=*) profile=${1#*=} && shift ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
case $profile in fast | release) ;; *) usage >&2 && exit 2 ;; esac

need_rust
triple=$(rustc -vV | sed -n 's/^host: //p')
binary=${CARGO_TARGET_DIR:-$PWD/target}/$triple/$profile/lanlord

# A static C library, so that the binary runs in an image with nothing else in it. `--target` keeps these flags away from
# build scripts and macros. getrandom finds its system call by dlsym, which a static binary lacks; linux_raw calls it directly.
export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static --cfg getrandom_backend=\"linux_raw\""
step "Building lanlord ($profile, static)"
cargo build --locked --profile "$profile" --target "$triple" --bin lanlord </dev/null >&2
note "$(stat -c %s "$binary" | awk '{printf "%.1f MB", $1 / 1e6}'): $binary"
printf '%s\n' "$binary"
