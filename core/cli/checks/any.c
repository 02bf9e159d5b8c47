/*
 * any.c - what is asked of every component, whatever its kind.
 */
#include <string.h>

#include "cli/checks/checks.h"

static tn_status check_summary(const tni_subject *s, tn_error *err)
{
    const tn_component_head *head = s->component->vtable;
    const size_t length = strlen(head->summary);
    if (!length)
        return tn_fail(err, TN_EINVALID, "it has no .summary");
    if (strchr(head->summary, '\n') || length > 120)
        return tn_fail(err, TN_EINVALID,
                       "the summary is to be one line of at most 120 "
                       "characters; it has %zu",
                       length);
    if (head->summary[length - 1] == '.')
        return tn_fail(err, TN_EINVALID,
                       "the summary ends in a full stop: "
                       "\"%s\"",
                       head->summary);
    return TN_OK;
}

/* The loader has checked offsets, kinds and defaults already. */
static tn_status check_options(const tni_subject *s, tn_error *err)
{
    const tn_option_table *options =
        &((const tn_component_head *)s->component->vtable)->options;
    for (uint32_t i = 0; i < options->count; i++) {
        const tn_option *o = &options->at[i];
        if (!o->help[0])
            return tn_fail(err, TN_EINVALID, "option %s has no help", o->name);
        if (o->min > o->max)
            return tn_fail(err, TN_EINVALID,
                           "option %s allows nothing: its range is [%g, %g]",
                           o->name, o->min, o->max);
    }
    return TN_OK;
}

/* Two members that share bytes overwrite each other. */
static tn_status check_overlap(const tni_subject *s, tn_error *err)
{
    const tn_option_table *options =
        &((const tn_component_head *)s->component->vtable)->options;
    for (uint32_t i = 0; i < options->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (options->at[i].offset == options->at[j].offset)
                return tn_fail(err, TN_EINVALID,
                               "options %s and %s lie in the same member",
                               options->at[j].name, options->at[i].name);
    return TN_OK;
}

static const tni_check checks[] = {
    {"says in one line what it is", check_summary, NULL},
    {"explains every option", check_options, NULL},
    {"keeps each option in a member of its own", check_overlap, NULL},
};

const tni_check_list tni_checks_any = TNI_CHECK_LIST(checks);
