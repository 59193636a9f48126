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

/* Round to nearest even for |x| < 2^22: the float adder rounds where the fraction falls off. */
static inline float round_even(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23 */
    return (x + magic) - magic;
}

/* Codes less their zero point for a scale, as floats. */
static void round_codes(const float *x, size_t n, float scale, float low, float high, float *codes) {
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (size_t i = 0; i < n; i++) {
        float code = x[i] * inverse;
        code = code < low ? low : code;
        codes[i] = round_even(code > high ? high : code);
    }
}

/* The clipping thresholds of some steps, as scales with their limits; the rest of the lanes repeat the last. */
struct grid {
    float low, high; /* of the weights */
    struct dqg_code_range range;
    int32_t steps;
    int zeros[DQG_FIT_SCALES]; /* that go with the scales; 0 without zero points */
};

static void fill_grid(struct grid *grid, struct dqg_scale_fit *fit, int32_t first, bool zero_points) {
    const struct dqg_code_range *range = &grid->range;
    fit->half = range->half;
    for (int32_t i = 0; i < DQG_FIT_SCALES; i++) {
        int32_t step = first + i < grid->steps ? first + i : grid->steps - 1;
        float clip = clip_at(step, grid->steps, range->highest - range->lowest + 1);
        float scale = fmaxf(-grid->low / (float)-range->lowest, grid->high / (float)range->highest) * clip;
        int zero = 0;
        if (zero_points) {
            scale = (grid->high - grid->low) * clip / (float)(range->highest - range->lowest);
            zero = scale > 0.0f ? (int)nearbyintf(-grid->low * clip / scale) : 0;
            zero = zero > range->highest ? range->highest : zero;
        }
        grid->zeros[i] = zero;
        fit->scales[0][i] = scale;
        fit->low[i] = (float)(range->lowest - zero);
        fit->high[i] = (float)(range->highest - zero);
    }
}

float dqg_search_scale(const struct dqg_kernels *kernels, const float *x, size_t n, struct dqg_code_range range,
                       int32_t steps, float *codes, int *zero) {
    struct grid grid = {.range = range, .steps = steps};
    for (size_t i = 0; i < n; i++) {
        grid.low = x[i] < grid.low ? x[i] : grid.low;
        grid.high = x[i] > grid.high ? x[i] : grid.high;
    }
    int best_zero = zero != NULL ? range.lowest : 0;
    float best_scale = 0.0f;
    float best_error = INFINITY;
    for (int32_t first = 0; first < steps; first += DQG_FIT_SCALES) {
        struct dqg_scale_fit fit;
        fill_grid(&grid, &fit, first, zero != NULL);
        kernels->fit_scales_f32(&fit, x, n);
        for (int32_t i = 0; i < DQG_FIT_SCALES; i++) {
            for (int pass = 0; pass < 2; pass++) {
                if (fit.errors[pass][i] < best_error) {
                    best_error = fit.errors[pass][i];
                    best_scale = fit.scales[pass][i];
                    best_zero = grid.zeros[i];
                }
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

/* Sums are kept in parts, so that the loops over a group fill vector registers. */
enum { PARTS = DQG_ROUND_PARTS };

static float sum_parts(const float parts[PARTS]) {
    float sum = 0.0f;
    for (int i = 0; i < PARTS; i++) {
        sum += parts[i];
    }
    return sum;
}

static float round_scale(float scale, bool half) {
    return half ? dqg_f16_to_f32(dqg_f32_to_f16(scale)) : scale;
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
