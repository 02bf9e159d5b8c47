/*
 * chat_form.c - which template a checkpoint speaks.
 *
 * A model knows the markers that it was tuned with. Its config says which where
 * it was tuned on conversations: a dataset of data.train then has a `template`.
 * A config without one leaves the tokenizer: special tokens for messages are
 * there for a template's sake. Where neither says anything, guessing would make
 * a model babble that was never taught to answer.
 */
#include <string.h>

#include "run/chat_form.h"

/* The `template` of the first dataset of data.train that has one, or NULL. */
static const char *trained_with(const tni_recipe *recipe)
{
    const tni_yaml *data = tni_yaml_get(recipe->root, "data");
    const tni_yaml *train = data ? tni_yaml_get(data, "train") : NULL;
    const size_t count =
        train && train->kind == TNI_YAML_LIST ? train->count : train != NULL;
    for (size_t i = 0; i < count; i++) {
        const tni_yaml *set =
            train->kind == TNI_YAML_LIST ? train->entries[i].value : train;
        const tni_yaml *name =
            set->kind == TNI_YAML_MAP ? tni_yaml_get(set, "template") : NULL;
        if (name && name->kind == TNI_YAML_SCALAR)
            return name->scalar;
    }
    return NULL;
}

static const char *assistant_of(const tn_chat_template *form)
{
    return form->role[TN_ROLE_ASSISTANT].open;
}

static tn_status find(const char *name, const tn_tokenizer_handle *tokenizer,
                      const tn_chat_template **form, tn_error *err)
{
    *form = tn_chat_template_find(name, tokenizer);
    return *form ? TN_OK
                 : tn_fail(err, TN_EINVALID,
                           "there is no chat template \"%s\"; there are "
                           "nanochat, nano_start and chatml, and auto",
                           name);
}

/* " <|bos|> <|user_start|>": markers that are no special tokens. */
static void list_missing(const tn_chat_template *form,
                         const tn_tokenizer_handle *t, char *list, size_t size)
{
    const char *const markers[] = {
        form->begin,
        form->role[TN_ROLE_SYSTEM].open,
        form->role[TN_ROLE_USER].open,
        form->role[TN_ROLE_USER].close,
        form->role[TN_ROLE_ASSISTANT].open,
        form->role[TN_ROLE_ASSISTANT].close,
        form->end,
    };
    size_t used = 0;
    *list = '\0';
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++)
        if (*markers[i] && !tn_chat_has(t, markers[i]) &&
            !strstr(list, markers[i]) && used < size)
            used +=
                (size_t)snprintf(list + used, size - used, " %s", markers[i]);
}

static tn_status refuse(tn_error *err)
{
    const char *name[TN_CHAT_TEMPLATES], *marker[TN_CHAT_TEMPLATES];
    for (uint32_t i = 0; i < TN_CHAT_TEMPLATES; i++) {
        name[i] = tn_chat_template_at(i)->name;
        marker[i] = assistant_of(tn_chat_template_at(i));
    }
    return tn_fail(err, TN_EUNSUPPORTED,
                   "this checkpoint was not tuned to chat: its config has no "
                   "dataset with a template in data.train, and its tokenizer "
                   "none of the special tokens %s (%s), %s (%s) and %s (%s). "
                   "`tenon generate` goes on from a text; --template NAME "
                   "chats with the markers written as text",
                   marker[0], name[0], marker[1], name[1], marker[2], name[2]);
}

static void tell(const tni_recipe *r, const tn_tokenizer_handle *tokenizer,
                 const tn_chat_template *form)
{
    const tn_host *host = r->reader.host;
    char missing[256];
    list_missing(form, tokenizer, missing, sizeof missing);
    if (*missing)
        host->log(host, TN_LOG_INFO,
                  "the tokenizer has no special tokens%s: these markers of %s "
                  "are written as text",
                  missing, form->name);
}

tn_status tni_chat_form(const tni_recipe *r,
                        const tn_tokenizer_handle *tokenizer, const char *name,
                        const tn_chat_template **form, tn_error *err)
{
    const tn_host *host = r->reader.host;
    const char *trained = trained_with(r);
    const int asked = name && strcmp(name, "auto") != 0;
    TN_TRY(find(asked     ? name
                : trained ? trained
                          : "auto",
                tokenizer, form, err));
    if (!asked && !trained && !tn_chat_has(tokenizer, assistant_of(*form)))
        return refuse(err);
    if (!trained)
        host->log(host, TN_LOG_WARNING,
                  "this checkpoint's config trains on no conversations: what "
                  "it answers may make no sense");
    if (asked || !trained) /* else training has said so */
        tell(r, tokenizer, *form);
    return TN_OK;
}

tn_status tni_chat_form_stops(const tn_chat_template *form,
                              const tn_tokenizer_handle *tokenizer,
                              tni_stops *stops, tn_error *err)
{
    TN_TRY(tni_stops_add(stops, tokenizer, form->role[TN_ROLE_ASSISTANT].close,
                         err));
    for (uint32_t role = 0; role < TN_ROLE_COUNT; role++)
        TN_TRY(tni_stops_add(stops, tokenizer, form->role[role].open, err));
    TN_TRY(
        tni_stops_add(stops, tokenizer, form->part[TN_PART_CODE].close, err));
    TN_TRY(tni_stops_add(stops, tokenizer, form->begin, err));
    TN_TRY(tni_stops_add(stops, tokenizer, form->end, err));
    return tni_stops_add(stops, tokenizer, "<|endoftext|>", err);
}
