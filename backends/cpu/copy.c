/*
 * copy.c - moving elements: COPY, CONCAT, ASSIGN and FILL.
 *
 * COPY walks its output in order. Where the input's last axis has stride 1 it
 * copies lines. Where another axis has, the copy is a transposition and goes
 * in squares of 16 by 16, so that each cache line that is touched is used
 * whole on both sides. Casts between F32 and I32 go element by element.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { TASK_ELEMENTS = 16 * 1024, SQUARE = 16 };

typedef struct strided_copy {
    const char *from;
    char *to;
    tn_dtype from_dtype, to_dtype;
    uint32_t rank; /* of the merged shape, at least 1 */
    int64_t shape[TN_MAX_RANK], stride[TN_MAX_RANK];
    int64_t to_stride[TN_MAX_RANK];
    uint32_t across; /* the axis with stride 1, = rank - 1 for lines */
    int64_t lines, lines_per_task;
} strided_copy;

/* ---- copy ---- */

static void cast_line(const strided_copy *k, char *to, const char *from,
                      int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const char *x = from + 4 * i * stride;
        if (k->from_dtype == TN_F32) {
            const int32_t value =
                (int32_t)lrintf(*(const float *)(const void *)x);
            memcpy(to + 4 * i, &value, 4);
        } else {
            const float value = (float)*(const int32_t *)(const void *)x;
            memcpy(to + 4 * i, &value, 4);
        }
    }
}

static void copy_line(const strided_copy *k, char *to, const char *from,
                      int64_t stride, int64_t n)
{
    if (k->from_dtype != k->to_dtype)
        cast_line(k, to, from, stride, n);
    else if (stride == 1)
        memcpy(to, from, 4 * (size_t)n);
    else
        for (int64_t i = 0; i < n; i++)
            memcpy(to + 4 * i, from + 4 * i * stride, 4);
}

/* Line number `line` of the output, counting over all axes but the last. */
static void run_lines(const void *argument, cpu_worker *w, int64_t task)
{
    const strided_copy *k = argument;
    const uint32_t last = k->rank - 1;
    const int64_t n = k->shape[last];
    const int64_t end = cpu_min((task + 1) * k->lines_per_task, k->lines);
    (void)w;
    for (int64_t line = task * k->lines_per_task; line < end; line++) {
        int64_t rest = line, offset = 0;
        for (uint32_t i = last; i-- > 0;) {
            offset += rest % k->shape[i] * k->stride[i];
            rest /= k->shape[i];
        }
        copy_line(k, k->to + 4 * line * n, k->from + 4 * offset,
                  k->stride[last], n);
    }
}

static void copy_square(uint32_t *to, int64_t to_row, const uint32_t *from,
                        int64_t from_column, int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[r * to_row + c] = from[r + c * from_column];
}

/* A `line` here is 16 positions on the axis `across` and all of the last one,
 * for one position on all other axes. */
static void run_squares(const void *argument, cpu_worker *w, int64_t task)
{
    const strided_copy *k = argument;
    const uint32_t last = k->rank - 1, across = k->across;
    const int64_t bands = cpu_parts(k->shape[across], SQUARE);
    const int64_t end = cpu_min((task + 1) * k->lines_per_task, k->lines);
    const uint32_t *from = (const uint32_t *)(const void *)k->from;
    uint32_t *to = (uint32_t *)(void *)k->to;
    (void)w;
    for (int64_t line = task * k->lines_per_task; line < end; line++) {
        const int64_t r = line % bands * SQUARE;
        int64_t rest = line / bands, at = r, to_at = r * k->to_stride[across];
        for (uint32_t i = last; i-- > 0;) {
            if (i == across)
                continue;
            at += rest % k->shape[i] * k->stride[i];
            to_at += rest % k->shape[i] * k->to_stride[i];
            rest /= k->shape[i];
        }
        const int64_t rows = cpu_min(SQUARE, k->shape[across] - r);
        for (int64_t c = 0; c < k->shape[last]; c += SQUARE)
            copy_square(to + to_at + c, k->to_stride[across],
                        from + at + c * k->stride[last], k->stride[last], rows,
                        cpu_min(SQUARE, k->shape[last] - c));
    }
}

static void merge_axes(const tn_operand *x, strided_copy *k)
{
    for (uint32_t i = 0; i < x->rank; i++) {
        if (x->shape[i] == 1)
            continue;
        const uint32_t last = k->rank - 1;
        if (k->rank && k->stride[last] == x->stride[i] * x->shape[i]) {
            k->shape[last] *= x->shape[i];
            k->stride[last] = x->stride[i];
        } else {
            k->shape[k->rank] = x->shape[i];
            k->stride[k->rank++] = x->stride[i];
        }
    }
    if (k->rank == 0) {
        k->shape[0] = k->stride[0] = 1;
        k->rank = 1;
    }
    int64_t stride = 1;
    for (uint32_t i = k->rank; i-- > 0;) {
        k->to_stride[i] = stride;
        stride *= k->shape[i];
    }
}

static uint32_t find_across(const strided_copy *k)
{
    const uint32_t last = k->rank - 1;
    if (k->stride[last] <= 1 || k->from_dtype != k->to_dtype)
        return last;
    for (uint32_t i = 0; i < last; i++)
        if (k->stride[i] == 1)
            return i;
    return last;
}

/* A dense copy is one long line: cut it. */
static void cut_single_line(strided_copy *k)
{
    if (k->rank != 1 || k->shape[0] < 2 * TASK_ELEMENTS ||
        k->shape[0] % TASK_ELEMENTS != 0)
        return;
    k->shape[1] = TASK_ELEMENTS;
    k->stride[1] = k->stride[0];
    k->shape[0] /= TASK_ELEMENTS;
    k->stride[0] *= TASK_ELEMENTS;
    k->rank = 2;
}

tn_status ISA(compile_copy)(cpu_compiler *c, const tn_plan_node *node,
                            tn_error *err)
{
    (void)err;
    const tn_operand *x = &node->in[0];
    if (cpu_elements(x) == 0)
        return TN_OK;
    strided_copy *k = CPU_ARGUMENT(c, strided_copy);
    k->from = cpu_at(c, x);
    k->to = cpu_at(c, &node->out[0]);
    k->from_dtype = x->dtype;
    k->to_dtype = node->out[0].dtype;
    merge_axes(x, k);
    k->across = find_across(k);
    const int squares = k->across != k->rank - 1;
    if (!squares)
        cut_single_line(k);
    const int64_t n = k->shape[k->rank - 1] * (squares ? SQUARE : 1);
    k->lines = 1;
    for (uint32_t i = 0; i + 1 < k->rank; i++)
        k->lines *= i == k->across && squares ? cpu_parts(k->shape[i], SQUARE)
                                              : k->shape[i];
    k->lines_per_task = cpu_max(1, TASK_ELEMENTS / n);
    cpu_step(c, squares ? run_squares : run_lines, k,
             cpu_parts(k->lines, k->lines_per_task));
    return TN_OK;
}

/* ---- concat: for each outer position a piece of every input ---- */

typedef struct piece {
    const char *from;
    char *to;
    int64_t outer;    /* how many pieces */
    int64_t elements; /* of one */
    int64_t to_pitch;
    int64_t per_task;
} piece;

static void run_piece(const void *argument, cpu_worker *w, int64_t task)
{
    const piece *p = argument;
    const int64_t end = cpu_min((task + 1) * p->per_task, p->outer);
    (void)w;
    for (int64_t i = task * p->per_task; i < end; i++)
        memcpy(p->to + 4 * i * p->to_pitch, p->from + 4 * i * p->elements,
               4 * (size_t)p->elements);
}

tn_status ISA(compile_concat)(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    const uint32_t axis = ((const tn_concat_attr *)node->attr)->axis;
    const tn_operand *out = &node->out[0];
    char *to = cpu_at(c, out);
    for (uint32_t i = 0; i < node->in_count; i++) {
        const tn_operand *x = &node->in[i];
        if (x->dtype != out->dtype)
            return cpu_refuse(node, err, "input %u differs in dtype", i);
        piece *p = CPU_ARGUMENT(c, piece);
        p->from = cpu_at(c, x);
        p->to = to;
        p->outer = cpu_product(x, 0, axis);
        p->elements = cpu_product(x, axis, x->rank);
        p->to_pitch = cpu_product(out, axis, out->rank);
        p->per_task = cpu_max(1, TASK_ELEMENTS / cpu_max(1, p->elements));
        if (p->elements)
            cpu_step(c, run_piece, p, cpu_parts(p->outer, p->per_task));
        to += 4 * p->elements;
    }
    return TN_OK;
}

/* ---- assign and fill ---- */

typedef struct flat {
    const char *from; /* NULL: fill */
    char *to;
    int64_t elements;
    uint32_t word; /* what fill writes */
} flat;

static void run_flat(const void *argument, cpu_worker *w, int64_t task)
{
    const flat *f = argument;
    const int64_t from = task * TASK_ELEMENTS;
    const int64_t n = cpu_min(TASK_ELEMENTS, f->elements - from);
    uint32_t *to = (uint32_t *)(void *)(f->to + 4 * from);
    (void)w;
    if (f->from)
        memcpy(to, f->from + 4 * from, 4 * (size_t)n);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = f->word;
}

tn_status ISA(compile_assign)(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    if (node->in[0].dtype != node->in[1].dtype)
        return cpu_refuse(node, err, "target is %s and value is %s",
                          tn_dtype_name(node->in[0].dtype),
                          tn_dtype_name(node->in[1].dtype));
    flat *f = CPU_ARGUMENT(c, flat);
    f->to = cpu_at(c, &node->in[0]);
    f->from = cpu_at(c, &node->in[1]);
    f->elements = cpu_elements(&node->in[0]);
    cpu_step(c, run_flat, f, cpu_parts(f->elements, TASK_ELEMENTS));
    return TN_OK;
}

tn_status ISA(compile_fill)(cpu_compiler *c, const tn_plan_node *node,
                            tn_error *err)
{
    (void)err;
    const tn_fill_attr *attr = node->attr;
    const float as_float = (float)attr->value;
    const int32_t as_integer = (int32_t)attr->value;
    flat *f = CPU_ARGUMENT(c, flat);
    f->to = cpu_at(c, &node->out[0]);
    f->elements = cpu_elements(&node->out[0]);
    if (node->out[0].dtype == TN_F32)
        memcpy(&f->word, &as_float, 4);
    else
        memcpy(&f->word, &as_integer, 4);
    cpu_step(c, run_flat, f, cpu_parts(f->elements, TASK_ELEMENTS));
    return TN_OK;
}
