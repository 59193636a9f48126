/* SPDX-License-Identifier: MIT */
/*
 * int8 matrix product on every aarch64 CPU. Products of two groups of four inputs are added in 16 bits, which two
 * products of at most 127 * 127 just fit, then widened to two 32-bit partial sums for each output.
 */
#include <arm_neon.h>
#include <string.h>

#include "neon/neon.h"
#include "template/unroll.h"

#define TILE_ROWS 2
#define TILE_PANELS 1
#define WIDE_PANELS 1
#define CHUNK 1024
#define STRIP_INPUT 1

enum { VECTORS = 8 }; /* of 2 outputs in a panel */

static inline void convert(int8_t *to, const int8_t *from, size_t n) {
    memcpy(to, from, n);
}

#include "template/gemm_i8_i32.inc"

/* The four inputs at a, twice. */
static inline int8x8_t broadcast(const int8_t *a) {
    uint32_t four;
    memcpy(&four, a, sizeof four);
    return vreinterpret_s8_u32(vdup_n_u32(four));
}

static inline __attribute__((always_inline)) void multiply_tile(const struct tile *tile, size_t panel, const int rows,
                                                                const int panels) {
    int32x4_t sum[TILE_ROWS][VECTORS];
    int32_t *c = tile->c + panel * DQG_PANEL;
    const int8_t *a = tile->strip, *w = tile->w + panel * tile->args->panel_stride;
    (void)panels; /* always 1 */
    DQG_UNROLL
    for (int m = 0; m < rows; m++) {
        DQG_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            sum[m][v] = vdupq_n_s32(0);
        }
    }
    for (size_t i = 0; i < tile->k; i += 8) {
        int8x8_t first[TILE_ROWS], second[TILE_ROWS];
        DQG_UNROLL
        for (int m = 0; m < rows; m++) {
            first[m] = broadcast(a + m * STRIP_ROW + i);
            second[m] = broadcast(a + m * STRIP_ROW + i + 4);
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
            int32_t *out = c + (size_t)m * tile->args->ldc + 2 * v;
            int32x4_t four = vpaddq_s32(sum[m][v], sum[m][v + 1]);
            vst1q_s32(out, tile->add ? vaddq_s32(vld1q_s32(out), four) : four);
        }
    }
}

void dqg_gemm_i8_i32_neon(const struct dqg_gemm_i8 *args) {
    gemm_i8_i32(args);
}

void dqg_sum_i8_i32_neon(int32_t *sums, const int8_t *w, size_t k) {
    for (size_t n = 0; n < DQG_PANEL; n += 4) {
        int32x4_t sum = vdupq_n_s32(0);
        for (size_t i = 0; i < k; i += 4) {
            int16x8_t pairs = vpaddlq_s8(vld1q_s8(w + i * DQG_PANEL + 4 * n));
            sum = vpadalq_s16(sum, pairs);
        }
        vst1q_s32(sums + n, sum);
    }
}
