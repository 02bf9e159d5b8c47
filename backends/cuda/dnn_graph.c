/*
 * dnn_graph.c - attention and its gradients in cuDNN's operations.
 *
 *     s = scale q k', and -inf where a key is not seen
 *     lse = max s + log sum exp(s - max s)
 *     o = exp(s - max s) / sum v
 *
 *     p = exp(s - lse)      delta = sum do o      ds = p (do v' - delta) scale
 *     dv = p' do            dk = ds' q            dq = ds k
 *
 * The library looks for exactly such graphs and has one kernel for the whole;
 * tensors between operations are virtual and never exist. Its tensors have
 * axes (batch, head, row, column), with any strides. Where query heads share a
 * head of keys, dk and dv are sums over them, in an order that is kept.
 *
 * With the product ds k written straight to dq the library keeps ds in its
 * workspace (two bytes for every score) and multiplies it once more; with a sum
 * in F32 beside it, as is usual, its blocks add to that in the order in which
 * they happen to come. We want the same bits every run.
 */
#include "dnn.h"

#include <math.h>
#include <stdlib.h>

typedef struct graph {
    gpu_dnn_maker *m;
    const gpu_attention_args *a;
    void *operations[48];
    int64_t count;
    int64_t next_id; /* of virtual tensors */
} graph;

/* ---- tensors ---- */

typedef struct axes {
    int64_t size[4], stride[4];
} axes;

/* Rows of `columns` elements, of (B, T, H, columns) with these strides. */
static axes in_rows(const gpu_attention_args *a, int32_t heads, int32_t rows,
                    int32_t columns, const int64_t stride[3])
{
    return (axes){{a->batch, heads, rows, columns},
                  {stride[0], stride[2], stride[1], 1}};
}

/* The same of a dense one. */
static axes in_dense_rows(const gpu_attention_args *a, int32_t heads,
                          int32_t rows, int32_t columns)
{
    const int64_t row = (int64_t)heads * columns;
    return in_rows(a, heads, rows, columns,
                   (int64_t[]){rows * row, row, columns});
}

/* (B, H, rows, columns) */
static axes dense(const gpu_attention_args *a, int64_t rows, int64_t columns)
{
    return (axes){{a->batch, a->heads, rows, columns},
                  {a->heads * rows * columns, rows * columns, columns, 1}};
}

static axes turned(axes x)
{
    return (axes){{x.size[0], x.size[1], x.size[3], x.size[2]},
                  {x.stride[0], x.stride[1], x.stride[3], x.stride[2]}};
}

static void *tensor(graph *g, int64_t id, int type, const axes *x,
                    gpu_dnn_attribute kind)
{
    const int64_t alignment = 16;
    const unsigned char yes = 1;
    void *t = gpu_dnn_make(g->m, DNN_TENSOR);
    gpu_dnn_set_number(g->m, t, DNN_TENSOR_TYPE, DNN_IS_TYPE, type);
    gpu_dnn_set(g->m, t, DNN_TENSOR_SIZES, DNN_IS_INT64, 4, x->size);
    gpu_dnn_set(g->m, t, DNN_TENSOR_STRIDES, DNN_IS_INT64, 4, x->stride);
    gpu_dnn_set(g->m, t, DNN_TENSOR_ID, DNN_IS_INT64, 1, &id);
    gpu_dnn_set(g->m, t, DNN_TENSOR_ALIGNMENT, DNN_IS_INT64, 1, &alignment);
    if (kind != DNN_TENSOR_ID)
        gpu_dnn_set(g->m, t, kind, DNN_IS_BOOL, 1, &yes);
    gpu_dnn_finalize(g->m, t);
    return t;
}

/* One that has an address, */
static void *stored(graph *g, int64_t id, int type, axes x)
{
    return tensor(g, id, type, &x, DNN_TENSOR_ID);
}

/* none, */
static void *between(graph *g, int type, axes x)
{
    return tensor(g, g->next_id++, type, &x, DNN_TENSOR_IS_VIRTUAL);
}

/* and a number. */
static void *number(graph *g, int64_t id)
{
    const axes one = {{1, 1, 1, 1}, {1, 1, 1, 1}};
    return tensor(g, id, DNN_F32, &one, DNN_TENSOR_IS_VALUE);
}

/* ---- operations ---- */

static void append(graph *g, void *operation)
{
    gpu_dnn_finalize(g->m, operation);
    g->operations[g->count++] = operation;
}

/* y = mode(x, b, t), element by element; b and t may be NULL */
static void *point(graph *g, int mode, void *x, void *b, void *t, void *y)
{
    const int is_test = mode == DNN_GREATER || mode == DNN_NOT_LESS;
    void *of = gpu_dnn_make(g->m, DNN_POINTWISE);
    void *operation = gpu_dnn_make(g->m, DNN_OPERATION_POINTWISE);
    gpu_dnn_set_number(g->m, of, DNN_POINTWISE_MODE, DNN_IS_POINTWISE_MODE,
                       mode);
    gpu_dnn_set_number(g->m, of, DNN_POINTWISE_PRECISION, DNN_IS_TYPE,
                       is_test ? DNN_BOOL : DNN_F32);
    gpu_dnn_finalize(g->m, of);
    gpu_dnn_set_one(g->m, operation, DNN_POINTWISE_OF, of);
    gpu_dnn_set_one(g->m, operation, DNN_POINTWISE_X, x);
    gpu_dnn_set_one(g->m, operation, DNN_POINTWISE_Y, y);
    if (b)
        gpu_dnn_set_one(g->m, operation, DNN_POINTWISE_B, b);
    if (t)
        gpu_dnn_set_one(g->m, operation, DNN_POINTWISE_T, t);
    append(g, operation);
    return y;
}

/* y = each element's index along the axis; x only lends its shape */
static void *indices(graph *g, void *x, int64_t axis, void *y)
{
    void *of = gpu_dnn_make(g->m, DNN_POINTWISE);
    void *operation = gpu_dnn_make(g->m, DNN_OPERATION_POINTWISE);
    gpu_dnn_set_number(g->m, of, DNN_POINTWISE_MODE, DNN_IS_POINTWISE_MODE,
                       DNN_INDEX);
    gpu_dnn_set_number(g->m, of, DNN_POINTWISE_PRECISION, DNN_IS_TYPE, DNN_F32);
    gpu_dnn_set(g->m, of, DNN_POINTWISE_AXIS, DNN_IS_INT64, 1, &axis);
    gpu_dnn_finalize(g->m, of);
    gpu_dnn_set_one(g->m, operation, DNN_POINTWISE_OF, of);
    gpu_dnn_set_one(g->m, operation, DNN_POINTWISE_X, x);
    gpu_dnn_set_one(g->m, operation, DNN_POINTWISE_Y, y);
    append(g, operation);
    return y;
}

/* y = a b */
static void *product(graph *g, void *a, void *b, void *y)
{
    void *of = gpu_dnn_make(g->m, DNN_MATMUL);
    void *operation = gpu_dnn_make(g->m, DNN_OPERATION_MATMUL);
    gpu_dnn_set_number(g->m, of, DNN_MATMUL_PRECISION, DNN_IS_TYPE, DNN_F32);
    gpu_dnn_finalize(g->m, of);
    gpu_dnn_set_one(g->m, operation, DNN_MATMUL_OF, of);
    gpu_dnn_set_one(g->m, operation, DNN_MATMUL_A, a);
    gpu_dnn_set_one(g->m, operation, DNN_MATMUL_B, b);
    gpu_dnn_set_one(g->m, operation, DNN_MATMUL_C, y);
    append(g, operation);
    return y;
}

/* y = x's sum or maximum along the axes that y has not */
static void *reduced(graph *g, int mode, void *x, void *y)
{
    const unsigned char yes = 1;
    void *of = gpu_dnn_make(g->m, DNN_REDUCTION);
    void *operation = gpu_dnn_make(g->m, DNN_OPERATION_REDUCTION);
    gpu_dnn_set_number(g->m, of, DNN_REDUCTION_MODE, DNN_IS_REDUCTION_MODE,
                       mode);
    gpu_dnn_set_number(g->m, of, DNN_REDUCTION_PRECISION, DNN_IS_TYPE, DNN_F32);
    gpu_dnn_set(g->m, of, DNN_REDUCTION_IS_DETERMINISTIC, DNN_IS_BOOL, 1, &yes);
    gpu_dnn_finalize(g->m, of);
    gpu_dnn_set_one(g->m, operation, DNN_REDUCTION_OF, of);
    gpu_dnn_set_one(g->m, operation, DNN_REDUCTION_X, x);
    gpu_dnn_set_one(g->m, operation, DNN_REDUCTION_Y, y);
    append(g, operation);
    return y;
}

/* y = x, seen with y's axes */
static void *reshaped(graph *g, void *x, void *y)
{
    void *operation = gpu_dnn_make(g->m, DNN_OPERATION_RESHAPE);
    gpu_dnn_set_one(g->m, operation, DNN_RESHAPE_X, x);
    gpu_dnn_set_one(g->m, operation, DNN_RESHAPE_Y, y);
    append(g, operation);
    return y;
}

/* ---- attention ---- */

static axes scores(const graph *g)
{
    return dense(g->a, g->a->rows, g->a->keys);
}

static void *stored_q(graph *g)
{
    const gpu_attention_args *a = g->a;
    return stored(g, DNN_Q, DNN_BF16,
                  in_rows(a, a->heads, a->rows, a->key_size, a->q_stride));
}

static axes rows_of_k(const graph *g)
{
    const gpu_attention_args *a = g->a;
    return in_rows(a, a->groups, a->keys, a->key_size, a->k_stride);
}

static axes rows_of_v(const graph *g)
{
    const gpu_attention_args *a = g->a;
    return in_rows(a, a->groups, a->keys, a->value_size, a->v_stride);
}

static axes rows_of_o(const graph *g)
{
    const gpu_attention_args *a = g->a;
    return in_dense_rows(a, a->heads, a->rows, a->value_size);
}

/* s where a row sees the key, hidden elsewhere */
static void *masked(graph *g, void *s)
{
    const axes x = scores(g);
    if (g->a->causal) {
        void *row = indices(g, s, 2, between(g, DNN_I32, x));
        void *key = indices(g, s, 3, between(g, DNN_I32, x));
        void *seen =
            point(g, DNN_NOT_LESS, row, key, NULL, between(g, DNN_BOOL, x));
        s = point(g, DNN_SELECT, s, number(g, DNN_HIDDEN), seen,
                  between(g, DNN_F32, x));
    }
    if (g->a->window) {
        void *row = indices(g, s, 2, between(g, DNN_I32, x));
        void *key = indices(g, s, 3, between(g, DNN_I32, x));
        void *end = point(g, DNN_ADD, key, number(g, DNN_WINDOW), NULL,
                          between(g, DNN_F32, x));
        void *seen =
            point(g, DNN_GREATER, end, row, NULL, between(g, DNN_BOOL, x));
        s = point(g, DNN_SELECT, s, number(g, DNN_HIDDEN_TOO), seen,
                  between(g, DNN_F32, x));
    }
    return s;
}

static void describe_forward(graph *g)
{
    const axes x = scores(g), row = dense(g->a, g->a->rows, 1);
    void *k = stored(g, DNN_K, DNN_BF16, turned(rows_of_k(g)));
    void *v = stored(g, DNN_V, DNN_BF16, rows_of_v(g));
    void *s = product(g, stored_q(g), k, between(g, DNN_F32, x));
    s = point(g, DNN_MUL, s, number(g, DNN_SCALE), NULL,
              between(g, DNN_F32, x));
    s = masked(g, s);
    void *most = reduced(g, DNN_MAX, s, between(g, DNN_F32, row));
    s = point(g, DNN_SUB, s, most, NULL, between(g, DNN_F32, x));
    void *e = point(g, DNN_EXP, s, NULL, NULL, between(g, DNN_F32, x));
    void *sum = reduced(g, DNN_SUM, e, between(g, DNN_F32, row));
    void *log = point(g, DNN_LOG, sum, NULL, NULL, between(g, DNN_F32, row));
    point(g, DNN_ADD, most, log, NULL, stored(g, DNN_LSE, DNN_F32, row));
    void *p = point(g, DNN_DIV, e, sum, NULL, between(g, DNN_BF16, x));
    product(g, p, v, stored(g, DNN_O, DNN_BF16, rows_of_o(g)));
}

/* ---- its gradients ---- */

/* The sum over a row of do o. */
static void *describe_delta(graph *g, void *d_out)
{
    const axes row = dense(g->a, g->a->rows, 1);
    void *o = stored(g, DNN_O, DNN_BF16, rows_of_o(g));
    void *x =
        point(g, DNN_MUL, d_out, o, NULL,
              between(g, DNN_F32, dense(g->a, g->a->rows, g->a->value_size)));
    x = reduced(g, DNN_SUM, x, between(g, DNN_F32, row));
    return point(g, DNN_MUL, x, number(g, DNN_ONE), NULL,
                 stored(g, DNN_DELTA, DNN_F32, row));
}

/* x' y: the gradient of keys or values, one for each head that they serve. */
static void describe_sum(graph *g, void *x, void *y, int64_t id,
                         int32_t columns)
{
    const gpu_attention_args *a = g->a;
    void *sum =
        stored(g, id, DNN_BF16, in_dense_rows(a, a->groups, a->keys, columns));
    void *across = reshaped(
        g, x, between(g, DNN_BF16, turned(dense(a, a->rows, a->keys))));
    if (a->heads == a->groups)
        product(g, across, y, sum);
    else
        reduced(g, DNN_SUM,
                product(g, across, y,
                        between(g, DNN_BF16, dense(a, a->keys, columns))),
                sum);
}

static void describe_backward(graph *g)
{
    const gpu_attention_args *a = g->a;
    const axes x = scores(g);
    void *q = stored_q(g);
    void *k = stored(g, DNN_K, DNN_BF16, turned(rows_of_k(g)));
    void *v = stored(g, DNN_V, DNN_BF16, turned(rows_of_v(g)));
    void *d_out = stored(g, DNN_DO, DNN_BF16, rows_of_o(g));
    void *lse = stored(g, DNN_LSE, DNN_F32, dense(a, a->rows, 1));
    void *scale = number(g, DNN_SCALE);
    void *delta = describe_delta(g, d_out);
    void *s = product(g, q, k, between(g, DNN_F32, x));
    s = point(g, DNN_MUL, s, scale, NULL, between(g, DNN_F32, x));
    s = point(g, DNN_SUB, s, lse, NULL, between(g, DNN_F32, x));
    s = masked(g, s);
    void *p = point(g, DNN_EXP, s, NULL, NULL, between(g, DNN_F32, x));
    describe_sum(g, p, d_out, DNN_DV, a->value_size);
    void *ds = product(g, d_out, v, between(g, DNN_F32, x));
    ds = point(g, DNN_SUB, ds, delta, NULL, between(g, DNN_F32, x));
    ds = point(g, DNN_MUL, ds, p, NULL, between(g, DNN_F32, x));
    ds = point(g, DNN_MUL, ds, scale, NULL, between(g, DNN_F32, x));
    describe_sum(g, ds, q, DNN_DK, a->key_size);
    product(g, ds, reshaped(g, k, between(g, DNN_BF16, rows_of_k(g))),
            stored(g, DNN_DQ, DNN_BF16,
                   in_dense_rows(a, a->heads, a->rows, a->key_size)));
}

void *gpu_dnn_graph(gpu_dnn_maker *m, const gpu_attention_args *a, int backward)
{
    graph g = {.m = m, .a = a, .next_id = DNN_IDS};
    if (backward)
        describe_backward(&g);
    else
        describe_forward(&g);
    void *all = gpu_dnn_make(m, DNN_GRAPH);
    gpu_dnn_set(m, all, DNN_GRAPH_OPERATIONS, DNN_IS_DESCRIPTOR, g.count,
                g.operations);
    gpu_dnn_finalize(m, all);
    return all;
}

/* ---- calls ---- */

typedef struct binding {
    int64_t id[DNN_IDS];
    void *at[DNN_IDS];
    int64_t count;
} binding;

static void bind(binding *b, int64_t id, uint64_t address)
{
    b->id[b->count] = id;
    b->at[b->count++] = (void *)(uintptr_t)address;
}

static void bind_number(binding *b, gpu_dnn_call *call, int64_t id,
                        double value)
{
    call->numbers[id] = (float)value;
    bind(b, id, (uint64_t)(uintptr_t)&call->numbers[id]);
}

/* What has an address in the graph of these. */
static void bind_all(binding *b, gpu_dnn_call *call,
                     const gpu_attention_args *a, int backward)
{
    bind(b, DNN_Q, a->q);
    bind(b, DNN_K, a->k);
    bind(b, DNN_V, a->v);
    bind(b, DNN_O, a->o);
    bind(b, DNN_LSE, a->lse);
    bind_number(b, call, DNN_SCALE, (double)a->scale);
    if (backward) {
        bind(b, DNN_DO, a->d_out);
        bind(b, DNN_DELTA, a->delta);
        bind(b, DNN_DQ, a->dq);
        bind(b, DNN_DK, a->dk);
        bind(b, DNN_DV, a->dv);
        bind_number(b, call, DNN_ONE, 1.0);
    }
    if (a->causal)
        bind_number(b, call, DNN_HIDDEN, -HUGE_VAL);
    if (a->window) {
        bind_number(b, call, DNN_HIDDEN_TOO, -HUGE_VAL);
        bind_number(b, call, DNN_WINDOW, a->window);
    }
}

gpu_dnn_call *gpu_dnn_bind(const gpu_dnn *dnn, const gpu_dnn_plan *plan,
                           const gpu_attention_args *a, int backward,
                           uint64_t workspace)
{
    gpu_dnn_maker m = {.dnn = dnn};
    gpu_dnn_call *call = calloc(1, sizeof *call);
    void *at = (void *)(uintptr_t)workspace;
    binding b = {.count = 0};
    if (!call)
        return NULL;
    bind_all(&b, call, a, backward);
    call->plan = plan;
    call->pack = gpu_dnn_make(&m, DNN_PACK);
    gpu_dnn_set(&m, call->pack, DNN_PACK_IDS, DNN_IS_INT64, b.count, b.id);
    gpu_dnn_set(&m, call->pack, DNN_PACK_POINTERS, DNN_IS_POINTER, b.count,
                b.at);
    gpu_dnn_set(&m, call->pack, DNN_PACK_WORKSPACE, DNN_IS_POINTER, 1, &at);
    gpu_dnn_finalize(&m, call->pack);
    if (!m.status)
        return call;
    gpu_dnn_unmake(&m);
    free(call);
    return NULL;
}

void gpu_dnn_free(const tn_device *d, gpu_dnn_call *call)
{
    if (!call)
        return;
    d->dnn->DestroyDescriptor(call->pack);
    free(call);
}

tn_status gpu_dnn_start(const tn_device *d, const gpu_dnn_call *call,
                        tn_error *err)
{
    const gpu_dnn *dnn = d->dnn;
    char why[256] = "";
    const int status = dnn->Execute(dnn->handle, call->plan->plan, call->pack);
    if (!status)
        return TN_OK;
    dnn->GetLastErrorString(why, sizeof why);
    return tn_fail(err, TN_EDEVICE,
                   "backend cuda: cuDNN fails with status %d (%s); set "
                   "backend: {plugin: cuda, cudnn: false} to do without it",
                   status, why);
}
