/*
 * test_safetensors.c - files of weights: what is read, what is refused.
 */
#include "tn_test.h"

#include <unistd.h>

#include "run/safetensors.h"

static char path[] = "/tmp/tenon_safetensors_XXXXXX";

/* A file of `header` (its length written before it) and `bytes` of data. */
static void write_file(const char *header, const void *data, size_t bytes)
{
    const uint64_t n = strlen(header);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    for (int i = 0; i < 8; i++)
        fputc((int)(n >> 8 * i & 255), to);
    fwrite(header, 1, n, to);
    fwrite(data, 1, bytes, to);
    fclose(to);
}

static void refuses(const char *header, size_t bytes, const char *sentence)
{
    static const char zeros[256];
    tni_safetensors *file;
    tn_error err = TN_ERROR_NONE;
    write_file(header, zeros, bytes);
    assert_int_equal(tni_safetensors_open(path, &file, &err), TN_EFORMAT);
    tn_assert_error_says(err, sentence);
    tn_assert_error_says(err, path);
}

#define TENSOR(dtype, shape, from, to)                                         \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #from    \
    "," #to "]}"

static void reads_every_kind_of_real_number(void **state)
{
    /* 1.5 as F32, F64, BF16 and F16, by hand from their bit layouts */
    static const unsigned char data[] = {0,    0,    0xC0, 0x3F, /* F32 */
                                         0,    0,    0,    0,    0, 0,
                                         0xF8, 0x3F, 0xC0, 0x3F, /* BF16 */
                                         0x00, 0x3E /* F16 */};
    static const char *const name[] = {"a", "b", "c", "d"};
    tni_safetensors *file;
    tn_error err = TN_ERROR_NONE;
    (void)state;
    write_file(
        "{\"a\":" TENSOR("F32", "[1]", 0, 4) ",\"b\":" TENSOR(
            "F64", "[]", 4,
            12) ",\"c\":" TENSOR("BF16", "[1,1]", 12,
                                 14) ",\"d\":" TENSOR("F16", "[1]", 14, 16) "}",
        data, sizeof data);
    tn_assert_ok_err(tni_safetensors_open(path, &file, &err), err);
    for (int i = 0; i < 4; i++) {
        float value = 0;
        const tni_stored *t = tni_safetensors_find(file, name[i]);
        assert_non_null(t);
        tn_assert_ok_err(tni_safetensors_read(file, t, 0, 1, &value, &err),
                         err);
        tn_assert_near(value, 1.5, 0);
    }
    assert_null(tni_safetensors_find(file, "e"));
    tni_safetensors_close(file);
}

static void reads_the_ends_of_half_precision(void **state)
{
    /* smallest subnormal, largest, -inf, smallest normal */
    static const unsigned char data[] = {0x01, 0x00, 0xFF, 0x7B,
                                         0x00, 0xFC, 0x00, 0x04};
    tni_safetensors *file;
    float x[4];
    (void)state;
    write_file("{\"a\":" TENSOR("F16", "[4]", 0, 8) "}", data, sizeof data);
    tn_assert_ok(tni_safetensors_open(path, &file, NULL));
    tn_assert_ok(tni_safetensors_read(file, tni_safetensors_find(file, "a"), 0,
                                      4, x, NULL));
    float rest[2];
    tn_assert_ok(tni_safetensors_read(file, tni_safetensors_find(file, "a"), 2,
                                      2, rest, NULL));
    tn_assert_close(rest + 1, x + 3, 1, 0, 0);
    tn_assert_near(x[0], 0x1p-24, 0);
    tn_assert_near(x[1], 65504.0, 0);
    assert_true(isinf(x[2]) && x[2] < 0);
    tn_assert_near(x[3], 0x1p-14, 0);
    tni_safetensors_close(file);
}

static tn_status count_up(void *from, uint32_t i, int64_t offset, void *to,
                          int64_t bytes, tn_error *err)
{
    float *values = to;
    (void)from;
    (void)err;
    for (int64_t e = 0; e < bytes / 4; e++)
        values[e] = (float)(100 * i + (uint32_t)(offset / 4 + e));
    return TN_OK;
}

static void reads_back_what_it_writes(void **state)
{
    static const tni_to_store tensors[] = {
        {"model.b", TN_F32, 2, {2, 3, 0, 0, 0, 0}},
        {"model.a", TN_F32, 1, {5, 0, 0, 0, 0, 0}}};
    static const float want[] = {0, 1, 2, 3, 4, 5};
    tni_safetensors *file;
    tn_error err = TN_ERROR_NONE;
    float got[6];
    uint32_t count;
    (void)state;
    tn_assert_ok_err(
        tni_safetensors_write(path, tensors, 2, count_up, NULL, &err), err);
    tn_assert_ok_err(tni_safetensors_open(path, &file, &err), err);
    const tni_stored *list = tni_safetensors_list(file, &count);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].name, "model.a");
    tn_assert_ok(tni_safetensors_read(file, &list[1], 0, 6, got, &err));
    tn_assert_close(got, want, 6, 0, 0);
    assert_int_equal(list[1].offset % 8, 0);
    tni_safetensors_close(file);
}

static void refuses_headers_that_lie(void **state)
{
    (void)state;
    refuses("{\"a\":" TENSOR("F32", "[2]", 0, 4) "}", 4, "do not fill");
    refuses("{\"a\":" TENSOR("F32", "[1]", 0, 400) "}", 4, "within the 4");
    refuses("{\"a\":" TENSOR("F32", "[1]", 4, 0) "}", 4, "within the 4");
    refuses("{\"a\":" TENSOR("F32", "[1]", 4, 8) "}", 8, "leave a hole");
    refuses("{\"a\":" TENSOR("F32", "[2]", 0, 8) ",\"b\":" TENSOR("F32", "[1]",
                                                                  4, 8) "}",
            8, "overlap");
    refuses("{\"a\":" TENSOR("F32", "[1]", 0, 4) "}", 8, "the file has 8");
    refuses("{\"a\":" TENSOR("F32", "[-1]", 0, 4) "}", 4, "is not a size");
    refuses("{\"a\":" TENSOR("F32", "[1.5]", 0, 4) "}", 4, "is not a size");
    refuses("{\"a\":" TENSOR("F31", "[1]", 0, 4) "}", 4, "dtype F31");
    refuses("{\"a\":" TENSOR("F32", "[1,1,1,1,1,1,1]", 0, 4) "}", 4,
            "at most 6");
    refuses(
        "{\"a\":" TENSOR("F32", "[4294967296,4294967296,4294967296]", 0, 0) "}",
        0, "is not a size");
    refuses("{\"a\":" TENSOR("F64", "[2305843009213693952]", 0, 0) "}", 0,
            "do not fill");
    refuses("{\"a\":1}", 0, "dtype (none)");
    refuses("[]", 0, "not a JSON object");
    refuses("{\"a\":", 0, "not a JSON object");
    refuses("{\"a\":" TENSOR("F32", "[0]", 0, 0) ",\"a\":" TENSOR("F32", "[0]",
                                                                  0, 0) "}",
            0, "not a JSON object");
}

static void refuses_a_file_cut_short(void **state)
{
    static const char data[8] = {0};
    tni_safetensors *file;
    tn_error err = TN_ERROR_NONE;
    (void)state;
    write_file("{\"a\":" TENSOR("F32", "[2]", 0, 8) "}", data, 8);
    for (off_t bytes = 0; bytes < 70; bytes += 7) {
        err = TN_ERROR_NONE;
        assert_int_equal(truncate(path, bytes), 0);
        assert_int_equal(tni_safetensors_open(path, &file, &err), TN_EFORMAT);
        write_file("{\"a\":" TENSOR("F32", "[2]", 0, 8) "}", data, 8);
    }
    assert_int_equal(tni_safetensors_open("/nowhere/x", &file, NULL),
                     TN_ENOTFOUND);
    assert_int_equal(tni_safetensors_open("/tmp", &file, NULL), TN_EIO);
}

static void refuses_to_read_integers_as_weights(void **state)
{
    static const char data[8] = {0};
    tni_safetensors *file;
    tn_error err = TN_ERROR_NONE;
    float x;
    (void)state;
    write_file("{\"a\":" TENSOR("I64", "[1]", 0, 8) "}", data, 8);
    tn_assert_ok(tni_safetensors_open(path, &file, NULL));
    assert_int_equal(tni_safetensors_read(file, tni_safetensors_find(file, "a"),
                                          0, 1, &x, &err),
                     TN_EFORMAT);
    tn_assert_error_says(err, "holds I64");
    tni_safetensors_close(file);
}

static int make_path(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind_of_real_number),
        cmocka_unit_test(reads_the_ends_of_half_precision),
        cmocka_unit_test(reads_back_what_it_writes),
        cmocka_unit_test(refuses_headers_that_lie),
        cmocka_unit_test(refuses_a_file_cut_short),
        cmocka_unit_test(refuses_to_read_integers_as_weights),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
