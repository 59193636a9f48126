/* SPDX-License-Identifier: MIT */
/*
 * Inside of the search for samples of high reward. reward_search.c keeps particles, moves them and has them evaluated
 * one by one by the run's own loop; search_methods.c decides, after each evaluation, which particle is moved where.
 */
#ifndef DQG_SEARCH_H
#define DQG_SEARCH_H

#include "run/run.h"
#include "sched/pieces.h"

/* Places for particles. What an evaluated particle is lies beside: estimates of x0 and eps. */
enum dqg_slot { DQG_SLOT_CURRENT, DQG_SLOT_PARENT, DQG_SLOT_BEST, DQG_SLOT_FOUND, DQG_SLOT_POPULATION };

struct dqg_particle {
    int32_t level;
    int32_t filled;
    double reward;
};

/* Where a search stands. Plain data: saved and restored as it is. */
struct dqg_search_state {
    int32_t level;    /* of the particle that is evaluated next */
    int32_t tried;    /* of this place: proposals, rollouts, or particles of a population */
    int32_t quota;    /* rbf: proposals that this place may take */
    int32_t chain;    /* rbf: under way */
    int32_t side;     /* smc: which population is being filled */
    int32_t finished; /* ODE steps made after the search; 0 while it is on */
    int32_t draws;    /* of noise */
    int32_t reserved;
    double bar; /* rbf: the reward to beat */
    double top; /* highest reward seen */
};

/* What to do next: a particle for a level, made from that in a slot. */
enum dqg_search_move { DQG_MOVE_END, DQG_MOVE_FRESH, DQG_MOVE_QUIET, DQG_MOVE_NOISY, DQG_MOVE_BACK };

struct dqg_search_next {
    enum dqg_search_move move;
    int32_t from; /* slot */
    int32_t level;
};

struct dqg_search_method {
    const char *name;
    enum { DQG_KIND_RBF, DQG_KIND_BLOCKS, DQG_KIND_SMC } kind;
    bool single;   /* blocks: one rollout, no choice */
    bool quiet;    /* blocks: rollouts follow the ODE */
    bool back;     /* blocks: rollouts begin with noise added */
    int32_t block; /* levels of one; 0: as configured, INT32_MAX: all */
};

struct dqg_search {
    const struct dqg_search_method *method;
    struct dqg_search_config config; /* budget, block and back as they count for the method */
    int32_t rollouts;                /* of a block; particles of a population */
    struct dqg_scheduler *plan; /* the run's while it searches: point i is that of evaluation i, set when it is due */
    double timestep_scale, initial_scale;
    dqg_reward_fn reward;
    void *user;

    void *block;
    size_t block_bytes;
    struct dqg_path_point *levels; /* steps */
    int32_t slots;
    size_t slot_size; /* floats */

    /* Saved, from here to the end of the block. */
    struct dqg_search_state *state;
    struct dqg_particle *particles; /* slots */
    double *log_weights;            /* smc: rollouts */
    int32_t *ancestors;             /* smc: rollouts, which of the other population each comes from */
    float *values;                  /* slots, x0 and eps of each: size */
};

/* ---- search_methods.c ---- */

/* The row of a name, or NULL. */
const struct dqg_search_method *dqg_search_method_find(const char *name);

/* Settle budget, block, back and rollouts; fails where the budget is too small. */
dqg_status dqg_search_settle(struct dqg_context *context, struct dqg_search *search);

/* Whether the particle under evaluation needs its reward. */
bool dqg_search_wants_reward(const struct dqg_search *search);

/* The particle in DQG_SLOT_CURRENT was evaluated, as the used-th one. seed: for decisions by chance. */
struct dqg_search_next dqg_search_update(struct dqg_search *search, int32_t used, uint64_t seed);

/* ---- reward_search.c ---- */

/* Copy a particle from one slot to another. */
void dqg_search_copy(struct dqg_search *search, int32_t to, int32_t from);

#endif
