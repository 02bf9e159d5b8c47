/*
 * arena.h - memory that is freed all at once.
 *
 * Everything the core builds (configs, graphs, plans) lives in an arena and
 * dies with it; nothing is freed one by one. Blocks grow by doubling. Running
 * out of memory aborts with a sentence: descriptions are small, and a program
 * that cannot hold them cannot run. Tensors never live here.
 */
#ifndef TENON_ARENA_H
#define TENON_ARENA_H

#include <tenon/base.h>

typedef struct tni_arena tni_arena;

tni_arena *tni_arena_create(void);
void tni_arena_destroy(tni_arena *arena); /* NULL is fine */

/* `bytes` of zeroed memory, aligned to 16, owned by the arena. */
void *tni_arena_alloc(tni_arena *arena, size_t bytes);
void *tni_arena_copy(tni_arena *arena, const void *from, size_t bytes);
char *tni_arena_strdup(tni_arena *arena, const char *text);
TN_PRINTF(2, 3)
__attribute__((nonnull(2))) char *tni_arena_printf(tni_arena *arena,
                                                   const char *format, ...);

/*
 * A growing array in an arena: `at` moves when it grows, old copies stay until
 * the arena dies.
 *     tni_node *nodes = NULL; size_t count = 0, capacity = 0;
 *     *TNI_PUSH(arena, nodes, count, capacity) = node;
 */
void *tni_arena_grow(tni_arena *arena, void *at, size_t count, size_t *capacity,
                     size_t element_bytes);
#define TNI_PUSH(arena, at, count, capacity)                                   \
    ((at) = tni_arena_grow((arena), (at), (count), &(capacity), sizeof *(at)), \
     &(at)[(count)++])

#endif
