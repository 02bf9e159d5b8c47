/*
 * ops.c - the table of ops, and what is checked for all of them alike.
 */
#include "compiler.h"

#include <string.h>

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
    return tn_fail(err, TN_EUNSUPPORTED, "%s:%d: %s: backend cuda: %s",
                   node->file ? node->file : "(graph)", (int)node->line,
                   node->name, sentence);
}

/* Which letters of the table take a dtype. */
static const char *letters_of(tn_dtype dtype)
{
    switch (dtype) {
    case TN_F32:
        return "fhxwa";
    case TN_BF16:
        return "hxwa";
    case TN_I32:
        return "ixa";
    case TN_Q8_0:
    case TN_Q4_K:
        return "wa";
    default:
        return "";
    }
}

static const char *taken_by(char letter)
{
    return letter == 'f'   ? "F32"
           : letter == 'i' ? "I32"
           : letter == 'h' ? "F32 or BF16"
           : letter == 'w' ? "F32, BF16 or weights in blocks"
           : letter == 'a' ? "F32, BF16, I32 or weights in blocks"
                           : "F32, BF16 or I32";
}

static tn_status check_all(const tn_plan_node *node, const tn_operand *x,
                           uint32_t count, const char *letter, const char *what,
                           tn_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        if (x[i].arena && !strchr(letters_of(x[i].dtype), *letter))
            return gpu_refuse(node, err, "%s %u is %s; it takes %s here", what,
                              i, tn_dtype_name(x[i].dtype), taken_by(*letter));
        if (letter[0] && letter[1] != '*' && letter[1])
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

uint32_t gpu_has_kernel(const tn_device *d, const tn_plan_node *node)
{
    const gpu_op *op = node->op < TN_OP_COUNT ? &gpu_ops[node->op] : NULL;
    return op && op->compile && gpu_check_dtypes(op, node, NULL) == TN_OK &&
           (!op->fits || op->fits(d, node));
}
