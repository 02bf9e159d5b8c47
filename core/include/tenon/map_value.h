/*
 * map_value.h - what each instruction of map.def means, in double.
 *
 * The one place: the core folds constants by it and the oracle computes by it.
 */
#ifndef TENON_MAP_VALUE_H
#define TENON_MAP_VALUE_H

#include <math.h>

#include <tenon/map.h>

TN_BEGIN_DECLS

/* op(a, b, c); operands beyond the instruction's arity are not looked at. */
static inline double tn_map_value(tn_map_op op, double a, double b, double c)
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
        return (a > 0.0) - (a < 0.0);
    case TN_MAP_NOT:
        return a == 0.0;
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
        return isnan(a) || a < b ? a : b; /* b where b is NaN */
    case TN_MAP_MAX:
        return isnan(a) || a > b ? a : b;
    case TN_MAP_POW:
        return pow(a, b);
    case TN_MAP_LT:
        return a < b;
    case TN_MAP_LE:
        return a <= b;
    case TN_MAP_EQ:
        return a == b;
    case TN_MAP_AND:
        return a != 0.0 && b != 0.0;
    case TN_MAP_OR:
        return a != 0.0 || b != 0.0;
    case TN_MAP_FMA:
        return fma(a, b, c);
    case TN_MAP_SELECT:
        return a != 0.0 ? b : c;
    default: /* leaves mean nothing without a tensor */
        return (double)NAN;
    }
}

TN_END_DECLS
#endif
