/*
 * cpu.c - the CPU backend: x86-64 with AVX2 and FMA, AVX-512 where present.
 *
 * The face of the folder. In the order in which things happen:
 *
 *     probe.c           what this processor can do
 *     available.c       how much memory there is for us
 *     compile.c         a plan to a list of steps and barriers
 *     run.c             all threads walk that list
 *     kernels.h         which file computes which op; compiled twice, for AVX2
 *                       and for AVX-512, into one binary
 *     gemm.h            matrix products, a block of one thread at a time
 *     tile.h            element-wise programs, interpreted or as machine code
 *                       (x86.h writes it, code.h keeps it)
 *     vec.h, vmath.h    a vector of floats, and its exp, log, tanh ...
 *
 * Everything is computed in F32, stored in F32 or BF16. Memory is the process's
 * own.
 */
#include "cpu.h"
#include "code.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct cpu_options {
    int64_t threads;
    int32_t vectors;
    int32_t native;
    int32_t bf16;
    int32_t jit;
} cpu_options;

enum { VECTORS_AUTO, VECTORS_AVX2, VECTORS_AVX512 };
enum { BF16_AUTO, BF16_WIDENED, BF16_PAIRS, BF16_INTEGERS };

static const tn_option options[] = {
    TN_OPTION_INT(cpu_options, threads, 0, 0, 1024,
                  "threads to compute with; 0 is one for each logical "
                  "processor the process may use"),
    TN_OPTION_ENUM(cpu_options, vectors, "auto|avx2|avx512", VECTORS_AUTO,
                   "which instructions to use; auto takes the widest"),
    TN_OPTION_BOOL(cpu_options, native, 1,
                   "compute composites by kernels of their own; false: let "
                   "the core decompose them, to compare"),
    TN_OPTION_ENUM(cpu_options, bf16, "auto|widened|pairs|integers", BF16_AUTO,
                   "how bf16 operands are multiplied: widened to f32, in pairs "
                   "by VDPBF16PS, or as 16-bit integers with a common scale "
                   "by VPDPWSSD, or by VPMADDWD where AVX2 has no more; auto "
                   "takes what is fastest here"),
    TN_OPTION_BOOL(cpu_options, jit, 1,
                   "write machine code for element-wise programs, where the "
                   "system allows it; false: interpret them, to compare"),
};

/* ---- devices ---- */

/* VPDPWSSD is AVX-512 VNNI's; in AVX2 kernels AVX-VNNI's, or two instructions
 * of AVX2. Those two of AVX-512 would be no faster than f32. */
static int has_integers(const cpu_features *f)
{
    return !f->avx512 || f->avx512_vnni;
}

static cpu_products integers(const cpu_features *f)
{
    return f->avx512 || f->avx_vnni ? CPU_INTEGERS : CPU_MADD;
}

static cpu_products fastest(const cpu_features *f)
{
    return f->fast_bf16      ? CPU_PAIRS
           : has_integers(f) ? integers(f)
                             : CPU_FLOATS;
}

static tn_status cpu_probe(const tn_host *host, uint32_t index,
                           tn_device_info *info, tn_error *err)
{
    static const char *const of_bf16[] = {
        [CPU_FLOATS] = "; bf16 saves memory, not time",
        [CPU_PAIRS] = ", bf16 products at twice that",
        [CPU_INTEGERS] = ", bf16 products at twice that",
        [CPU_MADD] = ", bf16 products at half as much again"};
    (void)host;
    if (index > 0)
        return tn_fail(err, TN_EEND, "there is one CPU");
    cpu_features f;
    cpu_detect(&f);
    info->score = f.avx2 ? 100 : 0;
    info->memory_bytes = cpu_available_memory("");
    info->threads = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(info->name, sizeof info->name, "%s%s", f.brand,
             f.avx512 ? ", AVX-512"
             : f.avx2 ? ", AVX2"
                      : "");
    if (f.avx2)
        snprintf(info->note, sizeof info->note, "computes in f32%s",
                 of_bf16[fastest(&f)]);
    else
        snprintf(info->note, sizeof info->note,
                 "needs %s, which this machine lacks; backend reference runs "
                 "anywhere, slowly",
                 f.missing);
    return TN_OK;
}

static tn_status choose_kernels(tn_device *d, int32_t vectors, tn_error *err)
{
    cpu_features *f = &d->features;
    if (!f->avx2)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend cpu needs %s, which this machine (%s) lacks; "
                       "use backend: reference",
                       f->missing, f->brand);
    if (vectors == VECTORS_AVX512 && !f->avx512)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend cpu: vectors is avx512, but this machine (%s) "
                       "lacks AVX-512 F, BW, DQ or VL; set it to auto",
                       f->brand);
    if (vectors == VECTORS_AVX2)
        f->avx512 = f->avx512_bf16 = f->fast_bf16 = 0;
    d->kernels = f->avx512 ? cpu_kernels_avx512 : cpu_kernels_avx2;
    return TN_OK;
}

static tn_status choose_products(tn_device *d, int32_t bf16, tn_error *err)
{
    const cpu_features *f = &d->features;
    const cpu_products named[] = {[BF16_AUTO] = fastest(f),
                                  [BF16_WIDENED] = CPU_FLOATS,
                                  [BF16_PAIRS] = CPU_PAIRS,
                                  [BF16_INTEGERS] = integers(f)};
    if (bf16 == BF16_PAIRS && !f->avx512_bf16)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend cpu: bf16 is pairs, but this machine (%s) "
                       "lacks AVX512_BF16 or does not use AVX-512; set it to "
                       "auto",
                       f->brand);
    if (bf16 == BF16_INTEGERS && !has_integers(f))
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend cpu: bf16 is integers, but this machine (%s) "
                       "lacks AVX-512 VNNI; set it to auto, or vectors to "
                       "avx2",
                       f->brand);
    d->bf16 = named[bf16];
    return TN_OK;
}

static void tell(const tn_device *d, int wants_code)
{
    d->host->log(d->host, TN_LOG_DEBUG,
                 "backend cpu: %s, %u threads; element-wise programs %s",
                 d->features.avx512 ? "AVX-512" : "AVX2", d->threads,
                 d->generate  ? "become machine code"
                 : wants_code ? "are interpreted: the system lets no process "
                                "run what it wrote"
                              : "are interpreted");
}

static tn_status open_device(tn_device *d, const cpu_options *o, tn_error *err)
{
    cpu_detect(&d->features);
    TN_TRY(choose_kernels(d, o ? o->vectors : VECTORS_AUTO, err));
    TN_TRY(choose_products(d, o ? o->bf16 : BF16_AUTO, err));
    d->decompose = o && !o->native;
    d->generate = (!o || o->jit) && cpu_code_allowed();
    d->pool = d->host->pool(d->host, o ? (uint32_t)o->threads : 0);
    if (!d->pool)
        return tn_fail(err, TN_EDEVICE,
                       "backend cpu: the program's threads could not be "
                       "started; set threads: to fewer");
    d->threads = d->host->pool_count(d->pool);
    tell(d, !o || o->jit);
    return TN_OK;
}

static void cpu_close(tn_device *d)
{
    if (!d)
        return;
    cpu_give_memory(&d->work);
    free(d);
}

static tn_status cpu_open(const tn_host *host, const void *options_,
                          tn_device **out, tn_error *err)
{
    tn_device *d = calloc(1, sizeof *d);
    if (!d)
        return tn_fail(err, TN_ENOMEM, "backend cpu: no memory");
    d->host = host;
    const tn_status status = open_device(d, options_, err);
    if (status != TN_OK)
        cpu_close(d);
    else
        *out = d;
    return status;
}

static void cpu_caps(const tn_device *d, tn_backend_caps *caps)
{
    (void)d;
    caps->precisions = TN_PRECISION_F32 | TN_PRECISION_BF16 | TN_WEIGHTS_Q8_0 |
                       TN_WEIGHTS_Q4_K;
    caps->flags = TN_UNIFIED_MEMORY | TN_READS_FIRST;
    caps->map_inputs = TN_MAP_MAX_INPUTS;
    caps->map_instructions = TN_MAP_MAX_INSTRUCTIONS;
    caps->memory_bytes = cpu_available_memory("");
}

static uint32_t cpu_supports(const tn_device *d, const tn_plan_node *node)
{
    if (d->decompose || node->op >= TN_OP_COUNT ||
        !d->kernels[node->op].compile)
        return 0;
    return cpu_check_dtypes(&d->kernels[node->op], node, NULL) == TN_OK;
}

/* ---- memory ---- */

static tn_status cpu_alloc(tn_device *d, int64_t bytes, tn_buffer **out,
                           tn_error *err)
{
    (void)d;
    tn_buffer *b = calloc(1, sizeof *b);
    if (!b || bytes < 0 || !cpu_take_memory(b, bytes)) {
        free(b);
        return tn_fail(err, TN_ENOMEM,
                       "backend cpu: no memory for a buffer of %lld bytes",
                       (long long)bytes);
    }
    *out = b;
    return TN_OK;
}

static void cpu_free(tn_device *d, tn_buffer *b)
{
    (void)d;
    if (b)
        cpu_give_memory(b);
    free(b);
}

static void *cpu_map(tn_device *d, tn_buffer *b)
{
    (void)d;
    return b ? b->at : NULL;
}

static tn_status check_range(const tn_buffer *b, int64_t offset, int64_t bytes,
                             const char *what, tn_error *err)
{
    if (offset >= 0 && bytes >= 0 && offset <= b->bytes &&
        bytes <= b->bytes - offset)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "backend cpu: %s of %lld bytes at %lld is outside a buffer "
                   "of %lld",
                   what, (long long)bytes, (long long)offset,
                   (long long)b->bytes);
}

static tn_status cpu_upload(tn_device *d, tn_buffer *to, int64_t offset,
                            const void *from, int64_t bytes, tn_error *err)
{
    (void)d;
    TN_TRY(check_range(to, offset, bytes, "an upload", err));
    if (bytes)
        memcpy(to->at + offset, from, (size_t)bytes);
    return TN_OK;
}

static tn_status cpu_download(tn_device *d, void *to, const tn_buffer *from,
                              int64_t offset, int64_t bytes, tn_error *err)
{
    (void)d;
    TN_TRY(check_range(from, offset, bytes, "a download", err));
    if (bytes)
        memcpy(to, from->at + offset, (size_t)bytes);
    return TN_OK;
}

/* ---- runs are done when they return ---- */

static tn_status cpu_wait(tn_device *d, tn_error *err)
{
    (void)d, (void)err;
    return TN_OK;
}

static void profile_enable(tn_device *d, uint32_t on)
{
    d->profiling = on;
}

static const tn_profile_extension profile = {
    .struct_size = sizeof profile,
    .enable = profile_enable,
    .read = cpu_profile_read,
};

static const tn_workspace_extension workspace = {
    .struct_size = sizeof workspace,
    .bytes = cpu_workspace,
};

static const void *cpu_extension(tn_device *d, const char *name)
{
    (void)d;
    return strcmp(name, "profile/1") == 0     ? (const void *)&profile
           : strcmp(name, "workspace/1") == 0 ? (const void *)&workspace
                                              : NULL;
}

TN_BACKEND(cpu) = {
    .summary = "x86-64 processors with AVX2 or AVX-512, in f32 or bf16",
    .options = TN_OPTIONS(cpu_options, options),
    .probe = cpu_probe,
    .open = cpu_open,
    .close = cpu_close,
    .caps = cpu_caps,
    .supports = cpu_supports,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .map = cpu_map,
    .upload = cpu_upload,
    .download = cpu_download,
    .compile = cpu_compile,
    .exec_free = cpu_exec_free,
    .run = cpu_run,
    .wait = cpu_wait,
    .extension = cpu_extension,
};
