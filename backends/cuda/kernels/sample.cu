/*
 * sample.cu - a token drawn from a row of logits by one block, to the bit as
 * tenon/sample.h has it.
 *
 * Weights are whole numbers, so threads add them in any order. Two searches do
 * all: `find_key` for the key at which a running measure down the order reaches
 * a number, digit by digit through a histogram in shared memory; and `find_id`
 * for the id at which a running measure by id passes a number, by shares of
 * shares: each of the 32 warps sums its own, and the next round divides the one
 * that has it.
 *
 * A histogram of a whole vocabulary would add most of it to a few places. What
 * cannot be kept is left out before: all that is below the top_k-th of the
 * threads' own largest logits, or so unlikely that all of its like together are
 * less than what top_p leaves out.
 */
#include "common.cuh"

enum { THREADS = 1024, WARPS = THREADS / 32, DIGITS = 256 };

typedef unsigned long long whole;

/* A row, as far as (last_key, last) in its order. */
struct sample_row {
    const float *logits;
    int ids, last;
    unsigned last_key;
    float most, rate;
};

struct sample_room {
    whole sums[DIGITS];        /* of digits, or of warps */
    unsigned largest[THREADS]; /* keys */
    float most;
    int best, count;
    whole before;
    unsigned key;
    int id, begin, end;
};

static __device__ __forceinline__ bool is_finite(float x)
{
    return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}

static __device__ __forceinline__ unsigned key_of(float logit)
{
    const unsigned bits = __float_as_uint(logit + 0.0f);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static __device__ __forceinline__ whole weight_of(float logit, float most,
                                                  float rate)
{
    if (logit == most)
        return (whole)1 << 40;
    const float below = logit - most, x = below * rate;
    if (!(x > -42.0f))
        return 0;
    const float low = floorf(x), f = fmaf(below, rate, -low);
    float y = 0.00186708709f;
    y = fmaf(y, f, 0.00901712198f);
    y = fmaf(y, f, 0.0557998456f);
    y = fmaf(y, f, 0.240164474f);
    y = fmaf(y, f, 0.693151295f);
    y = fmaf(y, f, 1.0f);
    return (whole)(unsigned)(y * 8388608.0f) << 17 >> (unsigned)(int)-low;
}

/* floor(share sum) */
static __device__ __forceinline__ whole part_of(whole sum, float share)
{
    const whole s = (whole)(share * 16777216.0f);
    return (sum >> 24) * s + ((sum & 0xffffffu) * s >> 24);
}

static __device__ __forceinline__ bool is_kept(const sample_row &r, int i,
                                               float x)
{
    const unsigned key = key_of(x);
    return is_finite(x) &&
           (key > r.last_key || (key == r.last_key && i <= r.last));
}

/* ---- sums ---- */

static __device__ __forceinline__ whole sum_of_warp(whole x)
{
    for (int away = 16; away; away /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, away);
    return x;
}

/* What lanes up to this one have. */
static __device__ __forceinline__ whole running_of_warp(whole x)
{
    const int lane = threadIdx.x % 32;
    for (int away = 1; away < 32; away *= 2) {
        const whole more = __shfl_up_sync(0xffffffffu, x, away);
        x += lane >= away ? more : 0;
    }
    return x;
}

/* Each warp's share of begin .. end - 1, measured, into room->sums. */
template <class F>
static __device__ __forceinline__ void sum_shares(sample_room *room, int begin,
                                                  int end, const F &measure)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int share = (end - begin + WARPS - 1) / WARPS;
    const int from = begin + warp * share, to = min(from + share, end);
    whole sum = 0;
    for (int i = from + lane; i < to; i += 32)
        sum += measure(i);
    sum = sum_of_warp(sum);
    __syncthreads();
    if (lane == 0)
        room->sums[warp] = sum;
    __syncthreads();
}

static __device__ __forceinline__ whole sum_of_shares(const sample_room *room)
{
    whole sum = 0;
    for (int i = 0; i < WARPS; i++)
        sum += room->sums[i];
    return sum;
}

/* ---- the two searches ---- */

/* The first id at which the running measure is above `left`, where shares of
 * 0 .. count - 1 have been summed; -1 where there is none. */
template <class F>
static __device__ __forceinline__ int find_id(sample_room *room, int count,
                                              whole left, const F &measure)
{
    int begin = 0, end = count;
    for (;;) {
        const int share = (end - begin + WARPS - 1) / WARPS;
        int warp = 0;
        while (warp < WARPS && room->sums[warp] <= left)
            left -= room->sums[warp++];
        if (warp == WARPS)
            return -1;
        begin += warp * share;
        end = min(begin + share, end);
        if (end - begin == 1)
            return begin;
        sum_shares(room, begin, end, measure);
    }
}

/* The digit at which the running sum from the largest one down reaches
 * `wanted`, which it does: by the first warp. */
static __device__ __forceinline__ void find_digit(sample_room *room, int shift,
                                                  whole wanted)
{
    enum { EACH = DIGITS / 32 };
    const int lane = threadIdx.x;
    whole sum = 0;
    if (threadIdx.x >= 32)
        return;
    for (int i = 0; i < EACH; i++)
        sum += room->sums[DIGITS - 1 - lane * EACH - i];
    whole before = running_of_warp(sum) - sum + room->before;
    __syncwarp();
    if (before >= wanted || before + sum < wanted)
        return; /* another lane */
    int digit = DIGITS - 1 - lane * EACH;
    while (before + room->sums[digit] < wanted)
        before += room->sums[digit--];
    room->before = before;
    room->key |= (unsigned)digit << shift;
}

/* room->key: at which the running measure of element(i, &key), i < count,
 * reaches `wanted`, at most their sum; room->before: the sum above it. */
template <class F>
static __device__ __forceinline__ void find_key(sample_room *room, int count,
                                                whole wanted, const F &element)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        room->before = 0;
        room->key = 0;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < DIGITS; i += THREADS)
            room->sums[i] = 0;
        __syncthreads();
        const unsigned found = room->key;
        for (int i = threadIdx.x; i < count; i += THREADS) {
            unsigned key;
            const whole measure = element(i, &key);
            if (measure && ((whole)(key ^ found) >> shift >> 8) == 0)
                atomicAdd(&room->sums[key >> shift & 255u], measure);
        }
        __syncthreads();
        find_digit(room, shift, wanted);
        __syncthreads();
    }
}

/* The order ends where the running measure reaches `wanted`: count, or weight.
 * What has a key below `bound` is not reached. */
template <class F>
static __device__ __forceinline__ void cut(sample_room *room, sample_row *r,
                                           whole wanted, unsigned bound,
                                           const F &measure)
{
    const float *logits = r->logits;
    find_key(room, r->ids, wanted, [&](int i, unsigned *key) {
        *key = key_of(logits[i]);
        return *key >= bound ? measure(i) : (whole)0;
    });
    const unsigned key = room->key;
    const whole left = wanted - 1 - room->before;
    const auto of_key = [&](int i) {
        return key_of(logits[i]) == key ? measure(i) : (whole)0;
    };
    sum_shares(room, 0, r->ids, of_key);
    r->last = find_id(room, r->ids, left, of_key);
    r->last_key = key;
}

/* ---- the steps of a draw ---- */

/* The first of the order, how many are finite, and each thread's largest. */
static __device__ __forceinline__ void look(sample_room *room,
                                            const float *logits, int ids)
{
    float most = 0.0f;
    int best = -1, count = 0;
    for (int i = threadIdx.x; i < ids; i += THREADS) {
        const float x = logits[i];
        if (!is_finite(x))
            continue;
        if (best < 0 || x > most) {
            most = x;
            best = i;
        }
        count++;
    }
    room->largest[threadIdx.x] = best < 0 ? 0 : key_of(most);
    if (threadIdx.x == 0)
        room->best = -1;
    /* (key, lowest id) as one number: the largest of the block */
    whole first =
        best < 0 ? 0
                 : (whole)key_of(most) << 32 | (0xffffffffu - (unsigned)best);
    whole all = (whole)count;
    for (int away = 16; away; away /= 2) {
        const whole other = __shfl_xor_sync(0xffffffffu, first, away);
        first = other > first ? other : first;
        all += __shfl_xor_sync(0xffffffffu, all, away);
    }
    if (threadIdx.x % 32 == 0) {
        room->sums[threadIdx.x / 32] = first;
        room->sums[WARPS + threadIdx.x / 32] = all;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        first = all = 0;
        for (int i = 0; i < WARPS; i++) {
            first = room->sums[i] > first ? room->sums[i] : first;
            all += room->sums[WARPS + i];
        }
        room->count = (int)all;
        if (first) {
            room->best = (int)(0xffffffffu - (unsigned)first);
            room->most = logits[room->best];
        }
    }
    __syncthreads();
}

/* No key of the first k is below this one. */
static __device__ __forceinline__ unsigned bound_of(sample_room *room, int k)
{
    const int there = __syncthreads_count(room->largest[threadIdx.x] != 0);
    if (there < k) /* fewer threads than k have any */
        return 0;
    find_key(room, THREADS, (whole)k, [&](int i, unsigned *key) {
        *key = room->largest[i];
        return (whole)(*key != 0);
    });
    return room->key;
}

/* All that is below weighs less than `spare` together. */
static __device__ __forceinline__ unsigned bound_of_weight(const sample_row &r,
                                                           whole spare)
{
    const float each = (float)spare / (float)r.ids;
    if (each < 1.0f || r.rate > 1000.0f)
        return 0;
    const float x = log2f(each) - 40.1f;
    const unsigned bound = key_of(r.most + x / r.rate);
    return x < 0.0f ? bound : 0;
}

extern "C" __global__ void __launch_bounds__(1024)
    sample(const marked<gpu_sample_args> m)
{
    const gpu_sample_args &a = begin(m);
    __shared__ sample_room room;
    const int64 at = blockIdx.x;
    const float *how = (const float *)a.how + 3 * at;
    const int *limits = (const int *)a.limits + 2 * at;
    int *token = (int *)a.token + at;
    sample_row r = {(const float *)a.logits + at * a.classes,
                    min(limits[1], a.classes),
                    0x7fffffff,
                    0,
                    0.0f,
                    0.0f};
    const float temperature = how[0], top_p = how[1];
    const int k = limits[0];
    look(&room, r.logits, r.ids);
    if (room.best < 0 || !(temperature > 0.0f)) {
        if (threadIdx.x == 0)
            *token = room.best;
        return;
    }
    const int best = room.best;
    r.most = room.most;
    r.rate = 1.44269504f / temperature;
    const auto weight = [&](int i) {
        const float x = r.logits[i];
        return is_kept(r, i, x) ? weight_of(x, r.most, r.rate) : (whole)0;
    };
    if (k > 0 && k < room.count)
        cut(&room, &r, (whole)k, k <= THREADS ? bound_of(&room, k) : 0,
            [&](int i) { return (whole)is_finite(r.logits[i]); });
    sum_shares(&room, 0, r.ids, weight);
    whole sum = sum_of_shares(&room);
    if (top_p < 1.0f) {
        const whole part = part_of(sum, top_p), enough = part ? part : 1;
        cut(&room, &r, enough, bound_of_weight(r, sum - enough), weight);
        sum_shares(&room, 0, r.ids, weight);
        sum = sum_of_shares(&room);
    }
    const int drawn = find_id(&room, r.ids, part_of(sum, how[2]), weight);
    if (threadIdx.x == 0)
        *token = drawn < 0 ? best : drawn;
}
