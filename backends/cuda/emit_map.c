/*
 * emit_map.c - element-wise kernels: a thread for each element, or for four
 * that lie in a row in everything the program touches.
 *
 * What is done for the elements from number e on is text that other kernels
 * have inside, too (emit_norm.c).
 */
#include "emit.h"

static gpu_walk whole(const gpu_map_spec *s, const char *counter)
{
    gpu_walk walk = {.counter = counter, .count = s->rank};
    for (uint32_t i = 0; i < s->rank; i++)
        walk.axis[i] = i;
    return walk;
}

static int64_t elements_of(const gpu_map_spec *s)
{
    int64_t elements = 1;
    for (uint32_t i = 0; i < s->rank; i++)
        elements *= s->shape[i];
    return elements;
}

int gpu_is_single(const gpu_map_spec *s, uint32_t input)
{
    return s->vector == 1 || !s->in[input].stride[s->rank - 1];
}

static void begin(gpu_text *t, const gpu_map_spec *s, int64_t reach)
{
    gpu_emit_begin(t, s, reach);
    gpu_say(t,
            "const index e = ((index)blockIdx.x * %d + threadIdx.x) * V;\n"
            "if (e >= %lld)\nreturn;\n",
            GPU_BLOCK, (long long)elements_of(s));
}

void gpu_emit_loads(gpu_text *t, const gpu_map_spec *s, uint32_t but)
{
    const gpu_walk all = whole(s, "e"), *walk = &all;
    gpu_emit_coordinates(t, s, walk);
    for (uint32_t i = 0; i < s->in_count; i++) {
        if (i == but || gpu_is_rng(&s->program, i))
            continue;
        const char *type = gpu_type_name(s->in[i].dtype);
        if (gpu_is_single(s, i))
            gpu_say(t, "const float x%u = get(((const %s *)a.at[%u])[", i, type,
                    i);
        else
            gpu_say(t,
                    "const vec<%s> x%u = *(const vec<%s> *)((const %s *)"
                    "a.at[%u] + (",
                    type, i, type, type, i);
        gpu_emit_offset(t, s, walk, s->in[i].stride);
        gpu_say(t, gpu_is_single(s, i) ? "]);\n" : "));\n");
    }
}

void gpu_emit_stores(gpu_text *t, const gpu_map_spec *s, uint32_t which)
{
    const gpu_walk all = whole(s, "e"), *walk = &all;
    for (uint32_t i = 0; i < s->out_count; i++) {
        const char *type = gpu_type_name(s->out[i].dtype);
        if (!(which >> i & 1u))
            continue;
        gpu_say(t, "*(vec<%s> *)((%s *)a.at[%u] + (", type, type,
                s->in_count + i);
        gpu_emit_offset(t, s, walk, s->out[i].stride);
        gpu_say(t, ")) = y%u;\n", i);
    }
}

void gpu_emit_compute(gpu_text *t, const gpu_map_spec *s)
{
    char names[TN_MAP_MAX_INPUTS][24], coordinates[TN_MAX_RANK][16];
    gpu_element at = {.spec = s, .number = "e + k"};
    for (uint32_t i = 0; i < s->in_count; i++) {
        snprintf(names[i], sizeof names[i],
                 gpu_is_single(s, i) ? "x%u" : "get(x%u.at[k])", i);
        at.input[i] = names[i];
    }
    for (uint32_t i = 0; i < TN_MAX_RANK; i++) {
        snprintf(coordinates[i], sizeof coordinates[i],
                 i >= s->rank       ? "0"
                 : i + 1 == s->rank ? "c%u + k"
                                    : "c%u",
                 i);
        at.coordinate[i] = coordinates[i];
    }
    for (uint32_t i = 0; i < s->out_count; i++)
        gpu_say(t, "vec<%s> y%u;\n", gpu_type_name(s->out[i].dtype), i);
    gpu_say(t, "#pragma unroll\nfor (int k = 0; k < V; k++) {\n");
    gpu_emit_program(t, &at);
    for (uint32_t i = 0; i < s->out_count; i++)
        gpu_say(t, "put(y%u.at[k], r%u);\n", i, s->program.output[i]);
    gpu_say(t, "}\n");
}

char *gpu_emit_map(const gpu_map_spec *s)
{
    gpu_text t = {.at = NULL};
    begin(&t, s, 0);
    gpu_emit_loads(&t, s, UINT32_MAX);
    gpu_emit_compute(&t, s);
    gpu_emit_stores(&t, s, UINT32_MAX);
    gpu_say(&t, "}\n");
    return gpu_take_text(&t);
}

char *gpu_emit_gather(const gpu_map_spec *s, int64_t rows, uint32_t unit)
{
    const char *type = unit == 16  ? "vec<unsigned>"
                       : unit == 4 ? "unsigned"
                       : unit == 2 ? "unsigned short"
                                   : "unsigned char";
    gpu_text t = {.at = NULL};
    gpu_map_spec inside = *s;
    const gpu_walk walk = whole(s, "e");
    inside.in[0].stride[0] = 0;         /* the row is the index's */
    inside.vector = unit == 16 ? 4 : 1; /* V, of vec */
    gpu_emit_begin(&t, &inside, rows * s->in[0].stride[0]);
    gpu_say(&t,
            "const index e = (index)blockIdx.x * %d + threadIdx.x;\n"
            "if (e >= %lld)\nreturn;\n",
            GPU_BLOCK, (long long)elements_of(s));
    gpu_emit_coordinates(&t, s, &walk);
    gpu_say(&t,
            "const int row = ((const int *)a.at[1])[c0];\n%s x = {0};\n"
            "if (row >= 0 && row < %lld)\nx = ((const %s *)a.at[0])"
            "[(index)row * %lld + ",
            type, (long long)rows, type, (long long)s->in[0].stride[0]);
    gpu_emit_offset(&t, &inside, &walk, inside.in[0].stride);
    gpu_say(&t, "];\n((%s *)a.at[2])[e] = x;\n}\n", type);
    return gpu_take_text(&t);
}
