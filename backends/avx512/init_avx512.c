/* SPDX-License-Identifier: MIT */
/* The tables of the AVX-512 backends. Compiled without instruction set flags: it runs before the CPU is checked. */
#include "avx512/avx512.h"

/* What all of them share: everything but the name and the products of bfloat16. */
#define DQG_AVX512_SHARED                                                                                              \
    .decode_group_i8 = dqg_decode_group_i8_avx512,                                                                     \
    .decode_sign_i8 = dqg_decode_sign_i8_avx512,                                                                       \
    .decode_f8_i8 = dqg_decode_f8_i8_avx512,                                                                           \
    .decode_vector_i8 = dqg_decode_vector_i8_avx512,                                                                   \
    .sum_i8_i32 = dqg_sum_i8_i32_avx512,                                                                               \
    .gemm_i8_i32 = dqg_gemm_i8_i32_avx512,                                                                             \
    .gemm_group_i32 = dqg_gemm_group_i32_avx512,                                                                       \
    .gemm_f32 = dqg_gemm_f32_avx512,                                                                                   \
    .decode_float_f32 = dqg_decode_float_f32_avx512,                                                                   \
    .gemm_float_f32 = dqg_gemm_float_f32_avx512,                                                                       \
    .epilogue_i32_f32 = dqg_epilogue_i32_f32_avx512,                                                                   \
    .epilogue_f32_f32 = dqg_epilogue_f32_f32_avx512,                                                                   \
    .quantize_f32_i8 = dqg_quantize_f32_i8_avx512,                                                                     \
    .norm_f32_f32 = dqg_norm_f32_f32_avx512,                                                                           \
    .attention_f32_f32 = dqg_attention_f32_f32_avx512,                                                                 \
    .attention_i8_f32 = dqg_attention_i8_f32_avx512,                                                                   \
    .attention_pack_f32_i8 = dqg_attention_pack_f32_i8_avx512,                                                         \
    .int8_attention_keys = 64,                                                                                         \
    .few_rows = 4,                                                                                                     \
    .activate_f32_f32 = dqg_activate_f32_f32_avx512,                                                                   \
    .norm_f32_i8 = dqg_norm_f32_i8_avx512,                                                                             \
    .moments_f32 = dqg_moments_f32_avx512,                                                                             \
    .affine_f32_f32 = dqg_affine_f32_f32_avx512,                                                                       \
    .softmax_f32_f32 = dqg_softmax_f32_f32_avx512,                                                                     \
    .rope_f32_f32 = dqg_rope_f32_f32_avx512,                                                                           \
    .glu_f32_f32 = dqg_glu_f32_f32_avx512,                                                                             \
    .add_f32 = dqg_add_f32_avx512,                                                                                     \
    .normal_f32 = dqg_normal_f32_avx512,                                                                               \
    .fit_scales_f32 = dqg_fit_scales_f32_avx512,                                                                       \
    .range_f32 = dqg_range_f32_avx512,                                                                                 \
    .offset_f32_i8 = dqg_offset_f32_i8_avx512,                                                                         \
    .ceiling_i8 = dqg_ceiling_i8_avx512,                                                                               \
    .ceiling_f32 = dqg_ceiling_f32_avx512

static const struct dqg_kernels table = {
    .name = "avx512",
    .round_f32_bf16 = dqg_round_f32_bf16_avx512,
    .decode_float_bf16 = dqg_decode_float_bf16_avx512,
    .gemm_bf16_f32 = dqg_gemm_bf16_f32_avx512,
    .ceiling_bf16 = dqg_ceiling_f32_avx512,
    DQG_AVX512_SHARED,
};
static const struct dqg_kernels table_bf16 = {
    .name = "avx512-bf16",
    .round_f32_bf16 = dqg_round_f32_bf16_avx512_bf16,
    .decode_float_bf16 = dqg_decode_float_bf16_avx512_bf16,
    .gemm_bf16_f32 = dqg_gemm_bf16_f32_avx512_bf16,
    .ceiling_bf16 = dqg_ceiling_bf16_avx512_bf16,
    DQG_AVX512_SHARED,
};

const struct dqg_kernels *dqg_backend_avx512(void) {
    return &table;
}

const struct dqg_kernels *dqg_backend_avx512_bf16(void) {
    return &table_bf16;
}
