/*
 * sample.c - a token from each row of logits, as tenon/sample.h draws it: of
 * logits in f32, whatever the graph computes in.
 */
#include "reference.h"

#include <tenon/sample.h>

int64_t ref_sample_scratch(const ref_node *n)
{
    return ref_columns(&n->in[0]) / 2 + 1;
}

void ref_sample(const ref_node *n)
{
    const ref_tensor *logits = &n->in[0], *how = &n->in[1], *limits = &n->in[2];
    const int64_t classes = ref_columns(logits);
    float *row = (float *)(void *)n->scratch;
    for (int64_t r = 0; r < ref_rows(logits); r++) {
        const double ids = ref_get(limits, 2 * r + 1);
        const tn_sample_how h = {
            .temperature = (float)ref_get(how, 3 * r),
            .top_p = (float)ref_get(how, 3 * r + 1),
            .u = (float)ref_get(how, 3 * r + 2),
            .top_k = (int32_t)ref_get(limits, 2 * r),
            .ids = (int32_t)(ids < (double)classes ? ids : (double)classes),
        };
        for (int64_t i = 0; i < classes; i++)
            row[i] = (float)ref_get(logits, r * classes + i);
        ref_put(n, 0, r, (double)tn_sample(row, &h));
    }
}
