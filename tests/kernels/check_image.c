/* SPDX-License-Identifier: MIT */
/* Checks of the kernels that make int8 images: range_f32, offset_f32_i8. */
#include <float.h>
#include <math.h>

#include "check.h"

static const size_t widths[] = {1, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 72, 100, 257};
static const size_t heights[] = {1, 2, 3, 5};

static void naive_range(float range[2], const float *x, size_t n) {
    range[0] = range[1] = 0.0f;
    int finite = 1;
    for (size_t i = 0; i < n; i++) {
        finite &= isfinite(x[i]) != 0;
        range[0] = x[i] < range[0] ? x[i] : range[0];
        range[1] = x[i] > range[1] ? x[i] : range[1];
    }
    if (!finite) {
        range[0] = -INFINITY;
        range[1] = INFINITY;
    }
}

void check_range_f32(const struct check *check) {
    static const float hostile[] = {NAN, -NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e-45f, -0.0f};
    for (size_t i = 0; i < check->cases * 2; i++) {
        size_t n = RANDOM_SIZE(widths);
        check_case("range_f32 %s: n %zu", check->tested->name, n);
        struct buffer x = buffer_make(1, n, n, 4), got = buffer_make(1, 2, 2, 4), want = buffer_make(1, 2, 2, 4);
        float *values = x.data;
        fill_floats(values, n);
        for (size_t j = 0; j < n && i % 3 == 1; j++) { /* one sign only, zeros of the other */
            values[j] = values[j] > 0.0f ? values[j] : -0.0f;
        }
        for (size_t j = 0; j < n && i % 3 == 2; j++) {
            values[j] = values[j] < 0.0f ? values[j] : 0.0f;
        }
        if (random_below(2) == 0) {
            values[random_below(n)] = hostile[random_below(COUNT_OF(hostile))];
        }
        check->tested->range_f32(got.data, values, n);
        if (check_is_scalar(check)) {
            naive_range(want.data, values, n);
        } else {
            check->scalar->range_f32(want.data, values, n);
        }
        check_equal(got.data, want.data, 1, 2, 2, 4);
        buffer_free(&x);
        buffer_free(&got);
        buffer_free(&want);
    }
}

static void naive_offset(int8_t *q, size_t ldq, const float *x, size_t ldx, size_t rows, size_t k, size_t k_padded,
                         float inverse, int32_t zero) {
    for (size_t m = 0; m < rows; m++) {
        for (size_t i = 0; i < k_padded; i++) {
            q[m * ldq + i] = (int8_t)(zero + (i < k ? (int32_t)nearbyintf(x[m * ldx + i] * inverse) : 0));
        }
    }
}

void check_offset_f32_i8(const struct check *check) {
    for (size_t i = 0; i < check->cases * 2; i++) {
        size_t rows = RANDOM_SIZE(heights), k = RANDOM_SIZE(widths), padded = k + random_below(3) * 4;
        size_t ldx = k + random_below(2) * 3, ldq = padded + random_below(2) * 3;
        int32_t zero = (int32_t)random_below(255) - 127;
        int halves = random_below(4) == 0;
        float inverse = halves ? 1.0f : 7.3f;
        check_case("offset_f32_i8 %s: rows %zu k %zu padded %zu ldx %zu ldq %zu zero %d", check->tested->name, rows, k,
                   padded, ldx, ldq, (int)zero);
        struct buffer x = buffer_make(rows, k, ldx, 4), got = buffer_make(rows, padded, ldq, 1);
        struct buffer want = buffer_make(rows, padded, ldq, 1);
        for (size_t m = 0; m < rows; m++) {
            for (size_t j = 0; j < k; j++) { /* codes over all of -126..126, exact halves go to either side */
                float code = (float)((int32_t)random_below(253) - 126 - zero);
                ((float *)x.data)[m * ldx + j] = (code + (halves ? 0.5f : random_unit() * 0.4f)) / inverse;
            }
        }
        check->tested->offset_f32_i8(got.data, ldq, x.data, ldx, rows, k, padded, inverse, zero);
        if (check_is_scalar(check)) {
            naive_offset(want.data, ldq, x.data, ldx, rows, k, padded, inverse, zero);
        } else {
            check->scalar->offset_f32_i8(want.data, ldq, x.data, ldx, rows, k, padded, inverse, zero);
        }
        check_equal(got.data, want.data, rows, padded, ldq, 1);
        check_gaps(&got, rows, padded, ldq, 1);
        buffer_free(&x);
        buffer_free(&got);
        buffer_free(&want);
    }
}
