/* SPDX-License-Identifier: MIT */
/*
 * From the tensors of a network to a model: every usable one is read into memory in its storage format, vectors as F32,
 * metadata and class names are copied, and the family checks that everything it needs is there. Called by open.c.
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

dqg_status dqg_model_add_metadata(struct dqg_context *context, struct dqg_model *model, const char *key,
                                  const char *value) {
    size_t count = model->metadata_count;
    struct dqg_metadata *grown = dqg_arena_alloc(&model->alloc, &model->arena, (count + 1) * sizeof *grown);
    if (grown != NULL) {
        memcpy(grown, model->metadata, count * sizeof *grown);
        grown[count] = (struct dqg_metadata){copy_text(model, key), copy_text(model, value)};
    }
    if (grown == NULL || grown[count].key == NULL || grown[count].value == NULL) {
        return out_of_memory(context, model);
    }
    model->metadata = grown;
    model->metadata_count++;
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

/* Metadata 'layout' says what a pixel-space model's channels are. */
static int32_t image_layout(const struct dqg_model *model, const char *text) {
    size_t channels = model->hyper.channels;
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
    if (!dqg_matrix_size(desc->dtype, desc->group, desc->rank, desc->shape, &weight->size)) {
        weight->size = (struct dqg_matrix_size){0};
    }
    model->stored_dtype[model->weight_count] = desc->dtype;
    model->weight_count++; /* from here on dqg_model_free() sees it */
    if (model->described) {
        return DQG_OK;
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

/* Vectors as they would be in memory, all of them the same zeros: a bias is told from a missing one by its pointer. */
static dqg_status describe_vectors(struct dqg_context *context, struct dqg_model *model) {
    for (size_t i = 0; i < model->weight_count; i++) {
        struct dqg_weight *weight = &model->weights[i];
        if (weight->rank <= 1) {
            weight->dtype = DQG_DTYPE_F32;
            weight->bytes[0] = dqg_weight_count(weight) * sizeof(float);
            model->zero_bytes = weight->bytes[0] > model->zero_bytes ? (size_t)weight->bytes[0] : model->zero_bytes;
        }
    }
    model->zeros = dqg_calloc(&model->alloc, model->zero_bytes, 1);
    if (model->zeros == NULL) {
        return dqg_fail_memory(context, "the model's description", model->zero_bytes);
    }
    for (size_t i = 0; i < model->weight_count; i++) {
        model->weights[i].codes = model->weights[i].rank <= 1 ? model->zeros : NULL;
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
    if (model->described) {
        return describe_vectors(context, model);
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

dqg_status dqg_model_fill(struct dqg_context *context, struct dqg_source *source, uint64_t limit,
                          struct dqg_model *model) {
    DQG_TRY(check_limit(context, source, limit));
    DQG_TRY(copy_metadata(context, source, model));
    DQG_TRY(load_weights(context, source, model));
    DQG_TRY(model->described ? DQG_OK : sum_weights(context, model));
    DQG_TRY(model->family->configure(context, model));
    DQG_TRY(read_classes(context, model, dqg_source_metadata(source, "classes")));
    model->image_layout = image_layout(model, dqg_source_metadata(source, "layout"));
    count_weights(model);
    struct dqg_graph graph;
    DQG_TRY(dqg_model_graph(context, model, &(struct dqg_graph_config){.samples = 1}, &graph));
    model->operators = graph.node_count;
    model->reading_bytes = graph.arena.total;
    dqg_graph_free(&graph);
    return DQG_OK;
}
