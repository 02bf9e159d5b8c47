/*
 * op_newton.c - NEWTON_SCHULZ of stacked matrices, all of a shape at once.
 *
 *     X = x / max(|x|, eps)
 *     G = X X'      U = b G + c G G      X = a X + U X        `steps` times
 *
 * Nothing is turned: of matrices with more rows than columns G = X'X, and
 * X = a X + X U. G and U are symmetric, and half of each product is multiplied
 * (kernels/newton.cu) where that is a saving: a result of one tile has no half,
 * and cuBLASLt, where it is there, has no symmetric product, but whole ones
 * that are faster by more than two. Two copies of X take turns, of which one is
 * the output; stacks that are large take as many matrices at a time as fit.
 */
#include "emit_launch.h"
#include "product.h"

#include <string.h>

static const int64_t scratch_bytes = (int64_t)512 << 20;
enum { TILE = 64, LARGE_TILE = 128, BUSY = 264 }; /* as op_matmul.c has it */

typedef struct newton {
    gpu_compiler *c;
    const tn_newton_schulz_attr *attr;
    int64_t count, rows, columns; /* matrices at a time, and their shape */
    int64_t S, L;                 /* the shorter and the longer */
    int tall;
    uint64_t norm, other, G, U; /* scratch: X, and (S, S) */
    uint64_t product;           /* of products that are summed in parts */
} newton;

/* ---- element by element, along the last axis of (count, n) ---- */

static gpu_map_spec rows_of(int64_t count, int64_t n)
{
    gpu_map_spec s = {.rank = 2, .out_count = 1, .shape = {count, n}};
    s.in[0] = (gpu_view){TN_F32, {n, 1}};
    s.out[0] = (gpu_view){TN_F32, {n, 1}};
    s.program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    return s;
}

/* sums of squares, (count) */
static tn_status launch_squares(const newton *w, uint64_t x, tn_error *err)
{
    gpu_reduce_spec s = {.axes = 2, .kind = TN_REDUCE_SUM};
    const gpu_addresses a = {{x, w->norm}, 2};
    s.map = rows_of(w->count, w->S * w->L);
    s.map.in_count = 1;
    s.map.program.instruction[1] = (tn_instruction){TN_MAP_MUL, 0, 0, 0};
    s.map.program.instruction_count = 2;
    s.map.program.output[0] = 1;
    return gpu_launch_reduce(w->c, &s, &a, err);
}

/* y = x / max(sqrt(squares), eps) */
static tn_status launch_divide(const newton *w, uint64_t x, uint64_t y,
                               tn_error *err)
{
    gpu_map_spec s = rows_of(w->count, w->S * w->L);
    const gpu_addresses a = {{x, w->norm, y}, 3};
    tn_program *p = &s.program;
    s.in_count = 2;
    s.in[1] = (gpu_view){TN_F32, {1, 0}};
    p->instruction[1] = (tn_instruction){TN_MAP_INPUT, 1, 0, 0};
    p->instruction[2] = (tn_instruction){TN_MAP_SQRT, 1, 0, 0};
    p->instruction[3] = (tn_instruction){TN_MAP_CONST, 0, 0, 0};
    p->instruction[4] = (tn_instruction){TN_MAP_MAX, 2, 3, 0};
    p->instruction[5] = (tn_instruction){TN_MAP_DIV, 0, 4, 0};
    p->instruction_count = 6;
    p->input_count = 2;
    p->output_count = 1;
    p->constant[0] = w->attr->eps;
    p->constant_count = 1;
    p->output[0] = 5;
    return gpu_launch_map(w->c, &s, &a, err);
}

/* y = by x, of matrices of n elements */
static tn_status launch_scale(const newton *w, uint64_t x, uint64_t y,
                              int64_t n, double by, tn_error *err)
{
    gpu_map_spec s = rows_of(w->count, n);
    const gpu_addresses a = {{x, y}, 2};
    tn_program *p = &s.program;
    s.in_count = 1;
    p->instruction[1] = (tn_instruction){TN_MAP_CONST, 0, 0, 0};
    p->instruction[2] = (tn_instruction){TN_MAP_MUL, 0, 1, 0};
    p->instruction_count = 3;
    p->input_count = 1;
    p->output_count = 1;
    p->constant[0] = by;
    p->constant_count = 1;
    p->output[0] = 2;
    return gpu_launch_map(w->c, &s, &a, err);
}

/* ---- products ---- */

/* A matrix of each of the stack, (rows, columns) at these strides. */
typedef struct side {
    uint64_t at;
    int64_t stride[2], batch;
} side;

static gpu_product product_of(const newton *w, const side *a, const side *b,
                              uint64_t y, int64_t rows, int64_t columns,
                              int64_t inner)
{
    gpu_product p = gpu_plain_product(a->at, b->at, y, rows, columns, inner);
    memcpy(p.args.a_stride, a->stride, sizeof a->stride);
    memcpy(p.args.b_stride, b->stride, sizeof b->stride);
    p.args.a_batch[3] = a->batch;
    p.args.b_batch[3] = b->batch;
    p.args.batch[3] = (int32_t)w->count;
    p.steady = 1; /* each rank makes the whole update */
    return p;
}

static side x_side(const newton *w, uint64_t x)
{
    return (side){x, {w->columns, 1}, w->rows * w->columns};
}

static side square_side(const newton *w, uint64_t square)
{
    return (side){square, {w->S, 1}, w->S * w->S};
}

static side turned(side s)
{
    return (side){s.at, {s.stride[1], s.stride[0]}, s.batch};
}

/* X X', or X'X where X is tall */
static gpu_product gram_of(const newton *w, uint64_t x)
{
    const side X = x_side(w, x), Xt = turned(X);
    return w->tall ? product_of(w, &Xt, &X, w->G, w->S, w->S, w->L)
                   : product_of(w, &X, &Xt, w->G, w->S, w->S, w->L);
}

static gpu_product square_of(const newton *w, uint64_t a)
{
    const side A = square_side(w, a), G = square_side(w, w->G);
    return product_of(w, &A, &G, w->U, w->S, w->S, w->S);
}

/* U X, or X U */
static gpu_product step_of(const newton *w, uint64_t x, uint64_t y)
{
    const side X = x_side(w, x), U = square_side(w, w->U);
    return w->tall ? product_of(w, &X, &U, y, w->rows, w->columns, w->S)
                   : product_of(w, &U, &X, y, w->rows, w->columns, w->S);
}

static int by_halves(const newton *w)
{
    return !gpu_device_of(w->c)->blas && w->S > TILE;
}

static int64_t tiles_of(const newton *w, int64_t tile)
{
    const int64_t n = gpu_ceil(w->S, tile);
    return n * (n + 1) / 2 * w->count;
}

/* y = alpha p p' + beta q, of p (S, inner) */
static tn_status launch_gram(const newton *w, const side *p, int64_t inner,
                             uint64_t q, uint64_t y, const double factor[2],
                             tn_error *err)
{
    const int64_t tiles = tiles_of(w, LARGE_TILE);
    const int large = tiles >= BUSY;
    const gpu_gram_args a = {.p = p->at,
                             .q = q,
                             .y = y,
                             .line = p->stride[0],
                             .step = p->stride[1],
                             .p_batch = p->batch,
                             .rows = (int32_t)w->S,
                             .inner = (int32_t)inner,
                             .alpha = (float)factor[0],
                             .beta = (float)factor[1]};
    return gpu_launch(
        w->c, GPU_FAMILY_newton, large ? "gram_large" : "gram_small", &a,
        sizeof a, (gpu_grid){large ? tiles : tiles_of(w, TILE), 1, 1, 256, 0},
        err);
}

/* ---- steps ---- */

static tn_status square_by_halves(const newton *w, uint64_t x, tn_error *err)
{
    const double one[2] = {1.0, 0.0}, both[2] = {w->attr->c, w->attr->b};
    const side X = x_side(w, x), Xt = turned(X), G = square_side(w, w->G);
    TN_TRY(launch_gram(w, w->tall ? &Xt : &X, w->L, 0, w->G, one, err));
    return launch_gram(w, &G, w->S, w->G, w->U, both, err);
}

/* U = b G, then += (c G) G; c G lies where the next X will. */
static tn_status square_whole(const newton *w, uint64_t x, uint64_t room,
                              tn_error *err)
{
    const int64_t n = w->S * w->S;
    const gpu_product gram = gram_of(w, x), square = square_of(w, room);
    TN_TRY(gpu_launch_product(w->c, &gram, w->product, 0, err));
    TN_TRY(launch_scale(w, w->G, w->U, n, w->attr->b, err));
    TN_TRY(launch_scale(w, w->G, room, n, w->attr->c, err));
    return gpu_launch_product(w->c, &square, w->product, 1, err);
}

static tn_status launch_step(const newton *w, uint64_t x, uint64_t y,
                             tn_error *err)
{
    const gpu_product last = step_of(w, x, y);
    TN_TRY(by_halves(w) ? square_by_halves(w, x, err)
                        : square_whole(w, x, y, err));
    TN_TRY(launch_scale(w, x, y, w->S * w->L, w->attr->a, err));
    return gpu_launch_product(w->c, &last, w->product, 1, err);
}

/* The copies take turns so that the last step ends in the output. */
static tn_status launch_matrices(const newton *w, uint64_t x, uint64_t out,
                                 tn_error *err)
{
    uint64_t now = w->attr->steps % 2 ? w->other : out;
    TN_TRY(launch_squares(w, x, err));
    TN_TRY(launch_divide(w, x, now, err));
    for (int64_t i = 0; i < w->attr->steps; i++) {
        const uint64_t next = now == out ? w->other : out;
        TN_TRY(launch_step(w, now, next, err));
        now = next;
    }
    return TN_OK;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Bytes that the products of `count` matrices are summed in. */
static int64_t product_bytes(newton w, int64_t count)
{
    w.count = count;
    const gpu_product products[3] = {gram_of(&w, w.other),
                                     square_of(&w, w.other),
                                     step_of(&w, w.other, w.other)};
    int64_t bytes = 0;
    for (int i = 0; i < 3; i++)
        bytes = larger(bytes, gpu_product_scratch(&products[i]));
    return bytes;
}

/* Products of fewer matrices may be cut into more parts: of `last` too. */
static void add_scratch(newton *w, int64_t last)
{
    const int64_t square = 4 * w->count * w->S * w->S;
    w->norm = gpu_scratch(w->c, 4 * w->count);
    w->other = gpu_scratch(w->c, 4 * w->count * w->S * w->L);
    w->G = gpu_scratch(w->c, square);
    w->U = gpu_scratch(w->c, square);
    const int64_t bytes =
        larger(product_bytes(*w, w->count), product_bytes(*w, last));
    w->product = bytes ? gpu_scratch(w->c, bytes) : 0;
}

tn_status gpu_compile_newton_schulz(gpu_compiler *c, const tn_plan_node *n,
                                    tn_error *err)
{
    const int64_t *shape = n->in[0].shape;
    const uint64_t x = gpu_at(c, &n->in[0]), out = gpu_at(c, &n->out[0]);
    newton w = {.c = c,
                .attr = n->attr,
                .rows = shape[1],
                .columns = shape[2],
                .tall = shape[1] > shape[2]};
    w.S = w.tall ? w.columns : w.rows;
    w.L = w.tall ? w.rows : w.columns;
    const int64_t each = 4 * w.S * (w.L + 2 * w.S);
    const int64_t most = larger(scratch_bytes / larger(each, 1), 1);
    if (!gpu_elements(&n->in[0]))
        return TN_OK;
    w.count = shape[0] < most ? shape[0] : most;
    add_scratch(&w, (shape[0] - 1) % w.count + 1);
    for (int64_t first = 0; first < shape[0]; first += w.count) {
        const uint64_t before = 4 * (uint64_t)(first * w.S * w.L);
        newton part = w;
        part.count = shape[0] - first < w.count ? shape[0] - first : w.count;
        TN_TRY(launch_matrices(&part, x + before, out + before, err));
    }
    return TN_OK;
}
