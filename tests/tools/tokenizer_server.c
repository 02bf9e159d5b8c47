/*
 * tokenizer_server.c - one tokenizer under the eyes of scripts in another
 * language, which hold it against others and time it in turn with them.
 *
 *     tokenizer_server '{path: FILE, pattern: NAME}'
 *
 * Reads requests on standard input until it ends and answers each on standard
 * output. Numbers are of this machine.
 *
 *     request    u32 special tokens allowed, u32 times, u64 bytes, text
 *     answer     i64 ids or -1, u64 whether the ids stand for the text,
 *                f64 least seconds of processor time, then i32 ids,
 *                or u64 bytes and a sentence
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/config.h"
#include "plugin/host.h"
#include "plugin/registry.h"
#include "tenon/tokenizer.h"

typedef struct request {
    uint32_t special, times;
    uint64_t bytes;
} request;

typedef struct answer {
    int64_t count;
    uint64_t same;
    double seconds;
} answer;

typedef struct ids {
    int32_t *at;
    size_t count, capacity;
} ids;

static void die(const char *why)
{
    fprintf(stderr, "tokenizer_server: %s\n", why);
    exit(1);
}

static tn_status take(void *to, const int32_t *at, uint64_t count,
                      tn_error *err)
{
    ids *list = to;
    if (list->count + count > list->capacity) {
        list->capacity = 2 * (list->count + count);
        list->at = realloc(list->at, list->capacity * sizeof *list->at);
        if (!list->at)
            return tn_fail(err, TN_ENOMEM, "no memory");
    }
    memcpy(list->at + list->count, at, count * sizeof *at);
    list->count += count;
    return TN_OK;
}

static uint64_t stand_for(const tn_tokenizer *v, void *self, const ids *list,
                          const char *text, uint64_t bytes)
{
    uint64_t at = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *piece;
        uint32_t n;
        if (v->bytes_of(self, list->at[i], &piece, &n, NULL) != TN_OK ||
            n > bytes - at || memcmp(text + at, piece, n) != 0)
            return 0;
        at += n;
    }
    return at == bytes;
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void put(const void *bytes, size_t count)
{
    if (fwrite(bytes, 1, count, stdout) != count)
        die("cannot write");
}

static void refuse(const tn_error *err)
{
    const answer none = {.count = -1};
    const uint64_t count = strlen(err->message);
    put(&none, sizeof none);
    put(&count, sizeof count);
    put(err->message, count);
}

static void serve(const tn_tokenizer *v, void *self, const request *r,
                  const char *text)
{
    static ids list;
    answer a = {.seconds = 1e9};
    for (uint32_t i = 0; i < r->times; i++) {
        tn_error err = {0};
        list.count = 0;
        const double began = processor_seconds();
        if (v->encode(self, text, r->bytes, r->special, take, &list, &err) !=
            TN_OK) {
            refuse(&err);
            return;
        }
        const double took = processor_seconds() - began;
        a.seconds = took < a.seconds ? took : a.seconds;
    }
    a.count = (int64_t)list.count;
    a.same = stand_for(v, self, &list, text, r->bytes);
    put(&a, sizeof a);
    put(list.at, list.count * sizeof *list.at);
}

static void loop(const tn_tokenizer *v, void *self)
{
    request r;
    while (fread(&r, sizeof r, 1, stdin) == 1) {
        char *text = malloc(r.bytes + 1);
        if (!text || fread(text, 1, r.bytes, stdin) != r.bytes)
            die("a request without its text");
        serve(v, self, &r, text);
        fflush(stdout);
        free(text);
    }
}

static tn_status open_bpe(tni_arena *arena, tni_registry *registry,
                          const tn_host *host, const char *yaml,
                          const tn_tokenizer **v, void **self, tn_error *err)
{
    const tn_component *component;
    tni_yaml *node;
    TN_TRY(
        tni_registry_find(registry, TN_KIND_TOKENIZER, "bpe", &component, err));
    *v = tni_component_vtable(registry, component);
    const tn_option_table *table = &((const tn_component_head *)*v)->options;
    void *options = tni_arena_alloc(arena, table->size + 1u);
    TN_TRY(tni_config_parse(arena, "options", yaml, strlen(yaml), &node, err));
    TN_TRY(
        tni_options_fill(arena, table, node, "bpe", NULL, ".", options, err));
    return (*v)->open(host, options, self, err);
}

int main(int argc, char **argv)
{
    tni_arena *arena = tni_arena_create();
    tn_host *host = tni_host_create();
    tni_registry *registry = tni_registry_create(host);
    const tn_tokenizer *v;
    void *self;
    tn_error err = {0};
    if (argc != 2)
        die("options are expected, {path: FILE}");
    if (open_bpe(arena, registry, host, argv[1], &v, &self, &err) != TN_OK)
        die(err.message);
    loop(v, self);
    v->close(self);
    tni_registry_destroy(registry);
    tni_host_destroy(host);
    tni_arena_destroy(arena);
    return 0;
}
