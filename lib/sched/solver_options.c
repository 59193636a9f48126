/* SPDX-License-Identifier: MIT */
/*
 * Options that adjust a solver: its order, lower orders at the end, the variance of fresh noise, the variable that
 * DPM-Solver++ extrapolates in, churn. Each is checked against what the solver's row says. Called by sched.c.
 */
#include "sched/pieces.h"

#include <math.h>

const char dqg_lower_order_names[] = "auto|on|off";
const char dqg_variance_names[] = "small|large|learned";
const char dqg_lambda_names[] = "log-snr|log-sigma";

/* Place of a name in "a|b|c"; none is the first. */
static dqg_status find_choice(struct dqg_context *context, const char *what, const char *name, const char *names,
                              int32_t *index) {
    *index = name != NULL && name[0] != '\0' ? dqg_choice(names, name) : 0;
    return *index >= 0 ? DQG_OK
                       : dqg_fail(context, DQG_ERROR_NAME, "scheduler: no %s is called '%s'; there are %s", what, name,
                                  names);
}

static dqg_status find_choices(struct dqg_context *context, struct dqg_sched_parts *parts) {
    const struct dqg_sched_config *config = &parts->config;
    int32_t lower, variance, lambda;
    DQG_TRY(find_choice(context, "lower_order_final", config->lower_order_final, dqg_lower_order_names, &lower));
    DQG_TRY(find_choice(context, "variance", config->variance, dqg_variance_names, &variance));
    DQG_TRY(find_choice(context, "lambda", config->lambda, dqg_lambda_names, &lambda));
    parts->lower_final = lower == 0 ? parts->solver->lower_final : lower == 1 ? DQG_LOWER_ALWAYS : DQG_LOWER_NEVER;
    parts->variance = (enum dqg_variance)variance;
    parts->log_sigma = lambda == 1;
    return DQG_OK;
}

static dqg_status check_order(struct dqg_context *context, struct dqg_sched_parts *parts) {
    const struct dqg_solver *solver = parts->solver;
    int32_t most = solver->most_order > 0 ? solver->most_order : solver->order;
    int32_t *order = &parts->config.order;
    if (solver->order == 0 && (*order != 0 || parts->lower_final == DQG_LOWER_ALWAYS)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: solver '%s' has one order in all steps: leave order at 0 and lower_order_final at "
                        "'auto', or use a multistep solver, as dpm++-2m",
                        solver->piece.name);
    }
    if (*order < 0 || *order > most) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "scheduler: order of solver '%s' is %d; it must be from 1 to %d, or 0 for its own (%d)",
                        solver->piece.name, *order, most, solver->order);
    }
    *order = *order > 0 ? *order : solver->order;
    return DQG_OK;
}

static dqg_status check_churn(struct dqg_context *context, const struct dqg_sched_parts *parts) {
    const struct dqg_sched_config *config = &parts->config;
    if (!(config->s_churn >= 0 && isfinite(config->s_churn) && config->s_noise >= 0 && config->s_noise <= 2)) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "scheduler: s_churn is %g and s_noise %g; they must be 0 or more, s_noise at most 2",
                        config->s_churn, config->s_noise);
    }
    const double *range = config->churn_range;
    if (config->churn_range_count != 0 &&
        (config->churn_range_count != 2 || !(range[0] >= 0 && range[0] <= range[1]))) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "scheduler: churn_range must be two values, the lowest sigma and the highest");
    }
    bool flow = dqg_schedule_family(parts->schedule) == DQG_FAMILY_FLOW;
    if (config->s_churn > 0 && (flow || !parts->solver->churns)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: solver '%s' on schedule '%s' has no churn: set s_churn to 0 (it is %g), or use "
                        "euler, heun, midpoint or dpm2 on a discrete schedule",
                        parts->solver->piece.name, parts->schedule->piece.name, config->s_churn);
    }
    return DQG_OK;
}

static dqg_status check_uncorrected(struct dqg_context *context, const struct dqg_sched_parts *parts) {
    int32_t count = parts->config.uncorrected;
    if (count != 0 && !parts->solver->corrects) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: solver '%s' has no corrector: leave uncorrected at 0 (it is %d), or use unipc",
                        parts->solver->piece.name, count);
    }
    return DQG_OK;
}

dqg_status dqg_solver_options(struct dqg_context *context, struct dqg_sched_parts *parts) {
    const struct dqg_solver *solver = parts->solver;
    bool flow = dqg_schedule_family(parts->schedule) == DQG_FAMILY_FLOW;
    DQG_TRY(find_choices(context, parts));
    DQG_TRY(check_order(context, parts));
    if (parts->variance != DQG_VARIANCE_SMALL && (flow || !solver->variances)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: solver '%s' on schedule '%s' has no variance to choose: leave it 'small', or use "
                        "ddpm on a discrete schedule",
                        solver->piece.name, parts->schedule->piece.name);
    }
    if (parts->log_sigma && !solver->log_sigma) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: solver '%s' does not extrapolate in lambda: leave lambda at 'log-snr', or use "
                        "dpm++-2m, dpm++-2m-heun or dpm++-3m",
                        solver->piece.name);
    }
    DQG_TRY(check_uncorrected(context, parts));
    return check_churn(context, parts);
}

double dqg_churn(const struct dqg_sched_config *config, double sigma) {
    const double *range = config->churn_range_count != 0 ? config->churn_range : NULL;
    bool within = range == NULL || (sigma >= range[0] && sigma <= range[1]);
    return within ? fmin(config->s_churn / config->steps, sqrt(2) - 1) : 0;
}
