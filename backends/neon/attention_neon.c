/* SPDX-License-Identifier: MIT */
/*
 * Attention for NEON: the templates, with the vector width and register tile that fit. Called through the table in
 * init_neon.c.
 */
#define DQG_LANES 4
#define DQG_VECTOR_NEON
#define DQG_TILE_ROWS 6
#define DQG_TILE_VECTORS 4

#include "neon/neon.h"
#include "template/activation.h"
#include "template/attention.h"
#include "template/vector.h"

#include "template/product_f32.inc"

#include "template/attention_f32_f32.inc"
#include "template/attention_i8_f32.inc"
#include "template/attention_pack_f32_i8.inc"

void dqg_attention_f32_f32_neon(const struct dqg_attention *attention) {
    attention_f32_f32(attention);
}

void dqg_attention_i8_f32_neon(const struct dqg_attention *attention) {
    attention_i8_f32(attention);
}

void dqg_attention_pack_f32_i8_neon(void *packed, const float *k, size_t ld_k, const float *v, size_t ld_v, size_t keys,
                                    size_t width) {
    attention_pack_f32_i8(packed, k, ld_k, v, ld_v, keys, width);
}
