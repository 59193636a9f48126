/* SPDX-License-Identifier: MIT */
/*
 * A search for samples of high reward among the paths of a flow model: particles, and how they are moved and evaluated.
 * A run that searches has a plan of its own, in which every evaluation is a step, and a latent that is whatever
 * particle is evaluated next; the rest of the run does not know. Which particle that is says search_methods.c.
 */
#include "run/search.h"

#include <math.h>

#include "support/hash.h"

/* ---- particles ---- */

static float *slot_x0(const struct dqg_run *run, int32_t slot) {
    return run->search->values + (size_t)slot * 2 * run->size;
}

static float *slot_eps(const struct dqg_run *run, int32_t slot) {
    return slot_x0(run, slot) + run->size;
}

void dqg_search_copy(struct dqg_search *search, int32_t to, int32_t from) {
    search->particles[to] = search->particles[from];
    memcpy(search->values + (size_t)to * search->slot_size, search->values + (size_t)from * search->slot_size,
           search->slot_size * sizeof(float));
}

/* What is evaluated next: a level of the search, or a point of the straight path to the finished sample. */
static struct dqg_sched_point aim(const struct dqg_search *search) {
    const struct dqg_search_state *state = search->state;
    struct dqg_sched_point point;
    if (state->finished > 0) {
        double start = dqg_path_time(&search->levels[search->particles[DQG_SLOT_FOUND].level]);
        double t = start * (search->config.finish - state->finished) / search->config.finish;
        point = (struct dqg_sched_point){.alpha = 1 - t, .sigma = t, .input_scale = 1, .data = 1};
    } else {
        const struct dqg_path_point *level = &search->levels[state->level];
        point = (struct dqg_sched_point){
            .alpha = level->alpha, .sigma = level->sigma, .input_scale = dqg_path_input_scale(level), .data = 1};
    }
    point.timestep = search->timestep_scale * point.sigma * point.input_scale;
    return point;
}

static void set_point(struct dqg_run *run) {
    run->search->plan->sched.points[run->state.step] = aim(run->search);
}

/* CURRENT from the network's answer u = eps - x0 on the straight path, where x has length 1 / input_scale. */
static void estimate(struct dqg_run *run) {
    struct dqg_search *search = run->search;
    struct dqg_sched_point point = aim(search);
    double t = point.sigma * point.input_scale;
    float *x0 = slot_x0(run, DQG_SLOT_CURRENT);
    float *eps = slot_eps(run, DQG_SLOT_CURRENT);
    dqg_combine(x0, point.input_scale, run->latent, -t, run->output, run->size);
    dqg_combine(eps, point.input_scale, run->latent, 1 - t, run->output, run->size);
    memcpy(run->x0, x0, run->size * sizeof(float));
    search->particles[DQG_SLOT_CURRENT] = (struct dqg_particle){.level = search->state->level, .filled = 1};
}

static dqg_status take_reward(struct dqg_run *run) {
    struct dqg_search *search = run->search;
    double reward = 0;
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.data = run->x0;
    view.dtype = DQG_DTYPE_F32;
    view.rank = run->rank;
    memcpy(view.shape, run->shape, (size_t)run->rank * sizeof view.shape[0]);
    if (search->reward(search->user, &view, &reward) != 0) {
        return dqg_fail(run->context, DQG_ERROR_CANCELLED, "the reward callback asked to stop; call again to go on");
    }
    /* Not a number is the worst there is; finite numbers may be subtracted from each other. */
    reward = reward > -1e300 ? fmin(reward, 1e300) : -1e300;
    search->particles[DQG_SLOT_CURRENT].reward = reward;
    search->state->top = fmax(search->state->top, reward);
    return DQG_OK;
}

/* ---- moves ---- */

/* latent = weights of a particle and of fresh noise */
static void move_particle(struct dqg_run *run, int32_t from, const struct dqg_move *move) {
    const float *x0 = slot_x0(run, from);
    const float *eps = slot_eps(run, from);
    dqg_combine(run->latent, move->x0, x0, move->eps, eps, run->size);
    if (move->noise > 0) {
        dqg_run_white_noise(run, run->search->state->draws++, run->scratch);
        dqg_combine(run->latent, 1, run->latent, move->noise, run->scratch, run->size);
    }
}

static void make_particle(struct dqg_run *run, const struct dqg_search_next *next) {
    struct dqg_search *search = run->search;
    const struct dqg_path_point *to = &search->levels[next->level];
    if (next->move == DQG_MOVE_FRESH) {
        dqg_run_white_noise(run, search->state->draws++, run->latent);
        dqg_combine(run->latent, to->sigma, run->latent, 0, run->latent, run->size);
    } else {
        const struct dqg_path_point *from = &search->levels[search->particles[next->from].level];
        struct dqg_move move = next->move == DQG_MOVE_BACK ? dqg_path_back(from, to)
                                                           : dqg_path_step(from, to, next->move == DQG_MOVE_NOISY);
        move_particle(run, next->from, &move);
    }
    search->state->level = next->level;
}

/* Euler steps on the straight path, from the particle found to the sample. The first and each later one begin with
 * what is known at its start. */
static dqg_status finish(struct dqg_run *run) {
    struct dqg_search *search = run->search;
    struct dqg_search_state *state = search->state;
    int32_t from = state->finished == 0 ? DQG_SLOT_FOUND : DQG_SLOT_CURRENT;
    state->finished++;
    if (state->finished < search->config.finish) {
        struct dqg_sched_point point = aim(search);
        move_particle(run, from, &(struct dqg_move){point.alpha, point.sigma, 0});
        return DQG_OK;
    }
    memcpy(run->latent, slot_x0(run, from), run->size * sizeof(float));
    memcpy(run->x0, run->latent, run->size * sizeof(float));
    run->state.step = search->plan->sched.steps;
    return DQG_DONE;
}

dqg_status dqg_search_feed(struct dqg_run *run) {
    struct dqg_search *search = run->search;
    run->evaluating = false;
    estimate(run);
    if (search->state->finished == 0 && dqg_search_wants_reward(search)) {
        DQG_TRY(take_reward(run));
    }
    run->evaluations++;
    run->state.step++;
    dqg_status status = DQG_OK;
    if (search->state->finished > 0) {
        status = finish(run);
    } else {
        struct dqg_search_next next = dqg_search_update(search, run->state.step, run->seeds[0]);
        if (next.move == DQG_MOVE_END) {
            status = finish(run);
        } else {
            make_particle(run, &next);
        }
    }
    if (status == DQG_OK) {
        set_point(run);
    }
    return status;
}

/* ---- making ---- */

dqg_status dqg_search_refuse(const struct dqg_run *run) {
    return run->search == NULL
               ? DQG_OK
               : dqg_fail(run->context, DQG_ERROR_STATE, "the run searches, and chooses by itself what is evaluated");
}

dqg_status dqg_search_check_guidance(const struct dqg_run *run, const struct dqg_guidance *guidance) {
    return !dqg_guidance_counts_steps(guidance)
               ? DQG_OK
               : dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                          "a search goes from particle to particle, not from step to step: guide it without momentum "
                          "(apg-momentum 0), zero-steps, perturbed-start and perturbed-end");
}

static dqg_status check_run(const struct dqg_run *run) {
    const struct dqg_sched *sched = &run->scheduler->sched;
    if (run->search != NULL || run->evaluations > 0 || run->evaluating || run->state.step > 0) {
        return dqg_fail(run->context, DQG_ERROR_STATE, "a search begins with the run: make a fresh one for it");
    }
    if (run->clock_count > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "a search has one time for all: make the run without time-axes");
    }
    if (run->cache.kind != DQG_CACHE_NONE || run->ras.ratio > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "a search evaluates other samples each time: make the run without a step cache or ras-ratio");
    }
    DQG_TRY(dqg_search_check_guidance(run, &run->guidance));
    if (sched->prediction != DQG_PREDICT_FLOW) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "a search moves along the paths of a flow: the run's scheduler must have schedule 'flow' and "
                        "prediction 'flow'");
    }
    return DQG_OK;
}

/* A plan with a step for each evaluation, which this search alone has and may change. */
static dqg_status make_plan(struct dqg_run *run, struct dqg_search *search) {
    const struct dqg_search_config *config = &search->config;
    const struct dqg_sched *old = &run->scheduler->sched;
    search->timestep_scale = old->points[0].timestep / old->points[0].sigma;
    search->initial_scale = old->initial_scale;
    const struct dqg_sched_config plan = {.solver = "euler",
                                          .schedule = "flow",
                                          .spacing = "linspace",
                                          .prediction = "flow",
                                          .steps = config->budget + config->finish - 1,
                                          .shift = 1,
                                          .train_timesteps = 1000,
                                          .timestep_scale = 1};
    DQG_TRY(dqg_scheduler_make(run->context, &plan, &search->plan));
    const double identity[] = {(double)search->method->kind,
                               config->budget,
                               config->steps,
                               config->chains,
                               config->candidates,
                               config->block,
                               config->back,
                               config->finish,
                               config->threshold,
                               config->temperature,
                               config->interpolant,
                               config->diffusion,
                               config->diffusion_scale,
                               search->method->quiet,
                               search->method->single,
                               search->timestep_scale};
    search->plan->sched.identity = dqg_hash64(identity, sizeof identity);
    return DQG_OK;
}

/* Sizes of what lies in the block, one after the other, in bytes; false on overflow. */
static bool place(size_t *used, size_t count, size_t element, size_t *at) {
    size_t bytes;
    *at = *used;
    return dqg_mul_size(count, element, &bytes) && bytes <= SIZE_MAX - DQG_ALIGNMENT &&
           dqg_add_size(*used, dqg_round_up(bytes, DQG_ALIGNMENT), used);
}

static dqg_status make_block(struct dqg_run *run, struct dqg_search *search) {
    const struct dqg_search_config *config = &search->config;
    size_t population = search->method->kind == DQG_KIND_SMC ? (size_t)search->rollouts : 0;
    size_t slots = DQG_SLOT_POPULATION + 2 * population;
    size_t used = 0, levels, state, particles, weights, ancestors, values;
    search->slot_size = 2 * run->size;
    if (!place(&used, (size_t)config->steps, sizeof *search->levels, &levels) ||
        !place(&used, 1, sizeof *search->state, &state) ||
        !place(&used, slots, sizeof *search->particles, &particles) ||
        !place(&used, population, sizeof *search->log_weights, &weights) ||
        !place(&used, population, sizeof *search->ancestors, &ancestors) ||
        !place(&used, slots, search->slot_size * sizeof(float), &values)) {
        return dqg_fail(run->context, DQG_ERROR_LIMIT, "a search with %zu particles does not fit the address space",
                        slots);
    }
    char *block = dqg_calloc(&run->context->alloc, 1, used);
    if (block == NULL) {
        return dqg_fail_memory(run->context, "the search's particles", used);
    }
    search->block = block;
    search->block_bytes = used;
    search->slots = (int32_t)slots;
    search->levels = (void *)(block + levels);
    search->state = (void *)(block + state);
    search->particles = (void *)(block + particles);
    search->log_weights = (void *)(block + weights);
    search->ancestors = (void *)(block + ancestors);
    search->values = (void *)(block + values);
    for (int32_t i = 0; i < config->steps; i++) {
        double r = dqg_path_level(i, config->steps);
        search->levels[i] = dqg_path_at(config->interpolant, config->diffusion, config->diffusion_scale, r);
    }
    search->state->top = -1e300;
    return DQG_OK;
}

static void release(struct dqg_context *context, struct dqg_search *search) {
    if (search != NULL) {
        dqg_scheduler_release_(search->plan);
        dqg_free(&context->alloc, search->block, search->block_bytes);
        dqg_free(&context->alloc, search, sizeof *search);
    }
}

void dqg_search_free(struct dqg_run *run) {
    release(run->context, run->search);
}

static dqg_status make(struct dqg_run *run, struct dqg_search *search) {
    DQG_TRY(dqg_search_settle(run->context, search));
    DQG_TRY(make_plan(run, search));
    return make_block(run, search);
}

dqg_status dqg_search_begin(struct dqg_run *run, const struct dqg_search_config *config, dqg_reward_fn reward,
                            void *user) {
    DQG_TRY(check_run(run));
    struct dqg_search *search = dqg_calloc(&run->context->alloc, 1, sizeof *search);
    if (search == NULL) {
        return dqg_fail_memory(run->context, "the search", sizeof *search);
    }
    search->config = *config;
    search->method = dqg_search_method_find(config->method);
    search->reward = reward;
    search->user = user;
    dqg_status status = make(run, search);
    if (status < 0) {
        release(run->context, search);
        return status;
    }
    /* The run's own noise is the first start. */
    dqg_combine(run->latent, search->levels[0].sigma / search->initial_scale, run->latent, 0, run->latent, run->size);
    dqg_scheduler_retain_(search->plan);
    dqg_scheduler_release_(run->scheduler);
    run->scheduler = search->plan;
    run->search = search;
    set_point(run);
    dqg_work_begin(&run->work, run->context, DQG_PHASE_RUN, (uint64_t)search->plan->sched.steps * 1000);
    return DQG_OK;
}

/* ---- state ---- */

static char *saved(const struct dqg_search *search) {
    return (char *)search->state;
}

size_t dqg_search_state_bytes(const struct dqg_run *run) {
    const struct dqg_search *search = run->search;
    return search != NULL ? search->block_bytes - (size_t)(saved(search) - (char *)search->block) : 0;
}

void dqg_search_state_write(const struct dqg_run *run, void *state) {
    if (run->search != NULL) {
        memcpy(state, saved(run->search), dqg_search_state_bytes(run));
    }
}

/* What is used as an index must be one, whatever the bytes say. */
static bool state_fits(const struct dqg_search *search, const char *bytes) {
    struct dqg_search_state state;
    const char *particles = bytes + ((char *)search->particles - saved(search));
    const char *ancestors = bytes + ((char *)search->ancestors - saved(search));
    int32_t steps = search->config.steps;
    bool smc = search->method->kind == DQG_KIND_SMC;
    memcpy(&state, bytes, sizeof state);
    bool fits = state.level >= 0 && state.level < steps && state.tried >= 0 && state.chain >= 0 && state.side >= 0 &&
                state.side <= 1 && state.draws >= 0 && state.finished >= 0 && state.finished <= search->config.finish &&
                state.chain <= search->config.chains && (!smc || state.tried < search->rollouts || state.finished > 0);
    for (int32_t i = 0; fits && i < search->slots; i++) {
        struct dqg_particle particle;
        memcpy(&particle, particles + (size_t)i * sizeof particle, sizeof particle);
        int32_t last = search->method->kind == DQG_KIND_RBF && i == DQG_SLOT_PARENT ? steps - 2 : steps - 1;
        fits = particle.level >= 0 && particle.level <= last;
    }
    for (int32_t i = 0; fits && smc && i < search->rollouts; i++) {
        int32_t ancestor;
        memcpy(&ancestor, ancestors + (size_t)i * sizeof ancestor, sizeof ancestor);
        fits = ancestor >= 0 && ancestor < search->rollouts;
    }
    return fits;
}

bool dqg_search_state_fits(const struct dqg_run *run, const void *state) {
    return run->search == NULL || state_fits(run->search, state);
}

void dqg_search_state_read(struct dqg_run *run, const void *state) {
    if (run->search != NULL) {
        memcpy(saved(run->search), state, dqg_search_state_bytes(run));
        set_point(run);
    }
}

void dqg_search_tell(const struct dqg_run *run, dqg_search_info *info) {
    const struct dqg_search *search = run->search;
    const struct dqg_particle *found = &search->particles[DQG_SLOT_FOUND];
    bool done = search->state->finished > 0;
    *info = (dqg_search_info){
        .evaluations = run->evaluations,
        .reward = done ? found->reward : search->state->top,
        .time = search->levels[done ? found->level : search->state->level].r,
    };
}
