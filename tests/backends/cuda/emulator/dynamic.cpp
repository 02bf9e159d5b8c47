/*
 * dynamic.cpp - shared memory of a size that the launch says
 * (kernels/common.cuh): as much as a block can have. module.c looks whether a
 * kernel stays within what it was launched with.
 */
alignas(1024) __attribute__((
    visibility("default"))) thread_local char dynamic_shared[227 << 10];
