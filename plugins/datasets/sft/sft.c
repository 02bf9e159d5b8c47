/*
 * sft.c - a dataset of conversations: the loss is on what assistants say.
 *
 * Conversations are read and rendered once, when the dataset is opened, in the
 * form that chatting uses (<tenon/chat.h>). One of n tokens takes n - 1 places
 * of a row: at each of them a token is read and the next one predicted. Targets
 * are -1 where that is not an assistant's, and no target crosses into the next
 * conversation. Rows are packed best fit (../packed_rows.h) or hold one
 * conversation each; every row has a trained token, so every batch has. Packed
 * conversations do not see each other: a batch says which tokens are of one.
 */
#include <stdlib.h>

#include <tenon/dataset.h>

#include "../lengths.h"
#include "../packed_rows.h"
#include "rendered.h"

typedef struct sft_options {
    tn_strings path;
    double split[2];
    int32_t template;
    int32_t packing;
    int32_t too_long;
    int32_t shuffle;
    int32_t segments;
    int32_t reserved;
} sft_options;

enum { BEST_FIT, PAD };

static const tn_option options[] = {
    TN_OPTION_PATHS_REQUIRED(sft_options, path,
                             "conversations as JSON lines: a file or a list"),
    TN_OPTION_ENUM(sft_options, template, "auto|nanochat|nano_start|chatml", 0,
                   "the markers around messages; auto: those the tokenizer "
                   "has"),
    TN_OPTION_ENUM(sft_options, packing, "best_fit|pad", BEST_FIT,
                   "a row is: as many whole conversations as fit; one"),
    TN_OPTION_BOOL(sft_options, segments, 1,
                   "conversations packed into one row do not see each other: "
                   "the loss and the gradients are those of padding"),
    TN_OPTION_ENUM(sft_options, too_long, "cut|skip", TNI_TOO_LONG_CUT,
                   "what happens to conversations longer than a row"),
    TN_OPTION_BOOL(sft_options, shuffle, 1,
                   "rows are packed anew in a seeded order in each epoch"),
    TN_OPTION_FLOATS(sft_options, split, 2, "0, 1", 0, 1,
                     "the part of the conversations to use: from and to, as "
                     "fractions"),
};

typedef struct sft {
    const char *path; /* for messages */
    tni_rendered rendered;
    size_t first, count; /* conversations of the split */
    int64_t places;      /* they take */
    uint32_t *length;    /* places of each */
    int32_t padding;     /* an id */
    uint32_t segments;   /* fill them */
    tni_packed_rows rows;
    tni_lengths lengths;
    int64_t batch_size, seq_len;
} sft;

/* ---- rows ---- */

static void put(const sft *self, uint32_t conversation, int32_t *tokens,
                int32_t *targets)
{
    const tni_rendered *r = &self->rendered;
    const uint32_t *from = r->tokens + r->start[self->first + conversation];
    for (uint32_t i = 0; i < self->length[conversation]; i++) {
        const uint32_t next = from[i + 1];
        tokens[i] = (int32_t)(from[i] & ~TNI_TRAINED);
        targets[i] = next & TNI_TRAINED ? (int32_t)(next & ~TNI_TRAINED) : -1;
    }
}

static void fill(sft *self, int32_t *tokens, int32_t *targets,
                 int32_t *segments)
{
    uint32_t count;
    const uint32_t *piece = tni_packed_rows_next(&self->rows, &count);
    int64_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        put(self, piece[i], tokens + at, targets + at);
        tni_packed_number(segments, at, at + self->length[piece[i]], i);
        at += self->length[piece[i]];
    }
    tni_packed_number(segments, at, self->seq_len, count);
    for (; at < self->seq_len; at++) {
        tokens[at] = self->padding;
        targets[at] = -1;
    }
}

static tn_status sft_next(void *self_, tn_batch *batch, tn_error *err)
{
    sft *self = self_;
    int32_t *segments = self->segments ? tn_batch_segments(batch) : NULL;
    (void)err;
    for (int64_t row = 0; row < self->batch_size; row++) {
        const int64_t at = row * self->seq_len;
        fill(self, batch->tokens + at, batch->targets + at,
             segments ? segments + at : NULL);
    }
    batch->bytes = tni_lengths_sum(&self->lengths, batch->targets,
                                   self->batch_size * self->seq_len);
    return TN_OK;
}

/* ---- opening ---- */

static tn_status find_form(sft *self, const sft_options *o, const tn_host *host,
                           const tn_dataset_request *request,
                           tni_render_options *render, tn_error *err)
{
    static const char *const names[] = {"auto", "nanochat", "nano_start",
                                        "chatml"};
    if (!request->tokenizer)
        return tn_fail(err, TN_EINVALID,
                       "%s: conversations need a tokenizer; add one to the "
                       "config, as in \"tokenizer: {plugin: NAME}\"",
                       self->path);
    const tn_chat_template *form =
        tn_chat_template_find(names[o->template], request->tokenizer);
    const char *marker = form->role[TN_ROLE_ASSISTANT].open;
    if (!tn_chat_has(request->tokenizer, marker))
        host->log(host, TN_LOG_INFO,
                  "%s: the tokenizer has no special token %s: the markers of "
                  "%s are written as text",
                  self->path, marker, form->name);
    const int32_t begin = request->tokenizer->vtable->special(
        request->tokenizer->self, *form->begin ? form->begin : "<|endoftext|>");
    self->padding = begin > 0 && begin < request->vocab_size ? begin : 0;
    *render = (tni_render_options){.form = form,
                                   .tokenizer = request->tokenizer,
                                   .vocab_size = request->vocab_size,
                                   .seq_len = request->seq_len,
                                   .too_long = o->too_long};
    return TN_OK;
}

static tn_status take_split(sft *self, const double split[2], tn_error *err)
{
    const double all = (double)self->rendered.count;
    if (!(split[0] < split[1]))
        return tn_fail(err, TN_EINVALID,
                       "%s: split [%g, %g] is empty; the first number must be "
                       "below the second",
                       self->path, split[0], split[1]);
    self->first = (size_t)(split[0] * all);
    self->count =
        (split[1] < 1.0 ? (size_t)(split[1] * all) : self->rendered.count) -
        self->first;
    if (!self->rendered.count)
        return tn_fail(err, TN_EINVALID,
                       "%s: no conversation has an answer that begins within "
                       "%lld tokens; raise train.seq_len, or look at the data "
                       "(%lld without an answer, %lld too long)",
                       self->path, (long long)self->seq_len,
                       (long long)self->rendered.answerless,
                       (long long)self->rendered.skipped);
    if (!self->count || self->count > UINT32_MAX - 2)
        return tn_fail(err, TN_EINVALID,
                       "%s: the split [%g, %g] holds %zu of %zu conversations",
                       self->path, split[0], split[1], self->count,
                       self->rendered.count);
    return TN_OK;
}

static tn_status pack(sft *self, const sft_options *o, uint64_t seed,
                      tn_error *err)
{
    const size_t *start = self->rendered.start + self->first;
    self->length = malloc((self->count + 1) * sizeof *self->length);
    if (!self->length)
        return tn_fail(err, TN_ENOMEM, "%s: no memory for %zu conversations",
                       self->path, self->count);
    for (size_t i = 0; i < self->count; i++) {
        self->length[i] = (uint32_t)(start[i + 1] - start[i] - 1);
        self->places += self->length[i];
    }
    return tni_packed_rows_init(&self->rows, self->length,
                                (uint32_t)self->count, (uint32_t)self->seq_len,
                                o->packing == PAD, o->shuffle, seed, err);
}

static void tell(const sft *self, const char *form, const tn_host *host)
{
    const tni_rendered *r = &self->rendered;
    const double room = (double)self->rows.rows * (double)self->seq_len;
    host->log(host, TN_LOG_INFO,
              "%s: %zu conversations as %s, %lld of %zu tokens trained on; %zu "
              "of them in %u rows, %.1f%% padding; %lld cut, %lld too long and "
              "%lld without an answer left out",
              self->path, r->count, form, (long long)r->trained, r->token_count,
              self->count, self->rows.rows,
              100.0 * (1.0 - (double)self->places / room), (long long)r->cut,
              (long long)r->skipped, (long long)r->answerless);
}

static tn_status open_all(sft *self, const sft_options *o, const tn_host *host,
                          const tn_dataset_request *request, tn_error *err)
{
    tni_render_options render;
    TN_TRY(find_form(self, o, host, request, &render, err));
    for (uint32_t i = 0; i < o->path.count; i++)
        TN_TRY(tni_render_file(&self->rendered, o->path.at[i], &render, err));
    TN_TRY(take_split(self, o->split, err));
    TN_TRY(pack(self, o, request->seed, err));
    tell(self, render.form->name, host);
    return tni_lengths_init(&self->lengths, self->path, request->tokenizer,
                            err);
}

static void sft_close(void *self_)
{
    sft *self = self_;
    tni_lengths_fini(&self->lengths);
    tni_packed_rows_fini(&self->rows);
    tni_rendered_free(&self->rendered);
    free(self->length);
    free(self);
}

/* One conversation, and padding behind it, needs no borders. */
static uint32_t sft_segments(const void *options_)
{
    const sft_options *o = options_;
    return o->segments && o->packing == BEST_FIT;
}

static tn_status sft_open(const tn_host *host,
                          const tn_dataset_request *request,
                          const void *options_, void **self_, tn_error *err)
{
    const sft_options *o = options_;
    sft *self = calloc(1, sizeof *self);
    if (!self)
        return tn_fail(err, TN_ENOMEM, "no memory for conversations");
    self->path = o->path.at[0];
    self->batch_size = request->batch_size;
    self->seq_len = request->seq_len;
    self->segments = sft_segments(o);
    const tn_status status = open_all(self, o, host, request, err);
    if (status == TN_OK)
        *self_ = self;
    else
        sft_close(self);
    return status;
}

static void sft_info(const void *self_, tn_dataset_info *info)
{
    const sft *self = self_;
    info->rows_per_epoch = self->rows.rows;
    info->tokens = self->places;
}

/* ---- cursor ---- */

enum { NEXT, SEQ_LEN, SHUFFLE, SEED, TOKENS, FIRST, COUNT, ROWS };

static void sft_save(const void *self_, tn_cursor *cursor)
{
    const sft *self = self_;
    *cursor = (tn_cursor){.word = {
                              [NEXT] = self->rows.next,
                              [TOKENS] = self->rendered.token_count,
                              [FIRST] = self->first,
                              [COUNT] = self->count,
                              [SEQ_LEN] = (uint64_t)self->seq_len,
                              [SHUFFLE] = (uint64_t)self->rows.shuffle,
                              [SEED] = self->rows.seed,
                              [ROWS] = self->rows.rows,
                          }};
}

static tn_status sft_restore(void *self_, const tn_cursor *cursor,
                             tn_error *err)
{
    static const char *const what[] = {
        [TOKENS] = "tokens of all conversations",
        [FIRST] = "first conversation of the split",
        [COUNT] = "conversations in the split",
        [SEQ_LEN] = "seq_len",
        [SHUFFLE] = "shuffle",
        [SEED] = "seed",
        [ROWS] = "rows",
    };
    sft *self = self_;
    tn_cursor now;
    sft_save(self, &now);
    for (int i = SEQ_LEN; i <= ROWS; i++)
        if (now.word[i] != cursor->word[i])
            return tn_fail(err, TN_EINVALID,
                           "%s: %s was %llu when the run was saved and is %llu "
                           "now; resume with what it was, or start a new run",
                           self->path, what[i],
                           (unsigned long long)cursor->word[i],
                           (unsigned long long)now.word[i]);
    tni_packed_rows_seek(&self->rows, cursor->word[NEXT]);
    return TN_OK;
}

TN_DATASET(sft) = {
    .summary = "conversations, with the loss on the assistant's words",
    .options = TN_OPTIONS(sft_options, options),
    .open = sft_open,
    .close = sft_close,
    .info = sft_info,
    .next = sft_next,
    .save = sft_save,
    .restore = sft_restore,
    .segments = sft_segments,
};
