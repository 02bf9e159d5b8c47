/*
 * op_matmul.c - matrix products: which tile, how many parts.
 *
 * Tiles grow with the result, so that a small one still keeps the device busy.
 * Where the result is small and the inner size long (gradients of weights), it
 * is cut into parts whose sums are joined by a reduction. Both follow from
 * shapes alone: the same plan gives the same bits on one device.
 */
#include "emit_dispatch.h"
#include "kernels.h"

#include <string.h>

typedef struct tile {
    uint32_t threads, bm, bn, bk, tm, tn;
} tile;

static const tile tiles[] = {
    {256, 128, 128, 16, 8, 8},
    {256, 64, 64, 16, 4, 4},
    {64, 32, 32, 16, 4, 4},
    {64, 8, 64, 32, 2, 4},
};

enum { BUSY = 256 }; /* workgroups that fill a device */

static const tile *choose_tile(int64_t rows, int64_t columns, int64_t batches)
{
    if (rows <= 8)
        return &tiles[3];
    for (uint32_t i = 0; i < 2; i++)
        if (gpu_ceil(rows, tiles[i].bm) * gpu_ceil(columns, tiles[i].bn) *
                batches >=
            BUSY)
            return &tiles[i];
    return &tiles[rows > 64 && columns > 64 ? 1 : 2];
}

/* The 32-bit constants of tile.glsl; -1 for what is not contiguous anywhere
 * counts as along rows. */
static gpu_code tile_code(uint32_t kernel, const tile *t, int a_along_k,
                          int b_along_k, uint32_t accumulate, uint32_t more)
{
    const uint32_t constants[] = {t->threads,
                                  t->bm,
                                  t->bn,
                                  t->bk,
                                  t->tm,
                                  t->tn,
                                  (uint32_t)a_along_k,
                                  (uint32_t)b_along_k,
                                  accumulate,
                                  more};
    return gpu_kernel_with(kernel, kernel == GPU_KERNEL_matmul ? 9 : 10,
                           constants);
}

/* ---- matmul ---- */

typedef struct matmul_arguments {
    uint64_t a, b, y;
    uint64_t a_stride[2], b_stride[2];
    uint64_t a_batch[4], b_batch[4];
    uint32_t batch[4];
    uint32_t rows, columns, inner;
    uint32_t parts;
} matmul_arguments;

/* Batch axes of the output, the last one last; operands that lack an axis, or
 * have size 1 there, repeat. */
static void set_batch(matmul_arguments *g, const tn_operand *a,
                      const tn_operand *b, const tn_operand *y)
{
    for (uint32_t i = 0; i < 4; i++)
        g->batch[i] = 1;
    for (uint32_t back = 3; back <= y->rank; back++) {
        const uint32_t at = 6 - back;
        g->batch[at] = (uint32_t)y->shape[y->rank - back];
        if (back <= a->rank && a->shape[a->rank - back] != 1)
            g->a_batch[at] = (uint64_t)a->stride[a->rank - back];
        if (back <= b->rank && b->shape[b->rank - back] != 1)
            g->b_batch[at] = (uint64_t)b->stride[b->rank - back];
    }
}

static void set_matrices(gpu_compiler *c, const tn_plan_node *n,
                         matmul_arguments *g)
{
    const tn_operand *a = &n->in[0], *b = &n->in[1], *y = &n->out[0];
    g->a = gpu_at(c, a);
    g->b = gpu_at(c, b);
    g->y = gpu_at(c, y);
    for (uint32_t i = 0; i < 2; i++) {
        g->a_stride[i] = (uint64_t)a->stride[a->rank - 2 + i];
        g->b_stride[i] = (uint64_t)b->stride[b->rank - 2 + i];
    }
    g->rows = (uint32_t)y->shape[y->rank - 2];
    g->columns = (uint32_t)y->shape[y->rank - 1];
    g->inner = (uint32_t)a->shape[a->rank - 1];
    set_batch(g, a, b, y);
}

/* Parts of k, at least 256 long, so that all workgroups together are enough. */
static uint32_t choose_parts(int64_t workgroups, int64_t inner)
{
    const int64_t wanted = BUSY / workgroups, most = inner / 256;
    const int64_t parts = wanted < most ? wanted : most;
    return (uint32_t)(parts < 2 ? 1 : parts > 32 ? 32 : parts);
}

tn_status gpu_compile_matmul(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    const tn_operand *y = &n->out[0];
    const int64_t results = gpu_elements(y);
    matmul_arguments g;
    memset(&g, 0, sizeof g);
    set_matrices(c, n, &g);
    const int64_t batches = gpu_product(y->shape, 0, y->rank - 2);
    const tile *t = choose_tile(g.rows, g.columns, batches);
    const int64_t workgroups =
        gpu_ceil(g.rows, t->bm) * gpu_ceil(g.columns, t->bn) * batches;
    g.parts = choose_parts(workgroups, g.inner);
    const uint32_t accumulate = n->accumulate & 1u;
    const uint64_t out = g.y;
    if (g.parts > 1)
        g.y = gpu_scratch(c, 4 * results * g.parts);
    const gpu_code code =
        tile_code(GPU_KERNEL_matmul, t, g.a_stride[1] == 1, g.b_stride[0] == 1,
                  g.parts > 1 ? 0 : accumulate, 0);
    TN_TRY(gpu_dispatch(c, &code, &g, sizeof g, workgroups * g.parts, err));
    if (g.parts == 1)
        return TN_OK;
    gpu_next_phase(c);
    return gpu_dispatch_join(c, TN_REDUCE_SUM, g.parts, g.y, out, results,
                             accumulate, err);
}

/* ---- grouped matmul ---- */

typedef struct grouped_arguments {
    uint64_t a, b, offsets, y;
    uint64_t b_stride[3];
    uint32_t rows, inner, columns, experts;
} grouped_arguments;

tn_status gpu_compile_grouped_matmul(gpu_compiler *c, const tn_plan_node *n,
                                     tn_error *err)
{
    const tn_grouped_matmul_attr *attr = n->attr;
    const tn_operand *a = &n->in[0], *b = &n->in[1];
    const uint32_t transposed = attr->transpose_a != 0;
    grouped_arguments g = {
        .a = gpu_at(c, a),
        .b = gpu_at(c, b),
        .offsets = gpu_at(c, &n->in[2]),
        .y = gpu_at(c, &n->out[0]),
        .rows = (uint32_t)a->shape[0],
        .inner = (uint32_t)a->shape[1],
        .columns = (uint32_t)b->shape[b->rank - 1],
        .experts = (uint32_t)n->in[2].shape[0] - 1,
    };
    for (uint32_t i = 0; !transposed && i < 3; i++)
        g.b_stride[i] = (uint64_t)b->stride[i];
    const tile *t = choose_tile(
        transposed ? g.inner : gpu_ceil(g.rows, g.experts), g.columns, 1);
    const int64_t row_tiles =
        transposed ? (int64_t)g.experts * gpu_ceil(g.inner, t->bm)
                   : gpu_ceil(g.rows, t->bm) + g.experts;
    const gpu_code code = tile_code(GPU_KERNEL_grouped_matmul, t, !transposed,
                                    !transposed && g.b_stride[1] == 1,
                                    n->accumulate & 1u, transposed);
    TN_TRY(gpu_dispatch_check(c, &n->in[2], 0, (int64_t)g.rows + 1, err));
    return gpu_dispatch(c, &code, &g, sizeof g,
                        row_tiles * gpu_ceil(g.columns, t->bn), err);
}
