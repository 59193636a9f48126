/* SPDX-License-Identifier: MIT */
/* Parts that graphs of autoencoders and U-Nets are built from: found by name, with their checks. */
#include "model/autoencoder.h"

enum { CHECK_SIDE = 2 /* of the latent of a graph that is built to be checked */ };

const char *dqg_picture_name(struct dqg_picture *picture, const char *prefix, const char *part) {
    char name[256];
    dqg_format(name, sizeof name, "%s%s%s", prefix, part[0] != '\0' ? "." : "", part);
    const char *kept = dqg_graph_name(picture->graph, name);
    return kept != NULL ? kept : "";
}

const struct dqg_weight *dqg_picture_find(const struct dqg_model *model, const char *prefix, const char *part) {
    char name[256];
    dqg_format(name, sizeof name, "%s.%s", prefix, part);
    return dqg_model_find(model, name);
}

/* The first failure of a graph is the one that is told. */
int32_t dqg_picture_fail(struct dqg_picture *picture, const char *prefix, const char *part, const char *what,
                         int32_t x) {
    struct dqg_graph *graph = picture->graph;
    if (!graph->failed) {
        graph->failed = true;
        graph->status = dqg_fail(graph->context, DQG_ERROR_FORMAT, "tensor '%s.%s' of this %s model %s", prefix, part,
                                 picture->model->family->name, what);
    }
    return x;
}

/* A vector of count floats, or NULL after a failure. */
static const float *vector(struct dqg_picture *picture, const char *prefix, const char *part, size_t count) {
    const struct dqg_weight *weight = dqg_picture_find(picture->model, prefix, part);
    if (weight == NULL || weight->rank != 1 || (uint64_t)weight->shape[0] != count) {
        dqg_picture_fail(picture, prefix, part, weight == NULL ? "is missing" : "has the wrong size", 0);
        return NULL;
    }
    return weight->codes;
}

int32_t dqg_picture_norm(struct dqg_picture *picture, const char *prefix, int32_t x, size_t groups, float epsilon,
                         enum dqg_activation activation) {
    size_t channels = picture->graph->values[x].columns;
    const float *factor = vector(picture, prefix, "weight", channels),
                *bias = vector(picture, prefix, "bias", channels);
    if (channels % groups != 0) {
        return dqg_picture_fail(picture, prefix, "weight", "cannot be cut into the groups of its norm", x);
    }
    return dqg_graph_group_norm(picture->graph, dqg_picture_name(picture, prefix, ""), x, groups, factor, bias, epsilon,
                                activation);
}

static int32_t convolve(struct dqg_picture *picture, const char *prefix, int32_t x, enum dqg_picture_conv form,
                        bool needs_bias, int32_t addend) {
    const struct dqg_weight *weight = dqg_picture_find(picture->model, prefix, "weight");
    if (weight == NULL || weight->size.rows == 0 || (weight->rank != 2 && weight->rank != 4)) {
        return dqg_picture_fail(picture, prefix, "weight", weight == NULL ? "is missing" : "is not a convolution's", x);
    }
    size_t kernel = weight->rank == 4 ? (size_t)weight->shape[2] : 1;
    bool stored = dqg_picture_find(picture->model, prefix, "bias") != NULL;
    const float *bias = needs_bias || stored ? vector(picture, prefix, "bias", weight->size.rows) : NULL;
    struct dqg_conv_shape shape = dqg_conv_square(picture->graph->samples, picture->graph->values[x].columns,
                                                  picture->height, picture->width, kernel);
    shape.upsample = form == DQG_CONV_DOUBLE;
    for (int axis = 1; axis < 3 && (form == DQG_CONV_HALF || form == DQG_CONV_HALF_END); axis++) {
        shape.stride[axis] = 2;
        shape.before[axis] = form == DQG_CONV_HALF ? 1 : 0;
    }
    if (picture->graph->failed) {
        return x;
    }
    bool fits = addend == DQG_NO_VALUE || picture->graph->values[addend].columns == weight->size.rows;
    if (kernel % 2 == 0 || !fits || !dqg_conv_valid(&shape, weight)) {
        return dqg_picture_fail(picture, prefix, "weight", "does not fit the channels it is given", x);
    }
    x = dqg_graph_conv(picture->graph, dqg_picture_name(picture, prefix, ""), x, &shape, weight, bias, addend, 0);
    picture->height = dqg_conv_out(&shape, 1);
    picture->width = dqg_conv_out(&shape, 2);
    return x;
}

int32_t dqg_picture_conv(struct dqg_picture *picture, const char *prefix, int32_t x, enum dqg_picture_conv form,
                         bool needs_bias) {
    return convolve(picture, prefix, x, form, needs_bias, DQG_NO_VALUE);
}

int32_t dqg_picture_conv_added(struct dqg_picture *picture, const char *prefix, int32_t x, int32_t addend) {
    return convolve(picture, prefix, x, DQG_CONV_SAME, true, addend);
}

int32_t dqg_picture_linear(struct dqg_picture *picture, const char *prefix, int32_t x, bool needs_bias) {
    const struct dqg_weight *weight = dqg_picture_find(picture->model, prefix, "weight");
    if (weight == NULL || weight->size.taps != 1 || weight->size.columns != picture->graph->values[x].columns) {
        return dqg_picture_fail(picture, prefix, "weight",
                                weight == NULL ? "is missing" : "does not fit the columns it is given", x);
    }
    bool stored = dqg_picture_find(picture->model, prefix, "bias") != NULL;
    const float *bias = needs_bias || stored ? vector(picture, prefix, "bias", weight->size.rows) : NULL;
    return picture->graph->failed
               ? x
               : dqg_graph_linear(picture->graph, dqg_picture_name(picture, prefix, ""), x, weight, bias);
}

int32_t dqg_picture_layer_norm(struct dqg_picture *picture, const char *prefix, int32_t x, float epsilon) {
    size_t columns = picture->graph->values[x].columns;
    const float *factor = vector(picture, prefix, "weight", columns), *bias = vector(picture, prefix, "bias", columns);
    return dqg_graph_norm_learned(picture->graph, dqg_picture_name(picture, prefix, ""), x, factor, bias, false,
                                  epsilon);
}

int32_t dqg_picture_start(struct dqg_picture *picture, enum dqg_stage stage, size_t columns) {
    struct dqg_graph *graph = picture->graph;
    picture->height = graph->height;
    picture->width = graph->width;
    if (stage == DQG_STAGE_DECODE_IMAGE || stage == DQG_STAGE_ENCODE_LATENT) {
        graph->context_tokens = graph->tokens;
        return dqg_graph_input(graph, "latent", DQG_INPUT_CONTEXT, columns);
    }
    graph->channels = columns;
    return dqg_graph_patchify(graph, stage == DQG_STAGE_ENCODE_IMAGE ? "picture" : "latent", NULL);
}

dqg_status dqg_picture_check(struct dqg_context *context, const struct dqg_model *model, bool decode) {
    struct dqg_graph_config config = {.samples = 1, .height = CHECK_SIDE, .width = CHECK_SIDE};
    struct dqg_graph graph;
    config.stage = decode ? DQG_STAGE_DECODE_LATENT : DQG_STAGE_ENCODE_LATENT;
    DQG_TRY(dqg_model_graph(context, model, &config, &graph));
    dqg_graph_free(&graph);
    config.stage = decode ? DQG_STAGE_DECODE_IMAGE : DQG_STAGE_ENCODE_IMAGE;
    config.height = config.width = decode ? CHECK_SIDE : CHECK_SIDE * model->hyper.reduction;
    DQG_TRY(dqg_model_graph(context, model, &config, &graph));
    dqg_graph_free(&graph);
    return DQG_OK;
}
