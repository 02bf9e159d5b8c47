/*
 * families.c - the split patterns in use, as code.
 *
 * Each function is its expression read from left to right: the alternatives in
 * their order, and within one the longest match first. None looks at a
 * character more often than a fixed number of times, so that no text makes
 * them slow. Characters are told apart by one byte of class bits; ASCII, which
 * is nearly all there is, by a table of 128.
 */
#include "split.h"

enum {
    UPPER = 1, /* capital and title case */
    LOWER = 2,
    LETTER = 4, /* without case */
    MARK = 8,
    NUMBER = 16,
    SPACE = 32,
    NEWLINE = 64, /* CR and LF; a SPACE too */
    OTHER = 128,  /* none of these */
    LETTERS = UPPER | LOWER | LETTER,
    OTHERS = OTHER | MARK,
};

enum { PAIRS = 1 << 8 };

typedef struct range {
    uint32_t first, count, class;
} range;

static const range ranges[] = {
#include "unicode_ranges.h"
};

/* 0 stands for OTHER, so that only pages with something in them are touched. */
static uint8_t classes[0x110000];

void tni_split_classes_init(void)
{
    for (uint32_t c = 0; c < 128; c++)
        classes[c] = c >= 'A' && c <= 'Z'                   ? UPPER
                     : c >= 'a' && c <= 'z'                 ? LOWER
                     : c >= '0' && c <= '9'                 ? NUMBER
                     : c == '\r' || c == '\n'               ? SPACE | NEWLINE
                     : c == ' ' || (c >= '\t' && c <= '\f') ? SPACE
                                                            : OTHER;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (uint32_t n = 0; n < ranges[i].count; n++)
            classes[ranges[i].first + n] =
                (uint8_t)(ranges[i].class != PAIRS ? ranges[i].class
                          : n % 2                  ? LOWER
                                                   : UPPER);
}

static inline uint32_t trail(const char *at)
{
    return (unsigned char)*at & 0x3fu;
}

/* The class of a character beyond ASCII, of valid UTF-8. */
static unsigned class_of_long(const char *at, const char **next)
{
    const uint32_t lead = (unsigned char)*at;
    uint32_t c;
    if (lead < 0xe0) {
        c = (lead & 0x1f) << 6 | trail(at + 1);
        *next = at + 2;
    } else if (lead < 0xf0) {
        c = (lead & 0xf) << 12 | trail(at + 1) << 6 | trail(at + 2);
        *next = at + 3;
    } else {
        c = (lead & 7) << 18 | trail(at + 1) << 12 | trail(at + 2) << 6 |
            trail(at + 3);
        *next = at + 4;
    }
    return classes[c] ? classes[c] : OTHER;
}

/* The class of the character at `at`, 0 at the end; and where the next is. */
static inline unsigned class_of(const char *at, const char *end,
                                const char **next)
{
    *next = at;
    if (at == end)
        return 0;
    *next = at + 1;
    const unsigned char byte = (unsigned char)*at;
    return byte < 0x80 ? classes[byte] : class_of_long(at, next);
}

/* Past all characters of these classes. */
static inline const char *skip(const char *at, const char *end, unsigned those)
{
    const char *next;
    while (class_of(at, end, &next) & those)
        at = next;
    return at;
}

static const char *skip_digits(const tni_splitter *s, const char *at,
                               const char *end)
{
    const char *next;
    if (!s->digits)
        return skip(at, end, NUMBER);
    for (uint32_t n = 0; n < s->digits; n++) {
        if (!(class_of(at, end, &next) & NUMBER))
            break;
        at = next;
    }
    return at;
}

/*
 * What begins with space: up to the last line end, for those that look for it;
 * else all but the last character, which belongs to the word after it.
 */
static const char *split_space(const tni_splitter *s, const char *at,
                               const char *end)
{
    const char *stop = at, *last = at, *line_end = NULL, *next;
    unsigned class;
    while ((class = class_of(stop, end, &next)) & SPACE) {
        last = stop;
        stop = next;
        if (class & NEWLINE)
            line_end = stop;
    }
    if (s->final_space && stop == end)
        return stop;
    if (line_end && s->family != TNI_GPT2)
        return line_end;
    return stop == end || last == at ? stop : last;
}

/* 's 'd 'm 't 'll 've 're, in capitals too where `fold`; NULL where it is none.
 * Case folding makes the long s, U+017F, an s. */
static const char *contraction(const char *at, const char *end, int fold)
{
    const int bit = fold ? 0x20 : 0;
    if (end - at < 2 || *at != '\'')
        return NULL;
    const int a = at[1] | bit;
    if (a == 's' || a == 'd' || a == 'm' || a == 't')
        return at + 2;
    if (end - at < 3)
        return NULL;
    const int b = at[2] | bit;
    if ((a == 'l' && b == 'l') || (b == 'e' && (a == 'v' || a == 'r')) ||
        (fold && at[1] == '\xc5' && at[2] == '\xbf'))
        return at + 3;
    return NULL;
}

/* '(?:[sdmt]|ll|ve|re) | ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
const char *tni_split_gpt2(const tni_splitter *s, const char *at,
                           const char *end)
{
    const char *next, *stop = contraction(at, end, 0);
    const char *from = at + (*at == ' ');
    if (stop)
        return stop;
    const unsigned class = class_of(from, end, &next);
    if (class & LETTERS)
        return skip(next, end, LETTERS);
    if (class & NUMBER)
        return skip_digits(s, from, end);
    if (class & OTHERS)
        return skip(next, end, OTHERS);
    return split_space(s, at, end);
}

/*
 * '(?i:[sdmt]|ll|ve|re) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,digits}
 *  | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 */
const char *tni_split_cl100k(const tni_splitter *s, const char *at,
                             const char *end)
{
    const char *next, *after, *stop = contraction(at, end, 1);
    if (stop)
        return stop;
    const unsigned class = class_of(at, end, &next);
    if (class & LETTERS)
        return skip(next, end, LETTERS);
    if (class & NUMBER)
        return skip_digits(s, at, end);
    const unsigned second = class_of(next, end, &after);
    if (second & LETTERS && !(class & NEWLINE))
        return skip(after, end, LETTERS);
    if (class & OTHERS || (*at == ' ' && second & OTHERS))
        return skip(skip(next, end, OTHERS), end, NEWLINE);
    return split_space(s, at, end);
}

enum {
    HEAD = UPPER | LETTER | MARK, /* what a capitalised word begins with */
    TAIL = LOWER | LETTER | MARK,
};

/* HEAD*TAIL+; NULL where there is none. The run of HEAD gives back what it must
 * for TAIL to have one character: back to its last that is both. */
static const char *head_and_tail(const char *at, const char *end)
{
    const char *next, *both = NULL;
    unsigned class;
    for (; (class = class_of(at, end, &next)) & HEAD; at = next)
        if (class & TAIL)
            both = next;
    const char *stop = skip(at, end, TAIL);
    return stop > at ? stop : both;
}

/* HEAD+TAIL*, likewise. */
static const char *head_maybe_tail(const char *at, const char *end)
{
    const char *tail = skip(at, end, HEAD);
    return tail > at ? skip(tail, end, TAIL) : NULL;
}

/* A word that is any one character of `before` and then a word, or just that;
 * with the contraction that follows it. */
static const char *split_word(const char *at, const char *end)
{
    const char *next, *stop = NULL;
    const unsigned class = class_of(at, end, &next);
    const int before = !(class & (NEWLINE | LETTERS | NUMBER));
    if (before)
        stop = head_and_tail(next, end);
    if (!stop)
        stop = head_and_tail(at, end);
    if (!stop && before)
        stop = head_maybe_tail(next, end);
    if (!stop)
        stop = head_maybe_tail(at, end);
    if (!stop)
        return NULL;
    const char *more = contraction(stop, end, 1);
    return more ? more : stop;
}

/*
 * With C = (?i:'s|'t|'re|'ve|'m|'ll|'d):
 * [^\r\n\p{L}\p{N}]?HEAD*TAIL+C? | [^\r\n\p{L}\p{N}]?HEAD+TAIL*C?
 *  | \p{N}{1,3} | ?[^\s\p{L}\p{N}]+[\r\n/]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 */
const char *tni_split_o200k(const tni_splitter *s, const char *at,
                            const char *end)
{
    const char *next, *stop = split_word(at, end);
    const char *from = at + (*at == ' ');
    if (stop)
        return stop;
    if (class_of(at, end, &next) & NUMBER)
        return skip_digits(s, at, end);
    if (!(class_of(from, end, &next) & OTHERS))
        return split_space(s, at, end);
    stop = skip(next, end, OTHERS);
    while (stop < end && (*stop == '\r' || *stop == '\n' || *stop == '/'))
        stop++;
    return stop;
}
