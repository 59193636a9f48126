#!/bin/sh
# SPDX-License-Identifier: MIT
# Compares the binary interface with the recorded one (libdqgen.abixml). Additions are fine; whatever is removed or
# changed fails: it breaks programs that were linked before. Skipped (77) on other processors and without abidiff.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
command -v abidiff > /dev/null || { echo "abidiff (abigail-tools) is not installed"; exit 77; }
[ "$(uname -m)" = x86_64 ] || { echo "the baseline is that of x86_64"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
library=$(sh "$here/build.sh" "$work/build") || exit 1
if abidiff --exported-interfaces-only --no-added-syms --drop-private-types --headers-dir2 "$root/include" \
    "$here/libdqgen.abixml" "$library"; then
    echo "nothing was removed or changed"
else
    echo "the interface differs from tests/abi/libdqgen.abixml; docs/abi.md says what to do"
    exit 1
fi
