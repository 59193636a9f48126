/* SPDX-License-Identifier: MIT */
/* Kernels of the NEON backends; contracts in kernel/kernel.h. "neon" runs on every aarch64 CPU; "neon-dot" and
 * "neon-mm" differ in the integer product and need the dot product or matrix instructions. */
#ifndef DQG_BACKEND_NEON_H
#define DQG_BACKEND_NEON_H

#include "kernel/kernel.h"

dqg_decode_group_i8_fn dqg_decode_group_i8_neon;
dqg_decode_sign_i8_fn dqg_decode_sign_i8_neon;
dqg_decode_f8_i8_fn dqg_decode_f8_i8_neon;
dqg_decode_vector_i8_fn dqg_decode_vector_i8_scalar;
dqg_gemm_group_i32_fn dqg_gemm_group_i32_scalar;
dqg_gemm_i8_i32_fn dqg_gemm_i8_i32_neon;
dqg_gemm_i8_i32_fn dqg_gemm_i8_i32_neon_dot;
dqg_gemm_i8_i32_fn dqg_gemm_i8_i32_neon_mm;
dqg_sum_i8_i32_fn dqg_sum_i8_i32_neon;
dqg_gemm_f32_fn dqg_gemm_f32_neon;
dqg_decode_float_f32_fn dqg_decode_float_f32_neon;
dqg_gemm_float_f32_fn dqg_gemm_float_f32_neon;
dqg_round_f32_bf16_fn dqg_round_f32_bf16_neon;
dqg_decode_float_bf16_fn dqg_decode_float_bf16_neon;
dqg_gemm_bf16_f32_fn dqg_gemm_bf16_f32_neon;
dqg_epilogue_i32_f32_fn dqg_epilogue_i32_f32_neon;
dqg_epilogue_f32_f32_fn dqg_epilogue_f32_f32_neon;
dqg_quantize_f32_i8_fn dqg_quantize_f32_i8_neon;
dqg_range_f32_fn dqg_range_f32_neon;
dqg_offset_f32_i8_fn dqg_offset_f32_i8_neon;
dqg_norm_f32_f32_fn dqg_norm_f32_f32_neon;
dqg_attention_f32_f32_fn dqg_attention_f32_f32_neon;
dqg_attention_i8_f32_fn dqg_attention_i8_f32_neon;
dqg_attention_pack_f32_i8_fn dqg_attention_pack_f32_i8_neon;
dqg_activate_f32_f32_fn dqg_activate_f32_f32_neon;
dqg_norm_f32_i8_fn dqg_norm_f32_i8_neon;
dqg_moments_f32_fn dqg_moments_f32_neon;
dqg_affine_f32_f32_fn dqg_affine_f32_f32_neon;
dqg_softmax_f32_f32_fn dqg_softmax_f32_f32_neon;
dqg_rope_f32_f32_fn dqg_rope_f32_f32_neon;
dqg_glu_f32_f32_fn dqg_glu_f32_f32_neon;
dqg_add_f32_fn dqg_add_f32_neon;
dqg_normal_f32_fn dqg_normal_f32_neon;
dqg_ceiling_i8_fn dqg_ceiling_i8_neon;
dqg_ceiling_i8_fn dqg_ceiling_i8_neon_dot;
dqg_ceiling_i8_fn dqg_ceiling_i8_neon_mm;
dqg_ceiling_f32_fn dqg_ceiling_f32_neon;

const struct dqg_kernels *dqg_backend_neon(void);
const struct dqg_kernels *dqg_backend_neon_dot(void);
const struct dqg_kernels *dqg_backend_neon_mm(void);

#endif
