/*
 * text_stream.c - zlib reads gzip and plain files alike; zstd is a loop.
 */
#include "run/text_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

struct tni_text_stream {
    char *path;
    gzFile gz; /* NULL: zstd */
    int fd;
    ZSTD_DStream *zstd;
    ZSTD_inBuffer in;
    char *buffer;
    size_t buffer_size;
    uint64_t consumed; /* zstd: handed to the decoder */
    size_t pending;    /* zstd: not 0 inside a frame */
};

/* ---- opening ---- */

static int is_zstd(int fd)
{
    static const unsigned char magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    unsigned char first[4];
    return pread(fd, first, 4, 0) == 4 && !memcmp(first, magic, 4);
}

static tn_status open_file(const char *path, int *fd, tn_error *err)
{
    struct stat info;
    const int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0)
        return tn_fail(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO,
                       "cannot open %s: %s", path, strerror(errno));
    if (fstat(opened, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(opened);
        return tn_fail(err, TN_EIO, "%s is not a plain file", path);
    }
    *fd = opened;
    return TN_OK;
}

static tn_status start(tni_text_stream *s, tn_error *err)
{
    if (!is_zstd(s->fd)) {
        s->gz = gzdopen(s->fd, "rb");
        if (!s->gz)
            return tn_fail(err, TN_ENOMEM, "%s: no memory to read it", s->path);
        gzbuffer(s->gz, 1 << 18);
        return TN_OK;
    }
    s->zstd = ZSTD_createDStream();
    s->buffer_size = ZSTD_DStreamInSize();
    s->buffer = malloc(s->buffer_size);
    if (!s->zstd || !s->buffer || ZSTD_isError(ZSTD_initDStream(s->zstd)))
        return tn_fail(err, TN_ENOMEM, "%s: no memory to decompress it",
                       s->path);
    return TN_OK;
}

tn_status tni_text_stream_open(const char *path, tni_text_stream **stream,
                               tn_error *err)
{
    int fd = -1;
    TN_TRY(open_file(path, &fd, err));
    tni_text_stream *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        close(fd);
        free(s);
        return tn_fail(err, TN_ENOMEM, "%s: no memory to read it", path);
    }
    s->fd = fd;
    const tn_status status = start(s, err);
    if (status != TN_OK)
        tni_text_stream_close(s);
    else
        *stream = s;
    return status;
}

void tni_text_stream_close(tni_text_stream *s)
{
    if (!s)
        return;
    if (s->gz)
        gzclose_r(s->gz); /* closes fd */
    else
        close(s->fd);
    ZSTD_freeDStream(s->zstd);
    free(s->buffer);
    free(s->path);
    free(s);
}

/* ---- reading ---- */

static tn_status read_gz(tni_text_stream *s, char *to, size_t size,
                         size_t *count, tn_error *err)
{
    const unsigned most = size < 1u << 30 ? (unsigned)size : 1u << 30;
    const int got = gzread(s->gz, to, most);
    int code = Z_OK;
    const char *why = gzerror(s->gz, &code);
    if (got < 0 || code < 0)
        return tn_fail(err, code == Z_ERRNO ? TN_EIO : TN_EFORMAT,
                       "%s: cannot read it as gzip: %s", s->path,
                       code == Z_ERRNO       ? strerror(errno)
                       : code == Z_BUF_ERROR ? "it ends too early"
                                             : why);
    *count = (size_t)got;
    return TN_OK;
}

/* 0 at the end of the file. */
static tn_status refill(tni_text_stream *s, int *more, tn_error *err)
{
    ssize_t got;
    do
        got = read(s->fd, s->buffer, s->buffer_size);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return tn_fail(err, TN_EIO, "cannot read %s: %s", s->path,
                       strerror(errno));
    s->in = (ZSTD_inBuffer){.src = s->buffer, .size = (size_t)got};
    s->consumed += (uint64_t)got;
    *more = got > 0;
    return TN_OK;
}

static tn_status read_zstd(tni_text_stream *s, char *to, size_t size,
                           size_t *count, tn_error *err)
{
    ZSTD_outBuffer out = {.dst = to, .size = size};
    while (out.pos == 0) {
        int more = 1;
        if (s->in.pos == s->in.size)
            TN_TRY(refill(s, &more, err));
        if (!more && s->pending)
            return tn_fail(err, TN_EFORMAT,
                           "%s: cannot read it as zstd: it ends too early",
                           s->path);
        if (!more)
            break;
        s->pending = ZSTD_decompressStream(s->zstd, &out, &s->in);
        if (ZSTD_isError(s->pending))
            return tn_fail(err, TN_EFORMAT, "%s: cannot read it as zstd: %s",
                           s->path, ZSTD_getErrorName(s->pending));
    }
    *count = out.pos;
    return TN_OK;
}

tn_status tni_text_stream_read(tni_text_stream *s, char *to, size_t size,
                               size_t *count, tn_error *err)
{
    return s->gz ? read_gz(s, to, size, count, err)
                 : read_zstd(s, to, size, count, err);
}

tn_status tni_text_stream_skip(tni_text_stream *s, uint64_t bytes,
                               tn_error *err)
{
    char scrap[1 << 14];
    if (s->gz && gzdirect(s->gz)) {
        if (gzseek(s->gz, (z_off_t)bytes, SEEK_CUR) >= 0)
            return TN_OK;
    }
    while (bytes > 0) {
        size_t got;
        const size_t want = bytes < sizeof scrap ? (size_t)bytes : sizeof scrap;
        TN_TRY(tni_text_stream_read(s, scrap, want, &got, err));
        if (!got)
            return tn_fail(err, TN_EFORMAT,
                           "%s is shorter than it was; it must not change "
                           "while it is tokenized",
                           s->path);
        bytes -= got;
    }
    return TN_OK;
}

uint64_t tni_text_stream_consumed(const tni_text_stream *s)
{
    if (!s->gz)
        return s->consumed - (s->in.size - s->in.pos);
    const z_off_t at = gzoffset(s->gz);
    return at > 0 ? (uint64_t)at : 0;
}
