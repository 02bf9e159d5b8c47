/*
 * emit.c - the frame of an emitted kernel: its text, types and indices.
 */
#include "emit.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static int make_room(gpu_text *t, size_t more)
{
    if (t->count + more < t->capacity)
        return 1;
    const size_t capacity = 2 * (t->count + more) + 1024;
    char *at = realloc(t->at, capacity);
    if (!at) {
        t->failed = 1;
        return 0;
    }
    t->at = at;
    t->capacity = capacity;
    return 1;
}

void gpu_say(gpu_text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int need = vsnprintf(NULL, 0, format, args);
    if (!t->failed && need >= 0 && make_room(t, (size_t)need + 1)) {
        vsnprintf(t->at + t->count, (size_t)need + 1, format, again);
        t->count += (size_t)need;
    }
    va_end(again);
    va_end(args);
}

char *gpu_take_text(gpu_text *t)
{
    if (!t->failed)
        return t->at;
    free(t->at);
    return NULL;
}

/* ---- the frame ---- */

const char *gpu_type_name(tn_dtype dtype)
{
    return dtype == TN_F32 ? "float" : dtype == TN_BF16 ? "bf16" : "int";
}

/* vec<T>: `vector` elements in a row, moved at once. min and max of a NaN are
 * NaN, as map.def says. */
static const char prelude[] =
    "struct bf16 { unsigned short bits; };\n"
    "template <typename T> struct __align__(sizeof(T) * V) vec { T at[V]; };\n"
    "static __device__ float get(float x) { return x; }\n"
    "static __device__ float get(int x) { return (float)x; }\n"
    "static __device__ float get(bf16 x)\n"
    "{ return __uint_as_float((unsigned)x.bits << 16); }\n"
    "static __device__ void put(float &y, float x) { y = x; }\n"
    "static __device__ void put(int &y, float x)\n"
    "{ y = x >= 2147483648.0f ? 2147483647 : x <= -2147483648.0f ?\n"
    "  -2147483647 - 1 : x != x ? 0 : (int)rintf(x); }\n"
    "static __device__ void put(bf16 &y, float x)\n"
    "{ const unsigned b = __float_as_uint(x);\n"
    "  y.bits = (unsigned short)(x != x ? b >> 16 | 64u :\n"
    "           (b + 0x7fffu + (b >> 16 & 1u)) >> 16); }\n"
    "static __device__ float smaller(float a, float b)\n"
    "{ return a != a || a < b ? a : b; }\n"
    "static __device__ float larger(float a, float b)\n"
    "{ return a != a || a > b ? a : b; }\n";

/* The farthest offset of any view, or the number of elements. */
static int64_t farthest(const gpu_map_spec *s, int64_t reach)
{
    int64_t elements = 1;
    for (uint32_t i = 0; i < s->rank; i++)
        elements *= s->shape[i];
    reach = elements > reach ? elements : reach;
    for (uint32_t i = 0; i < s->in_count + s->out_count; i++) {
        const int64_t *stride =
            i < s->in_count ? s->in[i].stride : s->out[i - s->in_count].stride;
        int64_t at = 0;
        for (uint32_t k = 0; k < s->rank; k++)
            at += (s->shape[k] - 1) * stride[k];
        reach = at > reach ? at : reach;
    }
    return reach;
}

void gpu_emit_begin(gpu_text *t, const gpu_map_spec *s, int64_t reach)
{
    enum { NARROW = 0x7fff0000 };
    gpu_say(t, "enum { V = %u };\n%s", s->vector ? s->vector : 1, prelude);
    gpu_say(t, "typedef %s index;\n",
            farthest(s, reach) < NARROW ? "unsigned" : "long long");
    gpu_say(t,
            "struct arguments { unsigned long long word, value, at[%d]; };\n"
            "extern \"C\" __global__ void __launch_bounds__(%d)\n"
            "kernel(const arguments a)\n{\n"
            "if (a.word && !(blockIdx.x | threadIdx.x))\n"
            "*(volatile unsigned long long *)a.word = a.value;\n",
            TN_MAP_MAX_INPUTS + TN_MAP_MAX_OUTPUTS, GPU_BLOCK);
}

void gpu_emit_coordinates(gpu_text *t, const gpu_map_spec *s,
                          const gpu_walk *walk)
{
    int64_t inner = 1;
    for (uint32_t i = walk->count; i-- > 0;) {
        const uint32_t axis = walk->axis[i];
        gpu_say(t, "const index c%u = %s", axis, walk->counter);
        if (inner > 1)
            gpu_say(t, " / %lld", (long long)inner);
        if (i > 0)
            gpu_say(t, " %% %lld", (long long)s->shape[axis]);
        gpu_say(t, ";\n");
        inner *= s->shape[axis];
    }
}

void gpu_emit_offset(gpu_text *t, const gpu_map_spec *s, const gpu_walk *walk,
                     const int64_t *stride)
{
    const char *between = "";
    for (uint32_t i = 0; i < walk->count; i++) {
        const uint32_t axis = walk->axis[i];
        if (stride[axis] == 0 || s->shape[axis] == 1)
            continue;
        gpu_say(t, "%sc%u", between, axis);
        if (stride[axis] != 1)
            gpu_say(t, " * %lld", (long long)stride[axis]);
        between = " + ";
    }
    if (!between[0])
        gpu_say(t, "0");
}

/* ---- folding ---- */

static gpu_view *view_of(gpu_map_spec *s, uint32_t i)
{
    return i < s->in_count ? &s->in[i] : &s->out[i - s->in_count];
}

static void drop_axis(gpu_map_spec *s, uint32_t axis)
{
    const size_t behind = (s->rank - axis - 1) * sizeof s->shape[0];
    memmove(&s->shape[axis], &s->shape[axis + 1], behind);
    for (uint32_t i = 0; i < s->in_count + s->out_count; i++) {
        int64_t *stride = view_of(s, i)->stride;
        memmove(&stride[axis], &stride[axis + 1], behind);
    }
    s->rank--;
}

static int joins_next(gpu_map_spec *s, uint32_t axis)
{
    for (uint32_t i = 0; i < s->in_count + s->out_count; i++) {
        const int64_t *stride = view_of(s, i)->stride;
        if (stride[axis] != stride[axis + 1] * s->shape[axis + 1])
            return 0;
    }
    return 1;
}

void gpu_fold(gpu_map_spec *s)
{
    if (gpu_program_has(&s->program, TN_MAP_INDEX))
        return;
    for (uint32_t i = s->rank; i-- > 0;)
        if (s->shape[i] == 1)
            drop_axis(s, i);
    for (uint32_t i = s->rank; i-- > 1;)
        if (joins_next(s, i - 1)) {
            s->shape[i] *= s->shape[i - 1];
            drop_axis(s, i - 1);
        }
}
