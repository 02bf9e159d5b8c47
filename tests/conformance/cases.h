/*
 * cases.h - every op of ops.def and map.def as a source of random test cases.
 *
 * A family knows how to draw a case of one op: shapes, strides, attributes and
 * the ranges its inputs come from. The three tests of this folder draw from the
 * same families and differ in what they compare:
 *
 *     test_gradients       gradients with central differences, on the oracle
 *     test_decompositions  a composite's kernel with its decomposition
 *     test_backends        a backend with the oracle, and with itself
 *
 * Draws are a function of (family, number), so that a failure can be repeated.
 */
#ifndef CONFORMANCE_CASES_H
#define CONFORMANCE_CASES_H

#include "tn_rig.h"

/* ---- dice.c: choosing ---- */

typedef struct dice {
    uint32_t seed;
    uint64_t count;
    uint32_t scale; /* an index into the lists of sizes */
    int64_t work;   /* most elements of a tensor, or terms of a product */
} dice;

enum {
    SCALE_TINY,  /* 1, 2 and small primes: finite differences */
    SCALE_SMALL, /* up to 17 */
    SCALE_TILES, /* to 257: one below and above the sizes kernels like */
};

uint32_t roll(dice *d, uint32_t sides); /* 0 .. sides - 1 */
int chance(dice *d, uint32_t one_in);   /* 1 once in so many */
double real_in(dice *d, double low, double high);
int64_t size_upto(dice *d, int64_t most); /* a size of the scale's list */

/* A size that fits into *left, which is divided by it. */
int64_t take_size(dice *d, int64_t *left);

/* ---- a case ---- */

enum { MAX_VALUES = 8192 };

typedef struct with_view {
    uint32_t rank;
    uint32_t axis[TN_MAX_RANK];
    int64_t start[TN_MAX_RANK], length[TN_MAX_RANK];
} with_view;

/* What a family's describe() needs to know of the draw. */
typedef struct with {
    union {
        tn_map_attr map;
        tn_reduce_attr reduce;
        tn_cumsum_attr cumsum;
        tn_concat_attr concat;
        tn_copy_attr copy;
        tn_fill_attr fill;
        tn_rope_attr rope;
        tn_attention_attr attention;
        tn_newton_schulz_attr newton_schulz;
    } attr;
    with_view view;
    uint32_t variant;
    uint32_t in_count;
    int64_t number;
    double real;
    uint32_t flags[4];
    double values[MAX_VALUES]; /* of an input that is not drawn at random */
} with;

typedef struct op_case {
    tn_rig_case rig; /* rig.with points to `with`: do not copy */
    with with;
    int64_t length;          /* terms summed into one output element */
    int64_t gradient_length; /* the same for gradients */
} op_case;

/* Add a leaf of this shape; returns it for further settings. */
tn_rig_leaf *add_leaf(op_case *c, uint32_t rank, const int64_t *shape);
#define ADD_LEAF(c, ...)                                                       \
    add_leaf((c),                                                              \
             (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),   \
             (const int64_t[]){__VA_ARGS__})
tn_rig_leaf *add_index(op_case *c, uint32_t rank, const int64_t *shape,
                       int64_t low, int64_t high);
#define ADD_INDEX(c, low, high, ...)                                           \
    add_index((c),                                                             \
              (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),  \
              (const int64_t[]){__VA_ARGS__}, (low), (high))

/* Where the documents that share `rows` rows begin: i32 (batch, rows). Each is
 * a few rows long, often one, or all of them. `blind`: some rows see none. */
void add_firsts(dice *d, op_case *c, int64_t batch, int64_t rows, int blind);

/* Differentiate with respect to input i. */
static inline void wants(op_case *c, uint32_t i)
{
    c->rig.wrt |= 1u << i;
}

/* ---- families ---- */

/*
 * How far an f32 backend may be from the oracle, in units of FLT_EPSILON:
 *     |got - want| <= absolute * length + relative * |want|
 * for outputs and, apart, for gradients. The absolute part is the rounding of
 * partial sums of `length` terms of size 1.
 */
typedef struct tolerance {
    double absolute, relative;
    double gradient_absolute, gradient_relative;
} tolerance;

typedef struct family {
    const char *name;
    tn_op op; /* 0: of no op of its own */
    void (*draw)(dice *d, op_case *c, uint32_t parameter);
    uint32_t parameter;
    tolerance f32;
} family;

extern const family families[];
extern const uint32_t family_count;

tolerance tolerance_of(const family *f);

/* Case `number` of a family. */
void draw_case(const family *f, uint32_t number, uint32_t scale, int64_t work,
               op_case *c);

/* ---- draws, by file ---- */

typedef void draw_function(dice *d, op_case *c, uint32_t parameter);

/* cases_map.c */
draw_function draw_instruction, draw_chain, draw_long_chain, draw_to_integer;
/* An instruction on zeros, infinities, NaN and numbers that overflow f32; its
 * arity, where 0 means that there is nothing to ask. */
int special_case(op_case *c, tn_map_op op);
/* cases_shape.c */
draw_function draw_reduce, draw_cumsum, draw_copy, draw_cast, draw_concat,
    draw_slices, draw_fill, draw_accumulate;
/* cases_rows.c */
draw_function draw_gather, draw_scatter, draw_set_rows, draw_topk, draw_argmax,
    draw_expert_plan, draw_sample;
/* cases_matmul.c */
draw_function draw_matmul, draw_linear, draw_grouped_matmul;
/* cases_model.c */
draw_function draw_rms_norm, draw_softmax, draw_rope, draw_attention, draw_loss,
    draw_dropout, draw_layer;
/* cases_sequence.c */
draw_function draw_conv, draw_scan, draw_newton_schulz;

/* ---- compare.c ---- */

/* TENON_QUICK=1 asks for a few small cases only. */
int is_quick(void);

/* One test for each family; `state` of each is a family_test. */
typedef struct family_test {
    const family *family;
    const char *backend; /* NULL: the oracle */
} family_test;

/* Run `body` for every family for which `wanted` says yes (NULL: all), once
 * for each of `backends`. */
int run_families(const char *name, CMUnitTestFunction body,
                 int (*wanted)(const family *f), const char *const *backends,
                 uint32_t backend_count);

/* |got - want| <= absolute + relative |want|, equal infinities and NaN for NaN;
 * else the running test fails and says where. */
void expect_close(const char *what, const double *got, const double *want,
                  int64_t count, double absolute, double relative);

/* The same bits, whatever they mean. */
void expect_same_bits(const char *what, const double *got, const double *want,
                      int64_t count);

/* Build, or fail the test with the family, the number and the error. */
tn_rig_program *must_build(tn_rig *rig, const op_case *c, const tn_rig_how *how,
                           const char *what);
void must_run(tn_rig_program *p, const char *what);

#endif
