/* SPDX-License-Identifier: MIT */
/*
 * Search by reward: more evaluations of the network for one picture, chosen by what the host likes - here red. Usage:
 * search MODEL [CLASS [BUDGET]]. Prints the rewards of a plain run and of the search; fails when it found nothing
 * better.
 */
#include <stdio.h>
#include <stdlib.h>

#include "libdqgen.h"

/* How much redder than the rest, over the whole picture. x0: (1, channels, height, width), the first three being red,
 * green and blue from -1 to 1. A host whose latent is no picture decodes it first. */
static int32_t redness(void *user, const dqg_tensor_view *x0, double *reward) {
    int64_t pixels = x0->shape[2] * x0->shape[3];
    const float *red = x0->data, *green = red + pixels, *blue = green + pixels;
    int64_t *calls = user;
    *reward = 0;
    for (int64_t i = 0; i < pixels; i++) {
        *reward += (red[i] - 0.5 * (green[i] + blue[i])) / (double)pixels;
    }
    *calls += 1;
    return 0;
}

/* One run to its end, with a search where there are options for one. */
static dqg_status generate(dqg_context *context, dqg_model *model, const dqg_options *options,
                           const dqg_options *search, int64_t *calls, double *reward) {
    dqg_run *run = NULL;
    dqg_model_info info = {.struct_size = sizeof(info)};
    dqg_tensor_view view = {.struct_size = sizeof(view), .dtype = DQG_DTYPE_F32, .rank = 4};
    dqg_model_get_info(model, &info);
    view.shape[0] = 1;
    view.shape[1] = info.channels;
    view.shape[2] = info.height;
    view.shape[3] = info.width;
    view.data = calloc((size_t)(info.channels * info.height) * (size_t)info.width, sizeof(float));
    dqg_status status = view.data != NULL ? dqg_run_create(context, model, NULL, options, &run) : DQG_ERROR_MEMORY;
    if (status >= 0 && search != NULL) {
        status = dqg_run_search(run, search, redness, calls);
    }
    while (status >= 0 && status != DQG_DONE) {
        status = dqg_run_step(run); /* one evaluation in a search, one step without */
    }
    if (status >= 0 && (status = dqg_run_read(run, DQG_SOURCE_LATENT, &view)) >= 0) {
        redness(calls, &view, reward);
    }
    free(view.data);
    dqg_run_destroy(run);
    return status;
}

int main(int argc, char **argv) {
    dqg_context *context = NULL;
    dqg_model *model = NULL;
    dqg_options *options = NULL, *search = NULL;
    double plain = 0, found = 0;
    int64_t calls = 0;
    dqg_status status = dqg_context_create(NULL, &context);
    if (status >= 0 && (status = dqg_model_load(context, argc > 1 ? argv[1] : "", NULL, &model)) >= 0 &&
        (status = dqg_options_create(context, DQG_OPTIONS_RUN, &options)) >= 0 &&
        (status = dqg_options_create(context, DQG_OPTIONS_SEARCH, &search)) >= 0 &&
        (status = dqg_options_parse(search, "budget", argc > 3 ? argv[3] : "200")) >= 0 &&
        (status = dqg_options_parse(search, "interpolant", "linear")) >= 0 &&
        (status = dqg_options_set_int(search, DQG_SEARCH_FINISH, 10)) >= 0) {
        dqg_options_set_ints(options, DQG_RUN_CLASSES,
                             (int64_t[]){argc > 2 ? dqg_model_class_find(model, argv[2]) : -1}, 1);
        status = generate(context, model, options, NULL, &calls, &plain);
        status = status >= 0 ? generate(context, model, options, search, &calls, &found) : status;
    }
    if (status < 0) {
        fprintf(stderr, "search: %s\n", context != NULL ? dqg_context_error(context) : dqg_status_text(status));
    } else {
        printf("reward %.3f as it comes, %.3f after a search that asked %lld times\n", plain, found,
               (long long)calls - 2);
    }
    dqg_options_destroy(search);
    dqg_options_destroy(options);
    dqg_model_release(model);
    dqg_context_destroy(context);
    return status < 0 || found <= plain;
}
