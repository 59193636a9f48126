/* SPDX-License-Identifier: MIT */
/* Public calls on guidance: changing that of a run, its conditions, and the same arithmetic on the host's own arrays.
 */
#include "api/run_guidance.h"

#include <math.h>

#include "run/run.h"

/* Index of a form among their names. */
static int32_t form_index(const char *name) {
    int32_t index = 0;
    size_t length = strlen(name);
    for (const char *at = dqg_guidance_forms; strncmp(at, name, length) != 0 || (at[length] != '|' && at[length] != 0);
         at++) {
        index += *at == '|';
    }
    return index;
}

static double number(const dqg_options *options, int32_t key) {
    return dqg_option(options, key).number;
}

struct dqg_guidance dqg_option_guidance(const dqg_options *options) {
    return (struct dqg_guidance){
        .scale = number(options, DQG_RUN_GUIDANCE),
        .low = number(options, DQG_RUN_GUIDANCE_LOW),
        .high = number(options, DQG_RUN_GUIDANCE_HIGH),
        .rescale = number(options, DQG_RUN_GUIDANCE_RESCALE),
        .momentum = number(options, DQG_RUN_APG_MOMENTUM),
        .norm = number(options, DQG_RUN_APG_NORM),
        .parallel = number(options, DQG_RUN_APG_PARALLEL),
        .threshold = number(options, DQG_RUN_THRESHOLD),
        .threshold_limit = number(options, DQG_RUN_THRESHOLD_LIMIT),
        .perturbed_scale = number(options, DQG_RUN_PERTURBED_SCALE),
        .perturbed_start = number(options, DQG_RUN_PERTURBED_START),
        .perturbed_end = number(options, DQG_RUN_PERTURBED_END),
        .form = form_index(dqg_option(options, DQG_RUN_GUIDANCE_FORM).text),
        .channels = (int32_t)dqg_option(options, DQG_RUN_CFG_CHANNELS).integer,
        .zero_steps = (int32_t)dqg_option(options, DQG_RUN_ZERO_STEPS).integer,
    };
}

/* ---- runs ---- */

static dqg_status begin_change(dqg_run *run) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    if (run->model == NULL) {
        return dqg_fail(run->context, DQG_ERROR_STATE,
                        "a run without a model has no guidance of its own; use dqg_guidance_combine()");
    }
    return DQG_OK;
}

dqg_status dqg_run_set_guidance(dqg_run *run, const dqg_options *options) {
    DQG_TRY(begin_change(run));
    DQG_TRY(dqg_options_check(run->context, options, DQG_OPTIONS_RUN));
    struct dqg_guidance guidance = dqg_option_guidance(options);
    return dqg_run_change_guidance(run, &guidance);
}

static dqg_status check_place(dqg_run *run, int32_t image, int32_t index, int32_t first) {
    if (image < -1 || (image >= 0 && (size_t)image >= run->images)) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "image: %d is outside -1..%zu", (int)image, run->images - 1);
    }
    if (index < first || (index >= 0 && (size_t)index >= run->conditions)) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "index: %d is outside %d..%zu, the conditions of this run",
                        (int)index, (int)first, run->conditions - 1);
    }
    return DQG_OK;
}

dqg_status dqg_run_set_condition(dqg_run *run, int32_t image, int32_t index, const dqg_condition *condition) {
    const uint32_t known = DQG_CONDITION_CLASS | DQG_CONDITION_WEIGHT | DQG_CONDITION_MASK;
    DQG_TRY(begin_change(run));
    DQG_TRY(dqg_need(run->context, condition, "condition"));
    if (condition->struct_size < sizeof *condition || (condition->flags & ~known) != 0 || condition->reserved != 0) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT,
                        "condition: not a condition (use DQG_INIT, then fill it in and say with flags what counts)");
    }
    DQG_TRY(check_place(run, image, index, 0));
    return dqg_run_change_condition(run, image, index, condition);
}

dqg_status dqg_run_set_inputs(dqg_run *run, int32_t image, int32_t index, const dqg_inputs *inputs) {
    DQG_TRY(begin_change(run));
    DQG_TRY(dqg_need(run->context, inputs, "inputs"));
    DQG_TRY(check_place(run, image, index, DQG_UNCONDITIONAL));
    return dqg_run_change_inputs(run, image, index, inputs);
}

/* ---- the host's own loop ---- */

/* What the call works on. */
struct mixture {
    struct dqg_guidance guidance;
    const dqg_guidance_terms *terms;
    size_t samples, sample_size, size;
    double scale;     /* in force */
    bool perturbed;   /* has a part */
    float *arrays[5]; /* conditional, unconditional, perturbed, momentum, output: each [size] */
};

static dqg_status check_view(struct dqg_context *context, const struct mixture *mixture, const dqg_tensor_view *view,
                             const char *name, bool needed) {
    const dqg_tensor_view *like = mixture->terms->conditional;
    if (view == NULL && needed) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%s is NULL, but these options use it at this step and sigma",
                        name);
    }
    return view != NULL ? dqg_view_check(context, view, name, like->rank, like->shape) : DQG_OK;
}

static dqg_status check_terms(struct dqg_context *context, const dqg_guidance_terms *terms) {
    DQG_TRY(dqg_need(context, terms, "terms"));
    if (terms->struct_size < sizeof *terms || terms->flags != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "terms: not guidance terms (use DQG_INIT, then fill it in)");
    }
    if (terms->steps < 1 || terms->step < 0 || terms->step >= terms->steps || !(terms->sigma >= 0)) {
        return dqg_fail(context, DQG_ERROR_RANGE, "terms: step %d of %d at sigma %g: there is no such step",
                        (int)terms->step, (int)terms->steps, terms->sigma);
    }
    DQG_TRY(dqg_need(context, terms->conditional, "terms->conditional"));
    int32_t rank = terms->conditional->rank;
    if (rank < 1 || rank > DQG_MAX_RANK) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "conditional: rank %d is outside 1..%d", (int)rank,
                        (int)DQG_MAX_RANK);
    }
    return dqg_view_check(context, terms->conditional, "conditional", rank, terms->conditional->shape);
}

static dqg_status check_mixture(struct dqg_context *context, struct mixture *mixture, const dqg_tensor_view *output) {
    const dqg_guidance_terms *terms = mixture->terms;
    const struct dqg_guidance *guidance = &mixture->guidance;
    const dqg_tensor_view *like = terms->conditional;
    uint64_t size;
    if (!dqg_shape_count(like->rank, like->shape, &size) || size == 0 || size > SIZE_MAX / 64) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "conditional: the shape is empty, negative or too large");
    }
    if (guidance->channels > 0 && (like->rank < 2 || guidance->channels > like->shape[1])) {
        return dqg_fail(context, DQG_ERROR_RANGE, "cfg-channels is %d, there are not as many channels",
                        (int)guidance->channels);
    }
    mixture->size = (size_t)size;
    mixture->samples = (size_t)like->shape[0];
    mixture->sample_size = mixture->size / mixture->samples;
    mixture->scale = dqg_guidance_scale(guidance, terms->sigma);
    mixture->perturbed = dqg_guidance_perturbs(guidance, terms->step, terms->steps);
    bool guided = mixture->scale != 1;
    bool momentum = guided && dqg_guidance_keeps_momentum(guidance);
    DQG_TRY(check_view(context, mixture, terms->unconditional, "unconditional", guided));
    DQG_TRY(check_view(context, mixture, terms->perturbed, "perturbed", mixture->perturbed));
    DQG_TRY(check_view(context, mixture, terms->momentum, "momentum", momentum));
    return check_view(context, mixture, output, "output", true);
}

static void mix(const struct mixture *mixture, const dqg_tensor_view *output) {
    const dqg_guidance_terms *terms = mixture->terms;
    const dqg_tensor_view *views[] = {terms->conditional, mixture->scale != 1 ? terms->unconditional : NULL,
                                      mixture->perturbed ? terms->perturbed : NULL,
                                      dqg_guidance_keeps_momentum(&mixture->guidance) ? terms->momentum : NULL};
    for (size_t i = 0; i < DQG_COUNT_OF(views); i++) {
        if (views[i] != NULL) {
            dqg_view_read(views[i], mixture->arrays[i]);
        }
    }
    float *out = mixture->arrays[4];
    int32_t channels = mixture->guidance.channels;
    for (size_t at = 0; at < mixture->size; at += mixture->sample_size) {
        struct dqg_guidance_image sample = {
            .conditional = mixture->arrays[0] + at,
            .unconditional = views[1] != NULL ? mixture->arrays[1] + at : NULL,
            .perturbed = views[2] != NULL ? mixture->arrays[2] + at : NULL,
            .momentum = views[3] != NULL ? mixture->arrays[3] + at : NULL,
            .x0 = {0, 1},
            .scale = mixture->scale,
            .n = mixture->sample_size,
            .guided = mixture->sample_size,
        };
        if (channels > 0) {
            sample.guided = mixture->sample_size / (size_t)terms->conditional->shape[1] * (size_t)channels;
        }
        dqg_guidance_mix(&mixture->guidance, &sample, out + at);
    }
    if (views[3] != NULL) {
        dqg_view_write(views[3], mixture->arrays[3]);
    }
    dqg_view_write(output, out);
}

dqg_status dqg_guidance_combine(dqg_context *context, const dqg_options *options, const dqg_guidance_terms *terms,
                                const dqg_tensor_view *output) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_options_check(context, options, DQG_OPTIONS_RUN));
    DQG_TRY(check_terms(context, terms));
    struct mixture mixture = {.guidance = dqg_option_guidance(options), .terms = terms};
    DQG_TRY(check_mixture(context, &mixture, output));
    size_t bytes = DQG_COUNT_OF(mixture.arrays) * mixture.size * sizeof(float);
    float *memory = dqg_calloc(&context->alloc, 1, bytes);
    if (memory == NULL) {
        return dqg_fail_memory(context, "guidance", bytes);
    }
    for (size_t i = 0; i < DQG_COUNT_OF(mixture.arrays); i++) {
        mixture.arrays[i] = memory + i * mixture.size;
    }
    if (terms->step < mixture.guidance.zero_steps) {
        dqg_view_write(output, mixture.arrays[4]);
    } else {
        mix(&mixture, output);
    }
    dqg_free(&context->alloc, memory, bytes);
    return DQG_OK;
}
