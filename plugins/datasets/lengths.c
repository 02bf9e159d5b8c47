/*
 * lengths.c - one look at every id.
 */
#include "lengths.h"

#include <stdlib.h>

tn_status tni_lengths_init(tni_lengths *l, const char *what,
                           const tn_tokenizer_handle *from, tn_error *err)
{
    *l = (tni_lengths){0};
    if (!from)
        return TN_OK;
    const uint32_t count = from->vtable->vocab_size(from->self);
    l->of = calloc(count + 1u, sizeof *l->of);
    if (!l->of)
        return tn_fail(err, TN_ENOMEM, "%s: out of memory for %u token lengths",
                       what, count);
    l->count = count;
    for (uint32_t id = 0; id < count; id++) {
        const char *bytes;
        TN_TRY(from->vtable->bytes_of(from->self, (int32_t)id, &bytes,
                                      &l->of[id], err));
    }
    return TN_OK;
}

void tni_lengths_fini(tni_lengths *l)
{
    free(l->of);
    *l = (tni_lengths){0};
}

int64_t tni_lengths_sum(const tni_lengths *l, const int32_t *targets,
                        int64_t count)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i++) /* -1 is no id, as a large unsigned */
        if ((uint32_t)targets[i] < l->count)
            sum += l->of[targets[i]];
    return sum;
}
