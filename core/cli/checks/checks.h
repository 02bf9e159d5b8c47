/*
 * checks.h - what `tenon check-plugin` asks of a component, by kind.
 *
 * A check is a sentence and a function. It runs in a child process of its own,
 * in which the plugin has just been opened: a crash is that check's failure and
 * the next one starts afresh.
 */
#ifndef TENON_CHECKS_H
#define TENON_CHECKS_H

#include "cli/command.h"
#include "config/config.h"

typedef struct tni_subject {
    tni_arena *arena;
    const tn_host *host;
    tni_registry *registry;
    const char *file;
    const tn_component *component;
    const tni_flag_list *set; /* "name=value": options the user gives */
    const void *with;         /* the check's own */
} tni_subject;

/* What a check returns when it cannot be made here; err says why. */
enum { TNI_CHECK_SKIPPED = 1000 };

typedef struct tni_check {
    const char *name; /* what is true when it passes */
    tn_status (*run)(const tni_subject *subject, tn_error *err);
    const void *with; /* where several checks share a function */
} tni_check;

typedef struct tni_check_list {
    const tni_check *at;
    uint32_t count;
} tni_check_list;

#define TNI_CHECK_LIST(checks_)                                                \
    {                                                                          \
        (checks_), (uint32_t)(sizeof(checks_) / sizeof((checks_)[0]))          \
    }

extern const tni_check_list tni_checks_any;
extern const tni_check_list tni_checks_arch;
extern const tni_check_list tni_checks_backend;
extern const tni_check_list tni_checks_communicator;
extern const tni_check_list tni_checks_dataset;
extern const tni_check_list tni_checks_optimizer;
extern const tni_check_list tni_checks_schedule;
extern const tni_check_list tni_checks_tokenizer;

/* ---- options.c ---- */

/*
 * The component's options as YAML entries, ", heads: 2, path: x": those of
 * --set, and for required ones that are not given a guess. `attempt` counts
 * from 0; NULL after the last guess there is.
 */
const char *tni_subject_entries(const tni_subject *subject, uint32_t attempt);

/* A filled options struct of the component, from the first guess that its
 * table accepts. */
tn_status tni_subject_options(const tni_subject *subject, const void **options,
                              tn_error *err);

#endif
