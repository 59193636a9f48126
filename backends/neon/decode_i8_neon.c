/* SPDX-License-Identifier: MIT */
/* Stored weights to int8 panels: the templates with what NEON has for them. */
#include <arm_neon.h>

#include "neon/neon.h"

#define DQG_BYTES 16
#include "template/integers.h"

DQG_BYTES_INLINE dqg_vs32 multipliers(const uint16_t *scales, const float *inverse) {
    float32x4_t t = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(scales)));
    t = vmulq_f32(t, vld1q_f32(inverse));
    t = vminq_f32(vmaxnmq_f32(t, vdupq_n_f32(0.0f)), vdupq_n_f32(16256.0f)); /* maxnm: NaN becomes 0 */
    return (dqg_vs32)vcvtnq_s32_f32(t);
}

DQG_BYTES_INLINE dqg_v16 multiply_round(dqg_v16 a, dqg_v16 b) {
    return (dqg_v16)vqrdmulhq_s16((int16x8_t)a, (int16x8_t)b);
}

/* vqtbl1q gives 0 for an index of 16 or more. */
DQG_BYTES_INLINE dqg_v8 lookup(dqg_v8 table, dqg_v8 index) {
    return (dqg_v8)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
}

DQG_BYTES_INLINE dqg_v8 lookup_or_zero(dqg_v8 table, dqg_v8 index) {
    return lookup(table, index);
}

#include "template/decode_i8.inc"

void dqg_decode_group_i8_neon(int8_t *panel, const struct dqg_codes *codes) {
    decode_group_i8(panel, codes);
}

void dqg_decode_sign_i8_neon(int8_t *panel, const struct dqg_codes *codes) {
    decode_sign_i8(panel, codes);
}

void dqg_decode_f8_i8_neon(int8_t *panel, const struct dqg_codes *codes) {
    decode_f8_i8(panel, codes);
}
