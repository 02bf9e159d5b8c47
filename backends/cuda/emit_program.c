/*
 * emit_program.c - the instructions of a map program, at one element.
 *
 * CUDA's functions are within the 4 ulp that map.def asks for (the largest is
 * powf's 4); +, -, *, / and sqrtf round once, and nothing is contracted.
 */
#include "emit.h"

#include <string.h>

int gpu_program_has(const tn_program *p, tn_map_op op)
{
    for (uint32_t i = 0; i < p->instruction_count; i++)
        if (p->instruction[i].op == op)
            return 1;
    return 0;
}

int gpu_is_rng(const tn_program *p, uint32_t i)
{
    for (uint32_t k = 0; k < p->instruction_count; k++)
        if (p->instruction[k].op == TN_MAP_RANDOM && p->instruction[k].a == i)
            return 1;
    return 0;
}

/* With %1$u, %2$u and %3$u for the registers. */
static const char *const formulas[256] = {
    [TN_MAP_NEG] = "-r%1$u",
    [TN_MAP_ABS] = "fabsf(r%1$u)",
    [TN_MAP_SQRT] = "sqrtf(r%1$u)",
    [TN_MAP_RSQRT] = "1.0f / sqrtf(r%1$u)",
    [TN_MAP_EXP] = "expf(r%1$u)",
    [TN_MAP_EXPM1] = "expm1f(r%1$u)",
    [TN_MAP_LOG] = "logf(r%1$u)",
    [TN_MAP_LOG1P] = "log1pf(r%1$u)",
    [TN_MAP_TANH] = "tanhf(r%1$u)",
    [TN_MAP_SIGMOID] = "1.0f / (1.0f + expf(-r%1$u))",
    [TN_MAP_ERF] = "erff(r%1$u)",
    [TN_MAP_SIN] = "sinf(r%1$u)",
    [TN_MAP_COS] = "cosf(r%1$u)",
    [TN_MAP_FLOOR] = "floorf(r%1$u)",
    [TN_MAP_ROUND] = "rintf(r%1$u)",
    [TN_MAP_SIGN] = "(float)((r%1$u > 0.0f) - (r%1$u < 0.0f))",
    [TN_MAP_NOT] = "r%1$u == 0.0f ? 1.0f : 0.0f",
    [TN_MAP_FINITE] =
        "(__float_as_uint(r%1$u) & 0x7f800000u) != 0x7f800000u ? 1.0f : 0.0f",
    [TN_MAP_ADD] = "r%1$u + r%2$u",
    [TN_MAP_SUB] = "r%1$u - r%2$u",
    [TN_MAP_MUL] = "r%1$u * r%2$u",
    [TN_MAP_DIV] = "r%1$u / r%2$u",
    [TN_MAP_MIN] = "smaller(r%1$u, r%2$u)",
    [TN_MAP_MAX] = "larger(r%1$u, r%2$u)",
    [TN_MAP_POW] = "powf(r%1$u, r%2$u)",
    [TN_MAP_LT] = "r%1$u < r%2$u ? 1.0f : 0.0f",
    [TN_MAP_LE] = "r%1$u <= r%2$u ? 1.0f : 0.0f",
    [TN_MAP_EQ] = "r%1$u == r%2$u ? 1.0f : 0.0f",
    [TN_MAP_AND] = "r%1$u != 0.0f && r%2$u != 0.0f ? 1.0f : 0.0f",
    [TN_MAP_OR] = "r%1$u != 0.0f || r%2$u != 0.0f ? 1.0f : 0.0f",
    [TN_MAP_FMA] = "fmaf(r%1$u, r%2$u, r%3$u)",
    [TN_MAP_SELECT] = "r%1$u != 0.0f ? r%2$u : r%3$u",
};

static void say_formula(gpu_text *t, tn_instruction it)
{
    const unsigned r[3] = {it.a, it.b, it.c};
    const char *f = formulas[it.op];
    if (!f) { /* an op of a newer core: NVRTC names it */
        gpu_say(t, "unknown_map_instruction_%u", (unsigned)it.op);
        return;
    }
    for (const char *at; (at = strchr(f, '%')); f = at + 4) {
        gpu_say(t, "%.*s%u", (int)(at - f), f, r[at[1] - '1']);
    }
    gpu_say(t, "%s", f);
}

/* philox4x32-10 of <tenon/philox.h>: a loop over words c0 .. c3 */
static void say_uniform(gpu_text *t, const gpu_element *at, uint32_t input,
                        uint32_t stream, uint32_t to)
{
    gpu_say(t,
            "float r%u;\n{\n"
            "const unsigned *rng = (const unsigned *)a.at[%u];\n"
            "const unsigned long long number = "
            "(unsigned long long)(%s);\n"
            "unsigned k0 = rng[0], k1 = %uu;\n"
            "unsigned w0 = (unsigned)number, w1 = (unsigned)(number >> 32);\n"
            "unsigned w2 = rng[1], w3 = 0u;\n"
            "for (int round = 0; round < 10; round++) {\n"
            "const unsigned long long p0 = 0xD2511F53ull * w0;\n"
            "const unsigned long long p1 = 0xCD9E8D57ull * w2;\n"
            "w0 = (unsigned)(p1 >> 32) ^ w1 ^ k0;\n"
            "w2 = (unsigned)(p0 >> 32) ^ w3 ^ k1;\n"
            "w1 = (unsigned)p1; w3 = (unsigned)p0;\n"
            "k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;\n}\n"
            "r%u = (float)(w0 >> 8) / 16777216.0f;\n}\n",
            to, input, at->number, stream, to);
}

static void say_constant(gpu_text *t, double value)
{
    const float rounded = (float)value;
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    gpu_say(t, "__uint_as_float(0x%08xu)", bits);
}

void gpu_emit_program(gpu_text *t, const gpu_element *at)
{
    const tn_program *p = &at->spec->program;
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction it = p->instruction[i];
        if (it.op == TN_MAP_RANDOM) {
            say_uniform(t, at, it.a, (uint32_t)p->constant[it.b], i);
            continue;
        }
        gpu_say(t, "const float r%u = ", i);
        if (it.op == TN_MAP_INPUT)
            gpu_say(t, "%s", at->input[it.a]);
        else if (it.op == TN_MAP_CONST)
            say_constant(t, p->constant[it.a]);
        else if (it.op == TN_MAP_INDEX)
            gpu_say(t, "(float)(%s)", at->coordinate[it.a]);
        else
            say_formula(t, it);
        gpu_say(t, ";\n");
    }
}
