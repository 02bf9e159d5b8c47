/*
 * token_list.h - ids one after the other, growing.
 */
#ifndef TENON_TOKEN_LIST_H
#define TENON_TOKEN_LIST_H

#include <tenon/tokenizer.h>

typedef struct tni_token_list {
    int32_t *at;
    int64_t count, capacity;
} tni_token_list;

/* Append: a tn_token_sink whose `to` is a tni_token_list. */
tn_status tni_token_list_take(void *list, const int32_t *ids, uint64_t count,
                              tn_error *err);
void tni_token_list_free(tni_token_list *list);

#endif
