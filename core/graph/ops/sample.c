/*
 * sample.c - a token drawn from each row of logits (tenon/sample.h).
 *
 * The decomposition sorts a row and says the same in real numbers: it is the
 * definition for tests. Whoever draws asks first whether the backend has a
 * kernel, and draws on the host where it has none.
 */
#include <tenon/builder.h>

#include "graph/ops/ops.h"

enum { MOST_CLASSES = 1 << 23 }; /* sums of weights stay below 2^63 */

tn_status tni_sample_shape(const tn_builder *b, const tn_op_node *node,
                           tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info logits = tn_info(b, node->in[0]);
    const tn_tensor_info how = tn_info(b, node->in[1]);
    const tn_tensor_info limits = tn_info(b, node->in[2]);
    TN_TRY(tni_expect_rank(&logits, "logits", 2, 2, err));
    TN_TRY(tni_expect_float(&logits, "logits", err));
    TN_TRY(tni_expect_rank(&how, "how", 2, 2, err));
    TN_TRY(tni_expect_float(&how, "how", err));
    TN_TRY(tni_expect_size(&how, "how", 0, logits.shape[0], err));
    TN_TRY(tni_expect_size(&how, "how", 1, 3, err));
    TN_TRY(tni_expect_rank(&limits, "limits", 2, 2, err));
    TN_TRY(tni_expect_i32(&limits, "limits", err));
    TN_TRY(tni_expect_size(&limits, "limits", 0, logits.shape[0], err));
    TN_TRY(tni_expect_size(&limits, "limits", 1, 2, err));
    if (logits.shape[1] < 1 || logits.shape[1] > MOST_CLASSES)
        return tn_fail(err, TN_ESHAPE, "%lld classes are outside [1, %d]",
                       (long long)logits.shape[1], MOST_CLASSES);
    out[0] = tni_dense(TN_I32, 1, logits.shape);
    return TN_OK;
}

/* Elements of one column of x, as a column. */
static tn_tensor column(tn_builder *b, tn_tensor x, int64_t i)
{
    return tn_slice(b, x, 1, i, 1);
}

/* 0, 1, 2 ... along rows of x's shape */
static tn_tensor numbers(tn_builder *b, tn_tensor x)
{
    const tn_tensor ones = tn_fill(b, 1.0, tn_dim(b, x, 0), tn_dim(b, x, 1));
    return tn_cumsum(b, ones, .axis = 1, .exclusive = 1);
}

/* Each row's element at the place that its `where` holds. */
static tn_tensor at(tn_builder *b, tn_tensor x, tn_tensor where)
{
    const tn_tensor here = tn_eq(b, numbers(b, x), where);
    return tn_sum(b, tn_select(b, here, x, tn_scale(b, here, 0.0)), 2u);
}

/* What is needed of a row, columns of it. */
typedef struct row {
    tn_tensor temperature, top_p, u, top_k;
    tn_tensor logits, id; /* -huge where one does not take part */
    tn_tensor takes_part;
} row;

static row row_of(tn_builder *b, const tn_tensor *in)
{
    const tn_tensor limits = tn_cast(b, in[2], b->dtype);
    row r = {.temperature = column(b, in[1], 0),
             .top_p = column(b, in[1], 1),
             .u = column(b, in[1], 2),
             .top_k = column(b, limits, 0),
             .id = numbers(b, in[0])};
    r.takes_part =
        tn_and(b, tn_finite(b, in[0]), tn_lt(b, r.id, column(b, limits, 1)));
    const tn_tensor nothing = tn_shift(b, tn_scale(b, r.id, 0.0), -3e38);
    r.logits = tn_select(b, r.takes_part, in[0], nothing);
    return r;
}

static tn_tensor weights(tn_builder *b, const row *r, tn_tensor logits,
                         tn_tensor most)
{
    return tn_exp(b, tn_div(b, tn_sub(b, logits, most), r->temperature));
}

/* Which of the sorted logits are kept: a stretch from the first on. */
static tn_tensor kept_of(tn_builder *b, const row *r, tn_tensor sorted,
                         tn_tensor most)
{
    const tn_tensor place = numbers(b, sorted);
    const tn_tensor all = tn_le(b, r->top_k, tn_scale(b, r->top_k, 0.0));
    const tn_tensor in_k = tn_or(b, all, tn_lt(b, place, r->top_k));
    const tn_tensor real =
        tn_lt(b, tn_shift(b, tn_scale(b, sorted, 0.0), -2e38), sorted);
    const tn_tensor could = tn_and(b, in_k, real);
    const tn_tensor zero = tn_scale(b, place, 0.0);
    const tn_tensor w = tn_select(b, could, weights(b, r, sorted, most), zero);
    const tn_tensor before = tn_cumsum(b, w, .axis = 1, .exclusive = 1);
    const tn_tensor enough = tn_mul(b, r->top_p, tn_sum(b, w, 2u));
    const tn_tensor uncut =
        tn_le(b, tn_shift(b, tn_scale(b, r->top_p, 0.0), 1.0), r->top_p);
    return tn_and(b, could, tn_or(b, uncut, tn_lt(b, before, enough)));
}

void tni_sample_decompose(tn_builder *b, const tn_op_node *node, tn_tensor *out)
{
    const row r = row_of(b, node->in);
    const int64_t classes = tn_dim(b, node->in[0], 1);
    tn_tensor sorted, order;
    tn_topk(b, r.logits, classes, &sorted, &order);
    order = tn_cast(b, order, b->dtype);
    const tn_tensor most = column(b, sorted, 0), best = column(b, order, 0);
    const tn_tensor kept = kept_of(b, &r, sorted, most);
    const tn_tensor last = tn_shift(b, tn_sum(b, kept, 2u), -1.0);
    const tn_tensor least = at(b, sorted, last), last_id = at(b, order, last);

    const tn_tensor is_kept =
        tn_or(b, tn_lt(b, least, r.logits),
              tn_and(b, tn_eq(b, r.logits, least), tn_le(b, r.id, last_id)));
    const tn_tensor w =
        tn_select(b, tn_and(b, is_kept, r.takes_part),
                  weights(b, &r, r.logits, most), tn_scale(b, r.id, 0.0));
    const tn_tensor running = tn_cumsum(b, w, .axis = 1);
    const tn_tensor passed =
        tn_le(b, running, tn_mul(b, r.u, tn_sum(b, w, 2u)));
    const tn_tensor drawn =
        tn_at_most(b, tn_sum(b, passed, 2u), (double)classes - 1.0);

    const tn_tensor zero = tn_scale(b, best, 0.0);
    const tn_tensor token =
        tn_select(b, tn_lt(b, zero, r.temperature), drawn, best);
    const tn_tensor any = tn_lt(b, zero, tn_sum(b, r.takes_part, 2u));
    out[0] = tn_reshape(
        b,
        tn_cast(b, tn_select(b, any, token, tn_shift(b, zero, -1.0)), TN_I32),
        tn_dim(b, node->in[0], 0));
}

/* An exponential each, twice. */
double tni_sample_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info logits = tn_info(b, node->in[0]);
    return 32.0 * (double)tn_elements(&logits);
}
