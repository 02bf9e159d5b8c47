/*
 * vulkan.c - the Vulkan backend: any GPU with a driver for Vulkan 1.2.
 *
 * The face of the folder. In the order in which things happen:
 *
 *     loader.c, instance.c, card.c     the library, and which devices there are
 *     device.c, memory.c, transfer.c   a queue, memory, bytes to and fro
 *     compile.c, op_*.c                a plan to dispatches
 *     emit*.c, spirv.c                 kernels made for a plan: map, reduce
 *     kernels/, kernels.c              kernels that are written in GLSL
 *     pipeline.c                       SPIR-V to pipelines, each once
 *     record.c, run.c                  command buffers: recorded once, run
 * often
 *
 * Kernels find everything through addresses (buffer device addresses): there
 * are no descriptors. Everything is computed in F32 and stored in F32, BF16 or
 * F16; products of two-byte operands by cooperative matrices where the device
 * has them.
 */
#include "exec.h"

#include <stdlib.h>
#include <string.h>

static const tn_option options[] = {
    TN_OPTION_STRING(gpu_options, device, "auto",
                     "auto, the number that `tenon devices` shows, or a part "
                     "of the device's name; auto is another one for each of a "
                     "run's processes where several are equally good"),
    TN_OPTION_BOOL(gpu_options, staging, 0,
                   "copy through staging buffers even where the CPU sees the "
                   "device's memory (for tests)"),
    TN_OPTION_BOOL(gpu_options, validation, 0,
                   "load the Khronos validation layer; its first complaint "
                   "fails the run"),
    TN_OPTION_BOOL(gpu_options, native, 1,
                   "compute attention, norms and the loss by kernels of "
                   "their own; false: let the core decompose them"),
    TN_OPTION_BOOL(gpu_options, cache, 1,
                   "keep compiled kernels in the user's cache folder"),
    TN_OPTION_BOOL(gpu_options, cooperative, 1,
                   "multiply in two bytes by cooperative matrices where the "
                   "device has them"),
};

/* ---- devices ---- */

static void describe_coop(const gpu_card *card, tn_device_info *info)
{
    const gpu_coop *both[] = {&card->coop_f16, &card->coop_bf16};
    static const char *const name[] = {"f16", "bf16"};
    size_t used = (size_t)snprintf(
        info->note, sizeof info->note, "%s; cooperative matrices:",
        gpu_is_software(card) ? "a software device: for tests; auto prefers "
                                "any other backend"
                              : "f32 and bf16");
    uint32_t found = 0;
    for (uint32_t i = 0; i < 2; i++)
        if (both[i]->kind) {
            used +=
                (size_t)snprintf(info->note + used, sizeof info->note - used,
                                 "%s %s %ux%ux%u (%s)", found++ ? "," : "",
                                 name[i], both[i]->m, both[i]->n, both[i]->k,
                                 both[i]->kind == GPU_COOP_KHR ? "KHR" : "NV");
        }
    if (!found)
        snprintf(info->note + used, sizeof info->note - used, " none");
}

static void describe(const gpu_card *card, tn_device_info *info)
{
    info->score = card->score;
    info->memory_bytes = card->memory_bytes;
    snprintf(info->name, sizeof info->name, "%.127s", card->name);
    if (card->missing[0])
        snprintf(info->note, sizeof info->note,
                 "its driver lacks %s, which this backend needs",
                 card->missing);
    else
        describe_coop(card, info);
}

/* What the last probe of device 0 found. Those of others follow it, and opening
 * the drivers again for each would take a quarter of a run's start. */
static struct {
    gpu_card cards[GPU_MAX_CARDS];
    uint32_t count, looked;
    tn_error why; /* there are none */
} found;

static void look_for_cards(const tn_host *host)
{
    gpu_instance instance;
    found.count = 0;
    found.looked = 1;
    found.why = (tn_error){0};
    if (gpu_instance_open(&instance, host, 0, &found.why) != TN_OK)
        return;
    if (gpu_cards(&instance, found.cards, &found.count, &found.why) == TN_OK &&
        !found.count)
        tn_fail(&found.why, TN_EUNSUPPORTED,
                "the Vulkan drivers here find no device");
    gpu_instance_close(&instance);
}

static tn_status probe(const tn_host *host, uint32_t index,
                       tn_device_info *info, tn_error *err)
{
    if (index == 0 || !found.looked)
        look_for_cards(host);
    if (index < found.count) {
        describe(&found.cards[index], info);
        return TN_OK;
    }
    if (index > 0)
        return tn_fail(err, TN_EEND, "backend vulkan: there are %u devices",
                       found.count);
    info->score = 0;
    snprintf(info->name, sizeof info->name, "none");
    snprintf(info->note, sizeof info->note, "%.380s", found.why.message);
    return TN_OK;
}

static tn_status open_device(const tn_host *host, const void *given,
                             tn_device **device, tn_error *err)
{
    static const gpu_options ordinary = {
        .native = 1, .cache = 1, .cooperative = 1};
    return gpu_device_open(host, given ? given : &ordinary, device, err);
}

static void caps(const tn_device *d, tn_backend_caps *out)
{
    out->precisions = TN_PRECISION_F32 | TN_PRECISION_BF16;
    out->flags = TN_READS_FIRST;
    if (d->memory.tensor_is_mapped)
        out->flags |= TN_UNIFIED_MEMORY;
    out->map_inputs = TN_MAP_MAX_INPUTS;
    out->map_instructions = TN_MAP_MAX_INSTRUCTIONS;
    out->memory_bytes = d->card.free_bytes;
}

static uint32_t supports(const tn_device *d, const tn_plan_node *node)
{
    return d->native && gpu_has_kernel(node);
}

/* ---- memory ---- */

static tn_status alloc(tn_device *d, int64_t bytes, tn_buffer **out,
                       tn_error *err)
{
    tn_buffer *b;
    TN_TRY(gpu_buffer_create(d, GPU_FOR_TENSORS, bytes, &b, err));
    const tn_status status = gpu_zero(d, b, err);
    if (status != TN_OK) {
        gpu_buffer_free(d, b);
        return status;
    }
    *out = b;
    return TN_OK;
}

static void free_buffer(tn_device *d, tn_buffer *buffer)
{
    gpu_wait_for(d, d->submitted, NULL);
    gpu_buffer_free(d, buffer);
}

static void *map(tn_device *d, tn_buffer *buffer)
{
    (void)d;
    return gpu_buffer_mapped(buffer);
}

static const void *extension(tn_device *d, const char *name)
{
    return strcmp(name, "profile/1") == 0 ? gpu_profile(d) : NULL;
}

TN_BACKEND(vulkan) = {
    .summary = "any GPU with a driver for Vulkan 1.2, in f32 or bf16",
    .options = TN_OPTIONS(gpu_options, options),
    .probe = probe,
    .open = open_device,
    .close = gpu_device_close,
    .caps = caps,
    .supports = supports,
    .alloc = alloc,
    .free = free_buffer,
    .map = map,
    .upload = gpu_upload,
    .download = gpu_download,
    .compile = gpu_compile,
    .exec_free = gpu_exec_free,
    .run = gpu_run,
    .wait = gpu_wait,
    .extension = extension,
};
