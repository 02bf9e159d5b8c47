/*
 * text_stream.h - the bytes of a file, plain, gzip or zstd.
 *
 * What it is shows in its first bytes, not in its name.
 */
#ifndef TENON_TEXT_STREAM_H
#define TENON_TEXT_STREAM_H

#include <tenon/base.h>

typedef struct tni_text_stream tni_text_stream;

tn_status tni_text_stream_open(const char *path, tni_text_stream **stream,
                               tn_error *err);
void tni_text_stream_close(tni_text_stream *stream); /* NULL is fine */

/* Up to `size` bytes; *count 0 at the end. TN_EFORMAT where a compressed file
 * is damaged or ends too early. */
tn_status tni_text_stream_read(tni_text_stream *stream, char *to, size_t size,
                               size_t *count, tn_error *err);

/* Go on `bytes` of text further. */
tn_status tni_text_stream_skip(tni_text_stream *stream, uint64_t bytes,
                               tn_error *err);

/* Bytes of the file itself that have been read. */
uint64_t tni_text_stream_consumed(const tni_text_stream *stream);

#endif
