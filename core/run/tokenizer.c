/*
 * tokenizer.c - opening one, and what makes two of them the same.
 *
 * Ids in a file of tokens mean something only through the vocabulary they were
 * made with. Its identity is the SHA-256 of everything an id stands for: the
 * bytes of every id, then text and id of every special token. How text is split
 * on the way is no part of it: that changes which ids are chosen, not what they
 * mean.
 */
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "run/component.h"

static void hash_number(tni_sha256 *sha, uint32_t number)
{
    const unsigned char raw[4] = {
        (unsigned char)number, (unsigned char)(number >> 8),
        (unsigned char)(number >> 16), (unsigned char)(number >> 24)};
    tni_sha256_update(sha, raw, sizeof raw);
}

static tn_status hash_ids(const tn_tokenizer_handle *t, tni_sha256 *sha,
                          tn_error *err)
{
    const uint32_t vocab_size = t->vtable->vocab_size(t->self);
    hash_number(sha, vocab_size);
    for (uint32_t id = 0; id < vocab_size; id++) {
        const char *bytes = NULL;
        uint32_t count = 0;
        TN_TRY(t->vtable->bytes_of(t->self, (int32_t)id, &bytes, &count, err));
        hash_number(sha, count);
        if (count)
            tni_sha256_update(sha, bytes, count);
    }
    return TN_OK;
}

static void hash_specials(const tn_tokenizer_handle *t, tni_sha256 *sha)
{
    const char *text;
    int32_t id;
    if (!t->vtable->special_at)
        return;
    for (uint32_t i = 0; t->vtable->special_at(t->self, i, &text, &id) == TN_OK;
         i++) {
        hash_number(sha, (uint32_t)id);
        tni_sha256_update(sha, text, strlen(text) + 1);
    }
}

static tn_status identify(tn_tokenizer_handle *t, tn_error *err)
{
    tni_sha256 sha;
    char *hex = malloc(TNI_SHA256_HEX);
    if (!hex)
        return tn_fail(err, TN_ENOMEM, "no memory for a tokenizer");
    t->identity = hex;
    tni_sha256_init(&sha);
    TN_TRY(hash_ids(t, &sha, err));
    hash_specials(t, &sha);
    tni_sha256_hex(&sha, hex);
    return TN_OK;
}

tn_status tni_tokenizer_open(const tn_host *host, const tni_use *use,
                             tn_tokenizer_handle *tokenizer, tn_error *err)
{
    tn_tokenizer_handle opened = {.struct_size = sizeof opened,
                                  .vtable = use->vtable};
    if (opened.vtable) {
        TN_TRY(opened.vtable->open(host, use->options, &opened.self, err));
        const tn_status status = identify(&opened, err);
        if (status != TN_OK) {
            tni_tokenizer_close(&opened);
            return status;
        }
    }
    *tokenizer = opened;
    return TN_OK;
}

void tni_tokenizer_close(tn_tokenizer_handle *tokenizer)
{
    if (tokenizer->vtable && tokenizer->self)
        tokenizer->vtable->close(tokenizer->self);
    free((void *)(uintptr_t)tokenizer->identity);
    *tokenizer = (tn_tokenizer_handle){0};
}

int32_t tni_tokenizer_begin(const tn_tokenizer_handle *t)
{
    static const char *const usual[] = {"<|bos|>", "<|begin_of_text|>",
                                        "<|endoftext|>", "<s>"};
    int32_t begin = -1;
    for (size_t i = 0; i < sizeof usual / sizeof *usual && begin < 0; i++)
        begin = t->vtable->special(t->self, usual[i]);
    return begin;
}
