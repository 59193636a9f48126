/* SPDX-License-Identifier: MIT */
/*
 * From an opened file to a model: every usable tensor is read into memory in its storage format, vectors as F32,
 * metadata and class names are copied, and the family checks that everything it needs is there.
 */
#include "model/model.h"

static const char *copy_text(struct dqg_model *model, const char *text) {
    return dqg_arena_copy(&model->alloc, &model->arena, text, strlen(text));
}

static dqg_status out_of_memory(struct dqg_context *context, const struct dqg_model *model) {
    return dqg_fail_memory(context, "the model's description", model->arena.total);
}

static dqg_status copy_metadata(struct dqg_context *context, const struct dqg_source *source, struct dqg_model *model) {
    model->metadata = dqg_arena_alloc(&model->alloc, &model->arena, source->metadata_count * sizeof *model->metadata);
    if (model->metadata == NULL) {
        return out_of_memory(context, model);
    }
    for (size_t i = 0; i < source->metadata_count; i++) {
        struct dqg_metadata *entry = &model->metadata[i];
        entry->key = copy_text(model, source->metadata[i].key);
        entry->value = copy_text(model, source->metadata[i].value);
        if (entry->key == NULL || entry->value == NULL) {
            return out_of_memory(context, model);
        }
    }
    model->metadata_count = source->metadata_count;
    return DQG_OK;
}

/* Metadata 'classes' is a JSON array of names. */
static dqg_status read_classes(struct dqg_context *context, struct dqg_model *model, const char *text) {
    if (text == NULL) {
        return DQG_OK;
    }
    struct dqg_json json;
    model->class_names = dqg_arena_alloc(&model->alloc, &model->arena, model->hyper.classes * sizeof(char *));
    if (model->class_names == NULL) {
        return out_of_memory(context, model);
    }
    dqg_json_init(&json, text, strlen(text));
    if (dqg_json_enter(&json)) {
        while (model->class_name_count < model->hyper.classes && dqg_json_next(&json)) {
            if (!dqg_json_string(&json, &model->alloc, &model->arena, &model->class_names[model->class_name_count])) {
                break;
            }
            model->class_name_count++;
        }
    }
    if (json.error != NULL || model->class_name_count != model->hyper.classes) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "metadata 'classes' is not a JSON list of %zu names",
                        model->hyper.classes);
    }
    return DQG_OK;
}

/* Metadata 'layout' says what a pixel-space model's channels are; families may know it. */
static int32_t image_layout(const struct dqg_model *model, const char *text) {
    size_t channels = model->hyper.channels;
    if (text == NULL && model->hyper.signed_picture && model->hyper.reduction == 0) {
        text = channels == 3 ? "RGB" : "";
    }
    if (text == NULL || (strncmp(text, "RGB", 3) != 0 && strncmp(text, "grey", 4) != 0) || channels < 1 ||
        channels > 4) {
        return DQG_IMAGE_NONE;
    }
    return strncmp(text, "RGBA premultiplied", 18) == 0 ? DQG_IMAGE_PREMULTIPLIED : DQG_IMAGE_STRAIGHT;
}

static dqg_status check_limit(struct dqg_context *context, const struct dqg_source *source, uint64_t limit) {
    uint64_t total = 0;
    for (size_t i = 0; i < source->tensor_count; i++) {
        for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
            if (__builtin_add_overflow(total, source->tensors[i].plane_bytes[plane], &total)) {
                return dqg_fail(context, DQG_ERROR_LIMIT, "the model's tensors do not fit the address space");
            }
        }
    }
    if (total > SIZE_MAX / 2 || (limit > 0 && total > limit)) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "the model needs %llu bytes, the limit is %llu",
                        (unsigned long long)total, (unsigned long long)limit);
    }
    return DQG_OK;
}

/* A vector of halves becomes floats: it is small, and operators then have one case. */
static dqg_status widen_vector(struct dqg_context *context, struct dqg_weight *weight) {
    size_t count = dqg_weight_count(weight);
    float *wide = dqg_malloc(&context->alloc, count * sizeof *wide);
    if (wide == NULL) {
        return dqg_fail_memory(context, weight->name, count * sizeof *wide);
    }
    dqg_floats_decode(wide, weight->codes, weight->dtype, count);
    dqg_free(&context->alloc, weight->codes, (size_t)weight->bytes[0]);
    weight->codes = wide;
    weight->bytes[0] = count * sizeof *wide;
    weight->dtype = DQG_DTYPE_F32;
    return DQG_OK;
}

/* Memory for a tensor, and which planes of the file go there. */
static dqg_status place_weight(struct dqg_context *context, const struct dqg_source *source, size_t index,
                               struct dqg_model *model, struct dqg_plane_read *reads, size_t *read_count) {
    const struct dqg_tensor_desc *desc = &source->tensors[index];
    struct dqg_weight *weight = &model->weights[model->weight_count];
    weight->name = copy_text(model, desc->name);
    if (weight->name == NULL) {
        return out_of_memory(context, model);
    }
    weight->dtype = desc->dtype;
    weight->group = desc->group;
    weight->rank = desc->rank;
    weight->scale = desc->scale;
    weight->stored_bytes = desc->stored_bytes;
    memcpy(weight->shape, desc->shape, sizeof weight->shape);
    memcpy(weight->bytes, desc->plane_bytes, sizeof weight->bytes);
    model->stored_dtype[model->weight_count] = desc->dtype;
    model->weight_count++; /* from here on dqg_model_free() sees it */
    if (!dqg_matrix_size(desc->dtype, desc->group, desc->rank, desc->shape, &weight->size)) {
        weight->size = (struct dqg_matrix_size){0};
    }
    DQG_TRY(dqg_weight_allocate(context, weight));
    void *planes[DQG_PLANE_COUNT] = {weight->codes, weight->scales, weight->zeros};
    for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
        if (weight->bytes[plane] > 0) {
            reads[(*read_count)++] =
                (struct dqg_plane_read){index, (enum dqg_plane)plane, 0, weight->bytes[plane], planes[plane]};
        }
    }
    return DQG_OK;
}

struct finish {
    struct dqg_weight *weights;
    atomic_size_t first_bad;
};

static void finish_weight(void *task, size_t index, size_t lane) {
    struct finish *finish = task;
    size_t bad = atomic_load(&finish->first_bad);
    (void)lane;
    if (index < bad && dqg_weight_finish(NULL, &finish->weights[index]) < 0) {
        while (index < bad && !atomic_compare_exchange_weak(&finish->first_bad, &bad, index)) {
        }
    }
}

/* What is derived from the planes: on the lanes, and once more for the first bad weight, to say what is wrong. */
static dqg_status finish_weights(struct dqg_context *context, struct dqg_model *model) {
    struct finish finish = {.weights = model->weights};
    atomic_init(&finish.first_bad, model->weight_count);
    dqg_parallel(context, model->weight_count, finish_weight, &finish);
    size_t bad = atomic_load(&finish.first_bad);
    if (bad < model->weight_count) {
        return dqg_weight_finish(context, &model->weights[bad]);
    }
    for (size_t i = 0; i < model->weight_count; i++) {
        struct dqg_weight *weight = &model->weights[i];
        if (weight->rank <= 1 && weight->dtype != DQG_DTYPE_F32) {
            DQG_TRY(widen_vector(context, weight));
        }
    }
    return DQG_OK;
}

/* All memory first, then all planes as one piece of work, so that small tensors keep the lanes busy too. */
static dqg_status read_weights(struct dqg_context *context, struct dqg_source *source, struct dqg_model *model,
                               struct dqg_plane_read *reads) {
    struct dqg_work work;
    uint64_t total = 0;
    size_t read_count = 0;
    for (size_t i = 0; i < source->tensor_count; i++) {
        if (source->tensors[i].dtype != 0) {
            total += source->tensors[i].stored_bytes;
            DQG_TRY(place_weight(context, source, i, model, reads, &read_count));
        }
    }
    dqg_work_begin(&work, context, DQG_PHASE_LOAD, total);
    DQG_TRY(dqg_source_read_planes(source, reads, read_count, &work));
    DQG_TRY(finish_weights(context, model));
    return dqg_work_set(&work, total, "done");
}

static dqg_status load_weights(struct dqg_context *context, struct dqg_source *source, struct dqg_model *model) {
    size_t count = source->tensor_count;
    size_t read_bytes = count * DQG_PLANE_COUNT * sizeof(struct dqg_plane_read);
    model->weights = dqg_arena_alloc(&model->alloc, &model->arena, count * sizeof *model->weights);
    model->stored_dtype = dqg_arena_alloc(&model->alloc, &model->arena, count * sizeof *model->stored_dtype);
    if (model->weights == NULL || model->stored_dtype == NULL) {
        return out_of_memory(context, model);
    }
    struct dqg_plane_read *reads = dqg_malloc(&context->alloc, read_bytes);
    if (reads == NULL) {
        return dqg_fail_memory(context, "the list of tensors to load", read_bytes);
    }
    dqg_status status = read_weights(context, source, model, reads);
    dqg_free(&context->alloc, reads, read_bytes);
    return status;
}

/* What integer products must know of the weights: computed here, once, with the context's kernels and lanes. */
static dqg_status sum_weights(struct dqg_context *context, struct dqg_model *model) {
    size_t lane_bytes = 0, bytes;
    for (size_t i = 0; i < model->weight_count; i++) {
        size_t panel = DQG_PANEL * model->weights[i].size.columns_padded;
        if (dqg_dtype_is_quantized(model->weights[i].dtype) && panel > lane_bytes) {
            lane_bytes = dqg_round_up(panel, DQG_ALIGNMENT);
        }
    }
    if (!dqg_mul_size(lane_bytes, dqg_concurrency(context), &bytes)) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "the model's matrices do not fit the address space");
    }
    struct dqg_ops ops = {.context = context, .kernels = context->kernels, .lane_bytes = lane_bytes};
    ops.scratch = dqg_malloc(&context->alloc, bytes);
    if (ops.scratch == NULL) {
        return dqg_fail_memory(context, "the sums of weights", bytes);
    }
    for (size_t i = 0; i < model->weight_count; i++) {
        if (dqg_dtype_is_quantized(model->weights[i].dtype)) {
            dqg_op_weight_sums(&ops, &model->weights[i]);
        }
    }
    dqg_free(&context->alloc, ops.scratch, bytes);
    return DQG_OK;
}

static void count_weights(struct dqg_model *model) {
    for (size_t i = 0; i < model->weight_count; i++) {
        const struct dqg_weight *weight = &model->weights[i];
        model->weight_bytes += dqg_weight_bytes(weight);
        bool fixed = strcmp(weight->name, "pos_embed") == 0 || strcmp(weight->name, "y_embedder.y_embedding") == 0;
        model->parameters += fixed ? 0 : dqg_weight_count(weight); /* tables that are not trained do not count */
    }
}

static dqg_status fill_model(struct dqg_context *context, struct dqg_source *source, uint64_t limit,
                             struct dqg_model *model) {
    DQG_TRY(check_limit(context, source, limit));
    DQG_TRY(copy_metadata(context, source, model));
    DQG_TRY(load_weights(context, source, model));
    DQG_TRY(sum_weights(context, model));
    DQG_TRY(model->family->configure(context, model));
    DQG_TRY(read_classes(context, model, dqg_source_metadata(source, "classes")));
    model->image_layout = image_layout(model, dqg_source_metadata(source, "layout"));
    count_weights(model);
    struct dqg_graph graph;
    DQG_TRY(dqg_model_graph(context, model, &(struct dqg_graph_config){.samples = 1}, &graph));
    model->operators = graph.node_count;
    dqg_graph_free(&graph);
    return DQG_OK;
}

/* One network from the tensors that belong to it. */
static dqg_status open_network(struct dqg_context *context, struct dqg_source *source, const struct dqg_family *family,
                               uint64_t memory_limit, struct dqg_model **model) {
    struct dqg_model *made = dqg_calloc(&context->alloc, 1, sizeof *made);
    if (made == NULL) {
        return dqg_fail_memory(context, "the model", sizeof *made);
    }
    made->references = 1;
    made->alloc = context->alloc;
    made->family = family;
    DQG_TRY(dqg_parallel_prepare(context) < 0 ? (dqg_model_free(made), DQG_ERROR_MEMORY) : DQG_OK);
    dqg_status status = fill_model(context, source, memory_limit, made);
    if (status < 0) {
        dqg_model_free(made);
        return status;
    }
    *model = made;
    return DQG_OK;
}

static dqg_status open_component(struct dqg_context *context, struct dqg_checkpoint *checkpoint, size_t index,
                                 uint64_t memory_limit, struct dqg_model **model) {
    struct dqg_source view;
    DQG_TRY(dqg_checkpoint_component(context, checkpoint, index, &view));
    dqg_status status = open_network(context, &view, checkpoint->components[index].family, memory_limit, model);
    dqg_source_close(&view);
    return status;
}

/* The denoiser, or the first network where there is none, holds the others. */
static dqg_status open_components(struct dqg_context *context, struct dqg_checkpoint *checkpoint, uint64_t memory_limit,
                                  struct dqg_model **model) {
    size_t first = 0;
    for (size_t i = checkpoint->count; i > 0; i--) {
        first = strcmp(checkpoint->components[i - 1].role, "denoiser") == 0 ? i - 1 : first;
    }
    DQG_TRY(open_component(context, checkpoint, first, memory_limit, model));
    dqg_format((*model)->role, sizeof(*model)->role, "%s", checkpoint->components[first].role);
    for (size_t i = 0; i < checkpoint->count; i++) {
        uint64_t left = memory_limit > 0 ? memory_limit - (*model)->weight_bytes : 0; /* more would have been refused */
        struct dqg_model *part;
        if (i == first) {
            continue;
        }
        DQG_TRY(open_component(context, checkpoint, i, left, &part));
        dqg_format(part->role, sizeof part->role, "%s", checkpoint->components[i].role);
        (*model)->parts[(*model)->part_count++] = part;
    }
    return dqg_model_join_control(context, *model);
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

dqg_status dqg_model_open(struct dqg_context *context, struct dqg_source *source, uint64_t memory_limit,
                          const char *variant, struct dqg_model **model) {
    struct dqg_checkpoint checkpoint;
    struct dqg_model *made = NULL;
    DQG_TRY(dqg_checkpoint_open(context, source, &checkpoint));
    dqg_status status = tell_variant(context, &checkpoint.canonical, variant);
    if (status >= 0) {
        status = open_components(context, &checkpoint, memory_limit, &made);
    }
    dqg_checkpoint_close(&checkpoint);
    if (status < 0 && made != NULL) {
        dqg_model_free(made);
    }
    *model = status < 0 ? NULL : made;
    return status;
}

void dqg_model_free(struct dqg_model *model) {
    struct dqg_alloc alloc = model->alloc;
    if (model->lender != NULL) {
        dqg_model_release_(model->lender);
        dqg_model_release_(model->control);
        dqg_free(&alloc, model, sizeof *model);
        return;
    }
    for (size_t i = 0; i < model->part_count; i++) {
        dqg_model_free(model->parts[i]);
    }
    for (size_t i = 0; i < model->weight_count; i++) {
        dqg_weight_free(&alloc, &model->weights[i]);
    }
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
