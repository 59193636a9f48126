/* SPDX-License-Identifier: MIT */
/*
 * FLUX.1 of full size by the shapes of its tensors alone: dev, schnell and Fill under the names of their authors and of
 * diffusers, with what other programs put in front; parameters, multiplications of an evaluation, what is refused.
 */
#include <stdio.h>
#include <stdlib.h>

#include "context_check.h"
#include "model/model.h"

enum { TENSORS_MAX = 1400, D = 3072, MLP = 12288, HEAD = 128, DOUBLE = 19, SINGLE = 38 };

struct list {
    struct dqg_tensor_desc tensors[TENSORS_MAX];
    char names[TENSORS_MAX][128];
    size_t count;
};

static struct list list;
static const char *prefix;

/* columns 0: a vector */
static void add(const char *name, int64_t rows, int64_t columns) {
    struct dqg_tensor_desc *desc = &list.tensors[list.count];
    assert_true(list.count < TENSORS_MAX);
    snprintf(list.names[list.count], sizeof list.names[0], "%s%s", prefix, name);
    *desc = (struct dqg_tensor_desc){.name = list.names[list.count],
                                     .dtype = DQG_DTYPE_BF16,
                                     .rank = columns > 0 ? 2 : 1,
                                     .shape = {rows, columns},
                                     .scale = 1,
                                     .type_name = "BF16"};
    desc->plane_bytes[0] = desc->stored_bytes = 2 * (uint64_t)rows * (uint64_t)(columns > 0 ? columns : 1);
    list.count++;
}

static void add_linear(const char *block, const char *part, int64_t rows, int64_t columns) {
    char name[128];
    snprintf(name, sizeof name, "%s%s.weight", block, part);
    add(name, rows, columns);
    snprintf(name, sizeof name, "%s%s.bias", block, part);
    add(name, rows, 0);
}

static void add_scale(const char *block, const char *part) {
    char name[128];
    snprintf(name, sizeof name, "%s%s", block, part);
    add(name, HEAD, 0);
}

static void add_original_stream(const char *block, const char *stream) {
    char at[96];
    snprintf(at, sizeof at, "%s%s", block, stream);
    add_linear(at, "_mod.lin", 6 * D, D);
    add_linear(at, "_attn.qkv", 3 * D, D);
    add_scale(at, "_attn.norm.query_norm.scale");
    add_scale(at, "_attn.norm.key_norm.scale");
    add_linear(at, "_attn.proj", D, D);
    add_linear(at, "_mlp.0", MLP, D);
    add_linear(at, "_mlp.2", D, MLP);
}

static void add_original(int64_t columns, bool guided, int blocks) {
    char block[64];
    add_linear("", "img_in", D, columns);
    add_linear("", "txt_in", D, 4096);
    for (int i = 0; i < (guided ? 3 : 2); i++) {
        static const char *const embeddings[] = {"time_in.", "vector_in.", "guidance_in."};
        add_linear(embeddings[i], "in_layer", D, i == 1 ? 768 : 256);
        add_linear(embeddings[i], "out_layer", D, D);
    }
    for (int i = 0; i < blocks; i++) {
        snprintf(block, sizeof block, "double_blocks.%d.", i);
        add_original_stream(block, "img");
        add_original_stream(block, "txt");
    }
    for (int i = 0; i < 2 * blocks; i++) {
        snprintf(block, sizeof block, "single_blocks.%d.", i);
        add_linear(block, "modulation.lin", 3 * D, D);
        add_linear(block, "linear1", 3 * D + MLP, D);
        add_linear(block, "linear2", D, D + MLP);
        add_scale(block, "norm.query_norm.scale");
        add_scale(block, "norm.key_norm.scale");
    }
    add_linear("", "final_layer.adaLN_modulation.1", 2 * D, D);
    add_linear("", "final_layer.linear", 64, D);
}

static void add_diffusers(void) {
    static const char *const square[] = {"attn.to_q",       "attn.to_k",       "attn.to_v",     "attn.add_q_proj",
                                         "attn.add_k_proj", "attn.add_v_proj", "attn.to_out.0", "attn.to_add_out"};
    static const char *const scales[] = {"attn.norm_q.weight", "attn.norm_k.weight", "attn.norm_added_q.weight",
                                         "attn.norm_added_k.weight"};
    char block[64];
    add_linear("", "x_embedder", D, 64);
    add_linear("", "context_embedder", D, 4096);
    add_linear("", "time_text_embed.timestep_embedder.linear_1", D, 256);
    add_linear("", "time_text_embed.timestep_embedder.linear_2", D, D);
    add_linear("", "time_text_embed.guidance_embedder.linear_1", D, 256);
    add_linear("", "time_text_embed.guidance_embedder.linear_2", D, D);
    add_linear("", "time_text_embed.text_embedder.linear_1", D, 768);
    add_linear("", "time_text_embed.text_embedder.linear_2", D, D);
    for (int i = 0; i < DOUBLE; i++) {
        snprintf(block, sizeof block, "transformer_blocks.%d.", i);
        for (size_t k = 0; k < 8; k++) {
            add_linear(block, square[k], D, D);
        }
        for (size_t k = 0; k < 4; k++) {
            add_scale(block, scales[k]);
        }
        add_linear(block, "norm1.linear", 6 * D, D);
        add_linear(block, "norm1_context.linear", 6 * D, D);
        add_linear(block, "ff.net.0.proj", MLP, D);
        add_linear(block, "ff.net.2", D, MLP);
        add_linear(block, "ff_context.net.0.proj", MLP, D);
        add_linear(block, "ff_context.net.2", D, MLP);
    }
    for (int i = 0; i < SINGLE; i++) {
        snprintf(block, sizeof block, "single_transformer_blocks.%d.", i);
        for (size_t k = 0; k < 3; k++) {
            add_linear(block, square[k], D, D);
        }
        add_scale(block, scales[0]);
        add_scale(block, scales[1]);
        add_linear(block, "norm.linear", 3 * D, D);
        add_linear(block, "proj_mlp", MLP, D);
        add_linear(block, "proj_out", D, D + MLP);
    }
    add_linear("", "norm_out.linear", 2 * D, D);
    add_linear("", "proj_out", 64, D);
}

static void no_planes(void *user, const struct dqg_tensor_desc *desc, enum dqg_plane plane, void *out, size_t size) {
    (void)user, (void)desc, (void)plane, (void)out, (void)size;
    fail_msg("weights were read");
}

/* The list as a model without weights, whose names last as long as view. */
static void make_model(struct dqg_source *source, struct dqg_checkpoint *checkpoint, struct dqg_source *view,
                       struct dqg_model *model) {
    assert_ok(dqg_source_open_made(context, list.tensors, list.count, no_planes, NULL, source));
    if (dqg_checkpoint_open(context, source, checkpoint) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_int_equal(checkpoint->count, 1);
    assert_string_equal(checkpoint->components[0].family->name, "flux");
    assert_ok(dqg_checkpoint_component(context, checkpoint, 0, view));
    *model = (struct dqg_model){.alloc = context->alloc,
                                .family = checkpoint->components[0].family,
                                .weights = calloc(view->tensor_count, sizeof *model->weights),
                                .weight_count = view->tensor_count};
    for (size_t i = 0; i < view->tensor_count; i++) {
        const struct dqg_tensor_desc *desc = &view->tensors[i];
        struct dqg_weight *weight = &model->weights[i];
        *weight = (struct dqg_weight){.name = desc->name, .dtype = desc->dtype, .rank = desc->rank};
        memcpy(weight->shape, desc->shape, sizeof weight->shape);
        if (!dqg_matrix_size(weight->dtype, 0, weight->rank, weight->shape, &weight->size)) {
            weight->size = (struct dqg_matrix_size){0};
        }
        model->parameters += dqg_weight_count(weight);
    }
}

static void free_model(struct dqg_source *source, struct dqg_checkpoint *checkpoint, struct dqg_source *view,
                       struct dqg_model *model) {
    free(model->weights);
    dqg_arena_free(&model->alloc, &model->arena);
    dqg_source_close(view);
    dqg_checkpoint_close(checkpoint);
    dqg_source_close(source);
    list.count = 0;
}

/* Multiplications of matrix products with many rows, and of attention. */
static void count_work(const struct dqg_graph *graph, double *products, double *attention) {
    *products = *attention = 0;
    for (int32_t i = 0; i < graph->node_count; i++) {
        const struct dqg_node *node = &graph->nodes[i];
        const struct dqg_value *out = &graph->values[node->out];
        double size = (double)out->rows * (double)out->columns;
        if (node->kind == DQG_NODE_LINEAR && out->rows > 1) {
            *products += size * (double)node->weight->size.columns;
        } else if (node->kind == DQG_NODE_ATTENTION) {
            *attention += 2 * size * (double)dqg_graph_keys(graph, node);
        }
    }
}

static struct dqg_hyper check(uint64_t parameters, bool with_work) {
    struct dqg_source source, view;
    struct dqg_checkpoint checkpoint;
    struct dqg_model model;
    struct dqg_graph graph;
    double products, attention, tokens = 4096 + 512, inputs = D * (4096.0 * 64 + 512.0 * 4096 + 4096.0 * 64);
    make_model(&source, &checkpoint, &view, &model);
    assert_int_equal(model.parameters, parameters);
    if (model.family->configure(context, &model) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    struct dqg_hyper hyper = model.hyper;
    assert_int_equal(hyper.hidden, D);
    assert_int_equal(hyper.heads, 24);
    assert_int_equal(hyper.depth, DOUBLE + SINGLE);
    assert_int_equal(hyper.channels, 16);
    assert_int_equal(hyper.out_channels, 16);
    assert_int_equal(hyper.context_width, 4096);
    assert_int_equal(hyper.pooled_width, 768);
    assert_memory_equal(hyper.axes, ((size_t[]){16, 56, 56}), sizeof hyper.axes);
    if (with_work) {
        assert_ok(dqg_model_graph(context, &model, &(struct dqg_graph_config){.samples = 1}, &graph));
        count_work(&graph, &products, &attention);
        assert_true(products == (DOUBLE + SINGLE) * tokens * 12 * D * D + inputs);
        assert_true(attention == (DOUBLE + SINGLE) * 2 * tokens * tokens * D);
        dqg_graph_free(&graph);
    }
    free_model(&source, &checkpoint, &view, &model);
    return hyper;
}

static void test_published(void **state) {
    static const char *const prefixes[] = {"", "model.diffusion_model.", "diffusion_model."};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        prefix = prefixes[i];
        add_original(64, true, DOUBLE);
        struct dqg_hyper hyper = check(11901408320, i == 0);
        assert_true(hyper.guided && hyper.shift_by_size);
        assert_int_equal(hyper.context_tokens, 512);
        assert_int_equal(hyper.extra_channels, 0);
        add_original(64, false, DOUBLE);
        hyper = check(11891178560, false);
        assert_true(!hyper.guided && !hyper.shift_by_size);
        assert_int_equal(hyper.context_tokens, 256);
    }
}

static void test_diffusers(void **state) {
    (void)state;
    prefix = "transformer/";
    add_diffusers();
    assert_true(check(11901408320, true).guided);
}

/* Latent and mask of the picture to be filled; a picture to follow. */
static void test_more_channels(void **state) {
    (void)state;
    prefix = "";
    add_original(384, true, DOUBLE);
    assert_int_equal(check(11901408320 + 320 * D, false).extra_channels, 80);
    add_original(128, true, DOUBLE);
    assert_int_equal(check(11901408320 + 64 * D, false).extra_channels, 16);
}

/* A tensor that is missing, or has another shape, is named. */
static void test_refused(void **state) {
    static const char *const damaged[] = {"txt_in.bias", "double_blocks.1.txt_attn.norm.key_norm.scale",
                                          "single_blocks.2.linear2.weight", "guidance_in.out_layer.weight"};
    (void)state;
    prefix = "";
    for (size_t k = 0; k < 2 * DQG_COUNT_OF(damaged); k++) {
        const char *name = damaged[k / 2];
        struct dqg_source source, view;
        struct dqg_checkpoint checkpoint;
        struct dqg_model model;
        add_original(64, true, 2);
        for (size_t i = 0; i < list.count; i++) {
            if (strcmp(list.names[i], name) == 0 && k % 2 == 0) {
                list.tensors[i].shape[0]++;
                list.tensors[i].plane_bytes[0] = list.tensors[i].stored_bytes = 1 << 30;
            } else if (strcmp(list.names[i], name) == 0) {
                strcpy(list.names[i], "other");
            }
        }
        make_model(&source, &checkpoint, &view, &model);
        assert_fails(context, model.family->configure(context, &model), DQG_ERROR_FORMAT);
        assert_non_null(strstr(dqg_context_error(context), k % 2 == 0 ? name : "missing"));
        dqg_error_clear(context);
        free_model(&source, &checkpoint, &view, &model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_diffusers),
        cmocka_unit_test(test_more_channels),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
