/*
 * main.c - `tenon`: what every command shares, then one of them.
 *
 *     tenon [--plugin FILE]... COMMAND [arguments and flags]
 *
 * --plugin may also stand among a command's own flags. TENON_LOG says how much
 * is told on stderr, by this program and by those it starts.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/term.h"
#include "config/config.h"
#include "plugin/host.h"

static const tni_command *const commands[] = {
#define COMMAND(name) &tni_command_##name,
#include "cli/commands.def"
#undef COMMAND
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_help(tni_arena *arena, FILE *to)
{
    const char *bold = tni_style_on(to, TNI_BOLD);
    const char *plain = tni_style_on(to, TNI_PLAIN);
    tni_table table = {.arena = arena, .columns = 2};
    fprintf(to,
            "%sTenon%s trains and runs language models. A small core loads "
            "plugins for\nhardware, architectures, optimizers and data, and "
            "wires them from one YAML file.\n\n%sUsage%s\n  tenon [--plugin "
            "FILE]... COMMAND [arguments]\n\n%sCommands%s\n",
            bold, plain, bold, plain, bold, plain);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        tni_table_add(&table,
                      tni_arena_printf(arena, "  %s", commands[i]->name));
        tni_table_add(&table, commands[i]->summary);
    }
    tni_table_print(&table, to);
    fprintf(to,
            "\n`tenon COMMAND --help` tells more; `tenon --version` which "
            "Tenon this is.\nTENON_LOG=debug in the environment lets it tell "
            "what it chose; warning and error,\nless than usual.\n");
}

/* From the environment, as NO_COLOR is. */
static int choose_log_level(void)
{
    static const char *const names[] = {
        [TN_LOG_DEBUG] = "debug",
        [TN_LOG_INFO] = "info",
        [TN_LOG_WARNING] = "warning",
        [TN_LOG_ERROR] = "error",
    };
    const char *wanted = getenv("TENON_LOG");
    if (!wanted || !wanted[0])
        return 0;
    for (int32_t i = TN_LOG_DEBUG; i <= TN_LOG_ERROR; i++)
        if (!strcmp(wanted, names[i])) {
            tni_log_set_level(i);
            return 0;
        }
    fprintf(stderr,
            "tenon: TENON_LOG is '%s'; it takes debug, info, warning or "
            "error\n",
            wanted);
    return TNI_EXIT_USAGE;
}

static const tni_command *command_of(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i]->name;
    const char *near = tni_nearest(name, names, COMMAND_COUNT);
    if (near)
        fprintf(stderr, "tenon: there is no command '%s'; did you mean '%s'?\n",
                name, near);
    else
        fprintf(stderr, "tenon: there is no command '%s'\n", name);
    fprintf(stderr, "`tenon --help` lists the commands\n");
    return TNI_EXIT_USAGE;
}

/* Take every --plugin FILE out of argv, in order, into files. */
static int take_plugins(int *argc, char **argv, const char **files,
                        int *file_count)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        if (!strcmp(argv[i], "--")) {
            while (i < *argc)
                argv[kept++] = argv[i++];
        } else if (!strncmp(argv[i], "--plugin=", 9)) {
            files[(*file_count)++] = argv[i] + 9;
        } else if (strcmp(argv[i], "--plugin")) {
            argv[kept++] = argv[i];
        } else if (i + 1 < *argc) {
            files[(*file_count)++] = argv[++i];
        } else {
            fprintf(stderr, "tenon: --plugin wants a FILE\n");
            return TNI_EXIT_USAGE;
        }
    }
    *argc = kept;
    return 0;
}

static int run_command(tni_cli *cli, const tni_command *command, int argc,
                       char **argv, const char *const *files, int file_count)
{
    tn_error err = {0};
    for (int i = 0; i < file_count; i++)
        if (tni_registry_add_file(cli->registry, files[i], &err) != TN_OK)
            return tni_cli_fail(&err);
    return command->run(cli, argc, argv);
}

/* The first argument decides. */
static int dispatch(tni_cli *cli, int argc, char **argv,
                    const char *const *files, int file_count)
{
    static char help[] = "--help";
    char *ask_help[] = {help};
    const char *word = argc ? argv[0] : "";
    if (argc == 0 || !strcmp(word, "--help") || !strcmp(word, "-h") ||
        (!strcmp(word, "help") && argc == 1)) {
        print_help(cli->arena, argc ? stdout : stderr);
        return argc ? TNI_EXIT_OK : TNI_EXIT_USAGE;
    }
    if (!strcmp(word, "--version")) {
        printf("tenon %s (plugin ABI %d.%d, %s)\n", TENON_VERSION, TN_ABI_MAJOR,
               TN_ABI_MINOR, TN_ABI_TAG);
        return TNI_EXIT_OK;
    }
    const int wants_help = !strcmp(word, "help");
    const tni_command *command = command_of(wants_help ? argv[1] : word);
    if (!command)
        return unknown_command(wants_help ? argv[1] : word);
    if (wants_help)
        return command->run(cli, 1, ask_help);
    return run_command(cli, command, argc - 1, argv + 1, files, file_count);
}

/* Full buffers that cannot be written are a failure too: `tenon ... > file`
 * on a full disk must not say 0. */
static int close_stdout(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "tenon: writing to stdout failed\n");
    return status ? status : TNI_EXIT_FAILED;
}

/* A closed descriptor below 3 would be given to the next file that is opened,
 * a plugin for example, which would then be read as standard input. They are
 * opened the wrong way round, so that using them still fails. */
static void occupy_standard_streams(void)
{
    static const int mode[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", mode[fd]);
}

int main(int argc, char **argv)
{
    occupy_standard_streams();
    tn_host *host = tni_host_create();
    tni_cli cli = {.arena = tni_arena_create(), .host = host};
    const char **files =
        tni_arena_alloc(cli.arena, (size_t)argc * sizeof *files);
    int file_count = 0;
    argc--;
    int status = choose_log_level();
    if (!status)
        status = take_plugins(&argc, argv + 1, files, &file_count);
    if (!host || status) {
        status = status ? status : TNI_EXIT_FAILED;
    } else {
        cli.plugin_files = (tni_flag_list){files, (uint32_t)file_count};
        cli.registry = tni_registry_create(host);
        status = dispatch(&cli, argc, argv + 1, files, file_count);
        tni_registry_destroy(cli.registry);
    }
    tni_host_destroy(host);
    tni_arena_destroy(cli.arena);
    return close_stdout(status);
}
