/*
 * loss.c - the head and its cross-entropy, fused: logits of N x V never exist.
 *
 * x (N, C) is taken R rows at a time; only R x V logits lie in shared memory.
 * Per chunk of rows, with a barrier between the lines:
 *
 *     Z = X W^T                           product, in slices
 *     Z = cap(Z), nll, Z = dZ             row by row, in place
 *     dW += dZ^T X          dX = dZ W     products, in slices, together
 *     dX = its first half + its second    where V is large
 *
 * dZ = (softmax(Z) - onehot(target)) dnll (1 - (Z/cap)^2). The forward stops
 * after the second line. dW is summed over chunks in order by the tasks that
 * own its slices. The second line takes several rows a task: exponentials leave
 * memory idle, so the next row is brought up meanwhile. dZ is bf16 where
 * products of bf16 are faster than those of f32.
 *
 * R keeps Z below 128 MiB, within [128, 1024], and chunks even: each reads and
 * writes all of dW, which wants few.
 */
#include "kernels.h"
#include "lines.h"
#include "product.h"
#include "vmath.h"

enum {
    LOGITS = 32 * 1024 * 1024, /* elements */
    LEAST_ROWS = 128,
    MOST_ROWS = 1024,
    TASK_ELEMENTS = 16 * 1024,
    TASK_ROWS = 8,
    TASKS = 64, /* rather than so many rows each */
    LINE = 512,
    HALVED = 2048, /* from so many words on, dX is the sum of two halves */
};

typedef struct chunk {
    int64_t rows, V;
    int64_t logits, pitch; /* (rows, V) in shared memory, so many apart */
    const int32_t *target;
    const float *dnll; /* NULL: forward */
    float *nll;
    float cap;
    int narrow; /* the gradient becomes bf16, as the products take it */
    uint32_t node;
    int64_t rows_per_task, threads;
} chunk;

/* cap(z) in place. */
static void cap_row(float *z, int64_t n, float cap)
{
    const vf bound = v_set(cap), inverse = v_set(1.0f / cap);
    for (int64_t i = 0; i < n; i += VW) {
        const vf x = v_load_n(z + i, n - i);
        v_store_n(z + i, bound * v_tanh(x * inverse), cpu_min(n - i, VW));
    }
}

static float largest(const float *z, int64_t n)
{
    enum { TOGETHER = 4 };
    vf most[TOGETHER];
    int64_t i = 0;
    for (int64_t j = 0; j < TOGETHER; j++)
        most[j] = v_set(-INFINITY);
    for (; i + TOGETHER * VW <= n; i += TOGETHER * VW)
        for (int64_t j = 0; j < TOGETHER; j++)
            most[j] = v_max(most[j], v_load(z + i + j * VW));
    for (; i < n; i += VW)
        most[0] = v_max(
            most[0], v_select(m_first(n - i), v_load_n(z + i, n - i), most[0]));
    return v_largest(v_max(v_max(most[0], most[1]), v_max(most[2], most[3])));
}

/* Of 2^(z log2 e - base), which stay in z if `keep`; `next`, a row as long, is
 * called for meanwhile. */
static double sum_of_exponentials(float *z, int64_t n, float base, int keep,
                                  const float *next)
{
    enum { TOGETHER = 1024 };
    const vf log2e = v_set(EXP_LOG2_E), minus_base = v_set(-base);
    double sum = 0.0;
    for (int64_t from = 0; from < n; from += TOGETHER) {
        const int64_t end = cpu_min(n, from + TOGETHER);
        vf part = v_zero();
        int64_t i = from;
        for (; i + VW <= end; i += VW) {
            const vf e = v_exp2(v_fma(v_load(z + i), log2e, minus_base));
            _mm_prefetch((const char *)(next + i), _MM_HINT_T1);
            part = part + e;
            if (keep)
                v_store(z + i, e);
        }
        if (i < end) {
            const vf e =
                v_exp2(v_fma(v_load_n(z + i, end - i), log2e, minus_base));
            part = part + v_select(m_first(end - i), e, v_zero());
            if (keep)
                v_store_n(z + i, e, end - i);
        }
        sum += (double)v_sum(part);
    }
    return sum;
}

/* z = cap(logits) becomes the gradient of the logits. */
static void differentiate_capped(float *z, int64_t n, float lse, float dnll,
                                 float cap)
{
    const vf scale = v_set(dnll), inverse = v_set(1.0f / cap);
    for (int64_t i = 0; i < n; i += VW) {
        const vf x = v_load_n(z + i, n - i);
        const vf t = x * inverse;
        const vf slope = v_fnma(t, t, v_set(1.0f)) * scale;
        v_store_n(z + i, v_exp(x - v_set(lse)) * slope, cpu_min(n - i, VW));
    }
}

/* by z in bf16, in the first half of z's place. */
static void scale_row_to_bf16(float *z, int64_t n, float by)
{
    uint16_t *half = (uint16_t *)(void *)z;
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store_bf16(half + i, v_load(z + i) * v_set(by));
    if (i < n)
        v_store_bf16_n(half + i, v_load_n(z + i, n - i) * v_set(by), n - i);
}

static void scale_row(float *z, int64_t n, float by)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(z + i, v_load(z + i) * v_set(by));
    if (i < n)
        v_store_n(z + i, v_load_n(z + i, n - i) * v_set(by), n - i);
}

/* A row with a target: its nll, and in a backward the gradient in its place. */
static void run_row(const chunk *k, int64_t row, float *z, int64_t target,
                    const float *next)
{
    if (k->cap > 0.0f)
        cap_row(z, k->V, k->cap);
    const float base = largest(z, k->V) * EXP_LOG2_E, at_target = z[target];
    const int keep = k->dnll && k->cap == 0.0f;
    const double sum = sum_of_exponentials(z, k->V, base, keep, next);
    const double lse = (double)base / (double)EXP_LOG2_E + log(sum);
    k->nll[row] = (float)(lse - (double)at_target);
    if (!k->dnll)
        return;
    const float dnll = k->dnll[row];
    const float t = k->cap > 0.0f ? at_target / k->cap : 0.0f;
    const float by = keep ? (float)((double)dnll / sum) : 1.0f;
    if (!keep)
        differentiate_capped(z, k->V, (float)lse, dnll, k->cap);
    if (k->narrow)
        scale_row_to_bf16(z, k->V, by);
    else if (keep)
        scale_row(z, k->V, by);
    /* e^(z - lse) - 1 without cancellation where the target is certain */
    const float slope = (1.0f - t * t) * dnll;
    const float gradient = expm1f(at_target - (float)lse) * slope;
    if (k->narrow)
        ((uint16_t *)(void *)z)[target] = bf16_of_f(gradient);
    else
        z[target] = gradient;
}

static void run_rows(const void *argument, cpu_worker *w, int64_t task)
{
    const chunk *k = argument;
    float *logits = (float *)(void *)(w->shared + k->logits);
    const int64_t end = cpu_min((task + 1) * k->rows_per_task, k->rows);
    const int64_t then = (task + k->threads) * k->rows_per_task;
    for (int64_t row = task * k->rows_per_task; row < end; row++) {
        float *z = logits + row * k->pitch;
        const int64_t next = row + 1 < end    ? row + 1
                             : then < k->rows ? then
                                              : row;
        int64_t target = k->target[row];
        if (target < -1 || target >= k->V) {
            cpu_fault(w, k->node, target, -1, k->V);
            target = -1;
        }
        if (target < 0) {
            k->nll[row] = 0.0f;
            for (int64_t i = 0; i < k->V && k->dnll; i++)
                z[i] = 0.0f;
            continue;
        }
        run_row(k, row, z, target, logits + next * k->pitch);
    }
}

typedef struct loss {
    gemm_any x, w; /* (N, C), (V, C) */
    const int32_t *target;
    const float *dnll;
    float *nll, *dw;
    lines dx;
    int64_t halves; /* two (rows, C) in shared memory */
    int64_t N, C, V, pitch;
    uint32_t add_dw;
    cpu_products how;
} loss;

/* dX from element `at` on is the sum of two halves. */
typedef struct sum {
    lines dx;
    int64_t at, elements, halves;
} sum;

static void run_sum(const void *argument, cpu_worker *w, int64_t task)
{
    const sum *k = argument;
    const int64_t end = cpu_min((task + 1) * TASK_ELEMENTS, k->elements);
    const float *low = (const float *)(const void *)(w->shared + k->halves);
    const float *high = low + k->elements;
    for (int64_t i = task * TASK_ELEMENTS; i < end; i += LINE) {
        float room[LINE];
        const int64_t n = cpu_min(LINE, end - i);
        float *to = line_out(&k->dx, k->at + i, room);
        for (int64_t j = 0; j < n; j += VW)
            v_store_n(to + j,
                      v_load_n(low + i + j, n - j) +
                          v_load_n(high + i + j, n - j),
                      n - j);
        line_done(&k->dx, k->at + i, n, room);
    }
}

/* Over half of the words each: threads read different halves of Z and W, where
 * slices of dX would read the one or the other twice, and copy W twice. */
static void emit_halves(cpu_compiler *c, const loss *k, shared_product low,
                        int64_t first)
{
    sum *s = CPU_ARGUMENT(c, sum);
    *s = (sum){k->dx, first * k->C, low.M * k->C, k->halves};
    low.c = NULL;
    low.c_dtype = TN_F32;
    low.c_shared = s->halves;
    shared_product high = low;
    low.K = cpu_parts(k->V, 4 * VW) * 2 * VW; /* whole lines of bf16 */
    high.K -= low.K;
    high.b = gemm_from(low.b, low.K, 0);
    high.a_shared += low.K * cpu_bytes(low.a.dtype);
    high.c_shared += s->elements * (int64_t)sizeof(float);
    ISA(emit_product_pair)(c, &low, &high);
    cpu_barrier(c);
    cpu_step(c, run_sum, s, cpu_parts(s->elements, TASK_ELEMENTS));
}

static void emit_dx(cpu_compiler *c, const loss *k, gemm_any dz, int64_t logits,
                    int64_t first, int64_t rows)
{
    const shared_product whole = {.M = rows,
                                  .N = k->C,
                                  .K = k->V,
                                  .a = dz,
                                  .b = k->w,
                                  .c = lines_at(&k->dx, first * k->C),
                                  .c_pitch = k->C,
                                  .c_dtype = k->dx.dtype,
                                  .how = k->how,
                                  .a_shared = logits,
                                  .c_shared = -1};
    if (k->V >= HALVED)
        emit_halves(c, k, whole, first);
    else
        ISA(emit_product)(c, &whole);
}

static int64_t rows_per_task(int64_t rows, int64_t V)
{
    const int64_t several = cpu_min(TASK_ROWS, rows / TASKS);
    return cpu_max(cpu_max(1, several), TASK_ELEMENTS / V);
}

/* Rows [first, first + rows): the first two lines, then the third. */
static void emit_chunk(cpu_compiler *c, const loss *k, float cap,
                       int64_t logits, int64_t first, int64_t rows)
{
    const gemm_any x = gemm_from(k->x, first, 0);
    const gemm_any w_turned = {k->w.at, k->w.dtype, 1, k->C};
    const int narrow = k->how != CPU_FLOATS;
    const tn_dtype dtype = narrow ? TN_BF16 : TN_F32;
    const int64_t pitch = narrow ? 2 * k->pitch : k->pitch;
    chunk *r = CPU_ARGUMENT(c, chunk);
    *r = (chunk){.rows = rows,
                 .V = k->V,
                 .logits = logits,
                 .pitch = k->pitch,
                 .target = k->target + first,
                 .dnll = k->dnll ? k->dnll + first : NULL,
                 .nll = k->nll + first,
                 .cap = cap,
                 .narrow = narrow,
                 .node = cpu_node(c),
                 .rows_per_task = rows_per_task(rows, k->V),
                 .threads = cpu_threads(c)};
    if (first > 0)
        cpu_barrier(c);
    ISA(emit_product)
    (c, &(shared_product){.M = rows,
                          .N = k->V,
                          .K = k->C,
                          .a = x,
                          .b = w_turned,
                          .c_pitch = k->pitch,
                          .c_dtype = TN_F32,
                          .how = k->how,
                          .a_shared = -1,
                          .c_shared = logits});
    cpu_barrier(c);
    cpu_step(c, run_rows, r, cpu_parts(rows, r->rows_per_task));
    if (!k->dnll)
        return;
    cpu_barrier(c);
    ISA(emit_product)
    (c, &(shared_product){.M = k->V,
                          .N = k->C,
                          .K = rows,
                          .a = {NULL, dtype, 1, pitch},
                          .b = x,
                          .c = k->dw,
                          .c_pitch = k->C,
                          .c_dtype = TN_F32,
                          .how = k->how,
                          .a_shared = logits,
                          .c_shared = -1,
                          .add = first > 0 || k->add_dw});
    emit_dx(c, k, (gemm_any){NULL, dtype, pitch, 1}, logits, first, rows);
}

/* From a row of logits to the next: whole lines of the cache, so that no vector
 * lies in two, and an odd number, so that rows lie in different sets. */
static int64_t pitch_of(int64_t V)
{
    enum { FLOATS = 16 };
    return (cpu_parts(V, FLOATS) | 1) * FLOATS;
}

static tn_status emit_loss(cpu_compiler *c, const tn_plan_node *node, loss *k,
                           tn_error *err)
{
    const tn_loss_attr *attr = node->attr;
    k->target = cpu_at(c, &node->in[2]);
    k->N = node->in[0].shape[0];
    k->C = node->in[0].shape[1];
    k->x = (gemm_any){cpu_at(c, &node->in[0]), node->in[0].dtype, k->C, 1};
    k->w = (gemm_any){cpu_at(c, &node->in[1]), node->in[1].dtype, k->C, 1};
    k->V = node->in[1].shape[0];
    k->how = gemm_products(c, k->x, k->w);
    if (k->V < 1 || k->V > INT32_MAX || k->C < 1 || k->C > INT32_MAX)
        return cpu_refuse(node, err, "a vocabulary of %lld by %lld",
                          (long long)k->V, (long long)k->C);
    k->pitch = pitch_of(k->V);
    const int64_t fits = LOGITS / k->V;
    const int64_t most =
        cpu_max(LEAST_ROWS, cpu_min(MOST_ROWS, fits / 16 * 16));
    const int64_t even = cpu_parts(k->N, cpu_parts(k->N, most));
    const int64_t rows = cpu_min(k->N, cpu_parts(even, 16) * 16);
    const int64_t logits =
        cpu_shared(c, rows * k->pitch * (int64_t)sizeof(float));
    if (k->dnll && k->V >= HALVED)
        k->halves = cpu_shared(c, 2 * rows * k->C * (int64_t)sizeof(float));
    for (int64_t first = 0; first < k->N; first += rows)
        emit_chunk(c, k, (float)attr->softcap, logits, first,
                   cpu_min(rows, k->N - first));
    return TN_OK;
}

tn_status ISA(compile_loss)(cpu_compiler *c, const tn_plan_node *node,
                            tn_error *err)
{
    loss k = {.nll = cpu_at(c, &node->out[0])};
    return emit_loss(c, node, &k, err);
}

tn_status ISA(compile_loss_bwd)(cpu_compiler *c, const tn_plan_node *node,
                                tn_error *err)
{
    loss k = {.dnll = cpu_at(c, &node->in[3]),
              .dx = lines_of(c, &node->out[0]),
              .dw = cpu_at(c, &node->out[1]),
              .nll = cpu_at(c, &node->out[2]),
              .add_dw = node->accumulate >> 1 & 1u};
    return emit_loss(c, node, &k, err);
}
