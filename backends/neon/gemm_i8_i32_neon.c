/* SPDX-License-Identifier: MIT */
/*
 * int8 matrix product on every aarch64 CPU. Products of two groups of four inputs are added in 16 bits, which two
 * products of at most 127 * 127 just fit, then widened to two 32-bit partial sums for each output.
 */
#include <arm_neon.h>
#include <string.h>

#include "neon/neon.h"
#include "template/unroll.h"

enum { TILE_ROWS = 2, VECTORS = 8 }; /* 8 vectors of 2 outputs in a panel */

/* The four inputs at a, twice. */
static inline int8x8_t broadcast(const int8_t *a) {
    uint32_t four;
    memcpy(&four, a, sizeof four);
    return vreinterpret_s8_u32(vdup_n_u32(four));
}

static inline __attribute__((always_inline)) void tile(int32_t *c, size_t ldc, const int8_t *a, size_t lda,
                                                       const int8_t *w, size_t k, const int rows) {
    int32x4_t sum[TILE_ROWS][VECTORS];
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            sum[m][v] = vdupq_n_s32(0);
        }
    }
    for (size_t i = 0; i < k; i += 8) {
        int8x8_t first[TILE_ROWS], second[TILE_ROWS];
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            first[m] = broadcast(a + (size_t)m * lda + i);
            second[m] = broadcast(a + (size_t)m * lda + i + 4);
        }
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            int8x8_t w0 = vld1_s8(w + 8 * v), w1 = vld1_s8(w + 64 + 8 * v);
            DQG_UNROLL
            for (int m = 0; m < rows; m++) {
                sum[m][v] = vpadalq_s16(sum[m][v], vmlal_s8(vmull_s8(w0, first[m]), w1, second[m]));
            }
        }
        w += 128;
    }
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v += 2) {
            vst1q_s32(c + (size_t)m * ldc + 2 * v, vpaddq_s32(sum[m][v], sum[m][v + 1]));
        }
    }
}

void dqg_gemm_i8_i32_neon(int32_t *c, size_t ldc, const int8_t *a, size_t lda, const int8_t *w, size_t panel_stride,
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
