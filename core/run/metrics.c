/*
 * metrics.c - reports as lines of JSON.
 */
#include "run/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include <jansson.h>

#include "base/file.h"

enum { MOST_BYTES = 1 << 30 };

typedef struct {
    char *at;
    size_t used, size;
} text;

TN_PRINTF(2, 3)
static void put(text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = t->used < t->size ? vsnprintf(t->at + t->used,
                                                t->size - t->used, format, args)
                                    : 0;
    va_end(args);
    t->used += n > 0 ? (size_t)n : 0;
}

/* JSON has no infinity and no NaN. */
static void put_number(text *t, const char *key, double value)
{
    if (isfinite(value))
        put(t, ", \"%s\": %.9g", key, value);
    else
        put(t, ", \"%s\": null", key);
}

size_t tni_metrics_json(const tni_metrics *m, char *to, size_t size)
{
    text t = {.at = to, .size = size};
    put(&t, "{\"step\": %lld", (long long)m->step);
    put_number(&t, "loss", m->loss);
    put_number(&t, "grad_norm", m->grad_norm);
    put_number(&t, "learning_rate", m->learning_rate);
    put_number(&t, "epoch", m->epoch);
    put_number(&t, "it/s", m->steps_per_second);
    put_number(&t, "tokens_per_second", m->tokens_per_second);
    put(&t, ", \"tokens\": %lld", (long long)m->tokens);
    if (m->auxiliary != 0.0)
        put_number(&t, "auxiliary_loss", m->auxiliary);
    if (m->has_val)
        put_number(&t, "val_loss", m->val_loss);
    if (m->has_val && m->val_bits_per_byte > 0.0)
        put_number(&t, "val_bits_per_byte", m->val_bits_per_byte);
    put(&t, "}");
    return t.used;
}

/* ---- reading ---- */

static double number(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static int parse(const char *at, size_t bytes, tni_metrics *m)
{
    json_t *line = json_loadb(at, bytes, 0, NULL);
    const int good =
        json_is_object(line) && json_is_integer(json_object_get(line, "step"));
    if (good)
        *m = (tni_metrics){
            .step = (int64_t)json_integer_value(json_object_get(line, "step")),
            .loss = number(line, "loss"),
            .grad_norm = number(line, "grad_norm"),
            .learning_rate = number(line, "learning_rate"),
            .epoch = number(line, "epoch"),
            .steps_per_second = number(line, "it/s"),
            .tokens_per_second = number(line, "tokens_per_second"),
            .has_val = json_object_get(line, "val_loss") != NULL,
            .val_loss = number(line, "val_loss"),
        };
    json_decref(line);
    return good;
}

/* Calls for each whole line; a last line cut short by a kill is no line. */
typedef void (*line_sink)(void *to, const char *line, size_t bytes);

static void each_line(const char *text_, line_sink sink, void *to)
{
    for (const char *at = text_, *end; (end = strchr(at, '\n')); at = end + 1)
        sink(to, at, (size_t)(end - at));
}

typedef struct {
    tni_arena *arena;
    tni_metrics *at;
    size_t count, capacity;
} reports;

static void add_report(void *to, const char *line, size_t bytes)
{
    reports *r = to;
    tni_metrics m;
    if (parse(line, bytes, &m))
        *TNI_PUSH(r->arena, r->at, r->count, r->capacity) = m;
}

static tn_status read_text(tni_arena *arena, const char *dir, char **all,
                           tn_error *err)
{
    return tni_file_read(arena, tni_path_join(arena, dir, "metrics.jsonl"),
                         MOST_BYTES, all, NULL, err);
}

tn_status tni_metrics_read(tni_arena *arena, const char *dir,
                           tni_metrics **metrics, size_t *count, tn_error *err)
{
    reports r = {.arena = arena};
    char *all;
    TN_TRY(read_text(arena, dir, &all, err));
    each_line(all, add_report, &r);
    *metrics = r.at;
    *count = r.count;
    return TN_OK;
}

/* ---- taking up a file ---- */

typedef struct {
    int64_t last;
    char *at;
    size_t used;
} kept;

static void keep_line(void *to, const char *line, size_t bytes)
{
    kept *k = to;
    tni_metrics m;
    if (!parse(line, bytes, &m) || m.step > k->last)
        return;
    memcpy(k->at + k->used, line, bytes);
    k->used += bytes;
    k->at[k->used++] = '\n';
}

static tn_status rewind_to(const char *dir, const char *path, int64_t step,
                           tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    kept k = {.last = step};
    char *all;
    tn_status status = read_text(arena, dir, &all, err);
    if (status == TN_OK) {
        k.at = tni_arena_alloc(arena, strlen(all) + 1);
        each_line(all, keep_line, &k);
        status = tni_file_replace(path, k.at, k.used, err);
    }
    tni_arena_destroy(arena);
    return status;
}

tn_status tni_metrics_open(const char *dir, int64_t step, FILE **file,
                           tn_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    if (step > 0 && tni_path_exists(path))
        TN_TRY(rewind_to(dir, path, step, err));
    FILE *to = fopen(path, step > 0 ? "abe" : "wbe");
    if (!to)
        return tn_fail(err, TN_EIO, "%s: cannot open: %s", path,
                       strerror(errno));
    /* a line is one write: nothing to lose, and nothing allocated later */
    setvbuf(to, NULL, _IONBF, 0);
    *file = to;
    return TN_OK;
}
