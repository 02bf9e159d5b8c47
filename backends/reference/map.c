/*
 * map.c - the interpreter of map programs, in double, and the ops that are
 * one formula per element.
 *
 *     r[i] = op_i(r[a], r[b], r[c])      for each instruction i, in order
 *     dropout: y = x / (1 - rate) where uniform(element) >= rate, else 0
 *
 * Meanings are map.def's to the letter.
 */
#include "reference.h"

#include <math.h>

#include <tenon/map_value.h>
#include <tenon/philox.h>

/* Both words of an rng tensor lie side by side, whatever shape it was given. */
static double uniform(const ref_tensor *rng, double stream, int64_t element)
{
    const int32_t *word = rng->data;
    return (double)tn_philox_uniform((uint32_t)word[0], (uint32_t)stream,
                                     (uint32_t)word[1], (uint64_t)element);
}

static double coordinate(int64_t element, uint32_t rank, const int64_t *shape,
                         uint32_t axis)
{
    for (uint32_t i = rank; i-- > axis + 1;)
        element /= shape[i];
    return (double)(element % shape[axis]);
}

/* Fields of operands that an instruction does not have may hold anything. */
static double operand(const double *r, uint8_t index, uint8_t defined)
{
    return index < defined ? r[index] : 0.0;
}

void ref_program_run(const ref_node *n, const tn_program *p, int64_t element,
                     uint32_t rank, const int64_t *shape, double *r)
{
    for (uint8_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction it = p->instruction[i];
        if (it.op == TN_MAP_INPUT)
            r[i] = ref_get(&n->in[it.a], element);
        else if (it.op == TN_MAP_CONST)
            r[i] = p->constant[it.a];
        else if (it.op == TN_MAP_INDEX)
            r[i] = coordinate(element, rank, shape, it.a);
        else if (it.op == TN_MAP_RANDOM)
            r[i] = uniform(&n->in[it.a], p->constant[it.b], element);
        else
            r[i] = tn_map_value(it.op, operand(r, it.a, i), operand(r, it.b, i),
                                operand(r, it.c, i));
    }
}

/* An output may lie on an input: element i is read whole before it is
 * written. */
void ref_map(const ref_node *n)
{
    const tn_map_attr *attr = n->plan->attr;
    const tn_program *p = &attr->program;
    const ref_tensor *y = n->out;
    double r[TN_MAP_MAX_INSTRUCTIONS];
    for (int64_t i = 0; i < y->count; i++) {
        ref_program_run(n, p, i, y->rank, y->shape, r);
        for (uint32_t o = 0; o < p->output_count; o++)
            ref_put(n, o, i, r[p->output[o]]);
    }
}

void ref_dropout(const ref_node *n)
{
    const tn_dropout_attr *attr = n->plan->attr;
    const double keep = 1.0 / (1.0 - attr->rate);
    for (int64_t i = 0; i < n->out->count; i++) {
        const double u = uniform(&n->in[1], attr->stream, i);
        ref_put(n, 0, i, u >= attr->rate ? keep * ref_get(&n->in[0], i) : 0.0);
    }
}
