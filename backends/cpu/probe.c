/*
 * probe.c - what this processor, and the system below us, can do.
 *
 * This file is compiled without any -m flag and must run on every x86-64: it
 * is what decides whether the kernels may. A processor may have AVX that the
 * system does not save across switches; XGETBV tells.
 */
#include "cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum {
    LEAF1_ECX_FMA = 1 << 12,
    LEAF1_ECX_F16C = 1 << 29, /* older than FMA: none has that alone */
    LEAF1_ECX_OSXSAVE = 1 << 27,
    LEAF7_EBX_AVX2 = 1 << 5,
    LEAF7_ECX_AVX512_VNNI = 1 << 11,
    LEAF7_1_EAX_AVX_VNNI = 1 << 4,
    LEAF7_1_EAX_AVX512_BF16 = 1 << 5,
    STATE_YMM = 0x06,
    STATE_ZMM = 0xe6,
};

/* F, DQ, BW, VL */
static const uint32_t leaf7_ebx_avx512 =
    (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);

static uint32_t saved_states(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void brand_of(char brand[64])
{
    uint32_t word[12] = {0}, top, unused[3];
    __cpuid(0x80000000u, top, unused[0], unused[1], unused[2]);
    if (top >= 0x80000004u)
        for (uint32_t i = 0; i < 3; i++)
            __cpuid(0x80000002u + i, word[4 * i], word[4 * i + 1],
                    word[4 * i + 2], word[4 * i + 3]);
    char text[49] = {0};
    memcpy(text, word, 48);
    snprintf(brand, 64, "%s", text + strspn(text, " "));
    for (size_t n = strlen(brand); n && brand[n - 1] == ' '; n--)
        brand[n - 1] = '\0';
    if (!brand[0])
        snprintf(brand, 64, "an x86-64 processor");
}

/*
 * Whether VDPBF16PS is worth its name. AMD's cores and Intel's Cooper Lake
 * start one a cycle or more: twice the products of an f32 FMA. Intel's server
 * cores since Sapphire Rapids start one in two cycles, having AMX for the
 * purpose: half the products (measured,
 * docs/decisions/0015-bf16-is-storage.md).
 */
static int pairs_are_fast(void)
{
    enum { COOPER_LAKE = 0x5065, STEPPING_BITS = 4, FIRST_STEPPING = 10 };
    uint32_t a, b, c, d, signature;
    __cpuid(0, a, b, c, d);
    const int is_amd = b == 0x68747541u; /* "Auth" */
    __cpuid(1, signature, b, c, d);
    return is_amd || (signature >> STEPPING_BITS == COOPER_LAKE &&
                      (signature & 15u) >= FIRST_STEPPING);
}

void cpu_detect(cpu_features *f)
{
    uint32_t a, b, c, d, b7 = 0, c7 = 0;
    memset(f, 0, sizeof *f);
    brand_of(f->brand);

    __cpuid(1, a, b, c, d);
    const uint32_t c1 = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
        b7 = b, c7 = c;
    const uint32_t states = c1 & LEAF1_ECX_OSXSAVE ? saved_states() : 0;
    const int fma = (c1 & LEAF1_ECX_FMA) && (c1 & LEAF1_ECX_F16C);
    const int avx2 = (b7 & LEAF7_EBX_AVX2) != 0;
    const int saved = (states & STATE_YMM) == STATE_YMM;

    f->avx2 = fma && avx2 && saved;
    f->avx512 = f->avx2 && (b7 & leaf7_ebx_avx512) == leaf7_ebx_avx512 &&
                (states & STATE_ZMM) == STATE_ZMM;
    f->avx512_vnni = f->avx512 && (c7 & LEAF7_ECX_AVX512_VNNI) != 0;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        f->avx512_bf16 = f->avx512 && (a & LEAF7_1_EAX_AVX512_BF16) != 0;
        f->avx_vnni = f->avx2 && (a & LEAF7_1_EAX_AVX_VNNI) != 0;
    }
    f->fast_bf16 = f->avx512_bf16 && pairs_are_fast();
    if (!f->avx2)
        snprintf(f->missing, sizeof f->missing, "%s%s%s", avx2 ? "" : "AVX2",
                 !avx2 && !fma ? " and " : "",
                 !fma   ? "FMA"
                 : avx2 ? "the system's support for AVX"
                        : "");
}

#else

void cpu_detect(cpu_features *f)
{
    memset(f, 0, sizeof *f);
    snprintf(f->brand, sizeof f->brand, "not an x86-64 processor");
    snprintf(f->missing, sizeof f->missing, "AVX2 and FMA");
}

#endif
