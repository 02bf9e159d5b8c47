/*
 * available.c - how much memory a process may still take.
 *
 * What the system calls free leaves out the files it keeps in memory for as
 * long as nobody asks for that memory: after a large file was read nothing
 * seems to be left. MemAvailable counts them. A control group (a container, a
 * job of a batch system) may allow less, and so may each of those it lies in;
 * what one uses includes its files, too.
 */
#include "cpu.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The number behind `name` at the start of a line; -1: there is none. */
static int64_t number_in(const char *folder, const char *file, const char *name)
{
    char path[2 * PATH_MAX], line[256];
    int64_t number = -1;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "re");
    while (f && number < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0)
            sscanf(line + strlen(name), "%" SCNd64, &number);
    if (f)
        fclose(f);
    return number;
}

static int64_t system_has(const char *root)
{
    const int64_t kib = number_in(root, "proc/meminfo", "MemAvailable:");
    return kib >= 0 ? kib * 1024
                    : (int64_t)sysconf(_SC_AVPHYS_PAGES) *
                          (int64_t)sysconf(_SC_PAGESIZE);
}

/* Its limit is the word max where there is none. */
static int64_t group_has(const char *group)
{
    const int64_t limit = number_in(group, "memory.max", "");
    const int64_t used = number_in(group, "memory.current", "");
    const int64_t files =
        cpu_max(0, number_in(group, "memory.stat", "active_file ")) +
        cpu_max(0, number_in(group, "memory.stat", "inactive_file "));
    return limit < 0 || used < 0 ? INT64_MAX : limit - cpu_max(0, used - files);
}

/* The process's group of the one hierarchy (version 2), from "/" on. */
static void find_group(const char *root, char group[PATH_MAX])
{
    char path[PATH_MAX], line[PATH_MAX];
    group[0] = '\0';
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "0::", 3) == 0)
            snprintf(group, PATH_MAX, "%.*s", (int)strcspn(line + 3, "\n"),
                     line + 3);
    if (f)
        fclose(f);
}

/* From the group outwards. */
int64_t cpu_available_memory(const char *root)
{
    char group[PATH_MAX], folder[2 * PATH_MAX];
    int64_t has = system_has(root);
    find_group(root, group);
    for (char *end = group; end;) {
        snprintf(folder, sizeof folder, "%s/sys/fs/cgroup%s", root, group);
        has = cpu_min(has, group_has(folder));
        end = strrchr(group, '/');
        if (end)
            *end = '\0';
    }
    return cpu_max(1, has); /* 0 would say that it is not known */
}
