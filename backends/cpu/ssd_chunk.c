/*
 * ssd_chunk.c - the parts of a chunk that both directions of the scan need.
 */
#include "kernels.h"
#include "ssd.h"

ssd_input ISA(ssd_input_of)(const cpu_compiler *c, const tn_operand *o)
{
    return (ssd_input){cpu_at(c, o), o->stride[0], o->stride[1],
                       o->rank > 3 ? o->stride[2] : 1};
}

void ISA(ssd_fill)(ssd *s, const cpu_compiler *c, const tn_plan_node *node,
                   uint32_t first, int64_t L)
{
    const tn_operand *in = node->in + first;
    s->firsts = node->in_count > 6 ? cpu_at(c, &node->in[6]) : NULL;
    s->x = ISA(ssd_input_of)(c, &in[0]);
    s->dt = ISA(ssd_input_of)(c, &in[1]);
    s->A = cpu_at(c, &in[2]);
    s->Bm = ISA(ssd_input_of)(c, &in[3]);
    s->Cm = ISA(ssd_input_of)(c, &in[4]);
    s->B = in[0].shape[0];
    s->T = in[0].shape[1];
    s->H = in[0].shape[2];
    s->P = in[0].shape[3];
    s->G = in[3].shape[2];
    s->N = in[3].shape[3];
    s->R = s->H / s->G;
    s->L = L;
    s->Z = cpu_parts(s->T, s->L);
    s->P_pitch = v_round_up(s->P);
}

/* ---- without subnormal numbers ---- */

enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x0040 }; /* of MXCSR */

typedef struct flushed {
    cpu_task task;
    const void *argument;
} flushed;

static void run_flushed(const void *argument, cpu_worker *w, int64_t task)
{
    const flushed *f = argument;
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
    f->task(f->argument, w, task);
    _mm_setcsr(before);
}

void ISA(ssd_step)(cpu_compiler *c, cpu_task task, const void *argument,
                   int64_t tasks)
{
    flushed *f = CPU_ARGUMENT(c, flushed);
    f->task = task;
    f->argument = argument;
    cpu_step(c, run_flushed, f, tasks);
}

/* ---- parts of a chunk ---- */

/* Nothing carries over the first row of a document. */
static void divide(const ssd *s, ssd_chunk k, ssd_decay *d)
{
    int64_t t = 0;
    const int32_t last = d->begin[k.count - 1];
    while (t < k.count && !ssd_begins(s, k.first + t))
        t++;
    if (t == k.count)
        return;
    for (; t < k.count; t++)
        d->from_start[t] = 0.0f;
    for (t = 0; t < last; t++)
        d->to_end[t] = d->dt_to_end[t] = 0.0f;
    d->total = -INFINITY;
}

/* s is summed in double: errors of a long sum would all go into e^s. */
void ISA(ssd_decay_of)(const ssd *s, ssd_chunk k, int64_t h, ssd_decay *d)
{
    const double A = (double)s->A[h];
    const float *dt = ssd_at(&s->dt, k, h);
    const int64_t padded = v_round_up(k.count);
    int32_t begin = 0;
    double sum = 0.0;
    for (int64_t t = 0; t < k.count; t++) {
        if (ssd_begins(s, k.first + t)) {
            begin = (int32_t)t;
            sum = 0.0;
        }
        d->begin[t] = begin;
        d->dt[t] = dt[t * s->dt.row];
        sum += (double)d->dt[t] * A;
        d->s[t] = (float)sum;
    }
    d->total = (float)sum;
    for (int64_t t = k.count; t < padded; t++) {
        d->dt[t] = 0.0f;
        d->s[t] = d->total;
    }
    for (int64_t t = 0; t < padded; t += VW) {
        const vf at = v_load(d->s + t);
        const vf to_end = v_exp(v_set(d->total) - at);
        v_store(d->from_start + t, v_exp(at));
        v_store(d->to_end + t, to_end);
        v_store(d->dt_to_end + t, to_end * v_load(d->dt + t));
    }
    divide(s, k, d);
}

void ISA(ssd_block_of)(const ssd_decay *d, int64_t first, int64_t count,
                       ssd_block *k)
{
    const vf from = v_set(d->s[first]);
    k->d = d;
    k->first = first;
    for (int64_t j = 0; j + VW <= first; j += VW)
        v_store(k->columns + j, v_exp(from - v_load(d->s + j)));
    for (int64_t i = 0; i < count; i += VW)
        v_store(k->rows + i,
                v_exp(v_load_n(d->s + first + i, count - i) - from));
}

void ISA(ssd_products)(const ssd *s, ssd_chunk k, int64_t g, float *transposed,
                       float *products)
{
    gemm_matrix C = ssd_rows_of(&s->Cm, k, g);
    ISA(ssd_transpose)
    (transposed, s->L, ssd_at(&s->Bm, k, g), s->Bm.row, k.count, s->N);
    for (int64_t t = 0; t < k.count; t += SSD_BLOCK) {
        const int64_t rows = cpu_min(SSD_BLOCK, k.count - t);
        ISA(gemm_direct)
        (rows, t + rows, s->N, C, (gemm_matrix){transposed, s->L, 1},
         products + t * s->L, s->L, 0);
        C.at += SSD_BLOCK * C.row;
    }
}

void ISA(ssd_pack)(const ssd *s, ssd_chunk k, int64_t h, const ssd_input *x,
                   const float *scale, float *to)
{
    const float *from = ssd_at(x, k, h);
    for (int64_t t = 0; t < k.count; t++, to += s->P_pitch, from += x->row) {
        const vf by = v_set(scale ? scale[t] : 1.0f);
        for (int64_t p = 0; p < s->P; p += VW)
            v_store(to + p, by * v_load_n(from + p, s->P - p));
    }
}

/* Four by four in registers. */
static void transpose_block(float *to, int64_t to_pitch, const float *from,
                            int64_t from_pitch)
{
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_pitch);
    __m128 c = _mm_loadu_ps(from + 2 * from_pitch);
    __m128 d = _mm_loadu_ps(from + 3 * from_pitch);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + to_pitch, b);
    _mm_storeu_ps(to + 2 * to_pitch, c);
    _mm_storeu_ps(to + 3 * to_pitch, d);
}

void ISA(ssd_transpose)(float *to, int64_t to_pitch, const float *from,
                        int64_t from_pitch, int64_t rows, int64_t columns)
{
    const int64_t whole_rows = rows / 4 * 4, whole = columns / 4 * 4;
    for (int64_t j = 0; j < whole; j += 4)
        for (int64_t i = 0; i < whole_rows; i += 4)
            transpose_block(to + j * to_pitch + i, to_pitch,
                            from + i * from_pitch + j, from_pitch);
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = j < whole ? whole_rows : 0; i < rows; i++)
            to[j * to_pitch + i] = from[i * from_pitch + j];
}
