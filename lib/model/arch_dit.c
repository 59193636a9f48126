/* SPDX-License-Identifier: MIT */
/*
 * DiT: "Scalable Diffusion Models with Transformers", Peebles and Xie 2022. Class-conditional transformer on patches,
 * adaLN-Zero modulation; tensor names of the authors' code. Any width, depth and patch size, learned sigma or not.
 *
 *   c = mlp(timestep) + embedding(label)
 *   x = patches W + position
 *   x += gate_a attention(norm(x) (1 + scale_a) + shift_a)      for each block, all six vectors from silu(c)
 *   x += gate_m mlp(norm(x) (1 + scale_m) + shift_m)
 *   out = linear(norm(x) (1 + scale) + shift)
 */
#include <math.h>

#include "model/layer_parts.h"

#define BLOCK "blocks.#." /* in front of names in a block; "#" is its number */

static const float norm_epsilon = 1e-6f;

extern const struct dqg_family dqg_family_dit;

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "blocks.0.adaLN_modulation.1.weight") >= 0 &&
           dqg_source_find(source, "y_embedder.embedding_table.weight") >= 0;
}

/* The published sizes; other models name their heads in the metadata. */
static size_t published_heads(size_t hidden) {
    switch (hidden) {
    case 1152:
        return 16; /* XL */
    case 1024:
        return 16; /* L */
    case 768:
        return 12; /* B */
    case 384:
        return 6; /* S */
    default:
        return 0;
    }
}

static dqg_status check_tensors(struct dqg_context *context, const struct dqg_model *model) {
    const struct dqg_hyper *hyper = &model->hyper;
    size_t d = hyper->hidden;
    size_t pixels = hyper->patch * hyper->patch;
    DQG_TRY(dqg_model_need(context, model, "x_embedder.proj.bias", d, 0)); /* its weights gave the sizes */
    DQG_TRY(dqg_layer_need(context, model, "t_embedder.mlp.0", 0, d, hyper->frequencies, true));
    DQG_TRY(dqg_layer_need(context, model, "t_embedder.mlp.2", 0, d, d, true));
    DQG_TRY(dqg_model_need(context, model, "y_embedder.embedding_table.weight", hyper->classes + 1, d));
    for (size_t i = 0; i < hyper->depth; i++) {
        DQG_TRY(dqg_layer_need(context, model, BLOCK "adaLN_modulation.1", i, 6 * d, d, true));
        DQG_TRY(dqg_layer_need(context, model, BLOCK "attn.qkv", i, 3 * d, d, true));
        DQG_TRY(dqg_layer_need(context, model, BLOCK "attn.proj", i, d, d, true));
        DQG_TRY(dqg_layer_need(context, model, BLOCK "mlp.fc1", i, hyper->mlp, d, true));
        DQG_TRY(dqg_layer_need(context, model, BLOCK "mlp.fc2", i, d, hyper->mlp, true));
    }
    DQG_TRY(dqg_layer_need(context, model, "final_layer.adaLN_modulation.1", 0, 2 * d, d, true));
    return dqg_layer_need(context, model, "final_layer.linear", 0, pixels * hyper->out_channels, d, true);
}

/* The latent's sides: of the position table, which is square, or of the metadata. */
static dqg_status find_size(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    size_t side = dqg_model_metadata_size(model, "input_size", 32);
    const struct dqg_weight *table = dqg_model_find(model, "pos_embed");
    if (table != NULL) {
        bool shaped = table->rank == 3 && table->shape[0] == 1 && (size_t)table->shape[2] == hyper->hidden;
        size_t grid = shaped ? (size_t)(sqrt((double)table->shape[1]) + 0.5) : 0;
        if (grid == 0 || grid * grid != (size_t)table->shape[1] || !dqg_dtype_is_float(table->dtype)) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "tensor 'pos_embed' is not a float table (1, grid^2, %zu)",
                            hyper->hidden);
        }
        side = grid * hyper->patch;
    }
    if (side == 0 || side > 1 << 16 || side % hyper->patch != 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "metadata 'input_size' is not a multiple of the patch size");
    }
    hyper->height = hyper->width = side;
    return DQG_OK;
}

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *proj = dqg_model_find(model, "x_embedder.proj.weight");
    const struct dqg_weight *table = dqg_model_find(model, "y_embedder.embedding_table.weight");
    const struct dqg_weight *last = dqg_model_find(model, "final_layer.linear.weight");
    const struct dqg_weight *fc1 = dqg_model_find(model, "blocks.0.mlp.fc1.weight");
    const struct dqg_weight *frequencies = dqg_model_find(model, "t_embedder.mlp.0.weight");
    if (proj == NULL || table == NULL || last == NULL || fc1 == NULL || frequencies == NULL || proj->rank != 4 ||
        proj->shape[2] != proj->shape[3] || table->size.rows < 2 || frequencies->size.columns % 2 != 0 ||
        proj->size.rows > 1 << 16 || fc1->size.rows > 1 << 17 || proj->size.columns > 1 << 16) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like a DiT, but x_embedder, t_embedder, y_embedder, "
                        "blocks.0 or final_layer is missing or has an impossible shape");
    }
    hyper->hidden = proj->size.rows;
    hyper->channels = (size_t)proj->shape[1];
    hyper->patch = (size_t)proj->shape[2];
    hyper->mlp = fc1->size.rows;
    hyper->frequencies = frequencies->size.columns;
    hyper->classes = table->size.rows - 1;
    hyper->out_channels = last->size.rows / (hyper->patch * hyper->patch);
    if (hyper->out_channels != hyper->channels && hyper->out_channels != 2 * hyper->channels) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "final_layer.linear makes %zu channels, expected %zu or, with "
                        "learned sigma, twice that",
                        hyper->out_channels, hyper->channels);
    }
    hyper->depth = dqg_layer_count(model, BLOCK "attn.qkv.weight");
    hyper->heads = dqg_model_metadata_size(model, "num_heads", published_heads(hyper->hidden));
    if (hyper->heads == 0 || hyper->hidden % hyper->heads != 0 || hyper->hidden % 4 != 0 ||
        hyper->hidden / hyper->heads > DQG_ATTENTION_WIDTH) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "width %zu is not one of the published DiT sizes: metadata "
                        "'num_heads' must say how many heads it is cut into (of at most %d each)",
                        hyper->hidden, (int)DQG_ATTENTION_WIDTH);
    }
    DQG_TRY(find_size(context, model));
    return check_tensors(context, model);
}

/* ---- graph ---- */

/* The fixed table (tokens, hidden): the file's where the grid is its own, computed for other grids. */
static const float *position_table(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *stored = dqg_model_find(model, "pos_embed");
    if (stored == NULL || graph->height != hyper->height || graph->width != hyper->width) {
        return dqg_layer_positions(graph, hyper->hidden, (double)(graph->height / graph->patch),
                                   (double)(graph->width / graph->patch));
    }
    size_t count = graph->tokens * hyper->hidden;
    float *table = dqg_arena_alloc(&graph->context->alloc, &graph->arena, count * sizeof *table);
    graph->failed = graph->failed || table == NULL;
    if (table != NULL && stored->codes != NULL) { /* else the model is described only */
        dqg_floats_decode(table, stored->codes, stored->dtype, count);
    }
    return table;
}

static int32_t build_block(const struct dqg_model *model, struct dqg_graph *graph, size_t block, int32_t x, int32_t c) {
    const struct dqg_hyper *hyper = &model->hyper;
    size_t d = hyper->hidden;
    /* columns of mod: shift_a, scale_a, gate_a, shift_m, scale_m, gate_m */
    int32_t mod = dqg_layer_linear(model, graph, BLOCK "adaLN_modulation.1", block, c);
    int32_t enter = x,
            input = dqg_graph_norm(graph, dqg_layer_keep(graph, BLOCK "norm1", block), x, mod, 0, d, norm_epsilon);
    int32_t y = dqg_layer_linear(model, graph, BLOCK "attn.qkv", block, input);
    y = dqg_graph_attention(graph, dqg_layer_keep(graph, BLOCK "attn", block), y, hyper->heads);
    y = dqg_layer_linear(model, graph, BLOCK "attn.proj", block, y);
    x = dqg_graph_add(graph, dqg_layer_keep(graph, BLOCK "attn.add", block), x, mod, 2 * d, y);
    y = dqg_graph_norm(graph, dqg_layer_keep(graph, BLOCK "norm2", block), x, mod, 3 * d, 4 * d, norm_epsilon);
    y = dqg_layer_linear(model, graph, BLOCK "mlp.fc1", block, y);
    y = dqg_graph_activate(graph, dqg_layer_keep(graph, BLOCK "mlp.act", block), y, DQG_ACT_GELU_TANH);
    y = dqg_layer_linear(model, graph, BLOCK "mlp.fc2", block, y);
    x = dqg_graph_add(graph, dqg_layer_keep(graph, BLOCK "mlp.add", block), x, mod, 5 * d, y);
    dqg_graph_block(graph, enter, x, input);
    return x;
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(11 * hyper->depth + 14)));
    int32_t c = dqg_graph_timestep(graph, "timestep", hyper->frequencies);
    c = dqg_layer_linear(model, graph, "t_embedder.mlp.0", 0, c);
    c = dqg_graph_activate(graph, "t_embedder.act", c, DQG_ACT_SILU);
    c = dqg_layer_linear(model, graph, "t_embedder.mlp.2", 0, c);
    c = dqg_graph_label(graph, "y_embedder", c, dqg_model_find(model, "y_embedder.embedding_table.weight"),
                        hyper->classes);
    c = dqg_graph_activate(graph, "condition", c, DQG_ACT_SILU);
    int32_t x = dqg_graph_patchify(graph, "patchify", dqg_model_find(model, "x_embedder.proj.weight"));
    x = dqg_layer_linear(model, graph, "x_embedder.proj", 0, x);
    x = dqg_graph_add_table(graph, "pos_embed", x, position_table(model, graph));
    x = dqg_graph_active(graph, "active", x);
    for (size_t i = 0; i < hyper->depth; i++) {
        if (dqg_graph_begin_block(graph, i)) {
            x = build_block(model, graph, i, x, c);
        }
    }
    int32_t mod = dqg_layer_linear(model, graph, "final_layer.adaLN_modulation.1", 0, c);
    x = dqg_graph_norm(graph, "final_layer.norm_final", x, mod, 0, hyper->hidden, norm_epsilon);
    x = dqg_layer_linear(model, graph, "final_layer.linear", 0, x);
    dqg_graph_unpatchify(graph, "output", x);
    return DQG_OK;
}

/* Embeddings and the last layer are small, and an error there reaches every value: they keep 16 bits. */
static const char *const rules[][2] = {
    {"pos_embed", "f16"},
    {"?_embedder.*", "f16"},
    {"final_layer.*", "f16"},
    {NULL, NULL},
};

const struct dqg_family dqg_family_dit = {
    .name = "dit",
    .role = "denoiser",
    .marker = "y_embedder.embedding_table.weight",
    .detect = detect,
    .configure = configure,
    .build = build,
    .rules = rules,
};
