/* SPDX-License-Identifier: MIT */
/* Public calls on prompts: their tokens, and what they become for a denoiser. lib/model does the work. */
#include "api/api.h"
#include "model/pipeline.h"
#include "tensor/view.h"

enum { ALL_FLAGS = DQG_PROMPT_PLAIN | DQG_PROMPT_ONE_CHUNK };

static dqg_status check_settings(struct dqg_context *context, const dqg_prompt_settings *given,
                                 dqg_prompt_settings *settings) {
    DQG_INIT(settings);
    if (given == NULL) {
        return DQG_OK;
    }
    if (given->struct_size < sizeof *given || (given->flags & ~(uint32_t)ALL_FLAGS) != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "settings: not a record, or flags without a meaning (use DQG_INIT, "
                        "then fill it in)");
    }
    if (given->skip < 0 || given->chunks < 0 || given->chunks > DQG_CHUNKS_MAX) {
        return dqg_fail(context, DQG_ERROR_RANGE, "settings: skip %d must not be below 0, chunks %d not outside 0..%d",
                        (int)given->skip, (int)given->chunks, (int)DQG_CHUNKS_MAX);
    }
    *settings = *given;
    return DQG_OK;
}

/* What both calls on prompts begin with; the encoding is to be freed after success. */
static dqg_status prepare(struct dqg_context *context, const dqg_model *model, const char *const *prompts,
                          int32_t count, const dqg_prompt_settings *given, struct dqg_encoding *encoding) {
    dqg_prompt_settings settings;
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, prompts, "prompts"));
    DQG_TRY(check_settings(context, given, &settings));
    if (count < 1) {
        return dqg_fail(context, DQG_ERROR_RANGE, "count: %d prompts, at least 1 is needed", (int)count);
    }
    const struct dqg_prompts wanted = {.texts = prompts,
                                       .count = (size_t)count,
                                       .plain = (settings.flags & DQG_PROMPT_PLAIN) != 0,
                                       .one_chunk = (settings.flags & DQG_PROMPT_ONE_CHUNK) != 0,
                                       .skip = (size_t)settings.skip,
                                       .chunks = (size_t)settings.chunks};
    dqg_status status = dqg_encoding_prepare(context, model, &wanted, encoding);
    if (status < 0) {
        dqg_encoding_free(encoding);
    }
    return status;
}

dqg_status dqg_model_prompt_info(dqg_context *context, const dqg_model *model, const char *const *prompts,
                                 int32_t count, const dqg_prompt_settings *settings, dqg_prompt_info *info) {
    struct dqg_encoding encoding;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, info, "info"));
    DQG_TRY(prepare(context, model, prompts, count, settings, &encoding));
    const struct dqg_hyper *hyper = encoding.wiring.hyper;
    dqg_prompt_info filled = {.flags = (hyper->masked ? (uint32_t)DQG_PROMPT_MASKED : 0u) |
                                       (encoding.cut ? (uint32_t)DQG_PROMPT_CUT : 0u),
                              .tokens = (int32_t)encoding.rows,
                              .columns = (int32_t)hyper->context_width,
                              .pooled = (int32_t)hyper->pooled_width,
                              .chunks = (int32_t)encoding.chunks};
    dqg_status status = dqg_encoding_bytes(&encoding, &filled.bytes);
    dqg_encoding_free(&encoding);
    return status >= 0 ? dqg_record_return(context, info, &filled, sizeof filled) : status;
}

/* ---- encoding ---- */

struct output {
    const dqg_tensor_view *view; /* or NULL */
    float *floats;
    size_t count;
};

static dqg_status take(struct dqg_context *context, struct output *output, const char *name, int32_t rank,
                       const int64_t *shape) {
    if (output->view == NULL) {
        return DQG_OK;
    }
    DQG_TRY(dqg_view_check(context, output->view, name, rank, shape));
    output->count = 1;
    for (int32_t i = 0; i < rank; i++) {
        output->count *= (size_t)shape[i]; /* a view has been checked */
    }
    output->floats = dqg_malloc(&context->alloc, output->count * sizeof(float));
    return output->floats != NULL ? DQG_OK : dqg_fail_memory(context, name, output->count * sizeof(float));
}

/* rows, mask, pooled */
static dqg_status encode(struct dqg_context *context, struct dqg_encoding *encoding, struct output outputs[3]) {
    const struct dqg_hyper *hyper = encoding->wiring.hyper;
    int64_t count = (int64_t)encoding->prompts.count, tokens = (int64_t)encoding->rows;
    const int64_t rows_shape[3] = {count, tokens, (int64_t)hyper->context_width}, mask_shape[2] = {count, tokens},
                  pooled_shape[2] = {count, (int64_t)hyper->pooled_width};
    if (outputs[2].view != NULL && hyper->pooled_width == 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "pooled: the denoiser takes no pooled row, pass NULL");
    }
    DQG_TRY(take(context, &outputs[0], "rows", 3, rows_shape));
    DQG_TRY(take(context, &outputs[1], "mask", 2, mask_shape));
    DQG_TRY(take(context, &outputs[2], "pooled", 2, pooled_shape));
    DQG_TRY(dqg_encoding_run(encoding, outputs[0].floats, outputs[1].floats, outputs[2].floats));
    for (int i = 0; i < 3; i++) {
        if (outputs[i].view != NULL) {
            dqg_view_write(outputs[i].view, outputs[i].floats);
        }
    }
    return DQG_OK;
}

dqg_status dqg_model_encode_prompts(dqg_context *context, const dqg_model *model, const char *const *prompts,
                                    int32_t count, const dqg_prompt_settings *settings, const dqg_tensor_view *rows,
                                    const dqg_tensor_view *mask, const dqg_tensor_view *pooled) {
    struct dqg_encoding encoding;
    struct output outputs[3] = {{.view = rows}, {.view = mask}, {.view = pooled}};
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    if (rows == NULL && mask == NULL && pooled == NULL) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "rows, mask and pooled are all NULL: nothing is wanted");
    }
    DQG_TRY(prepare(context, model, prompts, count, settings, &encoding));
    dqg_status status = encode(context, &encoding, outputs);
    for (int i = 0; i < 3; i++) {
        dqg_free(&context->alloc, outputs[i].floats, outputs[i].count * sizeof(float));
    }
    dqg_encoding_free(&encoding);
    return status;
}

/* ---- tokens ---- */

/* What is between begin and end of each chunk. */
static void copy_tokens(const struct dqg_tokenizer *tokenizer, const struct dqg_prompt *prompt, int32_t *ids,
                        float *weights, int32_t capacity, int32_t *count) {
    struct dqg_token_ids special = dqg_tokenizer_ids(tokenizer);
    size_t begin = special.bos >= 0, end = special.eos >= 0;
    for (size_t chunk = 0; chunk < prompt->chunk_count; chunk++) {
        for (size_t i = begin; i + end < prompt->used[chunk]; i++, ++*count) {
            if (*count < capacity && ids != NULL) {
                ids[*count] = prompt->ids[chunk * prompt->length + i];
            }
            if (*count < capacity && weights != NULL) {
                weights[*count] = prompt->weights[chunk * prompt->length + i];
            }
        }
    }
}

static dqg_status find_tokenizer(struct dqg_context *context, const dqg_model *model, const char *role,
                                 const dqg_model **encoder) {
    *encoder = role != NULL ? dqg_model_encoder(model, role) : NULL;
    for (size_t i = 0; role == NULL && *encoder == NULL && i <= model->part_count; i++) {
        const dqg_model *part = i == 0 ? model : model->parts[i - 1];
        *encoder = part->hyper.vocabulary > 0 ? part : NULL;
    }
    if (*encoder == NULL) {
        return role != NULL ? dqg_fail(context, DQG_ERROR_NAME, "the model has no text encoder called '%s'", role)
                            : dqg_fail(context, DQG_ERROR_UNSUPPORTED, "the model has no text encoder");
    }
    if ((*encoder)->tokenizer == NULL) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "the file has no tokenizer for the text encoder '%s'",
                        (*encoder)->role);
    }
    return DQG_OK;
}

dqg_status dqg_model_tokenize(dqg_context *context, const dqg_model *model, const char *text,
                              const dqg_prompt_settings *settings, int32_t *ids, float *weights, int32_t capacity,
                              int32_t *count) {
    dqg_prompt_settings read;
    const dqg_model *encoder;
    struct dqg_prompt prompt;
    if (count != NULL) {
        *count = 0;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, text, "text"));
    DQG_TRY(dqg_need(context, count, "count"));
    DQG_TRY(check_settings(context, settings, &read));
    if (capacity < 0) {
        return dqg_fail(context, DQG_ERROR_RANGE, "capacity: %d is negative", (int)capacity);
    }
    DQG_TRY(find_tokenizer(context, model, read.role, &encoder));
    bool cut = (read.flags & DQG_PROMPT_ONE_CHUNK) != 0;
    size_t own = encoder->hyper.positions;
    const struct dqg_prompt_shape shape = {.length = cut && own > 0 ? own : DQG_CHUNK_MAX,
                                           .chunks = !cut,
                                           .pad = -1,
                                           .weighted = (read.flags & DQG_PROMPT_PLAIN) == 0,
                                           .names = encoder->token_names,
                                           .name_count = encoder->token_name_count};
    DQG_TRY(dqg_prompt_create(context, encoder->tokenizer, text, strlen(text), &shape, &prompt));
    copy_tokens(encoder->tokenizer, &prompt, ids, weights, capacity, count);
    dqg_prompt_free(&context->alloc, &prompt);
    return DQG_OK;
}
