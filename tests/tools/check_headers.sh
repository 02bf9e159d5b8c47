#!/bin/sh
# Every public header compiles alone, as C11 and as C++.
# usage: check_headers.sh SOURCE_DIR CC [CXX]
set -eu
cd "$1"
for header in core/include/tenon/*.h; do
    name=tenon/$(basename "$header")
    echo "#include <$name>" | "$2" -std=c11 -Wall -Wextra -Wpedantic -Werror \
        -Icore/include -x c -fsyntax-only -
    if [ -n "${3:-}" ] && command -v "$3" >/dev/null 2>&1; then
        echo "#include <$name>" | "$3" -std=c++17 -Wall -Werror \
            -Icore/include -x c++ -fsyntax-only -
    fi
done
