/* SPDX-License-Identifier: MIT */
/*
 * What a denoiser is given beside x and the time: labels, guidance, sizes, the context with its mask, the pooled row.
 * Called by the single evaluation (lib/api/denoise.c) and by runs (lib/run/conditions.c).
 */
#include "model/inputs.h"

#include <math.h>

#include "tensor/view.h"

enum { MOST_TOKENS = 65536 };

/* Added to the score of a hidden key: its share is 0 in floats, and a sample with hidden keys only has no NaN. */
static const float hidden = -10000.0f;

static const double most_number = 1e6; /* of sizes and guidance */

/* Floats of a sample's picture for the control network. */
static size_t control_floats(const struct dqg_given *given, const struct dqg_hyper *hyper) {
    return hyper->control_channels * given->height * hyper->control_times * given->width * hyper->control_times;
}

bool dqg_given_lay_out(struct dqg_given *given, const struct dqg_hyper *hyper, size_t *used, char *base) {
    size_t samples = given->samples, rows, extra, guided = hyper->guided ? samples : 0, first = *used;
    size_t control = control_floats(given, hyper);
    bool fits = dqg_mul_size(samples, hyper->context_width > 0 ? given->tokens : 0, &rows) &&
                dqg_mul_size(samples, given->height * given->width * hyper->extra_channels, &extra) &&
                dqg_carve(used, base, samples, sizeof *given->labels, (void **)&given->labels) &&
                dqg_carve(used, base, rows, hyper->context_width * sizeof *given->context, (void **)&given->context) &&
                dqg_carve(used, base, hyper->masked ? rows : 0, sizeof *given->mask, (void **)&given->mask) &&
                dqg_carve(used, base, samples, hyper->pooled_width * sizeof *given->pooled, (void **)&given->pooled) &&
                dqg_carve(used, base, extra, sizeof *given->extra, (void **)&given->extra) &&
                dqg_carve(used, base, samples, control * sizeof *given->control, (void **)&given->control) &&
                dqg_carve(used, base, hyper->control_channels > 0 ? samples : 0, sizeof *given->control_scales,
                          (void **)&given->control_scales) &&
                dqg_carve(used, base, guided, sizeof *given->guidance, (void **)&given->guidance) &&
                dqg_carve(used, base, samples, hyper->size_count * sizeof *given->sizes, (void **)&given->sizes);
    given->bytes = *used - first;
    return fits;
}

void dqg_given_clear(struct dqg_given *given) {
    memset(given->labels, 0, given->bytes);
    for (size_t i = 0; i < given->samples; i++) {
        given->labels[i] = -1;
    }
}

void dqg_given_set_sizes(struct dqg_given *given, const struct dqg_hyper *hyper, size_t reduction,
                         size_t unconditional) {
    double height = (double)(given->height * reduction), width = (double)(given->width * reduction);
    for (size_t i = 0; i < given->samples; i++) {
        const double sdxl[] = {height, width, 0, 0, height, width};
        const double refiner[] = {height, width, 0, 0, i < unconditional ? 6 : 2.5};
        const double pixart[] = {height, width, height / width};
        const double *numbers = hyper->size_count == 6   ? sdxl
                                : hyper->size_count == 5 ? refiner
                                : hyper->size_count == 3 ? pixart
                                                         : NULL;
        if (numbers != NULL) {
            memcpy(given->sizes + i * hyper->size_count, numbers, hyper->size_count * sizeof *numbers);
        }
    }
}

/* Planes of another size by the nearest pixel; times as large as the latent. */
static void resample(const struct dqg_given *to, const struct dqg_given *from, float *out, const float *in,
                     size_t planes, size_t times) {
    size_t height = to->height * times, width = to->width * times;
    for (size_t i = 0; i < planes * height * width; i++) {
        size_t row = i / width % height * from->height / to->height, column = i % width * from->width / to->width;
        size_t plane = i / width / height;
        out[i] = in[(plane * from->height * times + row) * from->width * times + column];
    }
}

void dqg_given_copy(struct dqg_given *to, const struct dqg_given *from, const struct dqg_hyper *hyper) {
    size_t samples = to->samples, rows = hyper->context_width > 0 ? samples * to->tokens : 0;
    memcpy(to->labels, from->labels, samples * sizeof *to->labels);
    memcpy(to->context, from->context, rows * hyper->context_width * sizeof *to->context);
    memcpy(to->mask, from->mask, (hyper->masked ? rows : 0) * sizeof *to->mask);
    memcpy(to->pooled, from->pooled, samples * hyper->pooled_width * sizeof *to->pooled);
    memcpy(to->guidance, from->guidance, (hyper->guided ? samples : 0) * sizeof *to->guidance);
    memcpy(to->sizes, from->sizes, samples * hyper->size_count * sizeof *to->sizes);
    memcpy(to->control_scales, from->control_scales,
           (hyper->control_channels > 0 ? samples : 0) * sizeof *to->control_scales);
    resample(to, from, to->extra, from->extra, samples * hyper->extra_channels, 1);
    resample(to, from, to->control, from->control, samples * hyper->control_channels, hyper->control_times);
}

/* ---- checks ---- */

static dqg_status fail_presence(struct dqg_context *context, bool given, const char *name) {
    return dqg_fail(context, DQG_ERROR_ARGUMENT,
                    given ? "inputs->%s: this network takes none, leave it NULL"
                          : "inputs->%s: this network needs it (dqg_model_get_info() says what a model takes)",
                    name);
}

static dqg_status check_presence(struct dqg_context *context, const struct dqg_hyper *hyper, const dqg_inputs *inputs,
                                 bool whole) {
    const struct {
        const char *name;
        bool given, taken;
    } members[] = {
        {"context", inputs->context != NULL, hyper->context_width > 0},
        {"extra", inputs->extra != NULL, hyper->extra_channels > 0},
        {"pooled", inputs->pooled != NULL, hyper->pooled_width > 0},
        {"guidance", inputs->guidance != NULL, hyper->guided},
        {"sizes", inputs->sizes != NULL, hyper->size_count > 0},
    };
    bool control = inputs->control != NULL;
    if ((control || inputs->control_scale != 0) && hyper->control_channels == 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "inputs->control%s: this model has no control network, see dqg_model_attach_control()",
                        control ? "" : "_scale");
    }
    if (!control && whole && inputs->control_scale != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "inputs->control_scale: there is no picture that it is for");
    }
    for (size_t i = 0; i < DQG_COUNT_OF(members); i++) {
        if (members[i].given ? !members[i].taken : members[i].taken && whole) {
            return fail_presence(context, members[i].given, members[i].name);
        }
    }
    return inputs->mask != NULL && !hyper->masked ? fail_presence(context, true, "mask") : DQG_OK;
}

static dqg_status check_labels(struct dqg_context *context, const struct dqg_hyper *hyper, const int32_t *labels,
                               size_t samples) {
    for (size_t i = 0; labels != NULL && i < samples; i++) {
        if (labels[i] < -1 || labels[i] >= (int32_t)hyper->classes) {
            return dqg_fail(context, DQG_ERROR_RANGE, "label %d is outside -1..%lld", (int)labels[i],
                            (long long)hyper->classes - 1);
        }
    }
    return DQG_OK;
}

static dqg_status check_numbers(struct dqg_context *context, const char *name, const double *numbers, size_t count) {
    for (size_t i = 0; numbers != NULL && i < count; i++) {
        if (!(fabs(numbers[i]) <= most_number)) {
            return dqg_fail(context, DQG_ERROR_RANGE, "inputs->%s[%zu]: %g is outside -%g..%g", name, i, numbers[i],
                            most_number, most_number);
        }
    }
    return DQG_OK;
}

static dqg_status check_context(struct dqg_context *context, const struct dqg_hyper *hyper, const dqg_inputs *inputs,
                                size_t samples, size_t tokens) {
    const dqg_tensor_view *view = inputs->context;
    if (view == NULL) {
        return inputs->mask == NULL
                   ? DQG_OK
                   : dqg_fail(context, DQG_ERROR_ARGUMENT, "inputs->mask: without a context there is nothing to hide");
    }
    if (view->struct_size < sizeof *view || view->rank != 3 || view->shape[1] < 1 || view->shape[1] > MOST_TOKENS) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "inputs->context: the shape must be (%zu, tokens, %zu)", samples,
                        hyper->context_width);
    }
    int64_t shape[3] = {(int64_t)samples, tokens > 0 ? (int64_t)tokens : view->shape[1], (int64_t)hyper->context_width};
    DQG_TRY(dqg_view_check(context, view, "inputs->context", 3, shape));
    return inputs->mask != NULL ? dqg_view_check(context, inputs->mask, "inputs->mask", 2, shape) : DQG_OK;
}

dqg_status dqg_inputs_check(struct dqg_context *context, const struct dqg_hyper *hyper, const dqg_inputs *inputs,
                            const struct dqg_inputs_form *form) {
    size_t samples = form->samples;
    const int64_t pooled[2] = {(int64_t)samples, (int64_t)hyper->pooled_width};
    const int64_t extra[4] = {(int64_t)samples, (int64_t)hyper->extra_channels, (int64_t)form->height,
                              (int64_t)form->width};
    const int64_t control[4] = {(int64_t)samples, (int64_t)hyper->control_channels,
                                (int64_t)(form->height * hyper->control_times),
                                (int64_t)(form->width * hyper->control_times)};
    if (inputs->struct_size < sizeof *inputs || inputs->flags != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "inputs: not inputs (use DQG_INIT, then fill it in)");
    }
    DQG_TRY(check_presence(context, hyper, inputs, form->whole));
    DQG_TRY(check_labels(context, hyper, inputs->labels, samples));
    DQG_TRY(check_numbers(context, "guidance", inputs->guidance, samples));
    DQG_TRY(check_numbers(context, "sizes", inputs->sizes, samples * hyper->size_count));
    DQG_TRY(check_numbers(context, "control_scale", &inputs->control_scale, 1));
    DQG_TRY(check_context(context, hyper, inputs, samples, form->tokens));
    if (inputs->control != NULL) {
        DQG_TRY(dqg_view_check(context, inputs->control, "inputs->control", 4, control));
    }
    if (inputs->pooled != NULL) {
        DQG_TRY(dqg_view_check(context, inputs->pooled, "inputs->pooled", 2, pooled));
    }
    return inputs->extra != NULL ? dqg_view_check(context, inputs->extra, "inputs->extra", 4, extra) : DQG_OK;
}

/* ---- copies ---- */

/* Truth values of a mask to what is added to scores, in place. */
static void hide(float *mask, size_t count) {
    for (size_t i = 0; i < count; i++) {
        mask[i] = mask[i] != 0 ? 0 : hidden;
    }
}

void dqg_given_read(struct dqg_given *given, const struct dqg_hyper *hyper, const dqg_inputs *inputs, size_t first,
                    size_t samples) {
    size_t rows = samples * given->tokens, row = first * given->tokens;
    if (inputs->labels != NULL) {
        memcpy(given->labels + first, inputs->labels, samples * sizeof *inputs->labels);
    }
    if (inputs->context != NULL) {
        dqg_view_read(inputs->context, given->context + row * hyper->context_width);
        memset(given->mask + row, 0, (hyper->masked ? rows : 0) * sizeof *given->mask);
    }
    if (inputs->mask != NULL) {
        dqg_view_read(inputs->mask, given->mask + row);
        hide(given->mask + row, rows);
    }
    if (inputs->pooled != NULL) {
        dqg_view_read(inputs->pooled, given->pooled + first * hyper->pooled_width);
    }
    if (inputs->extra != NULL) {
        dqg_view_read(inputs->extra, given->extra + first * hyper->extra_channels * given->height * given->width);
    }
    if (inputs->control != NULL) {
        dqg_view_read(inputs->control, given->control + first * control_floats(given, hyper));
    }
    for (size_t i = first; i < first + samples && (inputs->control != NULL || inputs->control_scale != 0); i++) {
        given->control_scales[i] = inputs->control_scale != 0 ? inputs->control_scale : 1;
    }
    if (inputs->guidance != NULL) {
        memcpy(given->guidance + first, inputs->guidance, samples * sizeof *inputs->guidance);
    }
    if (inputs->sizes != NULL) {
        memcpy(given->sizes + first * hyper->size_count, inputs->sizes,
               samples * hyper->size_count * sizeof *inputs->sizes);
    }
}

void dqg_given_join(const struct dqg_given *given, const struct dqg_hyper *hyper, size_t sample, const float *latent,
                    float *out) {
    size_t plane = given->height * given->width, own = hyper->channels * plane, extra = hyper->extra_channels * plane;
    memcpy(out, latent, own * sizeof *out);
    memcpy(out + own, given->extra + sample * extra, extra * sizeof *out);
}

void dqg_given_io(const struct dqg_given *given, struct dqg_exec_io *io) {
    io->labels = given->labels;
    io->context = given->context;
    io->mask = given->mask;
    io->pooled = given->pooled;
    io->guidance = given->guidance;
    io->sizes = given->sizes;
    io->control = given->control;
    io->control_scales = given->control_scales;
}
