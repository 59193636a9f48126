/* SPDX-License-Identifier: MIT */
/* Public calls that evaluate a denoiser once: checks and memory. */
#include "api/api.h"
#include "model/inputs.h"
#include "tensor/view.h"

/* Everything that is allocated for it. */
struct evaluation {
    struct dqg_context *context;
    struct dqg_graph graph;
    struct dqg_exec exec;
    void *block;
    size_t bytes;
    float *latent, *x, *out; /* x: the latent with extra channels */
    struct dqg_given given;
};

static dqg_status check_images(struct dqg_context *context, const struct dqg_hyper *hyper, const dqg_tensor_view *x,
                               const dqg_tensor_view *output) {
    size_t channels = hyper->channels;
    int64_t shape[4];
    DQG_TRY(dqg_need(context, x, "x"));
    DQG_TRY(dqg_need(context, output, "output"));
    memcpy(shape, x->shape, sizeof shape);
    if (x->struct_size < sizeof *x || x->rank != 4 || shape[0] < 1 || shape[2] < 1 || shape[3] < 1 || shape[0] > 4096 ||
        shape[2] > 65536 || shape[3] > 65536) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "x: the shape must be (samples, %zu, height, width)", channels);
    }
    shape[1] = (int64_t)channels;
    DQG_TRY(dqg_view_check(context, x, "x", 4, shape));
    bool whole =
        output->struct_size >= sizeof *output && output->rank == 4 && output->shape[1] == (int64_t)hyper->out_channels;
    shape[1] = (int64_t)(whole ? hyper->out_channels : hyper->channels);
    return dqg_view_check(context, output, "output", 4, shape);
}

static dqg_status allocate(struct evaluation *e, const struct dqg_hyper *hyper) {
    const struct dqg_graph *graph = &e->graph;
    size_t plane = graph->height * graph->width * graph->samples;
    for (int pass = 0; pass < 2; pass++) {
        size_t used = 0;
        if (!dqg_carve(&used, e->block, plane, hyper->channels * sizeof(float), (void **)&e->latent) ||
            !dqg_carve(&used, e->block, plane, graph->channels * sizeof(float), (void **)&e->x) ||
            !dqg_carve(&used, e->block, plane, graph->out_channels * sizeof(float), (void **)&e->out) ||
            !dqg_given_lay_out(&e->given, hyper, &used, e->block)) {
            return dqg_fail(e->context, DQG_ERROR_LIMIT, "an evaluation of this size does not fit the address space");
        }
        if (pass == 0) {
            e->bytes = used;
            e->block = dqg_malloc(&e->context->alloc, used);
        }
        if (e->block == NULL) {
            return dqg_fail_memory(e->context, "the evaluation", used);
        }
    }
    return dqg_exec_init(e->context, graph, &e->exec);
}

/* The first channels of each sample, where the caller wants no learned sigma. */
static void keep_channels(struct evaluation *e, size_t wanted) {
    size_t plane = e->graph.height * e->graph.width, from = plane * e->graph.out_channels;
    for (size_t s = 1; s < e->graph.samples && wanted < e->graph.out_channels; s++) {
        memmove(e->out + s * wanted * plane, e->out + s * from, wanted * plane * sizeof(float));
    }
}

static dqg_status evaluate(struct evaluation *e, const struct dqg_hyper *hyper, const dqg_tensor_view *x,
                           const double *timesteps, const dqg_tensor_view *output) {
    struct dqg_exec_io io = {.x = e->x, .timesteps = timesteps, .out = e->out};
    dqg_status status = DQG_PENDING;
    size_t plane = e->graph.height * e->graph.width;
    dqg_view_read(x, e->latent);
    for (size_t s = 0; s < e->graph.samples; s++) {
        dqg_given_join(&e->given, hyper, s, e->latent + s * hyper->channels * plane,
                       e->x + s * e->graph.channels * plane);
    }
    dqg_given_io(&e->given, &io);
    while (status == DQG_PENDING) {
        status = dqg_exec_next(&e->exec, &io);
    }
    DQG_TRY(status);
    keep_channels(e, (size_t)output->shape[1]);
    dqg_view_write(output, e->out);
    return DQG_OK;
}

dqg_status dqg_model_denoise(dqg_context *context, const dqg_model *model, const dqg_tensor_view *x,
                             const double *timesteps, const dqg_inputs *inputs, dqg_tap_fn tap, void *user,
                             const dqg_tensor_view *output) {
    const dqg_inputs none = {.struct_size = sizeof none};
    inputs = inputs != NULL ? inputs : &none;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_model_need_denoiser(context, model));
    DQG_TRY(dqg_need(context, timesteps, "timesteps"));
    const struct dqg_hyper *hyper = &model->hyper;
    DQG_TRY(check_images(context, hyper, x, output));
    const struct dqg_inputs_form form = {
        .samples = (size_t)x->shape[0], .height = (size_t)x->shape[2], .width = (size_t)x->shape[3], .whole = true};
    DQG_TRY(dqg_inputs_check(context, hyper, inputs, &form));
    struct evaluation e = {
        .context = context, .given.samples = form.samples, .given.height = form.height, .given.width = form.width};
    e.given.tokens = inputs->context != NULL ? (size_t)inputs->context->shape[1] : 0;
    struct dqg_graph_config config = {.samples = form.samples,
                                      .height = form.height,
                                      .width = form.width,
                                      .context_tokens = e.given.tokens,
                                      .control = inputs->control != NULL};
    struct dqg_held held;
    DQG_TRY(dqg_model_hold(context, model, &held));
    dqg_status status = dqg_model_graph(context, held.network, &config, &e.graph);
    if (status < 0) {
        dqg_model_let_go(&held);
        return status;
    }
    status = allocate(&e, hyper);
    if (status >= 0) {
        e.exec.tap = tap;
        e.exec.tap_user = user;
        dqg_given_clear(&e.given);
        dqg_given_read(&e.given, hyper, inputs, 0, e.given.samples);
        status = evaluate(&e, hyper, x, timesteps, output);
    }
    dqg_exec_free(&e.exec);
    dqg_free(&context->alloc, e.block, e.bytes);
    dqg_graph_free(&e.graph);
    dqg_model_let_go(&held);
    return status;
}

dqg_status dqg_model_evaluate(dqg_context *context, const dqg_model *model, const dqg_tensor_view *x,
                              const double *timesteps, const int32_t *labels, dqg_tap_fn tap, void *user,
                              const dqg_tensor_view *output) {
    const dqg_inputs inputs = {.struct_size = sizeof inputs, .labels = labels};
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, labels, "labels"));
    return dqg_model_denoise(context, model, x, timesteps, &inputs, tap, user, output);
}
