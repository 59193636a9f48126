/* SPDX-License-Identifier: MIT */
/* Stored weights to int8 panels: the templates with what AVX-512 has for them; and products of few rows, which decode
 * on the way. */
#include <immintrin.h>
#include <string.h>

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

/* ---- products of few rows ---- */

/* vpdpbusd of the rows' four inputs at i with the weights of the panel's outputs; rows are a + 128 there. */
static inline __attribute__((always_inline)) void add_products(__m512i *sum, const int8_t *const *a, size_t i,
                                                               dqg_v8 weights, const int rows) {
    const __m512i top = _mm512_set1_epi8(-128);
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        int32_t four;
        memcpy(&four, a[m] + i, sizeof four);
        __m512i left = _mm512_xor_si512(_mm512_set1_epi32(four), top);
        sum[m] = _mm512_dpbusd_epi32(sum[m], left, (__m512i)weights);
    }
}

static inline __attribute__((always_inline)) void group_rows(const struct dqg_gemm_i8 *args,
                                                             const struct dqg_codes *codes, const int bits,
                                                             const dqg_v8 *levels, const int rows) {
    __m512i start = _mm512_slli_epi32(_mm512_loadu_si512(args->sums), 7);
    __m512i sum[2][DQG_FEW_ROWS]; /* of even and odd fours of inputs */
    const int8_t *a[DQG_FEW_ROWS];
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        sum[0][m] = _mm512_sub_epi32(_mm512_setzero_si512(), start);
        sum[1][m] = _mm512_setzero_si512();
        a[m] = args->a + args->row[m];
    }
    const uint8_t *block = codes->codes;
    dqg_v8 zero = dqg_v8_set1((uint8_t)(1 << (bits - 1)));
    for (size_t k0 = 0, row = 0; k0 < codes->k; k0 += codes->group, row += codes->scale_stride) {
        dqg_vs32 r = multipliers(codes->scales + row, codes->inverse);
        if (codes->zeros && !levels) {
            zero = (dqg_v8)(dqg_v8_widen(codes->zeros + row) * 0x01010101);
        }
        size_t end = k0 + group_inputs(codes, k0);
        for (size_t k = k0; k < end; k += BLOCK, block += 64 * bits) {
            dqg_v8 planes[MOST_BITS];
            group_load(planes, block, bits);
            DQG_UNROLL
            for (int v = 0; v < BLOCK_VECTORS; v++) {
                dqg_v8 weights = group_inputs_at(planes, bits, v, levels, zero, (dqg_v16)(r | r << 16));
                add_products(sum[v % 2], a, k + 4 * (size_t)v, weights, rows);
            }
        }
    }
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        _mm512_storeu_si512(args->c + (size_t)m * args->ldc, _mm512_add_epi32(sum[0][m], sum[1][m]));
    }
}

static inline __attribute__((always_inline)) void group_all(const struct dqg_gemm_i8 *args,
                                                            const struct dqg_codes *codes, const int rows) {
    if (codes->bits == 2) {
        group_rows(args, codes, 2, NULL, rows);
    } else if (codes->bits == 3) {
        group_rows(args, codes, 3, NULL, rows);
    } else if (codes->bits == 5) {
        group_rows(args, codes, 5, NULL, rows);
    } else if (codes->bits == 6) {
        group_rows(args, codes, 6, NULL, rows);
    } else if (codes->levels) {
        dqg_v8 levels = dqg_v8_repeat(codes->levels);
        group_rows(args, codes, 4, &levels, rows);
    } else {
        group_rows(args, codes, 4, NULL, rows);
    }
}

void dqg_gemm_group_i32_avx512(const struct dqg_gemm_i8 *args, const struct dqg_codes *codes) {
    struct dqg_gemm_i8 part = *args;
    for (; part.rows >= 4; part.rows -= 4, part.row += 4, part.c += 4 * part.ldc) {
        group_all(&part, codes, 4);
    }
    if (part.rows == 3) {
        group_all(&part, codes, 3);
    } else if (part.rows == 2) {
        group_all(&part, codes, 2);
    } else if (part.rows == 1) {
        group_all(&part, codes, 1);
    }
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
