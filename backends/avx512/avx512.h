/* SPDX-License-Identifier: MIT */
/* Kernels of the avx512 backend; contracts in kernel/kernel.h. */
#ifndef DQG_BACKEND_AVX512_H
#define DQG_BACKEND_AVX512_H

#include "kernel/kernel.h"

dqg_decode_i4_i8_fn dqg_decode_i4_i8_avx512;
dqg_gemm_i8_i32_fn dqg_gemm_i8_i32_avx512;
dqg_sum_i8_i32_fn dqg_sum_i8_i32_avx512;
dqg_gemm_f32_fn dqg_gemm_f32_avx512;
dqg_decode_float_f32_fn dqg_decode_float_f32_avx512;
dqg_epilogue_i32_f32_fn dqg_epilogue_i32_f32_avx512;
dqg_epilogue_f32_f32_fn dqg_epilogue_f32_f32_avx512;
dqg_quantize_f32_i8_fn dqg_quantize_f32_i8_avx512;
dqg_norm_f32_f32_fn dqg_norm_f32_f32_avx512;
dqg_attention_f32_f32_fn dqg_attention_f32_f32_avx512;
dqg_activate_f32_f32_fn dqg_activate_f32_f32_avx512;
dqg_ceiling_i8_fn dqg_ceiling_i8_avx512;
dqg_ceiling_f32_fn dqg_ceiling_f32_avx512;

const struct dqg_kernels *dqg_backend_avx512(void);

#endif
