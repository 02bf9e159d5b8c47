/*
 * session.h - one model on one device: arenas that its plans share.
 *
 * First all plans are added; then commit allocates each arena once, as large
 * as the largest plan needs, and compiles the plans for them. After that
 * nothing is allocated: running a plan is a call.
 *
 * A plan added after commit (a piece of a prompt, a diagnosis) shares the
 * arenas too, but brings its own transient bytes where it needs more.
 *
 * Real numbers cross this border as float whatever the graph computes in; on
 * the oracle the arenas hold doubles and the border converts.
 */
#ifndef TENON_SESSION_H
#define TENON_SESSION_H

#include "graph/passes.h"
#include "run/device.h"
#include "run/recipe.h"

enum { TNI_SESSION_PLANS = 24 };

typedef struct tni_compiled {
    tni_plan *plan;
    tn_exec *exec;
    tn_buffer *transient; /* its own, or NULL */
} tni_compiled;

typedef struct tni_session {
    tni_device device;
    const tni_recipe *recipe;
    tn_dtype dtype;     /* of graphs: TN_F32, or TN_F64 on the oracle */
    uint32_t is_bf16;   /* graphs are narrowed, and parameters have bf16 */
    tni_copied copied;  /* copies, those that are copied for this or more */
    int64_t real_bytes; /* of one number in the arenas */
    tn_buffer *arena[TN_ARENA_COUNT];
    int64_t arena_bytes[TN_ARENA_COUNT];
    int64_t workspace_bytes; /* that the backend's kernels need besides */
    int64_t program_bytes;   /* resident when the device had been opened */
    tni_compiled compiled[TNI_SESSION_PLANS];
    uint32_t count;
    uint32_t committed;
    const tn_ask_extension *ask; /* NULL: taking is waiting */
    tn_arena asked_arena;        /* then: what for */
    int64_t asked_offset;
} tni_session;

/* Open the recipe's backend and check its precision. */
tn_status tni_session_open(const tni_recipe *recipe, tni_session **session,
                           tn_error *err);
void tni_session_close(tni_session *session); /* NULL is fine */

/* Of the backend, by name; NULL where it has none. */
const void *tni_session_extension(const tni_session *session, const char *name);

/* Whether it has a bf16 copy of this weight. */
int tni_session_copies(const tni_session *session, const tni_weight *weight);

/* The arena will have at least this many bytes. Before commit only. */
void tni_session_reserve(tni_session *session, tn_arena arena, int64_t bytes);

/* Take the plan (also on failure); *id names it in run. */
tn_status tni_session_add(tni_session *session, tni_plan *plan, uint32_t *id,
                          tn_error *err);

/* tni_quantise and tni_narrow, as far as the recipe asks for them: after
 * differentiating. */
tn_status tni_session_narrow(const tni_session *session, tni_graph *g,
                             tn_error *err);

/* lower, fuse, place a described and differentiated graph; then add it. */
tn_status tni_session_plan(tni_session *session, tni_graph *g, const char *name,
                           uint32_t *id, tn_error *err);

/* Allocate and compile. TN_ENOMEM, with what the arenas need and the device
 * has, where they do not fit. */
tn_status tni_session_commit(tni_session *session, tn_error *err);

/* All segments. What they make is there for a later start, and for download. */
tn_status tni_session_start(tni_session *session, uint32_t id, tn_error *err);
/* For all that was started. */
tn_status tni_session_wait(tni_session *session, tn_error *err);
/* Both. */
tn_status tni_session_run(tni_session *session, uint32_t id, tn_error *err);

/*
 * Bytes as they are behind all that was started so far: asked for now, taken
 * later, at most 4096. So many may be asked for and not yet taken; of one alone
 * nothing is started in between.
 */
uint32_t tni_session_slots(const tni_session *session);
tn_status tni_session_ask(tni_session *session, uint32_t slot, tn_arena arena,
                          int64_t offset, int64_t bytes, tn_error *err);
tn_status tni_session_take(tni_session *session, uint32_t slot, void *to,
                           int64_t bytes, tn_error *err);

const tn_plan *tni_session_get(const tni_session *session, uint32_t id);

/* What of this process is in memory now; 0 where the system does not say. */
int64_t tni_resident_bytes(void);

/* Of all arenas and of what kernels need besides. */
int64_t tni_session_bytes(const tni_session *session);
/* The same and what the program itself takes: what the system will say. */
int64_t tni_session_resident_bytes(const tni_session *session);

/* offset in bytes; reals are converted to the arena's dtype. */
tn_status tni_session_upload(tni_session *session, tn_arena arena,
                             int64_t offset, const void *from, int64_t bytes,
                             tn_error *err);
tn_status tni_session_upload_reals(tni_session *session, tn_arena arena,
                                   int64_t offset, const float *from,
                                   int64_t count, tn_error *err);
tn_status tni_session_download(tni_session *session, void *to, tn_arena arena,
                               int64_t offset, int64_t bytes, tn_error *err);
tn_status tni_session_download_reals(tni_session *session, float *to,
                                     tn_arena arena, int64_t offset,
                                     int64_t count, tn_error *err);

/*
 * Weights [first, first + count) of the parameter slab, to all that the session
 * has of them: the parameters themselves, their bf16 copies, and what is read
 * of them in 8 or 4 bits. Decoding in bf16 has of most weights only the copies.
 */
tn_status tni_session_upload_weights(tni_session *session, int64_t first,
                                     const float *from, int64_t count,
                                     tn_error *err);

#endif
