/*
 * safetensors.h - the file format of weights: Hugging Face's safetensors.
 *
 *     u64 little-endian  N, bytes of the header
 *     N bytes            JSON: {"name": {"dtype": "F32", "shape": [2, 3],
 *                        "data_offsets": [0, 24]}, ..., "__metadata__": {}}
 *     the data           tensors, row-major, without gaps
 *
 * Files come from anywhere. A header is believed only after every number in it
 * has been checked against the file's size; nothing is read before that.
 */
#ifndef TENON_SAFETENSORS_H
#define TENON_SAFETENSORS_H

#include <tenon/base.h>

typedef struct tni_stored {
    const char *name;
    const char *dtype; /* as the file says: "BF16" */
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
    int64_t elements;
    int64_t offset; /* in the file */
    int64_t bytes;
} tni_stored;

typedef struct tni_safetensors tni_safetensors;

/* Open and check. TN_ENOTFOUND, TN_EIO, or TN_EFORMAT with what is wrong. */
tn_status tni_safetensors_open(const char *path, tni_safetensors **file,
                               tn_error *err);
void tni_safetensors_close(tni_safetensors *file); /* NULL is fine */

/* Tensors sorted by name. */
const tni_stored *tni_safetensors_list(const tni_safetensors *file,
                                       uint32_t *count);
const tni_stored *tni_safetensors_find(const tni_safetensors *file,
                                       const char *name);

/* Numbers [first, first + count) of F32, F64, BF16 and F16 as float; as double
 * (F32 and F64 without loss). */
tn_status tni_safetensors_read(const tni_safetensors *file,
                               const tni_stored *tensor, int64_t first,
                               int64_t count, float *to, tn_error *err);
tn_status tni_safetensors_read_double(const tni_safetensors *file,
                                      const tni_stored *tensor, int64_t first,
                                      int64_t count, double *to, tn_error *err);

/* Check a file's bytes without a file (the fuzzer's door). `path` is for
 * sentences. On success *file has the list and cannot be read from. */
tn_status tni_safetensors_check(const char *path, const void *bytes,
                                size_t count, tni_safetensors **file,
                                tn_error *err);

/* ---- writing ---- */

typedef struct tni_to_store {
    const char *name;
    tn_dtype dtype; /* TN_F32 or TN_F64 */
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
} tni_to_store;

/* Put `bytes` bytes of tensor i, from byte `offset` on, at `to`. */
typedef tn_status (*tni_store_source)(void *from, uint32_t i, int64_t offset,
                                      void *to, int64_t bytes, tn_error *err);

/* Write and sync `path`. A failure leaves a partial file behind: the caller
 * writes into a temporary folder. */
tn_status tni_safetensors_write(const char *path, const tni_to_store *tensors,
                                uint32_t count, tni_store_source source,
                                void *from, tn_error *err);

#endif
