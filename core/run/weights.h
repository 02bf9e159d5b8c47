/*
 * weights.h - from a file of weights to the parameter slab, by name.
 */
#ifndef TENON_WEIGHTS_H
#define TENON_WEIGHTS_H

#include "run/safetensors.h"
#include "run/session.h"

/*
 * The file of weights that `path` means: itself, or model.safetensors in a
 * checkpoint folder, or that of the newest checkpoint in a run folder.
 */
tn_status tni_weights_path(tni_arena *arena, const tn_host *host,
                           const char *path, const char **file, tn_error *err);

/*
 * Load every weight of the session's model. Names that are missing, extra or
 * of another shape are listed in one sentence. A file that ties its embeddings
 * (no lm_head.weight) gives the head a copy of them.
 */
tn_status tni_weights_load(tni_session *session, const char *path,
                           tn_error *err);

/* Draw initial weights from the recipe's seed. */
tn_status tni_weights_draw(tni_session *session, tn_error *err);

/* Read one stored tensor into an arena at a byte offset, part by part. */
tn_status tni_weights_put(tni_session *session, const tni_safetensors *file,
                          const tni_stored *tensor, tn_arena arena,
                          int64_t offset, tn_error *err);

#endif
