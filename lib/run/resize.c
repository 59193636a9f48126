/* SPDX-License-Identifier: MIT */
/*
 * A run goes on at another size: what it has made so far is resampled, noise is put back to the level where the new
 * scheduler's last steps begin (Bottleneck Sampling, Tian et al. 2025, arXiv 2503.18940). Also the offset that the
 * network sees, which belongs to one size.
 */
#include <math.h>

#include "run/run.h"

void dqg_run_drop_offset(struct dqg_run *run) {
    if (run->offset != NULL) {
        dqg_free(&run->context->alloc, run->offset, run->size * sizeof(float));
        run->offset = NULL;
    }
}

/* The step at which the last floor(strength * steps) begin; a little for products such as 0.29 * 100. */
static dqg_status first_step(struct dqg_run *run, const struct dqg_sched *sched, double strength, int32_t *step) {
    if (!(strength > 0 && strength <= 1)) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "strength: %g is not above 0 and at most 1", strength);
    }
    int32_t kept = (int32_t)floor(strength * sched->steps + 1e-9);
    if (kept == 0) {
        return dqg_fail(run->context, DQG_ERROR_RANGE,
                        "strength: %g of %d steps is less than one: use more strength or more steps", strength,
                        (int)sched->steps);
    }
    *step = sched->steps - kept;
    return DQG_OK;
}

/* Stand at a step of the new schedule, from a clean sample of the new size and fresh noise. */
static void stand_at(struct dqg_run *run, int32_t step, const float *clean) {
    const struct dqg_sched *sched = &run->scheduler->sched;
    const struct dqg_sched_point *point = &sched->points[step];
    run->state.step = step;
    dqg_run_restart_step(run);
    dqg_run_next_seeds(run);
    dqg_run_white_noise(run, -1, run->scratch);
    for (size_t i = 0; i < run->size; i++) {
        run->latent[i] = (float)(point->alpha * clean[i] + point->sigma * run->scratch[i]);
    }
    memcpy(run->x0, clean, run->size * sizeof(float));
    int32_t left = (sched->steps - step) * dqg_sched_evaluations(sched);
    dqg_work_begin(&run->work, run->context, DQG_PHASE_RUN, ((uint64_t)run->evaluations + (uint64_t)left) * 1000);
}

dqg_status dqg_run_change_size(struct dqg_run *run, int32_t height, int32_t width, struct dqg_scheduler *scheduler,
                               double strength) {
    struct dqg_scheduler *next = scheduler != NULL ? scheduler : run->scheduler;
    int64_t shape[DQG_MAX_RANK];
    int32_t step = 0;
    uint64_t size;
    if (run->clock_count > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "a run whose parts have times of their own (time-axes) keeps its size");
    }
    if (run->rank < 3) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT,
                        "a latent of rank %d has no height and width beside its samples", (int)run->rank);
    }
    if (height < 1 || width < 1) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "%d x %d is not a size: both must be 1 or more", (int)height,
                        (int)width);
    }
    DQG_TRY(first_step(run, &next->sched, strength, &step));
    memcpy(shape, run->shape, sizeof shape);
    size_t old_height = (size_t)shape[run->rank - 2], old_width = (size_t)shape[run->rank - 1];
    shape[run->rank - 2] = height;
    shape[run->rank - 1] = width;
    if (!dqg_shape_count(run->rank, shape, &size) || size > SIZE_MAX / 16) {
        return dqg_fail(run->context, DQG_ERROR_LIMIT, "a latent of %d x %d does not fit the address space",
                        (int)height, (int)width);
    }
    size_t bytes = (size_t)size * sizeof(float);
    float *clean = dqg_malloc(&run->context->alloc, bytes);
    if (clean == NULL) {
        return dqg_fail_memory(run->context, "a resampled latent", bytes);
    }
    bool done = run->state.step == run->scheduler->sched.steps;
    dqg_status status = dqg_lanczos(run->context, clean, (size_t)height, (size_t)width, done ? run->latent : run->x0,
                                    old_height, old_width, run->size / (old_height * old_width));
    float *offset = run->offset;
    size_t offset_bytes = run->size * sizeof(float);
    if (status >= 0) {
        status = dqg_run_reshape(run, shape, next);
    }
    if (status >= 0) {
        if (offset != NULL) {
            dqg_free(&run->context->alloc, offset, offset_bytes);
            run->offset = NULL;
        }
        stand_at(run, step, clean);
    }
    dqg_free(&run->context->alloc, clean, bytes);
    return status;
}
