/* SPDX-License-Identifier: MIT */
/*
 * The U-Nets of Stable Diffusion 1.x, 2.x and XL, base and refiner, and of networks with other widths, levels,
 * ResBlocks and transformers; also those that see a picture beside the latent: inpainting, instruct-pix2pix, depth.
 * Names are those of the authors' code without "model.diffusion_model."; what it is made of is in unet_parts.c.
 */
#include "model/control.h"
#include "model/settings.h"

static const float norm_epsilon = 1e-5f;

enum { GROUPS = 32, SIDE = 64, LARGE_SIDE = 128 /* of SDXL's latent */, TOKENS = 77 };

static const char folder[] = "unet";

extern const struct dqg_family dqg_family_unet;

/* Not so control networks, which have no way up. */
static const char marker[] = "output_blocks.0.0.in_layers.0.weight";

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "input_blocks.0.0.weight") >= 0 &&
           dqg_source_find(source, "time_embed.0.weight") >= 0 && dqg_source_find(source, "out.2.weight") >= 0;
}

/* ---- graph ---- */

static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    struct dqg_unet unet;
    struct dqg_control control;
    /* A layer of 20 tensors is the smallest that makes as many operators. */
    size_t tensors = model->weight_count + (graph->control != NULL ? graph->control->weight_count : 0);
    int32_t context = DQG_NO_VALUE;
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(2 * tensors) + 64));
    DQG_TRY(dqg_unet_init(&unet, model, graph, folder));
    if (model->hyper.context_width > 0) {
        context = dqg_graph_input(graph, "context", DQG_INPUT_CONTEXT, model->hyper.context_width);
        dqg_unet_constants(&unet, context);
    }
    if (graph->control != NULL) {
        unet.control = &control;
        DQG_TRY(dqg_control_init(&control, graph->control, graph, context));
    }
    dqg_unet_time(&unet, dqg_unet_label(&unet));
    int32_t x = dqg_graph_patchify(graph, "latent", NULL);
    if (unet.control != NULL) {
        dqg_control_start(&control, x);
    }
    x = dqg_unet_down(&unet, x);
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
    dqg_unet_find_sizes(model, folder);
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
    .controlled = true,
    .marker = marker,
    .detect = detect,
    .rename_in = dqg_unet_rename,
    .rename_loaded = dqg_unet_rename_loaded,
    .configure = configure,
    .build = build,
    .rules = rules,
};
