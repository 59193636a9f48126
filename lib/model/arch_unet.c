/* SPDX-License-Identifier: MIT */
/*
 * The U-Nets of Stable Diffusion 1.x, 2.x and XL, base and refiner, and of networks with other widths, levels,
 * ResBlocks and transformers; also those that see a picture beside the latent: inpainting, instruct-pix2pix, depth.
 * Names are those of the authors' code without "model.diffusion_model."; what it is made of is in unet_parts.c.
 */
#include "model/settings.h"
#include "model/unet_parts.h"

static const float norm_epsilon = 1e-5f;

enum { GROUPS = 32, SIDE = 64, LARGE_SIDE = 128 /* of SDXL's latent */, SIZE_COLUMNS = 256, TOKENS = 77 };

static const char folder[] = "unet";

extern const struct dqg_family dqg_family_unet;

/* Not so control networks, which have no way up. */
static const char marker[] = "output_blocks.0.0.in_layers.0.weight";

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "input_blocks.0.0.weight") >= 0 &&
           dqg_source_find(source, "time_embed.0.weight") >= 0 && dqg_source_find(source, "out.2.weight") >= 0;
}

/* ---- graph ---- */

/* Pooled row and sizes through label_emb, or DQG_NO_VALUE. */
static int32_t build_label(struct dqg_unet *unet) {
    const struct dqg_hyper *hyper = &unet->picture.model->hyper;
    struct dqg_graph *graph = unet->picture.graph;
    size_t width = dqg_unet_measure(unet->picture.model).label;
    if (width == 0 && dqg_model_find(unet->picture.model, "label_emb.0.2.weight") == NULL) {
        return DQG_NO_VALUE;
    }
    int32_t y = dqg_graph_input(graph, "pooled", DQG_INPUT_POOLED, hyper->pooled_width);
    if (hyper->size_count > 0) {
        size_t columns = (width - hyper->pooled_width) / hyper->size_count;
        int32_t sizes = dqg_graph_numbers(graph, "sizes", DQG_INPUT_SIZES, hyper->size_count, 1, columns);
        y = dqg_graph_concat(graph, "label_emb.concat", y, sizes);
    }
    y = dqg_picture_linear(&unet->picture, "label_emb.0.0", y, true);
    y = dqg_graph_activate(graph, "label_emb.act", y, DQG_ACT_SILU);
    return dqg_picture_linear(&unet->picture, "label_emb.0.2", y, true);
}

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    struct dqg_unet unet;
    DQG_TRY(dqg_unet_init(&unet, model, graph, folder, 32));
    if (model->hyper.context_width > 0) {
        int32_t context = dqg_graph_input(graph, "context", DQG_INPUT_CONTEXT, model->hyper.context_width);
        dqg_unet_constants(&unet, context);
    }
    dqg_unet_time(&unet, build_label(&unet));
    int32_t x = dqg_graph_patchify(graph, "latent", NULL);
    x = dqg_unet_down(&unet, x, DQG_NO_VALUE);
    x = dqg_unet_middle(&unet, x);
    x = dqg_unet_up(&unet, x);
    x = dqg_picture_norm(&unet.picture, "out.0", x, GROUPS, norm_epsilon, DQG_ACT_SILU);
    x = dqg_picture_conv(&unet.picture, "out.2", x, DQG_CONV_SAME, true);
    if (!graph->failed && (unet.skip_count > 0 || unet.picture.height != graph->height)) {
        dqg_picture_fail(&unet.picture, "output_blocks", "weight", "has fewer blocks than the way down", x);
    }
    dqg_graph_unpatchify(graph, "output", x);
    return DQG_OK;
}

/* ---- sizes ---- */

/* How these networks were published to be sampled. */
#define TRAINED                                                                                                        \
    {"schedule", "scaled-linear"}, {"spacing", "leading"}, {                                                           \
        "steps-offset", "1"                                                                                            \
    }
static const char *const schedulers[][2][8][2] = {
    {{TRAINED, {"prediction", "epsilon"}, {"solver", "ddim"}, {"steps", "50"}, {NULL, NULL}},
     {TRAINED, {"prediction", "v"}, {"solver", "ddim"}, {"steps", "50"}, {NULL, NULL}}},
    {{TRAINED, {"prediction", "epsilon"}, {"solver", "euler"}, {"steps", "30"}, {NULL, NULL}},
     {TRAINED, {"prediction", "v"}, {"solver", "euler"}, {"steps", "30"}, {NULL, NULL}}},
};

/* Weights do not tell what the output means: epsilon, unless diffusers' scheduler says v. */
static const char *const (*find_scheduler(const struct dqg_model *model, bool large))[2] {
    bool v = dqg_model_setting_is(model, "scheduler/scheduler_config.json", "prediction_type", "v_prediction");
    return schedulers[large][v];
}

/*
 * How many columns of label_emb's input are the pooled row; the rest are sizes. The refiner's text encoder gives
 * context and pooled row alike, and it takes five sizes; SDXL six. Variations of pictures (unCLIP) take a pooled row
 * alone.
 */
static void find_sizes(struct dqg_model *model, size_t width) {
    struct dqg_hyper *hyper = &model->hyper;
    size_t columns;
    if (dqg_model_settings(model, folder, "addition_time_embed_dim", &columns, 1) == 0 || columns == 0 ||
        columns % 2 != 0) {
        columns = SIZE_COLUMNS;
    }
    bool images = width == 2 * hyper->context_width || width <= 6 * columns;
    hyper->size_count = width == hyper->context_width + 5 * columns ? 5 : images ? 0 : 6;
    hyper->pooled_width = width - hyper->size_count * columns;
}

/* Inputs that some U-Nets have and these do not: left out, they would give wrong pictures. */
static dqg_status check_unknown(struct dqg_context *context, const struct dqg_model *model) {
    static const char *const names[] = {
        "time_embed.cond_proj.weight", /* the guidance scale */
        "label_emb.weight",            /* a class */
        "encoder_hid_proj.weight",     /* rows of another text encoder */
    };
    for (size_t i = 0; i < DQG_COUNT_OF(names); i++) {
        if (dqg_model_find(model, names[i]) != NULL) {
            return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "U-Nets with an input for '%s' are not supported",
                            names[i]);
        }
    }
    return DQG_OK;
}

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *in = dqg_model_find(model, "input_blocks.0.0.weight");
    const struct dqg_weight *out = dqg_model_find(model, "out.2.weight");
    const struct dqg_weight *time = dqg_model_find(model, "time_embed.0.weight");
    if (in == NULL || out == NULL || time == NULL || in->rank != 4 || out->rank != 4 || time->size.columns < 2 ||
        time->size.columns % 2 != 0 || in->size.rows > 1 << 16 || in->shape[1] > 1 << 16 || out->size.rows > 1 << 16) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like a U-Net, but input_blocks.0.0, time_embed.0 or out.2 is missing or has an "
                        "impossible shape");
    }
    DQG_TRY(check_unknown(context, model));
    hyper->hidden = in->size.rows;
    hyper->patch = 1;
    hyper->channels = dqg_min_size((size_t)in->shape[1], out->size.rows);
    hyper->out_channels = out->size.rows;
    hyper->extra_channels = (size_t)in->shape[1] - hyper->channels;
    hyper->frequencies = time->size.columns;
    const struct dqg_unet_sizes sizes = dqg_unet_measure(model);
    hyper->depth = sizes.layers;
    hyper->middle = sizes.middle;
    hyper->context_width = sizes.context;
    hyper->context_tokens = sizes.context > 0 ? TOKENS : 0;
    find_sizes(model, sizes.label);
    size_t side;
    if (dqg_model_settings(model, folder, "sample_size", &side, 1) == 0 || side == 0 || side > 1 << 12) {
        side = hyper->size_count > 0 ? LARGE_SIDE : SIDE;
    }
    hyper->height = hyper->width = side;
    hyper->scheduler = find_scheduler(model, hyper->size_count > 0);
    hyper->latent_scale = hyper->size_count > 0 ? 0.13025 : 0.18215;
    return DQG_OK;
}

/* The ends and the embeddings, whose errors reach every value; what all values pass through, where layers beside it
 * only add to them. The convolutions of blocks, half of the weights, make a thirtieth of the (squared) error. Measured:
 * docs/checkpoints.md. */
static const char *const rules[][2] = {
    {"input_blocks.0.0.*", "f16"},
    {"out.2.*", "f16"},
    {"time_embed.*", "f16"},
    {"label_emb.*", "f16"},
    {"*.emb_layers.1.*", "int6"},
    {"*.skip_connection.*", "int6"},
    {"*.proj_in.*", "int6"},
    {"*.proj_out.*", "int6"},
    {"*.op.*", "int6"},
    {"*.conv.*", "int6"},
    {"*.in_layers.*", ":64"},
    {"*.out_layers.*", ":64"},
    {NULL, NULL},
};

const struct dqg_family dqg_family_unet = {
    .name = "unet",
    .role = "denoiser",
    .marker = marker,
    .detect = detect,
    .rename_in = dqg_unet_rename,
    .rename_loaded = dqg_unet_rename_loaded,
    .configure = configure,
    .build = build,
    .rules = rules,
};
