/* SPDX-License-Identifier: MIT */
/* The tables of the avx2 and avxvnni backends, which differ in the integer products. Compiled without instruction set
 * flags: it runs before the CPU is checked. */
#include "avx2/avx2.h"

#define DQG_AVX2_SHARED                                                                                                \
    .decode_group_i8 = dqg_decode_group_i8_avx2,                                                                       \
    .decode_sign_i8 = dqg_decode_sign_i8_avx2,                                                                         \
    .decode_f8_i8 = dqg_decode_f8_i8_avx2,                                                                             \
    .decode_vector_i8 = dqg_decode_vector_i8_scalar,                                                                   \
    .gemm_group_i32 = dqg_gemm_group_i32_scalar,                                                                       \
    .sum_i8_i32 = dqg_sum_i8_i32_avx2,                                                                                 \
    .gemm_f32 = dqg_gemm_f32_avx2,                                                                                     \
    .decode_float_f32 = dqg_decode_float_f32_avx2,                                                                     \
    .gemm_float_f32 = dqg_gemm_float_f32_avx2,                                                                         \
    .round_f32_bf16 = dqg_round_f32_bf16_avx2,                                                                         \
    .decode_float_bf16 = dqg_decode_float_bf16_avx2,                                                                   \
    .gemm_bf16_f32 = dqg_gemm_bf16_f32_avx2,                                                                           \
    .epilogue_i32_f32 = dqg_epilogue_i32_f32_avx2,                                                                     \
    .epilogue_f32_f32 = dqg_epilogue_f32_f32_avx2,                                                                     \
    .quantize_f32_i8 = dqg_quantize_f32_i8_avx2,                                                                       \
    .norm_f32_f32 = dqg_norm_f32_f32_avx2,                                                                             \
    .attention_f32_f32 = dqg_attention_f32_f32_avx2,                                                                   \
    .attention_pack_f32_i8 = dqg_attention_pack_f32_i8_avx2,                                                           \
    .int8_attention_keys = 64,                                                                                         \
    .activate_f32_f32 = dqg_activate_f32_f32_avx2,                                                                     \
    .norm_f32_i8 = dqg_norm_f32_i8_avx2,                                                                               \
    .moments_f32 = dqg_moments_f32_avx2,                                                                               \
    .affine_f32_f32 = dqg_affine_f32_f32_avx2,                                                                         \
    .softmax_f32_f32 = dqg_softmax_f32_f32_avx2,                                                                       \
    .rope_f32_f32 = dqg_rope_f32_f32_avx2,                                                                             \
    .glu_f32_f32 = dqg_glu_f32_f32_avx2,                                                                               \
    .add_f32 = dqg_add_f32_avx2,                                                                                       \
    .normal_f32 = dqg_normal_f32_avx2,                                                                                 \
    .fit_scales_f32 = dqg_fit_scales_f32_avx2,                                                                         \
    .range_f32 = dqg_range_f32_avx2,                                                                                   \
    .offset_f32_i8 = dqg_offset_f32_i8_avx2,                                                                           \
    .ceiling_f32 = dqg_ceiling_f32_avx2,                                                                               \
    .ceiling_bf16 = dqg_ceiling_f32_avx2

static const struct dqg_kernels table = {
    .name = "avx2",
    .gemm_i8_i32 = dqg_gemm_i8_i32_avx2,
    .attention_i8_f32 = dqg_attention_i8_f32_avx2,
    .ceiling_i8 = dqg_ceiling_i8_avx2,
    DQG_AVX2_SHARED,
};
static const struct dqg_kernels table_vnni = {
    .name = "avxvnni",
    .gemm_i8_i32 = dqg_gemm_i8_i32_avxvnni,
    .attention_i8_f32 = dqg_attention_i8_f32_avxvnni,
    .ceiling_i8 = dqg_ceiling_i8_avxvnni,
    DQG_AVX2_SHARED,
};

const struct dqg_kernels *dqg_backend_avx2(void) {
    return &table;
}

const struct dqg_kernels *dqg_backend_avxvnni(void) {
    return &table_vnni;
}
