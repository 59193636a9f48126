/* SPDX-License-Identifier: MIT */
/*
 * A host that owns the loop: one slice of 4 ms a frame, a preview after each step, and two ways to stop - a time budget
 * for the whole picture, and Ctrl-C. Usage: host_step MODEL [CLASS [SECONDS]]. The picture goes to standard output as
 * text.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "libdqgen.h"

static dqg_run *run; /* for the signal handler: dqg_run_cancel() may be called from anywhere while the run exists */

static void on_interrupt(int number) {
    (void)number;
    dqg_run_cancel(run);
}

/* What a game would upload as a texture, printed as letters: opaque pixels by brightness, transparent ones as spaces.
 */
static void show(const dqg_model_info *info, int32_t source) {
    unsigned char *pixels = calloc((size_t)info->width * (size_t)info->height, 4);
    dqg_image_view image = {.struct_size = sizeof(image), .data = pixels, .channels = 4, .dtype = DQG_DTYPE_U8};
    image.width = info->width;
    image.height = info->height;
    if (pixels != NULL && dqg_run_read_image(run, 0, source, &image) == DQG_OK) {
        for (int32_t i = 0; i < info->width * info->height; i++) {
            const unsigned char *p = pixels + 4 * i;
            char letter = p[3] < 128 ? ' ' : ".:-=+*%@"[(p[0] + 2 * p[1] + p[2]) / 128];
            printf("%c%c%s", letter, letter, i % info->width == info->width - 1 ? "\n" : "");
        }
    }
    free(pixels);
}

int main(int argc, char **argv) {
    dqg_context *context = NULL;
    dqg_model *model = NULL;
    dqg_options *options = NULL;
    dqg_model_info info = {.struct_size = sizeof(info)};
    dqg_run_info at = {.struct_size = sizeof(at)};
    double seconds = argc > 3 ? atof(argv[3]) : 60;
    dqg_status status = dqg_context_create(NULL, &context);
    if (status >= 0 && (status = dqg_model_load(context, argc > 1 ? argv[1] : "", NULL, &model)) >= 0 &&
        (status = dqg_options_create(context, DQG_OPTIONS_RUN, &options)) >= 0) {
        dqg_model_get_info(model, &info);
        dqg_options_set_ints(options, DQG_RUN_CLASSES,
                             (int64_t[]){argc > 2 ? dqg_model_class_find(model, argv[2]) : -1}, 1);
        dqg_options_set_float(options, DQG_RUN_GUIDANCE, argc > 2 ? 3.0 : 1.0);
        status = dqg_run_create(context, model, NULL, options, &run);
    }
    signal(SIGINT, on_interrupt);
    time_t start = time(NULL);
    for (long frame = 1; status >= 0 && status != DQG_DONE; frame++) {
        status = dqg_run_advance(run, 4000); /* then the game would draw its frame */
        if (status == DQG_OK) {
            dqg_run_get_info(run, &at);
            fprintf(stderr, "frame %ld: step %d of %d\n", frame, (int)at.step, (int)at.steps);
            if (at.step == at.steps / 2) {
                show(&info, DQG_SOURCE_X0); /* half way: what it is going to be */
            }
        }
        if (difftime(time(NULL), start) >= seconds) {
            dqg_run_cancel(run); /* the next call returns DQG_ERROR_CANCELLED; the run could still go on after it */
        }
    }
    if (status < 0 && status != DQG_ERROR_CANCELLED) {
        fprintf(stderr, "host_step: %s\n", context != NULL ? dqg_context_error(context) : dqg_status_text(status));
    } else {
        show(&info, status == DQG_DONE ? DQG_SOURCE_LATENT : DQG_SOURCE_X0); /* the best there is */
    }
    signal(SIGINT, SIG_DFL); /* before the run that it cancels is gone */
    dqg_run_destroy(run);
    dqg_options_destroy(options);
    dqg_model_release(model);
    dqg_context_destroy(context);
    return status == DQG_DONE || status == DQG_ERROR_CANCELLED ? 0 : 1;
}
