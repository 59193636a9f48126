/* SPDX-License-Identifier: MIT */
/*
 * Published U-Nets by the shapes of their tensors alone: recognised, every tensor used, the number of parameters; and
 * the form of their graphs: what depends on the prompt alone stands first, parts that can be left out or made worse.
 */
#include <stdio.h>
#include <stdlib.h>

#include "context_check.h"
#include "model/cut.h"
#include "model/model.h"

enum { TENSORS_MAX = 2048, NAME_BYTES = 144, LEVELS_MAX = 4, MOST_SKIPS = 16 };

/* ---- tensors of a network, under the authors' names ---- */

struct form {
    int64_t widths[LEVELS_MAX];
    int levels;
    int layers[LEVELS_MAX], middle; /* transformer layers */
    int64_t channels, context, label;
    bool linear; /* projections around transformers are matrices */
};

static const struct form sd1 = {{320, 640, 1280, 1280}, 4, {1, 1, 1, 0}, 1, 4, 768, 0, false},
                         sd2 = {{320, 640, 1280, 1280}, 4, {1, 1, 1, 0}, 1, 4, 1024, 0, true},
                         inpainting = {{320, 640, 1280, 1280}, 4, {1, 1, 1, 0}, 1, 9, 768, 0, false},
                         sdxl = {{320, 640, 1280}, 3, {0, 2, 10}, 10, 4, 2048, 2816, true},
                         unclip = {{320, 640, 1280, 1280}, 4, {1, 1, 1, 0}, 1, 4, 1024, 2048, true},
                         refiner = {{384, 768, 1536, 1536}, 4, {0, 4, 4, 0}, 4, 4, 1280, 2560, true};

struct list {
    struct dqg_tensor_desc tensors[TENSORS_MAX];
    char names[TENSORS_MAX][NAME_BYTES];
    size_t count;
};

static struct list list;

static void add(const char *name, const char *part, int rank, int64_t rows, int64_t columns, int64_t kernel) {
    struct dqg_tensor_desc *desc = &list.tensors[list.count];
    assert_true(list.count < TENSORS_MAX);
    snprintf(list.names[list.count], NAME_BYTES, "model.diffusion_model.%.80s.%.24s", name, part);
    *desc = (struct dqg_tensor_desc){.name = list.names[list.count++],
                                     .dtype = DQG_DTYPE_F16,
                                     .rank = rank,
                                     .shape = {rows, columns, kernel, kernel},
                                     .scale = 1,
                                     .type_name = "F16"};
    uint64_t count = (uint64_t)(rank > 1 ? rows * columns : rows) * (uint64_t)(rank > 2 ? kernel * kernel : 1);
    desc->plane_bytes[0] = desc->stored_bytes = 2 * count;
}

static void add_vectors(const char *name, int64_t rows) {
    add(name, "weight", 1, rows, 0, 0);
    add(name, "bias", 1, rows, 0, 0);
}

static void add_linear(const char *name, int64_t rows, int64_t columns) {
    add(name, "weight", 2, rows, columns, 0);
    add(name, "bias", 1, rows, 0, 0);
}

static void add_conv(const char *name, int64_t rows, int64_t columns, int64_t kernel) {
    add(name, "weight", 4, rows, columns, kernel);
    add(name, "bias", 1, rows, 0, 0);
}

static const char *inner(const char *name, const char *part) {
    static char full[NAME_BYTES];
    snprintf(full, sizeof full, "%.80s.%.24s", name, part);
    return full;
}

static void add_residual(const char *name, int64_t in, int64_t out, int64_t embedding) {
    add_vectors(inner(name, "in_layers.0"), in);
    add_conv(inner(name, "in_layers.2"), out, in, 3);
    add_linear(inner(name, "emb_layers.1"), out, embedding);
    add_vectors(inner(name, "out_layers.0"), out);
    add_conv(inner(name, "out_layers.3"), out, out, 3);
    if (in != out) {
        add_conv(inner(name, "skip_connection"), out, in, 1);
    }
}

static void add_attention(const char *name, int64_t d, int64_t rows) {
    add(name, "to_q.weight", 2, d, d, 0);
    add(name, "to_k.weight", 2, d, rows, 0);
    add(name, "to_v.weight", 2, d, rows, 0);
    add_linear(inner(name, "to_out.0"), d, d);
}

static void add_transformer(const struct form *form, const char *name, int64_t d, int layers) {
    static const char *const projections[] = {"proj_in", "proj_out"};
    add_vectors(inner(name, "norm"), d);
    for (int i = 0; i < 2; i++) {
        if (form->linear) {
            add_linear(inner(name, projections[i]), d, d);
        } else {
            add_conv(inner(name, projections[i]), d, d, 1);
        }
    }
    for (int i = 0; i < layers; i++) {
        char layer[NAME_BYTES], attention[NAME_BYTES + 8];
        snprintf(layer, sizeof layer, "%.80s.transformer_blocks.%d", name, i);
        snprintf(attention, sizeof attention, "%s.attn1", layer);
        add_attention(attention, d, d);
        snprintf(attention, sizeof attention, "%s.attn2", layer);
        add_attention(attention, d, form->context);
        add_vectors(inner(layer, "norm1"), d);
        add_vectors(inner(layer, "norm2"), d);
        add_vectors(inner(layer, "norm3"), d);
        add_linear(inner(layer, "ff.net.0.proj"), 8 * d, d);
        add_linear(inner(layer, "ff.net.2"), d, 4 * d);
    }
}

/* A ResBlock and its transformer. */
static void add_block(const struct form *form, const char *list_name, int block, int level, int64_t in, int layers) {
    char name[64];
    int64_t d = form->widths[level];
    snprintf(name, sizeof name, "%s.%d.0", list_name, block);
    add_residual(name, in, d, 4 * form->widths[0]);
    snprintf(name, sizeof name, "%s.%d.1", list_name, block);
    if (layers > 0) {
        add_transformer(form, name, d, layers);
    }
}

static void add_ends(const struct form *form) {
    int64_t first = form->widths[0], embedding = 4 * first;
    add_linear("time_embed.0", embedding, first);
    add_linear("time_embed.2", embedding, embedding);
    if (form->label > 0) {
        add_linear("label_emb.0.0", embedding, form->label);
        add_linear("label_emb.0.2", embedding, embedding);
    }
    add_conv("input_blocks.0.0", first, form->channels, 3);
    add_vectors("out.0", first);
    add_conv("out.2", 4, first, 3);
}

static void add_network(const struct form *form) {
    char name[64];
    int64_t skips[MOST_SKIPS] = {form->widths[0]}, d = form->widths[0], embedding = 4 * d;
    int block = 1, skip_count = 1;
    list.count = 0;
    add_ends(form);
    for (int level = 0; level < form->levels; level++) {
        for (int i = 0; i < 2; i++, block++) {
            add_block(form, "input_blocks", block, level, d, form->layers[level]);
            skips[skip_count++] = d = form->widths[level];
        }
        if (level + 1 < form->levels) {
            snprintf(name, sizeof name, "input_blocks.%d.0.op", block++);
            add_conv(name, d, d, 3);
            skips[skip_count++] = d;
        }
    }
    add_residual("middle_block.0", d, d, embedding);
    add_transformer(form, "middle_block.1", d, form->middle);
    add_residual("middle_block.2", d, d, embedding);
    block = 0;
    for (int level = form->levels - 1; level >= 0; level--) {
        for (int i = 0; i < 3; i++, block++) {
            add_block(form, "output_blocks", block, level, d + skips[--skip_count], form->layers[level]);
            d = form->widths[level];
        }
        if (level > 0) {
            snprintf(name, sizeof name, "output_blocks.%d.%d.conv", block - 1, form->layers[level] > 0 ? 2 : 1);
            add_conv(name, d, d, 3);
        }
    }
}

/* ---- a model without weights ---- */

struct empty {
    struct dqg_source source;
    struct dqg_checkpoint checkpoint;
    struct dqg_model model;
};

static void no_planes(void *user, const struct dqg_tensor_desc *desc, enum dqg_plane plane, void *out, size_t size) {
    (void)user, (void)desc, (void)plane, (void)out, (void)size;
    fail_msg("weights were read");
}

/* quantized: matrices with as many channels as groups want are int4. */
static void fill_model(struct empty *empty, bool quantized, struct dqg_metadata *metadata) {
    const struct dqg_source *canonical = &empty->checkpoint.canonical;
    struct dqg_model *model = &empty->model;
    *model = (struct dqg_model){.alloc = context->alloc,
                                .family = empty->checkpoint.components[0].family,
                                .metadata = metadata,
                                .metadata_count = metadata != NULL,
                                .weights = calloc(canonical->tensor_count, sizeof *model->weights),
                                .weight_count = canonical->tensor_count};
    for (size_t i = 0; i < canonical->tensor_count; i++) {
        struct dqg_weight *weight = &model->weights[i];
        const struct dqg_tensor_desc *desc = &canonical->tensors[i];
        bool packed = quantized && desc->rank > 1 && desc->shape[1] % 32 == 0;
        *weight = (struct dqg_weight){.name = desc->name,
                                      .dtype = packed ? DQG_DTYPE_INT4 : DQG_DTYPE_F16,
                                      .group = packed ? 32 : 0,
                                      .rank = desc->rank};
        memcpy(weight->shape, desc->shape, sizeof weight->shape);
        assert_true(dqg_matrix_size(weight->dtype, weight->group, weight->rank, weight->shape, &weight->size) ||
                    weight->rank == 1);
        model->parameters += dqg_weight_count(weight);
    }
}

static void open_empty(struct empty *empty, const struct form *form, bool quantized, struct dqg_metadata *metadata) {
    add_network(form);
    assert_ok(dqg_source_open_made(context, list.tensors, list.count, no_planes, NULL, &empty->source));
    if (dqg_checkpoint_open(context, &empty->source, &empty->checkpoint) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_int_equal(empty->checkpoint.count, 1);
    assert_string_equal(empty->checkpoint.components[0].family->name, "unet");
    fill_model(empty, quantized, metadata);
    if (empty->model.family->configure(context, &empty->model) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
}

static void close_empty(struct empty *empty) {
    free(empty->model.weights);
    dqg_checkpoint_close(&empty->checkpoint);
    dqg_source_close(&empty->source);
}

static void make_graph(const struct empty *empty, const struct dqg_perturbation *perturbation,
                       struct dqg_graph *graph) {
    const struct dqg_graph_config config = {.samples = 2, .perturbation = perturbation};
    if (dqg_model_graph(context, &empty->model, &config, graph) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
}

static int count_nodes(const struct dqg_graph *graph, enum dqg_node_kind kind) {
    int count = 0;
    for (int32_t i = 0; i < graph->node_count; i++) {
        count += graph->nodes[i].kind == kind;
    }
    return count;
}

/* ---- sizes ---- */

/* Every matrix is a node's, so that none was passed over. */
static void check_all_used(const struct empty *empty, const struct dqg_graph *graph) {
    size_t matrices = 0;
    for (size_t i = 0; i < empty->model.weight_count; i++) {
        matrices += empty->model.weights[i].rank > 1;
    }
    assert_int_equal(matrices, count_nodes(graph, DQG_NODE_LINEAR) + count_nodes(graph, DQG_NODE_CONV));
}

static void check_sizes(const struct form *form, uint64_t parameters, size_t side, size_t pooled, size_t sizes,
                        size_t width, size_t heads) {
    struct empty empty;
    struct dqg_graph graph;
    open_empty(&empty, form, false, NULL);
    const struct dqg_hyper *hyper = &empty.model.hyper;
    assert_int_equal(empty.model.parameters, parameters);
    assert_int_equal(hyper->channels, 4);
    assert_int_equal(hyper->extra_channels, form->channels - 4);
    assert_int_equal(hyper->out_channels, 4);
    assert_int_equal(hyper->context_width, form->context);
    assert_int_equal(hyper->context_tokens, 77);
    assert_int_equal(hyper->height, side);
    assert_int_equal(hyper->pooled_width, pooled);
    assert_int_equal(hyper->size_count, sizes);
    make_graph(&empty, NULL, &graph);
    check_all_used(&empty, &graph);
    for (int32_t i = 0; i < graph.node_count; i++) {
        const struct dqg_node *node = &graph.nodes[i];
        if (node->kind == DQG_NODE_ATTENTION && graph.values[node->out].columns == width) {
            assert_int_equal(node->heads, heads);
        }
    }
    dqg_graph_free(&graph);
    close_empty(&empty);
}

static void test_sizes(void **state) {
    (void)state;
    check_sizes(&sd1, 859520964, 64, 0, 0, 640, 8);
    check_sizes(&sd2, 865910724, 64, 0, 0, 640, 10);
    check_sizes(&inpainting, 859520964 + 5 * 9 * 320, 64, 0, 0, 1280, 8);
    check_sizes(&sdxl, 2567463684, 128, 1280, 6, 1280, 20);
    check_sizes(&unclip, 865910724 + 2048 * 1280 + 1280 + 1280 * 1280 + 1280, 64, 2048, 0, 1280, 20);
    check_sizes(&refiner, 2259526660, 128, 1280, 5, 1536, 24);
}

/* ---- what configuration files say ---- */

static const char *scheduler_option(const struct empty *empty, const char *key) {
    for (const char *const(*pair)[2] = empty->model.hyper.scheduler; (*pair)[0] != NULL; pair++) {
        if (strcmp((*pair)[0], key) == 0) {
            return (*pair)[1];
        }
    }
    return "";
}

static void test_settings(void **state) {
    static char scheduler[] = "scheduler/scheduler_config.json", config[] = "unet/config.json";
    struct dqg_metadata v = {scheduler, "{\"beta_end\": 0.012, \"prediction_type\": \"v_prediction\"}"};
    struct dqg_metadata epsilon = {scheduler, "{\"prediction_type\": \"epsilon\"}"};
    struct dqg_metadata bad = {scheduler, "{\"prediction_type\": "};
    struct dqg_metadata size = {config, "{\"attention_head_dim\": [5, 10, 20, 20], \"sample_size\": 96}"};
    struct empty empty;
    (void)state;
    open_empty(&empty, &sd2, false, &v);
    assert_string_equal(scheduler_option(&empty, "prediction"), "v");
    assert_string_equal(scheduler_option(&empty, "schedule"), "scaled-linear");
    close_empty(&empty);
    open_empty(&empty, &sd2, false, &epsilon);
    assert_string_equal(scheduler_option(&empty, "prediction"), "epsilon");
    close_empty(&empty);
    open_empty(&empty, &sdxl, false, &bad);
    assert_string_equal(scheduler_option(&empty, "prediction"), "epsilon");
    assert_string_equal(scheduler_option(&empty, "solver"), "euler");
    close_empty(&empty);
    open_empty(&empty, &sd2, false, &size);
    assert_int_equal(empty.model.hyper.height, 96);
    close_empty(&empty);
}

static void test_heads_that_do_not_fit(void **state) {
    static const char *const bad[] = {"7", "[5, 10, 21, 20]", "-8", "[8.5]"};
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(bad); i++) {
        struct dqg_metadata metadata = {"num_attention_heads", bad[i]};
        struct empty empty;
        struct dqg_graph graph;
        const struct dqg_graph_config one = {.samples = 1};
        open_empty(&empty, &sd2, false, &metadata);
        dqg_status status = dqg_model_graph(context, &empty.model, &one, &graph);
        assert_int_equal(status, DQG_ERROR_FORMAT);
        assert_non_null(strstr(dqg_context_error(context), "'num_attention_heads'"));
        dqg_error_clear(context);
        close_empty(&empty);
    }
}

/* ---- files that are not whole ---- */

/* Is there a network in the list, with a graph? The message says what is wrong with it. */
static bool has_network(void) {
    const struct dqg_graph_config one = {.samples = 1};
    struct empty empty;
    struct dqg_graph graph;
    assert_ok(dqg_source_open_made(context, list.tensors, list.count, no_planes, NULL, &empty.source));
    bool is = dqg_checkpoint_open(context, &empty.source, &empty.checkpoint) == DQG_OK;
    if (is) {
        fill_model(&empty, false, NULL);
        is = empty.model.family->configure(context, &empty.model) == DQG_OK &&
             dqg_model_graph(context, &empty.model, &one, &graph) == DQG_OK;
        if (is) {
            dqg_graph_free(&graph);
        }
        close_empty(&empty);
    } else {
        dqg_source_close(&empty.source);
    }
    assert_true(is || strlen(dqg_context_error(context)) > 8);
    dqg_error_clear(context);
    return is;
}

static const struct form small = {{64, 128}, 2, {1, 0}, 2, 4, 40, 6 * 256 + 24, true};

static void test_missing(void **state) {
    (void)state;
    add_network(&small);
    assert_true(has_network());
    for (size_t i = 0, count = list.count; i < count; i++) {
        struct dqg_tensor_desc left_out = list.tensors[i];
        list.tensors[i] = list.tensors[--list.count];
        if (has_network()) {
            fail_msg("%s is not missed", left_out.name);
        }
        list.tensors[list.count++] = list.tensors[i];
        list.tensors[i] = left_out;
    }
}

/* Tensors of inputs that are not known are not passed over. */
static void test_unknown(void **state) {
    (void)state;
    add_network(&small);
    add("encoder_hid_proj", "weight", 2, 64, 64, 0);
    assert_false(has_network());
    add_network(&small);
    add("time_embedding.cond_proj", "weight", 2, 64, 256, 0);
    assert_false(has_network());
    add_network(&small);
    add("input_blocks.1.2", "qkv.weight", 2, 192, 64, 0);
    assert_false(has_network());
}

static void test_wrong_shapes(void **state) {
    (void)state;
    add_network(&small);
    for (size_t i = 0; i < list.count; i++) {
        struct dqg_tensor_desc *desc = &list.tensors[i], right = *desc;
        desc->shape[0] += 32;
        desc->plane_bytes[0] = right.plane_bytes[0] / (uint64_t)right.shape[0] * (uint64_t)desc->shape[0];
        desc->stored_bytes = desc->plane_bytes[0];
        if (has_network()) {
            fail_msg("%s may have any shape", desc->name);
        }
        *desc = right;
    }
}

/* ---- form of graphs ---- */

/* Does a node read, by itself or through others, the timesteps or the latent? */
static void check_order(const struct dqg_graph *graph) {
    bool *varies = calloc((size_t)graph->value_count, sizeof *varies);
    bool before = true;
    int constants = 0;
    for (int32_t i = 0; i < graph->node_count; i++) {
        const struct dqg_node *node = &graph->nodes[i];
        int32_t inputs[DQG_NODE_INPUTS];
        bool own =
            node->kind == DQG_NODE_PATCHIFY || (node->kind == DQG_NODE_TIMESTEP && node->input == DQG_INPUT_TIMESTEPS);
        dqg_node_inputs(node, inputs);
        for (int k = 0; k < DQG_NODE_INPUTS; k++) {
            own = own || (inputs[k] != DQG_NO_VALUE && varies[inputs[k]]);
        }
        varies[node->out] = own;
        before = before && !own;
        assert_true(before != own);
        constants += !own;
    }
    assert_true(constants > 30 && constants < graph->node_count / 2);
    free(varies);
}

/* What lies below each skip connection can be left out. */
static void check_branches(const struct dqg_graph *graph, int32_t skips) {
    assert_int_equal(graph->branches.count, skips);
    for (int32_t i = 0; i < skips; i++) {
        const struct dqg_span *span = &graph->branches.spans[i];
        struct dqg_cut cut;
        if (dqg_cut_make(context, graph, span->enter, span->enter, span->leave, &cut) != DQG_OK) {
            fail_msg("branch %d: %s", (int)i, dqg_context_error(context));
        }
        assert_true(i == 0 || span->enter < graph->branches.spans[i - 1].enter);
    }
}

static void test_graph(void **state) {
    const struct form *const forms[] = {&sd1, &sdxl, &refiner};
    const int32_t skips[] = {12, 9, 12};
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct empty empty;
        struct dqg_graph graph;
        open_empty(&empty, forms[i / 2], i % 2 == 1, NULL);
        make_graph(&empty, NULL, &graph);
        check_order(&graph);
        check_branches(&graph, skips[i / 2]);
        dqg_graph_free(&graph);
        close_empty(&empty);
    }
}

/* Layers of transformers are what perturbed evaluations change; keys and values of those left out are not computed. */
static void test_perturbed(void **state) {
    static const int64_t blocks[] = {0, 6, 15}, outside[] = {16};
    struct dqg_perturbation perturbation = {DQG_PERTURB_ATTENTION, blocks, 3};
    struct empty empty;
    struct dqg_graph plain, graph;
    (void)state;
    open_empty(&empty, &sd1, false, NULL);
    make_graph(&empty, NULL, &plain);
    make_graph(&empty, &perturbation, &graph);
    int identities = 0;
    for (int32_t i = 0; i < graph.node_count; i++) {
        identities += graph.nodes[i].identity;
        assert_true(!graph.nodes[i].identity || graph.nodes[i].self);
    }
    assert_int_equal(identities, 3);
    assert_int_equal(graph.node_count, plain.node_count);
    dqg_graph_free(&graph);
    perturbation.kind = DQG_PERTURB_SKIP;
    make_graph(&empty, &perturbation, &graph);
    assert_int_equal(count_nodes(&plain, DQG_NODE_ATTENTION) - count_nodes(&graph, DQG_NODE_ATTENTION), 3 * 2);
    assert_int_equal(count_nodes(&plain, DQG_NODE_LINEAR) - count_nodes(&graph, DQG_NODE_LINEAR), 3 * 10);
    dqg_graph_free(&graph);
    perturbation = (struct dqg_perturbation){DQG_PERTURB_SKIP, outside, 1};
    const struct dqg_graph_config config = {.samples = 1, .perturbation = &perturbation};
    assert_fails(context, dqg_model_graph(context, &empty.model, &config, &graph), DQG_ERROR_RANGE);
    dqg_error_clear(context);
    dqg_graph_free(&plain);
    close_empty(&empty);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_settings),  cmocka_unit_test(test_heads_that_do_not_fit),
        cmocka_unit_test(test_missing), cmocka_unit_test(test_unknown),   cmocka_unit_test(test_wrong_shapes),
        cmocka_unit_test(test_graph),   cmocka_unit_test(test_perturbed),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
