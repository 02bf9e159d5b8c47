/*
 * cpu_bench.h - one hand-made plan node on the CPU backend.
 *
 *     bench t;
 *     bench_open(&t, "{threads: 2}");
 *     float *x = bench_in(&t, TN_F32, 2, (int64_t[]){3, 5});
 *     float *y = bench_out(&t, TN_F32, 2, (int64_t[]){3, 5});
 *     bench_run(&t, TN_OP_SOFTMAX, NULL);
 *     bench_close(&t);
 *
 * Tensors lie one after the other in one arena; fill inputs before running.
 */
#ifndef CPU_BENCH_H
#define CPU_BENCH_H

#include "tn_rig.h"

#include "tn_rig_private.h"

enum { BENCH_BYTES = 96 * 1024 * 1024 };

typedef struct bench {
    tn_rig *rig;
    tn_buffer *buffer;
    char *memory;
    int64_t used;
    tn_operand in[12], out[8];
    uint32_t in_count, out_count, accumulate;
    tn_exec *exec;
    tn_plan plan;
    tn_plan_segment segment;
    tn_plan_node node;
} bench;

static inline void bench_open(bench *t, const char *options)
{
    tn_error err = TN_ERROR_NONE;
    memset(t, 0, sizeof *t);
    t->rig = tn_rig_open("cpu", options);
    tn_assert_ok_err(
        t->rig->backend->alloc(t->rig->device, BENCH_BYTES, &t->buffer, &err),
        err);
    t->memory = t->rig->backend->map(t->rig->device, t->buffer);
}

static inline void bench_close(bench *t)
{
    t->rig->backend->free(t->rig->device, t->buffer);
    tn_rig_close(t->rig);
}

static inline void *bench_operand(bench *t, tn_operand *o, tn_dtype dtype,
                                  uint32_t rank, const int64_t *shape)
{
    int64_t count = 1;
    *o = (tn_operand){.arena = TN_ARENA_TRANSIENT,
                      .dtype = dtype,
                      .rank = rank,
                      .offset = t->used};
    for (uint32_t i = rank; i-- > 0;) {
        o->shape[i] = shape[i];
        o->stride[i] = count;
        count *= shape[i];
    }
    t->used += (tn_dtype_span(dtype, count) + 255) / 256 * 256;
    assert_true(t->used <= BENCH_BYTES);
    return t->memory + o->offset;
}

static inline void *bench_in(bench *t, tn_dtype dtype, uint32_t rank,
                             const int64_t *shape)
{
    return bench_operand(t, &t->in[t->in_count++], dtype, rank, shape);
}

static inline void *bench_out(bench *t, tn_dtype dtype, uint32_t rank,
                              const int64_t *shape)
{
    return bench_operand(t, &t->out[t->out_count++], dtype, rank, shape);
}

static inline tn_status bench_compile(bench *t, tn_op op, const void *attr,
                                      tn_error *err)
{
    t->node = (tn_plan_node){.struct_size = sizeof t->node,
                             .op = op,
                             .name = "op",
                             .attr = attr,
                             .in = t->in,
                             .out = t->out,
                             .in_count = t->in_count,
                             .out_count = t->out_count,
                             .accumulate = t->accumulate,
                             .file = "here.c",
                             .line = 7};
    t->segment = (tn_plan_segment){0, 1};
    t->plan = (tn_plan){.struct_size = sizeof t->plan,
                        .node_count = 1,
                        .node_stride = sizeof t->node,
                        .segment_count = 1,
                        .name = "bench",
                        .nodes = &t->node,
                        .segments = &t->segment};
    tn_buffer *arenas[TN_ARENA_COUNT] = {[TN_ARENA_TRANSIENT] = t->buffer};
    return t->rig->backend->compile(t->rig->device, &t->plan, arenas, &t->exec,
                                    err);
}

static inline tn_status bench_try(bench *t, tn_op op, const void *attr,
                                  tn_error *err)
{
    TN_TRY(bench_compile(t, op, attr, err));
    const tn_status status =
        t->rig->backend->run(t->rig->device, t->exec, 0, err);
    t->rig->backend->exec_free(t->rig->device, t->exec);
    return status;
}

static inline void bench_run(bench *t, tn_op op, const void *attr)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(bench_try(t, op, attr, &err), err);
}

/* Numbers in [-scale, scale), another sequence for each seed. */
static inline void bench_fill(float *x, int64_t count, float scale,
                              uint32_t seed)
{
    uint32_t word = seed * 2654435761u + 12345u;
    for (int64_t i = 0; i < count; i++) {
        word = word * 1664525u + 1013904223u;
        x[i] = scale * ((float)(word >> 8) * 0x1p-23f - 1.0f);
    }
}

/* Whether this machine can run that option. */
static inline int bench_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

/* bf16 as integers, with AVX2 kernels and with those of AVX-512 where there are
 * any. */
static inline int bench_with_integers(const char *options[2])
{
    options[0] = "{threads: 2, bf16: integers, vectors: avx2}";
    options[1] = "{threads: 2, bf16: integers, vectors: avx512}";
    return bench_has_avx512() && __builtin_cpu_supports("avx512vnni") ? 2 : 1;
}

#endif
