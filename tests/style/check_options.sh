#!/bin/sh
# SPDX-License-Identifier: MIT
# check_options.sh PRINT_OPTIONS: docs/options.md is what the option table says today.
page=$(cd "$(dirname "$0")/../.." && pwd)/docs/options.md
if ! "$1" | diff -u "$page" -; then
    echo "docs/options.md differs from the option table; renew it: $1 > $page"
    exit 1
fi
