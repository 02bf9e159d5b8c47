/*
 * trial.c - what a driver does not tell of its arithmetic, found by trying.
 *
 * SPIR-V leaves open whether fma rounds once. Most GPUs' does; lavapipe's and
 * some older GPUs' (AMD's before RDNA 2, Adreno) rounds the product, too. With
 *
 *     a = b = 1 + 2^-12,  c = -(1 + 2^-11):  a b + c = 2^-24
 *
 * a fused fma answers 2^-24; one that rounds the product first answers 0.
 */
#include "emit.h"
#include "gpu.h"

#include <stdlib.h>

typedef struct trial {
    float a, b, c, y;
    uint64_t arguments[4];
} trial;

static gpu_map_spec one_fma(void)
{
    gpu_map_spec s = {
        .rank = 1, .in_count = 3, .out_count = 1, .fuses = 1, .shape = {1}};
    for (uint8_t i = 0; i < 3; i++) {
        s.in[i] = (gpu_view){TN_F32, {1}};
        s.program.instruction[i] = (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    }
    s.out[0] = (gpu_view){TN_F32, {1}};
    s.program.instruction[3] = (tn_instruction){TN_MAP_FMA, 0, 1, 2};
    s.program.instruction_count = 4;
    s.program.output[0] = 3;
    return s;
}

tn_status gpu_run_alone(tn_device *d, VkPipeline pipeline,
                        VkDeviceAddress arguments, tn_error *err)
{
    const gpu_api *api = &d->instance.api;
    const gpu_push push = {.arguments = arguments};
    const VkCommandBufferBeginInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    const VkMemoryBarrier seen = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_HOST_READ_BIT,
    };
    VkCommandBuffer c;
    TN_TRY(gpu_commands_create(d, &c, err));
    TN_TRY(gpu_check(api->BeginCommandBuffer(c, &info), "trying it", err));
    api->CmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    api->CmdPushConstants(c, d->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                          sizeof push, &push);
    api->CmdDispatch(c, 1, 1, 1);
    api->CmdPipelineBarrier(c, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                            VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &seen, 0, NULL, 0,
                            NULL);
    tn_status status = gpu_check(api->EndCommandBuffer(c), "trying it", err);
    if (status == TN_OK)
        status = gpu_submit(d, &c, 1, NULL, err);
    if (status == TN_OK)
        status = gpu_wait_for(d, d->submitted, err);
    api->FreeCommandBuffers(d->handle, d->commands, 1, &c);
    return status;
}

static tn_status try_in(tn_device *d, tn_buffer *buffer,
                        const gpu_pipeline *pipeline, tn_error *err)
{
    trial *t = (trial *)(void *)gpu_buffer_mapped(buffer);
    const VkDeviceAddress at = gpu_buffer_address(buffer);
    *t = (trial){.a = 1.0f + 0x1p-12f,
                 .b = 1.0f + 0x1p-12f,
                 .c = -1.0f - 0x1p-11f,
                 .arguments = {at, at + 4, at + 8, at + 12}};
    TN_TRY(gpu_run_alone(d, pipeline->handle, at + offsetof(trial, arguments),
                         err));
    d->fuses = t->y > 0.0f;
    return TN_OK;
}

tn_status gpu_try_arithmetic(tn_device *d, tn_error *err)
{
    const gpu_map_spec spec = one_fma();
    gpu_code code = {.word_count = 0};
    gpu_pipeline *pipeline = NULL;
    tn_buffer *buffer = NULL;
    uint32_t *words = gpu_emit_map(&spec, &code.word_count);
    if (!words)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    code.words = words;
    tn_status status = gpu_pipeline_get(d, &code, &pipeline, err);
    free(words);
    if (status == TN_OK)
        status =
            gpu_buffer_create(d, GPU_FOR_HOST, sizeof(trial), &buffer, err);
    if (status == TN_OK)
        status = try_in(d, buffer, pipeline, err);
    gpu_buffer_free(d, buffer);
    if (pipeline)
        gpu_pipeline_put(d, pipeline);
    return status;
}
