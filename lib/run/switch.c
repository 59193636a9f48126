/* SPDX-License-Identifier: MIT */
/*
 * Another scheduler in the middle of a run. The sample is x = a x0 + s eps at its point. Where the new plan has a point
 * of the same noise level s / a the sample is scaled to that point's coordinates. To another level it moves on the
 * straight line through the latest estimate of x0, as DDIM does.
 */
#include <math.h>

#include "run/run.h"

static double level(const struct dqg_sched_point *point) {
    return point->alpha > 0 ? point->sigma / point->alpha : INFINITY;
}

static bool same_level(double a, double b) {
    return a == b || (isfinite(a) && isfinite(b) && fabs(a - b) <= 1e-9 * fmax(a, b));
}

/* The first point of a plan that is not behind a noise level. */
static int32_t nearest(const struct dqg_sched *sched, double current) {
    bool rising = level(&sched->points[0]) < level(&sched->points[sched->steps]);
    for (int32_t i = 0; i < sched->steps; i++) {
        double at = level(&sched->points[i]);
        if ((rising ? at > current : at < current) || same_level(at, current)) {
            return i;
        }
    }
    return sched->steps;
}

static dqg_status check_move(const struct dqg_run *run, size_t part, const struct dqg_sched_point *from,
                             const struct dqg_sched_point *to) {
    if (same_level(level(from), level(to)) || (dqg_run_clock(run, part).kept > 0 && from->sigma > 0)) {
        return DQG_OK;
    }
    return dqg_fail(run->context, DQG_ERROR_STATE,
                    "the sample has noise level %g, the new point %g, and there is no estimate yet to move it by: do a "
                    "step before, or write a sample of that level after changing the scheduler there",
                    level(from), level(to));
}

static void move(struct dqg_run *run, size_t part, const struct dqg_sched_point *from,
                 const struct dqg_sched_point *to) {
    size_t n = run->size / dqg_run_parts(run);
    double scale = from->sigma > 0 ? to->sigma / from->sigma : to->alpha / from->alpha;
    double share = same_level(level(from), level(to)) ? 0 : to->alpha - scale * from->alpha;
    for (size_t i = part * n; i < (part + 1) * n && (scale != 1 || share != 0); i++) {
        run->latent[i] = (float)scale * run->latent[i] + (float)share * run->x0[i];
    }
}

/* Room for the history of another solver, which is the end of the block. */
static dqg_status change_block(struct dqg_run *run, struct dqg_scheduler *scheduler) {
    struct dqg_scheduler *old = run->scheduler;
    void *block = run->block;
    size_t bytes = run->block_bytes;
    if (dqg_sched_buffers(&scheduler->sched) == dqg_sched_buffers(&old->sched)) {
        run->scheduler = scheduler;
        return DQG_OK;
    }
    run->scheduler = scheduler;
    run->block = NULL;
    dqg_status status = dqg_run_lay_out(run) ? dqg_run_allocate(run)
                                             : dqg_fail(run->context, DQG_ERROR_LIMIT,
                                                        "the solver's history does not fit the address space");
    if (status < 0) {
        run->scheduler = old;
        run->block = block;
        dqg_run_lay_out(run);
        return status;
    }
    memcpy(run->block, block, run->block_bytes < bytes ? run->block_bytes : bytes);
    dqg_free(&run->context->alloc, block, bytes);
    return DQG_OK;
}

/* Where a part goes on; what is finished stays finished. */
static int32_t target(const struct dqg_sched *before, int32_t step, const struct dqg_sched *after, int32_t index) {
    if (step == before->steps) {
        return after->steps;
    }
    return index != DQG_NEAREST_POINT ? index : nearest(after, level(&before->points[step]));
}

dqg_status dqg_run_use_scheduler(struct dqg_run *run, struct dqg_scheduler *scheduler, int32_t index) {
    struct dqg_scheduler *old = run->scheduler;
    const struct dqg_sched *before = &old->sched;
    const struct dqg_sched *after = &scheduler->sched;
    bool inside = run->state.phase > 0 || run->state.begun;
    if (inside || run->state.step == before->steps) {
        return dqg_fail(run->context, DQG_ERROR_STATE, "the run is %s: change the scheduler between steps",
                        inside ? "in the middle of a step" : "finished");
    }
    if (before->interpolant.struct_size > 0 || after->interpolant.struct_size > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "a scheduler of stochastic interpolants has no noise levels to change at: make another run and "
                        "write the sample to it");
    }
    if (before->outputs != after->outputs) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "one of the schedulers has the variance 'learned', for which a run is made: set variance to "
                        "the same, or to small or large in both");
    }
    DQG_TRY(dqg_run_check_clocks(run, after));
    DQG_TRY(dqg_run_check_ras(run, after));
    for (size_t i = 0; i < dqg_run_parts(run); i++) {
        int32_t step = dqg_run_clock(run, i).step;
        if (step < before->steps) {
            DQG_TRY(check_move(run, i, &before->points[step], &after->points[target(before, step, after, index)]));
        }
    }
    DQG_TRY(change_block(run, scheduler));
    dqg_scheduler_retain_(scheduler);
    for (size_t i = 0; i < dqg_run_parts(run); i++) {
        int32_t step = dqg_run_clock(run, i).step;
        int32_t next = target(before, step, after, index);
        if (step < before->steps) {
            move(run, i, &before->points[step], &after->points[next]);
        }
        dqg_run_place(run, i, next);
    }
    dqg_run_settle(run);
    dqg_scheduler_release_(old);
    run->evaluating = false;
    uint64_t left = (uint64_t)(after->steps - run->state.step) * (uint64_t)dqg_sched_evaluations(after);
    run->work.total = ((uint64_t)run->evaluations + left) * 1000;
    return DQG_OK;
}
