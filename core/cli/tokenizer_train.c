/*
 * tokenizer_train.c - `tenon tokenizer train`: texts to a vocabulary.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cli/bar.h"
#include "cli/interrupt.h"
#include "cli/tokenizer.h"
#include "run/text_paths.h"
#include "run/text_reader.h"

enum { DOCUMENT_BYTES = 64 << 20 }; /* of plain text; longer ones in parts */

typedef struct arguments {
    tni_flag_list in, special;
    const char *out, *pattern, *alphabet, *field;
    int64_t vocab_size, max_bytes;
    int32_t no_special;
} arguments;

/* Those of nanochat's conversations, in its order. */
static const char *const usual_special[] = {
    "<|bos|>",           "<|user_start|>",
    "<|user_end|>",      "<|assistant_start|>",
    "<|assistant_end|>", "<|python_start|>",
    "<|python_end|>",    "<|output_start|>",
    "<|output_end|>",
};

/* ---- the component ---- */

/* A list of texts as YAML, in the words that it shares with JSON. */
static tn_status put_texts(tni_arena *arena, tni_yaml *map, const char *key,
                           const char *const *texts, size_t count,
                           tn_error *err)
{
    tni_yaml *list;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, json_string(texts[i])) != 0) {
            json_decref(array);
            return tn_fail(err, TN_EINVALID, "--special: not UTF-8");
        }
    char *text = json_dumps(array, JSON_ENSURE_ASCII);
    json_decref(array);
    char *kept = tni_arena_printf(arena, "{%s: %s}", key, text);
    free(text);
    TN_TRY(
        tni_config_parse(arena, "--special", kept, strlen(kept), &list, err));
    tni_yaml_put(arena, map, key, tni_yaml_get(list, key));
    return TN_OK;
}

static void put_text(tni_arena *arena, tni_yaml *map, const char *key,
                     const char *value)
{
    if (value)
        tni_yaml_put(arena, map, key, tni_yaml_scalar(arena, value));
}

static tn_status find_trainer(tni_cli *cli, const arguments *a, tni_use *use,
                              tn_error *err)
{
    const tni_reader reader = {
        .arena = cli->arena, .registry = cli->registry, .host = cli->host};
    tni_yaml *node = tni_yaml_new(cli->arena, TNI_YAML_MAP);
    put_text(cli->arena, node, "plugin", TNI_TOKENIZER_OF_FILES);
    put_text(cli->arena, node, "path", a->out);
    put_text(cli->arena, node, "pattern", a->pattern);
    put_text(cli->arena, node, "alphabet", a->alphabet);
    if (a->special.count)
        TN_TRY(put_texts(cli->arena, node, "special_tokens", a->special.at,
                         a->special.count, err));
    else if (!a->no_special)
        TN_TRY(put_texts(cli->arena, node, "special_tokens", usual_special,
                         sizeof usual_special / sizeof *usual_special, err));
    TN_TRY(tni_use_read(&reader, TN_KIND_TOKENIZER, node, "tokenizer", NULL,
                        use, err));
    if (!((const tn_tokenizer *)use->vtable)->train)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "the tokenizer %s cannot be trained", use->name);
    return TN_OK;
}

/* ---- documents ---- */

typedef struct source {
    const arguments *a;
    tni_text_reader reader;
    const char *const *paths;
    json_t *line; /* of the document at hand */
    uint64_t all_bytes, text_bytes, documents;
    tni_bar bar;
    const volatile sig_atomic_t *stop;
} source;

/* The trainer's source of documents: what is empty is passed over. */
static tn_status next_document(void *from, const char **text, uint64_t *bytes,
                               tn_error *err)
{
    source *s = from;
    const uint64_t most = (uint64_t)s->a->max_bytes;
    for (*bytes = 0; !*bytes;) {
        tni_text_piece piece;
        json_decref(s->line);
        s->line = NULL;
        if (most && s->text_bytes >= most)
            return TN_OK;
        const tn_status status = tni_text_reader_next(&s->reader, &piece, err);
        if (status == TN_EEND)
            return TN_OK;
        TN_TRY(status);
        *text = piece.text;
        size_t size = piece.bytes;
        if (piece.json)
            TN_TRY(tni_text_field(&piece, s->paths[piece.after.file],
                                  s->a->field, &s->line, text, &size, err));
        *bytes = size;
        s->documents += (uint64_t)(piece.begins != 0);
    }
    if (most && *bytes > most - s->text_bytes)
        *bytes = most - s->text_bytes;
    s->text_bytes += *bytes;
    return TN_OK;
}

static double share_read(const source *s)
{
    const uint64_t most = (uint64_t)s->a->max_bytes;
    const double by_files = (double)tni_text_reader_consumed(&s->reader) /
                            (double)(s->all_bytes ? s->all_bytes : 1);
    const double by_most = most ? (double)s->text_bytes / (double)most : 0;
    return by_files > by_most ? by_files : by_most;
}

static int32_t on_progress(void *from, const char *doing, double share)
{
    source *s = from;
    char text[16];
    tni_bar_draw(&s->bar, share < 0 ? share_read(s) : share, 0,
                 "%s  %sB of text  %llu documents", doing,
                 tni_scaled((double)s->text_bytes, text, sizeof text),
                 (unsigned long long)s->documents);
    return *s->stop != 0;
}

static void add_sizes(source *s, size_t count)
{
    struct stat st;
    for (size_t i = 0; i < count; i++)
        if (stat(s->paths[i], &st) == 0)
            s->all_bytes += (uint64_t)st.st_size;
}

/* ---- */

static tn_status train(tni_cli *cli, const arguments *a, source *s,
                       tn_error *err)
{
    tni_use use;
    size_t count;
    TN_TRY(find_trainer(cli, a, &use, err));
    TN_TRY(tni_text_paths(cli->arena, a->in.at, a->in.count, &s->paths, &count,
                          err));
    TN_TRY(tni_folder_make(a->out, err));
    tni_text_reader_init(&s->reader, s->paths, count);
    s->reader.most = DOCUMENT_BYTES;
    add_sizes(s, count);
    const tn_tokenizer_training how = {.struct_size = sizeof how,
                                       .vocab_size = a->vocab_size,
                                       .from = s,
                                       .next = next_document,
                                       .progress = on_progress};
    tni_bar_init(&s->bar, stderr);
    const tn_status status = ((const tn_tokenizer *)use.vtable)
                                 ->train(cli->host, use.options, &how, err);
    tni_bar_clear(&s->bar);
    json_decref(s->line);
    tni_text_reader_fini(&s->reader);
    return status;
}

static tn_status report(tni_cli *cli, const arguments *a, const source *s,
                        double seconds, tn_error *err)
{
    tni_use use;
    tn_tokenizer_handle made = {0};
    const tni_tokenizer_flags flags = {.tokenizer = a->out};
    TN_TRY(tni_tokenizer_use(cli, &flags, &use, err));
    TN_TRY(tni_tokenizer_open(cli->host, &use, &made, err));
    printf(
        "%s: %u tokens from %llu document%s, %llu bytes of text, in %.1f s\n",
        a->out, made.vtable->vocab_size(made.self),
        (unsigned long long)s->documents, s->documents == 1 ? "" : "s",
        (unsigned long long)s->text_bytes, seconds);
    tni_tokenizer_close(&made);
    return TN_OK;
}

static int run_train(tni_cli *cli, const arguments *a)
{
    tn_error err = {0};
    const double began = tni_seconds();
    source s = {.a = a, .stop = tni_interrupt_watch()};
    tn_status status = train(cli, a, &s, &err);
    if (status == TN_OK)
        status = report(cli, a, &s, tni_seconds() - began, &err);
    return status == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
}

/* A shell makes of `-i *.txt` one -i and words behind it: texts all the same.
 */
static void add_texts(tni_cli *cli, tni_flag_list *in, char **words, int count)
{
    const uint32_t all = in->count + (uint32_t)count;
    const char **at = tni_arena_alloc(cli->arena, all * sizeof *at);
    for (uint32_t i = 0; i < all; i++)
        at[i] = i < in->count ? in->at[i] : words[i - in->count];
    *in = (tni_flag_list){at, all};
}

static int check(const arguments *a)
{
    const tni_command *command = &tni_command_tokenizer_train;
    if (!a->in.count || !a->out || !a->vocab_size)
        return tni_cli_misuse(command,
                              "-i TEXT, --vocab-size N and -o FOLDER are "
                              "expected");
    if (a->max_bytes < 0)
        return tni_cli_misuse(command, "--max-bytes: %lld is below 0",
                              (long long)a->max_bytes);
    return 0;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    arguments a = {.field = "text"};
    int rest;
    const tni_flag flags[] = {
        {.name = "input",
         .letter = 'i',
         .kind = TNI_FLAG_LIST,
         .to = &a.in,
         .value = "TEXT",
         .help = "a text, JSON lines, a folder or a pattern; .gz and .zst"},
        {.name = "vocab-size",
         .kind = TNI_FLAG_INT,
         .to = &a.vocab_size,
         .help = "tokens, special ones included"},
        {.name = "output",
         .letter = 'o',
         .kind = TNI_FLAG_STRING,
         .to = &a.out,
         .value = "FOLDER",
         .help = "where tokenizer.json and tokenizer.tiktoken go"},
        {.name = "pattern",
         .kind = TNI_FLAG_STRING,
         .to = &a.pattern,
         .value = "NAME",
         .help = "how text is split: nanochat, gpt2, cl100k, o200k, llama3, "
                 "qwen2, or a regular expression; nanochat"},
        {.name = "special",
         .kind = TNI_FLAG_LIST,
         .to = &a.special,
         .help = "a special token, instead of nanochat's nine"},
        {.name = "no-special",
         .kind = TNI_FLAG_SWITCH,
         .to = &a.no_special,
         .help = "no special tokens"},
        {.name = "alphabet",
         .kind = TNI_FLAG_STRING,
         .to = &a.alphabet,
         .value = "bytes|gpt2",
         .help = "order of the first 256 ids; bytes"},
        {.name = "field",
         .kind = TNI_FLAG_STRING,
         .to = &a.field,
         .value = "NAME",
         .help = "of JSON lines; text"},
        {.name = "max-bytes",
         .kind = TNI_FLAG_INT,
         .to = &a.max_bytes,
         .help = "learn from the first N bytes of text"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_tokenizer_train, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    add_texts(cli, &a.in, argv, rest);
    const int misused = check(&a);
    return misused ? misused : run_train(cli, &a);
}

const tni_command tni_command_tokenizer_train = {
    .name = "tokenizer train",
    .summary = "learn a byte-level BPE vocabulary from texts",
    .usage =
        "-i TEXT [TEXT]... --vocab-size N -o FOLDER [--pattern NAME]\n\n"
        "  The most frequent pair becomes a token, again and again; of "
        "equally frequent\n  ones the pair of lowest ids. FOLDER then "
        "serves as {plugin: bpe, path: FOLDER}.",
    .run = run,
};
