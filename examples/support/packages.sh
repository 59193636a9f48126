# SPDX-License-Identifier: MIT
# Install what a build needs, without asking, and only what is missing. Sourced by examples/quickstart.sh and
# tests/run.sh (POSIX sh):
#
#     need_packages 'meson:meson' 'libzstd.pc:libzstd-dev' 'blis.h:libblis-serial-dev|libblis-dev'
#
# Before the colon stands what must be there: a command, a path (/name), a pkg-config module (name.pc) or a header
# (name.h). After it the Debian package that brings it, or several with '|' between them, of which the first one known
# to apt is taken.

# What building the library and the command line takes.
BUILD_PACKAGES='compiler:build-essential meson:meson ninja:ninja-build pkg-config:pkg-config libzstd.pc:libzstd-dev
libxxhash.pc:libxxhash-dev libpng.pc:libpng-dev blis.h:libblis-serial-dev|libblis-dev'

# Is it there? A header may lie in a folder of its own below the include directories.
have() {
    case $1 in
    compiler)
        for have_cc in "${CC:-cc}" gcc clang; do
            command -v "$have_cc" >/dev/null 2>&1 && return 0
        done
        return 1
        ;;
    /*) [ -e "$1" ] ;;
    /*) [ -e "$1" ] ;;
    *.pc) command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "${1%.pc}" ;;
    *.h) [ -n "$(find -L /usr/include /usr/local/include -maxdepth 4 -name "$1" -print 2>/dev/null | head -n 1)" ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# Run as root, through sudo where we are not.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "cannot run '$*': not root, and there is no sudo" >&2
        return 1
    fi
}

apt_quiet() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null >/dev/null
}

# Lists the 'what:package' entries that are missing, one a line.
missing_packages() {
    for entry in "$@"; do
        have "${entry%%:*}" || echo "$entry"
    done
}

# need_packages WHAT:PACKAGE... - returns 1 with a message when something is missing and cannot be installed.
need_packages() {
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "please install (there is no apt-get here to do it):" >&2
        echo "$missing" | sed 's/:/, Debian package /; s/^/  /' >&2
        return 1
    fi
    apt_quiet update || echo "apt-get update failed; trying with the package lists at hand" >&2
    wanted=
    for entry in $missing; do
        candidates=$(echo "${entry#*:}" | tr '|' ' ')
        chosen=${candidates%% *}
        for package in $candidates; do
            if apt-cache show "$package" >/dev/null 2>&1; then
                chosen=$package
                break
            fi
        done
        wanted="$wanted $chosen"
    done
    echo "installing:$wanted"
    # shellcheck disable=SC2086 # a list of package names
    if ! apt_quiet install --no-install-recommends $wanted; then
        echo "could not install:$wanted" >&2
        return 1
    fi
    missing=$(missing_packages "$@")
    if [ -n "$missing" ]; then
        echo "still missing after the installation: $(echo "$missing" | tr '\n' ' ')" >&2
        return 1
    fi
}
