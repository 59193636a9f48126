#!/bin/sh
# SPDX-License-Identifier: MIT
# The kernel tests on CPUs that this machine is not: builds them for x86-64 and aarch64 (nothing but a C compiler and
# its static C library is needed) and runs them in qemu-user. QEMU 7.2 emulates no AVX-512 and no AVX-VNNI.
#
#   run_emulated.sh [cases]      exits 77 when nothing could run
#
# Environment: CC (x86-64 compiler, gcc), CROSS_CC (aarch64-linux-gnu-gcc).
set -eu
cases=${1:-6}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ran=0
failed=0

note() {
    echo "run_emulated: $*"
}

# compile COMPILER FILE FLAGS...: one object in $work
compile() {
    compiler=$1 file=$2
    shift 2
    "$compiler" -std=c11 -O2 -D_POSIX_C_SOURCE=200809L -fno-math-errno -ffp-contract=off -I"$root/include" \
        -I"$root/lib" -I"$root/backends" "$@" -c "$root/$file" -o "$work/$(basename "$file" .c).o"
}

# flags NAME: those that backends/meson.build gives to a backend, or to a file in its list of files with more flags
flags() {
    tr -d '\n' < "$root/backends/meson.build" | sed -n "s/.*'$1'[^[]*\[\([^]]*\)\].*/\1/p" | tr -d "',"
}

# backend COMPILER NAME: the objects of all files of a backend
backend() {
    for path in "$root/backends/$2"/*.c; do
        name=$(basename "$path" .c)
        case $name in
        init_*) wanted= ;;
        *_"$2") wanted=$(flags "$2") ;;
        *) wanted="$(flags "$2") $(flags "$name")" ;;
        esac
        # shellcheck disable=SC2086 # a list of flags
        compile "$1" "backends/$2/$name.c" $wanted
    done
}

# program COMPILER OUTPUT DEFINES...: the rest, and everything in $work linked
program() {
    compiler=$1 output=$2
    shift 2
    for file in lib/kernel/cpu.c lib/kernel/select.c; do
        compile "$compiler" $file "$@"
    done
    for file in "$root"/tests/kernels/*.c; do
        compile "$compiler" "tests/kernels/$(basename "$file")"
    done
    "$compiler" -static "$work"/*.o -o "$work/$output" -lm
    rm -f "$work"/*.o
}

# run PROGRAM BACKENDS EMULATOR ARGUMENTS...: BACKENDS is what the emulated CPU must find, best first
run() {
    program=$1 expected=$2
    shift 2
    note "$* (expects $expected)"
    found=$("$@" "$work/$program" --list | tr '\n' ' ')
    ran=1
    if [ "$found" != "$expected " ]; then
        note "found backends: $found"
        failed=1
    fi
    "$@" "$work/$program" --cases "$cases" || failed=1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

host_cc=${CC:-gcc}
cross_cc=${CROSS_CC:-aarch64-linux-gnu-gcc}

if ! have qemu-x86_64; then
    note "skipping older x86-64 CPUs: no qemu-x86_64 (Debian package qemu-user)"
elif [ "$(uname -m)" != x86_64 ]; then
    note "skipping older x86-64 CPUs: $host_cc does not build for x86-64 here"
else
    backend "$host_cc" scalar
    backend "$host_cc" avx2
    backend "$host_cc" avx512
    program "$host_cc" kernels-x86_64 -DDQG_HAVE_SCALAR=1 -DDQG_HAVE_AVX2=1 -DDQG_HAVE_AVX512=1
    run kernels-x86_64 "avx2 scalar" qemu-x86_64 -cpu Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid
    run kernels-x86_64 "scalar" qemu-x86_64 -cpu Nehalem
fi

if ! have qemu-aarch64; then
    note "skipping aarch64: no qemu-aarch64 (Debian package qemu-user)"
elif ! have "$cross_cc"; then
    note "skipping aarch64: no $cross_cc (Debian packages gcc-aarch64-linux-gnu and libc6-dev-arm64-cross)"
else
    backend "$cross_cc" scalar
    backend "$cross_cc" neon
    program "$cross_cc" kernels-aarch64 -DDQG_HAVE_SCALAR=1 -DDQG_HAVE_NEON=1
    run kernels-aarch64 "neon-mm neon-dot neon scalar" qemu-aarch64 -cpu max
    run kernels-aarch64 "neon scalar" qemu-aarch64 -cpu cortex-a53
fi

if [ $ran = 0 ]; then
    exit 77
fi
exit $failed
