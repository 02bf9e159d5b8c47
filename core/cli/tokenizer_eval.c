/*
 * tokenizer_eval.c - `tenon tokenizer eval`: how many bytes a token stands for,
 * text by text, in several vocabularies side by side.
 *
 * Without texts of one's own some short ones are measured that differ in what
 * makes tokenizers differ: scripts, digits, code, formulas. Each text must come
 * back from its ids.
 */
#include <string.h>

#include "base/file.h"
#include "cli/json.h"
#include "cli/term.h"
#include "cli/tokenizer.h"

typedef struct sample {
    const char *name, *text;
    size_t bytes;
} sample;

#define SAMPLE(name, text)                                                     \
    {                                                                          \
        name, text, sizeof text - 1                                            \
    }

static const sample samples[] = {
    SAMPLE("news",
           "The ferry between the two islands will run again from Monday, the "
           "harbour office said on Thursday, eleven weeks after a storm had "
           "torn its pier away. Until the new one is finished in spring, "
           "passengers are asked to be there twenty minutes early; bicycles "
           "travel free. \"We never thought we would miss the noise of that "
           "old engine,\" said a baker who crosses every morning.\n"),
    SAMPLE("dialogue",
           "\"Aren't you coming?\"\n\"I'd rather not. It's late, and we've "
           "been there twice already.\"\n\"They'll ask where you are, "
           "y'know.\"\n\"Then tell them I couldn't find my shoes.\"\n"),
    SAMPLE("numbers",
           "2024-03-17 06:45  1,204.50 EUR  +49 30 1234567\n"
           "1 12 123 1234 12345 123456 1234567 3.14159265358979 0x7fff\n"),
    SAMPLE("code C",
           "static size_t count_lines(const char *text, size_t bytes)\n{\n"
           "    size_t lines = 0;\n\n"
           "    for (size_t i = 0; i < bytes; i++)\n"
           "        lines += text[i] == '\\n';\n"
           "    return lines; /* a last line without its end is none */\n}\n"),
    SAMPLE("code Python",
           "def moving_average(values, width=5):\n"
           "    \"\"\"Mean of the last `width` values, one by one.\"\"\"\n"
           "    window = collections.deque(maxlen=width)\n"
           "    for value in values:\n"
           "        window.append(value)\n"
           "        yield sum(window) / len(window)\n"),
    SAMPLE("formulas",
           "\\begin{equation}\n  \\mathrm{softmax}(z)_i = "
           "\\frac{e^{z_i}}{\\sum_{j=1}^{n} e^{z_j}}, \\qquad "
           "\\nabla_{z} \\log p_y = \\mathbf{e}_y - p\n\\end{equation}\n"),
    SAMPLE("German",
           "Der Zug nach K\u00f6ln f\u00e4hrt heute au\u00dfer der Reihe von "
           "Gleis 9; gro\u00dfe Gep\u00e4ckst\u00fccke k\u00f6nnen am "
           "Schalter aufgegeben werden.\n"),
    SAMPLE("Russian",
           "\u0421\u043d\u0435\u0433 \u0448\u0451\u043b \u0432\u0441\u044e "
           "\u043d\u043e\u0447\u044c, \u0438 \u043a \u0443\u0442\u0440\u0443 "
           "\u0434\u043e\u0440\u043e\u0433\u0438 \u043d\u0435 \u0431\u044b"
           "\u043b\u043e \u0432\u0438\u0434\u043d\u043e.\n"),
    SAMPLE("Korean",
           "\uc624\ub298 \uc544\uce68\uc5d0\ub294 \ube44\uac00 \uc654\uc9c0"
           "\ub9cc \uc624\ud6c4\uc5d0\ub294 \ud558\ub298\uc774 \ub9d1\uc558"
           "\ub2e4.\n"),
    SAMPLE("Chinese",
           "\u6cb3\u8fb9\u7684\u67f3\u6811\u5df2\u7ecf\u53d1\u82bd\uff0c\u5b69"
           "\u5b50\u4eec\u5728\u6865\u4e0b\u653e\u7eb8\u8239\u3002\n"),
    SAMPLE("emoji",
           "ok \U0001f44d\U0001f3fd see you at 8 \U0001f389\U0001f389 "
           "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\n"),
};

enum { SAMPLES = sizeof samples / sizeof *samples };

/* ---- measuring ---- */

typedef struct opened {
    const char *name;
    tn_tokenizer_handle handle;
} opened;

typedef struct evaluation {
    const sample *texts;
    size_t text_count;
    opened *tokenizers;
    size_t tokenizer_count;
    uint64_t *tokens; /* [text][tokenizer] */
} evaluation;

/* Counts ids and holds the text against what they stand for. */
typedef struct comparing {
    const opened *of;
    const sample *text;
    size_t at;
    uint64_t tokens;
} comparing;

static tn_status compare(void *to, const int32_t *ids, uint64_t count,
                         tn_error *err)
{
    comparing *c = to;
    const tn_tokenizer_handle *t = &c->of->handle;
    c->tokens += count;
    for (uint64_t i = 0; i < count; i++) {
        const char *bytes;
        uint32_t n;
        TN_TRY(t->vtable->bytes_of(t->self, ids[i], &bytes, &n, err));
        if (n > c->text->bytes - c->at ||
            memcmp(c->text->text + c->at, bytes, n) != 0)
            return tn_fail(err, TN_EFORMAT,
                           "%s: %s does not come back from its ids: token %d "
                           "at byte %zu stands for other bytes",
                           c->of->name, c->text->name, ids[i], c->at);
        c->at += n;
    }
    return TN_OK;
}

static tn_status measure(const evaluation *e, size_t text, size_t tokenizer,
                         tn_error *err)
{
    comparing c = {.of = &e->tokenizers[tokenizer], .text = &e->texts[text]};
    const tn_tokenizer_handle *t = &c.of->handle;
    TN_TRY(t->vtable->encode(t->self, c.text->text, c.text->bytes, 0, compare,
                             &c, err));
    if (c.at != c.text->bytes)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %s comes back as its first %zu bytes", c.of->name,
                       c.text->name, c.at);
    e->tokens[text * e->tokenizer_count + tokenizer] = c.tokens;
    return TN_OK;
}

static tn_status measure_all(const evaluation *e, tn_error *err)
{
    for (size_t i = 0; i < e->text_count; i++)
        for (size_t j = 0; j < e->tokenizer_count; j++)
            TN_TRY(measure(e, i, j, err));
    return TN_OK;
}

/* ---- printing ---- */

static uint64_t tokens_of(const evaluation *e, size_t text, size_t tokenizer)
{
    return e->tokens[text * e->tokenizer_count + tokenizer];
}

static double bytes_per_token(const evaluation *e, size_t text,
                              size_t tokenizer)
{
    const uint64_t tokens = tokens_of(e, text, tokenizer);
    return tokens ? (double)e->texts[text].bytes / (double)tokens : 0;
}

/* Bytes per token, and for all but the first how much more than the first. */
static void add_cell(tni_table *t, double rate, double first, size_t tokenizer)
{
    if (tokenizer == 0 || first == 0)
        tni_table_addf(t, "%.2f", rate);
    else
        tni_table_addf(t, "%.2f (%+.1f%%)", rate, 100 * (rate / first - 1));
}

static void add_total(const evaluation *e, tni_table *t)
{
    uint64_t bytes = 0;
    double first = 0;
    for (size_t i = 0; i < e->text_count; i++)
        bytes += e->texts[i].bytes;
    tni_table_add(t, "all");
    tni_table_addf(t, "%llu", (unsigned long long)bytes);
    for (size_t j = 0; j < e->tokenizer_count; j++) {
        uint64_t tokens = 0;
        for (size_t i = 0; i < e->text_count; i++)
            tokens += tokens_of(e, i, j);
        const double rate = tokens ? (double)bytes / (double)tokens : 0;
        first = j ? first : rate;
        add_cell(t, rate, first, j);
    }
}

static void print_table(tni_cli *cli, const evaluation *e)
{
    tni_table t = {.arena = cli->arena,
                   .columns = (uint32_t)(2 + e->tokenizer_count),
                   .headed = 1};
    tni_table_add(&t, "bytes per token of");
    tni_table_add(&t, "bytes");
    for (size_t j = 0; j < e->tokenizer_count; j++) {
        const tn_tokenizer_handle *h = &e->tokenizers[j].handle;
        tni_table_addf(&t, "%s (%u)", e->tokenizers[j].name,
                       h->vtable->vocab_size(h->self));
    }
    for (size_t i = 0; i < e->text_count; i++) {
        tni_table_add(&t, e->texts[i].name);
        tni_table_addf(&t, "%zu", e->texts[i].bytes);
        for (size_t j = 0; j < e->tokenizer_count; j++)
            add_cell(&t, bytes_per_token(e, i, j), bytes_per_token(e, i, 0), j);
    }
    add_total(e, &t);
    tni_table_print(&t, stdout);
}

static int print_json(const evaluation *e)
{
    json_t *root = json_array();
    for (size_t j = 0; j < e->tokenizer_count; j++) {
        const tn_tokenizer_handle *h = &e->tokenizers[j].handle;
        json_t *one = json_object(), *texts = json_array();
        tni_json_text(one, "tokenizer", e->tokenizers[j].name);
        json_object_set_new(
            one, "vocab_size",
            json_integer((json_int_t)h->vtable->vocab_size(h->self)));
        for (size_t i = 0; i < e->text_count; i++) {
            json_t *text = json_object();
            tni_json_text(text, "text", e->texts[i].name);
            json_object_set_new(text, "bytes",
                                json_integer((json_int_t)e->texts[i].bytes));
            json_object_set_new(text, "tokens",
                                json_integer((json_int_t)tokens_of(e, i, j)));
            tni_json_number(text, "bytes_per_token", bytes_per_token(e, i, j));
            json_array_append_new(texts, text);
        }
        json_object_set_new(one, "texts", texts);
        json_array_append_new(root, one);
    }
    return tni_json_print(root);
}

/* ---- */

static tn_status read_texts(tni_cli *cli, char **paths, size_t count,
                            evaluation *e, tn_error *err)
{
    sample *texts = tni_arena_alloc(cli->arena, count * sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        char *text;
        TN_TRY(tni_file_read(cli->arena, paths[i], SIZE_MAX / 4, &text,
                             &texts[i].bytes, err));
        texts[i].name = tni_path_basename(cli->arena, paths[i]);
        texts[i].text = text;
    }
    e->texts = texts;
    e->text_count = count;
    return TN_OK;
}

static tn_status open_all(tni_cli *cli, const tni_flag_list *from,
                          const char *pattern, evaluation *e, tn_error *err)
{
    e->tokenizers =
        tni_arena_alloc(cli->arena, from->count * sizeof *e->tokenizers);
    for (uint32_t i = 0; i < from->count; i++) {
        const tni_tokenizer_flags flags = {from->at[i], pattern};
        tni_use use;
        TN_TRY(tni_tokenizer_use(cli, &flags, &use, err));
        TN_TRY(
            tni_tokenizer_open(cli->host, &use, &e->tokenizers[i].handle, err));
        e->tokenizers[i].name = tni_path_basename(cli->arena, from->at[i]);
        e->tokenizer_count++;
    }
    e->tokens = tni_arena_alloc(cli->arena, e->text_count * from->count *
                                                sizeof *e->tokens);
    return TN_OK;
}

static int evaluate(tni_cli *cli, const tni_flag_list *from,
                    const char *pattern, evaluation *e, int json)
{
    tn_error err = {0};
    tn_status status = open_all(cli, from, pattern, e, &err);
    if (status == TN_OK)
        status = measure_all(e, &err);
    int result = status == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
    if (status == TN_OK && json)
        result = print_json(e);
    else if (status == TN_OK)
        print_table(cli, e);
    for (size_t i = 0; i < e->tokenizer_count; i++)
        tni_tokenizer_close(&e->tokenizers[i].handle);
    return result;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    const tni_command *command = &tni_command_tokenizer_eval;
    tni_flag_list from = {0};
    const char *pattern = NULL;
    evaluation e = {.texts = samples, .text_count = SAMPLES};
    tn_error err = {0};
    int32_t json = 0;
    int rest;
    const tni_flag flags[] = {
        {.name = "tokenizer",
         .letter = 't',
         .kind = TNI_FLAG_LIST,
         .to = &from,
         .value = "FILE",
         .help = "as of `tenon tokenizer encode`"},
        {.name = "pattern",
         .kind = TNI_FLAG_STRING,
         .to = &pattern,
         .value = "NAME",
         .help = "how text is split, of all of them"},
        {.name = "json",
         .kind = TNI_FLAG_SWITCH,
         .to = &json,
         .help = "print JSON"},
    };
    const int stop = tni_cli_parse(
        cli, command, flags, sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (!from.count)
        return tni_cli_misuse(command, "-t FILE is missing: a tokenizer");
    if (rest && read_texts(cli, argv, (size_t)rest, &e, &err) != TN_OK)
        return tni_cli_fail(&err);
    return evaluate(cli, &from, pattern, &e, json);
}

const tni_command tni_command_tokenizer_eval = {
    .name = "tokenizer eval",
    .summary = "bytes per token of vocabularies side by side",
    .usage = "-t FILE [-t FILE]... [TEXT]... [--json]\n\n"
             "  Without texts, on short ones of several kinds. Each text must "
             "come back from its\n  ids. Percentages compare with the first "
             "tokenizer: more bytes per token are\n  fewer tokens.",
    .run = run,
};
