/*
 * cache_folder.h - a cache folder of its own for each test: set-up and
 * tear-down. Whoever includes it defines _GNU_SOURCE first.
 */
#ifndef CUDA_CACHE_FOLDER_H
#define CUDA_CACHE_FOLDER_H

#include <stdio.h>
#include <stdlib.h>

static inline int cache_folder_make(void **state)
{
    char folder[] = "/tmp/tenon-cache-XXXXXX";
    (void)state;
    return !mkdtemp(folder) || setenv("XDG_CACHE_HOME", folder, 1);
}

static inline int cache_folder_remove(void **state)
{
    char command[200];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%.100s'",
             getenv("XDG_CACHE_HOME"));
    return system(command);
}

#endif
