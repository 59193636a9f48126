/* SPDX-License-Identifier: MIT */
/*
 * Plain elements, as safetensors, PyTorch, NumPy and GGUF files hold them, under the names of safetensors. Doubles are
 * seen as floats, and 8-bit floats with a sign and the usual biases as halves, which hold each of them exactly.
 */
#include "io/bytes.h"
#include "io/stored_tensor.h"
#include "tensor/half.h"

static void decode_f64(float *out, const uint8_t *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = dqg_get_u64(in + 8 * i);
        double value;
        memcpy(&value, &bits, sizeof value);
        out[i] = (float)value;
    }
}

/* Sign, 4 bits of exponent with bias 7, 3 of mantissa; no infinity. As half of 2^-8 the value: 4 and 10 bits, bias 15.
 */
static void decode_e4m3(float *out, const uint8_t *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t half = (uint16_t)((in[i] & 0x80) << 8 | (in[i] & 0x7f) << 7);
        out[i] = (in[i] & 0x7f) == 0x7f ? dqg_bits_to_float(0x7fc00000u) : 256.0f * dqg_f16_to_f32(half);
    }
}

/* The upper byte of a half. */
static void decode_e5m2(float *out, const uint8_t *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        out[i] = dqg_f16_to_f32((uint16_t)(in[i] << 8));
    }
}

static const struct dqg_encoding encodings[] = {
    {"F32", 1, 4, DQG_DTYPE_F32, NULL},
    {"F16", 1, 2, DQG_DTYPE_F16, NULL},
    {"BF16", 1, 2, DQG_DTYPE_BF16, NULL},
    {"F64", 1, 8, DQG_DTYPE_F32, decode_f64},
    {"F8_E4M3", 1, 1, DQG_DTYPE_F16, decode_e4m3},
    {"F8_E5M2", 1, 1, DQG_DTYPE_F16, decode_e5m2},
    {"C64", 1, 8, 0, NULL},
    {"I64", 1, 8, 0, NULL},
    {"U64", 1, 8, 0, NULL},
    {"I32", 1, 4, 0, NULL},
    {"U32", 1, 4, 0, NULL},
    {"I16", 1, 2, 0, NULL},
    {"U16", 1, 2, 0, NULL},
    {"I8", 1, 1, 0, NULL},
    {"U8", 1, 1, 0, NULL},
    {"BOOL", 1, 1, 0, NULL},
    {"F8_E8M0", 1, 1, 0, NULL},
    {"F8_E4M3FNUZ", 1, 1, 0, NULL},
    {"F8_E5M2FNUZ", 1, 1, 0, NULL},
    {"F6_E2M3", 4, 3, 0, NULL},
    {"F6_E3M2", 4, 3, 0, NULL},
    {"F4", 2, 1, 0, NULL},
};

const struct dqg_encoding *dqg_encoding_find(const char *name) {
    for (size_t i = 0; i < DQG_COUNT_OF(encodings); i++) {
        if (strcmp(encodings[i].name, name) == 0) {
            return &encodings[i];
        }
    }
    return NULL;
}
