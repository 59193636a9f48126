/* SPDX-License-Identifier: MIT */
/* Storage formats: sizes, half floats over their whole range, panel layout by hand, decoding of packed weights. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "tensor/half.h"
#include "tensor/weight.h"

static void test_plane_bytes(void **state) {
    const int64_t shape[4] = {20, 3, 5, 7}; /* a convolution: 35 taps of 3 channels */
    const int64_t matrix[2] = {20, 105};
    const int64_t huge[2] = {INT64_MAX / 2, 3};
    const int64_t negative[2] = {4, -1};
    uint64_t bytes[3];
    (void)state;
    assert_true(dqg_format_plane_bytes(DQG_DTYPE_F16, 0, 4, shape, bytes));
    assert_true(bytes[0] == 20 * 105 * 2 && bytes[1] == 0 && bytes[2] == 0);
    assert_true(dqg_format_plane_bytes(DQG_DTYPE_INT8, 0, 4, shape, bytes));
    assert_true(bytes[0] == 32 * 35 * 8 && bytes[1] == 32 * 4 && bytes[2] == 0);
    assert_true(dqg_format_plane_bytes(DQG_DTYPE_INT4, 32, 4, shape, bytes));
    assert_true(bytes[0] == 32 * 35 * 32 / 2 && bytes[1] == 32 * 35 * 2 && bytes[2] == 0);
    assert_true(dqg_format_plane_bytes(DQG_DTYPE_INT8, 0, 2, matrix, bytes));
    assert_true(bytes[0] == 32 * 112 && bytes[1] == 32 * 4 && bytes[2] == 0);
    assert_true(dqg_format_plane_bytes(DQG_DTYPE_INT4, 32, 2, matrix, bytes));
    assert_true(bytes[0] == 32 * 128 / 2 && bytes[1] == 32 * 4 * 2 && bytes[2] == 0);
    assert_true(dqg_format_plane_bytes(DQG_DTYPE_INT4Z, 128, 2, matrix, bytes));
    assert_true(bytes[0] == 32 * 128 / 2 && bytes[1] == 32 * 2 && bytes[2] == 32);
    assert_false(dqg_format_plane_bytes(DQG_DTYPE_INT4, 16, 4, shape, bytes));
    assert_false(dqg_format_plane_bytes(DQG_DTYPE_INT8, 32, 4, shape, bytes));
    assert_false(dqg_format_plane_bytes(DQG_DTYPE_INT8, 0, 1, shape, bytes));
    assert_false(dqg_format_plane_bytes(99, 0, 4, shape, bytes));
    assert_false(dqg_format_plane_bytes(DQG_DTYPE_F32, 0, 2, huge, bytes));
    assert_false(dqg_format_plane_bytes(DQG_DTYPE_F32, 0, 2, negative, bytes));
    assert_false(dqg_format_plane_bytes(DQG_DTYPE_F32, 0, 9, shape, bytes));
}

static void test_half(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t half = (uint16_t)i;
        float value = dqg_f16_to_f32(half);
        if ((half & 0x7c00) != 0x7c00) { /* every finite half survives, and so do the middles between neighbours */
            double exact = ldexp((half & 0x3ff) + ((half & 0x7c00) ? 1024 : 0),
                                 ((half >> 10 & 31) ? (half >> 10 & 31) - 25 : -24));
            assert_true((double)fabsf(value) == exact);
            assert_int_equal(dqg_f32_to_f16(value), half);
        } else {
            assert_true((half & 0x3ff) ? isnan(value) : isinf(value));
        }
        assert_int_equal(dqg_f32_to_bf16(dqg_bf16_to_f32(half)) | (isnan(dqg_bf16_to_f32(half)) ? 0x40 : 0),
                         half | (isnan(dqg_bf16_to_f32(half)) ? 0x40 : 0));
    }
    assert_int_equal(dqg_f32_to_f16(1.0f + 0x1p-11f), 0x3c00); /* ties go to even */
    assert_int_equal(dqg_f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
    assert_int_equal(dqg_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(dqg_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(dqg_f32_to_f16(0x1p-25f), 0x0000);
    assert_int_equal(dqg_f32_to_f16(0x1.8p-25f), 0x0001);
    assert_int_equal(dqg_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(dqg_f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
}

/* kernel.h: int4 byte (q, n, i): low nibble = input 8 q + i, high = 8 q + 4 + i; int8: [k / 4][16][4]. */
static void test_panels(void **state) {
    uint8_t codes[16 * 32];
    uint8_t back[16 * 32];
    uint8_t panel[16 * 32];
    (void)state;
    for (size_t i = 0; i < sizeof codes; i++) {
        codes[i] = (uint8_t)((i * 7 + i / 32) % 16);
    }
    dqg_pack_panel(dqg_format_find(DQG_DTYPE_INT4), panel, codes, 32);
    for (size_t q = 0; q < 4; q++) {
        for (size_t n = 0; n < 16; n++) {
            for (size_t i = 0; i < 4; i++) {
                uint8_t byte = panel[(q * 16 + n) * 4 + i];
                assert_int_equal(byte & 15, codes[n * 32 + 8 * q + i]);
                assert_int_equal(byte >> 4, codes[n * 32 + 8 * q + 4 + i]);
            }
        }
    }
    dqg_unpack_panel(dqg_format_find(DQG_DTYPE_INT4), back, panel, 32);
    assert_memory_equal(back, codes, sizeof codes);
    dqg_pack_panel(dqg_format_find(DQG_DTYPE_INT8), panel, codes, 32);
    assert_int_equal(panel[(3 * 16 + 5) * 4 + 2], codes[5 * 32 + 14]);
    dqg_unpack_panel(dqg_format_find(DQG_DTYPE_INT8), back, panel, 32);
    assert_memory_equal(back, codes, sizeof codes);
}

/* A 3 x 40 int4z matrix filled by hand decodes to (code - zero) * scale * tensor scale. */
static void test_decode(void **state) {
    dqg_context *context;
    struct dqg_weight weight = {
        .name = "w", .dtype = DQG_DTYPE_INT4Z, .group = 32, .rank = 2, .shape = {3, 40}, .scale = 0.5f};
    uint8_t codes[16 * 64] = {0};
    float out[2 * 40];
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    assert_true(dqg_matrix_size(weight.dtype, weight.group, 2, weight.shape, &weight.size));
    assert_int_equal(weight.size.columns_padded, 64);
    assert_true(dqg_format_plane_bytes(weight.dtype, weight.group, 2, weight.shape, weight.bytes));
    assert_ok(dqg_weight_allocate(context, &weight));
    memset(weight.scales, 0, (size_t)weight.bytes[1]);
    memset(weight.zeros, 0, (size_t)weight.bytes[2]);
    for (int i = 0; i < 40; i++) {
        codes[1 * 64 + i] = (uint8_t)(i % 16);
        codes[2 * 64 + i] = 15;
    }
    dqg_pack_panel(dqg_format_find(DQG_DTYPE_INT4Z), weight.codes, codes, 64);
    ((uint16_t *)weight.scales)[1] = 0x3c00;      /* row 1, inputs 0..31: scale 1, zero 3 */
    ((uint16_t *)weight.scales)[16 + 1] = 0x4000; /* inputs 32..39: scale 2, zero 8 */
    ((uint16_t *)weight.scales)[2] = 0x3800;      /* row 2: scale 0.5, zero 0; then 0 */
    weight.zeros[1] = 3;
    weight.zeros[16 + 1] = 8;
    assert_ok(dqg_weight_finish(context, &weight));
    void *scratch = malloc(dqg_weight_scratch(&weight));
    dqg_weight_decode_rows(&weight, 1, 2, out, scratch);
    for (int i = 0; i < 40; i++) {
        assert_true(out[i] == (i < 32 ? (float)(i % 16 - 3) * 0.5f : (float)(i % 16 - 8)));
        assert_true(out[40 + i] == (i < 32 ? 3.75f : 0.0f));
    }
    /* scale 2 with |code - zero| up to 8 is the largest of row 1: its channel scale is 16 / 127 */
    assert_true(fabsf(weight.column_scale[1] - 0.5f * 16.0f / 127.0f) < 1e-7f);
    assert_true(fabsf(weight.inverse[1] - 128.0f * 127.0f / 16.0f) < 1e-3f);
    ((uint16_t *)weight.scales)[0] = 0x7c00; /* infinite */
    assert_fails(context, dqg_weight_finish(context, &weight), DQG_ERROR_FORMAT);
    dqg_error_clear(context);
    ((uint16_t *)weight.scales)[0] = 0;
    weight.zeros[0] = 16;
    assert_fails(context, dqg_weight_finish(context, &weight), DQG_ERROR_FORMAT);
    free(scratch);
    dqg_weight_free(&context->alloc, &weight);
    dqg_context_destroy(context);
}

/* Convolution weights: (outputs, channels, 2, 2) in panels as (tap, channel padded to 8), back in their own order. */
static void test_decode_taps(void **state) {
    dqg_context *context;
    struct dqg_weight weight = {.name = "w", .dtype = DQG_DTYPE_INT8, .rank = 4, .shape = {1, 3, 2, 2}, .scale = 1.0f};
    int8_t codes[16 * 32] = {0};
    float out[12];
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    assert_true(dqg_matrix_size(weight.dtype, 0, 4, weight.shape, &weight.size));
    assert_true(weight.size.taps == 4 && weight.size.tap_padded == 8 && weight.size.columns_padded == 32);
    assert_true(dqg_format_plane_bytes(weight.dtype, 0, 4, weight.shape, weight.bytes));
    assert_ok(dqg_weight_allocate(context, &weight));
    memset(weight.scales, 0, (size_t)weight.bytes[1]);
    ((float *)weight.scales)[0] = 0.5f;
    for (int tap = 0; tap < 4; tap++) {
        for (int c = 0; c < 3; c++) {
            codes[tap * 8 + c] = (int8_t)(10 * c + tap);
        }
    }
    dqg_pack_panel(dqg_format_find(weight.dtype), weight.codes, (const uint8_t *)codes, 32);
    assert_ok(dqg_weight_finish(context, &weight));
    void *scratch = malloc(dqg_weight_scratch(&weight));
    dqg_weight_decode_rows(&weight, 0, 1, out, scratch);
    for (int k = 0; k < 12; k++) {
        assert_true(out[k] == 0.5f * (float)(k / 4 * 10 + k % 4));
    }
    free(scratch);
    dqg_weight_free(&context->alloc, &weight);
    dqg_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plane_bytes),
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_panels),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_decode_taps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
