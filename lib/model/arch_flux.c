/* SPDX-License-Identifier: MIT */
/*
 * FLUX.1, dev and schnell, by Black Forest Labs: a rectified flow on patches of 2 x 2 pixels of a latent, of any width
 * and depth. Names are those of its authors (names_flux.c). Fill, Canny and Depth are dev with more channels of x.
 *
 *   vec = mlp(pooled) + mlp(1000 t) + mlp(1000 guidance)            guidance: dev only
 *   mod = linear(silu(vec))                                         for each block and stream: shift, scale, gate
 *   image, text: x += gate_a proj(attention(q, k, v of both))       double blocks: a stream has weights of its own
 *                x += gate_m mlp(norm(x) (1 + scale_m) + shift_m)
 *   both:        x += gate linear2(attention(q, k, v), gelu(m))     single blocks: q, k, v, m = linear1(norm(x) ...)
 *   out = linear(norm(image) (1 + scale) + shift)
 *
 * Norms have no weights, but those of the heads of q and k, which then turn by their position (rope_flux.c). Rows of
 * the text stand behind those of the image here; attention does not mind.
 */
#include "model/flux.h"
#include "model/layer_parts.h"

static const float norm_epsilon = 1e-6f;

enum { PATCH = 2, OWN_SIDE = 128 /* of the latent: pictures of 1024 x 1024 */, DEV_TOKENS = 512, SCHNELL_TOKENS = 256 };

extern const struct dqg_family dqg_family_flux;

/* What the layers of one stream of a double block are called. */
struct stream {
    const char *mod, *norm1, *qkv, *attn, *q_norm, *k_norm, *part, *proj, *attn_add, *norm2, *fc1, *act, *fc2, *mlp_add;
};

#define STREAM(name)                                                                                                   \
    {                                                                                                                  \
        .mod = DQG_FLUX_DOUBLE name "_mod.lin", .norm1 = DQG_FLUX_DOUBLE name "_norm1",                                \
        .qkv = DQG_FLUX_DOUBLE name "_attn.qkv", .attn = DQG_FLUX_DOUBLE name "_attn.norm",                            \
        .q_norm = DQG_FLUX_DOUBLE name "_attn.norm.query_norm.scale",                                                  \
        .k_norm = DQG_FLUX_DOUBLE name "_attn.norm.key_norm.scale", .part = DQG_FLUX_DOUBLE name "_attn.part",         \
        .proj = DQG_FLUX_DOUBLE name "_attn.proj", .attn_add = DQG_FLUX_DOUBLE name "_attn.add",                       \
        .norm2 = DQG_FLUX_DOUBLE name "_norm2", .fc1 = DQG_FLUX_DOUBLE name "_mlp.0",                                  \
        .act = DQG_FLUX_DOUBLE name "_mlp.1", .fc2 = DQG_FLUX_DOUBLE name "_mlp.2",                                    \
        .mlp_add = DQG_FLUX_DOUBLE name "_mlp.add"                                                                     \
    }

static const struct stream image = STREAM("img"), text = STREAM("txt");

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "double_blocks.0.img_attn.qkv.weight") >= 0 &&
           dqg_source_find(source, "img_in.weight") >= 0;
}

/* ---- sizes ---- */

static dqg_status need_vector(struct dqg_context *context, const struct dqg_model *model, const char *format,
                              size_t number, size_t count) {
    const struct dqg_weight *weight = dqg_layer_find(model, format, number, "");
    const char *name = weight != NULL ? weight->name : format;
    return dqg_model_need(context, model, name, count, 0);
}

static dqg_status check_embedding(struct dqg_context *context, const struct dqg_model *model, const char *in,
                                  const char *out, size_t columns) {
    size_t d = model->hyper.hidden;
    DQG_TRY(dqg_layer_need(context, model, in, 0, d, columns, true));
    return dqg_layer_need(context, model, out, 0, d, d, true);
}

static dqg_status check_stream(struct dqg_context *context, const struct dqg_model *model, const struct stream *stream,
                               size_t block) {
    size_t d = model->hyper.hidden, mlp = model->hyper.mlp, head = d / model->hyper.heads;
    DQG_TRY(dqg_layer_need(context, model, stream->mod, block, 6 * d, d, true));
    DQG_TRY(dqg_layer_need(context, model, stream->qkv, block, 3 * d, d, true));
    DQG_TRY(need_vector(context, model, stream->q_norm, block, head));
    DQG_TRY(need_vector(context, model, stream->k_norm, block, head));
    DQG_TRY(dqg_layer_need(context, model, stream->proj, block, d, d, true));
    DQG_TRY(dqg_layer_need(context, model, stream->fc1, block, mlp, d, true));
    return dqg_layer_need(context, model, stream->fc2, block, d, mlp, true);
}

static dqg_status check_single(struct dqg_context *context, const struct dqg_model *model, size_t block) {
    size_t d = model->hyper.hidden, mlp = model->hyper.mlp, head = d / model->hyper.heads;
    DQG_TRY(dqg_layer_need(context, model, DQG_FLUX_SINGLE "modulation.lin", block, 3 * d, d, true));
    DQG_TRY(dqg_layer_need(context, model, DQG_FLUX_SINGLE "linear1", block, 3 * d + mlp, d, true));
    DQG_TRY(need_vector(context, model, DQG_FLUX_SINGLE "norm.query_norm.scale", block, head));
    DQG_TRY(need_vector(context, model, DQG_FLUX_SINGLE "norm.key_norm.scale", block, head));
    return dqg_layer_need(context, model, DQG_FLUX_SINGLE "linear2", block, d, d + mlp, true);
}

static size_t double_blocks(const struct dqg_model *model) {
    return dqg_layer_count(model, DQG_FLUX_DOUBLE "img_attn.qkv.weight");
}

static dqg_status check_tensors(struct dqg_context *context, const struct dqg_model *model) {
    const struct dqg_hyper *hyper = &model->hyper;
    size_t d = hyper->hidden, doubles = double_blocks(model);
    size_t in = PATCH * PATCH * (hyper->channels + hyper->extra_channels);
    DQG_TRY(dqg_layer_need(context, model, "img_in", 0, d, in, true));
    DQG_TRY(dqg_layer_need(context, model, "txt_in", 0, d, hyper->context_width, true));
    DQG_TRY(check_embedding(context, model, "time_in.in_layer", "time_in.out_layer", hyper->frequencies));
    DQG_TRY(check_embedding(context, model, "vector_in.in_layer", "vector_in.out_layer", hyper->pooled_width));
    if (hyper->guided) {
        DQG_TRY(check_embedding(context, model, "guidance_in.in_layer", "guidance_in.out_layer", hyper->frequencies));
    }
    for (size_t i = 0; i < doubles; i++) {
        DQG_TRY(check_stream(context, model, &image, i));
        DQG_TRY(check_stream(context, model, &text, i));
    }
    for (size_t i = 0; i < hyper->depth - doubles; i++) {
        DQG_TRY(check_single(context, model, i));
    }
    DQG_TRY(dqg_layer_need(context, model, "final_layer.adaLN_modulation.1", 0, 2 * d, d, true));
    return dqg_layer_need(context, model, "final_layer.linear", 0, PATCH * PATCH * hyper->out_channels, d, true);
}

/* A matrix whose sides can be those of a network. */
static const struct dqg_weight *find_matrix(const struct dqg_model *model, const char *name) {
    const struct dqg_weight *weight = dqg_model_find(model, name);
    bool fits = weight != NULL && weight->size.rows > 0 && weight->size.rows <= 1 << 18 && weight->size.columns > 0 &&
                weight->size.columns <= 1 << 18;
    return fits ? weight : NULL;
}

/* As published; schnell was trained for 1 to 4 steps. */
static const char *const dev[][2] = {{"schedule", "flow"}, {"timestep-scale", "1"}, {"steps", "28"}, {NULL, NULL}};
static const char *const schnell[][2] = {{"schedule", "flow"}, {"timestep-scale", "1"}, {"steps", "4"}, {NULL, NULL}};

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *img_in = find_matrix(model, "img_in.weight");
    const struct dqg_weight *txt_in = find_matrix(model, "txt_in.weight");
    const struct dqg_weight *time_in = find_matrix(model, "time_in.in_layer.weight");
    const struct dqg_weight *vector_in = find_matrix(model, "vector_in.in_layer.weight");
    const struct dqg_weight *last = find_matrix(model, "final_layer.linear.weight");
    const struct dqg_weight *mlp = find_matrix(model, "double_blocks.0.img_mlp.0.weight");
    const struct dqg_weight *norm = dqg_layer_find(model, image.q_norm, 0, "");
    if (img_in == NULL || txt_in == NULL || time_in == NULL || vector_in == NULL || last == NULL || mlp == NULL ||
        norm == NULL || norm->rank != 1 || last->size.rows % (PATCH * PATCH) != 0 ||
        img_in->size.columns % (PATCH * PATCH) != 0 || img_in->size.columns < last->size.rows ||
        time_in->size.columns % 2 != 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like FLUX.1, but img_in, txt_in, time_in, vector_in, final_layer or the first "
                        "double block is missing or has an impossible shape");
    }
    size_t head = (size_t)norm->shape[0];
    hyper->hidden = img_in->size.rows;
    hyper->mlp = mlp->size.rows;
    hyper->patch = PATCH;
    hyper->channels = hyper->out_channels = last->size.rows / (PATCH * PATCH);
    hyper->extra_channels = img_in->size.columns / (PATCH * PATCH) - hyper->channels;
    hyper->frequencies = time_in->size.columns;
    hyper->context_width = txt_in->size.columns;
    hyper->pooled_width = vector_in->size.columns;
    hyper->guided = dqg_model_find(model, "guidance_in.in_layer.weight") != NULL;
    hyper->context_tokens = hyper->guided ? DEV_TOKENS : SCHNELL_TOKENS;
    hyper->scheduler = hyper->guided ? dev : schnell;
    hyper->shift_by_size = hyper->guided;
    hyper->latent_scale = 0.3611;
    hyper->latent_shift = 0.1159;
    hyper->height = hyper->width = OWN_SIDE;
    hyper->depth = double_blocks(model) + dqg_layer_count(model, DQG_FLUX_SINGLE "linear1.weight");
    if (head == 0 || head > DQG_ATTENTION_WIDTH || hyper->hidden % head != 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "norms of FLUX.1's heads have %zu columns: not a share of %zu up to %d", head, hyper->hidden,
                        (int)DQG_ATTENTION_WIDTH);
    }
    hyper->heads = hyper->hidden / head;
    DQG_TRY(dqg_flux_axes(context, model, head));
    return check_tensors(context, model);
}

/* ---- graph ---- */

struct builder {
    const struct dqg_model *model;
    struct dqg_graph *graph;
    struct dqg_flux_angles angles;
    size_t d, image_rows; /* of a sample */
    int32_t c;            /* silu(vec) */
};

static int32_t linear(const struct builder *b, const char *format, size_t block, int32_t x) {
    return dqg_layer_linear(b->model, b->graph, format, block, x);
}

static const char *name(const struct builder *b, const char *format, size_t block) {
    return dqg_layer_keep(b->graph, format, block);
}

static const float *vector(const struct builder *b, const char *format, size_t block) {
    return dqg_layer_find(b->model, format, block, "")->codes;
}

static int32_t norm(const struct builder *b, const char *format, size_t block, int32_t x, int32_t mod, size_t column) {
    return dqg_graph_norm(b->graph, name(b, format, block), x, mod, column, column + b->d, norm_epsilon);
}

static int32_t add(const struct builder *b, const char *format, size_t block, int32_t x, int32_t mod, size_t gate,
                   int32_t y) {
    return dqg_graph_add(b->graph, name(b, format, block), x, mod, gate, y);
}

/* Rows of q, k, v; turn: angles, of text alone there are none but 0. */
static int32_t heads(const struct builder *b, const char *format, const char *q_norm, const char *k_norm, size_t block,
                     int32_t qkv, bool turn) {
    size_t count = b->model->hyper.heads;
    const struct dqg_heads form = {.q_factor = vector(b, q_norm, block),
                                   .k_factor = vector(b, k_norm, block),
                                   .cosine = turn ? b->angles.cosine : NULL,
                                   .sine = turn ? b->angles.sine : NULL,
                                   .heads = count,
                                   .width = b->d / count,
                                   .epsilon = norm_epsilon,
                                   .neighbours = true};
    return dqg_graph_heads(b->graph, name(b, format, block), qkv, &form);
}

static int32_t embed(const struct builder *b, const char *in, const char *act, const char *out, int32_t x) {
    x = dqg_graph_activate(b->graph, act, linear(b, in, 0, x), DQG_ACT_SILU);
    return linear(b, out, 0, x);
}

static int32_t condition(const struct builder *b) {
    const struct dqg_hyper *hyper = &b->model->hyper;
    int32_t x = dqg_graph_input(b->graph, "pooled", DQG_INPUT_POOLED, hyper->pooled_width);
    int32_t vec = embed(b, "vector_in.in_layer", "vector_in.act", "vector_in.out_layer", x);
    x = dqg_graph_numbers(b->graph, "timestep", DQG_INPUT_TIMESTEPS, 1, 1000, hyper->frequencies);
    x = embed(b, "time_in.in_layer", "time_in.act", "time_in.out_layer", x);
    vec = dqg_graph_add(b->graph, "time_in.add", vec, DQG_NO_VALUE, 0, x);
    if (hyper->guided) {
        x = dqg_graph_numbers(b->graph, "guidance", DQG_INPUT_GUIDANCE, 1, 1000, hyper->frequencies);
        x = embed(b, "guidance_in.in_layer", "guidance_in.act", "guidance_in.out_layer", x);
        vec = dqg_graph_add(b->graph, "guidance_in.add", vec, DQG_NO_VALUE, 0, x);
    }
    return dqg_graph_activate(b->graph, "condition", vec, DQG_ACT_SILU);
}

/* A stream's queries, keys and values; *input: the norm that they are made of. */
static int32_t stream_qkv(const struct builder *b, const struct stream *stream, size_t block, int32_t x, int32_t mod,
                          int32_t *input) {
    *input = norm(b, stream->norm1, block, x, mod, 0);
    int32_t qkv = linear(b, stream->qkv, block, *input);
    return heads(b, stream->attn, stream->q_norm, stream->k_norm, block, qkv, stream == &image);
}

/* What its rows of the attention's result add to a stream, and its MLP. */
static int32_t stream_add(const struct builder *b, const struct stream *stream, size_t block, int32_t x, int32_t mod,
                          int32_t y) {
    size_t d = b->d;
    x = add(b, stream->attn_add, block, x, mod, 2 * d, linear(b, stream->proj, block, y));
    y = linear(b, stream->fc1, block, norm(b, stream->norm2, block, x, mod, 3 * d));
    y = dqg_graph_activate(b->graph, name(b, stream->act, block), y, DQG_ACT_GELU_TANH);
    return add(b, stream->mlp_add, block, x, mod, 5 * d, linear(b, stream->fc2, block, y));
}

static int32_t attention(const struct builder *b, const char *format, size_t block, int32_t qkv) {
    return dqg_graph_attention(b->graph, name(b, format, block), qkv, b->model->hyper.heads);
}

/* The image's stream comes last: a block ends with it. */
static void build_double(const struct builder *b, size_t block, int32_t *img, int32_t *txt) {
    int32_t enter = *img, input, txt_input;
    int32_t img_mod = linear(b, image.mod, block, b->c), txt_mod = linear(b, text.mod, block, b->c);
    int32_t qkv = stream_qkv(b, &image, block, *img, img_mod, &input);
    int32_t txt_qkv = stream_qkv(b, &text, block, *txt, txt_mod, &txt_input);
    qkv = dqg_graph_join(b->graph, name(b, DQG_FLUX_DOUBLE "join", block), qkv, txt_qkv);
    int32_t y = attention(b, DQG_FLUX_DOUBLE "attention", block, qkv);
    int32_t part = dqg_graph_slice(b->graph, name(b, text.part, block), y, b->image_rows, b->graph->context_tokens);
    *txt = stream_add(b, &text, block, *txt, txt_mod, part);
    part = dqg_graph_slice(b->graph, name(b, image.part, block), y, 0, b->image_rows);
    *img = stream_add(b, &image, block, *img, img_mod, part);
    dqg_graph_block(b->graph, enter, *img, input);
}

static int32_t build_single(const struct builder *b, size_t block, int32_t x, int32_t *input) {
    const struct dqg_weight *weight = dqg_layer_find(b->model, DQG_FLUX_SINGLE "linear1", block, ".weight");
    const float *bias = vector(b, DQG_FLUX_SINGLE "linear1.bias", block);
    int32_t mod = linear(b, DQG_FLUX_SINGLE "modulation.lin", block, b->c);
    *input = norm(b, DQG_FLUX_SINGLE "pre_norm", block, x, mod, 0);
    int32_t y = dqg_graph_linear_part(b->graph, name(b, DQG_FLUX_SINGLE "linear1.qkv", block), *input, weight, bias, 0,
                                      3 * b->d);
    y = heads(b, DQG_FLUX_SINGLE "norm", DQG_FLUX_SINGLE "norm.query_norm.scale", DQG_FLUX_SINGLE "norm.key_norm.scale",
              block, y, true);
    y = attention(b, DQG_FLUX_SINGLE "attention", block, y);
    int32_t mlp = dqg_graph_linear_part(b->graph, name(b, DQG_FLUX_SINGLE "linear1.mlp", block), *input, weight, bias,
                                        3 * b->d, b->model->hyper.mlp);
    mlp = dqg_graph_activate(b->graph, name(b, DQG_FLUX_SINGLE "mlp_act", block), mlp, DQG_ACT_GELU_TANH);
    y = dqg_graph_concat(b->graph, name(b, DQG_FLUX_SINGLE "concat", block), y, mlp);
    return add(b, DQG_FLUX_SINGLE "add", block, x, mod, 2 * b->d, linear(b, DQG_FLUX_SINGLE "linear2", block, y));
}

/* All single blocks, from the first one's number in the network; only the image leaves the last of them. */
static int32_t build_singles(const struct builder *b, size_t first, int32_t img, int32_t txt) {
    struct dqg_graph *graph = b->graph;
    int32_t x = dqg_graph_join(graph, "single_blocks", img, txt), enter = DQG_NO_VALUE, input;
    for (size_t i = first; i < b->model->hyper.depth; i++) {
        if (dqg_graph_begin_block(graph, i)) {
            if (enter != DQG_NO_VALUE) {
                dqg_graph_block(graph, enter, x, input);
            }
            enter = x;
            x = build_single(b, i - first, x, &input);
        }
    }
    img = dqg_graph_slice(graph, "final_layer.part", x, 0, b->image_rows);
    if (enter != DQG_NO_VALUE) {
        dqg_graph_block(graph, enter, img, input);
    }
    return img;
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    size_t doubles = double_blocks(model);
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(26 * hyper->depth + 34)));
    struct builder b = {.model = model, .graph = graph, .d = hyper->hidden};
    b.angles = dqg_flux_angles(graph, hyper->axes);
    b.c = condition(&b);
    int32_t txt = dqg_graph_input(graph, "context", DQG_INPUT_CONTEXT, hyper->context_width);
    txt = linear(&b, "txt_in", 0, txt);
    int32_t img = linear(&b, "img_in", 0, dqg_graph_patchify(graph, "patchify", NULL));
    img = dqg_graph_active(graph, "active", img);
    b.image_rows = graph->values[img].rows / graph->samples;
    for (size_t i = 0; i < doubles; i++) {
        if (dqg_graph_begin_block(graph, i)) {
            build_double(&b, i, &img, &txt);
        }
    }
    img = doubles < hyper->depth ? build_singles(&b, doubles, img, txt) : img;
    int32_t mod = linear(&b, "final_layer.adaLN_modulation.1", 0, b.c);
    img = norm(&b, "final_layer.norm_final", 0, img, mod, 0);
    dqg_graph_unpack(graph, "output", linear(&b, "final_layer.linear", 0, img));
    return DQG_OK;
}

/* What goes in and out is small, and an error there reaches every value. Modulations are a quarter of all weights, and
 * their error reaches all of a block. */
static const char *const rules[][2] = {
    {"img_in.*", "f16"},           {"final_layer.linear.*", "f16"},
    {"final_layer.*", "int8"},     {"txt_in.*", "int8"},
    {"time_in.*", "int8"},         {"vector_in.*", "int8"},
    {"guidance_in.*", "int8"},     {"*mod.lin.*", "int5"},
    {"*modulation.lin.*", "int5"}, {NULL, NULL},
};

const struct dqg_family dqg_family_flux = {
    .name = "flux",
    .role = "denoiser",
    .marker = "double_blocks.0.img_attn.qkv.weight",
    .detect = detect,
    .rename = dqg_flux_rename,
    .configure = configure,
    .build = build,
    .rules = rules,
};
