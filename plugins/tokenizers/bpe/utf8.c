/*
 * utf8.c - where text is UTF-8, and where it is not.
 */
#include "utf8.h"

#include <string.h>

/* Bytes of the character that begins with `lead` (0: none does), and which
 * second bytes it may have. */
static int shape(unsigned lead, unsigned *least, unsigned *most)
{
    *least = 0x80;
    *most = 0xbf;
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    if (lead < 0xe0)
        return 2;
    if (lead < 0xf0) {
        if (lead == 0xe0)
            *least = 0xa0; /* shorter forms are no characters */
        if (lead == 0xed)
            *most = 0x9f; /* nor are surrogates */
        return 3;
    }
    if (lead == 0xf0)
        *least = 0x90;
    if (lead == 0xf4)
        *most = 0x8f;
    return 4;
}

/* Bytes at `at` that belong together, and whether they are whole. */
static int measure(const char *at, const char *end, int *whole)
{
    unsigned least, most;
    const int want = shape((unsigned char)*at, &least, &most);
    int got = 1;
    while (got < want && at + got < end && (unsigned char)at[got] >= least &&
           (unsigned char)at[got] <= most) {
        least = 0x80;
        most = 0xbf;
        got++;
    }
    *whole = got == want;
    return got;
}

const char *tni_utf8_invalid(const char *at, const char *end)
{
    while (at < end) {
        uint64_t eight;
        int whole;
        for (; end - at >= 8; at += 8) {
            memcpy(&eight, at, sizeof eight);
            if (eight & 0x8080808080808080u)
                break;
        }
        if (at == end)
            break;
        const int bytes = measure(at, end, &whole);
        if (!whole)
            return at;
        at += bytes;
    }
    return end;
}

const char *tni_utf8_skip_invalid(const char *at, const char *end)
{
    int whole;
    return at + measure(at, end, &whole);
}

/* Four bytes are enough to see a character. */
static int begins_badly(const char *at, const char *end)
{
    return at < end && tni_utf8_invalid(at, end - at < 4 ? end : at + 4) == at;
}

const char *tni_utf8_run(const char *at, const char *end, int *valid)
{
    *valid = !begins_badly(at, end);
    if (*valid)
        return tni_utf8_invalid(at, end);
    while (begins_badly(at, end))
        at = tni_utf8_skip_invalid(at, end);
    return at;
}
