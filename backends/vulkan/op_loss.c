/*
 * op_loss.c - the head and the cross-entropy in one op, in chunks of rows.
 *
 * Logits of all rows times all classes are never there at once: a chunk of them
 * is a product into scratch, is turned into its loss (and its gradient, in
 * place) row by row, and is multiplied back. Vocabularies are 100k and more.
 */
#include "emit_dispatch.h"
#include "kernels.h"
#include "product.h"

enum { CHUNK_BYTES = 64 << 20 };

typedef struct loss {
    gpu_compiler *c;
    int64_t rows, columns, classes; /* N, C, V */
    int64_t chunk;                  /* rows of logits at a time */
    uint64_t x, w, target, dnll;
    uint64_t dx, dw, nll;
    uint64_t logits, scratch;
    float cap;
    uint32_t backward, accumulate;
    tn_dtype x_type, w_type, dx_type, dw_type;
} loss;

/* An even share of the rows that fits. */
static int64_t chunk_rows(int64_t rows, int64_t classes)
{
    const int64_t most = CHUNK_BYTES / (4 * classes);
    return gpu_ceil(rows, gpu_ceil(rows, most < 1 ? 1 : most));
}

/* Row `first` of x or dx. */
static uint64_t row_of(const loss *s, uint64_t x, tn_dtype type, int64_t first)
{
    return x + (uint64_t)(first * s->columns * tn_dtype_bytes(type));
}

/* u = x w^T */
static gpu_product logits_of(const loss *s, int64_t first, int64_t rows)
{
    gpu_product p = gpu_plain_product(row_of(s, s->x, s->x_type, first), s->w,
                                      s->logits, rows, s->classes, s->columns);
    p.b_stride[0] = 1;
    p.b_stride[1] = (uint64_t)s->columns;
    p.a_type = s->x_type;
    p.b_type = s->w_type;
    gpu_let_cooperate(s->c, &p);
    return p;
}

/* dx = du w */
static gpu_product dx_of(const loss *s, int64_t first, int64_t rows)
{
    gpu_product p =
        gpu_plain_product(s->logits, s->w, row_of(s, s->dx, s->dx_type, first),
                          rows, s->columns, s->classes);
    p.b_type = s->w_type;
    p.y_type = s->dx_type;
    return p;
}

/* dw = du^T x */
static gpu_product dw_of(const loss *s, int64_t first, int64_t rows)
{
    gpu_product p =
        gpu_plain_product(s->logits, row_of(s, s->x, s->x_type, first), s->dw,
                          s->classes, s->columns, rows);
    p.a_stride[0] = 1;
    p.a_stride[1] = (uint64_t)s->classes;
    p.b_type = s->x_type;
    p.y_type = s->dw_type;
    return p;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The last chunk may be smaller, and be cut into more parts. */
static int64_t scratch_of(const loss *s, int64_t first, int64_t rows)
{
    const gpu_product u = logits_of(s, first, rows);
    const gpu_product dx = dx_of(s, first, rows), dw = dw_of(s, first, rows);
    const int64_t bytes = gpu_product_scratch(&u);
    if (!s->backward)
        return bytes;
    return larger(bytes,
                  larger(gpu_product_scratch(&dx), gpu_product_scratch(&dw)));
}

static tn_status dispatch_rows(const loss *s, int64_t first, int64_t rows,
                               tn_error *err)
{
    const uint64_t at = 4 * (uint64_t)first;
    const struct {
        uint64_t logits, target, dnll, nll;
        uint32_t rows, classes;
        float cap;
    } a = {s->logits,      s->target + at,       s->dnll + at, s->nll + at,
           (uint32_t)rows, (uint32_t)s->classes, s->cap};
    const gpu_code code = GPU_KERNEL(loss, s->backward);
    return gpu_dispatch(s->c, &code, &a, sizeof a, rows, err);
}

static tn_status dispatch_chunk(const loss *s, int64_t first, int64_t rows,
                                tn_error *err)
{
    gpu_product u = logits_of(s, first, rows);
    gpu_product dx = dx_of(s, first, rows), dw = dw_of(s, first, rows);
    TN_TRY(gpu_dispatch_product(s->c, &u, s->scratch, 0, err));
    gpu_next_phase(s->c);
    TN_TRY(dispatch_rows(s, first, rows, err));
    gpu_next_phase(s->c);
    if (!s->backward)
        return TN_OK;
    TN_TRY(gpu_dispatch_product(s->c, &dx, s->scratch, 0, err));
    gpu_next_phase(s->c);
    TN_TRY(gpu_dispatch_product(s->c, &dw, s->scratch,
                                s->accumulate || first > 0, err));
    gpu_next_phase(s->c);
    return TN_OK;
}

static tn_status dispatch_all(loss *s, const tn_plan_node *n, tn_error *err)
{
    const tn_loss_attr *attr = n->attr;
    s->rows = n->in[0].shape[0];
    s->columns = n->in[0].shape[1];
    s->classes = n->in[1].shape[0];
    s->x = gpu_at(s->c, &n->in[0]);
    s->w = gpu_at(s->c, &n->in[1]);
    s->target = gpu_at(s->c, &n->in[2]);
    s->cap = (float)attr->softcap;
    s->x_type = n->in[0].dtype;
    s->w_type = n->in[1].dtype;
    s->dx_type = s->backward ? n->out[0].dtype : TN_F32;
    s->dw_type = s->backward ? n->out[1].dtype : TN_F32;
    s->chunk = chunk_rows(s->rows, s->classes);
    s->logits = gpu_scratch(s->c, 4 * s->chunk * s->classes);
    const int64_t last = (s->rows - 1) / s->chunk * s->chunk;
    const int64_t bytes =
        larger(scratch_of(s, 0, s->chunk), scratch_of(s, last, s->rows - last));
    s->scratch = bytes ? gpu_scratch(s->c, bytes) : 0;
    for (int64_t first = 0; first < s->rows; first += s->chunk) {
        const int64_t left = s->rows - first;
        TN_TRY(
            dispatch_chunk(s, first, left < s->chunk ? left : s->chunk, err));
    }
    return TN_OK;
}

tn_status gpu_compile_loss(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    loss s = {.c = c, .nll = gpu_at(c, &n->out[0])};
    TN_TRY(gpu_dispatch_check(c, &n->in[2], -1, n->in[1].shape[0], err));
    return dispatch_all(&s, n, err);
}

tn_status gpu_compile_loss_bwd(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    loss s = {.c = c,
              .dnll = gpu_at(c, &n->in[3]),
              .dx = gpu_at(c, &n->out[0]),
              .dw = gpu_at(c, &n->out[1]),
              .nll = gpu_at(c, &n->out[2]),
              .backward = 1,
              .accumulate = n->accumulate >> 1 & 1u};
    TN_TRY(gpu_dispatch_check(c, &n->in[2], -1, n->in[1].shape[0], err));
    return dispatch_all(&s, n, err);
}
