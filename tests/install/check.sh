#!/bin/sh
# SPDX-License-Identifier: MIT
# check.sh BUILD-FOLDER: installs the build into an empty place and builds a C and a C++ program against it through
# pkg-config, shared and static, and runs them. Needs pkg-config, a C and a C++ compiler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
meson install -C "$build" --no-rebuild --quiet --destdir "$work/root"

pc=$(find "$work/root" -name libdqgen.pc)
[ -n "$pc" ] || { echo "libdqgen.pc was not installed"; exit 1; }
library=$(find "$work/root" -name libdqgen.so)
archive=$(find "$work/root" -name libdqgen.a)
[ -n "$library" ] && [ -n "$archive" ] || { echo "a library was not installed"; exit 1; }
readelf -d "$library" | grep -q 'SONAME.*\[libdqgen.so.0\]' || { echo "the soname is not libdqgen.so.0"; exit 1; }

# The installed files name their final place; PKG_CONFIG_SYSROOT_DIR moves it to ours.
PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$work/root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR

# try LABEL COMPILER LANGUAGE PKG-CONFIG-OPTIONS
try() {
    # shellcheck disable=SC2046,SC2086 # lists of compiler arguments
    $2 -x $3 -Wall -Wextra -pedantic -Werror "$here/consumer.c" -x none -o "$work/consumer" \
        $(pkg-config $4 --cflags --libs libdqgen)
    LD_LIBRARY_PATH=$(dirname "$library") "$work/consumer"
    echo "$1: fine"
}
try "C, shared" "gcc -std=c99" c ""
try "C++, shared" "g++ -std=c++11" c++ ""
find "$work/root" -name 'libdqgen.so*' -delete
try "C, static" "gcc -std=c99" c --static
try "C++, static" "g++ -std=c++11" c++ --static
