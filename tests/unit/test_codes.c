/* SPDX-License-Identifier: MIT */
/* What codes stand for, where their bits lie in panels, and weights of the rarer formats decoded by hand. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "tensor/half.h"
#include "tensor/weight.h"

static const struct dqg_format *format_of(int32_t dtype) {
    return dqg_format_find(dtype);
}

static void test_names(void **state) {
    const struct dqg_format *format;
    size_t length = 0;
    (void)state;
    for (size_t i = 0; (format = dqg_format_at(i)) != NULL; i++) {
        assert_ptr_equal(dqg_format_find(format->dtype), format);
        bool listed = strstr(dqg_format_names, format->name) != NULL;
        assert_true(listed == (format->kind != DQG_FORMAT_IMAGE));
        length += listed ? strlen(format->name) + 1 : 0;
    }
    assert_int_equal(length, strlen(dqg_format_names) + 1);
    assert_null(dqg_format_find(0));
    assert_null(dqg_format_find(999));
}

/* Magnitudes of the 4-bit floats; the other half is their negatives. */
static void test_small_floats(void **state) {
    static const float e2m1[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    static const float e1m2[8] = {0, 0.5f, 1, 1.5f, 2, 2.5f, 3, 3.5f};
    static const float e3m0[8] = {0, 0.25f, 0.5f, 1, 2, 4, 8, 16};
    float largest = 0.0f;
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        assert_true(dqg_code_value(format_of(DQG_DTYPE_E2M1), i) == e2m1[i]);
        assert_true(dqg_code_value(format_of(DQG_DTYPE_E1M2), i) == e1m2[i]);
        assert_true(dqg_code_value(format_of(DQG_DTYPE_E3M0), i) == e3m0[i]);
        assert_true(dqg_code_value(format_of(DQG_DTYPE_E2M1), i + 8) == -e2m1[i]);
        assert_true(dqg_code_value(format_of(DQG_DTYPE_E1M2), i + 8) == -e1m2[i]);
        assert_true(dqg_code_value(format_of(DQG_DTYPE_E3M0), i + 8) == -e3m0[i]);
    }
    /* NF4: ascending, symmetric ends, an exact zero, levels within half a step of 1 / 127 */
    const struct dqg_format *nf4 = format_of(DQG_DTYPE_NF4);
    assert_true(dqg_code_value(nf4, 0) == -1.0f && dqg_code_value(nf4, 7) == 0.0f && dqg_code_value(nf4, 15) == 1.0f);
    for (uint32_t i = 0; i < 16; i++) {
        float difference = fabsf(dqg_code_value(nf4, i) - nf4->unit * (float)nf4->levels[i]);
        largest = fmaxf(largest, difference);
        assert_true(i == 0 || dqg_code_value(nf4, i) > dqg_code_value(nf4, i - 1));
    }
    assert_true(largest < 0.5f / 127.0f);
}

/* The definition: sign, exponent with a bias, fraction; magnitudes to int8 by the formula. */
static void check_f8(int32_t dtype, int fraction_bits, int bias, uint32_t top) {
    const struct dqg_format *format = format_of(dtype);
    double largest = dqg_code_value(format, top);
    assert_int_equal(dqg_largest_code(format), top);
    for (uint32_t code = 0; code <= top; code++) {
        int exponent = (int)code >> fraction_bits;
        double fraction = (code & ((1u << fraction_bits) - 1)) / (double)(1 << fraction_bits);
        double value = exponent == 0 ? ldexp(fraction, 1 - bias) : ldexp(1.0 + fraction, exponent - bias);
        assert_true(dqg_code_value(format, code) == (float)value);
        assert_true(dqg_code_value(format, code | 128) == -(float)value);
        assert_int_equal(dqg_f8_code(format, (float)value), code);
        assert_int_equal(dqg_f8_code(format, -(float)value), code | 128);
        int level = (int)floor(127.0 * value / largest + 0.5);
        assert_int_equal(code < DQG_F8_FIRST ? 0 : format->levels[code - DQG_F8_FIRST], level);
        if (code > 0) { /* the middle between two goes to the even code */
            float below = dqg_code_value(format, code - 1);
            float middle = 0.5f * (below + (float)value);
            assert_int_equal(dqg_f8_code(format, middle), code % 2 == 0 ? code : code - 1);
            assert_int_equal(dqg_f8_code(format, middle * 1.001f), code);
            assert_int_equal(dqg_f8_code(format, middle * 0.999f), code - 1);
        }
    }
    assert_int_equal(dqg_f8_code(format, INFINITY), top);
    assert_int_equal(dqg_f8_code(format, -1e9f), top | 128);
}

static void test_f8(void **state) {
    (void)state;
    check_f8(DQG_DTYPE_E4M3, 3, 7, 126);
    check_f8(DQG_DTYPE_E5M2, 2, 15, 123);
    assert_true(dqg_code_value(format_of(DQG_DTYPE_E4M3), 126) == 448.0f);
    assert_true(dqg_code_value(format_of(DQG_DTYPE_E4M3), 0x38) == 1.0f);
    assert_true(dqg_code_value(format_of(DQG_DTYPE_E4M3), 1) == 0x1p-9f);
    assert_true(dqg_code_value(format_of(DQG_DTYPE_E5M2), 123) == 57344.0f);
}

/* One code that is not zero, in a panel of 64 inputs: which bytes of the panel have which bits of it. */
static void check_place(int32_t dtype, size_t n, size_t k, uint8_t code, size_t byte, uint8_t bits, size_t high_byte,
                        uint8_t high_bits) {
    uint8_t codes[16 * 64] = {0};
    uint8_t panel[16 * 64];
    uint8_t back[16 * 64];
    const struct dqg_format *format = format_of(dtype);
    codes[n * 64 + k] = code;
    dqg_pack_panel(format, panel, codes, 64);
    for (size_t i = 0; i < dqg_panel_bytes(format, 64); i++) {
        assert_int_equal(panel[i], (i == byte ? bits : 0) | (i == high_byte ? high_bits : 0));
    }
    dqg_unpack_panel(format, back, panel, 64);
    assert_int_equal(back[n * 64 + k], code);
}

/* container.md: input 53 is 21 in the second block of 32. */
static void test_places(void **state) {
    (void)state;
    /* planes of 1: input 21 = 4 * 5 + 1; of 2: 21 = 16 + 4 + 1; of 4: 21 = 2 * 8 + 4 + 1 */
    check_place(DQG_DTYPE_BIN1, 2, 53, 1, 64 + 2 * 4 + 1, 1 << 5, 0, 0);
    check_place(DQG_DTYPE_BIN2, 2, 53, 2, 128 + 64 + 2 * 4 + 1, 2 << 2, 0, 0);
    check_place(DQG_DTYPE_INT2, 2, 53, 3, 128 + 64 + 2 * 4 + 1, 3 << 2, 0, 0);
    check_place(DQG_DTYPE_INT3, 2, 53, 5, 192 + 64 + 2 * 4 + 1, 1 << 2, 192 + 128 + 2 * 4 + 1, 1 << 5);
    check_place(DQG_DTYPE_INT4, 2, 53, 9, 256 + 128 + 2 * 4 + 1, 9 << 4, 0, 0);
    check_place(DQG_DTYPE_INT5Z, 2, 53, 27, 320 + 128 + 2 * 4 + 1, 11 << 4, 320 + 256 + 2 * 4 + 1, 1 << 5);
    check_place(DQG_DTYPE_INT6, 2, 53, 57, 384 + 128 + 2 * 4 + 1, 9 << 4, 384 + 256 + 64 + 2 * 4 + 1, 3 << 2);
    /* bytes: input 53 = 4 * 13 + 1 */
    check_place(DQG_DTYPE_E4M3, 2, 53, 200, 13 * 64 + 2 * 4 + 1, 200, 0, 0);
    check_place(DQG_DTYPE_VQ2, 2, 54, 200, 13 * 32 + 2 * 2 + 1, 200, 0, 0);
    check_place(DQG_DTYPE_VQ4, 2, 52, 200, 13 * 16 + 2, 200, 0, 0);
}

/* ---- weights ---- */

struct made {
    struct dqg_weight weight;
    uint8_t codes[16 * 64];
    dqg_context *context;
};

/* A weight of 3 x 40 with all scales and codes 0. */
static void make(struct made *made, int32_t dtype, int32_t group) {
    *made = (struct made){
        .weight = {.name = "w", .dtype = dtype, .group = group, .rank = 2, .shape = {3, 40}, .scale = 0.5f}};
    struct dqg_weight *weight = &made->weight;
    assert_ok(dqg_context_create(NULL, &made->context));
    assert_true(dqg_matrix_size(dtype, group, 2, weight->shape, &weight->size));
    assert_true(dqg_format_plane_bytes(dtype, group, 2, weight->shape, weight->bytes));
    assert_ok(dqg_weight_allocate(made->context, weight));
    memset(weight->codes, 0, (size_t)weight->bytes[0]);
    memset(weight->scales, 0, (size_t)weight->bytes[1]);
    if (weight->bytes[2] > 0) {
        memset(weight->zeros, 0, (size_t)weight->bytes[2]);
    }
}

static void finish(struct made *made, size_t row, float *out) {
    uint8_t scratch[16 * 64];
    assert_true(dqg_weight_scratch(&made->weight) <= sizeof scratch);
    dqg_pack_panel(format_of(made->weight.dtype), made->weight.codes, made->codes, made->weight.size.columns_padded);
    assert_ok(dqg_weight_finish(made->context, &made->weight));
    dqg_weight_decode_rows(&made->weight, row, 1, out, scratch);
}

static void refuse(struct made *made) {
    assert_fails(made->context, dqg_weight_finish(made->context, &made->weight), DQG_ERROR_FORMAT);
    dqg_error_clear(made->context);
}

static void release(struct made *made) {
    dqg_weight_free(&made->context->alloc, &made->weight);
    dqg_context_destroy(made->context);
}

static void test_signs(void **state) {
    struct made made;
    float out[40];
    (void)state;
    make(&made, DQG_DTYPE_BIN2, 32);
    uint16_t *scales = made.weight.scales; /* [2 groups][2 bases][16] */
    scales[1] = 0x4000;                    /* row 1, first group: 2 */
    scales[16 + 1] = 0x3800;               /* and 0.5 */
    scales[32 + 1] = 0x3c00;               /* second group: 1 and 0 */
    for (size_t k = 0; k < 4; k++) {
        made.codes[64 + k] = (uint8_t)k;
        made.codes[64 + 32 + k] = (uint8_t)k;
    }
    finish(&made, 1, out);
    static const float want[4] = {-1.25f, 0.75f, -0.75f, 1.25f}; /* half of +-2 +-0.5 */
    for (size_t k = 0; k < 4; k++) {
        assert_true(out[k] == want[k]);
        assert_true(out[32 + k] == (k % 2 ? 0.5f : -0.5f));
    }
    assert_true(fabsf(made.weight.column_scale[1] - 0.5f * 2.5f / 127.0f) < 1e-7f);
    scales[48 + 1] = 0x7e00; /* the last scale of the row is not a number */
    refuse(&made);
    scales[48 + 1] = 0x8001; /* negative */
    refuse(&made);
    release(&made);
}

static void test_vectors(void **state) {
    struct made made;
    float out[40];
    (void)state;
    make(&made, DQG_DTYPE_VQ4, 0);
    uint16_t *book = (uint16_t *)(void *)made.weight.zeros; /* [256][4] */
    book[7 * 4] = 0x3c00;                                   /* 1, 0, -2, 0.5 */
    book[7 * 4 + 2] = 0xc000;
    book[7 * 4 + 3] = 0x3800;
    ((float *)made.weight.scales)[2] = 3.0f;
    memset(made.codes + 2 * made.weight.size.columns_padded + 4, 7, 4);
    finish(&made, 2, out);
    assert_true(out[3] == 0.0f && out[4] == 1.5f && out[5] == 0.0f && out[6] == -3.0f && out[7] == 0.75f);
    assert_int_equal(made.weight.codebook[28], 64); /* 63.5 to even */
    assert_int_equal(made.weight.codebook[30], -127);
    assert_int_equal(made.weight.codebook[31], 32);
    assert_true(fabsf(made.weight.column_scale[2] - 0.5f * 3.0f * 2.0f / 127.0f) < 1e-7f);
    book[1000] = 0x7c00;
    refuse(&made);
    book[1000] = 0;
    ((float *)made.weight.scales)[0] = -1.0f;
    refuse(&made);
    release(&made);
}

/* Codes that are not numbers, and zero points that are no codes. */
static void test_refused(void **state) {
    static const uint8_t good[] = {126, 254, 123, 251};
    static const uint8_t bad[] = {127, 255, 124, 253};
    struct made made;
    float out[40];
    (void)state;
    for (size_t i = 0; i < sizeof bad; i++) {
        make(&made, i < 2 ? DQG_DTYPE_E4M3 : DQG_DTYPE_E5M2, 0);
        ((float *)made.weight.scales)[0] = 2.0f;
        made.codes[5] = good[i];
        finish(&made, 0, out);
        assert_true(fabsf(out[5]) == (i < 2 ? 448.0f : 57344.0f) && out[5] * (i % 2 ? -1.0f : 1.0f) > 0.0f);
        ((uint8_t *)made.weight.codes)[made.weight.bytes[0] - 1] = bad[i];
        refuse(&made);
        release(&made);
    }
    make(&made, DQG_DTYPE_INT3Z, 32);
    made.weight.zeros[31] = 7;
    assert_ok(dqg_weight_finish(made.context, &made.weight));
    made.weight.zeros[31] = 8;
    refuse(&made);
    release(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),   cmocka_unit_test(test_small_floats), cmocka_unit_test(test_f8),
        cmocka_unit_test(test_places),  cmocka_unit_test(test_signs),        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
