/*
 * op_residual.c - a map and the norm of its rows by one kernel, forward, and
 * the norm's gradient and the map that adds it, backward (emit_norm.c).
 */
#include "emit_launch.h"

enum { MOST_OF_A_THREAD = 32, NONE = TN_MAP_MAX_INPUTS };

/* The operand that is `what`; NONE where there is none or another shares its
 * bytes. */
static uint32_t link_of(const tn_operand *all, uint32_t count,
                        const tn_operand *what)
{
    uint32_t link = NONE;
    for (uint32_t i = 0; i < count; i++) {
        if (gpu_is_apart(&all[i], what))
            continue;
        if (link != NONE || !gpu_is_same(&all[i], what))
            return NONE;
        link = i;
    }
    return link;
}

/* Threads of a row: as few as can hold it, more where rows are few. */
static uint32_t lanes_of(int64_t rows, int64_t columns)
{
    const int64_t each = rows < 2048 ? 4 : 16;
    uint32_t lanes = 32;
    while (lanes < GPU_BLOCK && lanes * each < columns)
        lanes *= 2;
    return lanes;
}

static int64_t columns_of(const tn_operand *x)
{
    return x->shape[x->rank - 1];
}

static uint32_t has_room(const tn_plan_node *map, uint32_t more,
                         const tn_operand *x)
{
    return gpu_elements(x) && columns_of(x) <= MOST_OF_A_THREAD * GPU_BLOCK &&
           map->in_count + map->out_count + more <=
               TN_MAP_MAX_INPUTS + TN_MAP_MAX_OUTPUTS;
}

static void share_out(gpu_norm_spec *s, const tn_operand *x,
                      const gpu_addresses *a)
{
    s->columns = columns_of(x);
    s->rows = gpu_elements(x) / s->columns;
    s->lanes = lanes_of(s->rows, s->columns);
    s->dtype = x->dtype;
    gpu_fold(&s->map);
    s->map.vector = s->columns % 4 ? 1 : gpu_vector_of(&s->map, a);
    for (uint32_t i = s->map.in_count + s->map.out_count; i < a->count; i++)
        if (a->at[i] % 16)
            s->map.vector = 1;
}

static gpu_grid grid_of(const gpu_norm_spec *s)
{
    return (gpu_grid){gpu_ceil(s->rows, GPU_BLOCK / s->lanes), 1, 1, GPU_BLOCK,
                      0};
}

/* ---- forward ---- */

/* The norm's result may lie on what the map reads for the last time, element on
 * element; its statistics may not. */
uint32_t gpu_map_norm_fits(const gpu_compiler *c, const gpu_pair *p)
{
    const tn_plan_node *map = p->first, *norm = p->second;
    (void)c;
    if (link_of(map->out, map->out_count, &norm->in[0]) == NONE ||
        !has_room(map, 3, &norm->in[0]))
        return 0;
    for (uint32_t i = 0; i < map->in_count; i++)
        if (!gpu_is_apart(&map->in[i], &norm->out[1]) ||
            !(gpu_is_apart(&map->in[i], &norm->out[0]) ||
              gpu_is_same(&map->in[i], &norm->out[0])))
            return 0;
    return 1;
}

tn_status gpu_compile_map_norm(gpu_compiler *c, const gpu_pair *p,
                               tn_error *err)
{
    const tn_plan_node *map = p->first, *norm = p->second;
    const tn_norm_attr *attr = norm->attr;
    gpu_addresses a;
    gpu_norm_spec s = {.map = gpu_map_of(c, map, &a), .eps = attr->eps};
    s.link = link_of(map->out, map->out_count, &norm->in[0]);
    s.keep = (1u << map->out_count) - 1u;
    if (!gpu_is_read_later(c, p, &map->out[s.link]))
        s.keep &= ~(1u << s.link);
    a.at[a.count++] = gpu_at(c, &norm->in[1]);
    a.at[a.count++] = gpu_at(c, &norm->out[0]);
    a.at[a.count++] = gpu_at(c, &norm->out[1]);
    share_out(&s, &norm->in[0], &a);
    return gpu_launch_text(c, gpu_emit_map_norm(&s), &a, sizeof a.at,
                           grid_of(&s), err);
}

/* ---- backward ---- */

/* What the map makes may lie on dy or x, which nobody reads again. */
uint32_t gpu_norm_bwd_map_fits(const gpu_compiler *c, const gpu_pair *p)
{
    const tn_plan_node *bwd = p->first, *map = p->second;
    (void)c;
    if (link_of(map->in, map->in_count, &bwd->out[0]) == NONE ||
        !has_room(map, 4, &bwd->in[1]))
        return 0;
    for (uint32_t i = 0; i < map->in_count; i++)
        if (!gpu_is_apart(&map->in[i], &bwd->out[1]))
            return 0;
    for (uint32_t k = 0; k < map->out_count; k++)
        for (uint32_t i = 0; i < bwd->in_count; i++)
            if (!gpu_is_apart(&map->out[k], &bwd->in[i]) &&
                !(i < 2 && gpu_is_same(&map->out[k], &bwd->in[i])))
                return 0;
    return 1;
}

tn_status gpu_compile_norm_bwd_map(gpu_compiler *c, const gpu_pair *p,
                                   tn_error *err)
{
    const tn_plan_node *bwd = p->first, *map = p->second;
    gpu_addresses a;
    gpu_norm_spec s = {.map = gpu_map_of(c, map, &a)};
    s.link = link_of(map->in, map->in_count, &bwd->out[0]);
    s.keep = gpu_is_read_later(c, p, &bwd->out[0]);
    for (uint32_t i = 0; i < 4; i++)
        a.at[a.count++] = gpu_at(c, &bwd->in[i]);
    share_out(&s, &bwd->in[1], &a);
    TN_TRY(gpu_sum_norm_weight(c, bwd, err)); /* while dy and x are there */
    return gpu_launch_text(c, gpu_emit_norm_bwd_map(&s), &a, sizeof a.at,
                           grid_of(&s), err);
}
