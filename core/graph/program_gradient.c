/*
 * program_gradient.c - the derivative of a map program, as a map program.
 *
 * Reverse mode over the SSA list: the forward instructions are written again
 * (nothing but the inputs is saved), then each instruction from the last to the
 * first hands its adjoint g to its operands. Conventions at the corners:
 *
 *     max(a, b)   g to a where a > b, else to b      so relu'(0) is 0
 *     min(a, b)   g to a where a < b, else to b
 *     abs, sign   the derivative of |a| at 0 is 0; steps have none: 0
 *     pow(a, b)   to a: 0 where b is 0;  to b: 0 where a is 0
 *     select      to the operand that was chosen; none to the condition
 */
#include "graph/program.h"

#include <math.h>
#include <string.h>

#include "graph/workspace.h"

enum { NONE = UINT16_MAX };

typedef struct reverse {
    tni_work work;
    uint8_t active[TNI_WORK_MAX];       /* depends on a wanted input */
    tni_register adjoint[TNI_WORK_MAX]; /* NONE: nothing flows yet */
} reverse;

static tni_register op1(reverse *r, tn_map_op op, tni_register a)
{
    return tni_work_op(&r->work, op, a, 0, 0);
}

static tni_register op2(reverse *r, tn_map_op op, tni_register a,
                        tni_register b)
{
    return tni_work_op(&r->work, op, a, b, 0);
}

static tni_register mul(reverse *r, tni_register a, tni_register b)
{
    return op2(r, TN_MAP_MUL, a, b);
}

static tni_register constant(reverse *r, double value)
{
    return tni_work_constant(&r->work, value);
}

static tni_register where(reverse *r, tni_register c, tni_register a,
                          tni_register b)
{
    return tni_work_op(&r->work, TN_MAP_SELECT, c, a, b);
}

/* operand += amount */
static void give(reverse *r, tni_register operand, tni_register amount)
{
    tni_register *adjoint = &r->adjoint[operand];
    if (r->active[operand])
        *adjoint =
            *adjoint == NONE ? amount : op2(r, TN_MAP_ADD, *adjoint, amount);
}

/* d y / d a for the instructions of one operand. */
static tni_register slope(reverse *r, tn_map_op op, tni_register a,
                          tni_register y)
{
    switch (op) {
    case TN_MAP_NEG:
        return constant(r, -1.0);
    case TN_MAP_ABS:
        return op1(r, TN_MAP_SIGN, a);
    case TN_MAP_SQRT:
        return op2(r, TN_MAP_DIV, constant(r, 0.5), y);
    case TN_MAP_RSQRT: /* -y^3 / 2 */
        return mul(r, constant(r, -0.5), mul(r, y, mul(r, y, y)));
    case TN_MAP_EXP:
        return y;
    case TN_MAP_EXPM1:
        return op1(r, TN_MAP_EXP, a);
    case TN_MAP_LOG:
        return op2(r, TN_MAP_DIV, constant(r, 1.0), a);
    case TN_MAP_LOG1P:
        return op2(r, TN_MAP_DIV, constant(r, 1.0),
                   op2(r, TN_MAP_ADD, a, constant(r, 1.0)));
    case TN_MAP_TANH:
        return op2(r, TN_MAP_SUB, constant(r, 1.0), mul(r, y, y));
    case TN_MAP_SIGMOID:
        return mul(r, y, op2(r, TN_MAP_SUB, constant(r, 1.0), y));
    case TN_MAP_ERF: /* 2 / sqrt(pi) e^(-a^2) */
        return mul(r, constant(r, 1.12837916709551257390),
                   op1(r, TN_MAP_EXP, op1(r, TN_MAP_NEG, mul(r, a, a))));
    case TN_MAP_SIN:
        return op1(r, TN_MAP_COS, a);
    case TN_MAP_COS:
        return op1(r, TN_MAP_NEG, op1(r, TN_MAP_SIN, a));
    }
    return NONE; /* floor, round, sign, not, finite: flat wherever smooth */
}

static void reverse_division(reverse *r, const tni_work_instruction *s,
                             tni_register y, tni_register g)
{
    const tni_register share = op2(r, TN_MAP_DIV, g, s->b);
    give(r, s->a, share);
    if (r->active[s->b])
        give(r, s->b, op1(r, TN_MAP_NEG, mul(r, share, y)));
}

static void reverse_power(reverse *r, const tni_work_instruction *s,
                          tni_register y, tni_register g)
{
    const tni_register zero = constant(r, 0.0);
    if (r->active[s->a]) {
        const tni_register less = op2(r, TN_MAP_SUB, s->b, constant(r, 1.0));
        const tni_register d = mul(r, s->b, op2(r, TN_MAP_POW, s->a, less));
        give(r, s->a,
             where(r, op2(r, TN_MAP_EQ, s->b, zero), zero, mul(r, g, d)));
    }
    if (r->active[s->b])
        give(r, s->b,
             where(r, op2(r, TN_MAP_EQ, s->a, zero), zero,
                   mul(r, g, mul(r, y, op1(r, TN_MAP_LOG, s->a)))));
}

/* g to the first where `first`, else to the second. */
static void reverse_choice(reverse *r, tni_register first, tni_register a,
                           tni_register b, tni_register g)
{
    const tni_register zero = constant(r, 0.0);
    if (r->active[a])
        give(r, a, where(r, first, g, zero));
    if (r->active[b])
        give(r, b, where(r, first, zero, g));
}

static void reverse_product(reverse *r, tni_register a, tni_register b,
                            tni_register g)
{
    if (r->active[a])
        give(r, a, mul(r, g, b));
    if (r->active[b])
        give(r, b, mul(r, g, a));
}

static void reverse_several(reverse *r, const tni_work_instruction *s,
                            tni_register y, tni_register g)
{
    switch (s->op) {
    case TN_MAP_ADD:
        give(r, s->a, g);
        give(r, s->b, g);
        break;
    case TN_MAP_SUB:
        give(r, s->a, g);
        if (r->active[s->b])
            give(r, s->b, op1(r, TN_MAP_NEG, g));
        break;
    case TN_MAP_MUL:
        reverse_product(r, s->a, s->b, g);
        break;
    case TN_MAP_FMA:
        reverse_product(r, s->a, s->b, g);
        give(r, s->c, g);
        break;
    case TN_MAP_DIV:
        reverse_division(r, s, y, g);
        break;
    case TN_MAP_POW:
        reverse_power(r, s, y, g);
        break;
    case TN_MAP_MIN:
        reverse_choice(r, op2(r, TN_MAP_LT, s->a, s->b), s->a, s->b, g);
        break;
    case TN_MAP_MAX:
        reverse_choice(r, op2(r, TN_MAP_LT, s->b, s->a), s->a, s->b, g);
        break;
    case TN_MAP_SELECT:
        reverse_choice(r, s->a, s->b, s->c, g);
        break;
    }
}

static void reverse_one(reverse *r, uint32_t i)
{
    const tni_work_instruction s = r->work.at[i];
    const tni_register y = (tni_register)i, g = r->adjoint[i];
    if (g == NONE || !r->active[i])
        return;
    if (s.arity > 1)
        reverse_several(r, &s, y, g);
    else if (s.arity == 1) {
        const tni_register d = slope(r, s.op, s.a, y);
        if (d != NONE)
            give(r, s.a, mul(r, g, d));
    }
}

static void mark_active(reverse *r, uint32_t wanted)
{
    for (uint32_t i = 0; i < r->work.count; i++) {
        const tni_work_instruction *s = &r->work.at[i];
        if (s->arity == 0)
            r->active[i] = s->op == TN_MAP_INPUT && (wanted >> s->a & 1u);
        else
            r->active[i] = r->active[s->a] ||
                           (s->arity > 1 && r->active[s->b]) ||
                           (s->arity > 2 && r->active[s->c]);
    }
}

/* The adjoint of each wanted input; 0 where nothing flows. */
static void collect(reverse *r, const tn_program *p, uint32_t wanted)
{
    for (uint32_t i = 0; i < p->input_count; i++) {
        if (!(wanted >> i & 1u))
            continue;
        const tni_register x = tni_work_input(&r->work, i);
        const tni_register g =
            r->adjoint[x] == NONE ? constant(r, 0.0) : r->adjoint[x];
        r->work.output[r->work.output_count++] = g;
    }
}

tn_status tni_program_gradient(const tn_program *p, uint32_t wanted,
                               tn_program *gradient)
{
    reverse r = {
        .work = {.input_count = (uint32_t)p->input_count + p->output_count}};
    tni_register at[TN_MAP_MAX_INSTRUCTIONS];
    if (r.work.input_count > TN_MAP_MAX_INPUTS)
        return TN_EUNSUPPORTED;
    memset(r.adjoint, 0xff, sizeof r.adjoint); /* NONE everywhere */
    tni_work_append(&r.work, p, NULL, at);
    mark_active(&r, wanted);
    const uint32_t forward = r.work.count;
    for (uint32_t i = 0; i < p->output_count; i++)
        give(&r, at[p->output[i]],
             tni_work_input(&r.work, (uint32_t)p->input_count + i));
    for (uint32_t i = forward; i-- > 0;)
        reverse_one(&r, i);
    collect(&r, p, wanted);
    return tni_work_pack(&r.work, gradient);
}
