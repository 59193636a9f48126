#!/bin/sh
# SPDX-License-Identifier: MIT
# sh tests/bench/peers.sh [FOLDER [arguments of peers.py]]: times our products and convolutions and those of other
# libraries, all of them Debian packages that it installs, in one run; prints a table of ratios and leaves the figures
# in FOLDER (build-peers). Takes some minutes and wants the machine for itself. No test runs it.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
. examples/support/packages.sh
folder=${1:-build-peers}
[ $# -eq 0 ] || shift
# shellcheck disable=SC2086 # a list
need_packages $BUILD_PACKAGES 'dnnl.h:libdnnl-dev' 'openblas_config.h:libopenblas-pthread-dev' \
    'blis.h:libblis-serial-dev'

mkdir -p "$folder"
[ -d "$folder/dqgen" ] || meson setup "$folder/dqgen" -Dtests=false --buildtype release > "$folder/setup.log"
ninja -C "$folder/dqgen" > "$folder/build.log"

# The serial BLIS and OpenBLAS with threads of its own; headers as system headers, whose warnings are not ours.
libraries=/usr/lib/$(cc -dumpmachine)
headers=/usr/include/$(cc -dumpmachine)
flags='-std=c11 -O2 -Wall -Wextra -D_POSIX_C_SOURCE=200809L'
# shellcheck disable=SC2086 # flags
{
    cc $flags -DPEER_OWN_THREADS -isystem "$headers/openblas-pthread" tests/bench/peer_sgemm.c \
        -o "$folder/peer_openblas" -L"$libraries/openblas-pthread" -lopenblas
    cc $flags -fopenmp -isystem "$headers/blis-serial" tests/bench/peer_sgemm.c -o "$folder/peer_blis" \
        "$libraries/blis-serial/libblis.a" -lm -lpthread
    cc $flags tests/bench/peer_onednn.c -o "$folder/peer_onednn" -ldnnl
}
LD_LIBRARY_PATH=$libraries/openblas-pthread python3 tests/bench/peers.py "$folder" "$@"
