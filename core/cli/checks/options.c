/*
 * options.c - options for a component that nobody has configured.
 *
 * Most options have a default. For one that is required, small numbers are
 * tried: enough for "heads" and the like. What cannot be guessed (a path) is
 * the user's to give, with --set.
 */
#include <math.h>
#include <string.h>

#include "cli/checks/checks.h"

static const double guesses[] = {2, 4, 1, 8, 16};

enum { GUESSES = sizeof guesses / sizeof guesses[0] };

static int is_given(const tni_subject *subject, const char *name)
{
    const size_t length = strlen(name);
    for (uint32_t i = 0; i < subject->set->count; i++)
        if (!strncmp(subject->set->at[i], name, length) &&
            subject->set->at[i][length] == '=')
            return 1;
    return 0;
}

static double guess(const tn_option *o, uint32_t attempt)
{
    if (!strcmp(o->name, "lr"))
        return 0.01;
    return fmin(fmax(guesses[attempt], o->min), o->max);
}

static const char *guessed_value(tni_arena *arena, const tn_option *o,
                                 uint32_t attempt)
{
    const char *text = "";
    switch (o->kind) {
    case TN_OPTION_KIND_BOOL:
        return "false";
    case TN_OPTION_KIND_ENUM:
        return tni_arena_printf(arena, "%.*s", (int)strcspn(o->text, "|"),
                                o->text);
    case TN_OPTION_KIND_INT:
    case TN_OPTION_KIND_FLOAT:
        return tni_arena_printf(arena, "%.17g", guess(o, attempt));
    case TN_OPTION_KIND_FLOATS:
        for (uint32_t i = 0; i < o->count; i++)
            text = tni_arena_printf(arena, "%s%s%.17g", text, i ? ", " : "",
                                    guess(o, attempt));
        return tni_arena_printf(arena, "[%s]", text);
    default:
        return NULL; /* the table's own message says that it is missing */
    }
}

const char *tni_subject_entries(const tni_subject *subject, uint32_t attempt)
{
    const tn_component_head *head = subject->component->vtable;
    tni_arena *arena = subject->arena;
    const char *text = "";
    uint32_t guessed = 0;
    for (uint32_t i = 0; i < subject->set->count; i++) {
        const char *entry = subject->set->at[i];
        const size_t name = strcspn(entry, "=");
        text = tni_arena_printf(arena, "%s, %.*s: %s", text, (int)name, entry,
                                entry[name] ? entry + name + 1 : "true");
    }
    for (uint32_t i = 0; i < head->options.count; i++) {
        const tn_option *o = &head->options.at[i];
        if (!(o->flags & TN_OPTION_REQUIRED) || is_given(subject, o->name))
            continue;
        const char *value = guessed_value(arena, o, attempt % GUESSES);
        if (value)
            text = tni_arena_printf(arena, "%s, %s: %s", text, o->name, value);
        guessed++;
    }
    return attempt == 0 || (guessed && attempt < GUESSES) ? text : NULL;
}

tn_status tni_subject_options(const tni_subject *subject, const void **options,
                              tn_error *err)
{
    const tn_component_head *head = subject->component->vtable;
    static const char *const reserved[] = {"plugin", NULL};
    const char *entries = tni_subject_entries(subject, 0);
    const char *text = tni_arena_printf(subject->arena, "{plugin: %s%s}",
                                        subject->component->name, entries);
    tni_yaml *node;
    void *filled = tni_arena_alloc(subject->arena, head->options.size + 1u);
    TN_TRY(tni_config_parse(subject->arena, "--set", text, strlen(text), &node,
                            err));
    TN_TRY(tni_options_fill(subject->arena, &head->options, node,
                            subject->component->name, reserved, ".", filled,
                            err));
    *options = filled;
    return TN_OK;
}
