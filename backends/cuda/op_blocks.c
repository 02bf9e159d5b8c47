/*
 * op_blocks.c - what reads weights in 8 and 4 bits (kernels/blocks.cu).
 *
 * A few rows, as decoding has them, are multiplied with the blocks as they lie:
 * reading those is what takes the time. For more rows the blocks become numbers
 * in scratch, and the product is the ordinary one: of a prompt it is the
 * products that take the time, which tensor cores and cuBLASLt are for.
 */
#include "blocks.h"

#include <string.h>

enum { FEW_ROWS = 8, FEW_GROUPED = 64, COLUMNS = 16 }; /* of a block */

/* "q8_0", as kernels are named */
static const char *format_of(tn_dtype dtype)
{
    return dtype == TN_Q8_0 ? "q8_0" : "q4_k";
}

static int64_t numbers_of(tn_dtype dtype)
{
    return dtype == TN_Q8_0 ? 32 : 256;
}

uint32_t gpu_is_blocks(tn_dtype dtype)
{
    return dtype == TN_Q8_0 || dtype == TN_Q4_K;
}

/* ---- numbers ---- */

static gpu_unblock_args arguments_of(const tn_operand *x, uint64_t from,
                                     uint64_t to)
{
    gpu_unblock_args a = {.x = from, .y = to, .rank = (int32_t)x->rank};
    memcpy(a.shape, x->shape, sizeof a.shape);
    memcpy(a.stride, x->stride, sizeof a.stride);
    a.lines = a.rows = gpu_size(x->shape, 0, x->rank - 1);
    return a;
}

static tn_status unblock(gpu_compiler *c, const gpu_unblock_args *a,
                         tn_dtype from, tn_dtype to, tn_error *err)
{
    char name[24];
    const int64_t each = from == TN_Q8_0 ? 8 : 32; /* numbers of a thread */
    const int64_t threads = a->lines * a->shape[a->rank - 1] / each;
    snprintf(name, sizeof name, "unblock_%s_%c", format_of(from),
             gpu_letter(to));
    return gpu_launch(c, GPU_FAMILY_blocks, name, a, sizeof *a,
                      (gpu_grid){gpu_ceil(threads, 256), 1, 1, 256, 0}, err);
}

tn_status gpu_unblock_copy(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_operand *x = &n->in[0], *y = &n->out[0];
    const gpu_unblock_args a = arguments_of(x, gpu_at(c, x), gpu_at(c, y));
    if (y->dtype != TN_F32)
        return gpu_refuse(n, err, "it copies %s to %s; F32 is possible",
                          tn_dtype_name(x->dtype), tn_dtype_name(y->dtype));
    if (x->stride[x->rank - 1] == 1)
        return unblock(c, &a, x->dtype, TN_F32, err);
    char name[24];
    snprintf(name, sizeof name, "unblock_any_%s", format_of(x->dtype));
    return gpu_launch(c, GPU_FAMILY_blocks, name, &a, sizeof a,
                      (gpu_grid){gpu_ceil(gpu_elements(x), 256), 1, 1, 256, 0},
                      err);
}

tn_status gpu_unblock_rows(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_operand *table = &n->in[0], *index = &n->in[1];
    gpu_unblock_args a =
        arguments_of(table, gpu_at(c, table), gpu_at(c, &n->out[0]));
    if (table->rank != 2 || table->stride[1] != 1)
        return gpu_refuse(n, err,
                          "rows of a table of %s lie in whole blocks, and this "
                          "one's do not",
                          tn_dtype_name(table->dtype));
    a.index = gpu_at(c, index);
    a.lines = gpu_elements(index);
    TN_TRY(gpu_launch_check(c, index, -1, table->shape[0], err));
    return unblock(c, &a, table->dtype, n->out[0].dtype, err);
}

/* ---- products ---- */

/* b's numbers in scratch, with the axis that is summed over last; `stride` is
 * of b's axes there. */
static tn_status unblock_matrix(gpu_compiler *c, const tn_operand *b,
                                tn_dtype to, uint64_t *numbers,
                                int64_t stride[TN_MAX_RANK], tn_error *err)
{
    tn_operand turned = *b;
    const uint32_t k = b->rank - 2, n = b->rank - 1;
    turned.shape[k] = b->shape[n];
    turned.stride[k] = b->stride[n];
    turned.shape[n] = b->shape[k];
    turned.stride[n] = b->stride[k];
    *numbers = gpu_scratch(c, gpu_elements(b) * (int64_t)gpu_bytes(to));
    gpu_dense(b->rank, turned.shape, stride);
    const int64_t by_n = stride[k];
    stride[k] = stride[n];
    stride[n] = by_n;
    const gpu_unblock_args a = arguments_of(&turned, gpu_at(c, b), *numbers);
    return unblock(c, &a, b->dtype, to, err);
}

static tn_status check(const tn_plan_node *n, tn_error *err)
{
    const tn_operand *b = &n->in[1];
    const int64_t each = numbers_of(b->dtype);
    if (b->stride[b->rank - 2] == 1 && b->shape[b->rank - 2] % each == 0)
        return TN_OK;
    return gpu_refuse(n, err,
                      "weights of %s are summed over along whole blocks of "
                      "%lld; these have %lld rows, %lld apart",
                      tn_dtype_name(b->dtype), (long long)each,
                      (long long)b->shape[b->rank - 2],
                      (long long)b->stride[b->rank - 2]);
}

static int64_t batches_of(const gpu_product_args *p)
{
    return (int64_t)p->batch[0] * p->batch[1] * p->batch[2] * p->batch[3];
}

uint32_t gpu_are_few_blocks(const tn_plan_node *n)
{
    const tn_operand *y = &n->out[0];
    return gpu_is_blocks(n->in[1].dtype) &&
           (n->op == TN_OP_MATMUL ? y->shape[y->rank - 2] <= FEW_ROWS
                                  : y->shape[0] <= FEW_GROUPED);
}

tn_status gpu_multiply_blocks(gpu_compiler *c, const tn_plan_node *n,
                              const gpu_product_args *given, tn_error *err)
{
    gpu_product_args p = *given;
    char name[24];
    snprintf(name, sizeof name, "few_%s_%c%c", format_of(n->in[1].dtype),
             gpu_letter(n->in[0].dtype), gpu_letter(n->out[0].dtype));
    p.parts = 1;
    p.accumulate = n->accumulate & 1u;
    return gpu_launch(
        c, GPU_FAMILY_blocks, name, &p, sizeof p,
        (gpu_grid){gpu_ceil(p.columns, COLUMNS) * batches_of(&p), 1, 1, 256, 0},
        err);
}

tn_status gpu_multiply_block_rows(gpu_compiler *c, const tn_plan_node *n,
                                  const gpu_grouped_args *g, tn_error *err)
{
    char name[24];
    snprintf(name, sizeof name, "rows_%s_%c%c", format_of(n->in[1].dtype),
             gpu_letter(n->in[0].dtype), gpu_letter(n->out[0].dtype));
    return gpu_launch(
        c, GPU_FAMILY_blocks, name, g, sizeof *g,
        (gpu_grid){gpu_ceil(g->columns, COLUMNS), g->rows, 1, 256, 0}, err);
}

tn_status gpu_unblock_weights(gpu_compiler *c, const tn_plan_node *n,
                              gpu_numbers *b, tn_error *err)
{
    const tn_operand *given = &n->in[1];
    b->dtype = given->dtype;
    b->at = gpu_at(c, given);
    memcpy(b->stride, given->stride, sizeof b->stride);
    if (!gpu_is_blocks(given->dtype))
        return TN_OK;
    TN_TRY(check(n, err));
    if (gpu_are_few_blocks(n))
        return TN_OK;
    b->dtype = n->in[0].dtype;
    return unblock_matrix(c, given, b->dtype, &b->at, b->stride, err);
}
