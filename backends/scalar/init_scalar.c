/* SPDX-License-Identifier: MIT */
/* The table of the scalar backend, which fills every slot. */
#include "scalar/scalar.h"

static const struct dqg_kernels table = {
    .name = "scalar",
    .portable = 1,
    .decode_group_i8 = dqg_decode_group_i8_scalar,
    .decode_sign_i8 = dqg_decode_sign_i8_scalar,
    .decode_f8_i8 = dqg_decode_f8_i8_scalar,
    .decode_vector_i8 = dqg_decode_vector_i8_scalar,
    .sum_i8_i32 = dqg_sum_i8_i32_scalar,
    .gemm_i8_i32 = dqg_gemm_i8_i32_scalar,
    .gemm_group_i32 = dqg_gemm_group_i32_scalar,
    .gemm_f32 = dqg_gemm_f32_scalar,
    .decode_float_f32 = dqg_decode_float_f32_scalar,
    .gemm_float_f32 = dqg_gemm_float_f32_scalar,
    .round_f32_bf16 = dqg_round_f32_bf16_scalar,
    .decode_float_bf16 = dqg_decode_float_bf16_scalar,
    .gemm_bf16_f32 = dqg_gemm_bf16_f32_scalar,
    .epilogue_i32_f32 = dqg_epilogue_i32_f32_scalar,
    .epilogue_f32_f32 = dqg_epilogue_f32_f32_scalar,
    .quantize_f32_i8 = dqg_quantize_f32_i8_scalar,
    .range_f32 = dqg_range_f32_scalar,
    .offset_f32_i8 = dqg_offset_f32_i8_scalar,
    .norm_f32_f32 = dqg_norm_f32_f32_scalar,
    .attention_f32_f32 = dqg_attention_f32_f32_scalar,
    .attention_i8_f32 = dqg_attention_i8_f32_scalar,
    .attention_pack_f32_i8 = dqg_attention_pack_f32_i8_scalar,
    .activate_f32_f32 = dqg_activate_f32_f32_scalar,
    .norm_f32_i8 = dqg_norm_f32_i8_scalar,
    .moments_f32 = dqg_moments_f32_scalar,
    .affine_f32_f32 = dqg_affine_f32_f32_scalar,
    .softmax_f32_f32 = dqg_softmax_f32_f32_scalar,
    .rope_f32_f32 = dqg_rope_f32_f32_scalar,
    .glu_f32_f32 = dqg_glu_f32_f32_scalar,
    .add_f32 = dqg_add_f32_scalar,
    .normal_f32 = dqg_normal_f32_scalar,
    .fit_scales_f32 = dqg_fit_scales_f32_scalar,
    .ceiling_i8 = dqg_ceiling_i8_scalar,
    .ceiling_f32 = dqg_ceiling_f32_scalar,
    .ceiling_bf16 = dqg_ceiling_f32_scalar,
};

const struct dqg_kernels *dqg_backend_scalar(void) {
    return &table;
}
