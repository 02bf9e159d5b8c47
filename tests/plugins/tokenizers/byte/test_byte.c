/*
 * test_byte.c - every text is its own bytes.
 */
#include <tenon/tokenizer.h>

#include "../../plugin_rig.h"

enum { COUNT = 5000 };

typedef struct taken {
    int32_t ids[COUNT];
    uint64_t count, limit;
} taken;

static tn_status take(void *to, const int32_t *ids, uint64_t count,
                      tn_error *err)
{
    taken *t = to;
    if (t->count + count > t->limit)
        return tn_fail(err, TN_EREFUSED, "enough");
    memcpy(t->ids + t->count, ids, count * sizeof *ids);
    t->count += count;
    return TN_OK;
}

static const tn_tokenizer *opened(rig *r, void **self)
{
    const tn_tokenizer *byte = rig_vtable(r, TN_KIND_TOKENIZER, "byte");
    tn_assert_ok(byte->open(r->host, rig_options(r, byte, "{}"), self, NULL));
    return byte;
}

static void any_bytes_come_back(void **state)
{
    rig *r = *state;
    void *self = NULL;
    const tn_tokenizer *byte = opened(r, &self);
    char text[COUNT];
    for (int i = 0; i < COUNT; i++)
        text[i] = (char)(i * 7 + i / 256);
    taken t = {.limit = COUNT};
    tn_assert_ok(byte->encode(self, text, COUNT, 1, take, &t, NULL));
    assert_int_equal(t.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        const char *bytes = NULL;
        uint32_t count = 0;
        assert_int_equal(t.ids[i], (unsigned char)text[i]);
        tn_assert_ok(byte->bytes_of(self, t.ids[i], &bytes, &count, NULL));
        assert_int_equal(count, 1);
        assert_int_equal(bytes[0], text[i]);
    }
    byte->close(self);
}

static void the_vocabulary_is_256_ids_without_special_ones(void **state)
{
    rig *r = *state;
    void *self = NULL;
    const tn_tokenizer *byte = opened(r, &self);
    static const int32_t outside[] = {-1, 256, INT32_MIN, INT32_MAX};
    assert_int_equal(byte->vocab_size(self), 256);
    assert_int_equal(byte->special(self, "<|endoftext|>"), -1);
    for (int i = 0; i < 4; i++) {
        const char *bytes = NULL;
        uint32_t count = 0;
        tn_error err = TN_ERROR_NONE;
        assert_int_equal(byte->bytes_of(self, outside[i], &bytes, &count, &err),
                         TN_EINVALID);
        tn_assert_error_says(err, "outside the byte vocabulary, 0 to 255");
    }
    byte->close(self);
}

static void a_sink_that_refuses_is_heard(void **state)
{
    rig *r = *state;
    void *self = NULL;
    const tn_tokenizer *byte = opened(r, &self);
    static const char text[COUNT];
    taken t = {.limit = 3000};
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(byte->encode(self, text, COUNT, 0, take, &t, &err),
                     TN_EREFUSED);
    tn_assert_error_says(err, "enough");
    t.count = 0;
    tn_assert_ok(byte->encode(self, text, 0, 0, take, &t, NULL));
    assert_int_equal(t.count, 0);
    byte->close(self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(any_bytes_come_back),
        RIG_TEST(the_vocabulary_is_256_ids_without_special_ones),
        RIG_TEST(a_sink_that_refuses_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
