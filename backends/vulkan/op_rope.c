/*
 * op_rope.c - rotary position embedding, as two emitted maps: cosines and sines
 * of (step, pair), once for all heads; then each pair of each head is turned by
 * them, read and written where it lies.
 *
 * Angles are what the decomposition makes of them, operation for operation.
 */
#include "emit_dispatch.h"

typedef struct rope {
    gpu_compiler *c;
    const tn_rope_attr *attr;
    int64_t batch, steps, heads, size, pairs; /* B, T, H, D, dims / 2 */
    int64_t tables;                           /* B with positions, else 1 */
    tn_dtype dtype;
    uint64_t x, y, positions;
    uint64_t cosines, sines; /* (tables, T, pairs) */
} rope;

/* A program that is written down in order; returns the register. */
static uint8_t add(tn_program *p, tn_map_op op, uint8_t a, uint8_t b)
{
    p->instruction[p->instruction_count] = (tn_instruction){op, a, b, 0};
    return p->instruction_count++;
}

static uint8_t constant(tn_program *p, double value)
{
    p->constant[p->constant_count] = value;
    return add(p, TN_MAP_CONST, p->constant_count++, 0);
}

/* position / theta^(2 pair / dims) */
static uint8_t angle(tn_program *p, const rope *r)
{
    const uint8_t position =
        r->positions ? add(p, TN_MAP_INPUT, 0, 0) : add(p, TN_MAP_INDEX, 1, 0);
    const uint8_t pair = add(p, TN_MAP_INDEX, 2, 0);
    const uint8_t two = constant(p, 2.0);
    const uint8_t dims = constant(p, 2.0 * (double)r->pairs);
    const uint8_t theta = constant(p, r->attr->theta);
    const uint8_t one = constant(p, 1.0);
    const uint8_t twice = add(p, TN_MAP_MUL, pair, two);
    const uint8_t exponent = add(p, TN_MAP_DIV, twice, dims);
    const uint8_t power = add(p, TN_MAP_POW, theta, exponent);
    const uint8_t frequency = add(p, TN_MAP_DIV, one, power);
    return add(p, TN_MAP_MUL, position, frequency);
}

static tn_status make_tables(const rope *r, tn_error *err)
{
    gpu_map_spec s = {
        .rank = 3, .out_count = 2, .shape = {r->tables, r->steps, r->pairs}};
    gpu_addresses a = {.count = 0};
    tn_program *p = &s.program;
    if (r->positions) {
        s.in_count = 1;
        s.in[0] = (gpu_view){TN_I32, {r->steps, 1, 0}};
        a.at[a.count++] = r->positions;
    }
    for (uint32_t i = 0; i < 2; i++)
        s.out[i] = (gpu_view){TN_F32, {r->steps * r->pairs, r->pairs, 1}};
    a.at[a.count++] = r->cosines;
    a.at[a.count++] = r->sines;
    const uint8_t turn = angle(p, r);
    p->output[0] = add(p, TN_MAP_COS, turn, 0);
    p->output[1] = add(p, TN_MAP_SIN, turn, 0);
    if (r->attr->inverse)
        p->output[1] = add(p, TN_MAP_NEG, p->output[1], 0);
    p->output_count = 2;
    return gpu_dispatch_map(r->c, &s, &a, err);
}

/* (a, b) -> (a cos - b sin, b cos + a sin) */
static tn_program turning(void)
{
    tn_program p = {.output_count = 2};
    uint8_t in[4];
    for (uint8_t i = 0; i < 4; i++)
        in[i] = add(&p, TN_MAP_INPUT, i, 0);
    const uint8_t ac = add(&p, TN_MAP_MUL, in[0], in[2]);
    const uint8_t bs = add(&p, TN_MAP_MUL, in[1], in[3]);
    const uint8_t bc = add(&p, TN_MAP_MUL, in[1], in[2]);
    const uint8_t as = add(&p, TN_MAP_MUL, in[0], in[3]);
    p.output[0] = add(&p, TN_MAP_SUB, ac, bs);
    p.output[1] = add(&p, TN_MAP_ADD, bc, as);
    return p;
}

static tn_status turn_pairs(const rope *r, tn_error *err)
{
    const int64_t head = r->size, step = r->heads * head;
    const int64_t apart = r->attr->interleaved ? 1 : r->pairs;
    const int64_t pair = r->attr->interleaved ? 2 : 1;
    const int64_t table = r->tables > 1 ? r->steps * r->pairs : 0;
    const gpu_view element = {r->dtype, {r->steps * step, step, head, pair}};
    const gpu_view angles = {TN_F32, {table, r->pairs, 0, 1}};
    const uint64_t second = (uint64_t)(apart * tn_dtype_bytes(r->dtype));
    const gpu_addresses a = {
        {r->x, r->x + second, r->cosines, r->sines, r->y, r->y + second}, 6};
    gpu_map_spec s = {.rank = 4,
                      .in_count = 4,
                      .out_count = 2,
                      .shape = {r->batch, r->steps, r->heads, r->pairs},
                      .in = {element, element, angles, angles},
                      .out = {element, element},
                      .program = turning()};
    return gpu_dispatch_map(r->c, &s, &a, err);
}

/* What lies behind the pairs passes through. */
static tn_status copy_rest(const rope *r, tn_error *err)
{
    const int64_t rest = r->size - 2 * r->pairs;
    const int64_t shape[] = {r->batch * r->steps * r->heads, rest};
    const int64_t stride[] = {r->size, 1};
    const uint64_t begin = (uint64_t)(2 * r->pairs * tn_dtype_bytes(r->dtype));
    const gpu_place to = {r->y + begin, r->dtype};
    if (!rest)
        return TN_OK;
    return gpu_dispatch_move(r->c, 2, shape, r->x + begin, stride, to, stride,
                             err);
}

uint32_t gpu_rope_fits(const tn_plan_node *n)
{
    return n->out[0].dtype == n->in[0].dtype;
}

tn_status gpu_compile_rope(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_rope_attr *attr = n->attr;
    const tn_operand *x = &n->in[0];
    rope r = {.c = c,
              .attr = attr,
              .batch = x->shape[0],
              .steps = x->shape[1],
              .heads = x->shape[2],
              .size = x->shape[3],
              .pairs = (attr->dims ? attr->dims : x->shape[3]) / 2,
              .dtype = x->dtype,
              .x = gpu_at(c, x),
              .y = gpu_at(c, &n->out[0]),
              .positions = n->in_count > 1 ? gpu_at(c, &n->in[1]) : 0};
    r.tables = r.positions ? r.batch : 1;
    r.cosines = gpu_scratch(c, 4 * r.tables * r.steps * r.pairs);
    r.sines = gpu_scratch(c, 4 * r.tables * r.steps * r.pairs);
    TN_TRY(make_tables(&r, err));
    TN_TRY(copy_rest(&r, err));
    gpu_next_phase(c);
    return turn_pairs(&r, err);
}
