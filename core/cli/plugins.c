/*
 * plugins.c - `tenon plugins`: what there is, what it takes, and what is the
 * matter with the rest.
 */
#include <jansson.h>
#include <string.h>

#include <tenon/communicator.h>

#include "cli/command.h"
#include "cli/json.h"
#include "cli/term.h"
#include "config/config.h"

/* ---- the list, as JSON ---- */

/* "arch transformer" as {kind, name, summary}. */
static json_t *component_json(const char *text, const char *summary)
{
    const size_t kind = strcspn(text, " ");
    json_t *object = json_object();
    json_object_set_new(object, "kind", json_stringn(text, kind));
    tni_json_text(object, "name", text + kind + 1);
    tni_json_text(object, "summary", summary);
    return object;
}

static json_t *candidate_json(const tni_candidate *c)
{
    json_t *object = json_object(), *components = json_array();
    tni_json_text(object, "path", c->path);
    tni_json_text(object, "state", c->state);
    tni_json_text(object, "reason", c->reason);
    tni_json_text(object, "name", c->name);
    tni_json_text(object, "version", c->version);
    json_object_set_new(object, "abi_minor_built",
                        json_integer(c->abi_minor_built));
    json_object_set_new(object, "abi_minor_required",
                        json_integer(c->abi_minor_required));
    for (uint32_t i = 0; i < c->component_count; i++)
        json_array_append_new(components,
                              component_json(c->component[i], c->summary[i]));
    json_object_set_new(object, "components", components);
    return object;
}

static int list_json(tni_cli *cli)
{
    const tni_candidate *candidates;
    const char *const *folders;
    json_t *root = json_object(), *list = json_array(), *dirs = json_array();
    const uint32_t count =
        tni_registry_list(cli->registry, cli->arena, &candidates);
    const uint32_t folder_count = tni_registry_folders(cli->registry, &folders);
    for (uint32_t i = 0; i < folder_count; i++)
        json_array_append_new(dirs, json_string(folders[i]));
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, candidate_json(&candidates[i]));
    json_object_set_new(root, "abi_major", json_integer(TN_ABI_MAJOR));
    json_object_set_new(root, "abi_minor", json_integer(TN_ABI_MINOR));
    tni_json_text(root, "abi_tag", TN_ABI_TAG);
    json_object_set_new(root, "folders", dirs);
    json_object_set_new(root, "plugins", list);
    return tni_json_print(root);
}

/* ---- the list, for people ---- */

static int is_usable(const tni_candidate *c)
{
    return !strcmp(c->state, "loaded") || !strcmp(c->state, "available");
}

static void add_usable(tni_table *table, const tni_candidate *c, tn_kind kind)
{
    for (uint32_t i = 0; i < c->component_count; i++) {
        const char *name = strchr(c->component[i], ' ') + 1;
        const size_t word = (size_t)(name - c->component[i]) - 1;
        const char *want = tni_kind_name(kind);
        if (strlen(want) != word || strncmp(want, c->component[i], word))
            continue;
        tni_table_add(table, want);
        tni_table_add(table, name);
        tni_table_add(table, c->version);
        tni_table_add(table, c->state);
        tni_table_add(table, c->summary[i]);
    }
}

static void print_usable(tni_cli *cli, const tni_candidate *candidates,
                         uint32_t count)
{
    tni_table table = {.arena = cli->arena, .columns = 5, .headed = 1};
    tni_table_add(&table, "KIND");
    tni_table_add(&table, "NAME");
    tni_table_add(&table, "VERSION");
    tni_table_add(&table, "STATE");
    tni_table_add(&table, "SUMMARY");
    for (tn_kind kind = TN_KIND_BACKEND; kind <= TN_KIND_COMMUNICATOR; kind++)
        for (uint32_t i = 0; i < count; i++)
            if (is_usable(&candidates[i]))
                add_usable(&table, &candidates[i], kind);
    tni_table_print(&table, stdout);
}

static void print_rest(const tni_candidate *candidates, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const tni_candidate *c = &candidates[i];
        if (is_usable(c))
            continue;
        const int bad = strcmp(c->state, "shadowed") != 0;
        printf("\n%s%s%s %s\n  ", tni_style_on(stdout, bad ? TNI_BAD : TNI_DIM),
               c->state, tni_style_on(stdout, TNI_PLAIN), c->path);
        tni_print_wrapped(stdout, 2, c->reason ? c->reason : "no reason given");
    }
}

static int list_text(tni_cli *cli)
{
    const tni_candidate *candidates;
    const char *const *folders;
    const uint32_t count =
        tni_registry_list(cli->registry, cli->arena, &candidates);
    const uint32_t folder_count = tni_registry_folders(cli->registry, &folders);
    print_usable(cli, candidates, count);
    print_rest(candidates, count);
    printf("\nSearched, in this order:\n");
    for (uint32_t i = 0; i < folder_count; i++)
        printf("  %s\n", folders[i]);
    return TNI_EXIT_OK;
}

/* ---- one component ---- */

static const char *option_type(const tn_option *o)
{
    static const char *const words[] = {[TN_OPTION_KIND_BOOL] = "bool",
                                        [TN_OPTION_KIND_INT] = "int",
                                        [TN_OPTION_KIND_FLOAT] = "float",
                                        [TN_OPTION_KIND_STRING] = "string",
                                        [TN_OPTION_KIND_ENUM] = "one of",
                                        [TN_OPTION_KIND_FLOATS] = "floats",
                                        [TN_OPTION_KIND_STRINGS] = "strings",
                                        [TN_OPTION_KIND_PATH] = "path",
                                        [TN_OPTION_KIND_PATHS] = "paths"};
    return words[o->kind];
}

static int is_number(const tn_option *o)
{
    return o->kind == TN_OPTION_KIND_INT || o->kind == TN_OPTION_KIND_FLOAT ||
           o->kind == TN_OPTION_KIND_FLOATS;
}

/* The name number `index` of "a|b|c". */
static const char *enum_name(tni_arena *arena, const char *names,
                             uint32_t index)
{
    while (index--)
        names += strcspn(names, "|") + 1;
    return tni_arena_printf(arena, "%.*s", (int)strcspn(names, "|"), names);
}

static const char *option_default(tni_arena *arena, const tn_option *o)
{
    if (o->flags & TN_OPTION_REQUIRED)
        return "required";
    switch (o->kind) {
    case TN_OPTION_KIND_BOOL:
        return o->fallback != 0.0 ? "true" : "false";
    case TN_OPTION_KIND_INT:
    case TN_OPTION_KIND_FLOAT:
        return tni_arena_printf(arena, "%.12g", o->fallback);
    case TN_OPTION_KIND_ENUM:
        return enum_name(arena, o->text, (uint32_t)o->fallback);
    case TN_OPTION_KIND_FLOATS:
        return tni_arena_printf(arena, "[%s]", o->text);
    default:
        return o->text ? o->text : "none";
    }
}

static const char *option_range(tni_arena *arena, const tn_option *o)
{
    if (o->kind == TN_OPTION_KIND_ENUM)
        return o->text;
    if (!is_number(o) || (o->min <= -9e18 && o->max >= 9e18))
        return "";
    if (o->max >= 9e18)
        return tni_arena_printf(arena, ">= %.12g", o->min);
    if (o->min <= -9e18)
        return tni_arena_printf(arena, "<= %.12g", o->max);
    return tni_arena_printf(arena, "%.12g to %.12g", o->min, o->max);
}

static void print_options(tni_cli *cli, const tn_option_table *options)
{
    tni_table table = {.arena = cli->arena, .columns = 5, .headed = 1};
    tni_table_add(&table, "  OPTION");
    tni_table_add(&table, "TYPE");
    tni_table_add(&table, "DEFAULT");
    tni_table_add(&table, "RANGE");
    tni_table_add(&table, "MEANING");
    for (uint32_t i = 0; i < options->count; i++) {
        const tn_option *o = &options->at[i];
        tni_table_addf(&table, "  %s", o->name);
        tni_table_add(&table, option_type(o));
        tni_table_add(&table, option_default(cli->arena, o));
        tni_table_add(&table, option_range(cli->arena, o));
        tni_table_add(&table, o->help);
    }
    if (options->count)
        tni_table_print(&table, stdout);
    else
        printf("  takes no options\n");
}

/* The plugin whose list of components this one is in. */
static const tni_opened *origin_of(tni_cli *cli, const tn_component *component)
{
    const tni_opened *opened;
    const uint32_t count =
        tni_registry_opened(cli->registry, cli->arena, &opened);
    for (uint32_t i = 0; i < count; i++) {
        const tn_component *list;
        const uint32_t n =
            tni_registry_components(cli->registry, opened[i].path, &list);
        if (n && component >= list && component < list + n)
            return &opened[i];
    }
    return NULL;
}

/* What a communicator finds of its engine on this machine; NULL for others. */
static const char *engine_of(tni_cli *cli, const tn_component *component)
{
    const tn_communicator *c = component->vtable;
    char note[512] = "";
    tn_error err = {0};
    if (component->kind != TN_KIND_COMMUNICATOR)
        return NULL;
    if (c->probe(cli->host, note, sizeof note, &err) != TN_OK)
        return tni_arena_printf(cli->arena, "it cannot run: %s", err.message);
    return tni_arena_strdup(cli->arena, note);
}

static void show_text(tni_cli *cli, const tn_component *component)
{
    const tn_component_head *head = component->vtable;
    const tni_opened *origin = origin_of(cli, component);
    const char *engine = engine_of(cli, component);
    printf("%s%s %s%s: %s\n", tni_style_on(stdout, TNI_BOLD),
           tni_kind_name(component->kind), component->name,
           tni_style_on(stdout, TNI_PLAIN), head->summary);
    if (origin) {
        const char *sha256 = tni_registry_sha256(cli->registry, origin);
        printf("  version %s, %s\n  sha256 %s\n", origin->version, origin->path,
               sha256 ? sha256 : "unknown: the file cannot be read");
    }
    if (engine)
        printf("  here: %s\n", engine);
    printf("\n");
    print_options(cli, &head->options);
}

static json_t *option_json(tni_arena *arena, const tn_option *o)
{
    json_t *object = json_object();
    tni_json_text(object, "name", o->name);
    tni_json_text(object, "type",
                  o->kind == TN_OPTION_KIND_ENUM ? "enum" : option_type(o));
    json_object_set_new(object, "required",
                        json_boolean(o->flags & TN_OPTION_REQUIRED));
    if (!(o->flags & TN_OPTION_REQUIRED))
        tni_json_text(object, "default", option_default(arena, o));
    if (o->kind == TN_OPTION_KIND_ENUM)
        tni_json_text(object, "names", o->text);
    if (is_number(o)) {
        tni_json_number(object, "min", o->min);
        tni_json_number(object, "max", o->max);
    }
    tni_json_text(object, "help", o->help);
    return object;
}

static json_t *show_json(tni_cli *cli, const tn_component *component)
{
    const tn_component_head *head = component->vtable;
    const tni_opened *origin = origin_of(cli, component);
    json_t *object = json_object(), *options = json_array();
    tni_json_text(object, "kind", tni_kind_name(component->kind));
    tni_json_text(object, "name", component->name);
    tni_json_text(object, "summary", head->summary);
    tni_json_text(object, "version", origin ? origin->version : NULL);
    tni_json_text(object, "path", origin ? origin->path : NULL);
    tni_json_text(object, "sha256",
                  origin ? tni_registry_sha256(cli->registry, origin) : NULL);
    if (component->kind == TN_KIND_COMMUNICATOR)
        tni_json_text(object, "here", engine_of(cli, component));
    for (uint32_t i = 0; i < head->options.count; i++)
        json_array_append_new(options,
                              option_json(cli->arena, &head->options.at[i]));
    json_object_set_new(object, "options", options);
    return object;
}

/* No component of any kind has that name: is there a near one? */
static int show_unknown(tni_cli *cli, const char *name)
{
    const tni_candidate *candidates;
    const char **names = NULL;
    size_t count = 0, capacity = 0;
    tn_error err = {0};
    const uint32_t n =
        tni_registry_list(cli->registry, cli->arena, &candidates);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < candidates[i].component_count; j++)
            *TNI_PUSH(cli->arena, names, count, capacity) =
                strchr(candidates[i].component[j], ' ') + 1;
    const char *near = tni_nearest(name, names, count);
    tn_fail(
        &err, TN_ENOTFOUND,
        "no plugin is named '%s'%s%s%s (`tenon plugins` lists what there is)",
        name, near ? "; did you mean '" : "", near ? near : "",
        near ? "'?" : "");
    return tni_cli_fail(&err);
}

static int show(tni_cli *cli, const char *name, int json)
{
    json_t *list = json_array();
    uint32_t found = 0;
    for (tn_kind kind = TN_KIND_BACKEND; kind <= TN_KIND_COMMUNICATOR; kind++) {
        const tn_component *component;
        tn_error err = {0};
        const tn_status status =
            tni_registry_find(cli->registry, kind, name, &component, &err);
        if (status == TN_ENOTFOUND)
            continue;
        if (status != TN_OK) {
            json_decref(list);
            return tni_cli_fail(&err);
        }
        if (json)
            json_array_append_new(list, show_json(cli, component));
        else
            show_text(cli, component);
        found++;
    }
    if (found && json)
        return tni_json_print(list);
    json_decref(list);
    return found ? TNI_EXIT_OK : show_unknown(cli, name);
}

static int run(tni_cli *cli, int argc, char **argv)
{
    int32_t json = 0;
    int rest;
    const tni_flag flags[] = {
        {.name = "json",
         .kind = TNI_FLAG_SWITCH,
         .to = &json,
         .help = "print JSON"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_plugins, flags, 1, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest == 0)
        return json ? list_json(cli) : list_text(cli);
    if (rest == 2 && !strcmp(argv[0], "show"))
        return show(cli, argv[1], json);
    return tni_cli_misuse(&tni_command_plugins,
                          "there is only `plugins` and `plugins show NAME`");
}

const tni_command tni_command_plugins = {
    .name = "plugins",
    .summary = "list the plugins there are, or show one and its options",
    .usage = "[show NAME] [--json]\n\n"
             "  Every plugin file found is listed: what it offers, whether it "
             "is loaded, or\n  why it was refused. Files are opened in a child "
             "process, so one that crashes\n  is one line.",
    .run = run,
};
