/* SPDX-License-Identifier: MIT */
/*
 * Sampling with stochastic interpolants (Albergo, Boffi and Vanden-Eijnden 2023, arXiv 2303.08797): dx = b dt, or with
 * fresh noise dx = (b + eps s) dt + sqrt(2 eps) dW forwards and b - eps s backwards, whose law at every time is the
 * same for all eps. The host evaluates b and s, or what they follow from. Called by sched.c and lib/run.
 */
#include "sched/interpolant.h"

#include <math.h>

#include "sched/pieces.h"
#include "support/hash.h"

static const double margin = 1e-4; /* kept from an end where the score is infinite */
static const double no_noise = 1e-9;

static const struct dqg_solver integrators[] = {
    [DQG_INTEGRATE_EULER] = {.piece = {"interpolant-euler", "Euler, Euler-Maruyama"}, .evaluations = 1},
    [DQG_INTEGRATE_HEUN] = {.piece = {"interpolant-heun", "Heun"}, .buffers = 1, .evaluations = 2},
};

/* ---- configuration ---- */

static bool uses_score(const dqg_interpolant *at) {
    bool noise = dqg_interpolant_one_sided(at) || at->gamma != DQG_GAMMA_ZERO;
    return at->diffusion > 0 || (at->drift == DQG_DRIFT_V && noise);
}

dqg_status dqg_interpolant_check(struct dqg_context *context, const dqg_interpolant *at) {
    bool gaussian = at->gamma != DQG_GAMMA_ZERO;
    if (at->path < DQG_INTERPOLATE_LINEAR || at->path > DQG_INTERPOLATE_ONE_SIDED_TRIG || at->gamma < DQG_GAMMA_ZERO ||
        at->gamma > DQG_GAMMA_SIGMOID || at->flags != 0 || at->reserved != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "interpolant: path %d and gamma %d must be of DQG_PATH_* and DQG_GAMMA_*, flags and reserved 0",
                        (int)at->path, (int)at->gamma);
    }
    if (!(at->gamma_scale >= 0 && at->gamma_scale <= 100)) {
        return dqg_fail(context, DQG_ERROR_RANGE, "interpolant: gamma_scale is %g; it must be from 0 to 100",
                        at->gamma_scale);
    }
    if (dqg_interpolant_one_sided(at) && gaussian) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "interpolant: a one-sided path starts from noise and has no gamma: set it to DQG_GAMMA_ZERO");
    }
    if (at->path == DQG_INTERPOLATE_MIRROR && !gaussian) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "interpolant: a mirror path without gamma stands still");
    }
    if (at->path == DQG_INTERPOLATE_TRIG && at->gamma == DQG_GAMMA_BROWNIAN && at->gamma_scale >= 4) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "interpolant: gamma_scale is %g; below 4 a trigonometric path keeps its length",
                        at->gamma_scale);
    }
    return DQG_OK;
}

static dqg_status check_sampling(struct dqg_context *context, const dqg_interpolant *at) {
    DQG_TRY(dqg_interpolant_check(context, at));
    if (at->integrator < DQG_INTEGRATE_EULER || at->integrator > DQG_INTEGRATE_HEUN || at->drift < DQG_DRIFT_B ||
        at->drift > DQG_DRIFT_V || at->score < DQG_SCORE_S || at->score > DQG_SCORE_ETA || at->backward < 0 ||
        at->backward > 1) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "interpolant: integrator %d, drift %d, score %d must be of DQG_INTEGRATE_*, DQG_DRIFT_*, "
                        "DQG_SCORE_*, backward %d 0 or 1",
                        (int)at->integrator, (int)at->drift, (int)at->score, (int)at->backward);
    }
    if (!(at->diffusion >= 0 && at->diffusion <= 1000) || !(at->timestep_scale >= 0 && at->timestep_scale <= 1e6)) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "interpolant: diffusion is %g, timestep_scale %g; from 0 to 1000, and to 1e6", at->diffusion,
                        at->timestep_scale);
    }
    if (at->steps < 1 || at->steps > 100000) {
        return dqg_fail(context, DQG_ERROR_RANGE, "interpolant: %d steps; there must be 1 to 100000", (int)at->steps);
    }
    if (at->score == DQG_SCORE_ETA && uses_score(at) && !dqg_interpolant_one_sided(at) && at->gamma == DQG_GAMMA_ZERO) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "interpolant: without gamma the score does not follow from DQG_SCORE_ETA: give DQG_SCORE_S");
    }
    return DQG_OK;
}

/* ---- plan ---- */

/* An end, or next to it where the score is needed and infinite there. */
static double end_time(const dqg_interpolant *at, double t) {
    bool noise = dqg_interpolant_one_sided(at) || at->gamma != DQG_GAMMA_ZERO;
    bool infinite = uses_score(at) && noise && dqg_interpolant_values(at, t).noise < no_noise;
    return infinite ? fabs(t - margin) : t;
}

static double time_at(const dqg_interpolant *at, int32_t index) {
    if (at->times != NULL) {
        return at->times[index];
    }
    double from = end_time(at, at->backward);
    double to = end_time(at, 1 - at->backward);
    return index == at->steps ? to : from + index * ((to - from) / at->steps);
}

static dqg_status check_time(struct dqg_context *context, const dqg_interpolant *at, int32_t index, double t,
                             double before) {
    bool follows = index == 0 || (at->backward ? t < before : t > before);
    if (!(t >= 0 && t <= 1 && follows)) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "interpolant: time %d is %g; times lie in 0..1 and go on in one direction, %s", (int)index, t,
                        at->backward ? "down" : "up");
    }
    bool evaluated = index < at->steps || at->integrator == DQG_INTEGRATE_HEUN;
    if (evaluated && uses_score(at) && at->score == DQG_SCORE_ETA && dqg_interpolant_values(at, t).noise < no_noise) {
        return dqg_fail(context, DQG_ERROR_RANGE, "interpolant: the score is infinite at time %d, which is %g",
                        (int)index, t);
    }
    return DQG_OK;
}

dqg_status dqg_interpolant_init(struct dqg_context *context, const dqg_interpolant *interpolant,
                                struct dqg_sched *sched) {
    memset(sched, 0, sizeof(*sched));
    dqg_interpolant at = *interpolant;
    DQG_TRY(check_sampling(context, &at));
    at.timestep_scale = at.timestep_scale > 0 ? at.timestep_scale : 1;
    size_t size = ((size_t)at.steps + 1) * sizeof(sched->points[0]);
    struct dqg_sched_point *points = dqg_malloc(&context->alloc, size);
    if (points == NULL) {
        return dqg_fail_memory(context, "scheduler", size);
    }
    double before = 0;
    for (int32_t i = 0; i <= at.steps; i++) {
        double t = time_at(&at, i);
        dqg_status status = check_time(context, &at, i, t, before);
        if (status < 0) {
            dqg_free(&context->alloc, points, size);
            return status;
        }
        struct dqg_interpolant_values values = dqg_interpolant_values(&at, t);
        points[i] = (struct dqg_sched_point){
            .alpha = values.end, .sigma = values.start, .timestep = at.timestep_scale * t, .input_scale = 1};
        before = t;
    }
    at.times = NULL;
    sched->points = points;
    sched->steps = at.steps;
    sched->solver = &integrators[at.integrator];
    sched->interpolant = at;
    sched->outputs = uses_score(&at) ? 2 : 1;
    sched->initial_scale = 1;
    struct {
        dqg_interpolant at;
        uint64_t points;
    } plan = {at, dqg_hash64(points, size)};
    sched->identity = dqg_hash64(&plan, sizeof(plan));
    return DQG_OK;
}

/* ---- steps ---- */

/* b and the whole drift are each the first field plus so much of the second. */
struct mix {
    double b, all;
};

static struct mix mix_at(const dqg_interpolant *at, double t) {
    struct mix mix = {0, 0};
    if (uses_score(at)) {
        struct dqg_interpolant_values values = dqg_interpolant_values(at, fmin(fmax(t, 0), 1));
        double score = at->score == DQG_SCORE_ETA ? -1 / values.noise : 1;
        mix.b = at->drift == DQG_DRIFT_V ? -values.noise_product * score : 0;
        mix.all = mix.b + (at->backward ? -at->diffusion : at->diffusion) * score;
    }
    return mix;
}

/* out = x + part * (first + share * second) */
static void move(float *out, const float *x, double part, const float *fields, double share, size_t n) {
    dqg_combine(out, 1, x, part, fields, n);
    if (share != 0) {
        dqg_combine(out, 1, out, part * share, fields + n, n);
    }
}

dqg_status dqg_interpolant_feed(const struct dqg_sched *sched, const struct dqg_sched_state *state, float *x,
                                const float *output, float *x0, float *scratch, size_t n, dqg_noise_fn noise,
                                void *user) {
    const dqg_interpolant *at = &sched->interpolant;
    const struct dqg_sched_point *from = &sched->points[state->step];
    double dt = (from[1].timestep - from->timestep) / at->timestep_scale;
    double t = from[state->phase].timestep / at->timestep_scale;
    struct mix mix = mix_at(at, t);
    move(x0, x, (at->backward ? 0 : 1) - t, output, mix.b, n);
    if (state->phase == 1) {
        move(x, state->history[0], 0.5 * dt, output, mix.all, n);
        return DQG_OK;
    }
    bool heun = at->integrator == DQG_INTEGRATE_HEUN;
    if (heun) {
        move(state->history[0], x, 0.5 * dt, output, mix.all, n);
    }
    move(x, x, dt, output, mix.all, n);
    if (at->diffusion > 0) {
        double fresh = sqrt(2 * at->diffusion * fabs(dt));
        const struct dqg_draw draw = {state->step, fmax(t, t + dt), fmin(t, t + dt)};
        noise(user, &draw, scratch, n);
        dqg_combine(x, 1, x, fresh, scratch, n);
        if (heun) {
            dqg_combine(state->history[0], 1, state->history[0], fresh, scratch, n);
        }
    }
    return heun ? DQG_PENDING : DQG_OK;
}
