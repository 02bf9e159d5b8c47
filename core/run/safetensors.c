/*
 * safetensors.c - reading: believe nothing, then convert.
 */
#include "run/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

/* The format's own limit on a header. */
#define MOST_HEADER_BYTES ((uint64_t)100 * 1000 * 1000)

enum { CHUNK = 4096 }; /* elements converted at a time, on the stack */

struct tni_safetensors {
    char *path;
    int fd;         /* -1: only checked */
    json_t *header; /* owns names */
    tni_stored *tensors;
    uint32_t count;
};

static const struct {
    const char *name;
    int64_t bytes;
} dtypes[] = {{"F32", 4},  {"F64", 8},     {"BF16", 2},   {"F16", 2},
              {"I64", 8},  {"I32", 4},     {"I16", 2},    {"I8", 1},
              {"U64", 8},  {"U32", 4},     {"U16", 2},    {"U8", 1},
              {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

static int64_t bytes_of_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return dtypes[i].bytes;
    return 0;
}

/* ---- the header ---- */

static tn_status read_shape(const tni_safetensors *file, const json_t *shape,
                            tni_stored *t, tn_error *err)
{
    if (!json_is_array(shape) || json_array_size(shape) > TN_MAX_RANK)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %s: its shape is not a list of at most %d sizes",
                       file->path, t->name, TN_MAX_RANK);
    t->rank = (uint32_t)json_array_size(shape);
    t->elements = 1;
    for (uint32_t i = 0; i < t->rank; i++) {
        const json_t *size = json_array_get(shape, i);
        const json_int_t n = json_integer_value(size);
        if (!json_is_integer(size) || n < 0 ||
            __builtin_mul_overflow(t->elements, (int64_t)n, &t->elements))
            return tn_fail(err, TN_EFORMAT,
                           "%s: %s: size %u of its shape is not a size",
                           file->path, t->name, i);
        t->shape[i] = (int64_t)n;
    }
    return TN_OK;
}

static tn_status read_offsets(const tni_safetensors *file,
                              const json_t *offsets, int64_t data_bytes,
                              tni_stored *t, tn_error *err)
{
    const json_t *first = json_array_get(offsets, 0);
    const json_t *last = json_array_get(offsets, 1);
    const json_int_t from = json_integer_value(first),
                     to = json_integer_value(last);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) ||
        !json_is_integer(last) || from < 0 || to < from || to > data_bytes)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %s: data_offsets are not two positions within the "
                       "%lld bytes of data: the file is damaged or cut short",
                       file->path, t->name, (long long)data_bytes);
    t->offset = (int64_t)from;
    t->bytes = (int64_t)(to - from);
    return TN_OK;
}

static tn_status read_tensor(const tni_safetensors *file, const char *name,
                             const json_t *value, int64_t data_bytes,
                             tni_stored *t, tn_error *err)
{
    int64_t need;
    t->name = name;
    t->dtype = json_string_value(json_object_get(value, "dtype"));
    if (!t->dtype || !bytes_of_dtype(t->dtype))
        return tn_fail(err, TN_EFORMAT, "%s: %s: dtype %s is not one I know",
                       file->path, name, t->dtype ? t->dtype : "(none)");
    TN_TRY(read_shape(file, json_object_get(value, "shape"), t, err));
    TN_TRY(read_offsets(file, json_object_get(value, "data_offsets"),
                        data_bytes, t, err));
    if (__builtin_mul_overflow(t->elements, bytes_of_dtype(t->dtype), &need) ||
        need != t->bytes)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %s: %lld elements of %s do not fill the %lld bytes "
                       "it claims",
                       file->path, name, (long long)t->elements, t->dtype,
                       (long long)t->bytes);
    return TN_OK;
}

static int by_offset(const void *a, const void *b)
{
    const tni_stored *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tni_stored *)a)->name, ((const tni_stored *)b)->name);
}

/* Every byte of data belongs to exactly one tensor. */
static tn_status check_cover(tni_safetensors *file, int64_t data_bytes,
                             tn_error *err)
{
    int64_t at = 0;
    if (file->count)
        qsort(file->tensors, file->count, sizeof *file->tensors, by_offset);
    for (uint32_t i = 0; i < file->count; i++) {
        const tni_stored *t = &file->tensors[i];
        if (t->offset != at)
            return tn_fail(err, TN_EFORMAT,
                           "%s: %s begins at byte %lld of the data where %lld "
                           "was expected: tensors overlap or leave a hole",
                           file->path, t->name, (long long)t->offset,
                           (long long)at);
        at += t->bytes;
    }
    if (at != data_bytes)
        return tn_fail(err, TN_EFORMAT,
                       "%s: the tensors take %lld bytes, the file has %lld: it "
                       "is damaged or was cut short",
                       file->path, (long long)at, (long long)data_bytes);
    return TN_OK;
}

static tn_status read_header(tni_safetensors *file, const char *text,
                             size_t bytes, int64_t data_bytes, tn_error *err)
{
    json_error_t why;
    const char *name;
    json_t *value;
    file->header = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(file->header))
        return tn_fail(err, TN_EFORMAT,
                       "%s: the header is not a JSON object%s%s", file->path,
                       file->header ? "" : ": ", file->header ? "" : why.text);
    file->tensors =
        calloc(json_object_size(file->header) + 1, sizeof *file->tensors);
    if (!file->tensors)
        return tn_fail(err, TN_ENOMEM, "%s: no memory for its list of tensors",
                       file->path);
    json_object_foreach(file->header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        TN_TRY(read_tensor(file, name, value, data_bytes,
                           &file->tensors[file->count++], err));
    }
    TN_TRY(check_cover(file, data_bytes, err));
    for (uint32_t i = 0; i < file->count; i++)
        file->tensors[i].offset += (int64_t)bytes + 8;
    if (file->count)
        qsort(file->tensors, file->count, sizeof *file->tensors, by_name);
    return TN_OK;
}

static tn_status header_length(const char *path, const unsigned char raw[8],
                               uint64_t file_bytes, uint64_t *length,
                               tn_error *err)
{
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | raw[i];
    if (n > MOST_HEADER_BYTES || n + 8 > file_bytes)
        return tn_fail(err, TN_EFORMAT,
                       "%s: its header claims %llu bytes, the file has %llu: "
                       "not a safetensors file, or cut short",
                       path, (unsigned long long)n,
                       (unsigned long long)file_bytes);
    *length = n;
    return TN_OK;
}

/* ---- opening ---- */

static tni_safetensors *new_file(const char *path)
{
    tni_safetensors *file = calloc(1, sizeof *file);
    if (!file)
        return NULL;
    file->fd = -1;
    file->path = strdup(path);
    if (file->path)
        return file;
    free(file);
    return NULL;
}

void tni_safetensors_close(tni_safetensors *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    json_decref(file->header);
    free(file->tensors);
    free(file->path);
    free(file);
}

/* All of it or an error: a short read is a file that shrank. */
static tn_status read_all(const tni_safetensors *file, void *to, size_t bytes,
                          int64_t offset, tn_error *err)
{
    char *at = to;
    while (bytes) {
        const ssize_t n = pread(file->fd, at, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tn_fail(err, TN_EIO, "%s: cannot read at byte %lld: %s",
                           file->path, (long long)offset,
                           n < 0 ? strerror(errno) : "the file ends there");
        at += n;
        offset += n;
        bytes -= (size_t)n;
    }
    return TN_OK;
}

static tn_status open_checked(tni_safetensors *file, tn_error *err)
{
    struct stat st;
    unsigned char raw[8];
    uint64_t length = 0;
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0)
        return tn_fail(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO,
                       "%s: cannot open: %s", file->path, strerror(errno));
    if (fstat(file->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return tn_fail(err, TN_EIO, "%s: not a regular file", file->path);
    if (st.st_size < 8)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %lld bytes are too few for a safetensors file",
                       file->path, (long long)st.st_size);
    TN_TRY(read_all(file, raw, sizeof raw, 0, err));
    TN_TRY(header_length(file->path, raw, (uint64_t)st.st_size, &length, err));
    char *text = malloc((size_t)length + 1);
    if (!text)
        return tn_fail(err, TN_ENOMEM, "%s: no memory for its header",
                       file->path);
    tn_status status = read_all(file, text, (size_t)length, 8, err);
    if (status == TN_OK)
        status = read_header(file, text, (size_t)length,
                             (int64_t)st.st_size - 8 - (int64_t)length, err);
    free(text);
    return status;
}

tn_status tni_safetensors_open(const char *path, tni_safetensors **file,
                               tn_error *err)
{
    tni_safetensors *f = new_file(path);
    if (!f)
        return tn_fail(err, TN_ENOMEM, "%s: no memory to open it", path);
    const tn_status status = open_checked(f, err);
    if (status == TN_OK)
        *file = f;
    else
        tni_safetensors_close(f);
    return status;
}

tn_status tni_safetensors_check(const char *path, const void *bytes,
                                size_t count, tni_safetensors **file,
                                tn_error *err)
{
    uint64_t length = 0;
    if (count < 8)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %zu bytes are too few for a safetensors file", path,
                       count);
    TN_TRY(header_length(path, bytes, count, &length, err));
    tni_safetensors *f = new_file(path);
    if (!f)
        return tn_fail(err, TN_ENOMEM, "%s: no memory to check it", path);
    const tn_status status =
        read_header(f, (const char *)bytes + 8, (size_t)length,
                    (int64_t)(count - 8 - (size_t)length), err);
    if (status == TN_OK)
        *file = f;
    else
        tni_safetensors_close(f);
    return status;
}

const tni_stored *tni_safetensors_list(const tni_safetensors *file,
                                       uint32_t *count)
{
    *count = file->count;
    return file->tensors;
}

const tni_stored *tni_safetensors_find(const tni_safetensors *file,
                                       const char *name)
{
    const tni_stored key = {.name = name};
    return file->count ? bsearch(&key, file->tensors, file->count,
                                 sizeof *file->tensors, by_name)
                       : NULL;
}

/* ---- converting ---- */

static double from_f32(const unsigned char *at)
{
    float x;
    memcpy(&x, at, sizeof x);
    return (double)x;
}

static double from_f64(const unsigned char *at)
{
    double x;
    memcpy(&x, at, sizeof x);
    return x;
}

static double from_bf16(const unsigned char *at)
{
    const uint32_t bits = ((uint32_t)at[1] << 8 | at[0]) << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

static double from_f16(const unsigned char *at)
{
    const uint32_t bits = (uint32_t)at[1] << 8 | at[0];
    const uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double sign = bits >> 15 ? -1.0 : 1.0;
    if (exponent == 31)
        return fraction ? __builtin_nan("") : sign * __builtin_inf();
    if (exponent == 0)
        return sign * (double)fraction * 0x1p-24;
    double x = (double)(fraction | 1024) * 0x1p-25;
    for (uint32_t i = 0; i < exponent; i++)
        x *= 2.0;
    return sign * x;
}

typedef double (*convert)(const unsigned char *at);

static convert converter(const char *dtype)
{
    static const struct {
        const char *name;
        convert from;
    } known[] = {{"F32", from_f32},
                 {"F64", from_f64},
                 {"BF16", from_bf16},
                 {"F16", from_f16}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, dtype) == 0)
            return known[i].from;
    return NULL;
}

/* Numbers of a tensor. */
typedef struct {
    const tni_stored *tensor;
    int64_t first, count;
} stretch;

/* Exactly one of `narrow` and `wide` is given. */
static tn_status read_reals(const tni_safetensors *file, stretch of,
                            float *narrow, double *wide, tn_error *err)
{
    const tni_stored *t = of.tensor;
    const int64_t each = bytes_of_dtype(t->dtype);
    const convert from = converter(t->dtype);
    unsigned char raw[CHUNK * 8];
    if (!from)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %s holds %s, weights are F32, F64, BF16 or F16",
                       file->path, t->name, t->dtype);
    for (int64_t done = 0; done < of.count; done += CHUNK) {
        const int64_t n = of.count - done < CHUNK ? of.count - done : CHUNK;
        TN_TRY(read_all(file, raw, (size_t)(n * each),
                        t->offset + (of.first + done) * each, err));
        for (int64_t i = 0; i < n; i++) {
            const double x = from(raw + i * each);
            if (wide)
                wide[done + i] = x;
            else
                narrow[done + i] = (float)x;
        }
    }
    return TN_OK;
}

tn_status tni_safetensors_read(const tni_safetensors *file,
                               const tni_stored *tensor, int64_t first,
                               int64_t count, float *to, tn_error *err)
{
    return read_reals(file, (stretch){tensor, first, count}, to, NULL, err);
}

tn_status tni_safetensors_read_double(const tni_safetensors *file,
                                      const tni_stored *tensor, int64_t first,
                                      int64_t count, double *to, tn_error *err)
{
    return read_reals(file, (stretch){tensor, first, count}, NULL, to, err);
}
