#!/bin/sh
# SPDX-License-Identifier: MIT
# The public header compiles alone, twice in a row, in every language and with every compiler that users have.
# Called by the test runner; needs at least one C and one C++ compiler.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '#include "libdqgen.h"\n#include "libdqgen.h"\nextern int header_alone;\n' > "$work/alone.c"
cp "$work/alone.c" "$work/alone.cpp"
failed=0
used_c=0
used_cpp=0
for try in 'gcc c99' 'gcc c11' 'gcc c17' 'clang c99' 'clang c11' \
           'g++ c++11' 'g++ c++20' 'clang++ c++11' 'clang++ c++20'; do
    set -- $try
    command -v "$1" > /dev/null || { echo "no $1 here"; continue; }
    source=alone.c
    case $1 in *++) source=alone.cpp; used_cpp=1 ;; *) used_c=1 ;; esac
    if "$1" -std="$2" -pedantic -Wall -Wextra -Wundef -Werror -I"$root/include" -fsyntax-only "$work/$source"; then
        echo "$1 -std=$2: fine"
    else
        echo "$1 -std=$2: the header does not compile alone"
        failed=1
    fi
done
[ $used_c = 1 ] && [ $used_cpp = 1 ] || { echo "a C and a C++ compiler are needed"; failed=1; }
exit $failed
