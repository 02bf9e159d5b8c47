/*
 * tally.c - target by target.
 */
#include "run/tally.h"

#include <math.h>
#include <stdlib.h>

tn_status tni_tally_lengths(const tn_tokenizer_handle *t, int64_t vocab_size,
                            int32_t **lengths, tn_error *err)
{
    *lengths = NULL;
    if (!t->vtable)
        return TN_OK;
    int32_t *length = calloc((size_t)vocab_size, sizeof *length);
    if (!length)
        return tn_fail(err, TN_ENOMEM, "no memory for %lld lengths",
                       (long long)vocab_size);
    *lengths = length;
    const int64_t known = (int64_t)t->vtable->vocab_size(t->self);
    for (int64_t id = 0; id < known && id < vocab_size; id++) {
        const char *bytes;
        uint32_t count = 0;
        TN_TRY(t->vtable->bytes_of(t->self, (int32_t)id, &bytes, &count, err));
        length[id] = (int32_t)count;
    }
    return TN_OK;
}

void tni_tally_add(tni_tally *tally, const int32_t *lengths,
                   const int32_t *targets, const float *nll, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const int32_t target = targets[i];
        const double nats = (double)nll[i];
        if (target < 0)
            continue;
        tally->nats += nats;
        tally->tokens += 1;
        if (lengths && lengths[target]) {
            tally->text_nats += nats;
            tally->bytes += lengths[target];
        }
    }
}

double tni_tally_bits_per_byte(const tni_tally *tally)
{
    return tally->bytes > 0 ? tally->text_nats / tally->bytes / M_LN2 : 0;
}
