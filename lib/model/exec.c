/* SPDX-License-Identifier: MIT */
/* The executor: binds values to memory and calls one operator at a time. Nothing is allocated after init. */
#include "model/exec.h"

bool dqg_exec_bytes(struct dqg_context *context, const struct dqg_graph *graph, size_t *bytes) {
    size_t scratch;
    return dqg_mul_size(graph->lane_bytes, dqg_concurrency(context), &scratch) &&
           dqg_add_size(scratch, graph->shared_bytes, &scratch) && dqg_add_size(scratch, graph->memory_bytes, bytes);
}

void dqg_exec_set_graph(struct dqg_exec *exec, const struct dqg_graph *graph) {
    char *shared = exec->memory + graph->memory_bytes;
    exec->steady_done = exec->steady_done && exec->graph == graph;
    exec->graph = graph;
    dqg_exec_restart(exec);
    exec->ops.scratch = shared + graph->shared_bytes;
    exec->ops.lane_bytes = graph->lane_bytes;
    exec->ops.shared = shared;
    exec->ops.bf16 = graph->bf16;
}

dqg_status dqg_exec_init(struct dqg_context *context, const struct dqg_graph *graph, struct dqg_exec *exec) {
    DQG_TRY(dqg_parallel_prepare(context));
    if (!dqg_exec_bytes(context, graph, &exec->memory_bytes)) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "a run of this size does not fit the address space");
    }
    exec->memory = dqg_malloc(&context->alloc, exec->memory_bytes);
    if (exec->memory == NULL) {
        return dqg_fail_memory(context, "the network's activations", exec->memory_bytes);
    }
    exec->ops = (struct dqg_ops){.context = context, .kernels = context->kernels};
    exec->share = NULL;
    dqg_exec_set_graph(exec, graph);
    return DQG_OK;
}

void dqg_exec_free(struct dqg_exec *exec) {
    if (exec->memory != NULL) {
        dqg_free(&exec->ops.context->alloc, exec->memory, exec->memory_bytes);
    }
    *exec = (struct dqg_exec){0};
}

static int32_t first_node(const struct dqg_exec *exec) {
    return exec->steady_done ? exec->graph->steady : 0;
}

void dqg_exec_restart(struct dqg_exec *exec) {
    exec->next = first_node(exec);
    exec->samples = exec->graph->samples;
}

static struct dqg_rows rows_of(const struct dqg_exec *exec, int32_t id) {
    const struct dqg_value *value = dqg_exec_value(exec, id);
    char *at = exec->memory + value->offset;
    if (!value->int8) {
        return (struct dqg_rows){.f32 = (float *)at, .ld = value->ld};
    }
    return (struct dqg_rows){.q8 = (int8_t *)at,
                             .row_scale = (float *)(at + dqg_round_up(value->rows * value->ld, DQG_ALIGNMENT)),
                             .ld = value->ld};
}

static void run_linear(const struct dqg_exec *exec, const struct dqg_node *node) {
    const struct dqg_value *out = dqg_exec_value(exec, node->out);
    struct dqg_linear args = {
        .weight = node->weight,
        .bias = node->bias,
        .x = rows_of(exec, node->x),
        .out = dqg_exec_floats(exec, node->out),
        .ld_out = out->ld,
        .rows = dqg_exec_rows(exec, out),
        .rows_per_sample = dqg_exec_sample_rows(exec, out->rows),
        .first = node->first_output,
        .outputs = node->gated ? 0 : out->columns,
        .gated = node->gated,
        .activation = node->activation,
    };
    if (node->addend != DQG_NO_VALUE) {
        args.addend = dqg_exec_floats(exec, node->addend);
        args.ld_addend = dqg_exec_value(exec, node->addend)->ld;
    }
    if (node->factor != NULL) { /* 0 + factor y in every row */
        args.gate = node->factor;
        args.residual = node->factor + out->columns;
    } else if (node->table != NULL) {
        args.residual = node->table;
        args.residual_repeats = true;
        args.ld_residual = out->columns;
    } else if (node->residual != DQG_NO_VALUE) {
        args.residual = dqg_exec_floats(exec, node->residual);
        args.ld_residual = dqg_exec_value(exec, node->residual)->ld;
    }
    if (node->modulation != DQG_NO_VALUE) {
        args.gate = dqg_exec_floats(exec, node->modulation) + node->gate_column;
        args.ld_gate = dqg_exec_value(exec, node->modulation)->ld;
    }
    dqg_op_linear(&exec->ops, &args);
}

/* The shape of a convolution of the samples that operators work on. */
static struct dqg_conv_shape shape_of(const struct dqg_exec *exec, const struct dqg_node *node) {
    struct dqg_conv_shape shape = *node->conv;
    shape.samples = exec->samples;
    return shape;
}

/* The int8 image in a value's memory. */
static struct dqg_conv_image image_of(const struct dqg_exec *exec, const struct dqg_node *node, int32_t value) {
    struct dqg_conv_shape shape = shape_of(exec, node);
    return dqg_conv_image_at(&shape, node->weight, exec->memory + dqg_exec_value(exec, value)->offset);
}

static void run_conv(const struct dqg_exec *exec, const struct dqg_node *node) {
    struct dqg_conv_image image;
    struct dqg_conv_shape shape = shape_of(exec, node);
    struct dqg_conv args = {
        .shape = &shape,
        .weight = node->weight,
        .bias = node->bias,
        .out = dqg_exec_floats(exec, node->out),
        .ld_out = dqg_exec_value(exec, node->out)->ld,
        .activation = node->activation,
    };
    if (dqg_exec_value(exec, node->x)->int8) {
        image = image_of(exec, node, node->x);
        args.image = &image;
    } else {
        args.x = dqg_exec_floats(exec, node->x);
        args.ldx = dqg_exec_value(exec, node->x)->ld;
    }
    if (node->addend != DQG_NO_VALUE) {
        args.addend = dqg_exec_floats(exec, node->addend) + node->addend_column;
        args.ld_addend = dqg_exec_value(exec, node->addend)->ld;
    }
    if (node->factor != NULL) { /* as in run_linear() */
        args.gate = node->factor;
        args.residual = node->factor + dqg_exec_value(exec, node->out)->columns;
    }
    if (node->residual != DQG_NO_VALUE) {
        args.residual = dqg_exec_floats(exec, node->residual);
        args.ld_residual = dqg_exec_value(exec, node->residual)->ld;
    }
    if (node->modulation != DQG_NO_VALUE) {
        args.gate = dqg_exec_floats(exec, node->modulation) + node->gate_column;
        args.ld_gate = dqg_exec_value(exec, node->modulation)->ld;
    }
    dqg_op_conv(&exec->ops, &args);
}

static void run_quantize(const struct dqg_exec *exec, const struct dqg_node *node) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x), *out = dqg_exec_value(exec, node->out);
    if (node->conv != NULL) {
        struct dqg_conv_shape shape = shape_of(exec, node);
        struct dqg_conv_image image = image_of(exec, node, node->out);
        dqg_op_conv_image(&exec->ops, &shape, &image, dqg_exec_floats(exec, node->x), x->ld);
    } else {
        dqg_op_quantize(&exec->ops, dqg_exec_floats(exec, node->x), x->ld, rows_of(exec, node->out),
                        dqg_exec_rows(exec, out), out->columns, out->ld);
    }
}

static void run_norm(const struct dqg_exec *exec, const struct dqg_node *node) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x);
    struct dqg_norm args = {
        .x = dqg_exec_floats(exec, node->x),
        .out = rows_of(exec, node->out),
        .form = {.weight = node->factor, .bias = node->bias, .eps = node->epsilon, .rms = node->rms},
        .ldx = x->ld,
        .rows = dqg_exec_rows(exec, x),
        .rows_per_sample = dqg_exec_sample_rows(exec, x->rows),
        .columns = x->columns,
        .columns_padded = dqg_exec_value(exec, node->out)->ld,
    };
    if (node->modulation != DQG_NO_VALUE) {
        args.form.scale = dqg_exec_floats(exec, node->modulation) + node->scale_column;
        args.form.shift = dqg_exec_floats(exec, node->modulation) + node->shift_column;
        args.ld_modulation = dqg_exec_value(exec, node->modulation)->ld;
    }
    dqg_op_norm(&exec->ops, &args);
}

static void run_glu(const struct dqg_exec *exec, const struct dqg_node *node) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x), *out = dqg_exec_value(exec, node->out);
    const float *value = dqg_exec_floats(exec, node->x);
    struct dqg_glu args = {.y = dqg_exec_floats(exec, node->out),
                           .value = value,
                           .gate = value + out->columns,
                           .ldy = out->ld,
                           .ldx = x->ld,
                           .rows = dqg_exec_rows(exec, out),
                           .columns = out->columns,
                           .activation = node->activation};
    dqg_op_glu(&exec->ops, &args);
}

/* Keep the keys and values of the tokens computed, and let the queries see all that are kept. */
static void keep_keys(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io,
                      struct dqg_attention_args *args) {
    float *kept = io->kept + node->kept;
    size_t columns = args->heads * args->width;
    struct dqg_row_move move = {.y = kept,
                                .x = args->k,
                                .index = io->active,
                                .ldy = 2 * columns,
                                .ldx = args->ld_k,
                                .columns = columns,
                                .samples = exec->samples,
                                .packed = args->keys,
                                .full = dqg_graph_keys(exec->graph, node),
                                .indexed = exec->graph->active_tokens};
    dqg_op_scatter_rows(&exec->ops, &move);
    move.y = kept + columns;
    move.x = args->v;
    move.ldx = args->ld_v;
    dqg_op_scatter_rows(&exec->ops, &move);
    args->k = kept;
    args->v = kept + columns;
    args->ld_k = args->ld_v = 2 * columns;
    args->keys = move.full;
}

static void run_active(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x), *out = dqg_exec_value(exec, node->out);
    struct dqg_row_move move = {.y = dqg_exec_floats(exec, node->out),
                                .x = dqg_exec_floats(exec, node->x),
                                .index = io->active,
                                .ldy = out->ld,
                                .ldx = x->ld,
                                .columns = out->columns,
                                .samples = exec->samples,
                                .packed = exec->graph->active_tokens,
                                .full = exec->graph->tokens,
                                .indexed = exec->graph->active_tokens};
    dqg_op_gather_rows(&exec->ops, &move);
}

/* The values of the queries' own tokens, which are the first of each sample. */
static void pass_values(const struct dqg_exec *exec, const struct dqg_node *node) {
    const struct dqg_value *v = dqg_exec_value(exec, node->v), *out = dqg_exec_value(exec, node->out);
    size_t width = out->columns / node->heads;
    for (size_t head = 0; head < node->heads; head++) {
        const float *values = dqg_exec_floats(exec, node->v) + node->v_column;
        const struct dqg_row_copy args = {.y = dqg_exec_floats(exec, node->out) + head * width,
                                          .x = values + head * node->head_columns,
                                          .ldy = out->ld,
                                          .ldx = v->ld,
                                          .samples = exec->samples,
                                          .y_rows = dqg_exec_sample_rows(exec, out->rows),
                                          .x_rows = dqg_exec_sample_rows(exec, v->rows),
                                          .count = dqg_exec_sample_rows(exec, out->rows),
                                          .columns = width};
        dqg_op_copy_rows(&exec->ops, &args);
    }
}

static void run_attention(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io) {
    const struct dqg_value *out = dqg_exec_value(exec, node->out);
    if (node->identity) {
        pass_values(exec, node);
        return;
    }
    struct dqg_attention_args args = {
        .q = dqg_exec_floats(exec, node->x) + node->q_column,
        .k = dqg_exec_floats(exec, node->k) + node->k_column,
        .v = dqg_exec_floats(exec, node->v) + node->v_column,
        .out = dqg_exec_floats(exec, node->out),
        .ld_q = dqg_exec_value(exec, node->x)->ld,
        .ld_k = dqg_exec_value(exec, node->k)->ld,
        .ld_v = dqg_exec_value(exec, node->v)->ld,
        .ld_out = out->ld,
        .samples = exec->samples,
        .heads = node->heads,
        .width = out->columns / node->heads,
        .queries = dqg_exec_sample_rows(exec, out->rows),
        .keys = dqg_exec_sample_rows(exec, dqg_exec_value(exec, node->k)->rows),
        .head_columns = node->head_columns,
        .scale = node->scale,
        .counts = node->counted ? io->lengths : NULL,
        .causal = node->causal,
        .int8 = node->int8,
    };
    if (node->scores != NULL) {
        args.bias = node->scores;
        args.bias_query = args.keys;
        args.bias_head = args.queries * args.keys;
    } else if (node->mask != DQG_NO_VALUE) {
        args.bias = dqg_exec_floats(exec, node->mask);
        args.bias_sample = dqg_exec_value(exec, node->mask)->ld;
    }
    if (node->keeps && io->kept != NULL) {
        keep_keys(exec, node, io, &args);
    }
    dqg_op_attention(&exec->ops, &args);
}

static const double *numbers_of(const struct dqg_exec_io *io, int32_t input) {
    return input == DQG_INPUT_GUIDANCE ? io->guidance : input == DQG_INPUT_SIZES ? io->sizes : io->timesteps;
}

static void run_node(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io) {
    const struct dqg_graph *graph = exec->graph;
    const struct dqg_value *out = dqg_exec_value(exec, node->out);
    struct dqg_patches patches = {.samples = exec->samples,
                                  .channels = graph->channels,
                                  .height = graph->height,
                                  .width = graph->width,
                                  .patch = graph->patch};
    switch (node->kind) {
    case DQG_NODE_TIMESTEP:
        dqg_op_timestep(dqg_exec_floats(exec, node->out), numbers_of(io, node->input), exec->samples * node->first,
                        node->multiplier, dqg_exec_sample_rows(exec, out->rows) * out->columns / node->first);
        break;
    case DQG_NODE_LABEL:
        dqg_op_label(&exec->ops, dqg_exec_floats(exec, node->out), dqg_exec_floats(exec, node->x), node->weight,
                     node->first, io->labels, exec->samples);
        break;
    case DQG_NODE_PATCHIFY:
        patches.pixel_padded = node->pixel_padded;
        dqg_op_patchify(&exec->ops, dqg_exec_floats(exec, node->out), io->x, &patches);
        break;
    case DQG_NODE_UNPATCHIFY:
        patches.channels = graph->out_channels;
        patches.by_channels = node->by_channels;
        patches.tokens = graph->active_tokens > 0 ? io->active : NULL;
        patches.token_count = graph->active_tokens;
        dqg_op_unpatchify(&exec->ops, io->out, dqg_exec_floats(exec, node->x), &patches);
        break;
    case DQG_NODE_ACTIVE:
        run_active(exec, node, io);
        break;
    case DQG_NODE_LINEAR:
        run_linear(exec, node);
        break;
    case DQG_NODE_CONV:
        run_conv(exec, node);
        break;
    case DQG_NODE_NORM:
        run_norm(exec, node);
        break;
    case DQG_NODE_GLU:
        run_glu(exec, node);
        break;
    case DQG_NODE_ATTENTION:
        run_attention(exec, node, io);
        break;
    case DQG_NODE_ACTIVATE:
        dqg_op_activate(&exec->ops, dqg_exec_floats(exec, node->out), dqg_exec_floats(exec, node->x),
                        dqg_exec_rows(exec, out) * out->columns, node->activation);
        break;
    case DQG_NODE_QUANTIZE:
        run_quantize(exec, node);
        break;
    default:
        dqg_exec_parts(exec, node, io);
        break;
    }
}

/* Show a result to the host. int8 rows are what the next product reads of a value that was shown or is a norm's. */
static dqg_status call_tap(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io) {
    const struct dqg_graph *graph = exec->graph;
    const struct dqg_value *out = dqg_exec_value(exec, node->out);
    if (exec->tap == NULL || out->int8 || node->kind == DQG_NODE_RESULT) {
        return DQG_OK;
    }
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.dtype = DQG_DTYPE_F32;
    if (node->kind == DQG_NODE_UNPATCHIFY) {
        view.data = io->out;
        view.rank = 4;
        view.shape[0] = (int64_t)graph->samples;
        view.shape[1] = (int64_t)graph->out_channels;
        view.shape[2] = (int64_t)graph->height;
        view.shape[3] = (int64_t)graph->width;
    } else {
        view.data = dqg_exec_floats(exec, node->out);
        view.rank = 2;
        view.shape[0] = (int64_t)out->rows;
        view.shape[1] = (int64_t)out->columns;
    }
    if (exec->tap(exec->tap_user, node->name, &view) != 0) {
        return dqg_fail(exec->ops.context, DQG_ERROR_CANCELLED, "stopped by the tap at %s", node->name);
    }
    return DQG_OK;
}

dqg_status dqg_exec_next(struct dqg_exec *exec, const struct dqg_exec_io *io) {
    const struct dqg_node *node = &exec->graph->nodes[exec->next];
    run_node(exec, node, io);
    DQG_TRY(call_tap(exec, node, io));
    exec->next++;
    exec->steady_done = exec->steady_done || (exec->keep_steady && exec->next == exec->graph->steady);
    if (exec->next < exec->graph->node_count) {
        return DQG_PENDING;
    }
    exec->next = first_node(exec);
    return DQG_DONE;
}
