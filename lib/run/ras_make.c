/* SPDX-License-Identifier: MIT */
/* Region-adaptive sampling: from a configuration and a graph to sizes and memory; and what a saved state holds. */
#include "run/run.h"

const char dqg_ras_metrics[] = "std|l2";

static dqg_status check(struct dqg_context *context, const struct dqg_ras_config *config,
                        const struct dqg_graph *dense) {
    const int64_t *range = config->range;
    if (config->range_count != 0 && (config->range_count != 2 || range[0] < 1 || range[1] < range[0])) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "ras-range is two steps, the first one 1 or more and not behind the second: a step that "
                        "computes all tokens comes before");
    }
    if (config->metric == DQG_RAS_STD && dense->channels < 2) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "ras-metric std is the deviation between channels, and the model has one: use l2");
    }
    return DQG_OK;
}

dqg_status dqg_ras_init(struct dqg_context *context, const struct dqg_ras_config *config, size_t images,
                        const struct dqg_graph *dense, struct dqg_ras *ras) {
    size_t lowest, highest;
    *ras = (struct dqg_ras){.ratio = config->ratio,
                            .high = config->high,
                            .starvation = config->starvation,
                            .metric = config->metric,
                            .range_count = config->range_count,
                            .reset_count = config->reset_count,
                            .samples = dense->samples,
                            .images = images,
                            .channels = dense->channels,
                            .height = dense->height,
                            .width = dense->width,
                            .patch = dense->patch,
                            .tokens = dense->tokens,
                            .kept_floats = dense->kept_floats};
    if (config->ratio == 0) {
        return DQG_OK;
    }
    DQG_TRY(check(context, config, dense));
    if (config->range_count > 0) {
        memcpy(ras->range, config->range, sizeof ras->range);
    }
    dqg_ras_counts(ras->tokens, ras->ratio, ras->high, &lowest, &highest);
    ras->active_count = ras->tokens - lowest - highest;
    if (ras->active_count == 0) {
        return dqg_fail(context, DQG_ERROR_RANGE, "ras-ratio %g of %zu tokens is less than one", ras->ratio,
                        ras->tokens);
    }
    return DQG_OK;
}

dqg_status dqg_run_check_ras(const struct dqg_run *run, const struct dqg_sched *sched) {
    if (run->ras.ratio > 0 && dqg_sched_evaluations(sched) > 1) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "ras-ratio needs a solver of one evaluation a step, this one has %d: use euler or another",
                        (int)dqg_sched_evaluations(sched));
    }
    return DQG_OK;
}

dqg_status dqg_run_set_ras(struct dqg_run *run, const struct dqg_ras_config *config) {
    DQG_TRY(dqg_ras_init(run->context, config, run->images, &run->graph, &run->ras));
    if (config->ratio == 0) {
        return DQG_OK;
    }
    DQG_TRY(dqg_run_check_ras(run, &run->scheduler->sched));
    if (run->clock_count > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED, "ras-ratio needs one time for the whole run: time-axes 0");
    }
    if (run->cache.kind != DQG_CACHE_NONE) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED, "ras-ratio and cache exclude each other: set one of them");
    }
    if (run->perturbed.node_count > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "ras-ratio and guidance by a perturbed network exclude each other: set one of them to 0");
    }
    return dqg_run_plan_sparse(run);
}

size_t dqg_run_kept_outputs(const struct dqg_run *run) {
    const struct dqg_ras *ras = &run->ras;
    return ras->ratio > 0 ? ras->samples * ras->height * ras->width * run->graph.out_channels : 0;
}

bool dqg_ras_lay_out(struct dqg_ras *ras, char *base, size_t *used) {
    size_t n = ras->images * ras->tokens;
    if (ras->ratio == 0) {
        return true;
    }
    return dqg_carve(used, base, (size_t)ras->reset_count, sizeof *ras->resets, (void **)&ras->resets) &&
           dqg_carve(used, base, ras->kept_floats, sizeof *ras->kept, (void **)&ras->kept) &&
           dqg_carve(used, base, ras->samples * ras->active_count, sizeof *ras->active, (void **)&ras->active) &&
           dqg_carve(used, base, n, sizeof *ras->left_out, (void **)&ras->left_out) &&
           dqg_carve(used, base, n, sizeof *ras->ranks, (void **)&ras->ranks) &&
           dqg_carve(used, base, n, 1, (void **)&ras->cached);
}

void dqg_ras_drop(struct dqg_ras *ras) {
    if (ras->ratio > 0) {
        ras->filled = ras->selected = false;
        memset(ras->left_out, 0, ras->images * ras->tokens * sizeof *ras->left_out);
    }
}

void dqg_ras_fill(struct dqg_ras *ras, const struct dqg_ras_config *config) {
    if (ras->ratio == 0) {
        return;
    }
    dqg_ras_drop(ras);
    /* Saved states copy them, known or not. */
    memset(ras->kept, 0, ras->kept_floats * sizeof *ras->kept);
    memset(ras->active, 0, ras->samples * ras->active_count * sizeof *ras->active);
    if (ras->reset_count > 0) {
        memcpy(ras->resets, config->resets, (size_t)ras->reset_count * sizeof *ras->resets);
    }
}

struct dqg_ras_config dqg_ras_config(const struct dqg_ras *ras) {
    return (struct dqg_ras_config){.ratio = ras->ratio,
                                   .range = ras->range,
                                   .range_count = ras->range_count,
                                   .resets = ras->resets,
                                   .reset_count = ras->reset_count,
                                   .metric = ras->metric,
                                   .high = ras->high,
                                   .starvation = ras->starvation};
}

/* ---- saved states ---- */

struct ras_header {
    int64_t active_count, filled, selected;
};

static size_t active_bytes(const struct dqg_ras *ras) {
    return ras->samples * ras->active_count * sizeof *ras->active;
}

static size_t left_out_bytes(const struct dqg_ras *ras) {
    return ras->images * ras->tokens * sizeof *ras->left_out;
}

size_t dqg_ras_state_bytes(const struct dqg_ras *ras) {
    size_t arrays = active_bytes(ras) + left_out_bytes(ras) + ras->kept_floats * sizeof *ras->kept;
    return ras->ratio > 0 ? sizeof(struct ras_header) + arrays : 0;
}

void dqg_ras_state_write(const struct dqg_ras *ras, char *state) {
    struct ras_header header = {(int64_t)ras->active_count, ras->filled, ras->selected};
    if (ras->ratio == 0) {
        return;
    }
    memcpy(state, &header, sizeof header);
    state += sizeof header;
    memcpy(state, ras->active, active_bytes(ras));
    state += active_bytes(ras);
    memcpy(state, ras->left_out, left_out_bytes(ras));
    memcpy(state + left_out_bytes(ras), ras->kept, ras->kept_floats * sizeof *ras->kept);
}

bool dqg_ras_state_check(const struct dqg_ras *ras, const char *state) {
    struct ras_header header;
    if (ras->ratio == 0) {
        return true;
    }
    memcpy(&header, state, sizeof header);
    bool fits = header.active_count == (int64_t)ras->active_count;
    state += sizeof header;
    for (size_t i = 0; i < ras->samples * ras->active_count; i++) {
        int32_t token;
        memcpy(&token, state + i * sizeof token, sizeof token);
        fits = fits && token >= 0 && (size_t)token < ras->tokens;
    }
    return fits;
}

void dqg_ras_state_read(struct dqg_ras *ras, const char *state) {
    struct ras_header header;
    if (ras->ratio == 0) {
        return;
    }
    memcpy(&header, state, sizeof header);
    ras->filled = header.filled != 0;
    ras->selected = header.selected != 0;
    state += sizeof header;
    memcpy(ras->active, state, active_bytes(ras));
    state += active_bytes(ras);
    memcpy(ras->left_out, state, left_out_bytes(ras));
    memcpy(ras->kept, state + left_out_bytes(ras), ras->kept_floats * sizeof *ras->kept);
}
