/* SPDX-License-Identifier: MIT */
/*
 * Solvers that extrapolate the estimates of earlier steps: DPM-Solver++ 2M and 3M with their SDE forms (Lu et al. 2022,
 * arXiv 2211.01095), DPM-Solver of several steps, and ER-SDE-Solver (Cui et al. 2023, arXiv 2309.06169).
 */
#include "sched/pieces.h"

#include <math.h>

static const double smallest_decay = 1e-30; /* of a step that begins without signal: what came before it says nothing */

static double log_step(const struct dqg_sched_point *from, const struct dqg_sched_point *to) {
    return -log(fmax(dqg_decay(from, to), smallest_decay));
}

/*
 * With LML, which corrects the whole sum: It measures updates in coordinates that keep the variance, whatever
 * those of the solver.
 */
static void add_corrected(const struct dqg_step *step, double x_weight, const double *weights, int32_t order) {
    int32_t count = step->most - 1;
    double unit = step->to->alpha == 1 ? 1 / hypot(1, step->to->sigma) : 1;
    dqg_step_combine(step, step->scratch, unit * weights[0], 0);
    for (int32_t j = 1; j < order; j++) {
        dqg_combine(step->scratch, 1, step->scratch, unit * weights[j], dqg_past(step, count, j), step->n);
    }
    if (count > 0) {
        dqg_step_combine(step, dqg_keep(step, count), 1, 0);
    }
    dqg_lml_add(step, x_weight, 1 / unit);
}

/* x = x_weight x + sum of weights[j] (x0 of j steps before), then fresh noise. */
static void mix_estimates(const struct dqg_step *step, double x_weight, const double *weights, int32_t order,
                          double fresh) {
    int32_t count = step->most - 1;
    if (step->lml != NULL) {
        add_corrected(step, x_weight, weights, order);
        return;
    }
    dqg_step_combine(step, step->scratch, 1, 0);
    dqg_combine(step->x, x_weight, step->x, weights[0], step->scratch, step->n);
    for (int32_t j = 1; j < order; j++) {
        dqg_combine(step->x, 1, step->x, weights[j], dqg_past(step, count, j), step->n);
    }
    dqg_keep_scratch(step, count);
    dqg_step_noise(step, 0, fresh);
}

/* Lengths in lambda, of this step and, relative to it, of those before. */
struct lengths {
    double h, r0, r1;
};

/* Add first and second derivative of the estimates, times these, as weights of the estimates. */
static void add_derivatives(double first, double second, const struct lengths *length, int32_t order,
                            double weights[3]) {
    if (order > 2) {
        second = (first * length->r0 + second) / (length->r0 + length->r1); /* of the difference of differences */
        first += second;
        weights[1] -= second / length->r1;
        weights[2] += second / length->r1;
    }
    if (order > 1) {
        weights[0] += first / length->r0;
        weights[1] -= first / length->r0;
    }
}

static struct lengths step_lengths(const struct dqg_sched_point *points, int32_t order) {
    struct lengths length = {.h = log_step(&points[2], &points[3])};
    length.r0 = order > 1 ? log_step(&points[1], &points[2]) / length.h : 0;
    length.r1 = order > 2 ? log_step(&points[0], &points[1]) / length.h : 0;
    return length;
}

/* The ends of this step and of as many before as order needs, this step's end last; in -ln sigma as if alpha were 1. */
static void take_points(const struct dqg_step *step, int32_t order, struct dqg_sched_point points[4]) {
    for (int32_t j = 0; j < 4; j++) {
        bool needed = 3 - j <= order;
        points[j] = j == 3 ? *step->to : needed ? step->from[j - 2] : *step->from;
        points[j].alpha = step->log_sigma ? 1 : points[j].alpha;
    }
}

dqg_status dqg_solver_dpmpp_multi_feed(const struct dqg_step *step) {
    int32_t order = dqg_step_order(step, 0);
    struct dqg_sched_point points[4];
    take_points(step, order, points);
    const struct dqg_sched_point *to = &points[3];
    struct lengths length = step_lengths(points, order);
    double decay = dqg_decay(&points[2], to);
    double renewed = length.h * (1 + step->eta);
    double rest = pow(decay, 1 + step->eta); /* exp(-renewed) */
    double phi2 = (rest - 1) / renewed + 1;
    double phi3 = phi2 / renewed - 0.5;
    bool midpoint = step->solver->variant == DQG_DPMPP_MIDPOINT && order < 3;
    double weights[3] = {1 - rest, 0, 0};
    add_derivatives(midpoint ? 0.5 * (1 - rest) : phi2, -phi3, &length, order, weights);
    for (int j = 0; j < 3; j++) {
        weights[j] *= to->alpha;
    }
    double kept = pow(decay, step->eta);
    double fresh = to->sigma * sqrt(fmax(1 - kept * kept, 0));
    mix_estimates(step, to->sigma / step->from->sigma * kept, weights, order, fresh);
    return DQG_OK;
}

/* The same of eps: DPM-Solver (Lu et al. 2022, arXiv 2206.00927). */
dqg_status dqg_solver_dpm_multi_feed(const struct dqg_step *step) {
    int32_t order = dqg_step_order(step, 0);
    int32_t count = step->most - 1;
    struct dqg_sched_point points[4];
    take_points(step, order, points);
    struct lengths length = step_lengths(points, order);
    double growth = expm1(length.h);
    bool midpoint = step->solver->variant == DQG_DPMPP_MIDPOINT && order < 3;
    double phi2 = growth / length.h - 1;
    double phi3 = phi2 / length.h - 0.5;
    double weights[3] = {0, 0, 0};
    add_derivatives(midpoint ? -0.5 * growth : -phi2, -phi3, &length, order, weights);
    dqg_step_combine(step, step->scratch, 0, 1);
    dqg_step_combine(step, step->x, step->to->alpha, step->to->sigma * (1 + weights[0]));
    for (int32_t j = 1; j < order; j++) {
        dqg_combine(step->x, 1, step->x, step->to->sigma * weights[j], dqg_past(step, count, j), step->n);
    }
    dqg_keep_scratch(step, count);
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
    int32_t order = dqg_step_order(step, 0);
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
