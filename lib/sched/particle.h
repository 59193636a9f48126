/* SPDX-License-Identifier: MIT */
/*
 * Particles of a flow model: other paths between noise and sample than the straight one it was trained on, and moves
 * along them with fresh noise that keep the distribution at every point (Kim et al. 2025, arXiv 2503.19385). Pure
 * arithmetic on doubles; lib/run/reward_search.c applies it to latents.
 *
 * A path has x = alpha(r) x0 + sigma(r) eps, r from 1 (noise) to 0. The network knows alpha = 1 - t, sigma = t only: it
 * is given x / (alpha + sigma) and t = sigma / (alpha + sigma), which is the straight path at the same ratio.
 */
#ifndef DQG_PARTICLE_H
#define DQG_PARTICLE_H

#include "support/support.h"

/* The names in order of their enums, "a|b|c": for the option table. */
extern const char dqg_interpolant_names[], dqg_diffusion_names[];

enum dqg_particle_path { DQG_INTERPOLANT_LINEAR, DQG_INTERPOLANT_VP };

enum dqg_diffusion {
    DQG_DIFFUSION_SQUARE,
    DQG_DIFFUSION_SIGMA,
    DQG_DIFFUSION_CONSTANT,
    DQG_DIFFUSION_LINEAR,
    DQG_DIFFUSION_SIN,
    DQG_DIFFUSION_TAN,
    DQG_DIFFUSION_EXP,
    DQG_DIFFUSION_CLIPPING
};

/* Where a path is at r. */
struct dqg_path_point {
    double r;
    double alpha, sigma;     /* x = alpha x0 + sigma eps */
    double d_alpha, d_sigma; /* their derivatives by r */
    double diffusion;        /* g(r): how much fresh noise a move may take up */
};

struct dqg_path_point dqg_path_at(enum dqg_particle_path interpolant, enum dqg_diffusion diffusion, double scale,
                                  double r);

/* Level index of 0..steps: r = sqrt(1 - (index / steps)^2), small steps first. */
double dqg_path_level(int32_t index, int32_t steps);

/* What the network is given: input_scale x, and time on the straight path. */
static inline double dqg_path_input_scale(const struct dqg_path_point *at) {
    return 1 / (at->alpha + at->sigma);
}
static inline double dqg_path_time(const struct dqg_path_point *at) {
    return at->sigma / (at->alpha + at->sigma);
}

/* A new particle = x0 * (estimate of x0) + eps * (estimate of eps) + noise * (standard normals). */
struct dqg_move {
    double x0, eps, noise;
};

/* Euler-Maruyama towards less noise, to->r < from->r: velocity, and with noisy the score and fresh noise. */
struct dqg_move dqg_path_step(const struct dqg_path_point *from, const struct dqg_path_point *to, bool noisy);

/* Back to more noise, to->r >= from->r, by the forward process. */
struct dqg_move dqg_path_back(const struct dqg_path_point *from, const struct dqg_path_point *to);

#endif
