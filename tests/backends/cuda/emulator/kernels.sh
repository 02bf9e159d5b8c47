#!/bin/sh
# Reads preprocessed CUDA C++ and writes, for each kernel, the line that makes
# it known by name (SIMT_ENTRY of simt.h). Kernels are extern "C" and take one
# struct; a launch bound is a constant without parentheses.
tr '\n' ' ' | grep -o '__global__[^{;]*' | sed -nE '
    s/__launch_bounds__ *\( *([^(),]*)[^()]*\)/@\1@/
    s/^__global__ *(void)? *(@(.*)@)? *(void)? *([A-Za-z_0-9]+) *\(.*/SIMT_ENTRY(\5, \3 + 0)/p'
exit 0
