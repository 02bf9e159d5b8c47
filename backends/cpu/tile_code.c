/*
 * tile_code.c - machine code for runs of simple instructions.
 *
 * Interpreted, AdamW's twenty instructions read and write L1 some fifty times
 * per vector and take longer than memory does. Here a run of instructions
 * becomes one loop that keeps its values in registers:
 *
 *     for each vector of the tile
 *         operands not yet in a register: load them
 *         the operation
 *         result needed behind the run: store it
 *
 * Dense inputs are loaded from their tensors, also in bf16, and outputs in bf16
 * are rounded and stored to theirs, unless something yet to be read lies there.
 *
 * Every slot has a home in memory (tile.h), so a value that must make room is
 * written there, if it is not already, and read again when it is needed; the
 * one needed last makes room (Belady). Values that all elements share are
 * loaded once, in front of the loop, as far as half of the registers go.
 *
 * exp, tanh and their like stay calls of a vector loop over the tile, between
 * runs; tile_order.c puts the rest together around them. Both ways give the
 * same bits: the operations are the same, in the same order.
 */
#include "tile.h"
#include "x86.h"

#include <string.h>

enum {
    REGISTERS = VW == 16 ? 32 : 16,
    MASK = REGISTERS - 1, /* AVX2's outcome of a comparison */
    GENERAL = REGISTERS - 1,
    PINNED = GENERAL / 2, /* constants and shared values, at most */
    NONE = -1,
    NEVER = TN_MAP_MAX_INSTRUCTIONS,
    AHEAD = 2048, /* bytes */
};

typedef enum constant_name {
    ZERO,
    ONE,
    SIGN,
    ABS,
    LOWEST,     /* bit of what bf16 keeps, moved down */
    BELOW_HALF, /* of it */
    QUIET,      /* NaN's bit */
    CONSTANTS
} constant_name;

static const uint32_t constant_bits[CONSTANTS] = {
    [ZERO] = 0,          [ONE] = 0x3f800000u, [SIGN] = 0x80000000u,
    [ABS] = 0x7fffffffu, [LOWEST] = 1,        [BELOW_HALF] = 0x7fffu,
    [QUIET] = 0x400000u,
};

typedef struct generator {
    const tile_program *p;
    x86_code *x;
    uint32_t first, end;      /* of p->body */
    int holder[REGISTERS];    /* slot in a register, NONE: free */
    int in[TILE_SLOTS];       /* register of a slot, or NONE */
    uint8_t home[TILE_SLOTS]; /* its memory has the value too */
    int constant[CONSTANTS];  /* registers, or NONE */
    int temporary;            /* the first of two, where bf16 is written */
    int pinned;               /* registers that are not given out */
} generator;

/* ---- what an instruction reads ---- */

int ISA(tile_is_simple)(const tile_program *p, tn_map_op op, uint8_t a)
{
    switch (op) {
    case TN_MAP_INPUT:
        return p->in[a].dense && p->in[a].dtype == TN_BF16;
    case TN_MAP_NEG:
    case TN_MAP_ABS:
    case TN_MAP_SQRT:
    case TN_MAP_RSQRT:
    case TN_MAP_FLOOR:
    case TN_MAP_ROUND:
    case TN_MAP_NOT:
    case TN_MAP_FINITE:
    case TN_MAP_ADD:
    case TN_MAP_SUB:
    case TN_MAP_MUL:
    case TN_MAP_DIV:
    case TN_MAP_MIN:
    case TN_MAP_MAX:
    case TN_MAP_LT:
    case TN_MAP_LE:
    case TN_MAP_EQ:
    case TN_MAP_FMA:
    case TN_MAP_SELECT:
        return 1;
    default:
        return 0;
    }
}

static int reads(const tile_instruction *t, int slot)
{
    const uint8_t operand[3] = {t->a, t->b, t->c};
    for (int k = 0; k < tile_operands(t->op); k++)
        if (operand[k] == slot)
            return 1;
    return 0;
}

/* The next instruction behind `i` of the run that reads the slot. */
static int next_use(const generator *g, int slot, uint32_t i)
{
    for (uint32_t k = i + 1; k < g->end; k++)
        if (reads(&g->p->body[k], slot))
            return (int)k;
    return NEVER;
}

static int is_needed_behind(const generator *g, int slot)
{
    const tile_program *p = g->p;
    for (uint32_t k = g->end; k < p->body_count; k++)
        if (reads(&p->body[k], slot))
            return 1;
    for (uint32_t o = 0; o < p->output_count; o++)
        if (p->out[o].slot == slot && !p->out[o].early)
            return 1;
    return 0;
}

static int is_written_early(const tile_program *p, int slot)
{
    for (uint32_t o = 0; o < p->output_count; o++)
        if (p->out[o].slot == slot && p->out[o].early)
            return 1;
    return 0;
}

/* ---- registers ---- */

static void store(generator *g, int slot)
{
    x86_pointer(g->x, (uint32_t)slot);
    x86_store(g->x, g->in[slot]);
    g->home[slot] = 1;
}

static void drop(generator *g, int r)
{
    if (g->holder[r] != NONE)
        g->in[g->holder[r]] = NONE;
    g->holder[r] = NONE;
}

/* Free, or that of the value that is needed last, and not by instruction i. */
static int choose_register(const generator *g, uint32_t i)
{
    int chosen = NONE, latest = NONE;
    for (int r = g->pinned; r < GENERAL; r++) {
        const int slot = g->holder[r];
        if (slot == NONE)
            return r;
        const tile_instruction *t = &g->p->body[i];
        const int use = next_use(g, slot, i);
        if (!reads(t, slot) && use > latest) {
            latest = use;
            chosen = r;
        }
    }
    return chosen;
}

static int take_register(generator *g, int slot, uint32_t i)
{
    const int r = choose_register(g, i), old = g->holder[r];
    if (old != NONE && !g->home[old] && next_use(g, old, i) != NEVER)
        store(g, old);
    drop(g, r);
    g->holder[r] = slot;
    g->in[slot] = r;
    return r;
}

/* The dense input that is in the slot, or that the run reads it from, or NULL.
 */
static const tile_input *input_of(const generator *g, int slot)
{
    const tile_program *p = g->p;
    for (uint32_t i = 0; i < p->input_count; i++)
        if (p->in[i].dense && p->in[i].slot == slot)
            return &p->in[i];
    for (uint32_t i = g->first; i < g->end; i++)
        if (p->body[i].op == TN_MAP_INPUT && p->body[i].to == slot)
            return &p->in[p->body[i].a];
    return NULL;
}

static void load_input(generator *g, int r, const tile_input *in)
{
    x86_pointer(g->x, in->slot);
    if (in->dtype == TN_BF16)
        x86_load_bf16(g->x, r);
    else
        x86_load(g->x, r);
    if (g->p->far)
        x86_prefetch(g->x, AHEAD, (int)cpu_bytes(in->dtype));
}

static void load_shared(generator *g, int r, int slot)
{
    x86_pointer(g->x, (uint32_t)slot);
    x86_load_shared(g->x, r);
}

static void load_row(generator *g, int r, int slot)
{
    x86_pointer(g->x, (uint32_t)slot);
    x86_load(g->x, r);
}

static int load(generator *g, int slot, uint32_t i)
{
    if (g->in[slot] != NONE)
        return g->in[slot];
    const int r = take_register(g, slot, i);
    const tile_input *in = input_of(g, slot);
    if (in)
        load_input(g, r, in);
    else if (g->p->slot_uniform[slot])
        load_shared(g, r, slot);
    else
        load_row(g, r, slot);
    g->home[slot] = 1;
    return r;
}

/* Values that nothing in the run reads any more. */
static void release(generator *g, uint32_t i)
{
    for (int r = g->pinned; r < GENERAL; r++)
        if (g->holder[r] != NONE && next_use(g, g->holder[r], i) == NEVER)
            drop(g, r);
}

/* ---- in front of the loop ---- */

static uint32_t constants_of(tn_map_op op)
{
    switch (op) {
    case TN_MAP_NEG:
        return 1u << SIGN;
    case TN_MAP_ABS:
        return 1u << ABS;
    case TN_MAP_RSQRT:
    case TN_MAP_LT:
    case TN_MAP_LE:
    case TN_MAP_EQ:
        return 1u << ONE;
    case TN_MAP_NOT:
    case TN_MAP_FINITE:
        return 1u << ONE | 1u << ZERO;
    case TN_MAP_SELECT:
        return 1u << ZERO;
    default:
        return 0;
    }
}

/* What it takes to write bf16. */
static uint32_t pin_temporaries(generator *g)
{
    for (uint32_t i = g->first; i < g->end; i++) {
        if (!is_written_early(g->p, g->p->body[i].to))
            continue;
        g->temporary = g->pinned;
        g->pinned += 2;
        return 1u << LOWEST | 1u << BELOW_HALF | 1u << QUIET;
    }
    return 0;
}

static void pin_constants(generator *g)
{
    uint32_t wanted = pin_temporaries(g);
    for (uint32_t i = g->first; i < g->end; i++)
        wanted |= constants_of(g->p->body[i].op);
    for (int c = 0; c < CONSTANTS; c++) {
        if (!(wanted >> c & 1))
            continue;
        g->constant[c] = g->pinned++;
        x86_set(g->x, g->constant[c], constant_bits[c]);
    }
}

static void pin_shared(generator *g)
{
    const tile_program *p = g->p;
    for (int slot = 0; slot < p->slot_count && g->pinned < PINNED; slot++) {
        if (!p->slot_uniform[slot] || next_use(g, slot, g->first - 1) == NEVER)
            continue;
        g->in[slot] = g->pinned++;
        load_shared(g, g->in[slot], slot);
    }
}

/* ---- the operations ---- */

static void compare_with(generator *g, x86_comparison c, int d, int a, int b)
{
    x86_compare(g->x, c, MASK, a, b);
    x86_keep(g->x, d, MASK, g->constant[ONE]);
}

/* a where it is NaN: the processor's own would be b. */
static void extreme(generator *g, x86_operation op, int d, int a, int b)
{
    x86_operate(g->x, op, d, a, b);
    x86_compare(g->x, X86_NE, MASK, a, a);
    x86_select(g->x, d, MASK, a, d);
}

static void one_if_finite(generator *g, int d, int a)
{
    /* a - a is NaN for what is infinite or NaN, else 0 */
    x86_operate(g->x, X86_SUB, d, a, a);
    compare_with(g, X86_EQ, d, d, g->constant[ZERO]);
}

static void operate(generator *g, tn_map_op op, int d, const int r[3])
{
    x86_code *x = g->x;
    const int *k = g->constant;
    switch (op) {
    case TN_MAP_NEG:
        x86_operate(x, X86_XOR, d, r[0], k[SIGN]);
        break;
    case TN_MAP_ABS:
        x86_operate(x, X86_AND, d, r[0], k[ABS]);
        break;
    case TN_MAP_SQRT:
        x86_operate(x, X86_SQRT, d, 0, r[0]);
        break;
    case TN_MAP_RSQRT:
        x86_operate(x, X86_SQRT, d, 0, r[0]);
        x86_operate(x, X86_DIV, d, k[ONE], d);
        break;
    case TN_MAP_FLOOR:
        x86_round(x, d, r[0], X86_DOWN);
        break;
    case TN_MAP_ROUND:
        x86_round(x, d, r[0], X86_NEAREST);
        break;
    case TN_MAP_NOT:
        compare_with(g, X86_EQ, d, r[0], k[ZERO]);
        break;
    case TN_MAP_FINITE:
        one_if_finite(g, d, r[0]);
        break;
    case TN_MAP_ADD:
        x86_operate(x, X86_ADD, d, r[0], r[1]);
        break;
    case TN_MAP_SUB:
        x86_operate(x, X86_SUB, d, r[0], r[1]);
        break;
    case TN_MAP_MUL:
        x86_operate(x, X86_MUL, d, r[0], r[1]);
        break;
    case TN_MAP_DIV:
        x86_operate(x, X86_DIV, d, r[0], r[1]);
        break;
    case TN_MAP_MIN:
        extreme(g, X86_MIN, d, r[0], r[1]);
        break;
    case TN_MAP_MAX:
        extreme(g, X86_MAX, d, r[0], r[1]);
        break;
    case TN_MAP_LT:
        compare_with(g, X86_LT, d, r[0], r[1]);
        break;
    case TN_MAP_LE:
        compare_with(g, X86_LE, d, r[0], r[1]);
        break;
    case TN_MAP_EQ:
        compare_with(g, X86_EQ, d, r[0], r[1]);
        break;
    case TN_MAP_FMA:
        x86_operate(x, X86_MOVE, d, 0, r[2]);
        x86_operate(x, X86_FMA, d, r[0], r[1]);
        break;
    default: /* TN_MAP_SELECT */
        x86_compare(x, X86_NE, MASK, r[0], k[ZERO]);
        x86_select(x, d, MASK, r[1], r[2]);
    }
}

/* To nearest even; NaN stays NaN (v_to_bf16). */
static void store_bf16(generator *g, const tile_output *out)
{
    x86_code *x = g->x;
    const int *k = g->constant;
    const int from = g->in[out->slot], d = g->temporary, quiet = d + 1;
    x86_shift_right(x, d, from, 16);
    x86_operate(x, X86_AND, d, d, k[LOWEST]);
    x86_operate(x, X86_ADD_WHOLE, d, d, k[BELOW_HALF]);
    x86_operate(x, X86_ADD_WHOLE, d, d, from);
    x86_operate(x, X86_OR, quiet, from, k[QUIET]);
    x86_compare(x, X86_NE, MASK, from, from);
    x86_select(x, d, MASK, quiet, d);
    x86_pointer(x, out->moving);
    x86_store_upper(x, d, quiet);
}

/* What is read behind the run. */
static void store_result(generator *g, int slot)
{
    if (is_needed_behind(g, slot))
        store(g, slot);
    for (uint32_t o = 0; o < g->p->output_count; o++)
        if (g->p->out[o].slot == slot && g->p->out[o].early)
            store_bf16(g, &g->p->out[o]);
}

static void generate_instruction(generator *g, uint32_t i)
{
    const tile_instruction *t = &g->p->body[i];
    const uint8_t operand[3] = {t->a, t->b, t->c};
    int r[3] = {0, 0, 0};
    for (int k = 0; k < tile_operands(t->op); k++)
        r[k] = load(g, operand[k], i);
    const int d = take_register(g, t->to, i);
    operate(g, t->op, d, r);
    g->home[t->to] = 0;
    store_result(g, t->to);
    release(g, i);
}

/* An input's instruction: others load it where they need it. */
static void generate_input(generator *g, uint32_t i)
{
    const int slot = g->p->body[i].to;
    if (is_needed_behind(g, slot) || is_written_early(g->p, slot)) {
        load(g, slot, i);
        store_result(g, slot);
    }
}

static void generate_run(generator *g)
{
    for (int r = 0; r < REGISTERS; r++)
        g->holder[r] = NONE;
    for (int slot = 0; slot < TILE_SLOTS; slot++)
        g->in[slot] = NONE;
    x86_begin(g->x, VW == 16);
    pin_constants(g);
    pin_shared(g);
    x86_body(g->x);
    for (uint32_t i = g->first; i < g->end; i++)
        if (g->p->body[i].op == TN_MAP_INPUT)
            generate_input(g, i);
        else
            generate_instruction(g, i);
    x86_end(g->x);
}

/* Code for body[first .. end), or NULL. */
static tile_code *code_of(cpu_compiler *c, const tile_program *p,
                          uint32_t first, uint32_t end)
{
    x86_code x;
    generator g = {.p = p, .x = &x, .first = first, .end = end};
    generate_run(&g);
    void *at = x.full ? NULL : cpu_generated(c, x.bytes, x.used);
    tile_code *code;
    memcpy(&code, &at, sizeof code); /* ISO C knows no such cast */
    return code;
}

/* One instruction by itself gains nothing but what it calls for early. */
static int is_worth_it(const tile_program *p, uint32_t first, uint32_t end)
{
    return end - first > (p->far ? 0 : 1);
}

static int is_simple(const tile_program *p, const tile_instruction *t)
{
    return ISA(tile_is_simple)(p, t->op, t->a);
}

/* Outputs that code for body[first .. end) writes where they belong. */
static void set_direct(tile_program *p, uint32_t first, uint32_t end)
{
    for (uint32_t o = 0; o < p->output_count; o++)
        for (uint32_t i = first; i < end; i++)
            if (p->out[o].early && p->out[o].slot == p->body[i].to)
                p->out[o].direct = 1;
}

void ISA(tile_generate)(cpu_compiler *c, tile_program *p)
{
    uint32_t count = 0, end;
    if (!cpu_generates(c))
        return;
    tile_instruction body[TN_MAP_MAX_INSTRUCTIONS];
    for (uint32_t i = 0; i < p->body_count; i = end) {
        for (end = i; end < p->body_count && is_simple(p, &p->body[end]);)
            end++;
        tile_code *code = is_worth_it(p, i, end) ? code_of(c, p, i, end) : NULL;
        if (code) {
            set_direct(p, i, end);
            body[count++] = (tile_instruction){.code = code};
            continue;
        }
        end = i + 1;
        body[count++] = p->body[i];
    }
    memcpy(p->body, body, count * sizeof *body);
    p->body_count = count;
}
