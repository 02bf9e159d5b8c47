/*
 * cudnn.h - the functions of the tests' cuDNN, named after their rows in the
 * backend's list, so that the compiler holds the two together.
 */
#ifndef SIMT_CUDNN_H
#define SIMT_CUDNN_H

#include "dnn.h"
#include "driver.h"

#define XX(result, name, symbol, arguments)                                    \
    TN_EXPORT result dnn_##name arguments __asm__(symbol);
GPU_DNN_MAP(XX)
#undef XX

/* How often a plan ran. */
SIMT_EXPORT unsigned long simt_cudnn_runs(void);

#endif
