/*
 * synthetic.c - rows that need no data, of three kinds in turn.
 *
 *     row 3k       one token, k after k another one       learned at once
 *     row 3k + 1   ids that count upwards                 learned at once
 *     row 3k + 2   uniform random ids                     cannot be learned
 *
 * So the loss falls towards ln(vocabulary) / 3 nats per token and not below:
 * 3.61 for 50,257 ids, 2.77 for 4,096, 1.85 for 256, and a little more for the
 * first tokens of each row, which say which kind it is. Lower is a leak.
 */
#include <stdlib.h>

#include "../generated.h"

typedef struct synthetic_options {
    int64_t rows;
    int32_t shuffle;
    int32_t reserved;
} synthetic_options;

static const tn_option options[] = {
    TN_OPTION_INT(synthetic_options, rows, 100000, 1, 1e15,
                  "different rows: an epoch"),
    TN_OPTION_BOOL(synthetic_options, shuffle, 1,
                   "a seeded permutation of the rows in each epoch"),
};

static void make_row(const tni_generated *g, uint64_t index, int32_t *ids,
                     int64_t count)
{
    const uint64_t v = (uint64_t)g->vocab_size;
    const uint64_t other = v > 1 ? v - 1 : 1; /* id 0 is often a special one */
    for (int64_t t = 0; t < count; t++) {
        if (index % 3 == 0)
            ids[t] = (int32_t)((index % other + 1) % v);
        else if (index % 3 == 1)
            ids[t] = (int32_t)((index + (uint64_t)t) % v);
        else
            ids[t] = tni_generated_below(g, index, (uint64_t)t, g->vocab_size);
    }
}

static tn_status synthetic_open(const tn_host *host,
                                const tn_dataset_request *request,
                                const void *options_, void **self,
                                tn_error *err)
{
    const synthetic_options *o = options_;
    tni_generated *g = calloc(1, sizeof *g);
    (void)host;
    if (!g)
        return tn_fail(err, TN_ENOMEM, "no memory for a dataset");
    g->make = make_row;
    const tn_status status =
        tni_generated_init(g, o->rows, o->shuffle, request, err);
    if (status == TN_OK)
        *self = g;
    else
        free(g);
    return status;
}

static void synthetic_close(void *self)
{
    tni_generated_fini(self);
    free(self);
}

TN_DATASET(synthetic) = {
    .summary = "constant, counting and random rows; loss floor ln(V) / 3",
    .options = TN_OPTIONS(synthetic_options, options),
    .open = synthetic_open,
    .close = synthetic_close,
    .info = tni_generated_info,
    .next = tni_generated_next,
    .save = tni_generated_save,
    .restore = tni_generated_restore,
};
