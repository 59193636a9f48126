/* SPDX-License-Identifier: MIT */
/*
 * What a step costs without a network: the host's request and submit on a run of its own, for every solver and the
 * latents of a sprite (4 x 32 x 32) and of an image of 512 x 512 pixels (4 x 64 x 64).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libdqgen.h"

enum { STEPS = 200, ROUNDS = 9, LARGEST = 4 * 64 * 64 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* All steps; the network's output is whatever the buffer held before. */
static double time_run(dqg_run *run, const dqg_tensor_view *input, const dqg_tensor_view *output) {
    dqg_request request;
    DQG_INIT(&request);
    double start = now_us();
    dqg_status status = DQG_OK;
    while (status == DQG_OK || status == DQG_PENDING) {
        dqg_run_request(run, &request, input);
        status = dqg_run_submit(run, output);
    }
    return status == DQG_DONE ? (now_us() - start) / STEPS : -1;
}

static double best_step_us(dqg_context *context, const char *solver, int64_t side) {
    static float input[LARGEST], output[LARGEST];
    const int64_t shape[4] = {1, 4, side, side};
    dqg_options *options = NULL;
    dqg_scheduler *scheduler = NULL;
    dqg_run *run = NULL;
    dqg_tensor_view in, out;
    double best = 1e9;
    DQG_INIT(&in);
    in.data = input;
    in.dtype = DQG_DTYPE_F32;
    in.rank = 4;
    memcpy(in.shape, shape, sizeof shape);
    out = in;
    out.data = output;
    dqg_options_create(context, DQG_OPTIONS_SCHEDULER, &options);
    dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, solver);
    dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "scaled-linear");
    dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS);
    if (dqg_scheduler_create(context, options, &scheduler) < 0 ||
        dqg_run_create_custom(context, scheduler, shape, 4, NULL, &run) < 0) {
        fprintf(stderr, "%s: %s\n", solver, dqg_context_error(context));
        best = -1;
    }
    for (int i = 0; best >= 0 && i < ROUNDS; i++) {
        dqg_run_seek(run, 0);
        double step_us = time_run(run, &in, &out);
        best = step_us < best ? step_us : best;
    }
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(options);
    return best;
}

int main(void) {
    dqg_context *context;
    dqg_piece_info solver;
    DQG_INIT(&solver);
    if (dqg_context_create(NULL, &context) < 0) {
        return EXIT_FAILURE;
    }
    printf("microseconds a step%*s 4x32x32   4x64x64\n", 5, "");
    for (int32_t i = 0; dqg_scheduler_piece_at(DQG_SCHEDULER_SOLVER, i, &solver) == DQG_OK; i++) {
        printf("%-22s %9.1f %9.1f\n", solver.name, best_step_us(context, solver.name, 32),
               best_step_us(context, solver.name, 64));
    }
    dqg_context_destroy(context);
    return EXIT_SUCCESS;
}
