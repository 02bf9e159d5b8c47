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
        {"{path: folder}", "folder: no file of tokens"},
        {"{path: 'none*.bin'}", "none*.bin: no file of tokens"},
        {"{path: [eight.bin, none.bin]}", "none.bin: No such file"},
        {"{path: eight.bin, packing: document_start}",
         "eight.bin: packing: document_start needs to know where documents "
         "start; make a folder of tokens with an index"},
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

/* ------------------------------------------------------------------------ */
/* Shards                                                                     */

static void files_lists_and_patterns_are_one_row_of_tokens(void **state)
{
    rig *r = *state;
    uint32_t ids[100];
    for (uint32_t i = 0; i < 100; i++)
        ids[i] = i;
    rig_file(r, "whole.bin", ids, sizeof ids);
    rig_file(r, "part0.bin", ids, 33 * 4);
    rig_file(r, "part1.bin", ids + 33, 4);
    rig_file(r, "part2.bin", ids + 34, 66 * 4);
    static const char *const same[] = {
        "{path: [part0.bin, part1.bin, part2.bin]}", "{path: 'part*.bin'}"};
    for (int i = 0; i < 2; i++) {
        reading *a =
            opened(r, "token_file", "{path: whole.bin}", request(3, 7, 5));
        reading *b = opened(r, "token_file", same[i], request(3, 7, 5));
        assert_int_equal(info_of(b).tokens, 100);
        for (int batch = 0; batch < 30; batch++) {
            next(a);
            next(b);
            assert_memory_equal(a->tokens, b->tokens, 21 * 4);
            assert_memory_equal(a->targets, b->targets, 21 * 4);
        }
        closed(a);
        closed(b);
    }
}

static const char index_text[] =
    "{\"format\": \"tenon-tokens\", \"version\": 1, \"complete\": %s, "
    "\"dtype\": \"u16\", \"vocab_size\": 256, \"tokenizer\": \"byte\", "
    "\"identity\": \"%s\", \"begin\": %d, \"shards\": ["
    "{\"file\": \"shard-00000.bin\", \"tokens\": 20, \"documents\": 3}, "
    "{\"file\": \"shard-00001.bin\", \"tokens\": %d, \"documents\": 2}]}";

/*
 * 31 tokens, 0 to 30; documents start at 0, 5, 17, 22 and 28: lengths 5, 12, 5,
 * 6 and 3. The third goes on in the second shard.
 */
static void shards(rig *r, const char *complete, const char *identity,
                   int begin, int second)
{
    uint16_t ids[31];
    static const uint64_t first[] = {0, 5, 17}, then[] = {2, 8};
    for (uint16_t i = 0; i < 31; i++)
        ids[i] = i;
    tn_assert_ok(
        tni_folder_make(tni_path_join(r->arena, r->folder, "web"), NULL));
    const char *text = tni_arena_printf(r->arena, index_text, complete,
                                        identity, begin, second);
    rig_file(r, "web/index.json", text, strlen(text));
    rig_file(r, "web/shard-00000.bin", ids, 40);
    rig_file(r, "web/shard-00001.bin", ids + 20, 22);
    rig_file(r, "web/shard-00000.starts", first, sizeof first);
    rig_file(r, "web/shard-00001.starts", then, sizeof then);
}

static void an_index_says_what_its_shards_are(void **state)
{
    rig *r = *state;
    shards(r, "true", "0123", -1, 11);
    reading *d = opened(r, "token_file", "{path: web, shuffle: false}",
                        request(1, 30, 1));
    assert_int_equal(info_of(d).tokens, 31);
    next(d);
    for (int i = 0; i < 30; i++)
        assert_int_equal(d->targets[i], i + 1);
    closed(d);
}

/*
 * Rows of 8: the documents' lengths are 5, 8 (cut from 12), 5, 6 and 3: the
 * packing is {8}, {6}, {5}, {5, 3}.
 */
static void rows_begin_with_documents_and_targets_stay_inside(void **state)
{
    rig *r = *state;
    shards(r, "true", "0123", -1, 11);
    reading *d = opened(r, "token_file",
                        "{path: web, shuffle: false, packing: document_start}",
                        request(4, 8, 1));
    static const int32_t tokens[4][8] = {{5, 6, 7, 8, 9, 10, 11, 12},
                                         {22, 23, 24, 25, 26, 27, 0, 0},
                                         {0, 1, 2, 3, 4, 0, 0, 0},
                                         {17, 18, 19, 20, 21, 28, 29, 30}};
    static const int32_t targets[4][8] = {{6, 7, 8, 9, 10, 11, 12, 13},
                                          {23, 24, 25, 26, 27, -1, -1, -1},
                                          {1, 2, 3, 4, -1, -1, -1, -1},
                                          {18, 19, 20, 21, -1, 29, 30, -1}};
    assert_int_equal(info_of(d).rows_per_epoch, 4);
    assert_int_equal(info_of(d).tokens, 8 + 6 + 5 + 5 + 3); /* not what is cut
                                                               off */
    next(d);
    assert_memory_equal(d->tokens, tokens, sizeof tokens);
    assert_memory_equal(d->targets, targets, sizeof targets);
    closed(d);

    /* documents that begin with token 9: their end predicts it */
    shards(r, "true", "0123", 9, 11);
    d = opened(r, "token_file",
               "{path: web, shuffle: false, packing: document_start}",
               request(4, 8, 1));
    next(d);
    assert_int_equal(d->targets[7], 13); /* cut, not ended */
    assert_int_equal(d->targets[13], 9);
    assert_int_equal(d->tokens[14], 9); /* padding */
    assert_int_equal(d->targets[14], -1);
    assert_int_equal(d->targets[20], 9);
    assert_int_equal(d->targets[28], 9);
    assert_int_equal(d->targets[31], 9);
    closed(d);
}

/* ---- segments ---- */

static void expect_segments(const reading *d, const int32_t *want,
                            int64_t count)
{
    assert_memory_equal(d->segments, want, (size_t)count * sizeof *want);
}

/* The same 31 tokens: windows of 8 in order. */
static void windows_number_the_documents_in_them(void **state)
{
    rig *r = *state;
    static const int32_t want[3][8] = {{0, 0, 0, 0, 0, 1, 1, 1},
                                       {0, 0, 0, 0, 0, 0, 0, 0},
                                       {0, 1, 1, 1, 1, 1, 2, 2}};
    shards(r, "true", "0123", -1, 11);
    reading *d =
        opened(r, "token_file", "{path: web, shuffle: false, segments: true}",
               request(3, 8, 1));
    next(d);
    expect_segments(d, want[0], 24);
    closed(d);
}

static void a_token_may_say_where_documents_begin(void **state)
{
    rig *r = *state;
    static const uint32_t ids[] = {7, 1, 7, 7, 2, 3, 7, 4, 5};
    static const int32_t want[2][4] = {{0, 0, 1, 2}, {0, 0, 1, 1}};
    rig_file(r, "a.bin", ids, sizeof ids);
    reading *d = opened(r, "token_file",
                        "{path: a.bin, shuffle: false, segments: true, "
                        "document_token: 7}",
                        request(2, 4, 1));
    next(d);
    expect_segments(d, want[0], 8);
    closed(d);
    fails_to_open(r, "token_file", "{path: a.bin, segments: true}",
                  request(2, 4, 1),
                  "a.bin: segments: true needs to know where documents start; "
                  "give document_token: ID");
    fails_to_open(r, "token_file",
                  "{path: a.bin, segments: true, document_token: 1048576}",
                  request(2, 4, 1),
                  "document_token: 1048576 is outside the vocabulary");
}

static void packed_documents_are_numbered_and_so_is_padding(void **state)
{
    rig *r = *state;
    static const int32_t want[4][8] = {{0, 0, 0, 0, 0, 0, 0, 0},
                                       {0, 0, 0, 0, 0, 0, 1, 1},
                                       {0, 0, 0, 0, 0, 1, 1, 1},
                                       {0, 0, 0, 0, 0, 1, 1, 1}};
    static const int32_t none[32];
    static const char *const yaml[] = {
        "{path: web, shuffle: false, packing: document_start, segments: true}",
        "{path: web, shuffle: false, packing: document_start}"};
    shards(r, "true", "0123", -1, 11);
    for (int i = 0; i < 2; i++) {
        reading *d = opened(r, "token_file", yaml[i], request(4, 8, 1));
        next(d);
        expect_segments(d, i ? none : want[0], 32);
        assert_int_equal(has_segments(r, "token_file", yaml[i]), !i);
        closed(d);
    }
}

/* A program that is older than segments, and one that wants none. */
static void batches_without_segments_are_filled_as_ever(void **state)
{
    rig *r = *state;
    static const uint32_t sizes[] = {sizeof(tn_batch),
                                     offsetof(tn_batch, segments)};
    int32_t tokens[32], targets[32], untouched = -7;
    tn_error err = TN_ERROR_NONE;
    shards(r, "true", "0123", -1, 11);
    reading *d = opened(r, "token_file",
                        "{path: web, packing: document_start, segments: true}",
                        request(4, 8, 1));
    for (int i = 0; i < 2; i++) {
        tn_batch batch = {.struct_size = sizes[i],
                          .tokens = tokens,
                          .targets = targets,
                          .segments = i ? &untouched : NULL};
        tn_assert_ok_err(d->vtable->next(d->self, &batch, &err), err);
    }
    assert_int_equal(untouched, -7);
    closed(d);
}

/* ---- epochs ---- */

/* Bit by bit, the documents that begin in the row. */
static unsigned documents_in(const reading *d)
{
    static const int32_t starts[] = {0, 5, 17, 22, 28};
    unsigned found = 0;
    for (int64_t t = 0; t < d->seq_len; t++)
        for (int i = 0; i < 5; i++)
            if (d->tokens[t] == starts[i] && d->targets[t] == starts[i] + 1) {
                assert_false(found & 1u << i);
                found |= 1u << i;
            }
    return found;
}

static void documents_come_once_an_epoch_and_resume_exactly(void **state)
{
    rig *r = *state;
    static const char yaml[] = "{path: web, packing: document_start}";
    shards(r, "true", "0123", -1, 11);
    reading *whole = opened(r, "token_file", yaml, request(1, 8, 3));
    int32_t seen[12][8];
    unsigned epoch = 0, together = 0;
    for (int i = 0; i < 400; i++) {
        next(whole);
        if (i < 12)
            memcpy(seen[i], whole->tokens, sizeof seen[i]);
        const unsigned here = documents_in(whole);
        assert_true(here);
        assert_false(epoch & here);
        epoch = (epoch | here) == 0x1f ? 0 : epoch | here;
        if (here & 1u << 4)
            together |= here;
    }
    /* the short one has had every neighbour that it fits beside */
    assert_int_equal(together, 1u << 0 | 1u << 2 | 1u << 4);
    closed(whole);
    for (int stop = 0; stop < 12; stop++) {
        tn_cursor cursor;
        reading *a = opened(r, "token_file", yaml, request(1, 8, 3));
        for (int i = 0; i < stop; i++)
            next(a);
        a->vtable->save(a->self, &cursor);
        closed(a);
        reading *b = opened(r, "token_file", yaml, request(1, 8, 3));
        tn_assert_ok(b->vtable->restore(b->self, &cursor, NULL));
        next(b);
        assert_memory_equal(b->tokens, seen[stop], sizeof seen[stop]);
        closed(b);
    }
    tn_cursor cursor;
    tn_error err = TN_ERROR_NONE;
    reading *windows = opened(r, "token_file", "{path: web}", request(1, 8, 3));
    windows->vtable->save(windows->self, &cursor);
    closed(windows);
    reading *packed = opened(r, "token_file", yaml, request(1, 8, 3));
    assert_int_equal(packed->vtable->restore(packed->self, &cursor, &err),
                     TN_EINVALID);
    closed(packed);
}

static void damaged_or_foreign_shards_are_refused(void **state)
{
    rig *r = *state;
    tn_tokenizer_handle byte = {.struct_size = sizeof byte,
                                .vtable =
                                    rig_vtable(r, TN_KIND_TOKENIZER, "byte"),
                                .identity = "aaaabbbbccccdddd"};
    tn_assert_ok(byte.vtable->open(r->host, rig_options(r, byte.vtable, "{}"),
                                   &byte.self, NULL));
    tn_dataset_request asked = request(1, 8, 1);
    asked.tokenizer = &byte;
    shards(r, "true", "aaaabbbbccccdddd", -1, 11);
    closed(opened(r, "token_file", "{path: web}", asked));
    shards(r, "true", "0000bbbbccccdddd", -1, 11);
    fails_to_open(r, "token_file", "{path: web}", asked,
                  "index.json: its tokens were made with another vocabulary "
                  "(byte, 256 ids, 0000bbbbcccc) than the configured "
                  "tokenizer's (256 ids, aaaabbbbcccc)");
    asked.tokenizer = NULL;
    shards(r, "false", "0", -1, 11);
    fails_to_open(r, "token_file", "{path: web}", asked,
                  "the texts are not all tokenized yet");
    shards(r, "true", "0", -1, 12);
    fails_to_open(r, "token_file", "{path: web}", asked,
                  "shard-00001.bin has 11 tokens and index.json says 12");
    shards(r, "true", "0", -1, 11);
    static const uint64_t unsorted[] = {3, 3}, outside[] = {2, 11};
    rig_file(r, "web/shard-00001.starts", unsorted, sizeof unsorted);
    fails_to_open(r, "token_file", "{path: web}", asked,
                  "document 1 starts at 3, which is not between 4 and");
    rig_file(r, "web/shard-00001.starts", outside, sizeof outside);
    fails_to_open(r, "token_file", "{path: web}", asked,
                  "document 1 starts at 11, which is not between 3 and");
    rig_file(r, "web/index.json", "{\"format\": 3}", 13);
    fails_to_open(r, "token_file", "{path: web}", asked,
                  "index.json: not an index of token shards");
    rig_file(r, "web/index.json", "{", 1);
    fails_to_open(r, "token_file", "{path: web}", asked, "index.json:1:");
    static const char escape[] =
        "{\"format\": \"tenon-tokens\", \"complete\": true, "
        "\"dtype\": \"u16\", \"shards\": [{\"file\": \"../x.bin\"}]}";
    rig_file(r, "web/index.json", escape, sizeof escape - 1);
    fails_to_open(r, "token_file", "{path: web}", asked,
                  "\"../x.bin\" is not the name of a shard");
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
        RIG_TEST(files_lists_and_patterns_are_one_row_of_tokens),
        RIG_TEST(an_index_says_what_its_shards_are),
        RIG_TEST(rows_begin_with_documents_and_targets_stay_inside),
        RIG_TEST(windows_number_the_documents_in_them),
        RIG_TEST(a_token_may_say_where_documents_begin),
        RIG_TEST(packed_documents_are_numbered_and_so_is_padding),
        RIG_TEST(batches_without_segments_are_filled_as_ever),
        RIG_TEST(documents_come_once_an_epoch_and_resume_exactly),
        RIG_TEST(damaged_or_foreign_shards_are_refused),
        RIG_TEST(text_bytes_are_counted_where_a_tokenizer_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
