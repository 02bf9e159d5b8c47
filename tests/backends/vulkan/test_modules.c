/*
 * test_modules.c - spirv-val accepts every module that plans are made of: those
 * of every op of the conformance suite, and of training, evaluating and
 * decoding every kind of layer with every optimizer and precision, and of the
 * configs.
 *
 * Plans are compiled and not run. faulty_loader.c stands before the driver and
 * keeps what it is handed; a module that is never handed over is no module.
 */
#define ON_DEVICE "backend={plugin: vulkan, cache: false}", "data.val=null"

#include "../training_laws.h"
#include "vulkan_device.h"

#include <dirent.h>

#include "conformance/cases.h"
#include "run/decoder.h"

static char folder[] = "/tmp/tenon_modules_XXXXXX";

/* How many there are, all of them valid; the folder is empty again. */
static uint32_t expect_valid(void)
{
    char command[256];
    uint32_t count = 0;
    DIR *modules = opendir(folder);
    assert_non_null(modules);
    for (struct dirent *e; (e = readdir(modules));)
        count += strstr(e->d_name, ".spv") != NULL;
    closedir(modules);
    snprintf(command, sizeof command,
             "find %s -name '*.spv' -print0 | xargs -0 -r -n 1 -P 2 "
             "spirv-val --target-env vulkan1.2 && rm -f %s/*.spv",
             folder, folder);
    print_message("%u modules\n", count);
    assert_int_equal(system(command), 0);
    return count;
}

/* ---- ops ---- */

enum { DRAWS = 3, WORK = 20000 };

static void compile_family(tn_rig *rig, const family *f)
{
    op_case *c = malloc(sizeof *c);
    for (uint32_t number = 0; number < DRAWS; number++) {
        const tn_rig_how wide = {.dtype = TN_F32, .no_fuse = number % 2};
        const tn_rig_how narrow = {.dtype = TN_F32, .no_fuse = 1, .narrow = 1};
        draw_case(f, number, number % 2 ? SCALE_TILES : SCALE_TINY, WORK, c);
        tn_rig_free(must_build(rig, c, &wide, f->name));
        if (f->op)
            tn_rig_free(must_build(rig, c, &narrow, f->name));
    }
    free(c);
}

static void every_op_is_made_of_valid_modules(void **state)
{
    (void)state;
    tn_rig *rig = tn_rig_open("vulkan", "{cache: false}");
    for (uint32_t i = 0; i < family_count; i++)
        compile_family(rig, &families[i]);
    tn_rig_close(rig);
    assert_true(expect_valid() > family_count);
}

/* ---- models ---- */

static void compile_training(const tni_recipe *recipe)
{
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_training_create(recipe, &t, &err), err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tni_training_destroy(t);
}

static void compile_decoding(run_rig *rig, const char *const *set)
{
    tni_decoder *d;
    tn_error err = TN_ERROR_NONE;
    int32_t tokens[21] = {0}; /* pieces of 16, 4 and 1 */
    tn_assert_ok_err(
        tni_decoder_create(run_rig_recipe(rig, set), NULL, 32, &d, &err), err);
    tn_assert_ok_err(tni_decoder_read(d, tokens, 21, &err), err);
    tni_decoder_destroy(d);
}

static void training_every_layer_is_made_of_valid_modules(void **state)
{
    static const char *const precisions[] = {"precision=f32", "precision=bf16"};
    static const char *const recompute[] = {"train.recompute=none",
                                            "train.recompute=layer"};
    for (int i = 0; i < STACKS; i++)
        for (int k = 0; k < OPTIMIZERS; k++)
            for (int p = 0; p < 2; p++)
                compile_training(run_rig_recipe(
                    *state, SET(ON_DEVICE, stacks[i], optimizers[k],
                                precisions[p], recompute[k == 0])));
    assert_true(expect_valid() > 100);
}

/* All layers and optimizers of a config at their own width, but for few tokens
 * of a small vocabulary, so that it is compiled in a moment. */
static tni_recipe *recipe_of(run_rig *rig, const char *config)
{
    char path[512], data[128];
    const char *set[] = {ON_DEVICE,
                         data,
                         "tokenizer=byte",
                         "model.vocab_size=256",
                         "train.batch_size=2",
                         "train.seq_len=48",
                         "checkpoint.dir=run"};
    tni_recipe *recipe = NULL;
    tn_error err = TN_ERROR_NONE;
    snprintf(path, sizeof path, "%s/configs/%s.yaml", getenv("TENON_SOURCE"),
             config);
    snprintf(data, sizeof data,
             "data.train={plugin: text_file, path: %s/text.txt}", rig->folder);
    const tni_recipe_request request = {
        .path = path, .set = set, .set_count = sizeof set / sizeof set[0]};
    tn_assert_ok_err(tni_recipe_load(rig->arena, rig->registry, rig->host,
                                     &request, &recipe, &err),
                     err);
    return recipe;
}

static void configs_are_made_of_valid_modules(void **state)
{
    static const char *const configs[] = {
        "demo",         "nano-start",       "nano",
        "nano_mamba2",  "nano_mamba2_pure", "nano_transformer",
        "nanochat_d12",
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++)
        compile_training(recipe_of(*state, configs[i]));
    assert_true(expect_valid() > 100);
}

static void decoding_every_layer_is_made_of_valid_modules(void **state)
{
    for (int i = 0; i < STACKS; i++) {
        compile_decoding(*state, SET(ON_DEVICE, stacks[i], "precision=f32"));
        compile_decoding(*state, SET(ON_DEVICE, stacks[i], "precision=bf16"));
    }
    assert_true(expect_valid() > 50);
}

static int setup(void **state)
{
    if (run_rig_setup(state) || !mkdtemp(folder))
        return -1;
    return setenv("VULKAN_MODULES", folder, 1);
}

static int teardown(void **state)
{
    rmdir(folder);
    return run_rig_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_is_made_of_valid_modules),
        cmocka_unit_test(training_every_layer_is_made_of_valid_modules),
        cmocka_unit_test(decoding_every_layer_is_made_of_valid_modules),
        cmocka_unit_test(configs_are_made_of_valid_modules),
    };
    if (!vulkan_can_run())
        return 0;
    if (system("command -v spirv-val >/dev/null 2>&1")) {
        print_message("passed over: spirv-val is not installed\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
