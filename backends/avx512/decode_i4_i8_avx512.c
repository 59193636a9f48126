/* SPDX-License-Identifier: MIT */
/*
 * int4 panel to int8 panel. (code - zero) moved to the high byte of a 16-bit lane is the factor 256 of the formula,
 * and vpmulhrsw computes (a * b + 2^14) >> 15. The four bytes of an output share one 32-bit lane, so one multiplier
 * vector serves the even and the odd bytes.
 */
#include <immintrin.h>

#include "avx512/avx512.h"

/* 64 codes in bytes to 64 weights. */
static inline __m512i decode(__m512i codes, __m512i zero, __m512i r) {
    const __mmask64 odd_bytes = 0xaaaaaaaaaaaaaaaa;
    __m512i difference = _mm512_sub_epi8(codes, zero);
    __m512i even = _mm512_mulhrs_epi16(_mm512_slli_epi16(difference, 8), r);
    __m512i odd = _mm512_mulhrs_epi16(_mm512_maskz_mov_epi8(odd_bytes, difference), r);
    return _mm512_mask_blend_epi8(odd_bytes, even, _mm512_slli_epi16(odd, 8));
}

void dqg_decode_i4_i8_avx512(int8_t *panel, const uint8_t *codes, const uint16_t *scales, const uint8_t *zeros,
                             size_t scale_stride, const float *inverse, size_t k, size_t group) {
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i zero = _mm512_set1_epi8(8);
    for (size_t k0 = 0; k0 < k; k0 += group) {
        __m512 t = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scales));
        t = _mm512_mul_ps(t, _mm512_loadu_ps(inverse));
        t = _mm512_min_ps(_mm512_max_ps(t, _mm512_setzero_ps()), _mm512_set1_ps(16256.0f));
        __m512i r = _mm512_cvtps_epi32(t);
        r = _mm512_or_si512(r, _mm512_slli_epi32(r, 16));
        if (zeros) {
            zero = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)zeros));
            zero = _mm512_mullo_epi32(zero, _mm512_set1_epi32(0x01010101));
            zeros += scale_stride;
        }
        scales += scale_stride;
        size_t last = k - k0 < group ? k : k0 + group;
        for (size_t i = k0; i < last; i += 8) {
            __m512i both = _mm512_loadu_si512(codes);
            __m512i low = _mm512_and_si512(both, nibble);
            __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
            _mm512_storeu_si512(panel, decode(low, zero, r));
            _mm512_storeu_si512(panel + 64, decode(high, zero, r));
            codes += 64;
            panel += 128;
        }
    }
}
