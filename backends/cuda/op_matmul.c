/*
 * op_matmul.c - matrix products: which tile, how many parts.
 *
 * Tiles grow with the result, so that a small one still keeps the device busy;
 * a product with few rows, as decoding has them, has a kernel of its own.
 * Where the result is small and the inner size long (gradients of weights), it
 * is cut into parts whose sums are joined by a reduction. Both follow from
 * shapes alone: the same plan gives the same bits on one device.
 *
 * Operands in BF16 that move by 16 bytes go to tensor cores. Where cuBLASLt is
 * there it multiplies instead, but for few rows. Weights in blocks are
 * op_blocks.c's.
 */
#include "blas.h"
#include "blocks.h"
#include "product.h"

#include <string.h>

enum { FEW_ROWS = 8, BUSY = 264 }; /* blocks that fill a device */

typedef struct tile {
    const char *name;
    int64_t rows, columns;
} tile;

static const tile large = {"matmul_large", 128, 128};
static const tile small = {"matmul_small", 64, 64};
static const tile by_columns = {"matvec_k", FEW_ROWS, 8};
static const tile across_columns = {"matvec_n", FEW_ROWS, 32};

static int64_t batches_of(const gpu_product_args *p)
{
    return (int64_t)p->batch[0] * p->batch[1] * p->batch[2] * p->batch[3];
}

static int64_t tiles_of(const gpu_product_args *p, const tile *t)
{
    return gpu_ceil(p->rows, t->rows) * gpu_ceil(p->columns, t->columns) *
           batches_of(p);
}

/* Whether an operand of `lines` lines moves by 16 bytes, either way it lies. */
static int moves_by_16_bytes(uint64_t address, int64_t by_line, int64_t by_k,
                             const int64_t batch[4], int64_t lines,
                             int64_t inner)
{
    const int64_t pitch = by_k == 1 ? by_line : by_k;
    for (int i = 0; i < 4; i++)
        if (batch[i] % 8)
            return 0;
    return address % 16 == 0 && pitch % 8 == 0 &&
           (by_k == 1 ? inner : lines) % 8 == 0;
}

static int by_tensor_cores(const gpu_product *x)
{
    const gpu_product_args *p = &x->args;
    return x->operands == TN_BF16 &&
           moves_by_16_bytes(p->a, p->a_stride[0], p->a_stride[1], p->a_batch,
                             p->rows, p->inner) &&
           moves_by_16_bytes(p->b, p->b_stride[1], p->b_stride[0], p->b_batch,
                             p->columns, p->inner);
}

/* How operands lie: along k, or along m or n. */
static const tile *mma_tile(const gpu_product_args *p)
{
    static const tile tiles[] = {{"matmul_mma_mn", 128, 128},
                                 {"matmul_mma_mk", 128, 128},
                                 {"matmul_mma_kn", 128, 128},
                                 {"matmul_mma_kk", 128, 128}};
    return &tiles[2 * (p->a_stride[1] == 1) + (p->b_stride[0] == 1)];
}

static const tile *tile_of(const gpu_product *x)
{
    const gpu_product_args *p = &x->args;
    if (p->rows <= FEW_ROWS)
        return p->b_stride[0] == 1 ? &by_columns : &across_columns;
    if (by_tensor_cores(x))
        return mma_tile(p);
    return tiles_of(p, &large) >= BUSY ? &large : &small;
}

static uint32_t family_of(const gpu_product *x)
{
    return x->args.rows > FEW_ROWS && by_tensor_cores(x) ? GPU_FAMILY_matmul_mma
                                                         : GPU_FAMILY_matmul;
}

/* Parts of k, at least 256 long, so that all blocks together are enough. */
static uint32_t parts_of(const gpu_product *p)
{
    const int64_t wanted = BUSY / tiles_of(&p->args, tile_of(p));
    const int64_t most = p->args.inner / 256;
    const int64_t parts = wanted < most ? wanted : most;
    return (uint32_t)(parts < 2 ? 1 : parts > 32 ? 32 : parts);
}

gpu_product gpu_plain_product(uint64_t a, uint64_t b, uint64_t y, int64_t rows,
                              int64_t columns, int64_t inner)
{
    return (gpu_product){
        .args = {.a = a,
                 .b = b,
                 .y = y,
                 .a_stride = {inner, 1},
                 .b_stride = {columns, 1},
                 .batch = {1, 1, 1, 1},
                 .rows = (int32_t)rows,
                 .columns = (int32_t)columns,
                 .inner = (int32_t)inner},
        .operands = TN_F32,
        .y = TN_F32,
    };
}

int64_t gpu_product_scratch(const gpu_product *p)
{
    const gpu_product_args *a = &p->args;
    const int64_t parts = parts_of(p);
    return parts == 1
               ? 0
               : 4 * (int64_t)a->rows * a->columns * batches_of(a) * parts;
}

/* matmul_large_bf: of BF16 to F32 */
static tn_status launch(gpu_compiler *c, const gpu_product_args *p,
                        const gpu_product *x, tn_dtype y, tn_error *err)
{
    const tile *t = tile_of(x);
    char name[32];
    snprintf(name, sizeof name, "%s_%c%c", t->name, gpu_letter(x->operands),
             gpu_letter(y));
    return gpu_launch(c, family_of(x), name, p, sizeof *p,
                      (gpu_grid){tiles_of(p, t) * p->parts, 1, 1, 256, 0}, err);
}

tn_status gpu_launch_product(gpu_compiler *c, const gpu_product *p,
                             uint64_t scratch, uint32_t accumulate,
                             tn_error *err)
{
    gpu_product x = *p;
    gpu_product_args *a = &x.args;
    gpu_blas_call *call = NULL;
    a->parts = parts_of(p);
    a->accumulate = accumulate;
    if (a->rows > FEW_ROWS && !gpu_is_measuring(c))
        TN_TRY(gpu_blas_describe(gpu_device_of(c), &x, &call, err));
    if (call)
        return gpu_launch_call(c, call, err);
    if (a->parts == 1)
        return launch(c, a, p, p->y, err);
    a->accumulate = 0;
    a->y = scratch;
    TN_TRY(launch(c, a, p, TN_F32, err));
    return gpu_launch_join(c, TN_REDUCE_SUM, a->parts, scratch, p->args.y, p->y,
                           (int64_t)a->rows * a->columns * batches_of(a),
                           accumulate, err);
}

/* ---- matmul ---- */

/* Batch axes of the output, the last one last; operands that lack an axis, or
 * have size 1 there, repeat. */
static void set_batch(gpu_product_args *p, const tn_operand *a,
                      const tn_operand *b, const int64_t *b_stride,
                      const tn_operand *y)
{
    for (uint32_t back = 3; back <= y->rank; back++) {
        const uint32_t at = 6 - back;
        p->batch[at] = (int32_t)y->shape[y->rank - back];
        if (back <= a->rank && a->shape[a->rank - back] != 1)
            p->a_batch[at] = a->stride[a->rank - back];
        if (back <= b->rank && b->shape[b->rank - back] != 1)
            p->b_batch[at] = b_stride[b->rank - back];
    }
}

static tn_status check_alike(const tn_plan_node *n, tn_error *err)
{
    if (n->in[0].dtype == n->in[1].dtype || gpu_is_blocks(n->in[1].dtype))
        return TN_OK;
    return gpu_refuse(n, err, "it multiplies %s by %s; operands have one dtype",
                      tn_dtype_name(n->in[0].dtype),
                      tn_dtype_name(n->in[1].dtype));
}

tn_status gpu_compile_matmul(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    const tn_operand *a = &n->in[0], *b = &n->in[1], *y = &n->out[0];
    gpu_numbers right;
    if (!gpu_elements(y))
        return TN_OK;
    TN_TRY(check_alike(n, err));
    TN_TRY(gpu_unblock_weights(c, n, &right, err));
    gpu_product p = gpu_plain_product(
        gpu_at(c, a), right.at, gpu_at(c, y), y->shape[y->rank - 2],
        y->shape[y->rank - 1], a->shape[a->rank - 1]);
    p.operands = a->dtype;
    p.y = y->dtype;
    for (uint32_t i = 0; i < 2; i++) {
        p.args.a_stride[i] = a->stride[a->rank - 2 + i];
        p.args.b_stride[i] = right.stride[b->rank - 2 + i];
    }
    set_batch(&p.args, a, b, right.stride, y);
    if (gpu_are_few_blocks(n))
        return gpu_multiply_blocks(c, n, &p.args, err);
    const int64_t bytes = gpu_product_scratch(&p);
    const uint64_t scratch = bytes ? gpu_scratch(c, bytes) : 0;
    return gpu_launch_product(c, &p, scratch, n->accumulate & 1u, err);
}

/* ---- grouped matmul ---- */

static int64_t grouped_tiles(const gpu_grouped_args *g, int64_t size)
{
    const int64_t down = g->transposed ? g->experts * gpu_ceil(g->inner, size)
                                       : gpu_ceil(g->rows, size) + g->experts;
    return down * gpu_ceil(g->columns, size);
}

/* Rows of a, and the lines in which b lies. */
static int groups_move_by_16_bytes(const gpu_grouped_args *g)
{
    const int64_t pitch = g->transposed         ? g->columns
                          : g->b_stride[1] == 1 ? g->b_stride[2]
                                                : g->b_stride[1];
    return g->a % 16 == 0 && g->b % 16 == 0 && g->inner % 8 == 0 &&
           g->columns % 8 == 0 && pitch % 8 == 0 &&
           (g->transposed || g->b_stride[0] % 8 == 0);
}

static tn_status launch_grouped_mma(gpu_compiler *c, const gpu_grouped_args *g,
                                    tn_dtype y, tn_error *err)
{
    char name[40];
    snprintf(name, sizeof name, "grouped_mma_%s_b%c",
             g->transposed         ? "weights"
             : g->b_stride[1] == 1 ? "rows_k"
                                   : "rows_n",
             gpu_letter(y));
    return gpu_launch(c, GPU_FAMILY_grouped_mma, name, g, sizeof *g,
                      (gpu_grid){grouped_tiles(g, large.rows), 1, 1, 256, 0},
                      err);
}

tn_status gpu_compile_grouped_matmul(gpu_compiler *c, const tn_plan_node *n,
                                     tn_error *err)
{
    const tn_grouped_matmul_attr *attr = n->attr;
    const tn_operand *a = &n->in[0], *b = &n->in[1];
    gpu_numbers right;
    TN_TRY(check_alike(n, err));
    TN_TRY(gpu_unblock_weights(c, n, &right, err));
    gpu_grouped_args g = {
        .a = gpu_at(c, a),
        .b = right.at,
        .offsets = gpu_at(c, &n->in[2]),
        .y = gpu_at(c, &n->out[0]),
        .rows = (int32_t)a->shape[0],
        .inner = (int32_t)a->shape[1],
        .columns = (int32_t)b->shape[b->rank - 1],
        .experts = (int32_t)n->in[2].shape[0] - 1,
        .transposed = attr->transpose_a != 0,
        .accumulate = n->accumulate & 1u,
    };
    char name[40];
    for (uint32_t i = 0; !g.transposed && i < 3; i++)
        g.b_stride[i] = right.stride[i];
    TN_TRY(gpu_launch_check(c, &n->in[2], 0, (int64_t)g.rows + 1, err));
    if (gpu_are_few_blocks(n))
        return gpu_multiply_block_rows(c, n, &g, err);
    const tn_dtype operands = a->dtype, y = n->out[0].dtype;
    if (operands == TN_BF16 && groups_move_by_16_bytes(&g))
        return launch_grouped_mma(c, &g, y, err);
    const int is_large = grouped_tiles(&g, large.rows) >= BUSY;
    const int64_t tiles = grouped_tiles(&g, is_large ? large.rows : small.rows);
    snprintf(name, sizeof name, "grouped_%s_%s_%c%c",
             g.transposed ? "weights" : "rows", is_large ? "large" : "small",
             gpu_letter(operands), gpu_letter(y));
    return gpu_launch(c, GPU_FAMILY_grouped, name, &g, sizeof g,
                      (gpu_grid){tiles, 1, 1, 256, 0}, err);
}
