/* SPDX-License-Identifier: MIT */
/*
 * Whole networks: models with random weights, and evaluations timed as a run does them, with memory taken before. A
 * profile takes the time of each operator from outside the executor, which knows nothing of it.
 */
#include <math.h>

#include "measure/measure.h"
#include "measure/network.h"
#include "model/inputs.h"

/* ---- random weights ---- */

static float deviation_of(const struct dqg_tensor_desc *desc) {
    struct dqg_matrix_size size;
    /* Matrices keep the size of what goes through them; vectors are biases. */
    return dqg_matrix_size(desc->dtype, desc->group, desc->rank, desc->shape, &size) ? 1.0f / sqrtf((float)size.columns)
                                                                                     : 0.02f;
}

static void make_plane(void *user, const struct dqg_tensor_desc *desc, enum dqg_plane plane, void *out, size_t size) {
    uint64_t *seed = user;
    dqg_random_plane((*seed)++, desc->dtype, (int)plane, out, size, deviation_of(desc));
}

static dqg_status describe(struct dqg_context *context, const dqg_tensor_info *info, struct dqg_tensor_desc *desc) {
    *desc = (struct dqg_tensor_desc){.name = info->name,
                                     .dtype = info->dtype,
                                     .group = info->group,
                                     .rank = info->rank,
                                     .type_name = dqg_dtype_name(info->dtype)};
    memcpy(desc->shape, info->shape, sizeof desc->shape);
    if (info->name == NULL || info->name[0] == '\0') {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "a tensor has no name");
    }
    if (info->rank < 1 || info->rank > DQG_MAX_RANK ||
        !dqg_format_plane_bytes(desc->dtype, desc->group, desc->rank, desc->shape, desc->plane_bytes)) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "tensor '%s': no format, or not one for this shape", info->name);
    }
    desc->scale = dqg_random_scale(desc->dtype, deviation_of(desc));
    for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
        desc->stored_bytes += desc->plane_bytes[plane];
    }
    return DQG_OK;
}

dqg_status dqg_measure_random_model(struct dqg_context *context, const dqg_tensor_info *tensors, size_t count,
                                    struct dqg_model **model) {
    struct dqg_source source;
    uint64_t seed = 1;
    size_t stride = tensors[0].struct_size; /* the caller's records may be longer than those of this version */
    size_t bytes = count * sizeof(struct dqg_tensor_desc);
    struct dqg_tensor_desc *descs = dqg_malloc(&context->alloc, bytes);
    if (descs == NULL) {
        return dqg_fail_memory(context, "the model's tensors", bytes);
    }
    dqg_status status = DQG_OK;
    for (size_t i = 0; status >= 0 && i < count; i++) {
        status = describe(context, (const dqg_tensor_info *)((const char *)tensors + i * stride), &descs[i]);
    }
    if (status >= 0) {
        status = dqg_source_open_made(context, descs, count, make_plane, &seed, &source);
    }
    if (status >= 0) {
        /* Which variant it is would not change the time. */
        status = dqg_model_open(context, &source, 0, "alpha-512", model);
        dqg_source_close(&source);
    }
    dqg_free(&context->alloc, descs, bytes);
    return status;
}

/* ---- what an operator does ---- */

static const char *kind_name(enum dqg_node_kind kind) {
    switch (kind) {
    case DQG_NODE_LINEAR:
        return "linear";
    case DQG_NODE_CONV:
        return "conv";
    case DQG_NODE_GLU:
        return "glu";
    case DQG_NODE_ADD:
    case DQG_NODE_ADD_TABLE:
        return "add";
    case DQG_NODE_ATTENTION:
        return "attention";
    case DQG_NODE_NORM:
    case DQG_NODE_GROUP_NORM:
    case DQG_NODE_HEADS:
        return "norm";
    case DQG_NODE_QUANTIZE:
        return "quantize";
    case DQG_NODE_ACTIVATE:
        return "activate";
    case DQG_NODE_TIMESTEP:
    case DQG_NODE_LABEL:
    case DQG_NODE_TOKENS:
        return "embed";
    case DQG_NODE_PATCHIFY:
    case DQG_NODE_UNPATCHIFY:
        return "patches";
    default:
        return "other";
    }
}

/* Multiplications and additions of products, convolutions and attention; 0 of the rest. */
static double operations_of(const struct dqg_graph *graph, const struct dqg_node *node) {
    const struct dqg_value *out = &graph->values[node->out];
    if (node->kind == DQG_NODE_LINEAR || node->kind == DQG_NODE_CONV) {
        double outputs = (double)out->columns * (node->gated ? 2.0 : 1.0);
        return 2.0 * (double)out->rows * outputs * (double)node->weight->size.columns;
    }
    if (node->kind == DQG_NODE_ATTENTION) {
        size_t keys = dqg_graph_keys(graph, node);
        return 4.0 * (double)out->rows * (double)out->columns * (double)keys;
    }
    return 0.0;
}

/* ---- evaluations ---- */

enum { MOST_EVALUATIONS = 512, CEILINGS = 3 };
static const int64_t ceiling_interval_ns = 20000000; /* else small networks would wait for nothing but ceilings */

struct evaluations {
    struct dqg_context *context;
    const dqg_measure_spec *spec;
    struct dqg_graph graph;
    struct dqg_exec exec;
    float *x, *out;
    double *timesteps;
    struct dqg_given given;
    struct dqg_arena arena;
    dqg_measure_fn fn; /* NULL: no profile */
    void *user;
};

/* What the network is told beside x and the time: random rows, any numbers. */
static dqg_status make_given(struct evaluations *e, const struct dqg_hyper *hyper) {
    struct dqg_given *given = &e->given;
    const struct dqg_kernels *kernels = e->context->kernels;
    size_t samples = e->graph.samples, used = 0;
    *given = (struct dqg_given){.samples = samples, .tokens = e->graph.context_tokens};
    char *block = dqg_given_lay_out(given, hyper, &used, NULL)
                      ? dqg_arena_alloc(&e->context->alloc, &e->arena, used)
                      : NULL;
    if (block == NULL) {
        return dqg_fail_memory(e->context, "the evaluation", used);
    }
    used = 0;
    dqg_given_lay_out(given, hyper, &used, block);
    dqg_given_clear(given);
    dqg_kernels_normal(kernels, 2, 0, 0, given->context, samples * given->tokens * hyper->context_width);
    dqg_kernels_normal(kernels, 3, 0, 0, given->pooled, samples * hyper->pooled_width);
    for (size_t i = 0; i < samples; i++) {
        given->labels[i] = hyper->classes > 0 ? (int32_t)(i % hyper->classes) : -1;
    }
    return DQG_OK;
}

static dqg_status make_inputs(struct evaluations *e, const struct dqg_model *model) {
    struct dqg_graph *graph = &e->graph;
    const struct dqg_alloc *alloc = &e->context->alloc;
    size_t samples = graph->samples, plane = samples * graph->height * graph->width;
    e->x = dqg_arena_alloc(alloc, &e->arena, plane * graph->channels * sizeof *e->x);
    e->out = dqg_arena_alloc(alloc, &e->arena, plane * graph->out_channels * sizeof *e->out);
    e->timesteps = dqg_arena_alloc(alloc, &e->arena, samples * sizeof *e->timesteps);
    if (e->x == NULL || e->out == NULL || e->timesteps == NULL) {
        return dqg_fail_memory(e->context, "the evaluation", e->arena.total);
    }
    dqg_kernels_normal(e->context->kernels, 1, 0, 0, e->x, plane * graph->channels);
    for (size_t i = 0; i < samples; i++) {
        e->timesteps[i] = 500.0;
    }
    return make_given(e, &model->hyper);
}

static void tell(const struct evaluations *e, int32_t evaluation, int32_t index, int64_t taken) {
    const struct dqg_node *node = &e->graph.nodes[index];
    dqg_measure_operator told;
    DQG_INIT(&told);
    told.evaluation = evaluation;
    told.index = index;
    told.dtype = node->weight != NULL ? node->weight->dtype : 0;
    told.kind = kind_name(node->kind);
    told.name = node->name;
    told.seconds = (double)taken * 1e-9;
    told.operations = operations_of(&e->graph, node);
    e->fn(e->user, &told);
}

static dqg_status evaluate(struct evaluations *e, int32_t evaluation, bool profile) {
    struct dqg_exec_io io = {.x = e->x, .timesteps = e->timesteps, .out = e->out};
    dqg_given_io(&e->given, &io);
    dqg_status status = DQG_PENDING;
    while (status == DQG_PENDING) {
        int32_t index = e->exec.next;
        int64_t start = profile ? dqg_now_ns() : 0;
        status = dqg_exec_next(&e->exec, &io);
        if (profile && status >= 0) {
            tell(e, evaluation, index, dqg_now_ns() - start);
        }
    }
    return status;
}

static void take_ceiling(const struct evaluations *e, uint64_t *rounds, dqg_measure_result *result) {
    for (int i = 0; i < CEILINGS; i++) {
        double rate = dqg_measure_ceiling(e->context, e->exec.ops.kernels->ceiling_i8, rounds);
        result->ceiling = rate > result->ceiling ? rate : result->ceiling;
    }
}

static dqg_status take_times(struct evaluations *e, dqg_measure_result *result) {
    const dqg_measure_spec *spec = e->spec;
    double seconds[MOST_EVALUATIONS];
    int32_t times = 0;
    int64_t wanted_ns = (int64_t)(spec->seconds * 1e9), spent_ns = 0, processor_ns = 0;
    int64_t next_ceiling_ns = 0;
    uint64_t rounds = 1;
    struct dqg_work work;
    dqg_work_begin(&work, e->context, DQG_PHASE_MEASURE, (uint64_t)spec->repeats);
    DQG_TRY(evaluate(e, -1, false)); /* warms up */
    while (times < MOST_EVALUATIONS && (times < spec->repeats || spent_ns < wanted_ns)) {
        if (spent_ns >= next_ceiling_ns) {
            take_ceiling(e, &rounds, result);
            next_ceiling_ns = spent_ns + ceiling_interval_ns;
        }
        int64_t processor = dqg_process_ns(), start = dqg_now_ns();
        DQG_TRY(evaluate(e, times, e->fn != NULL));
        int64_t taken = dqg_now_ns() - start;
        processor_ns += dqg_process_ns() - processor;
        seconds[times++] = (double)taken * 1e-9;
        spent_ns += taken;
        uint64_t done = times < spec->repeats ? (uint64_t)times : (uint64_t)spec->repeats;
        DQG_TRY(dqg_work_set(&work, done, "evaluating"));
    }
    dqg_measure_summarize(seconds, (size_t)times, result);
    result->processor_seconds = (double)processor_ns * 1e-9 / (double)times;
    return DQG_OK;
}

dqg_status dqg_measure_evaluations(struct dqg_context *context, const struct dqg_model *model,
                                   const dqg_measure_spec *spec, dqg_measure_fn fn, void *user,
                                   dqg_measure_result *result) {
    DQG_TRY(dqg_model_need_denoiser(context, model));
    struct evaluations e = {.context = context, .spec = spec, .fn = fn, .user = user};
    struct dqg_graph_config config = {.samples = (size_t)spec->samples,
                                      .height = (size_t)spec->height,
                                      .width = (size_t)spec->width,
                                      .bf16 = (spec->flags & DQG_MEASURE_BF16) != 0};
    DQG_TRY(dqg_model_need_denoiser(context, model));
    DQG_TRY(dqg_model_graph(context, model, &config, &e.graph));
    dqg_status status = make_inputs(&e, model);
    if (status >= 0) {
        status = dqg_exec_init(context, &e.graph, &e.exec);
    }
    if (status >= 0) {
        status = take_times(&e, result);
    }
    for (int32_t i = 0; i < e.graph.node_count; i++) {
        result->operations += operations_of(&e.graph, &e.graph.nodes[i]);
    }
    result->bytes = (double)model->weight_bytes;
    dqg_exec_free(&e.exec);
    dqg_arena_free(&context->alloc, &e.arena);
    dqg_graph_free(&e.graph);
    return status;
}
