#!/bin/sh
# SPDX-License-Identifier: MIT
# sh tests/run.sh [STAGE...]: installs what is missing, builds and runs all tests in build-tests/. The stages, in order:
#
#   release   gcc, shared and static: every suite, kernels on emulated older processors and on aarch64 among them
#   asan      AddressSanitizer and UndefinedBehaviorSanitizer: all but the suites that look at release builds
#   tsan      ThreadSanitizer: what uses threads
#   noblis    clang, without BLIS: units, kernels, golden results
#   valgrind  memcheck on a few programs of the noblis build
#
# The last line is "N passed, N failed, N skipped", counted over all stages; the exit status is 0 when none failed.
# docs/testing.md tells more.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
. examples/support/packages.sh

logs=$root/build-tests/logs
passed=0
failed=0
skipped=0
notes=

# ---- counting ----

# note STAGE RESULT-TEXT: a line of the summary
note() {
    notes="$notes$(printf '%-9s %s' "$1" "$2")
"
}

# skip STAGE WHY
skip() {
    echo "SKIP $1: $2"
    note "$1" "SKIPPED: $2"
    skipped=$((skipped + 1))
}

# broken STAGE WHAT: something that is no test failed, such as a build
broken() {
    echo "FAIL $1: $2"
    note "$1" "FAILED: $2"
    failed=$((failed + 1))
}

# The number that meson printed after a word such as "Ok:"; 0 where it printed none.
meson_count() {
    number=$(sed -n "s/^$1: *\([0-9][0-9]*\).*/\1/p" "$2" | tail -n 1)
    echo "${number:-0}"
}

# ---- building and running ----

# build STAGE COMPILER MESON-OPTION...: configures and compiles build-tests/STAGE
build() {
    build_stage=$1
    compiler=$2
    shift 2
    echo
    echo "==== $build_stage: build ===="
    folder=build-tests/$build_stage
    set -- "$@" -Dwarning_level=3 -Dwerror=true
    # A build with the same options goes on from where it is; otherwise it starts anew.
    if [ "$(cat "$folder/options" 2>/dev/null)" != "$compiler $*" ]; then
        rm -rf "$folder"
        if ! CC=$compiler meson setup "$folder" "$@" > "$logs/$build_stage.setup" 2>&1; then
            cat "$logs/$build_stage.setup"
            broken "$build_stage" "meson setup"
            return 1
        fi
        echo "$compiler $*" > "$folder/options"
    fi
    if ! ninja -C "$folder" > "$logs/$build_stage.build" 2>&1; then
        grep -v '^\[' "$logs/$build_stage.build" | head -n 80
        broken "$build_stage" "build; the whole text is in $logs/$build_stage.build"
        return 1
    fi
}

# run_tests STAGE FOLDER MESON-TEST-ARGUMENT...: runs tests of a built folder and counts them
run_tests() {
    stage=$1
    folder=$2
    shift 2
    echo
    echo "==== $stage: tests ===="
    log=$logs/$stage.log
    meson test -C "$folder" --no-rebuild --print-errorlogs "$@" > "$log" 2>&1
    status=$?
    cat "$log"
    ok=$(($(meson_count Ok "$log") + $(meson_count 'Expected Fail' "$log")))
    bad=$(($(meson_count Fail "$log") + $(meson_count 'Unexpected Pass' "$log") + $(meson_count Timeout "$log")))
    out=$(meson_count Skipped "$log")
    [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
    [ "$ok" != 0 ] || [ "$bad" != 0 ] || bad=1
    passed=$((passed + ok))
    failed=$((failed + bad))
    skipped=$((skipped + out))
    note "$stage" "$ok passed, $bad failed, $out skipped"
    [ "$bad$out" = 00 ] || notes="$notes$(not_passed "$log")
"
}

# not_passed LOG: one line for each test that failed or was skipped
not_passed() {
    sed -nE 's,^ *[0-9]+/[0-9]+ (.* (FAIL|TIMEOUT|ERROR|INTERRUPT|SKIP) .*),          \1,p' "$1" | sort -u
}

# ---- what must be installed ----

TEST_PACKAGES='gcc:gcc g++:g++ cmocka.pc:libcmocka-dev python3:python3'
OPTIONAL_PACKAGES='clang:clang clang-format:clang-format valgrind:valgrind abidiff:abigail-tools qemu-aarch64:qemu-user
aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdio.h:libc6-dev-arm64-cross'

install_packages() {
    # shellcheck disable=SC2086 # lists of entries
    need_packages $BUILD_PACKAGES $TEST_PACKAGES $OPTIONAL_PACKAGES && return 0
    # shellcheck disable=SC2086
    need_packages $BUILD_PACKAGES $TEST_PACKAGES || return 1
    for entry in $OPTIONAL_PACKAGES; do
        need_packages "$entry" || skip install "${entry#*:} cannot be installed; what needs it is left out"
    done
}

# ---- stages ----

stage_release() {
    build release gcc --buildtype=release -Ddefault_library=both || return
    run_tests release build-tests/release
}

stage_asan() {
    build asan gcc --buildtype=debugoptimized -Ddefault_library=static -Db_sanitize=address,undefined \
        -Db_lundef=false '-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer' || return
    # Not detect_stack_use_after_return: gcc 12 then breaks the alignment of 64-byte vectors on the stack.
    export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1
    run_tests asan build-tests/asan -t 6 --suite unit --suite kernels --suite fuzz --suite golden --suite cli
}

stage_tsan() {
    build tsan gcc --buildtype=debugoptimized -Ddefault_library=static -Db_sanitize=thread -Db_lundef=false \
        -Dblis=disabled -Dcli=false || return
    export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
    run_tests tsan build-tests/tsan -t 10 --suite threads
}

stage_noblis() {
    command -v clang > /dev/null || { skip noblis "no clang"; return; }
    # DWARF 4: valgrind 3.19 does not read what clang writes by default.
    build noblis clang --buildtype=debugoptimized -Ddefault_library=static -Dblis=disabled -Dcli=false \
        -Dc_args=-gdwarf-4 || return
    run_tests noblis build-tests/noblis -t 4 --suite unit --suite kernels --suite golden
}

stage_valgrind() {
    command -v valgrind > /dev/null || { skip valgrind "no valgrind"; return; }
    [ -f build-tests/noblis/build.ninja ] || { skip valgrind "the noblis build is missing"; return; }
    run_tests valgrind build-tests/noblis -t 20 --suite valgrind \
        --wrap='valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect,possible'
}

# ---- main ----

mkdir -p "$logs"
started=$(date +%s)
if install_packages; then
    for stage_name in ${*:-release asan tsan noblis valgrind}; do
        case $stage_name in
        release | asan | tsan | noblis | valgrind) "stage_$stage_name" ;;
        *) broken "$stage_name" "no such stage" ;;
        esac
    done
else
    broken install "packages are missing, see above"
fi

echo
echo "==== summary, after $(($(date +%s) - started)) s ===="
printf '%s' "$notes"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
