#!/usr/bin/env bash
# All that CI runs; `make test` sets the shared build folder and where RocksDB is. The last lines are cargo's own.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { echo "== $*" >&2; }

step 'format'
cargo fmt --all --check

step 'lints'
# In release like the rest, so that build scripts and macros are compiled once.
cargo clippy --release --workspace --all-targets -- -D warnings

step 'the binary that the stories drive'
cargo build --release --workspace --bins

step 'tests'
cargo test --release --workspace --no-fail-fast
