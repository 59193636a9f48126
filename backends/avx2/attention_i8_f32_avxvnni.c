/* SPDX-License-Identifier: MIT */
/* Integer attention of the avxvnni backend: that of avx2 with the dot product instructions of AVX-VNNI. */
#define DQG_LANES 8
#define DQG_VECTOR_AVXVNNI

#include "avx2/avx2.h"
#include "template/attention.h"

#include "template/attention_i8_f32.inc"

void dqg_attention_i8_f32_avxvnni(const struct dqg_attention *attention) {
    attention_i8_f32(attention);
}
