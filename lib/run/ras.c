/* SPDX-License-Identifier: MIT */
/*
 * Region-adaptive sampling, step by step: which steps compute few tokens, and which tokens. ras_make.c sets it up.
 *
 * Tokens are ranked by how much the step moves them, which is the network's output times a number that is the same for
 * all: it does not change the order and is left out, and so is the count from which all tokens' starvation starts.
 */
#include <math.h>

#include "run/ras.h"

/* ---- steps ---- */

static int64_t first_step(const struct dqg_ras *ras) {
    return ras->range_count > 0 ? ras->range[0] : 4;
}

static int64_t last_step(const struct dqg_ras *ras, int32_t steps) {
    return ras->range_count > 0 ? ras->range[1] : steps;
}

static bool is_reset(const struct dqg_ras *ras, int32_t step) {
    for (int32_t i = 0; i < ras->reset_count; i++) {
        if (ras->resets[i] == step) {
            return true;
        }
    }
    return false;
}

bool dqg_ras_wants(const struct dqg_ras *ras, int32_t step, int32_t steps) {
    return ras->ratio > 0 && step >= first_step(ras) && step <= last_step(ras, steps) && !is_reset(ras, step);
}

bool dqg_ras_is_sparse(const struct dqg_ras *ras, int32_t step, int32_t steps) {
    return ras->filled && ras->selected && dqg_ras_wants(ras, step, steps);
}

float *dqg_ras_kept(const struct dqg_ras *ras, int32_t step, int32_t steps) {
    bool needed = ras->ratio > 0 && step + 1 >= first_step(ras) && step <= last_step(ras, steps);
    return needed ? ras->kept : NULL;
}

void dqg_ras_end(struct dqg_ras *ras, struct dqg_context *context, const float *output, int32_t step, int32_t steps) {
    ras->filled = ras->filled || dqg_ras_kept(ras, step, steps) != NULL;
    if (dqg_ras_wants(ras, step + 1, steps) && step + 1 < last_step(ras, steps)) {
        dqg_ras_select(ras, context, output);
        ras->selected = true;
    }
}

/* ---- tokens ---- */

void dqg_ras_counts(size_t tokens, double ratio, double high, size_t *lowest, size_t *highest) {
    static const double little = 1e-9; /* for products such as (1 - 0.9) * 10 */
    double cached = floor((1 - ratio) * (double)tokens + little);
    *lowest = (size_t)floor(cached * (1 - high) + little);
    *highest = (size_t)floor(cached * high + little);
}

/* Of a pixel, whose channels are plane apart. */
static double change(const struct dqg_ras *ras, const float *pixel) {
    size_t plane = ras->height * ras->width;
    double mean = 0, squares = 0;
    for (size_t c = 0; ras->metric == DQG_RAS_STD && c < ras->channels; c++) {
        mean += (double)pixel[c * plane] / (double)ras->channels;
    }
    for (size_t c = 0; c < ras->channels; c++) {
        double d = (double)pixel[c * plane] - mean;
        squares += d * d;
    }
    return sqrt(ras->metric == DQG_RAS_STD ? squares / (double)(ras->channels - 1) : squares);
}

void dqg_ras_changes(const struct dqg_ras *ras, const float *image, struct dqg_ras_rank *ranks) {
    size_t grid = ras->width / ras->patch;
    for (size_t token = 0; token < ras->tokens; token++) {
        const float *first = image + (token / grid * ras->width + token % grid) * ras->patch;
        double sum = 0;
        for (size_t p = 0; p < ras->patch; p++) {
            for (size_t q = 0; q < ras->patch; q++) {
                sum += change(ras, first + p * ras->width + q);
            }
        }
        ranks[token] = (struct dqg_ras_rank){sum / (double)(ras->patch * ras->patch), (int32_t)token};
    }
}

static bool is_before(const struct dqg_ras_rank *a, const struct dqg_ras_rank *b) {
    return a->change < b->change || (a->change == b->change && a->token < b->token);
}

static void swap(struct dqg_ras_rank *a, struct dqg_ras_rank *b) {
    struct dqg_ras_rank kept = *a;
    *a = *b;
    *b = kept;
}

/* Let the root of a heap sink whose children are heaps with the last one on top. */
static void sink(struct dqg_ras_rank *ranks, size_t root, size_t count) {
    for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && is_before(&ranks[child], &ranks[child + 1])) {
            child++;
        }
        if (!is_before(&ranks[root], &ranks[child])) {
            return;
        }
        swap(&ranks[root], &ranks[child]);
        root = child;
    }
}

/* Heap sort: qsort() may allocate. */
static void sort(struct dqg_ras_rank *ranks, size_t count) {
    for (size_t root = count / 2; root-- > 0;) {
        sink(ranks, root, count);
    }
    for (size_t end = count; end-- > 1;) {
        swap(&ranks[0], &ranks[end]);
        sink(ranks, 0, end);
    }
}

struct select_task {
    struct dqg_ras *ras;
    const float *output;
};

static void select_image(void *argument, size_t image, size_t lane) {
    const struct select_task *task = argument;
    struct dqg_ras *ras = task->ras;
    struct dqg_ras_rank *ranks = ras->ranks + image * ras->tokens;
    int32_t *left_out = ras->left_out + image * ras->tokens;
    int32_t *active = ras->active + image * ras->active_count;
    char *cached = ras->cached + image * ras->tokens;
    size_t lowest, highest;
    (void)lane;
    dqg_ras_counts(ras->tokens, ras->ratio, ras->high, &lowest, &highest);
    dqg_ras_changes(ras, task->output + image * ras->channels * ras->height * ras->width, ranks);
    for (size_t i = 0; i < ras->tokens; i++) {
        double change = log(ranks[i].change) + ras->starvation * left_out[i];
        ranks[i].change = isnan(change) ? -INFINITY : change;
    }
    sort(ranks, ras->tokens);
    for (size_t i = 0; i < ras->tokens; i++) {
        cached[ranks[i].token] = i < lowest || i >= ras->tokens - highest;
    }
    for (size_t token = 0; token < ras->tokens; token++) {
        if (cached[token]) {
            left_out[token]++;
        } else {
            *active++ = (int32_t)token;
        }
    }
}

void dqg_ras_select(struct dqg_ras *ras, struct dqg_context *context, const float *output) {
    struct select_task task = {ras, output};
    dqg_parallel(context, ras->images, select_image, &task);
    size_t of_images = ras->images * ras->active_count;
    for (size_t i = of_images; i < ras->samples * ras->active_count; i++) {
        ras->active[i] = ras->active[i - of_images];
    }
}
