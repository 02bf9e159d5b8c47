/*
 * chat.c - `tenon chat`: questions on a terminal, from -p, or from a pipe.
 *
 * Only answers go to stdout. The prompt, remarks and errors go to stderr, so
 * that what is piped or saved is what the model said.
 */
#include "cli/chat.h"

#include <string.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/recipes.h"
#include "cli/speech.h"
#include "cli/term.h"
#include "cli/tokenizer.h"

typedef struct {
    tni_source_flags source;
    const char *prompt, *system, *form;
    tni_sampling sampling;
    int64_t seed, max_tokens, context;
} chat_flags;

void tni_talk_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs(tni_style_on(stderr, TNI_DIM), stderr);
    vfprintf(stderr, format, args);
    fprintf(stderr, "%s\n", tni_style_on(stderr, TNI_PLAIN));
    va_end(args);
}

/* ---- an answer ---- */

/* The first words of a message, on one line. */
static const char *beginning(tni_cli *cli, const tni_turn *turn)
{
    enum { MOST = 40 };
    size_t bytes = turn->bytes < MOST ? turn->bytes : MOST;
    while (bytes && bytes < turn->bytes &&
           ((unsigned char)turn->text[bytes] & 0xC0) == 0x80)
        bytes--;
    char *text = tni_arena_printf(cli->arena, "%.*s%s", (int)bytes, turn->text,
                                  bytes < turn->bytes ? "..." : "");
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    return text;
}

static void hear(void *talk, const char *text, size_t bytes)
{
    ((tni_talk *)talk)->spoke = 1;
    tni_speak(stdout, text, bytes);
}

static void forgot(void *talk, const tni_turn *turn)
{
    tni_talk *t = talk;
    t->forgotten = tni_arena_printf(
        t->cli->arena, "%s%s\"%s\"", t->forgotten ? t->forgotten : "",
        t->forgotten ? ", " : "", beginning(t->cli, turn));
}

void tni_talk_told(tni_talk *t, tn_status status, const tni_chat_result *r,
                   const tn_error *err)
{
    if (status == TN_OK || t->spoke)
        tni_speak(stdout, "\n", 1);
    t->spoke = 0;
    if (t->forgotten)
        tni_talk_note("(the context of %lld tokens was full; forgotten, with "
                      "the answers: %s)",
                      (long long)t->chat->decoder->capacity, t->forgotten);
    t->forgotten = NULL;
    if (status != TN_OK)
        fprintf(stderr, "tenon: %s\n", err->message);
    else if (r->ended == TNI_CHAT_LENGTH)
        tni_talk_note("(cut off after --max-tokens %lld)",
                      (long long)t->chat->max_tokens);
    else if (r->ended == TNI_CHAT_FULL)
        tni_talk_note("(cut off: question and answer fill the context of %lld "
                      "tokens)",
                      (long long)t->chat->decoder->capacity);
    else if (r->ended == TNI_CHAT_TOOL)
        tni_talk_note("(the model calls a tool, and there is none here)");
    else if (r->ended == TNI_CHAT_STOPPED && !r->tokens)
        tni_talk_note("(stopped before an answer: the question is taken back)");
}

/* ---- once ---- */

static int answer_once(tni_talk *t, const char *text, size_t bytes)
{
    tn_error err = {0};
    tni_chat_result result;
    const tn_status status = tni_chat_ask(t->chat, text, bytes, &result, &err);
    tni_talk_told(t, status, &result, &err);
    if (status != TN_OK)
        return TNI_EXIT_FAILED;
    return *t->stop ? TNI_EXIT_INTERRUPTED : TNI_EXIT_OK;
}

/* All of standard input is one question: lines are part of it. */
static int answer_stdin(tni_talk *t)
{
    tn_error err = {0};
    char *text;
    size_t bytes;
    if (tni_cli_read_stdin(t->cli, &text, &bytes, &err) != TN_OK)
        return tni_cli_fail(&err);
    while (bytes && strchr("\r\n", text[bytes - 1]))
        bytes--;
    if (!bytes)
        return tni_cli_fail(
            (tn_fail(&err, TN_EINVALID,
                     "there is no question: standard input is empty; give one "
                     "with -p, or run chat on a terminal"),
             &err));
    return answer_once(t, text, bytes);
}

/* ---- a conversation ---- */

static void greet(const tni_talk *t, const tni_recipe *r)
{
    tni_talk_note("%s: %lld parameters on %s, a context of %lld tokens, "
                  "template %s\n/help lists commands; Ctrl-C stops an answer, "
                  "Ctrl-D leaves",
                  r->name, (long long)tni_model_parameter_count(r->model),
                  t->chat->decoder->session->device.name,
                  (long long)t->chat->decoder->capacity, t->chat->form->name);
}

static void take_line(tni_talk *t)
{
    tn_error err = {0};
    tni_chat_result result;
    const tni_lines *l = &t->lines;
    const int escaped = strncmp(l->text, "//", 2) == 0;
    if (!l->text[strspn(l->text, " \t\n")])
        return;
    if (*l->text == '/' && !escaped) {
        tni_talk_command(t, l->text);
    } else {
        const tn_status status =
            tni_chat_ask(t->chat, l->text + escaped, l->bytes - (size_t)escaped,
                         &result, &err);
        tni_talk_told(t, status, &result, &err);
    }
}

/* Ctrl-C while the model speaks ends the answer. At the prompt it takes the
 * line away, and twice in a row it leaves. */
static int converse(tni_talk *t)
{
    const char *prompt = tni_arena_printf(t->cli->arena, "%s> %s",
                                          tni_style_on(stderr, TNI_BOLD),
                                          tni_style_on(stderr, TNI_PLAIN));
    int interrupted = 0;
    while (!t->leave) {
        const int status = tni_line_read(&t->lines, prompt);
        if (status == TNI_LINE_READ)
            take_line(t);
        else
            fputc('\n', stderr);
        if (status == TNI_LINE_END)
            return TNI_EXIT_OK;
        if (*t->stop == SIGTERM ||
            (status == TNI_LINE_INTERRUPTED && interrupted))
            return TNI_EXIT_INTERRUPTED;
        interrupted = status == TNI_LINE_INTERRUPTED;
        if (interrupted)
            tni_talk_note("(Ctrl-C again leaves, and so does Ctrl-D)");
        if (*t->stop)
            tni_interrupt_again();
    }
    return TNI_EXIT_OK;
}

/* ---- the command ---- */

static tn_status open_talk(tni_talk *t, const chat_flags *f, tni_recipe *recipe,
                           const char *weights, tn_error *err)
{
    const tni_chat_request request = {.recipe = recipe,
                                      .weights = weights,
                                      .form = f->form,
                                      .context = f->context,
                                      .sink = hear,
                                      .forgot = forgot,
                                      .to = t,
                                      .stop = t->stop};
    TN_TRY(tni_chat_open(&request, &t->chat, err));
    TN_TRY(tni_chat_sample(t->chat, &t->sampling, err));
    t->chat->max_tokens = f->max_tokens;
    return f->system ? tni_chat_system(t->chat, f->system, err) : TN_OK;
}

static int talk(tni_talk *t, const chat_flags *f, const tni_recipe *recipe)
{
    if (f->prompt)
        return answer_once(t, f->prompt, strlen(f->prompt));
    if (!isatty(STDIN_FILENO))
        return answer_stdin(t);
    greet(t, recipe);
    return converse(t);
}

static int chat(tni_cli *cli, const chat_flags *f)
{
    tn_error err = {0};
    tni_recipe *recipe;
    const char *weights;
    tni_talk t = {.cli = cli, .sampling = f->sampling};
    t.stop = t.lines.stop = tni_interrupt_watch();
    tn_status status = tni_recipe_from_flags(
        cli, &f->source, TNI_SKIP_TRAINING | TNI_NEED_TOKENIZER, &recipe,
        &weights, &err);
    if (status == TN_OK)
        status = open_talk(&t, f, recipe, weights, &err);
    const int code = status == TN_OK ? talk(&t, f, recipe) : tni_cli_fail(&err);
    tni_chat_close(t.chat);
    tni_lines_free(&t.lines);
    return code;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    chat_flags f = {.sampling = TNI_SAMPLING_DEFAULT, .max_tokens = 512};
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_MODEL(&f.source),
        {.name = "prompt",
         .letter = 'p',
         .kind = TNI_FLAG_STRING,
         .to = &f.prompt,
         .help = "ask this, print the answer and leave"},
        {.name = "system",
         .kind = TNI_FLAG_STRING,
         .to = &f.system,
         .help = "what the model is told before everything else"},
        {.name = "template",
         .kind = TNI_FLAG_STRING,
         .to = &f.form,
         .value = "NAME",
         .help = "nanochat, nano_start or chatml; the one that the checkpoint "
                 "was tuned with"},
        {.name = "max-tokens",
         .kind = TNI_FLAG_INT,
         .to = &f.max_tokens,
         .help = "the longest an answer gets; 512"},
        {.name = "context",
         .kind = TNI_FLAG_INT,
         .to = &f.context,
         .help = "tokens of the conversation to remember; "
                 "model.max_seq_len"},
        TNI_FLAGS_SAMPLING(&f.sampling, &f.seed),
        TNI_FLAG_BACKEND(&f.source),
        TNI_FLAG_QUANTIZE(&f.source),
        TNI_FLAG_CONFIG(&f.source),
        TNI_FLAG_WEIGHTS(&f.source),
        TNI_FLAG_SET(&f.source),
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_chat, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest)
        return tni_cli_misuse(&tni_command_chat,
                              "%s: not expected here; a question follows -p",
                              argv[0]);
    if (f.max_tokens < 1)
        return tni_cli_misuse(&tni_command_chat,
                              "--max-tokens %lld is less than 1",
                              (long long)f.max_tokens);
    f.sampling.seed = (uint64_t)f.seed;
    return chat(cli, &f);
}

const tni_command tni_command_chat = {
    .name = "chat",
    .summary = "talk with a model that was tuned on conversations",
    .usage =
        "-m CHECKPOINT [-p QUESTION] [--system TEXT] [--temperature X]\n\n"
        "  On a terminal: a conversation; /help lists its commands, a "
        "backslash at the end\n  of a line goes on with the next. From a pipe: "
        "all of standard input is one\n  question. Answers alone go to "
        "stdout. When the context is full, the oldest\n  questions and "
        "answers are forgotten, never the system message.",
    .run = run,
};
