#!/usr/bin/env bash
# Does to the log what disks, kernels and operators do, so many times each, and prints seed, commit and counts. The
# tests do a sample of the same. Power cuts need root, loop devices, mkfs and python3; kills at system calls strace.
set -euo pipefail
cd "$(dirname "$0")/../.."

count="${COUNT:-2000}"
echo "faults: commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $count of each" >&2
HEADWATER_FAULTS="$count" cargo test --release -p storage --test log -- faults:: --nocapture --test-threads=1
