/* SPDX-License-Identifier: MIT */
/*
 * Float kernels that work on blocks, for AVX2, FMA and F16C: the templates, with the vector width and register tile
 * that fit.
 * Called through the table in init_avx2.c.
 */
#define DQG_LANES 8
#define DQG_TILE_ROWS 6
#define DQG_TILE_VECTORS 2

#include "avx2/avx2.h"
#include "template/activation.h"
#include "template/stored.h"
#include "template/vector.h"

#include "template/product_f32.inc"

#include "template/decode_float_f32.inc"
#include "template/epilogue.inc"
#include "template/gemm_f32.inc"
#include "template/gemm_float_f32.inc"

void dqg_gemm_f32_avx2(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t rows,
                       size_t columns, size_t k, int add) {
    gemm_f32(c, ldc, a, lda, b, ldb, rows, columns, k, add);
}

void dqg_decode_float_f32_avx2(float *b, size_t ldb, const void *w, size_t ldw, int32_t dtype, size_t outputs,
                               size_t columns, size_t k) {
    decode_float_f32(b, ldb, w, ldw, dtype, outputs, columns, k);
}

void dqg_gemm_float_f32_avx2(float *c, size_t ldc, const float *a, size_t lda, const void *w, size_t ldw, int32_t dtype,
                             size_t rows, size_t outputs, size_t columns, size_t k) {
    gemm_float_f32(c, ldc, a, lda, w, ldw, dtype, rows, outputs, columns, k);
}

void dqg_epilogue_i32_f32_avx2(float *out, size_t ld_out, const int32_t *c, size_t ldc, size_t rows, size_t columns,
                               const struct dqg_epilogue *epilogue) {
    epilogue_i32_f32(out, ld_out, c, ldc, rows, columns, epilogue);
}

void dqg_epilogue_f32_f32_avx2(float *out, size_t ld_out, const float *c, size_t ldc, size_t rows, size_t columns,
                               const struct dqg_epilogue *epilogue) {
    epilogue_f32_f32(out, ld_out, c, ldc, rows, columns, epilogue);
}
