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

/* Half way in ln(alpha / sigma), or at thirds; a step that begins without signal counts as one of a length that
 * networks know. */
double dqg_log_middle(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                      const struct dqg_sched_point *to, double eta, int32_t phase) {
    const double smallest_decay = 1e-5;
    double rest = 1 - (double)phase / solver->evaluations;
    struct dqg_split split = dqg_ancestral_split(from, to, solver->variant == DQG_SINGLE_NOISY_MIDDLE ? 0 : eta);
    double back = pow(fmax(dqg_decay(from, &split.down), smallest_decay), rest);
    double level = split.down.sigma / (split.down.alpha * back); /* sigma / alpha */
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

/*
 * DPM-Solver-3 (Lu et al. 2022, arXiv 2206.00927, algorithm 2 with points at thirds): the slope at the start is
 * corrected by that at each point between. history: x0 and eps at the start. Without signal at its start a step has no
 * length, and is of first order.
 */
dqg_status dqg_solver_dpm3_feed(const struct dqg_step *step) {
    const struct dqg_sched_point *target = step->phase < 2 ? &step->middle[step->phase] : step->to;
    float *x0 = step->history[0];
    float *eps = step->history[1];
    if (step->from->alpha == 0) {
        dqg_step_combine(step, step->x, step->to->alpha, step->to->sigma);
        return DQG_OK;
    }
    if (step->phase == 0) {
        dqg_step_combine(step, x0, 1, 0);
        dqg_step_combine(step, eps, 0, 1);
        dqg_combine(step->x, target->alpha, x0, target->sigma, eps, step->n);
        return DQG_PENDING;
    }
    double decay = dqg_decay(step->from, target);
    double h = -log(decay);
    double weight = target->sigma * (step->phase == 1 ? 2 : 1.5) * ((1 / decay - 1) / h - 1);
    dqg_step_combine(step, step->x, 0, -weight);
    dqg_combine(step->x, 1, step->x, target->alpha, x0, step->n);
    dqg_combine(step->x, 1, step->x, target->sigma + weight, eps, step->n);
    return step->phase == 1 ? DQG_PENDING : DQG_OK;
}
