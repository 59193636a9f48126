/* SPDX-License-Identifier: MIT */
/* Options prompt and negative-prompt of a run: encoded before the denoiser is there, then given as its conditions. */
#include "api/run_prompt.h"
#include "model/pipeline.h"

static bool is_given(const dqg_options *options, int32_t key) {
    const char *text = dqg_option(options, key).text;
    return text != NULL && text[0] != '\0';
}

/* Begin; the encoding is to be freed after success. texts lives as long. */
static dqg_status prepare(struct dqg_context *context, const struct dqg_model *model, const dqg_options *options,
                          const char *texts[2], struct dqg_run_prompt *prompt, struct dqg_encoding *encoding) {
    bool guided = dqg_option(options, DQG_RUN_GUIDANCE).number != 1 && !model->hyper.guided;
    texts[0] = is_given(options, DQG_RUN_PROMPT) ? dqg_option(options, DQG_RUN_PROMPT).text : "";
    texts[1] = is_given(options, DQG_RUN_NEGATIVE_PROMPT) ? dqg_option(options, DQG_RUN_NEGATIVE_PROMPT).text : NULL;
    const struct dqg_prompts prompts = {
        .texts = texts, .count = guided ? 2 : 1, .skip = (size_t)dqg_option(options, DQG_RUN_CLIP_SKIP).integer};
    if (dqg_option(options, DQG_RUN_CONDITIONS).integer != 1) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "prompt: one condition alone has it; give several by dqg_model_encode_prompts() and "
                        "dqg_run_set_inputs()");
    }
    dqg_status status = dqg_encoding_prepare(context, model, &prompts, encoding);
    const struct dqg_hyper *hyper = &model->hyper;
    size_t row = hyper->context_width + 1, floats;
    prompt->rows = encoding->rows;
    prompt->count = prompts.count;
    prompt->masked = hyper->masked;
    if (status >= 0 &&
        (!dqg_mul_size(prompt->rows, row, &floats) || !dqg_add_size(floats, hyper->pooled_width, &floats) ||
         !dqg_mul_size(floats, prompt->count * sizeof(float), &floats))) {
        status = dqg_fail(context, DQG_ERROR_LIMIT, "prompts of this length do not fit the address space");
    }
    prompt->bytes = status >= 0 ? floats : 0;
    if (status < 0) {
        dqg_encoding_free(encoding);
    }
    return status;
}

static bool has_prompt(const dqg_options *options) {
    return is_given(options, DQG_RUN_PROMPT) || is_given(options, DQG_RUN_NEGATIVE_PROMPT);
}

dqg_status dqg_run_prompt_read(struct dqg_context *context, const struct dqg_model *model, const dqg_options *options,
                               struct dqg_run_prompt *prompt) {
    const char *texts[2];
    struct dqg_encoding encoding;
    *prompt = (struct dqg_run_prompt){0};
    if (!has_prompt(options)) {
        return DQG_OK;
    }
    DQG_TRY(prepare(context, model, options, texts, prompt, &encoding));
    dqg_encoding_free(&encoding);
    return DQG_OK;
}

dqg_status dqg_run_prompt_encode(struct dqg_context *context, const struct dqg_model *model, const dqg_options *options,
                                 struct dqg_run_prompt *prompt) {
    const char *texts[2];
    struct dqg_encoding encoding;
    *prompt = (struct dqg_run_prompt){0};
    if (!has_prompt(options)) {
        return DQG_OK;
    }
    DQG_TRY(prepare(context, model, options, texts, prompt, &encoding));
    size_t rows = prompt->count * prompt->rows;
    prompt->floats = dqg_malloc(&context->alloc, (size_t)prompt->bytes);
    dqg_status status = DQG_OK;
    if (prompt->floats == NULL) {
        status = dqg_fail_memory(context, "the encoded prompts", (size_t)prompt->bytes);
    } else {
        prompt->mask = prompt->floats + rows * model->hyper.context_width;
        prompt->pooled = prompt->mask + rows;
        status = dqg_encoding_run(&encoding, prompt->floats, prompt->mask, prompt->pooled);
    }
    dqg_encoding_free(&encoding);
    if (status < 0) {
        dqg_run_prompt_free(context, prompt);
    }
    return status;
}

void dqg_run_prompt_free(struct dqg_context *context, struct dqg_run_prompt *prompt) {
    dqg_free(&context->alloc, prompt->floats, prompt->floats != NULL ? (size_t)prompt->bytes : 0);
    prompt->floats = NULL;
}

static dqg_tensor_view view_of(float *data, size_t rows, size_t columns, int32_t rank) {
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.data = data;
    view.dtype = DQG_DTYPE_F32;
    view.rank = rank;
    view.shape[0] = 1;
    view.shape[1] = (int64_t)rows;
    view.shape[2] = (int64_t)columns;
    return view;
}

dqg_status dqg_run_prompt_apply(struct dqg_run *run, const struct dqg_run_prompt *prompt) {
    const struct dqg_hyper *hyper = &run->model->hyper;
    for (size_t i = 0; i < prompt->count; i++) {
        dqg_tensor_view rows =
            view_of(prompt->floats + i * prompt->rows * hyper->context_width, prompt->rows, hyper->context_width, 3);
        dqg_tensor_view mask = view_of(prompt->mask + i * prompt->rows, prompt->rows, 0, 2);
        dqg_tensor_view pooled = view_of(prompt->pooled + i * hyper->pooled_width, hyper->pooled_width, 0, 2);
        dqg_inputs inputs;
        DQG_INIT(&inputs);
        inputs.context = &rows;
        inputs.mask = prompt->masked ? &mask : NULL;
        inputs.pooled = hyper->pooled_width > 0 ? &pooled : NULL;
        DQG_TRY(dqg_run_change_inputs(run, -1, i == 0 ? 0 : DQG_UNCONDITIONAL, &inputs));
    }
    return DQG_OK;
}
