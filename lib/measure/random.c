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

static void random_weight_floats(uint64_t seed, int32_t dtype, void *out, size_t bytes, float deviation) {
    float chunk[1024];
    size_t element = dqg_dtype_size(dtype), count = bytes / element;
    for (size_t at = 0; at < count; at += DQG_COUNT_OF(chunk)) {
        size_t n = dqg_min_size(DQG_COUNT_OF(chunk), count - at);
        dqg_random_floats(seed + at, chunk, n);
        for (size_t i = 0; i < n; i++) {
            chunk[i] *= deviation;
        }
        dqg_floats_encode((char *)out + at * element, chunk, dtype, n);
    }
}

/* Codes that stand for numbers. */
static void random_codes(uint64_t seed, const struct dqg_format *format, uint8_t *codes, size_t bytes) {
    uint8_t largest = format->bits == 8 ? (uint8_t)dqg_largest_code(format) & 127 : 127;
    random_bytes(seed, codes, bytes);
    for (size_t i = 0; format->bits == 8 && i < bytes; i++) {
        codes[i] = (codes[i] & 127) > largest || codes[i] == 128 ? 0 : codes[i];
    }
}

/* Between 3/4 and 5/4. */
static float vary(uint64_t *seed) {
    return 0.75f + (float)(next(seed) >> 40) * 0x1p-25f;
}

static void random_scales(uint64_t seed, const struct dqg_format *format, void *scales, size_t bytes) {
    bool half = dqg_format_has_groups(format);
    for (size_t i = 0; i < bytes / (half ? sizeof(uint16_t) : sizeof(float)); i++) {
        if (half) {
            ((uint16_t *)scales)[i] = dqg_f32_to_f16(vary(&seed));
        } else {
            ((float *)scales)[i] = vary(&seed);
        }
    }
}

/* Zero points near the middle of the codes, or a codebook. */
static void random_last_plane(uint64_t seed, const struct dqg_format *format, uint8_t *out, size_t bytes) {
    if (format->kind == DQG_FORMAT_VECTOR) {
        random_weight_floats(seed, DQG_DTYPE_F16, out, bytes, 1.0f);
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)((1u << (format->bits - 1)) - 2u + (next(&seed) & 3u));
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

/* Scales are near 1 because F16 needs numbers of its range. */
float dqg_random_scale(int32_t dtype, float deviation) {
    return dqg_dtype_is_float(dtype) ? 1.0f : deviation / code_deviation(dqg_format_find(dtype));
}

void dqg_random_plane(uint64_t seed, int32_t dtype, int plane, void *out, size_t bytes, float deviation) {
    const struct dqg_format *format = dqg_format_find(dtype);
    if (format->kind == DQG_FORMAT_FLOAT) {
        random_weight_floats(seed, dtype, out, bytes, deviation);
    } else if (plane == 0) {
        random_codes(seed, format, out, bytes);
    } else if (plane == 1) {
        random_scales(seed, format, out, bytes);
    } else {
        random_last_plane(seed, format, out, bytes);
    }
}

void dqg_random_weight(uint64_t seed, struct dqg_weight *weight, float deviation) {
    void *planes[] = {weight->codes, weight->scales, weight->zeros};
    weight->scale = dqg_random_scale(weight->dtype, deviation);
    for (int plane = 0; plane < 3; plane++) {
        if (weight->bytes[plane] > 0) {
            dqg_random_plane(seed + (uint64_t)plane, weight->dtype, plane, planes[plane], (size_t)weight->bytes[plane],
                             deviation);
        }
    }
}
