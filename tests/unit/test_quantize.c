/* SPDX-License-Identifier: MIT */
/* Rounding to nearest: groups worked out by hand, the error on Gaussian weights, recipes and rules. */
#include <math.h>
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
    assert_true(dqg_search_scale(dqg_kernels_best(), exact, 16, int4, 1, codes, NULL) == 1.0f);
    for (int i = 0; i < 16; i++) {
        assert_true(codes[i] == exact[i]);
    }
    assert_true(dqg_search_scale(dqg_kernels_best(), zeros, 16, int4, 8, codes, NULL) == 0.0f);
    assert_true(codes[3] == 0.0f);
    float scale = dqg_search_scale(dqg_kernels_best(), positive, 16, int4z, 1, codes, &zero);
    assert_int_equal(zero, 0);
    assert_true(codes[0] == 1.0f && codes[3] == 15.0f);
    assert_true(fabsf(scale - 16.0f / 15.0f) < 0.02f);
    assert_true(dqg_search_scale(dqg_kernels_best(), spread, 16, int4z, 1, codes, &zero) == 1.0f);
    assert_true(zero == 2 && codes[0] == -2.0f && codes[1] == 13.0f && codes[2] == 0.0f);
    scale = dqg_search_scale(dqg_kernels_best(), zeros, 16, int4z, 4, codes, &zero);
    assert_true(scale == 0.0f && zero == 0);
}

static float level_of(const struct dqg_level_table *table, float x) {
    float level = table->values[0];
    for (int i = 0; i + 1 < table->count; i++) {
        level = x > table->limits[i] ? table->values[i + 1] : level;
    }
    return level;
}

/* Ties go to the even code; without fraction bits away from zero, but for half of the smallest. */
static void test_levels(void **state) {
    static const float x2[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5, 7, -0.2f, -0.26f, -2.5f, -0.75f, -5, -7};
    static const float want2[] = {0, 1, 1, 2, 2, 4, 4, 6, 0, -0.5f, -2, -1, -4, -6};
    static const float x3[] = {0.1f, 0.124f, 0.125f, 0.13f, 0.3f, 0.375f, 0.76f, 1.5f, 3.1f, 12, 20, -12, -0.125f};
    static const float want3[] = {0, 0, 0, 0.25f, 0.25f, 0.5f, 1, 2, 4, 16, 16, -16, 0};
    struct dqg_level_table table;
    (void)state;
    dqg_level_table_init(&table, dqg_format_find(DQG_DTYPE_E2M1));
    for (size_t i = 0; i < sizeof x2 / sizeof x2[0]; i++) {
        assert_true(level_of(&table, x2[i]) == want2[i]);
    }
    dqg_level_table_init(&table, dqg_format_find(DQG_DTYPE_E3M0));
    for (size_t i = 0; i < sizeof x3 / sizeof x3[0]; i++) {
        assert_true(level_of(&table, x3[i]) == want3[i]);
    }
    dqg_level_table_init(&table, dqg_format_find(DQG_DTYPE_NF4));
    for (uint32_t code = 0; code < 16; code++) {
        float value = dqg_code_value(dqg_format_find(DQG_DTYPE_NF4), code);
        assert_true(table.codes[code] == code && level_of(&table, value + 0.03f) == value);
    }
}

/* Worked example: the mean magnitude is 0.53125, that of the rest 0.29375. */
static void test_signs(void **state) {
    const float x[16] = {0.9f, -0.2f, 0.4f, -1.1f, 0.05f, -0.6f, 0.7f, -0.3f};
    struct dqg_rounding rounding = {.format = dqg_format_find(DQG_DTYPE_BIN1)};
    uint8_t codes[16];
    float values[16];
    struct dqg_rounded rounded = {.codes = codes, .values = values};
    double error = 0.0;
    (void)state;
    dqg_round_group(&rounding, x, 8, 16, &rounded);
    assert_true(rounded.scales[0] == 0.53125f);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(codes[i], 0x55 >> i & 1);
        assert_true(values[i] == (i % 2 == 0 ? 0.53125f : -0.53125f));
    }
    rounding.format = dqg_format_find(DQG_DTYPE_BIN2);
    dqg_round_group(&rounding, x, 8, 16, &rounded);
    for (int i = 0; i < 8; i++) {
        float sum = (codes[i] & 1 ? rounded.scales[0] : -rounded.scales[0]) +
                    (codes[i] & 2 ? rounded.scales[1] : -rounded.scales[1]);
        assert_true(values[i] == sum);
        error += pow((double)x[i] - (double)sum, 2.0);
    }
    /* sum x^2 = 3.1625 less 8 (0.53125^2 + 0.29375^2): as many magnitudes lie above the mean as below, so that the
     * start is the least-squares fit already */
    assert_true(fabsf(rounded.scales[1] - 0.29375f) < 2e-4f && fabs(error - 0.214375) < 1e-4);
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
        float scale = dqg_search_scale(dqg_kernels_best(), x, 512, int4, pass == 0 ? 1 : 64, codes, NULL);
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
    assert_true(fabs(error - packing.error) < 1e-5);
    assert_true(error < bound);
    free(scratch);
    free(decoded);
    dqg_weight_free(&context->alloc, &weight);
}

/*
 * Relative errors of each format on Gaussian weights with groups of 32, 64 and 128 (or none), and on heavy tails with
 * groups of 64; docs/kernels.md has them too. Without a search, int4 has .0969, .1075, .1170 and .1812, e2m1 .1012,
 * .1055, .1087 and .1276, e3m0 .1810, .1886, .1927 and .1550. The theory for one sign in place of a normal number is
 * sqrt(1 - 2 / pi) = .603.
 */
static const struct {
    int32_t dtype;
    double normal[3], heavy;
} errors[] = {
    {DQG_DTYPE_INT8, {0.0078}, 0.0257},
    {DQG_DTYPE_INT6, {0.0208, 0.0231, 0.0253}, 0.0439},
    {DQG_DTYPE_INT6Z, {0.0187, 0.0212, 0.0235}, 0.0330},
    {DQG_DTYPE_INT5, {0.0418, 0.0466, 0.0506}, 0.0869},
    {DQG_DTYPE_INT5Z, {0.0380, 0.0428, 0.0473}, 0.0664},
    {DQG_DTYPE_INT4, {0.0859, 0.0944, 0.1005}, 0.1645},
    {DQG_DTYPE_INT4Z, {0.0777, 0.0870, 0.0950}, 0.1314},
    {DQG_DTYPE_INT3, {0.1778, 0.1886, 0.1944}, 0.2921},
    {DQG_DTYPE_INT3Z, {0.1605, 0.1757, 0.1862}, 0.2468},
    {DQG_DTYPE_INT2, {0.3691, 0.3775, 0.3817}, 0.4715},
    {DQG_DTYPE_INT2Z, {0.3347, 0.3560, 0.3700}, 0.4247},
    {DQG_DTYPE_E5M2, {0.0526}, 0.0493},
    {DQG_DTYPE_E4M3, {0.0265}, 0.0248},
    {DQG_DTYPE_E3M0, {0.1616, 0.1717, 0.1790}, 0.1421},
    {DQG_DTYPE_E2M1, {0.0922, 0.0981, 0.1025}, 0.1216},
    {DQG_DTYPE_E1M2, {0.0907, 0.0992, 0.1054}, 0.1728},
    {DQG_DTYPE_NF4, {0.0800, 0.0856, 0.0899}, 0.1197},
    {DQG_DTYPE_BIN2, {0.3213, 0.3314, 0.3365}, 0.4485},
    {DQG_DTYPE_BIN1, {0.5925, 0.5974, 0.5999}, 0.8118},
    {DQG_DTYPE_VQ2, {0.0880}, 0.1021},
    {DQG_DTYPE_VQ4, {0.3068}, 0.2786},
};

static void test_gaussian(void **state) {
    static const int32_t groups[3] = {32, 64, 128};
    dqg_context *context;
    float *w = malloc(sizeof *w * ROWS * COLUMNS);
    float *heavy = malloc(sizeof *heavy * ROWS * COLUMNS);
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    fill_normal(w, (size_t)ROWS * COLUMNS, 11);
    fill_normal(heavy, (size_t)ROWS * COLUMNS, 12);
    for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++) {
        heavy[i] = w[i] * expf(0.8f * heavy[i]);
    }
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        bool grouped = dqg_format_has_groups(dqg_format_find(errors[i].dtype));
        for (int j = 0; j < (grouped ? 3 : 1); j++) {
            check_error(context, w, errors[i].dtype, grouped ? groups[j] : 0, 1.01 * errors[i].normal[j]);
        }
        check_error(context, heavy, errors[i].dtype, grouped ? 64 : 0, 1.01 * errors[i].heavy);
    }
    free(heavy);
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
    static const char *const bad[] = {"",        "int", "int4:", "int4:16", "int8:32",  "f16:32", "vq2:32",
                                      "e4m3:32", "u8",  "int7",  "INT4",    "int4:32 ", "int44"};
    struct dqg_recipe recipe;
    (void)state;
    assert_true(dqg_recipe_parse("int4", 64, &recipe) && recipe.dtype == DQG_DTYPE_INT4 && recipe.group == 64);
    assert_true(dqg_recipe_parse("int4z:128", 64, &recipe) && recipe.dtype == DQG_DTYPE_INT4Z && recipe.group == 128);
    assert_true(dqg_recipe_parse("nf4:32", 64, &recipe) && recipe.dtype == DQG_DTYPE_NF4 && recipe.group == 32);
    assert_true(dqg_recipe_parse("bin2", 64, &recipe) && recipe.dtype == DQG_DTYPE_BIN2 && recipe.group == 64);
    assert_true(dqg_recipe_parse("vq4", 64, &recipe) && recipe.dtype == DQG_DTYPE_VQ4 && recipe.group == 0);
    recipe = dqg_recipe_default(NULL, 3, true, 64);
    assert_true(recipe.dtype == DQG_DTYPE_INT3Z && recipe.group == 64);
    recipe = dqg_recipe_default("", 8, true, 64);
    assert_true(recipe.dtype == DQG_DTYPE_INT8 && recipe.group == 0);
    recipe = dqg_recipe_default("", 16, false, 64);
    assert_true(recipe.dtype == DQG_DTYPE_F16 && recipe.group == 0);
    recipe = dqg_recipe_default("e2m1", 16, false, 128);
    assert_true(recipe.dtype == DQG_DTYPE_E2M1 && recipe.group == 128);
    assert_true(dqg_recipe_parse("int8", 64, &recipe) && recipe.dtype == DQG_DTYPE_INT8 && recipe.group == 0);
    assert_true(dqg_recipe_parse("bf16", 64, &recipe) && recipe.dtype == DQG_DTYPE_BF16 && recipe.group == 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(dqg_recipe_parse(bad[i], 32, &recipe));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand), cmocka_unit_test(test_levels),   cmocka_unit_test(test_signs),
        cmocka_unit_test(test_search),  cmocka_unit_test(test_gaussian), cmocka_unit_test(test_recipes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
