/* SPDX-License-Identifier: MIT */
/*
 * int8 matrix product with AVX-512 VNNI. vpdpbusd wants one unsigned factor: it gets a + 128, and the accumulators
 * start at -128 times the sum of the weights. Activations are shifted while a strip of rows is copied to the stack,
 * one addition for 64 of them, so that the inner loop is loads and vpdpbusd alone. Inputs are taken in chunks whose
 * weights stay in the first-level cache while all rows pass; between chunks the sums wait in c.
 */
#include <immintrin.h>
#include <string.h>

#include "avx512/avx512.h"
#include "template/unroll.h"

enum {
    TILE_ROWS = 12,
    TILE_PANELS = 2,
    CHUNK = 512,            /* inputs */
    STRIP_ROW = CHUNK + 64, /* bytes from row to row of the strip, not a power of two */
};

/* One chunk of the product, as all its tiles see it. */
struct chunk {
    int32_t *c;
    size_t ldc;
    const int8_t *w;
    size_t panel_stride;
    size_t k;
    const int8_t *strip;
    const int32_t *start; /* [panels][16], -128 * sum of weights */
    int add;              /* c holds the sums of earlier chunks */
};

/* vpdpbusd, as assembly: around the intrinsic gcc 12 copies every accumulator twice in each pass of the loop. */
static inline __attribute__((always_inline)) __m512i accumulate(__m512i sum, __m512i a, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
    return sum;
}

/* rows x panels results; c, w and start point at the first. */
static inline __attribute__((always_inline)) void tile(const struct chunk *chunk, size_t row, size_t panel,
                                                       const int rows, const int panels) {
    __m512i sum[TILE_ROWS][TILE_PANELS];
    int32_t *c = chunk->c + row * chunk->ldc + panel * DQG_PANEL;
    const int8_t *w[TILE_PANELS];
    DQG_UNROLL
    for (int p = 0; p < panels; p++) {
        w[p] = chunk->w + (panel + (size_t)p) * chunk->panel_stride;
        __m512i start = _mm512_loadu_si512(chunk->start + (panel + (size_t)p) * DQG_PANEL);
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            sum[m][p] = start;
            if (chunk->add) {
                __m512i before = _mm512_loadu_si512(c + (size_t)m * chunk->ldc + p * DQG_PANEL);
                sum[m][p] = _mm512_add_epi32(sum[m][p], before);
            }
        }
    }
    const int8_t *a = chunk->strip;
    for (size_t i = 0; i < chunk->k; i += 4) {
        __m512i right[TILE_PANELS];
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
            _mm512_storeu_si512(c + (size_t)m * chunk->ldc + p * DQG_PANEL, sum[m][p]);
        }
    }
}

static inline __attribute__((always_inline)) void tile_pair(const struct chunk *chunk, size_t row, size_t panels,
                                                            const int rows) {
    size_t panel = 0;
    for (; panel + TILE_PANELS <= panels; panel += TILE_PANELS) {
        tile(chunk, row, panel, rows, TILE_PANELS);
    }
    if (panel < panels) {
        tile(chunk, row, panel, rows, 1);
    }
}

/* Every height has its code: leftover rows then cost no more than others. */
static void tile_rows(const struct chunk *chunk, size_t row, size_t panels, size_t rows) {
    switch (rows) {
    case 1:
        tile_pair(chunk, row, panels, 1);
        break;
    case 2:
        tile_pair(chunk, row, panels, 2);
        break;
    case 3:
        tile_pair(chunk, row, panels, 3);
        break;
    case 4:
        tile_pair(chunk, row, panels, 4);
        break;
    case 5:
        tile_pair(chunk, row, panels, 5);
        break;
    case 6:
        tile_pair(chunk, row, panels, 6);
        break;
    case 7:
        tile_pair(chunk, row, panels, 7);
        break;
    case 8:
        tile_pair(chunk, row, panels, 8);
        break;
    case 9:
        tile_pair(chunk, row, panels, 9);
        break;
    case 10:
        tile_pair(chunk, row, panels, 10);
        break;
    case 11:
        tile_pair(chunk, row, panels, 11);
        break;
    default:
        tile_pair(chunk, row, panels, 12);
        break;
    }
}

/* -128 times the sum of a panel's weights, for its 16 outputs. */
static void start_sums(int32_t *start, const int8_t *w, size_t k) {
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512(); /* k is a multiple of 8 */
    for (size_t i = 0; i < k; i += 8) {
        even = _mm512_dpbusd_epi32(even, ones, _mm512_loadu_si512(w + i * DQG_PANEL));
        odd = _mm512_dpbusd_epi32(odd, ones, _mm512_loadu_si512(w + i * DQG_PANEL + 64));
    }
    __m512i sum = _mm512_slli_epi32(_mm512_add_epi32(even, odd), 7);
    _mm512_storeu_si512(start, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
}

/* strip[m][i] = a[m][i] + 128 */
static void shift_rows(int8_t *strip, const int8_t *a, size_t lda, size_t rows, size_t k) {
    const __m512i top = _mm512_set1_epi8(-128);
    for (size_t m = 0; m < rows; m++) {
        for (size_t i = 0; i < k; i += 64) {
            __mmask64 mask = k - i < 64 ? ((__mmask64)1 << (k - i)) - 1 : ~(__mmask64)0;
            __m512i v = _mm512_maskz_loadu_epi8(mask, a + m * lda + i);
            _mm512_store_si512(strip + m * STRIP_ROW + i, _mm512_xor_si512(v, top));
        }
    }
}

void dqg_gemm_i8_i32_avx512(int32_t *c, size_t ldc, const int8_t *a, size_t lda, const int8_t *w, size_t panel_stride,
                            size_t rows, size_t panels, size_t k) {
    _Alignas(64) int8_t strip[TILE_ROWS * STRIP_ROW];
    int32_t start[DQG_BLOCK_COLUMNS];
    size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t k0 = 0; k0 < k; k0 += CHUNK) {
        struct chunk chunk = {.c = c,
                              .ldc = ldc,
                              .w = w + k0 * DQG_PANEL,
                              .panel_stride = panel_stride,
                              .k = k - k0 < CHUNK ? k - k0 : CHUNK,
                              .strip = strip,
                              .start = start,
                              .add = k0 > 0};
        for (size_t panel = 0; panel < panels; panel++) {
            start_sums(start + panel * DQG_PANEL, chunk.w + panel * panel_stride, chunk.k);
        }
        for (size_t i = 0, row = 0; i < tiles; i++) { /* tiles of equal height, to within one */
            size_t next = rows * (i + 1) / tiles;
            shift_rows(strip, a + row * lda + k0, lda, next - row, chunk.k);
            tile_rows(&chunk, row, panels, next - row);
            row = next;
        }
    }
}
