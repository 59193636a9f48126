/* SPDX-License-Identifier: MIT */
/* Public calls on stochastic interpolants. lib/sched/interpolant.c does the work. */
#include "api/api.h"
#include "run/run.h"
#include "sched/interpolant.h"

static dqg_status check_record(struct dqg_context *context, const dqg_interpolant *interpolant) {
    DQG_TRY(dqg_need(context, interpolant, "interpolant"));
    if (interpolant->struct_size < sizeof *interpolant) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "the interpolant's struct_size is %u: set it with DQG_INIT",
                        interpolant->struct_size);
    }
    return DQG_OK;
}

dqg_status dqg_scheduler_create_interpolant(dqg_context *context, const dqg_interpolant *interpolant,
                                            dqg_scheduler **scheduler) {
    if (scheduler != NULL) {
        *scheduler = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, scheduler, "scheduler"));
    DQG_TRY(check_record(context, interpolant));
    return dqg_scheduler_make_interpolant(context, interpolant, scheduler);
}

dqg_status dqg_scheduler_interpolant_at(dqg_context *context, const dqg_interpolant *interpolant, double time,
                                        dqg_interpolant_point *point) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, point, "point"));
    DQG_TRY(check_record(context, interpolant));
    DQG_TRY(dqg_interpolant_check(context, interpolant));
    if (!(time >= 0 && time <= 1)) {
        return dqg_fail(context, DQG_ERROR_RANGE, "time: %g is outside 0..1", time);
    }
    struct dqg_interpolant_values values = dqg_interpolant_values(interpolant, time);
    dqg_interpolant_point filled = {.start = values.start,
                                    .end = values.end,
                                    .gamma = values.gamma,
                                    .start_rate = values.start_rate,
                                    .end_rate = values.end_rate,
                                    .gamma_product = values.gamma_product};
    return dqg_record_return(context, point, &filled, sizeof filled);
}
