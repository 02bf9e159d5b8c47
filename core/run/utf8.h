/*
 * utf8.h - bytes that arrive in pieces, passed on in whole characters.
 *
 * Tokens may end in the middle of a character; a terminal must not see half of
 * one. Bytes that can no longer become a character become U+FFFD.
 */
#ifndef TENON_UTF8_H
#define TENON_UTF8_H

#include <tenon/base.h>

typedef void (*tni_text_sink)(void *to, const char *text, size_t bytes);

typedef struct tni_utf8 {
    unsigned char held[4];
    uint32_t count, want; /* bytes held; bytes of the character begun */
} tni_utf8;

void tni_utf8_push(tni_utf8 *utf8, const char *bytes, size_t count,
                   tni_text_sink sink, void *to);
/* What is still held can not be completed any more. */
void tni_utf8_end(tni_utf8 *utf8, tni_text_sink sink, void *to);

/* 3 where a byte order mark stands first, else 0. Some editors write one; it is
 * no part of the text. */
size_t tni_utf8_mark(const char *text, size_t bytes);

#endif
