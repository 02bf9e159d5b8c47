/*
 * logits.c - one forward pass over a whole sequence, without a cache.
 */
#include "run/logits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/weights.h"

static tn_status describe(tni_session *s, tni_graph *g, int64_t count,
                          uint32_t *id, tn_error *err)
{
    const tni_model *model = s->recipe->model;
    const int64_t tokens[2] = {1, count};
    const int64_t shape[2] = {count, tni_model_vocab_size(model)};
    const tni_model_io io = {
        .batch = 1,
        .seq_len = count,
        .tokens = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_I32, 2,
                                 tokens, "tokens"),
        .training = 1,
    };
    tni_model_out out = {0};
    tni_model_describe(s->recipe->model, g, &io, &out);
    const tn_tensor slot = tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0,
                                          g->builder.dtype, 2, shape, "logits");
    tn_assign(&g->builder, slot, out.logits);
    TN_TRY(tni_session_narrow(s, g, err));
    return tni_session_plan(s, g, "logits", id, err);
}

static tn_status plan(tni_session *s, int64_t count, uint32_t *id,
                      tn_error *err)
{
    tni_graph *g = tni_graph_create(s->dtype);
    const tn_status status = describe(s, g, count, id, err);
    tni_graph_destroy(g);
    return status;
}

static tn_status check(const tni_model *model, const int32_t *tokens,
                       int64_t count, tn_error *err)
{
    const int64_t longest = tni_model_max_seq_len(model),
                  vocab = tni_model_vocab_size(model);
    if (count < 1 || count > longest)
        return tn_fail(err, TN_EINVALID,
                       "%lld tokens are outside [1, model.max_seq_len %lld]",
                       (long long)count, (long long)longest);
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= vocab)
            return tn_fail(err, TN_EINVALID,
                           "token %lld is %d, outside [0, vocab_size %lld)",
                           (long long)i, tokens[i], (long long)vocab);
    return TN_OK;
}

static tn_status run(tni_session *s, const char *weights, const int32_t *tokens,
                     int64_t count, float *logits, tn_error *err)
{
    uint32_t id = 0;
    TN_TRY(plan(s, count, &id, err));
    TN_TRY(tni_session_commit(s, err));
    TN_TRY(tni_weights_load(s, weights, err));
    TN_TRY(tni_session_upload(s, TN_ARENA_INPUT, 0, tokens, count * 4, err));
    TN_TRY(tni_session_run(s, id, err));
    return tni_session_download_reals(
        s, logits, TN_ARENA_METRIC, 0,
        count * tni_model_vocab_size(s->recipe->model), err);
}

tn_status tni_logits(const tni_recipe *recipe, const char *weights,
                     const int32_t *tokens, int64_t count, float **logits,
                     tn_error *err)
{
    tni_session *s;
    TN_TRY(check(recipe->model, tokens, count, err));
    TN_TRY(tni_session_open(recipe, &s, err));
    float *made =
        calloc((size_t)count,
               (size_t)tni_model_vocab_size(recipe->model) * sizeof *made);
    const tn_status status = made ? run(s, weights, tokens, count, made, err)
                                  : tn_fail(err, TN_ENOMEM,
                                            "no memory for the logits of %lld "
                                            "tokens",
                                            (long long)count);
    tni_session_close(s);
    if (status == TN_OK)
        *logits = made;
    else
        free(made);
    return status;
}

/* Magic, version 1.0, the length of the header, and the header: a Python dict
 * padded with blanks so that the data begins at a multiple of 64. */
static size_t npy_header(char *to, size_t size, int64_t rows, int64_t columns)
{
    char dict[128];
    const int n = snprintf(dict, sizeof dict,
                           "{'descr': '<f4', 'fortran_order': False, "
                           "'shape': (%lld, %lld), }",
                           (long long)rows, (long long)columns);
    const size_t whole = (10 + (size_t)n + 1 + 63) / 64 * 64;
    const size_t length = whole - 10;
    memset(to, ' ', size);
    memcpy(to, "\x93NUMPY\x01\x00", 8);
    to[8] = (char)(length & 255);
    to[9] = (char)(length >> 8);
    memcpy(to + 10, dict, (size_t)n);
    to[whole - 1] = '\n';
    return whole;
}

tn_status tni_npy_write(const char *path, const float *values, int64_t rows,
                        int64_t columns, tn_error *err)
{
    char header[256];
    const size_t length = npy_header(header, sizeof header, rows, columns);
    const size_t count = (size_t)(rows * columns);
    FILE *to = fopen(path, "wbe");
    if (!to)
        return tn_fail(err, TN_EIO, "%s: cannot create: %s", path,
                       strerror(errno));
    if (fwrite(header, 1, length, to) != length ||
        fwrite(values, sizeof *values, count, to) != count) {
        tn_fail(err, TN_EIO, "%s: cannot write: %s", path, strerror(errno));
        tni_file_close_synced(to, path, NULL);
        return TN_EIO;
    }
    return tni_file_close_synced(to, path, err);
}
