/*
 * child.h - run code that is not trusted yet in a process of its own.
 *
 * A foreign plugin may crash, hang or exit in its first instruction. In a
 * child that is one sentence. Call it before threads are started: the child
 * has only the calling one.
 */
#ifndef TENON_CHILD_H
#define TENON_CHILD_H

#include "base/arena.h"

/* Write what there is to tell to `fd`. */
typedef void (*tni_child_body)(int fd, void *argument);

/*
 * Run body in a child and return all it wrote, ended by a zero. A child that
 * crashes, exits or is not done within `seconds`: *failure says so ("crashed
 * (signal 11)"), else it is NULL. The child's stdout is closed off.
 */
const char *tni_child_run(tni_arena *arena, tni_child_body body, void *argument,
                          uint32_t seconds, const char **failure);

#endif
