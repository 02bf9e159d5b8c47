/*
 * generate.c - `tenon generate`: text that streams.
 */
#include <string.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/recipes.h"
#include "cli/speech.h"
#include "cli/term.h"
#include "run/generate.h"

static void write_speed(const tni_generate_result *r)
{
    if (!isatty(STDERR_FILENO) || r->tokens < 2 || !(r->seconds > 0))
        return;
    fprintf(stderr,
            "%s%lld tokens, %.0f a second; prompt of %lld in %.0f ms%s\n",
            tni_style_on(stderr, TNI_DIM), (long long)r->tokens,
            (double)r->tokens / r->seconds, (long long)r->prompt_tokens,
            r->read_seconds * 1e3, tni_style_on(stderr, TNI_PLAIN));
}

/* Between several texts a line of three dashes. */
static void separate(void *to, int64_t sample)
{
    if (sample)
        fputs("\n---\n", to);
}

static int generate(tni_cli *cli, const tni_source_flags *source,
                    tni_generate_request *request)
{
    tn_error err = {0};
    tni_recipe *recipe;
    tni_generate_result result;
    if (tni_recipe_from_flags(cli, source,
                              TNI_SKIP_TRAINING | TNI_NEED_TOKENIZER, &recipe,
                              &request->weights, &err) != TN_OK)
        return tni_cli_fail(&err);
    request->recipe = recipe;
    request->stop = tni_interrupt_watch();
    const tn_status status = tni_generate(request, &result, &err);
    if (result.prompt_tokens)
        putchar('\n');
    if (status != TN_OK)
        return tni_cli_fail(&err);
    write_speed(&result);
    return *request->stop ? TNI_EXIT_INTERRUPTED : TNI_EXIT_OK;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    tni_source_flags source = {0};
    tni_flag_list stops = {0};
    int64_t seed = 0;
    int rest;
    tni_generate_request request = {
        .prompt = "\n",
        .max_tokens = 256,
        .sampling = TNI_SAMPLING_DEFAULT,
        .sink = tni_speak,
        .to = stdout,
        .samples = 1,
        .begin = separate,
    };
    const tni_flag flags[] = {
        TNI_FLAG_MODEL(&source),
        {.name = "prompt",
         .letter = 'p',
         .kind = TNI_FLAG_STRING,
         .to = &request.prompt,
         .help = "text to go on from; by default a new line"},
        {.name = "max-tokens",
         .kind = TNI_FLAG_INT,
         .to = &request.max_tokens,
         .help = "how many to make; 256"},
        {.name = "samples",
         .kind = TNI_FLAG_INT,
         .to = &request.samples,
         .help = "make so many texts at once, with this seed and the next "
                 "ones; 1"},
        {.name = "stop",
         .kind = TNI_FLAG_LIST,
         .to = &stops,
         .help = "end before this text, or at this special token"},
        TNI_FLAGS_SAMPLING(&request.sampling, &seed),
        TNI_FLAG_BACKEND(&source),
        TNI_FLAG_QUANTIZE(&source),
        TNI_FLAG_CONFIG(&source),
        TNI_FLAG_WEIGHTS(&source),
        TNI_FLAG_SET(&source),
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_generate, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest)
        return tni_cli_misuse(&tni_command_generate,
                              "%s: not expected here; a prompt follows -p",
                              argv[0]);
    if (request.max_tokens < 0)
        return tni_cli_misuse(&tni_command_generate,
                              "--max-tokens %lld is negative",
                              (long long)request.max_tokens);
    if (request.samples < 1 || request.samples > TNI_DECODER_ROWS)
        return tni_cli_misuse(&tni_command_generate,
                              "--samples %lld is outside [1, %d]",
                              (long long)request.samples, TNI_DECODER_ROWS);
    request.prompt_bytes = strlen(request.prompt);
    request.sampling.seed = (uint64_t)seed;
    request.stop_texts = stops.at;
    request.stop_text_count = stops.count;
    return generate(cli, &source, &request);
}

const tni_command tni_command_generate = {
    .name = "generate",
    .summary = "go on from a prompt",
    .usage = "-m CHECKPOINT -p PROMPT [--max-tokens N] [--temperature X]\n\n"
             "  The prompt and what follows stream to stdout in whole "
             "characters. When the\n  context is full, its last half is read "
             "again and the text goes on.",
    .run = run,
};
