#!/bin/sh
# Compile the kernels of this folder to SPIR-V, as arrays that C includes.
#   compile.sh [OUTPUT_FOLDER]      default: spirv/ beside this script
# The arrays are kept in the repository, so that building needs no shader
# compiler; tests/backends/vulkan checks that they are what this makes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/spirv}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
for source in "$here"/*.comp; do
    name=$(basename "$source" .comp)
    glslangValidator -V -g0 --quiet --target-env vulkan1.2 -o "$work/$name.spv" "$source"
    {
        echo "/* $name.comp by compile.sh: do not edit. */"
        od -An -v -w32 -tx4 "$work/$name.spv" | sed 's/ \([0-9a-f]\{8\}\)/0x\1,/g'
    } >"$out/$name.inc"
done
glslangValidator --version | head -n 1 >"$out/compiler"
