/* SPDX-License-Identifier: MIT */
/*
 * int4 panel to int8 panel. (code - zero) moved to the high byte of a 16-bit lane is the factor 256 of the formula,
 * and vpmulhrsw computes (a * b + 2^14) >> 15. The four bytes of an output share one 32-bit lane, so one multiplier
 * vector serves the even and the odd bytes. A panel is done as two halves of 8 outputs.
 */
#include <immintrin.h>

#include "avx2/avx2.h"

/* 32 codes in bytes to 32 weights. */
static inline __m256i decode(__m256i codes, __m256i zero, __m256i r) {
    const __m256i low_byte = _mm256_set1_epi16(0x00ff);
    __m256i difference = _mm256_sub_epi8(codes, zero);
    __m256i even = _mm256_mulhrs_epi16(_mm256_slli_epi16(difference, 8), r);
    __m256i odd = _mm256_mulhrs_epi16(_mm256_andnot_si256(low_byte, difference), r);
    return _mm256_or_si256(_mm256_and_si256(even, low_byte), _mm256_slli_epi16(odd, 8));
}

static inline __m256i multipliers(const uint16_t *scales, const float *inverse) {
    __m256 t = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)scales));
    t = _mm256_mul_ps(t, _mm256_loadu_ps(inverse));
    t = _mm256_min_ps(_mm256_max_ps(t, _mm256_setzero_ps()), _mm256_set1_ps(16256.0f));
    __m256i r = _mm256_cvtps_epi32(t);
    return _mm256_or_si256(r, _mm256_slli_epi32(r, 16));
}

void dqg_decode_i4_i8_avx2(int8_t *panel, const uint8_t *codes, const uint16_t *scales, const uint8_t *zeros,
                           size_t scale_stride, const float *inverse, size_t k, size_t group) {
    const __m256i nibble = _mm256_set1_epi8(15);
    for (size_t k0 = 0; k0 < k; k0 += group) {
        size_t last = k - k0 < group ? k : k0 + group;
        for (size_t half = 0; half < 2; half++) {
            __m256i r = multipliers(scales + 8 * half, inverse + 8 * half);
            __m256i zero = _mm256_set1_epi8(8);
            if (zeros) {
                zero = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(zeros + 8 * half)));
                zero = _mm256_mullo_epi32(zero, _mm256_set1_epi32(0x01010101));
            }
            for (size_t i = k0; i < last; i += 8) {
                __m256i both = _mm256_loadu_si256((const __m256i *)(codes + i * 8 + 32 * half));
                __m256i low = _mm256_and_si256(both, nibble);
                __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
                int8_t *out = panel + i * DQG_PANEL + 32 * half;
                _mm256_storeu_si256((__m256i *)out, decode(low, zero, r));
                _mm256_storeu_si256((__m256i *)(out + 64), decode(high, zero, r));
            }
        }
        scales += scale_stride;
        zeros = zeros ? zeros + scale_stride : NULL;
    }
}
