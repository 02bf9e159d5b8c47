/*
 * safetensors_write.c - the header first, then one tensor after the other, a
 * part at a time: a model of any size passes through a small buffer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/file.h"
#include "run/safetensors.h"

enum { PART_BYTES = 256 * 1024 };

static int64_t bytes_of(const tni_to_store *t)
{
    int64_t n = tn_dtype_bytes(t->dtype);
    for (uint32_t i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

static json_t *describe(const tni_to_store *t, int64_t offset)
{
    json_t *shape = json_array();
    for (uint32_t i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", tn_dtype_name(t->dtype),
                     "shape", shape, "data_offsets", (json_int_t)offset,
                     (json_int_t)(offset + bytes_of(t)));
}

/* The header's text, padded with blanks so that data begins at a multiple of
 * 8. transformers asks for the metadata. */
static char *header_text(const tni_to_store *tensors, uint32_t count,
                         size_t *bytes)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    int64_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        json_object_set_new(header, tensors[i].name,
                            describe(&tensors[i], offset));
        offset += bytes_of(&tensors[i]);
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    if (!text)
        return NULL;
    const size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    char *blanks = realloc(text, padded + 1);
    if (!blanks) {
        free(text);
        return NULL;
    }
    memset(blanks + length, ' ', padded - length);
    *bytes = padded;
    return blanks;
}

static tn_status put(FILE *to, const char *path, const void *bytes,
                     size_t count, tn_error *err)
{
    if (fwrite(bytes, 1, count, to) == count)
        return TN_OK;
    return tn_fail(err, TN_EIO, "%s: cannot write: %s", path, strerror(errno));
}

static tn_status put_header(FILE *to, const char *path,
                            const tni_to_store *tensors, uint32_t count,
                            tn_error *err)
{
    size_t bytes;
    unsigned char length[8];
    char *text = header_text(tensors, count, &bytes);
    if (!text)
        return tn_fail(err, TN_ENOMEM, "%s: no memory for its header", path);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(bytes >> 8 * i);
    tn_status status = put(to, path, length, sizeof length, err);
    if (status == TN_OK)
        status = put(to, path, text, bytes, err);
    free(text);
    return status;
}

/* A part at a time: a tensor may be as large as all else that is resident. */
static tn_status put_tensor(FILE *to, const char *path, uint32_t i,
                            int64_t bytes, tni_store_source source, void *from,
                            tn_error *err)
{
    unsigned char part[PART_BYTES];
    for (int64_t at = 0; at < bytes; at += PART_BYTES) {
        const int64_t n = bytes - at < PART_BYTES ? bytes - at : PART_BYTES;
        TN_TRY(source(from, i, at, part, n, err));
        TN_TRY(put(to, path, part, (size_t)n, err));
    }
    return TN_OK;
}

static tn_status put_tensors(FILE *to, const char *path,
                             const tni_to_store *tensors, uint32_t count,
                             tni_store_source source, void *from, tn_error *err)
{
    for (uint32_t i = 0; i < count; i++)
        TN_TRY(
            put_tensor(to, path, i, bytes_of(&tensors[i]), source, from, err));
    return TN_OK;
}

tn_status tni_safetensors_write(const char *path, const tni_to_store *tensors,
                                uint32_t count, tni_store_source source,
                                void *from, tn_error *err)
{
    FILE *to = fopen(path, "wbe");
    if (!to)
        return tn_fail(err, TN_EIO, "%s: cannot create: %s", path,
                       strerror(errno));
    tn_status status = put_header(to, path, tensors, count, err);
    if (status == TN_OK)
        status = put_tensors(to, path, tensors, count, source, from, err);
    const tn_status closed =
        tni_file_close_synced(to, path, status == TN_OK ? err : NULL);
    return status == TN_OK ? closed : status;
}
