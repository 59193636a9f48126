/* SPDX-License-Identifier: MIT */
/* Checks of attention_pack_f32_i8 against its contract in plain C, bit for bit. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* limit / largest, or 0 where it is no number. A NaN counts as larger than infinity. */
static float inverse_of(float largest, float limit, float *scale) {
    float inverse = limit / largest;
    int usable = largest <= FLT_MAX && inverse <= FLT_MAX;
    *scale = usable ? largest / limit : 0.0f;
    return usable ? inverse : 0.0f;
}

static float larger(float a, float b) {
    return isnan(a) || isnan(b) ? NAN : fmaxf(a, fabsf(b));
}

static int rounded(float x, float inverse) {
    return inverse > 0.0f ? (int)nearbyintf(x * inverse) : 0;
}

static void plain_keys(char *packed, const float *k, size_t ld, size_t keys, size_t width) {
    size_t wide = (width + 15) / 16 * 16, block = dqg_attention_block_bytes(width);
    float *mean = calloc(width, sizeof *mean), largest = 0.0f, scale;
    for (size_t c = 0; c < width; c++) {
        for (size_t key = 0; key < keys; key++) {
            mean[c] += k[key * ld + c];
        }
        mean[c] /= (float)keys;
        for (size_t key = 0; key < keys; key++) {
            largest = larger(largest, k[key * ld + c] - mean[c]);
        }
    }
    float inverse = inverse_of(largest, dqg_attention_limit(width), &scale);
    memcpy(packed, &scale, sizeof scale);
    for (size_t key = 0; key < keys; key++) {
        char *at = packed + DQG_ATTENTION_HEADER + key / DQG_ATTENTION_KEYS * block;
        int16_t *row = (int16_t *)(at + wide * sizeof(float) + wide * DQG_ATTENTION_KEYS);
        for (size_t c = 0; c < width; c++) {
            row[key % DQG_ATTENTION_KEYS * wide + c] = (int16_t)rounded(k[key * ld + c] - mean[c], inverse);
        }
    }
    free(mean);
}

static void plain_values(char *packed, const float *v, size_t ld, size_t keys, size_t width) {
    size_t wide = (width + 15) / 16 * 16, block = dqg_attention_block_bytes(width);
    for (size_t first = 0; first < keys; first += DQG_ATTENTION_KEYS) {
        char *at = packed + DQG_ATTENTION_HEADER + first / DQG_ATTENTION_KEYS * block;
        int8_t *codes = (int8_t *)at + wide * sizeof(float);
        size_t count = keys - first < DQG_ATTENTION_KEYS ? keys - first : DQG_ATTENTION_KEYS;
        for (size_t c = 0; c < width; c++) {
            float largest = 0.0f;
            for (size_t key = 0; key < count; key++) {
                largest = larger(largest, v[(first + key) * ld + c]);
            }
            float inverse = inverse_of(largest, 127.0f, (float *)at + c);
            for (size_t key = 0; key < count; key++) {
                int code = rounded(v[(first + key) * ld + c], inverse);
                codes[key / 4 * 4 * wide + 4 * c + key % 4] = (int8_t)code;
            }
        }
    }
}

static void pack_case(const struct check *check, size_t keys, size_t width, int hostile) {
    size_t ld_k = width + random_below(2) * 5, ld_v = width + random_below(2) * (width + 3);
    size_t bytes = dqg_attention_packed_bytes(keys, width);
    check_case("attention_pack_f32_i8 %s: keys %zu width %zu ld_k %zu ld_v %zu hostile %d", check->tested->name, keys,
               width, ld_k, ld_v, hostile);
    struct buffer k = buffer_make(keys, width, ld_k, 4), v = buffer_make(keys, width, ld_v, 4);
    struct buffer got = buffer_make(1, bytes, 0, 1), want = buffer_make(1, bytes, 0, 1);
    fill_floats(k.data, k.size / 4);
    fill_floats(v.data, v.size / 4);
    if (hostile) {
        const float values[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e-45f};
        ((float *)k.data)[random_below(k.size / 4)] = random_below(2) ? values[random_below(COUNT_OF(values))] : 1.0f;
        ((float *)v.data)[random_below(v.size / 4)] = values[random_below(COUNT_OF(values))];
    }
    memset(want.data, 0, bytes);
    plain_keys(want.data, k.data, ld_k, keys, width);
    plain_values(want.data, v.data, ld_v, keys, width);
    check->tested->attention_pack_f32_i8(got.data, k.data, ld_k, v.data, ld_v, keys, width);
    check_equal(got.data, want.data, 1, bytes, 0, 1);
    struct buffer *all[] = {&k, &v, &got, &want};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
}

void check_attention_pack_f32_i8(const struct check *check) {
    static const size_t keys[] = {1, 2, 3, 4, 5, 63, 64, 65, 128, 200};
    static const size_t widths[] = {1, 2, 7, 8, 15, 16, 17, 40, 64, 72, 100, 255, 256};
    for (size_t i = 0; i < check->cases; i++) {
        pack_case(check, RANDOM_SIZE(keys), RANDOM_SIZE(widths), random_below(3) == 0);
    }
}
