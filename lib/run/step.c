/* SPDX-License-Identifier: MIT */
/*
 * The generation loop: scale the latent, evaluate the network operator by operator, combine guidance, let the solver
 * move. It can stop between any two operators: when a time budget is used up, on request of another thread, or when the
 * progress callback says so; and goes on from there.
 */
#include "run/run.h"

void dqg_run_scale_input(const struct dqg_run *run, float *out) {
    size_t parts = dqg_run_parts(run);
    size_t n = run->size / parts;
    for (size_t part = 0; part < parts; part++) {
        float scale = (float)dqg_run_point(run, part).input_scale;
        for (size_t i = part * n; i < (part + 1) * n; i++) {
            out[i] = scale * run->latent[i];
        }
    }
    for (size_t i = 0; run->offset != NULL && i < run->size; i++) {
        out[i] += run->offset[i];
    }
}

dqg_status dqg_run_begin(struct dqg_run *run) {
    return dqg_sched_begin(&run->scheduler->sched, &run->state, run->latent, run->scratch, run->size,
                           dqg_run_fresh_noise, run);
}

static dqg_status begin_evaluation(struct dqg_run *run) {
    DQG_TRY(dqg_run_begin(run));
    const struct dqg_hyper *hyper = &run->model->hyper;
    size_t plane = run->image_size / hyper->channels, sample_size = (hyper->channels + hyper->extra_channels) * plane;
    dqg_run_scale_input(run, run->scratch);
    for (size_t i = 0; i < run->copies * run->images; i++) {
        size_t image = i % run->images;
        dqg_given_join(&run->given, hyper, i, run->scratch + image * run->image_size, run->net_in + i * sample_size);
        if (hyper->guided) {
            run->given.guidance[i] = dqg_run_guidance_scale(run, image);
        }
        run->timesteps[i] = dqg_run_point(run, run->clock_count > 0 ? i % run->images : 0).timestep;
    }
    dqg_run_first_pass(run);
    dqg_cache_begin(&run->cache, run->state.step, run->scheduler->sched.steps);
    run->evaluating = true;
    return DQG_OK;
}

dqg_status dqg_run_feed(struct dqg_run *run) {
    if (run->search != NULL) {
        return dqg_search_feed(run);
    }
    run->evaluating = false;
    run->evaluations++;
    if (run->clock_count > 0) {
        return dqg_run_feed_clocks(run);
    }
    return dqg_sched_feed(&run->scheduler->sched, &run->state, run->latent, run->output, run->x0, run->scratch,
                          run->size, dqg_run_fresh_noise, run);
}

void dqg_run_restart_step(struct dqg_run *run) {
    run->evaluating = false;
    for (size_t part = 0; part < dqg_run_parts(run); part++) {
        dqg_run_place(run, part, dqg_run_clock(run, part).step); /* what the solver remembers led elsewhere */
    }
    dqg_run_settle(run);
}

/* What the cache holds would be of some steps ago, where it has not looked at this one. */
static dqg_status end_evaluation(struct dqg_run *run) {
    if (!dqg_run_asks_all_copies(run)) {
        dqg_cache_drop(&run->cache);
    }
    dqg_run_combine(run);
    if (dqg_run_asks_network(run)) {
        dqg_ras_end(&run->ras, run->context, run->output, run->state.step, run->scheduler->sched.steps);
    }
    return dqg_run_feed(run);
}

/* One operator; after an evaluation's last one the solver moves. */
static dqg_status run_operator(struct dqg_run *run) {
    if (!dqg_run_asks_network(run)) {
        DQG_TRY(dqg_run_begin(run));
        return end_evaluation(run);
    }
    if (!run->evaluating) {
        DQG_TRY(begin_evaluation(run));
    }
    struct dqg_exec_io io = {.x = run->net_in,
                             .timesteps = run->timesteps,
                             .out = dqg_run_pass_output(run),
                             .active = run->ras.active,
                             .kept = dqg_ras_kept(&run->ras, run->state.step, run->scheduler->sched.steps)};
    dqg_given_io(&run->given, &io);
    int32_t *time_us = dqg_run_node_us(run);
    int64_t before = dqg_now_us();
    bool cached = run->exec.graph == &run->graph;
    dqg_status status = cached ? dqg_cache_next(&run->cache, &run->exec, &io) : dqg_exec_next(&run->exec, &io);
    *time_us = (int32_t)(dqg_now_us() - before);
    if (status != DQG_DONE) {
        return status;
    }
    if (dqg_run_next_pass(run)) {
        return DQG_PENDING;
    }
    return end_evaluation(run);
}

static dqg_status report(struct dqg_run *run) {
    uint64_t in_evaluation = (uint64_t)dqg_run_operators_done(run) * 1000 / (uint64_t)dqg_run_operators(run);
    uint64_t done = (uint64_t)run->evaluations * 1000 + in_evaluation;
    const char *name = run->evaluating ? run->exec.graph->nodes[run->exec.next].name : "step";
    return dqg_work_set(&run->work, done < run->work.total ? done : run->work.total, name);
}

static dqg_status work_loop(struct dqg_run *run, int64_t deadline) {
    for (bool first = true;; first = false) {
        if (run->state.step >= run->scheduler->sched.steps) {
            return DQG_DONE;
        }
        if (atomic_exchange_explicit(&run->cancelled, false, memory_order_acquire)) {
            return dqg_fail(run->context, DQG_ERROR_CANCELLED, "the run was cancelled; call again to go on");
        }
        /* Do not begin an operator that took longer last time than is left. */
        int64_t expected = run->evaluating ? *dqg_run_node_us(run) : 0;
        if (!first && deadline >= 0 && dqg_now_us() + expected >= deadline) {
            return DQG_PENDING;
        }
        dqg_status status = run_operator(run);
        if (status == DQG_DONE) {
            run->work.done = run->work.total; /* Heun's last step has one evaluation less */
            dqg_work_set(&run->work, run->work.total, "done");
            return DQG_DONE;
        }
        if (status < 0) {
            return status;
        }
        DQG_TRY(report(run));
        if (status == DQG_OK) {
            return DQG_OK;
        }
    }
}

dqg_status dqg_run_work(struct dqg_run *run, int64_t budget_us) {
    int64_t now = dqg_now_us();
    run->work.start_us = now;
    int64_t deadline = budget_us < 0 ? -1 : budget_us < INT64_MAX - now ? now + budget_us : INT64_MAX;
    dqg_status status = work_loop(run, deadline);
    run->work.spent_us += dqg_now_us() - now;
    return status;
}
