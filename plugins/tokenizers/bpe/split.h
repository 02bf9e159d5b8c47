/*
 * split.h - text into the pieces that merges never cross.
 *
 * Every vocabulary comes with a regular expression whose matches, one after
 * the other, are the pieces. Nearly all in use are one of three expressions
 * with small differences, so those are written out as code (families.c), over
 * a table of Unicode classes: ten times as fast as an expression's engine,
 * linear on any text, and the same whatever version of an engine is installed.
 * Any other expression goes to PCRE2 (regex.c).
 *
 * Text between matches of an expression is a piece too: nothing is lost.
 */
#ifndef TENON_BPE_SPLIT_H
#define TENON_BPE_SPLIT_H

#include <tenon/base.h>

typedef enum tni_family {
    TNI_GPT2,   /* ' ?letters', digits, others; English contractions */
    TNI_CL100K, /* any one character before letters; digits in small groups */
    TNI_O200K,  /* words end before a capital; contractions stay attached */
    TNI_REGEX,
} tni_family;

typedef struct tni_regex tni_regex;

typedef struct tni_splitter {
    tni_family family;
    uint32_t digits;     /* most digits of a piece; 0: any number */
    int32_t final_space; /* space at the end of the text is one piece */
    tni_regex *regex;    /* of TNI_REGEX; owned */
} tni_splitter;

/* A splitter by name or, where `pattern` is no name, by expression. An
 * expression that a family stands for becomes that family. */
tn_status tni_splitter_open(tni_splitter *s, const char *pattern,
                            tn_error *err);
void tni_splitter_close(tni_splitter *s);

/* The expression that a name stands for, in words that PCRE2 and Hugging
 * Face's tokenizers understand alike; `pattern` itself where it is no name. */
const char *tni_split_expression(const char *pattern);

/*
 * The end of the piece that begins at `at`. at < end; the bytes between are
 * UTF-8. NULL where an expression gave up, as those that backtrack a lot do on
 * long texts. Any number of threads may call it.
 */
const char *tni_split(const tni_splitter *s, const char *at, const char *end);

/* ---- the parts, for split.c ---- */

const char *tni_split_gpt2(const tni_splitter *s, const char *at,
                           const char *end);
const char *tni_split_cl100k(const tni_splitter *s, const char *at,
                             const char *end);
const char *tni_split_o200k(const tni_splitter *s, const char *at,
                            const char *end);
void tni_split_classes_init(void); /* once, before the three above */

tn_status tni_regex_open(tni_regex **regex, const char *expression,
                         tn_error *err);
void tni_regex_close(tni_regex *regex);
const char *tni_regex_split(const tni_regex *regex, const char *at,
                            const char *end);

#endif
