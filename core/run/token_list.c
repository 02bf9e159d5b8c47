/*
 * token_list.c - room that doubles.
 */
#include "run/token_list.h"

#include <stdlib.h>
#include <string.h>

tn_status tni_token_list_take(void *list, const int32_t *ids, uint64_t count,
                              tn_error *err)
{
    tni_token_list *l = list;
    const int64_t need = l->count + (int64_t)count;
    if (!count)
        return TN_OK;
    if (need > l->capacity) {
        const int64_t capacity = 2 * need + 64;
        int32_t *grown = realloc(l->at, (size_t)capacity * sizeof *grown);
        if (!grown)
            return tn_fail(err, TN_ENOMEM, "no memory for %lld tokens",
                           (long long)need);
        l->at = grown;
        l->capacity = capacity;
    }
    memcpy(l->at + l->count, ids, (size_t)count * sizeof *ids);
    l->count = need;
    return TN_OK;
}

void tni_token_list_free(tni_token_list *list)
{
    free(list->at);
    *list = (tni_token_list){0};
}
