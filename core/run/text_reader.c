/*
 * text_reader.c - cutting files into pieces and lines.
 */
#include "run/text_reader.h"

#include <stdlib.h>
#include <string.h>

#include "run/text_paths.h"
#include "run/utf8.h"

/* A line of JSON or a stretch without a place to cut may be this long. */
enum { LONGEST = 1 << 28, READ_BYTES = 1 << 18 };

void tni_text_reader_init(tni_text_reader *r, const char *const *paths,
                          size_t count)
{
    *r = (tni_text_reader){
        .paths = paths, .count = count, .most = TNI_PIECE_BYTES};
}

void tni_text_reader_fini(tni_text_reader *r)
{
    tni_text_stream_close(r->stream);
    free(r->buffer);
}

/* ---- the buffer ---- */

static tn_status make_room(tni_text_reader *r, size_t bytes, tn_error *err)
{
    if (r->first) {
        memmove(r->buffer, r->buffer + r->first, r->end - r->first);
        r->end -= r->first;
        r->first = 0;
    }
    if (r->capacity - r->end >= bytes)
        return TN_OK;
    size_t capacity = r->capacity ? r->capacity : 4 * READ_BYTES;
    while (capacity - r->end < bytes)
        capacity *= 2;
    char *larger = realloc(r->buffer, capacity);
    if (!larger)
        return tn_fail(err, TN_ENOMEM, "%s: no memory for %zu bytes of it",
                       r->paths[r->at.file], capacity);
    r->buffer = larger;
    r->capacity = capacity;
    return TN_OK;
}

/* Have `bytes` in the buffer, or all there is. */
static tn_status fill(tni_text_reader *r, size_t bytes, tn_error *err)
{
    while (!r->ended && r->end - r->first < bytes) {
        size_t got;
        TN_TRY(make_room(r, READ_BYTES, err));
        TN_TRY(tni_text_stream_read(r->stream, r->buffer + r->end, READ_BYTES,
                                    &got, err));
        r->end += got;
        r->ended = got == 0;
    }
    return TN_OK;
}

/* ---- where to cut ---- */

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int is_letter(char c)
{
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'z';
}

/*
 * Whether a text may be cut before text[i], which every split pattern does as
 * well: between a word and the space before the next, or after a line that ends
 * in a word, before a letter or what UTF-8 writes with a first byte under which
 * there is no white space. (Not after an empty line, which GPT-2's pattern
 * makes two tokens only where a word follows. Not before a slash: one
 * vocabulary takes slashes to the line before.) text[i + 1] is there.
 */
static int may_cut(const char *text, size_t i)
{
    const unsigned char c = (unsigned char)text[i];
    if (text[i] == ' ')
        return is_letter(text[i - 1]) && is_letter(text[i + 1]);
    return i >= 2 && text[i - 1] == '\n' && text[i - 2] > ' ' &&
           (is_letter(text[i]) || (c >= 0xc3 && c <= 0xdf) ||
            (c >= 0xe4 && c <= 0xf4));
}

/* Bytes up to the last such place in (0, limit); 0 where there is none. */
static size_t last_cut(const char *text, size_t limit)
{
    for (size_t i = limit - 1; i-- > 1;)
        if (may_cut(text, i))
            return i;
    return 0;
}

/* Bytes up to the first such place at or after `from`; 0 where there is none
 * in `count`. */
static size_t first_cut(const char *text, size_t from, size_t count)
{
    for (size_t i = from ? from : 1; i + 1 < count; i++)
        if (may_cut(text, i))
            return i;
    return 0;
}

/* The next piece of plain text. */
static tn_status cut_text(tni_text_reader *r, size_t *bytes, tn_error *err)
{
    size_t most = r->most;
    TN_TRY(fill(r, most + 1, err));
    if (r->end - r->first <= most) {
        *bytes = r->end - r->first;
        return TN_OK;
    }
    *bytes = last_cut(r->buffer + r->first, most + 1);
    while (!*bytes) {
        const size_t from = most;
        most *= 2;
        TN_TRY(fill(r, most, err));
        const size_t have = r->end - r->first;
        *bytes = first_cut(r->buffer + r->first, from, have);
        if (!*bytes && (r->ended || have >= LONGEST))
            *bytes = have; /* one word of 256 MB: cut anywhere */
    }
    return TN_OK;
}

/* The next line, without its end; *whole counts its end. */
static tn_status cut_line(tni_text_reader *r, size_t *bytes, size_t *whole,
                          tn_error *err)
{
    size_t looked = 0;
    for (size_t want = READ_BYTES;; want = 2 * (r->end - r->first)) {
        TN_TRY(fill(r, want, err));
        const size_t have = r->end - r->first;
        if (!have)
            return *bytes = *whole = 0, TN_OK;
        const char *line = r->buffer + r->first;
        const char *at = memchr(line + looked, '\n', have - looked);
        looked = have;
        if (at || r->ended) {
            *bytes = at ? (size_t)(at - line) : have;
            *whole = *bytes + (at != NULL);
            return TN_OK;
        }
        if (have >= LONGEST)
            return tn_fail(err, TN_EFORMAT,
                           "%s:%llu: a line of more than %d MB; is this JSON "
                           "with one object on each line?",
                           r->paths[r->at.file],
                           (unsigned long long)r->at.line + 1, LONGEST >> 20);
    }
}

/* ---- files ---- */

static tn_status open_file(tni_text_reader *r, tn_error *err)
{
    r->first = r->end = 0;
    r->ended = 0;
    return tni_text_stream_open(r->paths[r->at.file], &r->stream, err);
}

static void next_file(tni_text_reader *r)
{
    r->consumed += tni_text_stream_consumed(r->stream);
    tni_text_stream_close(r->stream);
    r->stream = NULL;
    r->at = (tni_text_place){.file = r->at.file + 1};
}

static int is_blank(const char *line, size_t bytes)
{
    while (bytes && is_space(line[bytes - 1]))
        bytes--;
    return !bytes;
}

static tn_status next_line(tni_text_reader *r, tni_text_piece *piece,
                           tn_error *err)
{
    size_t bytes = 0, whole = 0, mark;
    const char *line;
    do {
        TN_TRY(cut_line(r, &bytes, &whole, err));
        line = r->buffer + r->first;
        mark = tni_utf8_mark(line, bytes);
        r->first += whole;
        r->at.offset += whole;
        r->at.line += whole > 0;
    } while (whole && is_blank(line + mark, bytes - mark));
    *piece = (tni_text_piece){.text = line + mark,
                              .bytes = whole ? bytes - mark : 0,
                              .begins = 1,
                              .json = 1,
                              .after = r->at};
    return TN_OK;
}

static tn_status next_text(tni_text_reader *r, tni_text_piece *piece,
                           tn_error *err)
{
    size_t bytes;
    TN_TRY(cut_text(r, &bytes, err));
    const int begins = r->at.offset == 0;
    r->at.offset += bytes;
    *piece = (tni_text_piece){.text = r->buffer + r->first,
                              .bytes = bytes,
                              .begins = begins,
                              .after = r->at};
    r->first += bytes;
    return TN_OK;
}

tn_status tni_text_reader_next(tni_text_reader *r, tni_text_piece *piece,
                               tn_error *err)
{
    while (r->at.file < r->count) {
        if (!r->stream)
            TN_TRY(open_file(r, err));
        TN_TRY(tni_path_is_jsonl(r->paths[r->at.file])
                   ? next_line(r, piece, err)
                   : next_text(r, piece, err));
        if (piece->bytes)
            return TN_OK;
        next_file(r);
    }
    return TN_EEND;
}

tn_status tni_text_reader_seek(tni_text_reader *r, const tni_text_place *place,
                               tn_error *err)
{
    r->at = *place;
    if (r->at.file >= r->count)
        return TN_OK;
    TN_TRY(open_file(r, err));
    return tni_text_stream_skip(r->stream, place->offset, err);
}

uint64_t tni_text_reader_consumed(const tni_text_reader *r)
{
    return r->consumed + (r->stream ? tni_text_stream_consumed(r->stream) : 0);
}

tn_status tni_text_field(const tni_text_piece *piece, const char *path,
                         const char *field, json_t **line, const char **text,
                         size_t *bytes, tn_error *err)
{
    const unsigned long long number = (unsigned long long)piece->after.line;
    json_error_t why;
    *line = json_loadb(piece->text, piece->bytes,
                       JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    const json_t *value = json_object_get(*line, field);
    if (!*line)
        return tn_fail(err, TN_EFORMAT, "%s:%llu:%d: %s", path, number,
                       why.column, why.text);
    if (!json_is_string(value))
        return tn_fail(err, TN_EFORMAT,
                       "%s:%llu: no text under \"%s\"; --field names the one "
                       "that holds it",
                       path, number, field);
    *text = json_string_value(value);
    *bytes = json_string_length(value);
    return TN_OK;
}
