/* SPDX-License-Identifier: MIT */
/*
 * int4 panel to int8 panel. (code - zero) moved to the high byte of a 16-bit lane is the factor 256 of the formula,
 * and sqrdmulh computes (a * b + 2^14) >> 15. The four bytes of an output share one 32-bit lane, so one multiplier
 * vector serves the even and the odd bytes. A panel is done as four quarters of 4 outputs.
 */
#include <arm_neon.h>

#include "neon/neon.h"

/* 16 codes in bytes to 16 weights. */
static inline int8x16_t decode(uint8x16_t codes, uint8x16_t zero, int16x8_t r) {
    int16x8_t difference = vreinterpretq_s16_u8(vsubq_u8(codes, zero));
    int16x8_t even = vqrdmulhq_s16(vshlq_n_s16(difference, 8), r);
    int16x8_t odd = vqrdmulhq_s16(vandq_s16(difference, vdupq_n_s16(-256)), r);
    return vreinterpretq_s8_s16(vsliq_n_s16(even, odd, 8));
}

static inline int16x8_t multipliers(const uint16_t *scales, const float *inverse) {
    float32x4_t t = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(scales)));
    t = vmulq_f32(t, vld1q_f32(inverse));
    t = vminq_f32(vmaxnmq_f32(t, vdupq_n_f32(0.0f)), vdupq_n_f32(16256.0f)); /* maxnm: NaN becomes 0 */
    int32x4_t r = vcvtnq_s32_f32(t);
    return vreinterpretq_s16_s32(vsliq_n_s32(r, r, 16));
}

/* Zero points of 4 outputs, each in the 4 bytes of its lane. */
static inline uint8x16_t zero_points(const uint8_t *zeros) {
    uint32x4_t lanes = {zeros[0], zeros[1], zeros[2], zeros[3]};
    return vreinterpretq_u8_u32(vmulq_n_u32(lanes, 0x01010101u));
}

void dqg_decode_i4_i8_neon(int8_t *panel, const uint8_t *codes, const uint16_t *scales, const uint8_t *zeros,
                           size_t scale_stride, const float *inverse, size_t k, size_t group) {
    for (size_t k0 = 0; k0 < k; k0 += group) {
        size_t last = k - k0 < group ? k : k0 + group;
        for (size_t n = 0; n < DQG_PANEL; n += 4) {
            int16x8_t r = multipliers(scales + n, inverse + n);
            uint8x16_t zero = zeros ? zero_points(zeros + n) : vdupq_n_u8(8);
            for (size_t i = k0; i < last; i += 8) {
                uint8x16_t both = vld1q_u8(codes + i * 8 + 4 * n);
                int8_t *out = panel + i * DQG_PANEL + 4 * n;
                vst1q_s8(out, decode(vandq_u8(both, vdupq_n_u8(15)), zero, r));
                vst1q_s8(out + 64, decode(vshrq_n_u8(both, 4), zero, r));
            }
        }
        scales += scale_stride;
        zeros = zeros ? zeros + scale_stride : NULL;
    }
}
