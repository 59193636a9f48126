/* SPDX-License-Identifier: MIT */
/* Stored weights to int8 panels in portable C: the reference of the decoders, whose formulas are in kernel/kernel.h. */
#include <string.h>

#include "scalar/scalar.h"

enum { BLOCK = 32 /* inputs */ };

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

static int8_t low_byte(int32_t value) {
    return (int8_t)((int32_t)(((uint32_t)value + 128u) & 255u) - 128);
}

/* The bits of a plane of the given width that belong to byte j of the v-th four inputs of a block. */
static uint32_t field(const uint8_t *plane, int32_t width, size_t v, size_t j) {
    size_t bit = v * (size_t)width;
    return plane[bit / 8 * 64 + j] >> bit % 8 & ((1u << width) - 1u);
}

/* The code of byte j of the v-th four inputs of a block. */
static uint32_t block_code(const uint8_t *block, int32_t bits, size_t v, size_t j) {
    int32_t low = bits < 4 ? bits < 2 ? 1 : 2 : 4;
    uint32_t code = field(block, low, v, j);
    return bits > low ? code | field(block + 64 * low, bits - low, v, j) << low : code;
}

void dqg_decode_group_i8_scalar(int8_t *panel, const struct dqg_codes *codes) {
    const uint8_t *block = codes->codes;
    int32_t r[DQG_PANEL];
    for (size_t k0 = 0; k0 < codes->k; k0 += BLOCK, block += 64 * codes->bits) {
        size_t row = k0 / codes->group * codes->scale_stride;
        for (size_t n = 0; k0 % codes->group == 0 && n < DQG_PANEL; n++) {
            r[n] = multiplier(codes->scales[row + n], codes->inverse[n]);
        }
        for (size_t i = 0; i < DQG_PANEL * BLOCK; i++) {
            size_t n = i / 4 % DQG_PANEL;
            uint32_t code = block_code(block, codes->bits, i / 64, i % 64);
            int32_t zero = codes->zeros ? codes->zeros[row + n] : 1 << (codes->bits - 1);
            int32_t level = codes->levels ? codes->levels[code] : low_byte((int32_t)code - zero);
            *panel++ = low_byte((level * 256 * r[n] + 16384) >> 15);
        }
    }
}

void dqg_decode_sign_i8_scalar(int8_t *panel, const struct dqg_codes *codes) {
    const uint8_t *block = codes->codes;
    size_t bases = (size_t)codes->bits;
    int32_t r[2][DQG_PANEL] = {{0}};
    for (size_t k0 = 0; k0 < codes->k; k0 += BLOCK, block += 64 * bases) {
        size_t row = k0 / codes->group * bases;
        for (size_t i = 0; k0 % codes->group == 0 && i < bases * DQG_PANEL; i++) {
            size_t base = i / DQG_PANEL, n = i % DQG_PANEL;
            r[base][n] = multiplier(codes->scales[(row + base) * codes->scale_stride + n], codes->inverse[n]);
        }
        for (size_t i = 0; i < DQG_PANEL * BLOCK; i++) {
            uint32_t code = block_code(block, codes->bits, i / 64, i % 64);
            int32_t first = r[0][i / 4 % DQG_PANEL], second = r[1][i / 4 % DQG_PANEL];
            *panel++ = low_byte(((code & 1u ? first : -first) + (code & 2u ? second : -second) + 64) >> 7);
        }
    }
}

void dqg_decode_f8_i8_scalar(int8_t *panel, const struct dqg_codes *codes) {
    for (size_t i = 0; i < DQG_PANEL * codes->k; i++) {
        int32_t magnitude = codes->codes[i] & 127;
        int32_t level = magnitude < DQG_F8_FIRST ? 0 : codes->levels[magnitude - DQG_F8_FIRST];
        panel[i] = low_byte(codes->codes[i] & 128 ? -level : level);
    }
}

/* Also of the backends without a wide shuffle: a load and a store for each code are as fast as what they have. */
void dqg_decode_vector_i8_scalar(int8_t *panel, const struct dqg_codes *codes) {
    const uint8_t *code = codes->codes;
    const int8_t *book = codes->levels;
    size_t count = DQG_PANEL * codes->k * (size_t)codes->bits / 8;
    if (codes->bits == 2) {
        for (size_t i = 0; i < count; i++) {
            memcpy(panel + 4 * i, book + 4 * (size_t)code[i], 4);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            memcpy(panel + 2 * i, book + 2 * (size_t)code[i], 2);
        }
    }
}
