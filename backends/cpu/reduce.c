/*
 * reduce.c - sums, maxima and minima over any axes of a program's result.
 *
 * Every reduction is a chain of stages (O, R, C) -> (O, blocks, C): the
 * innermost run of reduced axes is R, what is kept behind it C, everything
 * before it O. The first stage runs the prologue through the tile interpreter;
 * its tiles never reach memory. Later stages read the one before from shared
 * memory: they take the next run of reduced axes, or the `blocks` a long R was
 * cut into so that there is work for many threads (the norm of all gradients
 * is one R). All cuts follow from shapes.
 *
 * Accuracy of sums: floats within a tile or 32 rows, lane by lane, then double.
 * The error stays near that of pairwise summation for any length. Max and min
 * give NaN where any element is NaN.
 */
#include "kernels.h"
#include "tile.h"

#include <math.h>
#include <string.h>

enum {
    TASK_ELEMENTS = 32 * TILE,
    LONG = 64 * 1024,  /* elements of one result that are worth cutting, */
    BLOCK = 32 * 1024, /* and how long the cuts are, */
    FEW = 64,          /* where so few results could not feed the threads */
    FLUSH_ROWS = 32,   /* added up in float before they go to double */
};

typedef struct stage {
    tile_program program;
    uint32_t kind;
    uint32_t accumulate;
    int64_t O, R, C;
    int64_t block, blocks; /* R = blocks of `block`, the last may be short */
    int64_t width;         /* columns of a unit: C or TILE */
    int64_t column_blocks;
    int64_t units; /* O * blocks * column_blocks: what a task has some of */
    int64_t units_per_task;
    float *out;         /* or, where NULL, */
    int64_t out_shared; /* offset in shared memory */
} stage;

CPU_INLINE vf combine(uint32_t kind, vf a, vf b)
{
    if (kind == TN_REDUCE_SUM)
        return a + b;
    const vf c = kind == TN_REDUCE_MAX ? v_max(a, b) : v_min(a, b);
    return v_select(v_ne(a, a), a, c);
}

CPU_INLINE float combine_one(uint32_t kind, float a, float b)
{
    if (kind == TN_REDUCE_SUM)
        return a + b;
    if (a != a || b != b)
        return a != a ? a : b;
    return (kind == TN_REDUCE_MAX) == (a > b) ? a : b;
}

static float identity_of(uint32_t kind)
{
    return kind == TN_REDUCE_SUM   ? 0.0f
           : kind == TN_REDUCE_MAX ? -INFINITY
                                   : INFINITY;
}

/* ---- one result from n <= TILE elements ---- */

CPU_INLINE float fold_lanes(uint32_t kind, vf a)
{
    if (kind == TN_REDUCE_SUM)
        return v_sum(a);
    float lane[VW];
    v_store(lane, a);
    for (int i = 1; i < VW; i++)
        lane[0] = combine_one(kind, lane[0], lane[i]);
    return lane[0];
}

CPU_INLINE float fold_kind(uint32_t kind, const float *x, int64_t n)
{
    const vf identity = v_set(identity_of(kind));
    vf even = identity, odd = identity;
    int64_t i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        even = combine(kind, even, v_load(x + i));
        odd = combine(kind, odd, v_load(x + i + VW));
    }
    for (; i < n; i += VW)
        even =
            combine(kind, even,
                    v_select(m_first(n - i), v_load_n(x + i, n - i), identity));
    return fold_lanes(kind, combine(kind, even, odd));
}

static float fold(uint32_t kind, const float *x, int64_t n)
{
    if (kind == TN_REDUCE_SUM)
        return fold_kind(TN_REDUCE_SUM, x, n);
    if (kind == TN_REDUCE_MAX)
        return fold_kind(TN_REDUCE_MAX, x, n);
    return fold_kind(TN_REDUCE_MIN, x, n);
}

static void put(const stage *s, float *out, int64_t at, float value)
{
    out[at] = s->accumulate ? out[at] + value : value;
}

/* ---- C = 1: results are runs of consecutive elements ---- */

/* One tile to one number, that of zeros only where it is not known. */
static float fold_tile(const stage *s, tile_state *t, int64_t from, int64_t n,
                       float *of_zeros)
{
    const int zeros = n == TILE && ISA(tile_is_zeros)(t, from, n);
    if (zeros && !isnan(*of_zeros))
        return *of_zeros;
    const float part = fold(s->kind, ISA(tile_run)(t, from, n), n);
    if (zeros)
        *of_zeros = part;
    return part;
}

/* One unit: elements [from, end) to one number. */
static float fold_run(const stage *s, tile_state *t, int64_t from, int64_t end)
{
    float of_zeros = NAN; /* not known */
    double sum = 0.0;
    float extreme = identity_of(s->kind);
    for (; from < end; from += TILE) {
        const int64_t n = cpu_min(TILE, end - from);
        const float part = fold_tile(s, t, from, n, &of_zeros);
        sum += (double)part;
        extreme = combine_one(s->kind, extreme, part);
    }
    return s->kind == TN_REDUCE_SUM ? (float)sum : extreme;
}

static void run_inner(const void *argument, cpu_worker *w, int64_t task)
{
    const stage *s = argument;
    float *out = s->out ? s->out : cpu_floats(w, s->out_shared);
    const int64_t first = task * s->units_per_task;
    const int64_t end = cpu_min(first + s->units_per_task, s->units);
    tile_state t;
    ISA(tile_begin)(&t, &s->program, w->scratch, w);
    if (s->R > TILE / 2) {
        for (int64_t u = first; u < end; u++) {
            const int64_t o = u / s->blocks, from = u % s->blocks * s->block;
            const int64_t to = cpu_min(from + s->block, s->R);
            put(s, out, u, fold_run(s, &t, o * s->R + from, o * s->R + to));
        }
        return;
    }
    /* short runs: as many as fit share a tile */
    const int64_t together = TILE / s->R;
    for (int64_t u = first; u < end; u += together) {
        const int64_t count = cpu_min(together, end - u);
        const float *x = ISA(tile_run)(&t, u * s->R, count * s->R);
        for (int64_t i = 0; i < count; i++)
            put(s, out, u + i, fold(s->kind, x + i * s->R, s->R));
    }
}

/* ---- C > 1: results are columns of consecutive rows ---- */

CPU_INLINE void add_row_kind(uint32_t kind, float *part, const float *x,
                             int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(part + i, combine(kind, v_load(part + i), v_load(x + i)));
    if (i < n)
        v_store(part + i,
                combine(kind, v_load(part + i), v_load_n(x + i, n - i)));
}

static void add_row(uint32_t kind, float *part, const float *x, int64_t n)
{
    if (kind == TN_REDUCE_SUM)
        add_row_kind(TN_REDUCE_SUM, part, x, n);
    else if (kind == TN_REDUCE_MAX)
        add_row_kind(TN_REDUCE_MAX, part, x, n);
    else
        add_row_kind(TN_REDUCE_MIN, part, x, n);
}

typedef struct columns {
    double total[TILE]; /* sums only */
    float part[TILE];
    int64_t rows; /* in part */
} columns;

static void flush(columns *k, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        k->total[i] += (double)k->part[i];
        k->part[i] = 0.0f;
    }
    k->rows = 0;
}

static void clear(columns *k, uint32_t kind)
{
    memset(k->total, 0, sizeof k->total);
    for (int64_t i = 0; i < TILE; i++)
        k->part[i] = identity_of(kind);
    k->rows = 0;
}

/* Rows [r, end) of columns [c, c + n) of outer index o. */
static void fold_columns(const stage *s, tile_state *t, columns *k, int64_t o,
                         int64_t r, int64_t end, int64_t c, int64_t n)
{
    const int64_t together = n == s->C ? cpu_max(1, TILE / s->C) : 1;
    clear(k, s->kind);
    while (r < end) {
        const int64_t rows = cpu_min(together, end - r);
        const float *x = ISA(tile_run)(t, (o * s->R + r) * s->C + c, rows * n);
        for (int64_t i = 0; i < rows; i++) {
            add_row(s->kind, k->part, x + i * n, n);
            if (++k->rows == FLUSH_ROWS && s->kind == TN_REDUCE_SUM)
                flush(k, n);
        }
        r += rows;
    }
    if (s->kind == TN_REDUCE_SUM)
        flush(k, n);
}

static void run_outer(const void *argument, cpu_worker *w, int64_t task)
{
    const stage *s = argument;
    float *out = s->out ? s->out : cpu_floats(w, s->out_shared);
    const int64_t first = task * s->units_per_task;
    const int64_t end = cpu_min(first + s->units_per_task, s->units);
    columns *k = (columns *)(void *)w->scratch;
    tile_state t;
    ISA(tile_begin)
    (&t, &s->program, w->scratch + sizeof(columns) / sizeof(float), w);
    for (int64_t u = first; u < end; u++) {
        const int64_t c = u % s->column_blocks * s->width;
        const int64_t part = u / s->column_blocks; /* o * blocks + block */
        const int64_t from = part % s->blocks * s->block;
        const int64_t to = cpu_min(from + s->block, s->R);
        const int64_t n = cpu_min(s->width, s->C - c);
        fold_columns(s, &t, k, part / s->blocks, from, to, c, n);
        for (int64_t i = 0; i < n; i++)
            put(s, out, part * s->C + c + i,
                s->kind == TN_REDUCE_SUM ? (float)k->total[i] : k->part[i]);
    }
}

/* ---- compiling ---- */

/* Runs of axes that are all kept or all reduced, outermost first. */
typedef struct runs {
    int64_t size[TN_MAX_RANK];
    uint32_t reduced[TN_MAX_RANK];
    uint32_t count;
} runs;

static runs find_runs(const tn_operand *space, uint32_t axes)
{
    runs r = {.count = 0};
    for (uint32_t i = 0; i < space->rank; i++) {
        const uint32_t reduced = axes >> i & 1u;
        if (space->shape[i] == 1)
            continue;
        if (r.count && r.reduced[r.count - 1] == reduced) {
            r.size[r.count - 1] *= space->shape[i];
        } else {
            r.size[r.count] = space->shape[i];
            r.reduced[r.count++] = reduced;
        }
    }
    return r;
}

/* Take the innermost reduced run out of r: its O, R and C; R = 1 if none. */
static void take_run(runs *r, stage *s)
{
    uint32_t at = r->count;
    s->O = s->R = s->C = 1;
    while (at > 0 && !r->reduced[at - 1])
        s->C *= r->size[--at];
    if (at == 0) {
        s->O = s->C;
        s->C = 1;
        return;
    }
    s->R = r->size[--at];
    r->count = at;
    for (uint32_t i = 0; i < at; i++)
        s->O *= r->size[i];
    if (s->C == 1)
        return;
    /* what is kept now belongs to the kept run before it, if any */
    if (at > 0)
        r->size[at - 1] *= s->C;
}

static int any_reduced(const runs *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (r->reduced[i])
            return 1;
    return 0;
}

static void cut(stage *s)
{
    s->width = cpu_min(s->C, TILE);
    s->column_blocks = cpu_parts(s->C, s->width);
    s->block = s->R;
    if (s->O * s->column_blocks < FEW && s->R * s->width > LONG)
        s->block = cpu_max(BLOCK / s->width, FLUSH_ROWS);
    s->blocks = cpu_parts(s->R, s->block);
    s->units = s->O * s->blocks * s->column_blocks;
    s->units_per_task =
        cpu_share(s->units, TASK_ELEMENTS / (s->block * s->width));
}

static void emit_stage(cpu_compiler *c, const stage *s)
{
    cpu_scratch(c, (int64_t)sizeof(columns) +
                       ISA(tile_scratch_bytes)(&s->program));
    cpu_step(c, s->C == 1 ? run_inner : run_outer, s,
             cpu_parts(s->units, s->units_per_task));
}

/* The stage that follows s reads what s wrote. */
static stage *next_stage(cpu_compiler *c, const stage *s)
{
    stage *next = CPU_ARGUMENT(c, stage);
    next->kind = s->kind;
    ISA(tile_compile_shared)
    (&next->program, s->out_shared, s->O * s->blocks * s->C);
    cpu_barrier(c);
    return next;
}

static void emit_stages(cpu_compiler *c, stage *s, runs r, float *out,
                        uint32_t accumulate)
{
    take_run(&r, s);
    for (;;) {
        cut(s);
        if (s->blocks == 1 && !any_reduced(&r)) {
            s->out = out;
            s->accumulate = accumulate;
            emit_stage(c, s);
            return;
        }
        s->out_shared =
            cpu_shared(c, s->O * s->blocks * s->C * (int64_t)sizeof(float));
        emit_stage(c, s);
        stage *next = next_stage(c, s);
        if (s->blocks > 1) {
            next->O = s->O;
            next->R = s->blocks;
            next->C = s->C;
        } else {
            take_run(&r, next);
        }
        s = next;
    }
}

/* An empty run of elements reduces to the identity. */
static void run_empty(const void *argument, cpu_worker *w, int64_t task)
{
    const stage *s = argument;
    (void)w, (void)task;
    for (int64_t i = 0; i < s->units; i++)
        put(s, s->out, i, identity_of(s->kind));
}

tn_status ISA(compile_reduce)(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    const tn_reduce_attr *attr = node->attr;
    const tn_operand *out = &node->out[0];
    stage *s = CPU_ARGUMENT(c, stage);
    s->kind = attr->kind;
    TN_TRY(ISA(tile_compile)(c, node, &attr->program, &node->in[0], NULL,
                             &s->program, err));
    const uint32_t accumulate = node->accumulate & 1u;
    if (s->program.elements == 0) {
        s->out = cpu_at(c, out);
        s->units = cpu_elements(out);
        s->accumulate = accumulate;
        cpu_step(c, run_empty, s, s->units > 0);
        return TN_OK;
    }
    emit_stages(c, s, find_runs(&node->in[0], attr->axes), cpu_at(c, out),
                accumulate);
    return TN_OK;
}
