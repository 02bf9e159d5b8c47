/*
 * weights.c - names and shapes of a file against those of the model.
 */
#include "run/weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/checkpoint.h"

static const char head[] = "lm_head.weight";
static const char embedding[] = "model.embed_tokens.weight";

/* ---- what does not fit, in one sentence ---- */

enum { MOST_NAMED = 6 };

typedef struct {
    char text[700];
    size_t used;
    uint32_t count;
} list;

static void add(list *l, const char *name, const char *what)
{
    if (l->count++ < MOST_NAMED && l->used < sizeof l->text)
        l->used +=
            (size_t)snprintf(l->text + l->used, sizeof l->text - l->used,
                             "%s%s is %s", l->used ? ", " : "", name, what);
}

static void shape_text(char *to, size_t size, uint32_t rank,
                       const int64_t *shape)
{
    size_t used = (size_t)snprintf(to, size, "(");
    for (uint32_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(to + used, size - used, "%s%lld",
                                 i ? ", " : "", (long long)shape[i]);
    if (used < size)
        snprintf(to + used, size - used, ")");
}

static int fits(const tni_stored *t, const tni_weight *w)
{
    return t->rank == w->rank &&
           memcmp(t->shape, w->shape, t->rank * sizeof *t->shape) == 0;
}

static void add_misshaped(list *l, const tni_stored *t, const tni_weight *w)
{
    char theirs[80], ours[80], why[192];
    shape_text(theirs, sizeof theirs, t->rank, t->shape);
    shape_text(ours, sizeof ours, w->rank, w->shape);
    snprintf(why, sizeof why, "%s, the model wants %s", theirs, ours);
    add(l, w->name, why);
}

/* Old files hold rope tables, tied ones a copy of the embedding. */
static int is_derived(const char *name)
{
    static const char inv_freq[] = ".rotary_emb.inv_freq";
    const size_t n = strlen(name), tail = sizeof inv_freq - 1;
    return strcmp(name, head) == 0 ||
           (n > tail && strcmp(name + n - tail, inv_freq) == 0);
}

/* Under its own name or Hugging Face's. */
static const tni_stored *stored_as(const tni_safetensors *file,
                                   const tni_weight *w)
{
    const tni_stored *t = tni_safetensors_find(file, w->name);
    return t || !w->theirs ? t : tni_safetensors_find(file, w->theirs);
}

/* The tensor a weight is read from, or NULL. */
static const tni_stored *stored_for(const tni_model *model,
                                    const tni_safetensors *file,
                                    const tni_weight *w)
{
    const tni_stored *t = stored_as(file, w);
    return t || strcmp(w->name, head) != 0
               ? t
               : stored_as(file, tni_model_weight(model, embedding));
}

/* What a file must hold. */
typedef struct {
    const tni_model *model;
    const tni_weight *at;
    uint32_t count;
} wanted;

static int is_wanted(const wanted *w, const char *name)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!strcmp(w->at[i].name, name) ||
            (w->at[i].theirs && !strcmp(w->at[i].theirs, name)))
            return 1;
    return 0;
}

static tn_status check_names(const wanted *w, const tni_safetensors *file,
                             const char *path, tn_error *err)
{
    uint32_t tensors;
    const tni_stored *t = tni_safetensors_list(file, &tensors);
    list wrong = {0};
    for (uint32_t i = 0; i < w->count; i++) {
        const tni_stored *found = stored_for(w->model, file, &w->at[i]);
        if (!found)
            add(&wrong, w->at[i].name, "missing");
        else if (!fits(found, &w->at[i]))
            add_misshaped(&wrong, found, &w->at[i]);
    }
    for (uint32_t i = 0; i < tensors; i++)
        if (!is_wanted(w, t[i].name) && !is_derived(t[i].name))
            add(&wrong, t[i].name, "not of this model");
    if (!wrong.count)
        return TN_OK;
    char more[40] = "";
    if (wrong.count > MOST_NAMED)
        snprintf(more, sizeof more, " and %u more", wrong.count - MOST_NAMED);
    return tn_fail(err, TN_EINVALID,
                   "%s does not fit the model: %s%s; its config must describe "
                   "the same layers and sizes",
                   path, wrong.text, more);
}

/* ---- moving ---- */

enum { PART = 32 * 1024 }; /* numbers at a time: whole blocks of any format */

static tn_status put_doubles(tni_session *s, const tni_safetensors *file,
                             const tni_stored *tensor, tn_arena arena,
                             int64_t offset, tn_error *err)
{
    double part[PART];
    for (int64_t at = 0; at < tensor->elements; at += PART) {
        const int64_t left = tensor->elements - at,
                      n = left < PART ? left : PART;
        TN_TRY(tni_safetensors_read_double(file, tensor, at, n, part, err));
        TN_TRY(tni_session_upload(s, arena, offset + at * 8, part, n * 8, err));
    }
    return TN_OK;
}

tn_status tni_weights_put(tni_session *s, const tni_safetensors *file,
                          const tni_stored *tensor, tn_arena arena,
                          int64_t offset, tn_error *err)
{
    float part[PART];
    if (s->dtype == TN_F64 && !s->recipe->quantize)
        return put_doubles(s, file, tensor, arena, offset, err);
    for (int64_t at = 0; at < tensor->elements; at += PART) {
        const int64_t left = tensor->elements - at,
                      n = left < PART ? left : PART;
        TN_TRY(tni_safetensors_read(file, tensor, at, n, part, err));
        TN_TRY(arena == TN_ARENA_PARAM
                   ? tni_session_upload_weights(s, offset / s->real_bytes + at,
                                                part, n, err)
                   : tni_session_upload(s, arena, offset + at * 4, part, n * 4,
                                        err));
    }
    return TN_OK;
}

static tn_status put_all(tni_session *s, const wanted *w,
                         const tni_safetensors *file, tn_error *err)
{
    for (uint32_t i = 0; i < w->count; i++)
        TN_TRY(tni_weights_put(s, file, stored_for(w->model, file, &w->at[i]),
                               TN_ARENA_PARAM, w->at[i].offset * s->real_bytes,
                               err));
    return TN_OK;
}

static void tell_of_copied_head(const tni_session *s,
                                const tni_safetensors *file, const char *path)
{
    const tn_host *host = s->recipe->reader.host;
    if (tni_model_weight(s->recipe->model, head) &&
        !tni_safetensors_find(file, head))
        host->log(host, TN_LOG_INFO,
                  "%s has no %s: the head starts as a copy of %s", path, head,
                  embedding);
}

tn_status tni_weights_load(tni_session *s, const char *path, tn_error *err)
{
    const tni_reader *reader = &s->recipe->reader;
    const char *where;
    tni_safetensors *file;
    wanted w = {.model = s->recipe->model};
    w.at = tni_model_stored(w.model, reader->arena, &w.count);
    TN_TRY(tni_weights_path(reader->arena, reader->host, path, &where, err));
    TN_TRY(tni_safetensors_open(where, &file, err));
    tn_status status = check_names(&w, file, where, err);
    if (status == TN_OK) {
        tell_of_copied_head(s, file, where);
        status = put_all(s, &w, file, err);
    }
    tni_safetensors_close(file);
    return status;
}

tn_status tni_weights_draw(tni_session *s, tn_error *err)
{
    const tni_model *model = s->recipe->model;
    const int64_t elements = tni_model_slab_elements(model);
    float *slab = calloc((size_t)elements, sizeof *slab);
    if (!slab)
        return tn_fail(err, TN_ENOMEM, "no memory to draw %lld weights",
                       (long long)elements);
    tni_model_initialize(model, (uint64_t)s->recipe->seed, slab);
    const tn_status status =
        tni_session_upload_weights(s, 0, slab, elements, err);
    free(slab);
    return status;
}

tn_status tni_weights_path(tni_arena *arena, const tn_host *host,
                           const char *path, const char **file, tn_error *err)
{
    if (!tni_path_exists(path))
        return tn_fail(err, TN_ENOTFOUND, "%s: there is no such file or folder",
                       path);
    if (!tni_path_is_folder(path)) {
        *file = path;
        return TN_OK;
    }
    const char *inside = tni_path_join(arena, path, "model.safetensors");
    if (tni_path_exists(inside)) {
        *file = inside;
        return TN_OK;
    }
    if (tni_path_exists(
            tni_path_join(arena, path, "model.safetensors.index.json")))
        return tn_fail(err, TN_EUNSUPPORTED,
                       "%s: its weights are in several files; join them into "
                       "one model.safetensors first",
                       path);
    const char *newest;
    TN_TRY(tni_checkpoint_latest(arena, host, path, &newest, err));
    if (!newest)
        return tn_fail(err, TN_ENOTFOUND,
                       "%s: no model.safetensors and no checkpoint "
                       "(step-NNNNNNNN) in this folder",
                       path);
    *file = tni_path_join(arena, newest, "model.safetensors");
    return TN_OK;
}
