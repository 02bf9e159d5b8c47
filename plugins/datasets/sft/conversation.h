/*
 * conversation.h - a line of JSON as conversations.
 *
 *     [{"role": "user", "content": "Hi"}, ...]                messages alone
 *     {"messages": [...]}                                     the same, named
 *     {"conversations": [{"from": "human", "value": "Hi"}]}   ShareGPT
 *     {"prompt": {"role": "prompter", "text": "Hi", "replies": [...]}}
 *                         OpenAssistant: one conversation for each leaf
 *
 * Content is a text or a list of parts, {"type": "text", "text": ...}, of the
 * types text, python and python_output.
 */
#ifndef TENON_CONVERSATION_H
#define TENON_CONVERSATION_H

#include <tenon/chat.h>

/* A line of a file, for messages. */
typedef struct tni_line {
    const char *path, *text;
    size_t bytes;
    int64_t number; /* from 1 */
} tni_line;

/* Receives each conversation; what it points to lives until it returns. */
typedef tn_status (*tni_conversation_sink)(void *to,
                                           const tn_chat_message *messages,
                                           uint32_t count, tn_error *err);

tn_status tni_conversations_read(const tni_line *line,
                                 tni_conversation_sink sink, void *to,
                                 tn_error *err);

#endif
