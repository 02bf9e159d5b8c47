/*
 * term.c - emphasis, wrapping and tables.
 */
#include "cli/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { GAP = 2, NARROW = 40, WIDE = 110 };

const char *tni_style_on(FILE *to, tni_style style)
{
    static const char *const escapes[] = {[TNI_PLAIN] = "\033[0m",
                                          [TNI_BOLD] = "\033[1m",
                                          [TNI_DIM] = "\033[2m",
                                          [TNI_GOOD] = "\033[32m",
                                          [TNI_BAD] = "\033[31m"};
    return isatty(fileno(to)) && !getenv("NO_COLOR") ? escapes[style] : "";
}

uint32_t tni_term_width(FILE *to)
{
    struct winsize size;
    if (ioctl(fileno(to), TIOCGWINSZ, &size) || size.ws_col < NARROW)
        return 80;
    return size.ws_col < WIDE ? size.ws_col : WIDE;
}

/* Characters a person sees: bytes that do not continue a UTF-8 sequence. */
static size_t seen(const char *text, size_t bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

void tni_print_wrapped(FILE *to, uint32_t indent, const char *text)
{
    const size_t width = isatty(fileno(to)) ? tni_term_width(to) : SIZE_MAX;
    const size_t room = width > indent + 20 ? width - indent : 20;
    size_t used = 0;
    while (*text) {
        const size_t bytes = strcspn(text, " ");
        const size_t word = seen(text, bytes);
        if (used && used + 1 + word > room) {
            fprintf(to, "\n%*s", (int)indent, "");
            used = 0;
        }
        fprintf(to, "%s%.*s", used ? " " : "", (int)bytes, text);
        used += word + (used ? 1 : 0);
        text += bytes + strspn(text + bytes, " ");
    }
    fputc('\n', to);
}

void tni_table_add(tni_table *table, const char *cell)
{
    *TNI_PUSH(table->arena, table->cells, table->count, table->capacity) = cell;
}

void tni_table_addf(tni_table *table, const char *format, ...)
{
    char text[1100];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tni_table_add(table, tni_arena_strdup(table->arena, text));
}

static size_t column_width(const tni_table *table, uint32_t column)
{
    size_t width = 0;
    for (size_t i = column; i < table->count; i += table->columns) {
        const size_t cell = seen(table->cells[i], strlen(table->cells[i]));
        width = cell > width ? cell : width;
    }
    return width;
}

static void print_row(const tni_table *table, FILE *to, size_t row)
{
    const char **cells = table->cells + row * table->columns;
    uint32_t at = 0;
    for (uint32_t c = 0; c + 1 < table->columns; c++) {
        const size_t cell = seen(cells[c], strlen(cells[c]));
        const size_t width = column_width(table, c) + GAP;
        fprintf(to, "%s%*s", cells[c], (int)(width - cell), "");
        at += (uint32_t)width;
    }
    tni_print_wrapped(to, at, cells[table->columns - 1]);
}

void tni_table_print(const tni_table *table, FILE *to)
{
    for (size_t row = 0; (row + 1) * table->columns <= table->count; row++) {
        if (row == 0 && table->headed)
            fputs(tni_style_on(to, TNI_DIM), to);
        print_row(table, to, row);
        if (row == 0 && table->headed)
            fputs(tni_style_on(to, TNI_PLAIN), to);
    }
}
