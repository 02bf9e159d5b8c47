/*
 * code_patterns.c - rows that repeat snippets of Python, with noise.
 *
 * Ten short snippets, as ids of GPT-2's vocabulary (taken modulo the model's).
 * A row repeats one of five arrangements of them:
 *
 *     row 5k       def ... again and again
 *     row 5k + 1   an import, then def ...
 *     row 5k + 2   if ... return ...
 *     row 5k + 3   for ... print ...
 *     row 5k + 4   any of the ten, drawn anew each time
 *
 * and one token in ten is replaced by a random one. Those cannot be predicted:
 * the loss does not fall below
 *
 *     -0.9 ln 0.9 - 0.1 ln(0.1 / V)  =  0.325 + 0.1 ln V
 *
 * nats per token in the first four arrangements (1.41 for V = 50,257, 0.88 for
 * 256) and at most 0.5 more in the fifth: about 1.5 in all. A run that reports
 * less than 1.4 has a leak, one that stays above 1.8 is under-trained.
 */
#include <stdlib.h>

#include "../generated.h"

typedef struct code_patterns_options {
    int64_t rows;
    double noise;
    int32_t shuffle;
    int32_t reserved;
} code_patterns_options;

static const tn_option options[] = {
    TN_OPTION_INT(code_patterns_options, rows, 100000, 1, 1e15,
                  "different rows: an epoch"),
    TN_OPTION_FLOAT(code_patterns_options, noise, 0.1, 0, 1,
                    "share of tokens that are replaced by a random one"),
    TN_OPTION_BOOL(code_patterns_options, shuffle, 1,
                   "a seeded permutation of the rows in each epoch"),
};

/* ---- snippets ---- */

typedef struct {
    int32_t count;
    int32_t ids[8];
} snippet;

enum { DEF, IMPORT, IF, FOR, RETURN, CLASS, PRINT, VALUE, LIST, TRY, SNIPPETS };

static const snippet snippets[SNIPPETS] = {
    [DEF] = {7, {2934, 2163, 62, 2393, 2599, 3419, 25}},
    [IMPORT] = {2, {11748, 8265}},
    [IF] = {3, {361, 4006, 25}},
    [FOR] = {8, {1640, 1312, 287, 2837, 7, 77, 2599, 25}},
    [RETURN] = {2, {7783, 1255}},
    [CLASS] = {3, {4871, 30004, 25}},
    [PRINT] = {4, {4798, 7, 45286, 8}},
    [VALUE] = {2, {28, 1988}},
    [LIST] = {7, {58, 9186, 329, 2378, 287, 1351, 60}},
    [TRY] = {5, {28311, 25, 2644, 2845, 25}},
};

/* The n-th snippet of a row. */
static const snippet *choose(const tni_generated *g, uint64_t index, uint64_t n)
{
    switch (index % 5) {
    case 0:
        return &snippets[DEF];
    case 1:
        return &snippets[n ? DEF : IMPORT];
    case 2:
        return &snippets[n % 2 ? RETURN : IF];
    case 3:
        return &snippets[n % 2 ? PRINT : FOR];
    default:
        return &snippets[tni_generated_below(g, index, 1ull << 40 | n,
                                             SNIPPETS)];
    }
}

/* ---- rows ---- */

static void add_noise(const tni_generated *g, uint64_t index, int32_t *ids,
                      int64_t count)
{
    const double below = g->noise * 4294967296.0;
    for (int64_t t = 0; t < count; t++)
        if ((double)tni_generated_draw(g, index, 2 * (uint64_t)t) < below)
            ids[t] = tni_generated_below(g, index, 2 * (uint64_t)t + 1,
                                         g->vocab_size);
}

static void make_row(const tni_generated *g, uint64_t index, int32_t *ids,
                     int64_t count)
{
    int64_t at = 0;
    for (uint64_t n = 0; at < count; n++) {
        const snippet *s = choose(g, index, n);
        for (int32_t i = 0; i < s->count && at < count; i++)
            ids[at++] = (int32_t)(s->ids[i] % g->vocab_size);
    }
    add_noise(g, index, ids, count);
}

static tn_status code_patterns_open(const tn_host *host,
                                    const tn_dataset_request *request,
                                    const void *options_, void **self,
                                    tn_error *err)
{
    const code_patterns_options *o = options_;
    tni_generated *g = calloc(1, sizeof *g);
    (void)host;
    if (!g)
        return tn_fail(err, TN_ENOMEM, "no memory for a dataset");
    g->make = make_row;
    g->noise = o->noise;
    const tn_status status =
        tni_generated_init(g, o->rows, o->shuffle, request, err);
    if (status == TN_OK)
        *self = g;
    else
        free(g);
    return status;
}

static void code_patterns_close(void *self)
{
    tni_generated_fini(self);
    free(self);
}

TN_DATASET(code_patterns) = {
    .summary = "snippets of code with noise; loss floor 0.33 + 0.1 ln(V)",
    .options = TN_OPTIONS(code_patterns_options, options),
    .open = code_patterns_open,
    .close = code_patterns_close,
    .info = tni_generated_info,
    .next = tni_generated_next,
    .save = tni_generated_save,
    .restore = tni_generated_restore,
};
