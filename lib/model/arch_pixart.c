/* SPDX-License-Identifier: MIT */
/*
 * PixArt alpha and Sigma: Chen et al. 2023, arXiv 2310.00426, and 2024, arXiv 2403.04692. A transformer on patches that
 * reads rows of T5 in each block. Modulation is computed once (adaLN-single); a block adds a table of its own to it.
 * Tensor names of the authors' code; names_pixart.c has those of diffusers. Any width, depth and patch size.
 *
 *   e = mlp(timestep), of alpha-1024 + [mlp(height), mlp(width), mlp(height / width)];  g = linear(silu(e))
 *   y = mlp(context);  x = patches W + position
 *   x += gate_a attention(norm(x) (1 + scale_a) + shift_a)      for each block, the six vectors from g + its table
 *   x += attention(x, y)
 *   x += gate_m mlp(norm(x) (1 + scale_m) + shift_m)
 *   out = linear(norm(x) (1 + scale) + shift)                   from e + a table
 */
#include <math.h>

#include "model/layer_parts.h"
#include "model/pixart.h"
#include "model/settings.h"

enum { HEAD_WIDTH = 72, SIZES = 3 /* height, width, height / width */ };

static const float norm_epsilon = 1e-6f;

#define BLOCK "blocks.#."

/* Products and activation of the embedders. */
static const char *const time_names[] = {"t_embedder.mlp.0", "t_embedder.act", "t_embedder.mlp.2"};
static const char *const sides_names[] = {"csize_embedder.mlp.0", "csize_embedder.act", "csize_embedder.mlp.2"};
static const char *const aspect_names[] = {"ar_embedder.mlp.0", "ar_embedder.act", "ar_embedder.mlp.2"};
static const char *const context_names[] = {"y_embedder.y_proj.fc1", "y_embedder.act", "y_embedder.y_proj.fc2"};

extern const struct dqg_family dqg_family_pixart;

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "x_embedder.proj.weight") >= 0 &&
           dqg_source_find(source, "blocks.0.cross_attn.kv_linear.weight") >= 0 &&
           dqg_source_find(source, "temporal_transformer_blocks.0.scale_shift_table") < 0;
}

/* ---- sizes ---- */

/* A table of so many rows, of modulation; any format that has rows. */
static dqg_status need_table(struct dqg_context *context, const struct dqg_model *model, const char *format,
                             size_t number, size_t rows) {
    const struct dqg_weight *table = dqg_layer_find(model, format, number, "");
    if (table == NULL || table->size.rows != rows || table->size.columns != model->hyper.hidden) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "a scale_shift_table of this PixArt is missing or not %zu x %zu",
                        rows, model->hyper.hidden);
    }
    return DQG_OK;
}

static dqg_status check_block(struct dqg_context *context, const struct dqg_model *model, size_t block) {
    size_t d = model->hyper.hidden, mlp = model->hyper.mlp;
    DQG_TRY(need_table(context, model, BLOCK "scale_shift_table", block, 6));
    DQG_TRY(dqg_layer_need(context, model, BLOCK "attn.qkv", block, 3 * d, d, true));
    DQG_TRY(dqg_layer_need(context, model, BLOCK "attn.proj", block, d, d, true));
    DQG_TRY(dqg_layer_need(context, model, BLOCK "cross_attn.q_linear", block, d, d, true));
    DQG_TRY(dqg_layer_need(context, model, BLOCK "cross_attn.kv_linear", block, 2 * d, d, true));
    DQG_TRY(dqg_layer_need(context, model, BLOCK "cross_attn.proj", block, d, d, true));
    DQG_TRY(dqg_layer_need(context, model, BLOCK "mlp.fc1", block, mlp, d, true));
    DQG_TRY(dqg_layer_need(context, model, BLOCK "mlp.fc2", block, d, mlp, true));
    if (dqg_layer_find(model, BLOCK "attn.sr", block, ".weight") != NULL ||
        dqg_layer_find(model, BLOCK "attn.q_norm", block, ".weight") != NULL) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "block %zu of this PixArt compresses its keys or has norms of queries and keys, which no "
                        "published one does",
                        block);
    }
    return DQG_OK;
}

static dqg_status check_embedder(struct dqg_context *context, const struct dqg_model *model, const char *const names[3],
                                 size_t in, size_t out) {
    DQG_TRY(dqg_layer_need(context, model, names[0], 0, out, in, true));
    return dqg_layer_need(context, model, names[2], 0, out, out, true);
}

static dqg_status check_tensors(struct dqg_context *context, const struct dqg_model *model) {
    const struct dqg_hyper *hyper = &model->hyper;
    size_t d = hyper->hidden, pixels = hyper->patch * hyper->patch;
    DQG_TRY(dqg_model_need(context, model, "x_embedder.proj.bias", d, 0)); /* its weights gave the sizes */
    DQG_TRY(check_embedder(context, model, time_names, hyper->frequencies, d));
    DQG_TRY(dqg_layer_need(context, model, "t_block.1", 0, 6 * d, d, true));
    DQG_TRY(check_embedder(context, model, context_names, hyper->context_width, d));
    if (hyper->size_count > 0) {
        DQG_TRY(check_embedder(context, model, sides_names, hyper->frequencies, d / SIZES));
        DQG_TRY(check_embedder(context, model, aspect_names, hyper->frequencies, d / SIZES));
    }
    for (size_t i = 0; i < hyper->depth; i++) {
        DQG_TRY(check_block(context, model, i));
    }
    DQG_TRY(need_table(context, model, "final_layer.scale_shift_table", 0, 2));
    return dqg_layer_need(context, model, "final_layer.linear", 0, pixels * hyper->out_channels, d, true);
}

static dqg_status find_heads(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    double heads = (double)hyper->hidden / HEAD_WIDTH;
    if (!dqg_model_number(model, "transformer", "num_heads", &heads)) {
        dqg_model_number(model, "transformer", "num_attention_heads", &heads);
    }
    hyper->heads = heads >= 1 && heads <= (double)hyper->hidden && heads == floor(heads) ? (size_t)heads : 0;
    if (hyper->heads == 0 || hyper->hidden % hyper->heads != 0 || hyper->hidden % 4 != 0 ||
        hyper->hidden / hyper->heads > DQG_ATTENTION_WIDTH) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "width %zu of this PixArt is not cut into heads of %d: metadata 'num_heads' must say how many "
                        "heads there are (of at most %d each)",
                        hyper->hidden, (int)HEAD_WIDTH, (int)DQG_ATTENTION_WIDTH);
    }
    return DQG_OK;
}

static const char *const scheduler[][2] = {{"solver", "dpm++-2m"},    {"schedule", "linear"}, {"spacing", "trailing"},
                                           {"prediction", "epsilon"}, {"steps", "20"},        {NULL, NULL}};

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *proj = dqg_model_find(model, "x_embedder.proj.weight");
    const struct dqg_weight *last = dqg_model_find(model, "final_layer.linear.weight");
    const struct dqg_weight *fc1 = dqg_model_find(model, "blocks.0.mlp.fc1.weight");
    const struct dqg_weight *frequencies = dqg_model_find(model, "t_embedder.mlp.0.weight");
    const struct dqg_weight *caption = dqg_model_find(model, "y_embedder.y_proj.fc1.weight");
    if (proj == NULL || last == NULL || fc1 == NULL || frequencies == NULL || caption == NULL || proj->rank != 4 ||
        proj->shape[2] != proj->shape[3] || frequencies->size.columns % 2 != 0 || proj->size.rows > 1 << 16 ||
        fc1->size.rows > 1 << 17 || proj->size.columns > 1 << 16 || caption->size.columns > 1 << 16) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like a PixArt, but x_embedder, t_embedder, y_embedder, blocks.0 or final_layer is "
                        "missing or has an impossible shape");
    }
    hyper->hidden = proj->size.rows;
    hyper->channels = (size_t)proj->shape[1];
    hyper->patch = (size_t)proj->shape[2];
    hyper->mlp = fc1->size.rows;
    hyper->frequencies = frequencies->size.columns;
    hyper->context_width = caption->size.columns;
    hyper->masked = true;
    hyper->scheduler = scheduler;
    hyper->size_count = dqg_model_find(model, "csize_embedder.mlp.0.weight") != NULL ? SIZES : 0;
    hyper->out_channels = last->size.rows / (hyper->patch * hyper->patch);
    if ((hyper->out_channels != hyper->channels && hyper->out_channels != 2 * hyper->channels) ||
        (hyper->size_count > 0 && hyper->hidden % SIZES != 0)) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this PixArt makes %zu channels of %zu, expected as many or, with learned sigma, twice that; "
                        "with embedded sizes its width %zu must be a multiple of %d",
                        hyper->out_channels, hyper->channels, hyper->hidden, (int)SIZES);
    }
    hyper->depth = dqg_layer_count(model, BLOCK "attn.qkv.weight");
    DQG_TRY(find_heads(context, model));
    DQG_TRY(dqg_pixart_find_variant(context, model));
    return check_tensors(context, model);
}

/* ---- graph ---- */

/* Other grids than the model's own cover the same positions. */
static const float *position_table(const struct dqg_model *model, struct dqg_graph *graph) {
    double reach = (double)(model->hyper.height / graph->patch) * model->hyper.position_step;
    return dqg_layer_positions(graph, model->hyper.hidden, reach, reach);
}

/* The two products of an embedder with an activation between them; names: of all three. */
static int32_t embed(const struct dqg_model *model, struct dqg_graph *graph, const char *const names[3],
                     enum dqg_activation activation, int32_t x) {
    x = dqg_layer_linear(model, graph, names[0], 0, x);
    x = dqg_graph_activate(graph, names[1], x, activation);
    return dqg_layer_linear(model, graph, names[2], 0, x);
}

/* What the size of the picture adds to the time's embedding: a third of the columns for each number. */
static int32_t embed_sizes(const struct dqg_model *model, struct dqg_graph *graph) {
    int32_t x = dqg_graph_number_rows(graph, "sizes", DQG_INPUT_SIZES, SIZES, 1, model->hyper.frequencies);
    int32_t sides = dqg_graph_slice(graph, "sides", x, 0, 2), aspect = dqg_graph_slice(graph, "aspect", x, 2, 1);
    sides = embed(model, graph, sides_names, DQG_ACT_SILU, sides);
    aspect = embed(model, graph, aspect_names, DQG_ACT_SILU, aspect);
    int32_t height = dqg_graph_slice(graph, "height", sides, 0, 1),
            width = dqg_graph_slice(graph, "width", sides, 1, 1);
    sides = dqg_graph_concat(graph, "sides", height, width);
    return dqg_graph_concat(graph, "sizes", sides, aspect);
}

/* What all blocks read. */
struct shared {
    int32_t g;       /* six vectors of modulation */
    int32_t context; /* projected */
    int32_t mask;    /* of the context */
};

static int32_t build_block(const struct dqg_model *model, struct dqg_graph *graph, size_t block,
                           const struct shared *shared, int32_t x) {
    size_t d = model->hyper.hidden;
    const float *table = dqg_layer_table(graph, dqg_layer_find(model, BLOCK "scale_shift_table", block, ""), 6);
    /* columns of mod: shift_a, scale_a, gate_a, shift_m, scale_m, gate_m */
    int32_t mod = dqg_graph_add_table(graph, dqg_layer_keep(graph, BLOCK "modulation", block), shared->g, table);
    int32_t enter = x,
            input = dqg_graph_norm(graph, dqg_layer_keep(graph, BLOCK "norm1", block), x, mod, 0, d, norm_epsilon);
    int32_t y = dqg_layer_linear(model, graph, BLOCK "attn.qkv", block, input);
    y = dqg_graph_attention(graph, dqg_layer_keep(graph, BLOCK "attn", block), y, model->hyper.heads);
    y = dqg_layer_linear(model, graph, BLOCK "attn.proj", block, y);
    x = dqg_graph_add(graph, dqg_layer_keep(graph, BLOCK "attn.add", block), x, mod, 2 * d, y);
    int32_t q = dqg_layer_linear(model, graph, BLOCK "cross_attn.q_linear", block, x);
    int32_t kv = dqg_layer_linear(model, graph, BLOCK "cross_attn.kv_linear", block, shared->context);
    const struct dqg_graph_attention_args args = {
        .q = q, .k = kv, .v = kv, .v_column = d, .width = d, .heads = model->hyper.heads, .mask = shared->mask};
    y = dqg_graph_attention_to(graph, dqg_layer_keep(graph, BLOCK "cross_attn", block), &args);
    y = dqg_layer_linear(model, graph, BLOCK "cross_attn.proj", block, y);
    x = dqg_graph_add(graph, dqg_layer_keep(graph, BLOCK "cross_attn.add", block), x, DQG_NO_VALUE, 0, y);
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
    struct shared shared = {0};
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(16 * hyper->depth + 40)));
    shared.mask = dqg_graph_input(graph, "mask", DQG_INPUT_MASK, graph->context_tokens);
    shared.context = dqg_graph_input(graph, "context", DQG_INPUT_CONTEXT, hyper->context_width);
    shared.context = embed(model, graph, context_names, DQG_ACT_GELU_TANH, shared.context);
    int32_t e = dqg_graph_timestep(graph, "timestep", hyper->frequencies);
    e = embed(model, graph, time_names, DQG_ACT_SILU, e);
    if (hyper->size_count > 0) {
        e = dqg_graph_add(graph, "condition", e, DQG_NO_VALUE, 0, embed_sizes(model, graph));
    }
    shared.g = dqg_graph_activate(graph, "t_block.0", e, DQG_ACT_SILU);
    shared.g = dqg_layer_linear(model, graph, "t_block.1", 0, shared.g);
    int32_t x = dqg_graph_patchify(graph, "patchify", dqg_model_find(model, "x_embedder.proj.weight"));
    x = dqg_layer_linear(model, graph, "x_embedder.proj", 0, x);
    x = dqg_graph_add_table(graph, "pos_embed", x, position_table(model, graph));
    x = dqg_graph_active(graph, "active", x);
    for (size_t i = 0; i < hyper->depth; i++) {
        if (dqg_graph_begin_block(graph, i)) {
            x = build_block(model, graph, i, &shared, x);
        }
    }
    const float *table = dqg_layer_table(graph, dqg_model_find(model, "final_layer.scale_shift_table"), 2);
    int32_t mod =
        dqg_graph_add_table(graph, "final_layer.modulation", dqg_graph_concat(graph, "final_layer.e", e, e), table);
    x = dqg_graph_norm(graph, "final_layer.norm_final", x, mod, 0, hyper->hidden, norm_epsilon);
    x = dqg_layer_linear(model, graph, "final_layer.linear", 0, x);
    dqg_graph_unpatchify(graph, "output", x);
    return DQG_OK;
}

/* Tables, embeddings and the last layer are small, and an error there reaches every value: they keep 16 bits. The one
 * modulation of all blocks has 8 million weights in the published size and is applied to one row: 8 bits. */
static const char *const rules[][2] = {
    {"pos_embed", "f16"},     {"*scale_shift_table", "f16"}, {"?_embedder.*", "f16"}, {"csize_embedder.*", "f16"},
    {"ar_embedder.*", "f16"}, {"final_layer.*", "f16"},      {"t_block.1.*", "int8"}, {NULL, NULL},
};

const struct dqg_family dqg_family_pixart = {
    .name = "pixart",
    .role = "denoiser",
    .marker = "t_block.1.weight",
    .detect = detect,
    .rename = dqg_pixart_rename,
    .configure = configure,
    .build = build,
    .rules = rules,
};
