/*
 * ranks_file.c - reads `.tiktoken` files.
 */
#include "ranks_file.h"

/* The value of a base64 digit, -1 where it is none. */
static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * RFC 4648, with padding and without stray bits: what encoding the result
 * would give, and nothing else. Returns 0 where it is not that.
 */
static int decode_base64(const char *from, size_t count, char *to, size_t *out)
{
    size_t used = 0, padding = 0;
    if (count == 0 || count % 4)
        return 0;
    while (padding < 2 && from[count - 1 - padding] == '=')
        padding++;
    uint32_t bits = 0;
    for (size_t i = 0; i < count; i++) {
        const int value = i < count - padding ? digit(from[i]) : 0;
        if (value < 0)
            return 0;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 < 3)
            continue;
        to[used++] = (char)(bits >> 16);
        to[used++] = (char)(bits >> 8);
        to[used++] = (char)bits;
        bits = 0;
    }
    for (size_t i = 0; i < padding; i++)
        if (to[--used] != 0)
            return 0;
    *out = used;
    return 1;
}

/* Digits and nothing else, below 10 billion. */
static int read_rank(const char *from, size_t count, int64_t *rank)
{
    if (count == 0 || count > 10)
        return 0;
    *rank = 0;
    for (size_t i = 0; i < count; i++) {
        if (from[i] < '0' || from[i] > '9')
            return 0;
        *rank = *rank * 10 + (from[i] - '0');
    }
    return 1;
}

static tn_status read_line(tni_vocabulary *v, const char *line, size_t count,
                           size_t number, tn_error *err)
{
    char token[TNI_MAX_TOKEN_BYTES + 3];
    size_t bytes;
    int64_t rank;
    tn_error why = {0};
    const char *space = memchr(line, ' ', count);
    if (!space)
        return tn_fail(err, TN_EFORMAT,
                       "%s:%zu: expected a token in base64, a space and its "
                       "id",
                       v->path, number);
    const size_t width = (size_t)(space - line);
    if (width > (TNI_MAX_TOKEN_BYTES + 2) / 3 * 4 ||
        !decode_base64(line, width, token, &bytes))
        return tn_fail(err, TN_EFORMAT,
                       "%s:%zu: the token is not base64 of 1 to %d bytes; is "
                       "the file complete?",
                       v->path, number, TNI_MAX_TOKEN_BYTES);
    if (!read_rank(space + 1, count - width - 1, &rank))
        return tn_fail(err, TN_EFORMAT,
                       "%s:%zu: the token's id is not a whole number", v->path,
                       number);
    const tn_status status = tni_vocabulary_add(v, rank, token, bytes, &why);
    return status == TN_OK
               ? TN_OK
               : tn_fail(err, status, "%s (line %zu)", why.message, number);
}

tn_status tni_ranks_read(tni_vocabulary *v, const char *text, size_t bytes,
                         tn_error *err)
{
    const char *end = text + bytes;
    for (size_t number = 1; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t count = (size_t)((stop ? stop : end) - text);
        const char *line = text;
        text += count + (stop != NULL);
        if (count && line[count - 1] == '\r')
            count--;
        if (count)
            TN_TRY(read_line(v, line, count, number, err));
    }
    return TN_OK;
}

/* ---- vocabularies known by name ---- */

#define END_OF_TEXT "<|endoftext|>"
#define FIM(part) "<|fim_" part "|>"

static const tni_known_ranks known[] = {
    {"r50k", "gpt2", 50256, {{END_OF_TEXT, 50256}}},
    {"p50k", "gpt2", 50281, {{END_OF_TEXT, 50256}}},
    {"cl100k",
     "cl100k",
     100256,
     {{END_OF_TEXT, 100257},
      {FIM("prefix"), 100258},
      {FIM("middle"), 100259},
      {FIM("suffix"), 100260},
      {"<|endofprompt|>", 100276}}},
    {"o200k",
     "o200k",
     199998,
     {{END_OF_TEXT, 199999}, {"<|endofprompt|>", 200018}}},
};

enum { KNOWN = sizeof known / sizeof *known };

const tni_known_ranks *tni_known_ranks_named(const char *name)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (!strcmp(known[i].name, name))
            return &known[i];
    return NULL;
}

/* Size, and the order in which OpenAI's begin: "!" is 0, "~" is 93. */
const tni_known_ranks *tni_known_ranks_of(const tni_vocabulary *v)
{
    if (tni_vocabulary_find(v, "!", 1) != 0 ||
        tni_vocabulary_find(v, "~", 1) != 93)
        return NULL;
    for (size_t i = 0; i < KNOWN; i++)
        if (known[i].size == v->size)
            return &known[i];
    return NULL;
}
