/* SPDX-License-Identifier: MIT */
/*
 * PixArt against diffusers: alpha, with embedded sizes and without, and Sigma, of reduced width, on their own grid and
 * another, with hidden tokens, under both kinds of names; perturbed and partial graphs; at 4 bits.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "model/model.h"
#include "tiny_model.h"
#include "relative.h"

static const double limit = 1e-4; /* largest relative error of the float path */

static void read_array(const char *name, const char *part, struct npy *array) {
    *array = golden_array("pixart/%s_%s", name, part);
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
    golden->context_view = golden_view(&golden->context, golden->context.data);
    golden->mask_view = golden_view(&golden->mask, golden->mask.data);
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
    dqg_tensor_view in = golden_view(&x, x.data), to = golden_view(&expected, answer);
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

/* ---- graphs ---- */

/* Where the last operator of this name stands, or -1. */
static int32_t place_of(const struct dqg_graph *graph, const char *name) {
    int32_t place = -1;
    for (int32_t i = 0; i < graph->node_count; i++) {
        place = strcmp(graph->nodes[i].name, name) == 0 ? i : place;
    }
    return place;
}

static int32_t count_nodes(dqg_context *context, const dqg_model *model, const struct dqg_graph_config *config) {
    struct dqg_graph graph;
    if (dqg_model_graph(context, model, config, &graph) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    /* What depends on the prompt alone comes first. */
    assert_true(place_of(&graph, "blocks.0.cross_attn.kv_linear") < place_of(&graph, "timestep"));
    int32_t count = graph.node_count;
    assert_int_equal(graph.blocks.count, config->perturbation != NULL && config->perturbation->kind ? 1 : 2);
    dqg_graph_free(&graph);
    return count;
}

static void test_graphs(void **state) {
    static const int64_t second = 1;
    struct dqg_perturbation skip = {DQG_PERTURB_SKIP, &second, 1}, identity = {DQG_PERTURB_ATTENTION, &second, 1};
    struct dqg_graph_config config = {.samples = 1};
    dqg_context *context;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, "tests/golden/pixart/alpha_own.safetensors");
    int32_t whole = count_nodes(context, model, &config);
    config.perturbation = &identity;
    assert_int_equal(count_nodes(context, model, &config), whole);
    config.perturbation = &skip;
    assert_int_equal(count_nodes(context, model, &config), whole - 13); /* the other's table is folded, too */
    config.perturbation = NULL;
    config.keep_keys = true;
    config.active_tokens = 3;
    assert_int_equal(count_nodes(context, model, &config), whole + 1);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

/* ---- 4 bits ---- */

static double quantized_error(dqg_context *context, const char *from, const char *rule, const char *format,
                              const struct golden *golden, const char *base) {
    char directory[128], path[192], to[192];
    dqg_quantizer *quantizer;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    snprintf(path, sizeof path, "tests/golden/pixart/%s.safetensors", from);
    tiny_path(to, sizeof to, directory, "small.dqg");
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    if (rule != NULL) {
        assert_ok(dqg_quantizer_add_rule(quantizer, rule, format));
    }
    if (dqg_quantizer_run(quantizer, path, to) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    dqg_model *model = load(context, to);
    double error = evaluate(context, model, golden, base, NULL);
    dqg_model_release(model);
    dqg_quantizer_destroy(quantizer);
    tiny_dir_remove(directory);
    return error;
}

static void test_quantized(void **state) {
    static const char *const names[][2] = {{"alpha", "alpha_8x8"}, {"sigma", "sigma_6x18"}};
    (void)state;
    dqg_context *context;
    assert_ok(dqg_context_create(NULL, &context));
    for (size_t i = 0; i < 2; i++) {
        struct golden golden = {0};
        char own[32], other[32];
        snprintf(own, sizeof own, "%s_own", names[i][0]);
        snprintf(other, sizeof other, "%s_diffusers", names[i][0]);
        read_golden(names[i][0], false, &golden);
        double int4 = quantized_error(context, own, NULL, NULL, &golden, names[i][1]);
        double int8 = quantized_error(context, own, "*", "int8", &golden, names[i][1]);
        printf("%s relative error with int4 %.3f, with int8 %.4f\n", names[i][1], int4, int8);
        assert_true(quantized_error(context, other, NULL, NULL, &golden, names[i][1]) == int4);
        assert_true(int4 < 0.14 && int8 < 0.02); /* a cosine of 0.99 */
        free_golden(&golden);
    }
    dqg_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alpha),  cmocka_unit_test(test_alpha_with_sizes), cmocka_unit_test(test_sigma),
        cmocka_unit_test(test_graphs), cmocka_unit_test(test_quantized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
