/*
 * graph.c - work as a graph: what is handed to a captured stream becomes nodes,
 * and each follows the nodes that the stream had come to.
 *
 * A launch carries the nodes out one by one, in an order that the edges allow
 * and simt_set_order chooses: where an edge is missing, another order gives
 * other bits.
 */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

typedef struct node {
    simt_work work;
    uint32_t *before; /* nodes that it follows */
    uint32_t before_count;
} node;

struct CUgraph_st {
    node *nodes;
    uint32_t count, room;
};

struct CUgraphExec_st {
    simt_work *work;
    uint32_t count;
    uint32_t *first_after;  /* (count + 1), into `after` */
    uint32_t *after;        /* nodes that follow each */
    uint32_t *before_count; /* of each */
    uint32_t *left, *ready; /* room for a launch */
};

/* ---- capture ---- */

CUresult simt_join_tips(uint32_t **tips, uint32_t *count, const uint32_t *more,
                        uint32_t more_count)
{
    uint32_t *joined =
        realloc(*tips, (*count + more_count + 1) * sizeof **tips);
    if (!joined)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *tips = joined;
    for (uint32_t i = 0; i < more_count; i++) {
        uint32_t k = 0;
        while (k < *count && joined[k] != more[i])
            k++;
        if (k == *count)
            joined[(*count)++] = more[i];
    }
    return CUDA_SUCCESS;
}

CUresult simt_capture(CUstream stream, const simt_work *work)
{
    CUgraph g = stream->capture;
    if (g->count == g->room) {
        g->room = g->room ? 2 * g->room : 64;
        node *nodes = realloc(g->nodes, g->room * sizeof *nodes);
        if (!nodes)
            return CUDA_ERROR_OUT_OF_MEMORY;
        g->nodes = nodes;
    }
    node *n = &g->nodes[g->count];
    *n = (node){.work = *work};
    CUresult result = simt_join_tips(&n->before, &n->before_count, stream->tips,
                                     stream->tip_count);
    stream->tip_count = 0;
    const uint32_t number = g->count++;
    return result
               ? result
               : simt_join_tips(&stream->tips, &stream->tip_count, &number, 1);
}

CUresult cu_StreamBeginCapture(CUstream stream, int mode)
{
    const CUresult ready = simt_ready();
    (void)mode;
    if (ready)
        return ready;
    if (stream->capture)
        return INVALID_VALUE;
    stream->capture = calloc(1, sizeof *stream->capture);
    stream->is_origin = 1;
    stream->tip_count = 0;
    return stream->capture ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Whether every stream that joined has been waited for. */
static int is_joined(CUgraph g, CUstream origin)
{
    unsigned char *reached = calloc(g->count + 1, 1);
    if (!reached)
        return 0;
    for (uint32_t i = 0; i < origin->tip_count; i++)
        reached[origin->tips[i]] = 1;
    for (uint32_t i = g->count; i-- > 0;)
        for (uint32_t k = 0; reached[i] && k < g->nodes[i].before_count; k++)
            reached[g->nodes[i].before[k]] = 1;
    const int joined = simt_is_joined(g, reached);
    free(reached);
    return joined;
}

CUresult cu_StreamEndCapture(CUstream stream, CUgraph *graph)
{
    CUgraph g = stream->capture;
    if (!g || !stream->is_origin)
        return CAPTURE_UNMATCHED;
    const int joined = is_joined(g, stream);
    simt_forget_capture(g);
    *graph = joined ? g : NULL;
    if (joined)
        return simt_ready();
    cu_GraphDestroy(g);
    return CAPTURE_UNJOINED;
}

CUresult cu_GraphDestroy(CUgraph graph)
{
    for (uint32_t i = 0; i < graph->count; i++) {
        simt_drop(&graph->nodes[i].work);
        free(graph->nodes[i].before);
    }
    free(graph->nodes);
    free(graph);
    return CUDA_SUCCESS;
}

/* ---- instances ---- */

/* A copy that owns what it holds: the graph may go. */
static CUresult copy_work(simt_work *to, const simt_work *from)
{
    *to = *from;
    to->copy.kept = NULL;
    if (from->kind != SIMT_KERNEL)
        return CUDA_SUCCESS;
    const size_t bytes = from->kernel.function->argument_bytes;
    to->kernel.argument = malloc(bytes);
    if (!to->kernel.argument)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(to->kernel.argument, from->kernel.argument, bytes);
    return CUDA_SUCCESS;
}

static void turn_edges(CUgraphExec e, const struct CUgraph_st *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        e->before_count[i] = g->nodes[i].before_count;
        for (uint32_t k = 0; k < g->nodes[i].before_count; k++)
            e->first_after[g->nodes[i].before[k] + 1]++;
    }
    for (uint32_t i = 0; i < g->count; i++) {
        e->first_after[i + 1] += e->first_after[i];
        e->left[i] = e->first_after[i];
    }
    for (uint32_t i = 0; i < g->count; i++)
        for (uint32_t k = 0; k < g->nodes[i].before_count; k++)
            e->after[e->left[g->nodes[i].before[k]]++] = i;
}

CUresult cu_GraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph,
                                      unsigned long long flags)
{
    const CUresult ready = simt_ready();
    const uint32_t n = graph->count;
    uint32_t edges = 0;
    if (ready || flags)
        return ready ? ready : INVALID_VALUE;
    for (uint32_t i = 0; i < n; i++)
        edges += graph->nodes[i].before_count;
    CUgraphExec e = calloc(1, sizeof *e);
    if (!e)
        return CUDA_ERROR_OUT_OF_MEMORY;
    e->work = calloc(n + 1, sizeof *e->work);
    e->first_after = calloc(n + 1, sizeof *e->first_after);
    e->after = calloc(edges + 1, sizeof *e->after);
    e->before_count = calloc(n + 1, sizeof *e->before_count);
    e->left = calloc(n + 1, sizeof *e->left);
    e->ready = calloc(n + 1, sizeof *e->ready);
    if (!e->work || !e->first_after || !e->after || !e->before_count ||
        !e->left || !e->ready) {
        cu_GraphExecDestroy(e);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    for (e->count = 0; e->count < n; e->count++)
        if (copy_work(&e->work[e->count], &graph->nodes[e->count].work)) {
            cu_GraphExecDestroy(e);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    turn_edges(e, graph);
    *exec = e;
    return CUDA_SUCCESS;
}

CUresult cu_GraphExecDestroy(CUgraphExec exec)
{
    simt_drain_all();
    for (uint32_t i = 0; i < exec->count; i++)
        simt_drop(&exec->work[i]);
    free(exec->work);
    free(exec->first_after);
    free(exec->after);
    free(exec->before_count);
    free(exec->left);
    free(exec->ready);
    free(exec);
    return CUDA_SUCCESS;
}

/* ---- launches ---- */

/* `ready` is kept in order of becoming ready: the first order takes from its
 * front, which is the order of capture where edges come from one stream. */
CUresult simt_run_graph(CUgraphExec e)
{
    uint32_t ready = 0;
    CUresult result = CUDA_SUCCESS;
    memcpy(e->left, e->before_count, e->count * sizeof *e->left);
    for (uint32_t i = 0; i < e->count; i++)
        if (!e->left[i])
            e->ready[ready++] = i;
    while (ready && !result) {
        const uint32_t at = simt_pick(ready), i = e->ready[at];
        memmove(&e->ready[at], &e->ready[at + 1],
                (--ready - at) * sizeof *e->ready);
        result = simt_do(&e->work[i]);
        for (uint32_t k = e->first_after[i]; k < e->first_after[i + 1]; k++)
            if (--e->left[e->after[k]] == 0)
                e->ready[ready++] = e->after[k];
    }
    return result;
}

CUresult cu_GraphLaunch(CUgraphExec exec, CUstream stream)
{
    const CUresult ready = simt_ready();
    const simt_work w = {.kind = SIMT_GRAPH, .graph = exec};
    return ready ? ready : simt_hand_in(stream, &w);
}
