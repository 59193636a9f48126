/* SPDX-License-Identifier: MIT */
/*
 * int8 matrix product with the matrix instructions of ARMv8.6 (i8mm): smmla multiplies two rows by two outputs, eight
 * inputs each. Rows lie in pairs in the strip; the panel's two groups of four inputs are zipped to eight.
 */
#include <arm_neon.h>
#include <string.h>

#include "neon/neon.h"
#include "template/unroll.h"

#define TILE_ROWS 6
#define TILE_PANELS 1
#define WIDE_PANELS 1
#define CHUNK 1024
#define STRIP_INPUT 1

enum { PAIRS = TILE_ROWS / 2, QUARTERS = 4 }; /* of 4 outputs in a panel */

static inline void convert(int8_t *to, const int8_t *from, size_t n) {
    memcpy(to, from, n);
}

#include "template/gemm_i8_i32.inc"

/* Inputs i..i + 7 of a pair of rows; of an odd last row, the row twice. */
static inline __attribute__((always_inline)) int8x16_t load_pair(const int8_t *a, int pair, const int rows) {
    int second = 2 * pair + 1 < rows ? 2 * pair + 1 : 2 * pair;
    return vcombine_s8(vld1_s8(a + 2 * pair * STRIP_ROW), vld1_s8(a + second * STRIP_ROW));
}

/* low and high hold {row 0: n, n + 1; row 1: n, n + 1} of outputs 0, 1 and 2, 3: to the two rows of c. */
static inline __attribute__((always_inline)) void store_pair(const struct tile *tile, int32_t *c, int32x4_t low,
                                                             int32x4_t high, const int both) {
    int32x4_t row[2] = {vcombine_s32(vget_low_s32(low), vget_low_s32(high)),
                        vcombine_s32(vget_high_s32(low), vget_high_s32(high))};
    DQG_UNROLL
    for (int m = 0; m < 1 + both; m++) {
        int32_t *out = c + (size_t)m * tile->args->ldc;
        vst1q_s32(out, tile->add ? vaddq_s32(vld1q_s32(out), row[m]) : row[m]);
    }
}

static inline __attribute__((always_inline)) void multiply_tile(const struct tile *tile, size_t panel, const int rows,
                                                                const int panels) {
    int32x4_t low[PAIRS][QUARTERS], high[PAIRS][QUARTERS];
    int32_t *c = tile->c + panel * DQG_PANEL;
    const int8_t *a = tile->strip, *w = tile->w + panel * tile->args->panel_stride;
    const int pairs = (rows + 1) / 2;
    (void)panels; /* always 1 */
    DQG_UNROLL
    for (int m = 0; m < pairs; m++) {
        DQG_UNROLL
        for (int q = 0; q < QUARTERS; q++) {
            low[m][q] = high[m][q] = vdupq_n_s32(0);
        }
    }
    for (size_t i = 0; i < tile->k; i += 8) {
        int8x16_t left[PAIRS];
        DQG_UNROLL
        for (int m = 0; m < pairs; m++) {
            left[m] = load_pair(a + i, m, rows);
        }
        DQG_UNROLL
        for (int q = 0; q < QUARTERS; q++) {
            int32x4_t w0 = vreinterpretq_s32_s8(vld1q_s8(w + 16 * q));
            int32x4_t w1 = vreinterpretq_s32_s8(vld1q_s8(w + 64 + 16 * q));
            int8x16_t first = vreinterpretq_s8_s32(vzip1q_s32(w0, w1));
            int8x16_t second = vreinterpretq_s8_s32(vzip2q_s32(w0, w1));
            DQG_UNROLL
            for (int m = 0; m < pairs; m++) {
                low[m][q] = vmmlaq_s32(low[m][q], left[m], first);
                high[m][q] = vmmlaq_s32(high[m][q], left[m], second);
            }
        }
        w += 128;
    }
    DQG_UNROLL
    for (int m = 0; m < pairs; m++) {
        DQG_UNROLL
        for (int q = 0; q < QUARTERS; q++) {
            store_pair(tile, c + 2 * (size_t)m * tile->args->ldc + 4 * q, low[m][q], high[m][q], 2 * m + 1 < rows);
        }
    }
}

void dqg_gemm_i8_i32_neon_mm(const struct dqg_gemm_i8 *args) {
    gemm_i8_i32(args);
}
