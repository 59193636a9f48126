/* SPDX-License-Identifier: MIT */
/*
 * Save and restore. A state is a header, the seeds, the latent, the x0 estimate, the solver's history, the momentum of
 * guidance, the step cache, region-adaptive sampling, guidance and conditions, clocks, the search, in the machine's
 * byte order: it is for the same program on the same machine, not a file format.
 */
#include "run/run.h"
#include "support/hash.h"

struct state_header {
    uint64_t magic;
    uint64_t hash;     /* of everything after it */
    uint64_t identity; /* of the schedule and solver */
    uint64_t size, images;
    int32_t step, phase, evaluations;
    int32_t buffers;
    int32_t noise, offset_noise;
    int32_t kept, clocks;
    int32_t begun, noise_path;
    uint64_t draws; /* generators are not stored: they are sent through their draws again */
};

enum { MOST_DRAWS = 8 }; /* more than a run makes before its first evaluation, or in one: bounds what is replayed */

static const uint64_t state_magic = 0x3545544154534744; /* "DGSTATE5" */

static size_t buffer_count(const struct dqg_run *run) {
    return 2 + (size_t)dqg_sched_buffers(&run->scheduler->sched) + (run->momentum != NULL ? 1 : 0);
}

/* Region-adaptive sampling and the outputs that tokens left out keep. */
static size_t ras_bytes(const struct dqg_run *run) {
    return dqg_ras_state_bytes(&run->ras) + dqg_run_kept_outputs(run) * sizeof *run->net_out;
}

size_t dqg_run_state_bytes(const struct dqg_run *run) {
    return sizeof(struct state_header) + run->images * sizeof(uint64_t) +
           buffer_count(run) * run->size * sizeof(float) + dqg_cache_state_bytes(&run->cache) + ras_bytes(run) +
           dqg_run_conditions_bytes(run) + run->clock_count * sizeof(struct dqg_clock) + dqg_search_state_bytes(run);
}

/* The float arrays of a state, in order. */
static float *state_buffer(const struct dqg_run *run, size_t index) {
    bool last = index == buffer_count(run) - 1;
    return index == 0                      ? run->latent
           : index == 1                    ? run->x0
           : last && run->momentum != NULL ? run->momentum
                                           : run->state.history[index - 2];
}

static uint64_t body_hash(const char *state, size_t size) {
    size_t from = offsetof(struct state_header, identity);
    return dqg_hash64(state + from, size - from);
}

void dqg_run_state_write(const struct dqg_run *run, void *state) {
    struct state_header header = {
        .magic = state_magic,
        .identity = run->scheduler->sched.identity,
        .size = run->size,
        .images = run->images,
        .step = run->state.step,
        .phase = run->state.phase,
        .evaluations = run->evaluations,
        .buffers = (int32_t)buffer_count(run),
        .noise = (int32_t)run->noise,
        .offset_noise = run->offset_noise,
        .kept = run->state.kept,
        .clocks = (int32_t)run->clock_count,
        .begun = run->state.begun,
        .noise_path = run->noise_path,
        .draws = run->draws,
    };
    char *at = (char *)state + sizeof header;
    memcpy(state, &header, sizeof header);
    memcpy(at, run->seeds, run->images * sizeof *run->seeds);
    at += run->images * sizeof *run->seeds;
    for (size_t i = 0; i < buffer_count(run); i++, at += run->size * sizeof(float)) {
        memcpy(at, state_buffer(run, i), run->size * sizeof(float));
    }
    dqg_cache_state_write(&run->cache, at);
    at += dqg_cache_state_bytes(&run->cache);
    dqg_ras_state_write(&run->ras, at);
    memcpy(at + dqg_ras_state_bytes(&run->ras), run->net_out, dqg_run_kept_outputs(run) * sizeof *run->net_out);
    at += ras_bytes(run);
    dqg_run_conditions_write(run, at);
    at += dqg_run_conditions_bytes(run);
    memcpy(at, run->clocks, run->clock_count * sizeof *run->clocks);
    dqg_search_state_write(run, at + run->clock_count * sizeof *run->clocks);
    header.hash = body_hash(state, dqg_run_state_bytes(run));
    memcpy(state, &header, sizeof header);
}

static bool clock_is_possible(const struct dqg_run *run, struct dqg_clock clock) {
    const struct dqg_sched *sched = &run->scheduler->sched;
    return clock.step >= 0 && clock.step <= sched->steps && clock.phase >= 0 &&
           clock.phase < (clock.step < sched->steps ? dqg_sched_evaluations(sched) : 1) && clock.kept >= 0 &&
           clock.kept <= clock.step;
}

dqg_status dqg_run_state_read(struct dqg_run *run, const void *state, size_t size) {
    struct state_header header;
    struct dqg_context *context = run->context;
    if (size < sizeof header) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "not a saved run: %zu bytes are too few", size);
    }
    memcpy(&header, state, sizeof header);
    if (header.magic != state_magic) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "not a saved run: it begins with other bytes");
    }
    if (header.identity != run->scheduler->sched.identity) {
        return dqg_fail(context, DQG_ERROR_STATE, "the saved run was made with another schedule or solver");
    }
    if (header.size != run->size || header.images != run->images || header.buffers != (int32_t)buffer_count(run) ||
        header.clocks != (int32_t)run->clock_count || size != dqg_run_state_bytes(run)) {
        return dqg_fail(context, DQG_ERROR_STATE, "the saved run has another shape or size");
    }
    if (header.noise != (int32_t)run->noise || header.offset_noise != run->offset_noise ||
        header.noise_path != run->noise_path) {
        return dqg_fail(context, DQG_ERROR_STATE,
                        "the saved run was made with another noise, offset-noise or noise-path");
    }
    if (header.hash != body_hash(state, size)) {
        return dqg_fail(context, DQG_ERROR_CHECKSUM, "the saved run is damaged");
    }
    bool possible = header.evaluations >= 0 && header.draws / MOST_DRAWS <= (uint64_t)header.evaluations &&
                    header.begun >= 0 && header.begun <= 1 &&
                    clock_is_possible(run, (struct dqg_clock){header.step, header.phase, header.kept});
    const char *search = (const char *)state + size - dqg_search_state_bytes(run);
    const char *clocks = search - run->clock_count * sizeof *run->clocks;
    const char *conditions = clocks - dqg_run_conditions_bytes(run);
    const char *ras = conditions - ras_bytes(run);
    if (!dqg_cache_state_check(&run->cache, ras - dqg_cache_state_bytes(&run->cache)) ||
        !dqg_ras_state_check(&run->ras, ras)) {
        return dqg_fail(context, DQG_ERROR_STATE, "the saved run was made with another cache or ras-ratio");
    }
    for (size_t i = 0; i < run->clock_count; i++) {
        struct dqg_clock clock;
        memcpy(&clock, clocks + i * sizeof clock, sizeof clock);
        possible = possible && clock_is_possible(run, clock);
    }
    if (!possible || !dqg_search_state_fits(run, search)) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "the saved run stands at an impossible step");
    }
    DQG_TRY(dqg_run_conditions_check(run, conditions));
    dqg_run_conditions_read(run, conditions);
    const char *at = (const char *)state + sizeof header;
    memcpy(run->seeds, at, run->images * sizeof *run->seeds);
    at += run->images * sizeof *run->seeds;
    for (size_t i = 0; i < buffer_count(run); i++, at += run->size * sizeof(float)) {
        memcpy(state_buffer(run, i), at, run->size * sizeof(float));
    }
    dqg_cache_state_read(&run->cache, at);
    dqg_ras_state_read(&run->ras, ras);
    memcpy(run->net_out, ras + dqg_ras_state_bytes(&run->ras), dqg_run_kept_outputs(run) * sizeof *run->net_out);
    run->state.step = header.step;
    run->state.phase = header.phase;
    run->state.kept = header.kept;
    run->state.begun = header.begun;
    run->evaluations = header.evaluations;
    run->evaluating = false;
    memcpy(run->clocks, clocks, run->clock_count * sizeof *run->clocks);
    dqg_run_settle(run);
    dqg_search_state_read(run, search);
    dqg_run_replay_noise(run, header.draws);
    return DQG_OK;
}
