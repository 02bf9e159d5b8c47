/*
 * test_token_file.c - raw ids in file order, and the files that are refused.
 */
#include "../dataset_rig.h"

#include <sys/stat.h>
#include <unistd.h>

#define IN_ORDER "{path: a.bin, shuffle: false}"

/*
 * 21 tokens, T = 4: windows 0-4, 4-8, 8-12, 12-16, 16-20, then again. Batches
 * of 3 rows: the second one crosses into the next epoch.
 */
static void windows_follow_the_file_and_wrap_at_its_end(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 21, 1);
    reading *d = opened(r, "token_file", IN_ORDER, request(3, 4, 1));
    assert_int_equal(info_of(d).rows_per_epoch, 5);
    assert_int_equal(info_of(d).tokens, 21);
    static const int32_t starts[] = {0, 4, 8, 12, 16, 0, 4, 8, 12};
    for (int batch = 0; batch < 3; batch++) {
        next(d);
        for (int row = 0; row < 3; row++)
            for (int t = 0; t < 4; t++) {
                const int32_t want = starts[3 * batch + row] + t;
                assert_int_equal(d->tokens[4 * row + t], want);
                assert_int_equal(d->targets[4 * row + t], want + 1);
            }
    }
    closed(d);
}

static void tokens_that_fill_no_window_are_left_out(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 24, 1); /* 21 to 24 hold five windows of 4 */
    reading *d = opened(r, "token_file", IN_ORDER, request(5, 4, 1));
    assert_int_equal(info_of(d).rows_per_epoch, 5);
    next(d);
    assert_int_equal(d->targets[19], 20);
    next(d);
    assert_int_equal(d->tokens[0], 0);
    closed(d);
}

static void u16_and_u32_files_give_the_same_batches(void **state)
{
    rig *r = *state;
    enum { COUNT = 1000 };
    uint16_t narrow[COUNT];
    for (uint32_t i = 0; i < COUNT; i++)
        narrow[i] = (uint16_t)(i * 65);
    rig_file(r, "a16.bin", narrow, sizeof narrow);
    counting_file(r, "a32.bin", COUNT, 65);
    reading *a = opened(r, "token_file", "{path: a16.bin, dtype: u16}",
                        request(4, 16, 7));
    reading *b = opened(r, "token_file", "{path: a32.bin}", request(4, 16, 7));
    for (int i = 0; i < 50; i++) {
        next(a);
        next(b);
        assert_memory_equal(a->tokens, b->tokens, 64 * sizeof(int32_t));
        assert_memory_equal(a->targets, b->targets, 64 * sizeof(int32_t));
    }
    closed(a);
    closed(b);
}

static void ids_are_little_endian(void **state)
{
    rig *r = *state;
    rig_file(r, "a.bin", "\x01\x02\x03\x00\x04\x00\x00\x00", 8);
    reading *d = opened(r, "token_file", IN_ORDER, request(1, 1, 1));
    next(d);
    assert_int_equal(d->tokens[0], 0x030201);
    assert_int_equal(d->targets[0], 4);
    closed(d);
}

static void splits_meet_without_gap_or_overlap(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 1003, 1);
    static const char *const borders[] = {"0.9", "0.5", "0.333", "0.999"};
    for (int i = 0; i < 4; i++) {
        const char *yaml = "{path: a.bin, shuffle: false, split: [%s, %s]}";
        reading *head = opened(
            r, "token_file", tni_arena_printf(r->arena, yaml, "0", borders[i]),
            request(1, 1, 1));
        reading *tail = opened(
            r, "token_file", tni_arena_printf(r->arena, yaml, borders[i], "1"),
            request(1, 1, 1));
        const int64_t first = info_of(head).tokens;
        assert_int_equal(first, (int64_t)(atof(borders[i]) * 1003));
        assert_int_equal(first + info_of(tail).tokens, 1003);
        next(tail);
        assert_int_equal(tail->tokens[0], first);
        for (int64_t row = 0; row < info_of(head).rows_per_epoch; row++)
            next(head);
        assert_int_equal(head->targets[0], first - 1);
        closed(head);
        closed(tail);
    }
}

static void bad_files_are_refused_with_a_sentence(void **state)
{
    rig *r = *state;
    const tn_dataset_request asked = request(2, 4, 1);
    static const uint32_t ids[8];
    rig_file(r, "empty.bin", "", 0);
    rig_file(r, "odd.bin", ids, 21);
    rig_file(r, "few.bin", ids, 16);
    rig_file(r, "eight.bin", ids, 32);
    tn_assert_ok(
        tni_folder_make(tni_path_join(r->arena, r->folder, "folder"), NULL));
    static const struct {
        const char *yaml, *says;
    } cases[] = {
        {"{path: none.bin}", "none.bin: No such file"},
        {"{path: empty.bin}", "empty.bin is empty"},
        {"{path: folder}", "folder is a folder, not a plain file"},
        {"{path: odd.bin}",
         "odd.bin: 21 bytes are no whole number of 4-byte ids; is dtype: u32 "
         "right, and the file complete?"},
        {"{path: odd.bin, dtype: u16}", "no whole number of 2-byte ids"},
        {"{path: few.bin}",
         "few.bin: the split [0, 1] has 4 of the file's 4 tokens; one window "
         "needs 5 (seq_len 4 and one more)"},
        {"{path: eight.bin, split: [0.5, 1]}", "has 4 of the file's 8 tokens"},
        {"{path: eight.bin, split: [0.5, 0.5]}",
         "split [0.5, 0.5] is empty; the first number must be below"},
        {"{path: eight.bin, split: [1, 0]}", "split [1, 0] is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        fails_to_open(r, "token_file", cases[i].yaml, asked, cases[i].says);
}

/* Nobody ever writes to it: an open that waits never returns. */
static void a_pipe_is_refused_at_once(void **state)
{
    rig *r = *state;
    assert_int_equal(mkfifo(tni_path_join(r->arena, r->folder, "pipe"), 0600),
                     0);
    alarm(20);
    fails_to_open(r, "token_file", "{path: pipe}", request(2, 4, 1),
                  "pipe is a device or pipe, not a plain file");
    alarm(0);
}

static void an_id_outside_the_vocabulary_is_named_with_its_place(void **state)
{
    rig *r = *state;
    uint32_t ids[41] = {0};
    ids[19] = 100;
    ids[30] = 0xffffffff;
    rig_file(r, "a.bin", ids, sizeof ids);
    tn_dataset_request asked = request(2, 4, 1);
    asked.vocab_size = 100;
    reading *d = opened(r, "token_file", IN_ORDER, asked);
    tn_error err = TN_ERROR_NONE, again = TN_ERROR_NONE;
    tn_cursor before, after;
    next(d);
    next(d); /* windows 0 to 3, tokens 0 to 16 */
    d->vtable->save(d->self, &before);
    assert_int_equal(try_next(d, &err), TN_EFORMAT);
    tn_assert_error_says(err, "a.bin: token 100 at byte 76 is outside the "
                              "vocabulary of 100 ids; check model.vocab_size");
    d->vtable->save(d->self, &after);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(try_next(d, &again), TN_EFORMAT);
    closed(d);
    asked.vocab_size = 101;
    d = opened(r, "token_file", IN_ORDER, asked);
    for (int i = 0; i < 3; i++)
        next(d);
    err = TN_ERROR_NONE;
    assert_int_equal(try_next(d, &err), TN_EFORMAT);
    tn_assert_error_says(err, "token 4294967295 at byte 120 is outside");
    closed(d);
}

static void a_file_that_changes_its_size_is_noticed(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 5000, 1);
    const char *path = tni_path_join(r->arena, r->folder, "a.bin");
    reading *d = opened(r, "token_file", IN_ORDER, request(2, 4, 1));
    tn_error shrunk = TN_ERROR_NONE, grown = TN_ERROR_NONE;
    next(d);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(try_next(d, &shrunk), TN_EIO);
    tn_assert_error_says(shrunk, "a.bin had 20000 bytes when it was opened "
                                 "and has 0 now");
    assert_int_equal(truncate(path, 20004), 0);
    assert_int_equal(try_next(d, &grown), TN_EIO);
    assert_int_equal(truncate(path, 20000), 0);
    next(d);
    closed(d);
}

static void text_bytes_are_counted_where_a_tokenizer_is_given(void **state)
{
    rig *r = *state;
    const tn_tokenizer *byte = rig_vtable(r, TN_KIND_TOKENIZER, "byte");
    tn_tokenizer_handle handle = {.struct_size = sizeof handle, .vtable = byte};
    tn_assert_ok(
        byte->open(r->host, rig_options(r, byte, "{}"), &handle.self, NULL));
    counting_file(r, "a.bin", 261, 1);
    tn_dataset_request asked = request(1, 4, 1);
    reading *without = opened(r, "token_file", IN_ORDER, asked);
    next(without);
    assert_int_equal(without->bytes, 0);
    closed(without);
    asked.tokenizer = &handle;
    reading *with = opened(r, "token_file", IN_ORDER, asked);
    for (int i = 0; i < 63; i++) {
        next(with); /* targets up to 252 */
        assert_int_equal(with->bytes, 4);
    }
    next(with); /* 253 254 255 and 256, which is no byte: padding ids */
    assert_int_equal(with->bytes, 3);
    closed(with);
    byte->close(handle.self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(windows_follow_the_file_and_wrap_at_its_end),
        RIG_TEST(tokens_that_fill_no_window_are_left_out),
        RIG_TEST(u16_and_u32_files_give_the_same_batches),
        RIG_TEST(ids_are_little_endian),
        RIG_TEST(splits_meet_without_gap_or_overlap),
        RIG_TEST(bad_files_are_refused_with_a_sentence),
        RIG_TEST(a_pipe_is_refused_at_once),
        RIG_TEST(an_id_outside_the_vocabulary_is_named_with_its_place),
        RIG_TEST(a_file_that_changes_its_size_is_noticed),
        RIG_TEST(text_bytes_are_counted_where_a_tokenizer_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
