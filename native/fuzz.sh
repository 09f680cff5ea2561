#!/usr/bin/env bash
# Feed the native engine with hostile input: native/fuzz.sh [SECONDS [SEED]]
set -euo pipefail
cd "$(dirname "$0")"
export LOGFLOW_FUZZ_SECONDS="${1:-60}"
[ $# -lt 2 ] || export LOGFLOW_FUZZ_SEED="$2"
exec cargo test --quiet --locked --profile fuzz --no-default-features --test fuzz -- --ignored --nocapture
