/*
 * test_view.c - chains of views against the same chain done by moving elements.
 */
#include "tn_test.h"

#include "graph/graph.h"

enum { MOST = 4096 };

static uint64_t seed = 7;

static uint32_t dice(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* What a tensor holds, row-major, when element i of the leaf is i. */
typedef struct content {
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
    int64_t count;
    int32_t at[MOST];
} content;

static int64_t elements(const content *c)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < c->rank; i++)
        n *= c->shape[i];
    return n;
}

/* Coordinates of row-major position n. */
static void locate(const content *c, int64_t n, int64_t *at)
{
    for (uint32_t i = c->rank; i-- > 0; n /= c->shape[i])
        at[i] = n % c->shape[i];
}

static int32_t pick(const content *c, const int64_t *at)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < c->rank; i++)
        n = n * c->shape[i] + at[i];
    return c->at[n];
}

/* ---- one step of a chain, in both worlds ---- */

static tn_tensor permute(tn_builder *b, tn_tensor x, content *c)
{
    const content from = *c;
    int64_t axis[TN_MAX_RANK];
    for (uint32_t i = 0; i < c->rank; i++)
        axis[i] = i;
    for (uint32_t i = c->rank; i-- > 1;) {
        const uint32_t j = dice(i + 1);
        const int64_t swap = axis[i];
        axis[i] = axis[j];
        axis[j] = swap;
    }
    for (uint32_t i = 0; i < c->rank; i++)
        c->shape[i] = from.shape[axis[i]];
    for (int64_t n = 0; n < c->count; n++) {
        int64_t to[TN_MAX_RANK], at[TN_MAX_RANK];
        locate(c, n, to);
        for (uint32_t i = 0; i < c->rank; i++)
            at[axis[i]] = to[i];
        c->at[n] = pick(&from, at);
    }
    return tn_shaped_view_at(b, x, TN_VIEW_PERMUTE, c->rank, axis, TN_HERE);
}

static tn_tensor slice(tn_builder *b, tn_tensor x, content *c)
{
    const content from = *c;
    const uint32_t axis = dice(c->rank);
    const int64_t start = dice((uint32_t)c->shape[axis]);
    const int64_t length =
        1 + dice((uint32_t)(from.shape[axis] - start)); /* to the end at most */
    const int from_end = dice(2) == 1;
    c->shape[axis] = length;
    c->count = elements(c);
    for (int64_t n = 0; n < c->count; n++) {
        int64_t at[TN_MAX_RANK];
        locate(c, n, at);
        at[axis] += start;
        c->at[n] = pick(&from, at);
    }
    return tn_slice(b, x, (int32_t)axis,
                    from_end ? start - from.shape[axis] : start, length);
}

static tn_tensor broadcast(tn_builder *b, tn_tensor x, content *c)
{
    const content from = *c;
    const uint32_t lead = c->rank < TN_MAX_RANK ? dice(2) : 0;
    c->rank += lead;
    for (uint32_t i = 0; i < c->rank; i++) {
        c->shape[i] = i < lead ? 1 : from.shape[i - lead];
        if (c->shape[i] == 1 && elements(c) < MOST / 8)
            c->shape[i] = 1 + dice(3);
    }
    c->count = elements(c);
    for (int64_t n = 0; n < c->count; n++) {
        int64_t to[TN_MAX_RANK], at[TN_MAX_RANK];
        locate(c, n, to);
        for (uint32_t i = 0; i < from.rank; i++)
            at[i] = from.shape[i] == 1 ? 0 : to[i + lead];
        c->at[n] = pick(&from, at);
    }
    return tn_shaped_view_at(b, x, TN_VIEW_BROADCAST, c->rank, c->shape,
                             TN_HERE);
}

/* Any factors of the count, in any order; one of them said as -1. */
static tn_tensor reshape(tn_builder *b, tn_tensor x, content *c)
{
    int64_t left = c->count, shape[TN_MAX_RANK];
    c->rank = 1 + dice(TN_MAX_RANK);
    for (uint32_t i = 0; i < c->rank; i++) {
        int64_t factor = 1;
        if (i + 1 == c->rank)
            factor = left;
        else
            for (int64_t f = 2; f <= left && f < 12; f++)
                if (left % f == 0 && dice(2))
                    factor = f;
        shape[i] = c->shape[i] = factor;
        left /= factor;
    }
    if (dice(2))
        shape[dice(c->rank)] = -1;
    return tn_shaped_view_at(b, x, TN_VIEW_RESHAPE, c->rank, shape, TN_HERE);
}

/* ---- comparing ---- */

/* What the storage of v holds: the leaf counts up; a copy holds its input. */
static void fetch(const tni_graph *g, tn_tensor x, content *c)
{
    const tni_value *v = tni_value_of(g, x);
    const tni_node *maker = &g->nodes[g->values[v->storage].node];
    static content below[8];
    static int depth;
    content *storage = &below[depth];
    if (maker->desc->number == TN_OP_COPY) {
        assert_true(depth < 7);
        depth++;
        fetch(g, maker->in[0], storage);
        depth--;
    } else {
        assert_int_equal(maker->desc->tier, TN_TIER_LEAF);
        for (int32_t i = 0; i < MOST; i++)
            storage->at[i] = i;
    }
    const content stored = *storage;
    c->rank = v->info.rank;
    memcpy(c->shape, v->info.shape, sizeof c->shape);
    c->count = elements(c);
    for (int64_t n = 0; n < c->count; n++) {
        int64_t at[TN_MAX_RANK], where = v->offset;
        locate(c, n, at);
        for (uint32_t i = 0; i < c->rank; i++)
            where += at[i] * v->info.stride[i];
        c->at[n] = stored.at[where];
    }
}

static void chains_of_views_see_the_right_elements(void **state)
{
    (void)state;
    static tn_tensor (*const step[])(tn_builder *, tn_tensor, content *) = {
        permute, slice, broadcast, reshape};
    static content want, got;
    int views_only = 0;
    for (int round = 0; round < 500; round++) {
        const int64_t shape[] = {1 + dice(4), 1 + dice(6), 1 + dice(5)};
        tni_graph *g = tni_graph_create(TN_F32);
        tn_builder *b = &g->builder;
        tn_tensor x = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_F32,
                                     3, shape, "x");
        want.rank = 3;
        memcpy(want.shape, shape, sizeof shape);
        want.count = elements(&want);
        for (int32_t i = 0; i < MOST; i++)
            want.at[i] = i;
        for (int k = 0; k < 6; k++)
            x = step[dice(4)](b, x, &want);
        tn_error err = TN_ERROR_NONE;
        tn_assert_ok_err(tni_graph_status(g, &err), err);
        tn_assert_ok_err(tni_graph_verify(g, &err), err);
        fetch(g, x, &got);
        views_only += tni_value_of(g, x)->storage == 1;
        assert_int_equal(got.rank, want.rank);
        assert_memory_equal(got.shape, want.shape,
                            want.rank * sizeof want.shape[0]);
        assert_memory_equal(got.at, want.at,
                            (size_t)want.count * sizeof want.at[0]);
        tni_graph_destroy(g);
    }
    assert_true(views_only > 100); /* and not because everything was copied */
}

/* (2, 3, 4) permuted to (3, 2, 4): joining the first two needs a copy, joining
 * none or splitting the last does not. */
static void reshape_copies_only_where_no_strides_can_say_it(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3, 4};
    tni_graph *g = tni_graph_create(TN_F32);
    tn_builder *b = &g->builder;
    const tn_tensor x = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0,
                                       TN_F32, 3, shape, "x");
    const tn_tensor turned = tn_permute(b, x, 1, 0, 2);
    const tn_tensor split = tn_reshape(b, turned, 3, 2, 2, 2);
    const tn_tensor joined = tn_reshape(b, turned, 6, 4);
    const tn_tensor back = tn_reshape(b, tn_permute(b, turned, 1, 0, 2), 24);
    assert_int_equal(tni_value_of(g, split)->storage, x.id);
    assert_int_equal(tni_value_of(g, back)->storage, x.id);
    assert_int_not_equal(tni_value_of(g, joined)->storage, x.id);
    assert_int_equal(g->nodes[tni_value_of(g, joined)->node - 1].desc->number,
                     TN_OP_COPY);
    assert_int_equal(tni_value_of(g, split)->info.stride[0], 4);
    assert_int_equal(tni_value_of(g, split)->info.stride[1], 12);
    tni_graph_destroy(g);
}

static void effects_and_stopped_gradients_lie_on_their_input(void **state)
{
    (void)state;
    const int64_t shape[] = {4, 6}, half[] = {2, 6};
    tni_graph *g = tni_graph_create(TN_F32);
    tn_builder *b = &g->builder;
    const tn_tensor p = tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, 512,
                                       TN_F32, 2, shape, "p");
    const tn_tensor x =
        tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_F32, 2, half, "x");
    const tn_tensor stopped = tn_stop_gradient(b, tn_slice(b, p, 0, 2, 2));
    const tn_tensor after = tn_assign(b, stopped, x);
    tn_assert_ok(tni_graph_status(g, NULL));
    assert_int_equal(tni_value_of(g, stopped)->storage, p.id);
    assert_int_equal(tni_value_of(g, stopped)->offset, 12);
    assert_int_equal(tni_value_of(g, after)->storage, p.id);
    assert_int_equal(tni_value_of(g, after)->offset, 12);
    assert_int_not_equal(after.id, stopped.id);
    tni_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_copies_only_where_no_strides_can_say_it),
        cmocka_unit_test(effects_and_stopped_gradients_lie_on_their_input),
        cmocka_unit_test(chains_of_views_see_the_right_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
