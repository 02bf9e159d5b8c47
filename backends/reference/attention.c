/*
 * attention.c - softmax attention, forward and backward, score by score.
 *
 *     u_ij = scale q_i . k_j              s_ij = u_ij, or cap tanh(u_ij / cap)
 *     lse_i = log sum_j exp(s_ij)         P_ij = exp(s_ij - lse_i)
 *     o_i = sum_j P_ij v_j
 *
 *     dP_ij = do_i . v_j                  D_i = do_i . o_i
 *     ds_ij = P_ij (dP_ij - D_i)          du_ij = ds_ij (1 - (s_ij / cap)^2)
 *     dq_i = scale sum_j du_ij k_j        dk_j = scale sum_i du_ij q_i
 *     dv_j = sum_i P_ij do_i
 *
 * for each batch row b and head h, whose keys are those of group h / (H / G).
 * Sums over j run over the keys that row i sees. The backward equations with
 * the saved lse are those of Dao et al. 2022, "FlashAttention",
 * arXiv:2205.14135, appendix B.
 */
#include "reference.h"

#include <math.h>

/* One problem: its sizes, and the tensors under the names above. */
typedef struct attention {
    const ref_node *n;
    const ref_tensor *q, *k, *v, *positions, *first;
    int64_t batch, rows, heads, keys, groups, key_size, value_size;
    double scale, cap;
    int64_t window;
    int causal;
} attention;

/* An optional input, NULL where absent. */
static const ref_tensor *optional(const ref_node *n, uint32_t i)
{
    return n->plan->in_count > i && n->in[i].data ? &n->in[i] : NULL;
}

/* q, k and v are inputs first .. first + 2; input `last` is positions, the next
 * one where each row's document begins. */
static attention problem(const ref_node *n, uint32_t first, uint32_t last)
{
    const tn_attention_attr *attr = n->plan->attr;
    const ref_tensor *q = &n->in[first], *k = q + 1, *v = q + 2;
    return (attention){
        .n = n,
        .q = q,
        .k = k,
        .v = v,
        .positions = optional(n, last),
        .first = optional(n, last + 1),
        .batch = q->shape[0],
        .rows = q->shape[1],
        .heads = q->shape[2],
        .keys = k->shape[1],
        .groups = k->shape[2],
        .key_size = q->shape[3],
        .value_size = v->shape[3],
        .scale =
            attr->scale != 0.0 ? attr->scale : 1.0 / sqrt((double)q->shape[3]),
        .cap = attr->softcap,
        .window = attr->window,
        .causal = !attr->bidirectional,
    };
}

/* A row of the problem: query (b, i) of head h, at a position. */
typedef struct row {
    int64_t b, i, h, group, position;
    int64_t first; /* no key before it is seen */
} row;

static row row_at(const attention *a, int64_t b, int64_t h, int64_t i)
{
    const int64_t group = h / (a->heads / a->groups);
    const int64_t position =
        a->positions ? (int64_t)ref_get(a->positions, b * a->rows + i) : i;
    if (position < -1)
        ref_fail(a->n, "position %lld of row %lld is below -1",
                 (long long)position, (long long)i);
    const int64_t first =
        a->first ? (int64_t)ref_get(a->first, b * a->rows + i) : 0;
    return (row){b, i, h, group, position, first};
}

static int sees(const attention *a, row r, int64_t j)
{
    if (r.position < 0 || j < r.first)
        return 0;
    if (!a->causal)
        return 1;
    return j <= r.position && (!a->window || r.position - j < a->window);
}

/* First elements of vectors in (B, T, H, ...) and (B, S, G, ...) tensors. */
static int64_t query_at(const attention *a, row r, int64_t size)
{
    return ((r.b * a->rows + r.i) * a->heads + r.h) * size;
}

static int64_t key_at(const attention *a, row r, int64_t j, int64_t size)
{
    return ((r.b * a->keys + j) * a->groups + r.group) * size;
}

static int64_t lse_at(const attention *a, row r)
{
    return (r.b * a->heads + r.h) * a->rows + r.i;
}

static double dot(const ref_tensor *x, int64_t x_at, const ref_tensor *y,
                  int64_t y_at, int64_t size)
{
    double sum = 0.0;
    for (int64_t i = 0; i < size; i++)
        sum += ref_get(x, x_at + i) * ref_get(y, y_at + i);
    return sum;
}

static double score(const attention *a, row r, int64_t j)
{
    const double u = a->scale * dot(a->q, query_at(a, r, a->key_size), a->k,
                                    key_at(a, r, j, a->key_size), a->key_size);
    return a->cap > 0.0 ? a->cap * tanh(u / a->cap) : u;
}

static int is_blind(const attention *a, row r)
{
    for (int64_t j = 0; j < a->keys; j++)
        if (sees(a, r, j))
            return 0;
    return 1;
}

/* Scores of a row into s[], -infinity where it does not look; their lse. */
static double score_row(const attention *a, row r, double *s)
{
    double top = -(double)INFINITY, sum = 0.0;
    for (int64_t j = 0; j < a->keys; j++) {
        s[j] = sees(a, r, j) ? score(a, r, j) : -(double)INFINITY;
        top = fmax(top, s[j]);
    }
    for (int64_t j = 0; j < a->keys; j++)
        sum += exp(s[j] - top);
    return top + log(sum);
}

int64_t ref_attention_scratch(const ref_node *n)
{
    return n->in[1].shape[1];
}

static void attend(const attention *a, row r, double *s)
{
    const double lse = score_row(a, r, s);
    const int blind = is_blind(a, r);
    const int64_t to = query_at(a, r, a->value_size);
    for (int64_t e = 0; e < a->value_size; e++) {
        double o = 0.0;
        for (int64_t j = 0; !blind && j < a->keys; j++)
            if (sees(a, r, j))
                o += exp(s[j] - lse) *
                     ref_get(a->v, key_at(a, r, j, a->value_size) + e);
        ref_put(a->n, 0, to + e, o);
    }
    ref_put(a->n, 1, lse_at(a, r), blind ? 0.0 : lse);
}

void ref_attention(const ref_node *n)
{
    const attention a = problem(n, 0, 3);
    for (int64_t b = 0; b < a.batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t i = 0; i < a.rows; i++)
                attend(&a, row_at(&a, b, h, i), n->scratch);
}

int64_t ref_attention_bwd_scratch(const ref_node *n)
{
    return n->out[0].count + n->out[1].count + n->out[2].count;
}

/* Sums of the three gradients, in double, laid out as the outputs. */
typedef struct gradients {
    double *dq, *dk, *dv;
} gradients;

/* What one score adds to the gradients. */
static void attend_bwd(const attention *a, row r, int64_t j, double lse,
                       double delta, gradients sum)
{
    const ref_tensor *d_out = &a->n->in[0];
    const int64_t q = query_at(a, r, a->key_size);
    const int64_t k = key_at(a, r, j, a->key_size);
    const int64_t o = query_at(a, r, a->value_size);
    const int64_t v = key_at(a, r, j, a->value_size);
    const double s = score(a, r, j);
    const double p = exp(s - lse);
    const double ds = p * (dot(d_out, o, a->v, v, a->value_size) - delta);
    const double bend = a->cap > 0.0 ? 1.0 - (s / a->cap) * (s / a->cap) : 1.0;
    const double du = a->scale * bend * ds;
    for (int64_t d = 0; d < a->key_size; d++) {
        sum.dq[q + d] += du * ref_get(a->k, k + d);
        sum.dk[k + d] += du * ref_get(a->q, q + d);
    }
    for (int64_t e = 0; e < a->value_size; e++)
        sum.dv[v + e] += p * ref_get(d_out, o + e);
}

void ref_attention_bwd(const ref_node *n)
{
    const attention a = problem(n, 1, 6);
    const ref_tensor *d_out = &n->in[0], *out = &n->in[4], *lse = &n->in[5];
    const gradients sum = {n->scratch, n->scratch + n->out[0].count,
                           n->scratch + n->out[0].count + n->out[1].count};
    for (int64_t i = 0; i < ref_attention_bwd_scratch(n); i++)
        n->scratch[i] = 0.0;
    for (int64_t b = 0; b < a.batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t i = 0; i < a.rows; i++) {
                const row r = row_at(&a, b, h, i);
                const int64_t o = query_at(&a, r, a.value_size);
                const double delta = dot(d_out, o, out, o, a.value_size);
                for (int64_t j = 0; j < a.keys; j++)
                    if (sees(&a, r, j))
                        attend_bwd(&a, r, j, ref_get(lse, lse_at(&a, r)), delta,
                                   sum);
            }
    for (uint32_t o = 0, at = 0; o < 3; o++)
        for (int64_t i = 0; i < n->out[o].count; i++)
            ref_put(n, o, i, n->scratch[at++]);
}
