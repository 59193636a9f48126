/* SPDX-License-Identifier: MIT */
/* Kernels of the scalar backend; contracts in kernel/kernel.h. */
#ifndef DQG_BACKEND_SCALAR_H
#define DQG_BACKEND_SCALAR_H

#include "kernel/kernel.h"

dqg_decode_i4_i8_fn dqg_decode_i4_i8_scalar;
dqg_gemm_i8_i32_fn dqg_gemm_i8_i32_scalar;
dqg_sum_i8_i32_fn dqg_sum_i8_i32_scalar;
dqg_gemm_f32_fn dqg_gemm_f32_scalar;
dqg_decode_float_f32_fn dqg_decode_float_f32_scalar;
dqg_epilogue_i32_f32_fn dqg_epilogue_i32_f32_scalar;
dqg_epilogue_f32_f32_fn dqg_epilogue_f32_f32_scalar;
dqg_quantize_f32_i8_fn dqg_quantize_f32_i8_scalar;
dqg_norm_f32_f32_fn dqg_norm_f32_f32_scalar;
dqg_attention_f32_f32_fn dqg_attention_f32_f32_scalar;
dqg_activate_f32_f32_fn dqg_activate_f32_f32_scalar;
dqg_ceiling_i8_fn dqg_ceiling_i8_scalar;
dqg_ceiling_f32_fn dqg_ceiling_f32_scalar;

const struct dqg_kernels *dqg_backend_scalar(void);

#endif
