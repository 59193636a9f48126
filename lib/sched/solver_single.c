/* SPDX-License-Identifier: MIT */
/*
 * Solvers of second order that evaluate a step's start and a point within it: DPM-Solver-2, the midpoint rule,
 * DPM-Solver++ 2S and DPM-Solver++ SDE. history[0] holds the sample at the start; meanwhile x is the sample at the
 * middle, which the network sees. With eta > 0 each goes to the ancestral split's lower point and adds noise.
 */
#include "sched/pieces.h"

#include <math.h>

double dqg_even_middle(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                       const struct dqg_sched_point *to, double eta, int32_t phase) {
    (void)solver;
    (void)eta;
    (void)phase;
    return 0.5 * (from->sigma + to->sigma);
}

/* Half way in ln(alpha / sigma); a step that begins without signal counts as one of a length that networks know. */
double dqg_log_middle(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                      const struct dqg_sched_point *to, double eta, int32_t phase) {
    (void)phase;
    const double smallest_decay = 1e-5;
    struct dqg_split split = dqg_ancestral_split(from, to, solver->variant == DQG_SINGLE_NOISY_MIDDLE ? 0 : eta);
    double root = sqrt(fmax(dqg_decay(from, &split.down), smallest_decay));
    double level = split.down.sigma / (split.down.alpha * root); /* sigma / alpha */
    return from->alpha == 1 ? level : level / (1 + level);
}

/* As Euler goes, to the middle or to its split. */
static void go_to_middle(const struct dqg_step *step, double eta) {
    struct dqg_split split = dqg_ancestral_split(step->from, step->middle, eta);
    dqg_combine(step->history[0], 1, step->x, 0, step->x, step->n);
    dqg_step_combine(step, step->x, split.scale * split.down.alpha, split.scale * split.down.sigma);
    dqg_step_noise(step, 0, split.fresh);
}

/* From the start along the slope at the middle. */
dqg_status dqg_solver_dpm2_feed(const struct dqg_step *step) {
    if (step->phase == 0) {
        go_to_middle(step, 0);
        return DQG_PENDING;
    }
    struct dqg_split split = dqg_ancestral_split(step->from, step->to, step->eta);
    dqg_step_combine(step, step->x, split.scale * (split.down.alpha - step->from->alpha),
                     split.scale * (split.down.sigma - step->from->sigma));
    dqg_combine(step->x, 1, step->x, split.scale, step->history[0], step->n);
    dqg_step_noise(step, 0, split.fresh);
    return DQG_OK;
}

/* From the start towards the x0 estimate at the middle. */
dqg_status dqg_solver_dpmpp_single_feed(const struct dqg_step *step) {
    bool noisy = step->solver->variant == DQG_SINGLE_NOISY_MIDDLE;
    if (step->phase == 0) {
        go_to_middle(step, noisy ? step->eta : 0);
        return DQG_PENDING;
    }
    struct dqg_split split = dqg_ancestral_split(step->from, step->to, step->eta);
    double ratio = split.down.sigma / step->from->sigma;
    dqg_step_combine(step, step->x, split.scale * (split.down.alpha - ratio * step->from->alpha), 0);
    dqg_combine(step->x, 1, step->x, split.scale * ratio, step->history[0], step->n);
    dqg_step_noise(step, noisy ? 1 : 0, split.fresh);
    return DQG_OK;
}
