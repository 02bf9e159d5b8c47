#version 460
/*
 * loss - cross-entropy of rows of logits, and their gradient in place:
 *
 *     z = u, or cap tanh(u / cap)        nll = log sum exp(z) - z[target]
 *     du = dnll (exp(z - lse) - [v = target]) (1 - (z / cap)^2)
 *
 * A workgroup for each row; 0 where target is -1.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const bool BACKWARD = false;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t logits, target, dnll, nll;
    uint rows, classes;
    float cap; /* 0: none */
};

shared float top_of[256];
shared float sum_of[256];

float capped(float u, float cap)
{
    return cap > 0.0 ? cap * exact_tanh(u / cap) : u;
}

/* The largest z of the row, and the sum of exp(z - top): each invocation its
 * own of every 256th, then as a tree. */
void sum_row(Floats u, uint classes, float cap, uint me)
{
    float top = -3.402823466e38, sum = 0.0;
    for (uint v = me; v < classes; v += 256) {
        const float z = capped(u.at[v], cap);
        if (z > top) {
            sum *= exact_exp(top - z);
            top = z;
        }
        sum += exact_exp(z - top);
    }
    top_of[me] = top;
    sum_of[me] = sum;
    barrier();
    for (uint reach = 128; reach > 0; reach /= 2) {
        if (me < reach) {
            const float a = top_of[me], b = top_of[me + reach];
            const float t = max(a, b);
            sum_of[me] = sum_of[me] * exact_exp(a - t) +
                         sum_of[me + reach] * exact_exp(b - t);
            top_of[me] = t;
        }
        barrier();
    }
}

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint row = workgroup(), me = gl_LocalInvocationID.x;
    if (row >= a.rows)
        return;
    Floats u = Floats(a.logits + 4 * (uint64_t(row) * a.classes));
    const int target = Ints(a.target).at[row];
    const bool counts = target >= 0 && target < int(a.classes);
    sum_row(u, a.classes, a.cap, me);
    const float lse = top_of[0] + exact_log(sum_of[0]);
    if (me == 0)
        Floats(a.nll).at[row] =
            counts ? lse - capped(u.at[target], a.cap) : 0.0;
    if (!BACKWARD)
        return;
    barrier(); /* before the target's logit becomes its gradient */
    const float scale = counts ? Floats(a.dnll).at[row] : 0.0;
    for (uint v = me; v < a.classes; v += 256) {
        const float z = capped(u.at[v], a.cap);
        const float bend = a.cap > 0.0 ? 1.0 - (z / a.cap) * (z / a.cap) : 1.0;
        const float hit = int(v) == target ? 1.0 : 0.0;
        u.at[v] = counts ? scale * bend * (exact_exp(z - lse) - hit) : 0.0;
    }
}
