/*
 * checkpoint.c - saving a training run and taking it up again.
 */
#include "run/checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/file.h"
#include "run/weights.h"

/* Where each stored tensor comes from or goes to. */
typedef struct {
    tn_arena arena;
    int64_t offset; /* bytes */
} place;

/* What one safetensors file of a checkpoint holds. */
typedef struct {
    tni_arena *arena;
    tni_session *session;
    tni_to_store *tensors;
    place *places;
    size_t count, capacity, place_capacity;
} contents;

static void add(contents *c, const char *name, const tni_weight *w, place at)
{
    size_t places = c->count;
    tni_to_store *t = TNI_PUSH(c->arena, c->tensors, c->count, c->capacity);
    *t = (tni_to_store){
        .name = name, .dtype = c->session->dtype, .rank = w->rank};
    memcpy(t->shape, w->shape, sizeof t->shape);
    *TNI_PUSH(c->arena, c->places, places, c->place_capacity) = at;
}

static contents model_contents(tni_arena *arena, const tni_training *t)
{
    uint32_t count;
    const tni_weight *w = tni_model_stored(t->recipe->model, arena, &count);
    contents c = {.arena = arena, .session = t->session};
    for (uint32_t i = 0; i < count; i++)
        add(&c, tni_model_stored_name(t->recipe->model, &w[i]), &w[i],
            (place){TN_ARENA_PARAM, w[i].offset * t->session->real_bytes});
    return c;
}

static contents optimizer_contents(tni_arena *arena, const tni_training *t)
{
    uint32_t count;
    const tni_weight *w = tni_model_stored(t->recipe->model, arena, &count);
    contents c = {.arena = arena, .session = t->session};
    for (uint32_t i = 0; i < count; i++) {
        const tn_optimizer *o = t->recipe->groups[w[i].group].optimizer.vtable;
        for (uint32_t s = 0; s < o->state_count; s++)
            add(&c,
                tni_arena_printf(arena, "%s.%s", w[i].name, o->state[s].name),
                &w[i],
                (place){TN_ARENA_OPTIMIZER,
                        tni_training_state_offset(t, &w[i], s)});
    }
    return c;
}

/* ---- saving ---- */

static tn_status fetch(void *from, uint32_t i, int64_t offset, void *to,
                       int64_t bytes, tn_error *err)
{
    const contents *c = from;
    return tni_session_download(c->session, to, c->places[i].arena,
                                c->places[i].offset + offset, bytes, err);
}

static tn_status store(contents *c, const char *folder, const char *name,
                       tn_error *err)
{
    return tni_safetensors_write(tni_path_join(c->arena, folder, name),
                                 c->tensors, (uint32_t)c->count, fetch, c, err);
}

tn_status tni_config_write(const tni_recipe *r, const char *path, tn_error *err)
{
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    if (!to)
        return tn_fail(err, TN_ENOMEM, "%s: no memory to write it", path);
    const tn_status written = tni_yaml_write(r->root, to);
    const int closed = fclose(to);
    const tn_status status =
        written != TN_OK || closed
            ? tn_fail(err, TN_EIO, "%s: cannot write the config", path)
            : tni_file_replace(path, text, bytes, err);
    free(text);
    return status;
}

/* A stack that Hugging Face has no name for is described by config.yaml. */
static tn_status write_own_form(const tni_model *model, const char *path,
                                const char *why, tn_error *err)
{
    json_t *root = json_pack(
        "{s:s, s:I, s:I, s:i, s:I, s:s, s:s}", "model_type", "tenon",
        "vocab_size", (json_int_t)tni_model_vocab_size(model), "hidden_size",
        (json_int_t)tni_model_hidden_size(model), "num_hidden_layers",
        (int)tni_model_layer_count(model), "max_position_embeddings",
        (json_int_t)tni_model_max_seq_len(model), "described_by", "config.yaml",
        "why", why);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text)
        return tn_fail(err, TN_ENOMEM, "%s: no memory to write it", path);
    const tn_status status = tni_file_replace(path, text, strlen(text), err);
    free(text);
    return status;
}

static tn_status write_model_config(const tni_model *model, const char *path,
                                    tn_error *err)
{
    tn_error why = {0};
    const tn_status status = tni_model_write_hugging_face(model, path, &why);
    if (status == TN_OK)
        return TN_OK;
    if (status == TN_EUNSUPPORTED)
        return write_own_form(model, path, why.message, err);
    return tn_fail(err, status, "%s", why.message);
}

/* For files that others wrote. */
static tn_status sync_file(const char *path, tn_error *err)
{
    FILE *file = fopen(path, "r+be");
    if (!file)
        return tn_fail(err, TN_EIO, "%s: cannot open to sync it: %s", path,
                       strerror(errno));
    return tni_file_close_synced(file, path, err);
}

static tn_status write_files(tni_arena *arena, tni_training *t,
                             const tni_progress *progress, const char *folder,
                             tn_error *err)
{
    contents model = model_contents(arena, t);
    contents optimizer = optimizer_contents(arena, t);
    TN_TRY(tni_folder_make(folder, err));
    TN_TRY(store(&model, folder, "model.safetensors", err));
    TN_TRY(store(&optimizer, folder, "optimizer.safetensors", err));
    const char *config = tni_path_join(arena, folder, "config.json");
    TN_TRY(write_model_config(t->recipe->model, config, err));
    TN_TRY(sync_file(config, err));
    TN_TRY(tni_config_write(t->recipe,
                            tni_path_join(arena, folder, "config.yaml"), err));
    TN_TRY(tni_progress_write(
        t, progress, tni_path_join(arena, folder, "trainer.json"), err));
    return tni_folder_sync(folder, err);
}

static tn_status drop_old(tni_arena *arena, const tni_checkpoint_options *o,
                          tn_error *err)
{
    const int64_t *steps;
    size_t count;
    TN_TRY(tni_checkpoint_steps(arena, o->dir, &steps, &count, err));
    for (size_t i = (size_t)o->keep; i < count; i++) {
        char path[4096];
        tni_checkpoint_path(path, sizeof path, o->dir, steps[i]);
        TN_TRY(tni_checkpoint_remove(path, err));
    }
    return TN_OK;
}

static tn_status save(tni_arena *arena, tni_training *t,
                      const tni_progress *progress, const char *path,
                      tn_error *err)
{
    const char *dir = t->recipe->checkpoint.dir;
    const char *aside = tni_arena_printf(arena, "%s/.tmp-step-%08lld", dir,
                                         (long long)progress->step);
    tn_status status = tni_folder_remove(aside, err);
    if (status == TN_OK)
        status = write_files(arena, t, progress, aside, err);
    if (status == TN_OK && tni_path_exists(path))
        status = tni_checkpoint_remove(path, err);
    if (status == TN_OK)
        status = tni_file_rename(aside, path, err);
    if (status != TN_OK) {
        tni_folder_remove(aside, NULL);
        return status;
    }
    return drop_old(arena, &t->recipe->checkpoint, err);
}

tn_status tni_checkpoint_save(tni_training *t, const tni_progress *progress,
                              char *path, size_t size, tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    tni_checkpoint_path(path, size, t->recipe->checkpoint.dir, progress->step);
    const tn_status status = save(arena, t, progress, path, err);
    tni_arena_destroy(arena);
    return status;
}

/* ---- restoring ---- */

static tn_status load(contents *c, const tni_safetensors *file,
                      const char *path, tn_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        const tni_to_store *want = &c->tensors[i];
        const tni_stored *t = tni_safetensors_find(file, want->name);
        if (!t || t->rank != want->rank ||
            memcmp(t->shape, want->shape, t->rank * sizeof *t->shape) != 0)
            return tn_fail(err, TN_EINVALID,
                           "%s: %s is missing or of another "
                           "shape; " TNI_RESUMES_WITH,
                           path, want->name);
        TN_TRY(tni_weights_put(c->session, file, t, c->places[i].arena,
                               c->places[i].offset, err));
    }
    return TN_OK;
}

static tn_status load_file(contents *c, const char *folder, const char *name,
                           tn_error *err)
{
    const char *path = tni_path_join(c->arena, folder, name);
    tni_safetensors *file;
    TN_TRY(tni_safetensors_open(path, &file, err));
    const tn_status status = load(c, file, path, err);
    tni_safetensors_close(file);
    return status;
}

tn_status tni_checkpoint_restore(tni_training *t, const char *path,
                                 tni_progress *progress, tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    contents model = model_contents(arena, t);
    contents optimizer = optimizer_contents(arena, t);
    tn_status status = load_file(&model, path, "model.safetensors", err);
    if (status == TN_OK)
        status = load_file(&optimizer, path, "optimizer.safetensors", err);
    if (status == TN_OK)
        status = tni_progress_read(tni_path_join(arena, path, "trainer.json"),
                                   progress, err);
    tni_arena_destroy(arena);
    return status;
}

static tn_status check_file(tni_arena *arena, const char *folder,
                            const char *name, tn_error *err)
{
    tni_safetensors *file;
    TN_TRY(
        tni_safetensors_open(tni_path_join(arena, folder, name), &file, err));
    tni_safetensors_close(file);
    return TN_OK;
}

tn_status tni_checkpoint_check(const char *path, tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    tni_progress progress;
    tn_status status = check_file(arena, path, "model.safetensors", err);
    if (status == TN_OK)
        status = check_file(arena, path, "optimizer.safetensors", err);
    if (status == TN_OK)
        status = tni_progress_read(tni_path_join(arena, path, "trainer.json"),
                                   &progress, err);
    tni_arena_destroy(arena);
    return status;
}
