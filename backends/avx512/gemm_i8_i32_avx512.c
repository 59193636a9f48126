/* SPDX-License-Identifier: MIT */
/*
 * int8 matrix product with AVX-512 VNNI. vpdpbusd wants one unsigned factor: it gets a + 128, and sums start at -128
 * times the sum of the weights. Activations are shifted while a strip of rows is gathered, one operation for 64 of
 * them, so that the inner loop is loads and vpdpbusd alone. Weights stream from the second-level cache.
 */
#include <immintrin.h>
#include <string.h>

#include "avx512/avx512.h"
#include "template/unroll.h"

#define TILE_ROWS 12
#define TILE_PANELS 2
#define WIDE_PANELS 8
#define CHUNK 1536
#define STRIP_INPUT 1

static inline void convert(int8_t *to, const int8_t *from, size_t n) {
    const __m512i top = _mm512_set1_epi8(-128);
    for (size_t i = 0; i < n; i += 64) {
        __mmask64 mask = n - i < 64 ? ((__mmask64)1 << (n - i)) - 1 : ~(__mmask64)0;
        _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, from + i), top));
    }
}

#include "template/gemm_i8_i32.inc"

/* vpdpbusd, as assembly: around the intrinsic gcc 12 copies every accumulator twice in each pass of the loop. */
static inline __attribute__((always_inline)) __m512i accumulate(__m512i sum, __m512i a, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
    return sum;
}

static inline __attribute__((always_inline)) void multiply_tile(const struct tile *tile, size_t panel, const int rows,
                                                                const int panels) {
    __m512i sum[TILE_ROWS][WIDE_PANELS];
    size_t ldc = tile->args->ldc;
    int32_t *c = tile->c + panel * DQG_PANEL;
    const int8_t *w[WIDE_PANELS];
    DQG_UNROLL
    for (int p = 0; p < panels; p++) {
        w[p] = tile->w + (panel + (size_t)p) * tile->args->panel_stride;
        __m512i start = _mm512_loadu_si512(tile->args->sums + (panel + (size_t)p) * DQG_PANEL);
        start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(start, 7));
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            sum[m][p] = tile->add ? _mm512_loadu_si512(c + (size_t)m * ldc + p * DQG_PANEL) : start;
        }
    }
    const int8_t *a = tile->strip;
    for (size_t i = 0; i < tile->k; i += 4) {
        __m512i right[WIDE_PANELS];
        DQG_UNROLL
        for (int p = 0; p < panels; p++) {
            right[p] = _mm512_loadu_si512(w[p] + i * DQG_PANEL);
        }
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            int32_t four;
            memcpy(&four, a + m * STRIP_ROW + i, sizeof four);
            __m512i left = _mm512_set1_epi32(four);
            DQG_UNROLL
            for (int p = 0; p < panels; p++) {
                sum[m][p] = accumulate(sum[m][p], left, right[p]);
            }
        }
    }
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int p = 0; p < panels; p++) {
            _mm512_storeu_si512(c + (size_t)m * ldc + p * DQG_PANEL, sum[m][p]);
        }
    }
}

void dqg_gemm_i8_i32_avx512(const struct dqg_gemm_i8 *args) {
    gemm_i8_i32(args);
}

void dqg_sum_i8_i32_avx512(int32_t *sums, const int8_t *w, size_t k) {
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512(); /* k is a multiple of 8 */
    for (size_t i = 0; i < k; i += 8) {
        even = _mm512_dpbusd_epi32(even, ones, _mm512_loadu_si512(w + i * DQG_PANEL));
        odd = _mm512_dpbusd_epi32(odd, ones, _mm512_loadu_si512(w + i * DQG_PANEL + 64));
    }
    _mm512_storeu_si512(sums, _mm512_add_epi32(even, odd));
}
