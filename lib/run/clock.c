/* SPDX-License-Identifier: MIT */
/*
 * Times of their own for parts of a latent: samples, frames, tokens (vectorized timesteps, FVDM, arXiv 2410.03160).
 * Each part has a clock, which tells its place in the plan, and is a slice of every buffer; a solver sees one slice at
 * a time.
 *
 * Clocks take a step together. In its second evaluation those whose step needed only one wait. A clock at the last
 * point is held: the network sees its part at that point, and nothing writes to it.
 */
#include "kernel/kernel.h"
#include "run/run.h"
#include "support/rng.h"

dqg_status dqg_run_check_clocks(const struct dqg_run *run, const struct dqg_sched *sched) {
    if (run->noise_path && sched->churn) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "s-churn renews noise of intervals that overlap: with it set noise-path to white");
    }
    if (run->clock_count > 0 && sched->churn) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED, "with time-axes there is no churn: set s-churn to 0");
    }
    if (run->clock_count > 0 && run->noise != DQG_NOISE_NATIVE && dqg_sched_noisy(sched)) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "PyTorch's generators draw for whole images: with time-axes and this solver's fresh noise set "
                        "noise to native");
    }
    return DQG_OK;
}

dqg_status dqg_run_set_clocks(struct dqg_run *run, int32_t time_axes) {
    size_t count = 1;
    if (time_axes == 0) {
        return dqg_run_check_clocks(run, &run->scheduler->sched);
    }
    if (run->scheduler->sched.interpolant.struct_size > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "time-axes is %d, but stochastic interpolants take one time for all: use 0", (int)time_axes);
    }
    if (run->model != NULL && time_axes > 1) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "time-axes is %d, but this network takes one timestep for an image: use 1 or 0",
                        (int)time_axes);
    }
    if (time_axes > run->rank) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "time-axes is %d, but the latent has %d dimensions",
                        (int)time_axes, (int)run->rank);
    }
    for (int32_t i = 0; i < time_axes; i++) {
        count *= (size_t)run->shape[i];
    }
    if (count > INT32_MAX) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "time-axes %d gives %zu times; at most %d are possible",
                        (int)time_axes, count, (int)INT32_MAX);
    }
    run->clock_count = count;
    return dqg_run_check_clocks(run, &run->scheduler->sched);
}

size_t dqg_run_parts(const struct dqg_run *run) {
    return run->clock_count > 0 ? run->clock_count : 1;
}

struct dqg_clock dqg_run_clock(const struct dqg_run *run, size_t part) {
    if (run->clock_count > 0) {
        return run->clocks[part];
    }
    return (struct dqg_clock){run->state.step, run->state.phase, run->state.kept};
}

static void set_state(struct dqg_run *run, struct dqg_clock clock) {
    run->state.step = clock.step;
    run->state.phase = clock.phase;
    run->state.kept = clock.kept;
}

void dqg_run_place(struct dqg_run *run, size_t part, int32_t step) {
    struct dqg_clock clock = {.step = step};
    if (run->clock_count > 0) {
        run->clocks[part] = clock;
    } else {
        set_state(run, clock);
        run->state.begun = 0;
    }
    dqg_cache_drop(&run->cache);
    dqg_ras_drop(&run->ras);
    if (run->momentum != NULL) {
        size_t n = run->size / dqg_run_parts(run);
        memset(run->momentum + part * n, 0, n * sizeof *run->momentum);
    }
}

void dqg_run_settle(struct dqg_run *run) {
    if (run->clock_count == 0) {
        return;
    }
    struct dqg_clock rear = run->clocks[0];
    int32_t phase = 0;
    for (size_t i = 0; i < run->clock_count; i++) {
        rear = run->clocks[i].step < rear.step ? run->clocks[i] : rear;
        phase = run->clocks[i].phase > phase ? run->clocks[i].phase : phase;
    }
    rear.phase = phase;
    set_state(run, rear);
}

/* Whether a part is evaluated next, and does not wait or stay held. */
static bool moves(const struct dqg_run *run, struct dqg_clock clock) {
    return clock.step < run->scheduler->sched.steps && clock.phase == run->state.phase;
}

struct dqg_sched_point dqg_run_point(const struct dqg_run *run, size_t part) {
    const struct dqg_sched *sched = &run->scheduler->sched;
    struct dqg_clock clock = dqg_run_clock(run, part);
    if (!moves(run, clock)) {
        return sched->points[clock.step];
    }
    struct dqg_sched_state state = {.step = clock.step, .phase = clock.phase, .kept = clock.kept};
    return dqg_sched_request(sched, &state);
}

size_t dqg_run_rear(const struct dqg_run *run) {
    size_t rear = 0;
    bool found = false;
    for (size_t i = 0; i < run->clock_count; i++) {
        if (moves(run, run->clocks[i]) && (!found || run->clocks[i].step < run->clocks[rear].step)) {
            rear = i;
            found = true;
        }
    }
    return rear;
}

/* ---- one evaluation ---- */

struct part_noise {
    const struct dqg_run *run;
    size_t first; /* element of the latent */
};

/* A part's share of what its whole image would be given for this step. */
static void draw_part(void *user, const struct dqg_draw *draw, float *buffer, size_t n) {
    const struct part_noise *part = user;
    const struct dqg_run *run = part->run;
    uint64_t seed = run->seeds[part->first / run->image_size];
    size_t first = part->first % run->image_size;
    if (run->noise_path) {
        dqg_kernels_path(part->run->context->kernels, seed, draw->from, draw->to, first, buffer, n);
    } else {
        dqg_kernels_normal(run->context->kernels, seed, (uint32_t)draw->index + 1, first, buffer, n);
    }
}

static dqg_status feed_part(struct dqg_run *run, size_t part) {
    const struct dqg_sched *sched = &run->scheduler->sched;
    struct dqg_clock *clock = &run->clocks[part];
    size_t n = run->size / run->clock_count;
    size_t first = part * n;
    if (clock->step == sched->steps && clock->kept == 0) { /* placed there by the host: finished as it is */
        memcpy(run->x0 + first, run->latent + first, n * sizeof(float));
    }
    if (!moves(run, *clock)) {
        return DQG_OK;
    }
    struct dqg_sched_state state = {.step = clock->step, .phase = clock->phase, .kept = clock->kept};
    for (int32_t i = 0; i < dqg_sched_buffers(sched); i++) {
        state.history[i] = run->state.history[i] + first;
    }
    struct part_noise noise = {run, first};
    dqg_status status = dqg_sched_feed(sched, &state, run->latent + first, run->output + first, run->x0 + first,
                                       run->scratch + first, n, draw_part, &noise);
    *clock = (struct dqg_clock){state.step, state.phase, state.kept};
    return status;
}

dqg_status dqg_run_feed_clocks(struct dqg_run *run) {
    for (size_t i = 0; i < run->clock_count; i++) {
        DQG_TRY(feed_part(run, i));
    }
    dqg_run_settle(run);
    return run->state.phase > 0 ? DQG_PENDING : run->state.step == run->scheduler->sched.steps ? DQG_DONE : DQG_OK;
}
