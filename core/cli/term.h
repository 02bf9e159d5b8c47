/*
 * term.h - text for a terminal: emphasis where there is one, and tables.
 */
#ifndef TENON_TERM_H
#define TENON_TERM_H

#include "base/arena.h"

typedef enum tni_style {
    TNI_PLAIN,
    TNI_BOLD,
    TNI_DIM,
    TNI_GOOD,
    TNI_BAD
} tni_style;

/* The escape that starts a style, TNI_PLAIN ends it: "" where `to` is no
 * terminal, or where NO_COLOR is set. */
const char *tni_style_on(FILE *to, tni_style style);

/* Columns of the terminal; 80 where there is none. */
uint32_t tni_term_width(FILE *to);

/* `text` wrapped at words to the terminal's width, each further line indented
 * by `indent`; the first one begins at that column already. Ends the line.
 * Without a terminal nothing is wrapped, so that grep finds whole sentences. */
void tni_print_wrapped(FILE *to, uint32_t indent, const char *text);

/*
 * Rows of `columns` cells, aligned; the last column wraps like the above.
 */
typedef struct tni_table {
    tni_arena *arena;
    uint32_t columns;
    uint32_t headed; /* 1: the first row names the columns */
    const char **cells;
    size_t count, capacity;
} tni_table;

/* Fill cells from left to right, row after row. The text is not copied. */
void tni_table_add(tni_table *table, const char *cell);
/* "%g" and the like, copied. */
TN_PRINTF(2, 3)
void tni_table_addf(tni_table *table, const char *format, ...);
void tni_table_print(const tni_table *table, FILE *to);

#endif
