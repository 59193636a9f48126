/* SPDX-License-Identifier: MIT */
/*
 * int8 matrix product. vpmaddubsw wants one unsigned factor: it gets |a|, and the sign of a moves to the weight. Two
 * products of at most 127 * 127 fit its 16 bits, so nothing saturates. The strip holds four inputs, then their
 * magnitudes, and so on, so that the inner loop does not compute them for each panel.
 */
#include <immintrin.h>
#include <string.h>

#include "avx2/avx2.h"
#include "template/unroll.h"

#define TILE_ROWS 4
#define TILE_PANELS 1
#define WIDE_PANELS 1
#define CHUNK 1024
#define STRIP_INPUT 2

enum { VECTORS = 2 }; /* of 8 outputs in a panel */

static inline void convert(int8_t *to, const int8_t *from, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        __m128i v = _mm_loadl_epi64((const __m128i *)(from + i));
        _mm_storeu_si128((__m128i *)(to + 2 * i), _mm_unpacklo_epi32(v, _mm_abs_epi8(v)));
    }
}

#include "template/gemm_i8_i32.inc"

static inline __attribute__((always_inline)) __m256i broadcast(const int8_t *a) {
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline __attribute__((always_inline)) void multiply_tile(const struct tile *tile, size_t panel, const int rows,
                                                                const int panels) {
    const __m256i ones = _mm256_set1_epi16(1);
    (void)panels; /* always 1 */
    __m256i sum[TILE_ROWS][VECTORS];
    size_t ldc = tile->args->ldc;
    int32_t *c = tile->c + panel * DQG_PANEL;
    const int8_t *w = tile->w + panel * tile->args->panel_stride;
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const __m256i *before = (const __m256i *)(c + (size_t)m * ldc + 8 * v);
            sum[m][v] = tile->add ? _mm256_loadu_si256(before) : _mm256_setzero_si256();
        }
    }
    const int8_t *a = tile->strip;
    for (size_t i = 0; i < tile->k; i += 4) {
        __m256i right[VECTORS];
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            right[v] = _mm256_loadu_si256((const __m256i *)(w + 32 * v));
        }
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            __m256i left = broadcast(a + m * STRIP_ROW);
            __m256i magnitude = broadcast(a + m * STRIP_ROW + 4);
            DQG_UNROLL
            for (int v = 0; v < VECTORS; v++) {
                __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(right[v], left));
                sum[m][v] = _mm256_add_epi32(sum[m][v], _mm256_madd_epi16(pairs, ones));
            }
        }
        w += 64;
        a += 8;
    }
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            _mm256_storeu_si256((__m256i *)(c + (size_t)m * ldc + 8 * v), sum[m][v]);
        }
    }
}

void dqg_gemm_i8_i32_avx2(const struct dqg_gemm_i8 *args) {
    gemm_i8_i32(args);
}

void dqg_sum_i8_i32_avx2(int32_t *sums, const int8_t *w, size_t k) {
    const __m256i bytes = _mm256_set1_epi8(1), words = _mm256_set1_epi16(1);
    for (size_t v = 0; v < VECTORS; v++) {
        __m256i sum = _mm256_setzero_si256();
        for (size_t i = 0; i < k; i += 4) {
            __m256i right = _mm256_loadu_si256((const __m256i *)(w + i * DQG_PANEL + 32 * v));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, right), words));
        }
        _mm256_storeu_si256((__m256i *)(sums + 8 * v), sum);
    }
}
