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
 * Dense inputs are loaded from their tensors, also in bf16. AVX-512 rounds and
 * stores outputs in bf16 to theirs, unless something yet to be read lies there.
 *
 * Every slot has a home in memory (tile.h), so a value that must make room is
 * written there, if it is not already, and read again when it is needed; the
 * one needed last makes room (Belady). Values that all elements share are
 * loaded once, in front of the loop, as far as half of the registers go.
 *
 * tanh, log and their like stay calls of a vector loop over the tile, between
 * runs; tile_order.c puts the rest together around them. Both ways give the
 * same bits: the operations are the same, in the same order.
 */
#include "tile_code.h"

#include <assert.h>
#include <string.h>

enum {
    GENERAL = TILE_MASK,
    PINNED = GENERAL / 2, /* shared values only below that */
    OPERANDS = 3,
    NONE = -1,
    NEVER = TN_MAP_MAX_INSTRUCTIONS,
    AHEAD = 2048,       /* bytes: of each of several streams, */
    ALONE_AHEAD = 6144, /* of a single one */
};

typedef struct generator {
    const tile_program *p;
    x86_code *x;
    uint32_t first, end;      /* of p->body */
    int holder[GENERAL];      /* slot in a register, NONE: free */
    int in[TILE_SLOTS];       /* register of a slot, or NONE */
    uint8_t home[TILE_SLOTS]; /* its memory has the value too */
    tile_tools tools;         /* in the first of the pinned */
    int pinned;               /* registers that are not given out */
} generator;

/* ---- what an instruction reads ---- */

static int reads(const tile_instruction *t, int slot)
{
    const uint8_t operand[OPERANDS] = {t->a, t->b, t->c};
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

/* Several streams keep memory busy from near. One alone has to reach past its
 * page, where the processor's own prefetching ends, and does so to L2. */
static void prefetch(generator *g, const tile_input *in)
{
    const int size = (int)cpu_bytes(in->dtype);
    uint32_t streams = 0;
    for (uint32_t i = 0; i < g->p->input_count; i++)
        streams += g->p->in[i].dense;
    if (streams > 1)
        x86_prefetch(g->x, AHEAD, size, 1);
    else
        x86_prefetch(g->x, ALONE_AHEAD, size, 2);
}

static void load_input(generator *g, int r, const tile_input *in)
{
    x86_pointer(g->x, in->slot);
    if (in->dtype == TN_BF16)
        x86_load_bf16(g->x, r);
    else
        x86_load(g->x, r);
    if (g->p->far)
        prefetch(g, in);
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

static void add_needs(tile_needs *all, tile_needs more)
{
    all->numbers |= more.numbers;
    if (all->temporaries < more.temporaries)
        all->temporaries = more.temporaries;
}

static tile_needs all_needs(const generator *g)
{
    tile_needs all = {0, 0};
    for (uint32_t i = g->first; i < g->end; i++) {
        const tile_instruction *t = &g->p->body[i];
        add_needs(&all, ISA(tile_needs_of)(t->op));
        if (is_written_early(g->p, t->to))
            add_needs(&all, ISA(tile_needs_of_bf16)());
    }
    return all;
}

static void pin_tools(generator *g)
{
    const tile_needs needs = all_needs(g);
    g->tools.temporary = g->pinned;
    g->pinned += needs.temporaries;
    for (int n = 0; n < TILE_NUMBERS; n++) {
        if (!(needs.numbers >> n & 1))
            continue;
        const int place = ISA(tile_place_number)(g->x, n, g->pinned);
        g->pinned += place == g->pinned;
        g->tools.number[n] = place;
    }
    assert(g->pinned + OPERANDS + 1 <= GENERAL);
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

/* What is read behind the run. */
static void store_result(generator *g, int slot)
{
    if (is_needed_behind(g, slot))
        store(g, slot);
    for (uint32_t o = 0; o < g->p->output_count; o++) {
        const tile_output *out = &g->p->out[o];
        if (out->slot != slot || !out->early)
            continue;
        x86_pointer(g->x, out->moving);
        ISA(tile_store_bf16)(&g->tools, g->in[slot]);
    }
}

static void generate_instruction(generator *g, uint32_t i)
{
    const tile_instruction *t = &g->p->body[i];
    const uint8_t operand[OPERANDS] = {t->a, t->b, t->c};
    int r[OPERANDS] = {0, 0, 0};
    for (int k = 0; k < tile_operands(t->op); k++)
        r[k] = load(g, operand[k], i);
    const int d = take_register(g, t->to, i);
    ISA(tile_operate)(&g->tools, t->op, d, r);
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
    for (int r = 0; r < GENERAL; r++)
        g->holder[r] = NONE;
    for (int slot = 0; slot < TILE_SLOTS; slot++)
        g->in[slot] = NONE;
    x86_begin(g->x, VW == 16);
    pin_tools(g);
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
    generator g = {.p = p, .x = &x, .first = first, .end = end, .tools.x = &x};
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
