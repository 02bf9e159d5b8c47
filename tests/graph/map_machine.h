/*
 * map_machine.h - map programs run in double, one element at a time: what the
 * tests of this folder hold programs against. Written from map.def and apart
 * from the core's own constant folding.
 */
#ifndef MAP_MACHINE_H
#define MAP_MACHINE_H

#include <math.h>

#include <tenon/map.h>

static inline double map_machine_one(tn_map_op op, double a, double b, double c)
{
    switch (op) {
    case TN_MAP_NEG:
        return -a;
    case TN_MAP_ABS:
        return fabs(a);
    case TN_MAP_SQRT:
        return sqrt(a);
    case TN_MAP_RSQRT:
        return 1.0 / sqrt(a);
    case TN_MAP_EXP:
        return exp(a);
    case TN_MAP_EXPM1:
        return expm1(a);
    case TN_MAP_LOG:
        return log(a);
    case TN_MAP_LOG1P:
        return log1p(a);
    case TN_MAP_TANH:
        return tanh(a);
    case TN_MAP_SIGMOID:
        return 1.0 / (1.0 + exp(-a));
    case TN_MAP_ERF:
        return erf(a);
    case TN_MAP_SIN:
        return sin(a);
    case TN_MAP_COS:
        return cos(a);
    case TN_MAP_FLOOR:
        return floor(a);
    case TN_MAP_ROUND:
        return nearbyint(a);
    case TN_MAP_SIGN:
        return a > 0.0 ? 1.0 : a < 0.0 ? -1.0 : 0.0;
    case TN_MAP_NOT:
        return a == 0.0 ? 1.0 : 0.0;
    case TN_MAP_FINITE:
        return isfinite(a) ? 1.0 : 0.0;
    case TN_MAP_ADD:
        return a + b;
    case TN_MAP_SUB:
        return a - b;
    case TN_MAP_MUL:
        return a * b;
    case TN_MAP_DIV:
        return a / b;
    case TN_MAP_MIN:
        return isnan(a) || isnan(b) ? (double)NAN : fmin(a, b);
    case TN_MAP_MAX:
        return isnan(a) || isnan(b) ? (double)NAN : fmax(a, b);
    case TN_MAP_POW:
        return pow(a, b);
    case TN_MAP_LT:
        return a < b ? 1.0 : 0.0;
    case TN_MAP_LE:
        return a <= b ? 1.0 : 0.0;
    case TN_MAP_EQ:
        return a == b ? 1.0 : 0.0;
    case TN_MAP_AND:
        return a != 0.0 && b != 0.0 ? 1.0 : 0.0;
    case TN_MAP_OR:
        return a != 0.0 || b != 0.0 ? 1.0 : 0.0;
    case TN_MAP_FMA:
        return fma(a, b, c);
    case TN_MAP_SELECT:
        return a != 0.0 ? b : c;
    }
    return (double)NAN;
}

/* INDEX gives its axis plus a half, RANDOM its stream and input over 64: any
 * numbers that tell leaves apart. */
static inline void map_machine_run(const tn_program *p, const double *input,
                                   double *output)
{
    double r[TN_MAP_MAX_INSTRUCTIONS];
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction s = p->instruction[i];
        if (s.op == TN_MAP_INPUT)
            r[i] = input[s.a];
        else if (s.op == TN_MAP_CONST)
            r[i] = p->constant[s.a];
        else if (s.op == TN_MAP_INDEX)
            r[i] = (double)s.a + 0.5;
        else if (s.op == TN_MAP_RANDOM)
            r[i] = (p->constant[s.b] + input[s.a]) / 64.0;
        else
            r[i] = map_machine_one(s.op, r[s.a], r[s.b < i ? s.b : 0],
                                   r[s.c < i ? s.c : 0]);
    }
    for (uint32_t i = 0; i < p->output_count; i++)
        output[i] = r[p->output[i]];
}

#endif
