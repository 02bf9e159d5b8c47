/*
 * tokenizer.h - what the sub-commands of `tenon tokenizer` share.
 */
#ifndef TENON_CLI_TOKENIZER_H
#define TENON_CLI_TOKENIZER_H

#include "cli/command.h"
#include "run/component.h"

extern const tni_command tni_command_tokenizer_encode;
extern const tni_command tni_command_tokenizer_decode;
extern const tni_command tni_command_tokenizer_train;
extern const tni_command tni_command_tokenizer_eval;

/* The plugin that reads tokenizers from files, and makes them. */
#define TNI_TOKENIZER_OF_FILES "bpe"

/* How flags name a tokenizer. */
typedef struct tni_tokenizer_flags {
    const char *tokenizer; /* -t: a file, a folder, a plugin's name or a map */
    const char *pattern;   /* --pattern, NULL where not given */
} tni_tokenizer_flags;

#define TNI_FLAG_TOKENIZER(to_)                                                \
    {                                                                          \
        .name = "tokenizer", .letter = 't', .kind = TNI_FLAG_STRING,           \
        .to = &(to_)->tokenizer, .value = "FILE",                              \
        .help = "a .tiktoken file, a tokenizer.json, a folder with one, or "   \
                "{plugin: NAME, option: value}"                                \
    }
#define TNI_FLAG_PATTERN(to_)                                                  \
    {                                                                          \
        .name = "pattern", .kind = TNI_FLAG_STRING, .to = &(to_)->pattern,     \
        .value = "NAME",                                                       \
        .help = "how text is split: gpt2, cl100k, o200k, llama3, qwen2, "      \
                "nanochat, or a regular expression"                            \
    }

/* The component that the flags ask for, with its options. */
tn_status tni_tokenizer_use(tni_cli *cli, const tni_tokenizer_flags *flags,
                            tni_use *use, tn_error *err);

/* All of standard input, in cli->arena. */
tn_status tni_cli_read_stdin(tni_cli *cli, char **bytes, size_t *count,
                             tn_error *err);

#endif
