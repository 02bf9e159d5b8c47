/*
 * text_reader.h - many texts as one row of pieces, with a place in it.
 *
 * A file of plain text is one document; of JSON lines every line is one, and
 * what is read here is the line. A long text comes in pieces that can be
 * tokenized by themselves: each ends after a line break before a letter, where
 * the split patterns of all known vocabularies begin anew.
 */
#ifndef TENON_TEXT_READER_H
#define TENON_TEXT_READER_H

#include <jansson.h>

#include "run/text_stream.h"

enum { TNI_PIECE_BYTES = 1 << 20 };

/* Between two pieces. */
typedef struct tni_text_place {
    uint64_t file;   /* number in the list */
    uint64_t offset; /* bytes of its text that have been given out */
    uint64_t line;   /* of JSON lines: lines given out */
} tni_text_place;

typedef struct tni_text_piece {
    const char *text; /* until the next call */
    size_t bytes;
    int begins; /* 1: a document starts with it */
    int json;   /* 1: it is a line of JSON, its document is one of its fields */
    tni_text_place after;
} tni_text_piece;

typedef struct tni_text_reader {
    const char *const *paths;
    size_t count;
    size_t most; /* bytes of a piece of plain text, about */
    tni_text_place at;
    tni_text_stream *stream; /* of paths[at.file], NULL: not open */
    char *buffer;
    size_t capacity, first, end; /* what is read and not given out */
    int ended;                   /* the stream is at its end */
    uint64_t consumed;           /* bytes of the files before this one */
} tni_text_reader;

void tni_text_reader_init(tni_text_reader *reader, const char *const *paths,
                          size_t count);
void tni_text_reader_fini(tni_text_reader *reader);

/* Go on from `place`. Before the first piece only. */
tn_status tni_text_reader_seek(tni_text_reader *reader,
                               const tni_text_place *place, tn_error *err);

/* TN_EEND (err is left alone) after the last. Empty texts and lines are passed
 * over. */
tn_status tni_text_reader_next(tni_text_reader *reader, tni_text_piece *piece,
                               tn_error *err);

/* Bytes of the files, compressed or not, that have been read. */
uint64_t tni_text_reader_consumed(const tni_text_reader *reader);

/*
 * The text under `field` of a piece with json set. It lives as long as *line,
 * which the caller gives to json_decref, whatever the status. TN_EFORMAT, with
 * path and line, where the piece is no JSON or has no text of that name.
 */
tn_status tni_text_field(const tni_text_piece *piece, const char *path,
                         const char *field, json_t **line, const char **text,
                         size_t *bytes, tn_error *err);

#endif
