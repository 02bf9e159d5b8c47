/*
 * test_sha256.c - the examples of FIPS 180-4 and its ends of blocks.
 */
#include "tn_test.h"

#include "base/sha256.h"

static const char *hex_of(const char *text, size_t bytes)
{
    static char hex[TNI_SHA256_HEX];
    tni_sha256 sha;
    tni_sha256_init(&sha);
    tni_sha256_update(&sha, text, bytes);
    tni_sha256_hex(&sha, hex);
    return hex;
}

/* From NIST's example values and FIPS 180-2, appendix B. */
static void known_texts_have_known_sums(void **state)
{
    (void)state;
    const char *two_blocks =
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_string_equal(
        hex_of("", 0),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(
        hex_of("abc", 3),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(
        hex_of(two_blocks, strlen(two_blocks)),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* A million times "a", in pieces of a size that never meets a block's end. */
static void a_million_bytes_in_odd_pieces(void **state)
{
    (void)state;
    char piece[997], hex[TNI_SHA256_HEX];
    size_t left = 1000000;
    tni_sha256 sha;
    memset(piece, 'a', sizeof piece);
    tni_sha256_init(&sha);
    while (left) {
        const size_t n = left < sizeof piece ? left : sizeof piece;
        tni_sha256_update(&sha, piece, n);
        left -= n;
    }
    tni_sha256_hex(&sha, hex);
    assert_string_equal(
        hex,
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Around the place where padding needs a block of its own. */
static void lengths_around_a_block_are_padded_right(void **state)
{
    (void)state;
    static const struct {
        size_t bytes;
        const char *hex;
    } cases[] = {
        {55,
         "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {56,
         "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {63,
         "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {64,
         "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {65,
         "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"},
    };
    char text[65];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(hex_of(text, cases[i].bytes), cases[i].hex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts_have_known_sums),
        cmocka_unit_test(a_million_bytes_in_odd_pieces),
        cmocka_unit_test(lengths_around_a_block_are_padded_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
