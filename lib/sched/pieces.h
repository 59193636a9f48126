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

struct dqg_sched_parts;

/* Families of paths: rectified flow, variance-preserving with discrete training timesteps, and variance-exploding with
 * any noise level (EDM). Bits, for masks. */
enum { DQG_FAMILY_FLOW = 1, DQG_FAMILY_VP = 2, DQG_FAMILY_EDM = 4 };

/* How a table row introduces itself; its first member. doc says what and where from in one line. */
struct dqg_piece {
    const char *name;
    const char *doc;
};

/* ---- schedules ---- */

struct dqg_schedule {
    struct dqg_piece piece;
    double beta_start, beta_end;                                           /* where the caller gives none */
    void (*betas)(double start, double end, int32_t count, double *betas); /* VP schedules only */
    bool continuous; /* no table: in place of discrete timesteps t = (timestep + 1) / T, whatever number that is */
    int32_t family;
};

extern const struct dqg_schedule dqg_schedules[];
extern const size_t dqg_schedule_count;

/* The configuration's betas, or the schedule's own. */
dqg_status dqg_schedule_ends(struct dqg_context *context, const struct dqg_schedule *schedule,
                             const struct dqg_sched_config *config, double *start, double *end);

/* sigmas[t] = sqrt((1 - acp[t]) / acp[t]), ascending, for the config's train_timesteps. VP schedules only. */
dqg_status dqg_schedule_sigmas(struct dqg_context *context, const struct dqg_schedule *schedule,
                               const struct dqg_sched_config *config, double *sigmas);

/* ---- spacings ---- */

/* Noise levels to place steps points between: of a flow sigma, otherwise relative to the signal. */
struct dqg_level_range {
    double smallest, largest;
    double rho; /* 0: the spacing's own */
    int32_t steps;
};

/* Of the three functions a spacing has one or two; each gives config->steps values, descending. */
struct dqg_spacing {
    struct dqg_piece piece;
    int32_t families; /* where it has a meaning */
    bool unit_start;  /* the first point still has signal in it: start with the variance that it has in all */
    bool log_levels;  /* the level at a fractional timestep is interpolated in ln sigma, not in sigma */
    bool whole;       /* discrete timesteps are made whole and distinct */
    void (*timesteps)(const struct dqg_sched_config *config, double *out); /* of a flow: sigma = (t + 1) / T, shifted */
    void (*flow)(const struct dqg_sched_config *config, double *out);      /* sigmas of a flow instead of timesteps */
    void (*levels)(const struct dqg_level_range *range, double *out);
};

extern const struct dqg_spacing dqg_spacings[];
extern const size_t dqg_spacing_count;

/* The share of noise after the shift s: s t / (1 + (s - 1) t), t being noise / (noise + signal); with power p both of
 * them are raised to it before. */
double dqg_flow_shift(const struct dqg_sched_config *config, double noise, double signal);

/* Make falling timesteps whole, and distinct, which needs count of them from 0 to the first. */
void dqg_spacing_make_whole(double *timesteps, int32_t count);

void dqg_spacing_karras(const struct dqg_level_range *range, double *out);
void dqg_spacing_exponential(const struct dqg_level_range *range, double *out);
void dqg_spacing_polyexponential(const struct dqg_level_range *range, double *out);
void dqg_spacing_beta_levels(const struct dqg_level_range *range, double *out);
void dqg_spacing_kl_optimal(const struct dqg_level_range *range, double *out);
void dqg_spacing_linear_quadratic(const struct dqg_level_range *range, double *out);
void dqg_spacing_ays(const struct dqg_level_range *range, double *out);
void dqg_spacing_ays_xl(const struct dqg_level_range *range, double *out);
void dqg_spacing_ays_svd(const struct dqg_level_range *range, double *out);

/* Gauss's rule: an integral over -1 ... 1 is the sum of weights times values at its points (gauss.c). */
enum { DQG_GAUSS_POINTS = 32 };
struct dqg_gauss {
    double at, weight;
};
struct dqg_gauss dqg_gauss_point(int32_t index);

/* The x that a Beta(a, b) variable stays below with probability p. */
double dqg_beta_quantile(double p, double a, double b);

/* The z that a standard normal variable stays below with probability p, 0 < p < 1. */
double dqg_normal_quantile(double p);

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

/* One evaluation on its way through a solver. Never of a step to sigma 0: that one ends at x0 whatever the solver. */
struct dqg_step {
    const struct dqg_solver *solver;
    const struct dqg_sched_point *from, *to; /* ends of this step; from[-j] is where the one j before began */
    const struct dqg_sched_point *middle;    /* where phases 1, 2 ... are evaluated, of a solver with points between */
    const struct dqg_levels *levels;         /* the schedule's times */
    struct dqg_estimate estimate;            /* at the point that was evaluated */
    double eta;
    enum dqg_variance variance;
    bool log_sigma;
    bool lower_final;
    const struct dqg_lml *lml; /* or NULL */
    float *update;             /* [n] with lml: the update of the step before */
    size_t samples;            /* in n */
    int32_t most;  /* order of a multistep solver, once it has its history */
    int32_t index; /* of the step */
    int32_t uncorrected; /* so many first steps */
    int32_t left;  /* steps to do, this one among them */
    int32_t phase; /* evaluations of this step before this one */
    int32_t kept;  /* steps before this one that history tells of */
    float *const *history;
    float *x;            /* [n] in and out */
    const float *output; /* [n] */
    const float *share;  /* [n] with a learned variance: where it lies */
    float *scratch;      /* [n] */
    size_t n;
    dqg_noise_fn noise;
    void *user;
};

/* Whether the last steps are of lower order: the last one of first, the one before of second at most, and so on. */
enum dqg_lower_order { DQG_LOWER_NEVER, DQG_LOWER_FEW_STEPS, DQG_LOWER_ALWAYS };

struct dqg_solver {
    struct dqg_piece piece;
    int32_t buffers;                  /* history buffers it needs, at its own order */
    int32_t evaluations;              /* of a step at most; those after the first at middle or else at the step's end */
    int32_t order;                    /* own one of a multistep solver, once it has its history */
    int32_t most_order;               /* that it can be asked for; 0: its own */
    int32_t variant;                  /* of its feed function */
    bool k_coordinates;               /* on VP schedules x = x0 + sigma eps; otherwise x keeps its variance */
    bool ends_at_first;               /* on VP schedules the last step leads to training timestep 0, not to sigma 0 */
    bool always_noise;                /* fresh noise in every step, whatever eta */
    bool both_ways;                   /* without noise its steps may also lead to more of it, from sigma 0 on */
    bool churns;                      /* a step may begin at a raised point */
    bool corrects;                    /* the result of a step, once the network was evaluated there */
    bool variances;                   /* of fresh noise, to choose from */
    bool log_sigma;                   /* can extrapolate in -ln sigma on flow */
    enum dqg_lower_order lower_final; /* unless asked otherwise */
    int32_t noise_families;           /* where eta > 0 has a meaning */
    int32_t lml_families;             /* where LML can correct its update */
    double own_eta;

    /* Update x. Returns DQG_OK, or DQG_PENDING to be called again with phase + 1. */
    dqg_status (*feed)(const struct dqg_step *step);

    /* sigma of the point at which a phase from 1 on is evaluated, or NULL. Solvers with such have k_coordinates. */
    double (*middle)(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                     const struct dqg_sched_point *to, double eta, int32_t phase);

    /* Likewise its timestep, in any coordinates. Of a solver with one evaluation it is a point that the rule needs. */
    double (*middle_time)(const struct dqg_sched_point *from, const struct dqg_sched_point *to, double eta,
                          int32_t phase, bool discrete);

    /* Multistep solvers of slopes: x' = x + sum of weights[j] times the slope j steps before, j < order. From step:
     * from, to, levels. weights come as zeros. */
    void (*weights)(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]);
};

extern const struct dqg_solver dqg_solvers[];
extern const size_t dqg_solver_count;

/* Feed functions and what goes with them, by file. */
dqg_status dqg_solver_euler_feed(const struct dqg_step *step); /* solver_ode.c */
dqg_status dqg_solver_heun_feed(const struct dqg_step *step);
dqg_status dqg_solver_ddim_feed(const struct dqg_step *step); /* solver_ddim.c */
dqg_status dqg_solver_lcm_feed(const struct dqg_step *step);
dqg_status dqg_solver_tcd_feed(const struct dqg_step *step);
double dqg_tcd_time(const struct dqg_sched_point *from, const struct dqg_sched_point *to, double eta, int32_t phase,
                    bool discrete);
dqg_status dqg_solver_dpm2_feed(const struct dqg_step *step); /* solver_single.c */
dqg_status dqg_solver_dpmpp_single_feed(const struct dqg_step *step);
dqg_status dqg_solver_dpm3_feed(const struct dqg_step *step);
double dqg_even_middle(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                       const struct dqg_sched_point *to, double eta, int32_t phase);
double dqg_log_middle(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                      const struct dqg_sched_point *to, double eta, int32_t phase);
dqg_status dqg_solver_dpmpp_multi_feed(const struct dqg_step *step); /* solver_multi.c */
dqg_status dqg_solver_dpm_multi_feed(const struct dqg_step *step);
dqg_status dqg_solver_er_sde_feed(const struct dqg_step *step);
dqg_status dqg_solver_unipc_feed(const struct dqg_step *step); /* solver_unipc.c */
dqg_status dqg_solver_rk_feed(const struct dqg_step *step);    /* solver_rk.c */
double dqg_rk_middle(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                     const struct dqg_sched_point *to, double eta, int32_t phase);
dqg_status dqg_solver_adams_feed(const struct dqg_step *step); /* solver_adams.c */
dqg_status dqg_solver_plms_feed(const struct dqg_step *step);
dqg_status dqg_solver_pndm_feed(const struct dqg_step *step);
double dqg_pndm_time(const struct dqg_sched_point *from, const struct dqg_sched_point *to, double eta, int32_t phase,
                     bool discrete);
void dqg_lms_weights(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]);
void dqg_deis_weights(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]);
void dqg_deis_time_weights(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]);
void dqg_pndm_weights(const struct dqg_step *step, int32_t order, double weights[DQG_MOST_ORDER]);

/* Variants of feed functions. */
enum { DQG_DPMPP_MIDPOINT, DQG_DPMPP_HEUN };
enum { DQG_SINGLE_QUIET_MIDDLE, DQG_SINGLE_NOISY_MIDDLE };
enum { DQG_UNIPC_BH1 = 1, DQG_UNIPC_BH2 };
enum { DQG_RK_KUTTA, DQG_RK_RALSTON, DQG_RK_HEUN, DQG_RK_VDH, DQG_RK_SSP, DQG_RK_FOURTH };

/*
 * A step with fresh noise: first to a point of less noise than its end, then x' = scale * x + fresh * z. In k
 * coordinates the ancestral step of Karras et al., on flow that of rectified flow.
 */
struct dqg_split {
    struct dqg_sched_point down;
    double scale, fresh;
};
struct dqg_split dqg_ancestral_split(const struct dqg_sched_point *from, const struct dqg_sched_point *to, double eta);

/* Standard normals z to scratch; draw counts those of a step. Then x += fresh * z. */
void dqg_step_draw(const struct dqg_step *step, int32_t draw);
void dqg_step_noise(const struct dqg_step *step, int32_t draw, double fresh);

/* What solvers keep from step to step lies in the first count buffers by turns: that of j steps before, 1 <= j <= count
 * and j <= kept; keep is where this step's goes, the place of the oldest. */
static inline float *dqg_past(const struct dqg_step *step, int32_t count, int32_t j) {
    return step->history[(step->index + count - j) % count];
}
static inline float *dqg_keep(const struct dqg_step *step, int32_t count) {
    return step->history[step->index % count];
}

/* Put what is in scratch there; none is kept where count is 0. */
void dqg_keep_scratch(const struct dqg_step *step, int32_t count);

/* exp(-h), h being what the step adds to ln(alpha / sigma); 0 where there is no signal at its start. */
static inline double dqg_decay(const struct dqg_sched_point *from, const struct dqg_sched_point *to) {
    return from->alpha * to->sigma / (from->sigma * to->alpha);
}

/* out = a * x + b * y; out may be x or y. */
void dqg_combine(float *out, double a, const float *x, double b, const float *y, size_t n);

/* out = x0_weight * x0 + eps_weight * eps, as this evaluation has them; out may be step->x. */
void dqg_step_combine(const struct dqg_step *step, float *out, double x0_weight, double eps_weight);

/* Order of this step's rule, or of the one so many before: as much as is known, or less at the end. */
static inline int32_t dqg_step_order(const struct dqg_step *step, int32_t before) {
    int32_t known = step->kept + 1 - before;
    int32_t order = known < step->most ? known : step->most;
    int32_t left = step->left + before;
    return step->lower_final && left < order ? left : order;
}

/* slope = dx/dsigma, likewise: eps in k coordinates, eps - x0 on flow. */
void dqg_step_slope(const struct dqg_step *step, float *slope);

/* In range, or what a scheduler's number must be. */
dqg_status dqg_check_number(struct dqg_context *context, const char *what, double value, double lowest, double highest);

/* ---- LML: lml.c ---- */

static inline bool dqg_lml_is_on(const struct dqg_lml *lml) {
    return lml->kappa > 0 || lml->rho > 0;
}

dqg_status dqg_lml_check(struct dqg_context *context, const struct dqg_sched_parts *parts);

/* x = x_weight x + gain n, n being the update in scratch as LML corrects it, which is remembered as it was. */
void dqg_lml_add(const struct dqg_step *step, double x_weight, double gain);

/* The corrected update is n_weight n + p_weight p, p being the one before; nn, np, pp are inner products. */
struct dqg_lml_weights {
    double n, p;
};
struct dqg_lml_weights dqg_lml_correct(const struct dqg_lml *lml, double nn, double np, double pp);

/* ---- points ---- */

/* The pieces that a configuration names. */
struct dqg_sched_parts {
    struct dqg_sched_config config; /* checked; steps and order as they will be */
    const struct dqg_schedule *schedule;
    const struct dqg_spacing *spacing;
    const struct dqg_prediction_row *prediction;
    const struct dqg_solver *solver;
    enum dqg_lower_order lower_final;
    enum dqg_variance variance;
    bool log_sigma;
};

static inline int32_t dqg_schedule_family(const struct dqg_schedule *schedule) {
    return schedule->family;
}

/* The shift that a flow's options come down to, from the resolution where they say so; and its power (shift.c). */
dqg_status dqg_sched_set_shift(struct dqg_context *context, struct dqg_sched_config *config);

/* Stretch sigmas of a flow so that the last one is the config's shift_terminal; the first, 1, stays. */
void dqg_sched_stretch(const struct dqg_sched_config *config, double *sigmas);

/* Points of a plan that a solver evaluates within one step, and the first of a step; those of all steps lie behind the
 * plan's own points. */
static inline int32_t dqg_solver_middles(const struct dqg_solver *solver) {
    if (solver->middle == NULL && solver->middle_time == NULL) {
        return 0;
    }
    return solver->evaluations > 1 ? solver->evaluations - 1 : 1;
}
static inline size_t dqg_first_middle(const struct dqg_solver *solver, int32_t steps, int32_t step) {
    return (size_t)steps + 1 + (size_t)step * (size_t)dqg_solver_middles(solver);
}

/* Check the options that adjust a solver, and set what follows from them. */
dqg_status dqg_solver_options(struct dqg_context *context, struct dqg_sched_parts *parts);

/* Share by which a step from sigma begins higher: gamma of Karras et al. 2022, arXiv 2206.00364, algorithm 2. */
double dqg_churn(const struct dqg_sched_config *config, double sigma);

dqg_status dqg_levels_init(struct dqg_context *context, const struct dqg_sched_parts *parts, struct dqg_levels *levels);
void dqg_levels_free(const struct dqg_alloc *alloc, struct dqg_levels *levels);

/* The level at a timestep in 0..count-1 of a spacing or list; between two of a table linear in sigma, or ln sigma. */
double dqg_levels_sigma(const struct dqg_levels *levels, double timestep, bool log_levels);

/* The time of a level, increasing; what the network is told of it, within what it was trained on. */
double dqg_levels_time(const struct dqg_levels *levels, double sigma);
double dqg_levels_timestep(const struct dqg_levels *levels, double sigma);

/* How many points a plan has, those between and those raised among them, and what they are. */
size_t dqg_sched_point_count(const struct dqg_solver *solver, int32_t steps, bool churn);
dqg_status dqg_sched_points(struct dqg_context *context, const struct dqg_sched_parts *parts,
                            const struct dqg_levels *levels, struct dqg_sched_point *points);

/* Hash of a complete plan. */
uint64_t dqg_sched_identity(const struct dqg_sched *sched);

#endif
