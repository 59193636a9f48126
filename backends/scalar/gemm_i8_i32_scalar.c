/* SPDX-License-Identifier: MIT */
/* int8 matrix product in portable C: the reference of gemm_i8_i32, gemm_group_i32 and sum_i8_i32. */
#include "scalar/scalar.h"

/* Add one run of a row to the 16 sums of a panel. */
static void add_run(int32_t *sum, const int8_t *a, const int8_t *w, size_t k) {
    for (size_t i = 0; i < k; i += 4) {
        for (size_t n = 0; n < DQG_PANEL; n++) {
            sum[n] += a[i] * w[4 * n] + a[i + 1] * w[4 * n + 1] + a[i + 2] * w[4 * n + 2] + a[i + 3] * w[4 * n + 3];
        }
        w += DQG_PANEL * 4;
    }
}

void dqg_gemm_i8_i32_scalar(const struct dqg_gemm_i8 *args) {
    for (size_t m = 0; m < args->rows; m++) {
        for (size_t panel = 0; panel < args->panels; panel++) {
            int32_t sum[DQG_PANEL] = {0};
            for (size_t run = 0; run < args->runs; run++) {
                add_run(sum, args->a + args->row[m] + args->run[run],
                        args->w + panel * args->panel_stride + run * args->k * DQG_PANEL, args->k);
            }
            for (size_t n = 0; n < DQG_PANEL; n++) {
                args->c[m * args->ldc + panel * DQG_PANEL + n] = sum[n];
            }
        }
    }
}

/* A block of 32 inputs at a time through a small panel. */
void dqg_gemm_group_i32_scalar(const struct dqg_gemm_i8 *args, const struct dqg_codes *codes) {
    enum { BLOCK = 32 };
    int32_t sum[DQG_FEW_ROWS][DQG_PANEL] = {{0}};
    struct dqg_codes block = *codes;
    block.k = BLOCK;
    for (size_t k0 = 0; k0 < codes->k; k0 += BLOCK) {
        int8_t panel[DQG_PANEL * BLOCK];
        size_t group = k0 / codes->group * codes->scale_stride;
        block.codes = codes->codes + k0 * 2 * (size_t)codes->bits;
        block.scales = codes->scales + group;
        block.zeros = codes->zeros ? codes->zeros + group : NULL;
        dqg_decode_group_i8_scalar(panel, &block);
        for (size_t m = 0; m < args->rows; m++) {
            add_run(sum[m], args->a + args->row[m] + k0, panel, BLOCK);
        }
    }
    for (size_t m = 0; m < args->rows; m++) {
        for (size_t n = 0; n < DQG_PANEL; n++) {
            args->c[m * args->ldc + n] = sum[m][n];
        }
    }
}

void dqg_sum_i8_i32_scalar(int32_t *sums, const int8_t *w, size_t k) {
    for (size_t n = 0; n < DQG_PANEL; n++) {
        sums[n] = 0;
        for (size_t i = 0; i < k; i++) {
            sums[n] += w[i / 4 * DQG_PANEL * 4 + 4 * n + i % 4];
        }
    }
}
