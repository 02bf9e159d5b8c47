/*
 * tile.c - running a compiled program tile by tile (see tile.h).
 */
#include "tile.h"

#include <string.h>
#include <tenon/philox.h>

int64_t ISA(tile_scratch_bytes)(const tile_program *p)
{
    return ((int64_t)p->uniform_count * VW + (int64_t)p->row_count * TILE) *
           (int64_t)sizeof(float);
}

/* ---- leaves ---- */

static float element(const char *at, tn_dtype dtype)
{
    if (dtype == TN_F32)
        return *(const float *)(const void *)at;
    if (dtype == TN_BF16)
        return f_of_bf16(*(const uint16_t *)(const void *)at);
    return (float)*(const int32_t *)(const void *)at;
}

/* n elements of one line, `stride` elements apart, as floats. */
static void load_line(float *to, const char *from, int64_t stride,
                      tn_dtype dtype, int64_t n)
{
    if (stride == 0) {
        const float value = element(from, dtype);
        for (int64_t i = 0; i < n; i++)
            to[i] = value;
    } else if (dtype == TN_F32) {
        const float *x = (const float *)(const void *)from;
        if (stride == 1)
            memcpy(to, x, (size_t)n * sizeof *x);
        else
            for (int64_t i = 0; i < n; i++)
                to[i] = x[i * stride];
    } else if (dtype == TN_BF16) {
        const uint16_t *x = (const uint16_t *)(const void *)from;
        if (stride == 1)
            v_widen(to, x, n);
        else
            for (int64_t i = 0; i < n; i++)
                to[i] = f_of_bf16(x[i * stride]);
    } else {
        const int32_t *x = (const int32_t *)(const void *)from;
        for (int64_t i = 0; i < n; i++)
            to[i] = (float)x[i * stride];
    }
}

/* Walk the merged shape from element number `from`, line by line. */
static void load_strided(const tile_program *p, const tile_input *in,
                         const char *base, float *row, int64_t from, int64_t n)
{
    int64_t at[TN_MAX_RANK], offset = 0, rest = from;
    const int64_t bytes = cpu_bytes(in->dtype);
    const uint32_t last = p->rank - 1;
    for (uint32_t i = p->rank; i-- > 0;) {
        at[i] = rest % p->shape[i];
        rest /= p->shape[i];
        offset += at[i] * in->stride[i];
    }
    for (;;) {
        const int64_t line = cpu_min(n, p->shape[last] - at[last]);
        load_line(row, base + bytes * offset, in->stride[last], in->dtype,
                  line);
        row += line;
        n -= line;
        if (n == 0)
            return;
        offset -= at[last] * in->stride[last];
        at[last] = 0;
        for (uint32_t i = last; i-- > 0;) {
            offset += in->stride[i];
            if (++at[i] < p->shape[i])
                break;
            offset -= at[i] * in->stride[i];
            at[i] = 0;
        }
    }
}

static void load_index(const tile_program *p, uint8_t axis, float *row,
                       int64_t from, int64_t n)
{
    const int64_t inner = p->index_inner[axis], size = p->index_size[axis];
    int64_t coordinate = from / inner % size, left = inner - from % inner;
    for (int64_t i = 0; i < n; i++) {
        row[i] = (float)coordinate;
        if (--left == 0) {
            left = inner;
            coordinate = coordinate + 1 < size ? coordinate + 1 : 0;
        }
    }
}

/* tn_philox_uniform of elements `low` .. low + VW - 1, all with one `high`. */
static vf draw_vector(uint32_t seed, uint32_t stream, uint32_t step,
                      uint32_t low, uint32_t high)
{
    vi c0 = i_add(i_set((int32_t)low), i_lanes()), c1 = i_set((int32_t)high);
    vi c2 = i_set((int32_t)step), c3 = i_set(0);
    for (int round = 0; round < 10; round++) {
        vi high0, high1;
        const vi low0 = i_multiply(c0, 0xD2511F53u, &high0);
        const vi low1 = i_multiply(c2, 0xCD9E8D57u, &high1);
        c0 = i_xor(i_xor(high1, c1), i_set((int32_t)seed));
        c1 = low1;
        c2 = i_xor(i_xor(high0, c3), i_set((int32_t)stream));
        c3 = low0;
        seed += 0x9E3779B9u;
        stream += 0xBB67AE85u;
    }
    return v_from_i(i_shift_right_zero(c0, 8)) * v_set(0x1p-24f);
}

static void draw(const char *key, double constant, float *row, int64_t from,
                 int64_t n)
{
    const uint32_t *word = (const uint32_t *)(const void *)key;
    const uint32_t stream = (uint32_t)(int64_t)constant;
    for (int64_t i = 0; i < n; i += VW) {
        const uint64_t element = (uint64_t)(from + i);
        const uint32_t low = (uint32_t)element;
        if (low <= UINT32_MAX - VW)
            v_store(row + i, draw_vector(word[0], stream, word[1], low,
                                         (uint32_t)(element >> 32)));
        else /* the low word runs over within this vector */
            for (int k = 0; k < VW; k++)
                row[i + k] = tn_philox_uniform(word[0], stream, word[1],
                                               element + (uint64_t)k);
    }
}

static void run_leaf(const tile_state *s, const tile_instruction *t,
                     int64_t from, int64_t n)
{
    const tile_program *p = s->program;
    float *to = s->at[t->to];
    switch (t->op) {
    case TN_MAP_CONST:
        v_store(to, v_set((float)p->constant[t->a]));
        break;
    case TN_MAP_INDEX:
        load_index(p, t->a, to, from, n);
        break;
    case TN_MAP_RANDOM:
        draw(s->base[t->a], p->constant[t->b], to, from, n);
        break;
    default:
        if (s->mask[t->to] == 0)
            v_store(to, v_set(element(s->base[t->a], p->in[t->a].dtype)));
        else
            load_strided(p, &p->in[t->a], s->base[t->a], to, from, n);
    }
}

/* ---- tiles ---- */

static void run_instructions(const tile_state *s, const tile_instruction *t,
                             uint32_t count, int64_t from, int64_t n)
{
    const int64_t whole = v_round_up(n);
    for (uint32_t i = 0; i < count; i++, t++) {
        if (t->code)
            t->code(s->at, (size_t)whole);
        else if (t->function)
            t->function(s->at[t->to], s->at[t->a], s->mask[t->a], s->at[t->b],
                        s->mask[t->b], s->at[t->c], s->mask[t->c], whole);
        else
            run_leaf(s, t, from, n);
    }
}

void ISA(tile_begin)(tile_state *s, const tile_program *p, float *scratch,
                     const cpu_worker *w)
{
    float *rows = scratch + (int64_t)p->uniform_count * VW;
    s->program = p;
    s->rows = rows;
    for (uint32_t i = 0; i < p->slot_count; i++) {
        const int uniform = p->slot_uniform[i];
        s->at[i] = uniform ? scratch + (int64_t)p->slot_place[i] * VW
                           : rows + (int64_t)p->slot_place[i] * TILE;
        s->mask[i] = uniform ? 0 : ~(size_t)0;
    }
    for (uint32_t i = 0; i < p->input_count; i++)
        s->base[i] =
            p->in[i].shared < 0 ? p->in[i].base : w->shared + p->in[i].shared;
    run_instructions(s, p->prelude, p->prelude_count, 0, VW);
}

static void move_rows(tile_state *s, int64_t from, int64_t n)
{
    const tile_program *p = s->program;
    const int whole = n % VW == 0;
    for (uint32_t i = 0; i < p->input_count; i++) {
        const tile_input *in = &p->in[i];
        const int64_t bytes = cpu_bytes(in->dtype);
        if (!in->dense)
            continue;
        /* read through `at` only; its type serves rows that are written */
        float *here = (float *)(uintptr_t)(s->base[i] + bytes * from);
        float *row = s->rows + (int64_t)p->slot_place[in->slot] * TILE;
        const int in_place = whole && !in->kept;
        if (!in_place)
            memcpy(row, here, (size_t)(n * bytes));
        s->at[in->slot] = in_place ? here : row;
        if (in->some_rows)
            s->at[in->slot] = ISA(tile_some_rows)(s, in, here, row, from, n);
    }
    for (uint32_t i = 0; i < p->output_count; i++) {
        const tile_output *out = &p->out[i];
        char *here = out->base + cpu_bytes(out->dtype) * from;
        if (out->direct)
            s->at[out->moving] =
                whole ? (float *)(void *)here
                      : s->rows + (int64_t)p->slot_place[out->moving] * TILE;
    }
}

static void store_f32(float *to, const float *from, size_t mask, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(to + i, v_load(from + ((size_t)i & mask)));
    if (i < n)
        v_store_n(to + i, v_load(from + ((size_t)i & mask)), n - i);
}

static void store_bf16(uint16_t *to, const float *from, size_t mask, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store_bf16(to + i, v_load(from + ((size_t)i & mask)));
    if (i < n)
        v_store_bf16_n(to + i, v_load(from + ((size_t)i & mask)), n - i);
}

static void store_i32(int32_t *to, const float *from, size_t mask, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        i_store(to + i, v_to_i(v_load(from + ((size_t)i & mask))));
    if (i == n)
        return;
    int32_t last[VW];
    i_store(last, v_to_i(v_load(from + ((size_t)i & mask))));
    memcpy(to + i, last, (size_t)(n - i) * sizeof *to);
}

static void store_outputs(const tile_state *s, int64_t from, int64_t n)
{
    const tile_program *p = s->program;
    for (uint32_t i = 0; i < p->output_count; i++) {
        const tile_output *out = &p->out[i];
        void *to = out->base + cpu_bytes(out->dtype) * from;
        const float *row = s->at[out->slot];
        const size_t mask = s->mask[out->slot];
        if (out->direct && n % VW == 0)
            continue;
        if (out->direct)
            memcpy(to, s->at[out->moving], (size_t)(n * cpu_bytes(out->dtype)));
        else if (out->dtype == TN_F32)
            store_f32(to, row, mask, n);
        else if (out->dtype == TN_BF16)
            store_bf16(to, row, mask, n);
        else
            store_i32(to, row, mask, n);
    }
}

const float *ISA(tile_run)(tile_state *s, int64_t from, int64_t n)
{
    const tile_program *p = s->program;
    move_rows(s, from, n);
    run_instructions(s, p->body, p->body_count, from, n);
    if (p->out[0].base) {
        store_outputs(s, from, n);
        return NULL;
    }
    const float *row = s->at[p->out[0].slot];
    if (s->mask[p->out[0].slot] != 0)
        return row;
    float *spread = s->rows + (int64_t)p->spread_row * TILE;
    for (int64_t i = 0; i < n; i += VW)
        v_store(spread + i, v_load(row));
    return spread;
}
