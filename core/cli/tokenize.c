/*
 * tokenize.c - `tenon tokenize`: texts become token ids, in shards or, one text
 * alone, in a file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/bar.h"
#include "cli/interrupt.h"
#include "cli/tokenizer.h"
#include "run/component.h"
#include "run/prepare.h"
#include "run/text_paths.h"
#include "run/token_writer.h"

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
    w->count += count;
    return tni_write_ids(w->to, w->path, w->bytes, ids, count, err);
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
    tni_tokenizer_flags tokenizer;
    const char *out, *dtype, *field, *begin;
    int64_t shard_tokens, threads;
    int given_field, given_begin, given_shard_tokens; /* of documents */
    const char *const *in;
    size_t in_count;
} arguments;

static tn_status open_tokenizer(tni_cli *cli, const arguments *a,
                                tn_tokenizer_handle *tokenizer,
                                const char **name, tn_error *err)
{
    tni_use use;
    TN_TRY(tni_tokenizer_use(cli, &a->tokenizer, &use, err));
    *name = use.name;
    return tni_tokenizer_open(cli->host, &use, tokenizer, err);
}

/* 0 where it is not given. */
static tn_status id_bytes(const arguments *a, uint32_t *bytes, tn_error *err)
{
    *bytes = 0;
    if (!a->dtype)
        return TN_OK;
    *bytes = strcmp(a->dtype, "u16") == 0 ? 2 : 4;
    if (*bytes == 4 && strcmp(a->dtype, "u32") != 0)
        return tn_fail(err, TN_EINVALID, "--dtype %s: u16 or u32 is possible",
                       a->dtype);
    return TN_OK;
}

/* ---- one text, one file ---- */

/* What is about documents means nothing where one plain text is all. */
static tn_status check_one_text(const arguments *a, tn_error *err)
{
    const char *flag = a->given_field          ? "--field"
                       : a->given_begin        ? "--begin"
                       : a->given_shard_tokens ? "--shard-tokens"
                                               : NULL;
    if (a->in_count > 1)
        return tn_fail(err, TN_EINVALID,
                       "-o %s: one file holds one text, these are %zu; give "
                       "the name of a folder",
                       a->out, a->in_count);
    if (flag)
        return tn_fail(err, TN_EINVALID,
                       "%s: -o %s is one file of one plain text, which has no "
                       "use for it; give the name of a folder",
                       flag, a->out);
    if (!tni_path_is_plain_text(a->in[0]))
        return tn_fail(err, TN_EINVALID,
                       "%s: -o %s takes one plain text, as it lies; JSON lines "
                       "and what is compressed go into a folder: give the name "
                       "of one",
                       a->in[0], a->out);
    return TN_OK;
}

static tn_status one_file(tni_cli *cli, const arguments *a,
                          const tn_tokenizer_handle *tokenizer, uint32_t width,
                          tn_error *err)
{
    const uint32_t vocab_size = tokenizer->vtable->vocab_size(tokenizer->self);
    const char *aside = tni_arena_printf(cli->arena, "%s.tmp", a->out);
    writer w = {.path = aside, .bytes = width ? width : 4};
    char *text;
    size_t bytes;
    if (w.bytes == 2 && vocab_size > 1u << 16)
        return tn_fail(err, TN_EINVALID,
                       "--dtype u16 holds ids below 65536, the tokenizer has "
                       "%u; use u32",
                       vocab_size);
    TN_TRY(
        tni_file_read(cli->arena, a->in[0], SIZE_MAX / 4, &text, &bytes, err));
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

/* ---- a folder of shards ---- */

typedef struct {
    tni_bar bar;
    double first; /* share that was done before; below 0: not known yet */
    double began;
} view;

static void on_progress(void *to, const tni_prepare_progress *p)
{
    view *v = to;
    char text[16], tokens[16], documents[16];
    const double share = (double)p->read_bytes / (double)p->all_bytes;
    if (v->first < 0)
        v->first = share;
    tni_bar_draw(&v->bar, share, v->first,
                 "%sB of text  %s documents  %s tokens",
                 tni_scaled((double)p->text_bytes, text, sizeof text),
                 tni_scaled((double)p->documents, documents, sizeof documents),
                 tni_scaled((double)p->tokens, tokens, sizeof tokens));
}

static tn_status shards(tni_cli *cli, const arguments *a,
                        const tn_tokenizer_handle *tokenizer, uint32_t width,
                        const char *name, tn_error *err)
{
    view v = {.first = -1, .began = tni_seconds()};
    tni_token_index x;
    const tni_prepare_request request = {
        .host = cli->host,
        .tokenizer = tokenizer,
        .tokenizer_name = name,
        .paths = a->in,
        .path_count = a->in_count,
        .dir = a->out,
        .field = a->field,
        .begin = a->begin,
        .width = width,
        .shard_tokens = (uint64_t)a->shard_tokens,
        .threads = (uint32_t)a->threads,
        .stop = tni_interrupt_watch(),
        .progress = on_progress,
        .to = &v,
    };
    tni_bar_init(&v.bar, stderr);
    const tn_status status = tni_prepare(cli->arena, &request, &x, err);
    tni_bar_clear(&v.bar);
    TN_TRY(status);
    const double seconds = tni_seconds() - v.began;
    printf("%s: %llu tokens of %u bytes in %zu shard%s, %llu document%s, from "
           "%llu bytes of text (%.1f s)\n",
           a->out, (unsigned long long)x.tokens, x.width, x.shard_count,
           x.shard_count == 1 ? "" : "s", (unsigned long long)x.documents,
           x.documents == 1 ? "" : "s", (unsigned long long)x.text_bytes,
           seconds);
    return TN_OK;
}

/* ---- */

static int ends_in_bin(const char *path)
{
    const size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".bin") == 0;
}

static tn_status convert(tni_cli *cli, const arguments *a, tn_error *err)
{
    tn_tokenizer_handle tokenizer = {0};
    const char *name;
    uint32_t width;
    TN_TRY(id_bytes(a, &width, err));
    if (ends_in_bin(a->out))
        TN_TRY(check_one_text(a, err));
    TN_TRY(open_tokenizer(cli, a, &tokenizer, &name, err));
    const tn_status status = ends_in_bin(a->out)
                                 ? one_file(cli, a, &tokenizer, width, err)
                                 : shards(cli, a, &tokenizer, width, name, err);
    tni_tokenizer_close(&tokenizer);
    return status;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    arguments a = {.tokenizer = {.tokenizer = "byte"},
                   .field = "text",
                   .shard_tokens = 100 * 1000 * 1000};
    tn_error err = {0};
    int rest;
    const tni_flag flags[] = {
        {.name = "output",
         .letter = 'o',
         .kind = TNI_FLAG_STRING,
         .to = &a.out,
         .value = "FOLDER|FILE.bin",
         .help = "where the ids go"},
        TNI_FLAG_TOKENIZER(&a.tokenizer),
        TNI_FLAG_PATTERN(&a.tokenizer),
        {.name = "dtype",
         .kind = TNI_FLAG_STRING,
         .to = &a.dtype,
         .value = "u16|u32",
         .help =
             "of an id; u32 in a file, what the vocabulary needs in shards"},
        {.name = "field",
         .kind = TNI_FLAG_STRING,
         .to = &a.field,
         .given = &a.given_field,
         .value = "NAME",
         .help = "where a line of JSON has its text; text"},
        {.name = "begin",
         .kind = TNI_FLAG_STRING,
         .to = &a.begin,
         .given = &a.given_begin,
         .value = "TOKEN|none",
         .help = "special token before each document; the first of <|bos|>, "
                 "<|begin_of_text|>, <|endoftext|> and <s> that is one"},
        {.name = "shard-tokens",
         .kind = TNI_FLAG_INT,
         .to = &a.shard_tokens,
         .given = &a.given_shard_tokens,
         .help = "of a shard, about; 100000000"},
        {.name = "threads",
         .kind = TNI_FLAG_INT,
         .to = &a.threads,
         .help = "0, one per core"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_tokenize, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest < 1 || !a.out)
        return tni_cli_misuse(&tni_command_tokenize,
                              "texts and -o FOLDER are expected");
    if (a.shard_tokens < 1 || a.threads < 0 || a.threads > 4096)
        return tni_cli_misuse(&tni_command_tokenize,
                              a.shard_tokens < 1
                                  ? "--shard-tokens is less than 1"
                                  : "--threads is outside 0 to 4096");
    a.in = (const char *const *)argv;
    a.in_count = (size_t)rest;
    return convert(cli, &a, &err) == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
}

const tni_command tni_command_tokenize = {
    .name = "tokenize",
    .summary = "turn texts into token ids, for training",
    .usage =
        "TEXT... -o FOLDER [-t TOKENIZER] [--field NAME]\n"
        "       tenon tokenize TEXT -o OUT.bin [-t TOKENIZER]\n\n"
        "  A TEXT is a file, a pattern or a folder; plain text or JSON lines "
        "(.jsonl), also\n  .gz and .zst. FOLDER receives shards and an index "
        "for the dataset token_file;\n  interrupted, the same command goes on "
        "after the last whole shard. OUT.bin is\n  one plain text as "
        "little-endian ids without a header.",
    .run = run,
};
