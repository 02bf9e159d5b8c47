/*
 * cases_map.c - element-wise work: each instruction by itself, and the chains
 * that fusion makes of them.
 */
#include "cases.h"

/* Where operands come from: inside the domain, away from where a function is
 * too steep for a finite difference. */
typedef struct operand_range {
    double low, high;
} operand_range;

typedef struct instruction_fact {
    operand_range operand[3]; /* both 0: [-2, 2) */
    uint32_t whole; /* bit i: operand i is rounded first, so that equal values
                       and zeros are met */
} instruction_fact;

static const instruction_fact facts[256] = {
    [TN_MAP_SQRT] = {.operand[0] = {0.25, 4.0}},
    [TN_MAP_RSQRT] = {.operand[0] = {0.25, 4.0}},
    [TN_MAP_LOG] = {.operand[0] = {0.25, 4.0}},
    [TN_MAP_LOG1P] = {.operand[0] = {-0.5, 4.0}},
    [TN_MAP_SIN] = {.operand[0] = {-4.0, 4.0}},
    [TN_MAP_COS] = {.operand[0] = {-4.0, 4.0}},
    [TN_MAP_DIV] = {.operand[1] = {0.5, 2.0}},
    [TN_MAP_POW] = {.operand[0] = {0.25, 2.0}},
    [TN_MAP_SIGN] = {.whole = 1},
    [TN_MAP_NOT] = {.whole = 1},
    [TN_MAP_LT] = {.whole = 3},
    [TN_MAP_LE] = {.whole = 3},
    [TN_MAP_EQ] = {.whole = 3},
    [TN_MAP_AND] = {.whole = 3},
    [TN_MAP_OR] = {.whole = 3},
    [TN_MAP_SELECT] = {.whole = 1},
};

static int arity_of(tn_map_op op)
{
    static const int arities[256] = {
#define XX(name, number, arity, text, meaning) [number] = arity,
#include <tenon/map.def>
#undef XX
    };
    return arities[op];
}

/* A shape of rank 1 to 4, and leaves that broadcast to it: sizes turned into
 * 1, leading axes left out, or one element only. The first leaf is whole. */
static void add_broadcast_leaves(dice *d, op_case *c, uint32_t count)
{
    const uint32_t rank = 1 + roll(d, 4);
    int64_t shape[4], left = d->work;
    for (uint32_t i = rank; i-- > 0;)
        shape[i] = take_size(d, &left);
    for (uint32_t k = 0; k < count; k++) {
        int64_t own[4];
        const uint32_t missing = k && chance(d, 3) ? roll(d, rank) : 0;
        const int single = k && chance(d, 5);
        for (uint32_t i = 0; i < rank; i++)
            own[i] = k && (single || chance(d, 4)) ? 1 : shape[i];
        add_leaf(c, rank - missing, own + missing);
    }
}

/* ---- one instruction ---- */

static void describe_instruction(tn_builder *b, const tn_tensor *in,
                                 tn_tensor *out, const void *data)
{
    const with *w = data;
    const tn_map_op op = (tn_map_op)w->variant;
    const int arity = arity_of(op);
    tn_tensor x[3] = {TN_NONE, TN_NONE, TN_NONE};
    for (int i = 0; i < arity; i++)
        x[i] = facts[op].whole >> i & 1u ? tn_round(b, in[i]) : in[i];
    out[0] = tn_elementwise_at(b, op, (uint8_t)arity, x, TN_HERE);
}

/* x + x, x + 0.3125, x + index along an axis, x + random */
static void describe_leaf(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const with *w = data;
    const uint8_t axis = (uint8_t)w->number;
    const int draws = w->variant == TN_MAP_RANDOM;
    tn_map_attr a;
    memset(&a, 0, sizeof a);
    a.program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    a.program.instruction[1] = (tn_instruction){
        (tn_map_op)w->variant, draws ? 1 : axis, draws ? 1 : 0, 0};
    a.program.instruction[2] = (tn_instruction){TN_MAP_ADD, 0, 1, 0};
    a.program.constant[0] = 0.3125; /* exact in f32 */
    a.program.constant[1] = 7.0;    /* stream */
    a.program.constant_count = 2;
    a.program.instruction_count = 3;
    a.program.input_count = draws ? 2 : 1;
    a.program.output_count = 1;
    a.program.output[0] = 2;
    tn_map_at(b, &a, in, out, TN_HERE);
}

void draw_instruction(dice *d, op_case *c, uint32_t op)
{
    const int arity = arity_of((tn_map_op)op);
    c->with.variant = op;
    c->rig.describe = arity ? describe_instruction : describe_leaf;
    add_broadcast_leaves(d, c, arity ? (uint32_t)arity : 1);
    for (uint32_t i = 0; i < c->rig.in_count; i++) {
        const operand_range r = facts[op].operand[i];
        c->rig.in[i].low = r.low == r.high ? -2.0 : r.low;
        c->rig.in[i].high = r.low == r.high ? 2.0 : r.high;
        wants(c, i);
    }
    if (op == TN_MAP_INDEX)
        c->with.number = roll(d, c->rig.in[0].rank);
    if (op == TN_MAP_RANDOM)
        ADD_INDEX(c, 1, 1000000, 2)->op = TN_OP_SCALAR;
    /* a gradient sums over what its input was broadcast to */
    c->gradient_length = tn_rig_leaf_count(&c->rig.in[0]);
}

/* ---- the ends of the number line ---- */

/* Whether map.def promises anything for this operand. */
static int is_defined(tn_map_op op, int operand, double x)
{
    if (op == TN_MAP_SIN || op == TN_MAP_COS)
        return !(fabs(x) > 1000.0) || isinf(x); /* no range reduction beyond */
    if (op == TN_MAP_POW)
        return !isnan(x) && (operand > 0 || !signbit(x));
    return 1;
}

int special_case(op_case *c, tn_map_op op)
{
    const double inf = (double)INFINITY, nan_ = (double)NAN;
    const double big = 0x1p100; /* so that products with it are exact */
    const double x[] = {0.0, -0.0, 1.0, -1.0, 0.5, 2.5,  3.0, -3.0,
                        100, -100, big, -big, inf, -inf, nan_};
    enum { COUNT = sizeof x / sizeof x[0] };
    const int arity = arity_of(op);
    memset(c, 0, sizeof *c);
    c->rig.with = &c->with;
    c->rig.out_count = 1;
    c->rig.describe = describe_instruction;
    c->with.variant = op;
    for (int k = 0; k < arity; k++) { /* every pair; a third goes along */
        double *values = c->with.values + k * COUNT * COUNT;
        for (int i = 0; i < COUNT * COUNT; i++) {
            const int at = k == 0 ? i % COUNT : k == 1 ? i / COUNT : 7 * i;
            const double value = x[at % COUNT];
            values[i] = is_defined(op, k, value) ? value : 0.5;
        }
        ADD_LEAF(c, COUNT, COUNT)->values = values;
    }
    return arity;
}

/* ---- chains ---- */

static void describe_chain(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                           const void *data)
{
    const with *w = data;
    const tn_tensor x = in[0], y = in[1], z = in[2];
    switch (w->variant) {
    case 0:
        out[0] = tn_mul(b, tn_silu(b, x), y);
        out[1] = tn_add(b, out[0], tn_softplus(b, z));
        break;
    case 1:
        out[0] = tn_gelu(b, tn_add(b, x, y));
        out[1] = tn_lerp(b, out[0], z, 0.9);
        break;
    case 2:
        out[0] = tn_softcap(b, tn_gelu_tanh(b, x), 1.5);
        out[1] = tn_fma(b, out[0], y, z);
        break;
    case 3:
        out[0] = tn_square(b, tn_relu(b, tn_sub(b, x, y)));
        out[1] = tn_select(b, tn_lt(b, x, z), out[0], tn_tanh(b, z));
        break;
    default: /* an intermediate value read by three, and a dead end */
        out[0] = tn_sigmoid(b, tn_scale(b, x, 3.0));
        out[1] = tn_add(b, tn_mul(b, out[0], y),
                        tn_mul(b, tn_rsub(b, 1.0, out[0]), z));
        (void)tn_exp(b, out[0]);
        break;
    }
}

void draw_chain(dice *d, op_case *c, uint32_t parameter)
{
    (void)parameter;
    c->with.variant = roll(d, 5);
    c->rig.describe = describe_chain;
    c->rig.out_count = 2;
    add_broadcast_leaves(d, c, 3);
    for (uint32_t i = 0; i < 3; i++)
        wants(c, i);
    c->gradient_length = tn_rig_leaf_count(&c->rig.in[0]);
}

/* More instructions, inputs and readers than one program holds: fusion has to
 * stop somewhere and be right there. */
static void describe_long_chain(tn_builder *b, const tn_tensor *in,
                                tn_tensor *out, const void *data)
{
    const with *w = data;
    tn_tensor y = in[0];
    for (int64_t i = 0; i < w->number; i++) {
        const tn_tensor x = in[1 + i % (w->in_count - 1)];
        const tn_tensor t =
            tn_tanh(b, tn_shift(b, tn_mul(b, y, x), 0.01 * (double)i));
        y = i % 3 ? tn_lerp(b, y, t, 0.5) : tn_sub(b, t, tn_scale(b, y, 0.5));
        if (i == w->number / 2)
            out[1] = y;
    }
    out[0] = y;
}

void draw_long_chain(dice *d, op_case *c, uint32_t parameter)
{
    (void)parameter;
    c->with.number = 3 + roll(d, 40);
    c->with.in_count = 2 + roll(d, TN_RIG_MAX_INPUTS - 2);
    c->rig.describe = describe_long_chain;
    c->rig.out_count = 2;
    d->work = d->work < 2000 ? d->work / 2 + 1 : 2000;
    add_broadcast_leaves(d, c, c->with.in_count);
    for (uint32_t i = 0; i < c->with.in_count; i++)
        wants(c, i);
    c->length = c->with.number;
    c->gradient_length = tn_rig_leaf_count(&c->rig.in[0]) * c->with.number;
}

/* ---- integers ---- */

static void describe_to_integer(tn_builder *b, const tn_tensor *in,
                                tn_tensor *out, const void *data)
{
    const with *w = data;
    tn_tensor scaled = tn_scale(b, in[0], 100.0);
    tn_map_attr a = w->attr.map;
    tn_map_at(b, &a, &scaled, out, TN_HERE);
    out[1] = tn_scale(b, tn_cast(b, out[0], b->dtype), 0.5);
}

void draw_to_integer(dice *d, op_case *c, uint32_t parameter)
{
    tn_map_attr *a = &c->with.attr.map;
    (void)parameter;
    a->program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    a->program.instruction[1] = (tn_instruction){TN_MAP_ROUND, 0, 0, 0};
    a->program.instruction_count = 2;
    a->program.input_count = 1;
    a->program.output_count = 1;
    a->program.output[0] = 1;
    a->dtype[0] = TN_I32;
    c->rig.describe = describe_to_integer;
    c->rig.out_count = 2;
    add_broadcast_leaves(d, c, 1);
}
