/* SPDX-License-Identifier: MIT */
/* Public calls on adapters: models that carry some, and the tokens that these brought. lib/model does the work. */
#include <math.h>

#include "api/api.h"
#include "model/adapter.h"
#include "text/text.h"

enum { ADAPTATIONS_MAX = 64 };

/* Records may be of a later version, with more behind what is known here. */
static dqg_status read_record(struct dqg_context *context, const dqg_adaptation *list, int32_t index,
                              dqg_adaptation *record) {
    if (list->struct_size < sizeof *record) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "the adaptation's struct_size is %u: set it with DQG_INIT",
                        list->struct_size);
    }
    memcpy(record, (const char *)list + (size_t)index * list->struct_size, sizeof *record);
    if (record->struct_size != list->struct_size) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "adaptation %d: struct_size is %u, that of the first is %u",
                        (int)index, record->struct_size, list->struct_size);
    }
    if ((record->flags & ~(uint32_t)(DQG_ADAPT_MERGE | DQG_ADAPT_PARTIAL)) != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "adaptation %d: flags have bits without a meaning", (int)index);
    }
    if ((record->path == NULL) == (record->data == NULL)) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "adaptation %d: either path or data must say what to read",
                        (int)index);
    }
    if (!isfinite(record->scale) || fabs(record->scale) > 1e6) {
        return dqg_fail(context, DQG_ERROR_RANGE, "adaptation %d: the scale is outside -1e6..1e6", (int)index);
    }
    return DQG_OK;
}

static dqg_status open_source(struct dqg_context *context, const dqg_adaptation *record, struct dqg_source *source) {
    struct dqg_input input;
    if (record->path != NULL) {
        return dqg_source_open_path(context, record->path, source);
    }
    dqg_input_open_memory(record->data, (size_t)record->size, &input);
    return dqg_source_open(context, &input, source);
}

/* One that the model carries already. */
static struct dqg_adapter *find_adapter(const struct dqg_model *model, const dqg_adaptation *record) {
    const struct dqg_adapted *adapted = model->adapted;
    for (size_t i = 0; adapted != NULL && record->path != NULL && i < adapted->adapter_count; i++) {
        if (strcmp(adapted->adapters[i]->path, record->path) == 0) {
            atomic_fetch_add_explicit(&adapted->adapters[i]->references, 1, memory_order_relaxed);
            return adapted->adapters[i];
        }
    }
    return NULL;
}

static dqg_status open_adapter(struct dqg_context *context, const struct dqg_model *model, const dqg_adaptation *record,
                               struct dqg_adapter **adapter) {
    struct dqg_source source;
    *adapter = find_adapter(model, record);
    if (*adapter != NULL) {
        return DQG_OK;
    }
    DQG_TRY(open_source(context, record, &source));
    dqg_status status = dqg_adapter_open(context, &source, model, record->path != NULL ? record->path : "",
                                         (record->flags & DQG_ADAPT_PARTIAL) != 0, adapter);
    dqg_source_close(&source);
    return status;
}

static dqg_status open_all(struct dqg_context *context, const struct dqg_model *model, const dqg_adaptation *list,
                           int32_t count, struct dqg_adapter_use *uses) {
    for (int32_t i = 0; i < count; i++) {
        dqg_adaptation record;
        DQG_TRY(read_record(context, list, i, &record));
        uses[i] = (struct dqg_adapter_use){
            .scale = record.scale, .name = record.name, .merge = (record.flags & DQG_ADAPT_MERGE) != 0};
        DQG_TRY(open_adapter(context, model, &record, &uses[i].adapter));
    }
    return DQG_OK;
}

dqg_status dqg_model_adapt(dqg_context *context, dqg_model *model, const dqg_adaptation *adaptations, int32_t count,
                           dqg_model **adapted) {
    struct dqg_adapter_use uses[ADAPTATIONS_MAX] = {0};
    if (adapted != NULL) {
        *adapted = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, adapted, "adapted"));
    if (count < 0 || count > ADAPTATIONS_MAX) {
        return dqg_fail(context, DQG_ERROR_RANGE, "%d adaptations are outside 0..%d", (int)count, ADAPTATIONS_MAX);
    }
    DQG_TRY(count > 0 ? dqg_need(context, adaptations, "adaptations") : DQG_OK);
    DQG_TRY(dqg_parallel_prepare(context));
    dqg_status status = open_all(context, model, adaptations, count, uses);
    if (status >= 0) {
        status = dqg_model_adapt_(context, model, uses, (size_t)count, adapted);
    }
    for (int32_t i = 0; i < count; i++) {
        dqg_adapter_release(uses[i].adapter);
    }
    return status;
}

dqg_status dqg_model_token_at(const dqg_model *model, int32_t index, dqg_token_info *info) {
    if (model == NULL || info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    size_t left = index >= 0 ? (size_t)index : SIZE_MAX;
    for (size_t i = 0; i <= model->part_count; i++) {
        const struct dqg_model *network = dqg_adapter_network(model, i);
        if (left < network->token_name_count) {
            const struct dqg_token_name *name = &network->token_names[left];
            const dqg_token_info filled = {
                .first = name->first, .count = name->count, .name = name->name, .role = network->role};
            return dqg_record_return(NULL, info, &filled, sizeof filled);
        }
        left -= network->token_name_count;
    }
    return DQG_ERROR_RANGE;
}
