/* SPDX-License-Identifier: MIT */
/* The tables of the NEON backends. Compiled without instruction set flags: it runs before the CPU is checked. */
#include "neon/neon.h"

/* What all of them share: everything but the name and the integer product. */
#define DQG_NEON_SHARED                                                                                                \
    .decode_group_i8 = dqg_decode_group_i8_neon,                                                                       \
    .decode_sign_i8 = dqg_decode_sign_i8_neon,                                                                         \
    .decode_f8_i8 = dqg_decode_f8_i8_neon,                                                                             \
    .decode_vector_i8 = dqg_decode_vector_i8_scalar,                                                                   \
    .gemm_group_i32 = dqg_gemm_group_i32_scalar,                                                                       \
    .sum_i8_i32 = dqg_sum_i8_i32_neon,                                                                                 \
    .gemm_f32 = dqg_gemm_f32_neon,                                                                                     \
    .decode_float_f32 = dqg_decode_float_f32_neon,                                                                     \
    .gemm_float_f32 = dqg_gemm_float_f32_neon,                                                                         \
    .round_f32_bf16 = dqg_round_f32_bf16_neon,                                                                         \
    .decode_float_bf16 = dqg_decode_float_bf16_neon,                                                                   \
    .gemm_bf16_f32 = dqg_gemm_bf16_f32_neon,                                                                           \
    .epilogue_i32_f32 = dqg_epilogue_i32_f32_neon,                                                                     \
    .epilogue_f32_f32 = dqg_epilogue_f32_f32_neon,                                                                     \
    .quantize_f32_i8 = dqg_quantize_f32_i8_neon,                                                                       \
    .norm_f32_f32 = dqg_norm_f32_f32_neon,                                                                             \
    .attention_f32_f32 = dqg_attention_f32_f32_neon,                                                                   \
    .attention_i8_f32 = dqg_attention_i8_f32_neon,                                                                     \
    .attention_pack_f32_i8 = dqg_attention_pack_f32_i8_neon,                                                           \
    .activate_f32_f32 = dqg_activate_f32_f32_neon,                                                                     \
    .norm_f32_i8 = dqg_norm_f32_i8_neon,                                                                               \
    .moments_f32 = dqg_moments_f32_neon,                                                                               \
    .affine_f32_f32 = dqg_affine_f32_f32_neon,                                                                         \
    .softmax_f32_f32 = dqg_softmax_f32_f32_neon,                                                                       \
    .rope_f32_f32 = dqg_rope_f32_f32_neon,                                                                             \
    .glu_f32_f32 = dqg_glu_f32_f32_neon,                                                                               \
    .add_f32 = dqg_add_f32_neon,                                                                                       \
    .normal_f32 = dqg_normal_f32_neon,                                                                                 \
    .fit_scales_f32 = dqg_fit_scales_f32_neon,                                                                         \
    .range_f32 = dqg_range_f32_neon,                                                                                   \
    .offset_f32_i8 = dqg_offset_f32_i8_neon,                                                                           \
    .ceiling_f32 = dqg_ceiling_f32_neon,                                                                               \
    .ceiling_bf16 = dqg_ceiling_f32_neon

static const struct dqg_kernels table = {
    .name = "neon",
    .gemm_i8_i32 = dqg_gemm_i8_i32_neon,
    .ceiling_i8 = dqg_ceiling_i8_neon,
    DQG_NEON_SHARED,
};
static const struct dqg_kernels table_dot = {
    .name = "neon-dot",
    .gemm_i8_i32 = dqg_gemm_i8_i32_neon_dot,
    .ceiling_i8 = dqg_ceiling_i8_neon_dot,
    DQG_NEON_SHARED,
};
static const struct dqg_kernels table_mm = {
    .name = "neon-mm",
    .gemm_i8_i32 = dqg_gemm_i8_i32_neon_mm,
    .ceiling_i8 = dqg_ceiling_i8_neon_mm,
    DQG_NEON_SHARED,
};

const struct dqg_kernels *dqg_backend_neon(void) {
    return &table;
}

const struct dqg_kernels *dqg_backend_neon_dot(void) {
    return &table_dot;
}

const struct dqg_kernels *dqg_backend_neon_mm(void) {
    return &table_mm;
}
