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

/*
 * t = 1 ... 1/n evenly, then shifted: sigma = s t / (1 + (s - 1) t) (Esser et al. 2024, arXiv 2403.03206), written so
 * that no shift loses digits.
 */
static void linspace_flow(const struct dqg_sched_config *config, double *out) {
    for (int32_t i = 0; i < config->steps; i++) {
        double noise = config->shift * (config->steps - i);
        out[i] = noise / (i + noise);
    }
}

const char dqg_spacing_names[] = "linspace|leading|trailing";

const struct dqg_spacing dqg_spacings[] = {
    {{"linspace", "evenly from the last training timestep to the first; on flow t = 1 to 1/n, shifted"},
     false,
     linspace_timesteps,
     linspace_flow},
    {{"leading", "multiples of floor(T / n), plus steps_offset: DDIM (Song et al. 2020, arXiv 2010.02502)"},
     true,
     leading_timesteps,
     NULL},
    {{"trailing", "round(T - i T / n) - 1: Lin et al. 2023, arXiv 2305.08891"}, false, trailing_timesteps, NULL},
};
const size_t dqg_spacing_count = DQG_COUNT_OF(dqg_spacings);
