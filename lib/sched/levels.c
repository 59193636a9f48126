/* SPDX-License-Identifier: MIT */
/*
 * Noise level as a function of time and back, for each kind of schedule: of rectified flow the level is the time, a
 * discrete schedule has a table of levels, a continuous one a formula; the time of EDM is ln sigma / 4. Called by
 * sched.c, points.c and solver_adams.c.
 */
#include "sched/pieces.h"

#include <math.h>

static size_t table_size(const struct dqg_levels *levels) {
    return (size_t)levels->count * sizeof(levels->table[0]); /* count was checked */
}

dqg_status dqg_levels_init(struct dqg_context *context, const struct dqg_sched_parts *parts,
                           struct dqg_levels *levels) {
    const struct dqg_sched_config *config = &parts->config;
    *levels = (struct dqg_levels){
        .kind = DQG_LEVELS_FLOW, .count = config->train_timesteps, .timestep_scale = config->timestep_scale};
    if (dqg_schedule_family(parts->schedule) == DQG_FAMILY_FLOW) {
        return DQG_OK;
    }
    if (dqg_schedule_family(parts->schedule) == DQG_FAMILY_EDM) {
        levels->kind = DQG_LEVELS_EDM;
        return DQG_OK;
    }
    double start, end;
    DQG_TRY(dqg_schedule_ends(context, parts->schedule, config, &start, &end));
    if (parts->schedule->continuous) {
        levels->kind = DQG_LEVELS_CONTINUOUS;
        levels->beta_start = start * config->train_timesteps;
        levels->beta_end = end * config->train_timesteps;
        return DQG_OK;
    }
    levels->kind = DQG_LEVELS_TABLE;
    levels->table = dqg_malloc(&context->alloc, table_size(levels));
    if (levels->table == NULL) {
        return dqg_fail_memory(context, "scheduler", table_size(levels));
    }
    return dqg_schedule_sigmas(context, parts->schedule, config, levels->table);
}

void dqg_levels_free(const struct dqg_alloc *alloc, struct dqg_levels *levels) {
    if (levels->table != NULL) {
        dqg_free(alloc, levels->table, table_size(levels));
        levels->table = NULL;
    }
}

/* ---- continuous: ln alpha(t) = -(b0 t / 2 + (b1 - b0) t^2 / 4), t from 0 to 1 ---- */

static double continuous_sigma(const struct dqg_levels *levels, double t) {
    double growth = levels->beta_end - levels->beta_start;
    return sqrt(expm1(2 * t * (0.5 * levels->beta_start + 0.25 * growth * t)));
}

/* The smaller root of the square equation, written so that nothing cancels. */
static double continuous_time(const struct dqg_levels *levels, double sigma) {
    double loss = 0.5 * log1p(sigma * sigma); /* -ln alpha */
    double half = 0.5 * levels->beta_start;
    double growth = levels->beta_end - levels->beta_start;
    return 2 * loss / (half + sqrt(fmax(half * half + growth * loss, 0)));
}

/* ---- discrete ---- */

static double table_sigma(const struct dqg_levels *levels, double timestep, bool log_levels) {
    const double *table = levels->table;
    int32_t below = (int32_t)timestep;
    if (below >= levels->count - 1) {
        return table[levels->count - 1];
    }
    double part = timestep - below;
    if (log_levels) {
        return table[below] * pow(table[below + 1] / table[below], part);
    }
    return (1 - part) * table[below] + part * table[below + 1];
}

/* Linear in ln sigma; beyond the table as between its last two levels. */
static double table_time(const struct dqg_levels *levels, double sigma) {
    const double *table = levels->table;
    int32_t below = 0;
    int32_t above = levels->count - 1;
    if (above == 0) {
        return log(sigma / table[0]);
    }
    while (above - below > 1) { /* the level lies between them, or beyond the end that they meet at */
        int32_t middle = below + (above - below) / 2;
        if (table[middle] <= sigma) {
            below = middle;
        } else {
            above = middle;
        }
    }
    return below + log(sigma / table[below]) / log(table[above] / table[below]);
}

/* ---- all ---- */

double dqg_levels_sigma(const struct dqg_levels *levels, double timestep, bool log_levels) {
    return levels->kind == DQG_LEVELS_TABLE ? table_sigma(levels, timestep, log_levels)
                                            : continuous_sigma(levels, (timestep + 1) / levels->count);
}

double dqg_levels_time(const struct dqg_levels *levels, double sigma) {
    return levels->kind == DQG_LEVELS_FLOW         ? sigma
           : levels->kind == DQG_LEVELS_EDM        ? 0.25 * log(sigma) /* c_noise: Karras et al. 2022, table 1 */
           : levels->kind == DQG_LEVELS_CONTINUOUS ? continuous_time(levels, sigma)
                                                   : table_time(levels, sigma);
}

double dqg_levels_timestep(const struct dqg_levels *levels, double sigma) {
    double time = dqg_levels_time(levels, sigma);
    if (levels->kind == DQG_LEVELS_TABLE) {
        return fmin(fmax(time, 0), levels->count - 1);
    }
    return levels->kind == DQG_LEVELS_EDM ? time : levels->timestep_scale * fmin(time, 1);
}
