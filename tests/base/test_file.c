/*
 * test_file.c - files whole or not at all, folders, paths.
 */
#include "base/file.h"
#include "tn_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct rig {
    tni_arena *arena;
    char *folder;
} rig;

static int set_up(void **state)
{
    rig *r = calloc(1, sizeof *r);
    char folder[] = "/tmp/tenon_file_XXXXXX";
    if (!r || !mkdtemp(folder))
        return -1;
    r->arena = tni_arena_create();
    r->folder = tni_arena_strdup(r->arena, folder);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    rig *r = *state;
    const tn_status status = tni_folder_remove(r->folder, NULL);
    tni_arena_destroy(r->arena);
    free(r);
    return status;
}

static char *in(rig *r, const char *name)
{
    return tni_path_join(r->arena, r->folder, name);
}

static void what_is_replaced_is_read_back(void **state)
{
    rig *r = *state;
    tn_error err = TN_ERROR_NONE;
    char *bytes;
    size_t count;
    const char *path = in(r, "a");
    tn_assert_ok_err(tni_file_replace(path, "old", 3, &err), err);
    tn_assert_ok_err(tni_file_replace(path, "n\0w", 3, &err), err);
    tn_assert_ok_err(tni_file_read(r->arena, path, 100, &bytes, &count, &err),
                     err);
    assert_int_equal(count, 3);
    assert_memory_equal(bytes, "n\0w\0", 4);
}

static void reading_stops_at_the_limit(void **state)
{
    rig *r = *state;
    tn_error err = TN_ERROR_NONE;
    char *bytes = NULL;
    const char *path = in(r, "a");
    tn_assert_ok(tni_file_replace(path, "12345", 5, NULL));
    tn_assert_ok(tni_file_read(r->arena, path, 5, &bytes, NULL, NULL));
    bytes = NULL;
    assert_int_equal(tni_file_read(r->arena, path, 4, &bytes, NULL, &err),
                     TN_EREFUSED);
    tn_assert_error_says(err, "/a is larger than 4 bytes");
    assert_null(bytes);
}

static void a_file_larger_than_its_first_buffer_is_read_whole(void **state)
{
    rig *r = *state;
    const size_t size = 300 * 1000;
    unsigned char *big = malloc(size);
    assert_non_null(big);
    for (size_t i = 0; i < size; i++)
        big[i] = (unsigned char)(i * i >> 3);
    const char *path = in(r, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    /* A pipe has no size to go by. */
    const pid_t child = fork();
    if (child == 0) {
        FILE *to = fopen(path, "w");
        _exit(to && fwrite(big, 1, size, to) == size && !fclose(to) ? 0 : 1);
    }
    char *bytes;
    size_t count;
    tn_assert_ok(tni_file_read(r->arena, path, 1 << 20, &bytes, &count, NULL));
    assert_int_equal(count, size);
    assert_memory_equal(bytes, big, size);
    assert_int_equal(waitpid(child, NULL, 0), child);
    free(big);
}

static void what_cannot_be_read_is_told_apart(void **state)
{
    rig *r = *state;
    char *bytes;
    tn_error missing = TN_ERROR_NONE, folder = TN_ERROR_NONE;
    assert_int_equal(
        tni_file_read(r->arena, in(r, "none"), 9, &bytes, NULL, &missing),
        TN_ENOTFOUND);
    tn_assert_error_says(missing, "none: No such file");
    assert_int_equal(
        tni_file_read(r->arena, r->folder, 9, &bytes, NULL, &folder), TN_EIO);
    tn_assert_error_says(folder, "is a folder, not a file");
}

/* The limit on file sizes stands for a full disk: the write fails late. */
static void a_failed_replacement_leaves_the_old_file_alone(void **state)
{
    rig *r = *state;
    tn_error err = TN_ERROR_NONE;
    const char *path = in(r, "a");
    tn_assert_ok(tni_file_replace(path, "old", 3, NULL));
    static char big[100000];
    struct rlimit before, small = {.rlim_cur = 4096};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    const tn_status status = tni_file_replace(path, big, sizeof big, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, TN_EIO);
    tn_assert_error_says(err, "File too large");
    char *bytes;
    tn_assert_ok(tni_file_read(r->arena, path, 9, &bytes, NULL, NULL));
    assert_string_equal(bytes, "old");
    /* and nothing beside it: removing the file must empty the folder */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(r->folder), 0);
}

static void folders_are_made_with_their_parents(void **state)
{
    rig *r = *state;
    tn_error err = TN_ERROR_NONE;
    const char *deep = in(r, "a/b/c");
    tn_assert_ok_err(tni_folder_make(deep, &err), err);
    tn_assert_ok_err(tni_folder_make(deep, &err), err);
    assert_true(tni_path_is_folder(deep));
    tn_assert_ok(tni_file_replace(in(r, "a/file"), "", 0, NULL));
    assert_int_equal(tni_folder_make(in(r, "a/file/x"), &err), TN_EIO);
    tn_assert_error_says(err, "cannot make the folder");
}

static void removing_a_folder_does_not_follow_links(void **state)
{
    rig *r = *state;
    tn_assert_ok(tni_folder_make(in(r, "keep"), NULL));
    tn_assert_ok(tni_file_replace(in(r, "keep/file"), "x", 1, NULL));
    tn_assert_ok(tni_folder_make(in(r, "go/deep"), NULL));
    assert_int_equal(symlink(in(r, "keep"), in(r, "go/deep/link")), 0);
    tn_assert_ok(tni_folder_remove(in(r, "go"), NULL));
    assert_false(tni_path_exists(in(r, "go")));
    assert_true(tni_path_exists(in(r, "keep/file")));
    tn_assert_ok(tni_folder_remove(in(r, "go"), NULL));
}

static void paths_are_cut_and_joined_as_text(void **state)
{
    rig *r = *state;
    static const struct {
        const char *path, *folder, *name;
    } cut[] = {
        {"a/b.yaml", "a", "b.yaml"},
        {"b.yaml", ".", "b.yaml"},
        {"/b", "/", "b"},
        {"a/b/", "a", "b"},
        {"/", "/", "/"},
        {"a//b", "a", "b"},
        {"/a/b/c", "/a/b", "c"},
        {"", ".", ""},
    };
    for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
        assert_string_equal(tni_path_dirname(r->arena, cut[i].path),
                            cut[i].folder);
        assert_string_equal(tni_path_basename(r->arena, cut[i].path),
                            cut[i].name);
    }
    assert_string_equal(tni_path_join(r->arena, "a", "b"), "a/b");
    assert_string_equal(tni_path_join(r->arena, "a/", "b"), "a/b");
    assert_string_equal(tni_path_join(r->arena, "a", "/b"), "/b");
    assert_string_equal(tni_path_join(r->arena, ".", "b"), "b");
}

static void absolute_paths_resolve_links_and_dots(void **state)
{
    rig *r = *state;
    tn_assert_ok(tni_folder_make(in(r, "real"), NULL));
    assert_int_equal(symlink(in(r, "real"), in(r, "link")), 0);
    assert_string_equal(tni_path_absolute(r->arena, in(r, "./x/../link")),
                        in(r, "./x/../link")); /* x is not there */
    assert_string_equal(tni_path_absolute(r->arena, in(r, "./real/../link")),
                        tni_path_absolute(r->arena, in(r, "real")));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(what_is_replaced_is_read_back),
        T(reading_stops_at_the_limit),
        T(a_file_larger_than_its_first_buffer_is_read_whole),
        T(what_cannot_be_read_is_told_apart),
        T(a_failed_replacement_leaves_the_old_file_alone),
        T(folders_are_made_with_their_parents),
        T(removing_a_folder_does_not_follow_links),
        T(paths_are_cut_and_joined_as_text),
        T(absolute_paths_resolve_links_and_dots),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
