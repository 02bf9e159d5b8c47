/*
 * test_decompositions.c - a composite computed by its formula and the same
 * composite expanded to primitives give the same numbers, in double, forward
 * and backward.
 *
 * The decomposition is an op's definition for every backend that has no kernel
 * for it; the oracle's formula was written from ops.def apart from it. Both
 * being wrong in the same way is what test_gradients is for.
 */
#include "cases.h"

static tn_rig *native, *decomposed;

enum { DRAWS = 120, WORK = 6000 };

static int is_composite(const family *f)
{
    /* numbers of composites begin at 64; the layer has several */
    return f->op == 0 || f->op >= 64;
}

static void decomposed_nodes_are_primitives(const tn_rig_program *p)
{
    const tn_plan *plan = tn_rig_plan(p);
    for (uint32_t i = 0; i < plan->node_count; i++)
        if (plan->nodes[i].op >= 64) {
            print_error("%s was not decomposed\n", plan->nodes[i].name);
            fail();
        }
}

static void compare_case(const family *f, uint32_t number)
{
    const tn_rig_how how = {.dtype = TN_F64, .no_fuse = number & 1};
    op_case *c = malloc(sizeof *c);
    char what[128];
    draw_case(f, number, number & 2 ? SCALE_TINY : SCALE_SMALL, WORK, c);
    snprintf(what, sizeof what, "%s, case %u", f->name, number);
    tn_rig_program *a = must_build(native, c, &how, what);
    tn_rig_program *b = must_build(decomposed, c, &how, what);
    decomposed_nodes_are_primitives(b);
    must_run(a, what);
    must_run(b, what);
    assert_int_equal(tn_rig_output_count(a), tn_rig_output_count(b));
    for (uint32_t o = 0; o < tn_rig_output_count(a); o++) {
        const tn_rig_result want = tn_rig_output(a, o);
        const tn_rig_result got = tn_rig_output(b, o);
        assert_int_equal(got.count, want.count);
        snprintf(what, sizeof what, "%s, case %u, %s %u", f->name, number,
                 o < c->rig.out_count ? "output" : "gradient", o);
        expect_close(what, got.values, want.values, got.count, 1e-12, 1e-12);
    }
    tn_rig_free(a);
    tn_rig_free(b);
    free(c);
}

static void decomposition_equals_formula(void **state)
{
    const family_test *t = *state;
    const uint32_t draws = is_quick() ? 4 : DRAWS;
    for (uint32_t number = 0; number < draws; number++)
        compare_case(t->family, number);
}

/* Whoever adds an op gives it a family; backward ops come with the gradients
 * of theirs. */
static void every_op_has_a_family(void **state)
{
    static const struct {
        const char *name;
        tn_op op;
        uint32_t tier;
    } rows[] = {
#define OP(NAME, number, tier, min_in, max_in, n_out, attr, name)              \
    {#name, number, TN_TIER_##tier},
#include <tenon/ops.def>
#undef OP
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t found = rows[i].tier < TN_TIER_PRIMITIVE ||
                         strstr(rows[i].name, "_bwd") != NULL;
        for (uint32_t f = 0; f < family_count; f++)
            found |= families[f].op == rows[i].op;
        if (!found) {
            print_error("%s is in no family of families.c\n", rows[i].name);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest coverage[] = {
        cmocka_unit_test(every_op_has_a_family),
    };
    static const char *const oracle[] = {"the oracle"};
    native = tn_rig_open("reference", "{}");
    decomposed = tn_rig_open("reference", "{native: false}");
    const int missing = cmocka_run_group_tests(coverage, NULL, NULL);
    const int failed =
        run_families("decompositions", decomposition_equals_formula,
                     is_composite, oracle, 1);
    tn_rig_close(native);
    tn_rig_close(decomposed);
    return missing + failed;
}
