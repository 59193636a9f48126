/* SPDX-License-Identifier: MIT */
/* Rounding to nearest: groups worked out by hand, the error on Gaussian weights, recipes and rules. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "quant/round.h"
#include "tensor/weight.h"

/* splitmix64, and normals from pairs of its outputs (Box-Muller). */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void fill_normal(float *out, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i += 2) {
        double u1 = ((double)(mix(seed + (i + 1) * 0x9E3779B97F4A7C15u) >> 11) + 1.0) * 0x1p-53;
        double u2 = (double)(mix(seed + (i + 2) * 0x9E3779B97F4A7C15u) >> 11) * 0x1p-53;
        double radius = sqrt(-2.0 * log(u1));
        out[i] = (float)(radius * cos(2.0 * 3.14159265358979323846 * u2));
        out[i + 1] = (float)(radius * sin(2.0 * 3.14159265358979323846 * u2));
    }
}

static const struct dqg_code_range int4 = {-8, 7, true};
static const struct dqg_code_range int4z = {0, 15, true};

static void test_by_hand(void **state) {
    const float exact[16] = {-8, 7, 3, 0, -1, 2, -5, 6};
    const float positive[16] = {1, 2, 3, 16}; /* zero stays a code: 16 / 15 a step */
    const float spread[16] = {-2, 13};        /* step 1, zero point 2 */
    const float zeros[16] = {0};
    float codes[16];
    int zero;
    (void)state;
    assert_true(dqg_search_scale(exact, 16, int4, 1, codes, NULL) == 1.0f);
    for (int i = 0; i < 16; i++) {
        assert_true(codes[i] == exact[i]);
    }
    assert_true(dqg_search_scale(zeros, 16, int4, 8, codes, NULL) == 0.0f);
    assert_true(codes[3] == 0.0f);
    float scale = dqg_search_scale(positive, 16, int4z, 1, codes, &zero);
    assert_int_equal(zero, 0);
    assert_true(codes[0] == 1.0f && codes[3] == 15.0f);
    assert_true(fabsf(scale - 16.0f / 15.0f) < 0.02f);
    assert_true(dqg_search_scale(spread, 16, int4z, 1, codes, &zero) == 1.0f);
    assert_true(zero == 2 && codes[0] == -2.0f && codes[1] == 13.0f && codes[2] == 0.0f);
    scale = dqg_search_scale(zeros, 16, int4z, 4, codes, &zero);
    assert_true(scale == 0.0f && zero == 0);
}

/* An outlier is clipped when that lowers the squared error; without a search it rules the scale. */
static void test_search(void **state) {
    float x[512];
    float codes[512];
    double errors[2];
    (void)state;
    fill_normal(x, 512, 5);
    x[7] = 6.0f;
    for (int pass = 0; pass < 2; pass++) {
        float scale = dqg_search_scale(x, 512, int4, pass == 0 ? 1 : 64, codes, NULL);
        errors[pass] = 0.0;
        for (int i = 0; i < 512; i++) {
            errors[pass] += pow((double)x[i] - (double)codes[i] * scale, 2.0);
        }
    }
    assert_true(errors[1] < 0.8 * errors[0]);
}

enum { ROWS = 256, COLUMNS = 1024 };

/* Quantize Gaussian weights, decode them from the packed planes, compare with the reported error and the bound. */
static void check_error(dqg_context *context, const float *w, int32_t dtype, int32_t group, double bound) {
    struct dqg_tensor_desc from = {.name = "w", .dtype = DQG_DTYPE_F32, .rank = 2, .shape = {ROWS, COLUMNS}};
    struct dqg_tensor_desc to = from;
    to.dtype = dtype;
    to.group = group;
    assert_true(dqg_format_plane_bytes(dtype, group, 2, to.shape, to.plane_bytes));
    struct dqg_weight weight = {.name = "w", .dtype = dtype, .group = group, .rank = 2, .shape = {ROWS, COLUMNS}};
    memcpy(weight.bytes, to.plane_bytes, sizeof weight.bytes);
    assert_true(dqg_matrix_size(dtype, group, 2, to.shape, &weight.size));
    assert_ok(dqg_weight_allocate(context, &weight));
    struct dqg_packing packing = {
        .from = &from, .to = &to, .in = w, .search = 32, .planes = {weight.codes, weight.scales, weight.zeros}};
    assert_ok(dqg_quantize_tensor(context, &packing));
    weight.scale = to.scale;
    assert_ok(dqg_weight_finish(context, &weight));
    float *decoded = malloc(sizeof *decoded * ROWS * COLUMNS);
    void *scratch = malloc(dqg_weight_scratch(&weight));
    dqg_weight_decode_rows(&weight, 0, ROWS, decoded, scratch);
    double difference = 0.0;
    double norm = 0.0;
    for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++) {
        difference += pow((double)w[i] - decoded[i], 2.0);
        norm += (double)w[i] * w[i];
    }
    double error = sqrt(difference / norm);
    printf("%-6s %3d  %.4f\n", dqg_dtype_name(dtype), group, error);
    assert_true(fabs(error - packing.error) < 1e-5);
    assert_true(error < bound);
    free(scratch);
    free(decoded);
    dqg_weight_free(&context->alloc, &weight);
}

/* Without a search the errors are .0969, .1075, .1170 for groups of 32, 64, 128. */
static void test_gaussian(void **state) {
    dqg_context *context;
    float *w = malloc(sizeof *w * ROWS * COLUMNS);
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    fill_normal(w, (size_t)ROWS * COLUMNS, 11);
    check_error(context, w, DQG_DTYPE_INT4, 32, 0.0880);
    check_error(context, w, DQG_DTYPE_INT4, 64, 0.0980);
    check_error(context, w, DQG_DTYPE_INT4, 128, 0.1060);
    check_error(context, w, DQG_DTYPE_INT4Z, 32, 0.0860);
    check_error(context, w, DQG_DTYPE_INT8, 0, 0.0082);
    for (size_t f = 0; dqg_format_at(f) != NULL; f++) {
        const struct dqg_format *format = dqg_format_at(f);
        if (format->kind < DQG_FORMAT_INT8)
            continue;
        for (int32_t g = dqg_format_has_groups(format) ? 32 : 0; g <= 128; g *= 2) {
            check_error(context, w, format->dtype, g, 10.0);
            if (g == 0)
                break;
        }
    }
    w[1000] = INFINITY;
    struct dqg_tensor_desc from = {.name = "bad", .dtype = DQG_DTYPE_F32, .rank = 2, .shape = {ROWS, COLUMNS}};
    struct dqg_tensor_desc to = from;
    struct dqg_packing packing = {.from = &from, .to = &to, .in = w, .search = 1, .planes = {w, NULL, NULL}};
    assert_fails(context, dqg_quantize_tensor(context, &packing), DQG_ERROR_RANGE);
    assert_non_null(strstr(dqg_context_error(context), "'bad': element 1000"));
    free(w);
    dqg_context_destroy(context);
}

static void test_recipes(void **state) {
    static const char *const bad[] = {"", "int", "int4:", "int4:16", "int8:32", "f16:32", "INT4", "int4:32 ", "int44"};
    struct dqg_recipe recipe;
    (void)state;
    assert_true(dqg_recipe_parse("int4", 64, &recipe) && recipe.dtype == DQG_DTYPE_INT4 && recipe.group == 64);
    assert_true(dqg_recipe_parse("int4z:128", 64, &recipe) && recipe.dtype == DQG_DTYPE_INT4Z && recipe.group == 128);
    assert_true(dqg_recipe_parse("int8", 64, &recipe) && recipe.dtype == DQG_DTYPE_INT8 && recipe.group == 0);
    assert_true(dqg_recipe_parse("bf16", 64, &recipe) && recipe.dtype == DQG_DTYPE_BF16 && recipe.group == 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(dqg_recipe_parse(bad[i], 32, &recipe));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_gaussian),
        cmocka_unit_test(test_recipes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
