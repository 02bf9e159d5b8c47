/*
 * split.c - patterns by name and by expression.
 */
#include "split.h"

#include <pthread.h>
#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define HEAD "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define TAIL "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"

/* Differs from the others in how many digits are a piece. */
#define LIKE_CL100K(digits)                                                    \
    CONTRACTIONS "|" BEFORE "\\p{L}+|" digits                                  \
                 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"              \
                 "\\s+(?!\\S)|\\s+"

/*
 * The rows with a name are what `pattern:` may say; those without are other
 * ways in which files write the same.
 */
typedef struct known_pattern {
    const char *name;
    tni_splitter splitter;
    const char *expression;
} known_pattern;

static const known_pattern known[] = {
    {"gpt2",
     {.family = TNI_GPT2},
     "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
     "\\s+(?!\\S)|\\s+"},
    {NULL,
     {.family = TNI_GPT2},
     "'s|'t|'re|'ve|'m|'ll|'d| ?[\\p{L}]+| ?[\\p{N}]+| ?[^\\s\\p{L}\\p{N}]+|"
     "\\s+(?!\\S)|\\s+"},
    /* As OpenAI has it since it rewrote it for speed: space at the end of the
     * text is one piece, line ends in it or not. */
    {"cl100k",
     {.family = TNI_CL100K, .digits = 3, .final_space = 1},
     CONTRACTIONS "|" BEFORE "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+"
                  "[\\r\\n]*|\\s+\\z|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {"llama3", {.family = TNI_CL100K, .digits = 3}, LIKE_CL100K("\\p{N}{1,3}")},
    {"nanochat",
     {.family = TNI_CL100K, .digits = 2},
     LIKE_CL100K("\\p{N}{1,2}")},
    {"qwen2", {.family = TNI_CL100K, .digits = 1}, LIKE_CL100K("\\p{N}")},
    {NULL,
     {.family = TNI_CL100K, .digits = 2},
     "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,2}| ?[^\\s"
     "\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
    {"o200k",
     {.family = TNI_O200K, .digits = 3},
     BEFORE HEAD "*" TAIL "+" CONTRACTIONS "?|" BEFORE HEAD "+" TAIL
                 "*" CONTRACTIONS "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]"
                 "*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
};

enum { KNOWN = sizeof known / sizeof *known };

static const known_pattern *find(const char *pattern)
{
    for (size_t i = 0; i < KNOWN; i++)
        if ((known[i].name && !strcmp(known[i].name, pattern)) ||
            !strcmp(known[i].expression, pattern))
            return &known[i];
    return NULL;
}

static pthread_once_t classes_once = PTHREAD_ONCE_INIT;

tn_status tni_splitter_open(tni_splitter *s, const char *pattern, tn_error *err)
{
    const known_pattern *found = find(pattern);
    pthread_once(&classes_once, tni_split_classes_init);
    if (found) {
        *s = found->splitter;
        return TN_OK;
    }
    tni_splitter made = {.family = TNI_REGEX};
    TN_TRY(tni_regex_open(&made.regex, pattern, err));
    *s = made;
    return TN_OK;
}

void tni_splitter_close(tni_splitter *s)
{
    tni_regex_close(s->regex);
    *s = (tni_splitter){0};
}

const char *tni_split_expression(const char *pattern)
{
    const known_pattern *found = find(pattern);
    return found ? found->expression : pattern;
}

const char *tni_split(const tni_splitter *s, const char *at, const char *end)
{
    switch (s->family) {
    case TNI_GPT2:
        return tni_split_gpt2(s, at, end);
    case TNI_CL100K:
        return tni_split_cl100k(s, at, end);
    case TNI_O200K:
        return tni_split_o200k(s, at, end);
    case TNI_REGEX:
        return tni_regex_split(s->regex, at, end);
    }
    return NULL;
}
