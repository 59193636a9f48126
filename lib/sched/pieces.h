/* SPDX-License-Identifier: MIT */
/*
 * The tables a scheduler is put together from. A new piece is one row in its table and one short function; its name
 * also goes into the *_names text beside the table (a test compares the two).
 *
 *   schedule    betas.c       how much noise there is at each training timestep
 *   spacing     spacing.c     which of them are visited
 *   prediction  prediction.c  what the network's output means
 *   solver      solvers.c     how to move from one to the next
 */
#ifndef DQG_SCHED_PIECES_H
#define DQG_SCHED_PIECES_H

#include "sched/sched.h"

/* Two families of paths: rectified flow, and variance-preserving with discrete training timesteps. Bits, for masks. */
enum { DQG_FAMILY_FLOW = 1, DQG_FAMILY_VP = 2 };

/* How a table row introduces itself; its first member. doc says what and where from in one line. */
struct dqg_piece {
    const char *name;
    const char *doc;
};

/* ---- schedules ---- */

struct dqg_schedule {
    struct dqg_piece piece;
    double beta_start, beta_end;                                           /* where the caller gives none */
    void (*betas)(double start, double end, int32_t count, double *betas); /* NULL: flow */
};

extern const struct dqg_schedule dqg_schedules[];
extern const size_t dqg_schedule_count;

/* sigmas[t] = sqrt((1 - acp[t]) / acp[t]), ascending, for the config's train_timesteps. VP schedules only. */
dqg_status dqg_schedule_sigmas(struct dqg_context *context, const struct dqg_schedule *schedule,
                               const struct dqg_sched_config *config, double *sigmas);

/* sigma at a timestep in 0..count-1, which may be fractional: linear in sigma, or in ln sigma. */
double dqg_schedule_sigma_at(const double *sigmas, int32_t count, double timestep, bool log_levels);

/* The other way: linear in ln sigma, clamped to 0..count-1. */
double dqg_schedule_timestep_at(const double *sigmas, int32_t count, double sigma);

/* ---- spacings ---- */

/* Noise levels to place steps points between: of a flow sigma, otherwise relative to the signal. */
struct dqg_level_range {
    double smallest, largest;
    int32_t steps;
};

/* Of the three functions a spacing has one or two; each gives config->steps values, descending. */
struct dqg_spacing {
    struct dqg_piece piece;
    int32_t families; /* where it has a meaning */
    bool unit_start;  /* the first point still has signal in it: start with the variance that it has in all */
    bool log_levels;  /* the level at a fractional timestep is interpolated in ln sigma, not in sigma */
    void (*timesteps)(const struct dqg_sched_config *config, double *out); /* of a flow: sigma = (t + 1) / T, shifted */
    void (*flow)(const struct dqg_sched_config *config, double *out);      /* sigmas of a flow instead of timesteps */
    void (*levels)(const struct dqg_level_range *range, double *out);
};

extern const struct dqg_spacing dqg_spacings[];
extern const size_t dqg_spacing_count;

/* t shifted: s t / (1 + (s - 1) t). */
double dqg_flow_shift(double shift, double t);

void dqg_spacing_karras(const struct dqg_level_range *range, double *out);
void dqg_spacing_exponential(const struct dqg_level_range *range, double *out);
void dqg_spacing_kl_optimal(const struct dqg_level_range *range, double *out);
void dqg_spacing_linear_quadratic(const struct dqg_level_range *range, double *out);
void dqg_spacing_ays(const struct dqg_level_range *range, double *out);
void dqg_spacing_ays_xl(const struct dqg_level_range *range, double *out);

/* The x that a Beta(a, b) variable stays below with probability p. */
double dqg_beta_quantile(double p, double a, double b);

/* ---- predictions ---- */

/* x0 = x0_x * x + x0_output * output and eps likewise: every prediction is linear in the two. */
struct dqg_estimate {
    double x0_x, x0_output;
    double eps_x, eps_output;
};

struct dqg_prediction_row {
    struct dqg_piece piece;
    int32_t families; /* where it has a meaning */
    void (*estimate)(const struct dqg_sched_point *point, struct dqg_estimate *estimate);
};

extern const struct dqg_prediction_row dqg_predictions[]; /* indexed by enum dqg_prediction */
extern const size_t dqg_prediction_count;

/* ---- solvers ---- */

/* One evaluation on its way through a solver. */
struct dqg_step {
    const struct dqg_sched_point *from, *to; /* ends of this step */
    struct dqg_estimate estimate;            /* at the point that was evaluated */
    double eta;
    int32_t index; /* of the step */
    int32_t phase; /* evaluations of this step before this one */
    float *const *history;
    float *x;            /* [n] in and out */
    const float *output; /* [n] */
    float *scratch;      /* [n] */
    size_t n;
    dqg_noise_fn noise;
    void *user;
};

struct dqg_solver {
    struct dqg_piece piece;
    int32_t buffers;        /* history buffers it needs */
    int32_t evaluations;    /* of a step at most */
    bool k_coordinates;     /* on VP schedules x = x0 + sigma eps; otherwise x keeps its variance */
    bool ends_at_first;     /* on VP schedules the last step leads to training timestep 0, not to sigma 0 */
    int32_t noise_families; /* where eta > 0 has a meaning */

    /* The point to evaluate when phase evaluations of the step are done; NULL: its start. */
    const struct dqg_sched_point *(*request)(const struct dqg_sched_point *from, int32_t phase);

    /* Update x; the x0 estimate is already taken. Returns DQG_OK, or DQG_PENDING to be called again with phase + 1. */
    dqg_status (*feed)(const struct dqg_step *step);
};

extern const struct dqg_solver dqg_solvers[];
extern const size_t dqg_solver_count;

dqg_status dqg_solver_euler_feed(const struct dqg_step *step);
dqg_status dqg_solver_heun_feed(const struct dqg_step *step);
const struct dqg_sched_point *dqg_solver_heun_request(const struct dqg_sched_point *from, int32_t phase);
dqg_status dqg_solver_ddim_feed(const struct dqg_step *step);

/* out = a * x + b * y; out may be x or y. */
void dqg_combine(float *out, double a, const float *x, double b, const float *y, size_t n);

/* out = x0_weight * x0 + eps_weight * eps, as this evaluation has them; out may be step->x. */
void dqg_step_combine(const struct dqg_step *step, float *out, double x0_weight, double eps_weight);

/* ---- points ---- */

/* The pieces that a configuration names. */
struct dqg_sched_parts {
    struct dqg_sched_config config; /* checked; steps as they will be */
    const struct dqg_schedule *schedule;
    const struct dqg_spacing *spacing;
    const struct dqg_prediction_row *prediction;
    const struct dqg_solver *solver;
};

static inline int32_t dqg_schedule_family(const struct dqg_schedule *schedule) {
    return schedule->betas != NULL ? DQG_FAMILY_VP : DQG_FAMILY_FLOW;
}

/* Fill points[steps + 1]. */
dqg_status dqg_sched_points(struct dqg_context *context, const struct dqg_sched_parts *parts,
                            struct dqg_sched_point *points);

#endif
