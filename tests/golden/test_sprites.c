/* SPDX-License-Identifier: MIT */
/*
 * The shipped model against PyTorch at t = 0.9, 0.5 and 0.1 on noised real tiles: the float path within 1e-4, 8-bit
 * weights and activations within 1 %, 4-bit weights within 8 % of it; and the size of the 4-bit file.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "golden.h"
#include "tiny_model.h"

static const char checkpoint[] = "examples/models/sprites.safetensors";

static struct {
    struct npy x, t, y, v;
    double timesteps[64];
    int32_t labels[64];
} golden;

static char directory[128];

static void read_array(const char *name, struct npy *array) {
    *array = golden_array("sprites/%s", name);
}

static int setup(void **state) {
    (void)state;
    read_array("x", &golden.x);
    read_array("t", &golden.t);
    read_array("y", &golden.y);
    read_array("v", &golden.v);
    assert_true(golden.t.count <= 64);
    for (int64_t i = 0; i < golden.t.count; i++) {
        golden.timesteps[i] = golden.t.data[i];
        golden.labels[i] = golden.y.data[i] < 33 ? (int32_t)golden.y.data[i] : -1;
    }
    return tiny_dir_make(directory, sizeof directory);
}

static int teardown(void **state) {
    (void)state;
    tiny_dir_remove(directory);
    free(golden.x.data);
    free(golden.t.data);
    free(golden.y.data);
    free(golden.v.data);
    return 0;
}

/* The largest error over the times of the golden file: each time's samples are taken together. */
static double worst_error(const float *out) {
    double worst = 0.0;
    int64_t size = golden.v.count / golden.t.count;
    for (int64_t i = 0; i < golden.t.count; i++) {
        double difference = 0.0;
        double norm = 0.0;
        for (int64_t j = 0; j < golden.t.count; j++) {
            for (int64_t k = j * size; golden.t.data[j] == golden.t.data[i] && k < (j + 1) * size; k++) {
                difference += ((double)out[k] - golden.v.data[k]) * ((double)out[k] - golden.v.data[k]);
                norm += (double)golden.v.data[k] * golden.v.data[k];
            }
        }
        worst = fmax(worst, sqrt(difference / norm));
    }
    return worst;
}

/* Every backend stays within the limit. */
static void check_file(const char *path, double limit) {
    dqg_context *context;
    dqg_model *model;
    assert_ok(dqg_context_create(NULL, &context));
    if (dqg_model_load(context, path, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    float *out = malloc((size_t)golden.v.count * sizeof *out);
    for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
        assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
        const int64_t *d = golden.x.shape;
        dqg_tensor_view x = view_f32(golden.x.data, d[0], d[1], d[2], d[3]);
        dqg_tensor_view v = view_f32(out, d[0], d[1], d[2], d[3]);
        assert_ok(dqg_model_evaluate(context, model, &x, golden.timesteps, golden.labels, NULL, NULL, &v));
        printf("%-40s %-8s relative error %.3g, limit %g\n", path, dqg_backend_name(i), worst_error(out), limit);
        assert_true(worst_error(out) <= limit);
    }
    free(out);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

static void quantize(const char *path, int64_t bits) {
    dqg_context *context;
    dqg_options *options;
    dqg_quantizer *quantizer;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_options_create(context, DQG_OPTIONS_QUANTIZER, &options));
    assert_ok(dqg_options_set_int(options, DQG_QUANTIZER_BITS, bits));
    assert_ok(dqg_quantizer_create(context, options, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, checkpoint, path));
    dqg_quantizer_destroy(quantizer);
    dqg_options_destroy(options);
    dqg_context_destroy(context);
}

static void test_float(void **state) {
    (void)state;
    check_file(checkpoint, 1e-4);
}

static void test_eight_bits(void **state) {
    char path[256];
    (void)state;
    quantize(tiny_path(path, sizeof path, directory, "eight.dqg"), 8);
    check_file(path, 0.01);
}

static void test_four_bits(void **state) {
    char path[256];
    struct stat small;
    struct stat whole;
    (void)state;
    quantize(tiny_path(path, sizeof path, directory, "four.dqg"), 4);
    check_file(path, 0.08);
    assert_int_equal(stat(path, &small), 0);
    assert_int_equal(stat(checkpoint, &whole), 0);
    printf("4-bit file: %.4f of the checkpoint\n", (double)small.st_size / (double)whole.st_size);
    assert_true((double)small.st_size <= 0.30 * (double)whole.st_size);
}

/* The file in the repository is what the quantizer makes today. */
static void test_shipped_file(void **state) {
    (void)state;
    check_file("examples/models/sprites.dqg", 0.08);
}

/* High, low and high resolution again (Bottleneck Sampling, the stages of FLUX) with the shipped model: finite, pixels
 * not far outside of their range, some transparent and some not. */
static void test_three_sizes(void **state) {
    static const struct {
        int32_t size, steps;
        double strength, shift;
    } stages[3] = {{32, 6, 1, 9}, {16, 20, 0.8, 6}, {32, 8, 0.6, 9}};
    static float x[4 * 32 * 32];
    dqg_context *context;
    dqg_model *model;
    dqg_options *options, *plan;
    dqg_run *run = NULL;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_model_load(context, "examples/models/sprites.dqg", NULL, &model));
    assert_ok(dqg_options_create(context, DQG_OPTIONS_RUN, &options));
    assert_ok(dqg_model_scheduler_options(context, model, &plan));
    const int64_t label = dqg_model_class_find(model, "potion");
    assert_true(label >= 0);
    assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, &label, 1));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, 3));
    for (int i = 0; i < 3; i++) {
        int32_t size = stages[i].size;
        dqg_scheduler *scheduler;
        assert_ok(dqg_options_set_int(plan, DQG_SCHEDULER_STEPS, stages[i].steps));
        assert_ok(dqg_options_set_float(plan, DQG_SCHEDULER_SHIFT, stages[i].shift));
        assert_ok(dqg_scheduler_create(context, plan, &scheduler));
        assert_ok(i == 0 ? dqg_run_create(context, model, scheduler, options, &run)
                         : dqg_run_resize(run, size, size, scheduler, stages[i].strength));
        dqg_scheduler_release(scheduler);
        int steps = 1;
        for (; dqg_run_step(run) == DQG_OK; steps++) {
        }
        assert_int_equal(steps, (int)(stages[i].strength * stages[i].steps + 1e-9));
        dqg_tensor_view view = view_f32(x, 1, 4, size, size);
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
        int opaque = 0, area = size * size;
        for (int j = 0; j < 4 * area; j++) {
            assert_true(fabsf(x[j]) < 6); /* false for NaN */
            opaque += j >= 3 * area && x[j] > 0;
        }
        printf("%d x %d: %d of %d pixels opaque\n", (int)size, (int)size, opaque, area);
        assert_true(opaque > 0 && opaque < area);
    }
    dqg_run_destroy(run);
    dqg_options_destroy(plan);
    dqg_options_destroy(options);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float),        cmocka_unit_test(test_eight_bits),  cmocka_unit_test(test_four_bits),
        cmocka_unit_test(test_shipped_file), cmocka_unit_test(test_three_sizes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
