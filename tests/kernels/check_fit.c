/* SPDX-License-Identifier: MIT */
/* Checks of fit_scales_f32, what the quantizer tries scales with: the scalar kernel against its definition. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "tensor/half.h"

static const size_t sizes[] = {16, 32, 48, 64, 128, 768};

/* Sum of 16 parts, the order that the contract gives. */
static float ordered_sum(const float *terms, size_t n) {
    float sum = 0.0f;
    for (size_t part = 0; part < DQG_FIT_PARTS; part++) {
        float partial = 0.0f;
        for (size_t i = part; i < n; i += DQG_FIT_PARTS) {
            partial += terms[i];
        }
        sum += partial;
    }
    return sum;
}

static float naive_code(float x, float scale, float low, float high) {
    float code = scale > 0.0f ? x * (1.0f / scale) : 0.0f;
    code = code < low ? low : code > high ? high : code;
    return nearbyintf(code);
}

static float naive_round(const float *x, size_t n, float scale, float low, float high, float *codes) {
    float terms[768];
    for (size_t i = 0; i < n; i++) {
        codes[i] = naive_code(x[i], scale, low, high);
        float difference = x[i] - codes[i] * scale;
        terms[i] = difference * difference;
    }
    return ordered_sum(terms, n);
}

static float naive_half(float x, int half) {
    return half ? dqg_f16_to_f32(dqg_f32_to_f16(x)) : x;
}

static void naive_fit(struct dqg_scale_fit *fit, const float *x, size_t n) {
    float codes[768], above[768], below[768];
    for (size_t s = 0; s < DQG_FIT_SCALES; s++) {
        float low = fit->low[s], high = fit->high[s];
        float scale = fit->scales[0][s] = naive_half(fit->scales[0][s], fit->half);
        fit->errors[0][s] = naive_round(x, n, scale, low, high, codes);
        for (size_t i = 0; i < n; i++) {
            above[i] = x[i] * codes[i];
            below[i] = codes[i] * codes[i];
        }
        float top = ordered_sum(above, n), bottom = ordered_sum(below, n);
        fit->scales[1][s] = naive_half(top > 0.0f && bottom > 0.0f ? top / bottom : scale, fit->half);
        fit->errors[1][s] = naive_round(x, n, fit->scales[1][s], low, high, codes);
    }
}

void check_fit_scales_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        size_t n = RANDOM_SIZE(sizes);
        float factor = (float[]){1.0f, 1e-3f, 1e-6f}[random_below(3)]; /* the last: scales are subnormal as F16 */
        struct dqg_scale_fit got = {.half = random_below(3) > 0}, want;
        int levels = (int[]){2, 8, 16, 254}[random_below(4)], zero = random_below(2) ? levels / 2 : 0;
        check_case("fit_scales_f32 %s: n %zu factor %g levels %d half %d", check->tested->name, n, (double)factor,
                   levels, got.half);
        struct buffer x = buffer_make(1, n, n, 4);
        float *values = x.data;
        for (size_t j = 0; j < n; j++) {
            values[j] = random_below(20) == 0 ? 0.0f : random_unit() * factor;
        }
        for (size_t s = 0; s < DQG_FIT_SCALES; s++) {
            got.scales[0][s] = s == 3 ? 0.0f : fabsf(random_unit()) * factor * 4.0f / (float)levels;
            got.low[s] = (float)-zero;
            got.high[s] = (float)(levels - 1 - zero);
        }
        want = got;
        check->tested->fit_scales_f32(&got, values, n);
        if (check_is_scalar(check)) {
            naive_fit(&want, values, n);
        } else {
            check->scalar->fit_scales_f32(&want, values, n);
        }
        check_equal(&got, &want, 1, sizeof got / sizeof(float), sizeof got / sizeof(float), 4);
        buffer_free(&x);
    }
}
