/*
 * emit_reduce.c - sums and extremes: each lane takes every lanes-th element of
 * its part, then the lanes of an output are joined in shared memory as a tree.
 *
 *     for (r = begin + lane; r < end; r += lanes)
 *         total = total + program(o, r)
 *
 * The order of a sum follows from shapes alone, never from the device.
 */
#include "emit.h"

#include <stdlib.h>

typedef struct frame {
    const gpu_reduce_spec *s;
    int64_t outputs, reduced;
    gpu_walk kept, inner;
} frame;

static frame frame_of(const gpu_reduce_spec *s)
{
    frame f = {.s = s, .outputs = 1, .reduced = 1};
    f.kept.counter = "o";
    f.inner.counter = "r";
    for (uint32_t i = 0; i < s->map.rank; i++) {
        const int is_reduced = s->axes >> i & 1u;
        gpu_walk *walk = is_reduced ? &f.inner : &f.kept;
        walk->axis[walk->count++] = i;
        *(is_reduced ? &f.reduced : &f.outputs) *= s->map.shape[i];
    }
    return f;
}

static void say_combined(gpu_text *t, uint32_t kind, const char *a,
                         const char *b)
{
    if (kind == TN_REDUCE_SUM)
        gpu_say(t, "%s + %s", a, b);
    else
        gpu_say(t, "%s(%s, %s)", kind == TN_REDUCE_MAX ? "larger" : "smaller",
                a, b);
}

/* Which output, lane and part this thread is. */
static void emit_place(gpu_text *t, const frame *f)
{
    const gpu_reduce_spec *s = f->s;
    const int64_t groups = (f->outputs + s->columns - 1) / s->columns;
    gpu_say(t, "const unsigned me = threadIdx.x;\n");
    if (s->by_rows)
        gpu_say(t, "const unsigned lane = me %% %u, column = me / %u;\n",
                s->lanes, s->lanes);
    else
        gpu_say(t, "const unsigned column = me %% %u, lane = me / %u;\n",
                s->columns, s->columns);
    gpu_say(t,
            "const index part = (index)blockIdx.x / %lld;\n"
            "const index mine = (index)blockIdx.x %% %lld * %u + column;\n"
            "const bool inside = mine < %lld;\n"
            "const index o = inside ? mine : 0;\n",
            (long long)groups, (long long)groups, s->columns,
            (long long)f->outputs);
}

/* Offsets that stay over the loop, and the loop's bounds. */
static void emit_before_loop(gpu_text *t, const frame *f)
{
    const gpu_map_spec *m = &f->s->map;
    const int64_t share = (f->reduced + f->s->splits - 1) / f->s->splits;
    gpu_emit_coordinates(t, m, &f->kept);
    for (uint32_t i = 0; i < m->in_count; i++) {
        if (gpu_is_rng(&m->program, i))
            continue;
        const char *type = gpu_type_name(m->in[i].dtype);
        gpu_say(t, "const %s *x%u = (const %s *)a.at[%u] + (", type, i, type,
                i);
        gpu_emit_offset(t, m, &f->kept, m->in[i].stride);
        gpu_say(t, ");\n");
    }
    gpu_say(t,
            "const index begin = part * %lld;\n"
            "const index end = begin + %lld < %lld ? begin + %lld : %lld;\n",
            (long long)share, (long long)share, (long long)f->reduced,
            (long long)share, (long long)f->reduced);
}

/* The expression of input i inside the loop. */
static void input_text(const frame *f, uint32_t i, char *text, size_t size)
{
    const gpu_map_spec *m = &f->s->map;
    gpu_text offset = {.at = NULL};
    gpu_emit_offset(&offset, m, &f->inner, m->in[i].stride);
    char *taken = gpu_take_text(&offset);
    snprintf(text, size, "get(x%u[%s])", i, taken ? taken : "0");
    free(taken);
}

/* The row-major number of the element in the shape before reducing. */
static void number_text(const frame *f, char *text, size_t size)
{
    const gpu_map_spec *m = &f->s->map;
    size_t at = 0;
    int64_t inner = 1;
    text[0] = '\0';
    for (uint32_t i = m->rank; i-- > 0;) {
        if (at < size)
            at += (size_t)snprintf(text + at, size - at, "%sc%u * %lldull",
                                   at ? " + " : "", i, (long long)inner);
        inner *= m->shape[i];
    }
}

static void emit_loop(gpu_text *t, const frame *f)
{
    const gpu_reduce_spec *s = f->s;
    char inputs[TN_MAP_MAX_INPUTS][224], number[224];
    char coordinates[TN_MAX_RANK][8];
    gpu_element at = {.spec = &s->map, .number = number};
    for (uint32_t i = 0; i < s->map.in_count; i++) {
        input_text(f, i, inputs[i], sizeof inputs[i]);
        at.input[i] = inputs[i];
    }
    for (uint32_t i = 0; i < TN_MAX_RANK; i++) {
        snprintf(coordinates[i], sizeof coordinates[i],
                 i < s->map.rank ? "c%u" : "0", i);
        at.coordinate[i] = coordinates[i];
    }
    number_text(f, number, sizeof number);
    gpu_say(t, "float total = __uint_as_float(0x%08xu);\n",
            s->kind == TN_REDUCE_SUM   ? 0u
            : s->kind == TN_REDUCE_MAX ? 0xff800000u
                                       : 0x7f800000u);
    gpu_say(t,
            "#pragma unroll 4\n"
            "for (index r = begin + lane; r < end; r += %u) {\n",
            s->lanes);
    gpu_emit_coordinates(t, &s->map, &f->inner);
    gpu_emit_program(t, &at);
    char value[8];
    snprintf(value, sizeof value, "r%u", s->map.program.output[0]);
    gpu_say(t, "total = ");
    say_combined(t, s->kind, "total", value);
    gpu_say(t, ";\n}\n");
}

/* The total of all lanes, for lane 0. */
static void emit_tree(gpu_text *t, const gpu_reduce_spec *s)
{
    const uint32_t pitch = s->by_rows ? 1 : s->columns;
    if (s->lanes == 1)
        return;
    gpu_say(t,
            "__shared__ float shared[%d];\nshared[me] = total;\n"
            "#pragma unroll\n"
            "for (unsigned half = %u; half; half /= 2) {\n"
            "__syncthreads();\nif (lane < half)\nshared[me] = ",
            GPU_BLOCK, s->lanes / 2);
    char other[48];
    snprintf(other, sizeof other, "shared[me + half * %u]", pitch);
    say_combined(t, s->kind, "shared[me]", other);
    gpu_say(t, ";\n}\ntotal = shared[me];\n");
}

static void emit_result(gpu_text *t, const frame *f)
{
    const gpu_reduce_spec *s = f->s;
    const char *type = gpu_type_name(s->map.out[0].dtype);
    gpu_say(t,
            "if (lane == 0 && inside) {\n"
            "%s *y = (%s *)a.at[%u] + (part * %lld + o);\n"
            "put(*y, %stotal);\n}\n}\n",
            type, type, s->map.in_count, (long long)f->outputs,
            s->accumulate ? "get(*y) + " : "");
}

char *gpu_emit_reduce(const gpu_reduce_spec *s)
{
    gpu_text t = {.at = NULL};
    const frame f = frame_of(s);
    gpu_emit_begin(&t, &s->map, f.outputs * s->splits);
    emit_place(&t, &f);
    emit_before_loop(&t, &f);
    emit_loop(&t, &f);
    emit_tree(&t, s);
    emit_result(&t, &f);
    return gpu_take_text(&t);
}
