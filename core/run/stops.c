/*
 * stops.c - ids are looked up, texts are waited for.
 */
#include "run/stops.h"

#include <string.h>

static int known(const tni_stops *s, const char *text)
{
    for (uint32_t i = 0; i < s->text_count; i++)
        if (strcmp(s->text[i], text) == 0)
            return 1;
    return 0;
}

tn_status tni_stops_add(tni_stops *s, const tn_tokenizer_handle *tokenizer,
                        const char *text, tn_error *err)
{
    const int32_t id = tokenizer->vtable->special(tokenizer->self, text);
    if (!*text || (id >= 0 ? tni_stops_at(s, id) : known(s, text)))
        return TN_OK;
    if (strlen(text) > TNI_STOP_BYTES)
        return tn_fail(err, TN_EINVALID,
                       "a text to stop at has %zu bytes; at most %d are waited "
                       "for",
                       strlen(text), TNI_STOP_BYTES);
    if (s->id_count + s->text_count == TNI_STOPS_MOST)
        return tn_fail(err, TN_EINVALID,
                       "more than %d texts to stop at: \"%.40s\" is one too "
                       "many",
                       TNI_STOPS_MOST, text);
    if (id >= 0)
        s->id[s->id_count++] = id;
    else
        s->text[s->text_count++] = text;
    return TN_OK;
}

void tni_stops_begin(tni_stops *s)
{
    s->held_count = s->met = 0;
}

int tni_stops_at(const tni_stops *s, int32_t id)
{
    for (uint32_t i = 0; i < s->id_count; i++)
        if (s->id[i] == id)
            return 1;
    return 0;
}

/* Bytes of the longest stop that what is held ends with, 0: none. */
static uint32_t ending(const tni_stops *s)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < s->text_count; i++) {
        const uint32_t n = (uint32_t)strlen(s->text[i]);
        if (n > longest && n <= s->held_count &&
            memcmp(s->held + s->held_count - n, s->text[i], n) == 0)
            longest = n;
    }
    return longest;
}

/* Whether what is held is the beginning of a stop. */
static int is_beginning(const tni_stops *s)
{
    for (uint32_t i = 0; i < s->text_count; i++)
        if (strlen(s->text[i]) > s->held_count &&
            memcmp(s->text[i], s->held, s->held_count) == 0)
            return 1;
    return 0;
}

static void push_byte(tni_stops *s, char byte, tni_text_sink sink, void *to)
{
    s->held[s->held_count++] = byte;
    const uint32_t stop = ending(s);
    if (stop) {
        s->met = 1;
        s->held_count -= stop;
        tni_stops_end(s, sink, to);
        return;
    }
    while (s->held_count && !is_beginning(s)) {
        sink(to, s->held, 1);
        memmove(s->held, s->held + 1, --s->held_count);
    }
}

void tni_stops_push(tni_stops *s, const char *bytes, size_t count,
                    tni_text_sink sink, void *to)
{
    if (!s->text_count)
        sink(to, bytes, count);
    for (size_t i = 0; s->text_count && i < count && !s->met; i++)
        push_byte(s, bytes[i], sink, to);
}

void tni_stops_end(tni_stops *s, tni_text_sink sink, void *to)
{
    if (s->held_count)
        sink(to, s->held, s->held_count);
    s->held_count = 0;
}
