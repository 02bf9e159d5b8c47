/*
 * rendered.h - the conversations of some files as tokens with a mask, one after
 * the other in memory.
 */
#ifndef TENON_RENDERED_H
#define TENON_RENDERED_H

#include <tenon/dataset.h>

#include "conversation.h"

enum { TNI_TOO_LONG_CUT, TNI_TOO_LONG_SKIP };

typedef struct tni_rendered {
    uint32_t *tokens; /* id, and TNI_TRAINED where it is learned */
    size_t token_count, token_capacity;
    size_t *start; /* of conversations; start[count]: the end */
    size_t count, capacity;
    int64_t answerless, skipped, cut; /* how many were left out or shortened */
    int64_t trained;                  /* tokens */
} tni_rendered;

#define TNI_TRAINED 0x80000000u

typedef struct tni_render_options {
    const tn_chat_template *form;
    const tn_tokenizer_handle *tokenizer;
    int64_t vocab_size;
    int64_t seq_len; /* a conversation may have one token more */
    int32_t too_long;
} tni_render_options;

/* Every conversation that is kept has a trained token behind its first one. */
tn_status tni_render_file(tni_rendered *rendered, const char *path,
                          const tni_render_options *options, tn_error *err);
void tni_rendered_free(tni_rendered *rendered);

#endif
