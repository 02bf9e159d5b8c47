/*
 * emit.c - what every emitted kernel begins with, and how it finds elements.
 */
#include "emit.h"

#include <string.h>

enum {
    CAPABILITY_SHADER = 1,
    CAPABILITY_INT64 = 11,
    CAPABILITY_STORAGE_16 = 4433,
    CAPABILITY_NAN_PRESERVE = 4466,
    CAPABILITY_PHYSICAL_ADDRESSES = 5347,
    ADDRESSING_PHYSICAL_64 = 5348,
    MEMORY_GLSL450 = 1,
    MODEL_COMPUTE = 5,
    MODE_LOCAL_SIZE = 17,
    MODE_NAN_PRESERVE = 4461,
    DECORATION_BLOCK = 2,
    DECORATION_BUILTIN = 11,
    DECORATION_OFFSET = 35,
    DECORATION_ROUNDING = 39,
    ROUND_TO_EVEN = 0,
    BUILTIN_GROUPS = 24,
    BUILTIN_GROUP = 26,
    BUILTIN_LOCAL = 27,
    ALIGNED = 2,
};

/* ---- constants ---- */

spv_id gpu_u32(gpu_emitter *e, uint32_t value)
{
    return spv_constant(&e->m, e->u32, 1, &value);
}

spv_id gpu_u64(gpu_emitter *e, uint64_t value)
{
    const uint32_t words[] = {(uint32_t)value, (uint32_t)(value >> 32)};
    return spv_constant(&e->m, e->u64, 2, words);
}

spv_id gpu_f32(gpu_emitter *e, float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return spv_constant(&e->m, e->f32, 1, &word);
}

spv_id gpu_index(gpu_emitter *e, int64_t value)
{
    return e->wide ? gpu_u64(e, (uint64_t)value) : gpu_u32(e, (uint32_t)value);
}

/* ---- the frame ---- */

static int64_t last_element(const gpu_map_spec *s, const int64_t *stride)
{
    int64_t last = 0;
    for (uint32_t i = 0; i < s->rank; i++)
        last += (s->shape[i] - 1) * stride[i];
    return last;
}

/* Whether some index or offset does not fit into 31 bits. */
static uint32_t is_wide(const gpu_map_spec *s, int64_t reach)
{
    const int64_t limit = INT32_MAX - 65536;
    int64_t elements = 1;
    uint32_t wide = reach > limit;
    for (uint32_t i = 0; i < s->rank; i++)
        elements *= s->shape[i];
    for (uint32_t i = 0; i < s->in_count; i++)
        wide |= last_element(s, s->in[i].stride) > limit;
    for (uint32_t i = 0; i < s->out_count; i++)
        wide |= last_element(s, s->out[i].stride) > limit;
    return wide | (elements > limit);
}

static void make_types(gpu_emitter *e)
{
    spv_module *m = &e->m;
    e->void_ = spv_type(m, SPV_TYPE_VOID, 0, NULL);
    e->bool_ = spv_type(m, SPV_TYPE_BOOL, 0, NULL);
    e->u32 = SPV_TYPE(m, SPV_TYPE_INT, 32, 0);
    e->i32 = SPV_TYPE(m, SPV_TYPE_INT, 32, 1);
    e->u64 = SPV_TYPE(m, SPV_TYPE_INT, 64, 0);
    e->f32 = SPV_TYPE(m, SPV_TYPE_FLOAT, 32);
    e->index = e->wide ? e->u64 : e->u32;
}

static spv_id make_variable(gpu_emitter *e, uint32_t storage, spv_id type)
{
    const spv_id id = spv_new(&e->m);
    const spv_id pointer = SPV_TYPE(&e->m, SPV_TYPE_POINTER, storage, type);
    SPV_GLOBAL(&e->m, SPV_VARIABLE, pointer, id, storage);
    return id;
}

static spv_id make_builtin(gpu_emitter *e, uint32_t number)
{
    const spv_id vector = SPV_TYPE(&e->m, SPV_TYPE_VECTOR, e->u32, 3);
    const spv_id id = make_variable(e, SPV_STORAGE_INPUT, vector);
    SPV_DECORATION(&e->m, SPV_DECORATE, id, DECORATION_BUILTIN, number);
    return id;
}

/* gpu_push, as far as these kernels read it. */
static void make_variables(gpu_emitter *e, int uses_shared)
{
    const spv_id push = SPV_TYPE(&e->m, SPV_TYPE_STRUCT, e->u64);
    SPV_DECORATION(&e->m, SPV_DECORATE, push, DECORATION_BLOCK);
    SPV_DECORATION(&e->m, SPV_MEMBER_DECORATE, push, 0, DECORATION_OFFSET, 0);
    e->push = make_variable(e, SPV_STORAGE_PUSH_CONSTANT, push);
    e->group = make_builtin(e, BUILTIN_GROUP);
    e->groups = make_builtin(e, BUILTIN_GROUPS);
    e->local = make_builtin(e, BUILTIN_LOCAL);
    if (uses_shared)
        e->shared = make_variable(e, SPV_STORAGE_WORKGROUP,
                                  SPV_TYPE(&e->m, SPV_TYPE_ARRAY, e->f32,
                                           gpu_u32(e, GPU_LOCAL_SIZE)));
}

/* Whether some element has two bytes. */
static int uses_halves(const gpu_map_spec *s)
{
    int uses = 0;
    for (uint32_t i = 0; i < s->in_count; i++)
        uses |= tn_dtype_bytes(s->in[i].dtype) == 2;
    for (uint32_t i = 0; i < s->out_count; i++)
        uses |= tn_dtype_bytes(s->out[i].dtype) == 2;
    return uses;
}

static void make_head(gpu_emitter *e, int keeps_nan, int halves)
{
    spv_module *m = &e->m;
    const uint32_t name[] = {0x4c534c47, 0x6474732e, 0x3035342e, 0};
    SPV_HEAD(m, SPV_CAPABILITY, CAPABILITY_SHADER);
    SPV_HEAD(m, SPV_CAPABILITY, CAPABILITY_INT64);
    SPV_HEAD(m, SPV_CAPABILITY, CAPABILITY_PHYSICAL_ADDRESSES);
    if (halves)
        SPV_HEAD(m, SPV_CAPABILITY, CAPABILITY_STORAGE_16);
    if (keeps_nan)
        SPV_HEAD(m, SPV_CAPABILITY, CAPABILITY_NAN_PRESERVE);
    SPV_HEAD(m, SPV_EXT_INST_IMPORT, e->glsl, name[0], name[1], name[2],
             name[3]);
    SPV_HEAD(m, SPV_MEMORY_MODEL, ADDRESSING_PHYSICAL_64, MEMORY_GLSL450);
    const uint32_t entry[] = {MODEL_COMPUTE,
                              e->main,
                              0x6e69616d /* main */,
                              0,
                              e->push,
                              e->group,
                              e->groups,
                              e->local,
                              e->shared};
    spv_write(m, SPV_IN_HEAD, SPV_ENTRY_POINT, e->shared ? 9 : 8, entry);
    SPV_HEAD(m, SPV_EXECUTION_MODE, e->main, MODE_LOCAL_SIZE, GPU_LOCAL_SIZE, 1,
             1);
    if (keeps_nan)
        SPV_HEAD(m, SPV_EXECUTION_MODE, e->main, MODE_NAN_PRESERVE, 32);
}

void gpu_emit_begin(gpu_emitter *e, const gpu_map_spec *spec, int64_t reach,
                    int uses_shared)
{
    spv_module *m = &e->m;
    memset(e, 0, sizeof *e);
    e->shape = spec->shape;
    e->wide = is_wide(spec, reach);
    e->fuses = spec->fuses;
    e->divides = spec->divides;
    e->glsl = spv_new(m);
    e->main = spv_new(m);
    e->entry = spv_new(m);
    make_types(e);
    make_variables(e, uses_shared);
    make_head(e, (int)spec->keeps_nan, uses_halves(spec));
    const spv_id function = SPV_TYPE(m, SPV_TYPE_FUNCTION, e->void_);
    SPV_DO(m, SPV_FUNCTION, e->void_, e->main, 0, function);
    SPV_DO(m, SPV_LABEL, e->entry);
    const spv_id pointer =
        SPV_TYPE(m, SPV_TYPE_POINTER, SPV_STORAGE_PUSH_CONSTANT, e->u64);
    const spv_id at = SPV(m, SPV_ACCESS_CHAIN, pointer, e->push, gpu_u32(e, 0));
    e->arguments = SPV(m, SPV_LOAD, e->u64, at);
}

uint32_t *gpu_emit_end(gpu_emitter *e, uint32_t *word_count)
{
    spv_write(&e->m, SPV_IN_CODE, SPV_RETURN, 0, NULL);
    spv_write(&e->m, SPV_IN_CODE, SPV_FUNCTION_END, 0, NULL);
    uint32_t *words = spv_finish(&e->m, word_count);
    spv_free(&e->m);
    return words;
}

/* ---- who am I ---- */

static spv_id builtin(gpu_emitter *e, spv_id variable, uint32_t axis)
{
    const spv_id vector = SPV_TYPE(&e->m, SPV_TYPE_VECTOR, e->u32, 3);
    const spv_id all = SPV(&e->m, SPV_LOAD, vector, variable);
    return SPV(&e->m, SPV_COMPOSITE_EXTRACT, e->u32, all, axis);
}

static spv_id to_index(gpu_emitter *e, spv_id u32)
{
    return e->wide ? SPV(&e->m, SPV_U_CONVERT, e->u64, u32) : u32;
}

spv_id gpu_workgroup(gpu_emitter *e)
{
    const spv_id x = to_index(e, builtin(e, e->group, 0));
    const spv_id y = to_index(e, builtin(e, e->group, 1));
    const spv_id width = to_index(e, builtin(e, e->groups, 0));
    const spv_id rows = SPV(&e->m, SPV_I_MUL, e->index, y, width);
    return SPV(&e->m, SPV_I_ADD, e->index, x, rows);
}

spv_id gpu_invocation(gpu_emitter *e)
{
    return to_index(e, builtin(e, e->local, 0));
}

/* ---- memory ---- */

static spv_id load_from(gpu_emitter *e, spv_id address, spv_id type,
                        uint32_t alignment)
{
    const spv_id pointer =
        SPV_TYPE(&e->m, SPV_TYPE_POINTER, SPV_STORAGE_PHYSICAL, type);
    const spv_id at = SPV(&e->m, SPV_CONVERT_U_TO_PTR, pointer, address);
    return SPV(&e->m, SPV_LOAD, type, at, ALIGNED, alignment);
}

static void store_to(gpu_emitter *e, spv_id address, spv_id type,
                     uint32_t alignment, spv_id value)
{
    const spv_id pointer =
        SPV_TYPE(&e->m, SPV_TYPE_POINTER, SPV_STORAGE_PHYSICAL, type);
    const spv_id at = SPV(&e->m, SPV_CONVERT_U_TO_PTR, pointer, address);
    SPV_DO(&e->m, SPV_STORE, at, value, ALIGNED, alignment);
}

spv_id gpu_argument(gpu_emitter *e, uint32_t i)
{
    const spv_id at =
        SPV(&e->m, SPV_I_ADD, e->u64, e->arguments, gpu_u64(e, 8u * i));
    return load_from(e, at, e->u64, 8);
}

/* address + offset elements of 4 bytes, or of 2 */
static spv_id element_at(gpu_emitter *e, spv_id address, spv_id offset,
                         tn_dtype dtype)
{
    const spv_id wide =
        e->wide ? offset : SPV(&e->m, SPV_U_CONVERT, e->u64, offset);
    const uint32_t shift = tn_dtype_bytes(dtype) == 2 ? 1 : 2;
    const spv_id bytes =
        SPV(&e->m, SPV_SHIFT_LEFT_LOGICAL, e->u64, wide, gpu_u32(e, shift));
    return SPV(&e->m, SPV_I_ADD, e->u64, address, bytes);
}

static spv_id half_type(gpu_emitter *e)
{
    return SPV_TYPE(&e->m, SPV_TYPE_INT, 16, 0);
}

spv_id gpu_load_bits(gpu_emitter *e, spv_id address, spv_id offset,
                     tn_dtype dtype)
{
    const spv_id at = element_at(e, address, offset, dtype);
    if (tn_dtype_bytes(dtype) != 2)
        return load_from(e, at, e->u32, 4);
    return SPV(&e->m, SPV_U_CONVERT, e->u32, load_from(e, at, half_type(e), 2));
}

void gpu_store_bits(gpu_emitter *e, spv_id address, spv_id offset,
                    tn_dtype dtype, spv_id bits)
{
    const spv_id at = element_at(e, address, offset, dtype);
    if (tn_dtype_bytes(dtype) != 2) {
        store_to(e, at, e->u32, 4, bits);
        return;
    }
    const spv_id half = SPV(&e->m, SPV_U_CONVERT, half_type(e), bits);
    store_to(e, at, half_type(e), 2, half);
}

static spv_id f16_type(gpu_emitter *e)
{
    return SPV_TYPE(&e->m, SPV_TYPE_FLOAT, 16);
}

spv_id gpu_load(gpu_emitter *e, spv_id address, spv_id offset, tn_dtype dtype)
{
    spv_module *m = &e->m;
    const spv_id at = element_at(e, address, offset, dtype);
    if (dtype == TN_F32)
        return load_from(e, at, e->f32, 4);
    if (dtype == TN_F16)
        return SPV(m, SPV_F_CONVERT, e->f32, load_from(e, at, f16_type(e), 2));
    if (dtype == TN_I32)
        return SPV(m, SPV_CONVERT_S_TO_F, e->f32, load_from(e, at, e->i32, 4));
    const spv_id bits = gpu_load_bits(e, address, offset, dtype);
    return SPV(m, SPV_BITCAST, e->f32,
               SPV(m, SPV_SHIFT_LEFT_LOGICAL, e->u32, bits, gpu_u32(e, 16)));
}

static spv_id word_op(gpu_emitter *e, uint32_t opcode, spv_id a, spv_id b)
{
    return SPV(&e->m, opcode, e->u32, a, b);
}

/* The upper half of an f32's bits, rounded; a NaN stays one. */
static spv_id to_bf16(gpu_emitter *e, spv_id value)
{
    const spv_id bits = SPV(&e->m, SPV_BITCAST, e->u32, value);
    const spv_id sixteen = gpu_u32(e, 16);
    const spv_id top = word_op(e, SPV_SHIFT_RIGHT_LOGICAL, bits, sixteen);
    const spv_id odd = word_op(e, SPV_BITWISE_AND, top, gpu_u32(e, 1));
    const spv_id up = word_op(
        e, SPV_I_ADD, word_op(e, SPV_I_ADD, bits, gpu_u32(e, 0x7fff)), odd);
    const spv_id rounded = word_op(e, SPV_SHIFT_RIGHT_LOGICAL, up, sixteen);
    const spv_id quiet = word_op(e, SPV_BITWISE_OR, top, gpu_u32(e, 0x40));
    const spv_id size =
        word_op(e, SPV_BITWISE_AND, bits, gpu_u32(e, 0x7fffffff));
    const spv_id number =
        SPV(&e->m, SPV_U_LESS_THAN, e->bool_, size, gpu_u32(e, 0x7f800001));
    return SPV(&e->m, SPV_SELECT, e->u32, number, rounded, quiet);
}

static spv_id to_f16(gpu_emitter *e, spv_id value)
{
    const spv_id half = SPV(&e->m, SPV_F_CONVERT, f16_type(e), value);
    SPV_DECORATION(&e->m, SPV_DECORATE, half, DECORATION_ROUNDING,
                   ROUND_TO_EVEN);
    return half;
}

/* Nearest integer, ties to even; at the ends of the range where it does not
 * fit, 0 for NaN. */
static spv_id to_integer(gpu_emitter *e, spv_id value)
{
    spv_module *m = &e->m;
    const float limit = 0x1p31f;
    const spv_id whole =
        SPV(m, SPV_EXT_INST, e->f32, e->glsl, SPV_GLSL_ROUND_EVEN, value);
    const spv_id low =
        SPV(m, SPV_F_ORD_LESS_THAN, e->bool_, whole, gpu_f32(e, -limit));
    const spv_id high = SPV(m, SPV_F_ORD_GREATER_THAN_EQUAL, e->bool_, whole,
                            gpu_f32(e, limit));
    const spv_id number = SPV(m, SPV_F_ORD_EQUAL, e->bool_, value, value);
    spv_id inside = SPV(m, SPV_SELECT, e->f32, high, gpu_f32(e, 0.0f), whole);
    inside = SPV(m, SPV_SELECT, e->f32, low, gpu_f32(e, -limit), inside);
    inside = SPV(m, SPV_SELECT, e->f32, number, inside, gpu_f32(e, 0.0f));
    const spv_id integer = SPV(m, SPV_CONVERT_F_TO_S, e->i32, inside);
    const uint32_t most = 0x7fffffff;
    return SPV(m, SPV_SELECT, e->i32, high, spv_constant(m, e->i32, 1, &most),
               integer);
}

void gpu_store(gpu_emitter *e, spv_id address, spv_id offset, tn_dtype dtype,
               spv_id value)
{
    const spv_id at = element_at(e, address, offset, dtype);
    if (dtype == TN_F32)
        store_to(e, at, e->f32, 4, value);
    else if (dtype == TN_F16)
        store_to(e, at, f16_type(e), 2, to_f16(e, value));
    else if (dtype == TN_BF16)
        gpu_store_bits(e, address, offset, dtype, to_bf16(e, value));
    else
        store_to(e, at, e->i32, 4, to_integer(e, value));
}

/* ---- indices ---- */

spv_id gpu_coordinate_of(gpu_emitter *e, spv_id counter, int64_t inner,
                         int64_t size, int outermost)
{
    enum { MOST = sizeof e->known / sizeof e->known[0] };
    for (uint32_t i = 0; i < e->known_count; i++) {
        const gpu_coordinate *k = &e->known[i];
        if (k->counter == counter && k->inner == inner && k->size == size)
            return k->id;
    }
    spv_id id = counter;
    if (inner != 1)
        id = SPV(&e->m, SPV_U_DIV, e->index, id, gpu_index(e, inner));
    if (!outermost)
        id = SPV(&e->m, SPV_U_MOD, e->index, id, gpu_index(e, size));
    if (e->known_count < MOST)
        e->known[e->known_count++] = (gpu_coordinate){counter, id, inner, size};
    return id;
}

/* Axes that lie behind each other in memory are taken as one; of broadcast ones
 * nothing is left. */
spv_id gpu_offset(gpu_emitter *e, const gpu_walk *walk, const int64_t *stride)
{
    spv_id total = 0;
    int64_t inner = 1;
    for (uint32_t i = walk->count; i-- > 0;) {
        int64_t size = e->shape[walk->axis[i]];
        const int64_t step = stride[walk->axis[i]], here = inner;
        inner *= size;
        if (size == 1)
            continue;
        for (; i > 0; i--) {
            const uint32_t next = walk->axis[i - 1];
            if (e->shape[next] != 1 && stride[next] != step * size)
                break;
            size *= e->shape[next];
            inner *= e->shape[next];
        }
        if (!step)
            continue;
        spv_id term = gpu_coordinate_of(e, walk->counter, here, size, i == 0);
        if (step != 1)
            term = SPV(&e->m, SPV_I_MUL, e->index, term, gpu_index(e, step));
        total = total ? SPV(&e->m, SPV_I_ADD, e->index, total, term) : term;
    }
    return total ? total : gpu_index(e, 0);
}
