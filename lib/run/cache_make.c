/* SPDX-License-Identifier: MIT */
/* Step caches: from a configuration and a graph to a cut and memory; and what of it a saved state holds. */
#include "run/run.h"

const char dqg_cache_names[] = "none|first-block|teacache|easycache|deepcache";

/* The cut of each kind, and what changes are measured on. */
static dqg_status find_cut(struct dqg_context *context, int32_t branch, struct dqg_cache *cache) {
    const struct dqg_graph *graph = cache->graph;
    if (cache->kind == DQG_CACHE_DEEPCACHE) {
        if (branch >= graph->branches.count) {
            return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                            "deepcache: the network has %d skip connections, cache-branch is %d",
                            (int)graph->branches.count, (int)branch);
        }
        /* Branches were declared as they ended, the innermost first. */
        struct dqg_span span = graph->branches.spans[graph->branches.count - 1 - branch];
        cache->stored_floats = dqg_cut_floats(graph, span.leave);
        return dqg_cut_make(context, graph, span.enter, span.enter, span.leave, &cache->cut);
    }
    if (graph->blocks.count < 2) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "step caches need a network that is a chain of blocks");
    }
    struct dqg_span first = graph->blocks.spans[0], last = graph->blocks.spans[graph->blocks.count - 1];
    bool by_block = cache->kind == DQG_CACHE_FIRST_BLOCK || cache->kind == DQG_CACHE_TEACACHE;
    if (by_block && (first.input == DQG_NO_VALUE ||
                     dqg_cut_floats(graph, first.enter) != dqg_cut_floats(graph, last.leave))) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "blocks of this network differ in size: of step caches, use deepcache or easycache");
    }
    cache->first = first;
    cache->observe = graph->values[first.enter].producer + 1;
    cache->stored_floats = dqg_cut_floats(graph, last.leave);
    if (cache->kind == DQG_CACHE_FIRST_BLOCK) {
        cache->indicator_floats = dqg_cut_floats(graph, first.leave);
        return dqg_cut_make(context, graph, first.leave, first.leave, last.leave, &cache->cut);
    }
    if (cache->kind == DQG_CACHE_TEACACHE) {
        const struct dqg_value *input = &graph->values[first.input];
        cache->indicator_floats = input->rows / graph->samples * input->columns;
        return dqg_cut_make(context, graph, first.enter, first.input, last.leave, &cache->cut);
    }
    cache->indicator_floats = cache->in_floats;
    cache->stored_floats = cache->in_floats + cache->out_floats;
    return dqg_cut_make(context, graph, first.enter, first.enter, last.leave, &cache->cut);
}

dqg_status dqg_cache_init(struct dqg_context *context, const struct dqg_cache_config *config,
                          const struct dqg_graph *graph, struct dqg_cache *cache) {
    static const double own[] = {0, 0.05, 0.25, 0.05, 1};
    size_t plane = graph->height * graph->width;
    *cache = (struct dqg_cache){.kind = config->kind,
                                .threshold = config->threshold < 0 ? own[config->kind] : config->threshold,
                                .warmup = config->warmup,
                                .interval = config->interval,
                                .step_count = config->step_count,
                                .branch = config->branch,
                                .polynomial_count = config->polynomial_count,
                                .graph = graph,
                                .samples = graph->samples,
                                .in_floats = plane * graph->channels,
                                .out_floats = plane * graph->out_channels};
    if (config->kind == DQG_CACHE_NONE) {
        return DQG_OK;
    }
    if (config->warmup == 0) {
        cache->warmup = config->kind == DQG_CACHE_EASYCACHE ? 5 : 1;
    }
    if (config->polynomial_count > DQG_CACHE_POLYNOMIAL) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "cache-polynomial has %d coefficients, at most %d are possible",
                        (int)config->polynomial_count, (int)DQG_CACHE_POLYNOMIAL);
    }
    if (config->polynomial_count > 0) {
        memcpy(cache->polynomial, config->polynomial, (size_t)config->polynomial_count * sizeof *config->polynomial);
    }
    return find_cut(context, config->branch, cache);
}

bool dqg_cache_lay_out(struct dqg_cache *cache, char *base, size_t *used) {
    size_t n = cache->samples, indicator = cache->indicator_floats, stored = cache->stored_floats;
    size_t state = sizeof *cache->state;
    bool stages = cache->kind != DQG_CACHE_EASYCACHE; /* which knows everything only when an evaluation is complete */
    if (cache->kind == DQG_CACHE_NONE) {
        return true;
    }
    return dqg_carve(used, base, n, state, (void **)&cache->state) &&
           dqg_carve(used, base, n, state, (void **)&cache->next_state) &&
           dqg_carve(used, base, n, indicator * sizeof(float), (void **)&cache->indicator) &&
           dqg_carve(used, base, stages ? n : 0, indicator * sizeof(float), (void **)&cache->next_indicator) &&
           dqg_carve(used, base, n, stored * sizeof(float), (void **)&cache->stored) &&
           dqg_carve(used, base, stages ? n : 0, stored * sizeof(float), (void **)&cache->next_stored) &&
           dqg_carve(used, base, n, sizeof *cache->active, (void **)&cache->active) &&
           dqg_carve(used, base, (size_t)cache->step_count, sizeof *cache->steps, (void **)&cache->steps) &&
           dqg_carve(used, base, cache->cut.side_bytes, 1, (void **)&cache->side);
}

void dqg_cache_fill(struct dqg_cache *cache, const struct dqg_cache_config *config) {
    if (cache->kind == DQG_CACHE_NONE) {
        return;
    }
    dqg_cache_drop(cache);
    /* Saved states copy them, empty or not. */
    memset(cache->indicator, 0, cache->samples * cache->indicator_floats * sizeof *cache->indicator);
    memset(cache->stored, 0, cache->samples * cache->stored_floats * sizeof *cache->stored);
    if (cache->step_count > 0) {
        memcpy(cache->steps, config->steps, (size_t)cache->step_count * sizeof *cache->steps);
    }
}

struct dqg_cache_config dqg_cache_config(const struct dqg_cache *cache) {
    return (struct dqg_cache_config){.kind = cache->kind,
                                     .threshold = cache->threshold,
                                     .polynomial = cache->polynomial,
                                     .polynomial_count = cache->polynomial_count,
                                     .warmup = cache->warmup,
                                     .interval = cache->interval,
                                     .steps = cache->steps,
                                     .step_count = cache->step_count,
                                     .branch = cache->branch};
}

/* ---- saved states ---- */

struct cache_header {
    int64_t kind, computed, skipped;
};

/* The arrays that a state holds, one after the other. */
struct piece {
    void *at;
    size_t bytes;
};

static void pieces(const struct dqg_cache *cache, struct piece out[3]) {
    size_t n = cache->samples;
    out[0] = (struct piece){cache->state, n * sizeof *cache->state};
    out[1] = (struct piece){cache->indicator, n * cache->indicator_floats * sizeof(float)};
    out[2] = (struct piece){cache->stored, n * cache->stored_floats * sizeof(float)};
}

size_t dqg_cache_state_bytes(const struct dqg_cache *cache) {
    struct piece all[3];
    pieces(cache, all);
    return cache->kind == DQG_CACHE_NONE ? 0 : sizeof(struct cache_header) + all[0].bytes + all[1].bytes + all[2].bytes;
}

void dqg_cache_state_write(const struct dqg_cache *cache, char *state) {
    struct cache_header header = {cache->kind, cache->computed, cache->skipped};
    struct piece all[3];
    if (cache->kind == DQG_CACHE_NONE) {
        return;
    }
    pieces(cache, all);
    memcpy(state, &header, sizeof header);
    state += sizeof header;
    for (int i = 0; i < 3; i++) {
        memcpy(state, all[i].at, all[i].bytes);
        state += all[i].bytes;
    }
}

bool dqg_cache_state_check(const struct dqg_cache *cache, const char *state) {
    struct cache_header header;
    if (cache->kind == DQG_CACHE_NONE) {
        return true;
    }
    memcpy(&header, state, sizeof header);
    return header.kind == (int64_t)cache->kind && header.computed >= 0 && header.skipped >= 0;
}

void dqg_cache_state_read(struct dqg_cache *cache, const char *state) {
    struct cache_header header;
    struct piece all[3];
    if (cache->kind == DQG_CACHE_NONE) {
        return;
    }
    pieces(cache, all);
    memcpy(&header, state, sizeof header);
    cache->computed = header.computed;
    cache->skipped = header.skipped;
    state += sizeof header;
    for (int i = 0; i < 3; i++) {
        memcpy(all[i].at, state, all[i].bytes);
        state += all[i].bytes;
    }
}
