/* SPDX-License-Identifier: MIT */
/*
 * Adams-Bashforth solvers: a polynomial through the slopes dx/dsigma of this and earlier steps, integrated over the
 * step. They differ in the variable of the polynomial: sigma (LMS), ln sigma or time (DEIS; Zhang and Chen 2022, arXiv
 * 2204.13902) or the step's number, whatever its length (PLMS, iPNDM; Liu et al. 2022, arXiv 2202.09778).
 */
#include "sched/pieces.h"

#include <math.h>

static double lagrange(const double *nodes, int32_t order, int32_t j, double at) {
    double value = 1;
    for (int32_t k = 0; k < order; k++) {
        value *= k != j ? (at - nodes[k]) / (nodes[j] - nodes[k]) : 1;
    }
    return value;
}

enum variable { IN_SIGMA, IN_LOG, IN_TIME };

static double variable_at(const struct dqg_step *step, enum variable variable, double log_sigma) {
    double sigma = exp(log_sigma);
    return variable == IN_LOG ? log_sigma : variable == IN_SIGMA ? sigma : dqg_levels_time(step->levels, sigma);
}

/* Integrals over sigma of the basis polynomials, by Gauss's rule in ln sigma. */
static void integrate(const struct dqg_step *step, int32_t order, enum variable variable, double *weights) {
    double nodes[DQG_MOST_ORDER];
    for (int32_t j = 0; j < order; j++) {
        nodes[j] = variable_at(step, variable, log(step->from[-j].sigma));
    }
    double start = log(step->from->sigma);
    double half = 0.5 * (log(step->to->sigma) - start);
    for (int32_t i = 0; i < DQG_GAUSS_POINTS; i++) {
        struct dqg_gauss gauss = dqg_gauss_point(i);
        double at = start + half * (1 + gauss.at);
        double z = variable_at(step, variable, at);
        for (int32_t j = 0; j < order; j++) {
            weights[j] += half * gauss.weight * exp(at) * lagrange(nodes, order, j, z);
        }
    }
}

void dqg_lms_weights(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]) {
    integrate(step, order, IN_SIGMA, weights);
}

void dqg_deis_weights(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]) {
    integrate(step, order, IN_LOG, weights);
}

void dqg_deis_time_weights(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]) {
    integrate(step, order, IN_TIME, weights);
}

void dqg_pndm_weights(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]) {
    static const double even[DQG_MOST_ORDER][DQG_MOST_ORDER] = {
        {1}, {3 / 2.0, -1 / 2.0}, {23 / 12.0, -16 / 12.0, 5 / 12.0}, {55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0}};
    for (int32_t j = 0; j < order; j++) {
        weights[j] = (step->to->sigma - step->from->sigma) * even[order - 1][j];
    }
}

dqg_status dqg_solver_adams_feed(const struct dqg_step *step) {
    int32_t count = step->most - 1;
    int32_t order = dqg_step_order(step, 0);
    double weights[DQG_MOST_ORDER] = {0};
    step->solver->weights(step, order, weights);
    dqg_step_slope(step, step->scratch);
    dqg_combine(step->x, 1, step->x, weights[0], step->scratch, step->n);
    for (int32_t j = 1; j < order; j++) {
        dqg_combine(step->x, 1, step->x, weights[j], dqg_past(step, count, j), step->n);
    }
    dqg_keep_scratch(step, count);
    return DQG_OK;
}

/* The first step is Heun's, which keeps the slope at its start; its place for the half-moved start is behind. */
dqg_status dqg_solver_plms_feed(const struct dqg_step *step) {
    int32_t count = step->most - 1;
    if (step->phase == 0 && (step->kept > 0 || count == 0)) {
        return dqg_solver_adams_feed(step);
    }
    struct dqg_step heun = *step;
    heun.history = step->history + count;
    if (step->phase == 0) {
        dqg_step_slope(step, dqg_keep(step, count));
    }
    return dqg_solver_heun_feed(&heun);
}

/* Where the method of Runge and Kutta evaluates: twice half way in time, then at the end. */
double dqg_pndm_time(const struct dqg_sched_point *from, const struct dqg_sched_point *to, double eta, int32_t phase,
                     bool discrete) {
    (void)eta;
    (void)discrete;
    return phase < 3 ? 0.5 * (from->timestep + to->timestep) : to->timestep;
}

/* Until there is a history, the method of Runge and Kutta; start and sum of its slopes lie behind the history. */
dqg_status dqg_solver_pndm_feed(const struct dqg_step *step) {
    static const double share[4] = {1 / 6.0, 1 / 3.0, 1 / 3.0, 1 / 6.0};
    int32_t count = step->most - 1;
    if (step->phase == 0 && step->kept >= count) {
        return dqg_solver_adams_feed(step);
    }
    float *start = step->history[count];
    float *sum = step->history[count + 1];
    dqg_step_slope(step, step->scratch);
    if (step->phase == 0) {
        dqg_keep_scratch(step, count);
        dqg_combine(start, 1, step->x, 0, step->x, step->n);
        dqg_combine(sum, 1, step->x, 0, step->x, step->n);
    }
    dqg_combine(sum, 1, sum, share[step->phase] * (step->to->sigma - step->from->sigma), step->scratch, step->n);
    if (step->phase == 3) {
        dqg_combine(step->x, 1, sum, 0, sum, step->n);
        return DQG_OK;
    }
    dqg_combine(step->x, 1, start, step->middle[step->phase].sigma - step->from->sigma, step->scratch, step->n);
    return DQG_PENDING;
}
