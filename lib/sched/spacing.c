/* SPDX-License-Identifier: MIT */
/*
 * The table of spacings: which points of a schedule are visited. The three of discrete schedules are those of "Common
 * Diffusion Noise Schedules and Sample Steps are Flawed" (Lin et al. 2023, arXiv 2305.08891), table 2. What they give
 * is checked in points.c, which calls them.
 */
#include "sched/pieces.h"

#include <math.h>

/* T - 1 ... 0, evenly, fractional where it must be. A single step starts from the noise. */
static void linspace_timesteps(const struct dqg_sched_config *config, double *out) {
    double last = config->train_timesteps - 1;
    for (int32_t i = 0; i < config->steps; i++) {
        out[i] = config->steps > 1 ? last * (config->steps - 1 - i) / (config->steps - 1) : last;
    }
}

/* Multiples of floor(T / n) above the offset: ends low, and starts below T - 1. */
static void leading_timesteps(const struct dqg_sched_config *config, double *out) {
    int32_t gap = config->train_timesteps / config->steps;
    for (int32_t i = 0; i < config->steps; i++) {
        out[i] = (double)(config->steps - 1 - i) * gap + config->steps_offset;
    }
}

/* T - 1 downwards in steps of T / n: starts from pure noise. Halves round to even, as published code does. */
static void trailing_timesteps(const struct dqg_sched_config *config, double *out) {
    double gap = (double)config->train_timesteps / config->steps;
    for (int32_t i = 0; i < config->steps; i++) {
        out[i] = rint(config->train_timesteps - i * gap) - 1;
    }
}

/* T - 1 ... 0 in n + 1 points, of which the last is left out. */
static void sgm_uniform_timesteps(const struct dqg_sched_config *config, double *out) {
    double last = config->train_timesteps - 1;
    for (int32_t i = 0; i < config->steps; i++) {
        out[i] = last * (config->steps - i) / config->steps;
    }
}

static void simple_timesteps(const struct dqg_sched_config *config, double *out) {
    for (int32_t i = 0; i < config->steps; i++) {
        out[i] = config->train_timesteps - 1 - floor((double)i * config->train_timesteps / config->steps);
    }
}

/* Every floor(T / n)-th from timestep 1 on. */
static void ddim_uniform_timesteps(const struct dqg_sched_config *config, double *out) {
    int32_t gap = config->train_timesteps / config->steps;
    for (int32_t i = 0; i < config->steps; i++) {
        out[i] = 1 + (double)(config->steps - 1 - i) * gap;
    }
}

/* Round shares 1 ... of T - 1 to timesteps. Where two fall on one, the later moves on. */
static void round_shares(const struct dqg_sched_config *config, double *out) {
    double last = config->train_timesteps - 1;
    for (int32_t i = 0; i < config->steps; i++) {
        double t = rint(last * out[i]);
        double left = config->steps - 1 - i; /* points that still have to fit below */
        out[i] = fmax(i > 0 ? fmin(t, out[i - 1] - 1) : t, left);
    }
}

/* Squares, dense at low noise, up to 0.8 T. Where two fall on one timestep, the later moves on. */
static void quadratic_timesteps(const struct dqg_sched_config *config, double *out) {
    double gap = config->steps > 1 ? sqrt(0.8 * config->train_timesteps) / (config->steps - 1) : 0;
    double before = -1;
    for (int32_t i = 0; i < config->steps; i++) {
        double root = gap * i;
        before = fmax(floor(root * root + 1e-9), before + 1);
        out[config->steps - 1 - i] = before;
    }
}

/* Quantiles of Beta(0.6, 0.6), dense at both ends. */
static void beta_timesteps(const struct dqg_sched_config *config, double *out) {
    for (int32_t i = 0; i < config->steps; i++) {
        out[i] = i > 0 ? dqg_beta_quantile(1 - (double)i / config->steps, 0.6, 0.6) : 1;
    }
    round_shares(config, out);
}

/* Much like beta, without a quantile: u^2 (3 - 2 u). */
static void smoothstep_timesteps(const struct dqg_sched_config *config, double *out) {
    for (int32_t i = 0; i < config->steps; i++) {
        double u = 1 - (double)i / config->steps;
        out[i] = u * u * (3 - 2 * u);
    }
    round_shares(config, out);
}

/* The list that latent consistency models were distilled on, thinned out: k T / 50 - 1. */
static void lcm_timesteps(const struct dqg_sched_config *config, double *out) {
    int32_t base = config->steps > 50 ? config->steps : 50;
    for (int32_t i = 0; i < config->steps; i++) {
        double k = base - floor((double)i * base / config->steps);
        out[i] = floor(k * config->train_timesteps / base) - 1;
    }
}

/* t = T ... 1, evenly in its root of order time_power. */
static void power_timesteps(const struct dqg_sched_config *config, double *out) {
    double root = pow(config->train_timesteps, 1 / config->time_power);
    for (int32_t i = 0; i < config->steps; i++) {
        double part = config->steps > 1 ? (double)i / (config->steps - 1) : 0;
        double t = pow(root + part * (1 - root), config->time_power);
        out[i] = fmin(fmax(t, 1), config->train_timesteps) - 1;
    }
}

/* The equal ones give way to the smallest that are not in the list: these and what lies among them end it without a
 * gap. */
void dqg_spacing_make_whole(double *timesteps, int32_t count) {
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        double whole = floor(timesteps[i]);
        if (kept == 0 || whole < timesteps[kept - 1]) {
            timesteps[kept++] = whole;
        }
    }
    int32_t below = count - kept; /* the list ends with this number of timesteps: below - 1 ... 0 */
    while (kept > 0 && timesteps[kept - 1] < below) {
        kept--;
        below++;
    }
    for (int32_t i = 0; i < below; i++) {
        timesteps[kept + i] = below - 1 - i;
    }
}

/* t = 1 ... 1/n evenly, then shifted (Esser et al. 2024, arXiv 2403.03206). */
static void linspace_flow(const struct dqg_sched_config *config, double *out) {
    for (int32_t i = 0; i < config->steps; i++) {
        out[i] = dqg_flow_shift(config, config->steps - i, i);
    }
}

/* As Stable Diffusion 3 was published: evenly from 1 to the shifted 1/T, and that shifted once more. */
static void sd3_flow(const struct dqg_sched_config *config, double *out) {
    double last = dqg_flow_shift(config, 1, config->train_timesteps - 1);
    for (int32_t i = 0; i < config->steps; i++) {
        double part = config->steps > 1 ? (double)i / (config->steps - 1) : 0;
        out[i] = dqg_flow_shift(config, 1 - part * (1 - last), part * (1 - last));
    }
}

/*
 * Quantiles of the logit-normal distribution: ln(sigma / (1 - sigma)) is normal with mean ln(shift) and deviation
 * shift_power. Held where Ideogram 4, which it was published with, holds them: ln(sigma / (1 - sigma)) = -7.5 ... 9.
 */
static void logit_normal_flow(const struct dqg_sched_config *config, double *out) {
    const double most = 9, least = -7.5;
    for (int32_t i = 0; i < config->steps; i++) {
        double z = i > 0 ? dqg_normal_quantile(1 - (double)i / config->steps) : INFINITY;
        double logit = log(config->shift) + config->shift_power * z;
        out[i] = 1 / (1 + exp(-fmax(fmin(logit, most), least)));
    }
}

const char dqg_spacing_names[] =
    "linspace|leading|trailing|normal|sgm-uniform|simple|ddim-uniform|beta|quadratic|lcm|karras|"
    "exponential|kl-optimal|linear-quadratic|ays|ays-sdxl|sd3|time-power|polyexponential|beta-levels|"
    "ays-svd|smoothstep|logit-normal";

enum { BOTH = DQG_FAMILY_VP | DQG_FAMILY_FLOW, ALL = BOTH | DQG_FAMILY_EDM };

const struct dqg_spacing dqg_spacings[] = {
    {.piece = {"linspace", "evenly from the last training timestep to the first; on flow t = 1 to 1/n, shifted"},
     .families = BOTH,
     .timesteps = linspace_timesteps,
     .flow = linspace_flow},
    {.piece = {"leading", "multiples of floor(T / n), plus steps_offset: DDIM (Song et al. 2020, arXiv 2010.02502)"},
     .families = DQG_FAMILY_VP,
     .unit_start = true,
     .timesteps = leading_timesteps},
    {.piece = {"trailing", "round(T - i T / n) - 1: Lin et al. 2023, arXiv 2305.08891"},
     .families = DQG_FAMILY_VP,
     .timesteps = trailing_timesteps},
    {.piece = {"normal", "linspace with levels interpolated in ln sigma: k-diffusion"},
     .families = BOTH,
     .log_levels = true,
     .timesteps = linspace_timesteps},
    {.piece = {"sgm-uniform", "normal with n + 1 points, the last left out: generative-models (Stability AI)"},
     .families = BOTH,
     .log_levels = true,
     .timesteps = sgm_uniform_timesteps},
    {.piece = {"simple", "T - 1 - floor(i T / n): ComfyUI"}, .families = BOTH, .timesteps = simple_timesteps},
    {.piece = {"ddim-uniform", "multiples of floor(T / n), plus 1: latent diffusion (Rombach et al. 2021)"},
     .families = BOTH,
     .timesteps = ddim_uniform_timesteps},
    {.piece = {"beta", "quantiles of Beta(0.6, 0.6): Lee et al. 2024, arXiv 2407.12173"},
     .families = BOTH,
     .timesteps = beta_timesteps},
    {.piece = {"quadratic",
               "floor(linspace(0, sqrt(0.8 T), n)^2): DDIM (Song et al. 2020), DiffuseVAE, arXiv 2201.00308"},
     .families = DQG_FAMILY_VP,
     .unit_start = true,
     .timesteps = quadratic_timesteps},
    {.piece = {"lcm", "the list of latent consistency models: Luo et al. 2023, arXiv 2310.04378"},
     .families = DQG_FAMILY_VP,
     .timesteps = lcm_timesteps},
    {.piece = {"karras", "even in sigma^(1/7): Karras et al. 2022, arXiv 2206.00364, equation 5"},
     .families = ALL,
     .levels = dqg_spacing_karras},
    {.piece = {"exponential", "even in ln sigma: k-diffusion"}, .families = ALL, .levels = dqg_spacing_exponential},
    {.piece = {"kl-optimal", "even in arctan sigma: Align Your Steps (Sabour et al. 2024, arXiv 2404.14507)"},
     .families = ALL,
     .levels = dqg_spacing_kl_optimal},
    {.piece = {"linear-quadratic", "half of the steps for the first 2.5 % of the noise: Movie Gen, arXiv 2410.13720"},
     .families = ALL,
     .levels = dqg_spacing_linear_quadratic},
    {.piece = {"ays", "optimised for Stable Diffusion 1.5: Align Your Steps (Sabour et al. 2024, arXiv 2404.14507)"},
     .families = DQG_FAMILY_VP,
     .levels = dqg_spacing_ays},
    {.piece = {"ays-sdxl", "optimised for SDXL: Align Your Steps (Sabour et al. 2024, arXiv 2404.14507)"},
     .families = DQG_FAMILY_VP,
     .levels = dqg_spacing_ays_xl},
    {.piece = {"sd3", "shifted at its ends, then as a whole: the published code of Stable Diffusion 3"},
     .families = DQG_FAMILY_FLOW,
     .flow = sd3_flow},
    {.piece = {"time-power", "even in a root of the time: DEIS (Zhang and Chen 2022, arXiv 2204.13902)"},
     .families = BOTH,
     .whole = true,
     .timesteps = power_timesteps},
    {.piece = {"polyexponential", "even in a power of ln sigma's share of its way: k-diffusion"},
     .families = ALL,
     .levels = dqg_spacing_polyexponential},
    {.piece = {"beta-levels", "quantiles of Beta(0.6, 0.6) as shares of the way between both levels: diffusers"},
     .families = ALL,
     .levels = dqg_spacing_beta_levels},
    {.piece = {"ays-svd", "optimised for Stable Video Diffusion: Align Your Steps, arXiv 2404.14507"},
     .families = DQG_FAMILY_EDM,
     .levels = dqg_spacing_ays_svd},
    {.piece = {"smoothstep", "u^2 (3 - 2 u) of even u, near beta: stable-diffusion.cpp"},
     .families = BOTH,
     .log_levels = true,
     .timesteps = smoothstep_timesteps},
    {.piece = {"logit-normal", "quantiles of the logit-normal distribution: the published code of Ideogram 4"},
     .families = DQG_FAMILY_FLOW,
     .flow = logit_normal_flow},
};
const size_t dqg_spacing_count = DQG_COUNT_OF(dqg_spacings);
