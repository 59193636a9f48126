/* SPDX-License-Identifier: MIT */
/*
 * KL autoencoders: the first stage of "High-Resolution Image Synthesis with Latent Diffusion Models", Rombach et al.
 * 2022, as Stable Diffusion, SD3 and FLUX use it. Any widths, levels and blocks; with quantization convolutions or
 * without. Tensor names of the authors' code. Levels count from the picture's size up; decoding goes down from the
 * last.
 *
 *   block(x) = shortcut(x) + conv(silu(norm(conv(silu(norm(x))))))
 *   middle   = block, attention of one head, block
 */
#include "model/autoencoder.h"

static const float norm_epsilon = 1e-6f;

enum { GROUPS = 32, MOST_LEVELS = 8, OWN_SIDE = 512 /* of pictures, for the model's own size */ };

extern const struct dqg_family dqg_family_vae;

/* "<side>.<level's name>.<part>" of a level. diffusers counts the decoder's levels from the latent on. */
static void level_name(const struct dqg_model *model, bool decode, size_t level, const char *part, char name[128]) {
    if (!decode) {
        dqg_format(name, 128, "encoder.down.%zu.%s", level, part);
    } else if (dqg_model_find(model, "decoder.up_blocks.0.block.0.norm1.weight") != NULL) {
        dqg_format(name, 128, "decoder.up_blocks.%zu.%s", model->hyper.depth - 1 - level, part);
    } else {
        dqg_format(name, 128, "decoder.up.%zu.%s", level, part);
    }
}

static bool has(const struct dqg_model *model, const char *prefix, const char *part) {
    return dqg_picture_find(model, prefix, part) != NULL;
}

/* ---- graph ---- */

static int32_t build_block(struct dqg_picture *picture, const char *prefix, int32_t x) {
    char name[192];
    dqg_format(name, sizeof name, "%s.norm1", prefix);
    int32_t y = dqg_picture_norm(picture, name, x, GROUPS, norm_epsilon, DQG_ACT_SILU);
    dqg_format(name, sizeof name, "%s.conv1", prefix);
    y = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, true);
    dqg_format(name, sizeof name, "%s.norm2", prefix);
    y = dqg_picture_norm(picture, name, y, GROUPS, norm_epsilon, DQG_ACT_SILU);
    if (has(picture->model, prefix, "nin_shortcut.weight")) {
        dqg_format(name, sizeof name, "%s.nin_shortcut", prefix);
        x = dqg_picture_conv(picture, name, x, DQG_CONV_SAME, true);
    }
    dqg_format(name, sizeof name, "%s.conv2", prefix);
    y = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, true);
    return dqg_graph_add(picture->graph, dqg_picture_name(picture, prefix, "add"), x, DQG_NO_VALUE, 0, y);
}

static int32_t build_attention(struct dqg_picture *picture, const char *prefix, int32_t x) {
    static const char *const parts[] = {"q", "k", "v"};
    char name[192];
    int32_t made[3];
    dqg_format(name, sizeof name, "%s.norm", prefix);
    int32_t y = dqg_picture_norm(picture, name, x, GROUPS, norm_epsilon, DQG_ACT_NONE);
    for (size_t i = 0; i < 3; i++) {
        dqg_format(name, sizeof name, "%s.%s", prefix, parts[i]);
        made[i] = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, true);
    }
    struct dqg_graph_attention_args args = {.q = made[0],
                                            .k = made[1],
                                            .v = made[2],
                                            .width = picture->graph->values[made[2]].columns,
                                            .heads = 1,
                                            .mask = DQG_NO_VALUE};
    y = dqg_graph_attention_to(picture->graph, dqg_picture_name(picture, prefix, "attention"), &args);
    dqg_format(name, sizeof name, "%s.proj_out", prefix);
    y = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, true);
    return dqg_graph_add(picture->graph, dqg_picture_name(picture, prefix, "add"), x, DQG_NO_VALUE, 0, y);
}

static int32_t build_middle(struct dqg_picture *picture, const char *side, int32_t x) {
    char name[64];
    dqg_format(name, sizeof name, "%s.mid.block_1", side);
    x = build_block(picture, name, x);
    dqg_format(name, sizeof name, "%s.mid.attn_1", side);
    if (has(picture->model, name, "norm.weight")) {
        x = build_attention(picture, name, x);
    }
    dqg_format(name, sizeof name, "%s.mid.block_2", side);
    return build_block(picture, name, x);
}

/* All blocks of a level, attention behind each where there is one. */
static int32_t build_level(struct dqg_picture *picture, bool decode, size_t level, int32_t x) {
    for (size_t i = 0;; i++) {
        char part[32], name[128];
        dqg_format(part, sizeof part, "block.%zu", i);
        level_name(picture->model, decode, level, part, name);
        if (i > 0 && !has(picture->model, name, "norm1.weight")) {
            return x;
        }
        x = build_block(picture, name, x);
        dqg_format(part, sizeof part, "attn.%zu", i);
        level_name(picture->model, decode, level, part, name);
        if (has(picture->model, name, "norm.weight")) {
            x = build_attention(picture, name, x);
        }
        if (picture->graph->failed) {
            return x;
        }
    }
}

static int32_t build_end(struct dqg_picture *picture, const char *side, int32_t x) {
    char name[64];
    dqg_format(name, sizeof name, "%s.norm_out", side);
    x = dqg_picture_norm(picture, name, x, GROUPS, norm_epsilon, DQG_ACT_SILU);
    dqg_format(name, sizeof name, "%s.conv_out", side);
    return dqg_picture_conv(picture, name, x, DQG_CONV_SAME, true);
}

static int32_t decode_latent(struct dqg_picture *picture, int32_t x) {
    if (dqg_model_find(picture->model, "post_quant_conv.weight") != NULL) {
        x = dqg_picture_conv(picture, "post_quant_conv", x, DQG_CONV_SAME, true);
    }
    x = dqg_picture_conv(picture, "decoder.conv_in", x, DQG_CONV_SAME, true);
    x = build_middle(picture, "decoder", x);
    return build_level(picture, true, picture->model->hyper.depth - 1, x);
}

static int32_t decode_image(struct dqg_picture *picture, int32_t x) {
    for (size_t level = picture->model->hyper.depth - 1; level > 0; level--) {
        char name[128];
        level_name(picture->model, true, level, "upsample.conv", name);
        x = dqg_picture_conv(picture, name, x, DQG_CONV_DOUBLE, true);
        x = build_level(picture, true, level - 1, x);
    }
    return build_end(picture, "decoder", x);
}

static int32_t encode_image(struct dqg_picture *picture, int32_t x) {
    x = dqg_picture_conv(picture, "encoder.conv_in", x, DQG_CONV_SAME, true);
    for (size_t level = 0; level + 1 < picture->model->hyper.depth; level++) {
        char name[128];
        x = build_level(picture, false, level, x);
        level_name(picture->model, false, level, "downsample.conv", name);
        x = dqg_picture_conv(picture, name, x, DQG_CONV_HALF_END, true);
    }
    return x;
}

static int32_t encode_latent(struct dqg_picture *picture, int32_t x) {
    x = build_level(picture, false, picture->model->hyper.depth - 1, x);
    x = build_middle(picture, "encoder", x);
    x = build_end(picture, "encoder", x);
    if (dqg_model_find(picture->model, "quant_conv.weight") != NULL) {
        x = dqg_picture_conv(picture, "quant_conv", x, DQG_CONV_SAME, true);
    }
    return x;
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    struct dqg_picture picture = {.model = model, .graph = graph};
    enum dqg_stage stage = graph->stage;
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(2 * model->weight_count + 8)));
    bool picture_in = stage == DQG_STAGE_ENCODE_IMAGE, rows_in = stage == DQG_STAGE_DECODE_IMAGE;
    size_t columns = picture_in ? hyper->out_channels : hyper->channels;
    if (rows_in || stage == DQG_STAGE_ENCODE_LATENT) {
        columns = rows_in ? hyper->hidden : hyper->encoded;
    }
    int32_t x = dqg_picture_start(&picture, stage, columns);
    switch (stage) {
    case DQG_STAGE_DECODE_LATENT:
        x = decode_latent(&picture, x);
        break;
    case DQG_STAGE_DECODE_IMAGE:
        x = decode_image(&picture, x);
        break;
    case DQG_STAGE_ENCODE_IMAGE:
        x = encode_image(&picture, x);
        break;
    case DQG_STAGE_ENCODE_LATENT:
        x = encode_latent(&picture, x);
        break;
    default:
        x = decode_image(&picture, decode_latent(&picture, x));
        break;
    }
    dqg_graph_result(graph, "output", x, 0);
    return DQG_OK;
}

/* ---- sizes ---- */

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "decoder.mid.block_1.conv1.weight") >= 0 &&
           dqg_source_find(source, "quantize.embedding.weight") < 0 &&
           dqg_source_find(source, "quantize.embed.weight") < 0;
}

/* Rows of "<prefix>.weight", or columns for channels that go in; 0 where it is missing. */
static size_t channels_of(const struct dqg_model *model, const char *prefix, bool in) {
    const struct dqg_weight *weight = dqg_picture_find(model, prefix, "weight");
    return weight == NULL || weight->rank < 2 ? 0 : (size_t)weight->shape[in ? 1 : 0];
}

/* Levels of the decoder, in either way of counting them. */
static size_t count_levels(const struct dqg_model *model) {
    const char *list = dqg_model_find(model, "decoder.up_blocks.0.block.0.norm1.weight") != NULL ? "up_blocks" : "up";
    for (size_t levels = 0; levels < MOST_LEVELS; levels++) {
        char name[128];
        dqg_format(name, sizeof name, "decoder.%s.%zu.block.0.norm1.weight", list, levels);
        if (dqg_model_find(model, name) == NULL) {
            return levels;
        }
    }
    return MOST_LEVELS;
}

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    bool post = dqg_model_find(model, "post_quant_conv.weight") != NULL;
    hyper->depth = count_levels(model);
    hyper->channels = channels_of(model, post ? "post_quant_conv" : "decoder.conv_in", true);
    hyper->out_channels = channels_of(model, "decoder.conv_out", false);
    hyper->hidden = channels_of(model, "decoder.mid.block_2.conv2", false);
    if (hyper->depth == 0 || hyper->channels == 0 || hyper->out_channels == 0 || hyper->hidden == 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like a KL autoencoder, but decoder.up, decoder.conv_in, decoder.conv_out or "
                        "decoder.mid is missing");
    }
    hyper->reduction = (size_t)1 << (hyper->depth - 1);
    hyper->patch = 1;
    hyper->height = hyper->width = OWN_SIDE / hyper->reduction;
    hyper->signed_picture = true;
    DQG_TRY(dqg_picture_check(context, model, true));
    if (dqg_model_find(model, "encoder.conv_in.weight") == NULL) {
        return DQG_OK;
    }
    char name[64] = "encoder.conv_in";
    if (hyper->depth > 1) {
        dqg_format(name, sizeof name, "encoder.down.%zu.downsample.conv", hyper->depth - 2);
    }
    hyper->encoded = channels_of(model, name, false);
    return dqg_picture_check(context, model, false);
}

/* ---- names of others ---- */

/* A row: what diffusers calls a part of a name, and what it is here. */
static const char *const words[][2] = {
    {"down_blocks.", "down."},
    {".resnets.", ".block."},
    {".downsamplers.0.", ".downsample."},
    {".upsamplers.0.", ".upsample."},
    {"mid_block.block.0.", "mid.block_1."},
    {"mid_block.block.1.", "mid.block_2."},
    {"mid_block.attentions.0.", "mid.attn_1."},
    {".attentions.", ".attn."},
    {".group_norm.", ".norm."},
    {".to_q.", ".q."},
    {".to_k.", ".k."},
    {".to_v.", ".v."},
    {".to_out.0.", ".proj_out."},
    {".query.", ".q."},
    {".key.", ".k."},
    {".value.", ".v."},
    {".proj_attn.", ".proj_out."},
    {".conv_norm_out.", ".norm_out."},
    {".conv_shortcut.", ".nin_shortcut."},
};

/* Put a word in another's place, once. False where the name grows too long. */
static bool replace(char *name, size_t size, const char *from, const char *to) {
    char *at = strstr(name, from), rest[256];
    if (at == NULL) {
        return true;
    }
    size_t room = size - (size_t)(at - name);
    return dqg_format(rest, sizeof rest, "%s%s", to, at + strlen(from)) < sizeof rest &&
           dqg_format(at, room, "%s", rest) < room;
}

static bool rename_tensor(const char *name, struct dqg_rename *to) {
    static const char *const beginnings[] = {"encoder.", "decoder.", "quant_conv.", "post_quant_conv."};
    bool known = false;
    for (size_t i = 0; i < DQG_COUNT_OF(beginnings); i++) {
        known = known || strncmp(name, beginnings[i], strlen(beginnings[i])) == 0;
    }
    if (!known || strchr(name, '/') != NULL || dqg_format(to->name, sizeof to->name, "%s", name) >= sizeof to->name) {
        return false;
    }
    for (size_t i = 0; i < DQG_COUNT_OF(words); i++) {
        if (!replace(to->name, sizeof to->name, words[i][0], words[i][1])) {
            return false;
        }
    }
    /* A window of one pixel is a matrix; larger ones are not touched. */
    to->flat = true;
    return true;
}

/* Both ways to count the decoder's levels, in a model that has one of them. */
static bool rename_loaded(const struct dqg_model *model, const char *name, struct dqg_rename *to) {
    static const char upwards[] = "decoder.up.", downwards[] = "decoder.up_blocks.";
    char level[128];
    if (!rename_tensor(name, to)) {
        return false;
    }
    const char *prefix = strncmp(to->name, upwards, strlen(upwards)) == 0 ? upwards : downwards;
    const char *rest = to->name + strlen(prefix);
    size_t number = (size_t)(*rest - '0');
    if (strncmp(to->name, prefix, strlen(prefix)) != 0 || number >= model->hyper.depth || rest[1] != '.') {
        return true;
    }
    level_name(model, true, prefix == upwards ? number : model->hyper.depth - 1 - number, rest + 2, level);
    return dqg_format(to->name, sizeof to->name, "%s", level) < sizeof level;
}

/* The ends are small, and what goes wrong there is seen everywhere. What all of a picture passes through, with no
 * way around it as blocks have, comes next: two thirds of the error of 4 bits in a tenth of the weights. */
static const char *const rules[][2] = {
    {"*.conv_in.*", "f16"},
    {"*.conv_out.*", "f16"},
    {"*quant_conv.*", "f16"},
    {"*.upsample.*", "int6"},
    {"*.downsample.*", "int6"},
    {"*.nin_shortcut.*", "int6"},
    {NULL, NULL},
};

const struct dqg_family dqg_family_vae = {
    .name = "vae",
    .role = "vae",
    .marker = "decoder.mid.block_1.conv1.weight",
    .detect = detect,
    .rename = rename_tensor,
    .rename_loaded = rename_loaded,
    .configure = configure,
    .build = build,
    .rules = rules,
};
