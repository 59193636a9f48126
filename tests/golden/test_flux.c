/* SPDX-License-Identifier: MIT */
/* FLUX.1 against diffusers: random weights, every backend, float path within 1e-4; the same bits under the names of the
 * authors; 4-bit weights. make_flux_golden.py wrote the files. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "context_check.h"
#include "relative.h"

static const double limit = 1e-4; /* || a - b || / || b || */

static dqg_model *load(const char *path) {
    dqg_model *model;
    if (dqg_model_load(context, path, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    return model;
}

static dqg_model *load_golden(const char *name, const char *names) {
    char path[256];
    snprintf(path, sizeof path, "tests/golden/flux/%s%s.safetensors", name, names);
    return load(path);
}

/* What an evaluation is given, and what comes of it. */
struct golden {
    struct npy x, t, guidance, context, pooled, extra, out;
};

static struct npy read_array(const char *name, const char *part, bool needed) {
    char path[256];
    struct npy array = {0};
    snprintf(path, sizeof path, "tests/golden/flux/%s_%s.npy", name, part);
    if (npy_read(path, &array) != 0 && needed) {
        fail_msg("cannot read %s", path);
    }
    return array;
}

static struct golden read_golden(const char *name) {
    return (struct golden){.x = read_array(name, "x", true),
                           .t = read_array(name, "t", true),
                           .guidance = read_array(name, "guidance", false),
                           .context = read_array(name, "context", true),
                           .pooled = read_array(name, "pooled", true),
                           .extra = read_array(name, "extra", false),
                           .out = read_array(name, "out", true)};
}

static void free_golden(struct golden *golden) {
    free(golden->x.data);
    free(golden->t.data);
    free(golden->guidance.data);
    free(golden->context.data);
    free(golden->pooled.data);
    free(golden->extra.data);
    free(golden->out.data);
}

/* The result, which the caller frees. */
static float *evaluate(const dqg_model *model, const struct golden *golden) {
    double t[4], guidance[4];
    float *out = malloc((size_t)golden->out.count * sizeof *out);
    dqg_tensor_view x = golden_view(&golden->x, golden->x.data),
                    rows = golden_view(&golden->context, golden->context.data),
                    pooled = golden_view(&golden->pooled, golden->pooled.data), result = golden_view(&golden->out, out),
                    extra = golden_view(&golden->extra, golden->extra.data);
    assert_true(golden->t.count <= 4);
    for (int64_t i = 0; i < golden->t.count; i++) {
        t[i] = (double)golden->t.data[i];
        guidance[i] = golden->guidance.data != NULL ? (double)golden->guidance.data[i] : 0;
    }
    dqg_inputs inputs;
    DQG_INIT(&inputs);
    inputs.context = &rows;
    inputs.pooled = &pooled;
    inputs.guidance = golden->guidance.data != NULL ? guidance : NULL;
    inputs.extra = golden->extra.data != NULL ? &extra : NULL;
    memset(out, 0xff, (size_t)golden->out.count * sizeof *out);
    if (dqg_model_denoise(context, model, &x, t, &inputs, NULL, NULL, &result) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    return out;
}

static double error_of(const dqg_model *model, const char *name) {
    struct golden golden = read_golden(name);
    float *out = evaluate(model, &golden);
    double error = relative(out, golden.out.data, golden.out.count);
    printf("%-14s %-8s relative error %.2e\n", name, dqg_context_backend(context), error);
    free(out);
    free_golden(&golden);
    return error;
}

/* Both names give the same bits. */
static void check_names(const dqg_model *model, const dqg_model *original, const char *name) {
    struct golden golden = read_golden(name);
    float *a = evaluate(model, &golden), *b = evaluate(original, &golden);
    assert_memory_equal(a, b, (size_t)golden.out.count * sizeof *a);
    free(a);
    free(b);
    free_golden(&golden);
}

static void check_model(const char *name) {
    static const char *const shapes[] = {"wide", "tall"};
    dqg_model *model = load_golden(name, ""), *original = load_golden(name, "_original");
    for (size_t s = 0; s < 2; s++) {
        char shape[64];
        snprintf(shape, sizeof shape, "%s_%s", name, shapes[s]);
        for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
            assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
            assert_true(error_of(model, shape) < limit);
        }
        check_names(model, original, shape);
    }
    dqg_model_release(model);
    dqg_model_release(original);
}

static void test_dev(void **state) {
    (void)state;
    check_model("dev");
}

static void test_schnell(void **state) {
    (void)state;
    check_model("schnell");
}

/* More channels of x than of the result; heads of a width that ends within a panel of weights. */
static void test_control(void **state) {
    (void)state;
    check_model("control");
}

/* A run with the model's own scheduler: how far it ends from where Euler steps at these points do. */
static double run_error(const char *name, const char *shape, const char *options_text, const double *sigmas,
                        int steps) {
    struct golden golden = read_golden(shape);
    dqg_model *model = load_golden(name, "");
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_run *run;
    dqg_inputs inputs;
    dqg_tensor_view x = golden_view(&golden.x, golden.x.data), rows = golden_view(&golden.context, golden.context.data),
                    pooled = golden_view(&golden.pooled, golden.pooled.data);
    float *want = malloc((size_t)golden.x.count * sizeof *want), *latent = golden.x.data;
    DQG_INIT(&inputs);
    inputs.context = &rows;
    inputs.pooled = &pooled;
    parse_options(options, options_text);
    if (dqg_run_create(context, model, NULL, options, &run) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_ok(dqg_run_set_inputs(run, 0, 0, &inputs));
    assert_ok(dqg_run_write(run, &x));
    memcpy(want, latent, (size_t)golden.x.count * sizeof *want);
    for (int step = 0; step < steps; step++) {
        golden.t.data[0] = (float)sigmas[step];
        memcpy(latent, want, (size_t)golden.x.count * sizeof *want);
        float *v = evaluate(model, &golden);
        for (int64_t i = 0; i < golden.x.count; i++) {
            want[i] += (float)(sigmas[step + 1] - sigmas[step]) * v[i];
        }
        free(v);
        assert_int_equal(dqg_run_step(run), step + 1 < steps ? DQG_OK : DQG_DONE);
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &x));
    double error = relative(latent, want, golden.x.count);
    printf("%s: relative error %.2e\n", options_text, error);
    free(want);
    dqg_run_destroy(run);
    dqg_options_destroy(options);
    dqg_model_release(model);
    free_golden(&golden);
    return error;
}

static void test_runs(void **state) {
    double shifted[29] = {0}, mu = 0.5 + (1.15 - 0.5) * (21 - 256) / (4096 - 256); /* of 7 x 3 tokens */
    (void)state;
    assert_ok(dqg_context_set_backend(context, dqg_backend_name(0)));
    const double even[] = {1, .75, .5, .25, 0};
    assert_true(run_error("schnell", "schnell_tall", "height=14 width=6 context-tokens=8", even, 4) < 1e-5);
    for (int i = 0; i < 28; i++) {
        double t = 1 - i / 28.0;
        shifted[i] = exp(mu) / (exp(mu) + 1 / t - 1);
    }
    /* Of these 28 steps: all, as a cache does that nothing is similar enough for; some; few tokens of most. */
    static const char *const options[] = {"", " cache=first-block cache-threshold=0", " cache=teacache",
                                          " ras-ratio=0.5"};
    for (int i = 0; i < 4; i++) {
        char text[128];
        snprintf(text, sizeof text, "height=14 width=6 context-tokens=8 guidance=3.5%s", options[i]);
        double error = run_error("dev", "dev_tall", text, shifted, 28);
        assert_true(i < 2 ? error < 1e-5 : error > 1e-4 && error < 0.5);
    }
}

static double quantized_error(const char *name, const char *shape) {
    static const char file[] = "flux_test.dqg";
    char path[256];
    dqg_quantizer *quantizer;
    snprintf(path, sizeof path, "tests/golden/flux/%s.safetensors", name);
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    if (dqg_quantizer_run(quantizer, path, file) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    dqg_quantizer_destroy(quantizer);
    dqg_model *model = load(file);
    double error = error_of(model, shape);
    dqg_model_release(model);
    remove(file);
    return error;
}

/* 4-bit weights have 8 to 10 % of error each; cosine of 0.99 is an error of 14 %. */
static void test_quantized(void **state) {
    (void)state;
    assert_ok(dqg_context_set_backend(context, dqg_backend_name(0)));
    assert_true(quantized_error("dev", "dev_wide") < 0.14);
    assert_true(quantized_error("schnell", "schnell_tall") < 0.14);
    assert_true(quantized_error("control", "control_wide") < 0.14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dev),  cmocka_unit_test(test_schnell),   cmocka_unit_test(test_control),
        cmocka_unit_test(test_runs), cmocka_unit_test(test_quantized),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
