/*
 * ops.c - the table of ops, and what is checked for all of them alike.
 */
#include "compiler.h"

const gpu_op gpu_ops[TN_OP_COUNT] = {
#define XX(op, in, out, name, fits) [TN_OP_##op] = {name, in, out, fits},
    GPU_OP_MAP(XX)
#undef XX
};

tn_status gpu_refuse(const tn_plan_node *node, tn_error *err,
                     const char *format, ...)
{
    char sentence[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return tn_fail(err, TN_EUNSUPPORTED, "%s:%d: %s: backend vulkan: %s",
                   node->file ? node->file : "(graph)", (int)node->line,
                   node->name, sentence);
}

typedef struct letter_row {
    char name;
    uint32_t dtypes; /* as bits */
    const char *text;
} letter_row;

static const letter_row letters[] = {
    {'f', 1u << TN_F32, "F32"},
    {'h', 1u << TN_F32 | 1u << TN_BF16 | 1u << TN_F16, "F32, BF16 or F16"},
    {'i', 1u << TN_I32, "I32"},
    {'x', 1u << TN_F32 | 1u << TN_BF16 | 1u << TN_F16 | 1u << TN_I32,
     "F32, BF16, F16 or I32"},
};

static const letter_row *letter_of(char name)
{
    const letter_row *l = letters;
    while (l->name != name && l->name != 'x')
        l++;
    return l;
}

static tn_status check(const tn_plan_node *node, const tn_operand *x,
                       const char *what, uint32_t index, char allowed,
                       tn_error *err)
{
    const letter_row *l = letter_of(allowed);
    if (!x->arena || (x->dtype < 32 && l->dtypes >> x->dtype & 1u))
        return TN_OK;
    return gpu_refuse(node, err, "%s %u is %s; it takes %s here", what, index,
                      tn_dtype_name(x->dtype), l->text);
}

static tn_status check_all(const tn_plan_node *node, const tn_operand *x,
                           uint32_t count, const char *letter, const char *what,
                           tn_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!*letter && x[i].arena)
            return gpu_refuse(node, err, "%s %u is not known here", what, i);
        TN_TRY(check(node, &x[i], what, i, *letter, err));
        if (*letter && letter[1] != '*')
            letter++;
    }
    return TN_OK;
}

tn_status gpu_check_dtypes(const gpu_op *op, const tn_plan_node *node,
                           tn_error *err)
{
    TN_TRY(check_all(node, node->in, node->in_count, op->in, "input", err));
    return check_all(node, node->out, node->out_count, op->out, "output", err);
}

uint32_t gpu_has_kernel(const tn_plan_node *node)
{
    const gpu_op *op = node->op < TN_OP_COUNT ? &gpu_ops[node->op] : NULL;
    return op && op->compile && gpu_check_dtypes(op, node, NULL) == TN_OK &&
           (!op->fits || op->fits(node));
}
