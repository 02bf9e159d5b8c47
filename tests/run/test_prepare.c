/*
 * test_prepare.c - texts to shards: every document once, in order, whatever
 * the number of threads and interruptions; what is damaged is refused.
 */
#include "run_rig.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "run/prepare.h"

/* The shards of a folder in order, bytes as the byte tokenizer made them. */
typedef struct {
    char *text;
    size_t count;
    uint64_t starts[8192];
    size_t documents;
} tokens;

static const char *in(run_rig *rig, const char *name)
{
    return tni_path_join(rig->arena, rig->folder, name);
}

static void put(run_rig *rig, const char *name, const void *bytes, size_t count)
{
    tn_assert_ok(tni_file_replace(in(rig, name), bytes, count, NULL));
}

static void put_gz(run_rig *rig, const char *name, const char *text)
{
    gzFile to = gzopen(in(rig, name), "wb");
    assert_int_equal(gzwrite(to, text, (unsigned)strlen(text)), strlen(text));
    gzclose(to);
}

static void put_zst(run_rig *rig, const char *name, const char *text)
{
    char packed[4096];
    const size_t n =
        ZSTD_compress(packed, sizeof packed, text, strlen(text), 3);
    assert_false(ZSTD_isError(n));
    put(rig, name, packed, n);
}

static tn_tokenizer_handle open_byte(run_rig *rig)
{
    tn_tokenizer_handle handle;
    tn_error err = TN_ERROR_NONE;
    const tni_reader reader = {
        .arena = rig->arena, .registry = rig->registry, .host = rig->host};
    tni_use use;
    tn_assert_ok_err(tni_use_read(&reader, TN_KIND_TOKENIZER,
                                  tni_yaml_scalar(rig->arena, "byte"),
                                  "tokenizer", NULL, &use, &err),
                     err);
    tn_assert_ok_err(tni_tokenizer_open(rig->host, &use, &handle, &err), err);
    return handle;
}

static tni_prepare_request request_of(run_rig *rig, const char *from,
                                      const char *to)
{
    const char **paths = tni_arena_alloc(rig->arena, sizeof *paths);
    paths[0] = in(rig, from);
    return (tni_prepare_request){.host = rig->host,
                                 .tokenizer_name = "byte",
                                 .paths = paths,
                                 .path_count = 1,
                                 .dir = in(rig, to),
                                 .field = "text",
                                 .shard_tokens = 1000,
                                 .threads = 2};
}

static tn_status prepare(run_rig *rig, tni_prepare_request request,
                         tni_token_index *index, tn_error *err)
{
    tn_tokenizer_handle tokenizer = open_byte(rig);
    request.tokenizer = &tokenizer;
    const tn_status status = tni_prepare(rig->arena, &request, index, err);
    tni_tokenizer_close(&tokenizer);
    return status;
}

static tni_token_index prepared(run_rig *rig, tni_prepare_request request)
{
    tni_token_index index;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(prepare(rig, request, &index, &err), err);
    return index;
}

/* ids of u16, all of them bytes */
static tokens read_back(run_rig *rig, const tni_token_index *x, const char *dir)
{
    tokens t = {.text = tni_arena_alloc(rig->arena, x->tokens + 1)};
    for (size_t i = 0; i < x->shard_count; i++) {
        char path[256], *ids, *starts;
        size_t bytes, start_bytes;
        tni_token_shard_path(path, sizeof path, in(rig, dir), i, "bin");
        tn_assert_ok(
            tni_file_read(rig->arena, path, 1 << 28, &ids, &bytes, NULL));
        tni_token_shard_path(path, sizeof path, in(rig, dir), i, "starts");
        tn_assert_ok(tni_file_read(rig->arena, path, 1 << 28, &starts,
                                   &start_bytes, NULL));
        assert_int_equal(bytes, 2 * x->shards[i].tokens);
        assert_int_equal(start_bytes, 8 * x->shards[i].documents);
        for (size_t s = 0; s < start_bytes; s += 8) {
            uint64_t at;
            memcpy(&at, starts + s, 8);
            t.starts[t.documents++] = t.count + at;
        }
        for (size_t b = 0; b < bytes; b += 2) {
            assert_int_equal(ids[b + 1], 0);
            t.text[t.count++] = ids[b];
        }
    }
    assert_int_equal(t.count, x->tokens);
    assert_int_equal(t.documents, x->documents);
    return t;
}

/* ---- what is read ---- */

static void folders_are_read_in_order_of_names_and_kinds_are_told(void **state)
{
    run_rig *rig = *state;
    tn_assert_ok(tni_folder_make(in(rig, "t/sub"), NULL));
    put(rig, "t/b.txt", "plain\ntext\n", 11);
    put_gz(rig, "t/a.jsonl.gz",
           "{\"text\": \"one\"}\n\n  \n{\"text\":\"\"}\n"
           "{\"n\": 1, \"text\": \"tw\\u00f6\"}");
    put_zst(rig, "t/sub/c.txt.zst", "zst");
    put_gz(rig, "t/sub/d.md.gz", "gz");
    put(rig, "t/.hidden.txt", "no", 2);
    put(rig, "t/e.bin", "no", 2);
    put(rig, "t/f.txt", "", 0);
    const tni_token_index x = prepared(rig, request_of(rig, "t", "o"));
    const tokens t = read_back(rig, &x, "o");
    assert_string_equal(t.text, "onetw\xc3\xb6plain\ntext\nzstgz");
    static const uint64_t starts[] = {0, 3, 7, 18, 21};
    assert_int_equal(t.documents, 5);
    assert_memory_equal(t.starts, starts, sizeof starts);
    assert_int_equal(x.shard_count, 1);
    assert_int_equal(x.complete, 1);
    assert_int_equal(x.text_bytes, 23);
    assert_int_equal(x.width, 2);
    assert_int_equal(strlen(x.identity), 64);
}

static void a_link_back_is_not_followed(void **state)
{
    run_rig *rig = *state;
    tn_assert_ok(tni_folder_make(in(rig, "web/below"), NULL));
    tn_assert_ok(tni_folder_make(in(rig, "other"), NULL));
    put(rig, "web/a.txt", "a", 1);
    put(rig, "web/below/b.txt", "b", 1);
    put(rig, "other/c.txt", "c", 1);
    assert_int_equal(symlink(".", in(rig, "web/itself")), 0);
    assert_int_equal(symlink("..", in(rig, "web/below/back")), 0);
    assert_int_equal(symlink("../../web", in(rig, "web/below/again")), 0);
    assert_int_equal(symlink("../other", in(rig, "web/other")), 0);
    const tni_token_index x = prepared(rig, request_of(rig, "web", "o"));
    assert_int_equal(x.documents, 3);
}

static void
patterns_are_expanded_and_files_named_like_them_are_files(void **state)
{
    run_rig *rig = *state;
    put(rig, "p1.txt", "1", 1);
    put(rig, "p2.txt", "2", 1);
    put(rig, "q[1].txt", "3", 1);
    const tni_token_index x = prepared(rig, request_of(rig, "p*.txt", "o"));
    assert_string_equal(read_back(rig, &x, "o").text, "12");
    const tni_token_index y = prepared(rig, request_of(rig, "q[1].txt", "o2"));
    assert_string_equal(read_back(rig, &y, "o2").text, "3");
}

static char *lines_of_json(run_rig *rig, int count)
{
    char *text = tni_arena_alloc(rig->arena, (size_t)count * 80 + 1),
         *at = text;
    for (int i = 0; i < count; i++)
        at += sprintf(at, "{\"text\": \"document %d of %.*s.\"}\n", i, i % 23,
                      "abcdefghijklmnopqrstuvw");
    return text;
}

static void a_long_text_is_cut_before_letters_and_is_one_document(void **state)
{
    run_rig *rig = *state;
    const size_t size = 3 * TNI_PIECE_BYTES + 12345;
    char *text = tni_arena_alloc(rig->arena, size + 1);
    for (size_t i = 0; i < size; i++)
        text[i] = i % 61 == 60 ? '\n' : (char)('a' + i % 26);
    put(rig, "long.txt", text, size);
    const tni_token_index x = prepared(rig, request_of(rig, "long.txt", "o"));
    const tokens t = read_back(rig, &x, "o");
    assert_int_equal(t.documents, 1);
    assert_int_equal(t.count, size);
    assert_memory_equal(t.text, text, size);
    assert_int_equal(x.shard_count, 4); /* cut between pieces only */

    memset(text, 'a', size); /* nowhere to cut */
    put(rig, "one.txt", text, size);
    const tni_token_index y = prepared(rig, request_of(rig, "one.txt", "o2"));
    assert_int_equal(y.tokens, size);
    assert_int_equal(y.shard_count, 1);
}

/* ---- the same, however it came about ---- */

static void assert_same(run_rig *rig, const tni_token_index *a, const char *at,
                        const tni_token_index *b, const char *bt)
{
    const tokens x = read_back(rig, a, at), y = read_back(rig, b, bt);
    assert_int_equal(a->shard_count, b->shard_count);
    for (size_t i = 0; i < a->shard_count; i++)
        assert_int_equal(a->shards[i].tokens, b->shards[i].tokens);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.text, y.text, x.count);
    assert_int_equal(x.documents, y.documents);
    assert_memory_equal(x.starts, y.starts, x.documents * 8);
}

typedef struct {
    volatile sig_atomic_t stop;
    int after;
} interruption;

static void stop_later(void *to, const tni_prepare_progress *p)
{
    interruption *i = to;
    assert_true(p->read_bytes <= p->all_bytes);
    i->stop = i->after-- <= 0;
}

static void an_interrupted_folder_is_finished_by_the_same_call(void **state)
{
    run_rig *rig = *state;
    const char *text = lines_of_json(rig, 5000);
    tn_assert_ok(tni_folder_make(in(rig, "t"), NULL));
    put(rig, "t/a.jsonl", text, strlen(text));
    put_gz(rig, "t/b.jsonl.gz", lines_of_json(rig, 900));
    tni_prepare_request request = request_of(rig, "t", "whole");
    request.shard_tokens = 10000;
    const tni_token_index whole = prepared(rig, request);
    assert_int_equal(whole.documents, 5900);

    request.dir = in(rig, "part");
    interruption stop = {.after = 1};
    int calls = 0;
    tni_token_index x;
    tn_error err;
    request.stop = &stop.stop;
    request.progress = stop_later;
    request.to = &stop;
    do {
        err = TN_ERROR_NONE;
        stop = (interruption){.after = 1};
        assert_true(++calls < 50);
    } while (prepare(rig, request, &x, &err) == TN_EINTERRUPTED);
    assert_int_equal(err.status, TN_OK);
    assert_true(calls > 3);
    assert_same(rig, &whole, "whole", &x, "part");
    assert_false(tni_path_exists(in(rig, "part/shard-00000.bin.tmp")));
}

static void
what_is_complete_is_left_and_other_settings_are_refused(void **state)
{
    run_rig *rig = *state;
    put(rig, "a.txt", "hello", 5);
    tni_prepare_request request = request_of(rig, "a.txt", "o");
    prepared(rig, request);
    tn_assert_ok(tni_folder_remove(in(rig, "o/shard-00000.bin"), NULL));
    const tni_token_index again = prepared(rig, request);
    assert_int_equal(again.tokens, 5);
    tn_error err = TN_ERROR_NONE;
    tni_token_index x;
    request.shard_tokens = 7;
    assert_int_equal(prepare(rig, request, &x, &err), TN_EREFUSED);
    tn_assert_error_says(err, "made with another --shard-tokens");
    err = TN_ERROR_NONE;
    put(rig, "a.txt", "hello, world", 12);
    request.shard_tokens = 1000;
    assert_int_equal(prepare(rig, request, &x, &err), TN_EREFUSED);
    tn_assert_error_says(err, "a.txt has changed since");
}

/* With the time of its last change set: two in a row may have the same. */
static void put_at(run_rig *rig, const char *name, const char *text,
                   time_t seconds)
{
    const struct timespec times[2] = {{seconds, 1}, {seconds, 1}};
    put(rig, name, text, strlen(text));
    assert_int_equal(utimensat(AT_FDCWD, in(rig, name), times, 0), 0);
}

static void a_text_of_the_same_size_that_was_edited_is_another(void **state)
{
    run_rig *rig = *state;
    tni_token_index x;
    tn_error err = TN_ERROR_NONE;
    char *text;
    put_at(rig, "a.txt", "MASTER", 1000);
    const tni_prepare_request request = request_of(rig, "a.txt", "o");
    prepared(rig, request);
    prepared(rig, request);
    put_at(rig, "a.txt", "MISTER", 1001);
    assert_int_equal(prepare(rig, request, &x, &err), TN_EREFUSED);
    tn_assert_error_says(err, "a.txt has changed since these tokens were made");
    /* an index that was made before times were kept knows the size only */
    tn_assert_ok(tni_file_read(rig->arena, in(rig, "o/index.json"), 1 << 20,
                               &text, NULL, NULL));
    memcpy(strstr(text, "modified_ns"), "unknown_key", 11);
    put(rig, "o/index.json", text, strlen(text));
    prepared(rig, request);
}

/* ---- refusals ---- */

static void refused(run_rig *rig, const char *from, const char *says)
{
    tni_token_index x;
    tn_error err = TN_ERROR_NONE;
    assert_int_not_equal(prepare(rig, request_of(rig, from, "bad"), &x, &err),
                         TN_OK);
    tn_assert_error_says(err, says);
    tn_assert_ok(tni_folder_remove(in(rig, "bad"), NULL));
}

static void damaged_texts_are_refused_with_their_place(void **state)
{
    run_rig *rig = *state;
    char *packed;
    size_t count;
    put(rig, "a.jsonl", "{\"text\": \"x\"}\n\n{\"text\": \n", 26);
    refused(rig, "a.jsonl", "a.jsonl:3:");
    put(rig, "b.jsonl", "{\"body\": \"x\"}\n", 14);
    refused(rig, "b.jsonl", "b.jsonl:1: no text under \"text\"; --field");
    put(rig, "c.jsonl", "[1]\n", 4);
    refused(rig, "c.jsonl", "c.jsonl:1: no text under");
    put_gz(rig, "d.txt.gz", lines_of_json(rig, 500));
    tn_assert_ok(tni_file_read(rig->arena, in(rig, "d.txt.gz"), 1 << 20,
                               &packed, &count, NULL));
    put(rig, "d.txt.gz", packed, count / 2);
    refused(rig, "d.txt.gz", "it ends too early");
    put_zst(rig, "e.txt.zst", "a text that is not so short");
    tn_assert_ok(tni_file_read(rig->arena, in(rig, "e.txt.zst"), 1 << 20,
                               &packed, &count, NULL));
    put(rig, "e.txt.zst", packed, count - 3);
    refused(rig, "e.txt.zst", "it ends too early");
    packed[6] ^= 0x55;
    put(rig, "e.txt.zst", packed, count);
    refused(rig, "e.txt.zst", "cannot read it as zstd");
    put(rig, "f.txt", "", 0);
    refused(rig, "f.txt", "f.txt: there is no text in it");
    refused(rig, "none.txt", "cannot open");
    refused(rig, "none*.txt", "no file is called like this");
    tn_assert_ok(tni_folder_make(in(rig, "empty"), NULL));
    refused(rig, "empty", "no text in this folder");
}

static void a_document_start_that_is_no_token_is_refused(void **state)
{
    run_rig *rig = *state;
    tni_token_index x;
    tn_error err = TN_ERROR_NONE;
    put(rig, "a.txt", "hello", 5);
    tni_prepare_request request = request_of(rig, "a.txt", "o");
    request.begin = "<|bos|>";
    assert_int_equal(prepare(rig, request, &x, &err), TN_EINVALID);
    tn_assert_error_says(err,
                         "--begin <|bos|>: the tokenizer byte has no such");
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(folders_are_read_in_order_of_names_and_kinds_are_told),
        WITH_RIG(a_link_back_is_not_followed),
        WITH_RIG(patterns_are_expanded_and_files_named_like_them_are_files),
        WITH_RIG(a_long_text_is_cut_before_letters_and_is_one_document),
        WITH_RIG(an_interrupted_folder_is_finished_by_the_same_call),
        WITH_RIG(what_is_complete_is_left_and_other_settings_are_refused),
        WITH_RIG(a_text_of_the_same_size_that_was_edited_is_another),
        WITH_RIG(damaged_texts_are_refused_with_their_place),
        WITH_RIG(a_document_start_that_is_no_token_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
