/*
 * chat.h - what `tenon chat` and its slash commands share.
 */
#ifndef TENON_CLI_CHAT_H
#define TENON_CLI_CHAT_H

#include "cli/command.h"
#include "cli/line.h"
#include "run/chat.h"

typedef struct tni_talk {
    tni_cli *cli;
    tni_chat *chat;
    tni_sampling sampling;
    tni_lines lines;
    const volatile sig_atomic_t *stop;
    const char *forgotten; /* beginnings of questions, to be told; or NULL */
    int spoke;             /* of the answer something went to stdout */
    int leave;             /* /quit */
} tni_talk;

/* A remark of the program's, on stderr and dim where that is a terminal. */
TN_PRINTF(1, 2)
void tni_talk_note(const char *format, ...);

/* Say what an answer came to: *result, or err where status is not TN_OK. */
void tni_talk_told(tni_talk *talk, tn_status status,
                   const tni_chat_result *result, const tn_error *err);

/* A line that begins with a slash. */
void tni_talk_command(tni_talk *talk, const char *line);

#endif
