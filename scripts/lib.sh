# shellcheck shell=bash
# What the scripts share: progress lines, checks of the machine, missing packages, waits with an end. Sourced, never run.

# Administrator's tools are not always on the path of a root shell.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STARTED=$SECONDS

# step TEXT: a progress line with the time since the script began.
step() { printf '\n==> [%2d:%02d] %s\n' $(((SECONDS - STARTED) / 60)) $(((SECONDS - STARTED) % 60)) "$*" >&2; }

note() { printf '    %s\n' "$*" >&2; }

fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

# need_root WHY: network namespaces and raw sockets belong to root.
need_root() {
    [ "$(id -u)" -eq 0 ] && return
    cat >&2 <<TEXT

error: $1 needs root: it makes network namespaces and opens raw sockets.

Run it as root, with your Rust and Go still on the path:

    sudo env "PATH=\$PATH" "HOME=\$HOME" $0${ARGS:+ $ARGS}

Everything happens inside namespaces that are removed at the end; your own network is not touched.
TEXT
    exit 1
}

# need_commands COMMAND:PACKAGE…: installs the Debian packages of commands that are missing, and only those. Services that come with
# them (routing daemons, opponents in the lab) are not started: that is what a policy-rc.d of 101 says.
need_commands() {
    local pair missing=() packages=() policy=/usr/sbin/policy-rc.d
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || { missing+=("${pair%%:*}") && packages+=("${pair#*:}"); }
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "not found: ${missing[*]}. Install them (on Debian: ${packages[*]}) and run this again."
    [ "$(id -u)" -eq 0 ] || fail "not found: ${missing[*]}. As root: apt-get install ${packages[*]}"
    step "Installing what is missing, under a minute: ${packages[*]}"
    (
        [ -e "$policy" ] || { trap 'rm -f "$policy"' EXIT && printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; }
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
    ) </dev/null >&2 || fail "apt-get could not install: ${packages[*]}"
}

# at_least HAVE WANT: compares versions such as 1.95.0 and 1.89.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

need_rust() {
    local want have
    want=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$ROOT/Cargo.toml")
    command -v cargo >/dev/null || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || fail "cargo is not on the path. Install Rust $want or newer: https://rustup.rs"
    have=$(rustc --version | cut -d' ' -f2)
    at_least "$have" "$want" || fail "Rust $have is too old, $want is the oldest that works: rustup update stable"
    # ring, our cryptography, has parts in C, and Rust links with the C compiler.
    need_commands cc:build-essential
}

need_go() {
    local have
    command -v go >/dev/null || [ ! -x /usr/local/go/bin/go ] || PATH=$PATH:/usr/local/go/bin
    command -v go >/dev/null || fail "go is not on the path. Install Go 1.26 or newer: https://go.dev/dl"
    have=$(go env GOVERSION | sed 's/^go//; s/-.*//')
    at_least "$have" 1.26 || fail "Go $have is too old, 1.26 is the oldest that works: https://go.dev/dl"
}

# wait_for SECONDS COMMAND…: tries ten times a second until the command succeeds; its status after that time is 1.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
