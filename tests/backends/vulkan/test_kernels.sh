#!/bin/sh
# The arrays in backends/vulkan/kernels/spirv are what compile.sh makes of the
# sources, where the compiler is the one they were made with; and every one of
# them is valid.
set -eu
kernels=$1/backends/vulkan/kernels
if ! command -v glslangValidator >/dev/null || ! command -v spirv-val >/dev/null; then
    echo "passed over: glslangValidator or spirv-val is not installed"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$kernels/compile.sh" "$work/spirv"
for source in "$kernels"/*.comp; do
    glslangValidator -V -g0 --quiet --target-env vulkan1.2 -o "$work/kernel.spv" "$source"
    spirv-val --target-env vulkan1.2 "$work/kernel.spv"
done
if ! cmp -s "$work/spirv/compiler" "$kernels/spirv/compiler"; then
    echo "not compared: the arrays were made by $(cat "$kernels/spirv/compiler")"
    exit 0
fi
if ! diff -rq "$work/spirv" "$kernels/spirv"; then
    echo "kernels/spirv is not what the sources are: run ninja vulkan-kernels" >&2
    exit 1
fi
