/*
 * ssd.c - the state space scan, step by step, and its adjoint recurrence.
 *
 * For each batch row and head, with a state S of P x N and e_t = exp(dt_t A),
 * or 0 where row t begins a document (first[b,t] = t):
 *
 *     S_t = e_t S_{t-1} + dt_t x_t B_t'            y_t = S_t C_t
 *
 * Backward, g_t is the gradient of S_t and flows from the last row to the
 * first, over the states that the forward recurrence passed:
 *
 *     g_t  = dy_t C_t' + e_{t+1} g_{t+1}           dC_t = S_t' dy_t
 *     dx_t = dt_t g_t B_t                          dB_t = dt_t g_t' x_t
 *     da_t = e_t <g_t, S_{t-1}>,  a_t = dt_t A     dA   = sum_t dt_t da_t
 *     ddt_t = x_t' g_t B_t + A da_t
 *
 * Heads of a group share B and C, so their dB and dC are summed.
 *
 * Source: Dao and Gu 2024, "Transformers are SSMs", arXiv:2405.21060.
 */
#include "reference.h"

#include <math.h>

typedef struct scan {
    const ref_node *n;
    const ref_tensor *x, *dt, *A, *Bm, *Cm, *first;
    int64_t B, T, H, P, G, N;
} scan;

/* An optional input, NULL where absent. */
static const ref_tensor *optional(const ref_node *n, uint32_t i)
{
    return n->plan->in_count > i && n->in[i].data ? &n->in[i] : NULL;
}

/* x, dt, A, Bm, Cm from input `first` on; where documents begin in input 6 */
static scan problem(const ref_node *n, uint32_t first)
{
    const ref_tensor *in = &n->in[first];
    return (scan){.n = n,
                  .x = in,
                  .dt = in + 1,
                  .A = in + 2,
                  .Bm = in + 3,
                  .Cm = in + 4,
                  .first = optional(n, 6),
                  .B = in->shape[0],
                  .T = in->shape[1],
                  .H = in->shape[2],
                  .P = in->shape[3],
                  .G = in[3].shape[2],
                  .N = in[3].shape[3]};
}

/* Where step t of head h of batch row b lies in each tensor. */
typedef struct step {
    int64_t x;    /* element 0 of P, in x and y */
    int64_t dt;   /* the element, in dt */
    int64_t b_c;  /* element 0 of N, in Bm and Cm */
    double value; /* dt */
    double e;     /* exp(dt A); 0: what was before is forgotten */
} step;

static step step_at(const scan *s, int64_t b, int64_t t, int64_t h)
{
    const int64_t row = b * s->T + t, head = row * s->H + h;
    const int64_t group = row * s->G + h / (s->H / s->G);
    const double dt = ref_get(s->dt, head);
    const int begins = s->first && (int64_t)ref_get(s->first, row) == t;
    return (step){.x = head * s->P,
                  .dt = head,
                  .b_c = group * s->N,
                  .value = dt,
                  .e = begins ? 0.0 : exp(dt * ref_get(s->A, h))};
}

/* `next` (P x N) after one step from `state`; they may be the same. */
static void advance(const scan *s, const step *at, const double *state,
                    double *next)
{
    for (int64_t p = 0; p < s->P; p++)
        for (int64_t k = 0; k < s->N; k++)
            next[p * s->N + k] = at->e * state[p * s->N + k] +
                                 at->value * ref_get(s->x, at->x + p) *
                                     ref_get(s->Bm, at->b_c + k);
}

/* ---- forward ---- */

int64_t ref_ssd_scan_scratch(const ref_node *n)
{
    const scan s = problem(n, 0);
    return s.P * s.N;
}

static void scan_head(const scan *s, const ref_tensor *first, int64_t b,
                      int64_t h)
{
    const int64_t size = s->P * s->N, at = (b * s->H + h) * size;
    double *state = s->n->scratch;
    for (int64_t i = 0; i < size; i++)
        state[i] = first ? ref_get(first, at + i) : 0.0;
    for (int64_t t = 0; t < s->T; t++) {
        const step now = step_at(s, b, t, h);
        advance(s, &now, state, state);
        for (int64_t p = 0; p < s->P; p++) {
            double y = 0.0;
            for (int64_t k = 0; k < s->N; k++)
                y += state[p * s->N + k] * ref_get(s->Cm, now.b_c + k);
            ref_put(s->n, 0, now.x + p, y);
        }
    }
    for (int64_t i = 0; i < size; i++)
        ref_put(s->n, 1, at + i, state[i]);
}

void ref_ssd_scan(const ref_node *n)
{
    const scan s = problem(n, 0);
    for (int64_t b = 0; b < s.B; b++)
        for (int64_t h = 0; h < s.H; h++)
            scan_head(&s, optional(n, 5), b, h);
}

/* ---- backward ---- */

enum { DX, DDT, DA, DB, DC, GRADIENTS };

/* Sums of the five gradients, laid out as the outputs; the states of one head,
 * S_{-1} to S_{T-1}; and g. */
typedef struct adjoint {
    scan s;
    double *sum[GRADIENTS];
    double *states, *g;
} adjoint;

static int64_t sums_size(const ref_node *n)
{
    int64_t size = 0;
    for (uint32_t o = 0; o < GRADIENTS; o++)
        size += n->out[o].count;
    return size;
}

int64_t ref_ssd_scan_bwd_scratch(const ref_node *n)
{
    const scan s = problem(n, 1);
    return sums_size(n) + (s.T + 2) * s.P * s.N;
}

static adjoint begin(const ref_node *n)
{
    adjoint a = {.s = problem(n, 1)};
    double *next = n->scratch;
    for (uint32_t o = 0; o < GRADIENTS; o++) {
        a.sum[o] = next;
        next += n->out[o].count;
    }
    for (double *p = n->scratch; p < next; p++)
        *p = 0.0;
    a.g = next;
    a.states = next + a.s.P * a.s.N;
    return a;
}

/* g is g_t; S its state and `last` the one before. */
static void add_step(const adjoint *a, const step *at, int64_t h,
                     const double *last, const double *S)
{
    const scan *s = &a->s;
    const ref_tensor *dy = &s->n->in[0];
    double da = 0.0, through_x = 0.0;
    for (int64_t p = 0; p < s->P; p++) {
        const double x = ref_get(s->x, at->x + p);
        double g_b = 0.0;
        for (int64_t k = 0; k < s->N; k++) {
            const double g = a->g[p * s->N + k];
            g_b += g * ref_get(s->Bm, at->b_c + k);
            da += at->e * g * last[p * s->N + k];
            a->sum[DB][at->b_c + k] += at->value * g * x;
            a->sum[DC][at->b_c + k] += S[p * s->N + k] * ref_get(dy, at->x + p);
        }
        a->sum[DX][at->x + p] = at->value * g_b;
        through_x += x * g_b;
    }
    a->sum[DDT][at->dt] = through_x + ref_get(s->A, h) * da;
    a->sum[DA][h] += at->value * da;
}

static void scan_head_bwd(const adjoint *a, int64_t b, int64_t h)
{
    const scan *s = &a->s;
    const int64_t size = s->P * s->N;
    double decay = 0.0; /* e_{t+1}; nothing flows into the last state */
    for (int64_t i = 0; i < size; i++)
        a->states[i] = a->g[i] = 0.0;
    for (int64_t t = 0; t < s->T; t++) {
        const step now = step_at(s, b, t, h);
        advance(s, &now, a->states + t * size, a->states + (t + 1) * size);
    }
    for (int64_t t = s->T; t-- > 0;) {
        const step now = step_at(s, b, t, h);
        for (int64_t p = 0; p < s->P; p++)
            for (int64_t k = 0; k < s->N; k++)
                a->g[p * s->N + k] = decay * a->g[p * s->N + k] +
                                     ref_get(&s->n->in[0], now.x + p) *
                                         ref_get(s->Cm, now.b_c + k);
        add_step(a, &now, h, a->states + t * size, a->states + (t + 1) * size);
        decay = now.e;
    }
}

void ref_ssd_scan_bwd(const ref_node *n)
{
    const adjoint a = begin(n);
    for (int64_t b = 0; b < a.s.B; b++)
        for (int64_t h = 0; h < a.s.H; h++)
            scan_head_bwd(&a, b, h);
    for (uint32_t o = 0; o < GRADIENTS; o++)
        for (int64_t i = 0; i < n->out[o].count; i++)
            ref_put(n, o, i, a.sum[o][i]);
}
