/*
 * train.c - words, merges, files: training as a page.
 */
#include "train.h"

#include "byte_level.h"
#include "write_files.h"

/* The 256 single bytes, by value or in the order of GPT-2's alphabet. */
static tn_status add_bytes(tni_vocabulary *v, int32_t alphabet, tn_error *err)
{
    tni_byte_level level;
    tni_byte_level_init(&level);
    for (int id = 0; id < 256; id++) {
        const char byte =
            (char)(alphabet == TNI_ALPHABET_GPT2 ? level.order[id] : id);
        TN_TRY(tni_vocabulary_add(v, id, &byte, 1, err));
    }
    return tni_vocabulary_index(v, err);
}

static tn_status check_size(const tni_training_options *o,
                            const tn_tokenizer_training *how, tn_error *err)
{
    const int64_t least = 256 + (int64_t)o->special->count;
    if (how->vocab_size >= least && how->vocab_size <= TNI_MAX_TOKENS)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "vocab_size: %lld is outside [%lld, %d]; 256 bytes and %u "
                   "special tokens are in it",
                   (long long)how->vocab_size, (long long)least, TNI_MAX_TOKENS,
                   o->special->count);
}

static tn_status add_special(tni_vocabulary *v, const tn_strings *special,
                             tn_error *err)
{
    for (uint32_t i = 0; i < special->count; i++)
        TN_TRY(tni_vocabulary_add_special(v, (int64_t)v->size, special->at[i],
                                          strlen(special->at[i]), 0, err));
    return TN_OK;
}

/* Fewer tokens than asked for: the text has no more to give. */
static void tell_short(const tn_host *host, const char *folder, size_t learned,
                       size_t wanted)
{
    if (host && learned < wanted)
        host->log(host, TN_LOG_WARNING,
                  "%s: the text is used up after %zu of %zu merges; the "
                  "vocabulary is smaller than asked for",
                  folder, learned, wanted);
}

static tn_status learn_words(const tn_host *host, const tni_training_options *o,
                             const tn_tokenizer_training *how, tni_words *words,
                             tn_error *err)
{
    tni_splitter splitter;
    TN_TRY(tni_splitter_open(&splitter, o->pattern, err));
    const tn_status status = tni_words_count(host, &splitter, how, words, err);
    tni_splitter_close(&splitter);
    if (status == TN_OK && !words->count)
        return tn_fail(err, TN_EINVALID, "there is no text to learn from");
    return status;
}

static tn_status train(const tn_host *host, const tni_training_options *o,
                       const tn_tokenizer_training *how, tni_vocabulary *v,
                       tn_error *err)
{
    const size_t wanted = (size_t)how->vocab_size - 256 - o->special->count;
    tni_words words = {0};
    tni_merge_rule *rule = calloc(wanted + 1, sizeof *rule);
    tn_status status =
        rule ? add_bytes(v, o->alphabet, err) : tni_no_memory(o->folder, err);
    if (status == TN_OK)
        status = learn_words(host, o, how, &words, err);
    if (status == TN_OK)
        status = tni_learn(v, &words, 256 + wanted, how, rule, err);
    const tni_trained trained = {.vocabulary = v,
                                 .rule = rule,
                                 .rule_count = v->size - 256,
                                 .expression =
                                     tni_split_expression(o->pattern)};
    if (status == TN_OK)
        status = add_special(v, o->special, err);
    if (status == TN_OK) {
        tell_short(host, o->folder, trained.rule_count, wanted);
        status = tni_trained_write(&trained, o->folder, err);
    }
    tni_words_fini(&words);
    free(rule);
    return status;
}

tn_status tni_bpe_train(const tn_host *host, const tni_training_options *o,
                        const tn_tokenizer_training *how, tn_error *err)
{
    tni_vocabulary v;
    TN_TRY(check_size(o, how, err));
    tni_vocabulary_init(&v, o->folder);
    const tn_status status = train(host, o, how, &v, err);
    tni_vocabulary_fini(&v);
    return status;
}
