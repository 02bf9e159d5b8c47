/*
 * chat_commands.c - what /help lists: a row and a function each.
 */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/chat.h"
#include "cli/term.h"
#include "config/config.h"

typedef struct {
    const char *name, *value, *help;
    /* `value` is what follows the name, "" where nothing does. */
    tn_status (*run)(tni_talk *t, const char *value, tn_error *err);
} command;

/* ---- settings ---- */

static tn_status read_number(const char *text, double *number, tn_error *err)
{
    char *end;
    *number = strtod(text, &end);
    if (end == text || *end || !isfinite(*number))
        return tn_fail(err, TN_EINVALID, "a number is expected, not '%s'",
                       text);
    return TN_OK;
}

static tn_status read_integer(const char *text, int64_t least, int64_t *number,
                              tn_error *err)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    if (end == text || *end || errno || *number < least)
        return tn_fail(err, TN_EINVALID,
                       "an integer of at least %lld is expected, not '%s'",
                       (long long)least, text);
    return TN_OK;
}

/* Take over what is in range; keep what there was where it is not. */
static tn_status sample(tni_talk *t, const tni_sampling *want, tn_error *err)
{
    TN_TRY(tni_chat_sample(t->chat, want, err));
    t->sampling = *want;
    return TN_OK;
}

static tn_status set_temperature(tni_talk *t, const char *value, tn_error *err)
{
    tni_sampling want = t->sampling;
    TN_TRY(read_number(value, &want.temperature, err));
    return sample(t, &want, err);
}

static tn_status set_top_k(tni_talk *t, const char *value, tn_error *err)
{
    tni_sampling want = t->sampling;
    TN_TRY(read_integer(value, 0, &want.top_k, err));
    return sample(t, &want, err);
}

static tn_status set_top_p(tni_talk *t, const char *value, tn_error *err)
{
    tni_sampling want = t->sampling;
    TN_TRY(read_number(value, &want.top_p, err));
    return sample(t, &want, err);
}

static tn_status set_seed(tni_talk *t, const char *value, tn_error *err)
{
    tni_sampling want = t->sampling;
    int64_t seed;
    TN_TRY(read_integer(value, 0, &seed, err));
    want.seed = (uint64_t)seed;
    return sample(t, &want, err);
}

static tn_status set_max_tokens(tni_talk *t, const char *value, tn_error *err)
{
    int64_t count;
    TN_TRY(read_integer(value, 1, &count, err));
    t->chat->max_tokens = count;
    return TN_OK;
}

static tn_status set_system(tni_talk *t, const char *value, tn_error *err)
{
    return tni_chat_system(t->chat, value, err);
}

/* ---- the conversation ---- */

static tn_status reset(tni_talk *t, const char *value, tn_error *err)
{
    (void)value;
    (void)err;
    tni_chat_reset(t->chat);
    tni_talk_note("(forgotten)");
    return TN_OK;
}

static tn_status retry(tni_talk *t, const char *value, tn_error *err)
{
    tni_chat_result result;
    (void)value;
    if (tni_turns_last_question(&t->chat->turns) == t->chat->turns.count)
        return tn_fail(err, TN_EINVALID, "nothing has been asked yet");
    const tn_status status = tni_chat_retry(t->chat, &result, err);
    tni_talk_told(t, status, &result, err);
    return TN_OK;
}

static tn_status undo(tni_talk *t, const char *value, tn_error *err)
{
    (void)value;
    if (!tni_chat_undo(t->chat))
        return tn_fail(err, TN_EINVALID, "nothing has been asked yet");
    tni_talk_note("(the last question and its answer are taken back)");
    return TN_OK;
}

static json_t *messages(const tni_turns *turns)
{
    static const char *const role[] = {[TN_ROLE_SYSTEM] = "system",
                                       [TN_ROLE_USER] = "user",
                                       [TN_ROLE_ASSISTANT] = "assistant"};
    json_t *list = json_array();
    for (uint32_t i = 0; i < turns->count; i++) {
        const tni_turn *turn = &turns->at[i];
        json_t *text = json_stringn(turn->text, turn->bytes);
        if (!text) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(
            list,
            json_pack("{s:s, s:o}", "role", role[turn->role], "content", text));
    }
    return list;
}

static tn_status append_line(const char *path, const char *line, tn_error *err)
{
    FILE *to = fopen(path, "ae");
    const int written = to && fprintf(to, "%s\n", line) > 0;
    const int error = errno;
    if (to && fclose(to) == 0 && written)
        return TN_OK;
    return tn_fail(err, TN_EIO, "%s: cannot write: %s", path, strerror(error));
}

/* One line of JSON: what the conversations of a dataset are made of. */
static tn_status save(tni_talk *t, const char *value, tn_error *err)
{
    if (!*value)
        return tn_fail(err, TN_EINVALID, "give a FILE to add it to");
    if (!t->chat->turns.count)
        return tn_fail(err, TN_EINVALID, "nothing has been said yet");
    json_t *list = messages(&t->chat->turns);
    if (!list)
        return tn_fail(err, TN_EFORMAT,
                       "what was typed is not UTF-8, so JSON cannot hold it");
    json_t *root = json_pack("{s:o}", "messages", list);
    char *line = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    const tn_status status =
        line ? append_line(value, line, err)
             : tn_fail(err, TN_ENOMEM, "no memory to write it");
    free(line);
    if (status == TN_OK)
        tni_talk_note("(added to %s)", value);
    return status;
}

static tn_status quit(tni_talk *t, const char *value, tn_error *err)
{
    (void)value;
    (void)err;
    t->leave = 1;
    return TN_OK;
}

/* ---- the table ---- */

static tn_status help(tni_talk *t, const char *value, tn_error *err);

static const command commands[] = {
    {"help", "", "this list", help},
    {"reset", "", "forget the conversation; the system message stays", reset},
    {"undo", "", "take the last question and its answer back", undo},
    {"retry", "", "another answer to the last question", retry},
    {"system", "TEXT",
     "what the model is told before everything else; alone: nothing",
     set_system},
    {"temperature", "X",
     "0 takes the likeliest token, 1 draws as the model says", set_temperature},
    {"top-k", "N", "draw from the k likeliest; 0: all of them", set_top_k},
    {"top-p", "X", "draw from the likeliest that reach this probability",
     set_top_p},
    {"seed", "N", "the same seed and questions give the same answers",
     set_seed},
    {"max-tokens", "N", "the longest an answer gets", set_max_tokens},
    {"save", "FILE",
     "add the conversation to a file of JSON lines, as it can be trained on",
     save},
    {"quit", "", "leave, as Ctrl-D does", quit},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static tn_status help(tni_talk *t, const char *value, tn_error *err)
{
    tni_table table = {.arena = t->cli->arena, .columns = 2};
    const tni_sampling *s = &t->sampling;
    (void)value;
    (void)err;
    for (size_t i = 0; i < COMMANDS; i++) {
        tni_table_addf(&table, "  /%s %s", commands[i].name, commands[i].value);
        tni_table_add(&table, commands[i].help);
    }
    tni_table_print(&table, stderr);
    tni_talk_note("now: temperature %g, top-k %lld, top-p %g, seed %llu, "
                  "max-tokens %lld; %lld of %lld tokens of context in use",
                  s->temperature, (long long)s->top_k, s->top_p,
                  (unsigned long long)s->seed, (long long)t->chat->max_tokens,
                  (long long)t->chat->read.count,
                  (long long)t->chat->decoder->capacity);
    return TN_OK;
}

/* What was meant by `name`: the command that begins so, or the nearest. */
static const char *meant(const char *name)
{
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
        if (*name && strncmp(names[i], name, strlen(name)) == 0)
            return names[i];
    }
    return tni_nearest(name, names, COMMANDS);
}

static const command *find(tni_cli *cli, const char *name, tn_error *err)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    const char *near = meant(name);
    const char *hint =
        near ? tni_arena_printf(cli->arena, "did you mean /%s? ", near) : "";
    tn_fail(err, TN_ENOTFOUND,
            "there is no command /%s; %s/help lists them, and // sends a line "
            "that begins with a slash",
            name, hint);
    return NULL;
}

void tni_talk_command(tni_talk *t, const char *line)
{
    static const char blank[] = " \t\n";
    tn_error err = {0};
    const size_t bytes = strcspn(line + 1, blank);
    const char *name =
        tni_arena_printf(t->cli->arena, "%.*s", (int)bytes, line + 1);
    const char *rest = line + 1 + bytes;
    rest += strspn(rest, blank);
    const command *c = find(t->cli, name, &err);
    tn_status status = c ? TN_OK : TN_ENOTFOUND;
    if (c && *rest && !*c->value)
        status =
            tn_fail(&err, TN_EINVALID, "nothing follows it, not '%s'", rest);
    else if (c)
        status = c->run(t, rest, &err);
    if (status != TN_OK)
        fprintf(stderr, "tenon: %s%s%s%s\n", c ? "/" : "", c ? name : "",
                c ? ": " : "", err.message);
}
