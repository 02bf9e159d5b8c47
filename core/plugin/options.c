/*
 * options.c - is a component's table of options one that can be trusted?
 *
 * The core writes through the offsets in these rows, so a row that lies is a
 * memory error of ours. And a default outside its own range is a component
 * that no config can use as it comes.
 */
#include "plugin/module.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_OPTION = offsetof(tn_option, max) + sizeof(double),
    MAX_OPTIONS = 256,
    MAX_OPTIONS_BYTES = 1 << 20
};

/* Bytes of the member behind a row; 0 for a kind this program lacks. */
static size_t member_bytes(const tn_option *o)
{
    switch (o->kind) {
    case TN_OPTION_KIND_BOOL:
    case TN_OPTION_KIND_ENUM:
        return sizeof(int32_t);
    case TN_OPTION_KIND_INT:
        return sizeof(int64_t);
    case TN_OPTION_KIND_FLOAT:
        return sizeof(double);
    case TN_OPTION_KIND_FLOATS:
        return o->count < MAX_OPTIONS_BYTES ? o->count * sizeof(double) : 0;
    case TN_OPTION_KIND_STRING:
    case TN_OPTION_KIND_PATH:
        return sizeof(const char *);
    case TN_OPTION_KIND_STRINGS:
    case TN_OPTION_KIND_PATHS:
        return sizeof(tn_strings);
    default:
        return 0;
    }
}

static size_t member_alignment(const tn_option *o)
{
    return member_bytes(o) == sizeof(int32_t) ? _Alignof(int32_t)
                                              : _Alignof(int64_t);
}

static tn_status check_member(const tn_option *o, uint32_t size, tn_error *err)
{
    const size_t bytes = member_bytes(o);
    if (!bytes)
        return tn_fail(err, TN_EREFUSED,
                       "option %s is of kind %u with %u elements, which this "
                       "program does not know",
                       o->name, o->kind, o->count);
    if (o->offset > size || bytes > size - o->offset)
        return tn_fail(err, TN_EREFUSED,
                       "option %s lies at byte %u of %u, outside the options "
                       "struct",
                       o->name, o->offset, size);
    if (o->offset % member_alignment(o))
        return tn_fail(err, TN_EREFUSED,
                       "option %s lies at byte %u, which is not aligned",
                       o->name, o->offset);
    return TN_OK;
}

static uint32_t enum_names(const char *text)
{
    uint32_t names = 1;
    if (!text || !*text)
        return 0;
    for (; *text; text++)
        names += *text == '|';
    return names;
}

static tn_status check_in_range(const tn_option *o, double value, tn_error *err)
{
    if (value >= o->min && value <= o->max)
        return TN_OK;
    return tn_fail(err, TN_EREFUSED,
                   "option %s has the default %g outside its own range "
                   "[%g, %g]",
                   o->name, value, o->min, o->max);
}

/* As strtod, and YAML's .inf, which a default is written in. */
static double read_number(const char *text, char **end)
{
    if (strncmp(text, ".inf", 4))
        return strtod(text, end);
    *end = (char *)(uintptr_t)(text + 4);
    return (double)INFINITY;
}

static tn_status check_list(const tn_option *o, tn_error *err)
{
    const char *at = o->text ? o->text : "";
    for (uint32_t i = 0; i < o->count; i++) {
        char *end;
        const double value = read_number(at, &end);
        if (end == at)
            return tn_fail(err, TN_EREFUSED,
                           "option %s wants %u numbers and its default \"%s\" "
                           "has %u",
                           o->name, o->count, o->text ? o->text : "", i);
        TN_TRY(check_in_range(o, value, err));
        at = end + strspn(end, ", ");
    }
    return TN_OK;
}

static tn_status check_default(const tn_option *o, tn_error *err)
{
    if (o->kind == TN_OPTION_KIND_ENUM) {
        const uint32_t names = enum_names(o->text);
        if (!(o->fallback >= 0 && o->fallback < names))
            return tn_fail(err, TN_EREFUSED,
                           "option %s has the default number %g of %u names",
                           o->name, o->fallback, names);
    }
    if (o->flags & TN_OPTION_REQUIRED)
        return TN_OK;
    if (o->kind == TN_OPTION_KIND_FLOATS)
        return check_list(o, err);
    if (o->kind == TN_OPTION_KIND_BOOL || o->kind == TN_OPTION_KIND_INT ||
        o->kind == TN_OPTION_KIND_FLOAT)
        return check_in_range(o, o->fallback, err);
    return TN_OK;
}

static tn_status check_row(const tn_option *rows, uint32_t index, uint32_t size,
                           tn_error *err)
{
    const tn_option *o = &rows[index];
    if (!tni_name_is_valid(o->name))
        return tn_fail(err, TN_EREFUSED,
                       "option %u is named '%s'; names are [a-z0-9_-]+", index,
                       o->name ? o->name : "");
    for (uint32_t i = 0; i < index; i++)
        if (!strcmp(rows[i].name, o->name))
            return tn_fail(err, TN_EREFUSED, "option %s is listed twice",
                           o->name);
    TN_TRY(check_member(o, size, err));
    return check_default(o, err);
}

tn_status tni_option_table_adopt(tni_arena *arena, const tn_option_table *from,
                                 tn_option_table *to, tn_error *err)
{
    const uint32_t count = from->count, stride = from->stride;
    const char *theirs = (const char *)from->at;
    if (count == 0) {
        *to = (tn_option_table){.stride = (uint32_t)sizeof(tn_option),
                                .size = from->size};
        return TN_OK;
    }
    if (!theirs || count > MAX_OPTIONS || stride < FIRST_OPTION ||
        stride > MAX_OPTIONS_BYTES || from->size > MAX_OPTIONS_BYTES)
        return tn_fail(err, TN_EREFUSED,
                       "%u options of %u bytes for a struct of %u are not a "
                       "table of options; write .options = TN_OPTIONS(type, "
                       "table)",
                       count, stride, from->size);
    tn_option *rows = tni_arena_alloc(arena, count * sizeof *rows);
    for (uint32_t i = 0; i < count; i++) {
        const size_t both = stride < sizeof *rows ? stride : sizeof *rows;
        memcpy(&rows[i], theirs + (size_t)i * stride, both);
        if (!rows[i].help)
            rows[i].help = "";
        TN_TRY(check_row(rows, i, from->size, err));
    }
    *to = (tn_option_table){.at = rows,
                            .count = count,
                            .stride = (uint32_t)sizeof *rows,
                            .size = from->size};
    return TN_OK;
}
