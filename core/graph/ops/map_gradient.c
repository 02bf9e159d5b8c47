/*
 * map_gradient.c - the gradients of map and reduce: maps again.
 *
 * The derivative of a program is a program (program_gradient.c) over the same
 * inputs and one gradient per output. What this file adds is housekeeping that
 * pays off in memory: inputs that the derivative does not read are dropped (so
 * that nothing is saved for them), a derivative that is the incoming gradient
 * is that very tensor, and one that is zero is none.
 *
 * A derivative that is too long for one program is split: first by input, and
 * when a single input's is still too long, by instruction, one small map each,
 * which fusion then joins as far as they go.
 */
#include <tenon/builder.h>

#include <string.h>

#include "graph/ops/ops.h"
#include "graph/program.h"

/* A program, what it reads, and the gradients that arrive: one per output. */
typedef struct reverse_map {
    tn_program program;
    const tn_tensor *in;
    tn_tensor dout[TN_MAP_MAX_OUTPUTS];
} reverse_map;

static void differentiate(tn_builder *b, const reverse_map *m, uint32_t wanted,
                          tn_tensor *din);

static uint32_t lowest(uint32_t bits)
{
    uint32_t i = 0;
    while (!(bits >> i & 1u))
        i++;
    return i;
}

static int reads_input(const tn_program *p, uint32_t input)
{
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction *s = &p->instruction[i];
        if ((s->op == TN_MAP_INPUT || s->op == TN_MAP_RANDOM) && s->a == input)
            return 1;
    }
    return 0;
}

/* Drop inputs that are not read; merging one nobody reads removes it. */
static uint32_t drop_unread(tn_program *p, tn_tensor *in)
{
    uint32_t kept = 0;
    const uint32_t count = p->input_count;
    for (uint32_t i = 0; i < count; i++) {
        if (reads_input(p, kept))
            in[kept++] = in[i];
        else
            tni_program_merge_inputs(p, 0, kept);
    }
    return kept;
}

/* Outputs that need no map: zero stays none, a bare input is that tensor. The
 * bits of `wanted` that are left. */
static uint32_t take_trivial(tn_builder *b, const reverse_map *m,
                             const tn_program *gradient, uint32_t wanted,
                             tn_tensor *din)
{
    uint32_t left = 0, bits = wanted;
    for (uint32_t k = 0; k < gradient->output_count; k++, bits &= bits - 1) {
        const uint32_t i = lowest(bits);
        const tn_instruction s = gradient->instruction[gradient->output[k]];
        if (s.op == TN_MAP_CONST && gradient->constant[s.a] == 0.0)
            continue;
        const uint32_t n = m->program.input_count;
        const tn_tensor same = s.op != TN_MAP_INPUT ? TN_NONE
                               : s.a < n            ? m->in[s.a]
                                                    : m->dout[s.a - n];
        if (!tn_is_none(same) &&
            tn_info(b, same).dtype == tn_info(b, m->in[i]).dtype)
            din[i] = same;
        else
            left |= 1u << i;
    }
    return left;
}

/* The output that is instruction `value` in this dtype: two inputs of a sum
 * have one gradient, which is stored once. */
static uint32_t output_of(tn_map_attr *attr, uint8_t value, tn_dtype dtype)
{
    tn_program *p = &attr->program;
    for (uint32_t k = 0; k < p->output_count; k++)
        if (p->output[k] == value && attr->dtype[k] == dtype)
            return k;
    attr->dtype[p->output_count] = dtype;
    p->output[p->output_count] = value;
    return p->output_count++;
}

static void append_gradient(tn_builder *b, const reverse_map *m,
                            const tn_program *gradient, uint32_t wanted,
                            tn_tensor *din)
{
    const uint32_t n = m->program.input_count;
    tn_tensor in[TN_MAP_MAX_INPUTS], out[TN_MAP_MAX_OUTPUTS];
    uint32_t which[TN_MAP_MAX_INPUTS];
    tn_map_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.program = *gradient;
    attr.program.output_count = 0;
    for (uint32_t i = 0; i < gradient->input_count; i++)
        in[i] = i < n ? m->in[i] : m->dout[i - n];
    uint32_t bits = wanted;
    for (uint32_t k = 0; bits; k++, bits &= bits - 1)
        which[k] = output_of(&attr, gradient->output[k],
                             tn_info(b, m->in[lowest(bits)]).dtype);
    drop_unread(&attr.program, in);
    tn_map_at(b, &attr, in, out, TN_HERE);
    bits = wanted;
    for (uint32_t k = 0; bits; k++, bits &= bits - 1)
        din[lowest(bits)] = out[which[k]];
}

/* ---- by instruction ---- */

typedef struct pieces {
    const reverse_map *m;
    tn_tensor like;                           /* gives leaves a shape */
    tn_tensor value[TN_MAP_MAX_INSTRUCTIONS]; /* none: a leaf, inlined */
    tn_tensor adjoint[TN_MAP_MAX_INSTRUCTIONS];
} pieces;

/* Instruction i alone, over its operands' tensors; `slot_of` says which input
 * an operand became, or -1. */
static reverse_map piece(const pieces *all, uint32_t i, tn_tensor *in,
                         int slot_of[3])
{
    const tn_program *p = &all->m->program;
    const tn_instruction s = p->instruction[i];
    const uint8_t operand[] = {s.a, s.b, s.c};
    const int arity = tni_instruction_arity(s.op, NULL);
    reverse_map one = {.in = in};
    tn_program *q = &one.program;
    for (int k = 0; k < arity; k++) {
        tn_instruction from = p->instruction[operand[k]];
        slot_of[k] = -1;
        if (!tn_is_none(all->value[operand[k]])) {
            slot_of[k] = q->input_count;
            in[q->input_count] = all->value[operand[k]];
            from = (tn_instruction){TN_MAP_INPUT, q->input_count++, 0, 0};
        } else if (from.op == TN_MAP_RANDOM) {
            in[q->input_count] = all->m->in[from.a];
            from.a = q->input_count++;
        }
        q->instruction[q->instruction_count++] = from;
    }
    in[q->input_count++] = all->like;
    memcpy(q->constant, p->constant, sizeof q->constant);
    q->constant_count = p->constant_count;
    q->output[q->output_count++] = q->instruction_count;
    q->instruction[q->instruction_count++] = (tn_instruction){s.op, 0, 1, 2};
    return one;
}

static void forward_pieces(tn_builder *b, pieces *all)
{
    const tn_program *p = &all->m->program;
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction s = p->instruction[i];
        tn_tensor in[4];
        int slot_of[3];
        tn_map_attr attr;
        if (s.op == TN_MAP_INPUT)
            all->value[i] = all->m->in[s.a];
        if (tni_instruction_arity(s.op, NULL) == 0)
            continue;
        memset(&attr, 0, sizeof attr);
        attr.program = piece(all, i, in, slot_of).program;
        tn_map_at(b, &attr, in, &all->value[i], TN_HERE);
    }
}

static void give(tn_builder *b, tn_tensor *adjoint, tn_tensor amount)
{
    if (!tn_is_none(amount))
        *adjoint = tn_is_none(*adjoint) ? amount : tn_add(b, *adjoint, amount);
}

static void reverse_piece(tn_builder *b, pieces *all, uint32_t i)
{
    const tn_instruction s = all->m->program.instruction[i];
    const uint8_t operand[] = {s.a, s.b, s.c};
    const int arity = tni_instruction_arity(s.op, NULL);
    tn_tensor in[4], din[4] = {TN_NONE, TN_NONE, TN_NONE, TN_NONE};
    int slot_of[3] = {-1, -1, -1};
    uint32_t wanted = 0;
    reverse_map one = piece(all, i, in, slot_of);
    one.dout[0] = all->adjoint[i];
    for (int k = 0; k < arity; k++)
        if (slot_of[k] >= 0 && tni_is_float(tn_info(b, in[slot_of[k]]).dtype))
            wanted |= 1u << slot_of[k];
    differentiate(b, &one, wanted, din);
    for (int k = 0; k < arity; k++)
        if (slot_of[k] >= 0)
            give(b, &all->adjoint[operand[k]], din[slot_of[k]]);
}

static void differentiate_by_instruction(tn_builder *b, const reverse_map *m,
                                         uint32_t wanted, tn_tensor *din)
{
    const tn_program *p = &m->program;
    pieces all = {.m = m, .like = m->dout[0]};
    forward_pieces(b, &all);
    for (uint32_t i = 0; i < p->output_count; i++)
        give(b, &all.adjoint[p->output[i]], m->dout[i]);
    for (uint32_t i = p->instruction_count; i-- > 0 && !b->failed;) {
        const tn_instruction s = p->instruction[i];
        if (tn_is_none(all.adjoint[i]))
            continue;
        if (s.op == TN_MAP_INPUT && (wanted >> s.a & 1u))
            give(b, &din[s.a], all.adjoint[i]);
        else if (tni_instruction_arity(s.op, NULL) > 0)
            reverse_piece(b, &all, i);
    }
}

/* ---- by input ---- */

static void differentiate(tn_builder *b, const reverse_map *m, uint32_t wanted,
                          tn_tensor *din)
{
    tn_program gradient;
    if (!wanted)
        return;
    if (tni_program_gradient(&m->program, wanted, &gradient) == TN_OK) {
        const uint32_t left = take_trivial(b, m, &gradient, wanted, din);
        if (left == wanted)
            append_gradient(b, m, &gradient, wanted, din);
        else
            differentiate(b, m, left, din);
        return;
    }
    const uint32_t first = wanted & (~wanted + 1u);
    if (wanted != first) {
        differentiate(b, m, first, din);
        differentiate(b, m, wanted & ~first, din);
    } else {
        differentiate_by_instruction(b, m, wanted, din);
    }
}

/* Only inputs of a floating type, and never random's. */
static uint32_t differentiable(const tn_builder *b, const tn_op_node *node,
                               uint32_t wanted)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < node->in_count; i++)
        if (tni_wants(wanted, i) && tni_is_float(tn_info(b, node->in[i]).dtype))
            bits |= 1u << i;
    return bits;
}

void tni_map_gradient(tn_builder *b, const tn_op_node *node,
                      const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    reverse_map m = {.program = ((const tn_map_attr *)node->attr)->program,
                     .in = node->in};
    uint8_t count = 0;
    for (uint32_t i = 0; i < node->out_count; i++) {
        if (tn_is_none(dout[i]))
            continue;
        m.program.output[count] = m.program.output[i];
        m.dout[count++] = dout[i];
    }
    m.program.output_count = count;
    if (count)
        differentiate(b, &m, differentiable(b, node, wanted), din);
}

/* ---- reduce ---- */

/*
 * Whether p, computed anew, is the element y that was the largest. y has been
 * stored and p may still be in a register, which can be wider: half a unit of
 * f32 is granted for that. Without it no element might be y, and equal shares
 * of nothing are NaN.
 */
static tn_tensor is_same(tn_builder *b, tn_tensor p, tn_tensor y)
{
    const tn_tensor same = tn_eq(b, p, y);
    if (b->dtype == TN_F64)
        return same;
    return tn_or(b, same,
                 tn_le(b, tn_abs(b, tn_sub(b, p, y)),
                       tn_scale(b, tn_abs(b, y), 0x1p-24)));
}

/* y = max P: what arrives goes to the elements that are y, in equal shares. */
static tn_tensor share_among_ties(tn_builder *b, const tn_op_node *node,
                                  tn_tensor dy)
{
    const tn_reduce_attr *attr = node->attr;
    const tn_instruction last =
        attr->program.instruction[attr->program.output[0]];
    tn_map_attr prologue;
    tn_tensor p = last.op == TN_MAP_INPUT ? node->in[last.a] : TN_NONE;
    memset(&prologue, 0, sizeof prologue);
    prologue.program = attr->program;
    if (last.op != TN_MAP_INPUT)
        tn_map_at(b, &prologue, node->in, &p, TN_HERE);
    const tn_tensor is_y = is_same(b, p, node->out[0]);
    return tn_mul(b, is_y, tn_div(b, dy, tn_sum(b, is_y, attr->axes)));
}

void tni_reduce_gradient(tn_builder *b, const tn_op_node *node,
                         const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    const tn_reduce_attr *attr = node->attr;
    const uint32_t bits = differentiable(b, node, wanted);
    reverse_map m = {.program = attr->program, .in = node->in};
    if (tn_is_none(dout[0]) || !bits)
        return;
    const tn_tensor_info x = tn_info(b, node->in[lowest(bits)]);
    m.dout[0] = attr->kind == TN_REDUCE_SUM
                    ? tn_shaped_view_at(b, dout[0], TN_VIEW_BROADCAST, x.rank,
                                        x.shape, TN_HERE)
                    : share_among_ties(b, node, dout[0]);
    if (!b->failed)
        differentiate(b, &m, bits, din);
}
