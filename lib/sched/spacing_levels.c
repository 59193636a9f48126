/* SPDX-License-Identifier: MIT */
/*
 * Spacings that place noise levels rather than timesteps: n of them, falling from the largest level of a schedule to
 * its smallest; points.c finds the timesteps. Rows of the table in spacing.c.
 */
#include "sched/pieces.h"

#include <math.h>

/* 0 ... 1 evenly; 0 for a single point. */
static double ramp(int32_t i, int32_t n) {
    return n > 1 ? (double)i / (n - 1) : 0;
}

void dqg_spacing_karras(const struct dqg_level_range *range, double *out) {
    double rho = range->rho > 0 ? range->rho : 7;
    double first = pow(range->largest, 1 / rho);
    double last = pow(range->smallest, 1 / rho);
    for (int32_t i = 0; i < range->steps; i++) {
        out[i] = pow(first + ramp(i, range->steps) * (last - first), rho);
    }
}

void dqg_spacing_exponential(const struct dqg_level_range *range, double *out) {
    double first = log(range->largest);
    double last = log(range->smallest);
    for (int32_t i = 0; i < range->steps; i++) {
        out[i] = exp(first + ramp(i, range->steps) * (last - first));
    }
}

void dqg_spacing_kl_optimal(const struct dqg_level_range *range, double *out) {
    double first = atan(range->largest);
    double last = atan(range->smallest);
    for (int32_t i = 0; i < range->steps; i++) {
        out[i] = tan(first + ramp(i, range->steps) * (last - first));
    }
}

/* As exponential, the ramp bent by the exponent rho. */
void dqg_spacing_polyexponential(const struct dqg_level_range *range, double *out) {
    double first = log(range->largest);
    double last = log(range->smallest);
    for (int32_t i = 0; i < range->steps; i++) {
        double left = pow(1 - ramp(i, range->steps), range->rho > 0 ? range->rho : 1);
        out[i] = exp(last + left * (first - last));
    }
}

void dqg_spacing_beta_levels(const struct dqg_level_range *range, double *out) {
    for (int32_t i = 0; i < range->steps; i++) {
        double left = 1 - ramp(i, range->steps);
        double share = left > 0 && left < 1 ? dqg_beta_quantile(left, 0.6, 0.6) : left;
        out[i] = range->smallest + share * (range->largest - range->smallest);
    }
}

/* Half of the steps take away the first fortieth of the noise evenly, the others the rest with a growing stride. */
void dqg_spacing_linear_quadratic(const struct dqg_level_range *range, double *out) {
    const double threshold = 0.025;
    int32_t n = range->steps;
    double even = n / 2;
    double rest = n - n / 2;
    double bend = even > 0 ? (even - threshold * n) / (even * rest * rest) : 0;
    double slope = even > 0 ? threshold / even - 2 * bend * even : 0; /* the two pieces meet with equal slopes */
    for (int32_t i = 0; i < n; i++) {
        double gone = i < even ? i * threshold / even : bend * i * i + slope * i + bend * even * even;
        out[i] = (1 - gone) * range->largest;
    }
}

/* ---- Align Your Steps: levels found by optimisation, 10 steps; others by interpolation in ln sigma ---- */

enum { AYS_STEPS = 10 };

static void ays(const double levels[AYS_STEPS + 1], const struct dqg_level_range *range, double *out) {
    for (int32_t i = 0; i < range->steps; i++) {
        double at = (double)i * AYS_STEPS / range->steps;
        int32_t below = (int32_t)at;
        double part = at - below;
        out[i] = part > 0 ? exp((1 - part) * log(levels[below]) + part * log(levels[below + 1])) : levels[below];
    }
}

void dqg_spacing_ays(const struct dqg_level_range *range, double *out) {
    static const double levels[AYS_STEPS + 1] = {14.615, 6.475, 3.861, 2.697, 1.886, 1.396,
                                                 0.963,  0.652, 0.399, 0.152, 0.029};
    ays(levels, range, out);
}

void dqg_spacing_ays_xl(const struct dqg_level_range *range, double *out) {
    static const double levels[AYS_STEPS + 1] = {14.615, 6.315, 3.771, 2.181, 1.342, 0.862,
                                                 0.555,  0.380, 0.234, 0.113, 0.029};
    ays(levels, range, out);
}

void dqg_spacing_ays_svd(const struct dqg_level_range *range, double *out) {
    static const double levels[AYS_STEPS + 1] = {700,   54.5,  15.886, 7.977, 4.248, 1.789,
                                                 0.981, 0.403, 0.173,  0.034, 0.002};
    ays(levels, range, out);
}
