/* SPDX-License-Identifier: MIT */
/*
 * Decoders of the blocks in which GGUF files keep weights: a few bits for each value, and scales, binary16, that some
 * 16 to 256 values share. In blocks of 32, and in each run of 16 bytes of the others, low halves of bytes come before
 * high ones. Values are those of the reference decoder to the last bit. Used by gguf.c.
 */
#include "io/bytes.h"
#include "io/stored_tensor.h"
#include "tensor/half.h"

static float half_at(const uint8_t *at) {
    return dqg_f16_to_f32((uint16_t)(at[0] | at[1] << 8));
}

/* ---- blocks of 32 ---- */

/* d * (q - zero) + m; q has a nibble, and the bits of high above it. */
static void decode_32(float out[32], const uint8_t qs[16], uint32_t high, float d, int zero, float m) {
    for (int i = 0; i < 16; i++) {
        int low_q = (qs[i] & 15) | (int)(high >> i & 1) << 4;
        int high_q = qs[i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        out[i] = d * (float)(low_q - zero) + m;
        out[i + 16] = d * (float)(high_q - zero) + m;
    }
}

static void decode_q4_0(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 18, out += 32) {
        decode_32(out, in + 2, 0, half_at(in), 8, 0);
    }
}

static void decode_q4_1(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 20, out += 32) {
        decode_32(out, in + 4, 0, half_at(in), 0, half_at(in + 2));
    }
}

static void decode_q5_0(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 22, out += 32) {
        decode_32(out, in + 6, dqg_get_u32(in + 2), half_at(in), 16, 0);
    }
}

static void decode_q5_1(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 24, out += 32) {
        decode_32(out, in + 8, dqg_get_u32(in + 4), half_at(in), 0, half_at(in + 2));
    }
}

static void decode_q8_0(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 34, out += 32) {
        float d = half_at(in);
        for (int i = 0; i < 32; i++) {
            out[i] = d * (float)(int8_t)in[2 + i];
        }
    }
}

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void decode_iq4(float out[32], const uint8_t qs[16], float d) {
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)iq4_values[qs[i] & 15];
        out[i + 16] = d * (float)iq4_values[qs[i] >> 4];
    }
}

static void decode_iq4_nl(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 18, out += 32) {
        decode_iq4(out, in + 2, half_at(in));
    }
}

/* ---- blocks of 256 ---- */

/* d, high parts of the scales (16 bits), low parts (4 bytes), 128 bytes of nibbles */
static void decode_iq4_xs(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 136, out += 256) {
        float d = half_at(in);
        int scales_high = in[2] | in[3] << 8;
        for (int b = 0; b < 8; b++) {
            int scale = (in[4 + b / 2] >> 4 * (b % 2) & 15) | (scales_high >> 2 * b & 3) << 4;
            decode_iq4(out + 32 * b, in + 8 + 16 * b, d * (float)(scale - 32));
        }
    }
}

/* 16 bytes of scale and minimum, 64 of two-bit values, d, dmin */
static void decode_q2_k(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 84, out += 256) {
        float d = half_at(in + 80), dmin = half_at(in + 82);
        for (int j = 0; j < 16; j++) { /* runs of 16 values */
            const uint8_t *qs = in + 16 + 32 * (j / 8) + 16 * (j % 2);
            float scale = d * (float)(in[j] & 15), minimum = dmin * (float)(in[j] >> 4);
            for (int i = 0; i < 16; i++) {
                out[16 * j + i] = scale * (float)(qs[i] >> 2 * (j % 8 / 2) & 3) - minimum;
            }
        }
    }
}

/* 32 bytes of third bits, 64 of two-bit values, 12 of scales, d */
static void decode_q3_k(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 110, out += 256) {
        const uint8_t *s = in + 96;
        float d = half_at(in + 108);
        for (int j = 0; j < 16; j++) {
            const uint8_t *qs = in + 32 + 32 * (j / 8) + 16 * (j % 2), *high = in + 16 * (j % 2);
            int low_scale = j < 8 ? s[j] & 15 : s[j - 8] >> 4, high_scale = s[8 + j % 4] >> 2 * (j / 4) & 3;
            float scale = d * (float)((low_scale | high_scale << 4) - 32);
            for (int i = 0; i < 16; i++) {
                int q = (qs[i] >> 2 * (j % 8 / 2) & 3) - (high[i] >> j / 2 & 1 ? 0 : 4);
                out[16 * j + i] = scale * (float)q;
            }
        }
    }
}

/* The scale and the minimum, 6 bits each, of 32 values: j of 8. */
static void k_scale(const uint8_t s[12], int j, float d, float dmin, float *scale, float *minimum) {
    int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    int mn = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
    *scale = d * (float)sc;
    *minimum = dmin * (float)mn;
}

/* d, dmin, 12 bytes of scales, 32 of fifth bits where there are, 128 of nibbles */
static void decode_q45_k(float out[256], const uint8_t *in, const uint8_t *fifth, const uint8_t *qs) {
    float d = half_at(in), dmin = half_at(in + 2), scale, minimum;
    for (int j = 0; j < 8; j++) {
        const uint8_t *nibbles = qs + 32 * (j / 2);
        k_scale(in + 4, j, d, dmin, &scale, &minimum);
        for (int i = 0; i < 32; i++) {
            int q = (nibbles[i] >> 4 * (j % 2) & 15) | (fifth != NULL ? (fifth[i] >> j & 1) << 4 : 0);
            out[32 * j + i] = scale * (float)q - minimum;
        }
    }
}

static void decode_q4_k(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 144, out += 256) {
        decode_q45_k(out, in, NULL, in + 16);
    }
}

static void decode_q5_k(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 176, out += 256) {
        decode_q45_k(out, in, in + 16, in + 48);
    }
}

/* 128 bytes of nibbles, 64 of the two bits above, 16 of scales, d */
static void decode_q6_k(float *out, const uint8_t *in, size_t blocks) {
    for (; blocks > 0; blocks--, in += 210, out += 256) {
        float d = half_at(in + 208);
        for (int j = 0; j < 16; j++) {
            int half = j / 8, group = j % 8 / 2, side = 16 * (j % 2);
            const uint8_t *low = in + 64 * half + 32 * (group & 1) + side, *high = in + 128 + 32 * half + side;
            float scale = d * (float)(int8_t)in[192 + j];
            for (int i = 0; i < 16; i++) {
                int q = (low[i] >> 4 * (group >> 1) & 15) | (high[i] >> 2 * group & 3) << 4;
                out[16 * j + i] = scale * (float)(q - 32);
            }
        }
    }
}

static const struct {
    uint32_t type;
    struct dqg_encoding encoding;
} blocks[] = {
    {2, {"Q4_0", 32, 18, DQG_DTYPE_F16, decode_q4_0}},      {3, {"Q4_1", 32, 20, DQG_DTYPE_F16, decode_q4_1}},
    {6, {"Q5_0", 32, 22, DQG_DTYPE_F16, decode_q5_0}},      {7, {"Q5_1", 32, 24, DQG_DTYPE_F16, decode_q5_1}},
    {8, {"Q8_0", 32, 34, DQG_DTYPE_F16, decode_q8_0}},      {10, {"Q2_K", 256, 84, DQG_DTYPE_F16, decode_q2_k}},
    {11, {"Q3_K", 256, 110, DQG_DTYPE_F16, decode_q3_k}},   {12, {"Q4_K", 256, 144, DQG_DTYPE_F16, decode_q4_k}},
    {13, {"Q5_K", 256, 176, DQG_DTYPE_F16, decode_q5_k}},   {14, {"Q6_K", 256, 210, DQG_DTYPE_F16, decode_q6_k}},
    {20, {"IQ4_NL", 32, 18, DQG_DTYPE_F16, decode_iq4_nl}}, {23, {"IQ4_XS", 256, 136, DQG_DTYPE_F16, decode_iq4_xs}},
};

/* Types that are plain elements. */
static const struct {
    uint32_t type;
    char name[5];
} plain[] = {{0, "F32"}, {1, "F16"}, {24, "I8"}, {25, "I16"}, {26, "I32"}, {27, "I64"}, {28, "F64"}, {30, "BF16"}};

const struct dqg_encoding *dqg_gguf_encoding(uint32_t type) {
    for (size_t i = 0; i < DQG_COUNT_OF(plain); i++) {
        if (plain[i].type == type) {
            return dqg_encoding_find(plain[i].name);
        }
    }
    for (size_t i = 0; i < DQG_COUNT_OF(blocks); i++) {
        if (blocks[i].type == type) {
            return &blocks[i].encoding;
        }
    }
    return NULL;
}
