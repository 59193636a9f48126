/* SPDX-License-Identifier: MIT */
/*
 * TAESD, Tiny AutoEncoder for Stable Diffusion (github.com/madebyollin/taesd): the decoder, the encoder or both. Names
 * are places in a list of layers, "<place>.weight", with "encoder." or "decoder." in front where a file has both;
 * places without tensors are activations and upsampling. Any widths and latent channels, blocks with a pooling branch.
 *
 *   block(x) = relu(x' + conv(relu(conv(relu(conv(x')))))), x' = x, or x + conv(relu(norm(conv(x))))
 */
#include "model/autoencoder.h"

enum { POOL_GROUPS = 4, MOST_LAYERS = 64, OWN_SIDE = 512 /* of pictures, for the model's own size */ };

static const float pool_epsilon = 1e-5f;
static const double latent_limit = 3;

extern const struct dqg_family dqg_family_taesd;

enum layer { LAYER_NONE, LAYER_CONV, LAYER_BLOCK };

/* "decoder.7" or, in a file of its own, "7". */
static void layer_name(const char *side, size_t place, char name[64]) {
    dqg_format(name, 64, side[0] != '\0' ? "%s.%zu" : "%s%zu", side, place);
}

static enum layer layer_at(const struct dqg_model *model, const char *side, size_t place) {
    char name[64];
    layer_name(side, place, name);
    return dqg_picture_find(model, name, "conv.0.weight") != NULL ? LAYER_BLOCK
           : dqg_picture_find(model, name, "weight") != NULL      ? LAYER_CONV
                                                                  : LAYER_NONE;
}

/* One place past the last layer that has tensors. */
static size_t count_layers(const struct dqg_model *model, const char *side) {
    size_t count = 0;
    for (size_t i = 0; i < MOST_LAYERS; i++) {
        count = layer_at(model, side, i) != LAYER_NONE ? i + 1 : count;
    }
    return count;
}

static bool has_bias(const struct dqg_model *model, const char *side, size_t place) {
    char name[64];
    layer_name(side, place, name);
    return dqg_picture_find(model, name, "bias") != NULL;
}

/* A convolution of the encoder halves the picture where it has no bias or an activation follows. */
static bool halves(const struct dqg_model *model, const char *side, size_t place, size_t count) {
    return layer_at(model, side, place) == LAYER_CONV && place + 1 < count &&
           (!has_bias(model, side, place) || layer_at(model, side, place + 1) == LAYER_NONE);
}

/* The decoder doubles its rows at a place without tensors behind a block. */
static bool doubles(const struct dqg_model *model, const char *side, size_t place) {
    return place > 0 && layer_at(model, side, place) == LAYER_NONE && layer_at(model, side, place - 1) == LAYER_BLOCK;
}

/* The first layer at the other size: behind the last that halves, or the first that doubles. */
static size_t turning_point(const struct dqg_model *model, const char *side, bool decode, size_t *reduction) {
    size_t count = count_layers(model, side), at = decode ? count : 0;
    *reduction = 1;
    for (size_t i = 0; i < count; i++) {
        if (decode ? doubles(model, side, i) : halves(model, side, i, count)) {
            at = decode ? (*reduction == 1 ? i : at) : i + 1;
            *reduction *= 2;
        }
    }
    return at;
}

/* ---- graph ---- */

static int32_t build_pool(struct dqg_picture *picture, const char *block, int32_t x) {
    char name[96];
    dqg_format(name, sizeof name, "%s.pool.0", block);
    int32_t y = dqg_picture_conv(picture, name, x, DQG_CONV_SAME, false);
    dqg_format(name, sizeof name, "%s.pool.1", block);
    y = dqg_picture_norm(picture, name, y, POOL_GROUPS, pool_epsilon, DQG_ACT_RELU);
    dqg_format(name, sizeof name, "%s.pool.3", block);
    y = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, false);
    return dqg_graph_add(picture->graph, dqg_picture_name(picture, block, "pool"), x, DQG_NO_VALUE, 0, y);
}

static int32_t build_block(struct dqg_picture *picture, const char *block, int32_t x) {
    struct dqg_graph *graph = picture->graph;
    char name[96];
    if (dqg_picture_find(picture->model, block, "pool.0.weight") != NULL) {
        x = build_pool(picture, block, x);
    }
    int32_t y = x;
    for (size_t i = 0; i < 5; i += 2) {
        dqg_format(name, sizeof name, "%s.conv.%zu", block, i);
        y = dqg_picture_conv(picture, name, y, DQG_CONV_SAME, true);
        if (i < 4) {
            y = dqg_graph_activate(graph, dqg_picture_name(picture, name, "act"), y, DQG_ACT_RELU);
        }
    }
    if (dqg_picture_find(picture->model, block, "skip.weight") != NULL) {
        dqg_format(name, sizeof name, "%s.skip", block);
        x = dqg_picture_conv(picture, name, x, DQG_CONV_SAME, false);
    }
    y = dqg_graph_add(graph, dqg_picture_name(picture, block, "add"), x, DQG_NO_VALUE, 0, y);
    return dqg_graph_activate(graph, dqg_picture_name(picture, block, "fuse"), y, DQG_ACT_RELU);
}

/* Layers [first, end). */
static int32_t build_layers(struct dqg_picture *picture, const char *side, bool decode, size_t first, size_t end,
                            int32_t x) {
    const struct dqg_model *model = picture->model;
    size_t count = count_layers(model, side);
    for (size_t i = first; i < end && !picture->graph->failed; i++) {
        char name[64];
        layer_name(side, i, name);
        bool doubled = decode && i > 0 && doubles(model, side, i - 1);
        bool half = !decode && halves(model, side, i, count);
        enum dqg_picture_conv form = doubled ? DQG_CONV_DOUBLE : half ? DQG_CONV_HALF : DQG_CONV_SAME;
        switch (layer_at(model, side, i)) {
        case LAYER_BLOCK:
            x = build_block(picture, name, x);
            break;
        case LAYER_CONV:
            x = dqg_picture_conv(picture, name, x, form, false);
            break;
        default:
            if (i > 0 && layer_at(model, side, i - 1) == LAYER_CONV) {
                x = dqg_graph_activate(picture->graph, dqg_picture_name(picture, name, "act"), x, DQG_ACT_RELU);
            }
            break;
        }
    }
    return x;
}

/* What the names of a direction begin with, or NULL where the model does not have it. */
static const char *side_of(const struct dqg_model *model, bool decode) {
    const char *side = decode ? "decoder" : "encoder";
    if (count_layers(model, side) > 0) {
        return side;
    }
    /* A file of one of them: the decoder begins with a place without tensors. */
    return count_layers(model, "") > 0 && (layer_at(model, "", 0) == LAYER_NONE) == decode ? "" : NULL;
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    struct dqg_picture picture = {.model = model, .graph = graph};
    enum dqg_stage stage = graph->stage;
    bool decode = stage == DQG_STAGE_WHOLE ? side_of(model, true) != NULL
                                           : stage == DQG_STAGE_DECODE_LATENT || stage == DQG_STAGE_DECODE_IMAGE;
    const char *side = side_of(model, decode);
    size_t reduction, count = count_layers(model, side), turn = turning_point(model, side, decode, &reduction);
    bool second = stage == DQG_STAGE_DECODE_IMAGE || stage == DQG_STAGE_ENCODE_LATENT;
    bool first = stage == DQG_STAGE_DECODE_LATENT || stage == DQG_STAGE_ENCODE_IMAGE;
    size_t columns = second ? (decode ? model->hyper.hidden : model->hyper.encoded)
                            : (decode ? model->hyper.channels : model->hyper.out_channels);
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(2 * model->weight_count + MOST_LAYERS)));
    if (stage == DQG_STAGE_WHOLE && !decode) {
        stage = DQG_STAGE_ENCODE_IMAGE;
    }
    int32_t x = dqg_picture_start(&picture, stage, columns);
    x = build_layers(&picture, side, decode, second ? turn : 0, first ? turn : count, x);
    dqg_graph_result(graph, "output", x, 0);
    return DQG_OK;
}

/* ---- sizes ---- */

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "3.conv.0.weight") >= 0 || dqg_source_find(source, "decoder.3.conv.0.weight") >= 0 ||
           dqg_source_find(source, "encoder.3.conv.0.weight") >= 0 || dqg_source_find(source, "4.conv.0.weight") >= 0;
}

/* Channels that go into the first convolution of a direction, or come out of the last before a place. */
static size_t channels_in(const struct dqg_model *model, const char *side) {
    for (size_t i = 0; i < MOST_LAYERS; i++) {
        if (layer_at(model, side, i) == LAYER_CONV) {
            char name[64];
            layer_name(side, i, name);
            const struct dqg_weight *weight = dqg_picture_find(model, name, "weight");
            return weight->rank == 4 ? (size_t)weight->shape[1] : 0;
        }
    }
    return 0;
}

static size_t channels_before(const struct dqg_model *model, const char *side, size_t end) {
    for (size_t i = end; i > 0; i--) {
        enum layer layer = layer_at(model, side, i - 1);
        if (layer != LAYER_NONE) {
            char name[64];
            layer_name(side, i - 1, name);
            const struct dqg_weight *weight =
                dqg_picture_find(model, name, layer == LAYER_BLOCK ? "conv.4.weight" : "weight");
            return weight != NULL && weight->rank == 4 ? (size_t)weight->shape[0] : 0;
        }
    }
    return 0;
}

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const char *decoder = side_of(model, true), *encoder = side_of(model, false);
    size_t reduction = 0, turn;
    hyper->patch = 1;
    hyper->latent_limit = latent_limit;
    if (encoder != NULL) {
        turn = turning_point(model, encoder, false, &reduction);
        hyper->encoded = channels_before(model, encoder, turn);
        hyper->channels = channels_before(model, encoder, count_layers(model, encoder));
        hyper->out_channels = channels_in(model, encoder);
        hyper->reduction = reduction;
        hyper->depth = count_layers(model, encoder);
    }
    if (decoder != NULL) {
        turn = turning_point(model, decoder, true, &reduction);
        hyper->hidden = channels_before(model, decoder, turn);
        hyper->depth = count_layers(model, decoder);
        size_t in = channels_in(model, decoder), out = channels_before(model, decoder, hyper->depth);
        if (encoder != NULL && (reduction != hyper->reduction || in != hyper->channels || out != hyper->out_channels)) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "encoder and decoder of this taesd model do not fit together");
        }
        hyper->channels = in;
        hyper->out_channels = out;
        hyper->reduction = reduction;
    }
    if (hyper->channels == 0 || hyper->out_channels == 0 || reduction < 2 || reduction > OWN_SIDE) {
        return dqg_fail(
            context, DQG_ERROR_FORMAT,
            "this looks like a TAESD encoder or decoder, but its first, last or resizing layers are missing");
    }
    hyper->height = hyper->width = OWN_SIDE / reduction;
    DQG_TRY(decoder != NULL ? dqg_picture_check(context, model, true) : DQG_OK);
    return encoder != NULL ? dqg_picture_check(context, model, false) : DQG_OK;
}

/* ---- names ---- */

/* Digits that a name of a layer begins with: "<place>.weight", "<place>.bias", "<place>.<conv, pool or skip>..."; 0
 * where it is none. */
static size_t place_digits(const char *name) {
    static const char *const parts[] = {".weight", ".bias", ".conv.", ".pool.", ".skip."};
    size_t digits = 0;
    while (name[digits] >= '0' && name[digits] <= '9') {
        digits++;
    }
    for (size_t i = 0; i < DQG_COUNT_OF(parts); i++) {
        if (strncmp(name + digits, parts[i], strlen(parts[i])) == 0) {
            return digits < 3 ? digits : 0;
        }
    }
    return 0;
}

static bool rename_tensor(const char *name, struct dqg_rename *to) {
    bool encoder = strncmp(name, "encoder.", 8) == 0, decoder = strncmp(name, "decoder.", 8) == 0;
    const char *rest = name + (encoder || decoder ? 8 : 0), *side = encoder ? "encoder." : decoder ? "decoder." : "";
    bool layers = rest != name && strncmp(rest, "layers.", 7) == 0; /* as diffusers calls them */
    rest += layers ? 7 : 0;
    size_t digits = place_digits(rest);
    int64_t place;
    if (digits == 0 || !dqg_parse_int64(rest, digits, &place)) {
        return false;
    }
    /* diffusers' decoder has no layer that limits the latent. */
    place += layers && decoder;
    to->flat = true;
    return dqg_format(to->name, sizeof to->name, "%s%lld%s", side, (long long)place, rest + digits) < sizeof to->name;
}

/* The ends are small, and what goes wrong there is seen everywhere. */
static const char *const rules[][2] = {
    {"0.weight", "f16"},         {"1.weight", "f16"},          {"14.weight", "f16"},
    {"19.weight", "f16"},        {"encoder.0.weight", "f16"},  {"encoder.14.weight", "f16"},
    {"decoder.1.weight", "f16"}, {"decoder.19.weight", "f16"}, {NULL, NULL},
};

const struct dqg_family dqg_family_taesd = {
    .name = "taesd",
    .role = "vae",
    .marker = NULL,
    .detect = detect,
    .rename = rename_tensor,
    .configure = configure,
    .build = build,
    .rules = rules,
};
