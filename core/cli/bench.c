/*
 * bench.c - `tenon bench`: this machine's limits, then a model against them.
 */
#include "run/bench.h"
#include <string.h>

#include "cli/json.h"
#include "cli/recipes.h"
#include "cli/term.h"

typedef struct {
    tni_bench_limits limits;
    tni_bench_train train;
    tni_bench_decode decode;
    int wants_train, wants_decode;
    int64_t rows; /* --sequences */
} results;

/* Without a config: the backend alone. */
static tn_status bare_recipe(tni_cli *cli, const char *backend,
                             tni_recipe **recipe, tn_error *err)
{
    tni_recipe *r = tni_arena_alloc(cli->arena, sizeof *r);
    r->reader = (tni_reader){
        .arena = cli->arena, .registry = cli->registry, .host = cli->host};
    if (backend)
        TN_TRY(tni_use_read(&r->reader, TN_KIND_BACKEND,
                            tni_yaml_scalar(cli->arena, backend), "backend",
                            NULL, &r->backend, err));
    *recipe = r;
    return TN_OK;
}

static tn_status measure(tni_cli *cli, const tni_source_flags *source,
                         results *r, tn_error *err)
{
    tni_recipe *recipe;
    if (!source->config) {
        r->wants_train = r->wants_decode = 0;
        TN_TRY(bare_recipe(cli, source->backend, &recipe, err));
        return tni_bench_measure_limits(recipe, &r->limits, err);
    }
    TN_TRY(
        tni_recipe_from_flags(cli, source, TNI_NEED_MODEL, &recipe, NULL, err));
    TN_TRY(tni_bench_measure_limits(recipe, &r->limits, err));
    if (r->wants_train)
        TN_TRY(tni_bench_measure_train(recipe, &r->train, err));
    return r->wants_decode
               ? tni_bench_measure_decode(recipe, r->rows, &r->decode, err)
               : TN_OK;
}

/* ---- text ---- */

static void print_summary(tni_cli *cli, const results *r)
{
    tni_table t = {.arena = cli->arena, .columns = 3, .headed = 1};
    const tni_bench_limits *l = &r->limits;
    tni_table_add(&t, "measured");
    tni_table_add(&t, "rate");
    tni_table_add(&t, "of the limit");
    tni_table_add(&t, "matrix product");
    tni_table_addf(&t, "%.1f GFLOP/s", l->gemm_flops / 1e9);
    tni_table_addf(&t, "the limit of arithmetic (M %lld, N %lld, K %lld)",
                   (long long)l->gemm_shape[0], (long long)l->gemm_shape[1],
                   (long long)l->gemm_shape[2]);
    tni_table_add(&t, "memory");
    tni_table_addf(&t, "%.1f GB/s", l->memory_bytes / 1e9);
    tni_table_addf(&t, "the limit of memory (%lld MB touched)",
                   (long long)(l->memory_working_set / 1000000));
    tni_table_add(&t, "memory, reading");
    tni_table_addf(&t, "%.1f GB/s", l->read_bytes / 1e9);
    tni_table_addf(&t, "the limit of reading (%lld MB read)",
                   (long long)(l->read_working_set / 1000000));
    if (r->wants_train) {
        const tni_bench_train *n = &r->train;
        tni_table_add(&t, "training");
        tni_table_addf(&t, "%.0f tokens/s", n->tokens_per_second);
        tni_table_addf(&t, "%.1f%% (%.1f GFLOP/s, %.2f ms a step)",
                       100 * n->flops / l->gemm_flops, n->flops / 1e9,
                       n->step_seconds * 1e3);
    }
    if (r->wants_decode) {
        const tni_bench_decode *d = &r->decode;
        tni_table_add(&t, d->rows > 1
                              ? tni_arena_printf(cli->arena,
                                                 "decoding, %lld at once",
                                                 (long long)d->rows)
                              : "decoding");
        tni_table_addf(&t, "%.0f tokens/s", d->tokens_per_second);
        tni_table_addf(&t,
                       "%.1f%% of reading as much (%lld MB, weights and %lld "
                       "tokens in cache, at %.1f GB/s of %.1f)",
                       100 * d->bytes_per_second / d->read_bytes,
                       (long long)(d->bytes / 1000000), (long long)d->context,
                       d->bytes_per_second / 1e9, d->read_bytes / 1e9);
    }
    tni_table_print(&t, stdout);
}

static void print_ops(tni_cli *cli, const tni_bench_ops *ops, const char *of)
{
    tni_table t = {.arena = cli->arena, .columns = 6, .headed = 1};
    const char *const head[] = {"op", "nodes", of, "share", "GFLOP/s", "GB/s"};
    double sum = 0;
    if (!ops->count)
        return;
    for (size_t i = 0; i < 6; i++)
        tni_table_add(&t, head[i]);
    for (uint32_t i = 0; i < ops->count; i++)
        sum += ops->at[i].seconds;
    for (uint32_t i = 0; i < ops->count; i++) {
        const tni_bench_op *op = &ops->at[i];
        tni_table_add(&t, op->name);
        tni_table_addf(&t, "%u", op->nodes);
        tni_table_addf(&t, "%.3f", op->seconds * 1e3);
        tni_table_addf(&t, "%.1f%%", 100 * op->seconds / sum);
        const double billions = op->seconds > 0 ? op->seconds * 1e9 : 1e9;
        tni_table_addf(&t, "%.1f", op->flops / billions);
        tni_table_addf(&t, "%.1f", op->bytes / billions);
    }
    putchar('\n');
    tni_table_print(&t, stdout);
}

/* ---- JSON ---- */

static json_t *ops_json(const tni_bench_ops *of)
{
    json_t *ops = json_array();
    for (uint32_t i = 0; i < of->count; i++) {
        const tni_bench_op *op = &of->at[i];
        json_array_append_new(ops, json_pack("{s:s, s:i, s:f, s:f, s:f}", "op",
                                             op->name, "nodes", (int)op->nodes,
                                             "seconds", op->seconds, "flops",
                                             op->flops, "bytes", op->bytes));
    }
    return ops;
}

static json_t *train_json(const results *r)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:o}", "tokens_per_second",
                     r->train.tokens_per_second, "step_seconds",
                     r->train.step_seconds, "flops_per_second", r->train.flops,
                     "of_gemm", r->train.flops / r->limits.gemm_flops, "ops",
                     ops_json(&r->train.ops));
}

static int print_json(const results *r)
{
    const tni_bench_decode *d = &r->decode;
    json_t *root = json_pack("{s:f, s:f, s:f}", "gemm_flops_per_second",
                             r->limits.gemm_flops, "memory_bytes_per_second",
                             r->limits.memory_bytes, "read_bytes_per_second",
                             r->limits.read_bytes);
    if (r->wants_train)
        json_object_set_new(root, "train", train_json(r));
    if (r->wants_decode)
        json_object_set_new(
            root, "decode",
            json_pack("{s:f, s:I, s:f, s:f, s:o}", "tokens_per_second",
                      d->tokens_per_second, "bytes", (json_int_t)d->bytes,
                      "read_bytes_per_second", d->read_bytes, "of_memory",
                      d->bytes_per_second / d->read_bytes, "ops",
                      ops_json(&d->ops)));
    return tni_json_print(root);
}

static int run(tni_cli *cli, int argc, char **argv)
{
    tni_source_flags source = {0};
    results r = {.rows = 1};
    int32_t json = 0;
    tn_error err = {0};
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_CONFIG(&source),
        TNI_FLAG_SET(&source),
        TNI_FLAG_BACKEND(&source),
        TNI_FLAG_QUANTIZE(&source),
        {.name = "sequences",
         .kind = TNI_FLAG_INT,
         .to = &r.rows,
         .help = "decode so many at once, each weight read once for all; 1"},
        {.name = "json",
         .kind = TNI_FLAG_SWITCH,
         .to = &json,
         .help = "print JSON"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_bench, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    for (int i = 0; i < rest; i++) {
        const int train = strcmp(argv[i], "train") == 0;
        if (!train && strcmp(argv[i], "decode") != 0)
            return tni_cli_misuse(&tni_command_bench,
                                  "%s: train or decode is possible here; a "
                                  "config follows -f",
                                  argv[i]);
        r.wants_train |= train;
        r.wants_decode |= !train;
    }
    if (!rest)
        r.wants_train = r.wants_decode = 1;
    if (measure(cli, &source, &r, &err) != TN_OK)
        return tni_cli_fail(&err);
    if (json)
        return print_json(&r);
    print_summary(cli, &r);
    print_ops(cli, &r.train.ops, "ms a step");
    print_ops(cli, &r.decode.ops, "ms a token");
    return TNI_EXIT_OK;
}

const tni_command tni_command_bench = {
    .name = "bench",
    .summary = "this machine's limits, and a model's speed as part of them",
    .usage = "[train] [decode] [-f CONFIG] [--backend NAME] [--sequences N] "
             "[--json]\n\n"
             "  Arithmetic and memory limits are measured through the backend "
             "itself; with a\n  config, training and decoding follow on random "
             "tokens with drawn weights.",
    .run = run,
};
