/*
 * chat_form.h - which template a checkpoint speaks.
 */
#ifndef TENON_CHAT_FORM_H
#define TENON_CHAT_FORM_H

#include <tenon/chat.h>

#include "run/recipe.h"
#include "run/stops.h"

/*
 * The template called `name`; where that is NULL or "auto" the one of the
 * checkpoint's config, else of its tokenizer. What is doubtful about it goes to
 * the log. TN_EINVALID: no such template; TN_EUNSUPPORTED: nothing says which.
 */
tn_status tni_chat_form(const tni_recipe *recipe,
                        const tn_tokenizer_handle *tokenizer, const char *name,
                        const tn_chat_template **form, tn_error *err);

/* Whatever an answer in this form ends at. */
tn_status tni_chat_form_stops(const tn_chat_template *form,
                              const tn_tokenizer_handle *tokenizer,
                              tni_stops *stops, tn_error *err);

#endif
