/* SPDX-License-Identifier: MIT */
/*
 * What codes stand for: the exact numbers, which weights decode to, and the small integers in their place that the int8
 * kernels work with. The list of all storage formats.
 */
#include <math.h>

#include "tensor/format.h"

/* Sign in bit 3. The 4-bit floats are these times the unit of their format, exactly. */
static const int8_t e2m1_levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
static const int8_t e1m2_levels[16] = {0, 1, 2, 3, 4, 5, 6, 7, 0, -1, -2, -3, -4, -5, -6, -7};
static const int8_t e3m0_levels[16] = {0, 1, 2, 4, 8, 16, 32, 64, 0, -1, -2, -4, -8, -16, -32, -64};

/* NF4 (Dettmers et al., "QLoRA", 2023): quantiles of a normal distribution, and the nearest multiples of 1 / 127. */
static const float nf4_values[16] = {-1.0f,
                                     -0.6961928009986877f,
                                     -0.5250730514526367f,
                                     -0.39491748809814453f,
                                     -0.28444138169288635f,
                                     -0.18477343022823334f,
                                     -0.09105003625154495f,
                                     0.0f,
                                     0.07958029955625534f,
                                     0.16093020141124725f,
                                     0.24611230194568634f,
                                     0.33791524171829224f,
                                     0.44070982933044434f,
                                     0.5626170039176941f,
                                     0.7229568362236023f,
                                     1.0f};
static const int8_t nf4_levels[16] = {-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127};

/* round(127 * value / largest value) of the magnitudes from DQG_F8_FIRST on; what is no number has a level too. */
static const int8_t e4m3_levels[128 - DQG_F8_FIRST] = {
    0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  1,  1,  1,  1,  1,  1,  1,   1,   1,   1,   1,  1,
    2,  2,  2,  2,  2,  2,  3,  3,  3,  3,  4,  4,  4,  5,  5,  6,  6,  7,  7,  8,  9,  9,   10,  11,  12,  14, 15,
    16, 17, 18, 20, 23, 25, 27, 29, 32, 34, 36, 41, 45, 50, 54, 59, 64, 68, 73, 82, 91, 100, 109, 118, 127, 127};
static const int8_t e5m2_levels[128 - DQG_F8_FIRST] = {
    0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,   0,   0,   0,   0,   0,  0,
    0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  1,  1,  1,  1,   1,   1,   2,   2,   2,  3,
    3, 4, 5, 6, 7, 8, 9, 11, 14, 16, 18, 23, 27, 32, 36, 45, 54, 64, 73, 91, 109, 127, 127, 127, 127, 127};

static const struct dqg_format formats[] = {
    {DQG_DTYPE_F32, "f32", DQG_FORMAT_FLOAT, 32, false, 1.0f, NULL},
    {DQG_DTYPE_F16, "f16", DQG_FORMAT_FLOAT, 16, false, 1.0f, NULL},
    {DQG_DTYPE_BF16, "bf16", DQG_FORMAT_FLOAT, 16, false, 1.0f, NULL},
    {DQG_DTYPE_U8, "u8", DQG_FORMAT_IMAGE, 8, false, 1.0f, NULL},
    {DQG_DTYPE_U16, "u16", DQG_FORMAT_IMAGE, 16, false, 1.0f, NULL},
    {DQG_DTYPE_INT8, "int8", DQG_FORMAT_INT8, 8, false, 1.0f, NULL},
    {DQG_DTYPE_INT4, "int4", DQG_FORMAT_GROUP, 4, false, 1.0f, NULL},
    {DQG_DTYPE_INT4Z, "int4z", DQG_FORMAT_GROUP, 4, true, 1.0f, NULL},
    {DQG_DTYPE_INT2, "int2", DQG_FORMAT_GROUP, 2, false, 1.0f, NULL},
    {DQG_DTYPE_INT2Z, "int2z", DQG_FORMAT_GROUP, 2, true, 1.0f, NULL},
    {DQG_DTYPE_INT3, "int3", DQG_FORMAT_GROUP, 3, false, 1.0f, NULL},
    {DQG_DTYPE_INT3Z, "int3z", DQG_FORMAT_GROUP, 3, true, 1.0f, NULL},
    {DQG_DTYPE_INT5, "int5", DQG_FORMAT_GROUP, 5, false, 1.0f, NULL},
    {DQG_DTYPE_INT5Z, "int5z", DQG_FORMAT_GROUP, 5, true, 1.0f, NULL},
    {DQG_DTYPE_INT6, "int6", DQG_FORMAT_GROUP, 6, false, 1.0f, NULL},
    {DQG_DTYPE_INT6Z, "int6z", DQG_FORMAT_GROUP, 6, true, 1.0f, NULL},
    {DQG_DTYPE_E2M1, "e2m1", DQG_FORMAT_GROUP, 4, false, 0.5f, e2m1_levels},
    {DQG_DTYPE_E1M2, "e1m2", DQG_FORMAT_GROUP, 4, false, 0.5f, e1m2_levels},
    {DQG_DTYPE_E3M0, "e3m0", DQG_FORMAT_GROUP, 4, false, 0.25f, e3m0_levels},
    {DQG_DTYPE_NF4, "nf4", DQG_FORMAT_GROUP, 4, false, 1.0f / 127.0f, nf4_levels},
    {DQG_DTYPE_E4M3, "e4m3", DQG_FORMAT_F8, 8, false, 448.0f / 127.0f, e4m3_levels},
    {DQG_DTYPE_E5M2, "e5m2", DQG_FORMAT_F8, 8, false, 57344.0f / 127.0f, e5m2_levels},
    {DQG_DTYPE_BIN1, "bin1", DQG_FORMAT_SIGN, 1, false, 1.0f, NULL},
    {DQG_DTYPE_BIN2, "bin2", DQG_FORMAT_SIGN, 2, false, 1.0f, NULL},
    {DQG_DTYPE_VQ2, "vq2", DQG_FORMAT_VECTOR, 4, false, 1.0f, NULL},
    {DQG_DTYPE_VQ4, "vq4", DQG_FORMAT_VECTOR, 2, false, 1.0f, NULL},
};

const char dqg_format_names[] = "f32|f16|bf16|int8|int6|int6z|int5|int5z|int4|int4z|int3|int3z|int2|int2z|"
                                "e5m2|e4m3|e3m0|e2m1|e1m2|nf4|bin2|bin1|vq2|vq4";

const struct dqg_format *dqg_format_at(size_t index) {
    return index < DQG_COUNT_OF(formats) ? &formats[index] : NULL;
}

const struct dqg_format *dqg_format_find(int32_t dtype) {
    for (size_t i = 0; i < DQG_COUNT_OF(formats); i++) {
        if (formats[i].dtype == dtype) {
            return &formats[i];
        }
    }
    return NULL;
}

bool dqg_format_has_groups(const struct dqg_format *format) {
    return format->kind == DQG_FORMAT_GROUP || format->kind == DQG_FORMAT_SIGN;
}

/* Bits of the fraction, and the exponent's bias, of an 8-bit float. */
static int f8_fraction_bits(const struct dqg_format *format) {
    return format->dtype == DQG_DTYPE_E4M3 ? 3 : 2;
}

static int f8_bias(const struct dqg_format *format) {
    return format->dtype == DQG_DTYPE_E4M3 ? 7 : 15;
}

/* Sign, exponent, fraction. The exponent 0 has no hidden bit. */
static float f8_value(const struct dqg_format *format, uint32_t code) {
    int fraction_bits = f8_fraction_bits(format);
    int exponent = (int)(code & 127u) >> fraction_bits;
    int fraction = (int)code & ((1 << fraction_bits) - 1);
    int hidden = exponent > 0 ? 1 << fraction_bits : 0;
    int power = (exponent > 0 ? exponent : 1) - f8_bias(format) - fraction_bits;
    float value = ldexpf((float)(hidden + fraction), power);
    return code & 128u ? -value : value;
}

uint8_t dqg_f8_code(const struct dqg_format *format, float value) {
    int fraction_bits = f8_fraction_bits(format);
    int lowest = 1 - f8_bias(format);
    uint8_t most = (uint8_t)dqg_largest_code(format);
    uint8_t sign = signbit(value) ? 128 : 0;
    float magnitude = fabsf(value);
    int exponent;
    if (!(magnitude < f8_value(format, most))) {
        return most | sign;
    }
    if (magnitude == 0.0f) {
        return sign;
    }
    frexpf(magnitude, &exponent); /* magnitude is in 2^(exponent - 1) .. 2^exponent */
    exponent = exponent - 1 < lowest ? lowest : exponent - 1;
    int steps = (int)nearbyintf(ldexpf(magnitude, fraction_bits - exponent)); /* hidden bit and fraction */
    return (uint8_t)((steps + ((exponent - lowest) << fraction_bits)) | sign);
}

float dqg_code_value(const struct dqg_format *format, uint32_t code) {
    if (format->kind == DQG_FORMAT_F8) {
        return f8_value(format, code);
    }
    if (format->kind == DQG_FORMAT_INT8) {
        return (float)(code < 128u ? (int)code : (int)code - 256);
    }
    if (format->dtype == DQG_DTYPE_NF4) {
        return nf4_values[code];
    }
    if (format->levels != NULL) {
        return format->unit * (float)format->levels[code];
    }
    return (float)code - (format->zeros ? 0.0f : (float)(1 << (format->bits - 1)));
}

uint32_t dqg_largest_code(const struct dqg_format *format) {
    if (format->kind == DQG_FORMAT_F8) {
        return format->dtype == DQG_DTYPE_E4M3 ? 126 : 123; /* the next ones are NaN and infinity */
    }
    return (1u << format->bits) - 1u;
}
