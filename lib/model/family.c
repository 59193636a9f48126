/* SPDX-License-Identifier: MIT */
/* The list of families, lookups that their files share, and graphs made through them. */
#include "model/model.h"

#define DQG_FAMILY(name) extern const struct dqg_family name;
#include "model/family_list.inc"
#undef DQG_FAMILY

const struct dqg_family *const dqg_families[] = {
#define DQG_FAMILY(name) &name,
#include "model/family_list.inc"
#undef DQG_FAMILY
};

const size_t dqg_family_count = DQG_COUNT_OF(dqg_families);

const struct dqg_weight *dqg_model_find(const struct dqg_model *model, const char *name) {
    for (size_t i = 0; i < model->weight_count; i++) {
        if (strcmp(model->weights[i].name, name) == 0) {
            return &model->weights[i];
        }
    }
    return NULL;
}

dqg_status dqg_model_need(struct dqg_context *context, const struct dqg_model *model, const char *name, size_t rows,
                          size_t columns) {
    const struct dqg_weight *weight = dqg_model_find(model, name);
    if (weight == NULL) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "tensor '%s' is missing; the file is not a whole %s model", name,
                        model->family->name);
    }
    /* The columns of a quantized convolution stand in another order than a matrix product wants. */
    bool matrix = weight->size.taps == 1 || dqg_dtype_is_float(weight->dtype);
    bool fits = columns == 0 ? weight->rank == 1 && (uint64_t)weight->shape[0] == rows
                             : matrix && weight->size.rows == rows && weight->size.columns == columns;
    if (!fits) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        columns == 0 ? "tensor '%s' is not a vector of %zu elements"
                                     : "tensor '%s' is not a matrix of %zu x %zu elements",
                        name, rows, columns);
    }
    return DQG_OK;
}

/* Every block that a perturbation names must have been built by a family that asks for them. */
static dqg_status check_perturbation(const struct dqg_model *model, const struct dqg_graph *graph) {
    const struct dqg_perturbation *perturbation = graph->perturbation;
    if (graph->begun == 0) {
        return dqg_fail(graph->context, DQG_ERROR_UNSUPPORTED,
                        "networks of the family '%s' offer no perturbed evaluation; set the perturbation's scale to 0",
                        model->family->name);
    }
    for (int32_t i = 0; i < perturbation->count; i++) {
        if (perturbation->blocks[i] < 0 || perturbation->blocks[i] >= graph->begun) {
            return dqg_fail(graph->context, DQG_ERROR_RANGE, "block %lld to perturb is outside 0..%lld",
                            (long long)perturbation->blocks[i], (long long)graph->begun - 1);
        }
    }
    return DQG_OK;
}

/* With the graph, so that an equal one can be made of it. */
static dqg_status keep_perturbation(struct dqg_graph *graph) {
    const struct dqg_perturbation *perturbation = graph->perturbation;
    size_t bytes = (size_t)perturbation->count * sizeof *perturbation->blocks;
    struct dqg_perturbation *kept = dqg_arena_alloc(&graph->context->alloc, &graph->arena, sizeof *kept);
    int64_t *blocks = dqg_arena_alloc(&graph->context->alloc, &graph->arena, bytes);
    if (kept == NULL || blocks == NULL) {
        return dqg_fail_memory(graph->context, "the network graph", bytes);
    }
    memcpy(blocks, perturbation->blocks, bytes);
    *kept = *perturbation;
    kept->blocks = blocks;
    graph->perturbation = kept;
    return DQG_OK;
}

const char *dqg_model_find_metadata(const struct dqg_model *model, const char *key) {
    for (size_t i = 0; i < model->metadata_count; i++) {
        if (strcmp(model->metadata[i].key, key) == 0) {
            return model->metadata[i].value;
        }
    }
    return NULL;
}

size_t dqg_model_metadata_size(const struct dqg_model *model, const char *key, size_t fallback) {
    const char *text = dqg_model_find_metadata(model, key);
    int64_t value;
    if (text == NULL) {
        return fallback;
    }
    return dqg_parse_int64(text, strlen(text), &value) && value > 0 && value <= 1 << 20 ? (size_t)value : 0;
}

const struct dqg_model *dqg_model_autoencoder(const struct dqg_model *model) {
    const struct dqg_model *found = model->hyper.reduction > 0 ? model : NULL;
    for (size_t i = 0; i < model->part_count; i++) {
        const struct dqg_model *part = model->parts[i];
        bool better = found == NULL || (found->hyper.latent_limit > 0 && part->hyper.latent_limit == 0);
        found = part->hyper.reduction > 0 && better ? part : found;
    }
    return found;
}

dqg_status dqg_model_need_denoiser(struct dqg_context *context, const struct dqg_model *model) {
    if (strcmp(model->family->role, "denoiser") != 0) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "a %s model cannot be sampled, it is no denoiser: text encoders are run by "
                        "dqg_model_encode_tokens(), autoencoders by dqg_model_decode() and dqg_model_encode()",
                        model->family->name);
    }
    return DQG_OK;
}

dqg_status dqg_model_graph(struct dqg_context *context, const struct dqg_model *model,
                           const struct dqg_graph_config *config, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    *graph = (struct dqg_graph){.context = context,
                                .samples = config->samples,
                                .channels = hyper->channels + hyper->extra_channels,
                                .out_channels = hyper->out_channels,
                                .patch = hyper->patch,
                                .bf16 = config->bf16,
                                .fewer_samples = config->fewer_samples,
                                .active_tokens = config->active_tokens,
                                .keep_keys = config->keep_keys,
                                .attention = config->attention,
                                .perturbation = config->perturbation,
                                .additions = model->additions,
                                .text = config->text,
                                .stage = config->stage};
    graph->context_tokens = config->context_tokens > 0 ? config->context_tokens : hyper->context_tokens;
    graph->height = config->height > 0 ? config->height : hyper->height;
    graph->width = config->width > 0 ? config->width : hyper->width;
    if (config->entropy_scale) {
        size_t own = hyper->height / hyper->patch * (hyper->width / hyper->patch);
        graph->train_tokens = config->train_tokens > 0 ? config->train_tokens : own;
    }
    if (graph->height % graph->patch != 0 || graph->width % graph->patch != 0) {
        return dqg_fail(context, DQG_ERROR_RANGE, "height %zu and width %zu must be multiples of the patch size %zu",
                        graph->height, graph->width, graph->patch);
    }
    graph->tokens = graph->height / graph->patch * (graph->width / graph->patch);
    dqg_status status = model->family->build(model, graph);
    if (status >= 0 && graph->failed) {
        status = graph->status < 0 ? graph->status : dqg_fail_memory(context, "the network graph", graph->arena.total);
    }
    if (status >= 0 && graph->perturbation != NULL) {
        status = check_perturbation(model, graph);
    }
    if (status >= 0 && graph->perturbation != NULL) {
        status = keep_perturbation(graph);
    }
    if (status >= 0 && graph->keep_keys && !graph->selects) {
        status = dqg_fail(context, DQG_ERROR_UNSUPPORTED, "networks of the family '%s' compute all tokens always",
                          model->family->name);
    }
    if (status >= 0) {
        status = dqg_graph_fuse(graph);
    }
    if (status >= 0) {
        status = dqg_graph_plan(graph);
    }
    if (status < 0) {
        dqg_graph_free(graph);
    }
    return status;
}
