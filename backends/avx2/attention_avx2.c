/* SPDX-License-Identifier: MIT */
/*
 * Attention for AVX2 and FMA: the templates, with the vector width and register tile that fit. Called through the table
 * in init_avx2.c.
 */
#define DQG_LANES 8
#define DQG_TILE_ROWS 6
#define DQG_TILE_VECTORS 2

#include "avx2/avx2.h"
#include "template/activation.h"
#include "template/attention.h"
#include "template/vector.h"

#include "template/product_f32.inc"

#include "template/attention_f32_f32.inc"
#include "template/attention_i8_f32.inc"
#include "template/attention_pack_f32_i8.inc"

void dqg_attention_f32_f32_avx2(const struct dqg_attention *attention) {
    attention_f32_f32(attention);
}

void dqg_attention_i8_f32_avx2(const struct dqg_attention *attention) {
    attention_i8_f32(attention);
}

void dqg_attention_pack_f32_i8_avx2(void *packed, const float *k, size_t ld_k, const float *v, size_t ld_v, size_t keys,
                                    size_t width) {
    attention_pack_f32_i8(packed, k, ld_k, v, ld_v, keys, width);
}
