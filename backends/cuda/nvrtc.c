/*
 * nvrtc.c - emitted text to machine code.
 *
 * Products and sums are not contracted (--fmad=false): a program says itself
 * where it wants an fma, and its bits do not depend on the compiler.
 */
#include "gpu.h"

#include <stdlib.h>

/* The first line of the compiler's complaint. */
static tn_status complain(const tn_device *d, nvrtcProgram program,
                          tn_error *err)
{
    size_t bytes = 0;
    char *log = NULL;
    if (!d->nvrtc.GetProgramLogSize(program, &bytes) && bytes)
        log = calloc(bytes + 1, 1);
    if (log)
        d->nvrtc.GetProgramLog(program, log);
    tn_fail(err, TN_EDEVICE,
            "backend cuda: NVRTC %d.%d does not compile a kernel for compute "
            "capability %d.%d: %.600s",
            d->nvrtc.major, d->nvrtc.minor, d->card.major, d->card.minor,
            log && log[0] ? log : "it gives no reason; a newer one may");
    free(log);
    return TN_EDEVICE;
}

static tn_status take_code(const tn_device *d, nvrtcProgram program,
                           void **code, size_t *bytes, tn_error *err)
{
    if (d->nvrtc.GetCUBINSize(program, bytes) || !*bytes)
        return complain(d, program, err);
    char *cubin = malloc(*bytes);
    if (!cubin)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    if (d->nvrtc.GetCUBIN(program, cubin)) {
        free(cubin);
        return complain(d, program, err);
    }
    *code = cubin;
    return TN_OK;
}

tn_status gpu_translate(const tn_device *d, const char *text, void **code,
                        size_t *bytes, tn_error *err)
{
    char architecture[48];
    const char *options[] = {architecture, "--fmad=false", "--std=c++17"};
    nvrtcProgram program;
    snprintf(architecture, sizeof architecture, "--gpu-architecture=sm_%d%d",
             d->card.major, d->card.minor);
    if (d->nvrtc.CreateProgram(&program, text, "kernel.cu", 0, NULL, NULL))
        return tn_fail(err, TN_ENOMEM, "backend cuda: NVRTC has no memory");
    const tn_status status = d->nvrtc.CompileProgram(program, 3, options)
                                 ? complain(d, program, err)
                                 : take_code(d, program, code, bytes, err);
    d->nvrtc.DestroyProgram(&program);
    return status;
}
