/* SPDX-License-Identifier: MIT */
/*
 * PixArt against diffusers: alpha, with embedded sizes and without, and Sigma, of reduced width, on the grid of training
 * and another; hidden tokens; tensors under both kinds of names; what tells the variants apart; counts at full size.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "model/model.h"
#include "npy.h"
#include "tensor/format.h"
#include "tiny_model.h"

static const double limit = 1e-4; /* largest relative error of the float path */

static void read_array(const char *name, const char *part, struct npy *array) {
    char path[256];
    snprintf(path, sizeof path, "tests/golden/pixart/%s_%s.npy", name, part);
    if (npy_read(path, array) != 0) {
        fail_msg("cannot read %s", path);
    }
}

static dqg_tensor_view view_of(const struct npy *array, float *data) {
    dqg_tensor_view view = view_f32(data, 1, 1, 1, 1);
    view.rank = array->rank;
    memcpy(view.shape, array->shape, sizeof(int64_t) * (size_t)array->rank);
    return view;
}

static double relative(const float *a, const float *b, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / norm);
}

/* What a network is given; sizes are there where it takes them. */
struct golden {
    struct npy t, context, mask, sizes;
    double timesteps[2], numbers[6];
    dqg_tensor_view context_view, mask_view;
    dqg_inputs inputs;
};

static void read_golden(const char *name, bool sizes, struct golden *golden) {
    read_array(name, "t", &golden->t);
    read_array(name, "context", &golden->context);
    read_array(name, "mask", &golden->mask);
    golden->context_view = view_of(&golden->context, golden->context.data);
    golden->mask_view = view_of(&golden->mask, golden->mask.data);
    DQG_INIT(&golden->inputs);
    golden->inputs.context = &golden->context_view;
    golden->inputs.mask = &golden->mask_view;
    for (int i = 0; i < 2; i++) {
        golden->timesteps[i] = golden->t.data[i];
    }
    if (sizes) {
        read_array(name, "sizes", &golden->sizes);
        for (int i = 0; i < 6; i++) { /* the quotient as it was before it became a 32-bit float */
            golden->numbers[i] = i % 3 == 2 ? golden->numbers[i - 2] / golden->numbers[i - 1] : golden->sizes.data[i];
        }
        golden->inputs.sizes = golden->numbers;
    }
}

static void free_golden(struct golden *golden) {
    free(golden->t.data);
    free(golden->context.data);
    free(golden->mask.data);
    free(golden->sizes.data);
}

/* The relative error of a network's answer; out, if not NULL, receives the answer, to be freed. */
static double evaluate(dqg_context *context, const dqg_model *model, const struct golden *golden, const char *base,
                       float **out) {
    struct npy x, expected;
    read_array(base, "x", &x);
    read_array(base, "out", &expected);
    float *answer = malloc((size_t)expected.count * sizeof *answer);
    dqg_tensor_view in = view_of(&x, x.data), to = view_of(&expected, answer);
    if (dqg_model_denoise(context, model, &in, golden->timesteps, &golden->inputs, NULL, NULL, &to) != DQG_OK) {
        fail_msg("%s: %s", base, dqg_context_error(context));
    }
    double error = relative(answer, expected.data, expected.count);
    free(x.data);
    free(expected.data);
    if (out != NULL) {
        *out = answer;
    } else {
        free(answer);
    }
    return error;
}

static dqg_model *load(dqg_context *context, const char *path) {
    dqg_model *model;
    if (dqg_model_load(context, path, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    return model;
}

static void check_case(const char *name, bool sizes, const char *shape_a, const char *shape_b) {
    const char *shapes[] = {shape_a, shape_b}, *kinds[] = {"own", "diffusers"};
    struct golden golden = {0};
    float *answers[2][2];
    dqg_context *context;
    assert_ok(dqg_context_create(NULL, &context));
    read_golden(name, sizes, &golden);
    for (int k = 0; k < 2; k++) {
        char path[256], base[64];
        snprintf(path, sizeof path, "tests/golden/pixart/%s_%s.safetensors", name, kinds[k]);
        dqg_model *model = load(context, path);
        for (int i = 0; i < 2; i++) {
            snprintf(base, sizeof base, "%s_%s", name, shapes[i]);
            double error = evaluate(context, model, &golden, base, &answers[k][i]);
            printf("%-18s %-10s relative error %.2e\n", base, kinds[k], error);
            assert_true(error < limit);
        }
        dqg_model_release(model);
    }
    for (int i = 0; i < 2; i++) {
        struct npy expected;
        char base[64];
        snprintf(base, sizeof base, "%s_%s", name, shapes[i]);
        read_array(base, "out", &expected);
        assert_memory_equal(answers[0][i], answers[1][i], (size_t)expected.count * sizeof(float));
        free(expected.data);
        free(answers[0][i]);
        free(answers[1][i]);
    }
    free_golden(&golden);
    dqg_context_destroy(context);
}

static void test_alpha(void **state) {
    (void)state;
    check_case("alpha", false, "8x8", "6x10");
}

static void test_alpha_with_sizes(void **state) {
    (void)state;
    check_case("alpha_sizes", true, "16x16", "12x4");
}

static void test_sigma(void **state) {
    (void)state;
    check_case("sigma", false, "12x12", "6x18");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alpha),
        cmocka_unit_test(test_alpha_with_sizes),
        cmocka_unit_test(test_sigma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
