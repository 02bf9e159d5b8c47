/*
 * fuzz_text.c - a file of texts under attack, plain, gzip or zstd: refused with
 * a sentence, or all of it comes out in pieces, from any place on alike. A line
 * of JSON is a text or refused with its place.
 *
 * The first byte says what the file's name promises (bit 0: JSON lines), how
 * long pieces of plain text are (bits 1 to 3) and where reading goes on for the
 * second time (the others).
 */
#include "fuzz.h"

#include <unistd.h>

#include "run/text_reader.h"

enum { MOST = 1 << 20 }; /* a small file may hold gigabytes of zeros */

static void must(int true_)
{
    if (!true_)
        abort();
}

static void put(const char *path, const void *bytes, size_t count)
{
    FILE *to = fopen(path, "wb");
    must(to && fwrite(bytes, 1, count, to) == count);
    fclose(to);
}

/* What the file holds, up to MOST; the caller frees. */
static tn_status read_all(const char *path, char **text, size_t *bytes,
                          tn_error *err)
{
    tni_text_stream *stream;
    size_t got = 1;
    *text = NULL;
    *bytes = 0;
    TN_TRY(tni_text_stream_open(path, &stream, err));
    *text = malloc(MOST);
    must(*text != NULL);
    tn_status status = TN_OK;
    while (status == TN_OK && got && *bytes < MOST) {
        status = tni_text_stream_read(stream, *text + *bytes, MOST - *bytes,
                                      &got, err);
        *bytes += status == TN_OK ? got : 0;
    }
    tni_text_stream_close(stream);
    return status;
}

/* ---- pieces against the text ---- */

typedef struct expected {
    const char *path, *text;
    size_t bytes;
    size_t most; /* of a piece */
} expected;

static void check_field(const expected *x, const tni_text_piece *p)
{
    char place[700];
    const char *text;
    size_t bytes;
    json_t *line;
    tn_error err = {0};
    const tn_status status =
        tni_text_field(p, x->path, "text", &line, &text, &bytes, &err);
    snprintf(place, sizeof place, "%s:%llu:", x->path,
             (unsigned long long)p->after.line);
    must(status == err.status);
    must(status == TN_OK ? text[bytes] == 0
                         : !strncmp(err.message, place, strlen(place)));
    json_decref(line);
}

static void check_piece(const expected *x, const tni_text_piece *p,
                        uint64_t before)
{
    const uint64_t end = p->after.offset;
    must(p->bytes && p->after.file == 0 && end <= x->bytes);
    if (p->json) {
        /* Blank lines may lie before it, its own end after it. */
        must(!memchr(p->text, '\n', p->bytes) && end >= before + p->bytes);
        must(end == x->bytes || x->text[end - 1] == '\n');
        const size_t lead = x->text[end - 1] == '\n' ? 1 : 0;
        must(!memcmp(x->text + end - lead - p->bytes, p->text, p->bytes));
        check_field(x, p);
        return;
    }
    must(end == before + p->bytes && p->begins == (before == 0));
    must(!memcmp(x->text + before, p->text, p->bytes));
}

/* From `place` on; the number of pieces, and the place after the `stop`th. */
static size_t read_from(const expected *x, tni_text_place place, size_t stop,
                        tni_text_place *there)
{
    tni_text_reader reader;
    tni_text_piece piece;
    tn_error err = {0};
    size_t count = 0;
    tn_status status;
    tni_text_reader_init(&reader, &x->path, 1);
    reader.most = x->most;
    must(tni_text_reader_seek(&reader, &place, &err) == TN_OK);
    while ((status = tni_text_reader_next(&reader, &piece, &err)) == TN_OK) {
        check_piece(x, &piece, place.offset);
        place = piece.after;
        if (count++ == stop)
            *there = place;
    }
    must(status == TN_EEND);
    must(piece.json || place.offset == x->bytes);
    tni_text_reader_fini(&reader);
    return count;
}

static void check(const expected *x, size_t stop)
{
    const tni_text_place start = {0};
    tni_text_place there = {0};
    const size_t all = read_from(x, start, stop, &there);
    if (stop < all)
        must(read_from(x, there, SIZE_MAX, &there) == all - stop - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const uint8_t how = count ? bytes[0] : 0;
    char path[600];
    tn_error err = {0};
    snprintf(path, sizeof path, "%s/%s", tn_fuzz_folder(),
             how & 1 ? "a.jsonl" : "a.txt");
    put(path, bytes + (count > 0), count - (count > 0));
    expected x = {.path = path, .most = (size_t)8 << (how >> 1 & 7)};
    char *text;
    const tn_status status = read_all(path, &text, &x.bytes, &err);
    x.text = text;
    must(status == err.status && (status == TN_OK || err.message[0]));
    if (status == TN_OK && x.bytes < MOST)
        check(&x, how >> 4);
    free(text);
    unlink(path);
    return 0;
}

#ifndef TENON_LIBFUZZER
int main(void)
{
    static const tn_fuzz_seed seeds[] = {
        TN_FUZZ_SEED(
            "\x10One line. And the next\nwith words, \xc3\xa9t\xc3\xa9 "
            "and\n\xe6\xb2\xb3 too.\n\n  End"),
        TN_FUZZ_SEED("\x21{\"text\": \"a\"}\n \n\r\n{\"text\": \"b\"}\r\n[]"),
        /* "two words here and\nthere\n", by gzip and by zstd */
        TN_FUZZ_SEED("\x02\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x2b\x29\xcf"
                     "\x57\x28\xcf\x2f\x4a\x29\x56\xc8\x48\x2d\x4a\x55\x48\xcc"
                     "\x4b\xe1\x2a\x01\xb1\xb8\x00\x1c\xc3\x6c\x55\x19\x00\x00"
                     "\x00"),
        TN_FUZZ_SEED("\x01\x28\xb5\x2f\xfd\x24\x19\xc9\x00\x00\x74\x77\x6f\x20"
                     "\x77\x6f\x72\x64\x73\x20\x68\x65\x72\x65\x20\x61\x6e\x64"
                     "\x0a\x74\x68\x65\x72\x65\x0a\x4f\xec\x2b\x58"),
    };
    const int failed = tn_fuzz("text", seeds, 4, 4000);
    rmdir(tn_fuzz_folder());
    return failed;
}
#endif
