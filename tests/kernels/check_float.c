/* SPDX-License-Identifier: MIT */
/* Checks of products with stored float weights, and of everything with bfloat16. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Weights of usual size in any of the float formats. */
static void fill_weights(void *w, size_t count, int32_t dtype) {
    for (size_t i = 0; i < count; i++) {
        float value = random_unit();
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (dtype == DQG_DTYPE_F32) {
            ((float *)w)[i] = value;
        } else if (dtype == DQG_DTYPE_BF16) {
            ((uint16_t *)w)[i] = (uint16_t)(bits >> 16);
        } else {
            ((uint16_t *)w)[i] = (uint16_t)((bits >> 16 & 0x8000u) | (0x2000 + random_below(0x1c00)));
        }
    }
}

static const int32_t dtypes[] = {DQG_DTYPE_F32, DQG_DTYPE_F16, DQG_DTYPE_BF16};
static const size_t depths[] = {1, 3, 4, 8, 15, 16, 17, 31, 32, 33, 72, 130};

/* The bits of decode_float_f32 followed by gemm_f32, both of which are checked on their own. */
void check_gemm_float_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        int32_t dtype = dtypes[i % 3];
        size_t size = dtype == DQG_DTYPE_F32 ? 4 : 2, rows = 1 + random_below(DQG_FEW_ROWS), k = RANDOM_SIZE(depths);
        size_t columns = 16 * (1 + random_below(4)), outputs = columns - random_below(columns);
        size_t lda = k + random_below(2) * 3, ldw = k + random_below(3) * 5, ldc = columns + random_below(2) * 7;
        check_case("gemm_float_f32 %s: dtype %d rows %zu columns %zu outputs %zu k %zu lda %zu ldw %zu ldc %zu",
                   check->tested->name, dtype, rows, columns, outputs, k, lda, ldw, ldc);
        struct buffer a = buffer_make(rows, k, lda, 4), w = buffer_make(outputs, k, ldw, size);
        struct buffer b = buffer_make(k, columns, columns, 4);
        struct buffer got = buffer_make(rows, columns, ldc, 4), want = buffer_make(rows, columns, ldc, 4);
        fill_floats(a.data, a.size / 4);
        fill_weights(w.data, w.size / size, dtype);
        check->tested->gemm_float_f32(got.data, ldc, a.data, lda, w.data, ldw, dtype, rows, outputs, columns, k);
        check->tested->decode_float_f32(b.data, columns, w.data, ldw, dtype, outputs, columns, k);
        check->tested->gemm_f32(want.data, ldc, a.data, lda, b.data, columns, rows, columns, k, 0);
        check_equal(got.data, want.data, rows, columns, ldc, 4);
        check_gaps(&got, rows, columns, ldc, 4);
        struct buffer *all[] = {&a, &w, &b, &got, &want};
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            buffer_free(all[j]);
        }
    }
}

/* ---- bfloat16 ---- */

/* The bits of the nearest bfloat16, by arithmetic; subnormal floats give zero. */
static uint32_t nearest_bf16(float x) {
    int exponent;
    uint32_t bits;
    frexp((double)x, &exponent);
    if (fpclassify(x) == FP_NORMAL) {
        x = (float)ldexp(nearbyint(ldexp((double)x, 8 - exponent)), exponent - 8);
    } else if (fpclassify(x) == FP_SUBNORMAL) {
        x = copysignf(0.0f, x);
    }
    memcpy(&bits, &x, sizeof bits);
    return isnan(x) ? bits >> 16 | 0x40 : bits >> 16;
}

static float pair_value(const uint32_t *pairs, size_t i) {
    uint32_t bits = i % 2 ? pairs[i / 2] & 0xffff0000u : pairs[i / 2] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Usual values, now and then ties, the largest, subnormal ones, infinity and NaN. */
static void fill_hostile(float *x, size_t count) {
    static const uint32_t special[] = {0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0x00000001, 0x807fffff,
                                       0x00800000, 0x7f800000, 0xff800000, 0x7f800001, 0xffffffff, 0x80000000};
    for (size_t i = 0; i < count; i++) {
        x[i] = random_unit();
        if (random_below(4) == 0) {
            memcpy(x + i, &special[random_below(COUNT_OF(special))], sizeof *x);
        }
    }
}

void check_round_f32_bf16(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        size_t rows = 1 + random_below(5), k = RANDOM_SIZE(depths), pairs = (k + 1) / 2;
        size_t ldx = k + random_below(2) * 3, ldy = pairs + random_below(2) * 5;
        check_case("round_f32_bf16 %s: rows %zu k %zu ldx %zu ldy %zu", check->tested->name, rows, k, ldx, ldy);
        struct buffer x = buffer_make(rows, k, ldx, 4);
        struct buffer got = buffer_make(rows, pairs, ldy, 4), want = buffer_make(rows, pairs, ldy, 4);
        fill_hostile(x.data, x.size / 4);
        check->tested->round_f32_bf16(got.data, ldy, x.data, ldx, rows, k);
        for (size_t j = 0; j < rows * pairs; j++) {
            const float *in = (const float *)x.data + j / pairs * ldx;
            size_t at = j % pairs * 2;
            uint32_t high = at + 1 < k ? nearest_bf16(in[at + 1]) : 0;
            ((uint32_t *)want.data)[j / pairs * ldy + j % pairs] = nearest_bf16(in[at]) | high << 16;
        }
        check_equal(got.data, want.data, rows, pairs, ldy, 4);
        check_gaps(&got, rows, pairs, ldy, 4);
        buffer_free(&x);
        buffer_free(&got);
        buffer_free(&want);
    }
}

/* Pairs of what decode_float_f32, which is checked on its own, gives. */
void check_decode_float_bf16(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        int32_t dtype = dtypes[i % 3];
        size_t size = dtype == DQG_DTYPE_F32 ? 4 : 2, k = RANDOM_SIZE(depths), pairs = (k + 1) / 2;
        size_t columns = 16 * (1 + random_below(4)), outputs = columns - random_below(columns);
        size_t ldw = k + random_below(3) * 5, ldb = columns + random_below(2) * 16;
        check_case("decode_float_bf16 %s: dtype %d k %zu columns %zu outputs %zu ldw %zu ldb %zu", check->tested->name,
                   dtype, k, columns, outputs, ldw, ldb);
        struct buffer w = buffer_make(outputs, k, ldw, size), wide = buffer_make(k, columns, columns, 4);
        struct buffer got = buffer_make(pairs, columns, ldb, 4), want = buffer_make(pairs, columns, ldb, 4);
        fill_weights(w.data, w.size / size, dtype);
        check->tested->decode_float_bf16(got.data, ldb, w.data, ldw, dtype, outputs, columns, k);
        check->scalar->decode_float_f32(wide.data, columns, w.data, ldw, dtype, outputs, columns, k);
        for (size_t j = 0; j < pairs * columns; j++) {
            size_t at = j / columns * 2;
            const float *in = (const float *)wide.data + at * columns + j % columns;
            uint32_t high = at + 1 < k ? nearest_bf16(in[columns]) : 0;
            ((uint32_t *)want.data)[j / columns * ldb + j % columns] = nearest_bf16(in[0]) | high << 16;
        }
        check_equal(got.data, want.data, pairs, columns, ldb, 4);
        check_gaps(&got, pairs, columns, ldb, 4);
        struct buffer *all[] = {&w, &wide, &got, &want};
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            buffer_free(all[j]);
        }
    }
}

static void fill_pairs(uint32_t *pairs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t even = nearest_bf16(random_unit());
        pairs[i] = even | nearest_bf16(random_unit()) << 16;
    }
}

/* A row alone, its sum cut in two, has the same bits. */
static void check_pairs_alone(const struct check *check, const struct buffer *got, size_t row, const uint32_t *a,
                              const uint32_t *b, size_t columns, size_t pairs) {
    float alone[DQG_BLOCK_COLUMNS];
    size_t first = 1 + random_below(pairs);
    check->tested->gemm_bf16_f32(alone, columns, a, pairs, b, columns, 1, columns, first, 0);
    check->tested->gemm_bf16_f32(alone, columns, a + first, pairs, b + first * columns, columns, 1, columns,
                                 pairs - first, 1);
    check_equal((const float *)got->data + row * columns, alone, 1, columns, 0, 4);
}

void check_gemm_bf16_f32(const struct check *check) {
    static const size_t row_sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 25};
    for (size_t i = 0; i < check->cases; i++) {
        size_t rows = RANDOM_SIZE(row_sizes), columns = 16 * (1 + random_below(4)), pairs = RANDOM_SIZE(depths);
        size_t lda = pairs + random_below(2) * 3, ldb = columns + random_below(2) * 16;
        check_case("gemm_bf16_f32 %s: rows %zu columns %zu pairs %zu lda %zu ldb %zu", check->tested->name, rows,
                   columns, pairs, lda, ldb);
        struct buffer a = buffer_make(rows, pairs, lda, 4), b = buffer_make(pairs, columns, ldb, 4);
        struct buffer got = buffer_make(rows, columns, columns, 4);
        double *want = calloc(rows * columns, sizeof *want), *norm = calloc(rows * columns, sizeof *norm);
        fill_pairs(a.data, a.size / 4);
        fill_pairs(b.data, b.size / 4);
        check->tested->gemm_bf16_f32(got.data, columns, a.data, lda, b.data, ldb, rows, columns, pairs, 0);
        for (size_t j = 0; j < rows * columns * pairs * 2; j++) {
            size_t k = j % (pairs * 2), at = j / (pairs * 2), m = at / columns, n = at % columns;
            const uint32_t *right = (const uint32_t *)b.data + k / 2 * ldb + n;
            double term = (double)pair_value((const uint32_t *)a.data + m * lda, k) * (double)pair_value(right, k % 2);
            want[at] += term;
            norm[at] += fabs(term) * fmax(1.0, (double)pairs / 32.0);
        }
        check_close(got.data, columns, want, norm, rows, columns, check->tolerance);
        if (lda == pairs && ldb == columns) {
            size_t row = random_below(rows);
            check_pairs_alone(check, &got, row, (const uint32_t *)a.data + row * lda, b.data, columns, pairs);
        }
        buffer_free(&a);
        buffer_free(&b);
        buffer_free(&got);
        free(want);
        free(norm);
    }
}
