/* SPDX-License-Identifier: MIT */
/* Graphs: what fusion leaves, and that the memory plan never gives two living values the same bytes. */
#include <stdlib.h>

#include "check.h"
#include "failing_alloc.h"
#include "model/model.h"
#include "tiny_model.h"

static struct dqg_model *load(dqg_context *context, bool quantized, const char *directory) {
    char float_path[256];
    char int4_path[256];
    dqg_model *model = NULL;
    dqg_quantizer *quantizer;
    assert_int_equal(tiny_dit_write_default(tiny_path(float_path, sizeof float_path, directory, "g.safetensors")), 0);
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, float_path, tiny_path(int4_path, sizeof int4_path, directory, "g.dqg")));
    dqg_quantizer_destroy(quantizer);
    assert_ok(dqg_model_load(context, quantized ? int4_path : float_path, NULL, &model));
    return model;
}

static int count_kind(const struct dqg_graph *graph, enum dqg_node_kind kind) {
    int count = 0;
    for (int32_t i = 0; i < graph->node_count; i++) {
        count += graph->nodes[i].kind == kind;
    }
    return count;
}

static bool in_place(const struct dqg_node *node, int32_t value) {
    return node->residual == value && node->x != value;
}

/* Values read or written by one node or alive across it must not overlap, but for a residual sum in place. */
static void check_plan(const struct dqg_graph *graph) {
    for (int32_t i = 0; i < graph->value_count; i++) {
        const struct dqg_value *a = &graph->values[i];
        for (int32_t j = 0; j < i; j++) {
            const struct dqg_value *b = &graph->values[j];
            if (a->last_use < 0 || b->last_use < 0 || a->last_use < b->producer || b->last_use < a->producer) {
                continue;
            }
            bool sum = (a->producer == b->last_use && in_place(&graph->nodes[a->producer], j)) ||
                       (b->producer == a->last_use && in_place(&graph->nodes[b->producer], i));
            bool apart = a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset;
            assert_true(apart || (sum && a->offset == b->offset));
        }
        assert_true(a->last_use < 0 || a->offset + a->bytes <= graph->memory_bytes);
        assert_int_equal(a->offset % DQG_ALIGNMENT, 0);
    }
}

static void check(bool quantized) {
    char directory[128];
    dqg_context *context;
    struct dqg_graph graph;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    assert_ok(dqg_context_create(NULL, &context));
    struct dqg_model *model = load(context, quantized, directory);
    for (size_t samples = 1; samples < 6; samples += 2) {
        for (size_t side = 4; side <= 16; side += 4) {
            struct dqg_graph_config config = {.samples = samples, .height = side, .width = side + 2};
            assert_ok(dqg_model_graph(context, model, &config, &graph));
            check_plan(&graph);
            /* Activations, gates, residuals and the position table are in the products. */
            assert_int_equal(count_kind(&graph, DQG_NODE_ADD), 0);
            assert_int_equal(count_kind(&graph, DQG_NODE_ADD_TABLE), 0);
            assert_int_equal(count_kind(&graph, DQG_NODE_ACTIVATE), 1);
            assert_int_equal(count_kind(&graph, DQG_NODE_LINEAR), 3 + 2 * 5 + 2);
            /* Norms write int8; attention, GELU and the condition (shared by all blocks) are quantized apart. */
            assert_int_equal(count_kind(&graph, DQG_NODE_QUANTIZE), quantized ? 2 * 2 + 1 : 0);
            dqg_graph_free(&graph);
        }
    }
    struct dqg_graph_config odd = {.samples = 1, .height = 7, .width = 8};
    assert_fails(context, dqg_model_graph(context, model, &odd, &graph), DQG_ERROR_RANGE);
    dqg_model_release(model);
    dqg_context_destroy(context);
    tiny_dir_remove(directory);
}

static void test_float(void **state) {
    (void)state;
    check(false);
}

static void test_quantized(void **state) {
    (void)state;
    check(true);
}

/* Patches follow the order of the weights that embed them, whatever they are stored in. */
static void test_patches(void **state) {
    static const char *const formats[] = {"f32", "int8", "int4:32"};
    static const double limits[] = {0.0, 0.02, 0.15};
    static float x[4 * 64], out[3][4 * 64];
    const double timestep = 500.0;
    const int32_t label = 1;
    char directory[128], float_path[256], path[256];
    dqg_context *context;
    (void)state;
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        x[i] = (float)(i * 37 % 251) / 125.0f - 1.0f; /* other values in each channel */
    }
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    assert_ok(dqg_context_create(NULL, &context));
    assert_int_equal(tiny_dit_write_default(tiny_path(float_path, sizeof float_path, directory, "p.safetensors")), 0);
    for (int i = 0; i < 3; i++) {
        dqg_quantizer *quantizer;
        dqg_model *model;
        assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
        assert_ok(dqg_quantizer_add_rule(quantizer, "x_embedder.proj.weight", formats[i]));
        assert_ok(dqg_quantizer_add_rule(quantizer, "*", "f32"));
        assert_ok(dqg_quantizer_run(quantizer, float_path, tiny_path(path, sizeof path, directory, "p.dqg")));
        dqg_quantizer_destroy(quantizer);
        assert_ok(dqg_model_load(context, path, NULL, &model));
        dqg_tensor_view in = view_f32(x, 1, 4, 8, 8), result = view_f32(out[i], 1, 4, 8, 8);
        assert_ok(dqg_model_evaluate(context, model, &in, &timestep, &label, NULL, NULL, &result));
        dqg_model_release(model);
        double difference = 0.0, norm = 0.0;
        for (size_t j = 0; j < sizeof x / sizeof *x; j++) {
            difference += ((double)out[i][j] - out[0][j]) * ((double)out[i][j] - out[0][j]);
            norm += (double)out[0][j] * out[0][j];
        }
        assert_true(norm > 0.0 && difference <= limits[i] * limits[i] * norm);
    }
    dqg_context_destroy(context);
    tiny_dir_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_float), cmocka_unit_test(test_quantized),
                                       cmocka_unit_test(test_patches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
