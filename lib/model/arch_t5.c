/* SPDX-License-Identifier: MIT */
/*
 * The encoder of T5 v1.1: arXiv 1910.10683 with the gated unit of arXiv 2002.05202; XXL, XL, base and others of their
 * form. Names are those of transformers, but that q, k and v are one matrix, and so are wi_1 and wi_0, in this order.
 *
 *   x = shared[id]
 *   x += o(attention(qkv(norm(x))))      for each layer: scores q k + bias[head][bucket(key - query)], not scaled
 *   x += wo(wi_1(norm(x)) gelu(wi_0(norm(x))))
 *   rows = final_norm(x)
 *
 * Norms are RMS norms. The sums x grow beyond the range of 16-bit floats in published models; they are 32-bit here.
 */
#include "model/layer_parts.h"

enum { BUCKETS = 32, OWN_TOKENS = 512 /* in training; for the figures of a model's description */ };

static const float epsilon = 1e-6f;

static const char table_name[] = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
static const char last_norm[] = "encoder.final_layer_norm";

#define ATTENTION "encoder.block.#.layer.0."
#define MLP "encoder.block.#.layer.1."

extern const struct dqg_family dqg_family_t5;

static const struct dqg_layer_name names[] = {
    {"shared.", "shared.", 0, 0, false},
    {"encoder.embed_tokens.", "shared.", 0, 0, false},
    {ATTENTION "SelfAttention.q.", ATTENTION "SelfAttention.qkv.", 0, 3, false},
    {ATTENTION "SelfAttention.k.", ATTENTION "SelfAttention.qkv.", 1, 3, false},
    {ATTENTION "SelfAttention.v.", ATTENTION "SelfAttention.qkv.", 2, 3, false},
    {ATTENTION "SelfAttention.qkv.", ATTENTION "SelfAttention.qkv.", 0, 0, false},
    {ATTENTION "SelfAttention.o.", ATTENTION "SelfAttention.o.", 0, 0, false},
    {ATTENTION "SelfAttention.relative_attention_bias.", ATTENTION "SelfAttention.relative_attention_bias.", 0, 0,
     false},
    {ATTENTION "layer_norm.", ATTENTION "layer_norm.", 0, 0, false},
    {MLP "DenseReluDense.wi_1.", MLP "DenseReluDense.wi_gated.", 0, 2, false},
    {MLP "DenseReluDense.wi_0.", MLP "DenseReluDense.wi_gated.", 1, 2, false},
    {MLP "DenseReluDense.wi_gated.", MLP "DenseReluDense.wi_gated.", 0, 0, false},
    {MLP "DenseReluDense.wi.", MLP "DenseReluDense.wi.", 0, 0, false}, /* of T5 v1.0, which is refused */
    {MLP "DenseReluDense.wo.", MLP "DenseReluDense.wo.", 0, 0, false},
    {MLP "layer_norm.", MLP "layer_norm.", 0, 0, false},
    {"encoder.final_layer_norm.", "encoder.final_layer_norm.", 0, 0, false},
};

static bool rename_tensor(const char *name, struct dqg_rename *to) {
    return dqg_layer_rename(names, DQG_COUNT_OF(names), name, to);
}

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "shared.weight") >= 0 && dqg_source_find(source, table_name) >= 0;
}

static dqg_status check_layer(struct dqg_context *context, const struct dqg_model *model, size_t layer) {
    size_t d = model->hyper.hidden, inner = model->hyper.attention, mlp = model->hyper.mlp;
    DQG_TRY(dqg_layer_need(context, model, ATTENTION "layer_norm", layer, d, 0, false));
    DQG_TRY(dqg_layer_need(context, model, ATTENTION "SelfAttention.qkv", layer, 3 * inner, d, false));
    DQG_TRY(dqg_layer_need(context, model, ATTENTION "SelfAttention.o", layer, d, inner, false));
    DQG_TRY(dqg_layer_need(context, model, MLP "layer_norm", layer, d, 0, false));
    DQG_TRY(dqg_layer_need(context, model, MLP "DenseReluDense.wi_gated", layer, 2 * mlp, d, false));
    return dqg_layer_need(context, model, MLP "DenseReluDense.wo", layer, d, mlp, false);
}

static bool sizes_possible(const struct dqg_weight *tokens, const struct dqg_weight *table,
                           const struct dqg_weight *qkv, const struct dqg_weight *wo) {
    return tokens->size.columns > 0 && tokens->size.columns <= 1 << 16 && tokens->size.rows > 1 &&
           tokens->size.rows <= 1 << 24 && table->size.rows == BUCKETS && table->size.columns > 0 &&
           table->size.columns <= 4096 && qkv->size.rows <= 1 << 18 && wo->size.columns > 0 &&
           wo->size.columns <= 1 << 18 && qkv->size.rows > 0 && qkv->size.rows % (3 * table->size.columns) == 0 &&
           qkv->size.rows / 3 / table->size.columns <= DQG_ATTENTION_WIDTH;
}

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *tokens = dqg_model_find(model, "shared.weight");
    const struct dqg_weight *table = dqg_model_find(model, table_name);
    const struct dqg_weight *qkv = dqg_layer_find(model, ATTENTION "SelfAttention.qkv", 0, ".weight");
    const struct dqg_weight *wo = dqg_layer_find(model, MLP "DenseReluDense.wo", 0, ".weight");
    if (dqg_layer_find(model, MLP "DenseReluDense.wi", 0, ".weight") != NULL ||
        dqg_layer_find(model, ATTENTION "SelfAttention.relative_attention_bias", 1, ".weight") != NULL) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "this is T5 v1.0 or UMT5; diffusion models use T5 v1.1, which has wi_0, wi_1 and one "
                        "relative_attention_bias");
    }
    if (tokens == NULL || table == NULL || qkv == NULL || wo == NULL || !sizes_possible(tokens, table, qkv, wo)) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like a T5 encoder, but shared, relative_attention_bias or the first block is "
                        "missing or has an impossible shape");
    }
    hyper->hidden = tokens->size.columns;
    hyper->vocabulary = tokens->size.rows;
    hyper->heads = table->size.columns;
    hyper->attention = qkv->size.rows / 3;
    hyper->mlp = wo->size.columns;
    hyper->depth = dqg_layer_count(model, ATTENTION "SelfAttention.qkv.weight");
    hyper->activation = DQG_ACT_GELU_TANH;
    hyper->patch = hyper->height = 1;
    hyper->width = OWN_TOKENS;
    DQG_TRY(dqg_layer_need(context, model, "shared", 0, hyper->vocabulary, hyper->hidden, false));
    for (size_t i = 0; i < hyper->depth; i++) {
        DQG_TRY(check_layer(context, model, i));
    }
    return dqg_layer_need(context, model, last_norm, 0, hyper->hidden, 0, false);
}

/* ---- graph ---- */

/* One bucket for each distance under 8, then wider ones up to 128. The published formula, with a logarithm, has its
 * limits at whole numbers; these are they. */
size_t dqg_t5_bucket(int64_t distance) {
    static const int limits[] = {12, 16, 23, 32, 46, 64, 91}; /* where buckets 9 to 15 begin */
    size_t side = distance > 0 ? BUCKETS / 2 : 0;
    uint64_t away = distance < 0 ? 0 - (uint64_t)distance : (uint64_t)distance;
    size_t bucket = 8;
    for (size_t i = 0; i < DQG_COUNT_OF(limits); i++) {
        bucket += away >= (uint64_t)limits[i];
    }
    return side + (away < 8 ? (size_t)away : bucket);
}

const float *dqg_t5_scores(struct dqg_graph *graph, const struct dqg_weight *table, size_t tokens) {
    size_t heads = table->size.columns, count;
    const float *rows = dqg_layer_table(graph, table, BUCKETS);
    float *scores = NULL;
    if (dqg_mul_size(tokens, tokens, &count) && dqg_mul_size(count, heads * sizeof *scores, &count)) {
        scores = dqg_arena_alloc(&graph->context->alloc, &graph->arena, count);
    }
    if (rows == NULL || scores == NULL) {
        graph->failed = true;
        return NULL;
    }
    for (size_t q = 0; q < tokens; q++) {
        for (size_t k = 0; k < tokens; k++) {
            const float *row = rows + dqg_t5_bucket((int64_t)k - (int64_t)q) * heads;
            for (size_t h = 0; h < heads; h++) {
                scores[(h * tokens + q) * tokens + k] = row[h];
            }
        }
    }
    return scores;
}

static int32_t build_layer(const struct dqg_model *model, struct dqg_graph *graph, size_t layer, const float *scores,
                           int32_t x) {
    const struct dqg_hyper *hyper = &model->hyper;
    int32_t y = dqg_layer_norm(model, graph, ATTENTION "layer_norm", layer, x, true, epsilon);
    y = dqg_layer_linear(model, graph, ATTENTION "SelfAttention.qkv", layer, y);
    const struct dqg_graph_attention_args args = {.q = y,
                                                  .k = y,
                                                  .v = y,
                                                  .k_column = hyper->attention,
                                                  .v_column = 2 * hyper->attention,
                                                  .width = hyper->attention,
                                                  .heads = hyper->heads,
                                                  .mask = DQG_NO_VALUE,
                                                  .scores = scores,
                                                  .scale = 1.0f,
                                                  .counted = graph->text.counted};
    y = dqg_graph_attention_to(graph, dqg_layer_keep(graph, ATTENTION "SelfAttention", layer), &args);
    y = dqg_layer_linear(model, graph, ATTENTION "SelfAttention.o", layer, y);
    x = dqg_graph_add(graph, dqg_layer_keep(graph, ATTENTION "add", layer), x, DQG_NO_VALUE, 0, y);
    y = dqg_layer_norm(model, graph, MLP "layer_norm", layer, x, true, epsilon);
    y = dqg_layer_linear(model, graph, MLP "DenseReluDense.wi_gated", layer, y);
    y = dqg_graph_glu(graph, dqg_layer_keep(graph, MLP "DenseReluDense.act", layer), y, hyper->activation);
    y = dqg_layer_linear(model, graph, MLP "DenseReluDense.wo", layer, y);
    return dqg_graph_add(graph, dqg_layer_keep(graph, MLP "add", layer), x, DQG_NO_VALUE, 0, y);
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_text_form *form = &graph->text;
    size_t layers = model->hyper.depth - form->skip;
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(10 * layers + 4)));
    const float *scores = dqg_t5_scores(graph, dqg_model_find(model, table_name), graph->tokens);
    int32_t x = dqg_graph_tokens(graph, "shared", dqg_model_find(model, "shared.weight"));
    for (size_t i = 0; i < layers; i++) {
        x = build_layer(model, graph, i, scores, x);
    }
    x = form->no_norm ? x : dqg_layer_norm(model, graph, last_norm, 0, x, true, epsilon);
    dqg_graph_result(graph, "rows", x, 0);
    return DQG_OK;
}

/* The table of tokens has a scale for each row, so that 8 bits do. The inputs of wo have outliers that int8 rows would
 * be scaled to: it stays on the float path. The first layer is worth 8 bits more than the others: its error is in all.
 */
static const char *const rules[][2] = {
    {"shared.weight", "int8"},
    {"*.relative_attention_bias.weight", "f16"},
    {"*.DenseReluDense.wo.weight", "f16"},
    {"encoder.block.0.*", "int8"},
    {NULL, NULL},
};

const struct dqg_family dqg_family_t5 = {
    .name = "t5",
    .role = "t5",
    .marker = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    .detect = detect,
    .rename = rename_tensor,
    .configure = configure,
    .build = build,
    .rules = rules,
};
