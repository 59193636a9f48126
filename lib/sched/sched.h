/* SPDX-License-Identifier: MIT */
/*
 * Layer 3, sched: schedules, predictions and solvers as small pieces that compose. Pure arithmetic on the caller's
 * buffers: no model, no file, no threads. Coefficients are double; samples are float.
 *
 * Coordinates. At every point of a schedule the sample is x = alpha x0 + sigma eps. Flow models use alpha = 1 - sigma;
 * variance-preserving (VP) ones alpha^2 + sigma^2 = 1; Euler and Heun on VP models work in k coordinates, alpha = 1 and
 * sigma = sqrt((1 - acp) / acp), and scale the network's input by 1 / sqrt(sigma^2 + 1). EDM has k coordinates only.
 */
#ifndef DQG_SCHED_H
#define DQG_SCHED_H

#include "support/support.h"

enum { DQG_ETA_OWN = -1 }; /* in place of an eta: what the solver's name stands for */

enum dqg_prediction { DQG_PREDICT_EPSILON, DQG_PREDICT_V, DQG_PREDICT_X0, DQG_PREDICT_FLOW, DQG_PREDICT_EDM };

enum { DQG_MOST_ORDER = 4 };     /* of multistep solvers */
enum { DQG_SOLVER_BUFFERS = 6 }; /* most history buffers of the latent's size that a plan needs */

struct dqg_sched_point {
    double alpha, sigma; /* of the sample as the solver holds it */
    double timestep;     /* for the network */
    double input_scale;  /* network input = input_scale * x */
    double data;         /* standard deviation of the data that the network expects; 1 but for EDM */
};

enum dqg_variance { DQG_VARIANCE_SMALL, DQG_VARIANCE_LARGE, DQG_VARIANCE_LEARNED };
/* The correction of Levenberg, Marquardt and Langevin (lml.c); off where neither kappa nor rho is above 0. */
struct dqg_lml {
    double lambda, kappa;
    double rho;    /* kappa |update|^2 / lambda, in place of kappa */
    double freeze; /* with ddim, not while timestep >= T (1 - freeze) */
};

/* What a scheduler is made from; names as in the option table. NULL names take the defaults. */
struct dqg_sched_config {
    const char *solver;     /* "euler", "heun", "dpm++-2m", ...: solvers.c */
    const char *schedule;   /* "flow", "linear", "scaled-linear", "cosine", "sigmoid", "vp" */
    const char *spacing;    /* "linspace", "leading", "karras", ...: spacing.c */
    const char *prediction; /* "epsilon", "v", "x0", "flow" */
    int32_t steps;
    double shift;
    double eta;                  /* 0 to 1, or DQG_ETA_OWN */
    double beta_start, beta_end; /* 0, 0: the schedule's own */
    bool zero_snr;               /* rescale the schedule so that its last timestep holds no signal */
    int32_t train_timesteps;
    int32_t steps_offset;
    double timestep_scale;
    int32_t order;                 /* of a multistep solver; 0: its own */
    const char *lower_order_final; /* "auto", "on", "off" */
    const char *variance;          /* of ddpm: "small", "large", "learned" */
    int32_t uncorrected;           /* of UniPC: results of so many first steps stay as predicted */
    const char *lambda;            /* what DPM-Solver++ extrapolates in on flow: "log-snr", "log-sigma" */
    double s_churn, s_noise;
    const double *churn_range; /* lowest and highest sigma where s_churn acts, or NULL: everywhere */
    int32_t churn_range_count;
    double time_power; /* of spacing "time-power" */
    struct dqg_lml lml;
    double sigma_min, sigma_max;  /* ends of a spacing of noise levels; 0: the schedule's own */
    double sigma_data;            /* EDM; 0: 0.5 for prediction "edm", 1 for others */
    double rho;                   /* exponent of karras and polyexponential; 0: the spacing's own */
    double shift_power;           /* of a flow's shift; 0: 1 */
    double shift_terminal;        /* the last level of a flow before 0 after stretching; 0: unstretched */
    const char *resolution_shift; /* "exponential", "sqrt": how image_tokens set the shift */
    int32_t image_tokens;         /* 0: shift as it is */
    double base_shift, max_shift; /* logarithms of the exponential rule's shift at 256 and 4096 tokens */
    const char *interpolation;    /* "linear", "log": levels at fractional timesteps; NULL: the spacing's own */
    double pfgm_dimensions;       /* D of PFGM++; 0: Gaussian noise */
    const double *sigmas;         /* host-supplied, or NULL */
    int32_t sigma_count;
    const double *timesteps;
    int32_t timestep_count;
};

struct dqg_solver; /* one table entry */

/* Noise level as a function of time: of a flow sigma, otherwise relative to the signal. */
struct dqg_levels {
    enum { DQG_LEVELS_FLOW, DQG_LEVELS_TABLE, DQG_LEVELS_CONTINUOUS, DQG_LEVELS_EDM } kind;
    double *table; /* [count] levels of the training timesteps, ascending, or NULL */
    int32_t count;
    double beta_start, beta_end; /* of continuous time from 0 to 1 */
    double timestep_scale;
};

/* An immutable plan: the points and the solver. */
struct dqg_sched {
    struct dqg_sched_point *points; /* steps + 1, then those between: see dqg_solver.middle; then those raised */
    int32_t steps;
    struct dqg_levels levels;
    enum dqg_prediction prediction;
    const struct dqg_solver *solver;
    double eta;
    int32_t order;    /* of a multistep solver, once it has its history */
    bool lower_final; /* the last steps are of lower order */
    int32_t uncorrected; /* of so many first steps, by a solver that corrects */
    bool churn;       /* steps begin at raised points, to which dqg_sched_begin() takes the sample */
    bool log_sigma;   /* extrapolate in -ln sigma */
    double s_noise;   /* amplitude of the noise that raises */
    enum dqg_variance variance;
    struct dqg_lml lml;
    double pfgm_dimensions;
    dqg_interpolant interpolant; /* in place of most above; struct_size 0: none */
    int32_t outputs;             /* that an evaluation gives, each of the sample's size: 1, or a drift and a score, or
                                    with a learned variance a second one from -1, small, to 1, large */
    bool flow;                   /* sigma is a time of 0..1 */
    double initial_scale;        /* a run starts at points[0] from standard normal noise times this */
    uint64_t identity;           /* hash of everything above: a saved state fits an equal plan only */
};

/* The names a table knows, "a|b|c": for the option table. */
extern const char dqg_solver_names[], dqg_schedule_names[], dqg_spacing_names[], dqg_prediction_names[];
extern const char dqg_lower_order_names[], dqg_variance_names[], dqg_lambda_names[];

/* A table row as others may see it: catalog.c. False beyond the table's end. */
struct dqg_sched_piece {
    const char *name, *doc;
    int32_t families;             /* where it has a meaning; of a schedule: what it is */
    int32_t noise_families;       /* where a solver draws fresh noise, always or with eta > 0 */
    int32_t evaluations, buffers; /* of a solver */
};
bool dqg_sched_solver_at(size_t index, struct dqg_sched_piece *piece);
bool dqg_sched_schedule_at(size_t index, struct dqg_sched_piece *piece);
bool dqg_sched_spacing_at(size_t index, struct dqg_sched_piece *piece);
bool dqg_sched_prediction_at(size_t index, struct dqg_sched_piece *piece);

dqg_status dqg_sched_init(struct dqg_context *context, const struct dqg_sched_config *config, struct dqg_sched *sched);
void dqg_sched_free(const struct dqg_alloc *alloc, struct dqg_sched *sched);

/* History buffers that this plan's solver needs (at most DQG_SOLVER_BUFFERS), and evaluations of a step at most. */
int32_t dqg_sched_buffers(const struct dqg_sched *sched);
int32_t dqg_sched_evaluations(const struct dqg_sched *sched);

/* Whether steps draw fresh noise. */
bool dqg_sched_noisy(const struct dqg_sched *sched);

/* The same points the other way round, from the clean sample to noise. One-step solvers without fresh noise only. */
dqg_status dqg_sched_invert(struct dqg_context *context, const struct dqg_sched *sched, struct dqg_sched *inverse);

/* How a multistep solver of slopes, once it has its history, weighs those of this step (weights[0]) and of earlier
 * ones: x' = x + sum of weights[j] slope j. False where step is none of the plan's, or the solver has no such weights.
 */
bool dqg_sched_weights(const struct dqg_sched *sched, int32_t step, double weights[DQG_MOST_ORDER]);

/* Where a trajectory stands. Plain data: saved and restored as it is. */
struct dqg_sched_state {
    int32_t step;   /* finished steps */
    int32_t phase;  /* evaluations finished in this step */
    int32_t begun;  /* 1: x was raised for this step */
    int32_t kept;   /* finished steps that history tells of: all since the start, or since x was replaced */
    size_t samples; /* that x is made of, each on its own; 0 is one. Does not change. */
    float *history[DQG_SOLVER_BUFFERS];
};

/* The point at which the network must be evaluated next (for a half step it may lie between, or be that of the next
 * step). Not to be called when step == steps. */
struct dqg_sched_point dqg_sched_request(const struct dqg_sched *sched, const struct dqg_sched_state *state);

enum { DQG_SECOND_DRAW = 1 << 20 }; /* above every step */
struct dqg_draw {
    int32_t index;   /* of the step, DQG_SECOND_DRAW added for its second one: no two draws share it */
    double from, to; /* sigmas between which the noise is renewed, from > to; of two draws in a step both begin at
                        its start, the first ends within it */
};
typedef void (*dqg_noise_fn)(void *user, const struct dqg_draw *draw, float *buffer, size_t n);

/* To be called before the network is evaluated; with churn it raises x once a step. x, scratch, noise: as below. */
dqg_status dqg_sched_begin(const struct dqg_sched *sched, struct dqg_sched_state *state, float *x, float *scratch,
                           size_t n, dqg_noise_fn noise, void *user);
/* x0 = x times the first + output times the second, at a point. */
void dqg_sched_x0_terms(const struct dqg_sched *sched, const struct dqg_sched_point *point, double terms[2]);

/* Noise level of a point, the same for every solver: a flow's sigma on the straight path, else sigma / alpha. */
double dqg_sched_level(const struct dqg_sched *sched, const struct dqg_sched_point *point);

/*
 * Feed the network's output for the requested point.
 *   x       [n] the sample, updated in place
 *   output  [outputs][n] what the network said
 *   x0      [n] receives the estimate of the finished sample
 *   noise   fills buffer with n fresh standard normals for a draw; called by stochastic solvers only, once or twice a
 *           step
 * Returns DQG_PENDING (evaluate again), DQG_OK (a step is finished) or DQG_DONE (the last one is).
 */
dqg_status dqg_sched_feed(const struct dqg_sched *sched, struct dqg_sched_state *state, float *x, const float *output,
                          float *x0, float *scratch, size_t n, dqg_noise_fn noise, void *user);

/*
 * Standard normals of one sample [n] to the noise of the plan's family, by the seed: unchanged where that is Gaussian,
 * otherwise of the same direction with a length drawn for PFGM++ (pfgm.c).
 */
void dqg_sched_shape_noise(const struct dqg_sched *sched, uint64_t seed, float *z, size_t n);

#endif
