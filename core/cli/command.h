/*
 * command.h - the commands of `tenon`: one row and one file each.
 *
 * Only files of this folder print to stdout or decide an exit status.
 */
#ifndef TENON_COMMAND_H
#define TENON_COMMAND_H

#include "plugin/registry.h"

/* Words of a flag that may be given more than once. */
typedef struct tni_flag_list {
    const char **at;
    uint32_t count;
} tni_flag_list;

/* What every command starts from. Owned by main(). */
typedef struct tni_cli {
    tni_arena *arena;
    const tn_host *host;
    tni_registry *registry; /* --plugin files are already open */
    tni_flag_list plugin_files;
} tni_cli;

typedef struct tni_command {
    const char *name;
    const char *summary; /* one line of `tenon --help` */
    /* What follows `tenon NAME` on the first line of `tenon NAME --help`,
     * "-f CONFIG [--set key=value]..."; paragraphs after it are printed as
     * they are, and then the flags of the table below by themselves. */
    const char *usage;
    /* argv[0] is the first argument after the command's name. Returns the
     * exit status. */
    int (*run)(tni_cli *cli, int argc, char **argv);
} tni_command;

/* commands.def lists them, by use: COMMAND(name) for a tni_command
 * tni_command_NAME. */
#define COMMAND(name) extern const tni_command tni_command_##name;
#include "cli/commands.def"
#undef COMMAND

enum {
    TNI_EXIT_OK = 0,
    TNI_EXIT_FAILED = 1,
    TNI_EXIT_USAGE = 2,
    TNI_EXIT_INTERRUPTED = 130
};

/* Print "tenon: " + message to stderr; the exit status that fits it. */
int tni_cli_fail(const tn_error *err);

/*
 * Flags of a command as a table, parsed like config options: "--max-steps 5",
 * "--max-steps=5", "-f x", "--headless". Unknown flags get a suggestion.
 */
enum {
    TNI_FLAG_SWITCH,
    TNI_FLAG_STRING,
    TNI_FLAG_INT,
    TNI_FLAG_FLOAT,
    TNI_FLAG_LIST
};
typedef struct tni_flag {
    const char *name; /* "max-steps" */
    char letter;      /* 'f', or 0 */
    uint32_t kind;
    void *to; /* int32_t, const char *, int64_t, double, tni_flag_list */
    const char *help;
    int32_t *given;    /* set to 1 when present; may be NULL */
    const char *value; /* what help calls the value: "FILE"; NULL: by kind */
} tni_flag;

/* Print "tenon COMMAND: " + sentence to stderr and how to get help; returns
 * TNI_EXIT_USAGE. */
TN_PRINTF(2, 3)
int tni_cli_misuse(const tni_command *command, const char *format, ...);

/* Positional arguments are left in argv[0 .. *rest). 0, or an exit status
 * after printing usage or the error (--help prints usage and returns -1: the
 * command should return TNI_EXIT_OK). Values point into argv; lists lie in
 * cli->arena. What is not given keeps the value it had. */
int tni_cli_parse(tni_cli *cli, const tni_command *command,
                  const tni_flag *flags, uint32_t flag_count, int argc,
                  char **argv, int *rest);

#endif
