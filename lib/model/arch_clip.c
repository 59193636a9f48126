/* SPDX-License-Identifier: MIT */
/*
 * The text encoders of CLIP (arXiv 2103.00020) and OpenCLIP: CLIP-L, OpenCLIP-H, bigG and others of their form, of any
 * width and depth. Names are those of transformers, but that q, k and v are one matrix, as in OpenCLIP.
 *
 *   x = token[id] + position
 *   x += out(attention(qkv(norm1(x))))      for each layer, 64 columns to a head, a token sees none after it
 *   x += fc2(gelu(fc1(norm2(x))))
 *   rows = final_norm(x), pooled = projection(final_norm(x) of the end token)
 */
#include "model/layer_parts.h"

enum { HEAD_WIDTH = 64, QUICK_WIDTH = 768 /* CLIP-L: of the published models the only one with quick GELU */ };

static const float epsilon = 1e-5f;

static const char tokens_name[] = "text_model.embeddings.token_embedding";
static const char positions_name[] = "text_model.embeddings.position_embedding";
static const char last_norm[] = "text_model.final_layer_norm";

#define LAYER "text_model.encoder.layers.#."
#define OPEN_LAYER "transformer.resblocks.#."

extern const struct dqg_family dqg_family_clip;

static const struct dqg_layer_name names[] = {
    {"text_model.embeddings.token_embedding.", "text_model.embeddings.token_embedding.", 0, 0, false},
    {"text_model.embeddings.position_embedding.", "text_model.embeddings.position_embedding.", 0, 0, false},
    {"text_model.final_layer_norm.", "text_model.final_layer_norm.", 0, 0, false},
    {"text_projection.weight", "text_projection.weight", 0, 0, false},
    {LAYER "self_attn.q_proj.", LAYER "self_attn.qkv_proj.", 0, 3, false},
    {LAYER "self_attn.k_proj.", LAYER "self_attn.qkv_proj.", 1, 3, false},
    {LAYER "self_attn.v_proj.", LAYER "self_attn.qkv_proj.", 2, 3, false},
    {LAYER "self_attn.qkv_proj.", LAYER "self_attn.qkv_proj.", 0, 0, false},
    {LAYER "self_attn.out_proj.", LAYER "self_attn.out_proj.", 0, 0, false},
    {LAYER "layer_norm1.", LAYER "layer_norm1.", 0, 0, false},
    {LAYER "layer_norm2.", LAYER "layer_norm2.", 0, 0, false},
    {LAYER "mlp.fc1.", LAYER "mlp.fc1.", 0, 0, false},
    {LAYER "mlp.fc2.", LAYER "mlp.fc2.", 0, 0, false},
    /* OpenCLIP */
    {"token_embedding.", "text_model.embeddings.token_embedding.", 0, 0, false},
    {"positional_embedding", "text_model.embeddings.position_embedding.weight", 0, 0, false},
    {"ln_final.", "text_model.final_layer_norm.", 0, 0, false},
    {"text_projection", "text_projection.weight", 0, 0, true}, /* x P there, x W^T here */
    {OPEN_LAYER "attn.in_proj_", LAYER "self_attn.qkv_proj.", 0, 0, false},
    {OPEN_LAYER "attn.out_proj.", LAYER "self_attn.out_proj.", 0, 0, false},
    {OPEN_LAYER "ln_1.", LAYER "layer_norm1.", 0, 0, false},
    {OPEN_LAYER "ln_2.", LAYER "layer_norm2.", 0, 0, false},
    {OPEN_LAYER "mlp.c_fc.", LAYER "mlp.fc1.", 0, 0, false},
    {OPEN_LAYER "mlp.c_proj.", LAYER "mlp.fc2.", 0, 0, false},
};

/* Newer versions of transformers leave "text_model." out. */
static bool rename_tensor(const char *name, struct dqg_rename *to) {
    char full[sizeof to->name];
    return dqg_layer_rename(names, DQG_COUNT_OF(names), name, to) ||
           (dqg_format(full, sizeof full, "text_model.%s", name) < sizeof full &&
            dqg_layer_rename(names, DQG_COUNT_OF(names), full, to));
}

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "text_model.embeddings.token_embedding.weight") >= 0 &&
           dqg_source_find(source, "text_model.encoder.layers.0.self_attn.qkv_proj.weight") >= 0;
}

static dqg_status check_layer(struct dqg_context *context, const struct dqg_model *model, size_t layer) {
    size_t d = model->hyper.hidden, mlp = model->hyper.mlp;
    DQG_TRY(dqg_layer_need(context, model, LAYER "layer_norm1", layer, d, 0, true));
    DQG_TRY(dqg_layer_need(context, model, LAYER "self_attn.qkv_proj", layer, 3 * d, d, true));
    DQG_TRY(dqg_layer_need(context, model, LAYER "self_attn.out_proj", layer, d, d, true));
    DQG_TRY(dqg_layer_need(context, model, LAYER "layer_norm2", layer, d, 0, true));
    DQG_TRY(dqg_layer_need(context, model, LAYER "mlp.fc1", layer, mlp, d, true));
    return dqg_layer_need(context, model, LAYER "mlp.fc2", layer, d, mlp, true);
}

static dqg_status find_activation(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const char *act = dqg_model_find_metadata(model, "hidden_act");
    hyper->activation = hyper->hidden == QUICK_WIDTH ? DQG_ACT_GELU_QUICK : DQG_ACT_GELU_ERF;
    if (act == NULL) {
        return DQG_OK;
    }
    if (strcmp(act, "gelu") != 0 && strcmp(act, "quick_gelu") != 0) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "metadata 'hidden_act' is '%s', known are gelu and quick_gelu",
                        act);
    }
    hyper->activation = strcmp(act, "gelu") == 0 ? DQG_ACT_GELU_ERF : DQG_ACT_GELU_QUICK;
    return DQG_OK;
}

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *tokens = dqg_layer_find(model, tokens_name, 0, ".weight");
    const struct dqg_weight *positions = dqg_layer_find(model, positions_name, 0, ".weight");
    const struct dqg_weight *fc1 = dqg_layer_find(model, LAYER "mlp.fc1", 0, ".weight");
    const struct dqg_weight *projection = dqg_model_find(model, "text_projection.weight");
    if (tokens == NULL || positions == NULL || fc1 == NULL || tokens->size.columns > 1 << 16 || tokens->size.rows < 2 ||
        tokens->size.rows > 1 << 24 || positions->size.rows < 1 || positions->size.rows > 1 << 16 ||
        fc1->size.rows < 1 || fc1->size.rows > 1 << 18) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like a CLIP text encoder, but token_embedding, position_embedding or the first "
                        "layer is missing or has an impossible shape");
    }
    hyper->hidden = hyper->attention = tokens->size.columns;
    hyper->heads = hyper->hidden / HEAD_WIDTH;
    hyper->mlp = fc1->size.rows;
    hyper->vocabulary = tokens->size.rows;
    hyper->positions = positions->size.rows;
    hyper->depth = dqg_layer_count(model, LAYER "self_attn.qkv_proj.weight");
    hyper->projection = projection != NULL ? projection->size.rows : 0;
    hyper->patch = hyper->height = 1;
    hyper->width = hyper->positions;
    if (hyper->hidden % HEAD_WIDTH != 0 || hyper->heads == 0 || hyper->projection > 1 << 16) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "token_embedding has %zu columns: heads of CLIP have %d each",
                        hyper->hidden, (int)HEAD_WIDTH);
    }
    DQG_TRY(find_activation(context, model));
    DQG_TRY(dqg_layer_need(context, model, tokens_name, 0, hyper->vocabulary, hyper->hidden, false));
    DQG_TRY(dqg_layer_need(context, model, positions_name, 0, hyper->positions, hyper->hidden, false));
    for (size_t i = 0; i < hyper->depth; i++) {
        DQG_TRY(check_layer(context, model, i));
    }
    if (projection != NULL) {
        DQG_TRY(dqg_layer_need(context, model, "text_projection", 0, hyper->projection, hyper->hidden, false));
    }
    return dqg_layer_need(context, model, last_norm, 0, hyper->hidden, 0, true);
}

/* ---- graph ---- */

static int32_t build_layer(const struct dqg_model *model, struct dqg_graph *graph, size_t layer, int32_t x) {
    const struct dqg_hyper *hyper = &model->hyper;
    int32_t y = dqg_layer_norm(model, graph, LAYER "layer_norm1", layer, x, false, epsilon);
    y = dqg_layer_linear(model, graph, LAYER "self_attn.qkv_proj", layer, y);
    const struct dqg_graph_attention_args args = {.q = y,
                                                  .k = y,
                                                  .v = y,
                                                  .k_column = hyper->hidden,
                                                  .v_column = 2 * hyper->hidden,
                                                  .width = hyper->hidden,
                                                  .heads = hyper->heads,
                                                  .mask = DQG_NO_VALUE,
                                                  .causal = true};
    y = dqg_graph_attention_to(graph, dqg_layer_keep(graph, LAYER "self_attn", layer), &args);
    y = dqg_layer_linear(model, graph, LAYER "self_attn.out_proj", layer, y);
    x = dqg_graph_add(graph, dqg_layer_keep(graph, LAYER "self_attn.add", layer), x, DQG_NO_VALUE, 0, y);
    y = dqg_layer_norm(model, graph, LAYER "layer_norm2", layer, x, false, epsilon);
    y = dqg_layer_linear(model, graph, LAYER "mlp.fc1", layer, y);
    y = dqg_graph_activate(graph, dqg_layer_keep(graph, LAYER "mlp.act", layer), y, hyper->activation);
    y = dqg_layer_linear(model, graph, LAYER "mlp.fc2", layer, y);
    return dqg_graph_add(graph, dqg_layer_keep(graph, LAYER "mlp.add", layer), x, DQG_NO_VALUE, 0, y);
}

/* One row of the last layer. */
static void build_pooled(const struct dqg_model *model, struct dqg_graph *graph, int32_t x) {
    x = dqg_graph_pick(graph, "pooled.pick", x);
    x = dqg_layer_norm(model, graph, last_norm, 0, x, false, epsilon);
    if (model->hyper.projection > 0 && !graph->text.no_projection) {
        x = dqg_layer_linear(model, graph, "text_projection", 0, x);
    }
    dqg_graph_result(graph, "pooled", x, 1);
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_text_form *form = &graph->text;
    size_t wanted = hyper->depth - form->skip, layers = form->pooled ? hyper->depth : wanted;
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(10 * layers + 8)));
    int32_t x = dqg_graph_tokens(graph, tokens_name, dqg_layer_find(model, tokens_name, 0, ".weight"));
    const struct dqg_weight *positions = dqg_layer_find(model, positions_name, 0, ".weight");
    x = dqg_graph_add_table(graph, positions_name, x, dqg_layer_table(graph, positions, graph->tokens));
    int32_t rows = x;
    for (size_t i = 0; i < layers; i++) {
        x = build_layer(model, graph, i, x);
        rows = i + 1 == wanted ? x : rows;
    }
    if (!form->no_rows) {
        rows = form->no_norm ? rows : dqg_layer_norm(model, graph, last_norm, 0, rows, false, epsilon);
        dqg_graph_result(graph, "rows", rows, 0);
    }
    if (form->pooled) {
        build_pooled(model, graph, x);
    }
    return DQG_OK;
}

/* Tables have a scale for each row: 8 bits of them are as good as 16. Positions and the projection are small. An error
 * of the first layer is in all the others: measured, it is worth the 8 bits more than any other layer. */
static const char *const rules[][2] = {
    {"*token_embedding.weight", "int6"},
    {"*position_embedding.weight", "f16"},
    {"text_projection.weight", "f16"},
    {"text_model.encoder.layers.0.*", "int8"},
    {NULL, NULL},
};

const struct dqg_family dqg_family_clip = {
    .name = "clip",
    .role = "clip",
    .marker = "text_model.embeddings.token_embedding.weight",
    .detect = detect,
    .rename = rename_tensor,
    .configure = configure,
    .build = build,
    .rules = rules,
};
