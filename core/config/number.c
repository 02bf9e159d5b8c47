/*
 * number.c - numbers as text, both ways.
 *
 * Stricter than strtod, which also takes hexadecimal, "nan" and "infinity";
 * what is no number here is an error with a place, never a silent zero.
 */
#include "config/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIGITS = 400, SHORTEST = 1, EXACT = 17 };

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* `text` without its underscores; 0 if one does not stand between digits. */
static int without_underscores(const char *text, char out[MAX_DIGITS])
{
    size_t length = 0;
    for (const char *c = text; *c; c++) {
        if (*c == '_') {
            if (c == text || !is_digit(c[-1]) || !is_digit(c[1]))
                return 0;
            continue;
        }
        if (length == MAX_DIGITS - 1)
            return 0;
        out[length++] = *c;
    }
    out[length] = 0;
    return 1;
}

int tni_number_int(const char *text, int64_t *value, int *clipped)
{
    char plain[MAX_DIGITS];
    if (!without_underscores(text, plain))
        return 0;
    const int negative = plain[0] == '-';
    const char *c = plain + (plain[0] == '-' || plain[0] == '+');
    if (!*c)
        return 0;
    int64_t sum = 0; /* counted downwards: the range is one longer there */
    int over = 0;
    for (; *c; c++) {
        if (!is_digit(*c))
            return 0;
        over |= __builtin_mul_overflow(sum, 10, &sum);
        over |= __builtin_sub_overflow(sum, *c - '0', &sum);
    }
    over |= !negative && sum == INT64_MIN;
    if (over)
        sum = negative ? INT64_MIN : -INT64_MAX;
    *clipped = over;
    *value = negative ? sum : -sum;
    return 1;
}

/* sign? digits? (. digits?)? (e sign? digits)?, at least one digit before e */
static int looks_like_float(const char *c)
{
    c += *c == '-' || *c == '+';
    int digits = 0;
    for (; is_digit(*c); c++)
        digits++;
    if (*c == '.')
        for (c++; is_digit(*c); c++)
            digits++;
    if (!digits)
        return 0;
    if (*c == 'e' || *c == 'E') {
        c++;
        c += *c == '-' || *c == '+';
        if (!is_digit(*c))
            return 0;
        while (is_digit(*c))
            c++;
    }
    return !*c;
}

int tni_number_float(const char *text, double *value)
{
    if (!strcmp(text, ".inf") || !strcmp(text, "-.inf")) {
        *value = (double)(text[0] == '-' ? -INFINITY : INFINITY);
        return 1;
    }
    char plain[MAX_DIGITS];
    if (!without_underscores(text, plain) || !looks_like_float(plain))
        return 0;
    const double read = strtod(plain, NULL);
    if (!isfinite(read))
        return 0;
    *value = read;
    return 1;
}

/* "1" and "1e-05" are other types to other YAML readers; "1.0" and "1.0e-05"
 * are floats to all. */
static const char *with_a_point(tni_arena *arena, const char *digits)
{
    if (strchr(digits, '.'))
        return tni_arena_strdup(arena, digits);
    const size_t mantissa = strcspn(digits, "e");
    return tni_arena_printf(arena, "%.*s.0%s", (int)mantissa, digits,
                            digits + mantissa);
}

const char *tni_float_text(tni_arena *arena, double value)
{
    if (!isfinite(value))
        return isnan(value) ? ".nan" : value > 0 ? ".inf" : "-.inf";
    char digits[40];
    for (int precision = SHORTEST; precision <= EXACT; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    return with_a_point(arena, digits);
}
