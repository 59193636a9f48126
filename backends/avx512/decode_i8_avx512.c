/* SPDX-License-Identifier: MIT */
/* Stored weights to int8 panels: the templates with what AVX-512 has for them. */
#include <immintrin.h>

#include "avx512/avx512.h"

#define DQG_BYTES 64
#include "template/integers.h"

DQG_BYTES_INLINE dqg_vs32 multipliers(const uint16_t *scales, const float *inverse) {
    __m512 t = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scales));
    t = _mm512_mul_ps(t, _mm512_loadu_ps(inverse));
    t = _mm512_min_ps(_mm512_max_ps(t, _mm512_setzero_ps()), _mm512_set1_ps(16256.0f));
    return (dqg_vs32)_mm512_cvtps_epi32(t);
}

DQG_BYTES_INLINE dqg_v16 multiply_round(dqg_v16 a, dqg_v16 b) {
    return (dqg_v16)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b);
}

DQG_BYTES_INLINE dqg_v8 lookup(dqg_v8 table, dqg_v8 index) {
    return (dqg_v8)_mm512_shuffle_epi8((__m512i)table, (__m512i)index);
}

/* The shuffle gives 0 where bit 7 of the index is set. */
DQG_BYTES_INLINE dqg_v8 lookup_or_zero(dqg_v8 table, dqg_v8 index) {
    return lookup(table, (dqg_v8)_mm512_adds_epu8((__m512i)index, _mm512_set1_epi8(0x70)));
}

#include "template/decode_i8.inc"

void dqg_decode_group_i8_avx512(int8_t *panel, const struct dqg_codes *codes) {
    decode_group_i8(panel, codes);
}

void dqg_decode_sign_i8_avx512(int8_t *panel, const struct dqg_codes *codes) {
    decode_sign_i8(panel, codes);
}

void dqg_decode_f8_i8_avx512(int8_t *panel, const struct dqg_codes *codes) {
    decode_f8_i8(panel, codes);
}

/* ---- codebooks: 256 words are eight registers, two of which a shuffle reads ---- */

enum { BOOK_VECTORS = 8 };

/* Words of the table; an index is a byte in a word. */
static inline __m512i lookup_word(const __m512i *book, __m512i index) {
    __mmask32 odd_quarter = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
    __mmask32 upper_half = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
    __m512i lower = _mm512_mask_blend_epi16(odd_quarter, _mm512_permutex2var_epi16(book[0], index, book[1]),
                                            _mm512_permutex2var_epi16(book[2], index, book[3]));
    __m512i upper = _mm512_mask_blend_epi16(odd_quarter, _mm512_permutex2var_epi16(book[4], index, book[5]),
                                            _mm512_permutex2var_epi16(book[6], index, book[7]));
    return _mm512_mask_blend_epi16(upper_half, lower, upper);
}

static inline __m512i load_index(const uint8_t *codes) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)codes));
}

static inline void vectors_of_2(int8_t *panel, const struct dqg_codes *codes) {
    __m512i book[BOOK_VECTORS];
    for (int i = 0; i < BOOK_VECTORS; i++) {
        book[i] = _mm512_loadu_si512(codes->levels + 64 * i);
    }
    for (size_t i = 0; i < codes->k * 8; i += 32) {
        _mm512_storeu_si512(panel + 2 * i, lookup_word(book, load_index(codes->codes + i)));
    }
}

/* First and second words of the entries apart. Interleaving the results works within 16 bytes: the index is put in the
 * order that makes them come out right. */
static inline void vectors_of_4(int8_t *panel, const struct dqg_codes *codes) {
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    const __m512i even = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26,
                                          24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi16(even, _mm512_set1_epi16(1));
    __m512i first[BOOK_VECTORS], second[BOOK_VECTORS];
    for (int i = 0; i < BOOK_VECTORS; i++) {
        __m512i a = _mm512_loadu_si512(codes->levels + 128 * i);
        __m512i b = _mm512_loadu_si512(codes->levels + 128 * i + 64);
        first[i] = _mm512_permutex2var_epi16(a, even, b);
        second[i] = _mm512_permutex2var_epi16(a, odd, b);
    }
    for (size_t i = 0; i < codes->k * 4; i += 32) {
        __m512i index = _mm512_permutexvar_epi64(order, load_index(codes->codes + i));
        __m512i low = lookup_word(first, index), high = lookup_word(second, index);
        _mm512_storeu_si512(panel + 4 * i, _mm512_unpacklo_epi16(low, high));
        _mm512_storeu_si512(panel + 4 * i + 64, _mm512_unpackhi_epi16(low, high));
    }
}

void dqg_decode_vector_i8_avx512(int8_t *panel, const struct dqg_codes *codes) {
    if (codes->bits == 2) {
        vectors_of_4(panel, codes);
    } else {
        vectors_of_2(panel, codes);
    }
}
