/*
 * coop.c - which cooperative matrices to use, and the module that uses them.
 */
#include "coop.h"

#include <stdlib.h>
#include <string.h>

/* ---- choosing ---- */

static int fits(const gpu_coop_row *r, tn_dtype dtype)
{
    const uint32_t side = GPU_COOP_SIDE / 2;
    return r->of_subgroup && r->a == dtype && r->b == dtype && r->c == TN_F32 &&
           r->y == TN_F32 && r->m && r->n && r->k && side % r->m == 0 &&
           side % r->n == 0 && side % r->k == 0;
}

/* The more one instruction does, the fewer loads each product needs. */
gpu_coop gpu_coop_choose(const gpu_coop_row *rows, uint32_t count,
                         tn_dtype dtype, uint32_t kind, uint32_t subgroup)
{
    gpu_coop best = {.kind = GPU_COOP_NONE};
    uint32_t most = 0;
    for (uint32_t i = 0; i < count; i++) {
        const gpu_coop_row *r = &rows[i];
        const uint32_t work = r->m * r->n * r->k;
        if (!fits(r, dtype) || work <= most)
            continue;
        most = work;
        best = (gpu_coop){kind, r->m, r->n, r->k, subgroup};
    }
    return best;
}

/* ---- rewriting ---- */

/* Numbers of the SPIR-V specification and of both extensions. */
enum {
    HEADER_WORDS = 5,
    BOUND = 3, /* word of the header: 1 + the largest id */

    OP_EXTENSION = 10,
    OP_CAPABILITY = 17,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_CONSTANT_TRUE = 41,
    OP_CONSTANT = 43,
    NV_TYPE = 5358,
    NV_LOAD = 5359,
    NV_STORE = 5360,
    NV_MULTIPLY = 5361,
    KHR_TYPE = 4456,
    KHR_LOAD = 4457,
    KHR_STORE = 4458,
    KHR_MULTIPLY = 4459,

    CAPABILITY_FLOAT16 = 9,
    CAPABILITY_NV = 5357,
    CAPABILITY_KHR = 6022,
    CAPABILITY_BF16 = 5116,
    CAPABILITY_BF16_MATRIX = 5118,
    ENCODING_BF16 = 0,

    USE_A = 0,
    USE_B = 1,
    USE_SUM = 2,
};

typedef struct rewriter {
    uint32_t *to;
    uint32_t count;
    uint32_t khr, bf16;
    uint32_t u32, yes; /* ids of the type uint and of true */
    uint32_t number;   /* id of the constant 0; 1 and 2 follow */
    uint32_t numbered; /* these constants stand there */
    const uint32_t *words, *end;
} rewriter;

static void put(rewriter *r, uint32_t opcode, uint32_t count,
                const uint32_t *operands)
{
    r->to[r->count++] = (count + 1) << 16 | opcode;
    memcpy(r->to + r->count, operands, count * sizeof *operands);
    r->count += count;
}
#define PUT(r, opcode, ...)                                                    \
    put((r), (opcode),                                                         \
        (uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)),      \
        (const uint32_t[]){__VA_ARGS__})

static void put_extension(rewriter *r, const char *name)
{
    uint32_t words[16] = {0};
    memcpy(words, name, strlen(name));
    put(r, OP_EXTENSION, (uint32_t)strlen(name) / 4 + 1, words);
}

static uint32_t opcode_of(const uint32_t *at)
{
    return at[0] & 0xffff;
}

static const uint32_t *next_of(const uint32_t *at)
{
    return at + (at[0] >> 16);
}

static void find_ids(rewriter *r)
{
    for (const uint32_t *at = r->words; at < r->end; at = next_of(at)) {
        if (opcode_of(at) == OP_TYPE_INT && at[2] == 32 && at[3] == 0)
            r->u32 = at[1];
        if (opcode_of(at) == OP_CONSTANT_TRUE)
            r->yes = at[2];
    }
}

/* KHR's types say what they are for: what is loaded column by column is b, what
 * is loaded otherwise a, and what is not loaded the sum. */
static uint32_t use_of(const rewriter *r, uint32_t type)
{
    for (const uint32_t *at = r->words; at < r->end; at = next_of(at))
        if (opcode_of(at) == NV_LOAD && at[1] == type)
            return at[5] == r->yes ? USE_B : USE_A;
    return USE_SUM;
}

static void put_capability(rewriter *r, uint32_t capability)
{
    if (capability == CAPABILITY_NV && r->khr)
        capability = CAPABILITY_KHR;
    if (capability == CAPABILITY_FLOAT16 && r->bf16) {
        PUT(r, OP_CAPABILITY, CAPABILITY_BF16_MATRIX);
        capability = CAPABILITY_BF16;
    }
    PUT(r, OP_CAPABILITY, capability);
}

static void put_type(rewriter *r, const uint32_t *at)
{
    for (uint32_t i = 0; i < 3 && !r->numbered; i++)
        PUT(r, OP_CONSTANT, r->u32, r->number + i, i);
    r->numbered = 1;
    PUT(r, KHR_TYPE, at[1], at[2], at[3], at[4], at[5],
        r->number + use_of(r, at[1]));
}

/* NV: stride, whether by columns; KHR: the layout's number, stride. `at` is
 * where these two stand, behind the first `before` operands. */
static void put_access(rewriter *r, uint32_t opcode, const uint32_t *at,
                       uint32_t before)
{
    const uint32_t count = (at[0] >> 16) - 1;
    uint32_t operands[16];
    memcpy(operands, at + 1, count * sizeof *operands);
    operands[before] = r->number + (at[before + 2] == r->yes);
    operands[before + 1] = at[before + 1];
    put(r, opcode, count, operands);
}

static void put_extensions(rewriter *r)
{
    put_extension(r, "SPV_KHR_cooperative_matrix");
    if (r->bf16)
        put_extension(r, "SPV_KHR_bfloat16");
}

static void rewrite(rewriter *r, const uint32_t *at)
{
    const uint32_t count = (at[0] >> 16) - 1;
    const uint32_t opcode = opcode_of(at);
    if (opcode == OP_CAPABILITY)
        put_capability(r, at[1]);
    else if (opcode == OP_EXTENSION && r->khr)
        put_extensions(r);
    else if (opcode == OP_TYPE_FLOAT && at[2] == 16 && r->bf16)
        PUT(r, OP_TYPE_FLOAT, at[1], 16, ENCODING_BF16);
    else if (opcode == NV_TYPE && r->khr)
        put_type(r, at);
    else if (opcode == NV_LOAD && r->khr)
        put_access(r, KHR_LOAD, at, 3);
    else if (opcode == NV_STORE && r->khr)
        put_access(r, KHR_STORE, at, 2);
    else if (opcode == NV_MULTIPLY && r->khr)
        put(r, KHR_MULTIPLY, count, at + 1);
    else
        put(r, opcode, count, at + 1);
}

uint32_t *gpu_coop_rewrite(const uint32_t *words, uint32_t count, uint32_t kind,
                           tn_dtype dtype, uint32_t *word_count)
{
    rewriter r = {.to = malloc(2u * count * sizeof *words),
                  .khr = kind == GPU_COOP_KHR,
                  .bf16 = dtype == TN_BF16,
                  .words = words + HEADER_WORDS,
                  .end = words + count};
    if (!r.to)
        return NULL;
    memcpy(r.to, words, HEADER_WORDS * sizeof *words);
    r.count = HEADER_WORDS;
    r.number = words[BOUND];
    r.to[BOUND] += 3;
    find_ids(&r);
    for (const uint32_t *at = r.words; at < r.end; at = next_of(at))
        rewrite(&r, at);
    *word_count = r.count;
    return r.to;
}
