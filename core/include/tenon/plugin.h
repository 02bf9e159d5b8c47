/*
 * plugin.h - what a `.so` must export to be a Tenon plugin.
 *
 * One data symbol, `tn_plugin_v1`, whose name carries the ABI's major version:
 * looking at it runs no code of the plugin. It lists components (a backend, an
 * architecture, an optimizer ...). Nobody writes it by hand: a file with one
 * component ends in
 *
 *     TN_OPTIMIZER(lion) = {
 *         .summary = "sign of an interpolated momentum",
 *         .options = TN_OPTIONS(lion_options, options),
 *         .step = lion_step,
 *     };
 *
 * and a file with several lists them with TN_PLUGIN (see the end).
 *
 * Compatibility. Major: the symbol's name. Minor: the program refuses a plugin
 * whose abi_minor_required is above its own; abi_minor_built may be. Structs
 * are append-only with fixed-width members, zero means default, and each
 * travels with its size: the descriptor and components begin with it, a
 * component carries its vtable's. core/include/tenon/layout.h pins every
 * offset. abi_tag must match to the letter.
 */
#ifndef TENON_PLUGIN_H
#define TENON_PLUGIN_H

#include <tenon/host.h>
#include <tenon/option.h>

TN_BEGIN_DECLS

#define TN_ABI_MAJOR 1
#define TN_ABI_MINOR 4
#define TN_PLUGIN_MAGIC 0x4e4e4554u /* "TENN" */

#if defined(__SANITIZE_ADDRESS__)
#define TN_ABI_ASAN "1"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TN_ABI_ASAN "1"
#endif
#endif
#ifndef TN_ABI_ASAN
#define TN_ABI_ASAN "0"
#endif

#if defined(__x86_64__)
#define TN_ABI_ARCH "x86_64"
#elif defined(__aarch64__)
#define TN_ABI_ARCH "aarch64"
#else
#define TN_ABI_ARCH "other"
#endif

/* Compile-time facts that must agree between program and plugin. */
#define TN_ABI_TAG                                                             \
    TN_ABI_ARCH "-linux;little-endian;pointer=8;asan=" TN_ABI_ASAN

/* Kinds of component. Numbers are never reused.   number, id, folder-word */
#define TN_KIND_MAP(XX)                                                        \
    XX(BACKEND, 1, "backend")                                                  \
    XX(ARCH, 2, "arch")                                                        \
    XX(OPTIMIZER, 3, "optimizer")                                              \
    XX(DATASET, 4, "dataset")                                                  \
    XX(TOKENIZER, 5, "tokenizer")                                              \
    XX(SCHEDULE, 6, "schedule")                                                \
    XX(COMMUNICATOR, 7, "communicator")

typedef uint32_t tn_kind;
enum {
#define XX(name, number, text) TN_KIND_##name = number,
    TN_KIND_MAP(XX)
#undef XX
};

/* How every component's vtable begins, whatever its kind. */
#define TN_COMPONENT_HEAD                                                      \
    const char *summary; /* one line, lower case, no full stop */              \
    tn_option_table options

typedef struct tn_component_head {
    TN_COMPONENT_HEAD;
} tn_component_head;

typedef struct tn_component {
    uint32_t struct_size;
    tn_kind kind;
    const char *name; /* [a-z0-9_-]+ : how YAML asks for it */
    const void *vtable;
    uint32_t vtable_size;
    uint32_t reserved;
} tn_component;

typedef struct tn_plugin_desc {
    uint32_t struct_size;
    uint32_t magic;
    uint32_t abi_minor_built;
    uint32_t abi_minor_required;
    const char *abi_tag;
    const char *name;
    const char *version;
    const char *license;
    const tn_component *components;
    uint32_t component_count;
    uint32_t component_stride;
    /* Both may be NULL. init runs once, after every check has passed. */
    tn_status (*init)(const tn_host *host, tn_error *err);
    void (*fini)(void);
} tn_plugin_desc;

/* A plugin may define these before including anything. */
#ifndef TN_PLUGIN_VERSION
#define TN_PLUGIN_VERSION "0"
#endif
#ifndef TN_PLUGIN_LICENSE
#define TN_PLUGIN_LICENSE "MIT"
#endif

#define TN_COMPONENT(kind_, name_, vtable_)                                    \
    {                                                                          \
        (uint32_t)sizeof(tn_component), TN_KIND_##kind_, (name_), &(vtable_),  \
            (uint32_t)sizeof(vtable_), 0                                       \
    }

/* Export `components`, an array of TN_COMPONENT rows, as plugin `name_`. */
#define TN_PLUGIN(name_, components_)                                          \
    TN_EXPORT extern const tn_plugin_desc tn_plugin_v1;                        \
    const tn_plugin_desc tn_plugin_v1 = {                                      \
        (uint32_t)sizeof(tn_plugin_desc),                                      \
        TN_PLUGIN_MAGIC,                                                       \
        TN_ABI_MINOR,                                                          \
        0,                                                                     \
        TN_ABI_TAG,                                                            \
        (name_),                                                               \
        TN_PLUGIN_VERSION,                                                     \
        TN_PLUGIN_LICENSE,                                                     \
        (components_),                                                         \
        (uint32_t)(sizeof(components_) / sizeof((components_)[0])),            \
        (uint32_t)sizeof(tn_component),                                        \
        NULL,                                                                  \
        NULL}

/* One component, one plugin, one name. Each kind's header wraps this. */
#define TN_SINGLE_(kind_, type_, id_)                                          \
    static const type_ tn_self;                                                \
    static const tn_component tn_components[] = {                              \
        TN_COMPONENT(kind_, #id_, tn_self)};                                   \
    TN_PLUGIN(#id_, tn_components);                                            \
    static const type_ tn_self

TN_END_DECLS
#endif
