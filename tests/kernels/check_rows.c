/* SPDX-License-Identifier: MIT */
/* Checks of kernels that work row by row or element by element: quantize_f32_i8, norm_f32_f32, activate_f32_f32. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static const size_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 72, 100, 256, 300};
static const size_t heights[] = {1, 2, 3, 5};

/* ---- quantize ---- */

static void naive_quantize(int8_t *q, size_t ldq, float *scale, const float *x, size_t ldx, size_t rows, size_t k,
                           size_t k_padded) {
    for (size_t m = 0; m < rows; m++) {
        float largest = 0.0f;
        int finite = 1;
        for (size_t i = 0; i < k; i++) {
            finite &= isfinite(x[m * ldx + i]) != 0;
            largest = fmaxf(largest, fabsf(x[m * ldx + i]));
        }
        float inverse = 127.0f / largest;
        int usable = finite && isfinite(inverse);
        scale[m] = usable ? largest / 127.0f : 0.0f;
        for (size_t i = 0; i < k_padded; i++) {
            q[m * ldq + i] = usable && i < k ? (int8_t)nearbyintf(x[m * ldx + i] * inverse) : 0;
        }
    }
}

/* Values that break quantizers, one kind in a row now and then. */
static void add_hostile(float *x, size_t k) {
    static const float values[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 3e-37f, 1e-45f};
    if (random_below(3) == 0) {
        x[random_below(k)] = values[random_below(COUNT_OF(values))];
    }
    if (random_below(4) == 0) { /* exact halves: 127 sets the scale to 1 */
        for (size_t i = 0; i < k; i++) {
            x[i] = (float)random_below(127) + 0.5f;
        }
        x[random_below(k)] = 127.0f;
    }
}

void check_quantize_f32_i8(const struct check *check) {
    for (size_t i = 0; i < check->cases * 2; i++) {
        size_t rows = RANDOM_SIZE(heights), k = RANDOM_SIZE(widths), padded = k + random_below(9);
        size_t ldx = k + random_below(2) * 3, ldq = padded + random_below(2) * 3;
        check_case("quantize_f32_i8 %s: rows %zu k %zu padded %zu ldx %zu ldq %zu", check->tested->name, rows, k,
                   padded, ldx, ldq);
        struct buffer x = buffer_make(rows, k, ldx, 4), got = buffer_make(rows, padded, ldq, 1);
        struct buffer want = buffer_make(rows, padded, ldq, 1), scale = buffer_make(1, rows, 0, 4);
        struct buffer want_scale = buffer_make(1, rows, 0, 4);
        for (size_t m = 0; m < rows; m++) {
            fill_floats((float *)x.data + m * ldx, k);
            add_hostile((float *)x.data + m * ldx, k);
        }
        check->tested->quantize_f32_i8(got.data, ldq, scale.data, x.data, ldx, rows, k, padded);
        if (check_is_scalar(check)) {
            naive_quantize(want.data, ldq, want_scale.data, x.data, ldx, rows, k, padded);
        } else {
            check->scalar->quantize_f32_i8(want.data, ldq, want_scale.data, x.data, ldx, rows, k, padded);
        }
        check_equal(got.data, want.data, rows, padded, ldq, 1);
        check_equal(scale.data, want_scale.data, 1, rows, 0, 4);
        check_gaps(&got, rows, padded, ldq, 1);
        struct buffer *all[] = {&x, &got, &want, &scale, &want_scale};
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            buffer_free(all[j]);
        }
    }
}

/* ---- norm ---- */

/* One row; norm is the size that errors of the mean and of the factors scale with. */
static void double_norm(double *want, double *norm, const float *x, size_t n, float eps, const float *scale,
                        const float *shift) {
    double mean = 0.0, variance = 0.0, largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        mean += x[i] / (double)n;
        largest = fmax(largest, fabs(x[i]));
    }
    for (size_t i = 0; i < n; i++) {
        variance += (x[i] - mean) * (x[i] - mean) / (double)n;
    }
    double inverse = 1.0 / sqrt(variance + eps);
    for (size_t i = 0; i < n; i++) {
        double factor = scale ? 1.0 + scale[i] : 1.0, added = shift ? shift[i] : 0.0;
        want[i] = (x[i] - mean) * inverse * factor + added;
        norm[i] = largest * inverse * fmax(fabs(factor), scale ? fabs(scale[i]) : 0.0) + fabs(added);
    }
}

void check_norm_f32_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        size_t rows = RANDOM_SIZE(heights), n = RANDOM_SIZE(widths);
        size_t ldx = n + random_below(2) * 3, ldy = n + random_below(2) * 5;
        int modulate = (int)random_below(2), in_place = random_below(4) == 0;
        ldy = in_place ? ldx : ldy;
        check_case("norm_f32_f32 %s: rows %zu n %zu ldx %zu ldy %zu modulate %d in place %d", check->tested->name, rows,
                   n, ldx, ldy, modulate, in_place);
        struct buffer x = buffer_make(rows, n, ldx, 4), y = buffer_make(rows, n, ldy, 4);
        struct buffer scale = buffer_make(1, n, 0, 4), shift = buffer_make(1, n, 0, 4);
        double *want = malloc(rows * n * sizeof *want), *norm = malloc(rows * n * sizeof *norm);
        for (size_t m = 0; m < rows; m++) {
            fill_floats((float *)x.data + m * ldx, n);
        }
        fill_floats(scale.data, n);
        fill_floats(shift.data, n);
        const float *scales = modulate ? scale.data : NULL, *shifts = modulate ? shift.data : NULL;
        for (size_t m = 0; m < rows; m++) {
            double_norm(want + m * n, norm + m * n, (float *)x.data + m * ldx, n, 1e-6f, scales, shifts);
        }
        if (in_place) {
            buffer_copy(&y, &x);
        }
        check->tested->norm_f32_f32(y.data, ldy, in_place ? y.data : x.data, ldx, rows, n, 1e-6f, scales, shifts);
        check_close(y.data, ldy, want, norm, rows, n, check->tolerance);
        check_gaps(&y, rows, n, ldy, 4);
        free(want);
        free(norm);
        struct buffer *all[] = {&x, &y, &scale, &shift};
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            buffer_free(all[j]);
        }
    }
}

/* ---- activations ---- */

/* From sweeping values to where exp overflows and beyond. */
static float activation_input(size_t i) {
    switch (random_below(6)) {
    case 0:
        return random_unit() * 100.0f;
    case 1:
        return ldexpf(random_unit(), (int)random_below(250) - 125);
    case 2:
        return -86.0f - 4.0f * (float)(i % 64) / 64.0f;
    default:
        return random_unit() * 8.0f;
    }
}

void check_activate_f32_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        enum dqg_activation activation = (enum dqg_activation)(i % DQG_ACT_COUNT);
        size_t n = RANDOM_SIZE(widths);
        int in_place = random_below(3) == 0;
        check_case("activate_f32_f32 %s: n %zu activation %d in place %d", check->tested->name, n, (int)activation,
                   in_place);
        struct buffer x = buffer_make(1, n, 0, 4), y = buffer_make(1, n, 0, 4);
        double want[300], norm[300];
        for (size_t j = 0; j < n; j++) {
            float v = activation_input(j);
            ((float *)x.data)[j] = v;
            want[j] = double_activation(v, activation);
            /* e^u magnifies the rounding of u; the exact GELU is fitted to an absolute error. */
            norm[j] = activation == DQG_ACT_GELU_ERF ? fabs(v) : fabs(want[j]) * (1.0 + fmin(fabs(v), 100.0));
        }
        if (in_place) {
            buffer_copy(&y, &x);
        }
        check->tested->activate_f32_f32(y.data, in_place ? y.data : x.data, n, activation);
        check_close(y.data, n, want, norm, 1, n, check->tolerance);
        buffer_free(&x);
        buffer_free(&y);
    }
    const float special[4] = {NAN, 1e38f, -1e38f, 0.0f};
    float y[4];
    for (int32_t activation = DQG_ACT_SILU; activation < DQG_ACT_COUNT; activation++) {
        check_case("activate_f32_f32 %s: special values, activation %d", check->tested->name, (int)activation);
        check->tested->activate_f32_f32(y, special, 4, (enum dqg_activation)activation);
        if (!isnan(y[0]) || y[1] != 1e38f || y[2] != 0.0f || y[3] != 0.0f) {
            check_fail("%g %g %g %g", (double)y[0], (double)y[1], (double)y[2], (double)y[3]);
        }
    }
}
