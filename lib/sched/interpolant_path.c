/* SPDX-License-Identifier: MIT */
/*
 * Paths of stochastic interpolants, x_t = a(t) x0 + b(t) x1 + gamma(t) z (Albergo, Boffi and Vanden-Eijnden 2023, arXiv
 * 2303.08797, section 4): their coefficients and rates. gamma gamma' stands in place of gamma', which is infinite where
 * a Brownian bridge begins and ends.
 */
#include "sched/interpolant.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static double logistic(double x) {
    return 1 / (1 + exp(-x));
}

static double logistic_rate(double x) {
    return logistic(x) * (1 - logistic(x));
}

/* gamma and gamma gamma' */
static void gamma_at(const dqg_interpolant *interpolant, double t, double *gamma, double *product) {
    const double f = 10; /* steepness of the sigmoid */
    double scale = interpolant->gamma_scale > 0 ? interpolant->gamma_scale : 1;
    switch (interpolant->gamma) {
    case DQG_GAMMA_BROWNIAN:
        *gamma = sqrt(fmax(scale * t * (1 - t), 0));
        *product = 0.5 * scale * (1 - 2 * t);
        break;
    case DQG_GAMMA_BSQUARED:
        *gamma = t * (1 - t);
        *product = *gamma * (1 - 2 * t);
        break;
    case DQG_GAMMA_SINE_SQUARED:
        *gamma = sin(pi * t) * sin(pi * t);
        *product = *gamma * pi * sin(2 * pi * t);
        break;
    case DQG_GAMMA_SIGMOID:
        *gamma = logistic(f * (t - 0.5) + 1) - logistic(f * (t - 0.5) - 1) - logistic(1 - f / 2) + logistic(-1 - f / 2);
        *product = *gamma * f * (logistic_rate(f * (t - 0.5) + 1) - logistic_rate(f * (t - 0.5) - 1));
        break;
    default:
        *gamma = *product = 0;
    }
}

struct dqg_interpolant_values dqg_interpolant_values(const dqg_interpolant *interpolant, double t) {
    struct dqg_interpolant_values v = {.start = 1 - t, .end = t, .start_rate = -1, .end_rate = 1};
    gamma_at(interpolant, t, &v.gamma, &v.gamma_product);
    double c = cos(pi / 2 * t), s = sin(pi / 2 * t);
    double rest = sqrt(fmax(1 - v.gamma * v.gamma, 0)); /* 1 where there is no gamma */
    switch (interpolant->path) {
    case DQG_INTERPOLATE_TRIG:
    case DQG_INTERPOLATE_ONE_SIDED_TRIG:
        v.start = rest * c;
        v.end = rest * s;
        v.start_rate = -rest * pi / 2 * s - (rest > 0 ? v.gamma_product / rest * c : 0);
        v.end_rate = rest * pi / 2 * c - (rest > 0 ? v.gamma_product / rest * s : 0);
        break;
    case DQG_INTERPOLATE_ENCODE_DECODE:
        v.start = t <= 0.5 ? cos(pi * t) * cos(pi * t) : 0;
        v.end = t > 0.5 ? cos(pi * t) * cos(pi * t) : 0;
        v.start_rate = t <= 0.5 ? -pi * sin(2 * pi * t) : 0;
        v.end_rate = t > 0.5 ? -pi * sin(2 * pi * t) : 0;
        break;
    case DQG_INTERPOLATE_MIRROR:
        v.start = v.start_rate = v.end_rate = 0;
        v.end = 1;
        break;
    default:
        break;
    }
    bool one_sided = dqg_interpolant_one_sided(interpolant);
    v.noise = one_sided ? v.start : v.gamma;
    v.noise_product = one_sided ? v.start * v.start_rate : v.gamma_product;
    return v;
}
