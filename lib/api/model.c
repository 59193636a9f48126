/* SPDX-License-Identifier: MIT */
/* Public calls on models and files: loading, looking inside, one evaluation. lib/model and lib/io do the work. */
#include "api/api.h"
#include "model/model.h"
#include "run/run.h"
#include "tensor/view.h"

static bool on_demand(const dqg_options *options) {
    return strcmp(dqg_option(options, DQG_MODEL_COMPONENTS).text, "on-demand") == 0;
}

static dqg_status describe(struct dqg_context *context, struct dqg_source *source, const char *path, uint64_t limit,
                           const char *variant, dqg_model **model) {
    struct dqg_checkpoint checkpoint;
    DQG_TRY(dqg_checkpoint_open(context, source, &checkpoint));
    dqg_status status = dqg_model_describe(context, &checkpoint, path, limit, variant, model);
    dqg_checkpoint_close(&checkpoint);
    return status;
}

/* path: NULL where the source has none that could be read again. */
static dqg_status load_source(struct dqg_context *context, struct dqg_source *source, const char *path,
                              const dqg_options *options, dqg_model **model) {
    uint64_t limit = (uint64_t)dqg_option(options, DQG_MODEL_MEMORY_LIMIT).integer;
    const char *variant = dqg_option(options, DQG_MODEL_VARIANT).text;
    dqg_status status = DQG_OK;
    if (!on_demand(options)) {
        status = dqg_model_open(context, source, limit, variant, model);
    } else if (path != NULL) {
        status = describe(context, source, path, limit, variant, model);
    } else {
        status = dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                          "components 'on-demand' are read from a path when they are used: load the model by "
                          "dqg_model_load(), or set components to resident");
    }
    dqg_source_close(source);
    return status;
}

/* What every load begins with. */
static dqg_status begin_load(struct dqg_context *context, const dqg_options *options, dqg_model **model) {
    if (model != NULL) {
        *model = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_options_check(context, options, DQG_OPTIONS_MODEL));
    return dqg_parallel_prepare(context);
}

dqg_status dqg_model_load(dqg_context *context, const char *path, const dqg_options *options, dqg_model **model) {
    struct dqg_source source;
    DQG_TRY(begin_load(context, options, model));
    DQG_TRY(dqg_need(context, path, "path"));
    DQG_TRY(dqg_source_open_path(context, path, &source));
    return load_source(context, &source, path, options, model);
}

dqg_status dqg_model_load_memory(dqg_context *context, const void *data, size_t size, const dqg_options *options,
                                 dqg_model **model) {
    struct dqg_source source;
    struct dqg_input input;
    DQG_TRY(begin_load(context, options, model));
    DQG_TRY(dqg_need(context, data, "data"));
    dqg_input_open_memory(data, size, &input);
    DQG_TRY(dqg_source_open(context, &input, &source));
    return load_source(context, &source, NULL, options, model);
}

dqg_status dqg_model_load_reader(dqg_context *context, const dqg_reader *reader, const dqg_options *options,
                                 dqg_model **model) {
    struct dqg_source source;
    struct dqg_input input;
    DQG_TRY(begin_load(context, options, model));
    DQG_TRY(dqg_input_open_reader(context, reader, &input));
    DQG_TRY(dqg_source_open(context, &input, &source));
    return load_source(context, &source, NULL, options, model);
}

void dqg_model_retain(dqg_model *model) {
    if (model != NULL) {
        dqg_model_retain_(model);
    }
}

void dqg_model_release(dqg_model *model) {
    dqg_model_release_(model);
}

dqg_status dqg_model_attach_control(dqg_context *context, dqg_model *model, dqg_model *control, dqg_model **joined) {
    if (joined != NULL) {
        *joined = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, control, "control"));
    DQG_TRY(dqg_need(context, joined, "joined"));
    DQG_TRY(dqg_model_need_denoiser(context, model));
    return dqg_model_attach_control_(context, model, control, joined);
}

/* ---- what it is ---- */

dqg_status dqg_model_get_info(const dqg_model *model, dqg_model_info *info) {
    if (model == NULL || info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    const struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_model *autoencoder = dqg_model_autoencoder(model);
    dqg_model_info filled = {
        .channels = (int32_t)hyper->channels,
        .height = (int32_t)hyper->height,
        .width = (int32_t)hyper->width,
        .classes = (int32_t)hyper->classes,
        .patch_size = (int32_t)hyper->patch,
        .layers = (int32_t)hyper->depth,
        .operators = model->operators,
        .parameters = model->parameters,
        .weight_bytes = model->weight_bytes,
        .family = model->family->name,
        .reduction = autoencoder != NULL ? (int32_t)autoencoder->hyper.reduction : 0,
        .flags = (hyper->guided ? DQG_MODEL_GUIDED : 0u) | (hyper->masked ? DQG_MODEL_MASKED : 0u) |
                 (hyper->control_channels > 0 ? DQG_MODEL_CONTROLLED : 0u),
        .context_columns = (int32_t)hyper->context_width,
        .context_tokens = (int32_t)hyper->context_tokens,
        .pooled_columns = (int32_t)hyper->pooled_width,
        .sizes = (int32_t)hyper->size_count,
        .extra_channels = (int32_t)hyper->extra_channels,
    };
    return dqg_record_return(NULL, info, &filled, sizeof filled);
}

dqg_status dqg_model_component_at(const dqg_model *model, int32_t index, dqg_component_info *info) {
    if (model == NULL || info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    if (index < 0 || (size_t)index > model->part_count) {
        return DQG_ERROR_RANGE;
    }
    const dqg_model *part = index == 0 ? model : model->parts[index - 1];
    dqg_component_info filled = {
        .flags = part->tokenizer != NULL ? DQG_COMPONENT_TOKENIZER : 0,
        .parameters = part->parameters,
        .weight_bytes = part->weight_bytes,
        .family = part->family->name,
        .role = part->role,
    };
    return dqg_record_return(NULL, info, &filled, sizeof filled);
}

const char *dqg_model_class_name(const dqg_model *model, int32_t index) {
    return model != NULL && index >= 0 && (size_t)index < model->class_name_count ? model->class_names[index] : NULL;
}

int32_t dqg_model_class_find(const dqg_model *model, const char *name) {
    for (size_t i = 0; model != NULL && name != NULL && i < model->class_name_count; i++) {
        if (strcmp(model->class_names[i], name) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

dqg_status dqg_model_metadata_at(const dqg_model *model, int32_t index, const char **key, const char **value) {
    if (key != NULL) {
        *key = NULL;
    }
    if (value != NULL) {
        *value = NULL;
    }
    if (model == NULL || key == NULL || value == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    if (index < 0 || (size_t)index >= model->metadata_count) {
        return DQG_ERROR_RANGE;
    }
    *key = model->metadata[index].key;
    *value = model->metadata[index].value;
    return DQG_OK;
}

const char *dqg_model_metadata(const dqg_model *model, const char *key) {
    return model != NULL && key != NULL ? dqg_model_find_metadata(model, key) : NULL;
}

dqg_status dqg_model_tensor_at(const dqg_model *model, int32_t index, dqg_tensor_info *info) {
    if (model == NULL || info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    if (index < 0 || (size_t)index >= model->weight_count) {
        return DQG_ERROR_RANGE;
    }
    const struct dqg_weight *weight = &model->weights[index];
    dqg_tensor_info filled = {
        .dtype = model->stored_dtype[index],
        .group = weight->group,
        .rank = weight->rank,
        .memory_bytes = dqg_weight_bytes(weight),
        .stored_bytes = weight->stored_bytes,
        .name = weight->name,
    };
    memcpy(filled.shape, weight->shape, sizeof filled.shape);
    return dqg_record_return(NULL, info, &filled, sizeof filled);
}

static dqg_status decode_tensor(struct dqg_context *context, const struct dqg_weight *weight,
                                const dqg_tensor_view *view) {
    size_t float_bytes = dqg_weight_count(weight) * sizeof(float);
    size_t scratch_bytes = dqg_weight_scratch(weight);
    float *floats = dqg_malloc(&context->alloc, float_bytes);
    void *scratch = dqg_malloc(&context->alloc, scratch_bytes);
    dqg_status status = DQG_OK;
    if (floats == NULL || scratch == NULL) {
        status = dqg_fail_memory(context, weight->name, float_bytes + scratch_bytes);
    } else {
        if (weight->size.rows > 0) {
            dqg_weight_decode_rows(weight, 0, weight->size.rows, floats, scratch);
        } else {
            dqg_floats_decode(floats, weight->codes, weight->dtype, dqg_weight_count(weight));
        }
        dqg_view_write(view, floats);
    }
    dqg_free(&context->alloc, scratch, scratch_bytes);
    dqg_free(&context->alloc, floats, float_bytes);
    return status;
}

dqg_status dqg_model_read_tensor(dqg_context *context, const dqg_model *model, const char *name,
                                 const dqg_tensor_view *view) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, name, "name"));
    const struct dqg_weight *weight = dqg_model_find(model, name);
    struct dqg_held held;
    if (weight == NULL) {
        return dqg_fail(context, DQG_ERROR_NAME, "the model has no tensor '%s'", name);
    }
    DQG_TRY(dqg_view_check(context, view, name, weight->rank, weight->shape));
    DQG_TRY(dqg_model_hold(context, model, &held));
    dqg_status status = decode_tensor(context, dqg_model_find(held.network, name), view);
    dqg_model_let_go(&held);
    return status;
}

/* ---- files ---- */

static dqg_status verify(struct dqg_source *source) {
    dqg_status status = dqg_source_verify(source);
    dqg_source_close(source);
    return status;
}

dqg_status dqg_file_verify(dqg_context *context, const char *path) {
    struct dqg_source source;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, path, "path"));
    DQG_TRY(dqg_parallel_prepare(context));
    DQG_TRY(dqg_source_open_path(context, path, &source));
    return verify(&source);
}

dqg_status dqg_file_verify_reader(dqg_context *context, const dqg_reader *reader) {
    struct dqg_source source;
    struct dqg_input input;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_parallel_prepare(context));
    DQG_TRY(dqg_input_open_reader(context, reader, &input));
    DQG_TRY(dqg_source_open(context, &input, &source));
    return verify(&source);
}
