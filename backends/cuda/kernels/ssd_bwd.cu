/*
 * ssd_bwd.cu - the gradients of a scan (ssd.cuh).
 *
 *     steps, states, chain (both ways), products -> dx, dC, dB -> ddt
 *
 * What passes over a row is summed pair by pair on the way, into five sums of
 * each row, which ssd_ddt joins.
 */
#include "ssd.cuh"

/* ---- dx of 64 rows of a head ---- */

template <typename T>
static __device__ __forceinline__ void ssd_dx(const gpu_ssd_args &a)
{
    __shared__ ssd_room<T> room;
    __shared__ ssd_step steps[GPU_SSD_MOST_ROWS];
    const ssd_chunk c = chunk_of(a, blockIdx.x, a.heads);
    const int row = blockIdx.y * TILE;
    float of_u[ssd_tile<T>::ROWS] = {};
    if (row >= c.count)
        return;
    load_steps(a, c, steps);
    const ssd_step end = steps[c.count - 1];
    const auto B = b_rows<T>(a, c);
    const auto x = x_rows<T>(a, c);
    const auto dy = dense_rows<const T>(a, a.dy, c);
    const auto E = state_rows(a, a.E, c);
    const float *products = products_of(a, c);
    for (int p = 0; p < a.width; p += TILE) {
        ssd_tile<T> s;
        clear(s);
        if (c.z + 1 < a.chunks) {
            add_product<true, false>(
                s, [&](int line, int n) { return B(row + line, n); },
                [&](int line, int n) { return E(n, p + line); }, a.states,
                &room);
            for (int i = 0; i < ssd_tile<T>::ROWS; i++) {
                const int j = row + ssd_tile<T>::row(i);
                scale_row(s, i, between(end, steps[j], j));
            }
        }
        add_product<false, false>(
            s,
            [&](int line, int k) {
                const int j = row + line, t = row + k;
                return j <= t && t < c.count
                           ? products[t * a.chunk + j] *
                                 between(steps[t], steps[j], j)
                           : 0.0f;
            },
            [&](int line, int k) { return dy(row + k, p + line); },
            c.count - row, &room);
        for (int i = 0; i < ssd_tile<T>::ROWS; i++) {
            const int j = row + ssd_tile<T>::row(i);
            for (int k = 0; k < ssd_tile<T>::COLUMNS; k++)
                of_u[i] =
                    fmaf(s.at[i][k], x(j, p + ssd_tile<T>::column(k)), of_u[i]);
            scale_row(s, i, steps[j].dt);
        }
        store_rows(s, dense_rows<T>(a, a.dx, c), row, p);
    }
    for (int i = 0; i < ssd_tile<T>::ROWS; i++) {
        const int j = row + ssd_tile<T>::row(i);
        const float sum = row_sum<T>(of_u[i]);
        if (tells<T>() && j < c.count)
            sums_of(a, c, GPU_SSD_OF_U)[j] = sum;
    }
}

/* ---- dC or dB of 64 rows of a group, over its heads ---- */

/* x, of which the compiler must know nothing: what depends on it is computed
 * where it is used. Else the addresses of all parts are computed before the
 * loops, and kept: of 256 states in BF16 more than there are registers. */
static __device__ __forceinline__ int forgotten(int x)
{
#ifdef __CUDA_ARCH__
    asm volatile("" : "+r"(x));
#endif
    return x;
}

/* total += e^s (dy h), or dt e^(s_L - s) (x E); its dot with C or B is what
 * passes from h, or to E. */
template <int PARTS, bool OF_B, typename T>
static __device__ __forceinline__ void
add_states(ssd_tile<T> (&total)[PARTS], const gpu_ssd_args &a,
           const ssd_chunk &c, int row, const ssd_step *steps,
           ssd_room<T> *room)
{
    const auto states = state_rows(a, OF_B ? a.E : a.h, c);
    const auto mine = OF_B ? x_rows<T>(a, c) : dense_rows<const T>(a, a.dy, c);
    const auto own = OF_B ? b_rows<T>(a, c) : c_rows<T>(a, c);
    const ssd_step end = steps[c.count - 1];
    float dot[ssd_tile<T>::ROWS] = {};
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        const int n = forgotten(part * TILE);
        ssd_tile<T> s;
        clear(s);
        add_product<true, true>(
            s, [&](int line, int p) { return mine(row + line, p); },
            [&](int line, int p) { return states(n + line, p); }, a.width,
            room);
#pragma unroll
        for (int i = 0; i < ssd_tile<T>::ROWS; i++) {
            const int r = row + ssd_tile<T>::row(i);
            scale_row(s, i,
                      OF_B ? between(end, steps[r], r) * steps[r].dt
                           : from_start(steps[r]));
#pragma unroll
            for (int j = 0; j < ssd_tile<T>::COLUMNS; j++) {
                dot[i] = fmaf(s.at[i][j], own(r, n + ssd_tile<T>::column(j)),
                              dot[i]);
                total[part].at[i][j] += s.at[i][j];
            }
        }
    }
    for (int i = 0; i < ssd_tile<T>::ROWS; i++) {
        const int r = row + ssd_tile<T>::row(i);
        const float sum = row_sum<T>(dot[i]);
        if (tells<T>() && r < c.count)
            sums_of(a, c, OF_B ? GPU_SSD_WRITTEN : GPU_SSD_READ)[r] = sum;
    }
}

/* V of head `head` of the group, or its transpose, at (row, column), is added
 * to `weight` in shared memory, where each thread has places of its own:
 * registers are for what is summed over columns. The sums of V C B' over what a
 * row sees beside itself are added to those of columns before. */
template <bool OF_B, typename T>
static __device__ __forceinline__ void
add_head(float *weight, int head, const gpu_ssd_args &a, const ssd_chunk &c,
         int row, int column, bool is_first, const ssd_step *steps,
         ssd_room<T> *room)
{
    const auto x = x_rows<T>(a, c);
    const auto dy = dense_rows<const T>(a, a.dy, c);
    const auto mine = OF_B ? x : dy;
    const auto other = OF_B ? dy : x;
    const float *products = products_of(a, c);
    ssd_tile<T> s;
    clear(s);
    add_product<true, true>(
        s, [&](int line, int p) { return mine(row + line, p); },
        [&](int line, int p) { return other(column + line, p); }, a.width,
        room);
#pragma unroll
    for (int i = 0; i < ssd_tile<T>::ROWS; i++) {
        const int r = row + ssd_tile<T>::row(i);
        float passing = 0.0f;
#pragma unroll
        for (int j = 0; j < ssd_tile<T>::COLUMNS; j++) {
            const int k = column + ssd_tile<T>::column(j);
            const int from = OF_B ? r : k, to = OF_B ? k : r;
            const bool seen = from <= to && to < c.count;
            const float V = seen ? s.at[i][j] * steps[from].dt *
                                       between(steps[to], steps[from], from)
                                 : 0.0f;
            float *sum = weight + ssd_tile<T>::row(i) * (TILE + 1) +
                         ssd_tile<T>::column(j);
            *sum = head == 0 ? V : *sum + V;
            if (seen && from < to)
                passing = fmaf(V, products[to * a.chunk + from], passing);
        }
        passing = row_sum<T>(passing);
        float *sum =
            sums_of(a, c, OF_B ? GPU_SSD_BY_COLUMN : GPU_SSD_BY_ROW) + r;
        if (tells<T>() && r < c.count)
            *sum = is_first ? passing : *sum + passing;
    }
}

/* total += V B, or V' C */
template <int PARTS, bool OF_B, typename T>
static __device__ __forceinline__ void
add_inside(ssd_tile<T> (&total)[PARTS], const float *weight,
           const gpu_ssd_args &a, const ssd_chunk &c, int column,
           ssd_room<T> *room)
{
    const auto with = OF_B ? c_rows<T>(a, c) : b_rows<T>(a, c);
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        add_product<true, false>(
            total[part],
            [&](int line, int k) { return weight[line * (TILE + 1) + k]; },
            [&](int line, int k) {
                return with(column + k, part * TILE + line);
            },
            TILE, room);
}

template <int PARTS, bool OF_B, typename T>
static __device__ __forceinline__ void ssd_groups(const gpu_ssd_args &a)
{
    __shared__ ssd_room<T> room;
    __shared__ ssd_step steps[GPU_SSD_MOST_ROWS];
    __shared__ float weight[TILE * (TILE + 1)];
    ssd_chunk c = chunk_of(a, blockIdx.x, a.groups);
    const int row = blockIdx.y * TILE, heads = a.heads / a.groups;
    ssd_tile<T> total[PARTS];
    if (row >= c.count)
        return;
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        clear(total[part]);
    const int first = OF_B ? row : 0;
    const int end = OF_B ? c.count : row + 1;
    for (int column = first; column < end; column += TILE) {
        for (int r = 0; r < heads; r++) {
            c.h = c.g * heads + r;
            load_steps(a, c, steps);
            if (column == first)
                add_states<PARTS, OF_B, T>(total, a, c, row, steps, &room);
            add_head<OF_B, T>(weight, r, a, c, row, column, column == first,
                              steps, &room);
        }
        add_inside<PARTS, OF_B, T>(total, weight, a, c, column, &room);
    }
    const int64 pitch = (int64)a.groups * a.states;
    const int64 at =
        ((int64)c.b * a.rows + c.begin) * pitch + (int64)c.g * a.states;
    const ssd_rows<T> to = {(T *)(OF_B ? a.dB : a.dC) + at, pitch, c.count,
                            a.states};
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        store_rows(total[part], to, row, part * TILE);
}

/* ---- ddt and dA: a block for each chunk of a head ---- */

/*
 * With da_u all that passes over row u, from before it to it and later,
 *
 *     ddt = x'U + A da                     dA = sum dt da
 *
 * It is summed from what passes, not as a difference of all that arrives and
 * all that leaves, which would cancel the large terms that stay in their own
 * row. Of pairs of rows, those that pass over u are those that arrive at u or
 * later without those that leave there, inside u's document: where no later row
 * matters that is 0, exactly, as Lion asks, which takes a sign.
 */
extern "C" __global__ void __launch_bounds__(GPU_SSD_MOST_ROWS)
    ssd_ddt(const marked<gpu_ssd_args> m)
{
    const gpu_ssd_args &a = begin(m);
    __shared__ float room[32];
    __shared__ float read[GPU_SSD_MOST_ROWS], written[GPU_SSD_MOST_ROWS];
    __shared__ float arrived[GPU_SSD_MOST_ROWS];
    __shared__ int document[GPU_SSD_MOST_ROWS];
    const ssd_chunk c = chunk_of(a, blockIdx.x, a.heads);
    const int u = threadIdx.x;
    const int64 size = (int64)a.states * a.width;
    const float *h = state_rows(a, a.h, c).at, *E = state_rows(a, a.E, c).at;
    float through = 0.0f;
    for (int64 i = u; i < size; i += GPU_SSD_MOST_ROWS)
        through = fmaf(h[i], E[i], through);
    if (u < c.count) {
        read[u] = sums_of(a, c, GPU_SSD_READ)[u];
        written[u] = sums_of(a, c, GPU_SSD_WRITTEN)[u];
        arrived[u] = sums_of(a, c, GPU_SSD_BY_ROW)[u] -
                     sums_of(a, c, GPU_SSD_BY_COLUMN)[u];
        document[u] = steps_of(a, c)[u].begin;
    }
    through = ((const float *)a.decay)[number_of(a, c)] *
              block_sum(through, room); /* all that is shared is there now */
    float of_A = 0.0f;
    if (u < c.count) {
        float da = through;
        for (int t = 0; t < c.count; t++) {
            da += t < u ? written[t] : read[t];
            if (t >= u && document[t] == document[u])
                da += arrived[t];
        }
        const int64 t = (int64)c.b * a.rows + c.begin + u;
        ((float *)a.ddt)[t * a.heads + c.h] =
            fmaf(((const float *)a.A)[c.h], da, sums_of(a, c, GPU_SSD_OF_U)[u]);
        of_A = steps_of(a, c)[u].dt * da;
    }
    of_A = block_sum(of_A, room);
    if (u == 0)
        ((float *)a.dA)[((int64)c.b * a.chunks + c.z) * a.heads + c.h] = of_A;
}

#define KERNEL(name, letter, T, call)                                          \
    extern "C" __global__ void __launch_bounds__(ssd_tile<T>::THREADS)         \
        name##letter(const marked<gpu_ssd_args> m)                             \
    {                                                                          \
        const gpu_ssd_args &a = begin(m);                                      \
        call;                                                                  \
    }
KERNEL(ssd_dx_, f, float, ssd_dx<float>(a))
KERNEL(ssd_dx_, b, bf16, ssd_dx<bf16>(a))

/* dC and dB of at most 64, 128 and 256 states */
#define GROUPS(states, PARTS, letter, T)                                       \
    KERNEL(ssd_dC_##states, letter, T, (ssd_groups<PARTS, false, T>(a)))       \
    KERNEL(ssd_dB_##states, letter, T, (ssd_groups<PARTS, true, T>(a)))
GROUPS(64, 1, f, float)
GROUPS(64, 1, b, bf16)
GROUPS(128, 2, f, float)
GROUPS(128, 2, b, bf16)
GROUPS(256, 4, f, float)
GROUPS(256, 4, b, bf16)
