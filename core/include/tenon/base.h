/*
 * base.h - the words every Tenon header uses: status, error, dtype, tensor.
 *
 * Everything under <tenon/> is C11 that also compiles as C++, uses fixed-width
 * types only in structs that cross the plugin boundary, and links to nothing
 * but libc: a plugin includes these headers and needs no Tenon library.
 */
#ifndef TENON_BASE_H
#define TENON_BASE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
#define TN_BEGIN_DECLS extern "C" {
#define TN_END_DECLS }
#else
#define TN_BEGIN_DECLS
#define TN_END_DECLS
#endif

#define TN_EXPORT __attribute__((visibility("default")))
#define TN_PRINTF(text, first) __attribute__((format(printf, text, first)))

TN_BEGIN_DECLS

/*
 * Status. Every fallible function returns one; results travel through
 * out-pointers that stay untouched on failure. Numbers are never reused.
 */
#define TN_STATUS_MAP(XX)                                                      \
    XX(OK, 0, "ok")                                                            \
    XX(EINVALID, 1, "invalid argument or config")                              \
    XX(ESHAPE, 2, "shape or dtype error in a described graph")                 \
    XX(EIO, 3, "input or output failed")                                       \
    XX(EFORMAT, 4, "a file is not what it claims to be")                       \
    XX(ENOTFOUND, 5, "not found")                                              \
    XX(ENOMEM, 6, "out of memory")                                             \
    XX(EUNSUPPORTED, 7, "not supported by this backend or version")            \
    XX(EREFUSED, 8, "refused for safety")                                      \
    XX(EDEVICE, 9, "the device failed")                                        \
    XX(ENONFINITE, 10, "a value that must be finite is not")                   \
    XX(EINTERRUPTED, 11, "interrupted by the user")                            \
    XX(EEND, 12, "no more data")

typedef int32_t tn_status;
enum {
#define XX(name, number, text) TN_##name = number,
    TN_STATUS_MAP(XX)
#undef XX
};

/*
 * The sentence for the user: the thing, the value, the allowed range, the fix,
 * and file:line:column where there is one. The caller owns it; the function
 * that fails fills it once (the first error wins). NULL is allowed everywhere
 * a tn_error is asked for and means "I only want the status".
 */
typedef struct tn_error {
    tn_status status;
    char message[1020];
} tn_error;

static inline tn_status tn_vfail(tn_error *err, tn_status status,
                                 const char *format, va_list args)
{
    if (err && err->status == TN_OK) {
        err->status = status;
        vsnprintf(err->message, sizeof err->message, format, args);
    }
    return status;
}

/* Fill `err` (unless it already tells of an earlier failure), return status. */
TN_PRINTF(3, 4)
static inline tn_status tn_fail(tn_error *err, tn_status status,
                                const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tn_vfail(err, status, format, args);
    va_end(args);
    return status;
}

/* Forward a failure to the caller. */
#define TN_TRY(expression)                                                     \
    do {                                                                       \
        const tn_status tn_try_status = (expression);                          \
        if (tn_try_status != TN_OK)                                            \
            return tn_try_status;                                              \
    } while (0)

/*
 * Dtypes. F32 is what models compute in; F64 exists for the oracle, which runs
 * the same graphs in double; BF16 and F16 are storage with F32 arithmetic.
 * Numbers are never reused.       name, number, bytes, safetensors name
 */
#define TN_DTYPE_MAP(XX)                                                       \
    XX(F32, 1, 4, "F32")                                                       \
    XX(F64, 2, 8, "F64")                                                       \
    XX(BF16, 3, 2, "BF16")                                                     \
    XX(F16, 4, 2, "F16")                                                       \
    XX(I32, 5, 4, "I32")                                                       \
    XX(U16, 6, 2, "U16")                                                       \
    XX(U8, 7, 1, "U8")                                                         \
    XX(I8, 8, 1, "I8")

typedef uint32_t tn_dtype;
enum {
    TN_DTYPE_NONE = 0,
#define XX(name, number, bytes, text) TN_##name = number,
    TN_DTYPE_MAP(XX)
#undef XX
};

static inline int64_t tn_dtype_bytes(tn_dtype dtype)
{
    switch (dtype) {
#define XX(name, number, bytes, text)                                          \
    case number:                                                               \
        return bytes;
        TN_DTYPE_MAP(XX)
#undef XX
    default:
        return 0;
    }
}

/*
 * Since ABI 1.3: weights in blocks, for inference. So many numbers of a row
 * share scales, and no number has bytes of its own (tn_dtype_bytes is 0). The
 * layouts are ggml's, byte for byte (core/base/blocks.h). Offsets and strides
 * are in elements all the same; rows are whole blocks, and so is what a view
 * cuts out of them.              name, number, elements, bytes, ggml's name
 */
#define TN_BLOCK_DTYPE_MAP(XX)                                                 \
    XX(Q8_0, 9, 32, 34, "Q8_0")                                                \
    XX(Q4_K, 10, 256, 144, "Q4_K")

enum {
#define XX(name, number, elements, bytes, text) TN_##name = number,
    TN_BLOCK_DTYPE_MAP(XX)
#undef XX
};

/* Elements of a block; 1 for dtypes that have none. */
static inline int64_t tn_dtype_block(tn_dtype dtype)
{
    switch (dtype) {
#define XX(name, number, elements, bytes, text)                                \
    case number:                                                               \
        return elements;
        TN_BLOCK_DTYPE_MAP(XX)
#undef XX
    default:
        return 1;
    }
}

/* Bytes of `elements` numbers behind each other, which are whole blocks. */
static inline int64_t tn_dtype_span(tn_dtype dtype, int64_t elements)
{
    switch (dtype) {
#define XX(name, number, each, bytes, text)                                    \
    case number:                                                               \
        return elements / (each) * (bytes);
        TN_BLOCK_DTYPE_MAP(XX)
#undef XX
    default:
        return elements * tn_dtype_bytes(dtype);
    }
}

static inline const char *tn_dtype_name(tn_dtype dtype)
{
    switch (dtype) {
#define XX(name, number, bytes, text)                                          \
    case number:                                                               \
        return text;
        TN_DTYPE_MAP(XX)
#undef XX
#define XX(name, number, elements, bytes, text)                                \
    case number:                                                               \
        return text;
        TN_BLOCK_DTYPE_MAP(XX)
#undef XX
    default:
        return "none";
    }
}

#define TN_MAX_RANK 6

/*
 * A tensor of a graph that is being described: a handle, never data. Only the
 * builder that returned it can read it. id 0 is "none", which optional inputs
 * accept and which every call returns once the builder has failed.
 */
typedef struct tn_tensor {
    uint32_t id;
} tn_tensor;

#define TN_NONE ((tn_tensor){0})

/* What a handle stands for. Strides are in elements; a broadcast axis has 0. */
typedef struct tn_tensor_info {
    tn_dtype dtype;
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
    int64_t stride[TN_MAX_RANK];
} tn_tensor_info;

/* Where in a plugin's source a call was written: errors carry it. */
typedef struct tn_here {
    const char *file;
    int32_t line;
    int32_t reserved;
} tn_here;

#define TN_HERE ((tn_here){__FILE__, __LINE__, 0})

TN_END_DECLS
#endif
