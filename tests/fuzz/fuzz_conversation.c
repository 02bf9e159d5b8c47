/*
 * fuzz_conversation.c - a line of conversations under attack: refused with a
 * sentence that begins with its place, or rendered in every template, the
 * markers in pairs and only answers trained on.
 */
#include "fuzz.h"

#include "conversation.h"

static void must(int true_)
{
    if (!true_)
        abort();
}

/* ---- one id per byte, and the markers of nanochat and ChatML ---- */

static const char *const specials[] = {
    "<|bos|>",          "<|user_start|>",      "<|user_end|>",
    "<|im_start|>",     "<|assistant_start|>", "<|assistant_end|>",
    "<|python_start|>", "<|python_end|>",      "<|output_start|>",
    "<|output_end|>",   "<|im_end|>"};
enum { SPECIALS = sizeof specials / sizeof *specials };

static int32_t special(const void *self, const char *text)
{
    (void)self;
    for (int32_t i = 0; i < SPECIALS; i++)
        if (strcmp(specials[i], text) == 0)
            return 256 + i;
    return -1;
}

static tn_status encode(const void *self, const char *text, uint64_t bytes,
                        uint32_t allow_special, tn_token_sink sink, void *to,
                        tn_error *err)
{
    (void)self;
    must(!allow_special);
    for (uint64_t i = 0; i < bytes; i++) {
        const int32_t id = (unsigned char)text[i];
        TN_TRY(sink(to, &id, 1, err));
    }
    return TN_OK;
}

/* ---- what is rendered ---- */

typedef struct {
    int32_t open;     /* the marker whose pair has not come, 0: none */
    uint64_t trained; /* bytes, without markers */
    uint64_t begins;  /* <|bos|> */
} seen;

static void pair(seen *s, const char *open, const char *close, int32_t id)
{
    if (id == special(NULL, open)) {
        must(!s->open);
        s->open = id;
    } else if (id == special(NULL, close)) {
        must(s->open == special(NULL, open));
        s->open = 0;
    }
}

static tn_status look(void *to, const int32_t *ids, uint64_t count,
                      int32_t trained, tn_error *err)
{
    seen *s = to;
    (void)err;
    for (uint64_t i = 0; i < count; i++) {
        must(ids[i] >= 0 && ids[i] < 256 + SPECIALS);
        s->trained += trained && ids[i] < 256;
        s->begins += ids[i] == 256;
        pair(s, "<|user_start|>", "<|user_end|>", ids[i]);
        pair(s, "<|im_start|>", "<|im_end|>", ids[i]);
    }
    return TN_OK;
}

static uint64_t answers(const tn_chat_message *messages, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t m = 0; m < count; m++)
        for (uint32_t p = 0; p < messages[m].part_count; p++)
            if (messages[m].role == TN_ROLE_ASSISTANT &&
                messages[m].parts[p].kind != TN_PART_OUTPUT)
                bytes += messages[m].parts[p].bytes;
    return bytes;
}

/* A template may want a user's message right after each system message. */
static int fits(const tn_chat_template *form, const tn_chat_message *messages,
                uint32_t count)
{
    for (uint32_t m = 0; m < count && form->merge_system; m++)
        if (messages[m].role == TN_ROLE_SYSTEM &&
            (m + 1 == count || messages[m + 1].role != TN_ROLE_USER))
            return 0;
    return 1;
}

static tn_status put_all(tn_chat_writer *w, const tn_chat_message *messages,
                         uint32_t count, tn_error *err)
{
    TN_TRY(tn_chat_begin(w, err));
    for (uint32_t i = 0; i < count; i++)
        TN_TRY(tn_chat_put(w, &messages[i], err));
    return tn_chat_end(w, err);
}

static tn_status render(void *to, const tn_chat_message *messages,
                        uint32_t count, tn_error *err)
{
    static const tn_tokenizer vtable = {.encode = encode, .special = special};
    const tn_tokenizer_handle tokenizer = {.vtable = &vtable};
    const tn_chat_template *form;
    (void)to, (void)err;
    for (uint32_t t = 0; (form = tn_chat_template_at(t)); t++) {
        seen s = {0};
        tn_chat_writer w = {
            .form = form, .tokenizer = &tokenizer, .sink = look, .to = &s};
        const tn_status status = put_all(&w, messages, count, NULL);
        tn_chat_free(&w);
        must((status == TN_OK) == fits(form, messages, count));
        if (status != TN_OK)
            continue;
        must(!s.open && s.begins == (*form->begin != '\0'));
        /* nano_start's markers are text here, and the next one ends a reply */
        must(strcmp(form->name, "nano_start")
                 ? s.trained == answers(messages, count)
                 : s.trained >= answers(messages, count));
    }
    return TN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    tn_error err = {0};
    const tni_line line = {.path = "fuzz",
                           .text = (const char *)bytes,
                           .bytes = count,
                           .number = 7};
    const tn_status status = tni_conversations_read(&line, render, NULL, &err);
    must(status == err.status);
    must(status == TN_OK || !strncmp(err.message, "fuzz:7: ", 8));
    return 0;
}

#ifndef TENON_LIBFUZZER
int main(void)
{
    static const tn_fuzz_seed seeds[] = {
        TN_FUZZ_SEED("[{\"role\": \"system\", \"content\": \"s\"}, {\"role\": "
                     "\"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "
                     "\"content\": \"b\"}]"),
        TN_FUZZ_SEED(
            "{\"messages\": [{\"role\": \"user\", \"content\": [\"a\", "
            "{\"type\": \"text\", \"text\": \"b\"}]}, {\"role\": "
            "\"assistant\", \"content\": [{\"type\": \"python\", \"text\": "
            "\"1\"}, {\"type\": \"python_output\", \"text\": \"2\"}]}, "
            "{\"role\": \"tool\", \"content\": \"t\"}]}"),
        TN_FUZZ_SEED(
            "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, "
            "{\"from\": \"gpt\", \"value\": \"\\u00e4\\ud83d\\ude00\"}]}"),
        TN_FUZZ_SEED(
            "{\"prompt\": {\"role\": \"prompter\", \"text\": \"q\", "
            "\"replies\": [{\"role\": \"assistant\", \"text\": \"x\"}, "
            "{\"role\": \"assistant\", \"text\": \"y\", \"replies\": []}]}}"),
    };
    return tn_fuzz("conversation", seeds, 4, 100000);
}
#endif
