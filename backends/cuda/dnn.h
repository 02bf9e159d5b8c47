/*
 * dnn.h - cuDNN's attention where it is installed: the operations it takes, and
 * whether it is right and faster than ours.
 *
 *     dnn.c         the library, its descriptors, plans to text and back
 *     dnn_graph.c   attention and its gradients as a graph of operations
 *     dnn_trial.c   both compute the same, once
 *     dnn_choose.c  ours or theirs
 *
 * Opened at run time, when the first attention comes that it could take.
 * Without it (or with `cudnn: false`) attention is our own kernels'. The few
 * numbers of its interface that are needed are declared here; they are the same
 * in all of version 9.
 *
 * A plan is made without touching the device, from a description of it, and
 * becomes a text (machine code is a part of it); from the text it is loaded for
 * the device. So a machine without a GPU makes and loads the very plans that a
 * machine with one runs, and a text in the cache saves the making.
 */
#ifndef CUDA_DNN_H
#define CUDA_DNN_H

#include "compiler.h"

enum { GPU_DNN_LEAST = 91200 }; /* the oldest seen to take our graphs */

enum { /* cudnnBackendDescriptorType_t */
       DNN_POINTWISE = 0,
       DNN_ENGINE_CONFIG = 3,
       DNN_HEURISTICS = 4,
       DNN_PLAN = 5,
       DNN_OPERATION_POINTWISE = 13,
       DNN_GRAPH = 15,
       DNN_PACK = 16,
       DNN_TENSOR = 17,
       DNN_MATMUL = 18,
       DNN_OPERATION_MATMUL = 19,
       DNN_REDUCTION = 21,
       DNN_OPERATION_REDUCTION = 22,
       DNN_OPERATION_RESHAPE = 31,
       DNN_DEVICE = 38,
};

typedef enum { /* cudnnBackendAttributeName_t */
               DNN_POINTWISE_MODE = 0,
               DNN_POINTWISE_PRECISION = 1,
               DNN_POINTWISE_AXIS = 9,
               DNN_HEURISTICS_MODE = 200,
               DNN_HEURISTICS_GRAPH = 201,
               DNN_HEURISTICS_RESULTS = 202,
               DNN_HEURISTICS_DEVICE = 204,
               DNN_PLAN_HANDLE = 400,
               DNN_PLAN_ENGINE_CONFIG = 401,
               DNN_PLAN_WORKSPACE = 402,
               DNN_PLAN_TEXT = 405,
               DNN_PLAN_DEVICE = 407,
               DNN_POINTWISE_OF = 750,
               DNN_POINTWISE_X = 751,
               DNN_POINTWISE_B = 752,
               DNN_POINTWISE_Y = 753,
               DNN_POINTWISE_T = 758,
               DNN_GRAPH_OPERATIONS = 801,
               DNN_TENSOR_ALIGNMENT = 900,
               DNN_TENSOR_TYPE = 901,
               DNN_TENSOR_SIZES = 902,
               DNN_TENSOR_STRIDES = 903,
               DNN_TENSOR_ID = 906,
               DNN_TENSOR_IS_VIRTUAL = 907,
               DNN_TENSOR_IS_VALUE = 908,
               DNN_PACK_IDS = 1000,
               DNN_PACK_POINTERS = 1001,
               DNN_PACK_WORKSPACE = 1003,
               DNN_MATMUL_PRECISION = 1500,
               DNN_MATMUL_A = 1520,
               DNN_MATMUL_B = 1521,
               DNN_MATMUL_C = 1522,
               DNN_MATMUL_OF = 1523,
               DNN_REDUCTION_MODE = 1600,
               DNN_REDUCTION_PRECISION = 1601,
               DNN_REDUCTION_IS_DETERMINISTIC = 1602,
               DNN_REDUCTION_X = 1610,
               DNN_REDUCTION_Y = 1611,
               DNN_REDUCTION_OF = 1612,
               DNN_RESHAPE_X = 2200,
               DNN_RESHAPE_Y = 2201,
               DNN_DEVICE_HANDLE = 2701,
               DNN_DEVICE_TEXT = 2702,
} gpu_dnn_attribute;

enum { /* cudnnBackendAttributeType_t */
       DNN_IS_HANDLE = 0,
       DNN_IS_TYPE = 1,
       DNN_IS_BOOL = 2,
       DNN_IS_INT64 = 3,
       DNN_IS_POINTER = 6,
       DNN_IS_HEURISTICS_MODE = 8,
       DNN_IS_POINTWISE_MODE = 14,
       DNN_IS_DESCRIPTOR = 15,
       DNN_IS_REDUCTION_MODE = 18,
       DNN_IS_CHAR = 24,
};

enum { /* cudnnDataType_t */
       DNN_F32 = 0,
       DNN_I32 = 4,
       DNN_BF16 = 9,
       DNN_BOOL = 11,
};

enum { /* cudnnPointwiseMode_t, cudnnReduceTensorOp_t, cudnnBackendHeurMode_t */
       DNN_ADD = 0,
       DNN_MUL = 1,
       DNN_DIV = 6,
       DNN_SUB = 9,
       DNN_EXP = 13,
       DNN_LOG = 15,
       DNN_GREATER = 302,
       DNN_NOT_LESS = 303,
       DNN_INDEX = 501,
       DNN_SELECT = 601,
       DNN_SUM = 0,
       DNN_MAX = 3,
       DNN_RECOMMENDED = 3,
};

/* Descriptors are opaque pointers.   XX(result, member, symbol, arguments) */
#define GPU_DNN_MAP(XX)                                                        \
    XX(size_t, GetVersion, "cudnnGetVersion", (void))                          \
    XX(int, Create, "cudnnCreate", (void **handle))                            \
    XX(int, Destroy, "cudnnDestroy", (void *handle))                           \
    XX(int, SetStream, "cudnnSetStream", (void *handle, CUstream stream))      \
    XX(void, GetLastErrorString, "cudnnGetLastErrorString",                    \
       (char *text, size_t most))                                              \
    XX(int, CreateDescriptor, "cudnnBackendCreateDescriptor",                  \
       (int kind, void **descriptor))                                          \
    XX(int, DestroyDescriptor, "cudnnBackendDestroyDescriptor",                \
       (void *descriptor))                                                     \
    XX(int, SetAttribute, "cudnnBackendSetAttribute",                          \
       (void *descriptor, int attribute, int type, int64_t count,              \
        const void *values))                                                   \
    XX(int, GetAttribute, "cudnnBackendGetAttribute",                          \
       (void *descriptor, int attribute, int type, int64_t most,               \
        int64_t *count, void *values))                                         \
    XX(int, Finalize, "cudnnBackendFinalize", (void *descriptor))              \
    XX(int, Execute, "cudnnBackendExecute",                                    \
       (void *handle, void *plan, void *pack))

/* ---- dnn.c ---- */

typedef struct gpu_dnn_plan {
    char *problem;     /* what it computes */
    void *plan;        /* NULL: our kernels do */
    int64_t workspace; /* bytes */
    struct gpu_dnn_plan *next;
} gpu_dnn_plan;

struct gpu_dnn {
#define XX(result, name, symbol, arguments) result(*name) arguments;
    GPU_DNN_MAP(XX)
#undef XX
    size_t version;      /* 92800: 9.28.0; 0: of the tests, on their emulator */
    void *handle;        /* NULL: there is no device, only */
    void *properties;    /* its description */
    gpu_cache chosen;    /* plans as texts, or GPU_DNN_OURS, by problem */
    gpu_dnn_plan *plans; /* those in use, each once */
    /* while a trial runs: of one direction, what computes it */
    uint32_t is_trial, is_backward;
    const gpu_dnn_plan *tried; /* NULL: our kernels */
};

/* Descriptors that are made for one purpose and go together. After the first
 * call that fails nothing is done any more. */
typedef struct gpu_dnn_maker {
    const gpu_dnn *dnn;
    void *made[256];
    uint32_t count;
    int status; /* of the first call that failed */
} gpu_dnn_maker;

void *gpu_dnn_make(gpu_dnn_maker *m, int kind);
void gpu_dnn_set(gpu_dnn_maker *m, void *descriptor,
                 gpu_dnn_attribute attribute, int type, int64_t count,
                 const void *values);
void gpu_dnn_set_number(gpu_dnn_maker *m, void *descriptor,
                        gpu_dnn_attribute attribute, int type, int value);
void gpu_dnn_set_one(gpu_dnn_maker *m, void *descriptor,
                     gpu_dnn_attribute attribute, void *other);
void gpu_dnn_finalize(gpu_dnn_maker *m, void *descriptor);
void gpu_dnn_unmake(gpu_dnn_maker *m);

/* The library's functions; 0 where it is not installed, or too old. */
int gpu_dnn_load(gpu_dnn *dnn);
/* d->dnn, which stays NULL where it cannot be used. */
void gpu_dnn_open(tn_device *d);
void gpu_dnn_close(tn_device *d);

/* A plan as text. */
typedef struct gpu_dnn_text {
    char *bytes; /* malloc'ed */
    int64_t count;
} gpu_dnn_text;

/* Plans for this, the best first, `most` at most; how many there are. */
int gpu_dnn_recommend(const gpu_dnn *dnn, const gpu_attention_args *a,
                      int backward, gpu_dnn_text *texts, int most);
/* NULL where the text is none of this library's and this device's. */
gpu_dnn_plan *gpu_dnn_load_plan(const gpu_dnn *dnn, const void *text,
                                size_t bytes);
void gpu_dnn_unload_plan(const gpu_dnn *dnn, gpu_dnn_plan *plan);

/* ---- dnn_graph.c ---- */

/* Tensors that have an address, and numbers that are handed over by value. */
enum {
    DNN_Q = 1,
    DNN_K,
    DNN_V,
    DNN_O,
    DNN_LSE,
    DNN_DO,
    DNN_DELTA,
    DNN_DQ,
    DNN_DK,
    DNN_DV,
    DNN_SCALE,
    DNN_ONE,
    DNN_HIDDEN, /* what keys that are not seen score */
    DNN_HIDDEN_TOO,
    DNN_WINDOW,
    DNN_IDS
};

/* The graph of attention, or of its gradients. */
void *gpu_dnn_graph(gpu_dnn_maker *m, const gpu_attention_args *a,
                    int backward);

/* One attention, bound to its addresses. */
struct gpu_dnn_call {
    const gpu_dnn_plan *plan;
    void *pack;
    float numbers[DNN_IDS]; /* read at every start */
};

/* NULL where that fails. Freed by gpu_dnn_free. */
gpu_dnn_call *gpu_dnn_bind(const gpu_dnn *dnn, const gpu_dnn_plan *plan,
                           const gpu_attention_args *a, int backward,
                           uint64_t workspace);
void gpu_dnn_free(const tn_device *d, gpu_dnn_call *call);
tn_status gpu_dnn_start(const tn_device *d, const gpu_dnn_call *call,
                        tn_error *err);

/* ---- dnn_trial.c ---- */

/* Which of these plans computes what our kernels compute in less time: the
 * fastest, or -1. n is the node that the problem comes from. */
tn_status gpu_dnn_try(tn_device *d, const tn_plan_node *n,
                      const gpu_attention_args *a, int backward,
                      const char *problem, const gpu_dnn_text *texts, int count,
                      int *winner, tn_error *err);

/* ---- dnn_choose.c ---- */

/* What computes the attention (or its gradients) of node n: *plan, or our
 * kernels where that stays NULL. */
tn_status gpu_dnn_choose(tn_device *d, const tn_plan_node *n,
                         const gpu_attention_args *a, int backward,
                         const gpu_dnn_plan **plan, tn_error *err);

#endif
