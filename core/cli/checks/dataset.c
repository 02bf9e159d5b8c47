/*
 * dataset.c - batches that a model can take and a resumed run would repeat.
 */
#include <string.h>
#include <tenon/dataset.h>

#include "cli/checks/checks.h"

enum { ROWS = 3, TOKENS = 8, VOCABULARY = 256, BATCHES = 12 };

typedef struct opened {
    const tn_dataset *dataset;
    void *self;
} opened;

/* Some datasets read text: the bytes tokenizer serves if there is one. */
static void open_tokenizer(const tni_subject *s, tn_tokenizer_handle *handle)
{
    const tn_component *found;
    const tn_component_head *head;
    tn_error ignored = {0};
    *handle = (tn_tokenizer_handle){.struct_size = sizeof *handle};
    if (tni_registry_find(s->registry, TN_KIND_TOKENIZER, "byte", &found,
                          &ignored) != TN_OK)
        return;
    head = found->vtable;
    void *options = tni_arena_alloc(s->arena, head->options.size + 1u);
    if (tni_options_fill(s->arena, &head->options, NULL, "tokenizer", NULL,
                         NULL, options, &ignored) != TN_OK)
        return;
    const tn_tokenizer *tokenizer = found->vtable;
    if (tokenizer->open(s->host, options, &handle->self, &ignored) == TN_OK)
        handle->vtable = tokenizer;
}

static tn_status open_dataset(const tni_subject *s, uint64_t seed, opened *o,
                              tn_error *err)
{
    const void *options;
    tn_error why = {0};
    /* It lives as long as the child that this check runs in. */
    tn_tokenizer_handle *tokenizer =
        tni_arena_alloc(s->arena, sizeof *tokenizer);
    open_tokenizer(s, tokenizer);
    const tn_dataset_request request = {
        .struct_size = (uint32_t)sizeof request,
        .batch_size = ROWS,
        .seq_len = TOKENS,
        .vocab_size = VOCABULARY,
        .seed = seed,
        .tokenizer = tokenizer->vtable ? tokenizer : NULL};
    o->dataset = s->component->vtable;
    if (tni_subject_options(s, &options, &why) != TN_OK ||
        o->dataset->open(s->host, &request, options, &o->self, &why) != TN_OK)
        return tn_fail(err, TNI_CHECK_SKIPPED,
                       "it does not open with these options (%s); give them "
                       "with --set NAME=VALUE",
                       why.message);
    return TN_OK;
}

typedef struct batch {
    int32_t tokens[ROWS * TOKENS], targets[ROWS * TOKENS];
    int32_t segments[ROWS * TOKENS];
    int64_t bytes;
} batch;

/* What the dataset leaves alone is seen: -7 is no token. */
static tn_status next(const opened *o, batch *b, tn_error *err)
{
    tn_batch out = {.struct_size = (uint32_t)sizeof out,
                    .tokens = b->tokens,
                    .targets = b->targets,
                    .segments = b->segments};
    memset(b->segments, 0, sizeof b->segments);
    for (int i = 0; i < ROWS * TOKENS; i++)
        b->tokens[i] = b->targets[i] = -7;
    TN_TRY(o->dataset->next(o->self, &out, err));
    b->bytes = out.bytes;
    return TN_OK;
}

static tn_status check_batch(const batch *b, int number, tn_error *err)
{
    for (int i = 0; i < ROWS * TOKENS; i++) {
        if (b->tokens[i] < 0 || b->tokens[i] >= VOCABULARY)
            return tn_fail(err, TN_EINVALID,
                           "batch %d, row %d, token %d is %d, outside the "
                           "vocabulary of %d",
                           number, i / TOKENS, i % TOKENS, b->tokens[i],
                           VOCABULARY);
        if (b->targets[i] < -1 || b->targets[i] >= VOCABULARY)
            return tn_fail(err, TN_EINVALID,
                           "batch %d, row %d, target %d is %d, neither -1 nor "
                           "in the vocabulary of %d",
                           number, i / TOKENS, i % TOKENS, b->targets[i],
                           VOCABULARY);
    }
    return TN_OK;
}

static tn_status read_batches(const opened *o, batch *to, int from, int count,
                              tn_error *err)
{
    for (int i = from; i < count; i++) {
        TN_TRY(next(o, &to[i], err));
        TN_TRY(check_batch(&to[i], i, err));
    }
    return TN_OK;
}

static tn_status check_values(const tni_subject *s, tn_error *err)
{
    batch batches[BATCHES];
    opened o;
    TN_TRY(open_dataset(s, 1, &o, err));
    const tn_status status = read_batches(&o, batches, 0, BATCHES, err);
    o.dataset->close(o.self);
    return status;
}

static tn_status same(const batch *a, const batch *b, const char *when,
                      int number, tn_error *err)
{
    if (!memcmp(a->tokens, b->tokens, sizeof a->tokens) &&
        !memcmp(a->targets, b->targets, sizeof a->targets) &&
        !memcmp(a->segments, b->segments, sizeof a->segments) &&
        a->bytes == b->bytes)
        return TN_OK;
    return tn_fail(err, TN_EINVALID, "batch %d differs %s", number, when);
}

static tn_status check_repeat(const tni_subject *s, tn_error *err)
{
    batch first[BATCHES], second[BATCHES];
    opened a, b;
    TN_TRY(open_dataset(s, 5, &a, err));
    TN_TRY(open_dataset(s, 5, &b, err));
    for (int i = 0; i < BATCHES; i++) {
        TN_TRY(next(&a, &first[i], err));
        TN_TRY(next(&b, &second[i], err));
        TN_TRY(same(&first[i], &second[i], "when opened again with one seed", i,
                    err));
    }
    a.dataset->close(a.self);
    b.dataset->close(b.self);
    return TN_OK;
}

/* Stop after `stop` batches, carry the cursor over to a new one, go on. */
static tn_status resume_at(const tni_subject *s, const batch *whole, int stop,
                           tn_error *err)
{
    batch part[BATCHES];
    opened before, after;
    tn_cursor cursor = {{0}};
    char when[64];
    snprintf(when, sizeof when, "after resuming at batch %d", stop);
    TN_TRY(open_dataset(s, 5, &before, err));
    TN_TRY(read_batches(&before, part, 0, stop, err));
    before.dataset->save(before.self, &cursor);
    before.dataset->close(before.self);
    TN_TRY(open_dataset(s, 5, &after, err));
    TN_TRY(after.dataset->restore(after.self, &cursor, err));
    TN_TRY(read_batches(&after, part, stop, BATCHES, err));
    after.dataset->close(after.self);
    for (int i = stop; i < BATCHES; i++)
        TN_TRY(same(&whole[i], &part[i], when, i, err));
    return TN_OK;
}

static tn_status check_resume(const tni_subject *s, tn_error *err)
{
    batch whole[BATCHES];
    opened o;
    TN_TRY(open_dataset(s, 5, &o, err));
    TN_TRY(read_batches(&o, whole, 0, BATCHES, err));
    o.dataset->close(o.self);
    for (int stop = 0; stop < BATCHES; stop++)
        TN_TRY(resume_at(s, whole, stop, err));
    return TN_OK;
}

static const tni_check checks[] = {
    {"hands out tokens and targets of the vocabulary", check_values, NULL},
    {"hands out the same for the same seed", check_repeat, NULL},
    {"goes on where a saved cursor stood, at any batch", check_resume, NULL},
};

const tni_check_list tni_checks_dataset = TNI_CHECK_LIST(checks);
