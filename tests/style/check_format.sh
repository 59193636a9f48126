#!/bin/sh
# SPDX-License-Identifier: MIT
# Reports, without failing, which C files clang-format would change. Skipped (status 77) where clang-format is missing.
set -u
cd "$(dirname "$0")/../.." || exit 1
command -v clang-format > /dev/null || { echo "clang-format is not installed"; exit 77; }
total=0
changed=0
for file in $(find lib backends include examples tests \( -name '*.c' -o -name '*.h' \) | sort); do
    total=$((total + 1))
    lines=$(clang-format "$file" | diff "$file" - | grep -c '^>')
    [ "$lines" = 0 ] || { changed=$((changed + 1)); echo "$file: $lines lines"; }
done
echo "clang-format would change $changed of $total files"
