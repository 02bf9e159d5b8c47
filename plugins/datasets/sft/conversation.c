/*
 * conversation.c - four forms, one list of messages.
 */
#include "conversation.h"

#include <jansson.h>

enum { MOST_MESSAGES = 10000, MOST_PARTS = 64 };

typedef struct {
    const tni_line *line;
    tni_conversation_sink sink;
    void *to;
    tn_chat_message *messages;
    tn_chat_part *parts;
    uint32_t count, part_count, message_capacity, part_capacity;
} reader;

/* ---- sentences ---- */

TN_PRINTF(3, 4)
static tn_status refuse(const reader *r, tn_error *err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tn_fail(err, TN_EFORMAT, "%s:%lld: %s", r->line->path,
                   (long long)r->line->number, text);
}

/* ---- room ---- */

static tn_status make_room(reader *r, tn_error *err)
{
    if (r->count == r->message_capacity) {
        const uint32_t n = r->count ? 2 * r->count : 16;
        void *larger = realloc(r->messages, n * sizeof *r->messages);
        if (!larger)
            return tn_fail(err, TN_ENOMEM, "no memory for %u messages", n);
        r->messages = larger;
        r->message_capacity = n;
    }
    if (r->part_count + MOST_PARTS > r->part_capacity) {
        const uint32_t n = 2 * (r->part_count + MOST_PARTS);
        tn_chat_part *larger = realloc(r->parts, n * sizeof *r->parts);
        if (!larger)
            return tn_fail(err, TN_ENOMEM, "no memory for %u parts", n);
        r->parts = larger;
        r->part_capacity = n;
    }
    return TN_OK;
}

/* ---- a message ---- */

static tn_status read_role(const reader *r, const json_t *role, uint32_t *to,
                           tn_error *err)
{
    static const struct {
        const char *name;
        uint32_t role;
    } names[] = {
        {"system", TN_ROLE_SYSTEM},    {"developer", TN_ROLE_SYSTEM},
        {"user", TN_ROLE_USER},        {"human", TN_ROLE_USER},
        {"prompter", TN_ROLE_USER},    {"assistant", TN_ROLE_ASSISTANT},
        {"gpt", TN_ROLE_ASSISTANT},    {"model", TN_ROLE_ASSISTANT},
        {"tool", TN_ROLE_TOOL},        {"function", TN_ROLE_TOOL},
        {"observation", TN_ROLE_TOOL},
    };
    const char *name = json_string_value(role);
    if (!name)
        return refuse(r, err, "message %u has no role", r->count);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0)
            return *to = names[i].role, TN_OK;
    return refuse(r, err,
                  "message %u has the role \"%.40s\"; system, user, assistant "
                  "and tool are known",
                  r->count, name);
}

static void add_part(reader *r, uint32_t kind, const json_t *text)
{
    r->parts[r->part_count++] = (tn_chat_part){
        .kind = kind,
        .text = json_string_value(text),
        .bytes = json_string_length(text),
    };
}

static tn_status read_part(reader *r, const json_t *part, tn_error *err)
{
    static const struct {
        const char *name;
        uint32_t kind;
    } kinds[] = {{"text", TN_PART_TEXT},
                 {"python", TN_PART_CODE},
                 {"python_output", TN_PART_OUTPUT}};
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *text = json_object_get(part, "text");
    if (json_is_string(part))
        return add_part(r, TN_PART_TEXT, part), TN_OK;
    for (size_t i = 0; type && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, type) == 0 && json_is_string(text))
            return add_part(r, kinds[i].kind, text), TN_OK;
    return refuse(r, err,
                  "message %u has a part of type \"%.40s\"; text, python and "
                  "python_output are read, with a \"text\"",
                  r->count, type ? type : "");
}

static tn_status read_content(reader *r, const json_t *content, tn_error *err)
{
    if (json_is_string(content))
        return add_part(r, TN_PART_TEXT, content), TN_OK;
    if (!json_is_array(content))
        return refuse(r, err,
                      "message %u has no content: a text or a list of parts",
                      r->count);
    if (json_array_size(content) > MOST_PARTS)
        return refuse(r, err, "message %u has more than %d parts", r->count,
                      MOST_PARTS);
    for (size_t i = 0; i < json_array_size(content); i++)
        TN_TRY(read_part(r, json_array_get(content, i), err));
    return TN_OK;
}

/* Its parts are found again at the end: the array moves while it grows. */
static tn_status read_message(reader *r, const json_t *role,
                              const json_t *content, tn_error *err)
{
    tn_chat_message m = {0};
    if (r->count == MOST_MESSAGES)
        return refuse(r, err, "more than %d messages", MOST_MESSAGES);
    TN_TRY(make_room(r, err));
    const uint32_t before = r->part_count;
    TN_TRY(read_role(r, role, &m.role, err));
    TN_TRY(read_content(r, content, err));
    m.part_count = r->part_count - before;
    r->messages[r->count++] = m;
    return TN_OK;
}

static tn_status hand_over(reader *r, tn_error *err)
{
    const tn_chat_part *part = r->parts;
    for (uint32_t i = 0; i < r->count; i++) {
        r->messages[i].parts = part;
        part += r->messages[i].part_count;
    }
    return r->sink(r->to, r->messages, r->count, err);
}

/* ---- forms ---- */

static tn_status read_list(reader *r, const json_t *list, const char *role,
                           const char *content, tn_error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        TN_TRY(read_message(r, json_object_get(m, role),
                            json_object_get(m, content), err));
    }
    return hand_over(r, err);
}

/* Every way from the prompt to a reply without replies. */
static tn_status read_tree(reader *r, const json_t *node, tn_error *err)
{
    const json_t *replies = json_object_get(node, "replies");
    const uint32_t count = r->count, part_count = r->part_count;
    TN_TRY(read_message(r, json_object_get(node, "role"),
                        json_object_get(node, "text"), err));
    if (!json_array_size(replies))
        TN_TRY(hand_over(r, err));
    for (size_t i = 0; i < json_array_size(replies); i++)
        TN_TRY(read_tree(r, json_array_get(replies, i), err));
    r->count = count;
    r->part_count = part_count;
    return TN_OK;
}

static tn_status read_root(reader *r, const json_t *root, tn_error *err)
{
    const json_t *messages = json_object_get(root, "messages");
    const json_t *turns = json_object_get(root, "conversations");
    const json_t *prompt = json_object_get(root, "prompt");
    if (json_is_array(root))
        return read_list(r, root, "role", "content", err);
    if (json_is_array(messages))
        return read_list(r, messages, "role", "content", err);
    if (json_is_array(turns))
        return read_list(r, turns, "from", "value", err);
    if (json_is_object(prompt))
        return read_tree(r, prompt, err);
    return refuse(r, err,
                  "no conversation: a list of messages, or an object with "
                  "\"messages\" or \"conversations\", is expected");
}

tn_status tni_conversations_read(const tni_line *line,
                                 tni_conversation_sink sink, void *to,
                                 tn_error *err)
{
    reader r = {.line = line, .sink = sink, .to = to};
    json_error_t why;
    /* some editors write a byte order mark before the first */
    const size_t mark =
        line->bytes >= 3 && !memcmp(line->text, "\xef\xbb\xbf", 3) ? 3 : 0;
    json_t *root = json_loadb(line->text + mark, line->bytes - mark,
                              JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    const tn_status status =
        root ? read_root(&r, root, err)
             : refuse(&r, err, "column %d: %s", why.column, why.text);
    json_decref(root);
    free(r.messages);
    free(r.parts);
    return status;
}
