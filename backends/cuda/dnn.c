/*
 * dnn.c - cuDNN: opened, its descriptors, and plans as text.
 *
 * Everything in this library is a descriptor with attributes, which is
 * finalized once they are set. A failure here is never the user's: what cannot
 * be described, made or loaded is computed by our own kernels.
 */
#include "dnn.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

int gpu_dnn_load(gpu_dnn *dnn)
{
    const char *const paths[] = {"libcudnn.so.9",
                                 "/usr/local/cuda/lib64/libcudnn.so.9"};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof paths / sizeof paths[0]; i++)
        library = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return 0;
#define XX(result, name, symbol, arguments)                                    \
    *(void **)&dnn->name = dlsym(library, symbol);                             \
    if (!dnn->name)                                                            \
        return 0;
    GPU_DNN_MAP(XX)
#undef XX
    dnn->version = dnn->GetVersion();
    return dnn->version == 0 || dnn->version >= GPU_DNN_LEAST;
}

/* The description that plans are made from. */
static int describe_device(gpu_dnn *dnn)
{
    return !dnn->CreateDescriptor(DNN_DEVICE, &dnn->properties) &&
           !dnn->SetAttribute(dnn->properties, DNN_DEVICE_HANDLE, DNN_IS_HANDLE,
                              1, &dnn->handle) &&
           !dnn->Finalize(dnn->properties);
}

/* The library of the tests computes on their emulator and nowhere else; that
 * emulator is none that the real one stands. */
static int can_use(const tn_device *d, gpu_dnn *dnn)
{
    return gpu_dnn_load(dnn) &&
           gpu_is_emulator(&d->card) == (dnn->version == 0) &&
           !dnn->Create(&dnn->handle) &&
           !dnn->SetStream(dnn->handle, d->stream) && describe_device(dnn);
}

void gpu_dnn_open(tn_device *d)
{
    char maker[48];
    gpu_dnn *dnn = d->dnn = calloc(1, sizeof *dnn);
    if (!dnn)
        return;
    if (!can_use(d, dnn)) {
        d->host->log(d->host, TN_LOG_DEBUG,
                     "backend cuda: without cuDNN (libcudnn.so.9 of 9.12 or "
                     "newer) attention is our own kernels'");
        gpu_dnn_close(d);
        return;
    }
    snprintf(maker, sizeof maker, "cudnn%zu", dnn->version);
    gpu_cache_open(&dnn->chosen, &d->card, maker);
}

void gpu_dnn_close(tn_device *d)
{
    gpu_dnn *dnn = d->dnn;
    if (!dnn)
        return;
    while (dnn->plans) {
        gpu_dnn_plan *plan = dnn->plans;
        dnn->plans = plan->next;
        gpu_dnn_unload_plan(dnn, plan);
    }
    gpu_cache_close(&dnn->chosen);
    if (dnn->properties)
        dnn->DestroyDescriptor(dnn->properties);
    if (dnn->handle)
        dnn->Destroy(dnn->handle);
    free(dnn);
    d->dnn = NULL;
}

/* ---- descriptors ---- */

void *gpu_dnn_make(gpu_dnn_maker *m, int kind)
{
    void *descriptor = NULL;
    if (!m->status && m->count == sizeof m->made / sizeof m->made[0])
        m->status = -1;
    if (!m->status)
        m->status = m->dnn->CreateDescriptor(kind, &descriptor);
    if (descriptor)
        m->made[m->count++] = descriptor;
    return descriptor;
}

void gpu_dnn_set(gpu_dnn_maker *m, void *descriptor,
                 gpu_dnn_attribute attribute, int type, int64_t count,
                 const void *values)
{
    if (!m->status)
        m->status = m->dnn->SetAttribute(descriptor, (int)attribute, type,
                                         count, values);
}

void gpu_dnn_set_number(gpu_dnn_maker *m, void *descriptor,
                        gpu_dnn_attribute attribute, int type, int value)
{
    gpu_dnn_set(m, descriptor, attribute, type, 1, &value);
}

void gpu_dnn_set_one(gpu_dnn_maker *m, void *descriptor,
                     gpu_dnn_attribute attribute, void *other)
{
    gpu_dnn_set(m, descriptor, attribute, DNN_IS_DESCRIPTOR, 1, &other);
}

void gpu_dnn_finalize(gpu_dnn_maker *m, void *descriptor)
{
    if (!m->status)
        m->status = m->dnn->Finalize(descriptor);
}

void gpu_dnn_unmake(gpu_dnn_maker *m)
{
    while (m->count)
        m->dnn->DestroyDescriptor(m->made[--m->count]);
}

/* ---- making plans ---- */

enum { MOST_CONFIGS = 4 };

/* What the library recommends for the graph. */
static int64_t ask_heuristics(gpu_dnn_maker *m, void *graph, void **configs)
{
    int64_t count = 0;
    void *h = gpu_dnn_make(m, DNN_HEURISTICS);
    gpu_dnn_set_one(m, h, DNN_HEURISTICS_GRAPH, graph);
    gpu_dnn_set_number(m, h, DNN_HEURISTICS_MODE, DNN_IS_HEURISTICS_MODE,
                       DNN_RECOMMENDED);
    gpu_dnn_set_one(m, h, DNN_HEURISTICS_DEVICE, m->dnn->properties);
    gpu_dnn_finalize(m, h);
    for (int i = 0; i < MOST_CONFIGS; i++)
        configs[i] = gpu_dnn_make(m, DNN_ENGINE_CONFIG);
    if (!m->status)
        m->status =
            m->dnn->GetAttribute(h, DNN_HEURISTICS_RESULTS, DNN_IS_DESCRIPTOR,
                                 MOST_CONFIGS, &count, configs);
    return m->status ? 0 : count;
}

static int read_text(const gpu_dnn *dnn, void *plan, gpu_dnn_text *text)
{
    int64_t count = 0;
    if (dnn->GetAttribute(plan, DNN_PLAN_TEXT, DNN_IS_CHAR, 0, &count, NULL) ||
        count < 1)
        return 0;
    text->bytes = malloc((size_t)count);
    if (text->bytes && !dnn->GetAttribute(plan, DNN_PLAN_TEXT, DNN_IS_CHAR,
                                          count, &text->count, text->bytes))
        return 1;
    free(text->bytes);
    return 0;
}

/* The library compiles here. */
static int make_text(const gpu_dnn *dnn, void *config, gpu_dnn_text *text)
{
    gpu_dnn_maker m = {.dnn = dnn};
    void *plan = gpu_dnn_make(&m, DNN_PLAN);
    gpu_dnn_set_one(&m, plan, DNN_PLAN_ENGINE_CONFIG, config);
    gpu_dnn_set_one(&m, plan, DNN_PLAN_DEVICE, dnn->properties);
    gpu_dnn_finalize(&m, plan);
    const int made = !m.status && read_text(dnn, plan, text);
    gpu_dnn_unmake(&m);
    return made;
}

int gpu_dnn_recommend(const gpu_dnn *dnn, const gpu_attention_args *a,
                      int backward, gpu_dnn_text *texts, int most)
{
    gpu_dnn_maker m = {.dnn = dnn};
    void *configs[MOST_CONFIGS];
    int made = 0;
    void *graph = gpu_dnn_graph(&m, a, backward);
    const int64_t count = ask_heuristics(&m, graph, configs);
    for (int64_t i = 0; i < count && i < MOST_CONFIGS && made < most; i++)
        made += make_text(dnn, configs[i], &texts[made]);
    gpu_dnn_unmake(&m);
    return made;
}

/* ---- loading plans ---- */

gpu_dnn_plan *gpu_dnn_load_plan(const gpu_dnn *dnn, const void *text,
                                size_t bytes)
{
    gpu_dnn_maker m = {.dnn = dnn};
    gpu_dnn_plan *loaded = calloc(1, sizeof *loaded);
    int64_t count = 0;
    void *plan = gpu_dnn_make(&m, DNN_PLAN);
    if (dnn->handle)
        gpu_dnn_set(&m, plan, DNN_PLAN_HANDLE, DNN_IS_HANDLE, 1, &dnn->handle);
    else
        gpu_dnn_set_one(&m, plan, DNN_PLAN_DEVICE, dnn->properties);
    gpu_dnn_set(&m, plan, DNN_PLAN_TEXT, DNN_IS_CHAR, (int64_t)bytes, text);
    gpu_dnn_finalize(&m, plan);
    if (!m.status && loaded)
        m.status = dnn->GetAttribute(plan, DNN_PLAN_WORKSPACE, DNN_IS_INT64, 1,
                                     &count, &loaded->workspace);
    if (!m.status && loaded) {
        loaded->plan = plan;
        return loaded;
    }
    gpu_dnn_unmake(&m);
    free(loaded);
    return NULL;
}

void gpu_dnn_unload_plan(const gpu_dnn *dnn, gpu_dnn_plan *plan)
{
    if (!plan)
        return;
    if (plan->plan)
        dnn->DestroyDescriptor(plan->plan);
    free(plan->problem);
    free(plan);
}
