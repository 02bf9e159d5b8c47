/*
 * trial_coop.c - cooperative matrices have to multiply rightly once before they
 * are used: some drivers list them without the hardware, or with errors.
 *
 * The operands are whole numbers from -2 to 2, so that the sums are exact.
 */
#include "kernels.h"
#include "product.h"

#include <stdlib.h>

enum { SIDE = GPU_COOP_SIDE, INNER = 2 * 32 };

typedef struct trial {
    gpu_product product;
    float y[SIDE * SIDE];
    uint16_t a[SIDE * INNER], b[INNER * SIDE];
} trial;

static int number(int i, int k)
{
    return (7 * i + 3 * k) % 5 - 2;
}

static uint16_t bits_of(int value, tn_dtype dtype)
{
    const unsigned one = dtype == TN_BF16 ? 0x3f80u : 0x3c00u;
    const unsigned size = value == 0 ? 0 : value * value == 1 ? one : 0x4000u;
    return (uint16_t)(size | (value < 0 ? 0x8000u : 0));
}

static void fill(trial *t, uint64_t at, tn_dtype dtype)
{
    t->product =
        gpu_plain_product(at + offsetof(trial, a), at + offsetof(trial, b),
                          at + offsetof(trial, y), SIDE, SIDE, INNER);
    t->product.parts = 1;
    for (int i = 0; i < SIDE; i++)
        for (int k = 0; k < INNER; k++) {
            t->a[i * INNER + k] = bits_of(number(i, k), dtype);
            t->b[k * SIDE + i] = bits_of(number(k, i), dtype);
        }
}

static int is_right(const trial *t)
{
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            int sum = 0;
            for (int k = 0; k < INNER; k++)
                sum += number(i, k) * number(k, j);
            if (t->y[i * SIDE + j] != (float)sum)
                return 0;
        }
    return 1;
}

static tn_status multiply(tn_device *d, const gpu_code *code, tn_dtype dtype,
                          int *right, tn_error *err)
{
    gpu_pipeline *pipeline = NULL;
    tn_buffer *buffer = NULL;
    tn_status status = gpu_pipeline_get(d, code, &pipeline, err);
    if (status == TN_OK)
        status =
            gpu_buffer_create(d, GPU_FOR_HOST, sizeof(trial), &buffer, err);
    if (status == TN_OK) {
        trial *t = (trial *)(void *)gpu_buffer_mapped(buffer);
        const uint64_t at = gpu_buffer_address(buffer);
        fill(t, at, dtype);
        status = gpu_run_alone(d, pipeline->handle,
                               at + offsetof(trial, product), err);
        *right = status == TN_OK && is_right(t);
    }
    gpu_buffer_free(d, buffer);
    if (pipeline)
        gpu_pipeline_put(d, pipeline);
    return status;
}

/* A driver that cannot compile the module, or multiplies wrongly, has none; a
 * device that is lost by it is lost. */
static tn_status try(tn_device *d, gpu_coop *coop, gpu_coop_module *module,
                     tn_dtype dtype, tn_error *err)
{
    int right = 0;
    if (!coop->kind)
        return TN_OK;
    const gpu_code plain = gpu_kernel(GPU_KERNEL_matmul_coop);
    module->words = gpu_coop_rewrite(plain.words, plain.word_count, coop->kind,
                                     dtype, &module->count);
    if (!module->words)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    const gpu_code code = gpu_coop_code(coop, module, 1, 0, 0, TN_F32);
    const tn_status status = multiply(d, &code, dtype, &right, NULL);
    if (right)
        return TN_OK;
    coop->kind = GPU_COOP_NONE;
    d->host->log(d->host, TN_LOG_WARNING,
                 "backend vulkan: %s has cooperative matrices that do not "
                 "multiply rightly in %s; they are not used",
                 d->card.name, tn_dtype_name(dtype));
    return status == TN_EDEVICE ? gpu_wait_for(d, d->submitted, err) : TN_OK;
}

tn_status gpu_try_coop(tn_device *d, tn_error *err)
{
    TN_TRY(try(d, &d->card.coop_f16, &d->coop_f16, TN_F16, err));
    return try(d, &d->card.coop_bf16, &d->coop_bf16, TN_BF16, err);
}
