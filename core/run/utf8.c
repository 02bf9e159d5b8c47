/*
 * utf8.c - the ranges of RFC 3629.
 */
#include "run/utf8.h"

#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* Bytes of the character that begins with `first`, 0 where none does. */
static uint32_t length_of(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF)
        return 3;
    return first >= 0xF0 && first <= 0xF4 ? 4 : 0;
}

/* Whether `next` may follow what is held: no overlong form, no surrogate,
 * nothing above U+10FFFF. */
static int may_follow(const tni_utf8 *u, unsigned char next)
{
    unsigned char low = 0x80, high = 0xBF;
    if (u->count == 1) {
        switch (u->held[0]) {
        case 0xE0:
            low = 0xA0;
            break;
        case 0xED:
            high = 0x9F;
            break;
        case 0xF0:
            low = 0x90;
            break;
        case 0xF4:
            high = 0x8F;
            break;
        }
    }
    return next >= low && next <= high;
}

void tni_utf8_end(tni_utf8 *u, tni_text_sink sink, void *to)
{
    if (u->count)
        sink(to, replacement, sizeof replacement - 1);
    u->count = 0;
}

static void push_byte(tni_utf8 *u, unsigned char byte, tni_text_sink sink,
                      void *to)
{
    if (u->count && !may_follow(u, byte))
        tni_utf8_end(u, sink, to);
    if (!u->count) {
        u->want = length_of(byte);
        if (!u->want) {
            sink(to, replacement, sizeof replacement - 1);
            return;
        }
    }
    u->held[u->count++] = byte;
    if (u->count < u->want)
        return;
    sink(to, (const char *)u->held, u->count);
    u->count = 0;
}

void tni_utf8_push(tni_utf8 *u, const char *bytes, size_t count,
                   tni_text_sink sink, void *to)
{
    for (size_t i = 0; i < count; i++)
        push_byte(u, (unsigned char)bytes[i], sink, to);
}

size_t tni_utf8_mark(const char *text, size_t bytes)
{
    return bytes >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
}
