/* SPDX-License-Identifier: MIT */
/*
 * From a checked configuration to the points of a plan, in two passes: sigma and timestep of each point, from the
 * spacing or from the host's lists; then the coordinates that the solver works in. Called by sched.c.
 */
#include "sched/pieces.h"

#include <math.h>

/* Limits of a sigma before the last: ratios of two of them, and their inverses, stay within float. */
static const double smallest_sigma = 1e-12;
static const double largest_sigma = 1e12;

static bool has_sigmas(const struct dqg_sched_config *config) {
    return config->sigmas != NULL;
}

static bool has_timesteps(const struct dqg_sched_config *config) {
    return config->timesteps != NULL;
}

/* The sigmas so far in points[0..steps - 1] must fall, towards a last one that may be 0. */
static dqg_status check_sigmas(struct dqg_context *context, const struct dqg_sched_config *config, double largest,
                               const struct dqg_sched_point *points) {
    double before = INFINITY;
    for (int32_t i = 0; i < config->steps; i++) {
        double sigma = points[i].sigma;
        if (!(sigma < before && sigma >= smallest_sigma && sigma <= largest)) {
            return dqg_fail(context, DQG_ERROR_RANGE,
                            "scheduler: sigma %d of %s is %g; each must be less than the one before and from %g to %g",
                            i, has_sigmas(config) ? "the list" : "this schedule, with its shift and steps,", sigma,
                            smallest_sigma, largest);
        }
        before = sigma;
    }
    double last = points[config->steps].sigma;
    if (!(last == 0 || (last >= smallest_sigma && last < before))) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "scheduler: the last sigma of the list is %g; it must be 0, or less than the one before", last);
    }
    return DQG_OK;
}

static dqg_status check_timesteps(struct dqg_context *context, const struct dqg_sched_parts *parts,
                                  const double *timesteps) {
    const struct dqg_sched_config *config = &parts->config;
    double last = config->train_timesteps - 1;
    for (int32_t i = 0; i < config->steps; i++) {
        double t = timesteps[i];
        if (t >= 0 && t <= last && (i == 0 || t < timesteps[i - 1])) {
            continue;
        }
        if (has_timesteps(config)) {
            return dqg_fail(context, DQG_ERROR_RANGE,
                            "scheduler: timestep %d of the list is %g; each must be less than the one before and from "
                            "0 to %g",
                            i, t, last);
        }
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "scheduler: %d steps of spacing '%s' with steps_offset %d visit timestep %g, but the last one "
                        "of the schedule is %g: use fewer steps or a smaller offset",
                        config->steps, parts->spacing->piece.name, config->steps_offset, t, last);
    }
    return DQG_OK;
}

/* Ends of a spacing of noise levels: the schedule's own, or what the configuration has in their place. */
static struct dqg_level_range level_range(const struct dqg_sched_config *config, double smallest, double largest) {
    struct dqg_level_range range = {.smallest = config->sigma_min > 0 ? config->sigma_min : smallest,
                                    .largest = config->sigma_max > 0 ? config->sigma_max : largest,
                                    .rho = config->rho,
                                    .steps = config->steps};
    return range;
}

static dqg_status place_levels(struct dqg_context *context, const struct dqg_sched_parts *parts, double smallest,
                               double largest, double *list) {
    struct dqg_level_range range = level_range(&parts->config, smallest, largest);
    if (!(range.smallest < range.largest)) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "scheduler: sigma_min %g is not below sigma_max %g (0 is the schedule's own)", range.smallest,
                        range.largest);
    }
    parts->spacing->levels(&range, list);
    return DQG_OK;
}

/* The spacing's sigmas of a flow. Those made for discrete timesteps see T of them, shifted. */
static dqg_status space_flow(struct dqg_context *context, const struct dqg_sched_parts *parts, double *list) {
    const struct dqg_sched_config *config = &parts->config;
    const struct dqg_spacing *spacing = parts->spacing;
    double count = config->train_timesteps;
    if (spacing->flow != NULL) {
        spacing->flow(config, list);
    } else if (spacing->levels != NULL) {
        DQG_TRY(place_levels(context, parts, dqg_flow_shift(config, 1, count - 1), 1, list));
    } else {
        spacing->timesteps(config, list);
        for (int32_t i = 0; i < config->steps; i++) {
            list[i] = dqg_flow_shift(config, list[i] + 1, count - 1 - list[i]);
        }
    }
    if (config->shift_terminal > 0) {
        dqg_sched_stretch(config, list);
    }
    return DQG_OK;
}

static dqg_status flow_levels(struct dqg_context *context, const struct dqg_sched_parts *parts, double *list,
                              struct dqg_sched_point *points) {
    const struct dqg_sched_config *config = &parts->config;
    const double *sigmas = has_sigmas(config) ? config->sigmas : list;
    if (!has_sigmas(config)) {
        DQG_TRY(space_flow(context, parts, list));
    }
    for (int32_t i = 0; i < config->steps + has_sigmas(config); i++) {
        points[i].sigma = sigmas[i];
        points[i].timestep = config->timestep_scale * sigmas[i];
    }
    return DQG_OK;
}

static dqg_status edm_levels(struct dqg_context *context, const struct dqg_sched_parts *parts,
                             const struct dqg_levels *levels, double *list, struct dqg_sched_point *points) {
    const struct dqg_sched_config *config = &parts->config;
    const double *sigmas = has_sigmas(config) ? config->sigmas : list;
    if (!has_sigmas(config)) {
        DQG_TRY(place_levels(context, parts, 0.002, 80, list)); /* Karras et al. 2022, table 1 */
    }
    for (int32_t i = 0; i < config->steps + has_sigmas(config); i++) {
        points[i].sigma = sigmas[i];
        points[i].timestep = sigmas[i] > 0 ? dqg_levels_timestep(levels, sigmas[i]) : 0;
    }
    return DQG_OK;
}

/* Is the level at a fractional timestep interpolated in ln sigma? */
static bool in_log(const struct dqg_sched_parts *parts) {
    const struct dqg_sched_config *config = &parts->config;
    const char *asked = config->interpolation;
    if (asked != NULL && asked[0] != '\0') {
        return strcmp(asked, "log") == 0;
    }
    bool spaced = !has_sigmas(config) && !has_timesteps(config);
    return has_sigmas(config) || (spaced && (parts->spacing->levels != NULL || parts->spacing->log_levels));
}

static dqg_status vp_levels(struct dqg_context *context, const struct dqg_sched_parts *parts,
                            const struct dqg_levels *levels, double *list, struct dqg_sched_point *points) {
    const struct dqg_sched_config *config = &parts->config;
    double smallest = dqg_levels_sigma(levels, 0, false);
    bool spaced = !has_sigmas(config) && !has_timesteps(config);
    bool by_level = spaced && parts->spacing->levels != NULL;
    if (by_level) {
        double largest = dqg_levels_sigma(levels, config->train_timesteps - 1, false);
        DQG_TRY(place_levels(context, parts, smallest, largest, list));
    }
    if (by_level || has_sigmas(config)) {
        const double *sigmas = by_level ? list : config->sigmas;
        for (int32_t i = 0; i < config->steps + has_sigmas(config); i++) {
            points[i].sigma = sigmas[i];
            points[i].timestep = dqg_levels_timestep(levels, sigmas[i]);
        }
        return DQG_OK;
    }
    const double *timesteps = has_timesteps(config) ? config->timesteps : list;
    if (spaced) {
        parts->spacing->timesteps(config, list);
    }
    if (spaced && parts->spacing->whole && !parts->schedule->continuous) {
        dqg_spacing_make_whole(list, config->steps);
    }
    DQG_TRY(check_timesteps(context, parts, timesteps));
    for (int32_t i = 0; i < config->steps; i++) {
        points[i].sigma = dqg_levels_sigma(levels, timesteps[i], in_log(parts));
        points[i].timestep = parts->schedule->continuous ? dqg_levels_timestep(levels, points[i].sigma) : timesteps[i];
    }
    /* Where that was visited before, a step to it would stand still: go on to 0 then. */
    if (parts->solver->ends_at_first && timesteps[config->steps - 1] > 0) {
        points[config->steps].sigma = smallest;
        points[config->steps].timestep = dqg_levels_timestep(levels, smallest);
    }
    return DQG_OK;
}

/* From the level in point->sigma to the solver's coordinates. */
static void set_coordinates(const struct dqg_sched_parts *parts, struct dqg_sched_point *point) {
    point->data = parts->config.sigma_data;
    double length = hypot(point->data, point->sigma); /* of k coordinates against variance-preserving ones */
    point->input_scale = 1;
    int32_t family = dqg_schedule_family(parts->schedule);
    if (family == DQG_FAMILY_FLOW) {
        point->alpha = 1 - point->sigma;
    } else if (family == DQG_FAMILY_EDM || parts->solver->k_coordinates) {
        point->alpha = 1;
        point->input_scale = 1 / length;
    } else {
        point->alpha = 1 / length;
        point->sigma /= length;
    }
}

/* Where steps begin with churn; there is none on flow. */
static void set_raised(const struct dqg_sched_parts *parts, const struct dqg_levels *levels,
                       const struct dqg_sched_point *points, struct dqg_sched_point *raised) {
    const struct dqg_sched_config *config = &parts->config;
    for (int32_t i = 0; i < config->steps; i++) {
        double gamma = dqg_churn(config, points[i].sigma);
        raised[i] = points[i];
        if (gamma > 0) {
            raised[i].sigma = points[i].sigma * (1 + gamma);
            raised[i].timestep = dqg_levels_timestep(levels, raised[i].sigma);
            set_coordinates(parts, &raised[i]);
        }
    }
}

/* The level at a timestep as the network is told it. */
static double level_at(const struct dqg_levels *levels, double timestep, bool log_levels) {
    double time = timestep / levels->timestep_scale;
    return levels->kind == DQG_LEVELS_FLOW         ? time
           : levels->kind == DQG_LEVELS_EDM        ? exp(4 * timestep)
           : levels->kind == DQG_LEVELS_CONTINUOUS ? dqg_levels_sigma(levels, time * levels->count - 1, false)
                                                   : dqg_levels_sigma(levels, timestep, log_levels);
}

/* The points between that the solver needs; none in a step to sigma 0. */
static void set_middles(const struct dqg_sched_parts *parts, const struct dqg_levels *levels,
                        const struct dqg_sched_point *starts, struct dqg_sched_point *points) {
    const struct dqg_sched_config *config = &parts->config;
    const struct dqg_solver *solver = parts->solver;
    bool flow = dqg_schedule_family(parts->schedule) == DQG_FAMILY_FLOW;
    bool log_levels = in_log(parts);
    int32_t count = dqg_solver_middles(solver);
    for (int32_t i = 0; i < config->steps * count; i++) {
        const struct dqg_sched_point *from = &starts[i / count];
        const struct dqg_sched_point *to = &points[i / count + 1];
        struct dqg_sched_point *between = &points[dqg_first_middle(solver, config->steps, 0) + (size_t)i];
        *between = (struct dqg_sched_point){0};
        if (to->sigma == 0) {
            continue;
        }
        if (solver->middle != NULL) {
            between->sigma = solver->middle(solver, from, to, config->eta, i % count + 1);
            between->timestep = dqg_levels_timestep(levels, between->sigma);
        } else {
            double t = solver->middle_time(from, to, config->eta, i % count + 1, levels->kind == DQG_LEVELS_TABLE);
            between->sigma = fmin(level_at(levels, t, log_levels), flow ? from->sigma : from->sigma / from->alpha);
            between->timestep = t;
        }
        set_coordinates(parts, between);
    }
}

size_t dqg_sched_point_count(const struct dqg_solver *solver, int32_t steps, bool churn) {
    return dqg_first_middle(solver, steps, steps) + (churn ? (size_t)steps : 0);
}

dqg_status dqg_sched_points(struct dqg_context *context, const struct dqg_sched_parts *parts,
                            const struct dqg_levels *levels, struct dqg_sched_point *points) {
    const struct dqg_sched_config *config = &parts->config;
    int32_t family = dqg_schedule_family(parts->schedule);
    size_t size = (size_t)config->steps * sizeof(double); /* steps were checked */
    double *list = dqg_malloc(&context->alloc, size);
    if (list == NULL) {
        return dqg_fail_memory(context, "scheduler", size);
    }
    points[config->steps] = (struct dqg_sched_point){0};
    dqg_status status = DQG_OK;
    if (family == DQG_FAMILY_FLOW) {
        status = flow_levels(context, parts, list, points);
    } else if (family == DQG_FAMILY_EDM) {
        status = edm_levels(context, parts, levels, list, points);
    } else {
        status = vp_levels(context, parts, levels, list, points);
    }
    if (status >= 0) {
        status = check_sigmas(context, config, family == DQG_FAMILY_FLOW ? 1 : largest_sigma, points);
    }
    if (status >= 0) {
        for (int32_t i = 0; i <= config->steps; i++) {
            set_coordinates(parts, &points[i]);
        }
        struct dqg_sched_point *starts = points;
        if (config->s_churn > 0) {
            starts = &points[dqg_first_middle(parts->solver, config->steps, config->steps)];
            set_raised(parts, levels, points, starts);
        }
        set_middles(parts, levels, starts, points);
    }
    dqg_free(&context->alloc, list, size);
    return status;
}
