/*
 * tile_compile.c - from SSA to slots: which register is a uniform vector, which
 * a row, which a moving pointer, and which rows may be used again (tile.h).
 */
#include "tile.h"

#include <string.h>

enum {
    NEVER = -1,
    AT_END = TN_MAP_MAX_INSTRUCTIONS,
    FAR_BYTES = 64 * 1024 * 1024,
};

typedef struct allocation {
    const tn_program *program;
    tile_program *p;
    int last_use[TN_MAP_MAX_INSTRUCTIONS]; /* of registers */
    int input_last_use[TILE_INPUTS];       /* by any register that is one */
    uint8_t slot[TN_MAP_MAX_INSTRUCTIONS]; /* of registers */
    uint8_t free_rows[TILE_SLOTS];
    uint32_t free_count;
} allocation;

/* ---- the iteration space ---- */

static int merges(const tn_plan_node *node, const uint8_t *is_key,
                  const tn_operand *space, uint32_t outer, uint32_t inner)
{
    for (uint32_t i = 0; i < node->in_count; i++) {
        const tn_operand *x = &node->in[i];
        if (!is_key[i] &&
            x->stride[outer] != x->stride[inner] * space->shape[inner])
            return 0;
    }
    return 1;
}

/* Merge axes into p->shape and the inputs' strides; drop those of size 1. */
static void merge_axes(const tn_plan_node *node, const uint8_t *is_key,
                       const tn_operand *space, tile_program *p)
{
    uint32_t last = 0; /* the axis of `space` whose strides are current */
    p->rank = 0;
    for (uint32_t axis = 0; axis < space->rank; axis++) {
        if (space->shape[axis] == 1)
            continue;
        if (p->rank && merges(node, is_key, space, last, axis))
            p->shape[p->rank - 1] *= space->shape[axis];
        else
            p->shape[p->rank++] = space->shape[axis];
        last = axis;
        for (uint32_t i = 0; i < node->in_count; i++)
            p->in[i].stride[p->rank - 1] = node->in[i].stride[axis];
    }
    if (p->rank == 0)
        p->shape[p->rank++] = 1;
}

static void set_space(const tn_operand *space, tile_program *p)
{
    p->elements = 1;
    for (uint32_t axis = space->rank; axis-- > 0;) {
        p->index_inner[axis] = p->elements;
        p->index_size[axis] = space->shape[axis];
        p->elements *= space->shape[axis];
    }
}

static int is_dense(const tile_program *p, const tile_input *in)
{
    int64_t expected = 1;
    for (uint32_t i = p->rank; i-- > 0;) {
        if (p->shape[i] != 1 && in->stride[i] != expected)
            return 0;
        expected *= p->shape[i];
    }
    return in->dtype == TN_F32 || in->dtype == TN_BF16;
}

static int is_uniform_input(const tile_program *p, const tile_input *in)
{
    for (uint32_t i = 0; i < p->rank; i++)
        if (p->shape[i] != 1 && in->stride[i] != 0)
            return 0;
    return 1;
}

/* ---- checks ---- */

static tn_status check_instruction(const tn_plan_node *node,
                                   const tn_program *program, uint32_t i,
                                   tn_error *err)
{
    const tn_instruction *t = &program->instruction[i];
    const int arity = tile_operands(t->op);
    int ok = arity >= 0;
    ok = ok && (arity < 1 || t->a < i) && (arity < 2 || t->b < i) &&
         (arity < 3 || t->c < i);
    if (t->op == TN_MAP_INPUT || t->op == TN_MAP_RANDOM)
        ok = ok && t->a < program->input_count;
    if (t->op == TN_MAP_CONST)
        ok = ok && t->a < TN_MAP_MAX_CONSTANTS;
    if (t->op == TN_MAP_RANDOM)
        ok = ok && t->b < TN_MAP_MAX_CONSTANTS;
    if (t->op == TN_MAP_INDEX)
        ok = ok && t->a < TN_MAX_RANK;
    return ok ? TN_OK
              : cpu_refuse(node, err,
                           "instruction %u of its program (op %u) is not one "
                           "this version knows or reads past itself",
                           i, t->op);
}

static tn_status check(const tn_plan_node *node, const tn_program *program,
                       const tn_operand *space, const uint8_t *is_key,
                       tn_error *err)
{
    if (program->input_count != node->in_count ||
        program->input_count > TILE_INPUTS || program->output_count < 1 ||
        program->output_count > TILE_OUTPUTS ||
        program->instruction_count > TN_MAP_MAX_INSTRUCTIONS)
        return cpu_refuse(node, err,
                          "its program has %u inputs, %u outputs and %u "
                          "instructions for %u operands",
                          program->input_count, program->output_count,
                          program->instruction_count, node->in_count);
    for (uint32_t i = 0; i < program->instruction_count; i++)
        TN_TRY(check_instruction(node, program, i, err));
    for (uint32_t i = 0; i < node->in_count; i++) {
        const tn_operand *x = &node->in[i];
        if (!is_key[i] && (x->rank != space->rank ||
                           memcmp(x->shape, space->shape,
                                  space->rank * sizeof *x->shape) != 0))
            return cpu_refuse(node, err,
                              "input %u does not have the iteration shape", i);
    }
    return TN_OK;
}

/* Inputs that only RANDOM reads, as a key of two words. */
static void find_keys(const tn_program *program, uint8_t is_key[TILE_INPUTS])
{
    memset(is_key, 0, TILE_INPUTS);
    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (program->instruction[i].op == TN_MAP_RANDOM &&
            program->instruction[i].a < TILE_INPUTS)
            is_key[program->instruction[i].a] = 1;
}

/* ---- registers ---- */

static void find_last_uses(allocation *a)
{
    const tn_program *program = a->program;
    for (int i = 0; i < TN_MAP_MAX_INSTRUCTIONS; i++)
        a->last_use[i] = NEVER;
    for (uint32_t o = 0; o < program->output_count; o++)
        a->last_use[program->output[o]] = AT_END;
    for (int i = program->instruction_count; i-- > 0;) {
        const tn_instruction *t = &program->instruction[i];
        const uint8_t operand[3] = {t->a, t->b, t->c};
        if (a->last_use[i] == NEVER)
            continue;
        for (int k = 0; k < tile_operands(t->op); k++)
            if (a->last_use[operand[k]] < i)
                a->last_use[operand[k]] = i;
    }
    for (int i = 0; i < TILE_INPUTS; i++)
        a->input_last_use[i] = NEVER;
    for (int i = 0; i < program->instruction_count; i++) {
        const tn_instruction *t = &program->instruction[i];
        if (t->op == TN_MAP_INPUT && a->last_use[i] > a->input_last_use[t->a])
            a->input_last_use[t->a] = a->last_use[i];
    }
}

static uint8_t new_slot(tile_program *p, int uniform, uint32_t place)
{
    p->slot_uniform[p->slot_count] = (uint8_t)uniform;
    p->slot_place[p->slot_count] = (uint8_t)place;
    return p->slot_count++;
}

static uint32_t take_row(allocation *a)
{
    return a->free_count ? a->free_rows[--a->free_count] : a->p->row_count++;
}

static int overlaps(const tile_program *p, const tile_output *out,
                    const tile_input *in)
{
    const int64_t bytes = 4 * p->elements;
    return in->shared < 0 && out->base < in->base + bytes &&
           in->base < out->base + bytes;
}

/* Whether instruction i may write the output where it belongs: nothing reads an
 * input that lies there after i. */
static int may_write(const allocation *a, const tile_output *out, int i)
{
    const tile_program *p = a->p;
    for (uint32_t k = 0; k < p->input_count; k++)
        if ((p->in[k].dense || p->in[k].dtype != TN_F32) &&
            a->input_last_use[k] > i && overlaps(p, out, &p->in[k]))
            return 0;
    return out->base != NULL;
}

/* The output in f32 that instruction i may write where it belongs, or NULL. */
static tile_output *direct_output(const allocation *a, int i)
{
    for (uint32_t o = 0; o < a->p->output_count; o++) {
        tile_output *out = &a->p->out[o];
        if (a->program->output[o] == i && out->dtype == TN_F32 &&
            may_write(a, out, i))
            return out;
    }
    return NULL;
}

/* Those in bf16 that code may write as it computes i. AVX2 takes a dozen
 * instructions to round: waiting behind all others they leave room for fewer
 * vectors under way, and a loop of their own is faster. */
static void find_early_outputs(const allocation *a, int i)
{
    if (VW == 8)
        return;
    for (uint32_t o = 0; o < a->p->output_count; o++) {
        tile_output *out = &a->p->out[o];
        if (a->program->output[o] == i && out->dtype == TN_BF16)
            out->early = (uint8_t)may_write(a, out, i);
    }
}

/* What the input's register is; a dense input in bf16 has one of its own. */
static int is_moving_row(const tile_input *in)
{
    return in->dense && in->dtype == TN_F32;
}

static int is_uniform_register(const allocation *a, const tn_instruction *t)
{
    const tile_program *p = a->p;
    const uint8_t operand[3] = {t->a, t->b, t->c};
    if (t->op == TN_MAP_CONST)
        return 1;
    if (t->op == TN_MAP_INPUT)
        return is_uniform_input(p, &p->in[t->a]);
    if (t->op == TN_MAP_INDEX || t->op == TN_MAP_RANDOM)
        return 0;
    for (int k = 0; k < tile_operands(t->op); k++)
        if (!p->slot_uniform[a->slot[operand[k]]])
            return 0;
    return 1;
}

/* Rows of operands that die in instruction i may hold its result. */
static void free_dying(allocation *a, int i, const uint8_t *owns_row)
{
    const tn_instruction *t = &a->program->instruction[i];
    const uint8_t operand[3] = {t->a, t->b, t->c};
    for (int k = 0; k < tile_operands(t->op); k++) {
        const uint8_t r = operand[k];
        int repeated = 0;
        for (int j = 0; j < k; j++)
            repeated |= operand[j] == r;
        if (!repeated && owns_row[r] && a->last_use[r] == i)
            a->free_rows[a->free_count++] = a->p->slot_place[a->slot[r]];
    }
}

static void emit(allocation *a, int i, int uniform)
{
    tile_program *p = a->p;
    const tn_instruction *t = &a->program->instruction[i];
    const int leaf = tile_operands(t->op) == 0;
    tile_instruction *e =
        uniform ? &p->prelude[p->prelude_count++] : &p->body[p->body_count++];
    const uint8_t self = a->slot[i];
    *e = (tile_instruction){.function = ISA(tile_function_of)(t->op),
                            .op = t->op,
                            .to = self,
                            .a = leaf ? t->a : a->slot[t->a],
                            .b = t->b,
                            .c = self};
    if (!leaf) {
        e->b = tile_operands(t->op) > 1 ? a->slot[t->b] : self;
        e->c = tile_operands(t->op) > 2 ? a->slot[t->c] : self;
    }
}

static void allocate_registers(allocation *a)
{
    tile_program *p = a->p;
    uint8_t owns_row[TN_MAP_MAX_INSTRUCTIONS] = {0};
    for (int i = 0; i < a->program->instruction_count; i++) {
        const tn_instruction *t = &a->program->instruction[i];
        if (a->last_use[i] == NEVER)
            continue;
        if (is_uniform_register(a, t)) {
            a->slot[i] = new_slot(p, 1, p->uniform_count++);
            emit(a, i, 1);
            continue;
        }
        if (t->op == TN_MAP_INPUT && is_moving_row(&p->in[t->a])) {
            a->slot[i] = p->in[t->a].slot;
            continue;
        }
        tile_output *out = direct_output(a, i);
        free_dying(a, i, owns_row);
        if (out) {
            a->slot[i] = new_slot(p, 0, p->row_count++);
            out->moving = a->slot[i];
            out->direct = 1;
        } else {
            a->slot[i] = new_slot(p, 0, take_row(a));
            owns_row[i] = 1;
        }
        find_early_outputs(a, i);
        emit(a, i, 0);
    }
    for (uint32_t o = 0; o < p->output_count; o++)
        p->out[o].slot = a->slot[a->program->output[o]];
}

static int is_output(const tile_program *p, const tile_input *in)
{
    for (uint32_t o = 0; o < p->output_count; o++)
        if (p->out[o].slot == in->slot)
            return 1;
    return 0;
}

/* Outputs are stored in turn: one that is an input as it is would find in its
 * tensor what another has stored there. */
static void keep_inputs(tile_program *p)
{
    for (uint32_t i = 0; i < p->input_count; i++) {
        tile_input *in = &p->in[i];
        if (!in->dense || !is_output(p, in))
            continue;
        for (uint32_t o = 0; o < p->output_count; o++)
            in->kept |=
                p->out[o].slot != in->slot && overlaps(p, &p->out[o], in);
    }
}

tn_status ISA(tile_compile)(cpu_compiler *c, const tn_plan_node *node,
                            const tn_program *program, const tn_operand *space,
                            const tn_operand *outputs, tile_program *p,
                            tn_error *err)
{
    uint8_t is_key[TILE_INPUTS];
    int64_t dense_bytes = 0;
    find_keys(program, is_key);
    TN_TRY(check(node, program, space, is_key, err));
    p->input_count = program->input_count;
    p->output_count = program->output_count;
    memcpy(p->constant, program->constant, sizeof p->constant);
    set_space(space, p);
    merge_axes(node, is_key, space, p);
    for (uint32_t i = 0; i < p->input_count; i++) {
        tile_input *in = &p->in[i];
        in->base = cpu_at(c, &node->in[i]);
        in->shared = -1;
        in->dtype = node->in[i].dtype;
        in->dense = !is_key[i] && is_dense(p, in);
        if (!in->dense)
            continue;
        in->slot = new_slot(p, 0, p->row_count++);
        dense_bytes += cpu_bytes(in->dtype) * p->elements;
    }
    p->far = dense_bytes > FAR_BYTES;
    for (uint32_t i = 0; i < p->output_count; i++) {
        p->out[i].base = outputs ? cpu_at(c, &outputs[i]) : NULL;
        p->out[i].dtype = outputs ? outputs[i].dtype : TN_F32;
        if (p->out[i].dtype == TN_BF16)
            p->out[i].moving = new_slot(p, 0, p->row_count++);
    }
    tn_program rowed = *program, ordered;
    ISA(tile_find_rows)(p, &rowed);
    ISA(tile_order)(p, &rowed, &ordered);
    allocation a = {.program = &ordered, .p = p};
    find_last_uses(&a);
    allocate_registers(&a);
    keep_inputs(p);
    ISA(tile_find_only)(p);
    ISA(tile_generate)(c, p);
    p->spread_row = (uint8_t)p->row_count++;
    return TN_OK;
}

void ISA(tile_compile_shared)(tile_program *p, int64_t shared, int64_t elements)
{
    memset(p, 0, sizeof *p);
    p->elements = elements;
    p->rank = 1;
    p->shape[0] = elements;
    p->input_count = p->output_count = 1;
    p->in[0] = (tile_input){
        .shared = shared, .dtype = TN_F32, .dense = 1, .stride = {1}};
    p->in[0].slot = new_slot(p, 0, p->row_count++);
    p->out[0] = (tile_output){.dtype = TN_F32, .slot = p->in[0].slot};
}
