#!/usr/bin/env bash
# Fuzzes what reads bytes from a disk or from a stranger, FUZZ_SECONDS each (60), and prints commit and executions. What is
# found anew is kept in the build folder; a crash ends it with the input's name. Stable Rust is enough: libFuzzer needs
# only the compiler's coverage counters, and there is no unsafe code of ours that a sanitizer would watch.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${FUZZ_SECONDS:-60}
target=${CARGO_TARGET_DIR:-target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
cpu=$(grep -A 1 "target_arch = \"$(uname -m)\"" .cargo/config.toml | sed -n 's/^rustflags = \[\(.*\)\]/\1/p' | tr -d '",')
counters='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares'
# The versions that everything else is compiled with.
cp Cargo.lock fuzz/Cargo.lock
# For the host alone, so that build scripts are compiled without counters.
RUSTFLAGS="$cpu $(tr -s '\n ' ' ' <<< "$counters") -Ccodegen-units=1 -Cdebug-assertions --cfg fuzzing" \
    cargo build --release --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$target" --bins

echo "fuzz: commit $(git rev-parse --short HEAD 2> /dev/null || echo unknown), $seconds s each" >&2
for path in fuzz/fuzz_targets/*.rs; do
    name=$(basename "$path" .rs)
    found=$target/found/$name
    mkdir -p "$found"
    if ! "$target/$host/release/$name" -max_total_time="$seconds" -print_final_stats=1 -rss_limit_mb=1024 -timeout=10 \
        -max_len=16384 -artifact_prefix="$found-" "$found" "fuzz/corpus/$name" > "$target/$name.log" 2>&1; then
        tail -n 40 "$target/$name.log" >&2
        echo "fuzz: $name failed; all it said is in $target/$name.log" >&2
        exit 1
    fi
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$target/$name.log")
    echo "$name: $executed executions, seed $(sed -n 's/^INFO: Seed: //p' "$target/$name.log"), nothing found"
done
