/* SPDX-License-Identifier: MIT */
/*
 * The start noise that serves all inputs of a conditional model best: every candidate is tried on every pair of a
 * reference set, and given up as soon as it cannot win (Li et al. 2023, arXiv 2305.15357).
 */
#include <math.h>

#include "run/run.h"

static dqg_tensor_view view_of(const struct dqg_run *run, float *data) {
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.data = data;
    view.dtype = DQG_DTYPE_F32;
    view.rank = run->rank;
    memcpy(view.shape, run->shape, (size_t)run->rank * sizeof view.shape[0]);
    return view;
}

static dqg_status stopped(const struct dqg_run *run, const char *callback) {
    return dqg_fail(run->context, DQG_ERROR_CANCELLED, "the %s callback asked to stop", callback);
}

/* One evaluation by the host. */
static dqg_status evaluate(struct dqg_run *run, const dqg_boundary *boundary, int32_t pair) {
    if (atomic_exchange_explicit(&run->cancelled, false, memory_order_acquire)) {
        return dqg_fail(run->context, DQG_ERROR_CANCELLED, "the search was cancelled");
    }
    DQG_TRY(dqg_run_begin(run));
    struct dqg_sched_point point = dqg_sched_request(&run->scheduler->sched, &run->state);
    dqg_request request;
    DQG_INIT(&request);
    request.timestep = point.timestep;
    request.sigma = point.sigma;
    dqg_run_scale_input(run, run->scratch);
    dqg_tensor_view input = view_of(run, run->scratch), output = view_of(run, run->output);
    if (boundary->evaluate(boundary->user, pair, &request, &input, &output) != 0) {
        return stopped(run, "evaluate");
    }
    return dqg_run_feed(run);
}

/* From a candidate's noise to the score of one pair. */
static dqg_status try_pair(struct dqg_run *run, const dqg_boundary *boundary, int64_t seed, int32_t pair,
                           double *score) {
    run->state.step = 0;
    run->evaluations = 0;
    dqg_run_restart_step(run);
    dqg_run_reseed(run, seed);
    if (boundary->prepare != NULL && boundary->prepare(boundary->user, pair) != 0) {
        return stopped(run, "prepare");
    }
    dqg_status status = DQG_OK;
    while (status >= 0 && status != DQG_DONE) {
        status = run->model != NULL ? dqg_run_work(run, -1) : evaluate(run, boundary, pair);
    }
    DQG_TRY(status);
    dqg_tensor_view view = view_of(run, run->latent);
    if (boundary->metric(boundary->user, pair, &view, score) != 0) {
        return stopped(run, "metric");
    }
    if (*score < 0) {
        return dqg_fail(run->context, DQG_ERROR_RANGE,
                        "the metric of pair %d is %g: candidates are given up early because scores are 0 or more",
                        (int)pair, *score);
    }
    if (!(*score < INFINITY)) {
        *score = INFINITY; /* not a number either: the worst */
    }
    return DQG_OK;
}

static dqg_status check(const struct dqg_run *run, const dqg_boundary *boundary) {
    if (boundary->candidates < 1 || boundary->pairs < 1) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "%d candidates and %d pairs: give one or more of both",
                        (int)boundary->candidates, (int)boundary->pairs);
    }
    if (boundary->first_seed > INT64_MAX - boundary->candidates) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "first_seed: %d seeds from %lld on go past the last one",
                        (int)boundary->candidates, (long long)boundary->first_seed);
    }
    if (boundary->metric == NULL || (boundary->evaluate != NULL) != (run->model == NULL)) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT,
                        "metric is needed, and evaluate for runs without a model, but not for those with one");
    }
    if (run->model == NULL && run->scheduler->sched.outputs > 1) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "evaluate gives one output, but this scheduler needs two: find the noise with variance small "
                        "or large, or an interpolant without diffusion");
    }
    if (run->clock_count > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED, "find the noise with a run without time-axes");
    }
    if (run->offset_noise) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED, "the run adds offset-noise, which no seed stands for");
    }
    return DQG_OK;
}

dqg_status dqg_boundary_search(struct dqg_run *run, const dqg_boundary *boundary, dqg_boundary_result *result) {
    struct dqg_work work;
    dqg_boundary_result found = {.seed = boundary->first_seed, .score = INFINITY};
    DQG_TRY(check(run, boundary));
    dqg_work_begin(&work, run->context, DQG_PHASE_SEARCH, (uint64_t)boundary->candidates * (uint64_t)boundary->pairs);
    work.start_us = dqg_now_us();
    for (int32_t k = 0; k < boundary->candidates; k++) {
        double sum = 0;
        for (int32_t pair = 0; pair < boundary->pairs; pair++) {
            double score = 0;
            DQG_TRY(try_pair(run, boundary, boundary->first_seed + k, pair, &score));
            found.evaluations += run->evaluations;
            sum += score;
            if (sum >= found.score) {
                found.stopped += pair + 1 < boundary->pairs;
                break;
            }
            uint64_t done = (uint64_t)k * (uint64_t)boundary->pairs + (uint64_t)pair + 1;
            DQG_TRY(dqg_work_set(&work, done, "candidate"));
        }
        if (sum < found.score) {
            found.score = sum;
            found.seed = boundary->first_seed + k;
        }
    }
    found.score /= boundary->pairs;
    run->state.step = 0;
    run->evaluations = 0;
    dqg_run_restart_step(run);
    dqg_run_reseed(run, found.seed);
    *result = found;
    return DQG_OK;
}
