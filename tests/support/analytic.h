/* SPDX-License-Identifier: MIT */
/*
 * Models whose denoiser is known in closed form, to test solvers against: a Gaussian, for which the exact end of every
 * deterministic path is known too, and a mixture of three in the plane. analytic_run() plays the host: it asks a plan
 * what to evaluate, answers as a network of the plan's prediction type would, and feeds the answer back.
 */
#ifndef TESTS_ANALYTIC_H
#define TESTS_ANALYTIC_H

#include "sched/sched.h"

/* A context that can allocate and hold an error text. */
void analytic_context(struct dqg_context *context);

/* Flow, Euler, linspace, no shift, 1000 training timesteps, timestep scale 1000. */
struct dqg_sched_config analytic_config(void);

/*
 * The expected clean sample, given u = a x0 + s eps in the network's coordinates.
 *   model  what the model needs
 *   u, x0  [n]
 */
typedef void (*analytic_x0_fn)(const void *model, double a, double s, const float *u, double *x0, size_t n);

/* x0 ~ N(mean, std^2), each element on its own. */
struct analytic_gaussian {
    double mean, std;
};
void analytic_gaussian_x0(const void *model, double a, double s, const float *u, double *x0, size_t n);

/* Where the deterministic path through x at one point crosses another. */
double analytic_gaussian_map(const struct analytic_gaussian *model, const struct dqg_sched_point *from,
                             const struct dqg_sched_point *to, double x);

/* The mixture's parameters. */
enum { ANALYTIC_MODES = 3 };
extern const double analytic_mode_weight[ANALYTIC_MODES], analytic_mode_mean[ANALYTIC_MODES][2];
extern const double analytic_mode_std[ANALYTIC_MODES];

/* Pairs of elements: weights .5 .3 .2, means (2, 0) (-1, 1.5) (-.5, -2), deviations .25 .40 .30. model is unused. */
void analytic_mixture_x0(const void *model, double a, double s, const float *u, double *x0, size_t n);

/* Exact ends of the mixture's paths from x [n] in k coordinates: Runge-Kutta over ln sigma from one to the other. */
void analytic_mixture_map(double sigma_from, double sigma_to, int32_t steps, double *x, size_t n);

struct analytic_job {
    const struct dqg_sched *sched;
    analytic_x0_fn denoiser;
    const void *model;
    float *x; /* [n] in and out */
    size_t n;
    int32_t steps;      /* to do; 0: all */
    dqg_noise_fn noise; /* NULL for solvers without */
    void *user;
    float *x0; /* [n] the last estimate, or NULL */
};

/* Returns the number of evaluations, or -1 when the plan broke its contract. */
int32_t analytic_run(const struct analytic_job *job);

/* Noise source with z_k = cos(k + 1) for all elements; user: an int32_t draw counter. */
void analytic_cosine_noise(void *user, const struct dqg_draw *draw, float *buffer, size_t n);

/* Noise source from dqg_rng_normal(); user: a uint64_t seed. */
void analytic_normal_noise(void *user, const struct dqg_draw *draw, float *buffer, size_t n);

#endif
