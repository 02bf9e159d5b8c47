/*
 * cache.c - what took time to find out, kept on disk: machine code of emitted
 * text, which of cuBLASLt's algorithms is fastest, and whose attention.
 *
 * One file for each pair of compute capability and maker, which is NVRTC or
 * cuBLASLt with its version, in the user's cache folder. After a word that says
 * whose it is, entries follow one another: a text and what was made of it, so
 * that something is only ever taken for the very text it was made of. A file
 * that is damaged, too large or not ours is not read; it is written beside
 * itself and renamed.
 *
 * Processes share a file. One that writes holds a lock, reads the file again
 * and writes what is there together with what it found out itself; of one text
 * that stays which was there first. Machine code waits for the device to be
 * closed: at worst it is made again. A choice decides bits, which are to be the
 * same after kill -9: it is on disk before it is used, or it is not used.
 */
#include "gpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_CACHE_BYTES = 256 << 20 };
static const char magic[16] = "tenon cache 1\n";

typedef struct entry {
    uint64_t hash; /* of text and code, against damage */
    uint32_t text_bytes, code_bytes;
} entry;

uint64_t gpu_hash(const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < count; i++)
        h = (h ^ at[i]) * 1099511628211u;
    return h;
}

/* ---- the file ---- */

static void set_path(gpu_cache *cache, const gpu_card *card, const char *maker)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[400];
    if (xdg && xdg[0] == '/')
        snprintf(folder, sizeof folder, "%.380s/tenon", xdg);
    else if (home && home[0] == '/') {
        snprintf(folder, sizeof folder, "%.370s/.cache", home);
        mkdir(folder, 0700);
        strcat(folder, "/tenon");
    } else
        return;
    if (mkdir(folder, 0700) && errno != EEXIST)
        return;
    snprintf(cache->path, sizeof cache->path, "%s/cuda-sm%d%d-%s.bin", folder,
             card->major, card->minor, maker);
}

/* NULL where there is none, or none that may be trusted. */
static char *read_file(const char *path, size_t *bytes)
{
    struct stat about;
    FILE *file = path[0] ? fopen(path, "rb") : NULL;
    char *data = NULL;
    if (!file)
        return NULL;
    if (!fstat(fileno(file), &about) && S_ISREG(about.st_mode) &&
        about.st_uid == geteuid() && !(about.st_mode & 022) &&
        about.st_size > 0 && about.st_size <= MAX_CACHE_BYTES)
        data = malloc((size_t)about.st_size);
    *bytes = data ? fread(data, 1, (size_t)about.st_size, file) : 0;
    fclose(file);
    return data;
}

static uint64_t check_of(const char *body, const entry *e)
{
    return gpu_hash(body, (size_t)e->text_bytes + e->code_bytes);
}

static gpu_cached *look_up(const gpu_cache *cache, const char *text,
                           uint64_t hash)
{
    gpu_cached *c = cache->list;
    while (c && (c->hash != hash || strcmp(c->text, text) != 0))
        c = c->next;
    return c;
}

static gpu_cached *append(gpu_cache *cache, const char *text, uint64_t hash)
{
    gpu_cached *c = calloc(1, sizeof *c);
    char *copy = malloc(strlen(text) + 1);
    if (!c || !copy) {
        free(c);
        free(copy);
        return NULL;
    }
    *c = (gpu_cached){hash, strcpy(copy, text), NULL, 0, cache->list};
    return cache->list = c;
}

/* What was made of `text`, instead of what else was. Takes `code` over. */
static gpu_cached *put(gpu_cache *cache, const char *text, uint64_t hash,
                       void *code, size_t bytes)
{
    gpu_cached *c = look_up(cache, text, hash);
    if (!c)
        c = append(cache, text, hash);
    if (!c) {
        free(code);
        return NULL;
    }
    free(c->code);
    c->code = code;
    c->bytes = bytes;
    return c;
}

static void drop(gpu_cache *cache, gpu_cached *c)
{
    gpu_cached **link = &cache->list;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    free(c->text);
    free(c->code);
    free(c);
}

/* ---- reading ---- */

static int put_entry(gpu_cache *cache, const char *body, const entry *e)
{
    char *text = strndup(body, e->text_bytes);
    void *code = malloc(e->code_bytes);
    const int ready = text && code;
    if (ready) {
        memcpy(code, body + e->text_bytes, e->code_bytes);
        put(cache, text, gpu_hash(text, strlen(text)), code, e->code_bytes);
    } else
        free(code);
    free(text);
    return ready;
}

/* Whole, undamaged entries up to the first that is not. */
static void take_entries(gpu_cache *cache, const char *data, size_t bytes)
{
    size_t at = sizeof magic;
    while (at <= bytes && bytes - at >= sizeof(entry)) {
        entry e;
        memcpy(&e, data + at, sizeof e);
        const char *body = data + at + sizeof e;
        const uint64_t size = (uint64_t)e.text_bytes + e.code_bytes;
        if (size > bytes - at - sizeof e || !e.code_bytes ||
            check_of(body, &e) != e.hash || !put_entry(cache, body, &e))
            return;
        at += sizeof e + (size_t)size;
    }
}

static void take_file(gpu_cache *cache)
{
    size_t bytes = 0;
    char *data = read_file(cache->path, &bytes);
    if (data && bytes > sizeof magic && !memcmp(data, magic, sizeof magic))
        take_entries(cache, data, bytes);
    free(data);
}

/* ---- writing ---- */

static int write_entry(FILE *file, const gpu_cached *c)
{
    const size_t text_bytes = strlen(c->text);
    char *body = malloc(text_bytes + c->bytes);
    entry e = {0, (uint32_t)text_bytes, (uint32_t)c->bytes};
    if (!body)
        return 0;
    memcpy(body, c->text, text_bytes);
    memcpy(body + text_bytes, c->code, c->bytes);
    e.hash = check_of(body, &e);
    const int ok = fwrite(&e, sizeof e, 1, file) == 1 &&
                   fwrite(body, text_bytes + c->bytes, 1, file) == 1;
    free(body);
    return ok;
}

/* A new file that is ours alone, whatever the umask: read_file() takes no
 * other.
 */
static FILE *create_file(const char *path)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const int fd = open(path, flags, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (fd >= 0 && !file)
        close(fd);
    return file;
}

/* On disk when this returns, as far as the machine can say. */
static int write_file(const gpu_cache *cache)
{
    char beside[560];
    size_t total = sizeof magic;
    snprintf(beside, sizeof beside, "%s.new", cache->path);
    unlink(beside); /* of a process that was killed */
    FILE *file = create_file(beside);
    if (!file)
        return 0;
    int ok = fwrite(magic, sizeof magic, 1, file) == 1;
    for (const gpu_cached *c = cache->list; c && ok; c = c->next) {
        total += sizeof(entry) + strlen(c->text) + c->bytes;
        ok = total > MAX_CACHE_BYTES || write_entry(file, c);
    }
    ok = ok && !fflush(file) && !fsync(fileno(file));
    ok = !fclose(file) && ok && !rename(beside, cache->path);
    if (!ok)
        unlink(beside);
    return ok;
}

/* A file of its own, as the cache's is another one after each writing. -1 where
 * there is no lock to be had. */
static int lock(const gpu_cache *cache)
{
    char path[560];
    snprintf(path, sizeof path, "%s.lock", cache->path);
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
    const int fd = open(path, flags, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Together with what other processes have kept since, which wins. */
static int save(gpu_cache *cache)
{
    const int held = cache->path[0] ? lock(cache) : -1;
    if (held < 0)
        return 0;
    take_file(cache);
    const int ok = write_file(cache);
    close(held);
    return ok;
}

/* ---- what others call ---- */

void gpu_cache_open(gpu_cache *cache, const gpu_card *card, const char *maker)
{
    set_path(cache, card, maker);
    take_file(cache);
}

const gpu_cached *gpu_cache_find(const gpu_cache *cache, const char *text,
                                 uint64_t hash)
{
    return look_up(cache, text, hash);
}

void gpu_cache_add(gpu_cache *cache, const char *text, uint64_t hash,
                   void *code, size_t bytes)
{
    put(cache, text, hash, code, bytes);
    cache->added++;
}

const gpu_cached *gpu_cache_keep(gpu_cache *cache, const char *text,
                                 uint64_t hash, const void *code, size_t bytes)
{
    void *copy = malloc(bytes);
    if (!copy)
        return NULL;
    gpu_cached *c = put(cache, text, hash, memcpy(copy, code, bytes), bytes);
    if (!c || save(cache))
        return c;
    drop(cache, c);
    return NULL;
}

void gpu_cache_close(gpu_cache *cache)
{
    if (cache->added)
        save(cache);
    while (cache->list)
        drop(cache, cache->list);
}
