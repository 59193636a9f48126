/* SPDX-License-Identifier: MIT */
/* int8 matrix product in portable C: the reference of gemm_i8_i32. */
#include "scalar/scalar.h"

void dqg_gemm_i8_i32_scalar(int32_t *c, size_t ldc, const int8_t *a, size_t lda, const int8_t *w, size_t panel_stride,
                            size_t rows, size_t panels, size_t k) {
    for (size_t m = 0; m < rows; m++) {
        for (size_t panel = 0; panel < panels; panel++) {
            const int8_t *weight = w + panel * panel_stride;
            int32_t sum[DQG_PANEL] = {0};
            for (size_t k0 = 0; k0 < k; k0 += 4) {
                const int8_t *row = a + m * lda + k0;
                for (size_t n = 0; n < DQG_PANEL; n++) {
                    sum[n] += row[0] * weight[4 * n] + row[1] * weight[4 * n + 1] + row[2] * weight[4 * n + 2] +
                              row[3] * weight[4 * n + 3];
                }
                weight += DQG_PANEL * 4;
            }
            for (size_t n = 0; n < DQG_PANEL; n++) {
                c[m * ldc + panel * DQG_PANEL + n] = sum[n];
            }
        }
    }
}
