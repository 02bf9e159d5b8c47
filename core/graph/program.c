/*
 * program.c - checking, simplifying and joining map programs.
 */
#include "graph/program.h"

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
