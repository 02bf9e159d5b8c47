/*
 * blas.h - cuBLASLt where it is installed: the products it takes, and which of
 * its algorithms.
 *
 * Opened at run time like the driver. Without it (or with `cublas: false`) all
 * products are our own kernels'.
 */
#ifndef CUDA_BLAS_H
#define CUDA_BLAS_H

#include "product.h"

enum { /* cublasComputeType_t, cudaDataType_t, cublasOperation_t */
       CUBLAS_COMPUTE_32F = 68,
       CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
       CUBLAS_R_32F = 0,
       CUBLAS_R_16BF = 14,
       CUBLAS_OP_N = 0,
       CUBLAS_OP_T = 1,
};

enum { /* attributes of descriptions, layouts and preferences */
       CUBLASLT_DESC_TRANSA = 3,
       CUBLASLT_DESC_TRANSB = 4,
       CUBLASLT_LAYOUT_BATCH_COUNT = 5,
       CUBLASLT_LAYOUT_BATCH_STRIDE = 6,
       CUBLASLT_PREF_WORKSPACE = 1,
       CUBLASLT_PREF_ALIGNMENT_A = 5, /* then of B, C and D */
};

typedef struct cublasLtAlgo {
    uint64_t data[8];
} cublasLtAlgo;

typedef struct cublasLtHeuristic {
    cublasLtAlgo algo;
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
} cublasLtHeuristic;

/* Handles are opaque pointers; a stream of the driver's is one of the
 * runtime's.   XX(result, member, symbol, arguments) */
#define GPU_BLAS_MAP(XX)                                                       \
    XX(int, Create, "cublasLtCreate", (void **handle))                         \
    XX(int, Destroy, "cublasLtDestroy", (void *handle))                        \
    XX(size_t, GetVersion, "cublasLtGetVersion", (void))                       \
    XX(int, DescCreate, "cublasLtMatmulDescCreate",                            \
       (void **desc, int compute, int scale))                                  \
    XX(int, DescDestroy, "cublasLtMatmulDescDestroy", (void *desc))            \
    XX(int, DescSet, "cublasLtMatmulDescSetAttribute",                         \
       (void *desc, int attribute, const void *value, size_t bytes))           \
    XX(int, LayoutCreate, "cublasLtMatrixLayoutCreate",                        \
       (void **layout, int type, uint64_t rows, uint64_t columns,              \
        int64_t pitch))                                                        \
    XX(int, LayoutDestroy, "cublasLtMatrixLayoutDestroy", (void *layout))      \
    XX(int, LayoutSet, "cublasLtMatrixLayoutSetAttribute",                     \
       (void *layout, int attribute, const void *value, size_t bytes))         \
    XX(int, PreferenceCreate, "cublasLtMatmulPreferenceCreate",                \
       (void **preference))                                                    \
    XX(int, PreferenceDestroy, "cublasLtMatmulPreferenceDestroy",              \
       (void *preference))                                                     \
    XX(int, PreferenceSet, "cublasLtMatmulPreferenceSetAttribute",             \
       (void *preference, int attribute, const void *value, size_t bytes))     \
    XX(int, Heuristic, "cublasLtMatmulAlgoGetHeuristic",                       \
       (void *handle, void *desc, void *a, void *b, void *c, void *d,          \
        void *preference, int wanted, cublasLtHeuristic *results, int *found)) \
    XX(int, Matmul, "cublasLtMatmul",                                          \
       (void *handle, void *desc, const void *alpha, const void *a,            \
        void *a_layout, const void *b, void *b_layout, const void *beta,       \
        const void *c, void *c_layout, void *d, void *d_layout,                \
        const cublasLtAlgo *algo, void *workspace, size_t bytes,               \
        CUstream stream))

struct gpu_blas {
#define XX(result, name, symbol, arguments) result(*name) arguments;
    GPU_BLAS_MAP(XX)
#undef XX
    void *handle;
    tn_buffer *workspace;
    gpu_cache chosen; /* algorithms, by what they multiply */
    uint32_t tf32;
};

/* One product, described: y (rows, columns) += or = a b. */
struct gpu_blas_call {
    void *desc, *a_layout, *b_layout, *y_layout;
    uint64_t a, b, y;
    float beta;
    cublasLtAlgo algo;
    size_t workspace;
};

/* Opens the library; *blas stays NULL where it is absent, or not for this
 * device. */
tn_status gpu_blas_open(tn_device *d, uint32_t tf32, int keep, gpu_blas **blas,
                        tn_error *err);
void gpu_blas_close(tn_device *d, gpu_blas *blas);

/* A call for product `p`; *call stays NULL where this library does not take
 * such a product. Freed by gpu_blas_free. */
tn_status gpu_blas_describe(tn_device *d, const gpu_product *p,
                            gpu_blas_call **call, tn_error *err);
void gpu_blas_free(const tn_device *d, gpu_blas_call *call);

tn_status gpu_blas_start(const tn_device *d, const gpu_blas_call *call,
                         tn_error *err);

#endif
