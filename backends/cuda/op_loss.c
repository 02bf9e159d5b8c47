/*
 * op_loss.c - the head and the cross-entropy in one op, in chunks of rows.
 *
 * Logits of all rows times all classes are never there at once: a chunk of them
 * is a product into scratch, is turned into its loss (and its gradient) row by
 * row, and is multiplied back. Vocabularies are 100k and more.
 *
 * Logits are F32. Their gradient is stored as the operands are, so that both
 * products back run as fast as they can: in place as F32, beside as BF16. The
 * weight's gradient is summed over chunks in F32.
 */
#include "emit_launch.h"
#include "product.h"

typedef struct loss {
    gpu_compiler *c;
    int64_t rows, columns, classes; /* N, C, V */
    int64_t chunk;                  /* rows of logits at a time */
    tn_dtype dtype;                 /* of x, w and dlogits */
    tn_dtype dx_dtype, dw_dtype;
    uint64_t x, w, target, dnll;
    uint64_t dx, dw, nll;
    uint64_t logits, dlogits, scratch;
    float cap;
    uint32_t backward, accumulate;
} loss;

/* Few, large chunks: each reads and writes the weight's gradient once. */
static int64_t chunk_rows(const gpu_compiler *c, int64_t rows, int64_t classes)
{
    const int64_t least = (int64_t)64 << 20, top = (int64_t)1 << 30;
    const int64_t part = gpu_device_of(c)->card.memory_bytes / 128;
    const int64_t bytes = part < least ? least : part > top ? top : part;
    const int64_t most = bytes / (4 * classes);
    return gpu_ceil(rows, gpu_ceil(rows, most < 1 ? 1 : most));
}

static uint64_t x_at(const loss *s, int64_t row)
{
    return s->x + gpu_bytes(s->dtype) * (uint64_t)(row * s->columns);
}

/* u = x w^T */
static gpu_product logits_of(const loss *s, int64_t first, int64_t rows)
{
    gpu_product p = gpu_plain_product(x_at(s, first), s->w, s->logits, rows,
                                      s->classes, s->columns);
    p.args.b_stride[0] = 1;
    p.args.b_stride[1] = s->columns;
    p.operands = s->dtype;
    return p;
}

/* dx = du w */
static gpu_product dx_of(const loss *s, int64_t first, int64_t rows)
{
    const uint64_t before =
        gpu_bytes(s->dx_dtype) * (uint64_t)(first * s->columns);
    gpu_product p = gpu_plain_product(s->dlogits, s->w, s->dx + before, rows,
                                      s->columns, s->classes);
    p.operands = s->dtype;
    p.y = s->dx_dtype;
    return p;
}

/* dw = du^T x */
static gpu_product dw_of(const loss *s, int64_t first, int64_t rows)
{
    gpu_product p = gpu_plain_product(s->dlogits, x_at(s, first), s->dw,
                                      s->classes, s->columns, rows);
    p.args.a_stride[0] = 1;
    p.args.a_stride[1] = s->classes;
    p.operands = s->dtype;
    p.y = s->dw_dtype;
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

static tn_status launch_rows(const loss *s, int64_t first, int64_t rows,
                             tn_error *err)
{
    const uint64_t at = 4 * (uint64_t)first;
    const gpu_loss_args a = {.logits = s->logits,
                             .target = s->target + at,
                             .dnll = s->dnll + at,
                             .nll = s->nll + at,
                             .dlogits = s->dlogits,
                             .classes = s->classes,
                             .cap = s->cap,
                             .backward = s->backward};
    return gpu_launch(s->c, GPU_FAMILY_loss,
                      s->dtype == TN_BF16 ? "loss_b" : "loss_f", &a, sizeof a,
                      (gpu_grid){rows, 1, 1, 512, 0}, err);
}

static tn_status launch_chunk(const loss *s, int64_t first, int64_t rows,
                              tn_error *err)
{
    const gpu_product u = logits_of(s, first, rows);
    const gpu_product dx = dx_of(s, first, rows), dw = dw_of(s, first, rows);
    TN_TRY(gpu_launch_product(s->c, &u, s->scratch, 0, err));
    TN_TRY(launch_rows(s, first, rows, err));
    if (!s->backward)
        return TN_OK;
    TN_TRY(gpu_launch_product(s->c, &dx, s->scratch, 0, err));
    return gpu_launch_product(s->c, &dw, s->scratch, s->accumulate || first > 0,
                              err);
}

/* A weight's gradient that is stored as BF16 is summed beside it. */
static tn_status store_weight(const loss *s, const tn_operand *dw, uint64_t to,
                              tn_error *err)
{
    gpu_map_spec m = {.rank = 1, .in_count = 1, .out_count = 1};
    m.shape[0] = s->classes * s->columns;
    return gpu_launch_copy(s->c, 1, m.shape, s->dw, &(gpu_view){TN_F32, {1}},
                           to, &(gpu_view){dw->dtype, {1}}, err);
}

static void set_scratch(loss *s)
{
    const int64_t logits = s->chunk * s->classes;
    const int64_t last = (s->rows - 1) / s->chunk * s->chunk;
    s->logits = s->dlogits = gpu_scratch(s->c, 4 * logits);
    if (s->backward && s->dtype == TN_BF16)
        s->dlogits = gpu_scratch(s->c, 2 * logits);
    const int64_t bytes =
        larger(scratch_of(s, 0, s->chunk), scratch_of(s, last, s->rows - last));
    s->scratch = bytes ? gpu_scratch(s->c, bytes) : 0;
}

static tn_status launch_all(loss *s, const tn_plan_node *n, tn_error *err)
{
    const tn_loss_attr *attr = n->attr;
    s->rows = n->in[0].shape[0];
    s->columns = n->in[0].shape[1];
    s->classes = n->in[1].shape[0];
    s->dtype = n->in[0].dtype;
    s->x = gpu_at(s->c, &n->in[0]);
    s->w = gpu_at(s->c, &n->in[1]);
    s->target = gpu_at(s->c, &n->in[2]);
    s->cap = (float)attr->softcap;
    s->chunk = chunk_rows(s->c, s->rows, s->classes);
    TN_TRY(gpu_launch_check(s->c, &n->in[2], -1, s->classes, err));
    set_scratch(s);
    for (int64_t first = 0; first < s->rows; first += s->chunk) {
        const int64_t left = s->rows - first;
        TN_TRY(launch_chunk(s, first, left < s->chunk ? left : s->chunk, err));
    }
    return TN_OK;
}

uint32_t gpu_loss_fits(const tn_device *d, const tn_plan_node *n)
{
    (void)d;
    return n->in[0].dtype == n->in[1].dtype;
}

tn_status gpu_compile_loss(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    loss s = {.c = c,
              .nll = gpu_at(c, &n->out[0]),
              .dx_dtype = TN_F32,
              .dw_dtype = TN_F32};
    return launch_all(&s, n, err);
}

tn_status gpu_compile_loss_bwd(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    const tn_operand *dw = &n->out[1];
    loss s = {.c = c,
              .dnll = gpu_at(c, &n->in[3]),
              .dx = gpu_at(c, &n->out[0]),
              .dw = gpu_at(c, dw),
              .nll = gpu_at(c, &n->out[2]),
              .dx_dtype = n->out[0].dtype,
              .dw_dtype = TN_F32,
              .backward = 1,
              .accumulate = n->accumulate >> 1 & 1u};
    if (dw->dtype == TN_F32)
        return launch_all(&s, n, err);
    s.dw = gpu_scratch(c, 4 * gpu_elements(dw));
    TN_TRY(launch_all(&s, n, err));
    return store_weight(&s, dw, gpu_at(c, dw), err);
}
