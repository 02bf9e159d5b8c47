/*
 * support_cli.h - run the program `tenon` and keep what it says.
 */
#ifndef SUPPORT_CLI_H
#define SUPPORT_CLI_H

#include "tn_test.h"

enum { SAID_BYTES = 64 * 1024 };

typedef struct said {
    int status; /* exit status, 128 + signal where one ended it */
    char out[SAID_BYTES], err[SAID_BYTES];
} said;

/* tenon ARGUMENTS..., a NULL-ended list. The result is overwritten by the next
 * call. */
const said *tenon(const char *first, ...);

/* A folder of mode 0700 below /tmp; the caller removes it. */
void make_folder(char path[64]);
void remove_folder(const char *path);

/* "folder/name" in a static buffer: eight of them take turns. */
const char *at(const char *folder, const char *name);

/* What `s` says on stdout contains part; on failure all of it is shown. */
#define assert_out(s, part) tn_assert_says_(__FILE__, __LINE__, (s)->out, part)
#define assert_err(s, part) tn_assert_says_(__FILE__, __LINE__, (s)->err, part)
#define assert_status(s, want) assert_status_(__FILE__, __LINE__, (s), (want))
void assert_status_(const char *file, int line, const said *s, int want);

#endif
