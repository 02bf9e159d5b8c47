/*
 * tile_rows.c - inputs of which only some rows count.
 *
 *     select(uses, x, 0)        uses: one number for each row of x
 *
 * is how the gradient of a table is read where few of its rows have one. Such
 * an x becomes an input whose other rows are zeros, so that tiles without a row
 * that counts, which are most, read nothing of it, and the instruction is gone.
 * Where elements differ by nothing else, such tiles all have one result, which
 * a reduction computes once: the norm of all gradients costs what used rows
 * cost.
 */
#include "tile.h"

#include <string.h>

/* ---- compiling ---- */

static int is_input(const tn_program *program, uint8_t reg)
{
    return program->instruction[reg].op == TN_MAP_INPUT;
}

static int is_zero(const tn_program *program, uint8_t reg)
{
    const tn_instruction *t = &program->instruction[reg];
    return t->op == TN_MAP_CONST && program->constant[t->a] == 0.0;
}

/* How many operands of instructions and outputs an input is. */
static int reads_of(const tn_program *program, uint8_t input)
{
    int reads = 0;
    for (int i = 0; i < program->instruction_count; i++) {
        const tn_instruction *t = &program->instruction[i];
        const uint8_t operand[3] = {t->a, t->b, t->c};
        for (int k = 0; k < tile_operands(t->op); k++)
            reads += is_input(program, operand[k]) &&
                     program->instruction[operand[k]].a == input;
        reads += t->op == TN_MAP_RANDOM && t->a == input;
    }
    for (int o = 0; o < program->output_count; o++)
        reads += is_input(program, program->output[o]) &&
                 program->instruction[program->output[o]].a == input;
    return reads;
}

static int is_by_row(const tile_program *p, const tile_input *in)
{
    return p->rank == 2 && in->stride[1] == 0 && in->dtype == TN_F32;
}

static int selects_rows(const tile_program *p, const tn_program *program,
                        const tn_instruction *t)
{
    if (t->op != TN_MAP_SELECT || !is_input(program, t->a) ||
        !is_input(program, t->b) || !is_zero(program, t->c))
        return 0;
    const uint8_t x = program->instruction[t->b].a;
    return p->in[x].dense && p->in[x].dtype == TN_F32 &&
           reads_of(program, x) == 1 &&
           is_by_row(p, &p->in[program->instruction[t->a].a]);
}

void ISA(tile_find_rows)(tile_program *p, tn_program *program)
{
    for (int i = 0; i < program->instruction_count; i++) {
        tn_instruction *t = &program->instruction[i];
        if (!selects_rows(p, program, t))
            continue;
        tile_input *x = &p->in[program->instruction[t->b].a];
        x->some_rows = 1;
        x->uses = program->instruction[t->a].a;
        *t = program->instruction[t->b];
    }
}

void ISA(tile_find_only)(tile_program *p)
{
    const tile_input *x = NULL;
    uint32_t dense = 0, leaves = 0;
    for (uint32_t i = 0; i < p->input_count; i++) {
        dense += p->in[i].dense;
        x = p->in[i].some_rows ? &p->in[i] : x;
    }
    for (uint32_t i = 0; i < p->body_count; i++)
        leaves += tile_operands(p->body[i].op) == 0;
    p->only_rows = dense == 1 && leaves == 0 ? x : NULL;
}

/* ---- running ---- */

static int any_counts(const tile_state *s, const tile_input *x, int64_t from,
                      int64_t n)
{
    const tile_input *uses = &s->program->in[x->uses];
    const float *used = (const float *)(const void *)s->base[x->uses];
    const int64_t width = s->program->shape[1], end = from + n;
    int some = 0;
    for (int64_t row = from / width; row * width < end; row++)
        some |= used[row * uses->stride[0]] != 0.0f;
    return some;
}

int ISA(tile_is_zeros)(const tile_state *s, int64_t from, int64_t n)
{
    const tile_input *x = s->program->only_rows;
    return x && !any_counts(s, x, from, n);
}

float *ISA(tile_some_rows)(const tile_state *s, const tile_input *x, float *all,
                           float *room, int64_t from, int64_t n)
{
    static _Alignas(64) float zeros[TILE];
    const tile_input *uses = &s->program->in[x->uses];
    const float *used = (const float *)(const void *)s->base[x->uses];
    const int64_t width = s->program->shape[1], end = from + n;
    if (!any_counts(s, x, from, n))
        return zeros;
    for (int64_t row = from / width, at = from; at < end; row++) {
        const int64_t count = cpu_min((row + 1) * width, end) - at;
        if (used[row * uses->stride[0]] != 0.0f)
            memcpy(room + at - from, all + at - from, (size_t)count * 4);
        else
            memset(room + at - from, 0, (size_t)count * 4);
        at += count;
    }
    return room;
}
