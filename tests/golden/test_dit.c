/* SPDX-License-Identifier: MIT */
/* The DiT graph against PyTorch: random weights, every backend, float path within 1e-4. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "relative.h"

/* Largest relative error of the float path: || a - b || / || b ||. */
static const double limit = 1e-4;

static void read_array(const char *name, const char *part, struct npy *array) {
    *array = golden_array("dit/%s_%s", name, part);
}

struct golden {
    struct npy x, t, y, out;
    double timesteps[16];
    int32_t labels[16];
};

static void read_golden(const char *name, int32_t classes, struct golden *golden) {
    read_array(name, "x", &golden->x);
    read_array(name, "t", &golden->t);
    read_array(name, "y", &golden->y);
    read_array(name, "out", &golden->out);
    assert_true(golden->t.count <= 16);
    for (int64_t i = 0; i < golden->t.count; i++) {
        golden->timesteps[i] = golden->t.data[i];
        int32_t label = (int32_t)golden->y.data[i];
        golden->labels[i] = label < classes ? label : -1;
    }
}

static void free_golden(struct golden *golden) {
    free(golden->x.data);
    free(golden->t.data);
    free(golden->y.data);
    free(golden->out.data);
}

static dqg_tensor_view view_of(struct npy *array, float *data) {
    return view_f32(data, array->shape[0], array->shape[1], array->shape[2], array->shape[3]);
}

static void check_model(const char *name) {
    char path[256];
    dqg_context *context;
    dqg_model *model;
    dqg_model_info info;
    struct golden golden;
    snprintf(path, sizeof path, "tests/golden/dit/%s.safetensors", name);
    assert_ok(dqg_context_create(NULL, &context));
    if (dqg_model_load(context, path, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    DQG_INIT(&info);
    assert_ok(dqg_model_get_info(model, &info));
    read_golden(name, info.classes, &golden);
    float *out = malloc((size_t)golden.out.count * sizeof *out);
    for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
        assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
        memset(out, 0xff, (size_t)golden.out.count * sizeof *out);
        dqg_tensor_view x = view_of(&golden.x, golden.x.data);
        dqg_tensor_view y = view_of(&golden.out, out);
        assert_ok(dqg_model_evaluate(context, model, &x, golden.timesteps, golden.labels, NULL, NULL, &y));
        double error = relative(out, golden.out.data, golden.out.count);
        printf("%-12s %-8s relative error %.2e\n", name, dqg_backend_name(i), error);
        assert_true(error < limit);
    }
    free(out);
    free_golden(&golden);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

static void test_plain(void **state) {
    (void)state;
    check_model("tiny");
}

static void test_learned_sigma(void **state) {
    (void)state;
    check_model("tiny_sigma");
}

static void test_odd_sizes(void **state) {
    (void)state;
    check_model("odd");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_learned_sigma),
        cmocka_unit_test(test_odd_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
