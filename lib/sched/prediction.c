/* SPDX-License-Identifier: MIT */
/*
 * The table of predictions: how the clean sample x0 and the noise eps follow from the sample x and the network's
 * output, at any point x = alpha x0 + sigma eps. Each is linear in x and output, so a row gives four coefficients.
 * Called by sched.c once for each evaluation.
 */
#include "sched/pieces.h"

#include <math.h>

/* output = eps */
static void from_epsilon(const struct dqg_sched_point *point, struct dqg_estimate *estimate) {
    estimate->x0_x = 1 / point->alpha;
    estimate->x0_output = -point->sigma / point->alpha;
    estimate->eps_x = 0;
    estimate->eps_output = 1;
}

/*
 * output = a eps - s x0 / d with a^2 + s^2 = 1, d the deviation of the data: the network knows variance-preserving
 * amplitudes only. In k coordinates x is longer by the factor d r = sqrt(d^2 + sigma^2).
 */
static void from_v(const struct dqg_sched_point *point, struct dqg_estimate *estimate) {
    double d = point->data;
    double r = hypot(point->alpha, point->sigma / d);
    double a = point->alpha / r;
    double s = point->sigma / d / r;
    estimate->x0_x = a / r;
    estimate->x0_output = -s * d;
    estimate->eps_x = s / r / d;
    estimate->eps_output = a;
}

/* x0 = c_skip x + c_out output, c_skip = d^2 / (sigma^2 + d^2), c_out = sigma d / sqrt(sigma^2 + d^2): -v. */
static void from_edm(const struct dqg_sched_point *point, struct dqg_estimate *estimate) {
    from_v(point, estimate);
    estimate->x0_output = -estimate->x0_output;
    estimate->eps_output = -estimate->eps_output;
}

/* output = x0 */
static void from_x0(const struct dqg_sched_point *point, struct dqg_estimate *estimate) {
    estimate->x0_x = 0;
    estimate->x0_output = 1;
    estimate->eps_x = 1 / point->sigma;
    estimate->eps_output = -point->alpha / point->sigma;
}

/* output = eps - x0 where alpha + sigma = 1 */
static void from_flow(const struct dqg_sched_point *point, struct dqg_estimate *estimate) {
    estimate->x0_x = 1;
    estimate->x0_output = -point->sigma;
    estimate->eps_x = 1;
    estimate->eps_output = point->alpha;
}

const char dqg_prediction_names[] = "epsilon|v|x0|flow|edm";

/* epsilon is missing on flow because x0 cannot be had from it at sigma = 1, where every flow begins. */
const struct dqg_prediction_row dqg_predictions[] = {
    [DQG_PREDICT_EPSILON] = {{"epsilon", "the noise: DDPM (Ho et al. 2020, arXiv 2006.11239)"},
                             DQG_FAMILY_VP | DQG_FAMILY_EDM,
                             from_epsilon},
    [DQG_PREDICT_V] = {{"v", "alpha eps - sigma x0: progressive distillation (Salimans and Ho 2022, arXiv 2202.00512)"},
                       DQG_FAMILY_VP | DQG_FAMILY_EDM,
                       from_v},
    [DQG_PREDICT_X0] = {{"x0", "the clean sample: DDPM (Ho et al. 2020, arXiv 2006.11239)"},
                        DQG_FAMILY_VP | DQG_FAMILY_FLOW | DQG_FAMILY_EDM,
                        from_x0},
    [DQG_PREDICT_FLOW] = {{"flow", "eps - x0, the velocity: rectified flow (Liu et al. 2022, arXiv 2209.03003)"},
                          DQG_FAMILY_FLOW,
                          from_flow},
    [DQG_PREDICT_EDM] = {{"edm",
                          "x0 less what of x is in it, of variance 1: EDM (Karras et al. 2022, arXiv 2206.00364)"},
                         DQG_FAMILY_EDM,
                         from_edm},
};
const size_t dqg_prediction_count = DQG_COUNT_OF(dqg_predictions);
