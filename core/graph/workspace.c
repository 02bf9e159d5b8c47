/*
 * workspace.c - writing map programs: fold, find what is there, pack.
 */
#include "graph/workspace.h"

#include <string.h>

#include <tenon/map_value.h>

/* ---- writing ---- */

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
        return tni_work_constant(w, tn_map_value(s.op, w->at[s.a].value,
                                                 w->at[s.b].value,
                                                 w->at[s.c].value));
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
