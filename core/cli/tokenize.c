/*
 * tokenize.c - `tenon tokenize`: a text becomes a file of token ids.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/recipes.h"
#include "run/component.h"

typedef struct {
    FILE *to;
    const char *path;
    uint32_t bytes; /* of an id: 2 or 4 */
    uint64_t count;
} writer;

/* Little-endian, no header: what the dataset token_file reads. */
static tn_status put(void *to, const int32_t *ids, uint64_t count,
                     tn_error *err)
{
    writer *w = to;
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t id = (uint32_t)ids[i];
        const unsigned char raw[4] = {
            (unsigned char)id, (unsigned char)(id >> 8),
            (unsigned char)(id >> 16), (unsigned char)(id >> 24)};
        if (fwrite(raw, 1, w->bytes, w->to) != w->bytes)
            return tn_fail(err, TN_EIO, "%s: cannot write: %s", w->path,
                           strerror(errno));
    }
    w->count += count;
    return TN_OK;
}

static tn_status write_tokens(const tn_tokenizer_handle *tokenizer,
                              const char *text, size_t bytes, writer *w,
                              tn_error *err)
{
    w->to = fopen(w->path, "wbe");
    if (!w->to)
        return tn_fail(err, TN_EIO, "%s: cannot create: %s", w->path,
                       strerror(errno));
    const tn_status status =
        tokenizer->vtable->encode(tokenizer->self, text, bytes, 0, put, w, err);
    const tn_status closed = tni_file_close_synced(w->to, w->path, err);
    return status == TN_OK ? closed : status;
}

typedef struct {
    const char *in, *out, *tokenizer, *dtype;
} arguments;

/* "byte", or a map as in a config: "{plugin: x, path: y}". */
static tn_status open_tokenizer(tni_cli *cli, const arguments *a,
                                tn_tokenizer_handle *tokenizer, tn_error *err)
{
    const tni_reader reader = {.arena = cli->arena,
                               .registry = cli->registry,
                               .host = cli->host,
                               .base = NULL};
    tni_yaml *node;
    tni_use use;
    TN_TRY(tni_config_parse(cli->arena, "--tokenizer", a->tokenizer,
                            strlen(a->tokenizer), &node, err));
    TN_TRY(tni_use_read(&reader, TN_KIND_TOKENIZER, node, "tokenizer", NULL,
                        &use, err));
    return tni_tokenizer_open(cli->host, &use, tokenizer, err);
}

static tn_status id_bytes(const arguments *a, uint32_t vocab_size,
                          uint32_t *bytes, tn_error *err)
{
    const int narrow = strcmp(a->dtype, "u16") == 0;
    if (!narrow && strcmp(a->dtype, "u32") != 0)
        return tn_fail(err, TN_EINVALID, "--dtype %s: u16 or u32 is possible",
                       a->dtype);
    if (narrow && vocab_size > 1u << 16)
        return tn_fail(err, TN_EINVALID,
                       "--dtype u16 holds ids below 65536, the tokenizer has "
                       "%u; use u32",
                       vocab_size);
    *bytes = narrow ? 2 : 4;
    return TN_OK;
}

static tn_status convert(tni_cli *cli, const arguments *a,
                         const tn_tokenizer_handle *tokenizer, tn_error *err)
{
    const char *aside = tni_arena_printf(cli->arena, "%s.tmp", a->out);
    writer w = {.path = aside};
    char *text;
    size_t bytes;
    TN_TRY(id_bytes(a, tokenizer->vtable->vocab_size(tokenizer->self), &w.bytes,
                    err));
    TN_TRY(tni_file_read(cli->arena, a->in, SIZE_MAX / 4, &text, &bytes, err));
    tn_status status = write_tokens(tokenizer, text, bytes, &w, err);
    if (status == TN_OK)
        status = tni_file_rename(aside, a->out, err);
    if (status != TN_OK) {
        remove(aside);
        return status;
    }
    printf("%s: %llu tokens of %u bytes from %zu bytes of text\n", a->out,
           (unsigned long long)w.count, w.bytes, bytes);
    return TN_OK;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    arguments a = {.tokenizer = "byte", .dtype = "u32"};
    tn_tokenizer_handle tokenizer = {0};
    tn_error err = {0};
    int rest;
    const tni_flag flags[] = {
        {.name = "output",
         .letter = 'o',
         .kind = TNI_FLAG_STRING,
         .to = &a.out,
         .value = "FILE",
         .help = "where the ids go"},
        {.name = "tokenizer",
         .kind = TNI_FLAG_STRING,
         .to = &a.tokenizer,
         .value = "NAME",
         .help = "a tokenizer, or {plugin: NAME, option: value}; byte"},
        {.name = "dtype",
         .kind = TNI_FLAG_STRING,
         .to = &a.dtype,
         .value = "u16|u32",
         .help = "of an id; u32"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_tokenize, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest != 1 || !a.out)
        return tni_cli_misuse(&tni_command_tokenize,
                              "a text and -o FILE are expected");
    a.in = argv[0];
    tn_status status = open_tokenizer(cli, &a, &tokenizer, &err);
    if (status == TN_OK)
        status = convert(cli, &a, &tokenizer, &err);
    tni_tokenizer_close(&tokenizer);
    return status == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
}

const tni_command tni_command_tokenize = {
    .name = "tokenize",
    .summary = "turn a text into a file of token ids",
    .usage = "TEXT -o OUT.bin [--tokenizer NAME] [--dtype u16|u32]\n\n"
             "  Little-endian ids without a header, as the dataset token_file "
             "reads them.",
    .run = run,
};
