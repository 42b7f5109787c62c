#!/usr/bin/env bash
# Where the CPU time of a bench goes, function by function: `perf record` over it and the nodes it starts.
set -euo pipefail
cd "$(dirname "$0")/.."

bench=${1//-/_}
shift
scripts/setup.sh 'linux-perf: counts where CPU time goes'
cargo build --release --workspace --bins
cargo bench -p headwater --bench "$bench" --no-run
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
# The clock of the CPU: virtual machines seldom let their hardware counters be read.
perf record --quiet --event cpu-clock --freq 499 --output "$counts" -- cargo bench -p headwater --bench "$bench" -- "$@" >&2
perf report --input "$counts" --stdio --no-children --percent-limit 0.5 --sort symbol 2> /dev/null
