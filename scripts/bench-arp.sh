#!/bin/sh
# ARP answers beside the kernel's own answer in the same run, and losses at 10,000 and 20,000 requests a second. Needs root; about
# 30 s after an optimised build (PROFILE=dev for the build that is there, with slower answers).
set -eu
cd "$(dirname "$0")/.."
exec cargo test --profile "${PROFILE:-fast}" --test lab -- --ignored --exact --nocapture bench_arp::arp_answers_beside_the_kernel
