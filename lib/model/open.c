/* SPDX-License-Identifier: MIT */
/*
 * From an opened file to a model with all its networks: each is filled by load.c, text encoders get their tokenizers,
 * the first network is the model and has the others as parts. Also how models end, and references to them.
 */
#include "model/adapter.h"
#include "model/model.h"
#include "model/pipeline.h"

/* How the networks of a checkpoint are opened. */
struct opening {
    bool described;
    const char *path;
    uint64_t memory_limit;
    const char *variant; /* in place of the metadata's, or NULL */
};

/* One network from the tensors that belong to it. */
static dqg_status open_network(struct dqg_context *context, struct dqg_source *source,
                               const struct dqg_component *component, const struct opening *opening,
                               struct dqg_model **model) {
    struct dqg_model *made = dqg_calloc(&context->alloc, 1, sizeof *made);
    if (made == NULL) {
        return dqg_fail_memory(context, "the model", sizeof *made);
    }
    made->references = 1;
    made->alloc = context->alloc;
    made->family = component->family;
    made->described = opening->described;
    made->memory_limit = opening->memory_limit;
    dqg_format(made->role, sizeof made->role, "%s", component->role);
    dqg_status status = dqg_parallel_prepare(context);
    if (status >= 0) {
        status = dqg_model_fill(context, source, opening->memory_limit, made);
    }
    if (status >= 0 && opening->path != NULL &&
        (made->path = dqg_arena_copy(&made->alloc, &made->arena, opening->path, strlen(opening->path))) == NULL) {
        status = dqg_fail_memory(context, "the model", made->arena.total);
    }
    if (status < 0) {
        dqg_model_free(made);
        return status;
    }
    *model = made;
    return DQG_OK;
}

static dqg_status open_component(struct dqg_context *context, struct dqg_checkpoint *checkpoint, size_t index,
                                 const struct opening *opening, struct dqg_model **model) {
    struct dqg_source view;
    DQG_TRY(dqg_checkpoint_component(context, checkpoint, index, &view));
    dqg_status status = open_network(context, &view, &checkpoint->components[index], opening, model);
    if (status >= 0) {
        (*model)->reading_bytes += dqg_source_reading_bytes(checkpoint->file) + checkpoint->canonical.arena.total +
                                   view.arena.total +
                                   view.tensor_count * DQG_PLANE_COUNT * sizeof(struct dqg_plane_read);
    }
    dqg_source_close(&view);
    return status;
}

/* Its tokenizer, where the file has one packed. */
static dqg_status open_tokenizer(struct dqg_context *context, const struct dqg_source *source,
                                 struct dqg_model *model) {
    char key[sizeof model->role + 16];
    dqg_format(key, sizeof key, "%s/tokenizer", model->role);
    const char *packed = dqg_source_metadata(source, key);
    return packed != NULL ? dqg_tokenizer_create(context, packed, strlen(packed), NULL, 0, &model->tokenizer) : DQG_OK;
}

/* The first network holds the others. */
static dqg_status open_components(struct dqg_context *context, struct dqg_checkpoint *checkpoint,
                                  const struct opening *opening, struct dqg_model **model) {
    size_t first = dqg_checkpoint_first(checkpoint);
    struct opening next = *opening;
    DQG_TRY(open_component(context, checkpoint, first, opening, model));
    DQG_TRY(open_tokenizer(context, &checkpoint->canonical, *model));
    for (size_t i = 0; i < checkpoint->count; i++) {
        struct dqg_model *part;
        if (i == first) {
            continue;
        }
        if (opening->memory_limit > 0 && !opening->described) {
            next.memory_limit = opening->memory_limit - (*model)->weight_bytes; /* more would have been refused */
        }
        DQG_TRY(open_component(context, checkpoint, i, &next, &part));
        (*model)->parts[(*model)->part_count++] = part;
        DQG_TRY(open_tokenizer(context, &checkpoint->canonical, part));
    }
    DQG_TRY(dqg_model_join_control(context, *model));
    return dqg_pipeline_describe(context, checkpoint, *model);
}

/* The caller's word goes first: it is found in place of the file's. */
static dqg_status tell_variant(struct dqg_context *context, struct dqg_source *source, const char *variant) {
    size_t bytes = (source->metadata_count + 1) * sizeof *source->metadata;
    if (variant == NULL || variant[0] == '\0') {
        return DQG_OK;
    }
    struct dqg_metadata *metadata = dqg_arena_alloc(&context->alloc, &source->arena, bytes);
    if (metadata == NULL) {
        return dqg_fail_memory(context, "the model's metadata", bytes);
    }
    metadata[0] = (struct dqg_metadata){"variant", variant};
    for (size_t i = 0; i < source->metadata_count; i++) {
        metadata[i + 1] = source->metadata[i];
    }
    source->metadata = metadata;
    source->metadata_count++;
    return DQG_OK;
}

static dqg_status open_all(struct dqg_context *context, struct dqg_checkpoint *checkpoint,
                           const struct opening *opening, struct dqg_model **model) {
    struct dqg_model *made = NULL;
    *model = NULL;
    DQG_TRY(tell_variant(context, &checkpoint->canonical, opening->variant));
    dqg_status status = open_components(context, checkpoint, opening, &made);
    if (status < 0 && made != NULL) {
        dqg_model_free(made);
    }
    *model = status < 0 ? NULL : made;
    return status;
}

dqg_status dqg_model_open(struct dqg_context *context, struct dqg_source *source, uint64_t memory_limit,
                          const char *variant, struct dqg_model **model) {
    const struct opening opening = {.memory_limit = memory_limit, .variant = variant};
    struct dqg_checkpoint checkpoint;
    *model = NULL;
    DQG_TRY(dqg_checkpoint_open(context, source, &checkpoint));
    dqg_status status = open_all(context, &checkpoint, &opening, model);
    dqg_checkpoint_close(&checkpoint);
    return status;
}

dqg_status dqg_model_describe(struct dqg_context *context, struct dqg_checkpoint *checkpoint, const char *path,
                              uint64_t memory_limit, const char *variant, struct dqg_model **model) {
    const struct opening opening = {.described = true, .path = path, .memory_limit = memory_limit, .variant = variant};
    return open_all(context, checkpoint, &opening, model);
}

dqg_status dqg_model_open_again(struct dqg_context *context, const struct dqg_model *model, struct dqg_source *source,
                                struct dqg_model **own) {
    const struct opening opening = {.memory_limit = model->memory_limit};
    struct dqg_checkpoint checkpoint;
    DQG_TRY(dqg_checkpoint_open(context, source, &checkpoint));
    dqg_status status = tell_variant(context, &checkpoint.canonical, dqg_model_find_metadata(model, "variant"));
    for (size_t i = 0; i < checkpoint.count && *own == NULL && status >= 0; i++) {
        if (strcmp(checkpoint.components[i].role, model->role) == 0) {
            status = open_component(context, &checkpoint, i, &opening, own);
        }
    }
    dqg_checkpoint_close(&checkpoint);
    return status;
}

void dqg_model_free(struct dqg_model *model) {
    struct dqg_alloc alloc = model->alloc;
    dqg_model_release_(model->control);
    if (model->lender != NULL) {
        dqg_model_release_(model->lender);
        dqg_free(&alloc, model, sizeof *model);
        return;
    }
    for (size_t i = 0; i < model->part_count; i++) {
        dqg_model_free(model->parts[i]);
    }
    for (size_t i = 0; i < model->weight_count && !model->described; i++) {
        if (dqg_adapted_owns(model, i)) {
            dqg_weight_free(&alloc, &model->weights[i]);
        }
    }
    if (model->adapted == NULL) {
        dqg_free(&alloc, model->zeros, model->zero_bytes);
        dqg_tokenizer_destroy(model->tokenizer);
    }
    dqg_adapted_free(model->adapted);
    dqg_arena_free(&alloc, &model->arena);
    dqg_free(&alloc, model, sizeof *model);
}

void dqg_model_retain_(struct dqg_model *model) {
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
}

void dqg_model_release_(struct dqg_model *model) {
    if (model != NULL && atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) == 1) {
        dqg_model_free(model);
    }
}
