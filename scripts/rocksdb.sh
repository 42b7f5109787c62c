#!/usr/bin/env bash
# Makes sure that RocksDB is compiled, once for everything in this checkout and after it, and prints where it is, for
# `eval`: with ROCKSDB_LIB_DIR set, cargo links that archive in debug, release, tests and benches instead of compiling
# 343 C++ files for each. Progress goes to stderr.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${HEADWATER_CACHE:-$HOME/.cache/headwater}
version=$(awk '/^name = "librocksdb-sys"$/ { getline; gsub(/"/, "", $3); print $3 }' Cargo.lock)
if [ -z "$version" ]; then
    echo 'headwater: Cargo.lock names no librocksdb-sys; run `cargo fetch` and try again' >&2
    exit 1
fi
cxx=${CXX:-c++}

# Another compiler, target or set of features is another archive.
made_by=$(
    uname -sm
    "$cxx" --version | head -n 1
    grep -v '^#' .cargo/config.toml
    grep '^rocksdb = ' Cargo.toml
)
key=$(sha256sum <<< "$made_by" | cut -c 1-12)
archive=$cache/rocksdb-$version-$key/librocksdb.a

built() {
    find "$cache/rocksdb-build/release/build" -path '*/librocksdb-sys-*/out/librocksdb.a' -printf '%T@ %p\n' 2> /dev/null |
        sort -n | tail -n 1 | cut -d ' ' -f 2-
}

if [ ! -f "$archive" ]; then
    mkdir -p "$cache"
    # Two commands at once: the second waits for the first and finds its archive.
    exec 9> "$cache/rocksdb.lock"
    flock 9
fi
if [ ! -f "$archive" ]; then
    echo "headwater: RocksDB ($version) is compiled once, about 20 minutes on 2 cores; it is kept in $cache" >&2
    started=$(date +%s)
    env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo build --release -p librocksdb-sys --target-dir "$cache/rocksdb-build" >&2
    mkdir -p "$(dirname "$archive")"
    cp "$(built)" "$archive.new"
    mv "$archive.new" "$archive"
    # What it was compiled from is 20 times the archive.
    rm -rf "$cache/rocksdb-build"
    echo "headwater: RocksDB took $(($(date +%s) - started)) seconds" >&2
fi

echo "export ROCKSDB_LIB_DIR='$(dirname "$archive")' ROCKSDB_STATIC=1"
