/* SPDX-License-Identifier: MIT */
/* int8 matrix product with the dot product instructions of ARMv8.2: four inputs of four outputs in each. */
#include <arm_neon.h>
#include <string.h>

#include "neon/neon.h"
#include "template/unroll.h"

#define TILE_ROWS 6
#define TILE_PANELS 1
#define WIDE_PANELS 1
#define CHUNK 1024
#define STRIP_INPUT 1

enum { VECTORS = 4 }; /* of 4 outputs in a panel */

static inline void convert(int8_t *to, const int8_t *from, size_t n) {
    memcpy(to, from, n);
}

#include "template/gemm_i8_i32.inc"

static inline __attribute__((always_inline)) void multiply_tile(const struct tile *tile, size_t panel, const int rows,
                                                                const int panels) {
    int32x4_t sum[TILE_ROWS][VECTORS];
    size_t ldc = tile->args->ldc;
    int32_t *c = tile->c + panel * DQG_PANEL;
    const int8_t *a = tile->strip, *w = tile->w + panel * tile->args->panel_stride;
    (void)panels; /* always 1 */
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            sum[m][v] = tile->add ? vld1q_s32(c + (size_t)m * ldc + 4 * v) : vdupq_n_s32(0);
        }
    }
    for (size_t i = 0; i < tile->k; i += 8) {
        int8x8_t left[TILE_ROWS];
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            left[m] = vld1_s8(a + m * STRIP_ROW + i);
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

void dqg_gemm_i8_i32_neon_dot(const struct dqg_gemm_i8 *args) {
    gemm_i8_i32(args);
}
