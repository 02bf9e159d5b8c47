/*
 * check_plugin.c - `tenon check-plugin FILE`: does this plugin keep its word?
 *
 * The checks of each kind are tables in checks/. Every one runs in a child
 * process that opens the plugin first, so that one which crashes or hangs
 * fails one line; the parent never loads the plugin at all.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/checks/checks.h"
#include "cli/term.h"
#include "plugin/child.h"

enum { SECONDS = 120 };

static const tni_check_list *const lists[] = {
    [TN_KIND_BACKEND] = &tni_checks_backend,
    [TN_KIND_ARCH] = &tni_checks_arch,
    [TN_KIND_OPTIMIZER] = &tni_checks_optimizer,
    [TN_KIND_DATASET] = &tni_checks_dataset,
    [TN_KIND_TOKENIZER] = &tni_checks_tokenizer,
    [TN_KIND_SCHEDULE] = &tni_checks_schedule,
    [TN_KIND_COMMUNICATOR] = &tni_checks_communicator,
};

/* ---- one question to one child ---- */

typedef struct question {
    tni_cli *cli;
    const tn_host *host;
    const char *file;
    tni_flag_list set;
    const tni_check *check; /* NULL: list the components */
    uint32_t component;
} question;

static void list_components(int fd, const question *q, tni_registry *registry)
{
    const tn_component *list;
    const uint32_t count = tni_registry_components(registry, q->file, &list);
    for (uint32_t i = 0; i < count; i++)
        dprintf(fd, "%u %s\n", list[i].kind, list[i].name);
}

/* "ok", "skip" or "fail", then why. */
static void make_check(int fd, const question *q, tni_registry *registry)
{
    const tn_component *list;
    tn_error err = {0};
    tni_registry_components(registry, q->file, &list);
    const tni_subject subject = {.arena = q->cli->arena,
                                 .host = q->host,
                                 .registry = registry,
                                 .file = q->file,
                                 .component = &list[q->component],
                                 .set = &q->set,
                                 .with = q->check->with};
    const tn_status status = q->check->run(&subject, &err);
    const char *word = status == TN_OK               ? "ok"
                       : status == TNI_CHECK_SKIPPED ? "skip"
                                                     : "fail";
    dprintf(fd, "%s %s", word, status == TN_OK ? "" : err.message);
}

static void answer(int fd, void *argument)
{
    const question *q = argument;
    tn_error err = {0};
    tni_registry *registry = tni_registry_create(q->host);
    if (tni_registry_add_file(registry, q->file, &err) != TN_OK)
        dprintf(fd, "fail %s", err.message);
    else if (q->check)
        make_check(fd, q, registry);
    else
        list_components(fd, q, registry);
    tni_registry_destroy(registry);
}

/* ---- the report ---- */

typedef struct report {
    tni_arena *arena;
    uint32_t passed, failed, skipped;
} report;

static void print_line(report *r, const char *word, const char *name,
                       const char *why)
{
    const int bad = !strcmp(word, "fail"), good = !strcmp(word, "ok");
    const tni_style style = bad ? TNI_BAD : good ? TNI_GOOD : TNI_DIM;
    printf("  %s%-4s%s  %s\n", tni_style_on(stdout, style), word,
           tni_style_on(stdout, TNI_PLAIN), name);
    if (*why) {
        printf("        ");
        tni_print_wrapped(stdout, 8, why);
    }
    if (good)
        r->passed++;
    else if (bad)
        r->failed++;
    else
        r->skipped++;
}

static void run_check(report *r, question *q, const tni_check *check)
{
    const char *failure;
    q->check = check;
    char *text = tni_arena_strdup(
        r->arena, tni_child_run(r->arena, answer, q, SECONDS, &failure));
    char *why = strchr(text, ' ');
    if (failure || !why) {
        print_line(r, "fail", check->name, failure ? failure : "no answer");
        return;
    }
    *why++ = '\0';
    print_line(r, text, check->name, why);
}

static void run_list(report *r, question *q, const tni_check_list *list)
{
    for (uint32_t i = 0; list && i < list->count; i++)
        run_check(r, q, &list->at[i]);
}

/* Lines "kind name" from the first child. */
static void check_components(report *r, question *q, char *text)
{
    char *rest = NULL;
    char *line = strtok_r(text, "\n", &rest);
    for (uint32_t i = 0; line; line = strtok_r(NULL, "\n", &rest), i++) {
        char *name;
        const tn_kind kind = (tn_kind)strtoul(line, &name, 10);
        printf("\n%s%s%s%s\n", tni_style_on(stdout, TNI_BOLD),
               tni_kind_name(kind), name, tni_style_on(stdout, TNI_PLAIN));
        q->component = i;
        run_list(r, q, &tni_checks_any);
        run_list(r, q, lists[kind]);
    }
}

/* ---- the plugin as a whole ---- */

/* A host as a later Tenon will have it: a higher minor, a longer struct. */
typedef struct later_host {
    tn_host first;
    void *later[8];
} later_host;

/* Open the file under this host; its lines, or NULL after a failed line. */
static char *open_under(report *r, question *q, const tn_host *host,
                        const char *name)
{
    const char *failure;
    q->host = host;
    q->check = NULL;
    char *text = tni_arena_strdup(
        r->arena, tni_child_run(r->arena, answer, q, SECONDS, &failure));
    const int refused = !strncmp(text, "fail ", 5);
    if (failure || refused) {
        print_line(r, "fail", name, failure ? failure : text + 5);
        return NULL;
    }
    print_line(r, "ok", name, "");
    return text;
}

static void check_file(report *r, question *q)
{
    later_host later = {.first = *q->cli->host};
    later.first.struct_size = (uint32_t)sizeof later;
    later.first.abi_minor += 50;
    printf("%s%s%s\n", tni_style_on(stdout, TNI_BOLD), q->file,
           tni_style_on(stdout, TNI_PLAIN));
    char *components =
        open_under(r, q, q->cli->host, "opens and starts under this Tenon");
    if (!components)
        return;
    open_under(r, q, &later.first, "opens and starts under a later Tenon");
    q->host = q->cli->host;
    check_components(r, q, components);
}

static int run(tni_cli *cli, int argc, char **argv)
{
    question q = {.cli = cli};
    report r = {.arena = cli->arena};
    int rest;
    const tni_flag flags[] = {
        {.name = "set",
         .kind = TNI_FLAG_LIST,
         .to = &q.set,
         .value = "NAME=VALUE",
         .help = "an option of the component"},
    };
    const int stop = tni_cli_parse(cli, &tni_command_check_plugin, flags, 1,
                                   argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest != 1)
        return tni_cli_misuse(&tni_command_check_plugin, "wants one FILE");
    q.file = argv[0];
    check_file(&r, &q);
    printf("\n%u passed, %u failed, %u skipped\n", r.passed, r.failed,
           r.skipped);
    return r.failed ? TNI_EXIT_FAILED : TNI_EXIT_OK;
}

const tni_command tni_command_check_plugin = {
    .name = "check-plugin",
    .summary = "run the conformance checks on a plugin file",
    .usage = "FILE [--set NAME=VALUE]...\n\n"
             "  An architecture must let gradient reach every weight, be "
             "causal, and decode\n  what it computes; an optimizer and a "
             "dataset must resume exactly; a backend\n  must agree with the "
             "oracle. Required options are guessed, or given with --set.",
    .run = run,
};
