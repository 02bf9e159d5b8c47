/*
 * test_tokenizer.c - `tenon tokenizer`, from training to decoding.
 */
#include "program.h"

#include <jansson.h>
#include <sys/socket.h>

/* The next runs read this. */
static void input(const program *p, const void *bytes, size_t count)
{
    char path[128];
    snprintf(path, sizeof path, "%s/input", p->folder);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    assert_int_equal(fwrite(bytes, 1, count, to), count);
    fclose(to);
    const int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    close(fd);
}

static void train(program *p)
{
    assert_int_equal(RUN(p, "tokenizer", "train", "-i", "text.txt",
                         "--vocab-size", "280", "-o", "t"),
                     0);
    tn_assert_says_(__FILE__, __LINE__, p->out, "t: 280 tokens from 1 document,");
    assert_true(program_exists(p, "t/tokenizer.json"));
    assert_true(program_exists(p, "t/tokenizer.tiktoken"));
}

static void what_is_encoded_is_decoded(void **state)
{
    program *p = *state;
    static const char text[] = "4 times 7 is 28.\n\xff\xc3\xa9<|bos|>\n";
    train(p);
    input(p, text, sizeof text - 1);
    assert_int_equal(RUN(p, "tokenizer", "encode", "-t", "t"), 0);
    assert_int_equal(strspn(p->out, "0123456789 \n"), strlen(p->out));
    input(p, p->out, strlen(p->out));
    assert_int_equal(RUN(p, "tokenizer", "decode", "-t", "t"), 0);
    assert_string_equal(p->out, text);
}

static void special_tokens_only_where_asked_for(void **state)
{
    program *p = *state;
    train(p);
    input(p, "<|bos|>4", 8);
    assert_int_equal(
        RUN(p, "tokenizer", "encode", "-t", "t", "--special", "--json"), 0);
    assert_string_equal(p->out, "[271, 52]\n");
    /* Either form comes back. */
    input(p, p->out, strlen(p->out));
    assert_int_equal(RUN(p, "tokenizer", "decode", "-t", "t", "--special"), 0);
    assert_string_equal(p->out, "<|bos|>4");
    input(p, "271 52", 6);
    assert_int_equal(RUN(p, "tokenizer", "decode", "-t", "t"), 0);
    assert_string_equal(p->out, "4");
}

static void one_may_choose_the_special_tokens(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "tokenizer", "train", "-i", "text.txt",
                         "--vocab-size", "270", "--special", "<\"a\">",
                         "--special", "<b>", "-o", "t"),
                     0);
    input(p, "<\"a\"><b>", 8);
    assert_int_equal(RUN(p, "tokenizer", "encode", "-t", "t", "--special"), 0);
    assert_string_equal(p->out, "268 269\n");
    assert_int_equal(RUN(p, "tokenizer", "train", "-i", "text.txt",
                         "--vocab-size", "256", "--no-special", "-o", "none"),
                     0);
    input(p, "<\"a\"><b>", 8);
    assert_int_equal(RUN(p, "tokenizer", "encode", "-t", "none"), 0);
    assert_string_equal(p->out, "60 34 97 34 62 60 98 62\n");
}

static void several_texts_may_follow_one_i(void **state)
{
    program *p = *state;
    program_write(p, "more.txt", "zq zq zq");
    assert_int_equal(RUN(p, "tokenizer", "train", "-i", "text.txt", "more.txt",
                         "--vocab-size", "280", "-o", "t"),
                     0);
    tn_assert_says_(__FILE__, __LINE__, p->out, "from 2 documents");
}

static void json_lines_are_learned_from_by_field(void **state)
{
    program *p = *state;
    program_write(p, "d.jsonl",
                  "{\"body\": \"zq zq zq\"}\n{\"body\": \"zq\"}\n");
    assert_int_equal(RUN(p, "tokenizer", "train", "-i", "d.jsonl", "--field",
                         "body", "--no-special", "--vocab-size", "257", "-o",
                         "t"),
                     0);
    tn_assert_says_(__FILE__, __LINE__, p->out, "from 2 documents, 10 bytes");
    input(p, "zq", 2);
    assert_int_equal(RUN(p, "tokenizer", "encode", "-t", "t"), 0);
    assert_string_equal(p->out, "256\n");
    assert_int_equal(RUN(p, "tokenizer", "train", "-i", "d.jsonl",
                         "--vocab-size", "300", "-o", "u"),
                     1);
    tn_assert_says_(__FILE__, __LINE__, p->err,
                    "d.jsonl:1: no text under \"text\"");
}

/* Editors on Windows write one. */
static void a_byte_order_mark_is_no_part_of_a_file(void **state)
{
    program *p = *state;
    char text[1 << 15] = "\xef\xbb\xbf", said[sizeof p->out];
    train(p);
    input(p, "4 times 7", 9);
    assert_int_equal(RUN(p, "tokenizer", "encode", "-t", "t"), 0);
    memcpy(said, p->out, sizeof said);
    program_read(p, "t/tokenizer.json", text + 3, sizeof text - 3);
    program_write(p, "marked.json", text);
    program_read(p, "t/tokenizer.tiktoken", text + 3, sizeof text - 3);
    program_write(p, "marked.tiktoken", text);
    for (int i = 0; i < 2; i++) {
        input(p, "4 times 7", 9);
        assert_int_equal(RUN(p, "tokenizer", "encode", "-t",
                             i ? "marked.json" : "marked.tiktoken", "--pattern",
                             "nanochat"),
                         0);
        assert_string_equal(p->out, said);
    }
    program_write(p, "d.jsonl", "\xef\xbb\xbf{\"text\": \"zq zq zq\"}\n");
    assert_int_equal(RUN(p, "tokenizer", "train", "-i", "d.jsonl",
                         "--vocab-size", "300", "-o", "u"),
                     0);
    tn_assert_says_(__FILE__, __LINE__, p->out, "from 1 document, 8 bytes");
}

static void a_trained_tokenizer_serves_a_run(void **state)
{
    program *p = *state;
    train(p);
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--set",
                         "tokenizer={plugin: bpe, path: t}", "--set",
                         "model.vocab_size=280", "--max-steps", "3"),
                     0);
}

static void eval_compares_bytes_per_token(void **state)
{
    program *p = *state;
    train(p);
    assert_int_equal(
        RUN(p, "tokenizer", "eval", "-t", "byte", "-t", "t", "text.txt"), 0);
    tn_assert_says_(__FILE__, __LINE__, p->out, "byte (256)");
    tn_assert_says_(__FILE__, __LINE__, p->out, "t (280)");
    tn_assert_says_(__FILE__, __LINE__, p->out, "text.txt");
    assert_int_equal(
        RUN(p, "tokenizer", "eval", "-t", "byte", "-t", "t", "--json"), 0);
    json_t *root = json_loads(p->out, 0, NULL);
    assert_int_equal(json_array_size(root), 2);
    const json_t *texts = json_object_get(json_array_get(root, 0), "texts");
    assert_true(json_array_size(texts) > 5);
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *one = json_array_get(texts, i);
        assert_int_equal(json_integer_value(json_object_get(one, "bytes")),
                         json_integer_value(json_object_get(one, "tokens")));
    }
    json_decref(root);
}

static void standard_input_is_read_from_where_it_stands(void **state)
{
    program *p = *state;
    int ends[2];
    input(p, "ABC", 3);
    assert_int_equal(lseek(STDIN_FILENO, 1, SEEK_SET), 1);
    assert_int_equal(RUN(p, "tokenizer", "encode", "-t", "byte"), 0);
    assert_string_equal(p->out, "66 67\n");
    /* a socket has no name that could be opened */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(write(ends[0], "D", 1), 1);
    close(ends[0]);
    assert_int_equal(dup2(ends[1], STDIN_FILENO), STDIN_FILENO);
    close(ends[1]);
    assert_int_equal(RUN(p, "tokenizer", "encode", "-t", "byte"), 0);
    assert_string_equal(p->out, "68\n");
}

/* The first file that is opened, a plugin, must not become it. */
static void closed_standard_input_is_not_another_file(void **state)
{
    program *p = *state;
    const int kept = dup(STDIN_FILENO);
    close(STDIN_FILENO);
    assert_int_equal(RUN(p, "tokenizer", "encode", "-t", "byte"), 1);
    assert_string_equal(p->out, "");
    tn_assert_says_(__FILE__, __LINE__, p->err, "cannot read standard input");
    assert_int_equal(dup2(kept, STDIN_FILENO), STDIN_FILENO);
    close(kept);
}

static void misuse_is_told(void **state)
{
    program *p = *state;
    static const struct {
        const char *words[6], *sentence;
        int status;
    } cases[] = {
        {{"tokenizer"}, "encode, decode, train or eval", 2},
        {{"tokenizer", "encod"}, "encod: encode, decode, train or eval", 2},
        {{"tokenizer", "encode"}, "-t FILE is missing", 2},
        {{"tokenizer", "encode", "-t", "byte", "x"},
         "x: text comes from standard input",
         2},
        {{"tokenizer", "eval"}, "-t FILE is missing", 2},
        {{"tokenizer", "train", "-o", "t"}, "-i TEXT, --vocab-size N", 2},
        {{"tokenizer", "encode", "-t", "no.json"}, "no.json: cannot open", 1},
        {{"tokenizer", "eval", "-t", "byte", "no.txt"}, "no.txt", 1},
    };
    input(p, "x", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(program_wait(p, program_start(p, cases[i].words)),
                         cases[i].status);
        tn_assert_says_(__FILE__, __LINE__, p->err, cases[i].sentence);
    }
}

static void ids_that_are_none_are_refused_with_their_place(void **state)
{
    program *p = *state;
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"65 x 66", "\"x\" at byte 3 is no token id"},
        {"65 6.6", "\"6.6\" at byte 3 is no token id"},
        {"65, 256", "token 256 is outside"},
        {"99999999999999999999", "is no token id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        input(p, cases[i].text, strlen(cases[i].text));
        assert_int_equal(RUN(p, "tokenizer", "decode", "-t", "byte"), 1);
        tn_assert_says_(__FILE__, __LINE__, p->err, cases[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(what_is_encoded_is_decoded),
        WITH_PROGRAM(special_tokens_only_where_asked_for),
        WITH_PROGRAM(one_may_choose_the_special_tokens),
        WITH_PROGRAM(several_texts_may_follow_one_i),
        WITH_PROGRAM(json_lines_are_learned_from_by_field),
        WITH_PROGRAM(a_byte_order_mark_is_no_part_of_a_file),
        WITH_PROGRAM(a_trained_tokenizer_serves_a_run),
        WITH_PROGRAM(eval_compares_bytes_per_token),
        WITH_PROGRAM(standard_input_is_read_from_where_it_stands),
        WITH_PROGRAM(closed_standard_input_is_not_another_file),
        WITH_PROGRAM(misuse_is_told),
        WITH_PROGRAM(ids_that_are_none_are_refused_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
