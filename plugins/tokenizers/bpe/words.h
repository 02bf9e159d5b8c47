/*
 * words.h - the different pieces of a text, and how often each occurs.
 */
#ifndef TENON_BPE_WORDS_H
#define TENON_BPE_WORDS_H

#include <tenon/tokenizer.h>

#include "memory.h"
#include "split.h"

typedef struct tni_word {
    size_t at; /* in tni_words.bytes */
    uint32_t size, tag;
    int64_t count;
} tni_word;

typedef struct tni_words {
    char *bytes;
    size_t byte_count, byte_capacity;
    tni_word *word;
    size_t count, capacity;
    uint32_t *slot; /* open addressing: index + 1, 0 where free */
    size_t slot_count;
} tni_words;

/* `count` more of this piece. 0 when memory ran out. */
int tni_words_add(tni_words *words, const char *piece, size_t size,
                  int64_t count);
void tni_words_fini(tni_words *words);

/*
 * The pieces of every document of `how`, split and counted by all threads of
 * the host's pool. Beside the words themselves it needs memory for one batch
 * of text (and for the longest document, where the pattern is an expression
 * that may not be cut short). Which thread met a word does not matter: the
 * words are the same, in some order.
 */
tn_status tni_words_count(const tn_host *host, const tni_splitter *splitter,
                          const tn_tokenizer_training *how, tni_words *words,
                          tn_error *err);

#endif
