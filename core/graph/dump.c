/*
 * dump.c - one line per node, for people and for tests:
 *
 *     %7 = matmul(x F32 (12, 64), %5 F32 (64, 128)) F32 (12, 128)  layer 2 ...
 */
#include "graph/graph.h"

#include "graph/ops/ops.h"

static void print_value(const tni_graph *g, tn_tensor x, FILE *to)
{
    const tni_value *v = tni_value_of(g, x);
    if (x.id == 0) {
        fputs("none", to);
        return;
    }
    if (v->name)
        fprintf(to, "%s=", v->name);
    fprintf(to, "%%%u %s %s%s", x.id, tn_dtype_name(v->info.dtype),
            tni_shape_text(&v->info).text,
            tni_info_is_dense(&v->info) ? "" : " strided");
}

static void print_values(const tni_graph *g, const tn_tensor *x, uint32_t count,
                         FILE *to)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            fputs(", ", to);
        print_value(g, x[i], to);
    }
}

static void print_node(const tni_graph *g, const tni_node *node, FILE *to)
{
    static const char *const phase[] = {"forward", "backward", "recompute",
                                        "update"};
    print_values(g, node->out, node->out_count, to);
    fprintf(to, " = %s(", tni_op_label(node->desc, node->attr));
    print_values(g, node->in, node->in_count, to);
    fputc(')', to);
    if (node->accumulate)
        fprintf(to, " accumulate 0x%x", node->accumulate);
    if (node->layer)
        fprintf(to, " layer %u", node->layer);
    fprintf(to, " %s %s:%d\n", phase[node->phase % 4],
            node->here.file ? node->here.file : "?", node->here.line);
}

void tni_graph_dump(const tni_graph *g, FILE *to)
{
    for (size_t n = 0; n < g->node_count; n++)
        print_node(g, &g->nodes[n], to);
}
