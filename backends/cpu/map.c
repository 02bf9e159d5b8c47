/*
 * map.c - element-wise programs, cut into tasks of so many elements.
 */
#include "kernels.h"
#include "tile.h"

/* About 10 microseconds of a short program: far above what handing out a task
 * costs, and a slice of four streams that stays in L2. */
enum { TASK_ELEMENTS = 32 * TILE };

static void run_map(const void *argument, cpu_worker *w, int64_t task)
{
    const tile_program *p = argument;
    const int64_t end = cpu_min((task + 1) * TASK_ELEMENTS, p->elements);
    tile_state s;
    ISA(tile_begin)(&s, p, w->scratch, w);
    for (int64_t from = task * TASK_ELEMENTS; from < end; from += TILE)
        ISA(tile_run)(&s, from, cpu_min(TILE, end - from));
}

tn_status ISA(compile_map)(cpu_compiler *c, const tn_plan_node *node,
                           tn_error *err)
{
    const tn_map_attr *attr = node->attr;
    tile_program *p = CPU_ARGUMENT(c, tile_program);
    TN_TRY(ISA(tile_compile)(c, node, &attr->program, &node->out[0], node->out,
                             p, err));
    cpu_scratch(c, ISA(tile_scratch_bytes)(p));
    cpu_step_along(c, run_map, p, cpu_parts(p->elements, TASK_ELEMENTS));
    return TN_OK;
}
