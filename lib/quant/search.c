/* SPDX-License-Identifier: MIT */
/*
 * The scale of one group: a grid of clipping thresholds is tried; for each, codes are rounded to nearest and the scale
 * that fits them best in the least-squares sense is taken. Called by round.c.
 */
#include "quant/round.h"

#include <math.h>

#include "tensor/half.h"

/* The part of the largest magnitude that is clipped to in a step: from 1 down. Few levels clip more. */
static float clip_at(int32_t step, int32_t steps, int levels) {
    float lowest = levels < 16 ? 0.2f : 0.5f;
    return steps > 1 ? 1.0f - (1.0f - lowest) * (float)step / (float)(steps - 1) : 1.0f;
}

static float round_scale(float scale, bool half) {
    return half ? dqg_f16_to_f32(dqg_f32_to_f16(scale)) : scale;
}

/* Sums are kept in parts, so that the loops over a group fill vector registers. */
enum { PARTS = DQG_ROUND_PARTS };

static float sum_parts(const float parts[PARTS]) {
    float sum = 0.0f;
    for (int i = 0; i < PARTS; i++) {
        sum += parts[i];
    }
    return sum;
}

/* Round to nearest even for |x| < 2^22: the float adder rounds where the fraction falls off. */
static inline float round_even(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23 */
    return (x + magic) - magic;
}

/* Codes less their zero point for a scale, as floats; returns the squared error. */
static float round_codes(const float *x, size_t n, float scale, float low, float high, float *codes) {
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    float errors[PARTS] = {0.0f};
    for (size_t i = 0; i < n; i += PARTS) {
        for (size_t j = 0; j < PARTS; j++) {
            float code = x[i + j] * inverse;
            code = code < low ? low : code;
            code = round_even(code > high ? high : code);
            float difference = x[i + j] - code * scale;
            errors[j] += difference * difference;
            codes[i + j] = code;
        }
    }
    return sum_parts(errors);
}

/* The least-squares scale for given codes. */
static float fit_scale(const float *x, size_t n, const float *codes, float fallback) {
    float xq[PARTS] = {0.0f};
    float qq[PARTS] = {0.0f};
    for (size_t i = 0; i < n; i += PARTS) {
        for (size_t j = 0; j < PARTS; j++) {
            xq[j] += x[i + j] * codes[i + j];
            qq[j] += codes[i + j] * codes[i + j];
        }
    }
    float above = sum_parts(xq);
    float below = sum_parts(qq);
    return below > 0.0f && above > 0.0f ? above / below : fallback;
}

float dqg_search_scale(const float *x, size_t n, struct dqg_code_range range, int32_t steps, float *codes, int *zero) {
    float low = 0.0f;
    float high = 0.0f;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    int best_zero = zero != NULL ? range.lowest : 0;
    float best_scale = 0.0f;
    float best_error = INFINITY;
    for (int32_t step = 0; step < steps; step++) {
        float clip = clip_at(step, steps, range.highest - range.lowest + 1);
        int try_zero = 0;
        float scale;
        if (zero != NULL) {
            scale = (high - low) * clip / (float)(range.highest - range.lowest);
            try_zero = scale > 0.0f ? (int)nearbyintf(-low * clip / scale) : 0;
            try_zero = try_zero > range.highest ? range.highest : try_zero;
        } else {
            scale = fmaxf(-low / (float)-range.lowest, high / (float)range.highest) * clip;
        }
        float lowest = (float)(range.lowest - try_zero);
        float highest = (float)(range.highest - try_zero);
        for (int pass = 0; pass < 2; pass++) {
            scale = round_scale(pass == 0 ? scale : fit_scale(x, n, codes, scale), range.half);
            float error = round_codes(x, n, scale, lowest, highest, codes);
            if (error < best_error) {
                best_error = error;
                best_scale = scale;
                best_zero = try_zero;
            }
        }
    }
    round_codes(x, n, best_scale, (float)(range.lowest - best_zero), (float)(range.highest - best_zero), codes);
    if (zero != NULL) {
        *zero = best_zero;
    }
    return best_scale;
}

/* ---- levels that are not evenly spaced ---- */

/* Ties go to the magnitude with an even code; without fraction bits to the larger one, but for half of the smallest. */
static bool tie_goes_out(const struct dqg_format *format, int smaller) {
    return format->dtype == DQG_DTYPE_E3M0 ? smaller > 0 : smaller % 2 != 0;
}

void dqg_level_table_init(struct dqg_level_table *table, const struct dqg_format *format) {
    bool floats = format->dtype != DQG_DTYPE_NF4; /* sign in bit 3; code 8 is -0 and not used */
    table->count = floats ? 15 : 16;
    for (int i = 0; i < table->count; i++) {
        table->codes[i] = (uint8_t)(!floats ? i : i < 7 ? 15 - i : i - 7);
        table->values[i] = dqg_code_value(format, table->codes[i]);
    }
    for (int i = 0; i + 1 < table->count; i++) {
        float middle = 0.5f * (table->values[i] + table->values[i + 1]);
        bool positive = middle > 0.0f;
        bool out = tie_goes_out(format, table->codes[positive ? i : i + 1] & 7);
        /* x above the limit goes up; just below the middle, the limit sends the tie up too */
        table->limits[i] = floats && out == positive ? middle - 0x1p-22f * fabsf(middle) : middle;
    }
}

/* Nearest levels for a scale, as floats; returns the squared error. */
static float round_levels(const struct dqg_level_table *table, const float *x, size_t n, float scale, float *levels) {
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    float errors[PARTS] = {0.0f};
    for (size_t i = 0; i < n; i += PARTS) {
        for (size_t j = 0; j < PARTS; j++) {
            levels[i + j] = table->values[0];
        }
        for (int t = 0; t + 1 < table->count; t++) {
            for (size_t j = 0; j < PARTS; j++) {
                levels[i + j] = x[i + j] * inverse > table->limits[t] ? table->values[t + 1] : levels[i + j];
            }
        }
        for (size_t j = 0; j < PARTS; j++) {
            float difference = x[i + j] - levels[i + j] * scale;
            errors[j] += difference * difference;
        }
    }
    return sum_parts(errors);
}

float dqg_search_levels(const struct dqg_level_table *table, const float *x, size_t n, int32_t steps, float *levels) {
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(x[i]));
    }
    float best_scale = 0.0f;
    float best_error = INFINITY;
    for (int32_t step = 0; step < steps; step++) {
        float scale = largest / table->values[table->count - 1] * clip_at(step, steps, 16);
        for (int pass = 0; pass < 2; pass++) {
            scale = round_scale(pass == 0 ? scale : fit_scale(x, n, levels, scale), true);
            float error = round_levels(table, x, n, scale, levels);
            if (error < best_error) {
                best_error = error;
                best_scale = scale;
            }
        }
    }
    round_levels(table, x, n, best_scale, levels);
    return best_scale;
}
