/*
 * test_sft.c - what conversations become: tokens, targets, rows.
 *
 * The tokenizer here has one id per byte and special tokens from 256 on, so
 * that a rendering can be read; specials are written as <name>.
 */
#include "../dataset_rig.h"

#include <jansson.h>
#include <sys/stat.h>
#include <tenon/chat.h>

/* ---- bytes and special tokens ---- */

static const char *const nanochat[] = {
    "<|bos|>",           "<|user_start|>",
    "<|user_end|>",      "<|assistant_start|>",
    "<|assistant_end|>", "<|python_start|>",
    "<|python_end|>",    "<|output_start|>",
    "<|output_end|>",    NULL};
static const char *const chatml[] = {"<|im_start|>", "<|im_end|>", NULL};
static const char *const nano_start[] = {"<|endoftext|>", "<|system|>",
                                         "<|user|>", "<|assistant|>", NULL};
static const char *const none[] = {NULL};

static int32_t special(const void *self, const char *text)
{
    const char *const *names = self;
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0)
            return 256 + i;
    return -1;
}

static uint32_t vocab_size(const void *self)
{
    uint32_t n = 256;
    for (const char *const *names = self; *names; names++)
        n++;
    return n;
}

static tn_status encode(const void *self, const char *text, uint64_t bytes,
                        uint32_t allow_special, tn_token_sink sink, void *to,
                        tn_error *err)
{
    (void)self;
    assert_int_equal(allow_special, 0);
    for (uint64_t i = 0; i < bytes; i++) {
        const int32_t id = (unsigned char)text[i];
        TN_TRY(sink(to, &id, 1, err));
    }
    return TN_OK;
}

static tn_status bytes_of(const void *self, int32_t id, const char **bytes,
                          uint32_t *count, tn_error *err)
{
    (void)self;
    (void)err;
    *bytes = "";
    *count = id < 256;
    return TN_OK;
}

static const tn_tokenizer with_specials = {.vocab_size = vocab_size,
                                           .encode = encode,
                                           .bytes_of = bytes_of,
                                           .special = special};

static tn_tokenizer_handle tokenizer(const char *const *names)
{
    return (tn_tokenizer_handle){.struct_size = sizeof(tn_tokenizer_handle),
                                 .vtable = &with_specials,
                                 .self = (void *)(uintptr_t)names};
}

static char *put_id(char *at, int32_t id, const char *const *names)
{
    if (id >= 256)
        return at + sprintf(at, "<%.*s>", (int)strlen(names[id - 256]) - 4,
                            names[id - 256] + 2);
    *at++ = (char)id;
    return at;
}

/* A row as text: what is learned stands in [brackets]; padding is cut off. */
static const char *told(rig *r, const reading *d, int row,
                        const char *const *names)
{
    const int32_t *tokens = d->tokens + row * d->seq_len;
    const int32_t *targets = d->targets + row * d->seq_len;
    char *text = tni_arena_alloc(r->arena, 64 * 4096), *at = text;
    int64_t end = d->seq_len;
    int open = 0;
    while (end > 0 && targets[end - 1] < 0)
        end--;
    for (int64_t i = 0; i <= end; i++) {
        const int learned = i > 0 && targets[i - 1] >= 0;
        if (learned != open)
            *at++ = learned ? '[' : ']';
        open = learned;
        if (learned)
            at = put_id(at, targets[i - 1], names);
        if (i < end && !(learned && tokens[i] == targets[i - 1])) {
            if (open) /* another conversation begins */
                *at++ = ']';
            open = 0;
            at = put_id(at, tokens[i], names);
        }
    }
    if (open)
        *at++ = ']';
    return text;
}

static reading *open_with(rig *r, const char *const *names, const char *yaml,
                          int64_t batch, int64_t seq_len)
{
    tn_tokenizer_handle *t = tni_arena_alloc(r->arena, sizeof *t);
    *t = tokenizer(names);
    tn_dataset_request asked = request(batch, seq_len, 1);
    asked.tokenizer = t;
    return opened(r, "sft", yaml, asked);
}

static void renders(rig *r, const char *const *names, const char *line,
                    const char *want)
{
    rig_file(r, "a.jsonl", line, strlen(line));
    reading *d = open_with(r, names, "{path: a.jsonl}", 1, 500);
    next(d);
    assert_string_equal(told(r, d, 0, names), want);
    closed(d);
}

/* ---- templates ---- */

static const char talk[] =
    "[{\"role\": \"system\", \"content\": \"Be brief.\"},"
    " {\"role\": \"user\", \"content\": \"Hi\"},"
    " {\"role\": \"assistant\", \"content\": \"Hello\"},"
    " {\"role\": \"user\", \"content\": \"Who?\"},"
    " {\"role\": \"assistant\", \"content\": \"Me.\"}]";

static void nanochat_trains_on_answers_and_their_end(void **state)
{
    renders(*state, nanochat, talk,
            "<bos><user_start>Be brief.\n\nHi<user_end>"
            "<assistant_start>[Hello<assistant_end>]"
            "<user_start>Who?<user_end><assistant_start>[Me.<assistant_end>]");
}

static void
nanochat_trains_on_calls_of_tools_but_not_on_what_they_say(void **state)
{
    renders(*state, nanochat,
            "{\"messages\": [{\"role\": \"user\", \"content\": [\"6 \", "
            "{\"type\": \"text\", \"text\": \"* 7?\"}]},"
            "{\"role\": \"assistant\", \"content\": ["
            "{\"type\": \"text\", \"text\": \"So:\"},"
            "{\"type\": \"python\", \"text\": \"6*7\"},"
            "{\"type\": \"python_output\", \"text\": \"42\"},"
            "{\"type\": \"text\", \"text\": \"42.\"}]},"
            "{\"role\": \"tool\", \"content\": \"ok\"},"
            "{\"role\": \"assistant\", \"content\": \"!\"}]}",
            "<bos><user_start>6 * 7?<user_end><assistant_start>"
            "[So:<python_start>6*7<python_end>]<output_start>42<output_end>"
            "[42.]<output_start>ok<output_end>[!<assistant_end>]");
}

static void chatml_has_its_roles_as_text(void **state)
{
    renders(*state, chatml, talk,
            "<im_start>system\nBe brief.<im_end>\n<im_start>user\nHi<im_end>\n"
            "<im_start>assistant\n[Hello<im_end>]\n"
            "<im_start>user\nWho?<im_end>\n"
            "<im_start>assistant\n[Me.<im_end>]");
}

/* As in data/nano-start: the next marker ends an answer. */
static void nano_start_ends_answers_with_what_follows(void **state)
{
    renders(*state, nano_start, talk,
            "<system>Be brief.<user>Hi<assistant>[Hello<user>]Who?"
            "<assistant>[Me.<endoftext>]");
}

static void without_special_tokens_markers_are_text(void **state)
{
    renders(*state, none, talk,
            "<|system|>Be brief.<|user|>Hi<|assistant|>[Hello<|user|>]Who?"
            "<|assistant|>[Me.<|endoftext|>]");
}

static void nobody_can_write_a_marker_into_a_message(void **state)
{
    renders(*state, chatml,
            "[{\"role\":\"user\",\"content\":\"<|im_end|>\"},"
            "{\"role\":\"assistant\",\"content\":\"<|im_start|>x\"}]",
            "<im_start>user\n<|im_end|><im_end>\n"
            "<im_start>assistant\n[<|im_start|>x<im_end>]");
}

static const char *const *specials_of(const char *template)
{
    if (strcmp(template, "nanochat") == 0)
        return nanochat;
    return strcmp(template, "chatml") == 0 ? chatml : nano_start;
}

static void transformers_renders_the_same(void **state)
{
    rig *r = *state;
    FILE *file = fopen(tni_arena_printf(r->arena,
                                        "%s/tests/golden/chat/renderings.jsonl",
                                        getenv("TENON_SOURCE")),
                       "r");
    json_t *golden;
    int seen = 0;
    assert_non_null(file);
    while ((golden = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL))) {
        const char *template, *want;
        json_t *conversation;
        assert_int_equal(0, json_unpack(golden, "{s:s, s:o, s:s}", "template",
                                        &template, "conversation",
                                        &conversation, "rendered", &want));
        char *line = json_dumps(conversation, JSON_COMPACT);
        renders(r, specials_of(template), line, want);
        free(line);
        json_decref(golden);
        seen++;
    }
    fclose(file);
    assert_int_equal(seen, 60);
}

/* ---- forms ---- */

static void every_form_of_json_says_the_same(void **state)
{
    static const char want[] = "<|user|>a<|assistant|>[b<|endoftext|>]";
    renders(*state, none,
            "[{\"role\": \"user\", \"content\": \"a\"},"
            "{\"role\": \"assistant\", \"content\": \"b\"}]",
            want);
    renders(*state, none,
            "\n \n{\"id\": 3, \"messages\": [{\"content\": \"a\", "
            "\"role\": \"user\"}, {\"role\": \"assistant\", "
            "\"content\": [{\"type\": \"text\", \"text\": \"b\"}]}]}\n",
            want);
    renders(*state, none,
            "\xef\xbb\xbf{\"messages\": [{\"content\": \"a\", "
            "\"role\": \"user\"}, {\"role\": \"assistant\", "
            "\"content\": \"b\"}]}\n",
            want);
    renders(*state, none,
            "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"},"
            "{\"from\": \"gpt\", \"value\": \"b\"}]}\n\n",
            want);
    renders(*state, none,
            "[{\"role\": \"user\", \"content\": \"a\"},"
            "{\"role\": \"assistant\", \"content\": \"b\"},"
            "{\"role\": \"user\", \"content\": \"nobody answers\"}]",
            "<|user|>a<|assistant|>[b<|user|>]");
}

static void a_tree_is_one_conversation_for_each_leaf(void **state)
{
    rig *r = *state;
    static const char tree[] =
        "{\"prompt\": {\"role\": \"prompter\", \"text\": \"q\", \"replies\": ["
        "{\"role\": \"assistant\", \"text\": \"x\", \"replies\": []},"
        "{\"role\": \"assistant\", \"text\": \"yy\", \"replies\": ["
        "{\"role\": \"prompter\", \"text\": \"r\", \"replies\": ["
        "{\"role\": \"assistant\", \"text\": \"z\"}]}]}]}}";
    rig_file(r, "a.jsonl", tree, strlen(tree));
    reading *d = open_with(
        r, none, "{path: a.jsonl, shuffle: false, packing: pad}", 2, 100);
    assert_int_equal(info_of(d).rows_per_epoch, 2);
    next(d); /* the longest comes first */
    assert_string_equal(told(r, d, 0, none),
                        "<|user|>q<|assistant|>[yy<|user|>]r<|assistant|>"
                        "[z<|endoftext|>]");
    assert_string_equal(told(r, d, 1, none),
                        "<|user|>q<|assistant|>[x<|endoftext|>]");
    closed(d);
}

/* ---- rows ---- */

/* Conversation i asks i letters and answers with its own number of them. */
static void conversations(rig *r, int count)
{
    char *text = tni_arena_alloc(r->arena, (size_t)count * 400), *at = text;
    for (int i = 0; i < count; i++)
        at += sprintf(at,
                      "[{\"role\":\"user\",\"content\":\"%.*s\"},"
                      "{\"role\":\"assistant\",\"content\":\"%.*s%d\"}]\n",
                      i % 40, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrst",
                      i * 7 % 31, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJK", i);
    rig_file(r, "many.jsonl", text, strlen(text));
}

typedef struct {
    int64_t trained, sum, bytes; /* over an epoch */
} epoch_facts;

static epoch_facts epoch(reading *d)
{
    epoch_facts f = {0};
    const int64_t rows = info_of(d).rows_per_epoch;
    for (int64_t i = 0; i < rows; i++) {
        int64_t here = 0;
        next(d);
        for (int64_t t = 0; t < d->seq_len; t++)
            if (d->targets[t] >= 0) {
                here++;
                f.sum += d->targets[t] * (d->tokens[t] + 3);
            }
        assert_true(here > 0); /* no row teaches nothing */
        f.trained += here;
        f.bytes += d->bytes;
    }
    return f;
}

static void packing_and_padding_teach_the_same_tokens(void **state)
{
    rig *r = *state;
    conversations(r, 200);
    reading *packed = open_with(r, nanochat, "{path: many.jsonl}", 1, 128);
    reading *padded =
        open_with(r, nanochat, "{path: many.jsonl, packing: pad}", 1, 128);
    assert_int_equal(info_of(padded).rows_per_epoch, 200);
    assert_in_range(info_of(packed).rows_per_epoch, 40, 90);
    const epoch_facts a = epoch(packed), b = epoch(padded);
    assert_int_equal(a.trained, b.trained);
    assert_int_equal(a.sum, b.sum);
    assert_int_equal(a.bytes, b.bytes);
    assert_int_equal(a.bytes, a.trained - 200); /* an end token has none */
    closed(padded);
    /* every epoch is packed anew, and none loses or repeats a token */
    for (epoch_facts more = a; more.trained < 6 * a.trained;) {
        next(packed);
        for (int64_t t = 0; t < packed->seq_len; t++)
            if (packed->targets[t] >= 0) {
                more.trained++;
                more.sum += packed->targets[t] * (packed->tokens[t] + 3);
            }
        if (more.trained % a.trained == 0)
            assert_int_equal(more.sum, more.trained / a.trained * a.sum);
        assert_true(more.trained <= 6 * a.trained);
    }
    closed(packed);
}

/* A number for each conversation of a row, and one for its padding. */
static void packed_conversations_are_numbered(void **state)
{
    enum { ROWS = 8, T = 128 };
    rig *r = *state;
    const int32_t bos = special(nanochat, "<|bos|>");
    int32_t most = 0;
    conversations(r, 40);
    reading *d =
        open_with(r, nanochat, "{path: many.jsonl, shuffle: false}", ROWS, T);
    next(d);
    for (int row = 0; row < ROWS; row++) {
        const int32_t *tokens = d->tokens + row * T;
        int32_t number = 0;
        for (int t = 0; t < T; t++) {
            number += t > 0 && tokens[t] == bos && tokens[t - 1] != bos;
            assert_int_equal(d->segments[row * T + t], number);
        }
        most = number > most ? number : most;
    }
    assert_true(most > 2);
    closed(d);
    assert_int_equal(has_segments(r, "sft", "{path: many.jsonl}"), 1);
    assert_int_equal(
        has_segments(r, "sft", "{path: many.jsonl, segments: false}"), 0);
    assert_int_equal(has_segments(r, "sft", "{path: many.jsonl, packing: pad}"),
                     0);
}

static void no_target_crosses_into_the_next_conversation(void **state)
{
    rig *r = *state;
    static const char two[] = "[{\"role\":\"user\",\"content\":\"a\"},"
                              "{\"role\":\"assistant\",\"content\":\"bcd\"}]\n"
                              "[{\"role\":\"user\",\"content\":\"e\"},"
                              "{\"role\":\"assistant\",\"content\":\"f\"}]\n";
    rig_file(r, "a.jsonl", two, strlen(two));
    reading *d = open_with(r, chatml, "{path: a.jsonl}", 1, 60);
    next(d);
    assert_string_equal(
        told(r, d, 0, chatml),
        "<im_start>user\na<im_end>\n<im_start>assistant\n[bcd<im_end>]"
        "<im_start>user\ne<im_end>\n<im_start>assistant\n[f<im_end>]");
    closed(d);
}

static void a_split_takes_its_share_of_the_conversations(void **state)
{
    rig *r = *state;
    conversations(r, 100);
    reading *all = open_with(r, none, "{path: many.jsonl}", 1, 256);
    reading *head =
        open_with(r, none, "{path: many.jsonl, split: [0, 0.9]}", 1, 256);
    reading *tail =
        open_with(r, none, "{path: many.jsonl, split: [0.9, 1]}", 1, 256);
    assert_int_equal(epoch(all).sum, epoch(head).sum + epoch(tail).sum);
    closed(all);
    closed(head);
    closed(tail);
}

static void a_resumed_run_sees_the_same_rows(void **state)
{
    rig *r = *state;
    static const char yaml[] = "{path: many.jsonl}";
    conversations(r, 60);
    reading *whole = open_with(r, nanochat, yaml, 3, 64);
    for (int stop = 0; stop < 30; stop++) {
        tn_cursor cursor;
        whole->vtable->save(whole->self, &cursor);
        next(whole);
        reading *part = open_with(r, nanochat, yaml, 3, 64);
        tn_assert_ok(part->vtable->restore(part->self, &cursor, NULL));
        next(part);
        assert_memory_equal(part->tokens, whole->tokens, 3 * 64 * 4);
        assert_memory_equal(part->targets, whole->targets, 3 * 64 * 4);
        closed(part);
    }
    tn_cursor cursor;
    tn_error err = TN_ERROR_NONE;
    whole->vtable->save(whole->self, &cursor);
    closed(whole);
    reading *other = open_with(r, nanochat, yaml, 3, 65);
    assert_int_equal(other->vtable->restore(other->self, &cursor, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "seq_len was 64");
    closed(other);
}

/* ---- too long, and nothing to learn ---- */

static void long_conversations_are_cut_or_skipped(void **state)
{
    rig *r = *state;
    static const char lines[] =
        "[{\"role\":\"user\",\"content\":\"a\"},"
        "{\"role\":\"assistant\",\"content\":\"0123456789\"}]\n"
        "[{\"role\":\"user\",\"content\":\"a question too long\"},"
        "{\"role\":\"assistant\",\"content\":\"never seen\"}]\n"
        "[{\"role\":\"user\",\"content\":\"a\"},"
        "{\"role\":\"assistant\",\"content\":\"b\"}]\n"
        "[{\"role\":\"user\",\"content\":\"no answer\"}]\n";
    rig_file(r, "a.jsonl", lines, strlen(lines));
    reading *cut = open_with(
        r, nanochat, "{path: a.jsonl, packing: pad, shuffle: false}", 2, 8);
    assert_int_equal(info_of(cut).rows_per_epoch, 2);
    next(cut);
    assert_string_equal(told(r, cut, 0, nanochat),
                        "<bos><user_start>a<user_end><assistant_start>[0123]");
    assert_string_equal(
        told(r, cut, 1, nanochat),
        "<bos><user_start>a<user_end><assistant_start>[b<assistant_end>]");
    closed(cut);
    reading *skipped =
        open_with(r, nanochat, "{path: a.jsonl, too_long: skip}", 1, 8);
    assert_int_equal(info_of(skipped).rows_per_epoch, 1);
    next(skipped);
    assert_string_equal(
        told(r, skipped, 0, nanochat),
        "<bos><user_start>a<user_end><assistant_start>[b<assistant_end>]");
    closed(skipped);
}

static void refused(rig *r, const char *text, const char *yaml,
                    const char *says)
{
    static tn_tokenizer_handle t;
    t = tokenizer(none);
    tn_dataset_request asked = request(1, 32, 1);
    asked.tokenizer = &t;
    rig_file(r, "a.jsonl", text, strlen(text));
    fails_to_open(r, "sft", yaml, asked, says);
}

static void what_cannot_be_learned_from_is_refused_with_its_line(void **state)
{
    rig *r = *state;
    static const char good[] = "[{\"role\":\"user\",\"content\":\"a\"},"
                               "{\"role\":\"assistant\",\"content\":\"b\"}]";
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"{\"text\": \"a\"}", "a.jsonl:2: no conversation: a list of messages"},
        {"3", "a.jsonl:2: no conversation"},
        {"[{\"role\": \"user\"", "a.jsonl:2: column 16: "},
        {"[{\"content\": \"a\"}]", "a.jsonl:2: message 0 has no role"},
        {"[{\"role\": \"bard\", \"content\": \"a\"}]",
         "message 0 has the role \"bard\"; system, user, assistant and tool"},
        {"[{\"role\": \"user\"}]", "message 0 has no content"},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]",
         "message 0 has a part of type \"image\"; text, python"},
        {"[\"hello\"]", "message 0 has no role"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(r, tni_arena_printf(r->arena, "%s\n%s\n", good, cases[i].line),
                "{path: a.jsonl}", cases[i].says);
    refused(r, "[{\"role\":\"user\",\"content\":\"alone\"}]", "{path: a.jsonl}",
            "no conversation has an answer that begins within 32 tokens");
    refused(r,
            "[{\"role\":\"user\",\"content\":\"a question of many words\"},"
            "{\"role\":\"assistant\",\"content\":\"b\"}]",
            "{path: a.jsonl, template: chatml}", "(0 without an answer, 1 too");
    refused(r, good, "{path: a.jsonl, split: [0.1, 0.2]}",
            "the split [0.1, 0.2] holds 0 of 1 conversations");
    fails_to_open(r, "sft", "{path: a.jsonl}", request(1, 32, 1),
                  "conversations need a tokenizer");
}

static void no_system_message_is_lost(void **state)
{
#define SYSTEM "{\"role\":\"system\",\"content\":\"s\"}"
#define USER "{\"role\":\"user\",\"content\":\"u\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"a\"}"
    rig *r = *state;
    static const char *const lines[] = {
        "[" SYSTEM "," SYSTEM "," USER "," ANSWER "]",
        "[" SYSTEM "," ANSWER "," USER "," ANSWER "]",
        "[" USER "," ANSWER "," SYSTEM "]",
    };
    static const char *const yaml[] = {"{path: a.jsonl, template: nanochat}",
                                       "{path: a.jsonl, template: chatml}"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        refused(r, tni_arena_printf(r->arena, "\n%s\n", lines[i]), yaml[0],
                "a.jsonl:2: no user's message comes right after a system "
                "message, and the template nanochat puts");
        /* where it has a place of its own it may stand anywhere */
        closed(open_with(r, none, yaml[1], 1, 200));
    }
    renders(r, nanochat, "[" USER "," ANSWER "," SYSTEM "," USER "," ANSWER "]",
            "<bos><user_start>u<user_end><assistant_start>[a<assistant_end>]"
            "<user_start>s\n\nu<user_end><assistant_start>[a<assistant_end>]");
}

/*
 * ---- real data ----
 *
 * Trained tokens were counted from the JSON by a script of another language: an
 * answer's bytes and its end, as far as 4,097 tokens reach.
 */

static void whole_file(rig *r, const char *name, int64_t conversations_,
                       int64_t trained)
{
    const char *path = tni_arena_printf(r->arena, "%s/../shared/data/chat/%s",
                                        getenv("TENON_SOURCE"), name);
    struct stat info;
    if (stat(path, &info) != 0) {
        print_message("%s is not here: skipped\n", path);
        skip();
    }
    const char *yaml =
        tni_arena_printf(r->arena, "{path: '%s', packing: pad}", path);
    reading *pad = open_with(r, nanochat, yaml, 1, 4096);
    assert_int_equal(info_of(pad).rows_per_epoch, conversations_);
    const epoch_facts a = epoch(pad);
    closed(pad);
    reading *packed = open_with(
        r, nanochat, tni_arena_printf(r->arena, "{path: '%s'}", path), 1, 4096);
    const epoch_facts b = epoch(packed);
    closed(packed);
    assert_int_equal(a.trained, trained);
    assert_int_equal(b.trained, trained);
    assert_int_equal(a.sum, b.sum);
}

static void the_identity_conversations_run_through_whole(void **state)
{
    whole_file(*state, "identity_conversations_first300.jsonl", 300, 464346);
}

static void the_openassistant_dialogues_run_through_whole(void **state)
{
    whole_file(*state, "openassistant_en_100_tree.jsonl", 626, 735816);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(nanochat_trains_on_answers_and_their_end),
        RIG_TEST(nanochat_trains_on_calls_of_tools_but_not_on_what_they_say),
        RIG_TEST(chatml_has_its_roles_as_text),
        RIG_TEST(nano_start_ends_answers_with_what_follows),
        RIG_TEST(without_special_tokens_markers_are_text),
        RIG_TEST(nobody_can_write_a_marker_into_a_message),
        RIG_TEST(transformers_renders_the_same),
        RIG_TEST(every_form_of_json_says_the_same),
        RIG_TEST(a_tree_is_one_conversation_for_each_leaf),
        RIG_TEST(packing_and_padding_teach_the_same_tokens),
        RIG_TEST(packed_conversations_are_numbered),
        RIG_TEST(no_target_crosses_into_the_next_conversation),
        RIG_TEST(a_split_takes_its_share_of_the_conversations),
        RIG_TEST(a_resumed_run_sees_the_same_rows),
        RIG_TEST(long_conversations_are_cut_or_skipped),
        RIG_TEST(what_cannot_be_learned_from_is_refused_with_its_line),
        RIG_TEST(no_system_message_is_lost),
        RIG_TEST(the_identity_conversations_run_through_whole),
        RIG_TEST(the_openassistant_dialogues_run_through_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
