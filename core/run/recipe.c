/*
 * recipe.c - the sections of a config, each by its option table.
 */
#include "run/recipe.h"

#include <string.h>

#include "base/file.h"
#include "config/tree.h"
#include "graph/passes.h"

typedef struct {
    const char *name;
    int64_t seed;
    int32_t precision;
    int32_t quantize;
} top_options;

static const tn_option top_table[] = {
    TN_OPTION_STRING(top_options, name, NULL, "name of the run"),
    TN_OPTION_INT(top_options, seed, 1337, 0, 2147483647,
                  "seed of weights, shuffles and dropout"),
    TN_OPTION_ENUM(top_options, precision, "f32|bf16|f64", TNI_RECIPE_F32,
                   "what activations are stored and multiplied in; bf16 keeps "
                   "f32 parameters besides, and sums, norms, softmax and the "
                   "loss in f32; f64 is for backend reference"),
    TN_OPTION_ENUM(top_options, quantize, "none|q8_0|q4_k", TNI_QUANTIZE_NONE,
                   "what weights are read in where a model is used and not "
                   "trained: 8 or 4 bits, in llama.cpp's formats; rows of no "
                   "multiple of 256 take q8_0 for q4_k"),
};

static const tn_option train_table[] = {
    TN_OPTION_INT(tni_train_options, max_steps, 1000, 0, 1e15,
                  "optimizer steps; 0: as many as epochs takes, which is the "
                  "default where epochs is given"),
    TN_OPTION_INT(tni_train_options, epochs, 0, 0, 1e9,
                  "passes over the training data; 0: not counted. The run "
                  "ends at max_steps or here, whichever comes first"),
    TN_OPTION_INT(tni_train_options, batch_size, 8, 1, 1 << 20,
                  "rows of a micro-batch, of all processes together"),
    TN_OPTION_INT(tni_train_options, seq_len, 0, 0, 1 << 24,
                  "tokens of a row; 0: model.max_seq_len"),
    TN_OPTION_INT(tni_train_options, grad_accum, 1, 1, 1 << 20,
                  "micro-batches of an optimizer step"),
    TN_OPTION_FLOAT(tni_train_options, grad_clip, 1.0, 0, INFINITY,
                    "largest global gradient norm; 0: no clipping"),
    TN_OPTION_INT(tni_train_options, eval_every, 0, 0, 1e15,
                  "steps between evaluations; 0: only after the last"),
    TN_OPTION_INT(tni_train_options, eval_batches, 20, 0, 1e15,
                  "batches of an evaluation; 0: the whole validation set"),
    TN_OPTION_INT(tni_train_options, log_every, 10, 1, 1e15,
                  "steps between reports"),
    TN_OPTION_ENUM(tni_train_options, recompute, "none|layer",
                   TNI_RECOMPUTE_NONE,
                   "what the backward pass computes again instead of keeping"),
    TN_OPTION_INT(tni_train_options, prefetch, 2, 0, 1024,
                  "batches that a thread makes ahead; 0: none"),
};

#define OPTIONAL_PATH(type, field, help)                                       \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_PATH, 0, 0, NULL, 0, 0, 0, help)

static const tn_option checkpoint_table[] = {
    OPTIONAL_PATH(tni_checkpoint_options, dir, "the run's folder"),
    TN_OPTION_INT(tni_checkpoint_options, every, 0, 0, 1e15,
                  "steps between checkpoints; 0: only after the last"),
    TN_OPTION_INT(tni_checkpoint_options, keep, 3, 1, 1e9,
                  "newest checkpoints that stay"),
};

typedef struct {
    const char *from;
} init_options;

static const tn_option init_table[] = {
    OPTIONAL_PATH(init_options, from,
                  "a safetensors file or checkpoint: weights to start from"),
};

static const tn_option_table top = TN_OPTIONS(top_options, top_table);
static const tn_option_table train = TN_OPTIONS(tni_train_options, train_table);
static const tn_option_table checkpoint =
    TN_OPTIONS(tni_checkpoint_options, checkpoint_table);
static const tn_option_table init = TN_OPTIONS(init_options, init_table);

/* What stands under `key`; NULL where nothing does, and where the key stands
 * alone (`dir:`). */
static tni_yaml *given(const tni_yaml *map, const char *key)
{
    tni_yaml *node = tni_yaml_get(map, key);
    return node && node->kind != TNI_YAML_NULL ? node : NULL;
}

/* The section `name` where the file has one. */
static tni_yaml *present(const tni_recipe *r, const char *name)
{
    return given(r->root, name);
}

/* The section `name`, made where it is absent. */
static tni_yaml *section(tni_recipe *r, const char *name)
{
    tni_yaml *node = present(r, name);
    if (node)
        return node;
    node = tni_yaml_new(r->reader.arena, TNI_YAML_MAP);
    tni_yaml_put(r->reader.arena, r->root, name, node);
    return node;
}

static tn_status fill(tni_recipe *r, const tn_option_table *table,
                      const char *name, void *options, tn_error *err)
{
    tni_yaml *node = section(r, name);
    if (node->kind != TNI_YAML_MAP)
        return tni_yaml_fail(node, err, "%s: expected a map of options", name);
    return tni_options_fill(r->reader.arena, table, node, name, NULL,
                            r->reader.base, options, err);
}

/* "configs/nano.yaml" names its run "nano". */
const char *tni_recipe_name(tni_arena *arena, const char *path)
{
    char *name = tni_path_basename(arena, path);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = '\0';
    return name;
}

const char *tni_recipe_dir(tni_arena *arena, const char *name)
{
    return tni_arena_printf(arena, "runs/%s", name);
}

/* A text under `key` of a map that has none. */
static void put_default(tni_recipe *r, tni_yaml *map, const char *key,
                        const char *text)
{
    tni_yaml_put(r->reader.arena, map, key,
                 tni_yaml_scalar(r->reader.arena, text));
}

static tn_status read_top(tni_recipe *r, const char *path, tn_error *err)
{
    static const char *const sections[] = {
        "extends", "backend",    "tokenizer",    "model",
        "init",    "data",       "optimizer",    "schedule",
        "train",   "checkpoint", "communicator", NULL};
    tni_yaml_remove(r->root, "sweep"); /* a run is one point of it */
    static const char *const keys[] = {
        "name",      "extends",   "seed",  "backend",    "precision",
        "quantize",  "tokenizer", "model", "init",       "data",
        "optimizer", "schedule",  "train", "checkpoint", "communicator"};
    top_options options = {0};
    if (r->root->kind != TNI_YAML_MAP)
        return tni_yaml_fail(r->root, err,
                             "a config is a map of sections (name, model, data "
                             "...)");
    TN_TRY(tni_check_keys(r->root, "", keys, sizeof keys / sizeof *keys, err));
    if (!present(r, "name"))
        put_default(r, r->root, "name", tni_recipe_name(r->reader.arena, path));
    TN_TRY(tni_options_fill(r->reader.arena, &top, r->root, "config", sections,
                            r->reader.base, &options, err));
    r->name = options.name;
    r->seed = options.seed;
    r->precision = options.precision;
    r->quantize = options.quantize;
    return TN_OK;
}

/* `backend: auto` and no backend at all leave the choice to the machine. */
static tn_status read_backend(tni_recipe *r, tn_error *err)
{
    tni_yaml *node = present(r, "backend");
    if (!node) {
        put_default(r, r->root, "backend", "auto");
        return TN_OK;
    }
    if (node->kind == TNI_YAML_SCALAR && strcmp(node->scalar, "auto") == 0)
        return TN_OK;
    return tni_use_read(&r->reader, TN_KIND_BACKEND, node, "backend", NULL,
                        &r->backend, err);
}

static tn_status read_tokenizer(tni_recipe *r, uint32_t needs, tn_error *err)
{
    tni_yaml *node = present(r, "tokenizer");
    if (node)
        return tni_use_read(&r->reader, TN_KIND_TOKENIZER, node, "tokenizer",
                            NULL, &r->tokenizer, err);
    if (needs & TNI_NEED_TOKENIZER)
        return tni_yaml_fail(r->root, err,
                             "tokenizer: is missing, which this command needs; "
                             "for example tokenizer: {plugin: byte}");
    return TN_OK;
}

/* Names of matrices that keep what they are, or take more bits. */
typedef struct {
    const tni_recipe *recipe;
    char kept[256];
    size_t used;
    uint32_t count, wider;
} left_out;

static void leave_out(void *to, const tni_weight *w)
{
    left_out *l = to;
    if (w->block_dtype)
        l->wider++;
    else if (l->count++ < 4 && l->used < sizeof l->kept)
        l->used += (size_t)snprintf(l->kept + l->used, sizeof l->kept - l->used,
                                    "%s%s", l->used ? ", " : "", w->name);
}

static tn_status quantize(tni_recipe *r, tn_error *err)
{
    static const tn_dtype dtype[] = {TN_DTYPE_NONE, TN_Q8_0, TN_Q4_K};
    const tn_host *host = r->reader.host;
    left_out l = {.recipe = r};
    TN_TRY(tni_model_quantise(r->model, dtype[r->quantize],
                              r->precision == TNI_RECIPE_BF16, leave_out, &l,
                              err));
    if (l.wider)
        host->log(host, TN_LOG_INFO,
                  "quantize: %u matrices are read in q8_0: their rows are no "
                  "multiple of 256",
                  l.wider);
    if (l.count)
        host->log(host, TN_LOG_INFO,
                  "quantize: %u matrices stay as they are, for rows of theirs "
                  "are no multiple of 32 or are read otherwise: %s%s",
                  l.count, l.kept, l.count > 4 ? " ..." : "");
    return TN_OK;
}

static tn_status read_model(tni_recipe *r, tn_error *err)
{
    tni_yaml *node = present(r, "model");
    if (!node)
        return tni_yaml_fail(r->root, err,
                             "model: is missing; it describes the layers");
    TN_TRY(tni_model_create(r->reader.arena, r->reader.registry, node,
                            &r->model, err));
    return r->quantize ? quantize(r, err) : TN_OK;
}

static tn_status read_data(tni_recipe *r, uint32_t needs, tn_error *err)
{
    static const char *const keys[] = {"train", "val"};
    tni_yaml *data = present(r, "data");
    tni_yaml *rows = data ? given(data, "train") : NULL;
    tni_yaml *val = data ? given(data, "val") : NULL;
    if (data)
        TN_TRY(tni_check_keys(data, "data: ", keys, 2, err));
    if (!rows && (needs & TNI_NEED_TRAINING))
        return tni_yaml_fail(data ? data : r->root, err,
                             "data.train: is missing; training needs a dataset,"
                             " for example data: {train: {plugin: token_file, "
                             "path: data/train.bin}}");
    if (rows)
        TN_TRY(tni_mixture_read(&r->reader, rows, "data.train", &r->train_data,
                                err));
    if (val)
        TN_TRY(
            tni_mixture_read(&r->reader, val, "data.val", &r->val_data, err));
    return TN_OK;
}

static tn_status read_optimizer(tni_recipe *r, uint32_t needs, tn_error *err)
{
    tni_yaml *node = present(r, "optimizer");
    if (r->quantize) /* nothing can be updated: training.c refuses */
        return TN_OK;
    if (node)
        return tni_groups_read(r, node, err);
    if (needs & TNI_NEED_TRAINING)
        return tni_yaml_fail(r->root, err,
                             "optimizer: is missing; for example optimizer: "
                             "{plugin: adamw, lr: 1.0e-3}");
    return TN_OK;
}

static tn_status read_schedule(tni_recipe *r, tn_error *err)
{
    tni_yaml *node = present(r, "schedule");
    if (!node)
        return TN_OK;
    TN_TRY(tni_use_read(&r->reader, TN_KIND_SCHEDULE, node, "schedule", NULL,
                        &r->schedule, err));
    const tn_schedule *s = r->schedule.vtable;
    tn_error why = {0};
    if (s->check && r->train.max_steps &&
        s->check(r->schedule.options, r->train.max_steps, &why) != TN_OK)
        return tni_yaml_fail(node, err, "schedule: %s", why.message);
    return TN_OK;
}

static tn_status read_communicator(tni_recipe *r,
                                   const tni_recipe_request *request,
                                   tn_error *err)
{
    tni_yaml *node = present(r, "communicator");
    if (!node || (request->needs & TNI_SKIP_TRAINING))
        return TN_OK;
    TN_TRY(tni_use_read(&r->reader, TN_KIND_COMMUNICATOR, node, "communicator",
                        NULL, &r->communicator, err));
    if (request->communicator)
        *request->communicator = r->communicator;
    return TN_OK;
}

/* Epochs alone are not "a thousand steps at most". */
static void default_max_steps(tni_recipe *r, tni_yaml *node)
{
    const tni_yaml *epochs = given(node, "epochs");
    if (epochs && epochs->scalar && strcmp(epochs->scalar, "0") &&
        !given(node, "max_steps"))
        put_default(r, node, "max_steps", "0");
}

static tn_status read_train(tni_recipe *r, tn_error *err)
{
    const int64_t longest = tni_model_max_seq_len(r->model);
    tni_yaml *node = section(r, "train");
    default_max_steps(r, node);
    TN_TRY(fill(r, &train, "train", &r->train, err));
    if (!r->train.max_steps && !r->train.epochs)
        return tni_yaml_fail(tni_yaml_get(node, "max_steps"), err,
                             "train.max_steps: 0 is as many steps as epochs "
                             "takes, but train.epochs is 0 as well; give one");
    if (r->train.seq_len > longest)
        return tni_yaml_fail(tni_yaml_get(node, "seq_len"), err,
                             "train.seq_len: %lld is more than "
                             "model.max_seq_len %lld",
                             (long long)r->train.seq_len, (long long)longest);
    if (!r->train.seq_len) {
        r->train.seq_len = longest;
        put_default(
            r, node, "seq_len",
            tni_arena_printf(r->reader.arena, "%lld", (long long)longest));
    }
    return TN_OK;
}

/* "a/b//" -> "a/b" */
static const char *without_slashes(tni_arena *arena, const char *path)
{
    return tni_path_join(arena, tni_path_dirname(arena, path),
                         tni_path_basename(arena, path));
}

static tn_status read_checkpoint(tni_recipe *r, tn_error *err)
{
    tni_yaml *node = section(r, "checkpoint");
    if (node->kind == TNI_YAML_MAP && !given(node, "dir"))
        put_default(r, node, "dir", tni_recipe_dir(r->reader.arena, r->name));
    TN_TRY(fill(r, &checkpoint, "checkpoint", &r->checkpoint, err));
    /* "runs/demo/" is set aside as "runs/demo.1", not as "runs/demo/.1" */
    tni_yaml *dir = tni_yaml_get(node, "dir");
    dir->scalar = without_slashes(r->reader.arena, dir->scalar);
    r->checkpoint.dir = dir->scalar;
    return TN_OK;
}

static tn_status read_init(tni_recipe *r, tn_error *err)
{
    init_options options = {0};
    TN_TRY(fill(r, &init, "init", &options, err));
    r->init_from = options.from;
    return TN_OK;
}

static tn_status read_sections(tni_recipe *r, const tni_recipe_request *request,
                               tn_error *err)
{
    TN_TRY(read_top(r, request->path, err));
    TN_TRY(read_communicator(r, request, err));
    TN_TRY(read_backend(r, err));
    TN_TRY(read_tokenizer(r, request->needs, err));
    TN_TRY(read_model(r, err));
    TN_TRY(read_train(r, err));
    TN_TRY(read_checkpoint(r, err));
    TN_TRY(read_init(r, err));
    if (request->needs & TNI_SKIP_TRAINING)
        return TN_OK;
    TN_TRY(read_data(r, request->needs, err));
    if (request->needs & TNI_NEED_TRAINING)
        TN_TRY(tni_recipe_count_steps(r, err));
    TN_TRY(read_optimizer(r, request->needs, err));
    return read_schedule(r, err);
}

tn_status tni_recipe_load(tni_arena *arena, tni_registry *registry,
                          const tn_host *host,
                          const tni_recipe_request *request,
                          tni_recipe **recipe, tn_error *err)
{
    tni_recipe *r = tni_arena_alloc(arena, sizeof *r);
    r->reader = (tni_reader){.arena = arena,
                             .registry = registry,
                             .host = host,
                             .base = tni_config_base(arena, request->path)};
    r->root = request->root;
    r->ranks = 1;
    if (!r->root)
        TN_TRY(tni_config_load(arena, request->path, NULL, 0, &r->root, err));
    TN_TRY(
        tni_config_set(arena, r->root, request->set, request->set_count, err));
    TN_TRY(read_sections(r, request, err));
    *recipe = r;
    return TN_OK;
}

double tni_recipe_multiplier(const tni_recipe *recipe, int64_t step)
{
    const tn_schedule *s = recipe->schedule.vtable;
    return s ? s->multiplier(recipe->schedule.options, step,
                             recipe->train.max_steps)
             : 1.0;
}
