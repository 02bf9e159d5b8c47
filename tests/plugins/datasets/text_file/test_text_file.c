/*
 * test_text_file.c - text through a tokenizer into the same windows.
 */
#include "../dataset_rig.h"

static tn_tokenizer_handle byte_handle(rig *r)
{
    const tn_tokenizer *byte = rig_vtable(r, TN_KIND_TOKENIZER, "byte");
    tn_tokenizer_handle handle = {.struct_size = sizeof handle, .vtable = byte};
    tn_assert_ok(
        byte->open(r->host, rig_options(r, byte, "{}"), &handle.self, NULL));
    return handle;
}

static void a_text_becomes_windows_of_its_bytes(void **state)
{
    rig *r = *state;
    const tn_tokenizer_handle handle = byte_handle(r);
    const char text[] = "To be, or not to be";
    rig_file(r, "a.txt", text, sizeof text - 1);
    tn_dataset_request asked = request(2, 6, 1);
    asked.vocab_size = 256;
    asked.tokenizer = &handle;
    reading *d = opened(r, "text_file", "{path: a.txt, shuffle: false}", asked);
    assert_int_equal(info_of(d).tokens, 19);
    assert_int_equal(info_of(d).rows_per_epoch, 3);
    next(d);
    for (int t = 0; t < 12; t++) {
        assert_int_equal(d->tokens[t], text[t]);
        assert_int_equal(d->targets[t], text[t + 1]);
    }
    assert_int_equal(d->bytes, 12);
    closed(d);
}

/* More than one piece of the tokenizer, every byte value, both id widths. */
static void long_texts_of_any_bytes_are_read_alike(void **state)
{
    rig *r = *state;
    const tn_tokenizer_handle handle = byte_handle(r);
    enum { COUNT = 50001 };
    unsigned char *text = tni_arena_alloc(r->arena, COUNT);
    uint32_t *ids = tni_arena_alloc(r->arena, COUNT * sizeof *ids);
    for (uint32_t i = 0; i < COUNT; i++)
        ids[i] = text[i] = (unsigned char)(i * i / 7);
    rig_file(r, "a.txt", text, COUNT);
    rig_file(r, "a.bin", ids, COUNT * sizeof *ids);
    static const int64_t vocabularies[] = {256, 65536, 65537};
    for (int v = 0; v < 3; v++) {
        tn_dataset_request asked = request(4, 50, 9);
        asked.vocab_size = vocabularies[v];
        asked.tokenizer = &handle;
        reading *a = opened(r, "text_file", "{path: a.txt}", asked);
        reading *b = opened(r, "token_file", "{path: a.bin}", asked);
        for (int i = 0; i < 300; i++) {
            next(a);
            next(b);
            assert_memory_equal(a->tokens, b->tokens, 200 * sizeof(int32_t));
            assert_memory_equal(a->targets, b->targets, 200 * sizeof(int32_t));
            assert_int_equal(a->bytes, 200);
        }
        closed(a);
        closed(b);
    }
}

/* Gives every byte the id 65471 + byte: 65536 does not fit two bytes. */
static tn_status encode_high(const void *self, const char *text, uint64_t bytes,
                             uint32_t allow_special, tn_token_sink sink,
                             void *to, tn_error *err)
{
    (void)self;
    (void)allow_special;
    for (uint64_t i = 0; i < bytes; i++) {
        const int32_t id = 65471 + (unsigned char)text[i];
        TN_TRY(sink(to, &id, 1, err));
    }
    return TN_OK;
}

static void ids_of_large_vocabularies_stay_whole(void **state)
{
    rig *r = *state;
    tn_tokenizer_handle handle = byte_handle(r);
    tn_tokenizer high = *handle.vtable;
    high.encode = encode_high;
    handle.vtable = &high;
    rig_file(r, "a.txt", "AAAAAAAAAA", 10);
    tn_dataset_request asked = request(1, 4, 1);
    asked.vocab_size = 65537;
    asked.tokenizer = &handle;
    reading *d = opened(r, "text_file", "{path: a.txt}", asked);
    next(d);
    assert_int_equal(d->tokens[0], 65536);
    assert_int_equal(d->targets[3], 65536);
    closed(d);
}

static void its_cursor_is_exact(void **state)
{
    rig *r = *state;
    const tn_tokenizer_handle handle = byte_handle(r);
    char text[700];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 31 % 97);
    rig_file(r, "a.txt", text, sizeof text);
    tn_dataset_request asked = request(3, 16, 2);
    asked.tokenizer = &handle;
    reading *a = opened(r, "text_file", "{path: a.txt}", asked);
    reading *b = opened(r, "text_file", "{path: a.txt}", asked);
    for (int i = 0; i < 33; i++)
        next(a);
    tn_cursor cursor;
    a->vtable->save(a->self, &cursor);
    tn_assert_ok(b->vtable->restore(b->self, &cursor, NULL));
    next(a);
    next(b);
    assert_memory_equal(a->tokens, b->tokens, 48 * sizeof(int32_t));
    closed(a);
    closed(b);
}

static void what_cannot_be_tokenized_is_refused(void **state)
{
    rig *r = *state;
    const tn_tokenizer_handle handle = byte_handle(r);
    rig_file(r, "a.txt", "some text", 9);
    rig_file(r, "empty.txt", "", 0);
    rig_file(r, "high.txt", "some text \xf0", 11);
    tn_dataset_request asked = request(1, 4, 1);
    fails_to_open(r, "text_file", "{path: a.txt}", asked,
                  "a.txt: a text needs a tokenizer");
    asked.tokenizer = &handle;
    fails_to_open(r, "text_file", "{path: none.txt}", asked, "No such file");
    fails_to_open(r, "text_file", "{path: empty.txt}", asked,
                  "empty.txt is empty");
    asked.vocab_size = 128;
    fails_to_open(r, "text_file", "{path: high.txt}", asked,
                  "high.txt: the tokenizer gives id 240, outside the model's "
                  "vocabulary of 128; raise model.vocab_size");
    asked.seq_len = 9;
    fails_to_open(r, "text_file", "{path: a.txt}", asked,
                  "has 9 of the file's 9 tokens; one window needs 10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_text_becomes_windows_of_its_bytes),
        RIG_TEST(long_texts_of_any_bytes_are_read_alike),
        RIG_TEST(ids_of_large_vocabularies_stay_whole),
        RIG_TEST(its_cursor_is_exact),
        RIG_TEST(what_cannot_be_tokenized_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
