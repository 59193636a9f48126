/* SPDX-License-Identifier: MIT */
/*
 * int8 matrix product. vpmaddubsw wants one unsigned factor: it gets |a|, and the sign of a moves to the weight. Two
 * products of at most 127 * 127 fit its 16 bits, so nothing saturates.
 */
#include <immintrin.h>
#include <string.h>

#include "avx2/avx2.h"
#include "template/unroll.h"

enum { TILE_ROWS = 4, VECTORS = 2 }; /* 2 vectors of 8 outputs in a panel */

static inline __attribute__((always_inline)) __m256i broadcast(const int8_t *a) {
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline __attribute__((always_inline)) void tile(int32_t *c, size_t ldc, const int8_t *a, size_t lda,
                                                       const int8_t *w, size_t k, const int rows) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum[TILE_ROWS][VECTORS];
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            sum[m][v] = _mm256_setzero_si256();
        }
    }
    for (size_t i = 0; i < k; i += 4) {
        __m256i right[VECTORS];
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            right[v] = _mm256_loadu_si256((const __m256i *)(w + 32 * v));
        }
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            __m256i left = broadcast(a + (size_t)m * lda + i);
            __m256i magnitude = _mm256_abs_epi8(left);
            DQG_UNROLL
            for (int v = 0; v < VECTORS; v++) {
                __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(right[v], left));
                sum[m][v] = _mm256_add_epi32(sum[m][v], _mm256_madd_epi16(pairs, ones));
            }
        }
        w += 64;
    }
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            _mm256_storeu_si256((__m256i *)(c + (size_t)m * ldc + 8 * v), sum[m][v]);
        }
    }
}

void dqg_gemm_i8_i32_avx2(int32_t *c, size_t ldc, const int8_t *a, size_t lda, const int8_t *w, size_t panel_stride,
                          size_t rows, size_t panels, size_t k) {
    for (size_t panel = 0; panel < panels; panel++) {
        size_t m = 0;
        for (; m + TILE_ROWS <= rows; m += TILE_ROWS) {
            tile(c + m * ldc, ldc, a + m * lda, lda, w, k, TILE_ROWS);
        }
        for (; m < rows; m++) {
            tile(c + m * ldc, ldc, a + m * lda, lda, w, k, 1);
        }
        c += DQG_PANEL;
        w += panel_stride;
    }
}
