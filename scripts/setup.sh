#!/usr/bin/env bash
# Installs what Headwater needs and this machine lacks, saying what and why; silent when nothing is missing. More can be
# asked for as arguments, each `package: why`.
set -euo pipefail

if ! command -v cargo > /dev/null; then
    echo 'headwater: Rust is missing. Install it from https://rustup.rs, open a new shell, and try again.' >&2
    exit 1
fi

# package: why
needed=(
    'g++: compiles RocksDB, the storage engine under the log'
    'libclang1-14: lets bindgen read RocksDB'"'"'s C header'
    'libclang-common-14-dev: the compiler headers that bindgen needs beside it'
    "$@"
)

missing=()
for line in "${needed[@]}"; do
    package=${line%%:*}
    if ! dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q '^install ok installed$'; then
        echo "headwater: installing $package ($(sed 's/^[^:]*: //' <<< "$line"))" >&2
        missing+=("$package")
    fi
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

if ! command -v apt-get > /dev/null; then
    echo "headwater: this is no Debian; install what corresponds to ${missing[*]} yourself, and try again." >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
        echo "headwater: run as root, or install sudo, or: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}
install || { "${as_root[@]}" apt-get update -qq && install; }
