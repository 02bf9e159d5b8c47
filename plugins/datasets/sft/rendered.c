/*
 * rendered.c - line by line.
 */
#include "rendered.h"

#include <string.h>

#include "../mapped_file.h"

typedef struct {
    tni_rendered *r;
    const tni_render_options *o;
    tni_line line;
    tn_chat_writer writer;
} rendering;

/* ---- tokens ---- */

static tn_status make_room(tni_rendered *r, size_t more, tn_error *err)
{
    size_t capacity = r->token_capacity ? r->token_capacity : 4096;
    while (capacity - r->token_count < more)
        capacity *= 2;
    if (capacity == r->token_capacity)
        return TN_OK;
    uint32_t *larger = realloc(r->tokens, capacity * sizeof *larger);
    if (!larger)
        return tn_fail(err, TN_ENOMEM, "no memory for %zu tokens", capacity);
    r->tokens = larger;
    r->token_capacity = capacity;
    return TN_OK;
}

static tn_status take(void *to, const int32_t *ids, uint64_t count,
                      int32_t trained, tn_error *err)
{
    rendering *n = to;
    tni_rendered *r = n->r;
    TN_TRY(make_room(r, count, err));
    for (uint64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= n->o->vocab_size)
            return tn_fail(err, TN_EINVALID,
                           "the tokenizer gives id %d, outside the model's "
                           "vocabulary of %lld; raise model.vocab_size",
                           ids[i], (long long)n->o->vocab_size);
        r->tokens[r->token_count++] =
            (uint32_t)ids[i] | (trained ? TNI_TRAINED : 0);
    }
    return TN_OK;
}

/* ---- a conversation ---- */

/* One past the last token in [first + 1, end) that is learned; first: none. */
static size_t last_trained(const tni_rendered *r, size_t first, size_t end)
{
    while (end > first + 1 && !(r->tokens[end - 1] & TNI_TRAINED))
        end--;
    return end > first + 1 ? end : first;
}

static tn_status keep(tni_rendered *r, size_t end, tn_error *err)
{
    if (r->count + 2 > r->capacity) {
        const size_t capacity = r->capacity ? 2 * r->capacity : 256;
        size_t *larger = realloc(r->start, capacity * sizeof *larger);
        if (!larger)
            return tn_fail(err, TN_ENOMEM, "no memory for %zu conversations",
                           capacity);
        r->start = larger;
        r->capacity = capacity;
        r->start[0] = 0;
    }
    for (size_t i = r->start[r->count]; i < end; i++)
        r->trained += (r->tokens[i] & TNI_TRAINED) != 0;
    r->start[++r->count] = end;
    return TN_OK;
}

/* Keep what fits and teaches something of the tokens from `first` on. */
static tn_status settle(rendering *n, size_t first, tn_error *err)
{
    tni_rendered *r = n->r;
    const size_t most = first + (size_t)n->o->seq_len + 1;
    size_t end = last_trained(r, first, r->token_count);
    if (end == first)
        r->answerless++;
    const int too_long = end > most;
    if (too_long)
        end = n->o->too_long == TNI_TOO_LONG_CUT ? last_trained(r, first, most)
                                                 : first;
    r->skipped += too_long && end == first;
    r->cut += too_long && end > first;
    r->token_count = end;
    return end > first ? keep(r, end, err) : TN_OK;
}

static tn_status put_all(tn_chat_writer *w, const tn_chat_message *messages,
                         uint32_t count, tn_error *err)
{
    TN_TRY(tn_chat_begin(w, err));
    for (uint32_t i = 0; i < count; i++)
        TN_TRY(tn_chat_put(w, &messages[i], err));
    return tn_chat_end(w, err);
}

static tn_status render(void *to, const tn_chat_message *messages,
                        uint32_t count, tn_error *err)
{
    rendering *n = to;
    const size_t first = n->r->token_count;
    tn_error why = {0};
    const tn_status status = put_all(&n->writer, messages, count, &why);
    if (status != TN_OK)
        return tn_fail(err, status, "%s:%lld: %.900s", n->line.path,
                       (long long)n->line.number, why.message);
    return settle(n, first, err);
}

/* ---- a file ---- */

static int is_blank(const char *text, size_t bytes)
{
    while (bytes && strchr(" \t\r\n", text[bytes - 1]))
        bytes--;
    return !bytes;
}

static tn_status render_lines(rendering *n, const tni_mapped_file *file,
                              tn_error *err)
{
    const char *at = file->bytes, *end = at + file->count;
    tni_line *line = &n->line;
    line->path = file->path;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        line->text = at;
        line->bytes = (size_t)((stop ? stop : end) - at);
        line->number++;
        if (!is_blank(at, line->bytes))
            TN_TRY(tni_conversations_read(line, render, n, err));
        at += line->bytes + 1;
    }
    return TN_OK;
}

tn_status tni_render_file(tni_rendered *r, const char *path,
                          const tni_render_options *o, tn_error *err)
{
    tni_mapped_file file;
    rendering n = {.r = r, .o = o};
    n.writer = (tn_chat_writer){
        .form = o->form, .tokenizer = o->tokenizer, .sink = take, .to = &n};
    TN_TRY(tni_mapped_file_open(&file, path, err));
    const tn_status status = render_lines(&n, &file, err);
    tn_chat_free(&n.writer);
    tni_mapped_file_close(&file);
    return status;
}

void tni_rendered_free(tni_rendered *r)
{
    free(r->tokens);
    free(r->start);
    *r = (tni_rendered){0};
}
