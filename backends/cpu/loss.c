/*
 * loss.c - the head and its cross-entropy, fused: logits of N x V never exist.
 *
 * x (N, C) is taken R rows at a time; of the softmax of R x V logits what lies
 * in shared memory are powers, relative to a logit of the row, its *center*,
 * and where products are summed apart (C > 512: gemm_packed.c) those sums.
 * Per chunk of rows, with a barrier between the lines, and Z = cap(X W^T):
 *
 *     P = e^(Z - center), their sums     product, in slices (gemm_powers)
 *     nll, scale = dnll / sum            row by row
 *     dW += (scale P)^T X     dX' = P W  products, in slices, together
 *     dX = scale dX'                     of two halves where V is large
 *
 * The gradient of the logits is scale P (1 - (Z/cap)^2) but for that of the
 * target, which the second line puts in its place. The forward stops there, and
 * keeps no P. dW is summed over chunks in order by the tasks that own its
 * slices. P is bf16 where products of bf16 are faster than those of f32.
 *
 * That powers are stored where logits are computed spares three passes over
 * memory. A softmax wants the largest logit as its center, which is not known
 * by then; that of the target is (its product by itself), and seldom is far
 * below the largest. A row whose sum passes 2^40 is taken again, from logits.
 *
 * R keeps P below 128 MiB, within [128, 1024], and chunks even: each reads and
 * writes all of dW, which wants few.
 */
#include <math.h>
#include <string.h>

#include "gemv.h"
#include "kernels.h"
#include "lines.h"
#include "powers.h"
#include "product.h"

enum {
    POWERS = 128 * 1024 * 1024, /* bytes */
    LEAST_ROWS = 128,
    MOST_ROWS = 1024,
    TASK_ROWS = 8,
    HALVED = 2048, /* from so many words on, dX is the sum of two halves */
};

static const double MOST_SUM = 0x1p40;

typedef struct loss {
    gemm_any x, w; /* (N, C), (V, C) */
    const int32_t *target;
    int backward; /* a plan compiled for its size has no addresses */
    const float *dnll;
    float *nll, *dw;
    lines dx;
    int64_t N, C, V;
    float cap;
    uint32_t node, add_dw;
    cpu_products how;
    tn_dtype dtype; /* of powers */
    int64_t pitch, parts;
    /* offsets in shared memory: (N), (N); (rows, V), (rows, parts), (rows), one
     * or two (rows, C) */
    int64_t center, at_target, powers, total, scale, halves;
} loss;

typedef struct chunk {
    const loss *of;
    int64_t first, rows;
} chunk;

static int has_target(const loss *k, int64_t row)
{
    return k->target[row] >= 0 && k->target[row] < k->V;
}

/* ---- centers ---- */

static float dot(const loss *k, int64_t row, int64_t word)
{
    const lines x = {(char *)k->x.at, k->x.dtype};
    const lines w = {(char *)k->w.at, k->w.dtype};
    vf sum = v_zero();
    for (int64_t i = 0; i < k->C; i += VW)
        sum = v_fma(vector_in(&x, row * k->C + i, k->C - i),
                    vector_in(&w, word * k->C + i, k->C - i), sum);
    return v_sum(sum);
}

static void run_centers(const void *argument, cpu_worker *w, int64_t task)
{
    const loss *k = argument;
    float *center = cpu_floats(w, k->center);
    const int64_t end = cpu_min((task + 1) * TASK_ROWS, k->N);
    for (int64_t row = task * TASK_ROWS; row < end; row++) {
        const float z = has_target(k, row) ? dot(k, row, k->target[row]) : 0.0f;
        center[row] = k->cap > 0.0f ? k->cap * tanhf(z / k->cap) : z;
    }
}

/* ---- rows ---- */

static void put_power(const loss *k, char *powers, int64_t i, float p)
{
    if (k->dtype == TN_BF16)
        ((uint16_t *)(void *)powers)[i] = bf16_of_f(p);
    else
        ((float *)(void *)powers)[i] = p;
}

static float largest(const float *z, int64_t n)
{
    vf most = v_set(-INFINITY);
    for (int64_t i = 0; i < n; i += VW)
        most =
            v_max(most, v_select(m_first(n - i), v_load_n(z + i, n - i), most));
    return v_largest(most);
}

/* A row of powers from its logits, and their sum. */
static double raise_row(const loss *k, const float *z, float center,
                        char *powers)
{
    const lines to = {powers, k->dtype};
    double sum = 0.0;
    for (int64_t i = 0; i < k->V; i += VW) {
        const vf logit = v_load_n(z + i, k->V - i);
        vf p = power_of(logit, center);
        sum += (double)v_sum(v_select(m_first(k->V - i), p, v_zero()));
        if (k->cap > 0.0f)
            p = p * power_slope(logit, k->cap);
        if (k->backward)
            vector_out(&to, i, p, k->V - i);
    }
    return sum;
}

/* Row `row` of all, whose center was too low. */
static double raise_again(const loss *k, const cpu_worker *w, int64_t row,
                          char *powers)
{
    float *z = w->scratch;
    const gemm_block logits = {
        .M = 1,
        .N = k->V,
        .K = k->C,
        .a = gemm_from(k->x, row, 0),
        .b = gemm_transposed(k->w),
        .c = {(char *)z, TN_F32, k->V, 0},
    };
    ISA(gemm_few)(&logits, 0, z + cpu_parts(k->V, VW) * VW);
    for (int64_t i = 0; i < k->V && k->cap > 0.0f; i += VW)
        v_store_n(z + i, power_capped(v_load_n(z + i, k->V - i), k->cap),
                  cpu_min(k->V - i, VW));
    float *center = cpu_floats(w, k->center) + row;
    *center = largest(z, k->V);
    cpu_floats(w, k->at_target)[row] = z[k->target[row]];
    return raise_row(k, z, *center, powers);
}

static double sum_of_parts(const float *total, int64_t parts)
{
    double sum = 0.0;
    for (int64_t i = 0; i < parts; i++)
        sum += (double)total[i];
    return sum;
}

/* A row with a target, `at` the row of the chunk: its nll and, in a backward,
 * its scale and the power at its target, so that scale times it is
 *
 *     (p - 1) dnll dz/ds, p = e^-nll,
 *
 * without cancellation where the target is certain. */
static void finish_row(const loss *k, const cpu_worker *w, int64_t row,
                       int64_t at)
{
    char *powers = w->shared + k->powers + at * k->pitch * cpu_bytes(k->dtype);
    double sum =
        sum_of_parts(cpu_floats(w, k->total) + at * k->parts, k->parts);
    if (sum >= MOST_SUM)
        sum = raise_again(k, w, row, powers);
    const double base = (double)powers_base(cpu_floats(w, k->center)[row]);
    const float z = cpu_floats(w, k->at_target)[row];
    const double nll = log(sum) + (base / (double)EXP_LOG2_E - (double)z);
    k->nll[row] = (float)nll;
    if (!k->backward)
        return;
    const float t = k->cap > 0.0f ? z / k->cap : 0.0f;
    cpu_floats(w, k->scale)[at] = (float)((double)k->dnll[row] / sum);
    put_power(k, powers, k->target[row],
              (float)(expm1(-nll) * sum) * (1.0f - t * t));
}

static void finish_row_without_target(const loss *k, const cpu_worker *w,
                                      int64_t row, int64_t at)
{
    k->nll[row] = 0.0f;
    if (!k->backward)
        return;
    const int64_t bytes = k->pitch * cpu_bytes(k->dtype);
    cpu_floats(w, k->scale)[at] = 0.0f;
    memset(w->shared + k->powers + at * bytes, 0, (size_t)bytes);
}

static void run_rows(const void *argument, cpu_worker *w, int64_t task)
{
    const chunk *c = argument;
    const loss *k = c->of;
    const int64_t end = cpu_min((task + 1) * TASK_ROWS, c->rows);
    for (int64_t at = task * TASK_ROWS; at < end; at++) {
        const int64_t row = c->first + at, target = k->target[row];
        if (target < -1 || target >= k->V)
            cpu_fault(w, k->node, target, -1, k->V);
        if (has_target(k, row))
            finish_row(k, w, row, at);
        else
            finish_row_without_target(k, w, row, at);
    }
}

/* ---- dX ---- */

/* Whether over half of the words each: threads read different halves of P and
 * W, where slices of dX would read the one or the other twice, and copy W
 * twice. */
static int is_halved(const loss *k)
{
    return k->V >= HALVED;
}

static void scale_row(const chunk *c, const cpu_worker *w, int64_t at)
{
    const loss *k = c->of;
    const vf scale = v_set(cpu_floats(w, k->scale)[at]);
    const float *low = cpu_floats(w, k->halves) + at * k->C;
    const float *high = low + c->rows * k->C;
    for (int64_t i = 0; i < k->C; i += VW) {
        vf sum = v_load_n(low + i, k->C - i);
        if (is_halved(k))
            sum = sum + v_load_n(high + i, k->C - i);
        vector_out(&k->dx, (c->first + at) * k->C + i, scale * sum, k->C - i);
    }
}

static void run_dx(const void *argument, cpu_worker *w, int64_t task)
{
    const chunk *c = argument;
    const int64_t end = cpu_min((task + 1) * TASK_ROWS, c->rows);
    for (int64_t at = task * TASK_ROWS; at < end; at++)
        scale_row(c, w, at);
}

static void emit_dx(cpu_compiler *c, const loss *k, const chunk *r)
{
    shared_product low = {.M = r->rows,
                          .N = k->C,
                          .K = k->V,
                          .a = gemm_of(NULL, k->dtype, k->pitch, 1),
                          .b = k->w,
                          .c_pitch = k->C,
                          .c_dtype = TN_F32,
                          .how = k->how,
                          .a_shared = k->powers,
                          .c_shared = k->halves,
                          .by_shared = -1};
    if (!is_halved(k)) {
        ISA(emit_product)(c, &low);
    } else {
        shared_product high = low;
        low.K = cpu_parts(k->V, 4 * VW) * 2 * VW; /* whole lines of bf16 */
        high.K -= low.K;
        high.b = gemm_from(low.b, low.K, 0);
        high.a_shared += low.K * cpu_bytes(k->dtype);
        high.c_shared += r->rows * k->C * (int64_t)sizeof(float);
        ISA(emit_product_pair)(c, &low, &high);
    }
    cpu_barrier(c);
    cpu_step(c, run_dx, r, cpu_parts(r->rows, TASK_ROWS));
}

/* ---- chunks ---- */

static void emit_powers(cpu_compiler *c, const loss *k, const chunk *r)
{
    const int64_t from = r->first * (int64_t)sizeof(float);
    shared_powers *powers = CPU_ARGUMENT(c, shared_powers);
    *powers = (shared_powers){.cap = k->cap,
                              .parts = k->parts,
                              .target = k->target + r->first,
                              .center = k->center + from,
                              .at_target = k->at_target + from,
                              .total = k->total};
    ISA(emit_product)
    (c, &(shared_product){.M = r->rows,
                          .N = k->V,
                          .K = k->C,
                          .a = gemm_from(k->x, r->first, 0),
                          .b = gemm_transposed(k->w),
                          .c_pitch = k->pitch,
                          .c_dtype = k->dtype,
                          .how = k->how,
                          .a_shared = -1,
                          .c_shared = k->backward ? k->powers : -1,
                          .by_shared = -1,
                          .powers = powers});
}

static void emit_dw(cpu_compiler *c, const loss *k, const chunk *r)
{
    ISA(emit_product)
    (c, &(shared_product){.M = k->V,
                          .N = k->C,
                          .K = r->rows,
                          .a = gemm_of(NULL, k->dtype, 1, k->pitch),
                          .b = gemm_from(k->x, r->first, 0),
                          .c = k->dw,
                          .c_pitch = k->C,
                          .c_dtype = TN_F32,
                          .how = k->how,
                          .a_shared = k->powers,
                          .c_shared = -1,
                          .by_shared = k->scale,
                          .add = r->first > 0 || k->add_dw});
}

static void emit_chunk(cpu_compiler *c, const loss *k, int64_t first,
                       int64_t rows)
{
    chunk *r = CPU_ARGUMENT(c, chunk);
    *r = (chunk){k, first, rows};
    cpu_barrier(c);
    emit_powers(c, k, r);
    cpu_barrier(c);
    cpu_step(c, run_rows, r, cpu_parts(rows, TASK_ROWS));
    if (!k->backward)
        return;
    cpu_barrier(c);
    emit_dw(c, k, r);
    emit_dx(c, k, r);
}

/* From a row of powers to the next: whole lines of the cache, so that no vector
 * lies in two, and an odd number, so that rows lie in different sets. */
static int64_t pitch_of(int64_t V, tn_dtype dtype)
{
    const int64_t line = 64 / cpu_bytes(dtype);
    return (cpu_parts(V, line) | 1) * line;
}

static int64_t shared_floats(cpu_compiler *c, int64_t n)
{
    return cpu_shared(c, n * (int64_t)sizeof(float));
}

static int64_t rows_of_chunk(const loss *k)
{
    const int64_t fits = POWERS / (k->V * cpu_bytes(k->dtype));
    const int64_t most =
        cpu_max(LEAST_ROWS, cpu_min(MOST_ROWS, fits / 16 * 16));
    const int64_t even = cpu_parts(k->N, cpu_parts(k->N, most));
    return cpu_min(k->N, cpu_parts(even, 16) * 16);
}

/* Scratch of a row that is taken again: its logits, and what gemm_few wants. */
static int64_t again_bytes(const loss *k)
{
    return cpu_parts(k->V, VW) * VW * (int64_t)sizeof(float) +
           ISA(gemm_few_scratch)(1, k->V, k->C);
}

static void take_shared_memory(cpu_compiler *c, loss *k, int64_t rows)
{
    k->center = shared_floats(c, k->N);
    k->at_target = shared_floats(c, k->N);
    k->total = shared_floats(c, rows * k->parts);
    cpu_scratch(c, again_bytes(k));
    if (!k->backward)
        return;
    k->powers = cpu_shared(c, rows * k->pitch * cpu_bytes(k->dtype));
    k->scale = shared_floats(c, rows);
    k->halves = shared_floats(c, (is_halved(k) ? 2 : 1) * rows * k->C);
}

static tn_status emit_loss(cpu_compiler *c, const tn_plan_node *node, loss *k,
                           tn_error *err)
{
    const tn_loss_attr *attr = node->attr;
    k->target = cpu_at(c, &node->in[2]);
    k->N = node->in[0].shape[0];
    k->C = node->in[0].shape[1];
    k->x = gemm_of_operand(c, &node->in[0]);
    k->w = gemm_of_operand(c, &node->in[1]);
    k->V = node->in[1].shape[0];
    k->cap = (float)attr->softcap;
    k->node = cpu_node(c);
    k->how = gemm_products(c, k->x, k->w);
    if (k->V < 1 || k->V > INT32_MAX || k->C < 1 || k->C > INT32_MAX)
        return cpu_refuse(node, err, "a vocabulary of %lld by %lld",
                          (long long)k->V, (long long)k->C);
    k->dtype = k->backward && k->how == CPU_FLOATS ? TN_F32 : TN_BF16;
    k->pitch = pitch_of(k->V, k->dtype);
    k->parts = cpu_parts(k->V, GEMM_PART);
    const int64_t rows = rows_of_chunk(k);
    take_shared_memory(c, k, rows);
    cpu_step(c, run_centers, k, cpu_parts(k->N, TASK_ROWS));
    for (int64_t first = 0; first < k->N; first += rows)
        emit_chunk(c, k, first, cpu_min(rows, k->N - first));
    return TN_OK;
}

tn_status ISA(compile_loss)(cpu_compiler *c, const tn_plan_node *node,
                            tn_error *err)
{
    loss *k = CPU_ARGUMENT(c, loss);
    *k = (loss){.nll = cpu_at(c, &node->out[0])};
    return emit_loss(c, node, k, err);
}

tn_status ISA(compile_loss_bwd)(cpu_compiler *c, const tn_plan_node *node,
                                tn_error *err)
{
    loss *k = CPU_ARGUMENT(c, loss);
    *k = (loss){.backward = 1,
                .dnll = cpu_at(c, &node->in[3]),
                .dx = lines_of(c, &node->out[0]),
                .dw = cpu_at(c, &node->out[1]),
                .nll = cpu_at(c, &node->out[2]),
                .add_dw = node->accumulate >> 1 & 1u};
    return emit_loss(c, node, k, err);
}
