/* SPDX-License-Identifier: MIT */
/*
 * Products of bfloat16 for any CPU: the templates, with the vector width and register tile that fit.
 * Called through the table in init_scalar.c.
 */
#define DQG_LANES 4
#define DQG_TILE_ROWS 2
#define DQG_TILE_VECTORS 4
#define DQG_PRODUCT_PAIRS

#include "scalar/scalar.h"
#include "template/bf16.h"
#include "template/stored.h"
#include "template/vector.h"

#include "template/product_f32.inc"

#include "template/bf16.inc"

void dqg_round_f32_bf16_scalar(uint32_t *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t k) {
    round_f32_bf16(y, ldy, x, ldx, rows, k);
}

void dqg_decode_float_bf16_scalar(uint32_t *b, size_t ldb, const void *w, size_t ldw, int32_t dtype, size_t outputs,
                                  size_t columns, size_t k) {
    decode_float_bf16(b, ldb, w, ldw, dtype, outputs, columns, k);
}

void dqg_gemm_bf16_f32_scalar(float *c, size_t ldc, const uint32_t *a, size_t lda, const uint32_t *b, size_t ldb,
                              size_t rows, size_t columns, size_t pairs, int add) {
    gemm_bf16_f32(c, ldc, a, lda, b, ldb, rows, columns, pairs, add);
}
