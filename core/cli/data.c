/*
 * data.c - `tenon data show`: what a config trains on, as text.
 *
 *     <|user_start|>Who are you?<|user_end|><|assistant_start|>[Nobody yet.]
 *
 * Tokens whose prediction is trained are green on a terminal and stand in
 * brackets anywhere else.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/recipes.h"
#include "cli/term.h"
#include "run/evaluate.h"

typedef struct {
    const tn_tokenizer_handle *tokenizer; /* vtable NULL: none */
    const char **special;                 /* by id, NULL: ordinary */
    int64_t vocab_size;
    int trained; /* what is being written */
    const char *on[2], *off[2];
} writer;

/* ---- tokens ---- */

static void list_specials(tni_cli *cli, writer *w)
{
    const tn_tokenizer_handle *t = w->tokenizer;
    const char *text;
    int32_t id;
    w->special =
        tni_arena_alloc(cli->arena, (size_t)w->vocab_size * sizeof *w->special);
    if (!t->vtable || !t->vtable->special_at)
        return;
    for (uint32_t i = 0; t->vtable->special_at(t->self, i, &text, &id) == TN_OK;
         i++)
        if (id >= 0 && id < w->vocab_size)
            w->special[id] = text;
}

static void write_bytes(const char *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static void write_id(const writer *w, int32_t id)
{
    const tn_tokenizer_handle *t = w->tokenizer;
    const char *bytes = "";
    uint32_t count = 0;
    if (id >= 0 && id < w->vocab_size && w->special[id])
        fputs(w->special[id], stdout);
    else if (t->vtable &&
             t->vtable->bytes_of(t->self, id, &bytes, &count, NULL) == TN_OK &&
             count)
        write_bytes(bytes, count);
    else
        printf("<%d>", id);
}

static void put(writer *w, int32_t id, int trained)
{
    if (trained != w->trained) {
        fputs(w->off[w->trained], stdout);
        fputs(w->on[trained], stdout);
        w->trained = trained;
    }
    write_id(w, id);
}

/* ---- rows ---- */

/* Where the row's last stretch of one token without targets begins. */
static int64_t padding_from(const int32_t *tokens, const int32_t *targets,
                            int64_t count)
{
    int64_t at = count;
    while (at > 0 && targets[at - 1] < 0 && tokens[at - 1] == tokens[count - 1])
        at--;
    return at;
}

static void show_row(writer *w, const int32_t *tokens, const int32_t *targets,
                     int64_t count)
{
    const int64_t end = padding_from(tokens, targets, count);
    int64_t trained = 0;
    w->trained = 0;
    fputs(w->on[0], stdout);
    for (int64_t i = 0; i < end; i++) {
        if (i == 0 || targets[i - 1] != tokens[i])
            put(w, tokens[i], 0);
        if (targets[i] >= 0)
            put(w, targets[i], 1);
        trained += targets[i] >= 0;
    }
    printf("%s\n", w->off[w->trained]);
    printf("%s-- %lld tokens, %lld of them trained on, %lld of padding%s\n",
           tni_style_on(stdout, TNI_DIM), (long long)end, (long long)trained,
           (long long)(count - end), tni_style_on(stdout, TNI_PLAIN));
}

static tn_status show_batches(writer *w, tni_data *data, tn_batch *batch,
                              const tni_recipe *r, int64_t rows, tn_error *err)
{
    const int64_t batch_size = r->train.batch_size, seq_len = r->train.seq_len;
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = row % batch_size;
        if (at == 0)
            TN_TRY(tni_data_next(data, batch, err));
        show_row(w, batch->tokens + at * seq_len, batch->targets + at * seq_len,
                 seq_len);
    }
    return TN_OK;
}

static tn_status show_data(writer *w, const tni_recipe *r,
                           const tni_mixture *mixture, int64_t rows,
                           tn_error *err)
{
    const tn_dataset_request request = tni_data_request(r, w->tokenizer);
    tn_batch batch = tni_batch_create(r);
    tni_data data = {0};
    tn_status status = TN_OK;
    if (!batch.tokens)
        status = tn_fail(err, TN_ENOMEM, "no memory for a batch");
    if (status == TN_OK)
        status =
            tni_data_open(r->reader.host, mixture, &request, 0, &data, err);
    if (status == TN_OK)
        status = show_batches(w, &data, &batch, r, rows, err);
    tni_data_close(&data);
    tni_batch_destroy(&batch);
    return status;
}

static tn_status show(tni_cli *cli, const tni_source_flags *source, int val,
                      int64_t rows, tn_error *err)
{
    const int colour = *tni_style_on(stdout, TNI_GOOD) != '\0';
    tni_recipe *r;
    tn_tokenizer_handle tokenizer = {0};
    TN_TRY(tni_recipe_from_flags(cli, source, TNI_NEED_MODEL, &r, NULL, err));
    const tni_mixture *mixture = val ? &r->val_data : &r->train_data;
    if (!mixture->name)
        return tn_fail(err, TN_EINVALID, "%s: there is no data.%s in it",
                       source->config, val ? "val" : "train");
    TN_TRY(tni_tokenizer_open(r->reader.host, &r->tokenizer, &tokenizer, err));
    writer w = {.tokenizer = &tokenizer,
                .vocab_size = tni_model_vocab_size(r->model),
                .on = {"", colour ? tni_style_on(stdout, TNI_GOOD) : "["},
                .off = {"", colour ? tni_style_on(stdout, TNI_PLAIN) : "]"}};
    list_specials(cli, &w);
    const tn_status status = show_data(&w, r, mixture, rows, err);
    tni_tokenizer_close(&tokenizer);
    return status;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    tni_source_flags source = {0};
    int32_t val = 0;
    int64_t rows = 1;
    tn_error err = {0};
    int rest;
    const tni_flag flags[] = {
        {.name = "val",
         .kind = TNI_FLAG_SWITCH,
         .to = &val,
         .help = "data.val instead of data.train"},
        {.name = "rows",
         .kind = TNI_FLAG_INT,
         .to = &rows,
         .help = "how many; 1"},
        TNI_FLAG_SET(&source),
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_data, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest != 2 || strcmp(argv[0], "show") != 0)
        return tni_cli_misuse(&tni_command_data, "show CONFIG is expected");
    if (rows < 1)
        return tni_cli_misuse(&tni_command_data, "--rows %lld is less than 1",
                              (long long)rows);
    source.config = argv[1];
    return show(cli, &source, val, rows, &err) == TN_OK ? TNI_EXIT_OK
                                                        : tni_cli_fail(&err);
}

const tni_command tni_command_data = {
    .name = "data",
    .summary = "show what a config trains on",
    .usage = "show CONFIG [--rows N] [--val] [--set key=value]...\n\n"
             "  The first rows as text. What is trained on is green on a "
             "terminal and stands in\n  [brackets] anywhere else.",
    .run = run,
};
