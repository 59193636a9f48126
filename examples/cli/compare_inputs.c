/* SPDX-License-Identifier: MIT */
/*
 * dqgen compare, what networks take beside classes: contexts, pooled rows, extra channels and pictures to follow, drawn
 * at random by each picture's seed, or what a prompt becomes. Runs fill in sizes and encode prompts, each with the text
 * encoders of its own file; in single evaluations both networks get what the float file makes of the prompt.
 */
#include <math.h>
#include <stdlib.h>

#include "compare.h"

enum { CONTROL_CHANNELS = 3 };

/* Room for a part of so many samples; nothing where networks take none of it. */
static bool lay_out(struct compare_inputs *inputs, int part, int32_t rank, const int64_t shape[4]) {
    dqg_tensor_view *view = &inputs->views[part];
    size_t count = 1;
    DQG_INIT(view);
    view->dtype = DQG_DTYPE_F32;
    view->rank = rank;
    for (int32_t d = 0; d < rank; d++) {
        view->shape[d] = shape[d];
        count *= (size_t)shape[d];
    }
    view->data = count > 0 ? calloc(count, sizeof(float)) : NULL;
    return count == 0 || view->data != NULL;
}

static const dqg_tensor_view *part_of(const struct compare_inputs *inputs, int part) {
    return inputs->views[part].data != NULL ? &inputs->views[part] : NULL;
}

/* Standard normals by seeds of their own, other than those of the latent's noise; pictures lie between 0 and 1. */
static dqg_status draw(struct cli *cli, const struct comparison *comparison, struct compare_inputs *inputs, int part,
                       int64_t first) {
    dqg_tensor_view *view = &inputs->views[part];
    int64_t seeds[COMPARE_SAMPLES];
    size_t count = view->data != NULL ? 1 : 0;
    for (int64_t i = 0; i < view->shape[0]; i++) {
        seeds[i] = (comparison->sampling.seed + first + i) ^ (int64_t)(part + 1) << 40;
    }
    for (int32_t d = 0; d < view->rank; d++) {
        count *= (size_t)view->shape[d];
    }
    dqg_status status = count > 0 ? dqg_scheduler_draw_noise(cli->context, comparison->sampling.scheduler, seeds,
                                                             (int32_t)view->shape[0], view)
                                  : DQG_OK;
    for (size_t i = 0; part == COMPARE_CONTROL && i < count; i++) {
        float *value = (float *)view->data + i;
        *value = fminf(fmaxf(0.5f + *value / 4, 0), 1);
    }
    return status;
}

/* Random inputs of samples first .. first + count - 1. Without a context where a prompt gives it. */
static dqg_status draw_all(struct cli *cli, const struct comparison *comparison, int64_t first, int64_t count,
                           struct compare_inputs *inputs) {
    const dqg_model_info *info = &comparison->sampling.info;
    int64_t height = comparison->height, width = comparison->width, times = control_times(&comparison->sampling);
    int64_t tokens = 0;
    dqg_options_get_int(comparison->sampling.run_options, DQG_RUN_CONTEXT_TOKENS, &tokens);
    tokens = tokens > 0 ? tokens : info->context_tokens;
    bool prompt = sampling_has_prompt(&comparison->sampling);
    bool control = (info->flags & DQG_MODEL_CONTROLLED) != 0;
    const int64_t context[] = {count, prompt ? 0 : tokens, info->context_columns, 1};
    const int64_t pooled[] = {count, prompt ? 0 : info->pooled_columns, 1, 1};
    const int64_t extra[] = {count, info->extra_channels, height, width};
    const int64_t picture[] = {count, control ? CONTROL_CHANNELS : 0, height * times, width * times};
    bool fits = lay_out(inputs, COMPARE_CONTEXT, 3, context);
    fits = fits && lay_out(inputs, COMPARE_POOLED, 2, pooled) && lay_out(inputs, COMPARE_EXTRA, 4, extra);
    fits = fits && lay_out(inputs, COMPARE_CONTROL, 4, picture);
    dqg_status status = fits ? DQG_OK : DQG_ERROR_MEMORY;
    for (int part = 0; part < COMPARE_RANDOM && status >= 0; part++) {
        status = draw(cli, comparison, inputs, part, first);
    }
    DQG_INIT(&inputs->inputs);
    inputs->inputs.context = part_of(inputs, COMPARE_CONTEXT);
    inputs->inputs.pooled = part_of(inputs, COMPARE_POOLED);
    inputs->inputs.extra = part_of(inputs, COMPARE_EXTRA);
    inputs->inputs.control = part_of(inputs, COMPARE_CONTROL);
    return status;
}

void compare_inputs_free(struct compare_inputs *inputs) {
    for (int part = 0; part < COMPARE_PARTS; part++) {
        free(inputs->views[part].data);
    }
}

/* One picture's, to its condition; what is no text to the unconditional, too. */
static dqg_status give_one(struct cli *cli, const struct comparison *comparison, dqg_run *run, int64_t picture,
                           int32_t index) {
    struct compare_inputs inputs = {0};
    dqg_status status = draw_all(cli, comparison, picture, 1, &inputs);
    if (status >= 0) {
        status = dqg_run_set_inputs(run, index, 0, &inputs.inputs);
    }
    if (status >= 0 && (inputs.inputs.extra != NULL || inputs.inputs.control != NULL)) {
        inputs.inputs.context = inputs.inputs.pooled = NULL;
        status = dqg_run_set_inputs(run, index, DQG_UNCONDITIONAL, &inputs.inputs);
        status = status == DQG_ERROR_STATE ? DQG_OK : status; /* without guidance there is none */
    }
    compare_inputs_free(&inputs);
    return status;
}

dqg_status compare_inputs_give(struct cli *cli, const struct comparison *comparison, dqg_run *run, int64_t first,
                               int32_t count) {
    dqg_status status = DQG_OK;
    for (int32_t i = 0; i < count && status >= 0; i++) {
        status = give_one(cli, comparison, run, first + i, i);
    }
    return status;
}

/* ---- single evaluations ---- */

/* What a run fills in: a picture of the latent's size, not cropped. */
static void fill_sizes(const struct comparison *comparison, struct compare_inputs *inputs) {
    int64_t times = control_times(&comparison->sampling);
    double height = (double)(comparison->height * times), width = (double)(comparison->width * times);
    const double whole[] = {height, width, 0, 0, height, width};
    const double refiner[] = {height, width, 0, 0, 6};
    const double pixart[] = {height, width, height / width};
    int32_t count = comparison->sampling.info.sizes;
    const double *numbers = count == 3 ? pixart : count == 5 ? refiner : whole;
    for (int32_t i = 0; i < comparison->samples * count; i++) {
        inputs->sizes[i] = numbers[i % count];
    }
    inputs->inputs.sizes = count > 0 ? inputs->sizes : NULL;
}

dqg_status compare_prompt_info(struct cli *cli, const struct comparison *comparison, int model,
                               struct compare_prompt *prompt, dqg_prompt_info *info) {
    const dqg_options *options = comparison->sampling.run_options;
    const char *text = "";
    int64_t skip = 0;
    dqg_options_get_text(options, DQG_RUN_PROMPT, &text);
    dqg_options_get_int(options, DQG_RUN_CLIP_SKIP, &skip);
    for (int32_t i = 0; i < COMPARE_SAMPLES; i++) {
        prompt->texts[i] = text;
    }
    DQG_INIT(&prompt->settings);
    prompt->settings.skip = (int32_t)skip;
    DQG_INIT(info);
    return dqg_model_prompt_info(cli->context, comparison->models[model], prompt->texts, 1, &prompt->settings, info);
}

static dqg_status encode(struct cli *cli, const struct comparison *comparison, struct compare_inputs *inputs) {
    int64_t n = comparison->samples;
    struct compare_prompt prompt;
    dqg_prompt_info info;
    dqg_status status = compare_prompt_info(cli, comparison, 0, &prompt, &info);
    if (status < 0) {
        return status;
    }
    const int64_t context[] = {n, info.tokens, info.columns, 1}, pooled[] = {n, info.pooled, 1, 1};
    const int64_t mask[] = {n, (info.flags & DQG_PROMPT_MASKED) != 0 ? info.tokens : 0, 1, 1};
    if (!lay_out(inputs, COMPARE_CONTEXT, 3, context) || !lay_out(inputs, COMPARE_POOLED, 2, pooled) ||
        !lay_out(inputs, COMPARE_MASK, 2, mask)) {
        return DQG_ERROR_MEMORY;
    }
    inputs->inputs.context = part_of(inputs, COMPARE_CONTEXT);
    inputs->inputs.pooled = part_of(inputs, COMPARE_POOLED);
    inputs->inputs.mask = part_of(inputs, COMPARE_MASK);
    return dqg_model_encode_prompts(cli->context, comparison->models[0], prompt.texts, comparison->samples,
                                    &prompt.settings, inputs->inputs.context, inputs->inputs.mask,
                                    inputs->inputs.pooled);
}

dqg_status compare_inputs_make(struct cli *cli, const struct comparison *comparison, struct compare_inputs *inputs) {
    dqg_status status = draw_all(cli, comparison, 0, comparison->samples, inputs);
    if (status >= 0 && sampling_has_prompt(&comparison->sampling)) {
        status = encode(cli, comparison, inputs);
    }
    for (int32_t i = 0; i < comparison->samples; i++) {
        inputs->labels[i] = sampling_class(&comparison->sampling, i, 1);
        inputs->guidance[i] = comparison->sampling.guidance;
    }
    fill_sizes(comparison, inputs);
    inputs->inputs.labels = inputs->labels;
    inputs->inputs.guidance = (comparison->sampling.info.flags & DQG_MODEL_GUIDED) != 0 ? inputs->guidance : NULL;
    return status;
}
