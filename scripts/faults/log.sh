#!/usr/bin/env bash
# Does to the log what disks, kernels and operators do, COUNT times each (2000; a twentieth of it where every fault
# takes a process and a second), and prints seed, commit and counts. The tests do a sample of the same. Power cuts need
# root and loop devices; without them they are skipped, with the reason.
set -euo pipefail
cd "$(dirname "$0")/../.."

scripts/setup.sh \
    'strace: kills the log at its n-th sync, write and rename' \
    'e2fsprogs: makes the ext4 images that lose their power' \
    'xfsprogs: makes the XFS images that lose their power' \
    'python3: cuts that power, with one ioctl' \
    'eatmydata: makes syncs do nothing, so that a power cut must be seen to lose something' ||
    echo 'faults: what could not be installed is skipped' >&2

count="${COUNT:-2000}"
echo "faults: commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $count of each" >&2
HEADWATER_FAULTS="$count" cargo test --release --workspace --test log -- faults:: --nocapture --test-threads=1
