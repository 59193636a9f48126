/* SPDX-License-Identifier: MIT */
/*
 * A host with a network of its own, through the public API: it asks a run what to evaluate, answers as a network with
 * one of the denoisers of analytic.h would, part by part at each part's own noise level, and hands the answer in.
 */
#ifndef TESTS_HOST_RUN_H
#define TESTS_HOST_RUN_H

#include "analytic.h"
#include "check.h"

enum host_path { HOST_FLOW, HOST_VP, HOST_K }; /* flow velocity; epsilon in VP and in k coordinates */

struct host {
    dqg_run *run;
    int64_t shape[4];
    int32_t rank;
    enum host_path path;
    analytic_x0_fn denoiser; /* NULL: the output is half of the input and 0.1 */
    const void *model;
};

/* A scheduler of "solver schedule spacing" and steps, eta the solver's own; fails the test where it cannot be made. */
dqg_scheduler *host_scheduler(dqg_context *context, const char *solver, const char *schedule, const char *spacing,
                              int32_t steps);

/* A run of host->shape with so many time axes. */
void host_start(struct host *host, dqg_context *context, dqg_scheduler *scheduler, int64_t seed, int32_t time_axes);

/* One evaluation; the status of dqg_run_request() when the run is finished, else that of dqg_run_submit(). */
dqg_status host_evaluate(const struct host *host);

/* Steps until so many are finished; all: -1. */
void host_advance(const struct host *host, int32_t steps);

void host_read(const struct host *host, int32_t source, float *out);
void host_write(const struct host *host, const float *x);
size_t host_size(const struct host *host);

/* The i-th solver of the option table, or false. */
bool host_solver(int32_t index, char name[32]);

#endif
