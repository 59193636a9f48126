/* SPDX-License-Identifier: MIT */
/*
 * Methods of search: which particle is moved where after each evaluation. Three kinds of them:
 *
 *   rbf     rollover budget forcing: one proposal at a time, accepted at once when it beats the reward so far; what a
 *           level leaves of its share goes to the next one (Kim et al. 2025, arXiv 2503.19385)
 *   blocks  several rollouts of a few levels from one particle, of which the best goes on. Of one level each: SVDD (Li
 *           et al. 2024, arXiv 2408.08252), of some: CoDe (Singh et al. 2025, arXiv 2502.00968), of all: best of n.
 *           Begun with noise: search over paths (Ma et al. 2025, arXiv 2501.09732)
 *   smc     a population with weights, resampled (Singhal et al. 2025, arXiv 2501.06848)
 */
#include "run/search.h"

#include <math.h>

#include "support/rng.h"

const char dqg_search_names[] = "rbf|best-of-n|svdd|code|smc|sop|sde";

static const struct dqg_search_method methods[] = {
    {.name = "rbf", .kind = DQG_KIND_RBF},
    {.name = "best-of-n", .kind = DQG_KIND_BLOCKS, .block = INT32_MAX, .quiet = true},
    {.name = "svdd", .kind = DQG_KIND_BLOCKS, .block = 1},
    {.name = "code", .kind = DQG_KIND_BLOCKS},
    {.name = "smc", .kind = DQG_KIND_SMC},
    {.name = "sop", .kind = DQG_KIND_BLOCKS, .quiet = true, .back = true},
    {.name = "sde", .kind = DQG_KIND_BLOCKS, .block = INT32_MAX, .single = true},
};

const struct dqg_search_method *dqg_search_method_find(const char *name) {
    for (size_t i = 0; i < DQG_COUNT_OF(methods); i++) {
        if (strcmp(methods[i].name, name) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

static int32_t least(int32_t a, int32_t b) {
    return a < b ? a : b;
}

/* CURRENT to BEST, if it is better or the first. */
static void keep_better(struct dqg_search *search) {
    const struct dqg_particle *current = &search->particles[DQG_SLOT_CURRENT];
    const struct dqg_particle *best = &search->particles[DQG_SLOT_BEST];
    if (!best->filled || current->reward > best->reward) {
        dqg_search_copy(search, DQG_SLOT_BEST, DQG_SLOT_CURRENT);
    }
}

/* Go on from another particle. */
static void set_parent(struct dqg_search *search, int32_t slot) {
    dqg_search_copy(search, DQG_SLOT_PARENT, slot);
    search->particles[DQG_SLOT_BEST].filled = 0;
    search->state->tried = 0;
}

/* ---- rbf ---- */

/* Evaluations after which a chain ends. */
static int32_t chain_end(const struct dqg_search *search, int32_t chain) {
    return (int32_t)((int64_t)search->config.budget * (chain + 1) / search->config.chains);
}

static struct dqg_search_next end_chain(struct dqg_search *search) {
    struct dqg_particle *particles = search->particles;
    int32_t result = particles[DQG_SLOT_BEST].filled ? DQG_SLOT_BEST : DQG_SLOT_PARENT;
    if (!particles[DQG_SLOT_FOUND].filled || particles[result].reward > particles[DQG_SLOT_FOUND].reward) {
        dqg_search_copy(search, DQG_SLOT_FOUND, result);
    }
    particles[DQG_SLOT_PARENT].filled = 0;
    particles[DQG_SLOT_BEST].filled = 0;
    search->state->tried = 0;
    search->state->chain++;
    bool more = search->state->chain < search->config.chains;
    return (struct dqg_search_next){.move = more ? DQG_MOVE_FRESH : DQG_MOVE_END};
}

static struct dqg_search_next update_rbf(struct dqg_search *search, int32_t used) {
    const struct dqg_search_config *config = &search->config;
    struct dqg_search_state *state = search->state;
    const struct dqg_particle *current = &search->particles[DQG_SLOT_CURRENT];
    const struct dqg_particle *parent = &search->particles[DQG_SLOT_PARENT];
    int64_t left = config->budget - (int64_t)config->candidates * config->chains;
    int32_t share = left > 0 ? (int32_t)(left / ((int64_t)config->steps * config->chains)) : 0;
    bool ended = used >= chain_end(search, state->chain);
    keep_better(search);
    state->tried++;
    if (!parent->filled) {
        if (state->tried >= config->candidates || ended) {
            set_parent(search, DQG_SLOT_BEST);
            state->bar = parent->reward;
            state->quota = share;
        }
    } else if (parent->level < config->steps - 2) { /* at the last level proposals go on to the end of the budget */
        if (current->reward > state->bar) {
            state->bar = current->reward;
            state->quota = share + (state->quota > state->tried ? state->quota - state->tried : 0);
            set_parent(search, DQG_SLOT_CURRENT);
        } else if (state->tried >= state->quota) {
            state->quota = share;
            set_parent(search, DQG_SLOT_BEST);
        }
    }
    if (ended) {
        return end_chain(search);
    }
    return parent->filled ? (struct dqg_search_next){DQG_MOVE_NOISY, DQG_SLOT_PARENT, parent->level + 1}
                          : (struct dqg_search_next){.move = DQG_MOVE_FRESH};
}

/* ---- blocks ---- */

/* First and last level that rollouts from a particle are evaluated at; parent_level -1: from nothing. */
static int32_t block_start(const struct dqg_search_config *config, int32_t parent_level) {
    int32_t start = config->back > 0 ? parent_level - config->back : parent_level + 1;
    return start > 0 ? start : 0;
}

static int32_t block_end(const struct dqg_search_config *config, int32_t parent_level) {
    return parent_level + least(config->block, config->steps - 1 - parent_level);
}

static int32_t parent_level(const struct dqg_search *search) {
    const struct dqg_particle *parent = &search->particles[DQG_SLOT_PARENT];
    return parent->filled ? parent->level : -1;
}

/* Evaluations of one rollout of each block. */
static int32_t blocks_cost(const struct dqg_search_config *config) {
    int32_t cost = 0;
    for (int32_t level = -1; level < config->steps - 1; level = block_end(config, level)) {
        cost += block_end(config, level) - block_start(config, level) + 1;
    }
    return cost;
}

static struct dqg_search_next update_blocks(struct dqg_search *search) {
    const struct dqg_search_config *config = &search->config;
    enum dqg_search_move onward = search->method->quiet ? DQG_MOVE_QUIET : DQG_MOVE_NOISY;
    int32_t level = search->state->level;
    if (level < block_end(config, parent_level(search))) {
        return (struct dqg_search_next){onward, DQG_SLOT_CURRENT, level + 1};
    }
    keep_better(search);
    if (++search->state->tried >= search->rollouts) {
        set_parent(search, DQG_SLOT_BEST);
    }
    int32_t from = parent_level(search);
    if (from == config->steps - 1) {
        dqg_search_copy(search, DQG_SLOT_FOUND, DQG_SLOT_PARENT);
        return (struct dqg_search_next){.move = DQG_MOVE_END};
    }
    enum dqg_search_move move = from < 0 ? DQG_MOVE_FRESH : config->back > 0 ? DQG_MOVE_BACK : onward;
    return (struct dqg_search_next){move, DQG_SLOT_PARENT, block_start(config, from)};
}

/* ---- smc ---- */

static int32_t member(const struct dqg_search *search, int32_t side, int32_t index) {
    return DQG_SLOT_POPULATION + side * search->rollouts + index;
}

/* Scale weights to a largest one of 1. Returns their effective number. */
static double normalise(double *log_weights, int32_t count, double *sum) {
    double largest = log_weights[0];
    double squares = 0;
    for (int32_t i = 1; i < count; i++) {
        largest = fmax(largest, log_weights[i]);
    }
    *sum = 0;
    for (int32_t i = 0; i < count; i++) {
        log_weights[i] -= largest;
        double weight = exp(log_weights[i]);
        *sum += weight;
        squares += weight * weight;
    }
    return *sum * *sum / squares;
}

/* Systematic resampling where weights have become uneven: one random number, then even steps. */
static void resample(struct dqg_search *search, uint64_t seed) {
    int32_t count = search->rollouts;
    double *log_weights = search->log_weights;
    double sum;
    bool uneven = normalise(log_weights, count, &sum) <= search->config.threshold * count;
    for (int32_t i = 0; i < count; i++) {
        search->ancestors[i] = i;
    }
    if (!uneven) {
        return;
    }
    /* The last word of the counter keeps this draw apart from all normals. */
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)search->state->level, 0, 0, 1};
    uint32_t random[4];
    dqg_philox(counter, key, random);
    double below = exp(log_weights[0]);
    for (int32_t i = 0, from = 0; i < count; i++) {
        double at = (i + (random[0] + 0.5) * 0x1p-32) * sum / count;
        while (at > below && from < count - 1) {
            below += exp(log_weights[++from]);
        }
        search->ancestors[i] = from;
    }
    memset(log_weights, 0, (size_t)count * sizeof *log_weights);
}

static struct dqg_search_next update_smc(struct dqg_search *search, uint64_t seed) {
    struct dqg_search_state *state = search->state;
    int32_t index = state->tried;
    double before = 0;
    if (state->level > 0) {
        before = search->particles[member(search, !state->side, search->ancestors[index])].reward;
    }
    double gain = (search->particles[DQG_SLOT_CURRENT].reward - before) / search->config.temperature;
    search->log_weights[index] = fmin(fmax(search->log_weights[index] + gain, -1e300), 1e300);
    dqg_search_copy(search, member(search, state->side, index), DQG_SLOT_CURRENT);
    keep_better(search);
    state->tried++;
    if (state->tried == search->rollouts) {
        if (state->level == search->config.steps - 1) {
            dqg_search_copy(search, DQG_SLOT_FOUND, DQG_SLOT_BEST);
            return (struct dqg_search_next){.move = DQG_MOVE_END};
        }
        resample(search, seed);
        search->particles[DQG_SLOT_BEST].filled = 0;
        state->tried = 0;
        state->side = !state->side;
        return (struct dqg_search_next){DQG_MOVE_NOISY, member(search, !state->side, search->ancestors[0]),
                                        state->level + 1};
    }
    if (state->level == 0) {
        return (struct dqg_search_next){.move = DQG_MOVE_FRESH};
    }
    return (struct dqg_search_next){DQG_MOVE_NOISY, member(search, !state->side, search->ancestors[state->tried]),
                                    state->level};
}

/* ---- all ---- */

dqg_status dqg_search_settle(struct dqg_context *context, struct dqg_search *search) {
    struct dqg_search_config *config = &search->config;
    const struct dqg_search_method *method = search->method;
    int32_t budget = config->budget - (config->finish - 1);
    if (method->block > 0) {
        config->block = method->block;
    }
    if (!method->back) {
        config->back = 0;
    }
    int32_t cost = method->kind == DQG_KIND_RBF      ? config->chains
                   : method->kind == DQG_KIND_BLOCKS ? blocks_cost(config)
                                                     : config->steps;
    if (budget < cost) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "search: method '%s' needs a budget of at least %d evaluations and %d to finish; it is %d",
                        method->name, (int)cost, (int)config->finish - 1, (int)config->budget);
    }
    config->budget = budget;
    search->rollouts = method->kind == DQG_KIND_RBF || method->single ? 1 : budget / cost;
    return DQG_OK;
}

bool dqg_search_wants_reward(const struct dqg_search *search) {
    return search->reward != NULL && (search->method->kind != DQG_KIND_BLOCKS ||
                                      search->state->level == block_end(&search->config, parent_level(search)));
}

struct dqg_search_next dqg_search_update(struct dqg_search *search, int32_t used, uint64_t seed) {
    switch (search->method->kind) {
    case DQG_KIND_RBF:
        return update_rbf(search, used);
    case DQG_KIND_SMC:
        return update_smc(search, seed);
    case DQG_KIND_BLOCKS:
    default:
        return update_blocks(search);
    }
}
