/* SPDX-License-Identifier: MIT */
/* Checks of decode_i4_i8 and decode_float_f32. */
#include <math.h>
#include <string.h>

#include "check.h"

/* binary16 by its definition, apart from the kernels' bit operations. */
static double half_value(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double value = exponent == 0    ? ldexp(fraction, -24)
                   : exponent == 31 ? (fraction ? NAN : INFINITY)
                                    : ldexp(fraction + 1024, exponent - 25);
    return half >> 15 ? -value : value;
}

static uint16_t random_half(void) {
    switch (random_below(8)) {
    case 0:
        return (uint16_t)random_bits(); /* anything, NaN too */
    case 1:
        return (uint16_t)random_below(1024);
    default:
        return (uint16_t)(0x2000 + random_below(0x1800)); /* about 0.008 to 1 */
    }
}

/* ---- int4 ---- */

/* The formula of kernel.h, nearest-even by the C library. Not for scales that are negative or not finite. */
static int naive_weight(int code, int zero, double scale, float inverse) {
    float product = (float)scale * inverse;
    double r = nearbyint(product < 16256.0f ? (double)product : 16256.0);
    return (int)floor(((code - zero) * 256.0 * r + 16384.0) / 32768.0);
}

static void decode_example(const struct check *check) {
    /* r: 0.5 * 1000 = 500; 0.5 * 1001 = 500.5 to the even 500; 0.5 * 1003 = 501.5 to the even 502; 0 */
    static const float inverse[16] = {1000.0f, 1001.0f, 1003.0f, 0.0f};
    static const int8_t want[8][4] = {
        /* code 15: 7 * 256 * 500 = 896000, + 16384, / 32768 = 27.84; 502: 27.95 */
        {27, 27, 27, 0}, {-31, -31, -31, 0},                   /* code 0: -8 * 256 * 500 = -1024000: -30.75, down */
        {0, 0, 0, 0},                                          /* code 8 */
        {4, 4, 4, 0},                                          /* code 9: 128000 + 16384 = 4.41 */
        {-4, -4, -4, 0},                                       /* code 7: -128000 + 16384 = -3.41, down */
        {8, 8, 8, 0},    {12, 12, 12, 0},    {-8, -8, -8, 0}}; /* codes 10: 8.31, 11: 12.22, 6: -7.31 */
    static const uint8_t code[8] = {15, 0, 8, 9, 7, 10, 11, 6};
    uint8_t codes[64];
    uint16_t scales[16];
    int8_t panel[128];
    for (int i = 0; i < 64; i++) {
        codes[i] = (uint8_t)(code[i % 4] | code[4 + i % 4] << 4);
        scales[i % 16] = 0x3800; /* 0.5 */
    }
    check_case("decode_i4_i8 %s: worked example", check->tested->name);
    check->tested->decode_i4_i8(panel, codes, scales, NULL, 16, inverse, 8, 32);
    for (int i = 0; i < 8; i++) {
        for (int n = 0; n < 4; n++) {
            int got = panel[i / 4 * 64 + n * 4 + i % 4];
            if (got != want[i][n]) {
                check_fail("input %d output %d: %d, expected %d", i, n, got, want[i][n]);
            }
        }
    }
}

static void decode_case(const struct check *check, size_t k, size_t group, int with_zeros, int hostile) {
    size_t groups = (k + group - 1) / group, stride = 16 + random_below(20);
    struct buffer codes = buffer_make(1, k * 8, 0, 1), scales = buffer_make(groups, 16, stride, 2);
    struct buffer zeros = buffer_make(groups, 16, stride, 1), inverse = buffer_make(1, 16, 0, 4);
    struct buffer got = buffer_make(1, k * 16, 0, 1), want = buffer_make(1, k * 16, 0, 1);
    uint8_t *code = codes.data, *zero = zeros.data;
    uint16_t *scale = scales.data;
    for (size_t i = 0; i < k * 8; i++) {
        code[i] = (uint8_t)random_bits();
    }
    for (size_t i = 0; i < scales.size / 2; i++) {
        scale[i] = hostile ? random_half() : (uint16_t)(0x2000 + random_below(0x1800));
        zero[i] = (uint8_t)(hostile ? random_bits() : random_below(16));
    }
    for (size_t n = 0; n < 16; n++) {
        ((float *)inverse.data)[n] = random_unit() * 8000.0f + 8000.0f;
    }
    const uint8_t *zero_argument = with_zeros ? zero : NULL;
    check->tested->decode_i4_i8(got.data, code, scale, zero_argument, stride, inverse.data, k, group);
    if (!check_is_scalar(check)) {
        check->scalar->decode_i4_i8(want.data, code, scale, zero_argument, stride, inverse.data, k, group);
        check_equal(got.data, want.data, 1, k * 16, 0, 1);
    } else if (!hostile) {
        for (size_t i = 0; i < k * 16; i++) {
            size_t n = i / 4 % 16, input = i / 64 * 4 + i % 4, at = input / group * stride + n;
            int byte = code[input / 8 * 64 + n * 4 + input % 4], c = input / 4 % 2 ? byte >> 4 : byte & 15;
            int naive = naive_weight(c, with_zeros ? zero[at] : 8, half_value(scale[at]), ((float *)inverse.data)[n]);
            ((int8_t *)want.data)[i] = (int8_t)(uint8_t)naive;
        }
        check_equal(got.data, want.data, 1, k * 16, 0, 1);
    }
    struct buffer *all[] = {&codes, &scales, &zeros, &inverse, &got, &want};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
}

void check_decode_i4_i8(const struct check *check) {
    static const size_t sizes[] = {8, 16, 32, 40, 64, 96, 128, 136, 256, 520};
    static const size_t groups[] = {8, 32, 64, 128};
    decode_example(check);
    for (size_t i = 0; i < check->cases; i++) {
        size_t k = RANDOM_SIZE(sizes), group = RANDOM_SIZE(groups);
        int with_zeros = (int)random_below(2), hostile = random_below(4) == 0;
        check_case("decode_i4_i8 %s: k %zu group %zu zeros %d hostile %d", check->tested->name, k, group, with_zeros,
                   hostile);
        decode_case(check, k, group, with_zeros, hostile);
    }
}

/* ---- float ---- */

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
