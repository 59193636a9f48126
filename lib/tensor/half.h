/* SPDX-License-Identifier: MIT */
/* binary16 and bfloat16 to and from float, in portable integer code; round to nearest even. */
#ifndef DQG_HALF_H
#define DQG_HALF_H

#include <stdint.h>
#include <string.h>

static inline float dqg_bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t dqg_float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float dqg_f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) { /* infinity, NaN */
        return dqg_bits_to_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    }
    if (magnitude >= 0x0400u) { /* normal: exponent bias 15 -> 127 */
        return dqg_bits_to_float(sign | ((magnitude << 13) + (112u << 23)));
    }
    float value = (float)magnitude * 0x1p-24f; /* subnormal: exact */
    return sign ? -value : value;
}

static inline uint16_t dqg_f32_to_f16(float value) {
    uint32_t bits = dqg_float_to_bits(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) { /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* subnormal half: adding 0.5 lets the float adder round at the right bit */
        float shifted = dqg_bits_to_float(magnitude) + 0.5f;
        return (uint16_t)(sign | (dqg_float_to_bits(shifted) - 0x3f000000u));
    }
    magnitude += 0xc8000fffu + ((magnitude >> 13) & 1u); /* rebias, round half to even */
    return (uint16_t)(sign | magnitude >> 13);
}

static inline float dqg_bf16_to_f32(uint16_t half) {
    return dqg_bits_to_float((uint32_t)half << 16);
}

static inline uint16_t dqg_f32_to_bf16(float value) {
    uint32_t bits = dqg_float_to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
