/*
 * plan.c - `tenon plan`: what a run will need, without running it.
 */
#include "cli/json.h"
#include "cli/recipes.h"
#include "cli/term.h"
#include "run/footprint.h"

static const char *const arena_name[TN_ARENA_COUNT] = {
#define XX(id, number, text) [number] = text,
    TN_ARENA_MAP(XX)
#undef XX
};

static const char *bytes_text(tni_arena *arena, int64_t bytes)
{
    const double b = (double)bytes;
    if (b >= 0x1p30)
        return tni_arena_printf(arena, "%.2f GiB", b / 0x1p30);
    if (b >= 0x1p20)
        return tni_arena_printf(arena, "%.2f MiB", b / 0x1p20);
    return tni_arena_printf(arena, "%.1f KiB", b / 0x1p10);
}

static void print_facts(tni_cli *cli, const tni_recipe *r,
                        const tni_footprint *f)
{
    tni_table t = {.arena = cli->arena, .columns = 2};
    tni_table_add(&t, "parameters");
    tni_table_addf(&t, "%lld (%lld in matrix products)",
                   (long long)f->parameters, (long long)f->matrix_parameters);
    tni_table_add(&t, "FLOPs per token");
    tni_table_addf(&t, "%.4g forward, %.4g in training", f->forward_flops,
                   f->training_flops);
    tni_table_add(&t, "step");
    tni_table_addf(&t, "%lld tokens: %lld micro-batches of %lld rows of %lld",
                   (long long)f->tokens_per_step,
                   (long long)r->train.grad_accum,
                   (long long)r->train.batch_size, (long long)r->train.seq_len);
    tni_table_print(&t, stdout);
}

static void print_memory(tni_cli *cli, const tni_footprint *f)
{
    tni_table t = {.arena = cli->arena, .columns = 2, .headed = 1};
    tni_table_add(&t, "memory");
    tni_table_add(&t, "peak");
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++) {
        if (!f->bytes[a])
            continue;
        tni_table_add(&t, arena_name[a]);
        tni_table_add(&t, bytes_text(cli->arena, f->bytes[a]));
    }
    if (f->workspace_bytes) {
        tni_table_add(&t, "kernels");
        tni_table_add(&t, bytes_text(cli->arena, f->workspace_bytes));
    }
    tni_table_add(&t, "program and libraries");
    tni_table_add(&t, bytes_text(cli->arena, f->program_bytes));
    tni_table_add(&t, "all");
    tni_table_add(&t, bytes_text(cli->arena, f->total_bytes));
    if (f->available_bytes) {
        tni_table_add(&t, "free");
        tni_table_add(&t, bytes_text(cli->arena, f->available_bytes));
    }
    putchar('\n');
    tni_table_print(&t, stdout);
}

static void print_decoding(tni_cli *cli, const tni_footprint *f)
{
    tni_table t = {.arena = cli->arena, .columns = 2, .headed = 1};
    tni_table_add(&t, "kept while decoding");
    tni_table_add(&t, "bytes");
    tni_table_add(&t, "cache, per token");
    tni_table_addf(&t, "%lld", (long long)f->cache_token_bytes);
    if (f->plain_token_bytes != f->cache_token_bytes) {
        tni_table_add(&t, "as plain keys and values");
        tni_table_addf(&t, "%lld", (long long)f->plain_token_bytes);
    }
    tni_table_add(&t, "other state, per sequence");
    tni_table_addf(&t, "%lld", (long long)f->state_bytes);
    putchar('\n');
    tni_table_print(&t, stdout);
}

static void print_largest(tni_cli *cli, const tni_footprint *f)
{
    tni_table t = {.arena = cli->arena, .columns = 2, .headed = 1};
    if (!f->largest_count)
        return;
    tni_table_add(&t, "largest activations");
    tni_table_add(&t, "bytes");
    for (uint32_t i = 0; i < f->largest_count; i++) {
        tni_table_add(&t, f->largest_name[i]);
        tni_table_add(&t, bytes_text(cli->arena, f->largest_bytes[i]));
    }
    putchar('\n');
    tni_table_print(&t, stdout);
}

static int print_json(const tni_recipe *r, const tni_footprint *f)
{
    json_t *bytes = json_object(), *largest = json_array();
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
        json_object_set_new(bytes, arena_name[a],
                            json_integer((json_int_t)f->bytes[a]));
    json_object_set_new(bytes, "kernels",
                        json_integer((json_int_t)f->workspace_bytes));
    json_object_set_new(bytes, "program and libraries",
                        json_integer((json_int_t)f->program_bytes));
    for (uint32_t i = 0; i < f->largest_count; i++)
        json_array_append_new(
            largest, json_pack("{s:s, s:I}", "name", f->largest_name[i],
                               "bytes", (json_int_t)f->largest_bytes[i]));
    json_t *root = json_pack(
        "{s:s, s:I, s:I, s:f, s:f, s:I, s:o, s:I, s:I, s:o, s:I, s:I, s:I}",
        "name", r->name, "parameters", (json_int_t)f->parameters,
        "matrix_parameters", (json_int_t)f->matrix_parameters,
        "forward_flops_per_token", f->forward_flops, "training_flops_per_token",
        f->training_flops, "tokens_per_step", (json_int_t)f->tokens_per_step,
        "bytes", bytes, "total_bytes", (json_int_t)f->total_bytes,
        "available_bytes", (json_int_t)f->available_bytes, "largest", largest,
        "cache_bytes_per_token", (json_int_t)f->cache_token_bytes,
        "plain_cache_bytes_per_token", (json_int_t)f->plain_token_bytes,
        "state_bytes_per_sequence", (json_int_t)f->state_bytes);
    return tni_json_print(root);
}

static int plan(tni_cli *cli, const tni_source_flags *source, int json)
{
    tn_error err = {0};
    tni_recipe *recipe;
    tni_training *training;
    tni_footprint f;
    if (tni_recipe_from_flags(cli, source, TNI_NEED_MODEL, &recipe, NULL,
                              &err) != TN_OK ||
        tni_training_create(recipe, &training, &err) != TN_OK)
        return tni_cli_fail(&err);
    tni_footprint_of(training, &f);
    int status = TNI_EXIT_OK;
    if (json) {
        status = print_json(recipe, &f);
    } else {
        print_facts(cli, recipe, &f);
        print_memory(cli, &f);
        print_decoding(cli, &f);
        print_largest(cli, &f);
    }
    if (tni_footprint_check(training, &err) != TN_OK)
        status = tni_cli_fail(&err);
    tni_training_destroy(training);
    return status;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    tni_source_flags source = {0};
    int32_t json = 0;
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_CONFIG(&source),
        TNI_FLAG_SET(&source),
        TNI_FLAG_BACKEND(&source),
        {.name = "json",
         .kind = TNI_FLAG_SWITCH,
         .to = &json,
         .help = "print JSON"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_plan, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest > 1 || (rest && source.config))
        return tni_cli_misuse(&tni_command_plan, "one CONFIG is expected");
    if (rest)
        source.config = argv[0];
    return plan(cli, &source, json);
}

const tni_command tni_command_plan = {
    .name = "plan",
    .summary = "parameters, FLOPs and peak memory of a run, before it runs",
    .usage = "CONFIG [--set key=value]... [--json]\n\n"
             "  Only the `model:` part of a config is needed; without an "
             "optimizer its state\n  is not counted. The status is 1 where the "
             "run does not fit this machine.",
    .run = run,
};
