/*
 * rope.c - rotary positions: pairs of a head's elements turned by an angle.
 *
 * Pair i of position p turns by p theta^(-2i/dims). Angles reach tens of
 * thousands of turns, so they and their reduction are in double (vmath.h); that
 * is done once per row of heads, and all heads of the row share the result, and
 * where positions count from 0 in every sequence, those of all sequences.
 */
#include "kernels.h"
#include "lines.h"
#include "vmath.h"

enum { TASK_ELEMENTS = 16 * 1024, MOST_DIMS = 8192 };

typedef struct rope {
    lines x, y;
    const int32_t *positions; /* NULL: t */
    const double *frequency;  /* of each pair, padded to whole vectors */
    int64_t H, D, dims;
    int64_t places, alike; /* rows that turn alike are `places` apart */
    int64_t places_per_task;
    uint32_t interleaved;
    double sign; /* -1: turn back */
} rope;

static void turn_half(const rope *k, int64_t at, const float *sine,
                      const float *cosine)
{
    const int64_t n = k->dims / 2;
    for (int64_t i = 0; i < n; i += VW) {
        const vf a = vector_in(&k->x, at + i, n - i);
        const vf b = vector_in(&k->x, at + n + i, n - i);
        const vf s = v_load(sine + i), c = v_load(cosine + i);
        vector_out(&k->y, at + i, a * c - b * s, n - i);
        vector_out(&k->y, at + n + i, b * c + a * s, n - i);
    }
}

static void turn_interleaved(const rope *k, int64_t at, const float *s,
                             const float *c, float *room)
{
    const float *x = line_in(&k->x, at, k->dims, room);
    float *y = line_out(&k->y, at, room);
    for (int64_t i = 0; i < k->dims / 2; i++) {
        const float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = a * c[i] - b * s[i];
        y[2 * i + 1] = b * c[i] + a * s[i];
    }
    line_done(&k->y, at, k->dims, y);
}

static void turn_row(const rope *k, int64_t row, const float *sine,
                     const float *cosine, float *room)
{
    for (int64_t h = 0; h < k->H; h++) {
        const int64_t at = (row * k->H + h) * k->D;
        if (k->interleaved)
            turn_interleaved(k, at, sine, cosine, room);
        else
            turn_half(k, at, sine, cosine);
        for (int64_t i = k->dims; i < k->D; i += VW)
            vector_out(&k->y, at + i, vector_in(&k->x, at + i, k->D - i),
                       k->D - i);
    }
}

static void run_rope(const void *argument, cpu_worker *w, int64_t task)
{
    const rope *k = argument;
    const int64_t pairs = k->dims / 2, padded = v_round_up(pairs);
    const int64_t end = cpu_min((task + 1) * k->places_per_task, k->places);
    float *sine = w->scratch, *cosine = w->scratch + padded;
    for (int64_t at = task * k->places_per_task; at < end; at++) {
        const int64_t position = k->positions ? k->positions[at] : at;
        const vd p = d_set(k->sign * (double)position);
        for (int64_t i = 0; i < pairs; i += VW) {
            vf s, c;
            v_sincos_of_double(p * d_load(k->frequency + i),
                               p * d_load(k->frequency + i + VW / 2), &s, &c);
            v_store(sine + i, s);
            v_store(cosine + i, c);
        }
        for (int64_t i = 0; i < k->alike; i++)
            turn_row(k, i * k->places + at, sine, cosine, cosine + padded);
    }
}

tn_status ISA(compile_rope)(cpu_compiler *c, const tn_plan_node *node,
                            tn_error *err)
{
    const tn_rope_attr *attr = node->attr;
    const tn_operand *x = &node->in[0];
    rope *k = CPU_ARGUMENT(c, rope);
    k->x = lines_of(c, x);
    k->y = lines_of(c, &node->out[0]);
    k->positions = node->in_count > 1 ? cpu_at(c, &node->in[1]) : NULL;
    k->alike = k->positions ? 1 : x->shape[0];
    k->places = x->shape[1] * (k->positions ? x->shape[0] : 1);
    k->H = x->shape[2];
    k->D = x->shape[3];
    k->dims = attr->dims ? attr->dims : k->D;
    k->interleaved = attr->interleaved;
    k->sign = attr->inverse ? -1.0 : 1.0;
    k->places_per_task = cpu_share(
        k->places, TASK_ELEMENTS / cpu_max(1, k->alike * k->H * k->D));
    if (k->dims % 2 || k->dims > k->D || k->dims > MOST_DIMS)
        return cpu_refuse(
            node, err, "dims is %lld; even and at most %lld are possible",
            (long long)k->dims, (long long)cpu_min(k->D, MOST_DIMS));
    const int64_t padded = v_round_up(k->dims / 2);
    double *frequency = cpu_argument(c, (size_t)padded * sizeof *frequency);
    for (int64_t i = 0; i < k->dims / 2; i++)
        frequency[i] = pow(attr->theta, -2.0 * (double)i / (double)k->dims);
    k->frequency = frequency;
    cpu_scratch(c, (2 * padded + v_round_up(k->D)) * (int64_t)sizeof(float));
    cpu_step(c, run_rope, k, cpu_parts(k->places, k->places_per_task));
    return TN_OK;
}
