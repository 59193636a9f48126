/* SPDX-License-Identifier: MIT */
/*
 * Published MMDiT networks by the shapes of their tensors alone: parameters, hyper-parameters and every shape checked,
 * under the authors' names and diffusers'. What looks like them and is none.
 */
#include "shape_list.h"

struct network {
    int64_t d;
    int depth, seconds; /* blocks with a second attention */
    bool normed;
    int64_t grid; /* of the position table */
};

static const struct network medium = {1536, 24, 0, false, 192}, medium35 = {1536, 24, 13, true, 384},
                            large35 = {2432, 38, 0, true, 192};

static void add_part(const char *prefix, const char *layers, int block, const char *stream, const char *part,
                     int64_t rows, int64_t columns) {
    char name[96];
    dqg_format(name, sizeof name, "%s%s", stream, part);
    add_biased(prefix, layers, block, name, rows, columns);
}

static void add_norms(const char *prefix, const char *layers, int block, const char *q, const char *k) {
    add_layer(prefix, layers, block, q, 64, 0);
    add_layer(prefix, layers, block, k, 64, 0);
}

static void add_own_block(const char *prefix, const struct network *n, int block, const char *stream, bool text) {
    static const char at[] = "joint_blocks.";
    int64_t d = n->d;
    bool last = text && block + 1 == n->depth, second = !text && block < n->seconds;
    char q[64], k[64];
    add_part(prefix, at, block, stream, "adaLN_modulation.1", (last ? 2 : second ? 9 : 6) * d, d);
    for (int i = 0; i < 1 + second; i++) {
        const char *attention = i == 0 ? "attn" : "attn2";
        char part[32];
        dqg_format(part, sizeof part, "%s.qkv", attention);
        add_part(prefix, at, block, stream, part, 3 * d, d);
        dqg_format(part, sizeof part, "%s.proj", attention);
        if (!last) {
            add_part(prefix, at, block, stream, part, d, d);
        }
        dqg_format(q, sizeof q, "%s%s.ln_q.weight", stream, attention);
        dqg_format(k, sizeof k, "%s%s.ln_k.weight", stream, attention);
        if (n->normed) {
            add_norms(prefix, at, block, q, k);
        }
    }
    if (!last) {
        add_part(prefix, at, block, stream, "mlp.fc1", 4 * d, d);
        add_part(prefix, at, block, stream, "mlp.fc2", d, 4 * d);
    }
}

static void add_both(const char *prefix, const char *name, int64_t rows, int64_t columns) {
    char full[96];
    dqg_format(full, sizeof full, "%s.weight", name);
    add(prefix, full, rows, columns);
    dqg_format(full, sizeof full, "%s.bias", name);
    add(prefix, full, rows, 0);
}

static void add_ends(const char *prefix, const struct network *n, const char *const names[9]) {
    int64_t d = n->d;
    const int64_t patch[] = {d, 16, 2, 2}, table[] = {1, n->grid * n->grid, d};
    char full[64];
    dqg_format(full, sizeof full, "%s.weight", names[0]);
    add_shaped(prefix, full, 4, patch);
    dqg_format(full, sizeof full, "%s.bias", names[0]);
    add(prefix, full, d, 0);
    add_shaped(prefix, names[1], 3, table);
    add_both(prefix, names[2], d, 256);
    add_both(prefix, names[3], d, d);
    add_both(prefix, names[4], d, 2048);
    add_both(prefix, names[5], d, d);
    add_both(prefix, names[6], d, 4096);
    add_both(prefix, names[7], 2 * d, d);
    add_both(prefix, names[8], 64, d);
}

static void add_own(const char *prefix, const struct network *n) {
    static const char *const names[] = {
        "x_embedder.proj",    "pos_embed",        "t_embedder.mlp.0", "t_embedder.mlp.2",
        "y_embedder.mlp.0",   "y_embedder.mlp.2", "context_embedder", "final_layer.adaLN_modulation.1",
        "final_layer.linear",
    };
    add_ends(prefix, n, names);
    for (int i = 0; i < n->depth; i++) {
        add_own_block(prefix, n, i, "x_block.", false);
        add_own_block(prefix, n, i, "context_block.", true);
    }
}

static void add_diffusers_block(const char *prefix, const struct network *n, int block) {
    static const char at[] = "transformer_blocks.";
    static const char *const square[] = {"attn.to_q",       "attn.to_k",       "attn.to_v",    "attn.add_q_proj",
                                         "attn.add_k_proj", "attn.add_v_proj", "attn.to_out.0"};
    static const char *const second[] = {"attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"};
    int64_t d = n->d;
    bool last = block + 1 == n->depth, has_second = block < n->seconds;
    add_biased(prefix, at, block, "norm1.linear", (has_second ? 9 : 6) * d, d);
    add_biased(prefix, at, block, "norm1_context.linear", (last ? 2 : 6) * d, d);
    for (size_t i = 0; i < DQG_COUNT_OF(square); i++) {
        add_biased(prefix, at, block, square[i], d, d);
    }
    for (size_t i = 0; has_second && i < DQG_COUNT_OF(second); i++) {
        add_biased(prefix, at, block, second[i], d, d);
    }
    if (n->normed) {
        add_norms(prefix, at, block, "attn.norm_q.weight", "attn.norm_k.weight");
        add_norms(prefix, at, block, "attn.norm_added_q.weight", "attn.norm_added_k.weight");
    }
    if (n->normed && has_second) {
        add_norms(prefix, at, block, "attn2.norm_q.weight", "attn2.norm_k.weight");
    }
    add_biased(prefix, at, block, "ff.net.0.proj", 4 * d, d);
    add_biased(prefix, at, block, "ff.net.2", d, 4 * d);
    if (!last) {
        add_biased(prefix, at, block, "attn.to_add_out", d, d);
        add_biased(prefix, at, block, "ff_context.net.0.proj", 4 * d, d);
        add_biased(prefix, at, block, "ff_context.net.2", d, 4 * d);
    }
}

static void add_diffusers(const char *prefix, const struct network *n) {
    static const char *const names[] = {"pos_embed.proj",
                                        "pos_embed.pos_embed",
                                        "time_text_embed.timestep_embedder.linear_1",
                                        "time_text_embed.timestep_embedder.linear_2",
                                        "time_text_embed.text_embedder.linear_1",
                                        "time_text_embed.text_embedder.linear_2",
                                        "context_embedder",
                                        "norm_out.linear",
                                        "proj_out"};
    add_ends(prefix, n, names);
    for (int i = 0; i < n->depth; i++) {
        add_diffusers_block(prefix, n, i);
    }
}

static void check(const struct network *n, uint64_t parameters) {
    struct dqg_source source;
    struct dqg_checkpoint checkpoint;
    uint64_t counted;
    assert_ok(dqg_source_open_made(context, list.tensors, list.count, no_planes, NULL, &source));
    assert_ok(dqg_checkpoint_open(context, &source, &checkpoint));
    assert_int_equal(checkpoint.count, 1);
    struct dqg_hyper hyper = configure(&checkpoint, 0, &counted);
    assert_string_equal(checkpoint.components[0].family->name, "mmdit");
    assert_int_equal(counted, parameters + (uint64_t)(n->grid * n->grid * n->d)); /* the table is no parameter */
    assert_int_equal(hyper.depth, n->depth);
    assert_int_equal(hyper.heads, n->d / 64);
    assert_int_equal(hyper.height, 128);
    assert_int_equal(hyper.channels, 16);
    assert_int_equal(hyper.context_width, 4096);
    assert_int_equal(hyper.pooled_width, 2048);
    dqg_checkpoint_close(&checkpoint);
    dqg_source_close(&source);
    list.count = 0;
}

static void test_published(void **state) {
    (void)state;
    add_own("model.diffusion_model.", &medium);
    check(&medium, 2028328000);
    add_own("", &medium35);
    check(&medium35, 2243171520);
    add_own("model.diffusion_model.", &large35);
    check(&large35, 8056627520);
}

static void test_diffusers(void **state) {
    (void)state;
    add_diffusers("", &medium);
    check(&medium, 2028328000);
    add_diffusers("transformer/", &medium35);
    check(&medium35, 2243171520);
    add_diffusers("transformer.", &large35);
    check(&large35, 8056627520);
}

/* Blocks as in SD3, but neither a convolution of patches nor a position table: FLUX and others. */
static void test_others(void **state) {
    struct dqg_source source;
    struct dqg_checkpoint checkpoint;
    (void)state;
    add_diffusers_block("", &large35, 0);
    add_both("", "x_embedder", large35.d, 64);
    add_both("", "context_embedder", large35.d, 4096);
    assert_ok(dqg_source_open_made(context, list.tensors, list.count, no_planes, NULL, &source));
    dqg_status status = dqg_checkpoint_open(context, &source, &checkpoint);
    assert_true(status == DQG_ERROR_UNSUPPORTED || strcmp(checkpoint.components[0].family->name, "mmdit") != 0);
    if (status == DQG_OK) {
        dqg_checkpoint_close(&checkpoint);
    }
    dqg_source_close(&source);
    list.count = 0;
}

/* ---- damage ---- */

static void make_zeros(void *user, const struct dqg_tensor_desc *desc, enum dqg_plane plane, void *out, size_t size) {
    (void)user, (void)desc, (void)plane;
    memset(out, 0, size);
}

/* A small network, one of its tensors of another shape. */
static dqg_status load_with(const char *name, int32_t rank, const int64_t *shape) {
    static const struct network small = {64, 2, 1, true, 4};
    struct dqg_source source;
    struct dqg_model *model;
    add_own("", &small);
    for (size_t i = 0, count = list.count; i < count; i++) {
        if (strcmp(list.names[i], name) == 0) {
            add_shaped("", name, rank, shape);
            list.tensors[i] = list.tensors[--list.count];
            list.tensors[i].name = list.names[i];
        }
    }
    assert_ok(dqg_source_open_made(context, list.tensors, list.count, make_zeros, NULL, &source));
    dqg_error_clear(context);
    dqg_status status = dqg_model_open(context, &source, 0, NULL, &model);
    if (status == DQG_OK) {
        dqg_model_free(model);
    }
    dqg_source_close(&source);
    list.count = 0;
    return status;
}

static void test_damaged(void **state) {
    static const struct {
        const char *name;
        int32_t rank;
        int64_t shape[4];
    } damages[] = {
        {"context_embedder.weight", 1, {64}},
        {"y_embedder.mlp.0.weight", 1, {64}},
        {"t_embedder.mlp.0.weight", 2, {64, 255}},
        {"x_embedder.proj.weight", 2, {64, 64}},
        {"x_embedder.proj.weight", 4, {64, 16, 2, 4}},
        {"x_embedder.proj.weight", 4, {96, 16, 2, 2}},
        {"pos_embed", 3, {1, 15, 64}},
        {"pos_embed", 2, {15, 64}},
        {"pos_embed", 1, {1024}},
        {"joint_blocks.0.x_block.attn.ln_q.weight", 1, {48}},
        {"joint_blocks.0.x_block.attn.ln_k.weight", 1, {32}},
        {"joint_blocks.0.x_block.attn2.ln_k.weight", 1, {32}},
        {"joint_blocks.0.x_block.adaLN_modulation.1.weight", 2, {384, 64}},
        {"joint_blocks.1.context_block.adaLN_modulation.1.weight", 2, {384, 64}},
        {"joint_blocks.0.x_block.mlp.fc1.weight", 2, {250, 64}},
        {"joint_blocks.0.context_block.mlp.fc1.weight", 2, {128, 64}},
        {"joint_blocks.1.x_block.attn.qkv.weight", 2, {128, 64}},
        {"final_layer.linear.weight", 2, {60, 64}},
        {"final_layer.linear.bias", 1, {32}},
    };
    static const int64_t flat[] = {16, 64};
    (void)state;
    assert_ok(load_with("", 0, NULL));
    assert_ok(load_with("pos_embed", 2, flat));
    for (size_t i = 0; i < DQG_COUNT_OF(damages); i++) {
        assert_fails(context, load_with(damages[i].name, damages[i].rank, damages[i].shape), DQG_ERROR_FORMAT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_diffusers),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
