/* SPDX-License-Identifier: MIT */
/*
 * Deterministic one-step solvers. Along a path x = alpha x0 + sigma eps with x0 and eps held still, a move to another
 * point is x' = alpha' x0 + sigma' eps. In k coordinates (alpha = 1) and on flow (alpha = 1 - sigma) alpha is linear in
 * sigma, so that this is the straight line of Euler's rule and x' - x = h dx/dsigma; Heun relies on it.
 */
#include "sched/pieces.h"

/* With eta = 0 the split is none. */
dqg_status dqg_solver_euler_feed(const struct dqg_step *step) {
    if (step->lml != NULL) { /* corrects the velocity */
        dqg_step_slope(step, step->scratch);
        dqg_lml_add(step, 1, step->to->sigma - step->from->sigma);
        return DQG_OK;
    }
    struct dqg_split split = dqg_ancestral_split(step->from, step->to, step->eta);
    dqg_step_combine(step, step->x, split.scale * split.down.alpha, split.scale * split.down.sigma);
    dqg_step_noise(step, 0, split.fresh);
    return DQG_OK;
}

/*
 * Euler's step, then the average of the slopes at both of its ends. history[0] holds the start moved by half the first
 * slope; meanwhile x is Euler's result, which the network sees.
 */
dqg_status dqg_solver_heun_feed(const struct dqg_step *step) {
    double half_alpha = 0.5 * (step->to->alpha - step->from->alpha);
    double half_sigma = 0.5 * (step->to->sigma - step->from->sigma);
    dqg_step_combine(step, step->scratch, half_alpha, half_sigma);
    if (step->phase == 0) {
        dqg_combine(step->history[0], 1, step->x, 1, step->scratch, step->n);
        (void)dqg_solver_euler_feed(step);
        return DQG_PENDING;
    }
    dqg_combine(step->x, 1, step->history[0], 1, step->scratch, step->n);
    return DQG_OK;
}
