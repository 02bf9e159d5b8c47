#!/bin/sh
# test_install.sh BUILD SOURCE CC: what is installed is enough.
#
# Installs into a temporary prefix and moves that elsewhere: nothing may
# remember where it was. From there on only the prefix is used: new plugins are
# written, built by CMake and by one cc line, checked, and trained with.
set -eu
build=$1 source=$2 cc=$3
unset TENON_PLUGIN_PATH TENON_BINARY TENON_SOURCE
# what built Tenon builds its plugins: there need not be a make
CMAKE_GENERATOR=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$build/CMakeCache.txt")
export CMAKE_GENERATOR

work=$(mktemp -d /tmp/tenon-install-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

say() { printf '\n== %s\n' "$1"; }

# must TEXT PATTERN: the text has a line that matches.
must() {
    printf '%s\n' "$1" | grep -q -- "$2" && return
    printf '%s\nno line matches: %s\n' "$1" "$2"
    exit 1
}

say "install, then move"
cmake --install "$build" --prefix "$work/first" > install.log
mv first prefix
tenon=$work/prefix/bin/tenon
"$tenon" --version
list=$("$tenon" plugins)
must "$list" "^arch *transformer .*available"
must "$list" "^backend *cpu .*available"
must "$list" "$work/prefix/.*/tenon/plugins-1"
# Its folders' names behind it: a source of /tenon is part of lib/tenon/plugins.
folders=$(cd "$source" && ls -d */ | tr '\n' '|')
if grep -rlE "$source/(${folders%|})" prefix > found 2>&1; then
    echo "installed files name the source folder:" && cat found
    exit 1
fi

pc=$(dirname "$(find prefix -name tenon.pc)")
export PKG_CONFIG_PATH=$work/$pc
[ "$(pkg-config --variable=abi tenon)" = 1 ]
plugindir=$(pkg-config --variable=plugindir tenon)
[ -f "$plugindir/tenon-optimizer-adamw.so" ]

say "a new architecture, by CMake"
"$tenon" new arch gated > new.log
cmake -S gated -B gated/build -DCMAKE_PREFIX_PATH="$work/prefix" \
    -DCMAKE_C_COMPILER="$cc" > cmake.log || { cat cmake.log; exit 1; }
cmake --build gated/build > build.log || { cat build.log; exit 1; }
(cd gated/build && ctest --output-on-failure)
cmake --install gated/build > install.log
must "$("$tenon" plugins)" "^arch *gated .*available"

say "a new optimizer, by one cc line"
"$tenon" new optimizer heavy_ball > new.log
mkdir mine
# shellcheck disable=SC2046 # the flags are words
"$cc" -shared -fPIC -O2 -Wall -Wextra -Werror $(pkg-config --cflags tenon) \
    -o mine/tenon-optimizer-heavy_ball.so heavy_ball/heavy_ball.c
"$tenon" check-plugin mine/tenon-optimizer-heavy_ball.so
TENON_PLUGIN_PATH=$work/mine
export TENON_PLUGIN_PATH
must "$("$tenon" plugins)" "^optimizer *heavy_ball .*available"
must "$("$tenon" plugins show heavy_ball)" "momentum"
"$tenon" train -f heavy_ball/heavy_ball.yaml --headless > train.log
must "$(tail -n 1 train.log)" '"step": *20'

say "the how-to's architecture, with nothing but headers"
cp "$source"/tests/example/linear_attention.c .
# shellcheck disable=SC2046
"$cc" -shared -fPIC -O2 $(pkg-config --cflags tenon) \
    -o mine/tenon-arch-linear_attention.so linear_attention.c -lm
"$tenon" check-plugin mine/tenon-arch-linear_attention.so

say "all of it works"
