/* SPDX-License-Identifier: MIT */
/* Stochastic interpolants inside the library; what hosts see of them is in libdqgen.h. */
#ifndef DQG_SCHED_INTERPOLANT_H
#define DQG_SCHED_INTERPOLANT_H

#include "sched/sched.h"

struct dqg_interpolant_values {
    double start, end, gamma;
    double start_rate, end_rate, gamma_product; /* gamma gamma' */
    double noise, noise_product;                /* of the Gaussian part: gamma, or of one-sided paths the start */
};

struct dqg_interpolant_values dqg_interpolant_values(const dqg_interpolant *interpolant, double t);

static inline bool dqg_interpolant_one_sided(const dqg_interpolant *interpolant) {
    return interpolant->path == DQG_INTERPOLATE_ONE_SIDED_LINEAR || interpolant->path == DQG_INTERPOLATE_ONE_SIDED_TRIG;
}

dqg_status dqg_interpolant_check(struct dqg_context *context, const dqg_interpolant *interpolant);

/* A plan as dqg_sched_init() makes one. */
dqg_status dqg_interpolant_init(struct dqg_context *context, const dqg_interpolant *interpolant,
                                struct dqg_sched *sched);

/* One evaluation, as a solver's feed. output: drift [n], then with dqg_sched_outputs() 2 the score [n]. */
dqg_status dqg_interpolant_feed(const struct dqg_sched *sched, const struct dqg_sched_state *state, float *x,
                                const float *output, float *x0, float *scratch, size_t n, dqg_noise_fn noise,
                                void *user);

#endif
