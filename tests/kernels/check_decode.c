/* SPDX-License-Identifier: MIT */
/* Check of decode_float_f32: stored floats of all three types against their definition. */
#include <math.h>
#include <string.h>

#include "check.h"

static float stored_value(const void *w, size_t i, int32_t dtype) {
    if (dtype == DQG_DTYPE_F32) {
        return ((const float *)w)[i];
    }
    uint16_t half = ((const uint16_t *)w)[i];
    if (dtype == DQG_DTYPE_F16) {
        return (float)half_value(half);
    }
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void fill_stored(void *w, size_t count, int32_t dtype) {
    if (dtype == DQG_DTYPE_F32) {
        fill_floats(w, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half = random_half();
        if (dtype == DQG_DTYPE_F16 && (half & 0x7fff) > 0x7c00) { /* NaN payloads are not compared */
            half = 0xfc00;
        }
        ((uint16_t *)w)[i] = half;
    }
}

void check_decode_float_f32(const struct check *check) {
    static const int32_t dtypes[] = {DQG_DTYPE_F32, DQG_DTYPE_F16, DQG_DTYPE_BF16};
    static const size_t depths[] = {1, 3, 4, 8, 15, 16, 17, 32, 72, 130};
    for (size_t i = 0; i < check->cases; i++) {
        int32_t dtype = dtypes[i % 3];
        size_t k = RANDOM_SIZE(depths), columns = 16 * (1 + random_below(4)), outputs = 1 + random_below(columns);
        size_t ldw = k + random_below(3) * 5, ldb = columns + random_below(2) * 16,
               size = dtype == DQG_DTYPE_F32 ? 4 : 2;
        check_case("decode_float_f32 %s: dtype %d k %zu columns %zu outputs %zu ldw %zu ldb %zu", check->tested->name,
                   dtype, k, columns, outputs, ldw, ldb);
        struct buffer w = buffer_make(outputs, k, ldw, size), got = buffer_make(k, columns, ldb, 4);
        struct buffer want = buffer_make(k, columns, ldb, 4);
        fill_stored(w.data, w.size / size, dtype);
        check->tested->decode_float_f32(got.data, ldb, w.data, ldw, dtype, outputs, columns, k);
        for (size_t j = 0; j < k * columns; j++) {
            size_t row = j / columns, n = j % columns;
            float value = n < outputs ? stored_value(w.data, n * ldw + row, dtype) : 0.0f;
            ((float *)want.data)[row * ldb + n] = value;
        }
        check_equal(got.data, want.data, k, columns, ldb, 4);
        check_gaps(&got, k, columns, ldb, 4);
        buffer_free(&w);
        buffer_free(&got);
        buffer_free(&want);
    }
}
