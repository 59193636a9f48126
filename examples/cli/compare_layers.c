/* SPDX-License-Identifier: MIT */
/*
 * dqgen compare, single evaluations: both networks see the same noised samples at t = 0.9, 0.5 and 0.1; the tap of
 * dqg_model_denoise() hands over the result of every operator. The float network's results are kept, and those of the
 * quantized one are compared with the operator of the same name. Errors from earlier operators are part of later ones.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

static const double probe_times[COMPARE_TIMES] = {0.9, 0.5, 0.1};

/* What the float network's operators produced in one evaluation. */
struct capture {
    struct comparison *comparison;
    int time;
    float **values; /* one for each of comparison->layers */
    size_t *sizes;
    size_t count;
    size_t next; /* where the search for the next partner begins: operators come in nearly the same order */
    bool failed;
};

static void capture_clear(struct capture *capture) {
    for (size_t i = 0; i < capture->count; i++) {
        free(capture->values[i]);
    }
    capture->count = 0;
    capture->next = 0;
}

/* Copy a view into contiguous floats; NULL when it is not made of floats or memory is out. */
static float *copy_view(const dqg_tensor_view *view, size_t *size) {
    size_t count = 1;
    bool contiguous = true;
    for (int32_t d = 0; d < view->rank; d++) {
        count *= (size_t)view->shape[d];
        contiguous &= view->strides[d] == 0;
    }
    float *values = view->dtype == DQG_DTYPE_F32 && count > 0 ? malloc(count * sizeof(float)) : NULL;
    *size = count;
    if (values == NULL) {
        return NULL;
    }
    if (contiguous) {
        memcpy(values, view->data, count * sizeof(float));
        return values;
    }
    int64_t index[DQG_MAX_RANK] = {0};
    for (size_t i = 0; i < count; i++) {
        const char *element = view->data;
        for (int32_t d = 0; d < view->rank; d++) {
            element += index[d] * view->strides[d];
        }
        memcpy(&values[i], element, sizeof(float));
        for (int32_t d = view->rank - 1; d >= 0 && ++index[d] == view->shape[d]; d--) {
            index[d] = 0;
        }
    }
    return values;
}

/* At the first noise level every operator of the float network becomes a line of the table. */
static bool add_layer(struct capture *capture, const char *name) {
    struct comparison *comparison = capture->comparison;
    size_t count = comparison->layer_count + 1;
    struct layer_error *layers = realloc(comparison->layers, count * sizeof(*layers));
    comparison->layers = layers != NULL ? layers : comparison->layers;
    float **values = realloc(capture->values, count * sizeof(*values));
    capture->values = values != NULL ? values : capture->values;
    size_t *sizes = realloc(capture->sizes, count * sizeof(*sizes));
    capture->sizes = sizes != NULL ? sizes : capture->sizes;
    char *copy = malloc(strlen(name) + 1);
    if (layers == NULL || values == NULL || sizes == NULL || copy == NULL) {
        free(copy);
        capture->failed = true;
        return false;
    }
    strcpy(copy, name);
    layers[comparison->layer_count++] = (struct layer_error){.name = copy};
    return true;
}

static int32_t tap_float(void *user, const char *name, const dqg_tensor_view *output) {
    struct capture *capture = user;
    if (capture->count == capture->comparison->layer_count && !add_layer(capture, name)) {
        return 1;
    }
    capture->values[capture->count] = copy_view(output, &capture->sizes[capture->count]);
    capture->count++;
    return cli_interrupted();
}

static int32_t tap_quantized(void *user, const char *name, const dqg_tensor_view *output) {
    struct capture *capture = user;
    struct comparison *comparison = capture->comparison;
    size_t size = 0;
    float *values = copy_view(output, &size);
    bool matched = false;
    for (size_t i = 0; i < capture->count && !matched && values != NULL; i++) {
        size_t at = (capture->next + i) % capture->count;
        struct layer_error *layer = &comparison->layers[at];
        if (strcmp(layer->name, name) == 0 && capture->values[at] != NULL && capture->sizes[at] == size) {
            error_add(&layer->errors[capture->time], capture->values[at], values, size);
            capture->next = at + 1;
            matched = true;
        }
    }
    if (!matched && capture->time == 0) {
        comparison->unmatched++;
    }
    free(values);
    return cli_interrupted();
}

/* A schedule that visits the probe times: the run's own, without its shift. */
static dqg_status probe_scheduler(struct cli *cli, const struct comparison *comparison, dqg_scheduler **scheduler) {
    static const int32_t texts[] = {DQG_SCHEDULER_SCHEDULE, DQG_SCHEDULER_PREDICTION};
    static const int32_t floats[] = {DQG_SCHEDULER_TIMESTEP_SCALE, DQG_SCHEDULER_BETA_START, DQG_SCHEDULER_BETA_END};
    const dqg_options *from = comparison->sampling.scheduler_options;
    dqg_options *options;
    dqg_status status = dqg_options_create(cli->context, DQG_OPTIONS_SCHEDULER, &options);
    if (status < 0) {
        return status;
    }
    const char *text = "";
    for (size_t i = COUNT_OF(texts); i-- > 0 && status >= 0;) {
        status = dqg_options_get_text(from, texts[i], &text);
        status = status < 0 ? status : dqg_options_set_text(options, texts[i], text);
    }
    bool flow = text != NULL && strcmp(text, "flow") == 0; /* the schedule: read last */
    for (size_t i = 0; i < COUNT_OF(floats) && status >= 0; i++) {
        double value;
        status = dqg_options_get_float(from, floats[i], &value);
        status = status < 0 ? status : dqg_options_set_float(options, floats[i], value);
    }
    int64_t train_steps = 1000;
    dqg_options_get_int(from, DQG_SCHEDULER_TRAIN_TIMESTEPS, &train_steps);
    double points[COMPARE_TIMES + 1] = {0};
    for (int i = 0; i < COMPARE_TIMES; i++) {
        points[i] = flow ? probe_times[i] : floor(probe_times[i] * (double)train_steps);
    }
    if (status >= 0 && flow) {
        status = dqg_options_set_floats(options, DQG_SCHEDULER_SIGMAS, points, COMPARE_TIMES + 1);
    } else if (status >= 0) {
        dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, "ddim"); /* keeps the sample in the trained scale */
        dqg_options_set_int(options, DQG_SCHEDULER_TRAIN_TIMESTEPS, train_steps);
        status = dqg_options_set_floats(options, DQG_SCHEDULER_TIMESTEPS, points, COMPARE_TIMES);
    }
    status = status < 0 ? status : dqg_scheduler_create(cli->context, options, scheduler);
    dqg_options_destroy(options);
    return status;
}

/* Buffers of one comparison of evaluations. */
struct probe {
    dqg_scheduler *scheduler;
    float *input;
    float *outputs[2];
    struct compare_inputs inputs;
};

static dqg_status evaluate_at(struct cli *cli, struct comparison *comparison, struct probe *probe,
                              struct capture *capture) {
    int32_t n = comparison->samples;
    size_t size = (size_t)n * comparison->latent_size;
    dqg_tensor_view input = compare_view(comparison, probe->input, n);
    dqg_tensor_view clean = compare_view(comparison, comparison->finished, n);
    dqg_tensor_view noise = compare_view(comparison, comparison->noise, n);
    dqg_point point;
    DQG_INIT(&point);
    dqg_status status = dqg_scheduler_point(probe->scheduler, capture->time, &point);
    if (status >= 0) {
        status = dqg_scheduler_add_noise(cli->context, probe->scheduler, capture->time, &clean, &noise, &input);
    }
    double timesteps[COMPARE_SAMPLES];
    for (int32_t i = 0; i < n; i++) {
        timesteps[i] = point.timestep;
    }
    for (size_t i = 0; i < size; i++) {
        probe->input[i] *= (float)point.input_scale;
    }
    for (int i = 0; i < 2 && status >= 0; i++) {
        dqg_tensor_view output = compare_view(comparison, probe->outputs[i], n);
        status = dqg_model_denoise(cli->context, comparison->models[i], &input, timesteps, &probe->inputs.inputs,
                                   i == 0 ? tap_float : tap_quantized, capture, &output);
    }
    comparison->times[capture->time] = point.sigma;
    if (status >= 0) {
        error_add(&comparison->evaluations[capture->time], probe->outputs[0], probe->outputs[1], size);
    }
    return status;
}

int compare_layers(struct cli *cli, struct comparison *comparison) {
    struct probe probe = {0};
    struct capture capture = {.comparison = comparison};
    size_t size = (size_t)comparison->samples * comparison->latent_size;
    probe.input = calloc(size, sizeof(float));
    probe.outputs[0] = calloc(size, sizeof(float));
    probe.outputs[1] = calloc(size, sizeof(float));
    capture.failed = probe.input == NULL || probe.outputs[0] == NULL || probe.outputs[1] == NULL;
    dqg_status status = capture.failed ? DQG_ERROR_MEMORY : probe_scheduler(cli, comparison, &probe.scheduler);
    status = status < 0 ? status : compare_inputs_make(cli, comparison, &probe.inputs);
    progress_begin(&cli->progress, "comparing layers");
    for (int time = 0; time < COMPARE_TIMES && status >= 0; time++) {
        progress_draw(&cli->progress, (double)time / COMPARE_TIMES, "");
        capture.time = time;
        status = evaluate_at(cli, comparison, &probe, &capture);
        capture_clear(&capture);
    }
    progress_end(&cli->progress);
    dqg_scheduler_release(probe.scheduler);
    compare_inputs_free(&probe.inputs);
    free(capture.values);
    free(capture.sizes);
    free(probe.input);
    free(probe.outputs[0]);
    free(probe.outputs[1]);
    if (capture.failed) {
        return cli_error(cli, EXIT_FAILED, "out of memory");
    }
    return status < 0 ? cli_library_error(cli, status, "compare the networks") : EXIT_OK;
}
