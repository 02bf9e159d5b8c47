/*
 * support_cli.c - fork, exec, and two files for what is said.
 */
#define _GNU_SOURCE /* nftw */
#include "support_cli.h"

#include <ftw.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 32 };

static void read_back(FILE *file, char *text)
{
    rewind(file);
    const size_t count = fread(text, 1, SAID_BYTES - 1, file);
    text[count] = '\0';
    fclose(file);
}

static void be_tenon(char **arguments, FILE *out, FILE *err)
{
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    execv(arguments[0], arguments);
    _exit(127);
}

const said *tenon(const char *first, ...)
{
    static said s;
    char *arguments[MOST_ARGUMENTS] = {getenv("TENON_BINARY")};
    FILE *out = tmpfile(), *err = tmpfile();
    int count = 1, status;
    va_list rest;
    assert_non_null(arguments[0]);
    assert_true(out && err);
    va_start(rest, first);
    for (const char *a = first; a; a = va_arg(rest, const char *)) {
        assert_true(count < MOST_ARGUMENTS - 1);
        arguments[count++] = strdup(a);
    }
    va_end(rest);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        be_tenon(arguments, out, err);
    assert_int_equal(waitpid(child, &status, 0), child);
    s.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    read_back(out, s.out);
    read_back(err, s.err);
    while (--count > 0)
        free(arguments[count]);
    return &s;
}

void assert_status_(const char *file, int line, const said *s, int want)
{
    if (s->status == want)
        return;
    print_error("exit status %d, not %d\n%s%s", s->status, want, s->out,
                s->err);
    _fail(file, line);
}

void make_folder(char path[64])
{
    snprintf(path, 64, "/tmp/tenon-cli-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

void remove_folder(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *at(const char *folder, const char *name)
{
    static char paths[8][512];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}
