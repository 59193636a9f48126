/* SPDX-License-Identifier: MIT */
/*
 * MMDiT: "Scaling Rectified Flow Transformers", Esser et al. 2024 (arXiv 2403.03206), as Stable Diffusion 3 and 3.5
 * have it. Tokens of the image and of the text in two streams with weights of their own, which meet in one attention.
 * Tensor names of the authors' code; any width, depth and patch size. With norms of queries and keys or without; blocks
 * with a second attention, of the image alone, or without.
 *
 *   c = silu(mlp(timestep) + mlp(pooled)), x = patches W + position, text = context W
 *   q, k, v = of norm(x) (1 + scale) + shift, then of the text's       for each block
 *   x += gate proj(attention); x += gate2 proj2(attention2); x += gate_m mlp(norm(x) (1 + scale_m) + shift_m)
 *   text likewise, but not in the last block
 *   out = linear(norm(x) (1 + scale) + shift)
 */
#include <math.h>

#include "model/mmdit.h"
#include "model/settings.h"
#include "model/layer_parts.h"

#define BLOCK "joint_blocks.#."

enum { HEAD_WIDTH = 64 /* of the published models */, OWN_SIDE = 128 /* likewise: pictures of 1024 x 1024 */ };

static const float epsilon = 1e-6f;

extern const struct dqg_family dqg_family_mmdit;

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "joint_blocks.0.x_block.attn.qkv.weight") >= 0 &&
           dqg_source_find(source, "joint_blocks.0.context_block.attn.qkv.weight") >= 0 &&
           dqg_source_find(source, "x_embedder.proj.weight") >= 0 && dqg_source_find(source, "pos_embed") >= 0;
}

/* ---- names ---- */

enum { FORMAT_BYTES = 64 };

/* "joint_blocks.#.<part><end>", a format of names with the number of the block. */
static const char *block_format(char format[FORMAT_BYTES], const char *part, const char *end) {
    dqg_format(format, FORMAT_BYTES, BLOCK "%s%s", part, end);
    return format;
}

static const struct dqg_weight *find(const struct dqg_model *model, size_t block, const char *part, const char *end) {
    char format[FORMAT_BYTES];
    return dqg_layer_find(model, block_format(format, part, end), block, "");
}

static bool is_last(const struct dqg_model *model, size_t block) {
    return block + 1 == model->hyper.depth;
}

/* ---- hyper-parameters ---- */

static dqg_status need(struct dqg_context *context, const struct dqg_model *model, size_t block, const char *part,
                       size_t rows, size_t columns) {
    char format[FORMAT_BYTES];
    return dqg_layer_need(context, model, block_format(format, part, ""), block, rows, columns, true);
}

/* part: "x_block.attn" */
static dqg_status need_attention(struct dqg_context *context, const struct dqg_model *model, size_t block,
                                 const char *part, bool projected) {
    size_t d = model->hyper.hidden, width = d / model->hyper.heads;
    char name[FORMAT_BYTES], format[FORMAT_BYTES];
    dqg_format(name, sizeof name, "%s.qkv", part);
    DQG_TRY(need(context, model, block, name, 3 * d, d));
    dqg_format(name, sizeof name, "%s.proj", part);
    DQG_TRY(projected ? need(context, model, block, name, d, d) : DQG_OK);
    if (find(model, block, part, ".ln_q.weight") == NULL && find(model, block, part, ".ln_k.weight") == NULL) {
        return DQG_OK;
    }
    if (find(model, block, part, ".ln_q.bias") != NULL || find(model, block, part, ".ln_k.bias") != NULL) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "queries and keys of this MMDiT have norms with a bias; those of published ones have none");
    }
    DQG_TRY(dqg_layer_need(context, model, block_format(format, part, ".ln_q"), block, width, 0, false));
    return dqg_layer_need(context, model, block_format(format, part, ".ln_k"), block, width, 0, false);
}

static bool has_second(const struct dqg_model *model, size_t block) {
    return find(model, block, "x_block.attn2", ".qkv.weight") != NULL;
}

static dqg_status check_block(struct dqg_context *context, const struct dqg_model *model, size_t block) {
    size_t d = model->hyper.hidden, mlp = model->hyper.mlp;
    bool last = is_last(model, block), second = has_second(model, block);
    DQG_TRY(need(context, model, block, "x_block.adaLN_modulation.1", (second ? 9 : 6) * d, d));
    DQG_TRY(need_attention(context, model, block, "x_block.attn", true));
    DQG_TRY(second ? need_attention(context, model, block, "x_block.attn2", true) : DQG_OK);
    DQG_TRY(need(context, model, block, "x_block.mlp.fc1", mlp, d));
    DQG_TRY(need(context, model, block, "x_block.mlp.fc2", d, mlp));
    DQG_TRY(need(context, model, block, "context_block.adaLN_modulation.1", (last ? 2 : 6) * d, d));
    DQG_TRY(need_attention(context, model, block, "context_block.attn", !last));
    if (last) {
        return DQG_OK;
    }
    DQG_TRY(need(context, model, block, "context_block.mlp.fc1", mlp, d));
    return need(context, model, block, "context_block.mlp.fc2", d, mlp);
}

static dqg_status check_tensors(struct dqg_context *context, const struct dqg_model *model) {
    const struct dqg_hyper *hyper = &model->hyper;
    size_t d = hyper->hidden;
    DQG_TRY(dqg_model_need(context, model, "x_embedder.proj.bias", d, 0)); /* its weights gave the sizes */
    DQG_TRY(dqg_layer_need(context, model, "t_embedder.mlp.0", 0, d, hyper->frequencies, true));
    DQG_TRY(dqg_layer_need(context, model, "t_embedder.mlp.2", 0, d, d, true));
    DQG_TRY(dqg_layer_need(context, model, "y_embedder.mlp.0", 0, d, hyper->pooled_width, true));
    DQG_TRY(dqg_layer_need(context, model, "y_embedder.mlp.2", 0, d, d, true));
    DQG_TRY(dqg_layer_need(context, model, "context_embedder", 0, d, hyper->context_width, true));
    for (size_t i = 0; i < hyper->depth; i++) {
        DQG_TRY(check_block(context, model, i));
    }
    DQG_TRY(dqg_layer_need(context, model, "final_layer.adaLN_modulation.1", 0, 2 * d, d, true));
    return dqg_layer_need(context, model, "final_layer.linear", 0, hyper->patch * hyper->patch * hyper->out_channels, d,
                          true);
}

/* Of the norm of queries, if there is one; told by the file; or of the published width. */
static dqg_status find_heads(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *norm = find(model, 0, "x_block.attn", ".ln_q.weight");
    double told = 0;
    if (norm != NULL && norm->rank == 1 && norm->shape[0] > 0) {
        told = (double)hyper->hidden / (double)norm->shape[0];
    } else if (!dqg_model_number(model, "transformer", "num_attention_heads", &told)) {
        told = (double)hyper->hidden / HEAD_WIDTH;
    }
    hyper->heads = told >= 1 && told <= (double)hyper->hidden ? (size_t)told : 0;
    if (hyper->heads == 0 || (double)hyper->heads != told || hyper->hidden % hyper->heads != 0 ||
        hyper->hidden / hyper->heads > DQG_ATTENTION_WIDTH) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "width %zu is not cut into heads of %d: metadata 'num_attention_heads' must say how many "
                        "there are, of at most %d each",
                        hyper->hidden, (int)HEAD_WIDTH, (int)DQG_ATTENTION_WIDTH);
    }
    return DQG_OK;
}

/* Side of the stored position table (1, side^2, hidden), or 0. Some GGUF files have lost the size of 1. */
static size_t table_side(const struct dqg_model *model) {
    const struct dqg_weight *table = dqg_model_find(model, "pos_embed");
    if (table == NULL || !dqg_dtype_is_float(table->dtype) || table->rank < 2 || table->rank > 3 ||
        (table->rank == 3 && table->shape[0] != 1) || (size_t)table->shape[table->rank - 1] != model->hyper.hidden ||
        table->shape[table->rank - 2] >= 1 << 24) {
        return 0;
    }
    int64_t tokens = table->shape[table->rank - 2];
    size_t side = (size_t)(sqrt((double)tokens) + 0.5);
    return side * side == (size_t)tokens ? side : 0;
}

static dqg_status find_size(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    size_t side = table_side(model);
    if (side == 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "tensor 'pos_embed' is not a float table (1, grid^2, %zu)",
                        hyper->hidden);
    }
    hyper->height = hyper->width = dqg_min_size(side, OWN_SIDE / hyper->patch) * hyper->patch;
    return DQG_OK;
}

/* Of a size that no product of sizes overflows. */
static bool is_matrix(const struct dqg_weight *weight) {
    return weight != NULL && weight->size.rows > 0 && weight->size.rows <= 1 << 18 && weight->size.columns > 0 &&
           weight->size.columns <= 1 << 18;
}

/* Of Stable Diffusion 3: time from 0 to 1000, more steps where there is much noise. */
static const char *const scheduler[][2] = {
    {"schedule", "flow"},       {"spacing", "sd3"}, {"prediction", "flow"}, {"shift", "3"},
    {"timestep-scale", "1000"}, {"steps", "28"},    {NULL, NULL},
};

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *proj = dqg_model_find(model, "x_embedder.proj.weight");
    const struct dqg_weight *time = dqg_model_find(model, "t_embedder.mlp.0.weight");
    const struct dqg_weight *pooled = dqg_model_find(model, "y_embedder.mlp.0.weight");
    const struct dqg_weight *text = dqg_model_find(model, "context_embedder.weight");
    const struct dqg_weight *last = dqg_model_find(model, "final_layer.linear.weight");
    const struct dqg_weight *fc1 = find(model, 0, "x_block.mlp.fc1", ".weight");
    bool there = is_matrix(proj) && is_matrix(time) && is_matrix(pooled) && is_matrix(text) && is_matrix(last) &&
                 is_matrix(fc1) && proj->rank == 4;
    if (!there || proj->shape[2] != proj->shape[3] || proj->shape[2] > OWN_SIDE || time->size.columns % 2 != 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like an MMDiT, but x_embedder, t_embedder, y_embedder, context_embedder, "
                        "joint_blocks.0 or final_layer is missing or has an impossible shape");
    }
    hyper->hidden = proj->size.rows;
    hyper->patch = (size_t)proj->shape[2];
    hyper->mlp = fc1->size.rows;
    hyper->frequencies = time->size.columns;
    hyper->pooled_width = pooled->size.columns;
    hyper->context_width = text->size.columns;
    hyper->context_tokens = 333; /* 77 of CLIP, 256 of T5 */
    hyper->timestep_scale = 1000;
    hyper->latent_scale = 1.5305;
    hyper->latent_shift = 0.0609;
    hyper->scheduler = scheduler;
    hyper->channels = hyper->out_channels = last->size.rows / (hyper->patch * hyper->patch);
    if (hyper->channels == 0 || hyper->channels > (size_t)proj->shape[1]) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "final_layer.linear makes %zu channels, x_embedder.proj takes %zu",
                        hyper->channels, (size_t)proj->shape[1]);
    }
    hyper->extra_channels = (size_t)proj->shape[1] - hyper->channels; /* of networks that edit pictures */
    hyper->depth = dqg_layer_count(model, BLOCK "x_block.attn.qkv.weight");
    DQG_TRY(find_heads(context, model));
    DQG_TRY(find_size(context, model));
    return check_tensors(context, model);
}

/* ---- graph ---- */

struct builder {
    const struct dqg_model *model;
    struct dqg_graph *graph;
    size_t block;
    int32_t c; /* what modulations are made of */
};

static int32_t linear(const struct builder *b, const char *part, int32_t x) {
    char format[FORMAT_BYTES];
    return dqg_layer_linear(b->model, b->graph, block_format(format, part, ""), b->block, x);
}

/* The name of an operator of the block, kept. */
static const char *keep(const struct builder *b, const char *part, const char *end) {
    char format[FORMAT_BYTES];
    return dqg_layer_keep(b->graph, block_format(format, part, end), b->block);
}

/* Queries, keys and values, normed where the model does that. attention: "x_block.attn" */
static int32_t build_qkv(const struct builder *b, const char *attention, int32_t x) {
    char part[FORMAT_BYTES];
    const struct dqg_weight *q = find(b->model, b->block, attention, ".ln_q.weight");
    const struct dqg_weight *k = find(b->model, b->block, attention, ".ln_k.weight");
    dqg_format(part, sizeof part, "%s.qkv", attention);
    x = linear(b, part, x);
    if (q == NULL || k == NULL) {
        return x;
    }
    const struct dqg_heads form = {.q_factor = q->codes,
                                   .k_factor = k->codes,
                                   .heads = b->model->hyper.heads,
                                   .width = b->model->hyper.hidden / b->model->hyper.heads,
                                   .epsilon = epsilon};
    return dqg_graph_heads(b->graph, keep(b, attention, ".ln"), x, &form);
}

/* Rows of x, then those of the text, queries of which are left out where nobody reads what they give. */
static int32_t build_joint(const struct builder *b, int32_t x, int32_t text) {
    size_t d = b->model->hyper.hidden;
    int32_t both = dqg_graph_join(b->graph, keep(b, "attn", ".join"), x, text);
    const struct dqg_graph_attention_args args = {.q = is_last(b->model, b->block) ? x : both,
                                                  .k = both,
                                                  .v = both,
                                                  .k_column = d,
                                                  .v_column = 2 * d,
                                                  .width = d,
                                                  .heads = b->model->hyper.heads,
                                                  .mask = DQG_NO_VALUE,
                                                  .self = true};
    return dqg_graph_attention_to(b->graph, keep(b, "attn", ""), &args);
}

/* stream: "x_block". Columns of mod from 3 d on: shift, scale, gate. */
static int32_t build_mlp(const struct builder *b, const char *stream, int32_t x, int32_t mod) {
    size_t d = b->model->hyper.hidden;
    char part[FORMAT_BYTES];
    int32_t y = dqg_graph_norm(b->graph, keep(b, stream, ".norm2"), x, mod, 3 * d, 4 * d, epsilon);
    dqg_format(part, sizeof part, "%s.mlp.fc1", stream);
    y = linear(b, part, y);
    y = dqg_graph_activate(b->graph, keep(b, stream, ".mlp.act"), y, DQG_ACT_GELU_TANH);
    dqg_format(part, sizeof part, "%s.mlp.fc2", stream);
    y = linear(b, part, y);
    return dqg_graph_add(b->graph, keep(b, stream, ".mlp.add"), x, mod, 5 * d, y);
}

/* x += gate proj(y), and the second attention, of rows that were normed before anything was added. */
static int32_t add_attention(const struct builder *b, int32_t x, int32_t y, int32_t second, int32_t mod) {
    size_t d = b->model->hyper.hidden;
    y = linear(b, "x_block.attn.proj", y);
    x = dqg_graph_add(b->graph, keep(b, "x_block.attn", ".add"), x, mod, 2 * d, y);
    if (second == DQG_NO_VALUE) {
        return x;
    }
    y = build_qkv(b, "x_block.attn2", second);
    y = dqg_graph_attention(b->graph, keep(b, "x_block.attn2", ""), y, b->model->hyper.heads);
    y = linear(b, "x_block.attn2.proj", y);
    return dqg_graph_add(b->graph, keep(b, "x_block.attn2", ".add"), x, mod, 8 * d, y);
}

/* *x and *text move on by a block; the text not by the last. */
static void build_block(const struct builder *b, int32_t *x, int32_t *text) {
    struct dqg_graph *graph = b->graph;
    size_t d = b->model->hyper.hidden, rows = graph->values[*x].rows / graph->samples;
    bool last = is_last(b->model, b->block);
    /* columns: shift_a, scale_a, gate_a, shift_m, scale_m, gate_m, shift_a2, scale_a2, gate_a2 */
    int32_t mod = linear(b, "x_block.adaLN_modulation.1", b->c);
    int32_t enter = *x, input = dqg_graph_norm(graph, keep(b, "x_block", ".norm1"), *x, mod, 0, d, epsilon);
    int32_t second = DQG_NO_VALUE;
    if (has_second(b->model, b->block)) {
        second = dqg_graph_norm(graph, keep(b, "x_block", ".norm1_2"), *x, mod, 6 * d, 7 * d, epsilon);
    }
    int32_t text_mod = linear(b, "context_block.adaLN_modulation.1", b->c);
    int32_t y = dqg_graph_norm(graph, keep(b, "context_block", ".norm1"), *text, text_mod, 0, d, epsilon);
    y = build_qkv(b, "context_block.attn", y);
    y = build_joint(b, build_qkv(b, "x_block.attn", input), y);
    int32_t of_image = last ? y : dqg_graph_slice(graph, keep(b, "x_block.attn", ".rows"), y, 0, rows);
    if (!last) {
        y = dqg_graph_slice(graph, keep(b, "context_block.attn", ".rows"), y, rows, graph->context_tokens);
        y = linear(b, "context_block.attn.proj", y);
        *text = dqg_graph_add(graph, keep(b, "context_block.attn", ".add"), *text, text_mod, 2 * d, y);
        *text = build_mlp(b, "context_block", *text, text_mod);
    }
    *x = build_mlp(b, "x_block", add_attention(b, *x, of_image, second, mod), mod);
    dqg_graph_block(graph, enter, *x, input);
}

/* The middle of the stored table, as large as the grid of tokens. */
static dqg_status position_table(const struct dqg_model *model, struct dqg_graph *graph, const float **out) {
    *out = NULL;
    const struct dqg_weight *stored = dqg_model_find(model, "pos_embed");
    size_t d = model->hyper.hidden, side = table_side(model), element = dqg_dtype_size(stored->dtype);
    size_t rows = graph->height / graph->patch, columns = graph->width / graph->patch, bytes;
    if (rows > side || columns > side) {
        return dqg_fail(graph->context, DQG_ERROR_RANGE,
                        "a latent of %zu x %zu is too large: the model's position table has room for %zu x %zu",
                        graph->height, graph->width, side * graph->patch, side * graph->patch);
    }
    float *table = NULL;
    if (dqg_mul_size(graph->tokens, d * sizeof *table, &bytes)) {
        table = dqg_arena_alloc(&graph->context->alloc, &graph->arena, bytes);
    }
    if (table == NULL) {
        return dqg_fail_memory(graph->context, "the position table", graph->tokens);
    }
    *out = table;
    for (size_t row = 0; row < rows && stored->codes != NULL; row++, table += columns * d) { /* NULL: described only */
        size_t first = ((side - rows) / 2 + row) * side + (side - columns) / 2;
        dqg_floats_decode(table, (const char *)stored->codes + first * d * element, stored->dtype, columns * d);
    }
    return DQG_OK;
}

static int32_t embed(const struct builder *b, const char *first, const char *act, const char *second, int32_t x) {
    x = dqg_layer_linear(b->model, b->graph, first, 0, x);
    x = dqg_graph_activate(b->graph, act, x, DQG_ACT_SILU);
    return dqg_layer_linear(b->model, b->graph, second, 0, x);
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    struct builder b = {.model = model, .graph = graph};
    const float *table;
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(34 * hyper->depth + 24)));
    DQG_TRY(position_table(model, graph, &table));
    int32_t pooled = dqg_graph_input(graph, "pooled", DQG_INPUT_POOLED, hyper->pooled_width);
    pooled = embed(&b, "y_embedder.mlp.0", "y_embedder.act", "y_embedder.mlp.2", pooled);
    b.c = dqg_graph_timestep(graph, "timestep", hyper->frequencies);
    b.c = embed(&b, "t_embedder.mlp.0", "t_embedder.act", "t_embedder.mlp.2", b.c);
    b.c = dqg_graph_add(graph, "condition.add", pooled, DQG_NO_VALUE, 0, b.c);
    b.c = dqg_graph_activate(graph, "condition", b.c, DQG_ACT_SILU);
    int32_t text = dqg_graph_input(graph, "context", DQG_INPUT_CONTEXT, hyper->context_width);
    text = dqg_layer_linear(model, graph, "context_embedder", 0, text);
    int32_t x = dqg_graph_patchify(graph, "patchify", dqg_model_find(model, "x_embedder.proj.weight"));
    x = dqg_layer_linear(model, graph, "x_embedder.proj", 0, x);
    x = dqg_graph_add_table(graph, "pos_embed", x, table);
    x = dqg_graph_active(graph, "active", x);
    for (; b.block < hyper->depth; b.block++) {
        if (dqg_graph_begin_block(graph, b.block)) {
            build_block(&b, &x, &text);
        }
    }
    int32_t mod = dqg_layer_linear(model, graph, "final_layer.adaLN_modulation.1", 0, b.c);
    x = dqg_graph_norm(graph, "final_layer.norm_final", x, mod, 0, hyper->hidden, epsilon);
    x = dqg_layer_linear(model, graph, "final_layer.linear", 0, x);
    dqg_graph_unpatchify(graph, "output", x);
    return DQG_OK;
}

/* As in a DiT, embeddings and the last layer keep 16 bits. Modulations are a third of all weights: 8 bits for them make
 * the network's error a fifth smaller and its file a quarter larger. */
static const char *const rules[][2] = {
    {"pos_embed", "f16"},
    {"*_embedder.*", "f16"},
    {"final_layer.*", "f16"},
    {NULL, NULL},
};

const struct dqg_family dqg_family_mmdit = {
    .name = "mmdit",
    .role = "denoiser",
    .marker = "joint_blocks.0.context_block.attn.qkv.weight",
    .detect = detect,
    .rename_in = dqg_mmdit_rename,
    .rename_loaded = dqg_mmdit_rename_loaded,
    .configure = configure,
    .build = build,
    .rules = rules,
};
