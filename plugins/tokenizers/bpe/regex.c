/*
 * regex.c - pieces by any regular expression, through PCRE2's compiled code.
 *
 * The expressions come from files made for other engines (Rust's, Oniguruma).
 * What they have in common with PCRE2 means the same, save for \s: PCRE2 counts
 * a Mongolian sign as space that Unicode no longer does, so \s and \S are
 * written out before compiling. What engines do not agree on (\w, \b, sets in
 * sets) and what looks back over the piece's start (lookbehind, ^) is refused.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "memory.h"
#include "split.h"

struct tni_regex {
    pcre2_code *code;
    int32_t compiled; /* by the JIT */
};

#define SPACES "\\t-\\r \\x{85}\\p{Z}"

typedef struct rewriting {
    char *to;
    size_t count, capacity;
    int32_t in_class, failed;
} rewriting;

static void put(rewriting *r, const char *text, size_t count)
{
    if (!tni_grow(&r->to, &r->capacity, r->count + count + 1, 1)) {
        r->failed = 1;
        return;
    }
    memcpy(r->to + r->count, text, count);
    r->count += count;
    r->to[r->count] = '\0';
}

/* Two characters, a backslash and `which`. */
static tn_status put_escape(rewriting *r, const char *at, tn_error *err)
{
    const char which = at[1];
    if (which == 's' && r->in_class)
        put(r, SPACES, sizeof SPACES - 1);
    else if (which == 's')
        put(r, "[" SPACES "]", sizeof SPACES + 1);
    else if (which == 'S' && !r->in_class)
        put(r, "[^" SPACES "]", sizeof SPACES + 2);
    else if (which && strchr("SwWbBXRAGK", which))
        return tn_fail(err, TN_EUNSUPPORTED,
                       "split pattern: \\%c%s is not supported: engines do not "
                       "agree on what it means",
                       which, which == 'S' ? " inside [...]" : "");
    else
        put(r, at, which ? 2 : 1);
    return TN_OK;
}

static tn_status rewrite(rewriting *r, const char *expression, tn_error *err)
{
    put(r, "", 0);
    for (const char *at = expression; *at; at++) {
        if (*at == '\\') {
            TN_TRY(put_escape(r, at, err));
            at += at[1] != '\0';
            continue;
        }
        if ((*at == '[' && r->in_class) || (*at == '^' && !r->in_class))
            return tn_fail(err, TN_EUNSUPPORTED,
                           "split pattern %s: %s is not supported", expression,
                           r->in_class ? "a set inside a set" : "^");
        r->in_class = *at == '[' || (r->in_class && *at != ']');
        put(r, at, 1);
        if (*at == '[' && at[1] == '^')
            put(r, ++at, 1);
    }
    return r->failed ? tni_no_memory("split pattern", err) : TN_OK;
}

static tn_status compile(tni_regex *regex, const char *text, tn_error *err)
{
    int error;
    uint32_t may_be_empty = 0, looks_back = 0;
    PCRE2_SIZE where;
    regex->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                                PCRE2_UTF | PCRE2_UCP, &error, &where, NULL);
    if (!regex->code) {
        char why[160];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
        return tn_fail(err, TN_EINVALID,
                       "split pattern %s: %s (at character %zu)", text, why,
                       (size_t)where);
    }
    pcre2_pattern_info(regex->code, PCRE2_INFO_MATCHEMPTY, &may_be_empty);
    if (may_be_empty)
        return tn_fail(err, TN_EINVALID,
                       "split pattern %s: it matches the empty text; every "
                       "alternative must take a character",
                       text);
    pcre2_pattern_info(regex->code, PCRE2_INFO_MAXLOOKBEHIND, &looks_back);
    if (looks_back)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "split pattern %s: lookbehind is not supported", text);
    regex->compiled = pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE) == 0;
    return TN_OK;
}

tn_status tni_regex_open(tni_regex **out, const char *expression, tn_error *err)
{
    rewriting r = {0};
    tni_regex *regex = calloc(1, sizeof *regex);
    tn_status status = regex ? rewrite(&r, expression, err)
                             : tni_no_memory("split pattern", err);
    if (status == TN_OK)
        status = compile(regex, r.to, err);
    free(r.to);
    if (status != TN_OK) {
        tni_regex_close(regex);
        return status;
    }
    *out = regex;
    return TN_OK;
}

void tni_regex_close(tni_regex *regex)
{
    if (regex)
        pcre2_code_free(regex->code);
    free(regex);
}

/* Compiled code has little stack; what does not fit goes to the interpreter. */
static int match(const tni_regex *regex, pcre2_match_data *data,
                 const char *text, size_t bytes)
{
    const PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (regex->compiled)
        found = pcre2_jit_match(regex->code, subject, bytes, 0, 0, data, NULL);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(regex->code, subject, bytes, 0,
                            PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, NULL);
    return found;
}

const char *tni_regex_split(const tni_regex *regex, const char *at,
                            const char *end)
{
    const char *stop = NULL;
    pcre2_match_data *data =
        pcre2_match_data_create_from_pattern(regex->code, NULL);
    if (!data)
        return NULL;
    const int found = match(regex, data, at, (size_t)(end - at));
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(data);
    if (found == PCRE2_ERROR_NOMATCH)
        stop = end;
    else if (found >= 0) /* what lies before a match is a piece as well */
        stop = at + (place[0] ? place[0] : place[1]);
    pcre2_match_data_free(data);
    return stop;
}
