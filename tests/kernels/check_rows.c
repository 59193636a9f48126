/* SPDX-License-Identifier: MIT */
/* Checks of quantize_f32_i8: rows of many widths, with values that break quantizers. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static const size_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 72, 100, 256, 300};
static const size_t heights[] = {1, 2, 3, 5};

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
