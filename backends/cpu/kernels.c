/*
 * kernels.c - the table of kernels of one instruction set.
 */
#include "kernels.h"

const cpu_kernel ISA(cpu_kernels)[TN_OP_COUNT] = {
#define XX(op, in, out, name) [TN_OP_##op] = {ISA(name), in, out},
    CPU_KERNEL_MAP(XX)
#undef XX
};
