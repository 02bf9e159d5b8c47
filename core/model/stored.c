/*
 * stored.c - weights as files hold them.
 *
 * A weight whose name has a * is a stack: shape[0] weights of one shape, one
 * after the other, which a graph sees as one tensor and a file as many.
 *
 *     mlp.experts.*.up_proj.weight (2, 8, 4)  is
 *     mlp.experts.0.up_proj.weight (8, 4),  mlp.experts.1.up_proj.weight (8, 4)
 *
 * Patterns of optimizer groups see the name with the *: a stack is not divided.
 */
#include "model/stack.h"

int tni_weight_is_stack(const tni_weight *w)
{
    return strchr(w->name, '*') != NULL;
}

static const char *numbered(tni_arena *arena, const char *name, int64_t number)
{
    const char *star = name ? strchr(name, '*') : NULL;
    if (!star)
        return name;
    return tni_arena_printf(arena, "%.*s%lld%s", (int)(star - name), name,
                            (long long)number, star + 1);
}

static tni_weight part_of(tni_arena *arena, const tni_weight *w, int64_t i)
{
    tni_weight part = *w;
    part.name = numbered(arena, w->name, i);
    part.theirs = numbered(arena, w->theirs, i);
    part.rank = w->rank - 1;
    memmove(part.shape, w->shape + 1, part.rank * sizeof part.shape[0]);
    part.elements = w->elements / w->shape[0];
    part.offset = w->offset + i * part.elements;
    part.copy_offset = w->copy_offset +
                       tn_dtype_span(w->block_dtype ? w->block_dtype : TN_BF16,
                                     i * part.elements);
    return part;
}

const tni_weight *tni_model_stored(const tni_model *model, tni_arena *arena,
                                   uint32_t *count)
{
    tni_weight *stored = NULL;
    size_t made = 0, capacity = 0;
    for (size_t i = 0; i < model->weight_count; i++) {
        const tni_weight *w = &model->weights[i];
        const int stack = tni_weight_is_stack(w);
        for (int64_t part = 0; part < (stack ? w->shape[0] : 1); part++)
            *TNI_PUSH(arena, stored, made, capacity) =
                stack ? part_of(arena, w, part) : *w;
    }
    *count = (uint32_t)made;
    return stored;
}
