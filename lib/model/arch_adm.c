/* SPDX-License-Identifier: MIT */
/*
 * ADM, the U-Net on pixels of "Diffusion Models Beat GANs on Image Synthesis", Dhariwal and Nichol 2021; tensor names
 * of the authors' code (guided-diffusion). Any width, levels, blocks and attention, with classes or without, residual
 * blocks that halve and double or convolutions that do, the time as scale and shift or as a summand. Numbered blocks:
 * those of the way in, the middle one, those of the way out.
 *
 *   c      = silu(mlp(timestep) + embedding(label))
 *   block  = shortcut(x) + conv(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift)), scale and shift from c
 *   attend = x + proj(attention(qkv(norm(x)))), behind some of the blocks
 *   a block of the way out reads x and what the mirrored block of the way in gave, side by side
 */
#include "model/picture_parts.h"

static const float norm_epsilon = 1e-5f;

enum { GROUPS = 32, MOST_BLOCKS = 256 /* of the way in */, MOST_LEVELS = 16, DEEPEST_SIDE = 8 /* as published */ };

extern const struct dqg_family dqg_family_adm;

static bool has(const struct dqg_model *model, const char *prefix, const char *part) {
    return dqg_picture_find(model, prefix, part) != NULL;
}

/* "<list>.<index>.<part>" */
static const char *part_name(char name[64], const char *list, size_t index, size_t part) {
    dqg_format(name, 64, "%s.%zu.%zu", list, index, part);
    return name;
}

/* ---- levels ---- */

/* Blocks on either way, and how many of them a level has: the last one of the way out doubles the sides. */
struct levels {
    size_t blocks, each, count;
};

static size_t count_blocks(const struct dqg_model *model, const char *list, const char *first, const char *other) {
    for (size_t i = 0; i < MOST_BLOCKS; i++) {
        char name[64];
        part_name(name, list, i, 0);
        if (!has(model, name, first) && !has(model, name, other)) {
            return i;
        }
    }
    return MOST_BLOCKS;
}

/* Does this part of a block double the sides? */
static bool doubles(const struct dqg_model *model, size_t block, size_t part) {
    char name[64];
    part_name(name, "output_blocks", block, part);
    return has(model, name, "in_layers.0.weight") || has(model, name, "conv.weight");
}

/* count is 0 where the lists do not fit each other. */
static struct levels find_levels(const struct dqg_model *model) {
    struct levels levels = {0};
    size_t in = 0, out = count_blocks(model, "output_blocks", "in_layers.0.weight", "in_layers.0.weight");
    if (has(model, "input_blocks.0.0", "weight")) {
        char name[64];
        for (in = 1; in < MOST_BLOCKS; in++) {
            part_name(name, "input_blocks", in, 0);
            if (!has(model, name, "in_layers.0.weight") && !has(model, name, "op.weight")) {
                break;
            }
        }
    }
    while (levels.each < out && !doubles(model, levels.each, 1) && !doubles(model, levels.each, 2)) {
        levels.each++;
    }
    levels.each += levels.each < out;
    levels.blocks = in;
    if (in == out && levels.each > 1 && in % levels.each == 0 && in / levels.each <= MOST_LEVELS) {
        levels.count = in / levels.each;
    }
    return levels;
}

/* ---- graph ---- */

struct builder {
    struct dqg_picture picture;
    int32_t c; /* the condition, a row for each sample */
    int32_t skips[MOST_BLOCKS];
    size_t skip_count;
};

/* What a residual block does to the sides of its picture, on both of its ways. */
enum change { CHANGE_NONE, CHANGE_HALF, CHANGE_DOUBLE };

static int32_t change_size(struct builder *builder, const char *prefix, const char *part, int32_t x,
                           enum change change) {
    const struct dqg_picture *picture = &builder->picture;
    const char *name = dqg_picture_name(&builder->picture, prefix, part);
    return change == CHANGE_HALF ? dqg_graph_pool(picture->graph, name, x, picture->height, picture->width)
                                 : dqg_graph_resize(picture->graph, name, x, picture->height, picture->width,
                                                    2 * picture->height, 2 * picture->width);
}

/* The second half of a residual block; y: what the first convolution gave, without the condition where it modulates. */
static int32_t build_end(struct builder *builder, const char *prefix, int32_t x, int32_t y, int32_t modulation) {
    struct dqg_picture *picture = &builder->picture;
    size_t columns = picture->graph->values[y].columns;
    char name[96];
    dqg_format(name, sizeof name, "%s.out_layers.0", prefix);
    y = dqg_picture_norm_modulated(picture, name, y, GROUPS, norm_epsilon, DQG_ACT_SILU, modulation, columns, 0);
    dqg_format(name, sizeof name, "%s.skip_connection", prefix);
    if (has(picture->model, name, "weight")) {
        x = dqg_picture_conv(picture, name, x, DQG_CONV_SAME, true);
    }
    dqg_format(name, sizeof name, "%s.out_layers.3", prefix);
    y = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, true);
    if (picture->graph->values[x].columns != picture->graph->values[y].columns) {
        return dqg_picture_fail(picture, prefix, "out_layers.3.weight", "does not fit what it is added to", x);
    }
    return dqg_graph_add(picture->graph, dqg_picture_name(picture, prefix, "add"), x, DQG_NO_VALUE, 0, y);
}

static int32_t build_residual(struct builder *builder, const char *prefix, int32_t x, enum change change) {
    struct dqg_picture *picture = &builder->picture;
    char name[96];
    dqg_format(name, sizeof name, "%s.in_layers.0", prefix);
    int32_t y = dqg_picture_norm(picture, name, x, GROUPS, norm_epsilon, DQG_ACT_SILU);
    if (change != CHANGE_NONE) {
        x = change_size(builder, prefix, "x_upd", x, change);
    }
    if (change == CHANGE_HALF) {
        y = change_size(builder, prefix, "h_upd", y, change);
        picture->height /= 2;
        picture->width /= 2;
    }
    dqg_format(name, sizeof name, "%s.emb_layers.1", prefix);
    int32_t emb = dqg_picture_linear(picture, name, builder->c, true);
    dqg_format(name, sizeof name, "%s.in_layers.2", prefix);
    const struct dqg_weight *weight = dqg_picture_find(picture->model, name, "weight");
    bool modulates = weight != NULL && picture->graph->values[emb].columns == 2 * weight->size.rows;
    y = dqg_picture_conv_added(picture, name, y, change == CHANGE_DOUBLE ? DQG_CONV_DOUBLE : DQG_CONV_SAME,
                               modulates ? DQG_NO_VALUE : emb);
    return picture->graph->failed ? x : build_end(builder, prefix, x, y, modulates ? emb : DQG_NO_VALUE);
}

static int32_t build_attention(struct builder *builder, const char *prefix, int32_t x) {
    struct dqg_picture *picture = &builder->picture;
    const struct dqg_hyper *hyper = &picture->model->hyper;
    size_t columns = picture->graph->values[x].columns;
    size_t heads = hyper->heads > 0 ? hyper->heads : columns / hyper->head_width;
    size_t width = heads > 0 ? columns / heads : 0;
    char name[96];
    dqg_format(name, sizeof name, "%s.norm", prefix);
    int32_t y = dqg_picture_norm(picture, name, x, GROUPS, norm_epsilon, DQG_ACT_NONE);
    dqg_format(name, sizeof name, "%s.qkv", prefix);
    y = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, true);
    if (picture->graph->failed) {
        return x;
    }
    if (width * heads != columns || width == 0 || width > DQG_ATTENTION_WIDTH ||
        picture->graph->values[y].columns != 3 * columns) {
        return dqg_picture_fail(picture, prefix, "qkv.weight", "cannot be cut into its heads", x);
    }
    /* Rows of q, k and v; or of the heads, and in each q, k and v of this head. */
    size_t step = hyper->heads_first ? width : columns;
    struct dqg_graph_attention_args args = {.q = y,
                                            .k = y,
                                            .v = y,
                                            .k_column = step,
                                            .v_column = 2 * step,
                                            .width = columns,
                                            .heads = heads,
                                            .head_columns = hyper->heads_first ? 3 * width : width,
                                            .mask = DQG_NO_VALUE,
                                            .self = true};
    y = dqg_graph_attention_to(picture->graph, dqg_picture_name(picture, prefix, "attention"), &args);
    dqg_format(name, sizeof name, "%s.proj_out", prefix);
    y = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, true);
    return dqg_graph_add(picture->graph, dqg_picture_name(picture, prefix, "add"), x, DQG_NO_VALUE, 0, y);
}

/* Attention where this part of a block is one. */
static int32_t maybe_attend(struct builder *builder, const char *list, size_t block, size_t *part, int32_t x) {
    char name[64];
    part_name(name, list, block, *part);
    if (!has(builder->picture.model, name, "qkv.weight")) {
        return x;
    }
    ++*part;
    return build_attention(builder, name, x);
}

/* Blocks change sizes and widths: none can be left out. */
static void begin_block(struct builder *builder, size_t block) {
    struct dqg_graph *graph = builder->picture.graph;
    if (!dqg_graph_begin_block(graph, block) && !graph->failed) {
        graph->failed = true;
        graph->status = dqg_fail(graph->context, DQG_ERROR_UNSUPPORTED,
                                 "block %zu of this network cannot be left out; perturb its attention instead", block);
    }
}

static int32_t build_in(struct builder *builder, const struct levels *levels, size_t block, int32_t x) {
    char name[64];
    size_t part = 1;
    part_name(name, "input_blocks", block, 0);
    if (block == 0) {
        return dqg_picture_conv(&builder->picture, name, x, DQG_CONV_SAME, true);
    }
    if (block % levels->each != 0) {
        x = build_residual(builder, name, x, CHANGE_NONE);
        return maybe_attend(builder, "input_blocks", block, &part, x);
    }
    if (!has(builder->picture.model, name, "op.weight")) {
        return build_residual(builder, name, x, CHANGE_HALF);
    }
    dqg_format(name, sizeof name, "input_blocks.%zu.0.op", block);
    return dqg_picture_conv(&builder->picture, name, x, DQG_CONV_HALF, true);
}

static int32_t build_out(struct builder *builder, const struct levels *levels, size_t block, int32_t x) {
    struct dqg_graph *graph = builder->picture.graph;
    char name[64];
    size_t part = 1;
    int32_t skip = builder->skips[--builder->skip_count];
    dqg_graph_branch(graph, skip, x);
    part_name(name, "output_blocks", block, 0);
    x = dqg_graph_concat(graph, dqg_picture_name(&builder->picture, name, "concat"), x, skip);
    x = build_residual(builder, name, x, CHANGE_NONE);
    x = maybe_attend(builder, "output_blocks", block, &part, x);
    if ((block + 1) % levels->each != 0 || block + 1 == levels->blocks) {
        return x;
    }
    part_name(name, "output_blocks", block, part);
    if (!has(builder->picture.model, name, "conv.weight")) {
        return build_residual(builder, name, x, CHANGE_DOUBLE);
    }
    dqg_format(name, sizeof name, "output_blocks.%zu.%zu.conv", block, part);
    return dqg_picture_conv(&builder->picture, name, x, DQG_CONV_DOUBLE, true);
}

static int32_t build_middle(struct builder *builder, int32_t x) {
    x = build_residual(builder, "middle_block.0", x, CHANGE_NONE);
    x = build_attention(builder, "middle_block.1", x);
    return build_residual(builder, "middle_block.2", x, CHANGE_NONE);
}

static int32_t build_condition(struct builder *builder) {
    struct dqg_graph *graph = builder->picture.graph;
    const struct dqg_model *model = builder->picture.model;
    int32_t c = dqg_graph_timestep(graph, "timestep", model->hyper.frequencies);
    c = dqg_picture_linear(&builder->picture, "time_embed.0", c, true);
    c = dqg_graph_activate(graph, "time_embed.1", c, DQG_ACT_SILU);
    c = dqg_picture_linear(&builder->picture, "time_embed.2", c, true);
    if (model->hyper.classes > 0) {
        const struct dqg_weight *table = dqg_model_find(model, "label_emb.weight");
        if (table->size.columns != graph->values[c].columns) {
            return dqg_picture_fail(&builder->picture, "label_emb", "weight", "does not fit the time's embedding", c);
        }
        c = dqg_graph_label(graph, "label_emb", c, table, model->hyper.classes);
    }
    return dqg_graph_activate(graph, "condition", c, DQG_ACT_SILU);
}

static int32_t build_blocks(struct builder *builder, const struct levels *levels, int32_t x) {
    struct dqg_graph *graph = builder->picture.graph;
    for (size_t i = 0; i <= 2 * levels->blocks && !graph->failed; i++) {
        int32_t enter = x;
        begin_block(builder, i);
        if (i < levels->blocks) {
            x = builder->skips[builder->skip_count++] = build_in(builder, levels, i, x);
        } else if (i == levels->blocks) {
            x = build_middle(builder, x);
        } else {
            x = build_out(builder, levels, i - levels->blocks - 1, x);
        }
        dqg_graph_block(graph, enter, x, DQG_NO_VALUE);
    }
    return x;
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    struct levels levels = find_levels(model);
    struct builder builder = {.picture = {model, graph, graph->height, graph->width}};
    size_t divisor = (size_t)1 << (levels.count - 1);
    if (graph->height % divisor != 0 || graph->width % divisor != 0) {
        return dqg_fail(graph->context, DQG_ERROR_RANGE,
                        "height %zu and width %zu must be multiples of %zu: the network halves them %zu times",
                        graph->height, graph->width, divisor, levels.count - 1);
    }
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(2 * model->weight_count + 8)));
    builder.c = build_condition(&builder);
    int32_t x = dqg_graph_patchify(graph, "picture", NULL);
    x = build_blocks(&builder, &levels, x);
    x = dqg_picture_norm(&builder.picture, "out.0", x, GROUPS, norm_epsilon, DQG_ACT_SILU);
    x = dqg_picture_conv(&builder.picture, "out.2", x, DQG_CONV_SAME, true);
    if (!graph->failed && graph->values[x].columns != model->hyper.out_channels) {
        dqg_picture_fail(&builder.picture, "out.2", "weight", "makes another number of channels", x);
    }
    dqg_graph_unpatchify(graph, "output", x);
    return DQG_OK;
}

/* ---- sizes ---- */

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "input_blocks.0.0.weight") >= 0 &&
           dqg_source_find(source, "output_blocks.0.0.in_layers.0.weight") >= 0 &&
           dqg_source_find(source, "time_embed.0.weight") >= 0;
}

/* What tensors do not tell of published models: heads as a number or a width, and in which order they stand. */
struct published {
    size_t width, levels, each; /* each: blocks of a level on either way, its change of size with them */
    size_t heads, head_width;
    bool heads_first;
    const char *const (*scheduler)[2];
};

static const char *const cosine[][2] = {{"solver", "ddim"},        {"schedule", "cosine"}, {"spacing", "trailing"},
                                        {"prediction", "epsilon"}, {"steps", "50"},        {NULL, NULL}};

static const struct published published[] = {
    {192, 4, 4, 0, 64, false, cosine}, /* ImageNet 64 */
    {256, 5, 3, 4, 0, true, NULL},     /* ImageNet 128 */
    {256, 6, 3, 0, 64, true, NULL},    /* ImageNet and LSUN 256 */
    {256, 7, 3, 0, 64, true, NULL},    /* ImageNet 512 */
    {128, 6, 2, 0, 64, true, NULL},    /* FFHQ 256 */
};

static dqg_status find_published(struct dqg_context *context, struct dqg_model *model, const struct levels *levels) {
    struct dqg_hyper *hyper = &model->hyper;
    const char *order = dqg_model_find_metadata(model, "use_new_attention_order");
    struct published known = {.heads_first = true};
    for (size_t i = 0; i < DQG_COUNT_OF(published); i++) {
        if (published[i].width == hyper->hidden && published[i].levels == levels->count &&
            published[i].each == levels->each) {
            known = published[i];
        }
    }
    hyper->head_width = dqg_model_metadata_size(model, "num_head_channels", 0);
    hyper->heads = hyper->head_width > 0 ? 0 : dqg_model_metadata_size(model, "num_heads", 0);
    if (hyper->head_width == 0 && hyper->heads == 0) {
        hyper->head_width = known.head_width;
        hyper->heads = known.heads;
    }
    hyper->scheduler = known.scheduler;
    hyper->heads_first = order != NULL ? order[0] != 'T' && order[0] != 't' && order[0] != '1' : known.heads_first;
    if (hyper->head_width == 0 && hyper->heads == 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this ADM of width %zu with %zu levels is none of the published ones: metadata must give "
                        "'num_head_channels', the width of its heads (64 as a rule), or 'num_heads', their number (4), "
                        "as it was trained; and 'use_new_attention_order' = 'True' where that was used",
                        hyper->hidden, levels->count);
    }
    return DQG_OK;
}

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    struct levels levels = find_levels(model);
    const struct dqg_weight *first = dqg_model_find(model, "input_blocks.0.0.weight");
    const struct dqg_weight *last = dqg_model_find(model, "out.2.weight");
    const struct dqg_weight *time = dqg_model_find(model, "time_embed.0.weight");
    const struct dqg_weight *labels = dqg_model_find(model, "label_emb.weight");
    if (levels.count == 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like an ADM, but its %zu input_blocks are not the mirror of its output_blocks",
                        levels.blocks);
    }
    if (first == NULL || last == NULL || time == NULL || first->rank != 4 || last->size.rows == 0 ||
        time->size.columns == 0 || time->size.columns % 2 != 0 || (labels != NULL && labels->size.rows == 0)) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like an ADM, but input_blocks.0, out.2, time_embed.0 or label_emb is missing or "
                        "has an impossible shape");
    }
    hyper->hidden = hyper->frequencies = time->size.columns;
    hyper->depth = 2 * levels.blocks + 1;
    hyper->channels = (size_t)first->shape[1];
    hyper->out_channels = last->size.rows;
    hyper->patch = 1;
    hyper->classes = labels != NULL ? labels->size.rows : 0;
    hyper->signed_picture = true;
    if (hyper->out_channels != hyper->channels && hyper->out_channels != 2 * hyper->channels) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "this ADM makes %zu channels of %zu: only models that give as many, or with learned sigma "
                        "twice as many, can be used",
                        hyper->out_channels, hyper->channels);
    }
    size_t side = dqg_model_metadata_size(model, "image_size", (size_t)DEEPEST_SIDE << (levels.count - 1));
    if (side == 0 || side > 1 << 16) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "metadata 'image_size' is not a number of pixels");
    }
    hyper->height = hyper->width = side;
    return find_published(context, model, &levels);
}

/* ---- names ---- */

static bool rename_tensor(const char *name, struct dqg_rename *to) {
    static const char *const beginnings[] = {"input_blocks.", "middle_block.", "output_blocks.",
                                             "time_embed.",   "label_emb.",    "out."};
    bool known = false;
    for (size_t i = 0; i < DQG_COUNT_OF(beginnings); i++) {
        known = known || strncmp(name, beginnings[i], strlen(beginnings[i])) == 0;
    }
    to->flat = true; /* a window of one pixel is a matrix; larger ones are not touched */
    return known && strchr(name, '/') == NULL && dqg_format(to->name, sizeof to->name, "%s", name) < sizeof to->name;
}

/* The ends are small, and what goes wrong there is seen everywhere; the condition is a row in each evaluation;
 * shortcuts hold 3 % of the weights, and all that a block is given goes through them. */
static const char *const rules[][2] = {
    {"input_blocks.0.0.*", "f16"},
    {"out.2.*", "f16"},
    {"time_embed.*", "f16"},
    {"label_emb.*", "f16"},
    {"*.emb_layers.*", "int8"},
    {"*.skip_connection.*", "int8"},
    {NULL, NULL},
};

const struct dqg_family dqg_family_adm = {
    .name = "adm",
    .role = "denoiser",
    .marker = "middle_block.1.qkv.weight",
    .detect = detect,
    .rename = rename_tensor,
    .configure = configure,
    .build = build,
    .rules = rules,
};
