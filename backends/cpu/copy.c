/*
 * copy.c - moving elements: COPY, CONCAT, ASSIGN and FILL.
 *
 * COPY walks its output in order. Where the input's last axis has stride 1 it
 * copies lines. Where another axis has, the copy is a transposition and goes
 * in squares of 16 by 16, so that each cache line that is touched is used
 * whole on both sides. Casts between F32, BF16 and I32 go element by element.
 *
 * CONCAT is a copy of each input to its part of the output.
 */
#include "kernels.h"
#include "quant.h"

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

/* Between I32 and itself nothing is cast, so a double holds all there is. */
static double load(const void *at, tn_dtype dtype)
{
    if (dtype == TN_F32)
        return (double)*(const float *)at;
    if (dtype == TN_BF16)
        return (double)f_of_bf16(*(const uint16_t *)at);
    return (double)*(const int32_t *)at;
}

static void store(void *at, tn_dtype dtype, double value)
{
    if (dtype == TN_F32)
        *(float *)at = (float)value;
    else if (dtype == TN_BF16)
        *(uint16_t *)at = bf16_of_f((float)value);
    else
        *(int32_t *)at = (int32_t)lrint(value);
}

static void cast_line(const strided_copy *k, char *to, const char *from,
                      int64_t stride, int64_t n)
{
    const int64_t from_bytes = cpu_bytes(k->from_dtype) * stride;
    const int64_t to_bytes = cpu_bytes(k->to_dtype);
    for (int64_t i = 0; i < n; i++, from += from_bytes, to += to_bytes)
        store(to, k->to_dtype, load(from, k->from_dtype));
}

static void copy_line(const strided_copy *k, char *to, const char *from,
                      int64_t stride, int64_t n)
{
    if (k->from_dtype != k->to_dtype)
        cast_line(k, to, from, stride, n);
    else if (stride == 1)
        memcpy(to, from, (size_t)(cpu_bytes(k->to_dtype) * n));
    else if (k->to_dtype == TN_BF16)
        for (int64_t i = 0; i < n; i++)
            memcpy(to + 2 * i, from + 2 * i * stride, 2);
    else
        for (int64_t i = 0; i < n; i++)
            memcpy(to + 4 * i, from + 4 * i * stride, 4);
}

/* Where a line is, on all axes but the last. */
typedef struct place {
    int64_t at[TN_MAX_RANK];
    int64_t from, to; /* in elements */
} place;

static void go_to(const strided_copy *k, int64_t line, place *p)
{
    p->from = p->to = 0;
    for (uint32_t i = k->rank - 1; i-- > 0;) {
        p->at[i] = line % k->shape[i];
        line /= k->shape[i];
        p->from += p->at[i] * k->stride[i];
        p->to += p->at[i] * k->to_stride[i];
    }
}

static void go_on(const strided_copy *k, place *p)
{
    for (uint32_t i = k->rank - 1; i-- > 0;) {
        p->from += k->stride[i];
        p->to += k->to_stride[i];
        if (++p->at[i] < k->shape[i])
            return;
        p->from -= p->at[i] * k->stride[i];
        p->to -= p->at[i] * k->to_stride[i];
        p->at[i] = 0;
    }
}

/* Lines of the output in order, counting over all axes but the last. */
static void run_lines(const void *argument, cpu_worker *w, int64_t task)
{
    const strided_copy *k = argument;
    const uint32_t last = k->rank - 1;
    const int64_t from_bytes = cpu_bytes(k->from_dtype);
    const int64_t to_bytes = cpu_bytes(k->to_dtype);
    const int64_t first = task * k->lines_per_task;
    const int64_t end = cpu_min(first + k->lines_per_task, k->lines);
    place p;
    (void)w;
    go_to(k, first, &p);
    for (int64_t line = first; line < end; line++, go_on(k, &p))
        copy_line(k, k->to + to_bytes * p.to, k->from + from_bytes * p.from,
                  k->stride[last], k->shape[last]);
}

/* of words of 4 bytes, and of 2 */
#define COPY_SQUARE(name, type)                                                \
    static void name(void *to_, int64_t to_row, const void *from_,             \
                     int64_t from_column, int64_t rows, int64_t columns)       \
    {                                                                          \
        type *to = to_;                                                        \
        const type *from = from_;                                              \
        for (int64_t r = 0; r < rows; r++)                                     \
            for (int64_t c = 0; c < columns; c++)                              \
                to[r * to_row + c] = from[r + c * from_column];                \
    }
COPY_SQUARE(copy_square, uint32_t)
COPY_SQUARE(copy_half_square, uint16_t)

/* A `line` here is 16 positions on the axis `across` and all of the last one,
 * for one position on all other axes. */
static void run_squares(const void *argument, cpu_worker *w, int64_t task)
{
    const strided_copy *k = argument;
    const uint32_t last = k->rank - 1, across = k->across;
    const int64_t bands = cpu_parts(k->shape[across], SQUARE);
    const int64_t end = cpu_min((task + 1) * k->lines_per_task, k->lines);
    const int64_t bytes = cpu_bytes(k->to_dtype);
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
            (bytes == 2 ? copy_half_square : copy_square)(
                k->to + bytes * (to_at + c), k->to_stride[across],
                k->from + bytes * (at + c * k->stride[last]), k->stride[last],
                rows, cpu_min(SQUARE, k->shape[last] - c));
    }
}

/* Axes that go on where the one before ends, on both sides, become one. */
static void merge_axes(const tn_operand *x, const tn_operand *y,
                       strided_copy *k)
{
    for (uint32_t i = 0; i < x->rank; i++) {
        if (x->shape[i] == 1)
            continue;
        const uint32_t last = k->rank - 1;
        if (k->rank && k->stride[last] == x->stride[i] * x->shape[i] &&
            k->to_stride[last] == y->stride[i] * x->shape[i])
            k->shape[last] *= x->shape[i];
        else
            k->shape[k->rank++] = x->shape[i];
        k->stride[k->rank - 1] = x->stride[i];
        k->to_stride[k->rank - 1] = y->stride[i];
    }
    /* a line is contiguous in y: one element of a part that is no wider */
    if (k->rank == 0 || k->to_stride[k->rank - 1] != 1) {
        k->shape[k->rank] = k->stride[k->rank] = k->to_stride[k->rank] = 1;
        k->rank++;
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
    k->to_stride[1] = k->to_stride[0];
    k->shape[0] /= TASK_ELEMENTS;
    k->stride[0] *= TASK_ELEMENTS;
    k->to_stride[0] *= TASK_ELEMENTS;
    k->rank = 2;
}

/* x to where `to` is, in a tensor with y's dtype and strides. */
static void emit_copy(cpu_compiler *c, const tn_operand *x, const tn_operand *y,
                      char *to)
{
    if (cpu_elements(x) == 0)
        return;
    strided_copy *k = CPU_ARGUMENT(c, strided_copy);
    k->from = cpu_at(c, x);
    k->to = to;
    k->from_dtype = x->dtype;
    k->to_dtype = y->dtype;
    merge_axes(x, y, k);
    k->across = find_across(k);
    const int squares = k->across != k->rank - 1;
    if (!squares)
        cut_single_line(k);
    const int64_t n = k->shape[k->rank - 1] * (squares ? SQUARE : 1);
    k->lines = 1;
    for (uint32_t i = 0; i + 1 < k->rank; i++)
        k->lines *= i == k->across && squares ? cpu_parts(k->shape[i], SQUARE)
                                              : k->shape[i];
    k->lines_per_task = cpu_share(k->lines, TASK_ELEMENTS / n);
    cpu_step(c, squares ? run_squares : run_lines, k,
             cpu_parts(k->lines, k->lines_per_task));
}

tn_status ISA(compile_copy)(cpu_compiler *c, const tn_plan_node *node,
                            tn_error *err)
{
    if (is_quant(&node->in[0]))
        return ISA(compile_quant_copy)(c, node, err);
    emit_copy(c, &node->in[0], &node->out[0], cpu_at(c, &node->out[0]));
    return TN_OK;
}

tn_status ISA(compile_concat)(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    const uint32_t axis = ((const tn_concat_attr *)node->attr)->axis;
    const tn_operand *y = &node->out[0];
    int64_t before = 0; /* on the axis */
    for (uint32_t i = 0; i < node->in_count; i++) {
        const tn_operand *x = &node->in[i];
        if (x->dtype != y->dtype)
            return cpu_refuse(node, err, "input %u differs in dtype", i);
        tn_operand part = *y;
        part.offset += cpu_bytes(y->dtype) * before * y->stride[axis];
        emit_copy(c, x, y, cpu_at(c, &part));
        before += x->shape[axis];
    }
    return TN_OK;
}

/* ---- assign and fill ---- */

typedef struct flat {
    const char *from; /* NULL: fill */
    char *to;
    int64_t elements, bytes; /* bytes of an element */
    uint32_t word;           /* what fill writes */
} flat;

static void run_flat(const void *argument, cpu_worker *w, int64_t task)
{
    const flat *f = argument;
    const int64_t from = task * TASK_ELEMENTS;
    const int64_t n = cpu_min(TASK_ELEMENTS, f->elements - from);
    char *to = f->to + f->bytes * from;
    (void)w;
    if (f->from)
        memcpy(to, f->from + f->bytes * from, (size_t)(f->bytes * n));
    else if (f->bytes == 2)
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)(void *)to)[i] = (uint16_t)f->word;
    else
        for (int64_t i = 0; i < n; i++)
            ((uint32_t *)(void *)to)[i] = f->word;
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
    f->bytes = cpu_bytes(node->in[0].dtype);
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
    f->bytes = cpu_bytes(node->out[0].dtype);
    if (node->out[0].dtype == TN_F32)
        memcpy(&f->word, &as_float, 4);
    else if (node->out[0].dtype == TN_BF16)
        f->word = bf16_of_f(as_float);
    else
        memcpy(&f->word, &as_integer, 4);
    cpu_step(c, run_flat, f, cpu_parts(f->elements, TASK_ELEMENTS));
    return TN_OK;
}
