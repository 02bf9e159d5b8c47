/*
 * reference.h - what the kernels of the oracle see of a plan.
 *
 * compile() binds every operand of a plan to memory once; a kernel then is a
 * loop over row-major element numbers that reads like the formula in its
 * header. ref_get() and ref_put() hide dtypes and strides: every kernel works
 * on F64, F32, BF16, F16 and integers, dense or not, and all arithmetic is in
 * double.
 *
 * Kernels return nothing. One that meets bad data (an index out of range)
 * calls ref_fail(); the run stops after that node.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include <tenon/backend.h>

typedef struct ref_tensor {
    void *data; /* element 0; NULL for an absent optional input */
    tn_dtype dtype;
    uint32_t rank;
    uint32_t dense;
    int64_t count; /* elements */
    int64_t shape[TN_MAX_RANK];
    int64_t stride[TN_MAX_RANK];
} ref_tensor;

typedef struct ref_node {
    const tn_plan_node *plan; /* op, attributes, where it was described */
    ref_tensor *in;           /* plan->in_count */
    ref_tensor *out;          /* plan->out_count */
    double *scratch;          /* as many as the kernel's row asks for */
    tn_error *error;          /* the exec's: the first failure of a run */
} ref_node;

/* A row of the kernel table. `scratch`: doubles the kernel needs besides its
 * operands, asked once while compiling because a run allocates nothing. */
typedef struct ref_kernel {
    void (*run)(const ref_node *n);
    int64_t (*scratch)(const ref_node *n); /* NULL: none */
} ref_kernel;

/* ---- tensor.c: elements ---- */

/* Element `offset` elements of memory after element 0. */
double ref_load(const ref_tensor *t, int64_t offset);
void ref_store(const ref_tensor *t, int64_t offset, double value);

/* Memory offset of row-major element i, whatever the strides. */
int64_t ref_offset(const ref_tensor *t, int64_t i);

static inline double ref_get(const ref_tensor *t, int64_t i)
{
    return ref_load(t, ref_offset(t, i));
}

static inline void ref_set(const ref_tensor *t, int64_t i, double value)
{
    ref_store(t, ref_offset(t, i), value);
}

/* Element i of output `output`, added to what is there where the plan asks
 * for that (tn_plan_node.accumulate). */
void ref_put(const ref_node *n, uint32_t output, int64_t i, double value);

/* Product of shape[from .. to). */
int64_t ref_size(const ref_tensor *t, uint32_t from, uint32_t to);

/* Size of the last axis, and the number of such rows. */
int64_t ref_columns(const ref_tensor *t);
int64_t ref_rows(const ref_tensor *t);

/* ---- tensor.c: trouble ---- */

TN_PRINTF(2, 3)
void ref_fail(const ref_node *n, const char *format, ...);

/* Element i of the index tensor n->in[input], which must lie in [low, count);
 * outside it the node fails and the answer is -1. */
int64_t ref_index(const ref_node *n, uint32_t input, int64_t i, int64_t low,
                  int64_t count);

/* ---- map.c ---- */

/* Registers r[] of a program at row-major element `element` of an iteration
 * over `shape`. */
void ref_program_run(const ref_node *n, const tn_program *p, int64_t element,
                     uint32_t rank, const int64_t *shape, double *r);

/* ---- kernels, by file ---- */

void ref_map(const ref_node *n);
void ref_dropout(const ref_node *n);

void ref_sample(const ref_node *n);
int64_t ref_sample_scratch(const ref_node *n);

void ref_reduce(const ref_node *n);
void ref_cumsum(const ref_node *n);

void ref_matmul(const ref_node *n);
void ref_grouped_matmul(const ref_node *n);

void ref_copy(const ref_node *n);
void ref_assign(const ref_node *n);
void ref_concat(const ref_node *n);
void ref_fill(const ref_node *n);

void ref_gather_rows(const ref_node *n);
void ref_scatter_add_rows(const ref_node *n);
int64_t ref_scatter_add_rows_scratch(const ref_node *n);
void ref_set_rows(const ref_node *n);

void ref_topk(const ref_node *n);
void ref_argmax(const ref_node *n);
void ref_expert_plan(const ref_node *n);

void ref_rms_norm(const ref_node *n);
void ref_rms_norm_bwd(const ref_node *n);
void ref_softmax(const ref_node *n);
void ref_softmax_bwd(const ref_node *n);

void ref_rope(const ref_node *n);

void ref_attention(const ref_node *n);
int64_t ref_attention_scratch(const ref_node *n);
void ref_attention_bwd(const ref_node *n);
int64_t ref_attention_bwd_scratch(const ref_node *n);

void ref_conv1d_causal(const ref_node *n);
void ref_conv1d_causal_bwd(const ref_node *n);

void ref_ssd_scan(const ref_node *n);
int64_t ref_ssd_scan_scratch(const ref_node *n);
void ref_ssd_scan_bwd(const ref_node *n);
int64_t ref_ssd_scan_bwd_scratch(const ref_node *n);

void ref_newton_schulz(const ref_node *n);
int64_t ref_newton_schulz_scratch(const ref_node *n);

void ref_linear_cross_entropy(const ref_node *n);
int64_t ref_linear_cross_entropy_scratch(const ref_node *n);
void ref_linear_cross_entropy_bwd(const ref_node *n);
int64_t ref_linear_cross_entropy_bwd_scratch(const ref_node *n);

#endif
