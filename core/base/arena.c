/*
 * arena.c - blocks that double, handed out front to back.
 *
 * Under AddressSanitizer what has not been handed out is poisoned, the bytes
 * that round a size up to 16 included, so an overrun is caught where it is.
 */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

enum { FIRST_BLOCK_BYTES = 16 * 1024, ALIGN = 16 };

typedef struct block {
    struct block *next;
    size_t used, capacity;
    _Alignas(16) unsigned char bytes[];
} block;

struct tni_arena {
    block *newest;
};

static void *must(void *memory, size_t bytes)
{
    if (!memory) {
        fprintf(stderr, "tenon: out of memory (%zu bytes for a description)\n",
                bytes);
        abort();
    }
    return memory;
}

tni_arena *tni_arena_create(void)
{
    return must(calloc(1, sizeof(tni_arena)), sizeof(tni_arena));
}

void tni_arena_destroy(tni_arena *arena)
{
    if (!arena)
        return;
    for (block *b = arena->newest, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

static block *add_block(tni_arena *arena, size_t bytes)
{
    size_t capacity =
        arena->newest ? 2 * arena->newest->capacity : FIRST_BLOCK_BYTES;
    if (capacity < bytes)
        capacity = bytes;
    block *b = must(malloc(sizeof(block) + capacity), capacity);
    *b = (block){.next = arena->newest, .capacity = capacity};
    arena->newest = b;
    ASAN_POISON_MEMORY_REGION(b->bytes, capacity);
    return b;
}

void *tni_arena_alloc(tni_arena *arena, size_t bytes)
{
    const size_t rounded = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    block *b = arena->newest;
    if (!b || b->capacity - b->used < rounded)
        b = add_block(arena, rounded);
    void *memory = b->bytes + b->used;
    b->used += rounded;
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
    return memset(memory, 0, bytes);
}

void *tni_arena_copy(tni_arena *arena, const void *from, size_t bytes)
{
    void *to = tni_arena_alloc(arena, bytes);
    return bytes ? memcpy(to, from, bytes) : to;
}

char *tni_arena_strdup(tni_arena *arena, const char *text)
{
    return tni_arena_copy(arena, text, strlen(text) + 1);
}

char *tni_arena_printf(tni_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    char *text = tni_arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

void *tni_arena_grow(tni_arena *arena, void *at, size_t count, size_t *capacity,
                     size_t element_bytes)
{
    if (count < *capacity)
        return at;
    *capacity = *capacity ? 2 * *capacity : 8;
    void *grown = tni_arena_alloc(arena, *capacity * element_bytes);
    if (count)
        memcpy(grown, at, count * element_bytes);
    return grown;
}
