/*
 * support_plugin.c - a listening host and throw-away folders.
 */
#define _GNU_SOURCE /* nftw */
#include "support_plugin.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static void keep(const tn_host *host, int32_t level, const char *format, ...)
{
    test_host *self = (test_host *)host;
    const size_t used = strlen(self->logged);
    va_list args;
    (void)level;
    va_start(args, format);
    vsnprintf(self->logged + used, sizeof self->logged - used, format, args);
    va_end(args);
}

test_host test_host_make(void)
{
    return (test_host){.table = {.struct_size = (uint32_t)sizeof(tn_host),
                                 .abi_minor = TN_ABI_MINOR,
                                 .log = keep}};
}

tni_arena *test_arena(void)
{
    static tni_arena *arena;
    if (!arena)
        arena = tni_arena_create();
    return arena;
}

const char *fixture(const char *name)
{
    return tni_arena_printf(test_arena(), "%s/%s.so", TEST_FIXTURES, name);
}

const char *test_folder(void)
{
    char *folder = tni_arena_strdup(test_arena(), "/tmp/tenon-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

void test_folder_remove(const char *folder)
{
    assert_int_equal(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *copy_fixture(const char *fixture_name, const char *folder,
                         const char *name)
{
    const char *path = tni_arena_printf(test_arena(), "%s/%s", folder, name);
    FILE *from = fopen(fixture(fixture_name), "rb");
    FILE *to = fopen(path, "wb");
    char part[4096];
    assert_non_null(from);
    assert_non_null(to);
    for (size_t n; (n = fread(part, 1, sizeof part, from)) > 0;)
        assert_int_equal(fwrite(part, 1, n, to), n);
    fclose(from);
    assert_int_equal(fclose(to), 0);
    assert_int_equal(chmod(path, 0644), 0);
    return path;
}
