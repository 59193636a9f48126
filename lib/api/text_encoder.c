/* SPDX-License-Identifier: MIT */
/* Public calls on text encoders: which a model has, and rows of prompts. lib/model does the work. */
#include "api/api.h"
#include "model/pipeline.h"
#include "tensor/view.h"

enum { PROMPTS_MAX = 4096, TOKENS_MAX = 65536 };

/* The index-th text encoder, or the one of this role; NULL where there is none. */
static const dqg_model *find_encoder(const dqg_model *model, int32_t index, const char *role) {
    for (size_t i = 0; i <= model->part_count; i++) {
        const dqg_model *part = i == 0 ? model : model->parts[i - 1];
        if (part->hyper.vocabulary == 0) {
            continue;
        }
        if (role != NULL ? strcmp(role, part->role) == 0 : index == 0) {
            return part;
        }
        index--;
    }
    return NULL;
}

dqg_status dqg_model_text_at(const dqg_model *model, int32_t index, dqg_text_info *info) {
    if (model == NULL || info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    const dqg_model *encoder = index >= 0 ? find_encoder(model, index, NULL) : NULL;
    if (encoder == NULL) {
        return DQG_ERROR_RANGE;
    }
    const struct dqg_hyper *hyper = &encoder->hyper;
    dqg_text_info filled = {
        .layers = (int32_t)hyper->depth,
        .columns = (int32_t)hyper->hidden,
        .tokens = (int32_t)hyper->positions,
        .vocabulary = (int32_t)hyper->vocabulary,
        .projection = (int32_t)hyper->projection,
        .parameters = encoder->parameters,
        .family = encoder->family->name,
        .role = encoder->role,
    };
    return dqg_record_return(NULL, info, &filled, sizeof filled);
}

/* One call. */
struct encoding {
    const dqg_model *encoder;
    dqg_text_settings settings;
    const int32_t *ids, *lengths;
    size_t prompts, tokens;
    const dqg_tensor_view *rows, *pooled;
    size_t pooled_columns;
    float *rows_floats, *pooled_floats;
    int32_t *picks;
};

static dqg_status check_settings(struct dqg_context *context, const dqg_model *model, struct encoding *e) {
    const dqg_text_settings *settings = &e->settings;
    e->encoder = find_encoder(model, 0, settings->role);
    if (e->encoder == NULL && settings->role != NULL) {
        return dqg_fail(context, DQG_ERROR_NAME, "the model has no text encoder called '%s'", settings->role);
    }
    if (e->encoder == NULL) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "the model has no text encoder: its only network is '%s'",
                        model->family->name);
    }
    const struct dqg_hyper *hyper = &e->encoder->hyper;
    if ((settings->flags & ~(uint32_t)(DQG_TEXT_NO_NORM | DQG_TEXT_NO_PROJECTION)) != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "settings: flags have bits without a meaning");
    }
    if (settings->skip < 0 || (size_t)settings->skip > hyper->depth) {
        return dqg_fail(context, DQG_ERROR_RANGE, "skip: %d is outside 0..%zu", (int)settings->skip, hyper->depth);
    }
    if (settings->end_token < 0 || (size_t)settings->end_token >= hyper->vocabulary) {
        return dqg_fail(context, DQG_ERROR_RANGE, "end_token: %d is outside 0..%zu", (int)settings->end_token,
                        hyper->vocabulary - 1);
    }
    return DQG_OK;
}

static dqg_status check_prompts(struct dqg_context *context, const struct encoding *e) {
    const struct dqg_hyper *hyper = &e->encoder->hyper;
    for (size_t i = 0; i < e->prompts * e->tokens; i++) {
        if (e->ids[i] < 0 || (size_t)e->ids[i] >= hyper->vocabulary) {
            return dqg_fail(context, DQG_ERROR_RANGE, "token %zu of prompt %zu is %d, outside 0..%zu", i % e->tokens,
                            i / e->tokens, (int)e->ids[i], hyper->vocabulary - 1);
        }
    }
    for (size_t i = 0; e->lengths != NULL && i < e->prompts; i++) {
        if (e->lengths[i] < 1 || (size_t)e->lengths[i] > e->tokens) {
            return dqg_fail(context, DQG_ERROR_RANGE, "length %d of prompt %zu is outside 1..%zu", (int)e->lengths[i],
                            i, e->tokens);
        }
    }
    return DQG_OK;
}

static dqg_status check_outputs(struct dqg_context *context, struct encoding *e) {
    const struct dqg_hyper *hyper = &e->encoder->hyper;
    const int64_t rows[3] = {(int64_t)e->prompts, (int64_t)e->tokens, (int64_t)hyper->hidden};
    bool projected = hyper->projection > 0 && (e->settings.flags & DQG_TEXT_NO_PROJECTION) == 0;
    e->pooled_columns = projected ? hyper->projection : hyper->hidden;
    const int64_t pooled[2] = {(int64_t)e->prompts, (int64_t)e->pooled_columns};
    if (e->rows == NULL && e->pooled == NULL) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "rows and pooled are both NULL: nothing is wanted");
    }
    if (e->pooled != NULL && hyper->positions == 0) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "pooled: '%s' has no pooled row, pass NULL",
                        e->encoder->family->name);
    }
    DQG_TRY(e->rows != NULL ? dqg_view_check(context, e->rows, "rows", 3, rows) : DQG_OK);
    return e->pooled != NULL ? dqg_view_check(context, e->pooled, "pooled", 2, pooled) : DQG_OK;
}

static dqg_status check_sizes(struct dqg_context *context, const struct encoding *e, int32_t prompts, int32_t tokens) {
    size_t most = e->encoder->hyper.positions > 0 ? e->encoder->hyper.positions : TOKENS_MAX;
    if (prompts < 1 || prompts > PROMPTS_MAX) {
        return dqg_fail(context, DQG_ERROR_RANGE, "prompts: %d is outside 1..%d", (int)prompts, (int)PROMPTS_MAX);
    }
    if (tokens < 1 || (size_t)tokens > most) {
        return dqg_fail(context, DQG_ERROR_RANGE, "tokens: %d is outside 1..%zu: cut the prompts or encode their parts",
                        (int)tokens, most);
    }
    return DQG_OK;
}

/* The row of each prompt that stands for all of it. */
static void find_picks(const struct encoding *e) {
    int32_t end = dqg_text_end_token(e->encoder, e->settings.end_token);
    for (size_t p = 0; p < e->prompts; p++) {
        e->picks[p] = e->lengths != NULL ? e->lengths[p] - 1 : dqg_text_pick(e->ids + p * e->tokens, e->tokens, end);
    }
}

static dqg_status encode_to_floats(struct dqg_context *context, const struct encoding *e) {
    const struct dqg_text_job job = {
        .prompts = e->prompts,
        .tokens = e->tokens,
        .form = {.skip = (size_t)e->settings.skip,
                 .no_norm = (e->settings.flags & DQG_TEXT_NO_NORM) != 0,
                 .no_projection = (e->settings.flags & DQG_TEXT_NO_PROJECTION) != 0,
                 .no_rows = e->rows == NULL,
                 .pooled = e->pooled != NULL,
                 .counted = e->lengths != NULL},
        .ids = e->ids,
        .lengths = e->lengths,
        .picks = e->picks,
        .rows = e->rows_floats,
        .pooled = e->pooled_floats,
    };
    return dqg_text_run(context, e->encoder, &job);
}

static dqg_status encode(struct dqg_context *context, struct encoding *e) {
    size_t rows_bytes = e->prompts * e->tokens * e->encoder->hyper.hidden * sizeof(float); /* a view has been checked */
    size_t pooled_bytes = e->prompts * e->pooled_columns * sizeof(float), picks_bytes = e->prompts * sizeof(int32_t);
    e->rows_floats = e->rows != NULL ? dqg_malloc(&context->alloc, rows_bytes) : NULL;
    e->pooled_floats = e->pooled != NULL ? dqg_malloc(&context->alloc, pooled_bytes) : NULL;
    e->picks = dqg_malloc(&context->alloc, picks_bytes);
    dqg_status status = DQG_OK;
    if (e->picks == NULL || (e->rows != NULL && e->rows_floats == NULL) ||
        (e->pooled != NULL && e->pooled_floats == NULL)) {
        status = dqg_fail_memory(context, "the encoded prompts", rows_bytes + pooled_bytes);
    } else {
        find_picks(e);
        status = encode_to_floats(context, e);
    }
    if (status >= 0 && e->rows != NULL) {
        dqg_view_write(e->rows, e->rows_floats);
    }
    if (status >= 0 && e->pooled != NULL) {
        dqg_view_write(e->pooled, e->pooled_floats);
    }
    dqg_free(&context->alloc, e->picks, picks_bytes);
    dqg_free(&context->alloc, e->pooled_floats, pooled_bytes);
    dqg_free(&context->alloc, e->rows_floats, rows_bytes);
    return status;
}

dqg_status dqg_model_encode_tokens(dqg_context *context, const dqg_model *model, const int32_t *ids, int32_t prompts,
                                   int32_t tokens, const int32_t *lengths, const dqg_text_settings *settings,
                                   const dqg_tensor_view *rows, const dqg_tensor_view *pooled) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, ids, "ids"));
    struct encoding e = {.ids = ids, .lengths = lengths, .rows = rows, .pooled = pooled};
    if (settings != NULL) {
        if (settings->struct_size < sizeof *settings) {
            return dqg_fail(context, DQG_ERROR_ARGUMENT, "settings: not a record (use DQG_INIT, then fill it in)");
        }
        e.settings = *settings;
    }
    DQG_TRY(check_settings(context, model, &e));
    DQG_TRY(check_sizes(context, &e, prompts, tokens));
    e.prompts = (size_t)prompts;
    e.tokens = (size_t)tokens;
    DQG_TRY(check_prompts(context, &e));
    DQG_TRY(check_outputs(context, &e));
    struct dqg_held held;
    DQG_TRY(dqg_model_hold(context, e.encoder, &held));
    e.encoder = held.network;
    dqg_status status = encode(context, &e);
    dqg_model_let_go(&held);
    return status;
}
