/*
 * choices.c - lines to prompts, prompts to losses, losses to answers.
 *
 * All prompts of a file are encoded first and scored in the order of their
 * lengths: a batch then holds rows of about one length, of several questions.
 */
#include "run/choices.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/python_random.h"
#include "run/token_list.h"
#include "run/utf8.h"

enum { MOST_CHOICES = 64, MOST_SHOTS = 64 };
enum { ORDER_SEED = 1337, SHOTS_SEED = 1234 };
static const size_t LARGEST_FILE = (size_t)1 << 32;

typedef struct {
    const char *query;
    const char *choice[MOST_CHOICES];
    uint32_t count, gold;
} example;

/* A prompt: a choice behind its query. */
typedef struct {
    int64_t first, count; /* of the ids */
    int64_t from;         /* the token of them that scoring begins with */
    double mean;          /* nats per token */
} prompt;

typedef struct {
    tni_scorer *scorer;
    const tni_choices_request *request;
    tni_arena *arena;
    example *examples;
    size_t example_count, example_capacity;
    uint32_t *order, *others; /* of the examples; room for as many */
    uint32_t asked;
    tni_token_list ids; /* of all prompts */
    prompt *prompts;    /* in the order of the examples and their choices */
    size_t prompt_count, prompt_capacity;
    int32_t *tokens, *targets; /* a batch */
    int32_t begin;             /* the id before each prompt, -1: none */
    int64_t cropped;
} judging;

/* ---- lines ---- */

TN_PRINTF(4, 5)
static tn_status refuse(const judging *n, int64_t line, tn_error *err,
                        const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tn_fail(err, TN_EFORMAT, "%s:%lld: %s", n->request->path,
                   (long long)line, text);
}

static tn_status read_example(judging *n, const json_t *root, int64_t line,
                              tn_error *err)
{
    const json_t *choices = json_object_get(root, "choices");
    const json_t *gold = json_object_get(root, "gold");
    const char *query = json_string_value(json_object_get(root, "query"));
    const size_t count = json_array_size(choices);
    if (!query)
        return refuse(n, line, err, "there is no \"query\", a text");
    if (count < 2 || count > MOST_CHOICES)
        return refuse(n, line, err,
                      "\"choices\" has %zu texts; 2 to %d are expected", count,
                      MOST_CHOICES);
    if (!json_is_integer(gold) || json_integer_value(gold) < 0 ||
        json_integer_value(gold) >= (json_int_t)count)
        return refuse(n, line, err,
                      "\"gold\" is not the number of a choice, 0 to %zu",
                      count - 1);
    example *e =
        TNI_PUSH(n->arena, n->examples, n->example_count, n->example_capacity);
    *e = (example){.query = tni_arena_strdup(n->arena, query),
                   .count = (uint32_t)count,
                   .gold = (uint32_t)json_integer_value(gold)};
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(choices, i));
        if (!text)
            return refuse(n, line, err, "choice %zu is not a text", i);
        e->choice[i] = tni_arena_strdup(n->arena, text);
    }
    return TN_OK;
}

static tn_status read_line(judging *n, const char *text, size_t bytes,
                           int64_t line, tn_error *err)
{
    json_error_t why;
    json_t *root = json_loadb(text, bytes, 0, &why);
    if (!root)
        return refuse(n, line, err, "column %d: %s", why.column, why.text);
    const tn_status status = read_example(n, root, line, err);
    json_decref(root);
    return status;
}

static tn_status read_file(judging *n, tn_error *err)
{
    char *at;
    size_t left;
    TN_TRY(tni_file_read(n->arena, n->request->path, LARGEST_FILE, &at, &left,
                         err));
    const size_t mark = tni_utf8_mark(at, left);
    at += mark;
    left -= mark;
    for (int64_t line = 1; left; line++) {
        const char *end = memchr(at, '\n', left);
        const size_t bytes = end ? (size_t)(end - at) : left;
        if (strspn(at, " \t\r") < bytes)
            TN_TRY(read_line(n, at, bytes, line, err));
        at += bytes + (end != NULL);
        left -= bytes + (end != NULL);
    }
    if (n->example_count && n->example_count < UINT32_MAX)
        return TN_OK;
    return tn_fail(err, TN_EFORMAT, "%s: there are %zu questions in it",
                   n->request->path, n->example_count);
}

/* The order of the examples, and how many of them are asked. */
static tn_status set_order(judging *n, tn_error *err)
{
    const tni_choices_request *q = n->request;
    tni_python_random random;
    n->order = tni_arena_alloc(n->arena, n->example_count * sizeof *n->order);
    n->others = tni_arena_alloc(n->arena, n->example_count * sizeof *n->others);
    for (uint32_t i = 0; i < n->example_count; i++)
        n->order[i] = i;
    tni_python_random_init(&random, ORDER_SEED);
    tni_python_random_shuffle(&random, n->order, (uint32_t)n->example_count);
    n->asked = (uint32_t)n->example_count;
    if (q->most && q->most < n->asked)
        n->asked = (uint32_t)q->most;
    if (n->asked > q->shots)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "%s: %u questions are too few for %lld shots, which are "
                   "other questions",
                   q->path, n->asked, (long long)q->shots);
}

/* ---- prompts ---- */

static void write_answered(const judging *n, FILE *to, const example *e,
                           uint32_t choice)
{
    fprintf(to, "%s%s%s", e->query, n->request->delimiter, e->choice[choice]);
}

/* Other examples with their answers, for number `at` of the order. */
static void write_shots(const judging *n, FILE *to, uint32_t at)
{
    const uint32_t k = (uint32_t)n->request->shots;
    uint32_t drawn[MOST_SHOTS];
    tni_python_random random;
    for (uint32_t i = 0; i + 1 < n->asked; i++)
        n->others[i] = i + (i >= at);
    tni_python_random_init(&random, SHOTS_SEED + at);
    tni_python_random_sample(&random, n->others, n->asked - 1, k, drawn);
    for (uint32_t i = 0; i < k; i++) {
        const example *e = &n->examples[n->order[drawn[i]]];
        write_answered(n, to, e, e->gold);
        fputs("\n\n", to);
    }
}

static tn_status encode(judging *n, const char *text, size_t bytes,
                        tn_error *err)
{
    const tn_tokenizer_handle *t = n->request->tokenizer;
    prompt *p =
        TNI_PUSH(n->arena, n->prompts, n->prompt_count, n->prompt_capacity);
    *p = (prompt){.first = n->ids.count};
    if (n->begin >= 0)
        TN_TRY(tni_token_list_take(&n->ids, &n->begin, 1, err));
    TN_TRY(t->vtable->encode(t->self, text, bytes, 0, tni_token_list_take,
                             &n->ids, err));
    p->count = n->ids.count - p->first;
    if (p->count < 2)
        return tn_fail(err, TN_EINVALID,
                       "%s: a question with its choice is no more than one "
                       "token: there is nothing to predict it from",
                       n->request->path);
    return TN_OK;
}

static tn_status write_prompt(judging *n, uint32_t at, uint32_t choice,
                              tn_error *err)
{
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    if (!to)
        return tn_fail(err, TN_ENOMEM, "no memory for a question");
    if (n->request->shots)
        write_shots(n, to, at);
    write_answered(n, to, &n->examples[n->order[at]], choice);
    tn_status status = TN_ENOMEM;
    if (fclose(to) != 0)
        tn_fail(err, TN_ENOMEM, "no memory for a question");
    else
        status = encode(n, text, bytes, err);
    free(text);
    return status;
}

/* Ids that all of these prompts begin with. */
static int64_t shared(const judging *n, const prompt *p, uint32_t count)
{
    for (int64_t at = 0;; at++)
        for (uint32_t i = 0; i < count; i++)
            if (at == p[i].count ||
                n->ids.at[p[i].first + at] != n->ids.at[p->first + at])
                return at;
}

/* What does not fit is cut from the beginning, and one token at least, which
 * has another before it, is scored. */
static void set_span(judging *n, prompt *p, int64_t common)
{
    const int64_t most = n->scorer->seq_len + 1;
    const int64_t cut = p->count > most ? p->count - most : 0;
    n->cropped += cut > 0;
    p->first += cut;
    p->count -= cut;
    p->from = common > cut + 1 ? common - cut : 1;
    if (p->from >= p->count)
        p->from = p->count - 1;
}

static tn_status write_prompts(judging *n, tn_error *err)
{
    for (uint32_t at = 0; at < n->asked; at++) {
        const uint32_t count = n->examples[n->order[at]].count;
        for (uint32_t i = 0; i < count; i++)
            TN_TRY(write_prompt(n, at, i, err));
        prompt *p = n->prompts + n->prompt_count - count;
        const int64_t common = shared(n, p, count);
        for (uint32_t i = 0; i < count; i++)
            set_span(n, &p[i], common);
    }
    return TN_OK;
}

/* ---- losses ---- */

static int longer_first(const void *a, const void *b)
{
    const prompt *x = *(prompt *const *)a, *y = *(prompt *const *)b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* Row by row: a prompt's ids but the last, and but the first as targets. Behind
 * them there is nothing that they could see. */
static void fill(const judging *n, prompt *const *rows, size_t count,
                 int64_t length)
{
    const size_t size = (size_t)(n->scorer->batch_size * length);
    memset(n->tokens, 0, size * sizeof *n->tokens);
    memset(n->targets, 0xff, size * sizeof *n->targets);
    for (size_t i = 0; i < count; i++) {
        const int32_t *ids = n->ids.at + rows[i]->first;
        const size_t bytes = (size_t)(rows[i]->count - 1) * sizeof *ids;
        memcpy(n->tokens + (int64_t)i * length, ids, bytes);
        memcpy(n->targets + (int64_t)i * length, ids + 1, bytes);
    }
}

static double mean_of(const float *nll, const prompt *p)
{
    double sum = 0.0;
    for (int64_t at = p->from; at < p->count; at++)
        sum += (double)nll[at - 1];
    return sum / (double)(p->count - p->from);
}

static tn_status score_batch(judging *n, prompt *const *rows, size_t count,
                             tn_error *err)
{
    tni_scorer *s = n->scorer;
    const int64_t length = tni_scorer_length(s, rows[0]->count - 1);
    if (n->request->stop && *n->request->stop)
        return tn_fail(err, TN_EINTERRUPTED, "interrupted");
    fill(n, rows, count, length);
    TN_TRY(tni_scorer_run(s, length, n->tokens, n->targets, NULL, err));
    for (size_t i = 0; i < count; i++) {
        rows[i]->mean = mean_of(s->nll + (int64_t)i * length, rows[i]);
        TN_TRY(tni_score_check(n->request->path, rows[i]->mean, err));
    }
    return TN_OK;
}

static tn_status score_all(judging *n, tn_error *err)
{
    const size_t batch = (size_t)n->scorer->batch_size;
    const size_t size = batch * (size_t)n->scorer->seq_len;
    prompt **rows = tni_arena_alloc(n->arena, n->prompt_count * sizeof *rows);
    n->tokens = tni_arena_alloc(n->arena, size * sizeof *n->tokens);
    n->targets = tni_arena_alloc(n->arena, size * sizeof *n->targets);
    for (size_t i = 0; i < n->prompt_count; i++)
        rows[i] = &n->prompts[i];
    qsort(rows, n->prompt_count, sizeof(prompt *), longer_first);
    for (size_t at = 0; at < n->prompt_count; at += batch) {
        const size_t left = n->prompt_count - at;
        TN_TRY(score_batch(n, rows + at, left < batch ? left : batch, err));
        if (n->request->progress)
            n->request->progress(n->request->to,
                                 (double)at / (double)n->prompt_count);
    }
    return TN_OK;
}

/* ---- answers ---- */

static void judge(const judging *n, tni_choices_result *r)
{
    const prompt *p = n->prompts;
    double chance = 0.0;
    for (uint32_t at = 0; at < n->asked; at++) {
        const example *e = &n->examples[n->order[at]];
        uint32_t best = 0;
        for (uint32_t i = 1; i < e->count; i++)
            if (p[i].mean < p[best].mean)
                best = i;
        r->correct += best == e->gold;
        chance += 1.0 / e->count;
        p += e->count;
    }
    r->examples = n->asked;
    r->cropped = n->cropped;
    r->accuracy = (double)r->correct / (double)r->examples;
    r->chance = chance / (double)r->examples;
    r->centered = (r->accuracy - r->chance) / (1.0 - r->chance);
}

static tn_status check(const tni_choices_request *q, tn_error *err)
{
    if (q->shots < 0 || q->shots > MOST_SHOTS)
        return tn_fail(err, TN_EINVALID, "%lld shots are outside [0, %d]",
                       (long long)q->shots, MOST_SHOTS);
    return TN_OK;
}

static tn_status run(judging *n, tn_error *err)
{
    TN_TRY(check(n->request, err));
    TN_TRY(read_file(n, err));
    TN_TRY(set_order(n, err));
    TN_TRY(write_prompts(n, err));
    return score_all(n, err);
}

tn_status tni_choices_score(tni_scorer *scorer,
                            const tni_choices_request *request,
                            tni_choices_result *result, tn_error *err)
{
    judging n = {.scorer = scorer,
                 .request = request,
                 .arena = tni_arena_create(),
                 .begin = tni_tokenizer_begin(request->tokenizer)};
    tni_choices_result made = {0};
    const tn_status status = run(&n, err);
    if (status == TN_OK)
        judge(&n, &made);
    *result = made;
    tni_token_list_free(&n.ids);
    tni_arena_destroy(n.arena);
    return status;
}
