/*
 * op_ssd.c - SSD_SCAN and its backward: the chunks of all heads at once, with
 * one pass over chunks between them (kernels/ssd.glsl).
 *
 *     decay -> states -> chain -> scan                                forward
 *     decay -> states (both ways) -> chain (both ways)
 *           -> dx, dB, dC, sums -> ddt -> dA                          backward
 *
 * The states at the borders of chunks are P N floats for each chunk and head:
 * where those of all batch rows are too many, so many rows at a time as fit. A
 * few rows, as decoding has, are the recurrence.
 */
#include "emit_dispatch.h"
#include "kernels.h"

enum {
    FEW_ROWS = 8,
    TILE = 32,
    THREADS = 64,
    MOST_WIDTH = 128,
    MOST_STATES = 256,
    STATE_BYTES = 256 << 20,
    SUMS = 5, /* of ssd.glsl */
};

/* ssd.glsl's argument block. */
typedef struct arguments {
    uint64_t x, dt, A, Bm, Cm, dy;
    uint64_t x_stride[3], dt_stride[3], b_stride[3], c_stride[3];
    uint64_t first, last, begins;
    uint64_t y, dx, ddt, dB, dC;
    uint64_t s, decay, h, E, sums, dA;
    uint32_t batch, rows, heads, groups;
    uint32_t chunks;
} arguments;

typedef struct scan {
    gpu_compiler *c;
    arguments a;
    int64_t batch, rows, heads, width, groups, states; /* B, T, H, P, G, N */
    int64_t chunk, chunks;                             /* L, Z */
    uint32_t type, state_type;
} scan;

/* ---- what is taken ---- */

static uint32_t fits(const tn_operand *x, const tn_operand *Bm)
{
    return x->shape[3] <= MOST_WIDTH && Bm->shape[3] <= MOST_STATES &&
           Bm[0].dtype == x->dtype && Bm[1].dtype == x->dtype;
}

uint32_t gpu_scan_fits(const tn_plan_node *n)
{
    return fits(&n->in[0], &n->in[3]) && n->out[0].dtype == n->in[0].dtype &&
           (n->in_count < 6 || !n->in[5].arena ||
            n->in[5].dtype == n->out[1].dtype);
}

uint32_t gpu_scan_bwd_fits(const tn_plan_node *n)
{
    return fits(&n->in[1], &n->in[4]) && n->in[0].dtype == n->in[1].dtype &&
           n->out[0].dtype == n->in[1].dtype &&
           n->out[3].dtype == n->in[1].dtype &&
           n->out[4].dtype == n->in[1].dtype;
}

static void set_strides(uint64_t *stride, const tn_operand *o)
{
    for (uint32_t i = 0; i < 3; i++)
        stride[i] = (uint64_t)o->stride[i];
}

/* x, dt, A, Bm and Cm are inputs first .. first + 4; where documents begin, 6.
 */
static scan problem(gpu_compiler *c, const tn_plan_node *n, uint32_t first)
{
    const tn_operand *in = &n->in[first];
    scan s = {.c = c,
              .batch = in[0].shape[0],
              .rows = in[0].shape[1],
              .heads = in[0].shape[2],
              .width = in[0].shape[3],
              .groups = in[3].shape[2],
              .states = in[3].shape[3],
              .type = in[0].dtype,
              .state_type = TN_F32};
    s.chunk = s.states > 64 ? 128 : 64;
    s.chunks = gpu_ceil(s.rows, s.chunk);
    s.a = (arguments){.x = gpu_at(c, &in[0]),
                      .dt = gpu_at(c, &in[1]),
                      .A = gpu_at(c, &in[2]),
                      .Bm = gpu_at(c, &in[3]),
                      .Cm = gpu_at(c, &in[4]),
                      .begins = n->in_count > 6 ? gpu_at(c, &n->in[6]) : 0,
                      .rows = (uint32_t)s.rows,
                      .heads = (uint32_t)s.heads,
                      .groups = (uint32_t)s.groups,
                      .chunks = (uint32_t)s.chunks};
    set_strides(s.a.x_stride, &in[0]);
    set_strides(s.a.dt_stride, &in[1]);
    set_strides(s.a.b_stride, &in[3]);
    set_strides(s.a.c_stride, &in[4]);
    return s;
}

/* ---- some batch rows ---- */

static uint64_t elements_on(uint64_t at, uint64_t elements, uint32_t type)
{
    return at ? at + elements * (uint64_t)tn_dtype_bytes(type) : 0;
}

/* The argument block for `count` batch rows from row b on. */
static arguments part_of(const scan *s, int64_t b, int64_t count)
{
    const uint64_t first = (uint64_t)b;
    const uint64_t steps = first * (uint64_t)(s->rows * s->heads);
    const uint64_t of_x = steps * (uint64_t)s->width;
    const uint64_t of_B = first * (uint64_t)(s->rows * s->groups * s->states);
    const uint64_t of_state =
        first * (uint64_t)(s->heads * s->width * s->states);
    arguments a = s->a;
    a.batch = (uint32_t)count;
    a.x = elements_on(a.x, first * a.x_stride[0], s->type);
    a.dt = elements_on(a.dt, first * a.dt_stride[0], TN_F32);
    a.Bm = elements_on(a.Bm, first * a.b_stride[0], s->type);
    a.Cm = elements_on(a.Cm, first * a.c_stride[0], s->type);
    a.dy = elements_on(a.dy, of_x, s->type);
    a.y = elements_on(a.y, of_x, s->type);
    a.dx = elements_on(a.dx, of_x, s->type);
    a.dB = elements_on(a.dB, of_B, s->type);
    a.dC = elements_on(a.dC, of_B, s->type);
    a.ddt = elements_on(a.ddt, steps, TN_F32);
    a.begins = elements_on(a.begins, first * (uint64_t)s->rows, TN_I32);
    a.first = elements_on(a.first, of_state, s->state_type);
    a.last = elements_on(a.last, of_state, s->state_type);
    a.dA = elements_on(a.dA, first * (uint64_t)(s->chunks * s->heads), TN_F32);
    return a;
}

/* Batch rows whose states fit at once. */
static int64_t rows_at_once(const scan *s, int64_t copies)
{
    const int64_t bytes =
        4 * copies * s->heads * s->chunks * s->width * s->states;
    const int64_t most = STATE_BYTES / (bytes < 1 ? 1 : bytes);
    return most < 1 ? 1 : most < s->batch ? most : s->batch;
}

static tn_status dispatch(const scan *s, const arguments *a, uint32_t kernel,
                          uint32_t variant, int64_t groups, tn_error *err)
{
    const uint32_t constants[] = {(uint32_t)s->width,
                                  (uint32_t)s->states,
                                  (uint32_t)s->chunk,
                                  s->type,
                                  variant,
                                  s->state_type};
    const gpu_code code = gpu_kernel_with(kernel, 6, constants);
    return gpu_dispatch(s->c, &code, a, sizeof *a, groups, err);
}

/* Workgroups of the kernels: a chunk of a head; a tile of its rows; a tile of
 * its state; 64 elements of a head's state. */
static int64_t chunks_of(const scan *s, const arguments *a)
{
    return (int64_t)a->batch * s->heads * s->chunks;
}

static int64_t tiles_of(const scan *s, const arguments *a)
{
    return chunks_of(s, a) * (s->chunk / TILE);
}

static int64_t state_tiles_of(const scan *s, const arguments *a)
{
    return chunks_of(s, a) * gpu_ceil(s->width, TILE) *
           gpu_ceil(s->states, TILE);
}

static int64_t state_parts_of(const scan *s, const arguments *a)
{
    return gpu_ceil(a->batch * s->heads * s->width * s->states, THREADS);
}

/* ---- forward ---- */

static void add_scratch(scan *s, int64_t batch)
{
    s->a.s = gpu_scratch(s->c, 16 * batch * s->heads * s->rows);
    s->a.decay = gpu_scratch(s->c, 4 * batch * s->heads * s->chunks);
    s->a.h = gpu_scratch(s->c, 4 * batch * s->heads * s->chunks * s->width *
                                   s->states);
}

static tn_status scan_rows(const scan *s, const arguments *a, tn_error *err)
{
    TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_decay, 0,
                    gpu_ceil(chunks_of(s, a), THREADS), err));
    gpu_next_phase(s->c);
    TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_states, 0, state_tiles_of(s, a), err));
    gpu_next_phase(s->c);
    TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_chain, 0, state_parts_of(s, a), err));
    gpu_next_phase(s->c);
    TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_scan, 0, tiles_of(s, a), err));
    gpu_next_phase(s->c);
    return TN_OK;
}

tn_status gpu_compile_scan(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    scan s = problem(c, n, 0);
    s.a.first = n->in_count > 5 ? gpu_at(c, &n->in[5]) : 0;
    s.a.y = gpu_at(c, &n->out[0]);
    s.a.last = gpu_at(c, &n->out[1]);
    s.state_type = n->out[1].dtype;
    if (s.rows <= FEW_ROWS) {
        const arguments all = part_of(&s, 0, s.batch);
        return dispatch(&s, &all, GPU_KERNEL_ssd_few, 0,
                        s.batch * s.heads * gpu_ceil(s.width, 8), err);
    }
    const int64_t most = rows_at_once(&s, 1);
    add_scratch(&s, most);
    for (int64_t b = 0; b < s.batch; b += most) {
        const int64_t left = s.batch - b;
        const arguments a = part_of(&s, b, left < most ? left : most);
        TN_TRY(scan_rows(&s, &a, err));
    }
    return TN_OK;
}

/* ---- backward ---- */

static tn_status make_states(const scan *s, const arguments *a, tn_error *err)
{
    TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_decay, 0,
                    gpu_ceil(chunks_of(s, a), THREADS), err));
    gpu_next_phase(s->c);
    for (uint32_t way = 0; way < 2; way++)
        TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_states, way, state_tiles_of(s, a),
                        err));
    gpu_next_phase(s->c);
    for (uint32_t way = 0; way < 2; way++)
        TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_chain, way, state_parts_of(s, a),
                        err));
    gpu_next_phase(s->c);
    return TN_OK;
}

static tn_status differentiate_rows(const scan *s, const arguments *a,
                                    tn_error *err)
{
    const int64_t tiles = tiles_of(s, a);
    TN_TRY(make_states(s, a, err));
    TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_scan, 1, tiles, err));
    TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_dx, 0, tiles, err));
    for (uint32_t which = 0; which < 2; which++)
        TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_dgroups, which,
                        tiles / s->heads * s->groups, err));
    gpu_next_phase(s->c);
    TN_TRY(dispatch(s, a, GPU_KERNEL_ssd_ddt, 0, chunks_of(s, a), err));
    gpu_next_phase(s->c);
    return TN_OK;
}

tn_status gpu_compile_scan_bwd(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    scan s = problem(c, n, 1);
    const int64_t most = rows_at_once(&s, 2);
    add_scratch(&s, most);
    s.a.E = gpu_scratch(c, 4 * most * s.heads * s.chunks * s.width * s.states);
    s.a.sums = gpu_scratch(c, 4 * SUMS * most * s.heads * s.rows);
    s.a.dA = gpu_scratch(c, 4 * s.batch * s.chunks * s.heads);
    s.a.dy = gpu_at(c, &n->in[0]);
    s.a.dx = gpu_at(c, &n->out[0]);
    s.a.ddt = gpu_at(c, &n->out[1]);
    s.a.dB = gpu_at(c, &n->out[3]);
    s.a.dC = gpu_at(c, &n->out[4]);
    for (int64_t b = 0; b < s.batch; b += most) {
        const int64_t left = s.batch - b;
        const arguments a = part_of(&s, b, left < most ? left : most);
        TN_TRY(differentiate_rows(&s, &a, err));
    }
    return gpu_dispatch_join(c, TN_REDUCE_SUM, s.batch * s.chunks, s.a.dA,
                             gpu_place_of(c, &n->out[2]), s.heads, 0, err);
}
