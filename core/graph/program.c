/*
 * program.c - checking, simplifying and joining map programs.
 */
#include "graph/program.h"

#include <math.h>
#include <string.h>

#include "graph/workspace.h"

/* ---- instructions ---- */

typedef struct instruction_facts {
    const char *name;
    int arity;
} instruction_facts;

static const instruction_facts facts[256] = {
#define XX(NAME, number, arity, text, meaning) [number] = {text, arity},
#include <tenon/map.def>
#undef XX
};

int tni_instruction_arity(tn_map_op op, const char **name)
{
    if (name)
        *name = facts[op].name;
    return facts[op].name ? facts[op].arity : -1;
}

/* The meaning of map.def, in double. */
static double value_of(tn_map_op op, double a, double b, double c)
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
        return rint(a);
    case TN_MAP_SIGN:
        return (double)((a > 0.0) - (a < 0.0));
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
        return isnan(a) || a < b ? a : b;
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
    }
    return (double)NAN; /* leaves have no meaning without a tensor */
}

/* ---- checking ---- */

static tn_status check_leaf(const tn_program *p, uint32_t i, tn_error *err)
{
    const tn_instruction s = p->instruction[i];
    if ((s.op == TN_MAP_INPUT || s.op == TN_MAP_RANDOM) &&
        s.a >= p->input_count)
        return tn_fail(err, TN_EINVALID, "instruction %u reads input %u of %u",
                       i, s.a, p->input_count);
    const uint8_t constant = s.op == TN_MAP_CONST ? s.a : s.b;
    if ((s.op == TN_MAP_CONST || s.op == TN_MAP_RANDOM) &&
        constant >= p->constant_count)
        return tn_fail(err, TN_EINVALID,
                       "instruction %u reads constant %u of %u", i, constant,
                       p->constant_count);
    if (s.op == TN_MAP_INDEX && s.a >= TN_MAX_RANK)
        return tn_fail(err, TN_EINVALID,
                       "instruction %u names axis %u, above %d", i, s.a,
                       TN_MAX_RANK - 1);
    return TN_OK;
}

static tn_status check_instruction(const tn_program *p, uint32_t i,
                                   tn_error *err)
{
    const tn_instruction s = p->instruction[i];
    const uint8_t operand[] = {s.a, s.b, s.c};
    const int arity = tni_instruction_arity(s.op, NULL);
    if (arity < 0)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "instruction %u has the unknown number %u", i, s.op);
    if (arity == 0)
        return check_leaf(p, i, err);
    for (int k = 0; k < arity; k++)
        if (operand[k] >= i)
            return tn_fail(err, TN_EINVALID,
                           "instruction %u (%s) reads register %u, which is "
                           "not yet defined",
                           i, facts[s.op].name, operand[k]);
    return TN_OK;
}

static tn_status check_count(const char *what, uint32_t count, uint32_t least,
                             uint32_t most, tn_error *err)
{
    if (count >= least && count <= most)
        return TN_OK;
    return tn_fail(err, TN_EINVALID, "a program of %u %s, needs %u to %u",
                   count, what, least, most);
}

tn_status tni_program_check(const tn_program *p, tn_error *err)
{
    TN_TRY(check_count("inputs", p->input_count, 0, TN_MAP_MAX_INPUTS, err));
    TN_TRY(check_count("outputs", p->output_count, 1, TN_MAP_MAX_OUTPUTS, err));
    TN_TRY(check_count("instructions", p->instruction_count, 1,
                       TN_MAP_MAX_INSTRUCTIONS, err));
    TN_TRY(check_count("constants", p->constant_count, 0, TN_MAP_MAX_CONSTANTS,
                       err));
    for (uint32_t i = 0; i < p->instruction_count; i++)
        TN_TRY(check_instruction(p, i, err));
    for (uint32_t i = 0; i < p->output_count; i++)
        if (p->output[i] >= p->instruction_count)
            return tn_fail(err, TN_EINVALID, "output %u is register %u of %u",
                           i, p->output[i], p->instruction_count);
    return TN_OK;
}

/* ---- the workspace ---- */

static int is_constant(const tni_work *w, tni_register r, double value)
{
    return w->at[r].op == TN_MAP_CONST && w->at[r].value == value;
}

static int all_constant(const tni_work *w, const tni_work_instruction *s)
{
    return s->arity > 0 && w->at[s->a].op == TN_MAP_CONST &&
           (s->arity < 2 || w->at[s->b].op == TN_MAP_CONST) &&
           (s->arity < 3 || w->at[s->c].op == TN_MAP_CONST);
}

static int is_commutative(tn_map_op op)
{
    return op == TN_MAP_ADD || op == TN_MAP_MUL || op == TN_MAP_EQ ||
           op == TN_MAP_AND || op == TN_MAP_OR;
}

static int are_equal(const tni_work_instruction *x,
                     const tni_work_instruction *y)
{
    return x->op == y->op && x->a == y->a && x->b == y->b && x->c == y->c &&
           memcmp(&x->value, &y->value, sizeof x->value) == 0;
}

/* The register that an instruction merely repeats, for every input and bit. */
static int is_identity(const tni_work *w, const tni_work_instruction *s,
                       tni_register *same)
{
    if (s->op == TN_MAP_MUL && is_constant(w, s->a, 1.0))
        *same = s->b;
    else if ((s->op == TN_MAP_MUL || s->op == TN_MAP_DIV) &&
             is_constant(w, s->b, 1.0))
        *same = s->a;
    else if (s->op == TN_MAP_NEG && w->at[s->a].op == TN_MAP_NEG)
        *same = w->at[s->a].a;
    else if (s->op == TN_MAP_SELECT && s->b == s->c)
        *same = s->b;
    else if (s->op == TN_MAP_SELECT && w->at[s->a].op == TN_MAP_CONST)
        *same = w->at[s->a].value != 0.0 ? s->b : s->c;
    else
        return 0;
    return 1;
}

tni_register tni_work_emit(tni_work *w, tni_work_instruction s)
{
    tni_register same;
    if (all_constant(w, &s))
        return tni_work_constant(w,
                                 value_of(s.op, w->at[s.a].value,
                                          w->at[s.b].value, w->at[s.c].value));
    if (is_identity(w, &s, &same))
        return same;
    if (is_commutative(s.op) && s.a > s.b) {
        same = s.a;
        s.a = s.b;
        s.b = same;
    }
    for (uint32_t i = 0; i < w->count; i++)
        if (are_equal(&w->at[i], &s))
            return (tni_register)i;
    if (w->count == TNI_WORK_MAX) {
        w->full = 1;
        return 0;
    }
    w->at[w->count] = s;
    return (tni_register)w->count++;
}

static tni_work_instruction leaf(const tn_program *p, tn_instruction s)
{
    tni_work_instruction leaf = {.op = s.op, .a = s.a};
    if (s.op == TN_MAP_CONST) {
        leaf.a = 0;
        leaf.value = p->constant[s.a];
    } else if (s.op == TN_MAP_RANDOM) {
        leaf.value = p->constant[s.b];
    }
    return leaf;
}

void tni_work_append(tni_work *w, const tn_program *p,
                     const tni_register *input,
                     tni_register at[TN_MAP_MAX_INSTRUCTIONS])
{
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction s = p->instruction[i];
        const int arity = tni_instruction_arity(s.op, NULL);
        if (arity == 0 && s.op == TN_MAP_INPUT && input)
            at[i] = input[s.a];
        else if (arity == 0)
            at[i] = tni_work_emit(w, leaf(p, s));
        else
            at[i] = tni_work_op(w, s.op, at[s.a],
                                arity > 1 ? at[s.b] : (tni_register)0,
                                arity > 2 ? at[s.c] : (tni_register)0);
    }
}

/* ---- packing ---- */

static void mark_live(const tni_work *w, uint8_t *live)
{
    for (uint32_t i = 0; i < w->output_count; i++)
        live[w->output[i]] = 1;
    for (uint32_t i = w->count; i-- > 0;) {
        const tni_work_instruction *s = &w->at[i];
        if (live[i] && s->arity > 0)
            live[s->a] = 1;
        if (live[i] && s->arity > 1)
            live[s->b] = 1;
        if (live[i] && s->arity > 2)
            live[s->c] = 1;
    }
}

/* Index of `value` in the pool, which it joins if it must; -1: no room. */
static int pool(tn_program *p, double value)
{
    for (uint8_t i = 0; i < p->constant_count; i++)
        if (memcmp(&p->constant[i], &value, sizeof value) == 0)
            return i;
    if (p->constant_count == TN_MAP_MAX_CONSTANTS)
        return -1;
    p->constant[p->constant_count] = value;
    return p->constant_count++;
}

static tn_status pack_instruction(tn_program *p, const tni_work_instruction *s,
                                  const uint8_t *packed)
{
    tn_instruction t = {.op = s->op, .a = (uint8_t)s->a};
    if (p->instruction_count == TN_MAP_MAX_INSTRUCTIONS)
        return TN_EUNSUPPORTED;
    if (s->op == TN_MAP_CONST || s->op == TN_MAP_RANDOM) {
        const int constant = pool(p, s->value);
        if (constant < 0)
            return TN_EUNSUPPORTED;
        if (s->op == TN_MAP_CONST)
            t.a = (uint8_t)constant;
        else
            t.b = (uint8_t)constant;
    }
    if (s->arity > 0)
        t.a = packed[s->a];
    if (s->arity > 1)
        t.b = packed[s->b];
    if (s->arity > 2)
        t.c = packed[s->c];
    p->instruction[p->instruction_count++] = t;
    return TN_OK;
}

tn_status tni_work_pack(const tni_work *w, tn_program *p)
{
    uint8_t live[TNI_WORK_MAX] = {0}, packed[TNI_WORK_MAX] = {0};
    tn_program result = {.input_count = (uint8_t)w->input_count,
                         .output_count = (uint8_t)w->output_count};
    if (w->full || w->output_count > TN_MAP_MAX_OUTPUTS)
        return TN_EUNSUPPORTED;
    mark_live(w, live);
    for (uint32_t i = 0; i < w->count; i++) {
        if (!live[i])
            continue;
        packed[i] = result.instruction_count;
        TN_TRY(pack_instruction(&result, &w->at[i], packed));
    }
    for (uint32_t i = 0; i < w->output_count; i++)
        result.output[i] = packed[w->output[i]];
    *p = result;
    return TN_OK;
}

/* ---- simplify, join, merge ---- */

void tni_program_simplify(tn_program *p)
{
    tni_work w = {.input_count = p->input_count,
                  .output_count = p->output_count};
    tni_register at[TN_MAP_MAX_INSTRUCTIONS];
    tni_work_append(&w, p, NULL, at);
    for (uint32_t i = 0; i < p->output_count; i++)
        w.output[i] = at[p->output[i]];
    /* Folding can need more constants than there were: then p stays. */
    (void)tni_work_pack(&w, p);
}

/* Consumer inputs but `slot`, then the producer's. */
static void number_inputs(tni_work *w, const tn_program *consumer,
                          uint32_t slot, const tn_program *producer,
                          tni_register *of_consumer, tni_register *of_producer,
                          uint8_t *input_of)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < consumer->input_count; i++) {
        if (i == slot)
            continue;
        input_of[n] = (uint8_t)i;
        of_consumer[i] = (tni_register)n++;
    }
    for (uint32_t i = 0; i < producer->input_count; i++) {
        input_of[n] = (uint8_t)(16 + i);
        of_producer[i] = (tni_register)n++;
    }
    w->input_count = n;
}

/* p with its inputs numbered anew. */
static tn_program renumber(const tn_program *p, const tni_register *to)
{
    tn_program q = *p;
    for (uint32_t i = 0; i < q.instruction_count; i++) {
        tn_instruction *s = &q.instruction[i];
        if (s->op == TN_MAP_INPUT || s->op == TN_MAP_RANDOM)
            s->a = (uint8_t)to[s->a];
    }
    return q;
}

tn_status tni_program_join(const tn_program *consumer, uint32_t slot,
                           const tn_program *producer, uint32_t output,
                           uint32_t keep, tn_program *joined,
                           uint8_t input_of[2 * TN_MAP_MAX_INPUTS])
{
    tni_work w = {.output_count = 0};
    tni_register mine[TN_MAP_MAX_INPUTS] = {0}, its[TN_MAP_MAX_INPUTS];
    tni_register input[2 * TN_MAP_MAX_INPUTS];
    tni_register at[TN_MAP_MAX_INSTRUCTIONS], made[TN_MAP_MAX_INSTRUCTIONS];
    uint8_t origin[2 * TN_MAP_MAX_INPUTS] = {0};

    number_inputs(&w, consumer, slot, producer, mine, its, origin);
    const tn_program source = renumber(producer, its);
    tni_work_append(&w, &source, NULL, made);
    for (uint32_t i = 0; i < consumer->input_count; i++)
        input[i] = i == slot ? made[producer->output[output]]
                             : tni_work_input(&w, mine[i]);
    /* RANDOM reads its input by number, INPUT through input[]. */
    tn_program sink = *consumer;
    for (uint32_t i = 0; i < sink.instruction_count; i++)
        if (sink.instruction[i].op == TN_MAP_RANDOM)
            sink.instruction[i].a = (uint8_t)mine[sink.instruction[i].a];
    tni_work_append(&w, &sink, input, at);
    for (uint32_t i = 0; i < consumer->output_count; i++)
        w.output[w.output_count++] = at[consumer->output[i]];
    for (uint32_t i = 0; i < producer->output_count; i++)
        if (keep >> i & 1u)
            w.output[w.output_count++] = made[producer->output[i]];
    TN_TRY(tni_work_pack(&w, joined));
    memcpy(input_of, origin, sizeof origin);
    return TN_OK;
}

void tni_program_merge_inputs(tn_program *p, uint32_t keep, uint32_t drop)
{
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        tn_instruction *s = &p->instruction[i];
        if (s->op != TN_MAP_INPUT && s->op != TN_MAP_RANDOM)
            continue;
        if (s->a == drop)
            s->a = (uint8_t)keep;
        if (s->a > drop)
            s->a--;
    }
    p->input_count--;
}
