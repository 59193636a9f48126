/* SPDX-License-Identifier: MIT */
/*
 * Making a run: check the configuration, plan the network for its batch, lay out one block of memory for everything
 * that changes, have the first noise drawn. dqg_run_memory() does the same without allocating the block.
 */
#include <math.h>

#include "run/run.h"

/* ---- layout ---- */

static void form_given(struct dqg_run *run) {
    const struct dqg_hyper *hyper = &run->model->hyper;
    size_t tokens = run->network.context_tokens;
    run->given.samples = run->copies * run->images;
    run->given.tokens = tokens > 0 ? tokens : hyper->context_tokens;
    run->given.height = (size_t)run->shape[2];
    run->given.width = (size_t)run->shape[3];
}

bool dqg_run_lay_out(struct dqg_run *run) {
    size_t used = 0;
    char *base = run->block;
    size_t samples = run->copies * run->images;
    size_t outputs = (size_t)run->scheduler->sched.outputs;
    size_t records = run->conditions * run->images;
    size_t plane = records > 0 ? (size_t)(run->shape[2] * run->shape[3]) : 0;
    size_t answers = run->copies + (run->perturbed.node_count > 0 ? run->conditions : 0);
    size_t extra = run->model != NULL ? run->model->hyper.extra_channels * plane : 0;
    size_t out_ratio = run->model != NULL ? run->model->hyper.out_channels / run->model->hyper.channels : 0;
    if (run->model != NULL) {
        form_given(run);
    }
    bool fits = dqg_carve(&used, base, run->size, sizeof(float), (void **)&run->latent) &&
                dqg_carve(&used, base, run->size, sizeof(float), (void **)&run->x0) &&
                dqg_carve(&used, base, run->size, outputs * sizeof(float), (void **)&run->output) &&
                dqg_carve(&used, base, run->size, sizeof(float), (void **)&run->scratch) &&
                dqg_carve(&used, base, samples, (run->image_size + extra) * sizeof(float), (void **)&run->net_in) &&
                dqg_carve(&used, base, run->size, answers * out_ratio * sizeof(float), (void **)&run->net_out) &&
                dqg_carve(&used, base, samples, sizeof(double), (void **)&run->timesteps) &&
                (run->model == NULL || dqg_given_lay_out(&run->given, &run->model->hyper, &used, base)) &&
                dqg_carve(&used, base, records, sizeof(double), (void **)&run->weights) &&
                dqg_carve(&used, base, records, 1, (void **)&run->masked) &&
                dqg_carve(&used, base, records * plane, sizeof(float), (void **)&run->masks) &&
                (!run->keeps_momentum || dqg_carve(&used, base, run->size, sizeof(float), (void **)&run->momentum)) &&
                dqg_carve(&used, base, run->images, sizeof(uint64_t), (void **)&run->seeds) &&
                dqg_carve(&used, base, dqg_run_generators(run), sizeof *run->generators, (void **)&run->generators) &&
                dqg_carve(&used, base, (size_t)dqg_run_node_count(run), sizeof(int32_t), (void **)&run->node_us) &&
                dqg_carve(&used, base, run->clock_count, sizeof *run->clocks, (void **)&run->clocks);
    fits = fits && dqg_cache_lay_out(&run->cache, base, &used) && dqg_ras_lay_out(&run->ras, base, &used);
    for (int32_t i = 0; fits && i < dqg_sched_buffers(&run->scheduler->sched); i++) {
        fits = dqg_carve(&used, base, run->size, sizeof(float), (void **)&run->state.history[i]);
    }
    run->block_bytes = used;
    return fits;
}

static bool total_bytes(const struct dqg_run *run, size_t *total) {
    size_t network = 0;
    return dqg_run_passes_bytes(run, &network) && dqg_add_size(run->block_bytes, network, total) &&
           dqg_add_size(*total, sizeof *run, total);
}

/* ---- configuration ---- */

static dqg_status set_shape(struct dqg_run *run, const int64_t *shape, int32_t rank) {
    uint64_t size;
    if (!dqg_shape_count(rank, shape, &size) || size == 0 || size > SIZE_MAX / 16) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT, "the latent's shape is empty, negative or too large");
    }
    run->rank = rank;
    memcpy(run->shape, shape, (size_t)rank * sizeof *shape);
    run->images = (size_t)shape[0];
    run->size = (size_t)size;
    run->image_size = run->size / run->images;
    run->state.samples = run->images;
    return DQG_OK;
}

dqg_status dqg_run_check_variance(const struct dqg_run *run, const struct dqg_sched *sched) {
    if (sched->variance != DQG_VARIANCE_LEARNED) {
        return DQG_OK;
    }
    if (run->clock_count > 0) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "variance is 'learned', which takes one time for all: set time-axes to 0, or variance to small "
                        "or large");
    }
    if (run->model != NULL && run->model->hyper.out_channels != 2 * run->model->hyper.channels) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "variance is 'learned', but this network gives %zu channels for %zu and says nothing of it: "
                        "set variance to small or large",
                        run->model->hyper.out_channels, run->model->hyper.channels);
    }
    if (run->rank < 2) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "variance is 'learned', for which a network gives twice the channels, but the latent has only "
                        "one dimension: give it two or more, or set variance to small or large");
    }
    return DQG_OK;
}

/* Everything that can be known before the block is allocated. */
static dqg_status prepare(struct dqg_run *run, const struct dqg_run_config *config) {
    const struct dqg_hyper *hyper = &run->model->hyper;
    int64_t shape[4] = {config->count, (int64_t)hyper->channels,
                        config->height > 0 ? config->height : (int64_t)hyper->height,
                        config->width > 0 ? config->width : (int64_t)hyper->width};
    DQG_TRY(set_shape(run, shape, 4));
    DQG_TRY(dqg_run_set_noise(run, config));
    DQG_TRY(dqg_run_set_clocks(run, config->time_axes));
    DQG_TRY(dqg_run_check_variance(run, &run->scheduler->sched));
    DQG_TRY(dqg_model_need_denoiser(run->context, run->model));
    run->network = (struct dqg_graph_config){.attention = config->attention,
                                             .bf16 = config->bf16,
                                             .context_tokens = (size_t)config->context_tokens,
                                             .control = run->model->hyper.control_channels > 0,
                                             .entropy_scale = config->entropy_scale,
                                             .train_tokens = (size_t)config->train_tokens,
                                             .fewer_samples = config->cache.kind != DQG_CACHE_NONE,
                                             .keep_keys = config->ras.ratio > 0};
    DQG_TRY(dqg_run_set_conditions(run, config));
    DQG_TRY(dqg_run_plan_passes(run, config));
    if (run->clock_count > 0 && config->cache.kind != DQG_CACHE_NONE) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "step caches need one time for the whole run: time-axes 0");
    }
    DQG_TRY(dqg_cache_init(run->context, &config->cache, &run->graph, &run->cache));
    DQG_TRY(dqg_run_set_ras(run, &config->ras));
    size_t total = 0;
    if (!dqg_run_lay_out(run) || !total_bytes(run, &total)) {
        return dqg_fail(run->context, DQG_ERROR_LIMIT, "a run of this size does not fit the address space");
    }
    if (config->memory_limit > 0 && total > config->memory_limit) {
        return dqg_fail(run->context, DQG_ERROR_LIMIT, "the run needs %zu bytes, the limit is %llu", total,
                        (unsigned long long)config->memory_limit);
    }
    return DQG_OK;
}

void dqg_run_scale_start(struct dqg_run *run) {
    for (size_t i = 0; i < run->size; i++) {
        run->latent[i] = (float)(run->temperature * run->scheduler->sched.initial_scale * run->latent[i]);
    }
    memcpy(run->x0, run->latent, run->size * sizeof(float));
}

static void fill(struct dqg_run *run, const struct dqg_run_config *config) {
    dqg_run_first_noise(run, config);
    if (run->model != NULL) {
        dqg_run_fill_conditions(run, config);
    }
    dqg_cache_fill(&run->cache, &config->cache);
    dqg_ras_fill(&run->ras, &config->ras);
    memset(run->net_out, 0, dqg_run_kept_outputs(run) * sizeof *run->net_out);
    if (run->momentum != NULL) {
        memset(run->momentum, 0, run->size * sizeof *run->momentum);
    }
    memset(run->node_us, 0, (size_t)dqg_run_node_count(run) * sizeof *run->node_us);
    memset(run->clocks, 0, run->clock_count * sizeof *run->clocks);
    run->temperature = config->temperature;
    dqg_run_scale_start(run);
    uint64_t evaluations =
        (uint64_t)run->scheduler->sched.steps * (uint64_t)dqg_sched_evaluations(&run->scheduler->sched);
    dqg_work_begin(&run->work, run->context, DQG_PHASE_RUN, evaluations * 1000);
}

/* ---- life ---- */

void dqg_run_free(struct dqg_run *run) {
    struct dqg_context *context = run->context;
    dqg_search_free(run);
    dqg_run_drop_offset(run);
    dqg_run_free_passes(run);
    dqg_free(&context->alloc, run->block, run->block_bytes);
    dqg_model_release_(run->model);
    dqg_model_release_(run->pipeline);
    dqg_scheduler_release_(run->scheduler);
    dqg_free(&context->alloc, run, sizeof *run);
    context->runs--;
    dqg_context_release_(context);
}

/* An empty run that holds its references. */
static dqg_status start(struct dqg_context *context, struct dqg_model *model, struct dqg_scheduler *scheduler,
                        struct dqg_run **out) {
    DQG_TRY(model != NULL ? dqg_model_need_denoiser(context, model) : DQG_OK);
    struct dqg_run *run = dqg_calloc(&context->alloc, 1, sizeof *run);
    if (run == NULL) {
        return dqg_fail_memory(context, "the run", sizeof *run);
    }
    run->context = context;
    dqg_context_retain_(context);
    context->runs++;
    dqg_scheduler_retain_(scheduler);
    run->scheduler = scheduler;
    if (model != NULL) {
        dqg_model_retain_(model);
        run->model = model;
    }
    *out = run;
    return DQG_OK;
}

dqg_status dqg_run_allocate(struct dqg_run *run) {
    size_t bytes = run->block_bytes;
    run->block = dqg_malloc(&run->context->alloc, bytes);
    if (run->block == NULL) {
        return dqg_fail_memory(run->context, "the run's latents", bytes);
    }
    dqg_run_lay_out(run);
    return DQG_OK;
}

dqg_status dqg_run_memory(struct dqg_context *context, struct dqg_model *model, struct dqg_scheduler *scheduler,
                          const struct dqg_run_config *config, uint64_t *bytes) {
    struct dqg_run *run = NULL;
    size_t total = 0;
    DQG_TRY(start(context, model, scheduler, &run));
    dqg_status status = prepare(run, config);
    if (status >= 0 && total_bytes(run, &total)) {
        *bytes = total;
    }
    run->block_bytes = 0;
    dqg_run_free(run);
    return status;
}

/* The second half of making a run: allocate, draw the noise. A run that failed by then or here is given up. */
static dqg_status complete(struct dqg_run *run, const struct dqg_run_config *config, dqg_status status,
                           struct dqg_run **out) {
    status = status >= 0 ? dqg_run_allocate(run) : status;
    if (status >= 0 && run->model != NULL) {
        status = dqg_run_init_passes(run);
    }
    if (status < 0) {
        dqg_run_free(run);
        return status;
    }
    fill(run, config);
    *out = run;
    return DQG_OK;
}

dqg_status dqg_run_make(struct dqg_context *context, struct dqg_model *model, struct dqg_scheduler *scheduler,
                        const struct dqg_run_config *config, struct dqg_run **out) {
    struct dqg_run *run = NULL;
    if (scheduler->sched.interpolant.struct_size > 0) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "a scheduler of stochastic interpolants drives the host's own networks only: use "
                        "dqg_run_create_custom()");
    }
    DQG_TRY(start(context, model, scheduler, &run));
    return complete(run, config, prepare(run, config), out);
}

dqg_status dqg_run_make_custom(struct dqg_context *context, struct dqg_scheduler *scheduler, const int64_t *shape,
                               int32_t rank, const struct dqg_run_config *config, struct dqg_run **out) {
    struct dqg_run *run = NULL;
    DQG_TRY(start(context, NULL, scheduler, &run));
    dqg_status status = set_shape(run, shape, rank);
    if (status >= 0 && (config->cache.kind != DQG_CACHE_NONE || config->ras.ratio > 0)) {
        status = dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                          "a run without a model has nothing to leave out: no cache, ras-ratio 0");
    }
    status = status >= 0 ? dqg_run_set_noise(run, config) : status;
    status = status >= 0 ? dqg_run_set_clocks(run, config->time_axes) : status;
    status = status >= 0 ? dqg_run_check_variance(run, &run->scheduler->sched) : status;
    if (status >= 0 && !dqg_run_lay_out(run)) {
        status = dqg_fail(context, DQG_ERROR_LIMIT, "a run of this size does not fit the address space");
    }
    return complete(run, config, status, out);
}

/* ---- another shape ---- */

#define SWAP(type, a, b)                                                                                               \
    do {                                                                                                               \
        type swap_kept = (a);                                                                                          \
        (a) = (b);                                                                                                     \
        (b) = swap_kept;                                                                                               \
    } while (0)

/* What depends on shape and scheduler. The pointers into the block follow by dqg_run_lay_out(). */
static void swap_memory(struct dqg_run *a, struct dqg_run *b) {
    SWAP(struct dqg_scheduler *, a->scheduler, b->scheduler);
    SWAP(void *, a->block, b->block);
    SWAP(size_t, a->block_bytes, b->block_bytes);
    dqg_run_swap_passes(a, b);
}

static dqg_status build(struct dqg_run *run, const int64_t *shape, const struct dqg_run *like,
                        const struct dqg_cache_config *cache, const struct dqg_ras_config *ras) {
    DQG_TRY(set_shape(run, shape, run->rank));
    DQG_TRY(dqg_run_check_variance(run, &run->scheduler->sched));
    if (run->model != NULL) {
        DQG_TRY(dqg_run_copy_passes(like, run));
        DQG_TRY(dqg_cache_init(run->context, cache, &run->graph, &run->cache));
        DQG_TRY(dqg_run_set_ras(run, ras));
    }
    if (!dqg_run_lay_out(run)) {
        return dqg_fail(run->context, DQG_ERROR_LIMIT, "a run of this size does not fit the address space");
    }
    DQG_TRY(dqg_run_allocate(run));
    return run->model != NULL ? dqg_run_init_passes(run) : DQG_OK;
}

dqg_status dqg_run_reshape(struct dqg_run *run, const int64_t *shape, struct dqg_scheduler *scheduler) {
    int64_t old_shape[DQG_MAX_RANK];
    struct dqg_run *other = NULL;
    const uint64_t *seeds = run->seeds;
    const struct dqg_cache old_cache = run->cache;
    const struct dqg_cache_config cache = dqg_cache_config(&old_cache);
    const struct dqg_ras old_ras = run->ras;
    const struct dqg_ras_config ras = dqg_ras_config(&old_ras);
    memcpy(old_shape, run->shape, sizeof old_shape);
    DQG_TRY(start(run->context, run->model, scheduler, &other));
    dqg_run_share_conditions(run, other);
    swap_memory(run, other);
    dqg_status status = build(run, shape, other, &cache, &ras);
    if (status >= 0) {
        memset(run->block, 0, run->block_bytes);
        dqg_run_take_conditions(run, other);
        memcpy(run->seeds, seeds, run->images * sizeof *seeds);
        dqg_cache_fill(&run->cache, &cache);
        dqg_ras_fill(&run->ras, &ras);
    } else {
        swap_memory(run, other);
        run->cache = old_cache;
        run->ras = old_ras;
        (void)set_shape(run, old_shape, run->rank); /* it was one before */
        dqg_run_lay_out(run);
    }
    dqg_run_free(other);
    return status;
}
