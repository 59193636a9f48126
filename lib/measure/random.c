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

/* Between 3/4 and 5/4. */
static float vary(uint64_t *seed) {
    return 0.75f + (float)(next(seed) >> 40) * 0x1p-25f;
}

float dqg_random_scale(int32_t dtype, float deviation) {
    if (dqg_dtype_is_float(dtype)) {
        return 1.0f;
    }
    return deviation / (dtype == DQG_DTYPE_INT8 ? 73.0f : 4.6f); /* of uniform -127..127, and -8..7 */
}

void dqg_random_plane(uint64_t seed, int32_t dtype, int plane, void *out, size_t bytes, float deviation) {
    if (dqg_dtype_is_float(dtype)) {
        random_weight_floats(seed, dtype, out, bytes, deviation);
    } else if (plane == 0) {
        random_bytes(seed, out, bytes);
        int8_t *codes = out;
        for (size_t i = 0; dtype == DQG_DTYPE_INT8 && i < bytes; i++) {
            codes[i] = codes[i] == -128 ? 0 : codes[i];
        }
    } else if (plane == 1 && dtype == DQG_DTYPE_INT8) {
        for (size_t i = 0; i < bytes / sizeof(float); i++) {
            ((float *)out)[i] = vary(&seed);
        }
    } else if (plane == 1) {
        for (size_t i = 0; i < bytes / sizeof(uint16_t); i++) {
            ((uint16_t *)out)[i] = dqg_f32_to_f16(vary(&seed));
        }
    } else {
        for (size_t i = 0; i < bytes; i++) {
            ((uint8_t *)out)[i] = (uint8_t)(6 + (next(&seed) & 3));
        }
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
