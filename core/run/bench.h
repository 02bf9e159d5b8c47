/*
 * bench.h - how fast, as a fraction of what this machine can do.
 *
 * A bare time says nothing to somebody with another machine. So the limits are
 * measured in the same run and through the same backend: arithmetic by large
 * matrix products, memory by a map over arrays and by a sum of one. Training is
 * compared with the first. Decoding reads every weight and all of its cache for
 * each token, so it is compared with reading as many bytes over and over, by
 * the faster of a sum and of a product by one row: of what a processor's last
 * cache holds, some or all comes faster than memory gives it.
 */
#ifndef TENON_BENCH_H
#define TENON_BENCH_H

#include "run/training.h"

typedef struct tni_bench_limits {
    double gemm_flops;          /* a second: the best of the shapes */
    int64_t gemm_shape[3];      /* (M, N, K) of it */
    double memory_bytes;        /* a second: two arrays read, one written */
    int64_t memory_working_set; /* bytes */
    double read_bytes;          /* a second: an array summed */
    int64_t read_working_set;
} tni_bench_limits;

/* One kind of op in a step. */
typedef struct tni_bench_op {
    const char *name;
    double seconds; /* of one step */
    double flops;
    double bytes; /* of all operands; caches may spare some */
    uint32_t nodes;
} tni_bench_op;

enum { TNI_BENCH_OPS = 48 };

typedef struct tni_bench_ops {
    tni_bench_op at[TNI_BENCH_OPS]; /* slowest first */
    uint32_t count;                 /* 0: the backend does not tell */
} tni_bench_ops;

typedef struct tni_bench_train {
    double step_seconds; /* median */
    double tokens_per_second;
    double flops; /* a second */
    double flops_per_token;
    tni_bench_ops ops;
} tni_bench_train;

typedef struct tni_bench_decode {
    double tokens_per_second; /* median, of all sequences */
    int64_t bytes;            /* read: weights, once for all, and caches */
    double bytes_per_second;  /* bytes by the median's */
    double read_bytes;        /* a second, when as many are only read */
    int64_t context;          /* tokens in the cache meanwhile */
    int64_t rows;             /* sequences that go on together */
    tni_bench_ops ops;        /* of a token of each */
} tni_bench_decode;

/* recipe: its backend and precision only. */
tn_status tni_bench_measure_limits(const tni_recipe *recipe,
                                   tni_bench_limits *limits, tn_error *err);
/* Steps on random tokens with drawn weights, in documents of 128 where the data
 * keeps documents apart; op names live as long as the process. */
tn_status tni_bench_measure_train(const tni_recipe *recipe,
                                  tni_bench_train *result, tn_error *err);
/* A token of each of `rows` sequences at a time. */
tn_status tni_bench_measure_decode(const tni_recipe *recipe, int64_t rows,
                                   tni_bench_decode *result, tn_error *err);

#endif
