/* SPDX-License-Identifier: MIT */
/*
 * Where a trajectory begins: at an earlier point than the first, from the Gaussian whose moments are those of noised
 * data (Analytic-Init; Zhao et al. 2024, "Identifying and solving conditional image leakage", arXiv 2406.15735, prop.
 * 1).
 */
#include <math.h>

#include "run/run.h"

/* Only what nothing has moved yet is noise. Parts that the host placed at the end are held. */
static dqg_status check_start(const struct dqg_run *run) {
    const struct dqg_sched *sched = &run->scheduler->sched;
    bool fresh = run->evaluations == 0;
    for (size_t i = 0; i < dqg_run_parts(run); i++) {
        int32_t step = dqg_run_clock(run, i).step;
        fresh = fresh && (step == 0 || step == sched->steps);
    }
    if (!fresh) {
        return dqg_fail(run->context, DQG_ERROR_STATE, "the run has begun: only a new one can be started elsewhere");
    }
    if (!(sched->initial_scale > 0)) {
        return dqg_fail(run->context, DQG_ERROR_STATE, "the run's scheduler does not start from noise");
    }
    return DQG_OK;
}

dqg_status dqg_run_start_from(struct dqg_run *run, int32_t index, const float *mean, double variance) {
    DQG_TRY(check_start(run));
    const struct dqg_sched *sched = &run->scheduler->sched;
    const struct dqg_sched_point *point = &sched->points[index];
    double spread = hypot(point->sigma, point->alpha * sqrt(variance));
    float scale = (float)(spread / sched->initial_scale);
    float amplitude = (float)point->alpha;
    size_t parts = dqg_run_parts(run);
    size_t n = run->size / parts;
    for (size_t part = 0; part < parts; part++) {
        if (dqg_run_clock(run, part).step == sched->steps) {
            continue;
        }
        for (size_t i = part * n; i < (part + 1) * n; i++) {
            float centre = mean != NULL ? amplitude * mean[i % run->image_size] : 0;
            run->latent[i] = centre + scale * run->latent[i];
        }
        dqg_run_place(run, part, index);
    }
    dqg_run_settle(run);
    memcpy(run->x0, run->latent, run->size * sizeof(float));
    run->evaluating = false;
    return DQG_OK;
}

void dqg_fit_gaussian(const float *samples, size_t count, size_t n, float *mean, double *variance) {
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0, squares = 0;
        for (size_t k = 0; k < count; k++) {
            sum += samples[k * n + i];
        }
        double middle = sum / (double)count;
        for (size_t k = 0; k < count; k++) {
            double offset = samples[k * n + i] - middle;
            squares += offset * offset;
        }
        mean[i] = (float)middle;
        total += squares / (double)count;
    }
    *variance = total / (double)n;
}
