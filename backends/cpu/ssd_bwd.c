/*
 * ssd_bwd.c - SSD_SCAN_BWD: all chunks at once, once their states are known.
 *
 * With h the state before a chunk and E the gradient of that after it, and W
 * as in ssd.h:
 *
 *     V_tj = e^(s_t - s_j) dt_j (dy_t'x_j), summed over the heads of a group
 *     U    = W' dy + e^(s_L - s) (B E')             dx = dt U
 *     dB   = V' C + dt e^(s_L - s) (x E)            dC = V B + e^s (dy h)
 *     da_u = all that passes over step u: from rows before it, or h, to rows
 *            from it on, or E                       ddt = x'U + A da
 *
 * Three steps: what each chunk adds to h and, from its end, to E; both chained
 * over the chunks; and then chunks by themselves, all heads of a group in one
 * task, so that dB and dC are sums in a fixed order. Pairs of states fill
 * memory: as many groups take part at a time as MOST_STATES allows.
 *
 * da is summed in double: V_tj C_t'B_j is added when u passes j and taken away
 * again when it passes t, which in float would leave its rounding behind.
 */
#include "kernels.h"
#include "ssd.h"

static const int64_t most_states = 16 << 20; /* bytes, of one group at least */

enum { CHAIN_ELEMENTS = 4096, DA_COLUMNS = 64 };

/* Rows of a chunk: the more there are, the fewer states stand in memory, but
 * the more pairs there are. */
enum { CHUNK_ROWS = 64, CHUNK_ROWS_OF_WIDE = 128, WIDE = 96 };

typedef struct scan_bwd {
    ssd s;
    ssd_input dy;
    float *dx, *ddt, *dA, *dB, *dC;
    int64_t first_unit; /* a unit is a group of a batch row */
    int64_t slots;      /* Z - 1: borders between chunks */
    int64_t slices;     /* of a state, in the chain */
    /* in shared memory: at each border of a head h, E and e^(s_L) of the chunk
     * on either side; dA of each chunk and head, in double */
    int64_t h, E, totals, dA_parts;
} scan_bwd;

/* Of head `head`, counted over the units at hand: border `slot`. */
static float *border(const scan_bwd *k, const cpu_worker *w, int64_t states,
                     int64_t head, int64_t slot)
{
    return cpu_floats(w, states) + (head * k->slots + slot) * k->s.P * k->s.N;
}

static float *totals_of(const scan_bwd *k, const cpu_worker *w, int64_t head)
{
    return cpu_floats(w, k->totals) + head * k->s.Z;
}

/* Head `head` of the units at hand: its batch row and number. */
static void find_head(const scan_bwd *k, int64_t head, int64_t *b, int64_t *h)
{
    const int64_t of_all = k->first_unit * k->s.R + head;
    *b = of_all / k->s.H;
    *h = of_all % k->s.H;
}

/* ---- what a chunk adds to the states at its ends ---- */

/* to (P, N) = packed' rows */
static void add_state(const ssd *s, ssd_chunk c, const float *packed,
                      gemm_matrix rows, float *to)
{
    ISA(gemm_direct)
    (s->P, s->N, c.count, (gemm_matrix){packed, 1, s->P_pitch}, rows, to, s->N,
     0);
}

/* Heads of a group follow each other: they read the same rows of Bm and Cm. */
static void run_states(const void *argument, cpu_worker *w, int64_t task)
{
    const scan_bwd *k = argument;
    const ssd *s = &k->s;
    const int64_t z = task / s->R % s->Z;
    const int64_t head = task / s->R / s->Z * s->R + task % s->R;
    int64_t b, h;
    find_head(k, head, &b, &h);
    const ssd_chunk c = ssd_chunk_at(s, b, z);
    float *packed = w->scratch;
    ssd_decay d;
    ISA(ssd_decay_of)(s, c, h, &d);
    totals_of(k, w, head)[z] = d.total;
    if (z < k->slots) {
        ISA(ssd_pack)(s, c, h, &s->x, d.dt_to_end, packed);
        add_state(s, c, packed, ssd_rows_of(&s->Bm, c, h / s->R),
                  border(k, w, k->h, head, z));
    }
    if (z > 0) {
        ISA(ssd_pack)(s, c, h, &k->dy, d.from_start, packed);
        add_state(s, c, packed, ssd_rows_of(&s->Cm, c, h / s->R),
                  border(k, w, k->E, head, z - 1));
    }
}

/* ---- the chain ---- */

/* to += e^total from, elements [at, end) */
static void chain(float *to, const float *from, float total, int64_t at,
                  int64_t end)
{
    const vf e = v_exp(v_set(total));
    for (; at < end; at += VW) {
        const int64_t left = end - at;
        v_store_n(to + at,
                  v_fma(e, v_load_n(from + at, left), v_load_n(to + at, left)),
                  left);
    }
}

static void run_chain(const void *argument, cpu_worker *w, int64_t task)
{
    const scan_bwd *k = argument;
    const int64_t head = task / k->slices;
    const int64_t at = task % k->slices * CHAIN_ELEMENTS;
    const int64_t end = cpu_min(at + CHAIN_ELEMENTS, k->s.P * k->s.N);
    const float *total = totals_of(k, w, head);
    for (int64_t z = 1; z < k->slots; z++)
        chain(border(k, w, k->h, head, z), border(k, w, k->h, head, z - 1),
              total[z], at, end);
    for (int64_t z = k->slots - 1; z-- > 0;)
        chain(border(k, w, k->E, head, z), border(k, w, k->E, head, z + 1),
              total[z + 1], at, end);
}

/* ---- a chunk ---- */

/* A thread's scratch, in the order in which it lies there. */
typedef struct work {
    float *products; /* (L, L): C B' */
    float *V;        /* (L, L): summed over heads */
    float *W;        /* (L, L) */
    float *dy_x;     /* (SSD_BLOCK, L): dy x' */
    float *x_t;      /* (P, L) */
    float *dy;       /* (L, P_pitch) */
    float *x;        /* (L, P_pitch): dt e^(s_L - s) x */
    float *U;        /* (L, P_pitch) */
    float *wide;     /* (N, L), (L, N) or (N, P_pitch) */
} work;

static int64_t lay_out(const ssd *s, float *scratch, work *m)
{
    const int64_t L = s->L, packed = L * s->P_pitch;
    const int64_t sizes[] = {
        L * L,         L * L,    L * L,
        SSD_BLOCK * L, s->P * L, packed,
        packed,        packed,   s->N * cpu_max(L, s->P_pitch)};
    float **const parts[] = {&m->products, &m->V, &m->W, &m->dy_x, &m->x_t,
                             &m->dy,       &m->x, &m->U, &m->wide};
    int64_t used = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        *parts[i] = scratch ? scratch + used : NULL;
        used += sizes[i];
    }
    return used;
}

/* A head in a chunk, and the parts of its da. */
typedef struct head {
    ssd_chunk c;
    int64_t h, g;      /* its number, and its group's */
    int64_t group;     /* where the group's part of dB, dC starts */
    const float *from; /* h at the start; NULL: zeros */
    const float *into; /* E at the end; NULL: zeros */
    ssd_decay decay;
    double by_row[SSD_MOST_ROWS];    /* sum_{j < t} V_tj C_t'B_j */
    double by_column[SSD_MOST_ROWS]; /* sum_{t > j} */
    double read[SSD_MOST_ROWS];      /* from h to row t */
    double written[SSD_MOST_ROWS];   /* from row j to E */
    double x_U[SSD_MOST_ROWS];
} head;

static double sum_of(vd x)
{
    double lane[VW / 2], sum = 0.0;
    d_store(lane, x);
    for (int i = 0; i < VW / 2; i++)
        sum += lane[i];
    return sum;
}

static float dot(const float *x, const float *y, int64_t n)
{
    vf sum = v_zero();
    for (int64_t i = 0; i < n; i += VW)
        sum = v_fma(v_load_n(x + i, n - i), v_load_n(y + i, n - i), sum);
    return v_sum(sum);
}

/* A block's rows of dy x' become rows of W and V, and what passes between rows.
 * Columns outside, so that their sums stay in registers. */
static void take_pairs(const ssd *s, const work *m, head *d,
                       const ssd_block *block, int64_t count)
{
    vd passed[SSD_BLOCK];
    for (int64_t i = 0; i < count; i++)
        passed[i] = d_set(0.0);
    for (int64_t j = 0; j < block->first + count; j += VW) {
        double *column = d->by_column + j;
        vd low = d_load(column), high = d_load(column + VW / 2);
        const vf dt = v_load(d->decay.dt + j);
        for (int64_t i = 0; i < count; i++) {
            const int64_t t = block->first + i, at = t * s->L + j;
            const int64_t begin = d->decay.begin[t];
            const vf e = ssd_between(block, t, j);
            const vf CB = v_load(m->products + at);
            const vf v = ssd_between_rows(
                begin, t + 1, j, e * dt * v_load(m->dy_x + i * s->L + j));
            const vf passing = ssd_between_rows(begin, t, j, v * CB);
            v_store(m->W + at, ssd_between_rows(begin, t + 1, j, e * CB));
            v_store(m->V + at, v_load(m->V + at) + v);
            passed[i] = passed[i] + d_low(passing) + d_high(passing);
            low = low + d_low(passing);
            high = high + d_high(passing);
        }
        d_store(column, low);
        d_store(column + VW / 2, high);
    }
    for (int64_t i = 0; i < count; i++)
        d->by_row[block->first + i] = sum_of(passed[i]);
}

static void inside(const scan_bwd *k, const work *m, head *d)
{
    const ssd *s = &k->s;
    ISA(ssd_transpose)
    (m->x_t, s->L, ssd_at(&s->x, d->c, d->h), s->x.row, d->c.count, s->P);
    memset(d->by_column, 0, sizeof d->by_column);
    ssd_block block;
    for (int64_t t = 0; t < d->c.count; t += SSD_BLOCK) {
        const int64_t end = cpu_min(t + SSD_BLOCK, d->c.count);
        ISA(gemm_direct)
        (end - t, end, s->P,
         (gemm_matrix){m->dy + t * s->P_pitch, s->P_pitch, 1},
         (gemm_matrix){m->x_t, s->L, 1}, m->dy_x, s->L, 0);
        ISA(ssd_block_of)(&d->decay, t, end - t, &block);
        take_pairs(s, m, d, &block, end - t);
    }
}

/* U = e^(s_L - s) (B E') */
static void from_later_chunks(const scan_bwd *k, const work *m, head *d)
{
    const ssd *s = &k->s;
    ISA(ssd_transpose)(m->wide, s->P_pitch, d->into, s->N, s->P, s->N);
    ISA(gemm_direct)
    (d->c.count, s->P, s->N, ssd_rows_of(&s->Bm, d->c, d->g),
     (gemm_matrix){m->wide, s->P_pitch, 1}, m->U, s->P_pitch, 0);
    const float *x = ssd_at(&s->x, d->c, d->h);
    for (int64_t j = 0; j < d->c.count; j++, x += s->x.row) {
        float *U = m->U + j * s->P_pitch;
        const vf to_end = v_set(d->decay.to_end[j]);
        for (int64_t p = 0; p < s->P; p += VW)
            v_store(U + p, to_end * v_load_n(U + p, s->P - p));
        d->written[j] = (double)d->decay.dt[j] * (double)dot(x, U, s->P);
    }
}

/* W' dy added to U, and dx */
static void store_dx(const scan_bwd *k, const work *m, head *d)
{
    const ssd *s = &k->s;
    for (int64_t j = 0; j < d->c.count; j += SSD_BLOCK)
        ISA(gemm_direct)
    (cpu_min(SSD_BLOCK, d->c.count - j), s->P, d->c.count - j,
     (gemm_matrix){m->W + j * s->L + j, 1, s->L},
     (gemm_matrix){m->dy + j * s->P_pitch, s->P_pitch, 1},
     m->U + j * s->P_pitch, s->P_pitch, d->into != NULL);
    const float *x = ssd_at(&s->x, d->c, d->h);
    for (int64_t j = 0; j < d->c.count; j++, x += s->x.row) {
        float *dx = k->dx + ssd_head(s, d->c.first + j, d->h);
        const float *U = m->U + j * s->P_pitch;
        const vf dt = v_set(d->decay.dt[j]);
        for (int64_t p = 0; p < s->P; p += VW)
            v_store_n(dx + p, dt * v_load_n(U + p, s->P - p), s->P - p);
        d->x_U[j] = (double)dot(x, U, s->P);
    }
}

/* dC += e^s (dy h), dB += dt e^(s_L - s) (x E) */
static void through_states(const scan_bwd *k, const work *m, head *d)
{
    const ssd *s = &k->s;
    const int64_t pitch = s->G * s->N;
    if (d->into)
        ISA(gemm_direct)
    (d->c.count, s->N, s->P, (gemm_matrix){m->x, s->P_pitch, 1},
     (gemm_matrix){d->into, s->N, 1}, k->dB + d->group, pitch, 1);
    if (!d->from)
        return;
    ISA(gemm_direct)
    (d->c.count, s->N, s->P, (gemm_matrix){m->dy, s->P_pitch, 1},
     (gemm_matrix){d->from, s->N, 1}, m->wide, s->N, 0);
    const float *C = ssd_at(&s->Cm, d->c, d->g);
    for (int64_t t = 0; t < d->c.count; t++, C += s->Cm.row) {
        float *dC = k->dC + d->group + t * pitch, *row = m->wide + t * s->N;
        const vf from_start = v_set(d->decay.from_start[t]);
        vf read = v_zero();
        for (int64_t n = 0; n < s->N; n += VW) {
            const int64_t left = s->N - n;
            const vf x = from_start * v_load_n(row + n, left);
            v_store_n(dC + n, v_load_n(dC + n, left) + x, left);
            read = v_fma(x, v_load_n(C + n, left), read);
        }
        d->read[t] = (double)v_sum(read);
    }
}

/* ddt, and this chunk's part of dA */
static double store_ddt(const scan_bwd *k, const head *d)
{
    const ssd *s = &k->s;
    const double A = (double)s->A[d->h];
    double passing = 0.0, dA = 0.0;
    if (d->from && d->into)
        passing = exp((double)d->decay.total) *
                  (double)dot(d->from, d->into, s->P * s->N);
    for (int64_t t = 0; t < d->c.count; t++)
        passing += d->from ? d->read[t] : 0.0;
    for (int64_t u = 0; u < d->c.count; u++) {
        k->ddt[(d->c.first + u) * s->H + d->h] =
            (float)(d->x_U[u] + A * passing);
        dA += (double)d->decay.dt[u] * passing;
        passing += d->by_column[u] - d->by_row[u];
        passing += d->into ? d->written[u] : 0.0;
        passing -= d->from ? d->read[u] : 0.0;
    }
    return dA;
}

/* dC += V B, dB += V' C, V of all heads of the group */
static void store_groups(const scan_bwd *k, const work *m, const head *d)
{
    const ssd *s = &k->s;
    const ssd_chunk c = d->c;
    const int64_t pitch = s->G * s->N, group = d->group;
    const gemm_matrix B = ssd_rows_of(&s->Bm, c, d->g);
    gemm_matrix C = ssd_rows_of(&s->Cm, c, d->g);
    for (int64_t t = 0; t < c.count; t += SSD_BLOCK) {
        const int64_t end = cpu_min(t + SSD_BLOCK, c.count);
        ISA(gemm_direct)
        (end - t, s->N, end, (gemm_matrix){m->V + t * s->L, s->L, 1}, B,
         k->dC + group + t * pitch, pitch, 1);
        ISA(gemm_direct)
        (end - t, s->N, c.count - t,
         (gemm_matrix){m->V + t * s->L + t, 1, s->L}, C,
         k->dB + group + t * pitch, pitch, 1);
        C.at += SSD_BLOCK * C.row;
    }
}

static void clear_rows(const ssd *s, ssd_chunk c, float *group)
{
    for (int64_t t = 0; t < c.count; t++)
        memset(group + t * s->G * s->N, 0, (size_t)s->N * sizeof *group);
}

static double *dA_part(const scan_bwd *k, const cpu_worker *w, int64_t chunk,
                       int64_t h)
{
    double *parts = (double *)(void *)(w->shared + k->dA_parts);
    return parts + chunk * k->s.H + h;
}

static void run_chunk(const void *argument, cpu_worker *w, int64_t task)
{
    const scan_bwd *k = argument;
    const ssd *s = &k->s;
    const int64_t z = task % s->Z, first_head = task / s->Z * s->R;
    int64_t b, h;
    find_head(k, first_head, &b, &h);
    const ssd_chunk c = ssd_chunk_at(s, b, z);
    const int64_t g = h / s->R;
    head d = {.c = c, .g = g, .group = ssd_group(s, c.first, g)};
    work m;
    lay_out(s, w->scratch, &m);
    ISA(ssd_products)(s, c, g, m.wide, m.products);
    memset(m.V, 0, (size_t)(c.count * s->L) * sizeof *m.V);
    clear_rows(s, c, k->dB + d.group);
    clear_rows(s, c, k->dC + d.group);
    for (int64_t r = 0; r < s->R; r++) {
        d.h = h + r;
        d.from = z > 0 ? border(k, w, k->h, first_head + r, z - 1) : NULL;
        d.into = z < k->slots ? border(k, w, k->E, first_head + r, z) : NULL;
        ISA(ssd_decay_of)(s, c, d.h, &d.decay);
        ISA(ssd_pack)(s, c, d.h, &k->dy, NULL, m.dy);
        ISA(ssd_pack)(s, c, d.h, &s->x, d.decay.dt_to_end, m.x);
        inside(k, &m, &d);
        if (d.into)
            from_later_chunks(k, &m, &d);
        store_dx(k, &m, &d);
        through_states(k, &m, &d);
        *dA_part(k, w, b * s->Z + z, d.h) = store_ddt(k, &d);
    }
    store_groups(k, &m, &d);
}

static void run_dA(const void *argument, cpu_worker *w, int64_t task)
{
    const scan_bwd *k = argument;
    const int64_t end = cpu_min((task + 1) * DA_COLUMNS, k->s.H);
    for (int64_t h = task * DA_COLUMNS; h < end; h++) {
        double sum = 0.0;
        for (int64_t chunk = 0; chunk < k->s.B * k->s.Z; chunk++)
            sum += *dA_part(k, w, chunk, h);
        k->dA[h] = (float)sum;
    }
}

/* ---- compiling ---- */

static void compile_units(cpu_compiler *c, const scan_bwd *all, int64_t first,
                          int64_t units)
{
    scan_bwd *k = CPU_ARGUMENT(c, scan_bwd);
    *k = *all;
    k->first_unit = first;
    if (k->slots) {
        ISA(ssd_step)(c, run_states, k, units * k->s.R * k->s.Z);
        cpu_barrier(c);
        ISA(ssd_step)(c, run_chain, k, units * k->s.R * k->slices);
        cpu_barrier(c);
    }
    ISA(ssd_step)(c, run_chunk, k, units * k->s.Z);
    cpu_barrier(c);
}

static void compile_all(cpu_compiler *c, scan_bwd *k)
{
    const ssd *s = &k->s;
    work unused;
    const int64_t size = s->P * s->N * (int64_t)sizeof(float);
    const int64_t of_unit = s->R * k->slots * size;
    const int64_t units = s->B * s->G;
    const int64_t at_once =
        cpu_min(units, cpu_max(1, most_states / cpu_max(1, 2 * of_unit)));
    k->slices = cpu_parts(s->P * s->N, CHAIN_ELEMENTS);
    k->h = cpu_shared(c, at_once * of_unit);
    k->E = cpu_shared(c, at_once * of_unit);
    k->totals = cpu_shared(c, at_once * s->R * s->Z * (int64_t)sizeof(float));
    k->dA_parts = cpu_shared(c, s->B * s->Z * s->H * (int64_t)sizeof(double));
    cpu_scratch(c, lay_out(s, NULL, &unused) * (int64_t)sizeof(float));
    for (int64_t first = 0; first < units; first += at_once)
        compile_units(c, k, first, cpu_min(at_once, units - first));
    ISA(ssd_step)(c, run_dA, k, cpu_parts(s->H, DA_COLUMNS));
}

tn_status ISA(compile_ssd_scan_bwd)(cpu_compiler *c, const tn_plan_node *node,
                                    tn_error *err)
{
    (void)err;
    scan_bwd *k = CPU_ARGUMENT(c, scan_bwd);
    const int64_t N = node->in[4].shape[3];
    ISA(ssd_fill)
    (&k->s, c, node, 1, N < WIDE ? CHUNK_ROWS : CHUNK_ROWS_OF_WIDE);
    k->slots = k->s.Z - 1;
    k->dy = ISA(ssd_input_of)(c, &node->in[0]);
    k->dx = cpu_at(c, &node->out[0]);
    k->ddt = cpu_at(c, &node->out[1]);
    k->dA = cpu_at(c, &node->out[2]);
    k->dB = cpu_at(c, &node->out[3]);
    k->dC = cpu_at(c, &node->out[4]);
    compile_all(c, k);
    return TN_OK;
}
