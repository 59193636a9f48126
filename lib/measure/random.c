/* SPDX-License-Identifier: MIT */
/* Random data for measurements: quick to make, of the size and spread that networks have, the same every time. */
#include <math.h>

#include "measure/measure.h"
#include "tensor/half.h"

/* splitmix64 */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void dqg_random_floats(uint64_t seed, float *out, size_t count) {
    const float scale = 0x1p-16f * 1.7320508f; /* the sum of four uniform numbers has a variance of 4 / 12 */
    for (size_t i = 0; i < count; i++) {
        uint64_t draw = next(&seed);
        int32_t sum = (int32_t)(draw & 0xffff) + (int32_t)(draw >> 16 & 0xffff) + (int32_t)(draw >> 32 & 0xffff) +
                      (int32_t)(draw >> 48);
        out[i] = (float)(sum - 2 * 0xffff) * scale;
    }
}

static void random_bytes(uint64_t seed, void *out, size_t size) {
    for (size_t i = 0; i < size; i += sizeof seed) {
        uint64_t draw = next(&seed);
        memcpy((char *)out + i, &draw, dqg_min_size(sizeof draw, size - i));
    }
}

static void random_weight_floats(uint64_t seed, struct dqg_weight *weight, float deviation) {
    float chunk[1024];
    size_t count = dqg_weight_count(weight), element = dqg_dtype_size(weight->dtype);
    for (size_t at = 0; at < count; at += DQG_COUNT_OF(chunk)) {
        size_t n = dqg_min_size(DQG_COUNT_OF(chunk), count - at);
        dqg_random_floats(seed + at, chunk, n);
        for (size_t i = 0; i < n; i++) {
            chunk[i] *= deviation;
        }
        dqg_floats_encode((char *)weight->codes + at * element, chunk, weight->dtype, n);
    }
}

/* Between 3/4 and 5/4 of a scale. */
static float vary(uint64_t *seed, float scale) {
    return scale * (0.75f + (float)(next(seed) >> 40) * 0x1p-25f);
}

/* Codes that stand for numbers. */
static void random_codes(uint64_t seed, const struct dqg_format *format, struct dqg_weight *weight) {
    uint8_t *codes = weight->codes;
    uint8_t largest = format->bits == 8 ? (uint8_t)dqg_largest_code(format) & 127 : 127;
    random_bytes(seed, codes, (size_t)weight->bytes[0]);
    for (size_t i = 0; format->bits == 8 && i < weight->bytes[0]; i++) {
        codes[i] = (codes[i] & 127) > largest || codes[i] == 128 ? 0 : codes[i];
    }
}

/* The standard deviation of what codes stand for before they are scaled, where all are equally frequent. */
static float code_deviation(const struct dqg_format *format) {
    double sum = 0.0;
    uint32_t count = 1u << format->bits;
    if (format->kind == DQG_FORMAT_VECTOR || format->kind == DQG_FORMAT_SIGN) {
        return format->kind == DQG_FORMAT_SIGN ? sqrtf((float)format->bits) : 1.0f;
    }
    for (uint32_t code = 0; code < count; code++) {
        double value = dqg_code_value(format, code) - (format->zeros ? (float)(count / 2) : 0.0f);
        sum += (code & 127) <= dqg_largest_code(format) ? value * value : 0.0;
    }
    return (float)sqrt(sum / count);
}

void dqg_random_weight(uint64_t seed, struct dqg_weight *weight, float deviation) {
    const struct dqg_format *format = dqg_format_find(weight->dtype);
    weight->scale = 1.0f;
    if (format->kind == DQG_FORMAT_FLOAT) {
        random_weight_floats(seed, weight, deviation);
        return;
    }
    random_codes(seed, format, weight);
    weight->scale = deviation / code_deviation(format); /* F16 scales need numbers of their range */
    for (size_t i = 0; dqg_format_has_groups(format) && i < weight->bytes[1] / sizeof(uint16_t); i++) {
        ((uint16_t *)weight->scales)[i] = dqg_f32_to_f16(vary(&seed, 1.0f));
    }
    for (size_t i = 0; !dqg_format_has_groups(format) && i < weight->bytes[1] / sizeof(float); i++) {
        ((float *)weight->scales)[i] = vary(&seed, 1.0f);
    }
    for (size_t i = 0; format->zeros && i < weight->bytes[2]; i++) {
        weight->zeros[i] = (uint8_t)((1u << (format->bits - 1)) - 2u + (next(&seed) & 3u));
    }
    if (format->kind == DQG_FORMAT_VECTOR) {
        float book[DQG_CODEBOOK_ENTRIES * 4];
        size_t count = (size_t)weight->bytes[2] / sizeof(uint16_t);
        dqg_random_floats(seed, book, count);
        dqg_floats_encode(weight->zeros, book, DQG_DTYPE_F16, count);
    }
}
