/* SPDX-License-Identifier: MIT */
/*
 * The numbers of a file of adapters. The parts of a weight become one update: those of q, k and v lie in one block
 * matrix where the model has q, k and v in one. Called by adapter.c, which has checked the shapes.
 */
#include <math.h>

#include "model/adapter_file.h"

dqg_status dqg_adapter_read(struct dqg_adapter_file *file, size_t tensor, float *out) {
    struct dqg_context *context = file->context;
    const struct dqg_tensor_desc *desc = &file->source->tensors[tensor];
    uint64_t count = 0;
    if (!dqg_dtype_is_float(desc->dtype) || !dqg_shape_count(desc->rank, desc->shape, &count)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "the adapter's tensor '%s' is not of a float type", desc->name);
    }
    size_t bytes = (size_t)desc->plane_bytes[DQG_PLANE_CODES];
    void *raw = dqg_malloc(&context->alloc, bytes);
    if (raw == NULL) {
        return dqg_fail_memory(context, desc->name, bytes);
    }
    dqg_status status = dqg_source_read(file->source, tensor, DQG_PLANE_CODES, 0, raw, bytes);
    if (status >= 0) {
        dqg_floats_decode(out, raw, desc->dtype, (size_t)count);
    }
    dqg_free(&context->alloc, raw, bytes);
    for (size_t i = 0; status >= 0 && i < count; i++) {
        if (!isfinite(out[i])) {
            status = dqg_fail(context, DQG_ERROR_FORMAT, "the adapter's tensor '%s' holds numbers that are not finite",
                              desc->name);
        }
    }
    return status;
}

/* Is it what diffusers calls a setting of the module's network: "<network>.<setting>", or the setting alone? */
static bool is_setting(const char *key, const char *module, const char *setting) {
    const char *end = strchr(module, '.');
    size_t length = end != NULL ? (size_t)(end - module) : strlen(module);
    bool prefixed = strncmp(key, module, length) == 0 && key[length] == '.';
    return strcmp(prefixed ? key + length + 1 : key, setting) == 0;
}

/* The settings that diffusers notes beside PEFT's tensors, a JSON object in the metadata. */
static dqg_status read_settings(struct dqg_adapter_file *file, const struct dqg_patch *patch, const char *text,
                                float *factor) {
    struct dqg_json json;
    const char *key;
    double alpha = (double)patch->rank, rank = alpha;
    dqg_json_init(&json, text, strlen(text));
    for (bool more = dqg_json_enter(&json); more && dqg_json_next(&json);) {
        more = dqg_json_key(&json, &file->context->alloc, &file->arena, &key);
        if (more && is_setting(key, patch->module, "lora_alpha") && dqg_json_peek(&json) == DQG_JSON_NUMBER) {
            more = dqg_json_number(&json, &alpha);
        } else if (more && is_setting(key, patch->module, "use_rslora")) {
            bool is_true = dqg_json_peek(&json) == DQG_JSON_BOOL && *json.at == 't';
            rank = is_true ? sqrt((double)patch->rank) : rank;
            more = dqg_json_skip(&json);
        } else if (more && is_setting(key, patch->module, "alpha_pattern") && dqg_json_count(&json) > 0) {
            return dqg_fail(file->context, DQG_ERROR_UNSUPPORTED,
                            "the adapter's metadata give single modules an alpha of their own ('%s')", key);
        } else {
            more = more && dqg_json_skip(&json);
        }
    }
    if (json.error != NULL || !isfinite(alpha)) {
        return dqg_fail(file->context, json.out_of_memory ? DQG_ERROR_MEMORY : DQG_ERROR_FORMAT,
                        "the adapter's metadata 'lora_adapter_metadata': %s",
                        json.error != NULL ? json.error : "lora_alpha is not finite");
    }
    *factor = (float)(alpha / rank);
    return DQG_OK;
}

/* alpha / rank, or 1 where there is no alpha. */
static dqg_status read_factor(struct dqg_adapter_file *file, const struct dqg_patch *patch, float *factor) {
    const char *settings = dqg_source_metadata(file->source, "lora_adapter_metadata");
    int64_t tensor = patch->tensors[DQG_PIECE_ALPHA];
    uint64_t count;
    *factor = 1.0f;
    if (tensor == DQG_NO_TENSOR) {
        return settings != NULL ? read_settings(file, patch, settings, factor) : DQG_OK;
    }
    const struct dqg_tensor_desc *desc = &file->source->tensors[tensor];
    if (!dqg_shape_count(desc->rank, desc->shape, &count) || count != 1) {
        return dqg_patch_fail(file, patch, "its alpha is not one number");
    }
    DQG_TRY(dqg_adapter_read(file, (size_t)tensor, factor));
    *factor /= (float)patch->rank;
    return DQG_OK;
}

/* down [rank][columns] with the tensor between folded in: sum over q of mid[p][q][tap] down[q][input]. */
static void fold_mid(float *out, const float *mid, const float *down, const struct dqg_patch *patch, size_t inputs,
                     size_t taps) {
    for (size_t p = 0; p < patch->rank; p++) {
        for (size_t q = 0; q < patch->inner; q++) {
            const float *kernel = mid + (p * patch->inner + q) * taps;
            for (size_t i = 0; i < inputs; i++) {
                for (size_t tap = 0; tap < taps; tap++) {
                    out[(p * inputs + i) * taps + tap] += kernel[tap] * down[q * inputs + i];
                }
            }
        }
    }
}

/* down, [rank][columns of the weight], which is zeroed. */
static dqg_status read_down(struct dqg_adapter_file *file, struct dqg_arena *arena, const struct dqg_patch *patch,
                            const struct dqg_weight *weight, float *out) {
    int64_t tensor = patch->tensors[DQG_PIECE_MID];
    size_t inputs = (size_t)weight->shape[1], taps = weight->size.columns / inputs;
    float *mid, *down;
    if (tensor == DQG_NO_TENSOR) {
        return dqg_adapter_read(file, (size_t)patch->tensors[DQG_PIECE_DOWN], out);
    }
    DQG_TRY(dqg_adapter_alloc(file, arena, patch->rank * patch->inner, taps * sizeof *mid, &mid));
    DQG_TRY(dqg_adapter_alloc(file, arena, patch->inner, inputs * sizeof *down, &down));
    DQG_TRY(dqg_adapter_read(file, (size_t)tensor, mid));
    DQG_TRY(dqg_adapter_read(file, (size_t)patch->tensors[DQG_PIECE_DOWN], down));
    fold_mid(out, mid, down, patch, inputs, taps);
    return DQG_OK;
}

/* up into the rows of the patch, columns [at, at + rank) of [rows of the weight][columns]. */
static dqg_status read_up(struct dqg_adapter_file *file, struct dqg_arena *arena, const struct dqg_patch *patch,
                          float *out, size_t columns, size_t at) {
    float *up;
    size_t shift = patch->target.to.swapped ? patch->rows / 2 : 0;
    DQG_TRY(dqg_adapter_alloc(file, arena, patch->rows, patch->rank * sizeof *up, &up));
    DQG_TRY(dqg_adapter_read(file, (size_t)patch->tensors[DQG_PIECE_UP], up));
    for (size_t row = 0; row < patch->rows; row++) {
        size_t to = patch->first + (row + shift) % patch->rows;
        memcpy(out + to * columns + at, up + row * patch->rank, patch->rank * sizeof *up);
    }
    return DQG_OK;
}

/* Floats as a weight of the adapter. */
static dqg_status keep_weight(struct dqg_adapter_file *file, const float *floats, int32_t dtype,
                              struct dqg_weight *weight) {
    if (!dqg_matrix_size(dtype, 0, weight->rank, weight->shape, &weight->size)) {
        return dqg_fail(file->context, DQG_ERROR_LIMIT, "the adapter's update of '%s' is too large", weight->name);
    }
    size_t count = weight->size.rows * weight->size.columns;
    weight->dtype = dtype;
    weight->scale = 1.0f;
    weight->bytes[0] = weight->stored_bytes = count * dqg_dtype_size(dtype);
    DQG_TRY(dqg_adapter_alloc(file, &file->adapter->arena, count, dqg_dtype_size(dtype), &weight->codes));
    dqg_floats_encode(weight->codes, floats, dtype, count);
    file->adapter->bytes += weight->bytes[0];
    return DQG_OK;
}

/* The type of all tensors of an update, which they then keep exactly; else F32. */
static int32_t common_dtype(const struct dqg_adapter_file *file, const struct dqg_patch *patches, const uint32_t *order,
                            size_t count) {
    const struct dqg_tensor_desc *tensors = file->source->tensors;
    int32_t dtype = tensors[patches[order[0]].tensors[DQG_PIECE_DOWN]].dtype;
    for (size_t i = 0; i < count; i++) {
        const int64_t *own = patches[order[i]].tensors;
        bool same = tensors[own[DQG_PIECE_DOWN]].dtype == dtype && tensors[own[DQG_PIECE_UP]].dtype == dtype;
        dtype = same && own[DQG_PIECE_MID] == DQG_NO_TENSOR ? dtype : DQG_DTYPE_F32;
    }
    return dtype;
}

/* The patches of one weight as one update; arena: for the time of the call. */
dqg_status dqg_update_make(struct dqg_adapter_file *file, struct dqg_arena *arena, const uint32_t *order,
                           size_t count) {
    const struct dqg_patch *first = &file->patches[order[0]];
    const struct dqg_model *network = dqg_adapter_network(file->model, first->target.network);
    const struct dqg_weight *weight = &network->weights[first->target.weight];
    struct dqg_update *update = &file->adapter->updates[file->adapter->update_count];
    size_t rank = 0, at = 0;
    float *down, *up, *factors;
    for (size_t i = 0; i < count; i++) {
        if (!dqg_add_size(rank, file->patches[order[i]].rank, &rank)) {
            return dqg_fail_memory(file->context, "the adapter", SIZE_MAX);
        }
    }
    DQG_TRY(dqg_adapter_alloc(file, arena, rank, weight->size.columns * sizeof *down, &down));
    DQG_TRY(dqg_adapter_alloc(file, arena, weight->size.rows, rank * sizeof *up, &up));
    DQG_TRY(dqg_adapter_alloc(file, &file->adapter->arena, rank, sizeof *factors, &factors));
    for (size_t i = 0; i < count; i++) {
        const struct dqg_patch *patch = &file->patches[order[i]];
        if (i > 0 && patch->target.to.part == file->patches[order[i - 1]].target.to.part) {
            return dqg_fail(file->context, DQG_ERROR_FORMAT, "the adapter has '%s' twice, as '%s' too",
                            file->patches[order[i - 1]].module, patch->module);
        }
        DQG_TRY(read_down(file, arena, patch, weight, down + at * weight->size.columns));
        DQG_TRY(read_up(file, arena, patch, up, rank, at));
        DQG_TRY(read_factor(file, patch, &factors[at]));
        for (size_t r = 1; r < patch->rank; r++) {
            factors[at + r] = factors[at];
        }
        at += patch->rank;
    }
    int32_t dtype = common_dtype(file, file->patches, order, count);
    *update = (struct dqg_update){.network = first->target.network,
                                  .weight = first->target.weight,
                                  .down = {.name = weight->name, .rank = weight->rank},
                                  .up = {.name = weight->name, .rank = 2, .shape = {weight->shape[0], (int64_t)rank}},
                                  .factors = factors};
    memcpy(update->down.shape, weight->shape, sizeof weight->shape);
    update->down.shape[0] = (int64_t)rank;
    file->adapter->update_count++;
    DQG_TRY(keep_weight(file, down, dtype, &update->down));
    return keep_weight(file, up, dtype, &update->up);
}
