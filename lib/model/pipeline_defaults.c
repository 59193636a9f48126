/* SPDX-License-Identifier: MIT */
/*
 * How the networks of published models fit together, by the widths of the denoiser's inputs and of the text encoders:
 * what is written into the metadata of a checkpoint that does not say it. Called when a model is opened.
 */
#include "model/pipeline.h"

struct parts {
    const struct dqg_model *clip, *clip_2, *t5;
    const struct dqg_model *model;
    const struct dqg_checkpoint *checkpoint;
};

/* Texts of a published pipeline; scale 0: not known. */
struct pipeline {
    const char *context, *pooled, *negative;
    const char *scale, *shift; /* of its autoencoder */
};

static size_t width(const struct dqg_model *encoder) {
    return encoder != NULL ? encoder->hyper.hidden : 0;
}

static size_t pooled_width(const struct dqg_model *encoder) {
    return encoder != NULL && encoder->hyper.projection > 0 ? encoder->hyper.projection : width(encoder);
}

/* Has the file this in front of the names of a network? */
static bool has_prefix(const struct parts *parts, const char *role, const char *prefix) {
    for (size_t i = 0; i < parts->checkpoint->count; i++) {
        const struct dqg_component *component = &parts->checkpoint->components[i];
        if (strcmp(component->role, role) == 0) {
            return strcmp(component->prefix, prefix) == 0;
        }
    }
    return false;
}

/* SDXL and SD3: two encoders of CLIP side by side. */
static bool choose_two(const struct parts *parts, struct pipeline *pipeline, char text[128]) {
    const struct dqg_hyper *hyper = &parts->model->hyper;
    size_t both = width(parts->clip) + width(parts->clip_2);
    if (hyper->context_width == both && hyper->pooled_width == pooled_width(parts->clip_2)) {
        *pipeline = (struct pipeline){.context = "clip skip 1 no-norm | clip_2 skip 1 no-norm",
                                      .pooled = "clip_2",
                                      .negative = "zeros",
                                      .scale = "0.13025"};
        return true;
    }
    bool fits = parts->t5 == NULL ? hyper->context_width >= both : hyper->context_width == width(parts->t5);
    size_t first = has_prefix(parts, "clip", "text_encoder/") ? pooled_width(parts->clip) : width(parts->clip);
    if (!fits || hyper->pooled_width != first + pooled_width(parts->clip_2)) {
        return false;
    }
    /* Without T5 its rows are zeros. */
    dqg_format(text, 128, "clip skip 1 no-norm | clip_2 skip 1 no-norm + %s tokens 256",
               parts->t5 != NULL ? "t5" : "zeros");
    /* Folders of diffusers have an encoder whose projection is to be taken, the authors do without. */
    *pipeline = (struct pipeline){.context = text,
                                  .pooled = has_prefix(parts, "clip", "text_encoder/") ? "clip | clip_2"
                                                                                       : "clip no-projection | clip_2",
                                  .scale = "1.5305",
                                  .shift = "0.0609"};
    return true;
}

/* FLUX and PixArt. */
static bool choose_t5(const struct parts *parts, struct pipeline *pipeline, char text[128]) {
    const struct dqg_hyper *hyper = &parts->model->hyper;
    bool flux = parts->clip != NULL && hyper->pooled_width == width(parts->clip);
    if (hyper->context_width != width(parts->t5) || (hyper->pooled_width > 0 && !flux)) {
        return false;
    }
    dqg_format(text, 128, "t5 tokens %zu%s", hyper->context_tokens > 0 ? hyper->context_tokens : 256,
               hyper->masked ? " mask" : "");
    *pipeline =
        flux ? (struct pipeline){.context = text, .pooled = "clip no-projection", .scale = "0.3611", .shift = "0.1159"}
             : (struct pipeline){.context = text, .scale = hyper->context_tokens == 300 ? "0.13025" : "0.18215"};
    return true;
}

static bool choose(const struct parts *parts, struct pipeline *pipeline, char text[128]) {
    const struct dqg_hyper *hyper = &parts->model->hyper;
    if (hyper->context_width == 0) {
        return false;
    }
    if (parts->clip != NULL && parts->clip_2 != NULL && choose_two(parts, pipeline, text)) {
        return true;
    }
    if (parts->t5 != NULL && choose_t5(parts, pipeline, text)) {
        return true;
    }
    if (parts->clip == NULL || hyper->context_width != width(parts->clip)) {
        return false;
    }
    if (hyper->pooled_width == 0) {
        /* SD 1.x and 2.x. Files of SD 2.x by the authors have all layers of OpenCLIP-H, the rows being those before the
         * last one; diffusers' leave the last one out. */
        bool all = has_prefix(parts, "clip", "cond_stage_model.model.");
        *pipeline = (struct pipeline){.context = all ? "clip skip 1" : "clip", .scale = "0.18215"};
        return true;
    }
    /* the refiner of SDXL */
    if (hyper->pooled_width == pooled_width(parts->clip)) {
        *pipeline = (struct pipeline){.context = "clip skip 1 no-norm", .pooled = "clip", .scale = "0.13025"};
        return true;
    }
    return false;
}

static dqg_status add(struct dqg_context *context, struct dqg_model *model, const char *key, const char *value) {
    return value == NULL || dqg_model_find_metadata(model, key) != NULL
               ? DQG_OK
               : dqg_model_add_metadata(context, model, key, value);
}

/* The scales of the diffusion model's latents belong to its autoencoder. TAESD works on latents as they are. */
static dqg_status add_scales(struct dqg_context *context, struct dqg_model *model, const struct pipeline *pipeline) {
    char key[sizeof model->role + 32];
    for (size_t i = 0; i < model->part_count; i++) {
        struct dqg_model *part = model->parts[i];
        if (part->hyper.reduction == 0 || part->hyper.latent_limit > 0 ||
            dqg_model_find_metadata(part, "scaling_factor") != NULL) {
            continue;
        }
        DQG_TRY(add(context, part, "scaling_factor", pipeline->scale));
        DQG_TRY(add(context, part, "shift_factor", pipeline->shift));
        dqg_format(key, sizeof key, "%s/scaling_factor", part->role);
        DQG_TRY(add(context, model, key, pipeline->scale));
        dqg_format(key, sizeof key, "%s/shift_factor", part->role);
        DQG_TRY(add(context, model, key, pipeline->shift));
    }
    return DQG_OK;
}

dqg_status dqg_pipeline_describe(struct dqg_context *context, const struct dqg_checkpoint *checkpoint,
                                 struct dqg_model *model) {
    const struct parts parts = {.clip = dqg_model_encoder(model, "clip"),
                                .clip_2 = dqg_model_encoder(model, "clip_2"),
                                .t5 = dqg_model_encoder(model, "t5"),
                                .model = model,
                                .checkpoint = checkpoint};
    struct pipeline pipeline = {0};
    char text[128], scale[32], shift[32];
    (void)choose(&parts, &pipeline, text); /* what is not known stays NULL */
    if (model->hyper.latent_scale > 0) {
        dqg_format(scale, sizeof scale, "%g", model->hyper.latent_scale);
        dqg_format(shift, sizeof shift, "%g", model->hyper.latent_shift);
        pipeline.scale = scale;
        pipeline.shift = shift;
    }
    DQG_TRY(add(context, model, "pipeline.context", pipeline.context));
    DQG_TRY(add(context, model, "pipeline.pooled", pipeline.pooled));
    DQG_TRY(add(context, model, "pipeline.negative", pipeline.negative));
    return add_scales(context, model, &pipeline);
}
