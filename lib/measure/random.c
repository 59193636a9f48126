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

void dqg_random_weight(uint64_t seed, struct dqg_weight *weight, float deviation) {
    weight->scale = 1.0f;
    if (dqg_dtype_is_float(weight->dtype)) {
        random_weight_floats(seed, weight, deviation);
        return;
    }
    random_bytes(seed, weight->codes, (size_t)weight->bytes[0]);
    if (weight->dtype == DQG_DTYPE_INT8) {
        int8_t *codes = weight->codes;
        for (size_t i = 0; i < weight->bytes[0]; i++) {
            codes[i] = codes[i] == -128 ? 0 : codes[i];
        }
        for (size_t i = 0; i < weight->bytes[1] / sizeof(float); i++) {
            ((float *)weight->scales)[i] = vary(&seed, deviation / 73.0f); /* of uniform -127..127 */
        }
        return;
    }
    /* F16 scales need numbers of their range. */
    weight->scale = deviation / 4.6f; /* of uniform -8..7 */
    for (size_t i = 0; i < weight->bytes[1] / sizeof(uint16_t); i++) {
        ((uint16_t *)weight->scales)[i] = dqg_f32_to_f16(vary(&seed, 1.0f));
    }
    for (size_t i = 0; i < weight->bytes[2]; i++) {
        weight->zeros[i] = (uint8_t)(6 + (next(&seed) & 3));
    }
}
