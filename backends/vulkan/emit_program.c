/*
 * emit_program.c - the instructions of a map program, at one element.
 */
#include "emit.h"

/* The offset of an input's element: the sum over the walks, of which the outer
 * ones were taken before the loop. */
static spv_id offset_of(gpu_emitter *e, const gpu_element *at, uint32_t input)
{
    spv_id total = at->fixed ? at->fixed[input] : 0;
    const uint32_t first = at->fixed ? at->first_in_loop : 0;
    for (uint32_t i = first; i < at->walk_count; i++) {
        const spv_id part =
            gpu_offset(e, &at->walks[i], at->spec->in[input].stride);
        total = total ? SPV(&e->m, SPV_I_ADD, e->index, total, part) : part;
    }
    return total;
}

/* The coordinate along `axis`, as a float. */
static spv_id coordinate(gpu_emitter *e, const gpu_element *at, uint32_t axis)
{
    for (uint32_t w = 0; w < at->walk_count; w++) {
        const gpu_walk *walk = &at->walks[w];
        int64_t inner = 1;
        for (uint32_t i = walk->count; i-- > 0;) {
            const int64_t size = e->shape[walk->axis[i]];
            if (walk->axis[i] == axis)
                return SPV(
                    &e->m, SPV_CONVERT_U_TO_F, e->f32,
                    gpu_coordinate_of(e, walk->counter, inner, size, i == 0));
            inner *= size;
        }
    }
    return gpu_f32(e, 0.0f);
}

/* ---- philox4x32-10 of <tenon/philox.h> ---- */

/* The row-major number of the element. */
static spv_id element_number(gpu_emitter *e, const gpu_element *at)
{
    const gpu_map_spec *s = at->spec;
    int64_t stride[TN_MAX_RANK], inner = 1;
    spv_id total = 0;
    for (uint32_t i = s->rank; i-- > 0;) {
        stride[i] = inner;
        inner *= s->shape[i];
    }
    for (uint32_t i = 0; i < at->walk_count; i++) {
        const spv_id part = gpu_offset(e, &at->walks[i], stride);
        total = total ? SPV(&e->m, SPV_I_ADD, e->index, total, part) : part;
    }
    return total;
}

/* a * b as its two words */
static spv_id multiply(gpu_emitter *e, spv_id a, uint32_t b, spv_id *high)
{
    spv_module *m = &e->m;
    const spv_id wide = SPV(m, SPV_U_CONVERT, e->u64, a);
    const spv_id p = SPV(m, SPV_I_MUL, e->u64, wide, gpu_u64(e, b));
    const spv_id top =
        SPV(m, SPV_SHIFT_RIGHT_LOGICAL, e->u64, p, gpu_u32(e, 32));
    *high = SPV(m, SPV_U_CONVERT, e->u32, top);
    return SPV(m, SPV_U_CONVERT, e->u32, p);
}

static spv_id exclusive_or(gpu_emitter *e, spv_id a, spv_id b, spv_id c)
{
    const spv_id ab = SPV(&e->m, SPV_BITWISE_XOR, e->u32, a, b);
    return SPV(&e->m, SPV_BITWISE_XOR, e->u32, ab, c);
}

static spv_id low_word(gpu_emitter *e, spv_id index)
{
    return e->wide ? SPV(&e->m, SPV_U_CONVERT, e->u32, index) : index;
}

static spv_id high_word(gpu_emitter *e, spv_id index)
{
    if (!e->wide)
        return gpu_u32(e, 0);
    const spv_id top =
        SPV(&e->m, SPV_SHIFT_RIGHT_LOGICAL, e->u64, index, gpu_u32(e, 32));
    return SPV(&e->m, SPV_U_CONVERT, e->u32, top);
}

static spv_id uniform(gpu_emitter *e, const gpu_element *at, uint32_t input,
                      uint32_t stream)
{
    const spv_id element = element_number(e, at);
    const spv_id zero = gpu_index(e, 0), one = gpu_index(e, 1);
    spv_id k0 = gpu_load_bits(e, at->address[input], zero, TN_I32);
    spv_id k1 = gpu_u32(e, stream);
    spv_id c[4] = {low_word(e, element), high_word(e, element),
                   gpu_load_bits(e, at->address[input], one, TN_I32),
                   gpu_u32(e, 0)};
    for (int round = 0; round < 10; round++) {
        spv_id h0, h1;
        const spv_id l0 = multiply(e, c[0], 0xD2511F53u, &h0);
        const spv_id l1 = multiply(e, c[2], 0xCD9E8D57u, &h1);
        c[0] = exclusive_or(e, h1, c[1], k0);
        c[1] = l1;
        c[2] = exclusive_or(e, h0, c[3], k1);
        c[3] = l0;
        k0 = SPV(&e->m, SPV_I_ADD, e->u32, k0, gpu_u32(e, 0x9E3779B9u));
        k1 = SPV(&e->m, SPV_I_ADD, e->u32, k1, gpu_u32(e, 0xBB67AE85u));
    }
    const spv_id top =
        SPV(&e->m, SPV_SHIFT_RIGHT_LOGICAL, e->u32, c[0], gpu_u32(e, 8));
    return gpu_mul(e, SPV(&e->m, SPV_CONVERT_U_TO_F, e->f32, top),
                   gpu_f32(e, 0x1p-24f));
}

/* ---- instructions ---- */

/* Operands that an instruction does not have may hold anything. */
static spv_id operand(gpu_emitter *e, const spv_id *r, uint8_t index,
                      uint8_t defined)
{
    return index < defined ? r[index] : gpu_f32(e, 0.0f);
}

void gpu_emit_program(gpu_emitter *e, const gpu_element *at, spv_id *r)
{
    const tn_program *p = &at->spec->program;
    for (uint8_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction it = p->instruction[i];
        if (it.op == TN_MAP_INPUT)
            r[i] = gpu_load(e, at->address[it.a], offset_of(e, at, it.a),
                            at->spec->in[it.a].dtype);
        else if (it.op == TN_MAP_CONST)
            r[i] = gpu_f32(e, (float)p->constant[it.a]);
        else if (it.op == TN_MAP_INDEX)
            r[i] = coordinate(e, at, it.a);
        else if (it.op == TN_MAP_RANDOM)
            r[i] = uniform(e, at, it.a, (uint32_t)p->constant[it.b]);
        else
            r[i] = gpu_compute(e, it.op, operand(e, r, it.a, i),
                               operand(e, r, it.b, i), operand(e, r, it.c, i));
    }
}
