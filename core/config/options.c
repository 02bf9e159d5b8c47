/*
 * options.c - from a map of the config to a component's options struct.
 *
 * The component's table says what there is; everything a user can get wrong is
 * found here, with the place of the word that is wrong. What was not written
 * is written back, so that the tree saved beside a run says all of it.
 */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "config/tree.h"

typedef struct filler {
    tni_arena *arena;
    const tn_option_table *table;
    tni_yaml *node; /* NULL: nothing was written */
    const char *where;
    const char *const *reserved;
    const char *base;
    unsigned char *options;
    tn_error *err;
} filler;

/* A row as this program knows it: a plugin's may be shorter or longer. */
static tn_option row_at(const tn_option_table *table, uint32_t index)
{
    const unsigned char *at = (const unsigned char *)table->at;
    tn_option row = {0};
    memcpy(&row, at + (size_t)index * table->stride,
           table->stride < sizeof row ? table->stride : sizeof row);
    return row;
}

static void store(const filler *f, const tn_option *row, const void *value,
                  size_t bytes)
{
    memcpy(f->options + row->offset, value, bytes);
}

/* ------------------------------------------------------------------------ */
/* Keys nobody knows                                                          */

static uint32_t known_names(const filler *f, const char ***names)
{
    size_t count = 0, capacity = 0;
    *names = NULL;
    for (uint32_t i = 0; i < f->table->count; i++)
        *TNI_PUSH(f->arena, *names, count, capacity) = row_at(f->table, i).name;
    for (const char *const *r = f->reserved; r && *r; r++)
        *TNI_PUSH(f->arena, *names, count, capacity) = *r;
    return (uint32_t)count;
}

static const char *listed(tni_arena *arena, const char *const *names,
                          uint32_t count)
{
    const char *text = "";
    for (uint32_t i = 0; i < count; i++)
        text = tni_arena_printf(arena, "%s%s%s", text, i ? ", " : "", names[i]);
    return text;
}

static tn_status unknown_key(const filler *f, const tni_yaml_entry *entry,
                             const char *const *names, uint32_t count)
{
    const char *nearest = tni_nearest(entry->key, names, count);
    if (nearest)
        return tni_source_fail(&entry->key_source, f->err,
                               "%s: unknown key %s; did you mean %s?", f->where,
                               entry->key, nearest);
    return tni_source_fail(&entry->key_source, f->err,
                           "%s: unknown key %s; the keys are %s", f->where,
                           entry->key, listed(f->arena, names, count));
}

static tn_status check_keys(const filler *f)
{
    const char **names;
    const uint32_t count = known_names(f, &names);
    for (size_t i = 0; f->node && i < f->node->count; i++) {
        uint32_t at = 0;
        while (at < count && strcmp(names[at], f->node->entries[i].key) != 0)
            at++;
        if (at == count)
            return unknown_key(f, &f->node->entries[i], names, count);
    }
    return TN_OK;
}

/* ------------------------------------------------------------------------ */
/* Numbers                                                                    */

/* "is outside [0, 1]", "is below 1, the least it may be". */
static tn_status outside(const filler *f, const tn_option *row,
                         const tni_yaml *at)
{
    const char *text = at->scalar;
    if (isinf(row->max))
        return tni_yaml_fail(at, f->err,
                             "%s.%s: %s is below %.15g, the least "
                             "it may be",
                             f->where, row->name, text, row->min);
    if (isinf(row->min))
        return tni_yaml_fail(at, f->err,
                             "%s.%s: %s is above %.15g, the most "
                             "it may be",
                             f->where, row->name, text, row->max);
    return tni_yaml_fail(at, f->err, "%s.%s: %s is outside [%.15g, %.15g]",
                         f->where, row->name, text, row->min, row->max);
}

/* `expected` names the type: "a number". Says what was written instead. */
static tn_status wrong_type(const filler *f, const tn_option *row,
                            const tni_yaml *at, const char *expected)
{
    if (at->kind != TNI_YAML_SCALAR)
        return tni_yaml_fail(at, f->err, "%s.%s: expected %s, not %s", f->where,
                             row->name, expected, tni_yaml_kind_name(at));
    return tni_yaml_fail(at, f->err, "%s.%s: expected %s, not %s%.60s%s",
                         f->where, row->name, expected,
                         at->quoted ? "the quoted text \"" : "", at->scalar,
                         at->quoted ? "\"; drop the quotes" : "");
}

static int is_plain(const tni_yaml *value)
{
    return value->kind == TNI_YAML_SCALAR && !value->quoted;
}

static tn_status not_an_int(const filler *f, const tn_option *row,
                            const tni_yaml *value)
{
    double number;
    if (is_plain(value) && tni_number_float(value->scalar, &number) &&
        number == floor(number) && fabs(number) < 1e15)
        return tni_yaml_fail(value, f->err,
                             "%s.%s: expected a whole number, not %s; write "
                             "%.0f",
                             f->where, row->name, value->scalar, number);
    return wrong_type(f, row, value, "a whole number");
}

static tn_status fill_int(const filler *f, const tn_option *row,
                          tni_yaml *value)
{
    int64_t number;
    int clipped;
    if (!is_plain(value) || !tni_number_int(value->scalar, &number, &clipped))
        return not_an_int(f, row, value);
    if ((double)number < row->min || (double)number > row->max)
        return outside(f, row, value);
    if (clipped)
        return tni_yaml_fail(value, f->err, "%s.%s: %s does not fit 64 bits",
                             f->where, row->name, value->scalar);
    store(f, row, &number, sizeof number);
    return TN_OK;
}

static tn_status read_float(const filler *f, const tn_option *row,
                            const tni_yaml *value, double *number)
{
    if (!is_plain(value) || !tni_number_float(value->scalar, number))
        return wrong_type(f, row, value, "a number");
    if (*number < row->min || *number > row->max)
        return outside(f, row, value);
    return TN_OK;
}

static tn_status fill_float(const filler *f, const tn_option *row,
                            tni_yaml *value)
{
    double number;
    TN_TRY(read_float(f, row, value, &number));
    store(f, row, &number, sizeof number);
    return TN_OK;
}

static tn_status fill_floats(const filler *f, const tn_option *row,
                             tni_yaml *value)
{
    const char *expected =
        tni_arena_printf(f->arena, "a list of %u numbers", row->count);
    if (value->kind != TNI_YAML_LIST)
        return wrong_type(f, row, value, expected);
    if (value->count != row->count)
        return tni_yaml_fail(value, f->err, "%s.%s: expected %s, not %zu",
                             f->where, row->name, expected, value->count);
    for (uint32_t i = 0; i < row->count; i++) {
        double number;
        TN_TRY(read_float(f, row, value->entries[i].value, &number));
        memcpy(f->options + row->offset + i * sizeof number, &number,
               sizeof number);
    }
    return TN_OK;
}

/* ------------------------------------------------------------------------ */
/* Words                                                                      */

static tn_status fill_bool(const filler *f, const tn_option *row,
                           tni_yaml *value)
{
    const int is_true = is_plain(value) && !strcmp(value->scalar, "true");
    if (!is_true && !(is_plain(value) && !strcmp(value->scalar, "false")))
        return wrong_type(f, row, value, "true or false");
    const int32_t truth = is_true;
    store(f, row, &truth, sizeof truth);
    return TN_OK;
}

/* The names of "a|b|c". */
static uint32_t split_names(tni_arena *arena, const char *text,
                            const char ***names)
{
    size_t count = 0, capacity = 0;
    *names = NULL;
    while (text) {
        const size_t length = strcspn(text, "|");
        *TNI_PUSH(arena, *names, count, capacity) =
            tni_arena_printf(arena, "%.*s", (int)length, text);
        text = text[length] ? text + length + 1 : NULL;
    }
    return (uint32_t)count;
}

static tn_status fill_enum(const filler *f, const tn_option *row,
                           tni_yaml *value)
{
    const char **names;
    const uint32_t count = split_names(f->arena, row->text, &names);
    const char *all = listed(f->arena, names, count);
    if (value->kind != TNI_YAML_SCALAR)
        return wrong_type(f, row, value,
                          tni_arena_printf(f->arena, "one of %s", all));
    for (int32_t i = 0; i < (int32_t)count; i++)
        if (!strcmp(names[i], value->scalar)) {
            store(f, row, &i, sizeof i);
            return TN_OK;
        }
    return tni_yaml_fail(value, f->err, "%s.%s: %.60s is not one of %s",
                         f->where, row->name, value->scalar, all);
}

/* A text that reads as another type keeps its quotes when written. */
static void keep_as_text(tni_yaml *value)
{
    double number;
    if (!strcmp(value->scalar, "true") || !strcmp(value->scalar, "false") ||
        tni_number_float(value->scalar, &number))
        value->quoted = 1;
}

static int is_path(const tn_option *row)
{
    return row->kind == TN_OPTION_KIND_PATH ||
           row->kind == TN_OPTION_KIND_PATHS;
}

static tn_status read_text(const filler *f, const tn_option *row,
                           tni_yaml *value, const char **text)
{
    const char *expected = is_path(row) ? "a path" : "a text";
    if (value->kind != TNI_YAML_SCALAR)
        return wrong_type(f, row, value, expected);
    if (is_path(row) && !value->scalar[0])
        return tni_yaml_fail(value, f->err, "%s.%s: the path is empty",
                             f->where, row->name);
    if (is_path(row) && f->base)
        value->scalar = tni_path_join(f->arena, f->base, value->scalar);
    keep_as_text(value);
    *text = value->scalar;
    return TN_OK;
}

static tn_status fill_text(const filler *f, const tn_option *row,
                           tni_yaml *value)
{
    const char *text = NULL;
    TN_TRY(read_text(f, row, value, &text));
    store(f, row, &text, sizeof text);
    return TN_OK;
}

static tn_status fill_texts(const filler *f, const tn_option *row,
                            tni_yaml *value)
{
    const uint32_t count =
        value->kind == TNI_YAML_LIST ? (uint32_t)value->count : 1;
    const char **texts = tni_arena_alloc(f->arena, count * sizeof *texts);
    if (value->kind == TNI_YAML_SCALAR)
        TN_TRY(read_text(f, row, value, &texts[0]));
    else if (value->kind != TNI_YAML_LIST)
        return wrong_type(f, row, value, "a text or a list of texts");
    else
        for (uint32_t i = 0; i < count; i++)
            TN_TRY(read_text(f, row, value->entries[i].value, &texts[i]));
    if (!count && (row->flags & TN_OPTION_REQUIRED))
        return tni_yaml_fail(value, f->err,
                             "%s.%s: the list is empty; it is "
                             "%s",
                             f->where, row->name, row->help);
    const tn_strings strings = {.at = texts, .count = count};
    store(f, row, &strings, sizeof strings);
    return TN_OK;
}

/* ------------------------------------------------------------------------ */
/* Defaults                                                                   */

static tni_yaml *text_or_null(tni_arena *arena, const char *text)
{
    if (!text)
        return tni_yaml_new(arena, TNI_YAML_NULL);
    tni_yaml *node = tni_yaml_scalar(arena, text);
    node->quoted = (uint32_t)tni_yaml_reads_as_null(text);
    return node;
}

static tni_yaml *default_enum(const filler *f, const tn_option *row)
{
    const char **names;
    const uint32_t count = split_names(f->arena, row->text, &names);
    const uint32_t index = (uint32_t)row->fallback;
    return text_or_null(f->arena, index < count ? names[index] : NULL);
}

static tni_yaml *default_floats(const filler *f, const tn_option *row)
{
    tni_yaml *list = NULL;
    const char *text = tni_arena_printf(f->arena, "[%s]", row->text);
    tn_error ignored = {0};
    if (tni_config_parse(f->arena, row->name, text, strlen(text), &list,
                         &ignored) != TN_OK)
        return tni_yaml_new(f->arena, TNI_YAML_NULL);
    return list;
}

/* The default as if it had been written in the file: one path for both. */
static tni_yaml *default_node(const filler *f, const tn_option *row)
{
    switch (row->kind) {
    case TN_OPTION_KIND_BOOL:
        return tni_yaml_scalar(f->arena, row->fallback != 0 ? "true" : "false");
    case TN_OPTION_KIND_INT:
        return tni_yaml_scalar(
            f->arena, tni_arena_printf(f->arena, "%.0f", row->fallback));
    case TN_OPTION_KIND_FLOAT:
        return tni_yaml_scalar(f->arena,
                               tni_float_text(f->arena, row->fallback));
    case TN_OPTION_KIND_ENUM:
        return default_enum(f, row);
    case TN_OPTION_KIND_FLOATS:
        return default_floats(f, row);
    case TN_OPTION_KIND_STRINGS:
    case TN_OPTION_KIND_PATHS:
        return tni_yaml_new(f->arena, TNI_YAML_LIST);
    default:
        return text_or_null(f->arena, row->text);
    }
}

/* ------------------------------------------------------------------------ */

typedef tn_status (*fill_function)(const filler *, const tn_option *,
                                   tni_yaml *);

static const fill_function fill_by_kind[] = {
    [TN_OPTION_KIND_BOOL] = fill_bool,
    [TN_OPTION_KIND_INT] = fill_int,
    [TN_OPTION_KIND_FLOAT] = fill_float,
    [TN_OPTION_KIND_STRING] = fill_text,
    [TN_OPTION_KIND_ENUM] = fill_enum,
    [TN_OPTION_KIND_FLOATS] = fill_floats,
    [TN_OPTION_KIND_STRINGS] = fill_texts,
    [TN_OPTION_KIND_PATH] = fill_text,
    [TN_OPTION_KIND_PATHS] = fill_texts,
};

static tn_status required(const filler *f, const tn_option *row)
{
    return tni_yaml_fail(f->node, f->err, "%s: %s is required: %s", f->where,
                         row->name, row->help);
}

static tn_status fill_row(const filler *f, const tn_option *row)
{
    tni_yaml *value = f->node ? tni_yaml_get(f->node, row->name) : NULL;
    if (row->kind >= sizeof fill_by_kind / sizeof fill_by_kind[0] ||
        !fill_by_kind[row->kind])
        return tn_fail(f->err, TN_EUNSUPPORTED,
                       "%s.%s: an option of kind %u, which this version of "
                       "Tenon does not know",
                       f->where, row->name, row->kind);
    if (!value || value->kind == TNI_YAML_NULL) {
        if (row->flags & TN_OPTION_REQUIRED)
            return required(f, row);
        value = default_node(f, row);
        if (f->node)
            tni_yaml_put(f->arena, f->node, row->name, value);
    }
    if (value->kind == TNI_YAML_NULL) /* a text that is absent */
        return TN_OK;
    return fill_by_kind[row->kind](f, row, value);
}

static tn_status check_node(const filler *f)
{
    if (!f->node || f->node->kind == TNI_YAML_MAP)
        return TN_OK;
    if (f->node->kind != TNI_YAML_NULL)
        return tni_yaml_fail(f->node, f->err,
                             "%s: expected a map of options, not %s", f->where,
                             tni_yaml_kind_name(f->node));
    f->node->kind = TNI_YAML_MAP;
    return TN_OK;
}

tn_status tni_options_fill(tni_arena *arena, const tn_option_table *table,
                           tni_yaml *node, const char *where,
                           const char *const *reserved, const char *base,
                           void *options, tn_error *err)
{
    const filler f = {arena, table, node, where, reserved, base, options, err};
    memset(options, 0, table->size);
    TN_TRY(check_node(&f));
    TN_TRY(check_keys(&f));
    for (uint32_t i = 0; i < table->count; i++) {
        const tn_option row = row_at(table, i);
        TN_TRY(fill_row(&f, &row));
    }
    return TN_OK;
}
