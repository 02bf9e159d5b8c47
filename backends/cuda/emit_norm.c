/*
 * emit_norm.c - a residual and its norm, at once.
 *
 * A decoder layer adds to the stream of activations and norms the sum for what
 * comes next; backward, the norm's gradient is added to the stream's. Both are
 * bound by memory, and apart the sum is written only to be read again. Here it
 * stays in registers: threads that share a row hold all of it between the two.
 *
 *     forward     h = program(...)    y = h r w,  r = 1 / sqrt(mean(h^2) + eps)
 *     backward    d = r (g - x r^2 mean(g x)),  g = dy w    ... = program(d
 * ...)
 *
 * h and d are rounded to what they are stored in before they are read, so that
 * values are those of two kernels; only the order of a row's sum is another.
 */
#include "emit.h"

#include <string.h>

static uint32_t steps_of(const gpu_norm_spec *s)
{
    const int64_t at_once = (int64_t)s->lanes * s->map.vector;
    return (uint32_t)((s->columns + at_once - 1) / at_once);
}

/* From nothing to the kernel's first line: whose row, and which lane of it. */
static void begin(gpu_text *t, const gpu_norm_spec *s)
{
    gpu_emit_begin(t, &s->map, s->rows * s->columns);
    gpu_say(t,
            "enum { C = %lld, LANES = %u, STEPS = %u };\n"
            "const unsigned lane = threadIdx.x %% LANES;\n"
            "const index row = (index)blockIdx.x * (%d / LANES) + "
            "threadIdx.x / LANES;\n"
            "const bool inside = row < %lld;\n"
            "float sum = 0.0f;\n",
            (long long)s->columns, s->lanes, steps_of(s), GPU_BLOCK,
            (long long)s->rows);
}

/* Over the thread's pieces of its row: column c is element e. */
static void begin_pieces(gpu_text *t)
{
    gpu_say(t, "#pragma unroll\n"
               "for (int n = 0; n < STEPS; n++) {\n"
               "const index c = (index)(n * LANES + lane) * V;\n"
               "if (inside && c < C) {\n"
               "const index e = row * C + c;\n");
}

static void end_pieces(gpu_text *t)
{
    gpu_say(t, "}\n}\n");
}

static void begin_elements(gpu_text *t)
{
    gpu_say(t, "#pragma unroll\nfor (int k = 0; k < V; k++) {\n");
}

/* A piece of the row, or of what all rows share, as a vec called `name`. */
static void say_piece(gpu_text *t, const char *name, const char *type,
                      uint32_t address, const char *at)
{
    gpu_say(t,
            "const vec<%s> %s = *(const vec<%s> *)((const %s *)a.at[%u] + "
            "%s);\n",
            type, name, type, type, address, at);
}

/* mean = the row's sum over C, in every lane */
static void say_mean(gpu_text *t, const gpu_norm_spec *s)
{
    gpu_say(t, "for (int away = 16; away; away /= 2)\n"
               "sum += __shfl_xor_sync(0xffffffffu, sum, away);\n");
    if (s->lanes > 32)
        gpu_say(t,
                "__shared__ float part[%d];\n"
                "if (threadIdx.x %% 32 == 0)\npart[threadIdx.x / 32] = sum;\n"
                "__syncthreads();\n"
                "sum = 0.0f;\n"
                "for (int w = 0; w < LANES / 32; w++)\n"
                "sum += part[threadIdx.x / LANES * (LANES / 32) + w];\n",
                GPU_BLOCK / 32);
    gpu_say(t, "const float mean = sum / (float)C;\n");
}

/* ---- forward ---- */

static void say_sum_of_squares(gpu_text *t, const gpu_norm_spec *s)
{
    gpu_say(t, "float h[STEPS][V];\n");
    begin_pieces(t);
    gpu_emit_loads(t, &s->map, UINT32_MAX);
    gpu_emit_compute(t, &s->map);
    gpu_emit_stores(t, &s->map, s->keep);
    begin_elements(t);
    gpu_say(t,
            "h[n][k] = get(y%u.at[k]);\n"
            "sum = fmaf(h[n][k], h[n][k], sum);\n}\n",
            s->link);
    end_pieces(t);
}

char *gpu_emit_map_norm(const gpu_norm_spec *s)
{
    gpu_text t = {.at = NULL};
    const char *type = gpu_type_name(s->dtype);
    const uint32_t behind = s->map.in_count + s->map.out_count;
    const float eps = (float)s->eps;
    uint32_t eps_bits;
    memcpy(&eps_bits, &eps, sizeof eps_bits);
    begin(&t, s);
    say_sum_of_squares(&t, s);
    say_mean(&t, s);
    gpu_say(&t, "const float r = 1.0f / sqrtf(mean + __uint_as_float(%uu));\n",
            eps_bits);
    begin_pieces(&t);
    say_piece(&t, "w", "float", behind, "c");
    gpu_say(&t, "vec<%s> y;\n", type);
    begin_elements(&t);
    gpu_say(&t,
            "put(y.at[k], h[n][k] * r * w.at[k]);\n}\n"
            "*(vec<%s> *)((%s *)a.at[%u] + e) = y;\n",
            type, type, behind + 1);
    end_pieces(&t);
    gpu_say(&t, "if (inside && lane == 0)\n((float *)a.at[%u])[row] = r;\n}\n",
            behind + 2);
    return gpu_take_text(&t);
}

/* ---- backward ---- */

static void say_products(gpu_text *t, const gpu_norm_spec *s)
{
    const char *type = gpu_type_name(s->dtype);
    const uint32_t behind = s->map.in_count + s->map.out_count;
    gpu_say(t, "float g[STEPS][V], x[STEPS][V];\n");
    begin_pieces(t);
    say_piece(t, "dy", type, behind, "e");
    say_piece(t, "values", type, behind + 1, "e");
    say_piece(t, "w", "float", behind + 2, "c");
    begin_elements(t);
    gpu_say(t, "g[n][k] = get(dy.at[k]) * w.at[k];\n"
               "x[n][k] = get(values.at[k]);\n"
               "sum = fmaf(g[n][k], x[n][k], sum);\n}\n");
    end_pieces(t);
}

char *gpu_emit_norm_bwd_map(const gpu_norm_spec *s)
{
    gpu_text t = {.at = NULL};
    const char *type = gpu_type_name(s->dtype);
    const uint32_t behind = s->map.in_count + s->map.out_count;
    begin(&t, s);
    gpu_say(&t,
            "const float r = inside ? ((const float *)a.at[%u])[row] : "
            "0.0f;\n",
            behind + 3);
    say_products(&t, s);
    say_mean(&t, s);
    gpu_say(&t, "const float pull = r * r * mean;\n");
    begin_pieces(&t);
    gpu_say(&t, "vec<%s> d;\n", type);
    begin_elements(&t);
    gpu_say(&t, "put(d.at[k], r * (g[n][k] - x[n][k] * pull));\n}\n");
    if (s->keep)
        gpu_say(&t, "*(vec<%s> *)((%s *)a.at[%u] + e) = d;\n", type, type,
                s->link);
    if (gpu_is_single(&s->map, s->link))
        gpu_say(&t, "const float x%u = get(d.at[0]);\n", s->link);
    else
        gpu_say(&t, "const vec<%s> x%u = d;\n", type, s->link);
    gpu_emit_loads(&t, &s->map, s->link);
    gpu_emit_compute(&t, &s->map);
    gpu_emit_stores(&t, &s->map, UINT32_MAX);
    end_pieces(&t);
    gpu_say(&t, "}\n");
    return gpu_take_text(&t);
}
