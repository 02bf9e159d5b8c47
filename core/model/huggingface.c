/*
 * huggingface.c - config.json.
 *
 * A stack of one architecture, all layers alike, may have a form of Hugging
 * Face's: the core writes what every decoder has, the architecture its own
 * keys and the model's name. Anything else gets a form of our own, with
 * model_type "tenon", which says what can be said without the config.yaml that
 * lies beside it.
 */
#include <errno.h>
#include <jansson.h>

#include "model/stack.h"

/* ---- what architectures write through ---- */

static void write_number(void *to, const char *key, double value)
{
    const int whole = value == (double)(int64_t)value && value < 1e15;
    json_object_set_new(
        to, key, whole ? json_integer((json_int_t)value) : json_real(value));
}

/* Hugging Face refuses an integer where its config has a float. */
static void write_real(void *to, const char *key, double value)
{
    json_object_set_new(to, key, json_real(value));
}

static void write_reals(void *to, const char *key, const double *values,
                        uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_real(values[i]));
    json_object_set_new(to, key, list);
}

static void write_boolean(void *to, const char *key, int32_t value)
{
    json_object_set_new(to, key, json_boolean(value));
}

/* "architectures" is a list of one in every config.json. */
static void write_string(void *to, const char *key, const char *value)
{
    json_t *text = json_string(value);
    if (strcmp(key, "architectures")) {
        json_object_set_new(to, key, text);
        return;
    }
    json_t *list = json_array();
    json_array_append_new(list, text);
    json_object_set_new(to, key, list);
}

static void write_null(void *to, const char *key)
{
    json_object_set_new(to, key, json_null());
}

static tn_hf_writer writer_to(json_t *object)
{
    return (tn_hf_writer){
        .struct_size = sizeof(tn_hf_writer),
        .to = object,
        .number = write_number,
        .boolean = write_boolean,
        .string = write_string,
        .null = write_null,
        .real = write_real,
        .reals = write_reals,
    };
}

/* ---- the forms ---- */

static void write_common(const tni_model *model, const tn_hf_writer *w)
{
    const tni_model_options *o = &model->options;
    w->number(w->to, "vocab_size", (double)o->vocab_size);
    w->number(w->to, "hidden_size", (double)o->hidden_size);
    w->number(w->to, "num_hidden_layers", (double)model->layer_count);
    w->number(w->to, "max_position_embeddings", (double)o->max_seq_len);
    write_real(w->to, "rms_norm_eps", o->norm_eps);
    write_real(w->to, "initializer_range", o->initializer_range);
    w->boolean(w->to, "tie_word_embeddings", o->tie_embeddings);
    w->string(w->to, "torch_dtype", "float32");
    w->null(w->to, "bos_token_id");
    w->null(w->to, "eos_token_id");
}

static void write_mlp(const tni_mlp *mlp, const tn_hf_writer *w)
{
    if (!mlp->type)
        return;
    w->number(w->to, "intermediate_size",
              (double)mlp->options->intermediate_size);
    w->string(w->to, "hidden_act", tni_mlp_hugging_face_activation(mlp));
    if (mlp->type->hugging_face)
        mlp->type->hugging_face(mlp->options, w);
}

static int same_spec(const tni_layer_spec *a, const tni_layer_spec *b)
{
    if (a == b)
        return 1;
    if (a->arch != b->arch || a->mlp.type != b->mlp.type ||
        memcmp(a->options, b->options, a->arch->options.size))
        return 0;
    return !a->mlp.type ||
           !memcmp(a->mlp.options, b->mlp.options, a->mlp.type->options.size);
}

/* The layers' common entry. */
static tn_status one_spec(const tni_model *model, const tni_layer_spec **spec,
                          tn_error *err)
{
    for (size_t i = 1; i < model->layer_count; i++)
        if (!same_spec(model->layers[0], model->layers[i]))
            return tn_fail(err, TN_EUNSUPPORTED,
                           "no Hugging Face form: %s and %s differ",
                           model->layers[0]->where, model->layers[i]->where);
    *spec = model->layers[0];
    return TN_OK;
}

static tn_status write_theirs(const tni_model *model, const tn_hf_writer *w,
                              tn_error *err)
{
    const tni_layer_spec *spec = NULL;
    TN_TRY(one_spec(model, &spec, err));
    if (!spec->arch->hugging_face)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "no Hugging Face form: architecture %s has none",
                       spec->arch_name);
    if (model->options.final_logit_softcap > 0)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "no Hugging Face form: final_logit_softcap has no "
                       "counterpart");
    tn_arch_context context = tni_model_context(model, spec);
    context.layer_count = (int64_t)model->layer_count;
    write_common(model, w);
    write_mlp(&spec->mlp, w);
    return spec->arch->hugging_face(&context, spec->options, w, err);
}

/* ---- names ---- */

/* `name` with what `rule` says in place of its beginning, or NULL where it
 * begins otherwise. */
static const char *renamed(tni_arena *arena, const tn_hf_name *rule,
                           const char *name)
{
    const size_t head = strcspn(rule->ours, "*");
    const size_t new_head = strcspn(rule->theirs, "*");
    if (strncmp(name, rule->ours, head))
        return NULL;
    if (!rule->ours[head])
        return tni_arena_printf(arena, "%s%s", rule->theirs, name + head);
    const char *tail = rule->ours + head + 1, *number = name + head;
    const size_t digits = strspn(number, "0123456789");
    if (!digits || strncmp(number + digits, tail, strlen(tail)))
        return NULL;
    return tni_arena_printf(
        arena, "%.*s%.*s%s%s", (int)new_head, rule->theirs, (int)digits, number,
        rule->theirs[new_head] ? rule->theirs + new_head + 1 : "",
        number + digits + strlen(tail));
}

static int has_their_form(const tni_model *model)
{
    json_t *object = json_object();
    const tn_hf_writer writer = writer_to(object);
    const tn_status status = write_theirs(model, &writer, NULL);
    json_decref(object);
    return status == TN_OK;
}

void tni_model_find_their_names(tni_model *model)
{
    const tni_layer_spec *spec = NULL;
    if (one_spec(model, &spec, NULL) != TN_OK)
        return;
    model->is_theirs = has_their_form(model);
    for (size_t i = 0; i < model->weight_count; i++) {
        tni_weight *w = &model->weights[i];
        for (uint32_t r = 0; r < spec->arch->hf_name_count && !w->theirs; r++)
            w->theirs =
                renamed(model->arena, &spec->arch->hf_names[r], w->name);
    }
}

const char *tni_model_stored_name(const tni_model *model, const tni_weight *w)
{
    return model->is_theirs && w->theirs ? w->theirs : w->name;
}

/* ---- the file ---- */

/* One word per layer: which architecture it is. */
static void write_ours(const tni_model *model, const tn_hf_writer *w)
{
    json_t *types = json_array();
    for (size_t i = 0; i < model->layer_count; i++)
        json_array_append_new(types, json_string(model->layers[i]->arch_name));
    w->string(w->to, "model_type", "tenon");
    write_common(model, w);
    json_object_set_new(w->to, "layer_archs", types);
}

static tn_status save(json_t *object, const char *path, tn_error *err)
{
    if (json_dump_file(object, path, JSON_INDENT(2) | JSON_REAL_PRECISION(15)))
        return tn_fail(err, TN_EIO, "%s: cannot be written: %s", path,
                       strerror(errno));
    return TN_OK;
}

tn_status tni_model_write_hugging_face(const tni_model *model, const char *path,
                                       tn_error *err)
{
    json_t *object = json_object();
    tn_hf_writer writer = writer_to(object);
    tn_error saving = {0};
    const tn_status form = write_theirs(model, &writer, err);
    if (form != TN_OK) {
        json_object_clear(object);
        write_ours(model, &writer);
    }
    const tn_status saved = save(object, path, &saving);
    json_decref(object);
    if (saved == TN_OK)
        return form;
    if (err)
        *err = saving;
    return saved;
}
