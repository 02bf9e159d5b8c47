/*
 * new.c - `tenon new KIND NAME`: a working plugin to change into one's own.
 *
 * Templates are real files: Tenon's own build compiles and checks them, under
 * the name `template`. A new plugin is a copy in which that word, in names and
 * in texts, is NAME.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/term.h"
#include "config/config.h"

#define PLACEHOLDER "template"

enum { MAX_BYTES = 1 << 20 };

typedef struct job {
    tni_arena *arena;
    const char *kind, *name;
    const char *from, *to; /* folders */
    const char **written;
    size_t count, capacity;
} job;

/* C identifiers are made of it. */
static int is_identifier(const char *name)
{
    return name[0] >= 'a' && name[0] <= 'z' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static const char *substitute(tni_arena *arena, const char *text,
                              const char *name)
{
    char *out = NULL;
    size_t count = 0, capacity = 0;
    while (*text) {
        if (strncmp(text, PLACEHOLDER, sizeof PLACEHOLDER - 1)) {
            *TNI_PUSH(arena, out, count, capacity) = *text++;
            continue;
        }
        for (const char *c = name; *c; c++)
            *TNI_PUSH(arena, out, count, capacity) = *c;
        text += sizeof PLACEHOLDER - 1;
    }
    *TNI_PUSH(arena, out, count, capacity) = '\0';
    return out;
}

static tn_status copy_file(job *j, const char *file, tn_error *err)
{
    char *text;
    TN_TRY(tni_file_read(j->arena, tni_path_join(j->arena, j->from, file),
                         MAX_BYTES, &text, NULL, err));
    const char *to =
        tni_path_join(j->arena, j->to, substitute(j->arena, file, j->name));
    const char *filled = substitute(j->arena, text, j->name);
    TN_TRY(tni_file_replace(to, filled, strlen(filled), err));
    *TNI_PUSH(j->arena, j->written, j->count, j->capacity) = to;
    return TN_OK;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static tn_status copy_folder(job *j, tn_error *err)
{
    struct dirent **entries;
    tn_status status = TN_OK;
    const int count = scandir(j->from, &entries, is_visible, alphasort);
    if (count < 0)
        return tn_fail(err, TN_ENOTFOUND, "%s cannot be read", j->from);
    for (int i = 0; i < count; i++) {
        if (status == TN_OK)
            status = copy_file(j, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* share/tenon/templates as it lies from the library, installed or not. */
static tn_status find_templates(tni_arena *arena, const char **folder,
                                tn_error *err)
{
    static const char *const from_library[] = {TENON_TEMPLATES,
                                               "../share/tenon/templates"};
    const char *library = tni_library_folder(arena);
    for (size_t i = 0; library && i < 2; i++) {
        *folder = tni_path_join(arena, library, from_library[i]);
        if (tni_path_is_folder(*folder))
            return TN_OK;
    }
    return tn_fail(err, TN_ENOTFOUND,
                   "the templates are not installed: there is no %s beside %s",
                   from_library[0], library ? library : "the library");
}

static tn_status find_kind(job *j, const char *templates, tn_error *err)
{
    struct dirent **entries;
    const char *kinds[16];
    const char *list = "";
    int known = 0, count = scandir(templates, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        if (known < 16)
            kinds[known++] = tni_arena_strdup(j->arena, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    for (int i = 0; i < known; i++) {
        if (!strcmp(kinds[i], j->kind)) {
            j->from = tni_path_join(j->arena, templates, j->kind);
            return TN_OK;
        }
        list =
            tni_arena_printf(j->arena, "%s%s%s", list, i ? ", " : "", kinds[i]);
    }
    const char *near = tni_nearest(j->kind, kinds, (size_t)known);
    return tn_fail(err, TN_ENOTFOUND,
                   "there is no template for a plugin of kind '%s'%s%s%s there "
                   "are: %s",
                   j->kind, near ? "; did you mean '" : ";", near ? near : "",
                   near ? "'?" : "", list);
}

static tn_status write_plugin(job *j, tn_error *err)
{
    const char *templates = NULL;
    if (!is_identifier(j->name))
        return tn_fail(err, TN_EINVALID,
                       "'%s' cannot be the name of a new plugin: it becomes "
                       "part of C names, [a-z][a-z0-9_]*",
                       j->name);
    TN_TRY(find_templates(j->arena, &templates, err));
    TN_TRY(find_kind(j, templates, err));
    if (tni_path_exists(j->to))
        return tn_fail(err, TN_EINVALID,
                       "%s is already there; choose another folder with -o",
                       j->to);
    TN_TRY(tni_folder_make(j->to, err));
    return copy_folder(j, err);
}

static void print_next(const job *j)
{
    const char *plugin = tni_arena_printf(j->arena, "%s/build/tenon-%s-%s.so",
                                          j->to, j->kind, j->name);
    const char *config =
        tni_arena_printf(j->arena, "%s/%s.yaml", j->to, j->name);
    for (size_t i = 0; i < j->count; i++)
        printf("wrote  %s\n", j->written[i]);
    printf("\nbuild  cmake -S %s -B %s/build && cmake --build %s/build\n",
           j->to, j->to, j->to);
    printf("check  tenon check-plugin %s\n", plugin);
    if (tni_path_exists(config))
        printf("train  tenon train -f %s --plugin %s\n", config, plugin);
}

static int run(tni_cli *cli, int argc, char **argv)
{
    const char *folder = NULL;
    int rest;
    const tni_flag flags[] = {
        {.name = "output",
         .letter = 'o',
         .kind = TNI_FLAG_STRING,
         .to = &folder,
         .value = "DIR",
         .help = "the folder to make; NAME if not given"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_new, flags, 1, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest != 2)
        return tni_cli_misuse(&tni_command_new, "wants a KIND and a NAME");
    job j = {.arena = cli->arena,
             .kind = argv[0],
             .name = argv[1],
             .to = folder ? folder : argv[1]};
    tn_error err = {0};
    if (write_plugin(&j, &err) != TN_OK)
        return tni_cli_fail(&err);
    print_next(&j);
    return TNI_EXIT_OK;
}

const tni_command tni_command_new = {
    .name = "new",
    .summary = "write a working plugin to start from",
    .usage = "KIND NAME [-o DIR]\n\n"
             "  KIND is arch, optimizer, dataset, schedule or backend. The "
             "folder holds the\n  source, a CMake file with tests, and a "
             "config that uses it. Nothing of Tenon's\n  source is needed: "
             "the plugin builds from the installed headers.",
    .run = run,
};
