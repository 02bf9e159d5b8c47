/*
 * ssd_decompose.c - the state space scan in products: its definition.
 *
 * The recurrence S_t = e^(a_t) S_{t-1} + dt_t x_t B_t', y_t = S_t C_t, with
 * a_t = dt_t A, is linear in x: y_t sums e^(a_{j+1} + .. + a_t) (C_t'B_j) dt_j
 * x_j over j <= t. Cut into chunks of L steps, that sum is a masked product
 * inside each chunk, and what comes from earlier chunks comes through the state
 * h at the chunk's start. With s the running sum of a in a chunk, s_L its last:
 *
 *     W_tj = C_t'B_j e^(s_t - s_j), j <= t         y = (W dt) x + e^s (C h')
 *     S    = (dt e^(s_L - s) x)' B                 what a chunk adds to h
 *     h_z  = sum_{i < z} e^(of the chunks between i and z) S_i
 *
 * Exponents are masked before e^ is taken: above the diagonal they are positive
 * and may be large. Backward, E is the gradient of the state after a chunk:
 *
 *     Q_z = (e^s dy)' C       E_z = sum_{i > z} e^(of those between) Q_i
 *     U   = W' dy + e^(s_L - s) (B E')             dx = dt U
 *     V_tj = e^(s_t - s_j) dt_j (dy_t'x_j), summed over the heads of a group
 *     dB  = V' C + dt e^(s_L - s) (x E)            dC = V B + e^s (dy h)
 *     da_u = all that passes over step u: from rows before it, or h, to rows
 *            from it on, or E
 *     ddt = x'U + A da                             dA = sum dt da
 *
 * da is summed from what passes, not as a difference of what arrives and what
 * leaves, which would cancel the large terms that stay in their own row.
 *
 * Where documents share a row, a row that begins one has e^(a_t) = 0. Sums of
 * such exponents would lose all others, so the borders are counted instead: n
 * is how many there are in a chunk up to a row, and e^ is 0 between two rows
 * whose counts differ, from a chunk's start to rows with n > 0, to a chunk's
 * end from rows with n < n_L, and across chunks that have a border.
 *
 * Shapes are (B, Z, G, R, L, X): Z chunks, G groups, R = H / G heads of a group
 * (1 where they share), X what the row holds. The last chunk is filled up with
 * zeros: dt = 0 neither decays nor adds.
 *
 * Source: Dao and Gu 2024, "Transformers are SSMs", section 6,
 * arXiv:2405.21060.
 */
#include <tenon/builder.h>

#include "graph/ops/ops.h"
#include "graph/ops/ssd.h"
#include "graph/workspace.h"

static const double NEVER = -1e30;

/* axes of the layout */
enum { Z_AXIS = 1, R_AXIS = 3, L_AXIS = 4, X_AXIS = 5 };

typedef struct scan {
    int64_t B, T, H, P, G, N, R, L, Z;
    tn_tensor x, dt;  /* (B, Z, G, R, L, P), (B, Z, G, R, L, 1) */
    tn_tensor Bm, Cm; /* (B, Z, G, 1, L, N) */
    tn_tensor A;      /* (1, 1, G, R, 1, 1) */
    tn_tensor s;      /* (B, Z, G, R, L, 1): running sum of dt A in a chunk */
    tn_tensor total;  /* (B, Z, G, R, 1, 1): its last row */
    tn_tensor n; /* (B, Z, 1, 1, L, 1): borders so far in a chunk; or none */
} scan;

/* ---- layouts ---- */

static tni_register index_of(tni_work *w, uint32_t axis)
{
    return tni_work_emit(
        w, (tni_work_instruction){.op = TN_MAP_INDEX, .a = (tni_register)axis});
}

/* (B, T, G r, X) -> (B, Z, G, r, L, X), with rows of zeros after the last */
static tn_tensor in_chunks(tn_builder *b, const scan *c, tn_tensor x, int64_t r)
{
    const int64_t missing = c->Z * c->L - c->T;
    const int64_t X = tn_rank(b, x) == 4 ? tn_dim(b, x, 3) : 1;
    tn_tensor rows = tn_reshape(b, x, c->B, c->T, c->G, r, X);
    if (missing)
        rows =
            tn_concat(b, 1, rows, tn_fill(b, 0.0, c->B, missing, c->G, r, X));
    return tn_permute(b, tn_reshape(b, rows, c->B, c->Z, c->L, c->G, r, X), 0,
                      1, 3, 4, 2, 5);
}

/* and back: (B, Z, G, r, L, X) -> (B, T, G r, X) */
static tn_tensor in_rows(tn_builder *b, const scan *c, tn_tensor x)
{
    const int64_t heads = c->G * tn_dim(b, x, R_AXIS);
    const tn_tensor rows = tn_copy(b, tn_permute(b, x, 0, 1, 4, 2, 3, 5));
    return tn_slice(b, tn_reshape(b, rows, c->B, c->Z * c->L, heads, -1), 1, 0,
                    c->T);
}

/* (B, Z, G, R, X, Y) -> (B, H, Z, X Y) */
static tn_tensor by_chunk(tn_builder *b, const scan *c, tn_tensor x)
{
    const tn_tensor y = tn_copy(b, tn_permute(b, x, 0, 2, 3, 1, 4, 5));
    return tn_reshape(b, y, c->B, c->H, c->Z, -1);
}

/* (B, H, Z, P N) -> (B, Z, G, R, P, N) */
static tn_tensor as_states(tn_builder *b, const scan *c, tn_tensor x)
{
    return tn_permute(b, tn_reshape(b, x, c->B, c->G, c->R, c->Z, c->P, c->N),
                      0, 3, 1, 2, 4, 5);
}

/* first (B, T) -> (B, Z, 1, 1, L, 1): rows so far in a chunk that begin a
 * document; rows that fill up the last chunk begin none */
static tn_tensor count_borders(tn_builder *b, const scan *c, tn_tensor first)
{
    const tn_tensor in = tn_reshape(b, first, c->B, c->T, 1);
    const int64_t missing = c->Z * c->L - c->T;
    tni_work w = {0};
    const tni_register begins =
        tni_work_op(&w, TN_MAP_EQ, tni_work_input(&w, 0), index_of(&w, 1), 0);
    tn_tensor rows = tni_map_written1(b, &w, begins, &in, 1);
    if (missing)
        rows = tn_concat(b, 1, rows, tn_fill(b, 0.0, c->B, missing, 1));
    return tn_cumsum(b, tn_reshape(b, rows, c->B, c->Z, 1, 1, c->L, 1),
                     .axis = L_AXIS);
}

/* in: x, dt, A, Bm, Cm */
static scan lay_out(tn_builder *b, const tn_ssd_attr *attr, const tn_tensor *in,
                    tn_tensor first)
{
    const tn_tensor_info x = tn_info(b, in[0]), Bm = tn_info(b, in[3]);
    scan c = {.B = x.shape[0],
              .T = x.shape[1],
              .H = x.shape[2],
              .P = x.shape[3],
              .G = Bm.shape[2],
              .N = Bm.shape[3],
              .R = x.shape[2] / Bm.shape[2],
              .L = tni_ssd_chunk(attr, x.shape[1])};
    c.Z = (c.T + c.L - 1) / c.L;
    c.x = in_chunks(b, &c, in[0], c.R);
    c.dt = in_chunks(b, &c, in[1], c.R);
    c.A = tn_reshape(b, in[2], 1, 1, c.G, c.R, 1, 1);
    c.Bm = in_chunks(b, &c, in[3], 1);
    c.Cm = in_chunks(b, &c, in[4], 1);
    c.s = tn_cumsum(b, tn_mul(b, c.dt, c.A), .axis = L_AXIS);
    c.total = tn_slice(b, c.s, L_AXIS, c.L - 1, 1);
    if (!tn_is_none(first))
        c.n = count_borders(b, &c, first);
    return c;
}

/* ---- decays ---- */

/* s (.., m, 1) -> (.., m, m): e^(s_t - s_j) where j <= t, and where n, unless
 * it is none, counts as many borders; else 0 */
static tn_tensor decays(tn_builder *b, tn_tensor s, tn_tensor n)
{
    const uint32_t rank = tn_rank(b, s);
    const int whole = tn_is_none(n);
    const tn_tensor in[] = {s, tn_transpose(b, s), n,
                            whole ? n : tn_transpose(b, n)};
    tni_work w = {0};
    tni_register seen = tni_work_op(&w, TN_MAP_LE, index_of(&w, rank - 1),
                                    index_of(&w, rank - 2), 0);
    const tni_register between = tni_work_op(
        &w, TN_MAP_SUB, tni_work_input(&w, 0), tni_work_input(&w, 1), 0);
    if (!whole)
        seen = tni_work_op(&w, TN_MAP_AND, seen,
                           tni_work_op(&w, TN_MAP_EQ, tni_work_input(&w, 2),
                                       tni_work_input(&w, 3), 0),
                           0);
    const tni_register exponent = tni_work_op(&w, TN_MAP_SELECT, seen, between,
                                              tni_work_constant(&w, NEVER));
    return tni_map_written1(b, &w, tni_work_op(&w, TN_MAP_EXP, exponent, 0, 0),
                            in, whole ? 2 : 4);
}

/* x where two counts of borders are equal, else 0; x where they are none */
static tn_tensor where_equal(tn_builder *b, tn_tensor m, tn_tensor n,
                             tn_tensor x)
{
    return tn_is_none(m) ? x : tn_mul(b, x, tn_eq(b, m, n));
}

/* The borders in each chunk: (B, Z, 1, 1, 1, 1), or none */
static tn_tensor borders_of_chunks(tn_builder *b, const scan *c)
{
    return tn_is_none(c->n) ? c->n : tn_slice(b, c->n, L_AXIS, c->L - 1, 1);
}

static tn_tensor no_borders(tn_builder *b, const scan *c)
{
    return tn_is_none(c->n) ? c->n : tn_fill(b, 0.0, 1, 1, 1, 1, 1, 1);
}

/* Running sums over chunks of x (.., Z), from 0 before the first: (.., Z + 1,
 * 1) */
static tn_tensor at_ends(tn_builder *b, const scan *c, tn_tensor x)
{
    const int64_t H = tn_dim(b, x, 1);
    const tn_tensor sums = tn_concat(b, 2, tn_fill(b, 0.0, c->B, H, 1),
                                     tn_cumsum(b, x, .axis = 2));
    return tn_reshape(b, sums, c->B, H, c->Z + 1, 1);
}

/* (B, H, Z + 1, Z + 1): from the border before chunk j to that before t */
static tn_tensor decays_of_chunks(tn_builder *b, const scan *c)
{
    const tn_tensor total =
        tn_reshape(b, by_chunk(b, c, c->total), c->B, c->H, c->Z);
    tn_tensor n = borders_of_chunks(b, c);
    if (!tn_is_none(n))
        n = at_ends(b, c, tn_reshape(b, n, c->B, 1, c->Z));
    return decays(b, at_ends(b, c, total), n);
}

/* e^s: from the start of its chunk to each row */
static tn_tensor decay_from_start(tn_builder *b, const scan *c)
{
    return where_equal(b, c->n, no_borders(b, c), tn_exp(b, c->s));
}

/* e^(s_L - s): from each row to the end of its chunk */
static tn_tensor decay_to_end(tn_builder *b, const scan *c)
{
    return where_equal(b, c->n, borders_of_chunks(b, c),
                       tn_exp(b, tn_sub(b, c->total, c->s)));
}

/* e^(s_L): over a whole chunk */
static tn_tensor decay_of_chunk(tn_builder *b, const scan *c)
{
    return where_equal(b, borders_of_chunks(b, c), no_borders(b, c),
                       tn_exp(b, c->total));
}

/* What each chunk adds to the state: (B, Z, G, R, P, N) */
static tn_tensor added_states(tn_builder *b, const scan *c, tn_tensor to_end)
{
    const tn_tensor x = tn_mul(b, c->x, tn_mul(b, c->dt, to_end));
    return tn_matmul(b, tn_transpose(b, x), c->Bm);
}

/* ---- forward ---- */

void tni_ssd_scan_decompose(tn_builder *b, const tn_op_node *node,
                            tn_tensor *out)
{
    const scan c = lay_out(b, node->attr, node->in, tni_in(node, 6));
    tn_tensor first = tni_in(node, 5);
    if (tn_is_none(first))
        first = tn_fill(b, 0.0, c.B, c.H, c.P, c.N);

    const tn_tensor added = added_states(b, &c, decay_to_end(b, &c));
    const tn_tensor states =
        tn_matmul(b, decays_of_chunks(b, &c),
                  tn_concat(b, 2, tn_reshape(b, first, c.B, c.H, 1, c.P * c.N),
                            by_chunk(b, &c, added)));
    const tn_tensor h = as_states(b, &c, tn_slice(b, states, 2, 0, c.Z));

    const tn_tensor products = tn_matmul(b, c.Cm, tn_transpose(b, c.Bm));
    const tn_tensor W = tn_mul(b, products, decays(b, c.s, c.n));
    const tn_tensor inside =
        tn_matmul(b, tn_mul(b, W, tn_transpose(b, c.dt)), c.x);
    const tn_tensor before = tn_mul(b, decay_from_start(b, &c),
                                    tn_matmul(b, c.Cm, tn_transpose(b, h)));
    out[0] = in_rows(b, &c, tn_add(b, inside, before));
    out[1] = tn_reshape(b, tn_slice(b, states, 2, c.Z, 1), c.B, c.H, c.P, c.N);
}

/* ---- backward ---- */

/* passing (.., t, j) -> (.., u, 1): the sum over t >= u and j < u */
static tn_tensor passing_over(tn_builder *b, tn_tensor passing)
{
    const tn_tensor before =
        tn_cumsum(b, passing, .axis = X_AXIS, .exclusive = 1);
    tni_work w = {0};
    const tni_register after = tni_work_op(&w, TN_MAP_LE, index_of(&w, X_AXIS),
                                           index_of(&w, L_AXIS), 0);
    const tni_register y =
        tni_work_op(&w, TN_MAP_SELECT, after, tni_work_input(&w, 0),
                    tni_work_constant(&w, 0.0));
    return tn_transpose(b, tni_reduce_written(b, &w, y, TN_REDUCE_SUM,
                                              1u << L_AXIS, &before, 1));
}

/* Sum of x y over the last axis */
static tn_tensor dot(tn_builder *b, tn_tensor x, tn_tensor y)
{
    return tn_sum(b, tn_mul(b, x, y), 1u << X_AXIS);
}

/* Over the heads of a group */
static tn_tensor shared(tn_builder *b, const scan *c, tn_tensor x)
{
    return c->R > 1 ? tn_sum(b, x, 1u << R_AXIS) : x;
}

void tni_ssd_scan_bwd_decompose(tn_builder *b, const tn_op_node *node,
                                tn_tensor *out)
{
    const scan c = lay_out(b, node->attr, node->in + 1, tni_in(node, 6));
    const tn_tensor dy = in_chunks(b, &c, node->in[0], c.R);
    const tn_tensor from_start = decay_from_start(b, &c);
    const tn_tensor to_end = decay_to_end(b, &c);
    const tn_tensor to_end_dt = tn_mul(b, c.dt, to_end);

    /* from the end of chunk j to the start of t: 0 where j is not before t */
    const tn_tensor carry =
        tn_slice(b, tn_slice(b, decays_of_chunks(b, &c), 2, 0, c.Z), 3, 1, c.Z);
    const tn_tensor S = added_states(b, &c, to_end);
    const tn_tensor Q =
        tn_matmul(b, tn_transpose(b, tn_mul(b, dy, from_start)), c.Cm);
    const tn_tensor h =
        as_states(b, &c, tn_matmul(b, carry, by_chunk(b, &c, S)));
    const tn_tensor E = as_states(
        b, &c, tn_matmul(b, tn_transpose(b, carry), by_chunk(b, &c, Q)));

    const tn_tensor decay = decays(b, c.s, c.n);
    const tn_tensor products = tn_matmul(b, c.Cm, tn_transpose(b, c.Bm));
    const tn_tensor W = tn_mul(b, products, decay);
    const tn_tensor U =
        tn_add(b, tn_matmul(b, tn_transpose(b, W), dy),
               tn_mul(b, to_end, tn_matmul(b, c.Bm, tn_transpose(b, E))));
    const tn_tensor V = tn_mul(b, tn_mul(b, decay, tn_transpose(b, c.dt)),
                               tn_matmul(b, dy, tn_transpose(b, c.x)));
    const tn_tensor V_group = shared(b, &c, V);
    const tn_tensor x_E = tn_mul(b, to_end_dt, tn_matmul(b, c.x, E));
    const tn_tensor dy_h = tn_mul(b, from_start, tn_matmul(b, dy, h));

    const tn_tensor through =
        tn_mul(b, decay_of_chunk(b, &c),
               tn_sum(b, tn_mul(b, E, h), 1u << L_AXIS | 1u << X_AXIS));
    const tn_tensor read =
        tn_cumsum(b, dot(b, dy_h, c.Cm), .axis = L_AXIS, .reverse = 1);
    const tn_tensor written =
        tn_cumsum(b, dot(b, x_E, c.Bm), .axis = L_AXIS, .exclusive = 1);
    const tn_tensor da =
        tn_add(b, tn_add(b, passing_over(b, tn_mul(b, V, products)), through),
               tn_add(b, read, written));

    out[0] = in_rows(b, &c, tn_mul(b, c.dt, U));
    out[1] = tn_reshape(
        b, in_rows(b, &c, tn_add(b, dot(b, c.x, U), tn_mul(b, c.A, da))), c.B,
        c.T, c.H);
    out[2] = tn_reshape(
        b, tn_sum(b, tn_mul(b, c.dt, da), 1u | 1u << Z_AXIS | 1u << L_AXIS),
        c.H);
    out[3] = in_rows(b, &c,
                     tn_add(b, tn_matmul(b, tn_transpose(b, V_group), c.Cm),
                            shared(b, &c, x_E)));
    out[4] = in_rows(
        b, &c, tn_add(b, tn_matmul(b, V_group, c.Bm), shared(b, &c, dy_h)));
}
