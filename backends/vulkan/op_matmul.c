/*
 * op_matmul.c - matrix products: which tile, how many parts.
 *
 * Tiles grow with the result, so that a small one still keeps the device busy;
 * a product with few rows, as decoding has them, has a kernel of its own.
 * Where the result is small and the inner size long (gradients of weights), it
 * is cut into parts whose sums are joined by a reduction. Both follow from
 * shapes alone: the same plan gives the same bits on one device.
 */
#include "emit_dispatch.h"
#include "kernels.h"
#include "product.h"

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

/* The constants of tile.glsl. */
typedef struct layout {
    uint32_t a_along_k, b_along_k, accumulate;
    tn_dtype a_type, b_type, y_type;
    uint32_t transposed; /* of a grouped product */
} layout;

static gpu_code tile_code(uint32_t kernel, const tile *t, const layout *how)
{
    const uint32_t constants[] = {
        t->threads,      t->bm,       t->bn,          t->bk,
        t->tm,           t->tn,       how->a_along_k, how->b_along_k,
        how->accumulate, how->a_type, how->b_type,    how->y_type,
        how->transposed};
    return gpu_kernel_with(kernel, kernel == GPU_KERNEL_matmul ? 12 : 13,
                           constants);
}

/* ---- products ---- */

enum { FEW_ROWS = 8 }; /* for matvec.comp */

static int64_t batches_of(const gpu_product *p)
{
    int64_t batches = 1;
    for (uint32_t i = 0; i < 4; i++)
        batches *= p->batch[i];
    return batches;
}

static const tile *tile_of(const gpu_product *p)
{
    return choose_tile(p->rows, p->columns, batches_of(p));
}

/* matvec.comp's columns side by side, and of one invocation. */
static uint32_t across(const gpu_product *p)
{
    return p->b_stride[0] == 1 ? 1 : 16;
}

static uint32_t each(const gpu_product *p)
{
    return p->b_stride[0] == 1 ? 4 : 1;
}

/* ---- cooperative matrices ---- */

static const gpu_coop *coop_of(const tn_device *d, tn_dtype dtype,
                               const gpu_coop_module **module)
{
    *module = dtype == TN_F16 ? &d->coop_f16 : &d->coop_bf16;
    return dtype == TN_F16 ? &d->card.coop_f16 : &d->card.coop_bf16;
}

void gpu_let_cooperate(const gpu_compiler *c, gpu_product *p)
{
    const gpu_coop_module *module;
    p->cooperates = p->a_type == p->b_type && p->a_type != TN_F32 &&
                    p->rows > FEW_ROWS &&
                    coop_of(gpu_device_of(c), p->a_type, &module)->kind;
}

gpu_code gpu_coop_code(const gpu_coop *coop, const gpu_coop_module *module,
                       uint32_t a_along_k, uint32_t b_along_k,
                       uint32_t accumulate, tn_dtype y_type)
{
    enum { SUBGROUPS = 4 }; /* of matmul_coop.comp */
    return (gpu_code){.words = module->words,
                      .word_count = module->count,
                      .constant_count = 8,
                      .constant = {SUBGROUPS * coop->subgroup, coop->m, coop->n,
                                   coop->k, a_along_k, b_along_k, accumulate,
                                   y_type},
                      .whole_subgroups = coop->kind == GPU_COOP_KHR};
}

/* ---- a product as dispatches ---- */

static int64_t workgroups_of(const gpu_product *p)
{
    const tile *t = tile_of(p);
    if (p->cooperates)
        return gpu_ceil(p->rows, GPU_COOP_SIDE) *
               gpu_ceil(p->columns, GPU_COOP_SIDE) * batches_of(p);
    if (p->rows <= FEW_ROWS)
        return gpu_ceil(p->columns, across(p) * each(p)) * batches_of(p);
    return gpu_ceil(p->rows, t->bm) * gpu_ceil(p->columns, t->bn) *
           batches_of(p);
}

static gpu_code code_of(const tn_device *d, const gpu_product *p,
                        uint32_t accumulate)
{
    const gpu_coop_module *module;
    const gpu_coop *coop = coop_of(d, p->a_type, &module);
    if (p->cooperates)
        return gpu_coop_code(coop, module, p->a_stride[1] == 1,
                             p->b_stride[0] == 1, accumulate, p->y_type);
    if (p->rows <= FEW_ROWS)
        return GPU_KERNEL(matvec, p->rows, across(p), each(p), accumulate,
                          p->a_type, p->b_type, p->y_type);
    const layout how = {.a_along_k = p->a_stride[1] == 1,
                        .b_along_k = p->b_stride[0] == 1,
                        .accumulate = accumulate,
                        .a_type = p->a_type,
                        .b_type = p->b_type,
                        .y_type = p->y_type};
    return tile_code(GPU_KERNEL_matmul, tile_of(p), &how);
}

/* Parts of k, at least 256 long, so that all workgroups together are enough. */
static uint32_t parts_of(const gpu_product *p)
{
    const int64_t wanted = BUSY / workgroups_of(p), most = p->inner / 256;
    const int64_t parts = wanted < most ? wanted : most;
    return (uint32_t)(parts < 2 ? 1 : parts > 32 ? 32 : parts);
}

gpu_product gpu_plain_product(uint64_t a, uint64_t b, uint64_t y, int64_t rows,
                              int64_t columns, int64_t inner)
{
    return (gpu_product){
        .a = a,
        .b = b,
        .y = y,
        .a_stride = {(uint64_t)inner, 1},
        .b_stride = {(uint64_t)columns, 1},
        .batch = {1, 1, 1, 1},
        .rows = (uint32_t)rows,
        .columns = (uint32_t)columns,
        .inner = (uint32_t)inner,
        .a_type = TN_F32,
        .b_type = TN_F32,
        .y_type = TN_F32,
    };
}

int64_t gpu_product_scratch(const gpu_product *p)
{
    const uint32_t parts = parts_of(p);
    return parts == 1
               ? 0
               : 4 * (int64_t)p->rows * p->columns * batches_of(p) * parts;
}

tn_status gpu_dispatch_product(gpu_compiler *c, gpu_product *p,
                               uint64_t scratch, uint32_t accumulate,
                               tn_error *err)
{
    const int64_t results = (int64_t)p->rows * p->columns * batches_of(p);
    const gpu_place y = {p->y, p->y_type};
    p->parts = parts_of(p);
    if (p->parts > 1) {
        p->y = scratch;
        p->y_type = TN_F32;
    }
    const gpu_code code =
        code_of(gpu_device_of(c), p, p->parts > 1 ? 0 : accumulate);
    TN_TRY(
        gpu_dispatch(c, &code, p, sizeof *p, workgroups_of(p) * p->parts, err));
    if (p->parts == 1)
        return TN_OK;
    gpu_next_phase(c);
    return gpu_dispatch_join(c, TN_REDUCE_SUM, p->parts, scratch, y, results,
                             accumulate, err);
}

/* ---- matmul ---- */

/* Batch axes of the output, the last one last; operands that lack an axis, or
 * have size 1 there, repeat. */
static void set_batch(gpu_product *p, const tn_operand *a, const tn_operand *b,
                      const tn_operand *y)
{
    for (uint32_t back = 3; back <= y->rank; back++) {
        const uint32_t at = 6 - back;
        p->batch[at] = (uint32_t)y->shape[y->rank - back];
        if (back <= a->rank && a->shape[a->rank - back] != 1)
            p->a_batch[at] = (uint64_t)a->stride[a->rank - back];
        if (back <= b->rank && b->shape[b->rank - back] != 1)
            p->b_batch[at] = (uint64_t)b->stride[b->rank - back];
    }
}

tn_status gpu_compile_matmul(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    const tn_operand *a = &n->in[0], *b = &n->in[1], *y = &n->out[0];
    gpu_product p = gpu_plain_product(
        gpu_at(c, a), gpu_at(c, b), gpu_at(c, y), y->shape[y->rank - 2],
        y->shape[y->rank - 1], a->shape[a->rank - 1]);
    for (uint32_t i = 0; i < 2; i++) {
        p.a_stride[i] = (uint64_t)a->stride[a->rank - 2 + i];
        p.b_stride[i] = (uint64_t)b->stride[b->rank - 2 + i];
    }
    p.a_type = a->dtype;
    p.b_type = b->dtype;
    p.y_type = y->dtype;
    gpu_let_cooperate(c, &p);
    set_batch(&p, a, b, y);
    const int64_t bytes = gpu_product_scratch(&p);
    const uint64_t scratch = bytes ? gpu_scratch(c, bytes) : 0;
    return gpu_dispatch_product(c, &p, scratch, n->accumulate & 1u, err);
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
    const layout how = {.a_along_k = !transposed,
                        .b_along_k = !transposed && g.b_stride[1] == 1,
                        .accumulate = n->accumulate & 1u,
                        .a_type = a->dtype,
                        .b_type = b->dtype,
                        .y_type = n->out[0].dtype,
                        .transposed = transposed};
    const gpu_code code = tile_code(GPU_KERNEL_grouped_matmul, t, &how);
    TN_TRY(gpu_dispatch_check(c, &n->in[2], 0, (int64_t)g.rows + 1, err));
    return gpu_dispatch(c, &code, &g, sizeof g,
                        row_tiles * gpu_ceil(g.columns, t->bn), err);
}
