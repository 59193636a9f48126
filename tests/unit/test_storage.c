/* SPDX-License-Identifier: MIT */
/*
 * Every storage format from the quantizer to a matrix product: decoded panels against the exact weights, products
 * against float ones, and a network against its float original, on every backend and for any number of lanes.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "kernel/kernel.h"
#include "ops/ops.h"
#include "packed_weight.h"
#include "tiny_model.h"
#include "relative.h"

enum { ROWS = 75, COLUMNS = 198, TOKENS = 9 }; /* multiples of nothing */

static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* About normal: the sum of twelve uniform numbers less its mean. */
static void fill(float *out, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) {
        float sum = -6.0f;
        for (int j = 0; j < 12; j++) {
            sum += (float)(next(&seed) >> 40) * 0x1p-24f;
        }
        out[i] = sum;
    }
}

static bool next_quantized(size_t *index, const struct dqg_format **format) {
    while ((*format = dqg_format_at((*index)++)) != NULL) {
        if (dqg_dtype_is_quantized((*format)->dtype)) {
            return true;
        }
    }
    return false;
}

/* w as a weight of this format; scratch of ops must hold a panel. */
static void quantize(const struct dqg_ops *ops, const struct dqg_format *format, const float *w,
                     struct dqg_weight *weight) {
    const int64_t shape[] = {ROWS, COLUMNS};
    pack_weight(ops->context, weight, format->dtype, dqg_format_has_groups(format) ? 64 : 0, 2, shape, w, 8);
    dqg_op_weight_sums(ops, weight);
}

/*
 * How far a decoded panel may be from the exact weight, in steps of the panel: 1/2 for rounding; with group scales, 1/2
 * of 1/128 of the largest level, once for each base; and what the levels themselves are off.
 */
static double panel_limit(const struct dqg_format *format, int largest) {
    double limit = 0.5 + 1e-3;
    if (dqg_format_has_groups(format)) {
        limit += 0.5 / 128.0 * (format->kind == DQG_FORMAT_SIGN ? format->bits : largest);
    }
    return format->dtype == DQG_DTYPE_NF4 ? limit + 0.47 : limit;
}

static int largest_level(const struct dqg_format *format) {
    int largest = format->zeros ? (1 << format->bits) - 1 : 1 << (format->bits - 1);
    for (int i = 0; dqg_format_has_groups(format) && format->levels != NULL && i < 16; i++) {
        largest = format->levels[i] > largest ? format->levels[i] : largest;
    }
    return largest;
}

static void check_panels(const struct dqg_ops *ops, const struct dqg_format *format, const struct dqg_weight *weight,
                         const float *exact) {
    size_t depth = weight->size.columns_padded;
    size_t panels = weight->size.rows_padded / DQG_PANEL;
    int8_t *room = malloc(panels * DQG_PANEL * depth);
    double limit = panel_limit(format, largest_level(format));
    const int8_t *decoded = dqg_panels_int8(ops, weight, 0, panels, (char *)room);
    for (size_t n = 0; n < ROWS; n++) {
        for (size_t k = 0; k < COLUMNS; k++) {
            int value = decoded[(n / 16) * 16 * depth + k / 4 * 64 + n % 16 * 4 + k % 4];
            double want = (double)exact[n * COLUMNS + k] / (double)weight->column_scale[n];
            if (!(fabs(value - want) <= limit)) {
                fail_msg("%s: row %zu column %zu: %d, exact %g, limit %g", format->name, n, k, value, want, limit);
            }
        }
    }
    free(room);
}

/* The product through the operator, with int8 activations, against float arithmetic on exactly decoded weights. */
static double product_error(const struct dqg_ops *ops, const struct dqg_weight *weight, const float *exact) {
    static float x[TOKENS * COLUMNS], out[TOKENS * ROWS], want[TOKENS * ROWS], row_scale[TOKENS];
    static int8_t q8[TOKENS * 256];
    fill(x, TOKENS * COLUMNS, 5);
    size_t ld = weight->size.columns_padded;
    struct dqg_rows rows = {.q8 = q8, .row_scale = row_scale, .ld = ld};
    dqg_op_quantize(ops, x, COLUMNS, rows, TOKENS, COLUMNS, ld);
    struct dqg_linear args = {
        .weight = weight, .x = rows, .out = out, .ld_out = ROWS, .rows = TOKENS, .rows_per_sample = TOKENS};
    dqg_op_linear(ops, &args);
    for (size_t m = 0; m < TOKENS; m++) {
        for (size_t n = 0; n < ROWS; n++) {
            double sum = 0.0;
            for (size_t k = 0; k < COLUMNS; k++) {
                sum += (double)q8[m * ld + k] * row_scale[m] * exact[n * COLUMNS + k];
            }
            want[m * ROWS + n] = (float)sum;
        }
    }
    return relative(out, want, TOKENS * ROWS);
}

static struct dqg_ops make_ops(dqg_context *context) {
    struct dqg_ops ops = {.context = context, .kernels = context->kernels, .lane_bytes = 1 << 18};
    ops.scratch = aligned_alloc(64, ops.lane_bytes * dqg_concurrency(context));
    return ops;
}

/* Rounding weights to int8 panels costs a product less than 1 %; a network's int8 activations cost about as much. */
static void test_products(void **state) {
    static float w[ROWS * COLUMNS], exact[ROWS * COLUMNS];
    const struct dqg_format *format;
    (void)state;
    fill(w, ROWS * COLUMNS, 3);
    for (int32_t backend = 0; dqg_kernels_at(backend) != NULL; backend++) {
        dqg_context *context;
        assert_ok(dqg_context_create(NULL, &context));
        assert_ok(dqg_parallel_prepare(context));
        context->kernels = dqg_kernels_at(backend);
        struct dqg_ops ops = make_ops(context);
        for (size_t i = 0; next_quantized(&i, &format);) {
            struct dqg_weight weight;
            quantize(&ops, format, w, &weight);
            void *scratch = malloc(dqg_weight_scratch(&weight));
            dqg_weight_decode_rows(&weight, 0, ROWS, exact, scratch);
            check_panels(&ops, format, &weight, exact);
            double error = product_error(&ops, &weight, exact);
            if (!(error < 0.01)) {
                fail_msg("%s, %s: product differs by %g", context->kernels->name, format->name, error);
            }
            free(scratch);
            dqg_weight_free(&context->alloc, &weight);
        }
        free(ops.scratch);
        dqg_context_destroy(context);
    }
}

/* The same planes for one lane and for three. */
static void test_lanes(void **state) {
    static float w[ROWS * COLUMNS];
    const struct dqg_format *format;
    dqg_context *contexts[2];
    struct dqg_ops ops[2];
    (void)state;
    fill(w, ROWS * COLUMNS, 4);
    for (int i = 0; i < 2; i++) {
        assert_ok(dqg_context_create(NULL, &contexts[i]));
        assert_ok(dqg_context_set_threads(contexts[i], i == 0 ? 1 : 3));
        assert_ok(dqg_parallel_prepare(contexts[i]));
        ops[i] = make_ops(contexts[i]);
    }
    for (size_t i = 0; next_quantized(&i, &format);) {
        struct dqg_weight weights[2];
        quantize(&ops[0], format, w, &weights[0]);
        quantize(&ops[1], format, w, &weights[1]);
        assert_memory_equal(weights[0].codes, weights[1].codes, (size_t)weights[0].bytes[0]);
        assert_memory_equal(weights[0].scales, weights[1].scales, (size_t)weights[0].bytes[1]);
        if (weights[0].bytes[2] > 0) {
            assert_memory_equal(weights[0].zeros, weights[1].zeros, (size_t)weights[0].bytes[2]);
        }
        dqg_weight_free(&contexts[0]->alloc, &weights[0]);
        dqg_weight_free(&contexts[1]->alloc, &weights[1]);
    }
    for (int i = 0; i < 2; i++) {
        free(ops[i].scratch);
        dqg_context_destroy(contexts[i]);
    }
}

/* ---- a network ---- */

enum { LATENT = 4 * 8 * 8 };

static void evaluate(dqg_context *context, const char *path, float *out) {
    static float x[2 * LATENT];
    const double timesteps[2] = {300.0, 900.0};
    const int32_t labels[2] = {1, 3};
    dqg_model *model;
    dqg_tensor_view in = view_f32(x, 2, 4, 8, 8);
    dqg_tensor_view result = view_f32(out, 2, 4, 8, 8);
    fill(x, 2 * LATENT, 9);
    assert_ok(dqg_model_load(context, path, NULL, &model));
    assert_ok(dqg_model_evaluate(context, model, &in, timesteps, labels, NULL, NULL, &result));
    dqg_model_release(model);
}

/* Relative error of the tiny network's output, half as much again as was measured. */
static const struct {
    const char *format;
    double limit;
} network_limits[] = {
    {"int8", 0.0017}, {"int6", 0.0039}, {"int6z", 0.0036}, {"int5", 0.0066}, {"int5z", 0.0063}, {"int4", 0.014},
    {"int4z", 0.014}, {"int3", 0.028},  {"int3z", 0.030},  {"int2", 0.072},  {"int2z", 0.066},  {"e5m2", 0.011},
    {"e4m3", 0.0056}, {"e3m0", 0.031},  {"e2m1", 0.022},   {"e1m2", 0.014},  {"nf4", 0.020},    {"bin2", 0.049},
    {"bin1", 0.087},  {"vq2", 0.013},   {"vq4", 0.049},
};

static void test_network(void **state) {
    static float want[2 * LATENT], got[2 * LATENT];
    char directory[128], path[192], stored[192];
    dqg_context *context;
    (void)state;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    assert_int_equal(tiny_dit_write_default(tiny_path(path, sizeof path, directory, "tiny.safetensors")), 0);
    tiny_path(stored, sizeof stored, directory, "tiny.dqg");
    assert_ok(dqg_context_create(NULL, &context));
    evaluate(context, path, want);
    for (size_t i = 0; i < sizeof network_limits / sizeof network_limits[0]; i++) {
        dqg_options *options = make_options(context, DQG_OPTIONS_QUANTIZER);
        dqg_quantizer *quantizer;
        assert_ok(dqg_options_set_text(options, DQG_QUANTIZER_FORMAT, network_limits[i].format));
        assert_ok(dqg_options_set_int(options, DQG_QUANTIZER_GROUP, 64));
        assert_ok(dqg_quantizer_create(context, options, &quantizer));
        assert_ok(dqg_quantizer_run(quantizer, path, stored));
        evaluate(context, stored, got);
        double error = relative(got, want, 2 * LATENT);
        if (!(error < network_limits[i].limit)) {
            fail_msg("%s: the output differs by %g", network_limits[i].format, error);
        }
        dqg_quantizer_destroy(quantizer);
        dqg_options_destroy(options);
    }
    dqg_context_destroy(context);
    tiny_dir_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
