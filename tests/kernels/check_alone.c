/* SPDX-License-Identifier: MIT */
/*
 * A row's result must not depend on the rows that share its call, nor an element's on its place: otherwise results
 * would depend on batch size and number of threads. Each row of a block is computed again alone and compared bit for
 * bit.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { LD = 64, MOST_ROWS = 100, MOST_K = 300 };

static float a[MOST_ROWS * MOST_K], b[MOST_K * LD], block[MOST_ROWS * LD], alone[LD];

static void compare(const char *what, size_t row, size_t columns) {
    if (memcmp(block + row * LD, alone, columns * sizeof(float)) != 0) {
        check_fail("%s: row %zu differs from the same row alone", what, row);
    }
}

static void check_gemm(const struct dqg_kernels *kernels, size_t rows, size_t columns, size_t k) {
    kernels->gemm_f32(block, LD, a, MOST_K, b, LD, rows, columns, k, 0);
    for (size_t m = 0; m < rows; m++) {
        kernels->gemm_f32(alone, LD, a + m * MOST_K, MOST_K, b, LD, 1, columns, k, 0);
        compare("gemm_f32", m, columns);
    }
}

static void check_epilogue(const struct dqg_kernels *kernels, size_t rows, size_t columns, int32_t activation) {
    static int32_t sums[MOST_ROWS * LD];
    for (size_t i = 0; i < COUNT_OF(sums); i++) {
        sums[i] = (int32_t)random_below(20001) - 10000;
    }
    struct dqg_epilogue epilogue = {.row_scale = a,
                                    .column_scale = b,
                                    .bias = b + LD,
                                    .gate = b + 2 * LD,
                                    .residual = a + MOST_ROWS,
                                    .ld_residual = LD,
                                    .activation = (enum dqg_activation)activation};
    kernels->epilogue_i32_f32(block, LD, sums, LD, rows, columns, &epilogue);
    for (size_t m = 0; m < rows; m++) {
        epilogue.row_scale = a + m;
        epilogue.residual = a + MOST_ROWS + m * LD;
        kernels->epilogue_i32_f32(alone, LD, sums + m * LD, LD, 1, columns, &epilogue);
        compare("epilogue_i32_f32", m, columns);
    }
}

static void check_norm(const struct dqg_kernels *kernels, size_t rows, size_t columns) {
    struct dqg_norm_form form = {.scale = b, .shift = b + LD, .eps = 1e-6f};
    kernels->norm_f32_f32(block, LD, a, MOST_K, rows, columns, &form);
    for (size_t m = 0; m < rows; m++) {
        kernels->norm_f32_f32(alone, LD, a + m * MOST_K, MOST_K, 1, columns, &form);
        compare("norm_f32_f32", m, columns);
    }
}

static void check_queries(const struct dqg_kernels *kernels, size_t width, size_t keys) {
    float *scratch = aligned_alloc(64, (DQG_ATTENTION_SCRATCH * sizeof(float) + 63) / 64 * 64);
    struct dqg_attention all = {.q = a,
                                .k = b,
                                .v = b + LD / 2,
                                .out = block,
                                .ld_q = MOST_K,
                                .ld_k = LD,
                                .ld_v = LD,
                                .ld_out = LD,
                                .queries = DQG_ATTENTION_QUERIES,
                                .keys = keys,
                                .width = width,
                                .scale = 0.7f,
                                .scratch = scratch};
    kernels->attention_f32_f32(&all);
    for (size_t m = 0; m < DQG_ATTENTION_QUERIES; m++) {
        struct dqg_attention one = all;
        one.q = a + m * MOST_K;
        one.out = alone;
        one.queries = 1;
        kernels->attention_f32_f32(&one);
        compare("attention_f32_f32", m, width);
    }
    free(scratch);
}

static void check_elements(const struct dqg_kernels *kernels, enum dqg_activation activation) {
    kernels->activate_f32_f32(block, a, MOST_ROWS, activation);
    for (size_t i = 0; i < MOST_ROWS; i++) {
        kernels->activate_f32_f32(alone, a + i, 1, activation);
        if (memcmp(alone, block + i, sizeof(float)) != 0) {
            check_fail("activate_f32_f32: element %zu differs from the same element alone", i);
        }
    }
}

void check_alone(const struct dqg_kernels *kernels) {
    static const size_t rows[] = {2, 7, 16, 48, 96};
    check_case("rows alone, %s", kernels->name);
    for (size_t i = 0; i < COUNT_OF(a); i++) {
        a[i] = 3.0f * random_unit();
    }
    for (size_t i = 0; i < COUNT_OF(b); i++) {
        b[i] = 3.0f * random_unit();
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t columns = 16; columns <= LD; columns += 16) {
            check_gemm(kernels, rows[i], columns, 64);
            check_gemm(kernels, rows[i], columns, MOST_K);
            check_epilogue(kernels, rows[i], columns - i, (int32_t)(i + columns / 16) % DQG_ACT_COUNT);
            check_norm(kernels, rows[i], columns - i);
        }
    }
    for (size_t keys = 1; keys <= 200; keys += 33) {
        check_queries(kernels, 16, keys);
        check_queries(kernels, 27, keys);
    }
    for (int32_t activation = DQG_ACT_SILU; activation < DQG_ACT_COUNT; activation++) {
        check_elements(kernels, (enum dqg_activation)activation);
    }
}
