/* SPDX-License-Identifier: MIT */
/*
 * The table of schedules, and what a discrete one comes down to: the noise level of each training timestep in k
 * coordinates, sigma = sqrt((1 - acp) / acp), where acp is the running product of 1 - beta. Called by points.c.
 */
#include "sched/pieces.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* The smallest share of signal power that a schedule may end with: below it, x0 estimates mean nothing in float. */
static const double smallest_acp = 1e-20;

/* Value index of count evenly spaced ones. */
static double spaced(double start, double end, int32_t index, int32_t count) {
    return count > 1 ? start + index * ((end - start) / (count - 1)) : start;
}

static void linear_betas(double start, double end, int32_t count, double *betas) {
    for (int32_t i = 0; i < count; i++) {
        betas[i] = spaced(start, end, i, count);
    }
}

static void scaled_linear_betas(double start, double end, int32_t count, double *betas) {
    for (int32_t i = 0; i < count; i++) {
        double root = spaced(sqrt(start), sqrt(end), i, count);
        betas[i] = root * root;
    }
}

static double cosine_acp(double u) {
    double c = cos((u + 0.008) / 1.008 * pi / 2);
    return c * c;
}

/* Defined by its acp; the last beta is held below 1. start and end have no part in it. */
static void cosine_betas(double start, double end, int32_t count, double *betas) {
    (void)start;
    (void)end;
    for (int32_t i = 0; i < count; i++) {
        betas[i] = fmin(1 - cosine_acp((i + 1.0) / count) / cosine_acp((double)i / count), 0.999);
    }
}

static void sigmoid_betas(double start, double end, int32_t count, double *betas) {
    for (int32_t i = 0; i < count; i++) {
        betas[i] = start + (end - start) / (1 + exp(-spaced(-6, 6, i, count)));
    }
}

const char dqg_schedule_names[] = "flow|linear|scaled-linear|cosine|sigmoid|vp|edm";

const struct dqg_schedule dqg_schedules[] = {
    {.piece = {"flow", "x = (1 - sigma) x0 + sigma eps: rectified flow (Liu et al. 2022, arXiv 2209.03003)"},
     .family = DQG_FAMILY_FLOW},
    {.piece = {"linear", "beta grows evenly: DDPM (Ho et al. 2020, arXiv 2006.11239)"},
     .family = DQG_FAMILY_VP,
     .beta_start = 1e-4,
     .beta_end = 0.02,
     .betas = linear_betas},
    {.piece = {"scaled-linear", "sqrt(beta) grows evenly: latent diffusion (Rombach et al. 2021, arXiv 2112.10752)"},
     .family = DQG_FAMILY_VP,
     .beta_start = 0.00085,
     .beta_end = 0.012,
     .betas = scaled_linear_betas},
    {.piece = {"cosine", "acp follows a squared cosine: improved DDPM (Nichol and Dhariwal 2021, arXiv 2102.09672)"},
     .family = DQG_FAMILY_VP,
     .beta_start = 1e-4, /* checked like the others, then unused */
     .beta_end = 0.02,
     .betas = cosine_betas},
    {.piece = {"sigmoid", "beta follows a logistic curve: GeoDiff (Xu et al. 2022, arXiv 2203.02923)"},
     .family = DQG_FAMILY_VP,
     .beta_start = 1e-4,
     .beta_end = 0.02,
     .betas = sigmoid_betas},
    {.piece = {"vp", "what linear tends to for many timesteps: score-based SDEs (Song et al. 2021, arXiv 2011.13456)"},
     .family = DQG_FAMILY_VP,
     .beta_start = 1e-4,
     .beta_end = 0.02,
     .betas = linear_betas,
     .continuous = true},
    {.piece = {"edm", "x = x0 + sigma eps at any sigma: EDM (Karras et al. 2022, arXiv 2206.00364)"},
     .family = DQG_FAMILY_EDM},
};
const size_t dqg_schedule_count = DQG_COUNT_OF(dqg_schedules);

/*
 * Stretch sqrt(acp) so that the first stays and the last becomes 0 (Lin et al. 2023, arXiv 2305.08891, algorithm 1);
 * held at 2^-24 of the power, as an infinite sigma is of no use.
 */
static void remove_last_signal(double *acp, int32_t count) {
    double first = sqrt(acp[0]);
    double last = sqrt(acp[count - 1]);
    for (int32_t t = 1; t < count; t++) {
        double root = (sqrt(acp[t]) - last) * (first / (first - last));
        acp[t] = t < count - 1 ? root * root : 0x1p-24;
    }
}

dqg_status dqg_schedule_ends(struct dqg_context *context, const struct dqg_schedule *schedule,
                             const struct dqg_sched_config *config, double *start, double *end) {
    bool own = config->beta_start == 0 && config->beta_end == 0;
    *start = own ? schedule->beta_start : config->beta_start;
    *end = own ? schedule->beta_end : config->beta_end;
    if (!(*start > 0 && *start < 1 && *end > 0 && *end < 1)) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "scheduler: beta_start %g and beta_end %g must lie between 0 and 1, or both be 0 for those of "
                        "schedule '%s'",
                        *start, *end, schedule->piece.name);
    }
    return DQG_OK;
}

dqg_status dqg_schedule_sigmas(struct dqg_context *context, const struct dqg_schedule *schedule,
                               const struct dqg_sched_config *config, double *sigmas) {
    double start, end;
    DQG_TRY(dqg_schedule_ends(context, schedule, config, &start, &end));
    schedule->betas(start, end, config->train_timesteps, sigmas);
    double acp = 1;
    for (int32_t t = 0; t < config->train_timesteps; t++) {
        acp *= 1 - sigmas[t];
        if (!(acp >= smallest_acp)) {
            return dqg_fail(context, DQG_ERROR_RANGE,
                            "scheduler: schedule '%s' leaves no signal after %d of %d train_timesteps: use smaller "
                            "betas or fewer train_timesteps",
                            schedule->piece.name, t, config->train_timesteps);
        }
        sigmas[t] = acp;
    }
    if (config->zero_snr) {
        remove_last_signal(sigmas, config->train_timesteps);
    }
    for (int32_t t = 0; t < config->train_timesteps; t++) {
        sigmas[t] = sqrt((1 - sigmas[t]) / sigmas[t]);
    }
    return DQG_OK;
}
