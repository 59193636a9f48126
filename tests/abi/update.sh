#!/bin/sh
# SPDX-License-Identifier: MIT
# Records the binary interface of this tree as the baseline. Run for a release, after additions; docs/abi.md says when.
# Experimental functions are left out.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
library=$(sh "$here/build.sh" "$work/build")
abidw --exported-interfaces-only --drop-private-types --headers-dir "$root/include" --no-corpus-path \
    --no-comp-dir-path --no-show-locs --no-elf-needed --suppressions "$here/experimental.suppr" \
    --out-file "$work/abixml" "$library"
sed "s#path='[^']*/lib/#path='lib/#" "$work/abixml" > "$here/libdqgen.abixml"
echo "wrote $here/libdqgen.abixml"
