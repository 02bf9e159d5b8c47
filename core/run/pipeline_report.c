/*
 * pipeline_report.c - report.md: what a pipeline did, for people.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/file.h"
#include "run/chat.h"
#include "run/checkpoint.h"
#include "run/curve.h"
#include "run/evaluate.h"
#include "run/generate.h"
#include "run/pipeline.h"
#include "run/weights.h"

enum { CURVE_COLUMNS = 72, CURVE_ROWS = 10, CURVE_POINTS = 144 };

/* What a training stage left behind. */
typedef struct {
    tni_recipe *recipe;
    const char *checkpoint; /* its newest; NULL: none */
    tni_progress progress;
    tni_metrics *metrics;
    size_t metric_count;
    const tni_metrics *val; /* the last with an evaluation, NULL: none */
    tn_dataset_info data;
    const char *backend, *device;
} result;

typedef struct {
    const tni_pipeline *pipeline;
    tni_arena *arena;
    FILE *to;
    result *results; /* by stage */
} report;

/* ---- collecting ---- */

static void read_device(tni_arena *arena, const char *trainer, result *r)
{
    json_t *root = json_load_file(trainer, 0, NULL);
    const char *backend = json_string_value(json_object_get(root, "backend"));
    const char *device = json_string_value(json_object_get(root, "device"));
    r->backend = tni_arena_strdup(arena, backend ? backend : "");
    r->device = tni_arena_strdup(arena, device ? device : "");
    json_decref(root);
}

static tn_status look_at_data(result *r, tn_error *err)
{
    const tni_recipe *recipe = r->recipe;
    tn_tokenizer_handle tokenizer = {0};
    tni_data data = {0};
    TN_TRY(tni_tokenizer_open(recipe->reader.host, &recipe->tokenizer,
                              &tokenizer, err));
    const tn_dataset_request request = tni_data_request(recipe, &tokenizer);
    const tn_status status = tni_data_open(
        recipe->reader.host, &recipe->train_data, &request, 0, &data, err);
    r->data = data.info;
    tni_data_close(&data);
    tni_tokenizer_close(&tokenizer);
    return status;
}

static tn_status collect(const report *p, const tni_pipeline_stage *s,
                         result *r, tn_error *err)
{
    tni_arena *arena = p->arena;
    TN_TRY(tni_pipeline_recipe(p->pipeline, s, TNI_NEED_TRAINING, &r->recipe,
                               err));
    const char *dir = r->recipe->checkpoint.dir;
    TN_TRY(tni_checkpoint_latest(arena, p->pipeline->reader.host, dir,
                                 &r->checkpoint, err));
    if (!r->checkpoint)
        return tn_fail(err, TN_ENOTFOUND, "%s: there is no checkpoint", dir);
    const char *trainer = tni_path_join(arena, r->checkpoint, "trainer.json");
    TN_TRY(tni_progress_read(trainer, &r->progress, err));
    read_device(arena, trainer, r);
    TN_TRY(tni_metrics_read(arena, dir, &r->metrics, &r->metric_count, err));
    for (size_t i = 0; i < r->metric_count; i++)
        if (r->metrics[i].has_val)
            r->val = &r->metrics[i];
    return look_at_data(r, err);
}

/* ---- writing ---- */

static void write_time(FILE *to, double seconds)
{
    const long s = (long)(seconds + 0.5);
    if (s >= 3600)
        fprintf(to, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        fprintf(to, "%ld:%02ld", s / 60, s % 60);
}

static void write_row(const report *p, uint32_t i, double seconds)
{
    const tni_pipeline_stage *s = &p->pipeline->stages[i];
    const result *r = &p->results[i];
    fprintf(p->to, "| %s | ", s->name);
    if (!s->config) {
        fprintf(p->to, " | | | | | ");
    } else {
        fprintf(p->to, "%lld | %lld | %.4f | ", (long long)r->progress.step,
                (long long)r->progress.tokens,
                r->metric_count ? r->metrics[r->metric_count - 1].loss : 0.0);
        if (r->val)
            fprintf(p->to, "%.4f | ", r->val->val_loss);
        else
            fprintf(p->to, "| ");
        if (r->val && r->val->val_bits_per_byte > 0)
            fprintf(p->to, "%.3f | ", r->val->val_bits_per_byte);
        else
            fprintf(p->to, "| ");
    }
    write_time(p->to, seconds);
    fprintf(p->to, " |\n");
}

static tn_status write_table(const report *p, tn_error *err)
{
    double all = 0.0;
    fprintf(p->to, "| stage | steps | tokens seen | training loss | validation "
                   "loss | bits per byte | time |\n"
                   "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (uint32_t i = 0; i < p->pipeline->stage_count; i++) {
        tni_pipeline_record record;
        TN_TRY(tni_pipeline_record_read(p->pipeline, &p->pipeline->stages[i],
                                        &record, err));
        write_row(p, i, record.seconds);
        all += record.seconds;
    }
    fprintf(p->to, "\nAll stages together took ");
    write_time(p->to, all);
    fprintf(p->to, ".\n");
    return TN_OK;
}

static void write_curve(const report *p, const result *r)
{
    tni_curve curve;
    if (tni_curve_make(p->arena, r->metrics, r->metric_count, CURVE_POINTS,
                       &curve, NULL) == TN_OK)
        fprintf(p->to, "```\n%s```\n\n",
                tni_curve_text(p->arena, &curve, CURVE_COLUMNS, CURVE_ROWS));
}

static tn_status write_training(const report *p, const tni_pipeline_stage *s,
                                const result *r, tn_error *err)
{
    const tni_train_options *o = &r->recipe->train;
    fprintf(p->to,
            "`tenon train -f %s` on %s (%s): %lld parameters, %lld tokens a "
            "step. The data has %lld tokens",
            s->config, r->backend, r->device,
            (long long)tni_model_parameter_count(r->recipe->model),
            (long long)(o->batch_size * o->seq_len * o->grad_accum),
            (long long)r->data.tokens);
    if (r->data.rows_per_epoch)
        fprintf(p->to, " in %lld rows; the run saw %.2f epochs",
                (long long)r->data.rows_per_epoch,
                r->metric_count ? r->metrics[r->metric_count - 1].epoch : 0.0);
    fprintf(p->to, ". Checkpoint: `%s`.\n\n", r->checkpoint);
    write_curve(p, r);
    fprintf(p->to, "<details><summary>config</summary>\n\n```yaml\n");
    TN_TRY(tni_yaml_write(r->recipe->root, p->to) == TN_OK
               ? TN_OK
               : tn_fail(err, TN_EIO, "report.md: cannot write"));
    fprintf(p->to, "```\n\n</details>\n");
    return TN_OK;
}

/* ---- samples ---- */

static void collect_text(void *to, const char *text, size_t bytes)
{
    fwrite(text, 1, bytes, to);
}

static tn_status go_on(const tni_pipeline_sample *s, const result *r, FILE *to,
                       tn_error *err)
{
    tni_generate_result made;
    const tni_generate_request request = {
        .recipe = r->recipe,
        .weights = r->checkpoint,
        .prompt = s->prompt,
        .prompt_bytes = strlen(s->prompt),
        .max_tokens = s->max_tokens,
        .sampling = {.temperature = s->temperature, .top_p = 1.0},
        .sink = collect_text,
        .to = to};
    return tni_generate(&request, &made, err);
}

static tn_status reply(const tni_pipeline_sample *s, const result *r, FILE *to,
                       tn_error *err)
{
    const tni_chat_request request = {.recipe = r->recipe,
                                      .weights = r->checkpoint,
                                      .sink = collect_text,
                                      .to = to};
    const tni_sampling sampling = {.temperature = s->temperature, .top_p = 1.0};
    tni_chat_result made;
    tni_chat *chat;
    TN_TRY(tni_chat_open(&request, &chat, err));
    chat->max_tokens = s->max_tokens;
    tn_status status = tni_chat_sample(chat, &sampling, err);
    if (status == TN_OK)
        status = tni_chat_ask(chat, s->chat, strlen(s->chat), &made, err);
    tni_chat_close(chat);
    return status;
}

/* Every line of it as a quotation. */
static void quote(FILE *to, const char *who, const char *text)
{
    fprintf(to, "> **%s** ", who);
    for (; *text; text++) {
        fputc(*text, to);
        if (*text == '\n')
            fputs("> ", to);
    }
    fputs("\n\n", to);
}

static tn_status write_sample(const report *p, const tni_pipeline_sample *s,
                              const result *r, tn_error *err)
{
    char *text = NULL;
    size_t bytes;
    if (!r->recipe->tokenizer.name)
        return tn_fail(err, TN_EINVALID,
                       "samples: stage %s has no tokenizer to speak with",
                       s->stage);
    FILE *to = open_memstream(&text, &bytes);
    if (!to)
        return tn_fail(err, TN_ENOMEM, "no memory for a sample");
    const tn_status status =
        s->chat ? reply(s, r, to, err) : go_on(s, r, to, err);
    fclose(to);
    if (status == TN_OK) {
        quote(p->to, s->chat ? "asked" : "given",
              s->chat ? s->chat : s->prompt);
        quote(p->to, s->stage, text);
    }
    free(text);
    return status;
}

static tn_status write_samples(const report *p, tn_error *err)
{
    const tni_pipeline *l = p->pipeline;
    if (l->sample_count)
        fprintf(p->to, "\n## Samples\n\n");
    for (uint32_t i = 0; i < l->sample_count; i++)
        for (uint32_t s = 0; s < l->stage_count; s++)
            if (strcmp(l->stages[s].name, l->samples[i].stage) == 0)
                TN_TRY(write_sample(p, &l->samples[i], &p->results[s], err));
    return TN_OK;
}

/* ---- the whole ---- */

static tn_status write_all(report *p, tn_error *err)
{
    const tni_pipeline *l = p->pipeline;
    for (uint32_t i = 0; i < l->stage_count; i++)
        if (l->stages[i].config)
            TN_TRY(collect(p, &l->stages[i], &p->results[i], err));
    fprintf(p->to, "# %s\n\n", l->name);
    TN_TRY(write_table(p, err));
    for (uint32_t i = 0; i < l->stage_count; i++) {
        fprintf(p->to, "\n## %s\n\n", l->stages[i].name);
        if (l->stages[i].command)
            fprintf(p->to, "`tenon %s`\n", l->stages[i].command);
        else
            TN_TRY(write_training(p, &l->stages[i], &p->results[i], err));
    }
    return write_samples(p, err);
}

tn_status tni_pipeline_report(const tni_pipeline *pipeline, tn_error *err)
{
    tni_arena *arena = pipeline->reader.arena;
    const char *path = tni_path_join(arena, pipeline->dir, "report.md");
    char *text = NULL;
    size_t bytes;
    report p = {.pipeline = pipeline,
                .arena = arena,
                .to = open_memstream(&text, &bytes)};
    p.results =
        tni_arena_alloc(arena, pipeline->stage_count * sizeof *p.results);
    if (!p.to)
        return tn_fail(err, TN_ENOMEM, "%s: no memory to write it", path);
    tn_status status = write_all(&p, err);
    fclose(p.to);
    if (status == TN_OK)
        status = tni_file_replace(path, text, bytes, err);
    free(text);
    return status;
}
