/*
 * simt.h - the words of CUDA C++ for a host compiler.
 *
 * It is included before a kernel file (-include simt.h), or before the text
 * that would go to NVRTC, and includes nothing itself: programs are many and
 * small. What a kernel calls that is not here does not compile, which is the
 * way to learn that it is missing.
 *
 * Each thread of a block is a fiber (block.c). Shared memory is thread-local
 * memory of the one host thread on which all of them run: that is one copy per
 * block in flight, at an address range that block.c can find and poison.
 *
 * The site of a collective call (its file and line) comes from default
 * arguments, so that threads which wait in two places are told apart.
 */
#ifndef SIMT_H
#define SIMT_H

#define __global__ __attribute__((visibility("hidden"), noinline))
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __grid_constant__

/* ---- vectors: aligned as on the device, so that a sanitizer sees a load that
 * would trap there ---- */

#define SIMT_VECTORS(type, name, align2, align4)                               \
    struct align2 name##2                                                      \
    {                                                                          \
        type x, y;                                                             \
    };                                                                         \
    struct name##3                                                             \
    {                                                                          \
        type x, y, z;                                                          \
    };                                                                         \
    struct align4 name##4                                                      \
    {                                                                          \
        type x, y, z, w;                                                       \
    };                                                                         \
    static inline name##2 make_##name##2(type x, type y)                       \
    {                                                                          \
        return name##2 {x, y};                                                 \
    }                                                                          \
    static inline name##3 make_##name##3(type x, type y, type z)               \
    {                                                                          \
        return name##3 {x, y, z};                                              \
    }                                                                          \
    static inline name##4 make_##name##4(type x, type y, type z, type w)       \
    {                                                                          \
        return name##4 {x, y, z, w};                                           \
    }

SIMT_VECTORS(float, float, alignas(8), alignas(16))
SIMT_VECTORS(double, double, alignas(16), alignas(16))
SIMT_VECTORS(int, int, alignas(8), alignas(16))
SIMT_VECTORS(unsigned, uint, alignas(8), alignas(16))
SIMT_VECTORS(short, short, alignas(4), alignas(8))
SIMT_VECTORS(unsigned short, ushort, alignas(4), alignas(8))
SIMT_VECTORS(unsigned char, uchar, alignas(2), alignas(4))
SIMT_VECTORS(long long, longlong, alignas(16), alignas(16))
#undef SIMT_VECTORS

/* ---- the scheduler's side (block.c) ---- */

extern "C" {
extern uint3 threadIdx, blockIdx, blockDim, gridDim;

/* The sum of `value` over the block. */
unsigned simt_barrier(unsigned value, const char *file, int line);
/* What the lane `source` brought; every lane of `mask` must come. */
unsigned long long simt_exchange(unsigned mask, unsigned long long value,
                                 int source, const char *file, int line);
/* The lanes of `mask` that brought something other than zero. */
unsigned simt_vote(unsigned mask, int value, const char *file, int line);
int simt_lane(void);
void simt_trap(const char *file, int line);
}

static const int warpSize = 32;

#define SIMT_SITE                                                              \
    const char *file = __builtin_FILE(), int line = __builtin_LINE()

static inline void __syncthreads(SIMT_SITE)
{
    simt_barrier(0, file, line);
}

static inline int __syncthreads_count(int value, SIMT_SITE)
{
    return (int)simt_barrier(value != 0, file, line);
}

static inline int __syncthreads_or(int value, SIMT_SITE)
{
    return simt_barrier(value != 0, file, line) != 0;
}

static inline int __syncthreads_and(int value, SIMT_SITE)
{
    return simt_barrier(value == 0, file, line) == 0;
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE)
{
    simt_vote(mask, 0, file, line);
}

static inline unsigned __ballot_sync(unsigned mask, int value, SIMT_SITE)
{
    return simt_vote(mask, value, file, line);
}

static inline int __any_sync(unsigned mask, int value, SIMT_SITE)
{
    return simt_vote(mask, value, file, line) != 0;
}

static inline int __all_sync(unsigned mask, int value, SIMT_SITE)
{
    return simt_vote(mask, !value, file, line) == 0;
}

template <class T>
static inline T simt_shuffle(unsigned mask, T value, int source,
                             const char *file, int line)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = simt_exchange(mask, bits, source, file, line);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
static inline T __shfl_sync(unsigned mask, T value, int from, int width = 32,
                            SIMT_SITE)
{
    const int segment = simt_lane() & -width;
    return simt_shuffle(mask, value, segment + (from & (width - 1)), file,
                        line);
}

template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned by,
                               int width = 32, SIMT_SITE)
{
    const int lane = simt_lane(), from = lane - (int)by;
    return simt_shuffle(mask, value, from < (lane & -width) ? lane : from, file,
                        line);
}

template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned by,
                                 int width = 32, SIMT_SITE)
{
    const int lane = simt_lane(), from = lane + (int)by;
    return simt_shuffle(
        mask, value, from >= (lane & -width) + width ? lane : from, file, line);
}

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int with,
                                int width = 32, SIMT_SITE)
{
    const int lane = simt_lane(), from = lane ^ with;
    return simt_shuffle(
        mask, value, from >= (lane & -width) + width ? lane : from, file, line);
}

static inline void __trap(SIMT_SITE)
{
    simt_trap(file, line);
}

/* One host thread runs all: nothing is ever seen out of order. */
static inline void __threadfence(void)
{
}
static inline void __threadfence_block(void)
{
}

/* ---- atomics ---- */

#define SIMT_ATOMIC(name, type, expression)                                    \
    static inline type name(type *at, type with)                               \
    {                                                                          \
        const type old = *at;                                                  \
        *at = (expression);                                                    \
        return old;                                                            \
    }
#define SIMT_ATOMICS(type)                                                     \
    SIMT_ATOMIC(atomicAdd, type, old + with)                                   \
    SIMT_ATOMIC(atomicMax, type, old > with ? old : with)                      \
    SIMT_ATOMIC(atomicMin, type, old < with ? old : with)                      \
    SIMT_ATOMIC(atomicExch, type, with)
SIMT_ATOMICS(int)
SIMT_ATOMICS(unsigned)
SIMT_ATOMICS(unsigned long long)
SIMT_ATOMIC(atomicAdd, float, old + with)
SIMT_ATOMIC(atomicExch, float, with)
SIMT_ATOMIC(atomicAdd, double, old + with)
SIMT_ATOMIC(atomicOr, int, old | with)
SIMT_ATOMIC(atomicOr, unsigned, old | with)
SIMT_ATOMIC(atomicAnd, unsigned, old &with)
#undef SIMT_ATOMICS
#undef SIMT_ATOMIC

template <class T> static inline T atomicCAS(T *at, T expected, T with)
{
    const T old = *at;
    *at = old == expected ? with : old;
    return old;
}

/* ---- memory ---- */

template <class T> static inline T __ldg(const T *at)
{
    return *at;
}

template <class T> static inline T __ldcs(const T *at)
{
    return *at;
}

template <class T> static inline T __ldcg(const T *at)
{
    return *at;
}

template <class T> static inline void __stcs(T *at, T value)
{
    *at = value;
}

template <class T> static inline void __stcg(T *at, T value)
{
    *at = value;
}

/* ---- bits ---- */

template <class To, class From> static inline To simt_bits(From value)
{
    To to;
    __builtin_memcpy(&to, &value, sizeof to);
    return to;
}

static inline unsigned __float_as_uint(float x)
{
    return simt_bits<unsigned>(x);
}
static inline int __float_as_int(float x)
{
    return simt_bits<int>(x);
}
static inline float __uint_as_float(unsigned x)
{
    return simt_bits<float>(x);
}
static inline float __int_as_float(int x)
{
    return simt_bits<float>(x);
}
static inline long long __double_as_longlong(double x)
{
    return simt_bits<long long>(x);
}
static inline double __longlong_as_double(long long x)
{
    return simt_bits<double>(x);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((unsigned long long)a * b >> 32);
}
static inline unsigned __brev(unsigned x)
{
    unsigned y = 0;
    for (int i = 0; i < 32; i++)
        y |= (x >> i & 1u) << (31 - i);
    return y;
}

/* ---- mathematics: the C library's, which is not the device's own; what is
 * learned here about rounding ends with the order of operations ---- */

#define SIMT_MATH(XX)                                                          \
    XX(exp)                                                                    \
    XX(exp2) XX(expm1) XX(log) XX(log2) XX(log10) XX(log1p) XX(tanh) XX(sinh)  \
        XX(cosh) XX(sin) XX(cos) XX(tan) XX(erf) XX(erfc) XX(sqrt) XX(cbrt)    \
            XX(fabs) XX(floor) XX(ceil) XX(trunc) XX(rint) XX(nearbyint)       \
                XX(round)
#define SIMT_MATH2(XX) XX(pow) XX(fmod) XX(copysign) XX(fmin) XX(fmax)

extern "C" {
#define XX(name)                                                               \
    float name##f(float) noexcept;                                             \
    double name(double) noexcept;
SIMT_MATH(XX)
#undef XX
#define XX(name)                                                               \
    float name##f(float, float) noexcept;                                      \
    double name(double, double) noexcept;
SIMT_MATH2(XX)
#undef XX
float fmaf(float, float, float) noexcept;
double fma(double, double, double) noexcept;
float ldexpf(float, int) noexcept;
}

#define XX(name)                                                               \
    static inline float name(float x)                                          \
    {                                                                          \
        return name##f(x);                                                     \
    }
SIMT_MATH(XX)
#undef XX
#undef SIMT_MATH
#undef SIMT_MATH2

static inline float fma(float a, float b, float c)
{
    return fmaf(a, b, c);
}
static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
static inline void sincosf(float x, float *sine, float *cosine)
{
    *sine = sinf(x);
    *cosine = cosf(x);
}

#define SIMT_AS(name, arguments, expression)                                   \
    static inline float name arguments                                         \
    {                                                                          \
        return expression;                                                     \
    }
SIMT_AS(__expf, (float x), expf(x))
SIMT_AS(__logf, (float x), logf(x))
SIMT_AS(__sinf, (float x), sinf(x))
SIMT_AS(__cosf, (float x), cosf(x))
SIMT_AS(__powf, (float x, float y), powf(x, y))
SIMT_AS(__fdividef, (float x, float y), x / y)
SIMT_AS(__frcp_rn, (float x), 1.0f / x)
SIMT_AS(__fsqrt_rn, (float x), sqrtf(x))
SIMT_AS(__frsqrt_rn, (float x), 1.0f / sqrtf(x))
SIMT_AS(__fadd_rn, (float x, float y), x + y)
SIMT_AS(__fsub_rn, (float x, float y), x - y)
SIMT_AS(__fmul_rn, (float x, float y), x *y)
SIMT_AS(__fdiv_rn, (float x, float y), x / y)
SIMT_AS(__fmaf_rn, (float x, float y, float z), fmaf(x, y, z))
SIMT_AS(__saturatef, (float x), x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f)
#undef SIMT_AS

#define SIMT_TEST(name)                                                        \
    static inline bool name(float x)                                           \
    {                                                                          \
        return __builtin_##name(x);                                            \
    }                                                                          \
    static inline bool name(double x)                                          \
    {                                                                          \
        return __builtin_##name(x);                                            \
    }
SIMT_TEST(isnan)
SIMT_TEST(isinf)
SIMT_TEST(isfinite)
SIMT_TEST(signbit)
#undef SIMT_TEST

static inline float max(float a, float b)
{
    return fmaxf(a, b);
}
static inline float min(float a, float b)
{
    return fminf(a, b);
}

#define SIMT_ORDER(type)                                                       \
    static inline type max(type a, type b)                                     \
    {                                                                          \
        return a > b ? a : b;                                                  \
    }                                                                          \
    static inline type min(type a, type b)                                     \
    {                                                                          \
        return a < b ? a : b;                                                  \
    }
SIMT_ORDER(int)
SIMT_ORDER(unsigned)
SIMT_ORDER(long)
SIMT_ORDER(unsigned long)
SIMT_ORDER(long long)
SIMT_ORDER(unsigned long long)
#undef SIMT_ORDER

/* ---- entries: what stands behind a kernel's file, one line per kernel
 * (kernels.sh) ---- */

template <class A> static inline void simt_run(void (*kernel)(A), const void *a)
{
    kernel(*(const A *)a);
}

template <class A> constexpr unsigned simt_argument_bytes(void (*)(A))
{
    return sizeof(A);
}

#define SIMT_ENTRY(name, bound)                                                \
    extern "C" __attribute__((visibility("default"))) void simt_call_##name(   \
        const void *argument)                                                  \
    {                                                                          \
        simt_run(name, argument);                                              \
    }                                                                          \
    extern "C" __attribute__((visibility("default")))                          \
    const unsigned simt_facts_##name[2] = {simt_argument_bytes(name), bound};

#endif
