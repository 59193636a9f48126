/* SPDX-License-Identifier: MIT */
/* Public calls that turn a run off the plain way from the first point to the last. lib/run does the work. */
#include "api/api.h"
#include "run/run.h"
#include "tensor/format.h"
#include "tensor/view.h"

static dqg_status check_count(dqg_run *run, int32_t count) {
    if (count < 0 || (size_t)count != dqg_run_parts(run)) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT, "count: %d, but the run has %zu times", (int)count,
                        dqg_run_parts(run));
    }
    return DQG_OK;
}

static dqg_status check_index(dqg_run *run, const char *name, int32_t index, int32_t steps) {
    if (index < 0 || index > steps) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "%s: %d is outside 0..%d", name, (int)index, (int)steps);
    }
    return DQG_OK;
}

int32_t dqg_run_times(const dqg_run *run) {
    return run != NULL ? (int32_t)dqg_run_parts(run) : 0;
}

dqg_status dqg_run_set_steps(dqg_run *run, const int32_t *steps, int32_t count) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_search_refuse(run));
    DQG_TRY(dqg_need(run->context, steps, "steps"));
    DQG_TRY(check_count(run, count));
    for (int32_t i = 0; i < count; i++) {
        DQG_TRY(check_index(run, "steps", steps[i], run->scheduler->sched.steps));
    }
    for (int32_t i = 0; i < count; i++) {
        if (steps[i] != dqg_run_clock(run, (size_t)i).step) {
            dqg_run_place(run, (size_t)i, steps[i]);
        }
    }
    dqg_run_settle(run);
    run->evaluating = false;
    return DQG_OK;
}

dqg_status dqg_run_get_times(const dqg_run *run, int32_t *steps, double *timesteps, double *sigmas, int32_t count) {
    if (run == NULL || count < 0 || (size_t)count != dqg_run_parts(run)) {
        return DQG_ERROR_ARGUMENT;
    }
    for (int32_t i = 0; i < count; i++) {
        struct dqg_sched_point point = dqg_run_point(run, (size_t)i);
        if (steps != NULL) {
            steps[i] = dqg_run_clock(run, (size_t)i).step;
        }
        if (timesteps != NULL) {
            timesteps[i] = point.timestep;
        }
        if (sigmas != NULL) {
            sigmas[i] = point.sigma;
        }
    }
    return DQG_OK;
}

/* ---- another start ---- */

dqg_status dqg_run_start(dqg_run *run, int32_t index, const dqg_tensor_view *mean, double variance) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    struct dqg_context *context = run->context;
    dqg_error_clear(context);
    DQG_TRY(dqg_search_refuse(run));
    DQG_TRY(check_index(run, "index", index, run->scheduler->sched.steps));
    if (!(variance >= 0 && variance <= 1e12)) {
        return dqg_fail(context, DQG_ERROR_RANGE, "variance: %g is outside 0..1e12", variance);
    }
    if (mean != NULL) {
        DQG_TRY(dqg_view_check(context, mean, "mean", run->rank - 1, run->shape + 1));
        dqg_view_read(mean, run->output); /* free until the first evaluation */
    }
    return dqg_run_start_from(run, index, mean != NULL ? run->output : NULL, variance);
}

dqg_status dqg_run_fit_start(dqg_context *context, const dqg_tensor_view *samples, const dqg_tensor_view *mean,
                             double *variance) {
    if (variance != NULL) {
        *variance = 0;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, samples, "samples"));
    DQG_TRY(dqg_need(context, variance, "variance"));
    uint64_t size = 0;
    if (samples->struct_size < sizeof *samples || samples->rank < 1 || samples->rank > DQG_MAX_RANK ||
        !dqg_shape_count(samples->rank, samples->shape, &size) || size == 0 || size > SIZE_MAX / 16) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "samples: not a view of shape (n, ...) with elements");
    }
    DQG_TRY(dqg_view_check(context, samples, "samples", samples->rank, samples->shape));
    DQG_TRY(dqg_view_check(context, mean, "mean", samples->rank - 1, samples->shape + 1));
    size_t count = (size_t)samples->shape[0];
    size_t n = (size_t)size / count;
    size_t bytes = ((size_t)size + n) * sizeof(float);
    float *copy = dqg_malloc(&context->alloc, bytes);
    if (copy == NULL) {
        return dqg_fail_memory(context, "a copy of the samples", bytes);
    }
    dqg_view_read(samples, copy);
    dqg_fit_gaussian(copy, count, n, copy + size, variance);
    dqg_view_write(mean, copy + size);
    dqg_free(&context->alloc, copy, bytes);
    return DQG_OK;
}

/* ---- other ways on ---- */

dqg_status dqg_run_set_scheduler(dqg_run *run, dqg_scheduler *scheduler, int32_t index) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_search_refuse(run));
    DQG_TRY(dqg_need(run->context, scheduler, "scheduler"));
    if (index != DQG_NEAREST_POINT) {
        DQG_TRY(check_index(run, "index", index, scheduler->sched.steps));
    }
    return dqg_run_use_scheduler(run, scheduler, index);
}

dqg_status dqg_run_fork(dqg_run *run, dqg_run **copy) {
    if (copy != NULL) {
        *copy = NULL;
    }
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_need(run->context, copy, "copy"));
    DQG_TRY(dqg_search_refuse(run));
    return dqg_run_fork_(run, copy);
}
