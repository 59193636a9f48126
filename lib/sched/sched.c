/* SPDX-License-Identifier: MIT */
/*
 * Puts a scheduler together from its pieces and drives its solver: every check of a configuration but those of the
 * points themselves (points.c) is here. Called by lib/api to make schedulers and by lib/run to step.
 */
#include "sched/pieces.h"

#include <math.h>

#include "sched/interpolant.h"
#include "support/hash.h"

enum { MAX_STEPS = 100000, MAX_TRAIN_TIMESTEPS = 1000000 };
enum { FEW_STEPS = 15 }; /* fewer end in lower orders, as in the code that DPM-Solver++ was published with */

/* Row of a table by name; the rows begin with struct dqg_piece. */
static dqg_status find_row(struct dqg_context *context, const char *what, const char *name, const char *names,
                           const void *table, size_t count, size_t row_size, size_t *index) {
    for (size_t i = 0; i < count; i++) {
        const struct dqg_piece *piece = (const struct dqg_piece *)((const char *)table + i * row_size);
        if (strcmp(piece->name, name) == 0) {
            *index = i;
            return DQG_OK;
        }
    }
    return dqg_fail(context, DQG_ERROR_NAME, "scheduler: no %s is called '%s'; there are %s", what, name, names);
}

#define FIND_ROW(context, what, name, names, table, count, index)                                                      \
    find_row(context, what, name, names, table, count, sizeof((table)[0]), index)

static const char *name_or(const char *name, const char *fallback) {
    return name != NULL && name[0] != '\0' ? name : fallback;
}

static dqg_status find_parts(struct dqg_context *context, const struct dqg_sched_config *config,
                             struct dqg_sched_parts *parts) {
    size_t i = 0;
    DQG_TRY(FIND_ROW(context, "solver", name_or(config->solver, "euler"), dqg_solver_names, dqg_solvers,
                     dqg_solver_count, &i));
    parts->solver = &dqg_solvers[i];
    DQG_TRY(FIND_ROW(context, "schedule", name_or(config->schedule, "flow"), dqg_schedule_names, dqg_schedules,
                     dqg_schedule_count, &i));
    parts->schedule = &dqg_schedules[i];
    int32_t family = dqg_schedule_family(parts->schedule);
    const char *spacing = family == DQG_FAMILY_EDM ? "karras" : "linspace";
    DQG_TRY(FIND_ROW(context, "spacing", name_or(config->spacing, spacing), dqg_spacing_names, dqg_spacings,
                     dqg_spacing_count, &i));
    parts->spacing = &dqg_spacings[i];
    const char *prediction = family == DQG_FAMILY_EDM ? "edm" : family == DQG_FAMILY_FLOW ? "flow" : "epsilon";
    DQG_TRY(FIND_ROW(context, "prediction", name_or(config->prediction, prediction), dqg_prediction_names,
                     dqg_predictions, dqg_prediction_count, &i));
    parts->prediction = &dqg_predictions[i];
    parts->config = *config;
    if (family != DQG_FAMILY_EDM || config->sigma_data == 0) {
        parts->config.sigma_data = i == DQG_PREDICT_EDM ? 0.5 : 1;
    }
    if (config->eta == DQG_ETA_OWN) {
        parts->config.eta = parts->solver->own_eta;
    }
    return dqg_solver_options(context, parts);
}

/* ---- what fits together ---- */

static void add_name(char *buffer, size_t size, const char *name) {
    size_t length = strlen(buffer);
    dqg_format(buffer + length, size - length, length > 0 ? ", %s" : "%s", name);
}

static dqg_status fail_unfit(struct dqg_context *context, const char *what, const char *name, const char *schedule,
                             const char *fitting) {
    return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                    "scheduler: %s '%s' does not fit schedule '%s'; what fits there: %s", what, name, schedule,
                    fitting);
}

static dqg_status check_fit(struct dqg_context *context, const struct dqg_sched_parts *parts) {
    const char *schedule = parts->schedule->piece.name;
    int32_t family = dqg_schedule_family(parts->schedule);
    char fitting[1024] = "";
    if (family == DQG_FAMILY_EDM && !parts->solver->k_coordinates) {
        for (size_t i = 0; i < dqg_solver_count; i++) {
            if (dqg_solvers[i].k_coordinates) {
                add_name(fitting, sizeof(fitting), dqg_solvers[i].piece.name);
            }
        }
        return fail_unfit(context, "solver", parts->solver->piece.name, schedule, fitting);
    }
    if (!(parts->spacing->families & family)) {
        for (size_t i = 0; i < dqg_spacing_count; i++) {
            if (dqg_spacings[i].families & family) {
                add_name(fitting, sizeof(fitting), dqg_spacings[i].piece.name);
            }
        }
        return fail_unfit(context, "spacing", parts->spacing->piece.name, schedule, fitting);
    }
    if (!(parts->prediction->families & family)) {
        for (size_t i = 0; i < dqg_prediction_count; i++) {
            if (dqg_predictions[i].families & family) {
                add_name(fitting, sizeof(fitting), dqg_predictions[i].piece.name);
            }
        }
        return fail_unfit(context, "prediction", parts->prediction->piece.name, schedule, fitting);
    }
    if (parts->config.zero_snr && family == DQG_FAMILY_VP &&
        parts->prediction == &dqg_predictions[DQG_PREDICT_EPSILON]) {
        return dqg_fail(
            context, DQG_ERROR_UNSUPPORTED,
            "scheduler: prediction 'epsilon' says nothing about the sample where zero_snr leaves no signal; "
            "what fits there: v, x0");
    }
    if (parts->config.zero_snr && parts->schedule->continuous) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: zero_snr does not fit schedule '%s', which has no table to rescale; what fits "
                        "there: 0",
                        schedule);
    }
    int32_t noisy = family == DQG_FAMILY_EDM ? DQG_FAMILY_VP : family; /* k coordinates either way */
    if (parts->config.eta > 0 && !(parts->solver->noise_families & noisy)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: solver '%s' on schedule '%s' has no share of fresh noise: set eta to 0 (it is %g), "
                        "or use another, as ddim on a discrete schedule",
                        parts->solver->piece.name, schedule, parts->config.eta);
    }
    return DQG_OK;
}

/* ---- numbers ---- */

dqg_status dqg_check_number(struct dqg_context *context, const char *what, double value, double lowest,
                            double highest) {
    if (value >= lowest && value <= highest) { /* false for NaN */
        return DQG_OK;
    }
    return dqg_fail(context, DQG_ERROR_RANGE, "scheduler: %s is %g; it must be from %g to %g", what, value, lowest,
                    highest);
}

/* Lists of the host replace the spacing and say how many steps there are. */
static dqg_status take_lists(struct dqg_context *context, struct dqg_sched_parts *parts) {
    struct dqg_sched_config *config = &parts->config;
    config->sigmas = config->sigma_count != 0 ? config->sigmas : NULL;
    config->timesteps = config->timestep_count != 0 ? config->timesteps : NULL;
    if (config->sigmas != NULL && config->timesteps != NULL) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "scheduler: sigmas and timesteps are both given; either says where the points are");
    }
    if (config->sigmas != NULL) {
        config->steps = config->sigma_count > 0 ? config->sigma_count - 1 : 0;
    }
    if (config->timesteps != NULL) {
        config->steps = config->timestep_count;
        if (dqg_schedule_family(parts->schedule) != DQG_FAMILY_VP) {
            return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                            "scheduler: schedule '%s' has no discrete timesteps to choose from: give sigmas",
                            parts->schedule->piece.name);
        }
    }
    return DQG_OK;
}

static dqg_status check_levels(struct dqg_context *context, const struct dqg_sched_parts *parts) {
    const struct dqg_sched_config *config = &parts->config;
    bool spaced = config->sigmas == NULL && config->timesteps == NULL;
    DQG_TRY(dqg_check_number(context, "sigma_min", config->sigma_min, 0, 1e12));
    DQG_TRY(dqg_check_number(context, "sigma_max", config->sigma_max, 0, 1e12));
    DQG_TRY(dqg_check_number(context, "sigma_data", config->sigma_data, 1e-6, 1e6));
    DQG_TRY(dqg_check_number(context, "rho", config->rho, 0, 1000));
    if (spaced && parts->spacing->levels == NULL && (config->sigma_min > 0 || config->sigma_max > 0)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: spacing '%s' chooses timesteps, not noise levels: leave sigma_min and sigma_max "
                        "at 0, or use a spacing of levels, as karras",
                        parts->spacing->piece.name);
    }
    bool edm = dqg_schedule_family(parts->schedule) == DQG_FAMILY_EDM;
    if (config->pfgm_dimensions != 0 && !edm) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: pfgm_dimensions %g need schedule 'edm'; 0 is Gaussian noise",
                        config->pfgm_dimensions);
    }
    return config->pfgm_dimensions != 0 ? dqg_check_number(context, "pfgm_dimensions", config->pfgm_dimensions, 1, 1e9)
                                        : DQG_OK;
}

static dqg_status check_numbers(struct dqg_context *context, const struct dqg_sched_parts *parts) {
    const struct dqg_sched_config *config = &parts->config;
    DQG_TRY(dqg_check_number(context, "number of steps", config->steps, 1, MAX_STEPS));
    DQG_TRY(dqg_check_number(context, "uncorrected", config->uncorrected, 0, MAX_STEPS));
    DQG_TRY(dqg_check_number(context, "eta", config->eta, 0, 1));
    DQG_TRY(check_levels(context, parts));
    if (strcmp(parts->spacing->piece.name, "time-power") == 0) {
        DQG_TRY(dqg_check_number(context, "time_power", config->time_power, 0.1, 20));
    }
    if (dqg_schedule_family(parts->schedule) == DQG_FAMILY_EDM) {
        return DQG_OK;
    }
    if (dqg_schedule_family(parts->schedule) == DQG_FAMILY_FLOW) {
        DQG_TRY(dqg_check_number(context, "image_tokens", config->image_tokens, 0, INT32_MAX));
        DQG_TRY(dqg_check_number(context, "shift", config->shift, 1e-6, 1e6));
        DQG_TRY(dqg_check_number(context, "shift_power", config->shift_power, 0.1, 10));
        DQG_TRY(dqg_check_number(context, "shift_terminal", config->shift_terminal, 0, 0.999));
        DQG_TRY(dqg_check_number(context, "timestep_scale", config->timestep_scale, 1e-6, 1e9));
        return dqg_check_number(context, "train_timesteps", config->train_timesteps, 1, MAX_TRAIN_TIMESTEPS);
    }
    DQG_TRY(dqg_check_number(context, "train_timesteps", config->train_timesteps, 1, MAX_TRAIN_TIMESTEPS));
    DQG_TRY(dqg_check_number(context, "steps_offset", config->steps_offset, 0, MAX_TRAIN_TIMESTEPS));
    if (config->sigmas == NULL && config->steps > config->train_timesteps) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "scheduler: %d steps, but schedule '%s' has only %d train_timesteps to visit", config->steps,
                        parts->schedule->piece.name, config->train_timesteps);
    }
    return DQG_OK;
}

/* ---- plan ---- */

/* The variance that the sample has in all at its first point: of noise alone, or with what signal is left there. */
static double initial_scale(const struct dqg_sched_parts *parts, const struct dqg_sched_point *first) {
    if (dqg_schedule_family(parts->schedule) != DQG_FAMILY_VP) {
        return first->sigma;
    }
    bool spaced = parts->config.sigmas == NULL && parts->config.timesteps == NULL;
    if (!parts->solver->k_coordinates || (spaced && parts->spacing->unit_start)) {
        return hypot(first->alpha, first->sigma);
    }
    return first->sigma;
}

static size_t points_size(const struct dqg_sched *sched) {
    return dqg_sched_point_count(sched->solver, sched->steps, sched->churn) * sizeof(sched->points[0]);
}

uint64_t dqg_sched_identity(const struct dqg_sched *sched) {
    struct {
        uint64_t points;
        struct dqg_lml lml;
        double eta, s_noise, initial_scale, pfgm_dimensions;
        int32_t steps, prediction, order;
        uint32_t rule;
        char solver[32];
    } plan;
    memset(&plan, 0, sizeof(plan));
    plan.points = dqg_hash64(sched->points, points_size(sched));
    plan.lml = sched->lml;
    plan.eta = sched->eta;
    plan.s_noise = sched->churn ? sched->s_noise : 0;
    plan.order = sched->order;
    plan.rule = (uint32_t)sched->uncorrected << 8 | (uint32_t)sched->variance << 2 | (uint32_t)sched->lower_final << 1 |
                sched->log_sigma;
    plan.pfgm_dimensions = sched->pfgm_dimensions;
    plan.initial_scale = sched->initial_scale;
    plan.steps = sched->steps;
    plan.prediction = (int32_t)sched->prediction;
    dqg_format(plan.solver, sizeof(plan.solver), "%s", sched->solver->piece.name);
    return dqg_hash64(&plan, sizeof(plan));
}

dqg_status dqg_sched_init(struct dqg_context *context, const struct dqg_sched_config *config, struct dqg_sched *sched) {
    memset(sched, 0, sizeof(*sched));
    struct dqg_sched_parts parts;
    DQG_TRY(find_parts(context, config, &parts));
    DQG_TRY(take_lists(context, &parts));
    if (dqg_schedule_family(parts.schedule) == DQG_FAMILY_FLOW) {
        DQG_TRY(dqg_sched_set_shift(context, &parts.config));
    }
    DQG_TRY(check_numbers(context, &parts));
    DQG_TRY(check_fit(context, &parts));
    DQG_TRY(dqg_lml_check(context, &parts));
    size_t count = dqg_sched_point_count(parts.solver, parts.config.steps, parts.config.s_churn > 0);
    size_t size = count * sizeof(sched->points[0]);
    struct dqg_sched_point *points = dqg_malloc(&context->alloc, size);
    if (points == NULL) {
        return dqg_fail_memory(context, "scheduler", size);
    }
    struct dqg_levels levels;
    dqg_status status = dqg_levels_init(context, &parts, &levels);
    if (status >= 0) {
        status = dqg_sched_points(context, &parts, &levels, points);
    }
    if (status < 0) {
        dqg_levels_free(&context->alloc, &levels);
        dqg_free(&context->alloc, points, size);
        return status;
    }
    sched->levels = levels;
    sched->points = points;
    sched->steps = parts.config.steps;
    sched->prediction = (enum dqg_prediction)(parts.prediction - dqg_predictions);
    sched->solver = parts.solver;
    sched->outputs = parts.variance == DQG_VARIANCE_LEARNED ? 2 : 1;
    sched->eta = parts.config.eta > 0 ? parts.config.eta : 0; /* no negative zero: it would hash differently */
    sched->order = parts.config.order;
    sched->lower_final =
        parts.lower_final == DQG_LOWER_ALWAYS || (parts.lower_final == DQG_LOWER_FEW_STEPS && sched->steps < FEW_STEPS);
    sched->churn = parts.config.s_churn > 0;
    sched->s_noise = parts.config.s_noise;
    sched->variance = parts.variance;
    sched->uncorrected = parts.config.uncorrected;
    sched->log_sigma = parts.log_sigma;
    if (dqg_lml_is_on(&config->lml)) {
        sched->lml = config->lml;
    }
    sched->pfgm_dimensions = parts.config.pfgm_dimensions;
    sched->flow = dqg_schedule_family(parts.schedule) == DQG_FAMILY_FLOW;
    sched->initial_scale = initial_scale(&parts, points);
    sched->identity = dqg_sched_identity(sched);
    return DQG_OK;
}

void dqg_sched_free(const struct dqg_alloc *alloc, struct dqg_sched *sched) {
    dqg_levels_free(alloc, &sched->levels);
    if (sched->points != NULL) {
        dqg_free(alloc, sched->points, points_size(sched));
    }
    memset(sched, 0, sizeof(*sched));
}

int32_t dqg_sched_buffers(const struct dqg_sched *sched) {
    return sched->solver->buffers + sched->order - sched->solver->order + dqg_lml_is_on(&sched->lml);
}

int32_t dqg_sched_evaluations(const struct dqg_sched *sched) {
    return sched->solver->evaluations;
}

bool dqg_sched_noisy(const struct dqg_sched *sched) {
    return sched->eta > 0 || sched->solver->always_noise || sched->churn || sched->interpolant.diffusion > 0;
}

bool dqg_sched_weights(const struct dqg_sched *sched, int32_t step, double weights[DQG_MOST_ORDER]) {
    memset(weights, 0, DQG_MOST_ORDER * sizeof(weights[0]));
    if (step < 0 || step >= sched->steps || sched->solver->weights == NULL) {
        return false;
    }
    const struct dqg_sched_point *from = &sched->points[step];
    struct dqg_step at = {.solver = sched->solver, .from = from, .to = from + 1, .levels = &sched->levels};
    if (at.to->sigma > 0) {
        int32_t order = sched->order;
        sched->solver->weights(&at, step < order ? step + 1 : order, weights);
    }
    return true;
}

/* ---- steps ---- */

/* Where a step begins. */
static const struct dqg_sched_point *step_start(const struct dqg_sched *sched, int32_t step) {
    size_t raised = dqg_first_middle(sched->solver, sched->steps, sched->steps);
    return &sched->points[sched->churn ? raised + (size_t)step : (size_t)step];
}

static const struct dqg_sched_point *requested(const struct dqg_sched *sched, const struct dqg_sched_state *state) {
    if (state->phase == 0) {
        return step_start(sched, state->step);
    }
    if (dqg_solver_middles(sched->solver) == 0) {
        return &sched->points[state->step + 1];
    }
    return &sched->points[dqg_first_middle(sched->solver, sched->steps, state->step)] + state->phase - 1;
}

static bool state_is_valid(const struct dqg_sched *sched, const struct dqg_sched_state *state) {
    return state->step >= 0 && state->step < sched->steps && state->phase >= 0 &&
           state->phase < sched->solver->evaluations;
}

struct dqg_sched_point dqg_sched_request(const struct dqg_sched *sched, const struct dqg_sched_state *state) {
    DQG_ASSERT(state_is_valid(sched, state));
    return state_is_valid(sched, state) ? *requested(sched, state) : sched->points[sched->steps];
}

dqg_status dqg_sched_begin(const struct dqg_sched *sched, struct dqg_sched_state *state, float *x, float *scratch,
                           size_t n, dqg_noise_fn noise, void *user) {
    DQG_ASSERT(state_is_valid(sched, state));
    if (!state_is_valid(sched, state) || (sched->churn && noise == NULL)) {
        return DQG_ERROR_INTERNAL;
    }
    double before = sched->points[state->step].sigma;
    double after = step_start(sched, state->step)->sigma;
    if (after > before && !state->begun) {
        const struct dqg_draw draw = {state->step, after, before};
        noise(user, &draw, scratch, n);
        dqg_combine(x, 1, x, sched->s_noise * sqrt(after * after - before * before), scratch, n);
        state->begun = 1;
    }
    return DQG_OK;
}

void dqg_sched_x0_terms(const struct dqg_sched *sched, const struct dqg_sched_point *point, double terms[2]) {
    struct dqg_estimate estimate;
    dqg_predictions[sched->prediction].estimate(point, &estimate);
    double straight = sched->flow ? point->input_scale : 1; /* a search's points may lie on another path */
    terms[0] = straight * estimate.x0_x;
    terms[1] = straight * estimate.x0_output;
}

double dqg_sched_level(const struct dqg_sched *sched, const struct dqg_sched_point *point) {
    return sched->flow ? point->sigma * point->input_scale : point->sigma / point->alpha;
}

dqg_status dqg_sched_feed(const struct dqg_sched *sched, struct dqg_sched_state *state, float *x, const float *output,
                          float *x0, float *scratch, size_t n, dqg_noise_fn noise, void *user) {
    DQG_ASSERT(state_is_valid(sched, state));
    if (!state_is_valid(sched, state) || (dqg_sched_noisy(sched) && noise == NULL)) {
        return DQG_ERROR_INTERNAL;
    }
    struct dqg_step step = {
        .solver = sched->solver,
        .from = step_start(sched, state->step),
        .to = &sched->points[state->step + 1],
        .middle = &sched->points[dqg_first_middle(sched->solver, sched->steps, state->step)],
        .levels = &sched->levels,
        .eta = sched->eta,
        .variance = sched->variance,
        .log_sigma = sched->log_sigma,
        .lower_final = sched->lower_final,
        .uncorrected = sched->uncorrected,
        .most = sched->order,
        .lml = dqg_lml_is_on(&sched->lml) ? &sched->lml : NULL,
        .update = dqg_lml_is_on(&sched->lml) ? state->history[dqg_sched_buffers(sched) - 1] : NULL,
        .samples = state->samples > 0 ? state->samples : 1,
        .index = state->step,
        .left = sched->steps - state->step,
        .phase = state->phase,
        .kept = state->kept,
        .history = state->history,
        .x = x,
        .output = output,
        .share = sched->variance == DQG_VARIANCE_LEARNED ? output + n : NULL,
        .scratch = scratch,
        .n = n,
        .noise = noise,
        .user = user,
    };
    dqg_status status = DQG_OK;
    if (sched->interpolant.struct_size > 0) {
        status = dqg_interpolant_feed(sched, state, x, output, x0, scratch, n, noise, user);
    } else {
        dqg_predictions[sched->prediction].estimate(requested(sched, state), &step.estimate);
        dqg_step_combine(&step, x0, 1, 0);
        if (step.to->sigma == 0) {
            dqg_step_combine(&step, x, 1, 0); /* the same bits as x0 */
        } else {
            status = sched->solver->feed(&step);
        }
    }
    if (status == DQG_PENDING) {
        state->phase++;
        return DQG_PENDING;
    }
    state->phase = 0;
    state->begun = 0;
    state->kept++;
    state->step++;
    return state->step == sched->steps ? DQG_DONE : DQG_OK;
}
