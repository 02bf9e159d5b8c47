/*
 * flags.c - a command's flags from a table, and its help from the same one.
 */
#include "cli/command.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "config/config.h"

int tni_cli_fail(const tn_error *err)
{
    fprintf(stderr, "tenon: %s\n", err->message);
    return err->status == TN_EINTERRUPTED ? TNI_EXIT_INTERRUPTED
                                          : TNI_EXIT_FAILED;
}

int tni_cli_misuse(const tni_command *command, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "tenon %s: ", command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n`tenon %s --help` shows how to use it\n", command->name);
    return TNI_EXIT_USAGE;
}

/* ---- help ---- */

static const char *value_word(const tni_flag *flag)
{
    if (flag->value)
        return flag->value;
    switch (flag->kind) {
    case TNI_FLAG_INT:
        return "N";
    case TNI_FLAG_FLOAT:
        return "X";
    case TNI_FLAG_SWITCH:
        return "";
    default:
        return "TEXT";
    }
}

static const char *spelled(tni_arena *arena, const tni_flag *flag)
{
    const char *letter =
        flag->letter ? tni_arena_printf(arena, "-%c, ", flag->letter) : "    ";
    const char *value = value_word(flag);
    return tni_arena_printf(arena, "  %s--%s%s%s", letter, flag->name,
                            *value ? " " : "", value);
}

static void print_help(tni_cli *cli, const tni_command *command,
                       const tni_flag *flags, uint32_t count)
{
    const char *bold = tni_style_on(stdout, TNI_BOLD);
    const char *plain = tni_style_on(stdout, TNI_PLAIN);
    tni_table table = {.arena = cli->arena, .columns = 2};
    printf("%stenon %s%s: %s\n\n%sUsage%s\n  tenon %s %s\n", bold,
           command->name, plain, command->summary, bold, plain, command->name,
           command->usage);
    printf("\n%sFlags%s\n", bold, plain);
    for (uint32_t i = 0; i < count; i++) {
        tni_table_add(&table, spelled(cli->arena, &flags[i]));
        tni_table_add(&table,
                      flags[i].kind == TNI_FLAG_LIST
                          ? tni_arena_printf(cli->arena, "%s; may be repeated",
                                             flags[i].help)
                          : flags[i].help);
    }
    tni_table_add(&table, "      --plugin FILE");
    tni_table_add(&table, "open this plugin first; may be repeated");
    tni_table_add(&table, "  -h, --help");
    tni_table_add(&table, "this text");
    tni_table_print(&table, stdout);
}

/* ---- parsing ---- */

typedef struct parse {
    tni_cli *cli;
    const tni_command *command;
    const tni_flag *flags;
    uint32_t flag_count;
    int argc, at;
    char **argv;
} parse;

static int unknown_flag(const parse *p, const char *word, size_t bytes)
{
    const char **names = NULL;
    size_t count = 0, capacity = 0;
    for (uint32_t i = 0; i < p->flag_count; i++)
        *TNI_PUSH(p->cli->arena, names, count, capacity) = p->flags[i].name;
    const char *name =
        tni_arena_printf(p->cli->arena, "%.*s", (int)bytes, word);
    const char *bare = name + strspn(name, "-");
    const char *near = tni_nearest(bare, names, count);
    if (near)
        return tni_cli_misuse(
            p->command, "there is no flag %s; did you mean --%s?", name, near);
    return tni_cli_misuse(p->command, "there is no flag %s", name);
}

/* The flag that `word` spells: "-f", "--max-steps", "--max-steps=5". */
static const tni_flag *flag_of(const parse *p, const char *word, size_t bytes)
{
    for (uint32_t i = 0; i < p->flag_count; i++) {
        const tni_flag *flag = &p->flags[i];
        if (bytes == 2 && flag->letter && word[1] == flag->letter)
            return flag;
        if (bytes > 2 && strlen(flag->name) == bytes - 2 &&
            !strncmp(word, "--", 2) &&
            !strncmp(word + 2, flag->name, bytes - 2))
            return flag;
    }
    return NULL;
}

static int set_int(const parse *p, const tni_flag *flag, const char *text)
{
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return tni_cli_misuse(p->command, "--%s wants an integer, not '%s'",
                              flag->name, text);
    *(int64_t *)flag->to = value;
    return 0;
}

static int set_float(const parse *p, const tni_flag *flag, const char *text)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return tni_cli_misuse(p->command, "--%s wants a number, not '%s'",
                              flag->name, text);
    *(double *)flag->to = value;
    return 0;
}

static void add_to_list(const parse *p, tni_flag_list *list, const char *text)
{
    /* Lists are a handful of words: each addition moves them all. */
    const char **longer =
        tni_arena_alloc(p->cli->arena, (list->count + 1) * sizeof *longer);
    for (uint32_t i = 0; i < list->count; i++)
        longer[i] = list->at[i];
    longer[list->count++] = text;
    list->at = longer;
}

static int set_value(const parse *p, const tni_flag *flag, const char *text)
{
    if (flag->given)
        *flag->given = 1;
    switch (flag->kind) {
    case TNI_FLAG_INT:
        return set_int(p, flag, text);
    case TNI_FLAG_FLOAT:
        return set_float(p, flag, text);
    case TNI_FLAG_LIST:
        add_to_list(p, flag->to, text);
        return 0;
    default:
        *(const char **)flag->to = text;
        return 0;
    }
}

static int set_switch(const parse *p, const tni_flag *flag, const char *value)
{
    if (value)
        return tni_cli_misuse(p->command, "--%s takes no value, but got '%s'",
                              flag->name, value);
    *(int32_t *)flag->to = 1;
    if (flag->given)
        *flag->given = 1;
    return 0;
}

/* One flag, and its value where that is the next argument. */
static int parse_flag(parse *p)
{
    const char *word = p->argv[p->at];
    const char *equals = strchr(word, '=');
    const size_t bytes = equals ? (size_t)(equals - word) : strlen(word);
    const tni_flag *flag = flag_of(p, word, bytes);
    if (!flag)
        return unknown_flag(p, word, bytes);
    if (flag->kind == TNI_FLAG_SWITCH)
        return set_switch(p, flag, equals ? equals + 1 : NULL);
    if (equals)
        return set_value(p, flag, equals + 1);
    if (p->at + 1 >= p->argc)
        return tni_cli_misuse(p->command, "--%s wants a value (%s)", flag->name,
                              value_word(flag));
    return set_value(p, flag, p->argv[++p->at]);
}

/* "-" and "-3" are arguments, not flags. */
static int is_flag(const char *word)
{
    return word[0] == '-' && word[1] && !strchr("0123456789.", word[1]);
}

int tni_cli_parse(tni_cli *cli, const tni_command *command,
                  const tni_flag *flags, uint32_t flag_count, int argc,
                  char **argv, int *rest)
{
    parse p = {.cli = cli,
               .command = command,
               .flags = flags,
               .flag_count = flag_count,
               .argc = argc,
               .argv = argv};
    int only_arguments = 0;
    *rest = 0;
    for (; p.at < argc; p.at++) {
        const char *word = argv[p.at];
        if (only_arguments || !is_flag(word)) {
            argv[(*rest)++] = argv[p.at];
        } else if (!strcmp(word, "--")) {
            only_arguments = 1;
        } else if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            print_help(cli, command, flags, flag_count);
            return -1;
        } else {
            const int status = parse_flag(&p);
            if (status)
                return status;
        }
    }
    return 0;
}
