/* SPDX-License-Identifier: MIT */
/* Kernels of the avx2 and avxvnni backends; contracts in kernel/kernel.h. "avxvnni" differs in the integer product and
 * needs the 256-bit vpdpbusd. */
#ifndef DQG_BACKEND_AVX2_H
#define DQG_BACKEND_AVX2_H

#include "kernel/kernel.h"

dqg_decode_group_i8_fn dqg_decode_group_i8_avx2;
dqg_decode_sign_i8_fn dqg_decode_sign_i8_avx2;
dqg_decode_f8_i8_fn dqg_decode_f8_i8_avx2;
dqg_decode_vector_i8_fn dqg_decode_vector_i8_scalar;
dqg_gemm_i8_i32_fn dqg_gemm_i8_i32_avx2;
dqg_gemm_i8_i32_fn dqg_gemm_i8_i32_avxvnni;
dqg_sum_i8_i32_fn dqg_sum_i8_i32_avx2;
dqg_gemm_f32_fn dqg_gemm_f32_avx2;
dqg_decode_float_f32_fn dqg_decode_float_f32_avx2;
dqg_gemm_float_f32_fn dqg_gemm_float_f32_avx2;
dqg_round_f32_bf16_fn dqg_round_f32_bf16_avx2;
dqg_decode_float_bf16_fn dqg_decode_float_bf16_avx2;
dqg_gemm_bf16_f32_fn dqg_gemm_bf16_f32_avx2;
dqg_epilogue_i32_f32_fn dqg_epilogue_i32_f32_avx2;
dqg_epilogue_f32_f32_fn dqg_epilogue_f32_f32_avx2;
dqg_quantize_f32_i8_fn dqg_quantize_f32_i8_avx2;
dqg_norm_f32_f32_fn dqg_norm_f32_f32_avx2;
dqg_attention_f32_f32_fn dqg_attention_f32_f32_avx2;
dqg_activate_f32_f32_fn dqg_activate_f32_f32_avx2;
dqg_norm_f32_i8_fn dqg_norm_f32_i8_avx2;
dqg_moments_f32_fn dqg_moments_f32_avx2;
dqg_affine_f32_f32_fn dqg_affine_f32_f32_avx2;
dqg_softmax_f32_f32_fn dqg_softmax_f32_f32_avx2;
dqg_rope_f32_f32_fn dqg_rope_f32_f32_avx2;
dqg_glu_f32_f32_fn dqg_glu_f32_f32_avx2;
dqg_add_f32_fn dqg_add_f32_avx2;
dqg_ceiling_i8_fn dqg_ceiling_i8_avx2;
dqg_ceiling_i8_fn dqg_ceiling_i8_avxvnni;
dqg_ceiling_f32_fn dqg_ceiling_f32_avx2;

const struct dqg_kernels *dqg_backend_avx2(void);
const struct dqg_kernels *dqg_backend_avxvnni(void);

#endif
