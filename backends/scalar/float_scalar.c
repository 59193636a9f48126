/* SPDX-License-Identifier: MIT */
/*
 * Float kernels for any CPU: the templates, with the vector width and register tile that fit.
 * Called through the table in init_scalar.c.
 */
#define DQG_LANES 4
#define DQG_TILE_ROWS 2
#define DQG_TILE_VECTORS 4

#include "scalar/scalar.h"
#include "template/activation.h"
#include "template/vector.h"

#include "template/product_f32.inc"

#include "template/activate_f32_f32.inc"
#include "template/attention_f32_f32.inc"
#include "template/decode_float_f32.inc"
#include "template/epilogue.inc"
#include "template/gemm_f32.inc"
#include "template/norm_f32_f32.inc"
#include "template/quantize_f32_i8.inc"

void dqg_gemm_f32_scalar(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t rows,
                         size_t columns, size_t k) {
    gemm_f32(c, ldc, a, lda, b, ldb, rows, columns, k);
}

void dqg_decode_float_f32_scalar(float *b, size_t ldb, const void *w, size_t ldw, int32_t dtype, size_t outputs,
                                 size_t columns, size_t k) {
    decode_float_f32(b, ldb, w, ldw, dtype, outputs, columns, k);
}

void dqg_epilogue_i32_f32_scalar(float *out, size_t ld_out, const int32_t *c, size_t ldc, size_t rows, size_t columns,
                                 const struct dqg_epilogue *epilogue) {
    epilogue_i32_f32(out, ld_out, c, ldc, rows, columns, epilogue);
}

void dqg_epilogue_f32_f32_scalar(float *out, size_t ld_out, const float *c, size_t ldc, size_t rows, size_t columns,
                                 const struct dqg_epilogue *epilogue) {
    epilogue_f32_f32(out, ld_out, c, ldc, rows, columns, epilogue);
}

void dqg_quantize_f32_i8_scalar(int8_t *q, size_t ldq, float *scale, const float *x, size_t ldx, size_t rows, size_t k,
                                size_t k_padded) {
    quantize_f32_i8(q, ldq, scale, x, ldx, rows, k, k_padded);
}

void dqg_norm_f32_f32_scalar(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t n, float eps,
                             const float *scale, const float *shift) {
    norm_f32_f32(y, ldy, x, ldx, rows, n, eps, scale, shift);
}

void dqg_attention_f32_f32_scalar(const struct dqg_attention *attention) {
    attention_f32_f32(attention);
}

void dqg_activate_f32_f32_scalar(float *y, const float *x, size_t n, enum dqg_activation activation) {
    activate_f32_f32(y, x, n, activation);
}
