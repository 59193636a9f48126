/* SPDX-License-Identifier: MIT */
/* The public call that makes features of images: checks, noise, memory. lib/model/features.c does the work. */
#include "api/api.h"
#include "model/features.h"
#include "run/run.h"
#include "tensor/view.h"

/* Everything that is allocated for it. */
struct features {
    struct dqg_context *context;
    struct dqg_graph graph;
    struct dqg_exec exec;
    struct dqg_arena arena;
    float *x, *noise, *out;
    double *timesteps;
    int32_t *labels;
    size_t grid[2], pool, columns, count;
};

static dqg_status check(struct dqg_context *context, const dqg_model *model, const dqg_scheduler *scheduler,
                        const dqg_tensor_view *images, const dqg_feature_spec *spec) {
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_model_need_denoiser(context, model));
    DQG_TRY(dqg_need(context, scheduler, "scheduler"));
    DQG_TRY(dqg_need(context, images, "images"));
    DQG_TRY(dqg_need(context, spec, "spec"));
    if (spec->struct_size < sizeof *spec) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "spec: not a feature spec (use DQG_INIT, then fill it in)");
    }
    if (spec->index < 0 || spec->index >= scheduler->sched.steps) {
        return dqg_fail(context, DQG_ERROR_RANGE, "index: %d is outside 0..%d", (int)spec->index,
                        (int)scheduler->sched.steps - 1);
    }
    if (images->struct_size < sizeof *images || images->rank != 4 || images->shape[0] < 1 || images->shape[0] > 4096 ||
        images->shape[2] < 1 || images->shape[2] > 65536 || images->shape[3] < 1 || images->shape[3] > 65536) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "images: the shape must be (samples, %zu, height, width)",
                        model->hyper.channels);
    }
    int64_t shape[4] = {images->shape[0], (int64_t)model->hyper.channels, images->shape[2], images->shape[3]};
    return dqg_view_check(context, images, "images", 4, shape);
}

/* What the block gives, and what becomes of it. */
static dqg_status find_block(struct features *f, const dqg_feature_spec *spec, int32_t *value) {
    if (spec->block < 1 || spec->block > f->graph.blocks.count) {
        return dqg_fail(f->context, DQG_ERROR_RANGE, "block: %d is outside 1..%d", (int)spec->block,
                        (int)f->graph.blocks.count);
    }
    *value = f->graph.blocks.spans[spec->block - 1].leave;
    const struct dqg_value *made = &f->graph.values[*value];
    if (!dqg_features_grid(&f->graph, made->rows / f->graph.samples, &f->grid[0], &f->grid[1])) {
        return dqg_fail(f->context, DQG_ERROR_UNSUPPORTED, "block %d does not give an image", (int)spec->block);
    }
    size_t side = f->grid[0] < f->grid[1] ? f->grid[0] : f->grid[1];
    if (spec->pool < 1 || (size_t)spec->pool > side) {
        return dqg_fail(f->context, DQG_ERROR_RANGE, "pool: %d is outside 1..%zu", (int)spec->pool, side);
    }
    f->pool = (size_t)spec->pool;
    f->columns = made->columns;
    f->count = f->columns * f->pool * f->pool;
    return DQG_OK;
}

static dqg_status allocate(struct features *f) {
    const struct dqg_graph *graph = &f->graph;
    const struct dqg_alloc *alloc = &f->context->alloc;
    size_t image = graph->channels * graph->height * graph->width;
    f->x = dqg_arena_alloc(alloc, &f->arena, graph->samples * image * sizeof *f->x);
    f->noise = dqg_arena_alloc(alloc, &f->arena, image * sizeof *f->noise);
    f->out = dqg_arena_alloc(alloc, &f->arena, graph->samples * f->count * sizeof *f->out);
    f->timesteps = dqg_arena_alloc(alloc, &f->arena, graph->samples * sizeof *f->timesteps);
    f->labels = dqg_arena_alloc(alloc, &f->arena, graph->samples * sizeof *f->labels);
    if (f->x == NULL || f->noise == NULL || f->out == NULL || f->timesteps == NULL || f->labels == NULL) {
        return dqg_fail_memory(f->context, "the features", f->arena.total);
    }
    return dqg_exec_init(f->context, graph, &f->exec);
}

/* Every image gets the same noise: its features do not depend on its place in the batch. */
static void add_noise(struct features *f, const struct dqg_sched_point *point, int64_t seed) {
    size_t image = f->graph.channels * f->graph.height * f->graph.width;
    dqg_kernels_normal(f->context->kernels, (uint64_t)seed, 0, 0, f->noise, image);
    for (size_t s = 0; s < f->graph.samples; s++) {
        float *x = f->x + s * image;
        for (size_t i = 0; i < image; i++) {
            x[i] = (float)(point->input_scale * (point->alpha * x[i] + point->sigma * f->noise[i]));
        }
        f->timesteps[s] = point->timestep;
        f->labels[s] = -1;
    }
}

static dqg_status evaluate(struct features *f, int32_t value) {
    const struct dqg_exec_io io = {.x = f->x, .timesteps = f->timesteps, .labels = f->labels};
    DQG_TRY(dqg_features_run(&f->exec, &io, value));
    size_t rows = f->grid[0] * f->grid[1];
    const float *made = (const float *)(f->exec.memory + f->graph.values[value].offset);
    for (size_t s = 0; s < f->graph.samples; s++) {
        dqg_features_pool(f->out + s * f->count, made + s * rows * f->columns, f->grid[0], f->grid[1], f->columns,
                          f->pool);
    }
    return DQG_OK;
}

static dqg_status make(struct features *f, const struct dqg_sched_point *point, const dqg_tensor_view *images,
                       const dqg_feature_spec *spec, const dqg_tensor_view *output, int64_t *count) {
    int32_t value = DQG_NO_VALUE;
    DQG_TRY(find_block(f, spec, &value));
    if (count != NULL) {
        *count = (int64_t)f->count;
    }
    if (output == NULL) {
        return DQG_OK;
    }
    const int64_t shape[2] = {images->shape[0], (int64_t)f->count};
    DQG_TRY(dqg_view_check(f->context, output, "output", 2, shape));
    DQG_TRY(allocate(f));
    dqg_view_read(images, f->x);
    add_noise(f, point, spec->seed);
    DQG_TRY(evaluate(f, value));
    dqg_view_write(output, f->out);
    return DQG_OK;
}

dqg_status dqg_model_features(dqg_context *context, const dqg_model *model, const dqg_scheduler *scheduler,
                              const dqg_tensor_view *images, const dqg_feature_spec *spec, dqg_tap_fn tap, void *user,
                              const dqg_tensor_view *output, int64_t *count) {
    struct features f = {.context = context};
    if (count != NULL) {
        *count = 0;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(check(context, model, scheduler, images, spec));
    struct dqg_graph_config config = {
        .samples = (size_t)images->shape[0], .height = (size_t)images->shape[2], .width = (size_t)images->shape[3]};
    struct dqg_held held;
    DQG_TRY(dqg_model_hold(context, model, &held));
    dqg_status status = dqg_model_graph(context, held.network, &config, &f.graph);
    if (status >= 0) {
        f.exec.tap = tap;
        f.exec.tap_user = user;
        status = make(&f, &scheduler->sched.points[spec->index], images, spec, output, count);
    }
    dqg_exec_free(&f.exec);
    dqg_arena_free(&context->alloc, &f.arena);
    dqg_graph_free(&f.graph);
    dqg_model_let_go(&held);
    return status;
}
