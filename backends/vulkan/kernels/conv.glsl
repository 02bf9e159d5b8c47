/*
 * conv.glsl - a causal convolution of each channel by itself:
 *
 *     y[t]     = sum_k w[:, k] x[t - K + 1 + k]
 *     dx[t]    = sum_k w[:, k] dy[t + K - 1 - k]
 *     dw[:, k] = sum over b and t of dy[t] x[t - K + 1 + k]
 *
 * Before row 0 of x stands the history, or zeros; row t sees none before its
 * document. Invocations stand along channels; each has some rows of one and
 * reads them once.
 */
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TAPS = 4; /* K */
layout(constant_id = 1) const uint TYPE = F32;
layout(constant_id = 2) const bool BACKWARD = false;

/* Strides are of batch row and row, in elements; dy is dense. */
layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t x, w, history, dy;
    uint64_t begins; /* i32 (B, T): where row t's document begins, or 0 */
    uint64_t x_stride[2], history_stride[2];
    uint64_t y; /* y, dx, or parts of dw (parts, C, K) in f32 */
    uint batch, rows, channels;
    uint blocks, row_blocks; /* blocks of 64 channels, of rows */
};

/* x at row t, which may lie before row 0 */
float x_at(Arguments a, uint b, int t, uint c)
{
    if (t >= 0)
        return fetch(a.x, b * a.x_stride[0] + t * a.x_stride[1] + c, TYPE);
    const int before = t + int(TAPS) - 1;
    return a.history != 0 ? fetch(a.history,
                                  b * a.history_stride[0] +
                                      before * a.history_stride[1] + c,
                                  TYPE)
                          : 0.0;
}

/* Whether row t sees row `from`. */
bool sees(Arguments a, uint b, uint t, int from)
{
    return a.begins == 0 ||
           (t < a.rows && from >= Ints(a.begins).at[b * a.rows + t]);
}

float dy_at(Arguments a, uint b, uint t, uint c)
{
    return t < a.rows ? fetch(a.dy,
                              (uint64_t(b) * a.rows + t) * a.channels + c, TYPE)
                      : 0.0;
}
