/*
 * test_cache.c - what is kept on disk: by whom it can be read, and when it is
 * there.
 */
#define _GNU_SOURCE /* mkdtemp, setenv */
#include "gpu.h"

#include "cache_folder.h"
#include "tn_test.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

/* ---- choices ---- */

/* What the cache says is to be used. */
static const gpu_cached *keep(gpu_cache *cache, const char *text,
                              const char *code)
{
    return gpu_cache_keep(cache, text, gpu_hash(text, strlen(text)), code,
                          strlen(code));
}

static void a_choice_outlives_a_process_that_is_killed(void **state)
{
    int status;
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        gpu_cache cache = opened();
        keep(&cache, "product", "algorithm 3");
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    gpu_cache cache = opened();
    assert_true(finds(&cache, "product", "algorithm 3"));
    gpu_cache_close(&cache);
}

/* Two processes that know nothing of each other's choices yet. */
static void of_two_choices_the_first_on_disk_is_used(void **state)
{
    (void)state;
    gpu_cache first = opened(), second = opened();
    assert_true(is(keep(&first, "product", "algorithm 3"), "algorithm 3"));
    assert_true(is(keep(&second, "product", "algorithm 5"), "algorithm 3"));
    assert_true(finds(&second, "product", "algorithm 3"));
    gpu_cache_close(&second);
    gpu_cache_close(&first);
}

static void what_processes_keep_at_once_is_kept_of_all(void **state)
{
    enum { PROCESSES = 3, CHOICES = 20 };
    char text[64];
    (void)state;
    for (int p = 0; p < PROCESSES; p++)
        if (fork() == 0) {
            gpu_cache cache = opened();
            for (int i = 0; i < CHOICES; i++) {
                snprintf(text, sizeof text, "process %d, choice %d", p, i);
                keep(&cache, text, text);
            }
            add(&cache, p ? "code 1" : "code 0", "code");
            gpu_cache_close(&cache);
            _exit(0);
        }
    for (int p = 0; p < PROCESSES; p++)
        wait(NULL);
    gpu_cache cache = opened();
    for (int i = 0; i < PROCESSES * CHOICES; i++) {
        snprintf(text, sizeof text, "process %d, choice %d", i / CHOICES,
                 i % CHOICES);
        assert_true(finds(&cache, text, text));
    }
    assert_true(finds(&cache, "code 0", "code"));
    assert_true(finds(&cache, "code 1", "code"));
    gpu_cache_close(&cache);
}

/* A folder stands where the file would be written. */
static void what_cannot_be_kept_is_no_choice(void **state)
{
    char beside[560];
    (void)state;
    gpu_cache cache = opened();
    assert_non_null(keep(&cache, "product", "algorithm 3"));
    snprintf(beside, sizeof beside, "%s.new", cache.path);
    assert_int_equal(mkdir(beside, 0700), 0);
    assert_null(keep(&cache, "another", "algorithm 5"));
    assert_false(finds(&cache, "another", "algorithm 5"));
    assert_true(finds(&cache, "product", "algorithm 3"));
    gpu_cache_close(&cache);
    cache = (gpu_cache){.path = ""}; /* not kept at all */
    assert_null(keep(&cache, "another", "algorithm 5"));
}

int main(void)
{
#define EACH(test)                                                             \
    cmocka_unit_test_setup_teardown(test, cache_folder_make,                   \
                                    cache_folder_remove)
    const struct CMUnitTest tests[] = {
        EACH(what_is_kept_is_read_again_under_any_umask),
        EACH(a_file_that_others_may_write_is_not_read),
        EACH(a_choice_outlives_a_process_that_is_killed),
        EACH(of_two_choices_the_first_on_disk_is_used),
        EACH(what_processes_keep_at_once_is_kept_of_all),
        EACH(what_cannot_be_kept_is_no_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
