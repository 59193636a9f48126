/* SPDX-License-Identifier: MIT */
/* What this processor can reach with the loops of gemm_i8_i32 and gemm_f32 as the compiler makes them, on arrays that
 * stay in the first-level cache. */
#include "scalar/scalar.h"

enum { DEPTH = 64 };

/* The compiler must take the array as changed, and a result as used. */
#define TOUCH(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

uint64_t dqg_ceiling_i8_scalar(uint64_t rounds) {
    int8_t a[DEPTH], w[DEPTH * DQG_PANEL];
    int32_t sum[DQG_PANEL];
    const int32_t sums[DQG_PANEL] = {0};
    const size_t first = 0;
    const struct dqg_gemm_i8 args = {sum, DQG_PANEL, a, &first, &first, w, sums, 0, 1, 1, 1, DEPTH};
    for (int i = 0; i < DEPTH * DQG_PANEL; i++) {
        w[i] = (int8_t)(i % 201 - 100);
        a[i % DEPTH] = (int8_t)(i % 211 - 105);
    }
    for (uint64_t i = 0; i < rounds; i++) {
        TOUCH(a);
        dqg_gemm_i8_i32_scalar(&args);
        TOUCH(sum);
    }
    return rounds * DEPTH * DQG_PANEL * 2;
}

uint64_t dqg_ceiling_f32_scalar(uint64_t rounds) {
    float a[4 * DEPTH], b[DEPTH * DQG_PANEL], sum[4 * DQG_PANEL];
    for (int i = 0; i < DEPTH * DQG_PANEL; i++) {
        b[i] = (float)(i % 201 - 100) * 0x1p-8f;
        a[i % (4 * DEPTH)] = (float)(i % 211 - 105) * 0x1p-8f;
    }
    for (uint64_t i = 0; i < rounds; i++) {
        TOUCH(a);
        dqg_gemm_f32_scalar(sum, DQG_PANEL, a, DEPTH, b, DQG_PANEL, 4, DQG_PANEL, DEPTH, 0);
        TOUCH(sum);
    }
    return rounds * DEPTH * DQG_PANEL * 4 * 2;
}
