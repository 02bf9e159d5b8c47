/*
 * learn.h - the merges that a text asks for.
 *
 * Byte pair encoding (Gage 1994; Sennrich et al. 2016, arXiv:1508.07909): again
 * and again the most frequent pair of neighbouring tokens becomes a token. Of
 * pairs that are equally frequent the one of lower ids goes first, left before
 * right: the rule of Hugging Face's trainer and of rustbpe. Their vocabularies
 * differ in the ids of the single bytes, and therefore in ties.
 */
#ifndef TENON_BPE_LEARN_H
#define TENON_BPE_LEARN_H

#include "vocabulary.h"
#include "words.h"

typedef struct tni_merge_rule {
    int32_t left, right; /* make the token 256 + its place in the list */
} tni_merge_rule;

/*
 * Learn until `v`, which holds the 256 single bytes, has `size` tokens or no
 * pair is left. New tokens are added to v. rule: room for size - 256. The words
 * are read and then freed: they are most of the memory.
 */
tn_status tni_learn(tni_vocabulary *v, tni_words *words, size_t size,
                    const tn_tokenizer_training *how, tni_merge_rule *rule,
                    tn_error *err);

#endif
