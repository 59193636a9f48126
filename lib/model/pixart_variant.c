/* SPDX-License-Identifier: MIT */
/*
 * Which published PixArt a network is. Weights of alpha and Sigma, of 256, 512 and more pixels have the same shapes,
 * but are for positions, prompts and autoencoders of their own. What there is to go by, most certain first: the
 * caller's word, the tensors of the authors' files, the configurations of a folder of diffusers.
 */
#include <math.h>

#include "model/pixart.h"
#include "model/settings.h"

const char dqg_variant_names[] = "alpha-256|alpha-512|alpha-1024|sigma-256|sigma-512|sigma-1024|sigma-2048";

enum kind { KIND_UNKNOWN, KIND_ALPHA, KIND_SIGMA };

struct variant {
    const char *name;
    enum kind kind;
    size_t side;   /* of the latent */
    double spread; /* positions of neighbouring tokens are 1 / spread apart */
};

/* In the order of dqg_variant_names. alpha-1024 alone is told the size of the picture. */
static const struct variant variants[] = {
    {"alpha-256", KIND_ALPHA, 32, 1},   {"alpha-512", KIND_ALPHA, 64, 1}, {"alpha-1024", KIND_ALPHA, 128, 2},
    {"sigma-256", KIND_SIGMA, 32, 0.5}, {"sigma-512", KIND_SIGMA, 64, 1}, {"sigma-1024", KIND_SIGMA, 128, 2},
    {"sigma-2048", KIND_SIGMA, 256, 4},
};

static const size_t most_side = 1 << 14;

/* A positive number of the configuration of diffusers; 0 where there is none. */
static double config_number(const struct dqg_model *model, const char *key) {
    double number;
    return dqg_model_number(model, "transformer", key, &number) && number > 0 ? number : 0;
}

/* The side that the authors' table of positions is for. */
static size_t table_side(const struct dqg_model *model) {
    const struct dqg_weight *table = dqg_model_find(model, "pos_embed");
    size_t grid = table != NULL && table->rank == 3 ? (size_t)(sqrt((double)table->shape[1]) + 0.5) : 0;
    return grid * grid == (table != NULL ? (size_t)table->shape[1] : 0) ? grid * model->hyper.patch : 0;
}

static enum kind find_kind(const struct dqg_model *model, size_t side) {
    const char *index = dqg_model_find_metadata(model, "model_index.json");
    const struct dqg_weight *null_prompt = dqg_model_find(model, "y_embedder.y_embedding");
    double spread = config_number(model, "interpolation_scale");
    if (index != NULL && strstr(index, "PixArtSigma") != NULL) {
        return KIND_SIGMA;
    }
    if (model->hyper.size_count > 0 || (index != NULL && strstr(index, "PixArtAlpha") != NULL)) {
        return KIND_ALPHA;
    }
    if (null_prompt != NULL && (null_prompt->shape[0] == 120 || null_prompt->shape[0] == 300)) {
        return null_prompt->shape[0] == 120 ? KIND_ALPHA : KIND_SIGMA;
    }
    /* What no alpha is: large and not told the size, or small with positions further apart. */
    return side >= 128 || (spread > 0 && spread < 1) ? KIND_SIGMA : KIND_UNKNOWN;
}

static void set_variant(struct dqg_model *model, enum kind kind, size_t side, double spread) {
    struct dqg_hyper *hyper = &model->hyper;
    hyper->height = hyper->width = side;
    hyper->position_step = 1 / spread;
    hyper->context_tokens = kind == KIND_SIGMA ? 300 : 120;
    hyper->latent_scale = kind == KIND_SIGMA ? 0.13025 : 0.18215;
}

static dqg_status fail_ambiguous(struct dqg_context *context, enum kind kind) {
    char names[128] = "";
    for (size_t i = 0; i < DQG_COUNT_OF(variants); i++) {
        size_t length = strlen(names);
        if (kind == KIND_UNKNOWN || kind == variants[i].kind) {
            dqg_format(names + length, sizeof names - length, length > 0 ? ", %s" : "%s", variants[i].name);
        }
    }
    return dqg_fail(
        context, DQG_ERROR_UNSUPPORTED,
        "this is a PixArt, but its tensors do not tell which: give the option 'variant', or metadata of that "
        "name when it is quantized, as one of %s",
        names);
}

/* As diffusers does it where its configuration does not say; of the authors' files as published. */
static double find_spread(const struct dqg_model *model, enum kind kind, size_t side) {
    double spread = fmax((double)(side / 64), 1);
    for (size_t i = 0; i < DQG_COUNT_OF(variants) && config_number(model, "sample_size") == 0; i++) {
        spread = kind == variants[i].kind && side == variants[i].side ? variants[i].spread : spread;
    }
    double told = config_number(model, "interpolation_scale");
    return told > 0 ? told : spread;
}

dqg_status dqg_pixart_find_variant(struct dqg_context *context, struct dqg_model *model) {
    const char *told = dqg_model_find_metadata(model, "variant");
    for (size_t i = 0; told != NULL && i < DQG_COUNT_OF(variants); i++) {
        if (strcmp(told, variants[i].name) == 0) {
            set_variant(model, variants[i].kind, variants[i].side, variants[i].spread);
            return DQG_OK;
        }
    }
    double sample = config_number(model, "sample_size");
    size_t side = sample > 0 && sample <= (double)most_side ? (size_t)sample : table_side(model);
    enum kind kind = find_kind(model, side);
    side = side == 0 && model->hyper.size_count > 0 ? 128 : side;
    if (side == 0 || told != NULL) {
        return fail_ambiguous(context, kind);
    }
    if (side > most_side || side % model->hyper.patch != 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "'sample_size' %zu of this PixArt is too large or no multiple of the patch size", side);
    }
    if (kind == KIND_UNKNOWN) {
        dqg_log(
            context, DQG_LOG_WARNING,
            "nothing tells PixArt alpha from Sigma here: taken for alpha, with prompts of 120 tokens and latents of "
            "scale 0.18215; the option 'variant' can say sigma-256 or sigma-512");
    }
    set_variant(model, kind, side, find_spread(model, kind, side));
    return DQG_OK;
}
