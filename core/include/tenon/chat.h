/*
 * chat.h - conversations as tokens: the same for training and for chatting.
 *
 * A template says which markers stand around each role's text. A marker is one
 * special token where the vocabulary has it and its text otherwise, so that a
 * byte tokenizer can chat, too. Text between markers is encoded without special
 * tokens: nobody can write a marker into a message.
 *
 *     nanochat    <|bos|><|user_start|>Hi<|user_end|>
 *                 <|assistant_start|>Hello<|assistant_end|>     on one line
 *     nano_start  <|system|>Be brief.<|user|>Hi<|assistant|>Hello<|endoftext|>
 *     chatml      <|im_start|>user
 *                 Hi<|im_end|>
 *                 <|im_start|>assistant
 *                 Hello<|im_end|>
 *
 * Trained on is what an assistant says and the token that ends it. nano_start
 * ends an answer with whatever marker follows.
 */
#ifndef TENON_CHAT_H
#define TENON_CHAT_H

#include <stdlib.h>
#include <string.h>

#include <tenon/tokenizer.h>

TN_BEGIN_DECLS

/* Numbers are never reused. */
enum {
    TN_ROLE_SYSTEM = 0,
    TN_ROLE_USER = 1,
    TN_ROLE_ASSISTANT = 2,
    TN_ROLE_TOOL = 3,
    TN_ROLE_COUNT = 4
};

/* What a stretch of a message is. */
enum {
    TN_PART_TEXT = 0,
    TN_PART_CODE = 1,   /* an assistant's call of a tool: trained on */
    TN_PART_OUTPUT = 2, /* what the tool said: not trained on */
    TN_PART_COUNT = 3
};

/* Markers around a text, and text that always stands after the first or the
 * last of them. "" where there is none. */
typedef struct tn_chat_frame {
    const char *open, *open_text;
    const char *close, *close_text;
} tn_chat_frame;

typedef struct tn_chat_template {
    const char *name;
    const char *begin; /* of a conversation */
    tn_chat_frame role[TN_ROLE_COUNT];
    tn_chat_frame part[TN_PART_COUNT]; /* inside a message */
    const char *end;                   /* of a conversation */
    int32_t merge_system;  /* it goes in front of the first user's text */
    int32_t tool_in_reply; /* a tool's message is part of the assistant's */
} tn_chat_template;

typedef struct tn_chat_part {
    uint32_t kind; /* TN_PART_ */
    uint32_t reserved;
    const char *text;
    uint64_t bytes;
} tn_chat_part;

typedef struct tn_chat_message {
    uint32_t role; /* TN_ROLE_ */
    uint32_t part_count;
    const tn_chat_part *parts;
} tn_chat_message;

enum { TN_CHAT_TEMPLATES = 3 };

/* Template number `index`; NULL past the last. */
static inline const tn_chat_template *tn_chat_template_at(uint32_t index)
{
    static const tn_chat_template all[TN_CHAT_TEMPLATES] = {
        {"nanochat",
         "<|bos|>",
         {{"", "", "", ""},
          {"<|user_start|>", "", "<|user_end|>", ""},
          {"<|assistant_start|>", "", "<|assistant_end|>", ""},
          {"<|output_start|>", "", "<|output_end|>", ""}},
         {{"", "", "", ""},
          {"<|python_start|>", "", "<|python_end|>", ""},
          {"<|output_start|>", "", "<|output_end|>", ""}},
         "",
         1,
         1},
        {"nano_start",
         "",
         {{"<|system|>", "", "", ""},
          {"<|user|>", "", "", ""},
          {"<|assistant|>", "", "", ""},
          {"<|user|>", "", "", ""}},
         {{"", "", "", ""}, {"", "", "", ""}, {"", "", "", ""}},
         "<|endoftext|>",
         0,
         0},
        {"chatml",
         "",
         {{"<|im_start|>", "system\n", "<|im_end|>", "\n"},
          {"<|im_start|>", "user\n", "<|im_end|>", "\n"},
          {"<|im_start|>", "assistant\n", "<|im_end|>", "\n"},
          {"<|im_start|>", "tool\n", "<|im_end|>", "\n"}},
         {{"", "", "", ""}, {"", "", "", ""}, {"", "", "", ""}},
         "",
         0,
         0},
    };
    return index < TN_CHAT_TEMPLATES ? &all[index] : NULL;
}

static inline int32_t tn_chat_has(const tn_tokenizer_handle *t,
                                  const char *marker)
{
    return t->vtable->special(t->self, marker) >= 0;
}

/*
 * The template called `name`, NULL where there is none of that name; for "auto"
 * the one whose assistant marker the vocabulary has, and nano_start, which has
 * the shortest markers, where it has none.
 */
static inline const tn_chat_template *
tn_chat_template_find(const char *name, const tn_tokenizer_handle *t)
{
    const tn_chat_template *c;
    const int32_t automatic = strcmp(name, "auto") == 0;
    for (uint32_t i = 0; (c = tn_chat_template_at(i)) != NULL; i++)
        if (automatic ? tn_chat_has(t, c->role[TN_ROLE_ASSISTANT].open)
                      : strcmp(name, c->name) == 0)
            return c;
    return automatic ? tn_chat_template_at(1) : NULL;
}

/* Receives tokens in order; trained 1: predicting them is learned. */
typedef tn_status (*tn_chat_sink)(void *to, const int32_t *ids, uint64_t count,
                                  int32_t trained, tn_error *err);

/* A conversation on its way into tokens. Set form, tokenizer, sink and to;
 * begin with zeros otherwise; tn_chat_free at the end. */
typedef struct tn_chat_writer {
    const tn_chat_template *form;
    const tn_tokenizer_handle *tokenizer;
    tn_chat_sink sink;
    void *to;
    int32_t trained;  /* of what tn_chat_ids_ passes on */
    int32_t in_reply; /* an assistant's frame is open */
    int32_t unended;  /* the next marker ends an answer */
    int32_t reserved;
    const tn_chat_message *system; /* waits for the user right after it */
    /* Text that is not trained on, until the next marker: it is encoded as one,
     * since a token may cross from one piece of it into the next. */
    char *text;
    uint64_t count, capacity;
} tn_chat_writer;

static inline tn_status tn_chat_ids_(void *w_, const int32_t *ids,
                                     uint64_t count, tn_error *err)
{
    tn_chat_writer *w = (tn_chat_writer *)w_;
    return w->sink(w->to, ids, count, w->trained, err);
}

static inline tn_status tn_chat_encode_(tn_chat_writer *w, const char *text,
                                        uint64_t bytes, int32_t trained,
                                        tn_error *err)
{
    if (!bytes)
        return TN_OK;
    w->trained = trained;
    return w->tokenizer->vtable->encode(w->tokenizer->self, text, bytes, 0,
                                        tn_chat_ids_, w, err);
}

static inline tn_status tn_chat_flush_(tn_chat_writer *w, tn_error *err)
{
    const uint64_t count = w->count;
    w->count = 0;
    return tn_chat_encode_(w, w->text, count, 0, err);
}

static inline tn_status tn_chat_text_(tn_chat_writer *w, const char *text,
                                      uint64_t bytes, int32_t trained,
                                      tn_error *err)
{
    if (trained) {
        TN_TRY(tn_chat_flush_(w, err));
        return tn_chat_encode_(w, text, bytes, 1, err);
    }
    if (w->capacity - w->count < bytes) {
        const uint64_t capacity = 2 * (w->count + bytes);
        char *larger = (char *)realloc(w->text, (size_t)capacity);
        if (!larger)
            return tn_fail(err, TN_ENOMEM, "no memory for a conversation");
        w->text = larger;
        w->capacity = capacity;
    }
    if (bytes)
        memcpy(w->text + w->count, text, (size_t)bytes);
    w->count += bytes;
    return TN_OK;
}

static inline tn_status tn_chat_marker_(tn_chat_writer *w, const char *marker,
                                        int32_t trained, tn_error *err)
{
    if (!*marker)
        return TN_OK;
    TN_TRY(tn_chat_flush_(w, err));
    trained |= w->unended;
    w->unended = 0;
    const int32_t id =
        w->tokenizer->vtable->special(w->tokenizer->self, marker);
    if (id >= 0)
        return w->sink(w->to, &id, 1, trained, err);
    return tn_chat_encode_(w, marker, strlen(marker), trained, err);
}

static inline tn_status tn_chat_open_(tn_chat_writer *w, uint32_t role,
                                      tn_error *err)
{
    const tn_chat_frame *f = &w->form->role[role];
    TN_TRY(tn_chat_marker_(w, f->open, 0, err));
    return tn_chat_text_(w, f->open_text, strlen(f->open_text), 0, err);
}

static inline tn_status tn_chat_close_(tn_chat_writer *w, uint32_t role,
                                       tn_error *err)
{
    const tn_chat_frame *f = &w->form->role[role];
    const int32_t reply = role == TN_ROLE_ASSISTANT;
    TN_TRY(tn_chat_marker_(w, f->close, reply, err));
    w->unended = reply && !*f->close;
    return tn_chat_text_(w, f->close_text, strlen(f->close_text), 0, err);
}

static inline tn_status tn_chat_close_reply_(tn_chat_writer *w, tn_error *err)
{
    if (!w->in_reply)
        return TN_OK;
    w->in_reply = 0;
    return tn_chat_close_(w, TN_ROLE_ASSISTANT, err);
}

static inline tn_status tn_chat_parts_(tn_chat_writer *w,
                                       const tn_chat_message *m,
                                       int32_t trained, tn_error *err)
{
    for (uint32_t i = 0; i < m->part_count; i++) {
        const tn_chat_part *p = &m->parts[i];
        const tn_chat_frame *f = &w->form->part[p->kind];
        const int32_t learned = trained && p->kind != TN_PART_OUTPUT;
        TN_TRY(tn_chat_marker_(w, f->open, learned, err));
        TN_TRY(tn_chat_text_(w, p->text, p->bytes, learned, err));
        TN_TRY(tn_chat_marker_(w, f->close, learned, err));
    }
    return TN_OK;
}

/* The beginning of a conversation; call it once, before its messages. */
static inline tn_status tn_chat_begin(tn_chat_writer *w, tn_error *err)
{
    w->in_reply = w->unended = 0;
    w->system = NULL;
    w->count = 0;
    return tn_chat_marker_(w, w->form->begin, 0, err);
}

/* No text vanishes without a word. */
static inline tn_status tn_chat_met_user_(const tn_chat_writer *w,
                                          tn_error *err)
{
    if (!w->system)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "no user's message comes right after a system message, and "
                   "the template %s puts the one in front of the other; join "
                   "system messages into one, before a user's",
                   w->form->name);
}

/* What an assistant is asked to go on from. */
static inline tn_status tn_chat_open_reply(tn_chat_writer *w, tn_error *err)
{
    if (w->in_reply)
        return TN_OK;
    TN_TRY(tn_chat_met_user_(w, err));
    w->in_reply = 1;
    TN_TRY(tn_chat_open_(w, TN_ROLE_ASSISTANT, err));
    return tn_chat_flush_(w, err);
}

static inline tn_status tn_chat_put(tn_chat_writer *w, const tn_chat_message *m,
                                    tn_error *err)
{
    const int32_t inside =
        m->role == TN_ROLE_TOOL && w->form->tool_in_reply && w->in_reply;
    if (m->role != TN_ROLE_USER)
        TN_TRY(tn_chat_met_user_(w, err));
    if (m->role == TN_ROLE_ASSISTANT) {
        TN_TRY(tn_chat_open_reply(w, err));
        return tn_chat_parts_(w, m, 1, err);
    }
    if (!inside)
        TN_TRY(tn_chat_close_reply_(w, err));
    if (m->role == TN_ROLE_SYSTEM && w->form->merge_system) {
        w->system = m;
        return TN_OK;
    }
    TN_TRY(tn_chat_open_(w, m->role, err));
    if (m->role == TN_ROLE_USER && w->system) {
        TN_TRY(tn_chat_parts_(w, w->system, 0, err));
        TN_TRY(tn_chat_text_(w, "\n\n", 2, 0, err));
        w->system = NULL;
    }
    TN_TRY(tn_chat_parts_(w, m, 0, err));
    return tn_chat_close_(w, m->role, err);
}

static inline tn_status tn_chat_end(tn_chat_writer *w, tn_error *err)
{
    TN_TRY(tn_chat_met_user_(w, err));
    TN_TRY(tn_chat_close_reply_(w, err));
    TN_TRY(tn_chat_marker_(w, w->form->end, 0, err));
    return tn_chat_flush_(w, err);
}

static inline void tn_chat_free(tn_chat_writer *w)
{
    free(w->text);
    w->text = NULL;
    w->count = w->capacity = 0;
}

TN_END_DECLS
#endif
