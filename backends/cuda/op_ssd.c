/*
 * op_ssd.c - SSD_SCAN and its backward: the chunks of all heads at once, with
 * one pass over chunks between them (kernels/ssd.cuh).
 *
 *     steps -> states -> chain -> products -> scan                   forward
 *     steps -> states and chain, both ways -> products
 *           -> dx, dC, dB -> ddt -> dA                               backward
 *
 * The states at the borders of chunks are P N floats for each chunk and head:
 * where those of all batch rows are too many, so many rows at a time as fit. A
 * few rows, as decoding has, are the recurrence.
 */
#include "emit_launch.h"
#include "kernels/sequence.h"

static const int64_t state_bytes = (int64_t)1 << 30;
enum { FEW_ROWS = 8 };

typedef struct scan {
    gpu_compiler *c;
    gpu_ssd_args a;
    int64_t batch;
    tn_dtype dtype; /* of x, Bm, Cm and the like */
} scan;

/* ---- what is taken ---- */

/* x, dt, A, Bm, Cm: all but dt and A are stored alike. */
static uint32_t fits(const tn_operand *in)
{
    return in[3].dtype == in[0].dtype && in[4].dtype == in[0].dtype &&
           in[3].shape[3] <= GPU_SSD_MOST_STATES;
}

uint32_t gpu_scan_fits(const tn_device *d, const tn_plan_node *n)
{
    (void)d;
    return fits(n->in) && n->out[0].dtype == n->in[0].dtype;
}

uint32_t gpu_scan_bwd_fits(const tn_device *d, const tn_plan_node *n)
{
    const tn_dtype dtype = n->in[1].dtype;
    (void)d;
    return fits(n->in + 1) && n->in[0].dtype == dtype &&
           n->out[0].dtype == dtype && n->out[3].dtype == dtype &&
           n->out[4].dtype == dtype;
}

/* ---- the problem ---- */

static void set_strides(int64_t *stride, const tn_operand *o)
{
    for (uint32_t i = 0; i < 3; i++)
        stride[i] = o->stride[i];
}

/* x, dt, A, Bm and Cm are inputs `first` on; where documents begin, 6. */
static scan problem(gpu_compiler *c, const tn_plan_node *n, uint32_t first)
{
    const tn_operand *in = &n->in[first], *Bm = &in[3];
    const int64_t T = in->shape[1], states = Bm->shape[3];
    const int64_t chunk = states > 64 ? 2 * GPU_SSD_TILE : GPU_SSD_TILE;
    scan s = {.c = c, .batch = in->shape[0], .dtype = in->dtype};
    s.a = (gpu_ssd_args){
        .x = gpu_at(c, &in[0]),
        .dt = gpu_at(c, &in[1]),
        .A = gpu_at(c, &in[2]),
        .Bm = gpu_at(c, &in[3]),
        .Cm = gpu_at(c, &in[4]),
        .begins = n->in_count > 6 ? gpu_at(c, &n->in[6]) : 0,
        .rows = (int32_t)T,
        .heads = (int32_t)in->shape[2],
        .groups = (int32_t)Bm->shape[2],
        .width = (int32_t)in->shape[3],
        .states = (int32_t)states,
        .chunk = (int32_t)chunk,
        .chunks = (int32_t)gpu_ceil(T, chunk),
    };
    set_strides(s.a.x_stride, &in[0]);
    set_strides(s.a.dt_stride, &in[1]);
    set_strides(s.a.b_stride, &in[3]);
    set_strides(s.a.c_stride, &in[4]);
    return s;
}

/* Elements of h for a batch row. */
static int64_t states_of(const gpu_ssd_args *a)
{
    return (int64_t)a->heads * a->chunks * a->width * a->states;
}

/* Batch rows whose states fit at once. */
static int64_t rows_at_once(const scan *s, int64_t copies)
{
    const int64_t bytes = 4 * copies * states_of(&s->a);
    const int64_t most = state_bytes / (bytes < 1 ? 1 : bytes);
    return most < 1 ? 1 : most < s->batch ? most : s->batch;
}

static void add_scratch(scan *s, int64_t batch)
{
    const gpu_ssd_args *a = &s->a;
    const int64_t heads = batch * a->heads, area = (int64_t)a->chunk * a->chunk;
    s->a.steps = gpu_scratch(s->c, 16 * heads * a->rows);
    s->a.decay = gpu_scratch(s->c, 4 * heads * a->chunks);
    s->a.h = gpu_scratch(s->c, 4 * batch * states_of(a));
    s->a.products = gpu_scratch(s->c, 4 * batch * a->chunks * a->groups * area);
}

/* ---- some batch rows ---- */

static uint64_t behind(uint64_t at, int64_t elements, tn_dtype dtype)
{
    return at ? at + (uint64_t)elements * gpu_bytes(dtype) : 0;
}

/* The arguments for `count` batch rows from row b on. */
static gpu_ssd_args part_of(const scan *s, int64_t b, int64_t count)
{
    gpu_ssd_args a = s->a;
    const int64_t steps = b * a.rows * a.heads, of_x = steps * a.width;
    const int64_t of_group = b * a.rows * a.groups * a.states;
    const int64_t of_state = b * a.heads * a.width * a.states;
    a.batch = (int32_t)count;
    a.x = behind(a.x, b * a.x_stride[0], s->dtype);
    a.dt = behind(a.dt, b * a.dt_stride[0], TN_F32);
    a.Bm = behind(a.Bm, b * a.b_stride[0], s->dtype);
    a.Cm = behind(a.Cm, b * a.c_stride[0], s->dtype);
    a.dy = behind(a.dy, of_x, s->dtype);
    a.y = behind(a.y, of_x, s->dtype);
    a.dx = behind(a.dx, of_x, s->dtype);
    a.dB = behind(a.dB, of_group, s->dtype);
    a.dC = behind(a.dC, of_group, s->dtype);
    a.ddt = behind(a.ddt, steps, TN_F32);
    a.begins = behind(a.begins, b * a.rows, TN_I32);
    a.first = behind(a.first, of_state, TN_F32);
    a.last = behind(a.last, of_state, TN_F32);
    a.dA = behind(a.dA, b * a.chunks * a.heads, TN_F32);
    return a;
}

static int64_t chunks_of(const gpu_ssd_args *a)
{
    return (int64_t)a->batch * a->chunks * a->heads;
}

static int64_t tiles_of(int64_t size)
{
    return gpu_ceil(size, GPU_SSD_TILE);
}

/* Of ssd.cu or ssd_bwd.cu, "ssd_scan_b": stored as BF16. A tile is shared by
 * 256 threads, or by 4 warps and their tensor cores. */
static tn_status launch(const scan *s, const gpu_ssd_args *a, uint32_t family,
                        const char *kernel, gpu_grid grid, tn_error *err)
{
    char name[40];
    snprintf(name, sizeof name, "%s%c", kernel, gpu_letter(s->dtype));
    if (!grid.threads)
        grid.threads = s->dtype == TN_BF16 ? 128 : 256;
    return gpu_launch(s->c, family, name, a, sizeof *a, grid, err);
}

static tn_status make_steps(const scan *s, const gpu_ssd_args *a, tn_error *err)
{
    return gpu_launch(s->c, GPU_FAMILY_ssd, "ssd_steps", a, sizeof *a,
                      (gpu_grid){gpu_ceil(chunks_of(a), 64), 1, 1, 64, 0}, err);
}

/* h before each chunk, or backward E behind each */
static tn_status make_states(const scan *s, gpu_ssd_args a, uint32_t backward,
                             tn_error *err)
{
    const int64_t elements = (int64_t)a.batch * a.heads * a.width * a.states;
    a.backward = backward;
    TN_TRY(launch(s, &a, GPU_FAMILY_ssd, "ssd_states_",
                  (gpu_grid){.x = chunks_of(&a),
                             .y = tiles_of(a.states),
                             .z = tiles_of(a.width)},
                  err));
    return gpu_launch(s->c, GPU_FAMILY_ssd, "ssd_chain", &a, sizeof a,
                      (gpu_grid){gpu_ceil(elements, 256), 1, 1, 256, 0}, err);
}

static tn_status make_products(const scan *s, const gpu_ssd_args *a,
                               tn_error *err)
{
    const int64_t tiles = tiles_of(a->chunk);
    return launch(s, a, GPU_FAMILY_ssd, "ssd_products_",
                  (gpu_grid){.x = chunks_of(a) / a->heads * a->groups,
                             .y = tiles * tiles,
                             .z = 1},
                  err);
}

/* ---- forward ---- */

static tn_status scan_rows(const scan *s, const gpu_ssd_args *a, tn_error *err)
{
    TN_TRY(make_steps(s, a, err));
    TN_TRY(make_states(s, *a, 0, err));
    TN_TRY(make_products(s, a, err));
    return launch(s, a, GPU_FAMILY_ssd, "ssd_scan_",
                  (gpu_grid){.x = chunks_of(a),
                             .y = tiles_of(a->chunk),
                             .z = tiles_of(a->width)},
                  err);
}

static tn_status scan_few(const scan *s, tn_error *err)
{
    const gpu_ssd_args a = part_of(s, 0, s->batch);
    const int64_t warps = (int64_t)a.batch * a.heads * a.width;
    return launch(s, &a, GPU_FAMILY_ssd, "ssd_few_",
                  (gpu_grid){gpu_ceil(warps, 8), 1, 1, 256, 0}, err);
}

tn_status gpu_compile_scan(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    scan s = problem(c, n, 0);
    s.a.first = n->in_count > 5 ? gpu_at(c, &n->in[5]) : 0;
    s.a.y = gpu_at(c, &n->out[0]);
    s.a.last = gpu_at(c, &n->out[1]);
    if (s.a.rows <= FEW_ROWS)
        return scan_few(&s, err);
    const int64_t most = rows_at_once(&s, 1);
    add_scratch(&s, most);
    for (int64_t b = 0; b < s.batch; b += most) {
        const int64_t left = s.batch - b;
        const gpu_ssd_args a = part_of(&s, b, left < most ? left : most);
        TN_TRY(scan_rows(&s, &a, err));
    }
    return TN_OK;
}

/* ---- backward ---- */

/* dC and dB: blocks have the states of a row, whatever their number. */
static tn_status make_groups(const scan *s, const gpu_ssd_args *a,
                             tn_error *err)
{
    const gpu_grid grid = {.x = chunks_of(a) / a->heads * a->groups,
                           .y = tiles_of(a->chunk),
                           .z = 1};
    const int size = a->states <= 64 ? 64 : a->states <= 128 ? 128 : 256;
    char name[32];
    snprintf(name, sizeof name, "ssd_dC_%d", size);
    TN_TRY(launch(s, a, GPU_FAMILY_ssd_bwd, name, grid, err));
    snprintf(name, sizeof name, "ssd_dB_%d", size);
    return launch(s, a, GPU_FAMILY_ssd_bwd, name, grid, err);
}

static tn_status differentiate_rows(const scan *s, const gpu_ssd_args *a,
                                    tn_error *err)
{
    TN_TRY(make_steps(s, a, err));
    TN_TRY(make_states(s, *a, 0, err));
    TN_TRY(make_states(s, *a, 1, err));
    TN_TRY(make_products(s, a, err));
    TN_TRY(launch(
        s, a, GPU_FAMILY_ssd_bwd, "ssd_dx_",
        (gpu_grid){.x = chunks_of(a), .y = tiles_of(a->chunk), .z = 1}, err));
    TN_TRY(make_groups(s, a, err));
    return gpu_launch(s->c, GPU_FAMILY_ssd_bwd, "ssd_ddt", a, sizeof *a,
                      (gpu_grid){chunks_of(a), 1, 1, GPU_SSD_MOST_ROWS, 0},
                      err);
}

tn_status gpu_compile_scan_bwd(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    scan s = problem(c, n, 1);
    const int64_t most = rows_at_once(&s, 2), heads = s.a.heads;
    add_scratch(&s, most);
    s.a.E = gpu_scratch(c, 4 * most * states_of(&s.a));
    s.a.sums = gpu_scratch(c, 4 * GPU_SSD_SUMS * most * heads * s.a.rows);
    s.a.dA = gpu_scratch(c, 4 * s.batch * s.a.chunks * heads);
    s.a.dy = gpu_at(c, &n->in[0]);
    s.a.dx = gpu_at(c, &n->out[0]);
    s.a.ddt = gpu_at(c, &n->out[1]);
    s.a.dB = gpu_at(c, &n->out[3]);
    s.a.dC = gpu_at(c, &n->out[4]);
    for (int64_t b = 0; b < s.batch; b += most) {
        const int64_t left = s.batch - b;
        const gpu_ssd_args a = part_of(&s, b, left < most ? left : most);
        TN_TRY(differentiate_rows(&s, &a, err));
    }
    return gpu_launch_join(c, TN_REDUCE_SUM, s.batch * s.a.chunks, s.a.dA,
                           gpu_at(c, &n->out[2]), TN_F32, heads, 0, err);
}
