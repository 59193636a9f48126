/* SPDX-License-Identifier: MIT */
/* int8 matrix product with the dot product instructions of ARMv8.2: four inputs of four outputs in each. */
#include <arm_neon.h>

#include "neon/neon.h"
#include "template/unroll.h"

enum { TILE_ROWS = 6, VECTORS = 4 }; /* 4 vectors of 4 outputs in a panel */

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
        int8x8_t left[TILE_ROWS];
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            left[m] = vld1_s8(a + (size_t)m * lda + i);
        }
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            int8x16_t w0 = vld1q_s8(w + 16 * v), w1 = vld1q_s8(w + 64 + 16 * v);
            DQG_UNROLL
            for (int m = 0; m < rows; m++) {
                sum[m][v] = vdotq_lane_s32(sum[m][v], w0, left[m], 0);
                sum[m][v] = vdotq_lane_s32(sum[m][v], w1, left[m], 1);
            }
        }
        w += 128;
    }
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            vst1q_s32(c + (size_t)m * ldc + 4 * v, sum[m][v]);
        }
    }
}

void dqg_gemm_i8_i32_neon_dot(int32_t *c, size_t ldc, const int8_t *a, size_t lda, const int8_t *w, size_t panel_stride,
                              size_t rows, size_t panels, size_t k) {
    for (size_t panel = 0; panel < panels; panel++) {
        size_t m = 0;
        for (; m + TILE_ROWS <= rows; m += TILE_ROWS) {
            tile(c + m * ldc, ldc, a + m * lda, lda, w, k, TILE_ROWS);
        }
        for (; m + 2 <= rows; m += 2) {
            tile(c + m * ldc, ldc, a + m * lda, lda, w, k, 2);
        }
        for (; m < rows; m++) {
            tile(c + m * ldc, ldc, a + m * lda, lda, w, k, 1);
        }
        c += DQG_PANEL;
        w += panel_stride;
    }
}
