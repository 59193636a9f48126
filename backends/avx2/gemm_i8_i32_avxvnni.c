/* SPDX-License-Identifier: MIT */
/*
 * int8 matrix product with AVX-VNNI, vpdpbusd on 256-bit registers: as gemm_i8_i32_avx512.c, with a tile of 6 rows by
 * one panel.
 */
#include <immintrin.h>
#include <string.h>

#include "avx2/avx2.h"
#include "template/unroll.h"

#define TILE_ROWS 6
#define TILE_PANELS 1
#define WIDE_PANELS 1
#define CHUNK 1536
#define STRIP_INPUT 1

enum { VECTORS = 2 }; /* of 8 outputs in a panel */

static inline void convert(int8_t *to, const int8_t *from, size_t n) {
    const __m256i top = _mm256_set1_epi8(-128);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(from + i));
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_xor_si256(v, top));
    }
    for (; i < n; i += 8) {
        __m128i v = _mm_loadl_epi64((const __m128i *)(from + i));
        _mm_storel_epi64((__m128i *)(to + i), _mm_xor_si128(v, _mm256_castsi256_si128(top)));
    }
}

#include "template/gemm_i8_i32.inc"

/* vpdpbusd, as assembly: around the intrinsic gcc 12 copies accumulators. */
static inline __attribute__((always_inline)) __m256i accumulate(__m256i sum, __m256i a, __m256i w) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(w));
    return sum;
}

static inline __attribute__((always_inline)) void multiply_tile(const struct tile *tile, size_t panel, const int rows,
                                                                const int panels) {
    (void)panels; /* always 1 */
    __m256i sum[TILE_ROWS][VECTORS];
    size_t ldc = tile->args->ldc;
    int32_t *c = tile->c + panel * DQG_PANEL;
    const int8_t *w = tile->w + panel * tile->args->panel_stride;
    DQG_UNROLL
    for (int v = 0; v < VECTORS; v++) {
        __m256i start = _mm256_loadu_si256((const __m256i *)(tile->args->sums + panel * DQG_PANEL + 8 * v));
        start = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(start, 7));
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            const __m256i *before = (const __m256i *)(c + (size_t)m * ldc + 8 * v);
            sum[m][v] = tile->add ? _mm256_loadu_si256(before) : start;
        }
    }
    const int8_t *a = tile->strip;
    for (size_t i = 0; i < tile->k; i += 4) {
        __m256i right[VECTORS];
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            right[v] = _mm256_loadu_si256((const __m256i *)(w + i * DQG_PANEL + 32 * v));
        }
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            int32_t four;
            memcpy(&four, a + m * STRIP_ROW + i, sizeof four);
            __m256i left = _mm256_set1_epi32(four);
            DQG_UNROLL
            for (int v = 0; v < VECTORS; v++) {
                sum[m][v] = accumulate(sum[m][v], left, right[v]);
            }
        }
    }
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            _mm256_storeu_si256((__m256i *)(c + (size_t)m * ldc + 8 * v), sum[m][v]);
        }
    }
}

void dqg_gemm_i8_i32_avxvnni(const struct dqg_gemm_i8 *args) {
    gemm_i8_i32(args);
}
