/* SPDX-License-Identifier: MIT */
/*
 * Float kernels that work on rows and elements, for AVX2, FMA and F16C: the templates, with the vector width that fits.
 * Called through the table in init_avx2.c.
 */
#define DQG_LANES 8

#include "avx2/avx2.h"
#include "template/activation.h"
#include "template/stored.h"
#include "template/vector.h"

#include "template/reduce.inc"

#include "template/elementwise.inc"
#include "template/fit_scales_f32.inc"
#include "template/normal_f32.inc"
#include "template/offset_f32_i8.inc"
#include "template/quantize_f32_i8.inc"
#include "template/range_f32.inc"
#include "template/rope_f32_f32.inc"
#include "template/softmax_f32_f32.inc"

#include "template/norm.inc"

void dqg_quantize_f32_i8_avx2(int8_t *q, size_t ldq, float *scale, const float *x, size_t ldx, size_t rows, size_t k,
                              size_t k_padded) {
    quantize_f32_i8(q, ldq, scale, x, ldx, rows, k, k_padded);
}

void dqg_range_f32_avx2(float range[2], const float *x, size_t n) {
    range_f32(range, x, n);
}

void dqg_offset_f32_i8_avx2(int8_t *q, size_t ldq, const float *x, size_t ldx, size_t rows, size_t k, size_t k_padded,
                            float inverse, int32_t zero) {
    offset_f32_i8(q, ldq, x, ldx, rows, k, k_padded, inverse, zero);
}

void dqg_norm_f32_f32_avx2(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t n,
                           const struct dqg_norm_form *form) {
    norm_f32_f32(y, ldy, x, ldx, rows, n, form);
}

void dqg_norm_f32_i8_avx2(int8_t *q, size_t ldq, float *row_scale, const float *x, size_t ldx, size_t rows, size_t n,
                          size_t n_padded, const struct dqg_norm_form *form, float *scratch) {
    norm_f32_i8(q, ldq, row_scale, x, ldx, rows, n, n_padded, form, scratch);
}

void dqg_moments_f32_avx2(float *moments, const float *x, size_t ldx, size_t pixels, size_t groups, size_t width,
                          float *scratch) {
    moments_f32(moments, x, ldx, pixels, groups, width, scratch);
}

void dqg_affine_f32_f32_avx2(float range[2], const struct dqg_affine *affine) {
    affine_f32_f32(range, affine);
}

void dqg_activate_f32_f32_avx2(float *y, const float *x, size_t n, enum dqg_activation activation) {
    activate_f32_f32(y, x, n, activation);
}

void dqg_glu_f32_f32_avx2(float *y, const float *value, const float *gate, size_t n, enum dqg_activation activation) {
    glu_f32_f32(y, value, gate, n, activation);
}

void dqg_add_f32_avx2(float *y, const float *a, const float *b, size_t n, float factor) {
    add_f32(y, a, b, n, factor);
}

void dqg_softmax_f32_f32_avx2(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t n, float scale) {
    softmax_f32_f32(y, ldy, x, ldx, rows, n, scale);
}

void dqg_rope_f32_f32_avx2(const struct dqg_rope *rope) {
    rope_f32_f32(rope);
}

void dqg_normal_f32_avx2(float *out, uint64_t seed, uint32_t stream, uint32_t use, uint64_t first, size_t blocks) {
    normal_f32(out, seed, stream, use, first, blocks);
}

void dqg_fit_scales_f32_avx2(struct dqg_scale_fit *fit, const float *x, size_t n) {
    fit_scales_f32(fit, x, n);
}
