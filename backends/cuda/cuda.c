/*
 * cuda.c - the CUDA backend: NVIDIA GPUs of compute capability 8.0 and higher.
 *
 * The face of the folder. In the order in which things happen:
 *
 *     loader.c, card.c               the driver, and which devices there are
 *     device.c, memory.c, transfer.c a stream, memory, bytes to and fro
 *     ask.c                          results, while the device goes on
 *     compile.c, op_*.c, join.c      a plan to launches
 *     kernels/, kernels.c            kernels that are written in CUDA C++
 *     emit*.c, nvrtc.c, cache.c      kernels made for a plan: map, reduce
 *     blas.c                         products by cuBLASLt, where it is there
 *     dnn*.c                         attention by cuDNN, likewise
 *     run.c                          graphs: captured once, started often
 *
 * Nothing of CUDA is linked. Everything is computed in F32, of values that are
 * stored as F32 or BF16.
 */
#include "exec.h"

#include <string.h>

static const tn_option options[] = {
    TN_OPTION_STRING(gpu_options, device, "auto",
                     "auto, the number that `tenon devices` shows, or a part "
                     "of the device's name; auto is another one for each of a "
                     "run's processes"),
    TN_OPTION_BOOL(gpu_options, graph, 1,
                   "run a plan as one CUDA graph; false: op by op, each waited "
                   "for, so that a failure is told with its op (for "
                   "compute-sanitizer)"),
    TN_OPTION_BOOL(gpu_options, native, 1,
                   "compute attention, norms and the loss by kernels of "
                   "their own; false: let the core decompose them"),
    TN_OPTION_BOOL(gpu_options, cache, 1,
                   "keep compiled kernels in the user's cache folder, and "
                   "which of cuBLASLt's algorithms and of cuDNN's plans was "
                   "fastest; false: take the one cuBLASLt recommends, and "
                   "none of cuDNN's"),
    TN_OPTION_BOOL(gpu_options, cublas, 1,
                   "multiply by cuBLASLt where it is installed"),
    TN_OPTION_BOOL(gpu_options, cudnn, 1,
                   "compute attention in bf16 by cuDNN where it is installed, "
                   "and a trial shows it right and faster"),
    TN_OPTION_BOOL(gpu_options, tf32, 0,
                   "let cuBLASLt round operands of f32 products to TF32, which "
                   "has 10 bits of mantissa"),
    TN_OPTION_BOOL(gpu_options, join, 1,
                   "compute a residual and its norm by one kernel, and the "
                   "norms of queries and keys with their rope; false: apart"),
    TN_OPTION_BOOL(gpu_options, mark, 1,
                   "let each kernel leave word that it began, so that a "
                   "failure within a graph is told with its op"),
};

/* ---- devices ---- */

static void describe(const gpu_card *card, tn_device_info *info)
{
    info->memory_bytes = card->memory_bytes;
    snprintf(info->name, sizeof info->name, "%s, compute capability %d.%d",
             card->name, card->major, card->minor);
    if (gpu_is_emulator(card)) {
        info->score = 1;
        snprintf(info->note, sizeof info->note,
                 "an emulator: for tests; auto prefers any other backend");
    } else if (card->major < GPU_LEAST_MAJOR) {
        snprintf(info->note, sizeof info->note,
                 "this backend needs compute capability 8.0 or higher");
    } else {
        info->score = 1100 + (uint32_t)(10 * card->major + card->minor);
        snprintf(info->note, sizeof info->note,
                 "computes in f32, and in bf16 with f32 master weights");
    }
}

static tn_status look(gpu_card *cards, uint32_t *count, tn_error *err)
{
    gpu_driver driver;
    gpu_nvrtc nvrtc;
    TN_TRY(gpu_load_driver(&driver, err));
    TN_TRY(gpu_cards(&driver, cards, count, err));
    if (!*count)
        return TN_OK;
    TN_TRY(gpu_kernels_check(&driver, err));
    return gpu_load_nvrtc(&nvrtc, driver.major, err);
}

static tn_status probe(const tn_host *host, uint32_t index,
                       tn_device_info *info, tn_error *err)
{
    gpu_card cards[GPU_MAX_CARDS] = {{.handle = 0}};
    tn_error why = {0};
    uint32_t count = 0;
    const tn_status status = look(cards, &count, &why);
    (void)host;
    info->score = 0;
    if (status == TN_OK && index < count) {
        describe(&cards[index], info);
        return TN_OK;
    }
    if (index > 0)
        return tn_fail(err, TN_EEND, "backend cuda: there are %u devices",
                       count);
    snprintf(info->name, sizeof info->name, "none");
    snprintf(info->note, sizeof info->note, "%.380s",
             status == TN_OK ? "the NVIDIA driver finds no device"
                             : why.message);
    return TN_OK;
}

static tn_status open_device(const tn_host *host, const void *given,
                             tn_device **device, tn_error *err)
{
    static const gpu_options ordinary = {.graph = 1,
                                         .native = 1,
                                         .cache = 1,
                                         .cublas = 1,
                                         .cudnn = 1,
                                         .join = 1,
                                         .mark = 1};
    return gpu_device_open(host, given ? given : &ordinary, device, err);
}

static void caps(const tn_device *d, tn_backend_caps *out)
{
    out->precisions = TN_PRECISION_F32 | TN_PRECISION_BF16 | TN_WEIGHTS_Q8_0 |
                      TN_WEIGHTS_Q4_K;
    out->flags = TN_READS_FIRST;
    out->map_inputs = TN_MAP_MAX_INPUTS;
    out->map_instructions = TN_MAP_MAX_INSTRUCTIONS;
    out->memory_bytes = gpu_free_bytes(d);
}

static uint32_t supports(const tn_device *d, const tn_plan_node *node)
{
    return d->native && gpu_has_kernel(d, node);
}

/* ---- memory ---- */

static tn_status alloc(tn_device *d, int64_t bytes, tn_buffer **out,
                       tn_error *err)
{
    tn_buffer *b;
    TN_TRY(gpu_enter(d, err));
    TN_TRY(gpu_buffer_create(d, bytes, &b, err));
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
    if (gpu_enter(d, NULL) == TN_OK)
        gpu_finish(d, NULL);
    gpu_buffer_free(d, buffer);
}

static void *map(tn_device *d, tn_buffer *buffer)
{
    (void)d;
    (void)buffer;
    return NULL;
}

/* ---- for communicators ---- */

static void *address(tn_device *d, const tn_buffer *buffer)
{
    (void)d;
    return (void *)(uintptr_t)buffer->address;
}

static tn_status stream(tn_device *d, void **out, tn_error *err)
{
    TN_TRY(gpu_enter(d, err));
    d->runs++; /* it works now: uploads go beside that */
    *out = d->stream;
    return TN_OK;
}

static const tn_stream_extension streams = {
    .struct_size = sizeof streams,
    .memory = "cuda",
    .address = address,
    .stream = stream,
};

static const void *extension(tn_device *d, const char *name)
{
    (void)d;
    const struct {
        const char *name;
        const void *extension;
    } all[] = {{"profile/1", &gpu_profile},
               {"ask/1", &gpu_ask},
               {"workspace/1", &gpu_workspace},
               {"stream/1", &streams}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(name, all[i].name) == 0)
            return all[i].extension;
    return NULL;
}

TN_BACKEND(cuda) = {
    .summary = "NVIDIA GPUs of compute capability 8.0 and higher",
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
