/* SPDX-License-Identifier: MIT */
/*
 * Step caches, evaluation by evaluation: look at the indicator, decide for each sample, leave the cut out or keep what
 * it gave, and make the new state the old one when the evaluation is complete. cache_make.c sets them up.
 *
 * Changes are sum|a - b| / sum|b|, which is mean over mean.
 */
#include <math.h>

#include "run/cache.h"

double dqg_cache_rescale(const struct dqg_cache *cache, double x) {
    double y = cache->polynomial_count > 0 ? 0.0 : x;
    for (int32_t i = 0; i < cache->polynomial_count; i++) {
        y = y * x + cache->polynomial[i];
    }
    return y;
}

void dqg_cache_drop(struct dqg_cache *cache) {
    if (cache->kind != DQG_CACHE_NONE) {
        memset(cache->state, 0, cache->samples * sizeof *cache->state);
    }
}

/* ---- indicators ---- */

static double sum_of(const float *a, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += fabs((double)a[i]);
    }
    return sum;
}

static double sum_of_differences(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += fabs((double)a[i] - b[i]);
    }
    return sum;
}

/* NaN or infinity where b says nothing: then the sample computes. */
static double change(const float *a, const float *b, size_t count) {
    return sum_of_differences(a, b, count) / sum_of(b, count);
}

/* A sample's rows of a value as floats. */
static void copy_rows(const struct dqg_exec *exec, int32_t id, size_t sample, float *out) {
    const struct dqg_value *value = &exec->graph->values[id];
    size_t rows = value->rows / exec->graph->samples;
    if (!value->int8) {
        memcpy(out, dqg_cut_sample(exec, id, sample), rows * value->columns * sizeof *out);
        return;
    }
    const char *base = exec->memory + value->offset;
    const float *scales = (const float *)(base + dqg_round_up(value->rows * value->ld, DQG_ALIGNMENT));
    for (size_t row = sample * rows; row < (sample + 1) * rows; row++) {
        const int8_t *codes = (const int8_t *)base + row * value->ld;
        for (size_t i = 0; i < value->columns; i++) {
            *out++ = scales[row] * (float)codes[i];
        }
    }
}

struct cache_task {
    struct dqg_cache *cache;
    const struct dqg_exec *exec;
    const struct dqg_exec_io *io;
};

/* The first block's residual needs what it began from: blocks add in place. */
static void observe_sample(void *argument, size_t sample, size_t lane) {
    const struct cache_task *task = argument;
    struct dqg_cache *cache = task->cache;
    (void)lane;
    copy_rows(task->exec, cache->first.enter, sample, cache->next_indicator + sample * cache->indicator_floats);
}

/* ---- decisions ---- */

static double accumulate(const struct dqg_cache *cache, const struct dqg_exec_io *io, size_t sample) {
    const struct dqg_cache_sample *state = &cache->state[sample];
    const float *before = cache->indicator + sample * cache->indicator_floats;
    if (cache->kind == DQG_CACHE_TEACACHE) {
        const float *now = cache->next_indicator + sample * cache->indicator_floats;
        return state->accumulated + dqg_cache_rescale(cache, change(now, before, cache->indicator_floats));
    }
    const float *output = cache->stored + sample * cache->stored_floats + cache->in_floats;
    return state->accumulated + state->rate *
                                    sum_of_differences(io->x + sample * cache->in_floats, before, cache->in_floats) /
                                    sum_of(output, cache->in_floats);
}

static bool may_reuse(struct dqg_cache *cache, const struct dqg_exec_io *io, size_t sample) {
    struct dqg_cache_sample *next = &cache->next_state[sample];
    size_t floats = cache->indicator_floats;
    int32_t needed = cache->kind == DQG_CACHE_EASYCACHE ? 2 : 1;
    if (cache->force || next->computed < needed) {
        next->accumulated = 0;
        return false;
    }
    switch (cache->kind) {
    case DQG_CACHE_FIRST_BLOCK:
        return change(cache->next_indicator + sample * floats, cache->indicator + sample * floats, floats) <
               cache->threshold;
    case DQG_CACHE_DEEPCACHE:
        return true;
    default:
        next->accumulated = accumulate(cache, io, sample);
        if (next->accumulated < cache->threshold) {
            return true;
        }
        next->accumulated = 0;
        return false;
    }
}

static void decide_sample(void *argument, size_t sample, size_t lane) {
    const struct cache_task *task = argument;
    struct dqg_cache *cache = task->cache;
    float *indicator = cache->next_indicator + sample * cache->indicator_floats;
    (void)lane;
    if (cache->kind == DQG_CACHE_FIRST_BLOCK) {
        const float *out = dqg_cut_sample(task->exec, cache->first.leave, sample);
        for (size_t i = 0; i < cache->indicator_floats; i++) {
            indicator[i] = out[i] - indicator[i];
        }
    } else if (cache->kind == DQG_CACHE_TEACACHE) {
        copy_rows(task->exec, cache->first.input, sample, indicator);
    }
    if (cache->kind == DQG_CACHE_FIRST_BLOCK || cache->kind == DQG_CACHE_TEACACHE) {
        copy_rows(task->exec, cache->cut.enter, sample, cache->next_stored + sample * cache->stored_floats);
    }
    cache->next_state[sample] = cache->state[sample];
    cache->next_state[sample].reuse = may_reuse(cache, task->io, sample);
}

static void decide(const struct cache_task *task) {
    struct dqg_cache *cache = task->cache;
    dqg_parallel(task->exec->ops.context, cache->samples, decide_sample, (void *)task);
    cache->active_count = 0;
    for (size_t i = 0; i < cache->samples; i++) {
        if (!cache->next_state[i].reuse) {
            cache->active[cache->active_count++] = (int32_t)i;
        }
    }
    cache->decided = true;
}

/* ---- the end of the cut, and of the evaluation ---- */

static void apply_sample(void *argument, size_t sample, size_t lane) {
    const struct cache_task *task = argument;
    struct dqg_cache *cache = task->cache;
    size_t count = dqg_cut_floats(cache->graph, cache->cut.leave);
    float *leave = dqg_cut_sample(task->exec, cache->cut.leave, sample);
    const float *stored = cache->stored + sample * cache->stored_floats;
    float *next = cache->next_stored + sample * cache->stored_floats;
    bool reuse = cache->next_state[sample].reuse;
    (void)lane;
    if (cache->kind == DQG_CACHE_EASYCACHE) {
        memset(leave, 0, reuse ? count * sizeof *leave : 0); /* its output comes from elsewhere */
    } else if (cache->kind == DQG_CACHE_DEEPCACHE) {
        memcpy(reuse ? leave : next, reuse ? stored : leave, count * sizeof *leave);
    } else {
        for (size_t i = 0; i < count; i++) {
            float enter = next[i];
            next[i] = leave[i] - enter;
            leave[i] = reuse ? enter + stored[i] : leave[i];
        }
    }
}

/* EasyCache: store the input and output, or let the stored ones' difference stand in. */
static void finish_easy(struct dqg_cache *cache, const struct dqg_exec_io *io, size_t sample) {
    struct dqg_cache_sample *next = &cache->next_state[sample];
    size_t in = cache->in_floats;
    const float *x = io->x + sample * in;
    float *out = io->out + sample * cache->out_floats;
    float *stored_x = cache->stored + sample * cache->stored_floats, *stored_out = stored_x + in;
    memcpy(cache->indicator + sample * cache->indicator_floats, x, in * sizeof *x);
    if (next->reuse) {
        for (size_t i = 0; i < cache->out_floats; i++) {
            out[i] = i < in ? x[i] + (stored_out[i] - stored_x[i]) : stored_out[i];
        }
        return;
    }
    if (next->computed > 0) {
        next->rate = sum_of_differences(out, stored_out, in) / sum_of_differences(x, stored_x, in);
    }
    memcpy(stored_x, x, in * sizeof *x);
    memcpy(stored_out, out, cache->out_floats * sizeof *out);
}

static void finish_sample(void *argument, size_t sample, size_t lane) {
    const struct cache_task *task = argument;
    struct dqg_cache *cache = task->cache;
    struct dqg_cache_sample *next = &cache->next_state[sample];
    size_t indicator = cache->indicator_floats, stored = cache->stored_floats;
    (void)lane;
    if (cache->kind == DQG_CACHE_EASYCACHE) {
        finish_easy(cache, task->io, sample);
    } else {
        if (cache->kind == DQG_CACHE_TEACACHE || !next->reuse) {
            memcpy(cache->indicator + sample * indicator, cache->next_indicator + sample * indicator,
                   indicator * sizeof(float));
        }
        if (!next->reuse) {
            memcpy(cache->stored + sample * stored, cache->next_stored + sample * stored, stored * sizeof(float));
        }
    }
    next->computed += !next->reuse && next->computed < 2;
    next->reuse = 0;
    cache->state[sample] = *next;
}

/* ---- evaluations ---- */

static bool is_full_step(const struct dqg_cache *cache, int32_t step) {
    if (cache->step_count == 0) {
        return step % cache->interval == 0;
    }
    for (int32_t i = 0; i < cache->step_count; i++) {
        if (cache->steps[i] == step) {
            return true;
        }
    }
    return false;
}

void dqg_cache_begin(struct dqg_cache *cache, int32_t step, int32_t steps) {
    bool last = step == steps - 1 && (cache->kind == DQG_CACHE_TEACACHE || cache->kind == DQG_CACHE_EASYCACHE);
    bool full = cache->kind == DQG_CACHE_DEEPCACHE && is_full_step(cache, step);
    cache->force = cache->threshold == 0 || step < cache->warmup || last || full;
    cache->decided = false;
}

dqg_status dqg_cache_next(struct dqg_cache *cache, struct dqg_exec *exec, const struct dqg_exec_io *io) {
    struct cache_task task = {cache, exec, io};
    dqg_status status = DQG_PENDING;
    if (cache->kind == DQG_CACHE_NONE) {
        return dqg_exec_next(exec, io);
    }
    if (cache->kind == DQG_CACHE_FIRST_BLOCK && exec->next == cache->observe) {
        dqg_parallel(exec->ops.context, cache->samples, observe_sample, &task);
    }
    if (exec->next == cache->cut.begin && !cache->decided) {
        decide(&task);
        if (cache->active_count == 0) {
            dqg_parallel(exec->ops.context, cache->samples, apply_sample, &task);
            exec->next = cache->cut.end;
            status = cache->kind == DQG_CACHE_EASYCACHE ? DQG_DONE : DQG_PENDING;
        } else if (cache->active_count < cache->samples) {
            dqg_cut_shrink(&cache->cut, exec, cache->active, cache->active_count, cache->side);
        }
    }
    if (status == DQG_PENDING) {
        status = dqg_exec_next(exec, io);
    } else {
        dqg_exec_restart(exec);
    }
    if (status == DQG_PENDING && exec->next == cache->cut.end) {
        if (exec->samples < cache->samples) {
            dqg_cut_grow(&cache->cut, exec, cache->active, cache->active_count, cache->side);
        }
        dqg_parallel(exec->ops.context, cache->samples, apply_sample, &task);
    }
    if (status == DQG_DONE) {
        dqg_parallel(exec->ops.context, cache->samples, finish_sample, &task);
        cache->computed += (int64_t)cache->active_count;
        cache->skipped += (int64_t)(cache->samples - cache->active_count);
    }
    return status;
}
