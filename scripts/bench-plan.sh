#!/bin/sh
# What a change costs an agent that knows many Services: everything planned anew, and one changed EndpointSlice; the routes of four BGP peers; at 3, 100 and 200 nodes
# and up to 10,000 Services. Needs no rights; about a minute after an optimised build (PROFILE=dev for the build that is there).
set -eu
cd "$(dirname "$0")/.."
exec cargo test --profile "${PROFILE:-fast}" --test it -- --ignored --test-threads 1 --nocapture bench_plan::
