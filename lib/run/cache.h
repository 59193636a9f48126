/* SPDX-License-Identifier: MIT */
/*
 * Step caches: parts of an evaluation are left out where they change little from step to step, and what they gave
 * before stands in. Every sample of the network's batch (with guidance, each image has one for each branch) has its own
 * decision and state, so that an image does not depend on others. What an evaluation finds out is kept apart until it
 * is complete: a run saved in the middle of one continues with the same numbers.
 */
#ifndef DQG_CACHE_H
#define DQG_CACHE_H

#include "model/cut.h"

enum dqg_cache_kind {
    DQG_CACHE_NONE,
    DQG_CACHE_FIRST_BLOCK, /* the first block's change tells that of all others */
    DQG_CACHE_TEACACHE,    /* the first block's modulated input does; summed up over steps (arXiv 2411.19108) */
    DQG_CACHE_EASYCACHE,   /* the network's input and output do (arXiv 2507.02860) */
    DQG_CACHE_DEEPCACHE    /* a U-Net's inner part, every so many steps (arXiv 2312.00858) */
};
extern const char dqg_cache_names[]; /* in this order */

enum { DQG_CACHE_POLYNOMIAL = 8 /* most coefficients */ };

struct dqg_cache_config {
    enum dqg_cache_kind kind;
    double threshold;         /* 0: nothing is left out; below 0: the method's own */
    const double *polynomial; /* TeaCache, highest power first; none: the change itself */
    int32_t polynomial_count;
    int32_t warmup;       /* steps at the beginning that leave nothing out; 0: the method's own */
    int32_t interval;     /* DeepCache: steps from one full evaluation to the next */
    const int64_t *steps; /* in place of the interval: the steps whose evaluations are full */
    int32_t step_count;
    int32_t branch; /* DeepCache: the skip connection below which is cached */
};

/* What is remembered of a sample besides arrays. */
struct dqg_cache_sample {
    double accumulated;
    double rate;      /* EasyCache: change of the output for that of the input */
    int32_t computed; /* evaluations since the cache was empty, at most 2: as many as rates need */
    int32_t reuse;    /* in the evaluation under way */
};

struct dqg_cache {
    enum dqg_cache_kind kind;
    double threshold;
    double polynomial[DQG_CACHE_POLYNOMIAL];
    int32_t polynomial_count, warmup, interval, step_count, branch;
    const struct dqg_graph *graph;
    struct dqg_cut cut;
    struct dqg_span first;                           /* block */
    int32_t observe;                                 /* first node of that block */
    size_t samples, indicator_floats, stored_floats; /* floats of a sample */
    size_t in_floats, out_floats;

    /* In the caller's block; next_: of the evaluation under way */
    struct dqg_cache_sample *state, *next_state;
    float *indicator, *next_indicator; /* what changes are measured on, when it was last looked at */
    float *stored, *next_stored;       /* what stands in */
    int64_t *steps;
    int32_t *active; /* numbers of samples that compute */
    char *side;

    size_t active_count;
    bool force, decided;
    int64_t computed, skipped; /* evaluations of samples */
};

/* Check the configuration against a planned graph, and find sizes. Kind DQG_CACHE_NONE makes an empty cache. */
dqg_status dqg_cache_init(struct dqg_context *context, const struct dqg_cache_config *config,
                          const struct dqg_graph *graph, struct dqg_cache *cache);

/* Hand out memory at base + *used, or with base NULL only count. False on overflow. */
bool dqg_cache_lay_out(struct dqg_cache *cache, char *base, size_t *used);

/* After memory was handed out. */
void dqg_cache_fill(struct dqg_cache *cache, const struct dqg_cache_config *config);

/* What would make a cache like this one, for another graph. Valid as long as the cache and its memory are. */
struct dqg_cache_config dqg_cache_config(const struct dqg_cache *cache);

/* Forget what was stored: the sample was replaced. */
void dqg_cache_drop(struct dqg_cache *cache);

/* An evaluation of this step begins; then dqg_exec_next() with whatever is left out. */
void dqg_cache_begin(struct dqg_cache *cache, int32_t step, int32_t steps);
dqg_status dqg_cache_next(struct dqg_cache *cache, struct dqg_exec *exec, const struct dqg_exec_io *io);

/* TeaCache's polynomial, or x itself. */
double dqg_cache_rescale(const struct dqg_cache *cache, double x);

/* What belongs to a saved state. check: do these bytes fit? */
size_t dqg_cache_state_bytes(const struct dqg_cache *cache);
void dqg_cache_state_write(const struct dqg_cache *cache, char *state);
bool dqg_cache_state_check(const struct dqg_cache *cache, const char *state);
void dqg_cache_state_read(struct dqg_cache *cache, const char *state);

#endif
