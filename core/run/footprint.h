/*
 * footprint.h - what a training run will need, known before it runs.
 */
#ifndef TENON_FOOTPRINT_H
#define TENON_FOOTPRINT_H

#include "run/training.h"

enum { TNI_LARGEST = 8 };

typedef struct tni_footprint {
    int64_t parameters;
    int64_t matrix_parameters; /* that take part in products */
    double forward_flops;      /* of one token */
    double training_flops;     /* of one token: forward and backward */
    int64_t tokens_per_step;
    int64_t bytes[TN_ARENA_COUNT];
    int64_t workspace_bytes; /* of kernels */
    int64_t program_bytes;   /* of the program and its libraries */
    int64_t total_bytes;
    int64_t available_bytes;               /* 0: unknown */
    const char *largest_name[TNI_LARGEST]; /* transient tensors */
    int64_t largest_bytes[TNI_LARGEST];
    uint32_t largest_count;
    /* What decoding keeps of a sequence: caches, by token; and the rest. And
     * what the layers that attend would keep as plain keys and values. */
    int64_t cache_token_bytes;
    int64_t state_bytes;
    int64_t plain_token_bytes;
} tni_footprint;

/* Borrows names from the training's plans. */
void tni_footprint_of(const tni_training *training, tni_footprint *footprint);

/* TN_ENOMEM, with the table in one sentence and the setting that would make
 * the run fit, where it does not. */
tn_status tni_footprint_check(const tni_training *training, tn_error *err);

/* What became of a device that was asked for memory: where it has none in spite
 * of the check, for others use it, too, and kernels keep some of their own, the
 * table joins its sentence. Returns `status`. */
tn_status tni_footprint_explain(const tni_training *training, tn_status status,
                                tn_error *err);

#endif
