/* SPDX-License-Identifier: MIT */
/* int4 panel to int8 panel in portable C: the reference of decode_i4_i8, whose formula is in kernel/kernel.h. */
#include <string.h>

#include "scalar/scalar.h"

static float half_to_float(uint16_t half) {
    uint32_t magnitude = half & 0x7fffu;
    float value = (float)magnitude * 0x1p-24f; /* subnormal: exact */
    if (magnitude >= 0x0400u) {
        uint32_t bits = magnitude >= 0x7c00u ? 0x7f800000u | magnitude << 13 : (magnitude << 13) + (112u << 23);
        memcpy(&value, &bits, sizeof value);
    }
    return half & 0x8000u ? -value : value;
}

/* The multiplier r of one group and output: nearest, half to even. NaN becomes 0. */
static int32_t multiplier(uint16_t scale, float inverse) {
    float r = half_to_float(scale) * inverse;
    r = r > 0.0f ? r : 0.0f;
    r = r < 16256.0f ? r : 16256.0f;
    r += 0x1.8p23f; /* leaves the rounded integer in the low bits */
    uint32_t bits;
    memcpy(&bits, &r, sizeof bits);
    return (int32_t)(bits - 0x4b400000u);
}

static int8_t decode(uint32_t code, uint32_t zero, int32_t r) {
    int32_t difference = (int32_t)((code - zero + 128u) & 255u) - 128; /* as a signed byte */
    uint32_t byte = (uint32_t)((difference * 256 * r + 16384) >> 15) & 255u;
    return (int8_t)(byte < 128u ? (int32_t)byte : (int32_t)byte - 256);
}

void dqg_decode_i4_i8_scalar(int8_t *panel, const uint8_t *codes, const uint16_t *scales, const uint8_t *zeros,
                             size_t scale_stride, const float *inverse, size_t k, size_t group) {
    int32_t r[DQG_PANEL];
    for (size_t k0 = 0; k0 < k; k0 += 8) {
        size_t row = k0 / group * scale_stride;
        if (k0 % group == 0) {
            for (size_t n = 0; n < DQG_PANEL; n++) {
                r[n] = multiplier(scales[row + n], inverse[n]);
            }
        }
        for (size_t j = 0; j < DQG_PANEL * 4; j++) {
            uint32_t zero = zeros ? zeros[row + j / 4] : 8u;
            panel[k0 * DQG_PANEL + j] = decode(codes[j] & 15u, zero, r[j / 4]);
            panel[k0 * DQG_PANEL + DQG_PANEL * 4 + j] = decode(codes[j] >> 4, zero, r[j / 4]);
        }
        codes += DQG_PANEL * 4;
    }
}
