#!/bin/sh
# SPDX-License-Identifier: MIT
# Reports, without failing, which C files clang-format would change. Skipped (status 77) where clang-format is missing.
set -u
cd "$(dirname "$0")/../.." || exit 1
command -v clang-format > /dev/null || { echo "clang-format is not installed"; exit 77; }
find lib backends include examples tests \( -name '*.c' -o -name '*.h' \) -exec clang-format --dry-run {} + 2>&1 |
    sed -n 's/^\([^ :]*\):.* warning: .*/\1/p' | sort | uniq -c
echo "(files that clang-format would change, with the number of places)"
