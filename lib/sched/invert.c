/* SPDX-License-Identifier: MIT */
/*
 * Inversion (DDIM: Song et al. 2020, arXiv 2010.02502, section 4.3; rectified flow: arXiv 2209.03003): the same points
 * in the other order, so that the path leads from a clean sample to the noise it would be made from. Moves of one-step
 * solvers are the same formulas whichever end has more noise.
 */
#include <math.h>

#include "sched/pieces.h"

/* The first point of an inverse plan may have sigma 0; there not every output tells the noise. */
static bool tells_noise(const struct dqg_sched *sched, const struct dqg_sched_point *point) {
    struct dqg_estimate estimate;
    dqg_predictions[sched->prediction].estimate(point, &estimate);
    bool timeless = sched->prediction == DQG_PREDICT_EDM && point->sigma == 0; /* c_noise is infinite there */
    return !timeless && isfinite(estimate.eps_x) && isfinite(estimate.eps_output);
}

static dqg_status check_inversion(struct dqg_context *context, const struct dqg_sched *sched) {
    const char *solver = sched->solver->piece.name;
    if (!sched->solver->both_ways) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: solver '%s' does not go from less noise to more: invert euler, heun or ddim",
                        solver);
    }
    if (dqg_sched_noisy(sched)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: steps with fresh noise have no inverse: set the eta of '%s' to 0", solver);
    }
    if (!tells_noise(sched, &sched->points[sched->steps])) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: prediction '%s' says nothing about the noise of a sample that has none; "
                        "invert plans whose last sigma is above 0, or another prediction",
                        dqg_predictions[sched->prediction].piece.name);
    }
    return DQG_OK;
}

dqg_status dqg_sched_invert(struct dqg_context *context, const struct dqg_sched *sched, struct dqg_sched *inverse) {
    DQG_TRY(check_inversion(context, sched));
    size_t size = dqg_sched_point_count(sched->solver, sched->steps, false) * sizeof(sched->points[0]);
    struct dqg_sched_point *points = dqg_malloc(&context->alloc, size);
    if (points == NULL) {
        return dqg_fail_memory(context, "scheduler", size);
    }
    for (int32_t i = 0; i <= sched->steps; i++) {
        points[i] = sched->points[sched->steps - i];
    }
    *inverse = *sched;
    inverse->points = points;
    inverse->levels.table = NULL; /* the other's; none of these solvers looks into it */
    inverse->lml = (struct dqg_lml){0};
    inverse->initial_scale = points[0].sigma;
    inverse->identity = dqg_sched_identity(inverse);
    return DQG_OK;
}
