/*
 * tile_order.c - the same program with its simple instructions side by side.
 *
 * Runs of them become machine code (tile_code.c), and values live in registers
 * within a run: so first what the interpreter reads from elsewhere, then in
 * turn every simple instruction that can go and, where none can, every other
 * that can. Operands are what they were, so results are too.
 */
#include "tile.h"

#include <string.h>

typedef struct ordering {
    const tile_program *p;
    const tn_program *from;
    tn_program *to;
    uint8_t number[TN_MAP_MAX_INSTRUCTIONS]; /* of from's registers in to */
    uint8_t done[TN_MAP_MAX_INSTRUCTIONS];
} ordering;

static int is_leaf(tn_map_op op)
{
    return op < TN_MAP_NEG;
}

static int is_simple(const ordering *o, const tn_instruction *t)
{
    return ISA(tile_is_simple)(o->p, t->op, t->a);
}

static int is_ready(const ordering *o, const tn_instruction *t)
{
    const uint8_t operand[3] = {t->a, t->b, t->c};
    for (int k = 0; k < tile_operands(t->op); k++)
        if (!o->done[operand[k]])
            return 0;
    return 1;
}

static void place(ordering *o, int i)
{
    tn_instruction t = o->from->instruction[i];
    const int operands = tile_operands(t.op);
    t.a = operands > 0 ? o->number[t.a] : t.a;
    t.b = operands > 1 ? o->number[t.b] : t.b;
    t.c = operands > 2 ? o->number[t.c] : t.c;
    o->number[i] = o->to->instruction_count;
    o->done[i] = 1;
    o->to->instruction[o->to->instruction_count++] = t;
}

/* Place what is ready and of the kind, in the order of the program: what
 * becomes ready by it as well. Returns how many. */
static int place_all(ordering *o, int simple)
{
    int placed = 0;
    for (int i = 0; i < o->from->instruction_count; i++) {
        const tn_instruction *t = &o->from->instruction[i];
        if (o->done[i] || is_simple(o, t) != simple || !is_ready(o, t))
            continue;
        place(o, i);
        placed++;
    }
    return placed;
}

void ISA(tile_order)(const tile_program *p, const tn_program *from,
                     tn_program *to)
{
    ordering o = {.p = p, .from = from, .to = to};
    *to = *from;
    to->instruction_count = 0;
    for (int i = 0; i < from->instruction_count; i++) {
        const tn_instruction *t = &from->instruction[i];
        if (is_leaf(t->op) && !is_simple(&o, t))
            place(&o, i);
    }
    while (to->instruction_count < from->instruction_count)
        if (!place_all(&o, 1))
            place_all(&o, 0);
    for (int i = 0; i < from->output_count; i++)
        to->output[i] = o.number[from->output[i]];
}
