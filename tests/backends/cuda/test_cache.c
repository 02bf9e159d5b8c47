/*
 * test_cache.c - what is kept on disk: by whom it can be read, and when it is
 * there.
 */
#define _GNU_SOURCE /* mkdtemp, setenv */
#include "gpu.h"

#include "tn_test.h"

#include <sys/stat.h>
#include <unistd.h>

static const gpu_card card = {.major = 9};
static const char maker[] = "maker1";

static gpu_cache opened(void)
{
    gpu_cache cache = {.path = ""};
    gpu_cache_open(&cache, &card, maker);
    assert_true(cache.path[0] != '\0');
    return cache;
}

static char *copy_of(const char *code)
{
    char *copy = malloc(strlen(code));
    return memcpy(copy, code, strlen(code));
}

static void add(gpu_cache *cache, const char *text, const char *code)
{
    gpu_cache_add(cache, text, gpu_hash(text, strlen(text)), copy_of(code),
                  strlen(code));
}

static int is(const gpu_cached *c, const char *code)
{
    return c && c->bytes == strlen(code) && !memcmp(c->code, code, c->bytes);
}

static int finds(const gpu_cache *cache, const char *text, const char *code)
{
    return is(gpu_cache_find(cache, text, gpu_hash(text, strlen(text))), code);
}

/* ---- who may read it ---- */

static void what_is_kept_is_read_again_under_any_umask(void **state)
{
    const mode_t masks[] = {0, 002, 022, 077};
    (void)state;
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        const mode_t before = umask(masks[i]);
        struct stat about;
        gpu_cache cache = opened();
        add(&cache, "text", "code");
        gpu_cache_close(&cache);
        umask(before);
        cache = opened();
        assert_true(finds(&cache, "text", "code"));
        assert_int_equal(stat(cache.path, &about), 0);
        assert_int_equal(about.st_mode & 0777, 0600);
        assert_int_equal(unlink(cache.path), 0);
        gpu_cache_close(&cache);
    }
}

static void a_file_that_others_may_write_is_not_read(void **state)
{
    (void)state;
    gpu_cache cache = opened();
    add(&cache, "text", "code");
    gpu_cache_close(&cache);
    assert_int_equal(chmod(cache.path, 0620), 0);
    cache = opened();
    assert_false(finds(&cache, "text", "code"));
    gpu_cache_close(&cache);
}

/* ---- folders ---- */

static int begin_anew(void **state)
{
    char folder[] = "/tmp/tenon-cache-XXXXXX";
    (void)state;
    return !mkdtemp(folder) || setenv("XDG_CACHE_HOME", folder, 1);
}

static int clean_up(void **state)
{
    char command[200];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%.100s'",
             getenv("XDG_CACHE_HOME"));
    return system(command);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, begin_anew, clean_up)
    const struct CMUnitTest tests[] = {
        EACH(what_is_kept_is_read_again_under_any_umask),
        EACH(a_file_that_others_may_write_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
