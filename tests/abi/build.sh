#!/bin/sh
# SPDX-License-Identifier: MIT
# build.sh FOLDER: a shared library with debug information in FOLDER, for check.sh and update.sh. Prints its path.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ ! -f "$1/build.ninja" ]; then
    CC=gcc meson setup "$1" "$root" --buildtype=debugoptimized -Ddefault_library=shared -Dtests=false -Dcli=false >&2
fi
meson compile -C "$1" dqgen >&2
echo "$1/lib/libdqgen.so"
