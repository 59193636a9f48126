/* SPDX-License-Identifier: MIT */
/*
 * The scheduler alone, with the host's own denoiser: samples of a distribution on a line (one third around -2, two
 * thirds around 1), for which the best denoiser is a formula. Usage: denoiser [STEPS]. Prints a histogram; fails when
 * the shares or the places come out wrong.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdqgen.h"

enum { SAMPLES = 2000, BINS = 32 };

static const double weight[2] = {1.0 / 3, 2.0 / 3}, mean[2] = {-2, 1};
static const double deviation = 0.25;

/*
 * The velocity E[noise - x0 | x] at x = (1 - s) x0 + s noise. For each component x is normal with variance
 * v = (1 - s)^2 deviation^2 + s^2, which gives its posterior share and the means of x0 and noise.
 */
static double velocity(double x, double s) {
    double a = 1 - s, v = a * a * deviation * deviation + s * s;
    double shares = 0, sum = 0;
    for (int k = 0; k < 2; k++) {
        double d = x - a * mean[k];
        double share = weight[k] * exp(-0.5 * d * d / v);
        double x0 = mean[k] + a * deviation * deviation * d / v;
        double noise = s * d / v;
        sum += share * (noise - x0);
        shares += share;
    }
    return shares > 0 ? sum / shares : 0;
}

/* Drive the run to its end: ask what to evaluate, evaluate, hand the result in. */
static dqg_status sample(dqg_run *run, dqg_tensor_view *view, float *values) {
    dqg_request request;
    DQG_INIT(&request);
    dqg_status status = DQG_OK;
    while (status >= 0 && status != DQG_DONE) {
        status = dqg_run_request(run, &request, view);
        for (int i = 0; i < SAMPLES && status == DQG_OK; i++) {
            values[i] = (float)velocity(values[i], request.sigma);
        }
        if (status == DQG_OK) {
            status = dqg_run_submit(run, view);
        }
    }
    return status < 0 ? status : dqg_run_read(run, DQG_SOURCE_LATENT, view);
}

/* A histogram from -4 to 4, and the share and mean of the left hump. */
static int show(const float *values) {
    int bins[BINS] = {0}, left = 0;
    double left_sum = 0;
    for (int i = 0; i < SAMPLES; i++) {
        int bin = (int)((values[i] + 4) / 8 * BINS);
        bins[bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin]++;
        left += values[i] < -0.5;
        left_sum += values[i] < -0.5 ? values[i] : 0;
    }
    for (int b = 0; b < BINS; b++) {
        printf("%6.2f ", -4 + (b + 0.5) * 8 / BINS);
        for (int i = 0; i < bins[b]; i += 10) {
            putchar('#');
        }
        putchar('\n');
    }
    double share = (double)left / SAMPLES, place = left > 0 ? left_sum / left : 0;
    printf("left hump: share %.3f (1/3 expected), mean %.3f (-2 expected)\n", share, place);
    return fabs(share - 1.0 / 3) < 0.05 && fabs(place + 2) < 0.1 ? 0 : 1;
}

int main(int argc, char **argv) {
    static float values[SAMPLES];
    const int64_t shape[2] = {SAMPLES, 1};
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.data = values;
    view.dtype = DQG_DTYPE_F32;
    view.rank = 2;
    view.shape[0] = SAMPLES;
    view.shape[1] = 1;

    dqg_context *context = NULL;
    dqg_options *options = NULL;
    dqg_scheduler *scheduler = NULL;
    dqg_run *run = NULL;
    dqg_status status = dqg_context_create(NULL, &context);
    if (status >= 0 && (status = dqg_options_create(context, DQG_OPTIONS_SCHEDULER, &options)) >= 0 &&
        (status = dqg_options_parse(options, "steps", argc > 1 ? argv[1] : "20")) >= 0 &&
        (status = dqg_options_parse(options, "solver", "heun")) >= 0 &&
        (status = dqg_scheduler_create(context, options, &scheduler)) >= 0 &&
        (status = dqg_run_create_custom(context, scheduler, shape, 2, NULL, &run)) >= 0) {
        status = sample(run, &view, values);
    }
    if (status < 0) {
        fprintf(stderr, "denoiser: %s\n", context != NULL ? dqg_context_error(context) : dqg_status_text(status));
    }
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(options);
    dqg_context_destroy(context);
    return status < 0 ? 1 : show(values);
}
