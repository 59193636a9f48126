/* SPDX-License-Identifier: MIT */
/* Networks that are read from their file when something uses them, and given up behind it; and what memory that takes.
 */
#include "model/model.h"
#include "text/text.h"

static bool is_same(const struct dqg_model *a, const struct dqg_model *b) {
    bool same = a->family == b->family && a->weight_count == b->weight_count;
    for (size_t i = 0; same && i < a->weight_count; i++) {
        const struct dqg_weight *x = &a->weights[i], *y = &b->weights[i];
        same = x->dtype == y->dtype && x->group == y->group && x->rank == y->rank &&
               memcmp(x->shape, y->shape, sizeof x->shape) == 0 && strcmp(x->name, y->name) == 0;
    }
    return same;
}

/* What adapters brought to the described network; it outlives the one that was read. */
static void take_additions(const struct dqg_model *model, struct dqg_model *own) {
    own->hyper = model->hyper;
    own->additions = model->additions;
    own->additions.weights = own->weights;
    own->token_names = model->token_names;
    own->token_name_count = model->token_name_count;
}

/* The control network too, read or shared. */
static dqg_status take_control(struct dqg_context *context, const struct dqg_model *model, struct dqg_model *own) {
    const struct dqg_model *control = dqg_model_control(model);
    struct dqg_held held;
    if (control == NULL) {
        return DQG_OK;
    }
    DQG_TRY(dqg_model_hold(context, control, &held));
    own->control = held.own;
    if (own->control == NULL) { /* attached: of its own file */
        own->control = model->control;
        dqg_model_retain_(own->control);
    }
    return DQG_OK;
}

dqg_status dqg_model_hold(struct dqg_context *context, const struct dqg_model *model, struct dqg_held *held) {
    struct dqg_source source;
    *held = (struct dqg_held){.network = model};
    if (!model->described) {
        return DQG_OK;
    }
    DQG_TRY(dqg_source_open_path(context, model->path, &source));
    dqg_status status = dqg_model_open_again(context, model, &source, &held->own);
    dqg_source_close(&source);
    if (status >= 0 && (held->own == NULL || !is_same(model, held->own))) {
        status =
            dqg_fail(context, DQG_ERROR_STATE, "%s has changed since the model was loaded: load it again", model->path);
    }
    if (status >= 0) {
        take_additions(model, held->own);
        status = take_control(context, model, held->own);
    }
    held->network = held->own;
    if (status < 0) {
        dqg_model_let_go(held);
    }
    return status;
}

uint64_t dqg_model_loaded_bytes(const struct dqg_model *model) {
    uint64_t bytes = model->arena.total + model->zero_bytes + sizeof *model + dqg_tokenizer_bytes(model->tokenizer);
    bytes += model->described ? 0 : model->weight_bytes;
    for (size_t i = 0; i < model->part_count; i++) {
        bytes += dqg_model_loaded_bytes(model->parts[i]);
    }
    return bytes;
}

uint64_t dqg_model_use_bytes(const struct dqg_model *model, uint64_t bytes) {
    if (!model->described) {
        return bytes;
    }
    const struct dqg_model *control = dqg_model_control(model);
    uint64_t more = model->reading_bytes > bytes ? model->reading_bytes : bytes;
    more = control != NULL ? dqg_model_use_bytes(control, more) : more;
    return model->weight_bytes + model->arena.total + sizeof *model + more;
}

void dqg_model_let_go(struct dqg_held *held) {
    if (held->own != NULL) {
        dqg_model_free(held->own);
    }
    *held = (struct dqg_held){0};
}
