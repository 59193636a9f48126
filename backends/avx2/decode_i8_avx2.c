/* SPDX-License-Identifier: MIT */
/* Stored weights to int8 panels: the templates with what AVX2 has for them. */
#include <immintrin.h>

#include "avx2/avx2.h"

#define DQG_BYTES 32
#include "template/integers.h"

DQG_BYTES_INLINE dqg_vs32 multipliers(const uint16_t *scales, const float *inverse) {
    __m256 t = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)scales));
    t = _mm256_mul_ps(t, _mm256_loadu_ps(inverse));
    t = _mm256_min_ps(_mm256_max_ps(t, _mm256_setzero_ps()), _mm256_set1_ps(16256.0f));
    return (dqg_vs32)_mm256_cvtps_epi32(t);
}

DQG_BYTES_INLINE dqg_v16 multiply_round(dqg_v16 a, dqg_v16 b) {
    return (dqg_v16)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b);
}

DQG_BYTES_INLINE dqg_v8 lookup(dqg_v8 table, dqg_v8 index) {
    return (dqg_v8)_mm256_shuffle_epi8((__m256i)table, (__m256i)index);
}

/* The shuffle gives 0 where bit 7 of the index is set. */
DQG_BYTES_INLINE dqg_v8 lookup_or_zero(dqg_v8 table, dqg_v8 index) {
    return lookup(table, (dqg_v8)_mm256_adds_epu8((__m256i)index, _mm256_set1_epi8(0x70)));
}

#include "template/decode_i8.inc"

void dqg_decode_group_i8_avx2(int8_t *panel, const struct dqg_codes *codes) {
    decode_group_i8(panel, codes);
}

void dqg_decode_sign_i8_avx2(int8_t *panel, const struct dqg_codes *codes) {
    decode_sign_i8(panel, codes);
}

void dqg_decode_f8_i8_avx2(int8_t *panel, const struct dqg_codes *codes) {
    decode_f8_i8(panel, codes);
}
