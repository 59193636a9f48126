/* SPDX-License-Identifier: MIT */
/*
 * Solvers that extrapolate the x0 estimates of earlier steps, with fresh noise or without: DPM-Solver++ 2M and 3M with
 * their SDE forms (Lu et al. 2022, arXiv 2211.01095), and ER-SDE-Solver (Cui et al. 2023, arXiv 2309.06169).
 */
#include "sched/pieces.h"

#include <math.h>

static const double smallest_decay = 1e-30; /* of a step that begins without signal: what came before it says nothing */

static double log_step(const struct dqg_sched_point *from, const struct dqg_sched_point *to) {
    return -log(fmax(dqg_decay(from, to), smallest_decay));
}

static int32_t step_order(const struct dqg_step *step) {
    return step->kept + 1 < step->solver->order ? step->kept + 1 : step->solver->order;
}

/* x = x_weight x + sum of weights[j] (x0 of j steps before), then fresh noise. */
static void mix_estimates(const struct dqg_step *step, double x_weight, const double *weights, int32_t order,
                          double fresh) {
    int32_t count = step->solver->order - 1;
    dqg_step_combine(step, step->scratch, 1, 0);
    dqg_combine(step->x, x_weight, step->x, weights[0], step->scratch, step->n);
    for (int32_t j = 1; j < order; j++) {
        dqg_combine(step->x, 1, step->x, weights[j], dqg_past(step, count, j), step->n);
    }
    dqg_combine(dqg_keep(step, count), 1, step->scratch, 0, step->scratch, step->n);
    dqg_step_noise(step, 0, fresh);
}

dqg_status dqg_solver_dpmpp_multi_feed(const struct dqg_step *step) {
    const struct dqg_sched_point *from = step->from;
    const struct dqg_sched_point *to = step->to;
    int32_t order = step_order(step);
    double decay = dqg_decay(from, to);
    double h = log_step(from, to);
    double length = h * (1 + step->eta);
    double rest = pow(decay, 1 + step->eta); /* exp(-length) */
    double phi2 = (rest - 1) / length + 1;
    double phi3 = phi2 / length - 0.5;
    double weights[3] = {1 - rest, 0, 0};
    if (order > 1) {
        double r0 = log_step(from - 1, from) / h;
        double first = step->solver->variant == DQG_DPMPP_MIDPOINT ? 0.5 * (1 - rest) : phi2;
        double second = 0;
        if (order > 2) {
            double r1 = log_step(from - 2, from - 1) / h;
            second = (phi2 * r0 - phi3) / (r0 + r1);
            weights[2] = second / r1;
        }
        first = (first + second) / r0; /* of the difference of the last two */
        weights[0] += first;
        weights[1] = -first - weights[2];
    }
    for (int j = 0; j < 3; j++) {
        weights[j] *= to->alpha;
    }
    double kept = pow(decay, step->eta);
    double fresh = to->sigma * sqrt(fmax(1 - kept * kept, 0));
    mix_estimates(step, to->sigma / from->sigma * kept, weights, order, fresh);
    return DQG_OK;
}

/* ---- ER-SDE: l is sigma / alpha, and N(l) = l (exp(l^0.3) + 10) says how much of the noise is renewed ---- */

/* Held where the exponential is finite; a flow begins without signal. */
static double er_level(const struct dqg_sched_point *point) {
    const double largest = 1e4;
    return point->sigma < largest * point->alpha ? point->sigma / point->alpha : largest;
}

static double er_renewal(double level) {
    return level * (exp(pow(level, 0.3)) + 10);
}

/* Integrals of 1 / N and of (l - from) / N over to ... from, by the sums that the method was published with. */
static void er_integrals(double from, double to, double *one, double *linear) {
    enum { PARTS = 200 };
    double width = (from - to) / PARTS;
    *one = *linear = 0;
    for (int i = 0; i < PARTS; i++) {
        double level = to + i * width;
        *one += width / er_renewal(level);
        *linear += width * (level - from) / er_renewal(level);
    }
}

dqg_status dqg_solver_er_sde_feed(const struct dqg_step *step) {
    const struct dqg_sched_point *from = step->from;
    int32_t order = step_order(step);
    double s = er_level(from);
    double t = er_level(step->to);
    double ratio = er_renewal(t) / er_renewal(s);
    double weights[3] = {1 - ratio, 0, 0};
    if (order > 1) {
        double one, linear;
        er_integrals(s, t, &one, &linear);
        double gap = s - er_level(from - 1); /* below 0 */
        double first = t - s + er_renewal(t) * one;
        double second = 0;
        if (order > 2) {
            double gap2 = er_level(from - 1) - er_level(from - 2);
            second = ((t - s) * (t - s) / 2 + er_renewal(t) * linear) * 2 / (gap + gap2);
            weights[2] = gap2 < 0 ? second / gap2 : 0;
        }
        first = gap < 0 ? (first + second) / gap : 0;
        weights[0] += first;
        weights[1] = -first - weights[2];
    }
    for (int j = 0; j < 3; j++) {
        weights[j] *= step->to->alpha;
    }
    double x_weight = step->to->sigma / t * ratio * s / from->sigma; /* alpha' / alpha, where alpha is not held */
    double fresh = step->to->alpha * sqrt(fmax(t * t - s * s * ratio * ratio, 0));
    mix_estimates(step, x_weight, weights, order, fresh);
    return DQG_OK;
}
