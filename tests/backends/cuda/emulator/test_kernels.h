/*
 * test_kernels.h - what the kernels of test_kernels.cu are given.
 */
#ifndef TEST_KERNELS_H
#define TEST_KERNELS_H

enum { TEST_TILE = 8, TEST_COLLECTED = 10 };

typedef struct test_args {
    unsigned long long x, y; /* addresses of floats */
    long long count, width;
} test_args;

#endif
