/*
 * layer_laws.c - see layer_laws.h.
 */
#include "layer_laws.h"

enum { B = LAW_B, T = LAW_T, V = LAW_V, ROWS = LAW_ROWS };

const int32_t law_tokens[ROWS] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 12, 0};
const int32_t law_targets[ROWS] = {1, 4, 1, 5, 9, 2, -1, 5, 3, 5, 8, 12, 0, 7};

static double *open_on(model_rig *rig, const char *model, const char *backend,
                       tn_dtype dtype)
{
    model_rig_open_ok(rig, model);
    model_rig_device(rig, backend, dtype);
    double *slab = malloc((size_t)model_rig_slab(rig) * sizeof *slab);
    uint32_t count = 0;
    const tni_weight *w = tni_model_weights(rig->model, &count);
    model_rig_draw(rig, 5, slab);
    for (uint32_t k = 0; k < count; k++)
        for (int64_t e = 0; e < w[k].elements; e++) {
            double *p = &slab[w[k].offset + e];
            /* gains and biases are constant: spread them */
            *p = w[k].rank == 1 ? *p + 0.03 * (double)(e % 5) : 15 * *p;
        }
    return slab;
}

double *law_open(model_rig *rig, const char *model)
{
    return open_on(rig, model, "reference", TN_F64);
}

void law_logits(model_rig *rig, const double *slab, const int32_t *tokens,
                double *logits)
{
    model_run run = {.batch = B,
                     .seq_len = T,
                     .tokens = tokens,
                     .params = slab,
                     .logits = logits};
    model_rig_run(rig, &run);
}

double law_loss(model_rig *rig, const double *slab)
{
    double nll[ROWS], sum = 0;
    model_run run = {.batch = B,
                     .seq_len = T,
                     .tokens = law_tokens,
                     .targets = law_targets,
                     .params = slab,
                     .nll = nll};
    model_rig_run(rig, &run);
    for (int r = 0; r < ROWS; r++)
        sum += nll[r];
    return sum;
}

void law_no_layer_sees_the_future(const char *model)
{
    model_rig rig;
    double was[ROWS * V], now[ROWS * V];
    double *slab = law_open(&rig, model);
    law_logits(&rig, slab, law_tokens, was);
    for (int t = 0; t < T; t += 3) {
        int32_t changed[ROWS];
        memcpy(changed, law_tokens, sizeof changed);
        changed[t] = 7;
        law_logits(&rig, slab, changed, now);
        assert_memory_equal(was, now, (size_t)t * V * sizeof *was);
        assert_memory_not_equal(was + t * V, now + t * V, V * sizeof *was);
        assert_memory_equal(was + T * V, now + T * V, T * V * sizeof *was);
    }
    free(slab);
    model_rig_close(&rig);
}

/* Central differences, step 1e-5: error about 1e-10 of the third derivative. */
static void check_element(model_rig *rig, double *slab, const double *gradient,
                          int64_t at)
{
    const double h = 1e-5, kept = slab[at];
    slab[at] = kept + h;
    const double above = law_loss(rig, slab);
    slab[at] = kept - h;
    const double below = law_loss(rig, slab);
    slab[at] = kept;
    const double want = (above - below) / (2 * h);
    tn_assert_close_double(&gradient[at], &want, 1, 1e-6, 1e-6);
}

static int64_t largest_of(const tni_weight *w, const double *gradient)
{
    int64_t largest = w->offset;
    for (int64_t e = 0; e < w->elements; e++)
        if (fabs(gradient[w->offset + e]) > fabs(gradient[largest]))
            largest = w->offset + e;
    if (!(fabs(gradient[largest]) > 1e-6)) {
        print_error("no gradient reaches %s\n", w->name);
        fail();
    }
    return largest;
}

void law_gradients_reach_every_weight_and_are_right(const char *model)
{
    model_rig rig;
    double *slab = law_open(&rig, model);
    double *gradient = calloc((size_t)model_rig_slab(&rig), sizeof *gradient);
    model_run run = {.batch = B,
                     .seq_len = T,
                     .tokens = law_tokens,
                     .targets = law_targets,
                     .params = slab,
                     .gradient = gradient};
    uint32_t count = 0;
    const tni_weight *w = tni_model_weights(rig.model, &count);
    model_rig_run(&rig, &run);
    assert_int_equal(run.unreached, 0);
    for (uint32_t k = 0; k < count; k++)
        check_element(&rig, slab, gradient, largest_of(&w[k], gradient));
    free(gradient);
    free(slab);
    model_rig_close(&rig);
}

/* ---- documents ---- */

enum { MOST_DOCUMENTS = 5 };

/* Rows of documents of these lengths; a 0 ends a row's. */
typedef struct packing {
    int64_t batch, seq_len;
    int lengths[LAW_B][MOST_DOCUMENTS + 1];
    int32_t *tokens, *targets, *first;
    double *nll;
} packing;

static void pack(packing *p)
{
    const int64_t n = p->batch * p->seq_len;
    p->tokens = calloc((size_t)n, sizeof *p->tokens);
    p->targets = calloc((size_t)n, sizeof *p->targets);
    p->first = calloc((size_t)n, sizeof *p->first);
    p->nll = calloc((size_t)n, sizeof *p->nll);
    for (int64_t i = 0; i < n; i++) {
        p->tokens[i] = (int32_t)((i * i * 7 + i / 3) % V);
        p->targets[i] = i % 5 == 4 ? -1 : (int32_t)((i * 5 + i / 7) % V);
    }
    for (int64_t b = 0; b < p->batch; b++) {
        int at = 0;
        for (int d = 0; p->lengths[b][d]; at += p->lengths[b][d++])
            for (int i = 0; i < p->lengths[b][d]; i++)
                p->first[b * p->seq_len + at + i] = at;
        assert_int_equal(at, p->seq_len);
    }
}

static void unpack(packing *p)
{
    free(p->tokens);
    free(p->targets);
    free(p->first);
    free(p->nll);
}

/* One document by itself; its gradient is added to `sum`. */
static void check_document(model_rig *rig, const double *slab, const packing *p,
                           int64_t at, int length, double *sum,
                           double tolerance)
{
    const int64_t slab_size = model_rig_slab(rig);
    double *nll = calloc((size_t)length, sizeof *nll);
    double *gradient = calloc((size_t)slab_size, sizeof *gradient);
    model_run run = {.batch = 1,
                     .seq_len = length,
                     .tokens = p->tokens + at,
                     .targets = p->targets + at,
                     .params = slab,
                     .nll = nll,
                     .gradient = gradient};
    model_rig_run(rig, &run);
    tn_assert_close_double(p->nll + at, nll, length, tolerance, tolerance);
    for (int64_t i = 0; i < slab_size; i++)
        sum[i] += gradient[i];
    free(gradient);
    free(nll);
}

static void check_packing(const char *model, const char *backend,
                          tn_dtype dtype, packing *p, double tolerance)
{
    model_rig rig;
    double *slab = open_on(&rig, model, backend, dtype);
    const int64_t size = model_rig_slab(&rig);
    double *gradient = calloc((size_t)size, sizeof *gradient);
    double *sum = calloc((size_t)size, sizeof *sum), largest = 1;
    pack(p);
    model_run run = {.batch = p->batch,
                     .seq_len = p->seq_len,
                     .tokens = p->tokens,
                     .targets = p->targets,
                     .first = p->first,
                     .params = slab,
                     .nll = p->nll,
                     .gradient = gradient};
    model_rig_run(&rig, &run);
    for (int64_t b = 0; b < p->batch; b++) {
        int64_t at = b * p->seq_len;
        for (int d = 0; p->lengths[b][d]; at += p->lengths[b][d++])
            check_document(&rig, slab, p, at, p->lengths[b][d], sum, tolerance);
    }
    for (int64_t i = 0; i < size; i++)
        largest = fmax(largest, fabs(sum[i]));
    tn_assert_close_double(gradient, sum, size, tolerance * largest, 0);
    unpack(p);
    free(sum);
    free(gradient);
    free(slab);
    model_rig_close(&rig);
}

void law_documents_do_not_meet(const char *model)
{
    packing p = {.batch = B, .seq_len = T, .lengths = {{3, 1, 3}, {1, 6}}};
    check_packing(model, "reference", TN_F64, &p, 1e-12);
}

void law_documents_do_not_meet_on(const char *model, const char *backend,
                                  double tolerance)
{
    packing p = {
        .batch = B, .seq_len = 150, .lengths = {{1, 63, 20, 66}, {128, 22}}};
    check_packing(model, backend, TN_F32, &p, tolerance);
}

/* Row 1 is one token behind row 0. */
static void check_step(model_rig *rig, const double *slab, int t,
                       const double *want)
{
    const int32_t next[B] = {law_tokens[t], law_tokens[T + t - 1]};
    const int32_t at[B] = {t, t - 1};
    double step[B * V];
    model_run one = {.batch = B,
                     .seq_len = 1,
                     .state_len = 9,
                     .tokens = next,
                     .positions = at,
                     .params = slab,
                     .logits = step};
    model_rig_run(rig, &one);
    tn_assert_close_double(step, want + t * V, V, 1e-12, 1e-12);
    tn_assert_close_double(step + V, want + (T + t - 1) * V, V, 1e-12, 1e-12);
}

void law_decoding_gives_the_logits_of_training(const char *model)
{
    static const int32_t start[B * 4] = {0, 1, 2, 3, 0, 1, 2, -1};
    model_rig rig;
    double want[ROWS * V], prompt[B * 4 * V];
    int32_t head[B * 4];
    double *slab = law_open(&rig, model);
    law_logits(&rig, slab, law_tokens, want);
    for (int r = 0; r < B * 4; r++)
        head[r] = law_tokens[r / 4 * T + r % 4];
    model_run run = {.batch = B,
                     .seq_len = 4,
                     .state_len = 9,
                     .tokens = head,
                     .positions = start,
                     .params = slab,
                     .reset = 1,
                     .logits = prompt};
    model_rig_run(&rig, &run);
    tn_assert_close_double(prompt, want, 4 * V, 1e-12, 1e-12);
    tn_assert_close_double(prompt + 4 * V, want + T * V, 3 * V, 1e-12, 1e-12);
    for (int t = 4; t < T; t++)
        check_step(&rig, slab, t, want);
    free(slab);
    model_rig_close(&rig);
}
