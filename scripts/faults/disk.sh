#!/usr/bin/env bash
# Disks that fill up, whose syncs fail, and that crawl: FAULT_ROUNDS rounds of each (500). The small disks need root, the
# failing syncs strace; what cannot be done here is skipped with its reason.
set -euo pipefail
cd "$(dirname "$0")/../.."

export FAULT_ROUNDS=${FAULT_ROUNDS:-500}
echo "== disk: $FAULT_ROUNDS rounds, commit $(git rev-parse --short HEAD 2> /dev/null || echo unknown)" >&2
cargo test --release --workspace --test stories -- --nocapture --test-threads=1 disk::
