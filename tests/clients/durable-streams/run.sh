#!/usr/bin/env bash
# Runs the conformance suite of the Durable Streams protocol (npm, pinned in package.json) against a node of its own,
# and prints what passed. Exits non-zero when anything fails that docs/protocol.md does not name as missing.
# `HEADWATER` is the binary, by default the one that `make build` makes.
set -euo pipefail
cd "$(dirname "$0")"

cache=${HEADWATER_CACHE:-$HOME/.cache/headwater}
binary=${HEADWATER:-$cache/target/release/headwater}
if ! command -v npm > /dev/null; then
    echo 'skipped: npm is missing; the suite is a program for Node.js 20 or later'
    exit 0
fi

place=$cache/durable-streams-conformance
mkdir -p "$place"
cp package.json conformance.test.js summary.js not-supported.json "$place/"
cd "$place"
npm install --no-audit --no-fund --loglevel=error > npm.log 2>&1 || { cat npm.log >&2; exit 1; }

work=$(mktemp -d)
# The suite asks from https://example.com whether pages may read.
"$binary" serve --json --data "$work/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
    --set gateway.allowed_origins=https://example.com > "$work/ready" 2> "$work/log" &
node=$!
trap 'kill "$node" 2> /dev/null || true; wait "$node" 2> /dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
    grep -q '"ready"' "$work/ready" && break
    kill -0 "$node" 2> /dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
address=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$work/ready")
version=$("$binary" --version)
echo "$version at $address, $(sed -n 's/.*"\(@durable-streams[^"]*\)": "\([^"]*\)".*/\1@\2/p' package.json)"
# A long poll without news takes 20 s here, longer than the runner lets a test take by itself.
HEADWATER_URL=$address npx vitest run --testTimeout=60000 --reporter=json --outputFile="$work/results.json" > "$work/vitest" 2>&1 || true
if [ ! -s "$work/results.json" ]; then
    cat "$work/vitest" >&2
    exit 1
fi
node summary.js "$work/results.json" not-supported.json
