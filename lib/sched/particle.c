/* SPDX-License-Identifier: MIT */
/* See particle.h. Called by lib/run/reward_search.c, which has the estimates of x0 and eps that all is linear in. */
#include "sched/particle.h"

#include <math.h>

const char dqg_interpolant_names[] = "linear|vp";
const char dqg_diffusion_names[] = "square|sigma|constant|linear|sin|tan|exp|clipping";

static const double pi = 3.14159265358979323846;

static double diffusion_shape(enum dqg_diffusion diffusion, double r, double sigma) {
    switch (diffusion) {
    case DQG_DIFFUSION_SIGMA:
        return sigma;
    case DQG_DIFFUSION_CONSTANT:
        return 1;
    case DQG_DIFFUSION_LINEAR:
        return r;
    case DQG_DIFFUSION_SIN:
        return sin(pi / 2 * r);
    case DQG_DIFFUSION_TAN:
        return tan(pi / 2 * fmin(r, 0.95));
    case DQG_DIFFUSION_EXP:
        return exp(-100 * (r - 1) * (r - 1));
    case DQG_DIFFUSION_CLIPPING:
        return fmax(2 * r - 1, 0);
    case DQG_DIFFUSION_SQUARE:
    default:
        return r * r;
    }
}

/* The betas of variance-preserving models in continuous time, 0.1 to 20 (Song et al. 2021, arXiv 2011.13456). */
static void vp_path(struct dqg_path_point *at) {
    double r = at->r;
    double b = 0.5 * r * r * (20 - 0.1) + 0.1 * r;
    double d_b = r * (20 - 0.1) + 0.1;
    at->alpha = exp(-b / 2);
    at->sigma = sqrt(-expm1(-b));
    at->d_alpha = -d_b * at->alpha / 2;
    at->d_sigma = at->sigma > 0 ? d_b * exp(-b) / (2 * at->sigma) : 0;
}

struct dqg_path_point dqg_path_at(enum dqg_particle_path interpolant, enum dqg_diffusion diffusion, double scale,
                                  double r) {
    struct dqg_path_point at = {.r = r, .alpha = 1 - r, .sigma = r, .d_alpha = -1, .d_sigma = 1};
    if (interpolant == DQG_INTERPOLANT_VP) {
        vp_path(&at);
    }
    at.diffusion = scale * diffusion_shape(diffusion, r, at.sigma);
    return at;
}

double dqg_path_level(int32_t index, int32_t steps) {
    double u = (double)index / steps;
    return sqrt((1 - u) * (1 + u));
}

/* velocity = alpha' x0 + sigma' eps, score = -eps / sigma */
struct dqg_move dqg_path_step(const struct dqg_path_point *from, const struct dqg_path_point *to, bool noisy) {
    double h = from->r - to->r;
    double g = noisy ? from->diffusion : 0;
    return (struct dqg_move){
        .x0 = from->alpha - h * from->d_alpha,
        .eps = from->sigma - h * from->d_sigma - h * g * g / (2 * from->sigma),
        .noise = g * sqrt(h),
    };
}

struct dqg_move dqg_path_back(const struct dqg_path_point *from, const struct dqg_path_point *to) {
    double kept = from->alpha > 0 ? to->alpha / from->alpha * from->sigma : 0;
    return (struct dqg_move){
        .x0 = to->alpha,
        .eps = kept,
        .noise = sqrt(fmax(to->sigma * to->sigma - kept * kept, 0)),
    };
}
