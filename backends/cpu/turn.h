/*
 * turn.h - matrices of floats, transposed eight by eight, or VW by VW.
 */
#ifndef CPU_TURN_H
#define CPU_TURN_H

#include "cpu.h"
#include "vec.h"

/* Eight lines of eight, turned: to[k * pitch + line]. */
CPU_INLINE void turn_eight(float *to, int64_t pitch, const __m256 *line)
{
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(line[i], line[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(line[i], line[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            const __m256d low = _mm256_castps_pd(a[i + k]);
            const __m256d high = _mm256_castps_pd(a[i + k + 2]);
            b[i + 2 * k] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            b[i + 2 * k + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    for (int k = 0; k < 4; k++) {
        _mm256_storeu_ps(to + k * pitch,
                         _mm256_permute2f128_ps(b[k], b[k + 4], 0x20));
        _mm256_storeu_ps(to + (k + 4) * pitch,
                         _mm256_permute2f128_ps(b[k], b[k + 4], 0x31));
    }
}

/* VW lines of VW, alike. */
#if defined(__AVX512F__)
CPU_INLINE void turn_square(float *to, int64_t pitch, const vf *line)
{
    vf a[16], b[16];
    CPU_UNROLL(8)
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(line[i], line[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(line[i], line[i + 1]);
    }
    CPU_UNROLL(4)
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            const __m512d low = _mm512_castps_pd(a[i + k]);
            const __m512d high = _mm512_castps_pd(a[i + k + 2]);
            b[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            b[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    /* quarter q of b[4 i + k] is column 4 q + k of lines 4 i to 4 i + 3 */
    CPU_UNROLL(4)
    for (int k = 0; k < 4; k++) {
        const vf even = _mm512_shuffle_f32x4(b[k], b[k + 4], 0x88);
        const vf odd = _mm512_shuffle_f32x4(b[k], b[k + 4], 0xdd);
        const vf more_even = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0x88);
        const vf more_odd = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0xdd);
        v_store(to + k * pitch, _mm512_shuffle_f32x4(even, more_even, 0x88));
        v_store(to + (k + 4) * pitch,
                _mm512_shuffle_f32x4(odd, more_odd, 0x88));
        v_store(to + (k + 8) * pitch,
                _mm512_shuffle_f32x4(even, more_even, 0xdd));
        v_store(to + (k + 12) * pitch,
                _mm512_shuffle_f32x4(odd, more_odd, 0xdd));
    }
}
#else
CPU_INLINE void turn_square(float *to, int64_t pitch, const vf *line)
{
    turn_eight(to, pitch, line);
}
#endif

/* to (columns, rows) = scale * from^T, from (rows, columns). */
CPU_INLINE void turn_scaled(float *to, int64_t to_pitch, const float *from,
                            int64_t from_pitch, int64_t rows, int64_t columns,
                            float scale)
{
    const __m256 by = _mm256_set1_ps(scale);
    for (int64_t i = 0; i < rows; i += 8)
        for (int64_t j = 0; j < columns; j += 8) {
            const float *at = from + i * from_pitch + j;
            float *turned = to + j * to_pitch + i;
            __m256 line[8];
            if (i + 8 > rows || j + 8 > columns) {
                for (int64_t r = 0; r < cpu_min(8, rows - i); r++)
                    for (int64_t c = 0; c < cpu_min(8, columns - j); c++)
                        turned[c * to_pitch + r] =
                            scale * at[r * from_pitch + c];
                continue;
            }
            for (int64_t r = 0; r < 8; r++)
                line[r] =
                    _mm256_mul_ps(by, _mm256_loadu_ps(at + r * from_pitch));
            turn_eight(turned, to_pitch, line);
        }
}

#endif
