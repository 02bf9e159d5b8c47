/*
 * tokenizer_codec.c - `tenon tokenizer encode` and `decode`: bytes on standard
 * input to ids on standard output, and back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tokenizer.h"

typedef struct arguments {
    tni_tokenizer_flags from;
    int32_t special, json;
} arguments;

static tn_status open_tokenizer(tni_cli *cli, const arguments *a,
                                tn_tokenizer_handle *tokenizer, tn_error *err)
{
    tni_use use;
    TN_TRY(tni_tokenizer_use(cli, &a->from, &use, err));
    return tni_tokenizer_open(cli->host, &use, tokenizer, err);
}

/* ---- encode ---- */

typedef struct printing {
    const char *between;
    uint64_t count;
} printing;

static tn_status print_ids(void *to, const int32_t *ids, uint64_t count,
                           tn_error *err)
{
    printing *p = to;
    (void)err;
    for (uint64_t i = 0; i < count; i++)
        printf("%s%d", p->count++ ? p->between : "", ids[i]);
    return TN_OK;
}

static tn_status encode(tni_cli *cli, const arguments *a,
                        const tn_tokenizer_handle *tokenizer, tn_error *err)
{
    char *text;
    size_t bytes;
    printing p = {.between = a->json ? ", " : " "};
    TN_TRY(tni_cli_read_stdin(cli, &text, &bytes, err));
    if (a->json)
        putchar('[');
    TN_TRY(tokenizer->vtable->encode(tokenizer->self, text, bytes,
                                     (uint32_t)a->special, print_ids, &p, err));
    puts(a->json ? "]" : "");
    return TN_OK;
}

/* ---- decode ---- */

/* The text of a special token, NULL where `id` is none. */
static const char *special_text(const tn_tokenizer_handle *tokenizer,
                                int32_t id)
{
    const tn_tokenizer *v = tokenizer->vtable;
    const char *text;
    int32_t its;
    for (uint32_t i = 0; v->special_at && v->special_at(tokenizer->self, i,
                                                        &text, &its) == TN_OK;
         i++)
        if (its == id)
            return text;
    return NULL;
}

static tn_status print_token(const tn_tokenizer_handle *tokenizer,
                             const arguments *a, int32_t id, tn_error *err)
{
    const char *bytes;
    uint32_t count;
    TN_TRY(
        tokenizer->vtable->bytes_of(tokenizer->self, id, &bytes, &count, err));
    const char *text =
        count == 0 && a->special ? special_text(tokenizer, id) : NULL;
    if (text)
        fputs(text, stdout);
    else
        fwrite(bytes, 1, count, stdout);
    return TN_OK;
}

/* Ids with anything of spaces, commas and brackets around them: what encode
 * prints, in either form. */
static tn_status decode(tni_cli *cli, const arguments *a,
                        const tn_tokenizer_handle *tokenizer, tn_error *err)
{
    static const char between[] = " \t\r\n,[]";
    char *text;
    size_t bytes;
    TN_TRY(tni_cli_read_stdin(cli, &text, &bytes, err));
    if (strlen(text) != bytes)
        return tn_fail(err, TN_EINVALID,
                       "standard input: ids are expected as decimal numbers; "
                       "byte %zu is 0",
                       strlen(text));
    for (char *at = text; at += strspn(at, between), *at;) {
        char *stop;
        errno = 0;
        const long id = strtol(at, &stop, 10);
        if (stop == at || (*stop && !strchr(between, *stop)) || errno ||
            id < INT32_MIN || id > INT32_MAX)
            return tn_fail(err, TN_EINVALID,
                           "standard input: \"%.*s\" at byte %zu is no token "
                           "id; decimal numbers are expected",
                           (int)strcspn(at, between) % 40, at,
                           (size_t)(at - text));
        TN_TRY(print_token(tokenizer, a, (int32_t)id, err));
        at = stop;
    }
    return TN_OK;
}

/* ---- both ---- */

typedef tn_status (*codec)(tni_cli *cli, const arguments *a,
                           const tn_tokenizer_handle *tokenizer, tn_error *err);

static int run_codec(tni_cli *cli, const tni_command *command,
                     const arguments *a, codec each)
{
    tn_tokenizer_handle tokenizer = {0};
    tn_error err = {0};
    if (!a->from.tokenizer)
        return tni_cli_misuse(command, "-t FILE is missing: the tokenizer");
    tn_status status = open_tokenizer(cli, a, &tokenizer, &err);
    if (status == TN_OK)
        status = each(cli, a, &tokenizer, &err);
    tni_tokenizer_close(&tokenizer);
    return status == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
}

static int parse(tni_cli *cli, const tni_command *command, arguments *a,
                 uint32_t flag_count, int argc, char **argv)
{
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_TOKENIZER(&a->from),
        TNI_FLAG_PATTERN(&a->from),
        {.name = "special",
         .kind = TNI_FLAG_SWITCH,
         .to = &a->special,
         .help = "special tokens and their text stand for each other"},
        {.name = "json",
         .kind = TNI_FLAG_SWITCH,
         .to = &a->json,
         .help = "print a JSON array"},
    };
    const int stop =
        tni_cli_parse(cli, command, flags, flag_count, argc, argv, &rest);
    if (stop || !rest)
        return stop;
    return tni_cli_misuse(command, "%s: text comes from standard input",
                          argv[0]);
}

static int run_encode(tni_cli *cli, int argc, char **argv)
{
    const tni_command *command = &tni_command_tokenizer_encode;
    arguments a = {0};
    const int stop = parse(cli, command, &a, 4, argc, argv);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    return run_codec(cli, command, &a, encode);
}

static int run_decode(tni_cli *cli, int argc, char **argv)
{
    const tni_command *command = &tni_command_tokenizer_decode;
    arguments a = {0};
    const int stop = parse(cli, command, &a, 3, argc, argv);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    return run_codec(cli, command, &a, decode);
}

const tni_command tni_command_tokenizer_encode = {
    .name = "tokenizer encode",
    .summary = "turn the bytes of standard input into ids",
    .usage = "-t FILE [--pattern NAME] [--special] [--json] < text\n\n"
             "  Without --special, text that looks like a special token is "
             "ordinary text.",
    .run = run_encode,
};

const tni_command tni_command_tokenizer_decode = {
    .name = "tokenizer decode",
    .summary = "turn ids on standard input into the bytes they stand for",
    .usage = "-t FILE [--special] < ids\n\n"
             "  Without --special, special tokens stand for nothing.",
    .run = run_decode,
};
