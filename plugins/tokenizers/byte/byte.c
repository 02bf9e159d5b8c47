/*
 * byte.c - the tokenizer that needs no training: an id is a byte.
 *
 * 256 ids, no special tokens, nothing it cannot encode. It has no state, so
 * its self is its table of bytes.
 */
#include <tenon/tokenizer.h>

enum { VOCABULARY = 256, PIECE = 1024 };

static char bytes[VOCABULARY];

static tn_status byte_open(const tn_host *host, const void *options,
                           void **self, tn_error *err)
{
    (void)host;
    (void)options;
    (void)err;
    for (int i = 0; i < VOCABULARY; i++)
        bytes[i] = (char)i;
    *self = bytes;
    return TN_OK;
}

static void byte_close(void *self)
{
    (void)self;
}

static uint32_t byte_vocab_size(const void *self)
{
    (void)self;
    return VOCABULARY;
}

static tn_status byte_encode(const void *self, const char *text, uint64_t count,
                             uint32_t allow_special, tn_token_sink sink,
                             void *to, tn_error *err)
{
    (void)self;
    (void)allow_special;
    int32_t piece[PIECE];
    while (count > 0) {
        const uint64_t n = count < PIECE ? count : PIECE;
        for (uint64_t i = 0; i < n; i++)
            piece[i] = (unsigned char)text[i];
        TN_TRY(sink(to, piece, n, err));
        text += n;
        count -= n;
    }
    return TN_OK;
}

static tn_status byte_bytes_of(const void *self, int32_t id, const char **text,
                               uint32_t *count, tn_error *err)
{
    if (id < 0 || id >= VOCABULARY)
        return tn_fail(err, TN_EINVALID,
                       "token %d is outside the byte vocabulary, 0 to 255", id);
    *text = (const char *)self + id;
    *count = 1;
    return TN_OK;
}

static int32_t byte_special(const void *self, const char *text)
{
    (void)self;
    (void)text;
    return -1;
}

TN_TOKENIZER(byte) = {
    .summary = "one id per byte, 256 of them",
    .open = byte_open,
    .close = byte_close,
    .vocab_size = byte_vocab_size,
    .encode = byte_encode,
    .bytes_of = byte_bytes_of,
    .special = byte_special,
};
