/* SPDX-License-Identifier: MIT */
/*
 * PixArt by the shapes of its tensors alone: recognized under both kinds of names, every shape checked, parameters
 * counted; and what tells which variant it is, or asks the caller.
 */
#include <stdio.h>
#include <stdlib.h>

#include "context_check.h"
#include "model/model.h"

enum { TENSORS_MAX = 1024 };

static struct dqg_tensor_desc tensors[TENSORS_MAX];
static char names[TENSORS_MAX][96];
static size_t count;
static bool diffusers;

static void add(const char *name, int32_t rank, int64_t a, int64_t b, int64_t c, int64_t d) {
    struct dqg_tensor_desc *desc = &tensors[count];
    assert_true(count < TENSORS_MAX);
    snprintf(names[count], sizeof names[0], "%s", name);
    *desc = (struct dqg_tensor_desc){.name = names[count],
                                     .dtype = DQG_DTYPE_F16,
                                     .rank = rank,
                                     .shape = {a, b, c, d},
                                     .scale = 1,
                                     .type_name = "F16"};
    desc->plane_bytes[0] = desc->stored_bytes = 2;
    for (int32_t i = 0; i < rank; i++) {
        desc->plane_bytes[0] *= (uint64_t)desc->shape[i];
    }
    desc->stored_bytes = desc->plane_bytes[0];
    count++;
}

static void add_linear(const char *own, const char *other, int64_t rows, int64_t columns) {
    char name[96];
    snprintf(name, sizeof name, "%s.weight", diffusers ? other : own);
    add(name, 2, rows, columns, 0, 0);
    snprintf(name, sizeof name, "%s.bias", diffusers ? other : own);
    add(name, 1, rows, 0, 0, 0);
}

static void add_in_block(int64_t block, const char *own, const char *other, int64_t rows, int64_t columns) {
    char a[80], b[80];
    snprintf(a, sizeof a, "blocks.%lld.%s", (long long)block, own);
    snprintf(b, sizeof b, "transformer_blocks.%lld.%s", (long long)block, other);
    add_linear(a, b, rows, columns);
}

static void add_block(int64_t block, int64_t d) {
    static const char *const parts[] = {"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn2.to_k", "attn2.to_v"};
    char name[80];
    snprintf(name, sizeof name, "%sblocks.%lld.scale_shift_table", diffusers ? "transformer_" : "", (long long)block);
    add(name, 2, 6, d, 0, 0);
    for (size_t i = 0; diffusers && i < 5; i++) {
        add_in_block(block, "", parts[i], d, d);
    }
    if (!diffusers) {
        add_in_block(block, "attn.qkv", "", 3 * d, d);
        add_in_block(block, "cross_attn.kv_linear", "", 2 * d, d);
    }
    add_in_block(block, "attn.proj", "attn1.to_out.0", d, d);
    add_in_block(block, "cross_attn.q_linear", "attn2.to_q", d, d);
    add_in_block(block, "cross_attn.proj", "attn2.to_out.0", d, d);
    add_in_block(block, "mlp.fc1", "ff.net.0.proj", 4 * d, d);
    add_in_block(block, "mlp.fc2", "ff.net.2", d, 4 * d);
}

static void add_network(int64_t d, int64_t depth, bool sizes) {
    add(diffusers ? "pos_embed.proj.weight" : "x_embedder.proj.weight", 4, d, 4, 2, 2);
    add(diffusers ? "pos_embed.proj.bias" : "x_embedder.proj.bias", 1, d, 0, 0, 0);
    add_linear("t_embedder.mlp.0", "adaln_single.emb.timestep_embedder.linear_1", d, 256);
    add_linear("t_embedder.mlp.2", "adaln_single.emb.timestep_embedder.linear_2", d, d);
    if (sizes) {
        add_linear("csize_embedder.mlp.0", "adaln_single.emb.resolution_embedder.linear_1", d / 3, 256);
        add_linear("csize_embedder.mlp.2", "adaln_single.emb.resolution_embedder.linear_2", d / 3, d / 3);
        add_linear("ar_embedder.mlp.0", "adaln_single.emb.aspect_ratio_embedder.linear_1", d / 3, 256);
        add_linear("ar_embedder.mlp.2", "adaln_single.emb.aspect_ratio_embedder.linear_2", d / 3, d / 3);
    }
    add_linear("t_block.1", "adaln_single.linear", 6 * d, d);
    add_linear("y_embedder.y_proj.fc1", "caption_projection.linear_1", d, 4096);
    add_linear("y_embedder.y_proj.fc2", "caption_projection.linear_2", d, d);
    for (int64_t i = 0; i < depth; i++) {
        add_block(i, d);
    }
    add(diffusers ? "scale_shift_table" : "final_layer.scale_shift_table", 2, 2, d, 0, 0);
    add_linear("final_layer.linear", "proj_out", 32, d);
}

static void no_planes(void *user, const struct dqg_tensor_desc *desc, enum dqg_plane plane, void *out, size_t size) {
    (void)user, (void)desc, (void)plane, (void)out, (void)size;
    fail_msg("weights were read");
}

/* Configure what was added, as a file with these metadata; the list is empty then. */
static dqg_status configure(struct dqg_metadata *metadata, size_t metadata_count, struct dqg_hyper *hyper,
                            uint64_t *parameters) {
    struct dqg_source source, view;
    struct dqg_checkpoint checkpoint;
    assert_ok(dqg_source_open_made(context, tensors, count, no_planes, NULL, &source));
    if (dqg_checkpoint_open(context, &source, &checkpoint) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_int_equal(checkpoint.count, 1);
    assert_string_equal(checkpoint.components[0].family->name, "pixart");
    assert_ok(dqg_checkpoint_component(context, &checkpoint, 0, &view));
    struct dqg_model model = {.alloc = context->alloc,
                              .family = checkpoint.components[0].family,
                              .metadata = metadata,
                              .metadata_count = metadata_count};
    model.weights = calloc(view.tensor_count, sizeof *model.weights);
    model.weight_count = view.tensor_count;
    *parameters = 0;
    for (size_t i = 0; i < view.tensor_count; i++) {
        struct dqg_weight *weight = &model.weights[i];
        *weight =
            (struct dqg_weight){.name = view.tensors[i].name, .dtype = DQG_DTYPE_F16, .rank = view.tensors[i].rank};
        memcpy(weight->shape, view.tensors[i].shape, sizeof weight->shape);
        if (!dqg_matrix_size(weight->dtype, 0, weight->rank, weight->shape, &weight->size)) {
            weight->size = (struct dqg_matrix_size){0};
        }
        *parameters += dqg_weight_count(weight);
    }
    dqg_status status = model.family->configure(context, &model);
    *hyper = model.hyper;
    free(model.weights);
    dqg_source_close(&view);
    dqg_checkpoint_close(&checkpoint);
    dqg_source_close(&source);
    count = 0;
    return status;
}

static void test_parameters(void **state) {
    struct dqg_metadata variant = {"variant", "sigma-512"};
    struct dqg_hyper hyper;
    uint64_t parameters;
    (void)state;
    for (int sizes = 0; sizes < 2; sizes++) {
        for (int k = 0; k < 2; k++) {
            diffusers = k == 1;
            add_network(1152, 28, sizes == 1);
            assert_ok(configure(&variant, 1, &hyper, &parameters));
            assert_int_equal(parameters, sizes == 1 ? 611349152 : 610856096);
            assert_int_equal(hyper.depth, 28);
            assert_int_equal(hyper.heads, 16);
            assert_int_equal(hyper.context_width, 4096);
            assert_int_equal(hyper.size_count, sizes == 1 ? 3 : 0);
            assert_int_equal(hyper.out_channels, 8);
            assert_true(hyper.masked);
        }
    }
}

/* ---- variants ---- */

/* Of a network that looks like this, with metadata and tables: its side, tokens, scale of latents and step. */
struct expected {
    const char *key, *value; /* of metadata */
    int64_t tokens, grid;    /* of the tables of the authors' files, 0: none */
    bool sizes;
    size_t side, context_tokens;
    double latent_scale, position_step;
};

static void check_variant(const struct expected *e) {
    struct dqg_metadata metadata = {e->key, e->value};
    struct dqg_hyper hyper;
    uint64_t parameters;
    add_network(144, 1, e->sizes);
    if (e->tokens > 0) {
        add("y_embedder.y_embedding", 2, e->tokens, 4096, 0, 0);
    }
    if (e->grid > 0) {
        add("pos_embed", 3, 1, e->grid * e->grid, 144, 0);
    }
    if (configure(&metadata, e->key != NULL, &hyper, &parameters) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_int_equal(hyper.height, e->side);
    assert_int_equal(hyper.width, e->side);
    assert_int_equal(hyper.context_tokens, e->context_tokens);
    assert_true(hyper.latent_scale == e->latent_scale);
    assert_true(hyper.position_step == e->position_step);
}

static void test_told(void **state) {
    static const struct expected cases[] = {
        {"variant", "alpha-256", 0, 0, false, 32, 120, 0.18215, 1},
        {"variant", "alpha-512", 0, 0, false, 64, 120, 0.18215, 1},
        {"variant", "alpha-1024", 0, 0, true, 128, 120, 0.18215, 0.5},
        {"variant", "sigma-256", 0, 0, false, 32, 300, 0.13025, 2},
        {"variant", "sigma-512", 120, 32, false, 64, 300, 0.13025, 1},
        {"variant", "sigma-1024", 0, 0, false, 128, 300, 0.13025, 0.5},
        {"variant", "sigma-2048", 0, 0, false, 256, 300, 0.13025, 0.25},
    };
    (void)state;
    diffusers = false;
    for (size_t i = 0; i < DQG_COUNT_OF(cases); i++) {
        check_variant(&cases[i]);
    }
}

static void test_found(void **state) {
    static const struct expected cases[] = {
        /* tables of the authors */
        {NULL, NULL, 120, 16, false, 32, 120, 0.18215, 1},
        {NULL, NULL, 300, 16, false, 32, 300, 0.13025, 2},
        {NULL, NULL, 300, 128, false, 256, 300, 0.13025, 0.25},
        {NULL, NULL, 0, 0, true, 128, 120, 0.18215, 0.5}, /* sizes are embedded by one only */
        /* configurations of diffusers */
        {"transformer/config.json", "{\"sample_size\": 128, \"interpolation_scale\": 2}", 0, 0, false, 128, 300,
         0.13025, 0.5},
        {"config.json", "{\"sample_size\": 32, \"interpolation_scale\": 0.5}", 0, 0, false, 32, 300, 0.13025, 2},
        {"config.json", "{\"x\": [{}, null], \"interpolation_scale\": null, \"sample_size\": 64}", 0, 0, false, 64, 120,
         0.18215, 1},
        {"config.json", "{\"sample_size\": 192}", 0, 0, false, 192, 300, 0.13025, 1.0 / 3},
        {"config.json", "{\"sample_size\": 12}", 300, 0, false, 12, 300, 0.13025, 1},
    };
    (void)state;
    diffusers = false;
    for (size_t i = 0; i < DQG_COUNT_OF(cases); i++) {
        check_variant(&cases[i]);
    }
}

/* The folder of a whole pipeline names it. */
static void test_pipeline(void **state) {
    struct dqg_metadata metadata[] = {{"model_index.json", "{\"_class_name\": \"PixArtSigmaPipeline\"}"},
                                      {"transformer/config.json", "{\"sample_size\": 64}"}};
    struct dqg_hyper hyper;
    uint64_t parameters;
    (void)state;
    diffusers = true;
    add_network(144, 1, false);
    assert_ok(configure(metadata, 2, &hyper, &parameters));
    assert_int_equal(hyper.height, 64);
    assert_int_equal(hyper.context_tokens, 300);
}

static void fails(struct dqg_metadata metadata, int64_t tokens, dqg_status expected, const char *says,
                  const char *says_not) {
    struct dqg_hyper hyper;
    uint64_t parameters;
    add_network(144, 1, false);
    if (tokens > 0) {
        add("y_embedder.y_embedding", 2, tokens, 4096, 0, 0);
    }
    dqg_error_clear(context);
    assert_int_equal(configure(&metadata, 1, &hyper, &parameters), expected);
    if (strstr(dqg_context_error(context), says) == NULL || strstr(dqg_context_error(context), says_not) != NULL) {
        fail_msg("%s", dqg_context_error(context));
    }
}

static void test_asked(void **state) {
    (void)state;
    diffusers = false;
    fails((struct dqg_metadata){"a", "b"}, 0, DQG_ERROR_UNSUPPORTED,
          "'variant', or metadata of that name when it is quantized, as one of alpha-256, alpha-512, alpha-1024, "
          "sigma-256, sigma-512, sigma-1024, sigma-2048",
          "?");
    fails((struct dqg_metadata){"variant", "sigma"}, 0, DQG_ERROR_UNSUPPORTED, "sigma-2048", "?");
    fails((struct dqg_metadata){"a", "b"}, 300, DQG_ERROR_UNSUPPORTED, "sigma-256, sigma-512", "alpha-256");
    fails((struct dqg_metadata){"config.json", "{\"sample_size\": 33}"}, 0, DQG_ERROR_FORMAT, "33", "?");
    fails((struct dqg_metadata){"config.json", "{\"sample_size\": 1e300}"}, 0, DQG_ERROR_UNSUPPORTED, "sigma-512", "?");
    fails((struct dqg_metadata){"config.json", "{\"sample_size\": "}, 300, DQG_ERROR_UNSUPPORTED, "sigma-512", "?");
    fails((struct dqg_metadata){"num_heads", "5"}, 0, DQG_ERROR_FORMAT, "num_heads", "?");
}

/* Each tensor is missed, and its shape checked. */
static void test_shapes(void **state) {
    struct dqg_metadata variant = {"variant", "alpha-512"};
    struct dqg_hyper hyper;
    uint64_t parameters;
    (void)state;
    diffusers = false;
    add_network(144, 2, true);
    size_t all = count;
    for (size_t skip = 0; skip < all; skip++) {
        for (int changed = 0; changed < 2; changed++) {
            count = 0;
            add_network(144, 2, true);
            /* What makes it a PixArt, or says how deep it is and whether it takes sizes, cannot be missed. */
            const char *name = names[skip];
            if (strcmp(name, "x_embedder.proj.weight") == 0 || strcmp(name, "t_block.1.weight") == 0 ||
                strcmp(name, "csize_embedder.mlp.0.weight") == 0 || strstr(name, "attn.qkv.weight") != NULL ||
                strcmp(name, "blocks.0.cross_attn.kv_linear.weight") == 0) {
                continue;
            }
            if (changed) {
                tensors[skip].shape[0] += 1;
                tensors[skip].plane_bytes[0] = tensors[skip].stored_bytes =
                    2 * (uint64_t)tensors[skip].shape[0] *
                    (tensors[skip].rank > 1 ? (uint64_t)tensors[skip].shape[1] : 1);
            } else {
                snprintf(names[skip], sizeof names[0], "nothing");
            }
            assert_int_equal(configure(&variant, 1, &hyper, &parameters), DQG_ERROR_FORMAT);
        }
    }
    count = 0;
    add_network(144, 2, false);
    add("blocks.1.attn.sr.weight", 4, 144, 1, 2, 2);
    assert_int_equal(configure(&variant, 1, &hyper, &parameters), DQG_ERROR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters), cmocka_unit_test(test_told),  cmocka_unit_test(test_found),
        cmocka_unit_test(test_pipeline),   cmocka_unit_test(test_asked), cmocka_unit_test(test_shapes),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
