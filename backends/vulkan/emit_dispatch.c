/*
 * emit_dispatch.c - emit, look up or make the pipeline, append.
 */
#include "emit_dispatch.h"

#include <stdlib.h>

void gpu_dense(uint32_t rank, const int64_t *shape, int64_t *stride)
{
    int64_t step = 1;
    for (uint32_t i = rank; i-- > 0;) {
        stride[i] = step;
        step *= shape[i];
    }
}

tn_status gpu_dispatch_words(gpu_compiler *c, uint32_t *words,
                             uint32_t word_count, const gpu_addresses *a,
                             int64_t groups, tn_error *err)
{
    const gpu_code code = {.words = words, .word_count = word_count};
    if (!words)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    const tn_status status =
        gpu_dispatch(c, &code, a->at, a->count * sizeof a->at[0], groups, err);
    free(words);
    return status;
}

tn_status gpu_dispatch_map(gpu_compiler *c, gpu_map_spec *spec,
                           const gpu_addresses *a, tn_error *err)
{
    const int64_t elements = gpu_size(spec->shape, 0, spec->rank);
    uint32_t count = 0;
    if (!elements)
        return TN_OK;
    gpu_set_traits(gpu_device_of(c), spec);
    uint32_t *words = gpu_emit_map(spec, &count);
    return gpu_dispatch_words(c, words, count, a,
                              gpu_ceil(elements, GPU_LOCAL_SIZE), err);
}

tn_status gpu_dispatch_move(gpu_compiler *c, uint32_t rank,
                            const int64_t *shape, uint64_t from,
                            const int64_t *from_stride, gpu_place to,
                            const int64_t *to_stride, tn_error *err)
{
    gpu_map_spec s = {.rank = rank, .in_count = 1, .out_count = 1};
    const gpu_addresses a = {{from, to.at}, 2};
    s.in[0].dtype = s.out[0].dtype = to.dtype;
    for (uint32_t i = 0; i < rank; i++) {
        s.shape[i] = shape[i];
        s.in[0].stride[i] = from_stride[i];
        s.out[0].stride[i] = to_stride[i];
    }
    return gpu_dispatch_map(c, &s, &a, err);
}

tn_status gpu_dispatch_fill(gpu_compiler *c, uint64_t to, int64_t count,
                            tn_dtype dtype, double value, tn_error *err)
{
    gpu_map_spec s = {.rank = 1, .out_count = 1, .shape = {count}};
    const gpu_addresses a = {{to}, 1};
    s.out[0] = (gpu_view){dtype, {1}};
    s.program.instruction[0] = (tn_instruction){.op = TN_MAP_CONST};
    s.program.instruction_count = 1;
    s.program.constant[0] = value;
    s.program.constant_count = 1;
    s.program.output_count = 1;
    return gpu_dispatch_map(c, &s, &a, err);
}
