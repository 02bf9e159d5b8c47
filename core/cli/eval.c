/*
 * eval.c - `tenon eval`: how good a checkpoint is, on any data that its
 * tokenizer fits.
 */
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/bar.h"
#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/recipes.h"
#include "cli/term.h"
#include "run/choices.h"

typedef struct {
    tni_source_flags source;
    tni_flag_list data, choices;
    const char *delimiter;
    int64_t batch_size, seq_len, max_batches, shots, max_examples;
    int32_t given_batch_size, given_seq_len, headless;
} eval_flags;

/* A dataset and what its line is called. */
typedef struct {
    const char *label;
    tni_mixture mixture;
} data_set;

typedef struct {
    tni_cli *cli;
    const eval_flags *flags;
    tni_recipe *recipe;
    const char *weights;
    tn_tokenizer_handle tokenizer;
    data_set *sets;
    size_t set_count, set_capacity;
    const volatile sig_atomic_t *stop;
    int headless;
    tni_bar bar;
    const char *doing; /* what the bar shows */
    tni_table losses, answers;
} evaluation;

/* ---- datasets ---- */

/* "token_file data/val.bin", as it was written. */
static const char *label_of(tni_cli *cli, const tni_yaml *node)
{
    const int is_map = node->kind == TNI_YAML_MAP;
    const tni_yaml *plugin = is_map ? tni_yaml_get(node, "plugin") : node;
    const tni_yaml *path = is_map ? tni_yaml_get(node, "path") : NULL;
    if (path && path->kind == TNI_YAML_LIST && path->count)
        path = path->entries[0].value;
    return tni_arena_printf(cli->arena, "%s%s%s",
                            plugin && plugin->scalar ? plugin->scalar : "",
                            path && path->scalar ? " " : "",
                            path && path->scalar ? path->scalar : "");
}

static void label_all(evaluation *e, const tni_yaml *node)
{
    const int is_list = node->kind == TNI_YAML_LIST;
    for (size_t i = 0; i < (is_list ? node->count : 1); i++)
        TNI_PUSH(e->cli->arena, e->sets, e->set_count, e->set_capacity)->label =
            label_of(e->cli, is_list ? node->entries[i].value : node);
}

/* Each dataset of a mixture is a line of its own. */
static tn_status add_node(evaluation *e, const char *base, tni_yaml *node,
                          const char *where, tn_error *err)
{
    const size_t first = e->set_count;
    tni_reader reader = e->recipe->reader;
    tni_mixture all;
    reader.base = base;
    label_all(e, node); /* reading makes its paths absolute */
    TN_TRY(tni_mixture_read(&reader, node, where, &all, err));
    for (uint32_t i = 0; i < all.count; i++)
        e->sets[first + i].mixture = (tni_mixture){.name = all.use[i].name,
                                                   .count = 1,
                                                   .use = {all.use[i]},
                                                   .below = {1.0}};
    return TN_OK;
}

static tn_status add_val(evaluation *e, const char *path, tni_yaml *root,
                         const char *base, tn_error *err)
{
    const tni_yaml *data = tni_yaml_get(root, "data");
    tni_yaml *val = data ? tni_yaml_get(data, "val") : NULL;
    if (!val || val->kind == TNI_YAML_NULL)
        return tn_fail(err, TN_EINVALID,
                       "%s: there is no data.val in it; say what to evaluate "
                       "on with -d DATA or --choices FILE",
                       path);
    return add_node(e, base, val, "data.val", err);
}

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The dataset that reads a file called so. */
static const char *plugin_for(const char *path)
{
    static const struct {
        const char *end, *plugin;
    } kinds[] = {
        {".txt", "text_file"}, {".md", "text_file"}, {".jsonl", "sft"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (ends_with(path, kinds[i].end))
            return kinds[i].plugin;
    return "token_file";
}

static tn_status add_file(evaluation *e, const char *path, tn_error *err)
{
    tni_arena *arena = e->cli->arena;
    tni_yaml *map = tni_yaml_new(arena, TNI_YAML_MAP);
    tni_yaml *text = tni_yaml_scalar(arena, path);
    text->quoted = 1;
    tni_yaml_put(arena, map, "plugin",
                 tni_yaml_scalar(arena, plugin_for(path)));
    tni_yaml_put(arena, map, "path", text);
    /* a file means its own order: the same rows whatever the seed */
    tni_yaml_put(arena, map, "shuffle", tni_yaml_scalar(arena, "false"));
    return add_node(e, tni_path_absolute(arena, "."), map, "-d", err);
}

/* -d: a map as in a config, a config for its data.val, or a file. */
static tn_status add_data(evaluation *e, const char *text, tn_error *err)
{
    tni_arena *arena = e->cli->arena;
    tni_yaml *root;
    if (!*text)
        return tn_fail(err, TN_EINVALID,
                       "-d is empty; give a file, a config or {plugin: NAME}");
    if (*text == '{') {
        TN_TRY(tni_config_parse(arena, "-d", text, strlen(text), &root, err));
        return add_node(e, tni_path_absolute(arena, "."), root, "-d", err);
    }
    if (ends_with(text, ".yaml") || ends_with(text, ".yml")) {
        TN_TRY(tni_config_load(arena, text, NULL, 0, &root, err));
        return add_val(e, text, root, tni_config_base(arena, text), err);
    }
    return add_file(e, text, err);
}

static tn_status add_all(evaluation *e, tn_error *err)
{
    const eval_flags *f = e->flags;
    for (uint32_t i = 0; i < f->data.count; i++)
        TN_TRY(add_data(e, f->data.at[i], err));
    if (f->data.count || f->choices.count)
        return TN_OK;
    return add_val(e, "the checkpoint's config", e->recipe->root,
                   e->recipe->reader.base, err);
}

/* ---- progress ---- */

static void on_progress(void *to, double share)
{
    evaluation *e = to;
    tni_bar_draw(&e->bar, share, 0.0, "%s", e->doing);
}

static void begin_line(evaluation *e, const char *doing)
{
    e->doing = doing;
    tni_bar_init(&e->bar, stderr);
}

/* One object a line, as `tenon train` writes them. */
static void put_json(json_t *root)
{
    json_dumpf(root, stdout, JSON_REAL_PRECISION(9));
    fputc('\n', stdout);
    fflush(stdout);
    json_decref(root);
}

/* ---- losses ---- */

static void report_loss(evaluation *e, const char *label,
                        const tni_data_score *s)
{
    char tokens[32];
    if (e->headless) {
        json_t *root = json_object();
        tni_json_text(root, "data", label);
        tni_json_number(root, "loss", s->loss);
        tni_json_number(root, "perplexity", s->perplexity);
        tni_json_number(root, "bits_per_byte",
                        s->bytes > 0 ? s->bits_per_byte : (double)NAN);
        json_object_set_new(root, "tokens",
                            json_integer((json_int_t)s->tokens));
        json_object_set_new(root, "bytes", json_integer((json_int_t)s->bytes));
        put_json(root);
        return;
    }
    tni_table_addf(&e->losses, "%.5f", s->loss);
    tni_table_addf(&e->losses, "%.4g", s->perplexity);
    if (s->bytes > 0)
        tni_table_addf(&e->losses, "%.5f", s->bits_per_byte);
    else
        tni_table_add(&e->losses, "-");
    tni_table_addf(&e->losses, "%s",
                   tni_scaled(s->tokens, tokens, sizeof tokens));
    tni_table_add(&e->losses, label);
}

static tn_status score_sets(evaluation *e, tni_scorer *scorer, tn_error *err)
{
    for (size_t i = 0; i < e->set_count; i++) {
        const tni_score_request request = {.tokenizer = &e->tokenizer,
                                           .mixture = &e->sets[i].mixture,
                                           .max_batches = e->flags->max_batches,
                                           .stop = e->stop,
                                           .progress = on_progress,
                                           .to = e};
        tni_data_score score;
        begin_line(e, e->sets[i].label);
        const tn_status status = tni_score_data(scorer, &request, &score, err);
        tni_bar_clear(&e->bar);
        if (status != TN_OK)
            return status;
        report_loss(e, e->sets[i].label, &score);
    }
    return TN_OK;
}

static tn_status evaluate_data(evaluation *e, tn_error *err)
{
    const tni_train_options *o = &e->recipe->train;
    tni_scorer *scorer;
    int apart = 0;
    if (!e->set_count)
        return TN_OK;
    for (size_t i = 0; i < e->set_count; i++)
        apart |= tni_mixture_has_segments(&e->sets[i].mixture);
    TN_TRY(tni_scorer_create(e->recipe, e->weights, o->batch_size, o->seq_len,
                             apart, &scorer, err));
    const tn_status status = score_sets(e, scorer, err);
    tni_scorer_destroy(scorer);
    return status;
}

/* ---- choices ---- */

static void report_choices(evaluation *e, const char *path,
                           const tni_choices_result *r)
{
    if (r->cropped)
        e->cli->host->log(e->cli->host, TN_LOG_WARNING,
                          "%s: %lld prompts are longer than the context: "
                          "their beginnings are left out",
                          path, (long long)r->cropped);
    if (e->headless) {
        json_t *root = json_object();
        tni_json_text(root, "choices", path);
        tni_json_number(root, "accuracy", r->accuracy);
        tni_json_number(root, "chance", r->chance);
        tni_json_number(root, "centered", r->centered);
        json_object_set_new(root, "correct", json_integer(r->correct));
        json_object_set_new(root, "questions", json_integer(r->examples));
        json_object_set_new(root, "shots", json_integer(e->flags->shots));
        put_json(root);
        return;
    }
    tni_table_addf(&e->answers, "%.4f", r->accuracy);
    tni_table_addf(&e->answers, "%.4f", r->chance);
    tni_table_addf(&e->answers, "%.4f", r->centered);
    tni_table_addf(&e->answers, "%lld of %lld", (long long)r->correct,
                   (long long)r->examples);
    tni_table_add(&e->answers, path);
}

static tn_status score_choices(evaluation *e, tni_scorer *scorer, tn_error *err)
{
    for (uint32_t i = 0; i < e->flags->choices.count; i++) {
        const char *path = e->flags->choices.at[i];
        const tni_choices_request request = {.tokenizer = &e->tokenizer,
                                             .path = path,
                                             .delimiter = e->flags->delimiter,
                                             .shots = e->flags->shots,
                                             .most = e->flags->max_examples,
                                             .stop = e->stop,
                                             .progress = on_progress,
                                             .to = e};
        tni_choices_result result;
        begin_line(e, path);
        const tn_status status =
            tni_choices_score(scorer, &request, &result, err);
        tni_bar_clear(&e->bar);
        if (status != TN_OK)
            return status;
        report_choices(e, path, &result);
    }
    return TN_OK;
}

static tn_status evaluate_choices(evaluation *e, tn_error *err)
{
    const tni_recipe *r = e->recipe;
    const int64_t longest = e->flags->given_seq_len
                                ? r->train.seq_len
                                : tni_model_max_seq_len(r->model);
    tni_scorer *scorer;
    if (!e->flags->choices.count)
        return TN_OK;
    if (!e->tokenizer.vtable)
        return tn_fail(err, TN_EINVALID,
                       "--choices needs a tokenizer, and the checkpoint's "
                       "config names none; add one with --set tokenizer=NAME");
    TN_TRY(tni_scorer_create(r, e->weights, r->train.batch_size, longest, 0,
                             &scorer, err));
    const tn_status status = score_choices(e, scorer, err);
    tni_scorer_destroy(scorer);
    return status;
}

/* ---- the command ---- */

static void head(tni_table *table, tni_arena *arena, const char *const *names)
{
    *table = (tni_table){.arena = arena, .columns = 5, .headed = 1};
    for (int i = 0; i < 5; i++)
        tni_table_add(table, names[i]);
}

static void print_tables(const evaluation *e)
{
    if (e->losses.count > 5)
        tni_table_print(&e->losses, stdout);
    if (e->losses.count > 5 && e->answers.count > 5)
        putchar('\n');
    if (e->answers.count > 5)
        tni_table_print(&e->answers, stdout);
}

static tn_status load(evaluation *e, tn_error *err)
{
    tni_source_flags source = e->flags->source;
    if (e->flags->given_batch_size)
        tni_set_add(e->cli, &source.set, "train.batch_size=%lld",
                    (long long)e->flags->batch_size);
    if (e->flags->given_seq_len)
        tni_set_add(e->cli, &source.set, "train.seq_len=%lld",
                    (long long)e->flags->seq_len);
    TN_TRY(tni_recipe_from_flags(e->cli, &source, TNI_SKIP_TRAINING, &e->recipe,
                                 &e->weights, err));
    TN_TRY(add_all(e, err));
    return tni_tokenizer_open(e->cli->host, &e->recipe->tokenizer,
                              &e->tokenizer, err);
}

static int eval(tni_cli *cli, const eval_flags *f)
{
    static const char *const of_losses[] = {"loss", "perplexity", "bits/byte",
                                            "tokens", "data"};
    static const char *const of_answers[] = {"accuracy", "chance", "centered",
                                             "correct", "choices"};
    tn_error err = {0};
    evaluation e = {.cli = cli,
                    .flags = f,
                    .stop = tni_interrupt_watch(),
                    .headless = f->headless || !isatty(STDOUT_FILENO)};
    head(&e.losses, cli->arena, of_losses);
    head(&e.answers, cli->arena, of_answers);
    tn_status status = load(&e, &err);
    if (status == TN_OK)
        status = evaluate_data(&e, &err);
    if (status == TN_OK)
        status = evaluate_choices(&e, &err);
    print_tables(&e); /* also of what was done before a failure */
    tni_tokenizer_close(&e.tokenizer);
    return status == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
}

static int run(tni_cli *cli, int argc, char **argv)
{
    eval_flags f = {.delimiter = " "};
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_MODEL(&f.source),
        {.name = "data",
         .letter = 'd',
         .kind = TNI_FLAG_LIST,
         .to = &f.data,
         .value = "DATA",
         .help = "tokens, a text (.txt, .md), conversations (.jsonl), a config "
                 "for its data.val, or {plugin: NAME, option: value}; the "
                 "checkpoint's data.val"},
        {.name = "choices",
         .kind = TNI_FLAG_LIST,
         .to = &f.choices,
         .value = "FILE",
         .help = "JSON lines of questions: query, choices, gold"},
        {.name = "shots",
         .kind = TNI_FLAG_INT,
         .to = &f.shots,
         .help = "answered questions before each one; 0"},
        {.name = "delimiter",
         .kind = TNI_FLAG_STRING,
         .to = &f.delimiter,
         .help = "between a question and an answer; a blank"},
        {.name = "max-examples",
         .kind = TNI_FLAG_INT,
         .to = &f.max_examples,
         .help = "questions of each file; 0, all of them"},
        {.name = "max-batches",
         .kind = TNI_FLAG_INT,
         .to = &f.max_batches,
         .help = "batches of each dataset; 0, all of it"},
        {.name = "batch-size",
         .kind = TNI_FLAG_INT,
         .to = &f.batch_size,
         .given = &f.given_batch_size,
         .help = "rows at a time; train.batch_size"},
        {.name = "seq-len",
         .kind = TNI_FLAG_INT,
         .to = &f.seq_len,
         .given = &f.given_seq_len,
         .help = "tokens of a row; train.seq_len"},
        {.name = "headless",
         .kind = TNI_FLAG_SWITCH,
         .to = &f.headless,
         .help = "JSON lines only, as when stdout is no terminal"},
        TNI_FLAG_BACKEND(&f.source),
        TNI_FLAG_QUANTIZE(&f.source),
        TNI_FLAG_CONFIG(&f.source),
        TNI_FLAG_WEIGHTS(&f.source),
        TNI_FLAG_SET(&f.source),
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_eval, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest)
        return tni_cli_misuse(&tni_command_eval,
                              "%s: not expected here; data follow -d", argv[0]);
    if (f.max_batches < 0 || f.max_examples < 0)
        return tni_cli_misuse(&tni_command_eval,
                              "--max-batches and --max-examples are not below "
                              "0");
    return eval(cli, &f);
}

const tni_command tni_command_eval = {
    .name = "eval",
    .summary = "measure a checkpoint on data and questions",
    .usage = "-m CHECKPOINT [-d DATA]... [--choices FILE]... [--headless]\n\n"
             "  A line for each dataset: mean loss in nats per token, "
             "perplexity, and bits per\n  byte, which can be compared between "
             "vocabularies. A line for each file of\n  questions: how often "
             "the right choice has the lowest mean loss per token.",
    .run = run,
};
