/* SPDX-License-Identifier: MIT */
/*
 * Published text encoders by the shapes of their tensors alone: what the families take them for, every shape checked,
 * and the number of parameters. Under the names of both programs, alone and in one file, with tensors stored twice.
 */
#include "shape_list.h"

static void add_clip(const char *prefix, int64_t d, int layers, bool projection) {
    static const char at[] = "text_model.encoder.layers.";
    static const char *const square[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                         "self_attn.out_proj"};
    add(prefix, "text_model.embeddings.position_ids", 77, 0); /* not a part of the network */
    add(prefix, "text_model.embeddings.token_embedding.weight", 49408, d);
    add(prefix, "text_model.embeddings.position_embedding.weight", 77, d);
    for (int i = 0; i < layers; i++) {
        for (size_t k = 0; k < 4; k++) {
            add_biased(prefix, at, i, square[k], d, d);
        }
        add_biased(prefix, at, i, "layer_norm1", d, 0);
        add_biased(prefix, at, i, "layer_norm2", d, 0);
        add_biased(prefix, at, i, "mlp.fc1", 4 * d, d);
        add_biased(prefix, at, i, "mlp.fc2", d, 4 * d);
    }
    add(prefix, "text_model.final_layer_norm.weight", d, 0);
    add(prefix, "text_model.final_layer_norm.bias", d, 0);
    if (projection) {
        add(prefix, "text_projection.weight", d, d);
    }
}

static void add_openclip(const char *prefix, int64_t d, int layers) {
    static const char at[] = "transformer.resblocks.";
    add(prefix, "token_embedding.weight", 49408, d);
    add(prefix, "positional_embedding", 77, d);
    add(prefix, "logit_scale", 1, 0);
    for (int i = 0; i < layers; i++) {
        add_layer(prefix, at, i, "attn.in_proj_weight", 3 * d, d);
        add_layer(prefix, at, i, "attn.in_proj_bias", 3 * d, 0);
        add_biased(prefix, at, i, "attn.out_proj", d, d);
        add_biased(prefix, at, i, "ln_1", d, 0);
        add_biased(prefix, at, i, "ln_2", d, 0);
        add_biased(prefix, at, i, "mlp.c_fc", 4 * d, d);
        add_biased(prefix, at, i, "mlp.c_proj", d, 4 * d);
    }
    add(prefix, "ln_final.weight", d, 0);
    add(prefix, "ln_final.bias", d, 0);
    add(prefix, "text_projection", d, d);
}

static void add_t5(const char *prefix, int64_t d, int layers, int64_t heads, int64_t mlp) {
    static const char at[] = "encoder.block.";
    add(prefix, "shared.weight", 32128, d);
    add(prefix, "encoder.embed_tokens.weight", 32128, d); /* the same once more, as some programs store it */
    add(prefix, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 32, heads);
    for (int i = 0; i < layers; i++) {
        add_layer(prefix, at, i, "layer.0.SelfAttention.q.weight", heads * 64, d);
        add_layer(prefix, at, i, "layer.0.SelfAttention.k.weight", heads * 64, d);
        add_layer(prefix, at, i, "layer.0.SelfAttention.v.weight", heads * 64, d);
        add_layer(prefix, at, i, "layer.0.SelfAttention.o.weight", d, heads * 64);
        add_layer(prefix, at, i, "layer.0.layer_norm.weight", d, 0);
        add_layer(prefix, at, i, "layer.1.DenseReluDense.wi_0.weight", mlp, d);
        add_layer(prefix, at, i, "layer.1.DenseReluDense.wi_1.weight", mlp, d);
        add_layer(prefix, at, i, "layer.1.DenseReluDense.wo.weight", d, mlp);
        add_layer(prefix, at, i, "layer.1.layer_norm.weight", d, 0);
    }
    add(prefix, "encoder.final_layer_norm.weight", d, 0);
    add(prefix, "decoder.final_layer_norm.weight", d, 0); /* the other half of the published network */
}

struct expected {
    const char *role;
    uint64_t parameters;
    size_t depth, heads, projection;
    enum dqg_activation activation;
};

static void check(const struct expected *expected, size_t count) {
    struct dqg_source source;
    struct dqg_checkpoint checkpoint;
    assert_ok(dqg_source_open_made(context, list.tensors, list.count, no_planes, NULL, &source));
    if (dqg_checkpoint_open(context, &source, &checkpoint) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_int_equal(checkpoint.count, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t parameters;
        struct dqg_hyper hyper = configure(&checkpoint, i, &parameters);
        assert_string_equal(checkpoint.components[i].role, expected[i].role);
        assert_int_equal(parameters, expected[i].parameters);
        assert_int_equal(hyper.depth, expected[i].depth);
        assert_int_equal(hyper.heads, expected[i].heads);
        assert_int_equal(hyper.projection, expected[i].projection);
        assert_int_equal(hyper.activation, expected[i].activation);
    }
    dqg_checkpoint_close(&checkpoint);
    dqg_source_close(&source);
    list.count = 0;
}

static void test_clip(void **state) {
    (void)state;
    add_clip("", 768, 12, false);
    check(&(struct expected){"clip", 123060480, 12, 12, 0, DQG_ACT_GELU_QUICK}, 1);
    add_clip("cond_stage_model.transformer.", 768, 12, true);
    check(&(struct expected){"clip", 123060480 + 589824, 12, 12, 768, DQG_ACT_GELU_QUICK}, 1);
    add_openclip("", 1280, 32);
    check(&(struct expected){"clip", 694659840, 32, 20, 1280, DQG_ACT_GELU_ERF}, 1);
    add_clip("text_encoders.clip_g.transformer.", 1280, 32, true);
    check(&(struct expected){"clip", 694659840, 32, 20, 1280, DQG_ACT_GELU_ERF}, 1);
}

/* Several encoders in a file, each in its own form. */
static void test_together(void **state) {
    static const struct expected both[] = {{"clip", 123060480, 12, 12, 0, DQG_ACT_GELU_QUICK},
                                           {"clip_2", 694659840, 32, 20, 1280, DQG_ACT_GELU_ERF},
                                           {"t5", 109628544, 12, 12, 0, DQG_ACT_GELU_TANH}};
    (void)state;
    add_clip("conditioner.embedders.0.transformer.", 768, 12, false);
    add_openclip("conditioner.embedders.1.model.", 1280, 32);
    add_t5("text_encoders.t5xxl.transformer.", 768, 12, 12, 2048);
    check(both, 3);
}

static void test_t5(void **state) {
    (void)state;
    add_t5("", 4096, 24, 64, 10240);
    check(&(struct expected){"t5", 4762310656, 24, 64, 0, DQG_ACT_GELU_TANH}, 1);
    add_t5("", 2048, 24, 32, 5120);
    check(&(struct expected){"t5", 1223527424, 24, 32, 0, DQG_ACT_GELU_TANH}, 1);
    add_t5("", 768, 12, 12, 2048);
    check(&(struct expected){"t5", 109628544, 12, 12, 0, DQG_ACT_GELU_TANH}, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_t5),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
