/*
 * support_plugin.h - what the tests of this folder share: a host that keeps
 * what is logged, and temporary folders with copies of fixtures in them.
 */
#ifndef SUPPORT_PLUGIN_H
#define SUPPORT_PLUGIN_H

#include "tn_test.h"

#include <tenon/plugin.h>

#include "base/arena.h"

typedef struct test_host {
    tn_host table; /* first */
    char logged[4096];
} test_host;

test_host test_host_make(void);

/* An arena that lives as long as the test program. */
tni_arena *test_arena(void);

/* The path of a fixture as it was built. */
const char *fixture(const char *name);

/* A folder of mode 0700, removed with what is in it by test_folder_remove. */
const char *test_folder(void);
void test_folder_remove(const char *folder);

/* A copy of a fixture at folder/name, mode 0644. Returns its path. */
const char *copy_fixture(const char *fixture_name, const char *folder,
                         const char *name);

#endif
