/*
 * option.h - options as a table: name, type, default, range and help, once.
 *
 * A component declares the options it takes from YAML as an array of rows and
 * a plain struct that the core fills. From the table come the parsing, the
 * range checks with file:line:column, `tenon plugins show NAME`, the docs page
 * and the resolved config that reproduces the run.
 *
 *     typedef struct {
 *         double beta1;
 *         int64_t steps;
 *     } my_options;
 *
 *     static const tn_option options[] = {
 *         TN_OPTION_FLOAT(my_options, beta1, 0.9, 0, 1, "share of momentum"),
 *         TN_OPTION_INT(my_options, steps, 5, 1, 100, "how often"),
 *     };
 */
#ifndef TENON_OPTION_H
#define TENON_OPTION_H

#include <tenon/base.h>

TN_BEGIN_DECLS

/* The C type of the struct member is given beside each kind. */
enum {
    TN_OPTION_KIND_BOOL = 1,    /* int32_t, 0 or 1 */
    TN_OPTION_KIND_INT = 2,     /* int64_t */
    TN_OPTION_KIND_FLOAT = 3,   /* double */
    TN_OPTION_KIND_STRING = 4,  /* const char *, NULL where absent */
    TN_OPTION_KIND_ENUM = 5,    /* int32_t: index into `text`, "a|b|c" */
    TN_OPTION_KIND_FLOATS = 6,  /* double[count]: a YAML list of that length */
    TN_OPTION_KIND_STRINGS = 7, /* tn_strings: one string or a list of them */
    TN_OPTION_KIND_PATH = 8,    /* const char *: absolute after resolution */
    TN_OPTION_KIND_PATHS = 9,   /* tn_strings of such paths */
};

enum {
    TN_OPTION_REQUIRED = 1u << 0, /* has no default: YAML must give it */
};

/* Strings the core owns for as long as the component's options live. */
typedef struct tn_strings {
    const char *const *at;
    uint32_t count;
    uint32_t reserved;
} tn_strings;

/*
 * One row. For numbers `min` and `max` are inclusive and must be finite or
 * +-INFINITY. `fallback` is the default of numbers, bools and enums (its
 * index); `text` is the default of strings and paths, the names of an enum
 * ("cosine|linear") and the default list of FLOATS ("0.9, 0.95").
 */
typedef struct tn_option {
    const char *name; /* the YAML key */
    const char *help; /* one clause: what it is, unit, source */
    const char *text;
    uint32_t kind;
    uint32_t flags;
    uint32_t offset; /* of the member in the options struct, in bytes */
    uint32_t count;  /* FLOATS: length of the list; else 0 */
    double fallback, min, max;
} tn_option;

/* A component's table and the struct it fills. */
typedef struct tn_option_table {
    const tn_option *at;
    uint32_t count;
    uint32_t stride; /* sizeof(tn_option) where the plugin was built */
    uint32_t size;   /* sizeof the options struct */
    uint32_t reserved;
} tn_option_table;

#define TN_OPTIONS(type, table)                                                \
    {                                                                          \
        (table), (uint32_t)(sizeof(table) / sizeof((table)[0])),               \
            (uint32_t)sizeof(tn_option), (uint32_t)sizeof(type), 0             \
    }

#define TN_OPTION_ROW_(type, field, kind_, flags_, count_, text_, fallback_,   \
                       min_, max_, help_)                                      \
    {                                                                          \
        .name = #field, .help = (help_), .text = (text_), .kind = (kind_),     \
        .flags = (flags_), .offset = (uint32_t)offsetof(type, field),          \
        .count = (count_), .fallback = (double)(fallback_),                    \
        .min = (double)(min_), .max = (double)(max_)                           \
    }

#define TN_OPTION_BOOL(type, field, fallback, help)                            \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_BOOL, 0, 0, NULL, fallback, 0,  \
                   1, help)
#define TN_OPTION_INT(type, field, fallback, min, max, help)                   \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_INT, 0, 0, NULL, fallback, min, \
                   max, help)
#define TN_OPTION_INT_REQUIRED(type, field, min, max, help)                    \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_INT, TN_OPTION_REQUIRED, 0,     \
                   NULL, 0, min, max, help)
#define TN_OPTION_FLOAT(type, field, fallback, min, max, help)                 \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_FLOAT, 0, 0, NULL, fallback,    \
                   min, max, help)
#define TN_OPTION_FLOAT_REQUIRED(type, field, min, max, help)                  \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_FLOAT, TN_OPTION_REQUIRED, 0,   \
                   NULL, 0, min, max, help)
#define TN_OPTION_STRING(type, field, fallback, help)                          \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_STRING, 0, 0, fallback, 0, 0,   \
                   0, help)
/* names: "cosine|linear"; fallback: the index of the default name */
#define TN_OPTION_ENUM(type, field, names, fallback, help)                     \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_ENUM, 0, 0, names, fallback, 0, \
                   0, help)
/* fallback: "0.9, 0.95"; the member is double[count], each in [min, max] */
#define TN_OPTION_FLOATS(type, field, length, fallback, min, max, help)        \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_FLOATS, 0, length, fallback, 0, \
                   min, max, help)
#define TN_OPTION_STRINGS(type, field, help)                                   \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_STRINGS, 0, 0, NULL, 0, 0, 0,   \
                   help)
#define TN_OPTION_PATH_REQUIRED(type, field, help)                             \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_PATH, TN_OPTION_REQUIRED, 0,    \
                   NULL, 0, 0, 0, help)
#define TN_OPTION_PATHS_REQUIRED(type, field, help)                            \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_PATHS, TN_OPTION_REQUIRED, 0,   \
                   NULL, 0, 0, 0, help)

TN_END_DECLS
#endif
