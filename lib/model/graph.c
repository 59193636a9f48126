/* SPDX-License-Identifier: MIT */
/* Building a graph: each call appends one operator and the value that it makes. Used by the arch_*.c files. */
#include "model/graph.h"

dqg_status dqg_graph_init(struct dqg_context *context, struct dqg_graph *graph, int32_t nodes) {
    graph->context = context;
    nodes *= dqg_graph_branch_nodes(graph);
    /* Fusion may add a quantization for each operator. */
    graph->node_capacity = 2 * nodes;
    graph->value_capacity = 2 * nodes;
    size_t node_bytes = (size_t)graph->node_capacity * sizeof *graph->nodes;
    size_t value_bytes = (size_t)graph->value_capacity * sizeof *graph->values;
    graph->nodes = dqg_arena_alloc(&context->alloc, &graph->arena, node_bytes);
    graph->values = graph->nodes ? dqg_arena_alloc(&context->alloc, &graph->arena, value_bytes) : NULL;
    return graph->values != NULL ? DQG_OK : dqg_fail_memory(context, "the network graph", node_bytes + value_bytes);
}

void dqg_graph_free(struct dqg_graph *graph) {
    if (graph->context != NULL) {
        dqg_arena_free(&graph->context->alloc, &graph->arena);
    }
    *graph = (struct dqg_graph){0};
}

void *dqg_graph_keep(struct dqg_graph *graph, const void *record, size_t size) {
    void *kept = dqg_arena_alloc(&graph->context->alloc, &graph->arena, size);
    graph->failed = graph->failed || kept == NULL;
    return kept != NULL ? memcpy(kept, record, size) : NULL;
}

const char *dqg_graph_name(struct dqg_graph *graph, const char *name) {
    return dqg_graph_keep(graph, name, strlen(name) + 1);
}

int32_t dqg_graph_append(struct dqg_graph *graph, struct dqg_node node, size_t rows, size_t columns) {
    if (graph->node_count >= graph->node_capacity / 2) {
        DQG_ASSERT(!"the builder announced fewer nodes than it makes");
        graph->failed = true;
        return 0;
    }
    node.out = graph->value_count++;
    graph->values[node.out] = (struct dqg_value){.rows = rows, .columns = columns, .producer = graph->node_count};
    graph->nodes[graph->node_count++] = node;
    return node.out;
}

bool dqg_graph_begin_block(struct dqg_graph *graph, size_t index) {
    const struct dqg_perturbation *perturbation = graph->perturbation;
    graph->begun = (int64_t)index + 1;
    graph->perturbed = false;
    for (int32_t i = 0; perturbation != NULL && i < perturbation->count; i++) {
        graph->perturbed = graph->perturbed || perturbation->blocks[i] == (int64_t)index;
    }
    return !graph->perturbed || perturbation->kind != DQG_PERTURB_SKIP;
}

struct dqg_node dqg_node_make(enum dqg_node_kind kind, const char *name, int32_t x) {
    return (struct dqg_node){.kind = kind,
                             .name = name,
                             .x = x,
                             .k = DQG_NO_VALUE,
                             .v = DQG_NO_VALUE,
                             .mask = DQG_NO_VALUE,
                             .modulation = DQG_NO_VALUE,
                             .residual = DQG_NO_VALUE,
                             .addend = DQG_NO_VALUE};
}

void dqg_node_inputs(const struct dqg_node *node, int32_t inputs[DQG_NODE_INPUTS]) {
    const int32_t all[DQG_NODE_INPUTS] = {node->x,          node->k,        node->v,     node->mask,
                                          node->modulation, node->residual, node->addend};
    memcpy(inputs, all, sizeof all);
}

int32_t dqg_graph_label(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_weight *table,
                        size_t classes) {
    struct dqg_node node = dqg_node_make(DQG_NODE_LABEL, name, x);
    node.weight = table;
    node.first = classes;
    return dqg_graph_append(graph, node, graph->samples, table->size.columns);
}

int32_t dqg_graph_patchify(struct dqg_graph *graph, const char *name, const struct dqg_weight *weight) {
    struct dqg_node node = dqg_node_make(DQG_NODE_PATCHIFY, name, DQG_NO_VALUE);
    size_t pixels = graph->patch * graph->patch, pixel = graph->channels;
    if (weight != NULL && dqg_dtype_is_quantized(weight->dtype)) {
        pixel = node.pixel_padded = weight->size.tap_padded;
    }
    return dqg_graph_append(graph, node, graph->samples * graph->tokens, pixels * pixel);
}

int32_t dqg_graph_linear_part(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_weight *weight,
                              const float *bias, size_t first, size_t count) {
    int32_t branch = dqg_graph_branch_of(graph, name, x, weight, NULL, first, count);
    struct dqg_node node = dqg_node_make(DQG_NODE_LINEAR, name, x);
    node.weight = weight;
    node.bias = bias;
    node.addend = branch;
    node.first_output = first;
    return dqg_graph_append(graph, node, graph->values[x].rows, count);
}

int32_t dqg_graph_linear(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_weight *weight,
                         const float *bias) {
    return dqg_graph_linear_part(graph, name, x, weight, bias, 0, weight->size.rows);
}

int32_t dqg_graph_active(struct dqg_graph *graph, const char *name, int32_t x) {
    graph->selects = true;
    if (graph->active_tokens == 0) {
        return x;
    }
    return dqg_graph_append(graph, dqg_node_make(DQG_NODE_ACTIVE, name, x), graph->samples * graph->active_tokens,
                            graph->values[x].columns);
}

/* No window to speak of: a matrix product, with scales for each pixel. */
static bool is_pointwise(const struct dqg_conv_shape *shape) {
    bool plain = !shape->upsample;
    for (int axis = 0; axis < 3; axis++) {
        plain = plain && shape->kernel[axis] == 1 && shape->stride[axis] == 1 && shape->before[axis] == 0 &&
                shape->after[axis] == 0;
    }
    return plain;
}

int32_t dqg_graph_conv(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_conv_shape *shape,
                       const struct dqg_weight *weight, const float *bias, int32_t addend, size_t addend_column) {
    if (!dqg_conv_valid(shape, weight)) {
        graph->failed = true;
        graph->status = dqg_fail(graph->context, DQG_ERROR_RANGE,
                                 "'%s' cannot be applied to an image of %zu x %zu with %zu channels", name,
                                 shape->size[1], shape->size[2], shape->channels);
        return x;
    }
    if (is_pointwise(shape) && addend == DQG_NO_VALUE) {
        return dqg_graph_linear(graph, name, x, weight, bias);
    }
    const struct dqg_conv_shape *kept = dqg_graph_keep(graph, shape, sizeof *shape);
    if (kept == NULL) {
        return x;
    }
    int32_t branch = dqg_graph_branch_of(graph, name, x, weight, kept, 0, weight->size.rows);
    struct dqg_node node = dqg_node_make(DQG_NODE_CONV, name, x);
    node.weight = weight;
    node.bias = bias;
    node.conv = kept;
    node.addend = addend;
    node.addend_column = addend_column;
    int32_t y = dqg_graph_append(graph, node, dqg_conv_out_pixels(shape), weight->size.rows);
    return branch != DQG_NO_VALUE ? dqg_graph_add(graph, name, branch, DQG_NO_VALUE, 0, y) : y;
}

int32_t dqg_graph_activate(struct dqg_graph *graph, const char *name, int32_t x, enum dqg_activation activation) {
    struct dqg_node node = dqg_node_make(DQG_NODE_ACTIVATE, name, x);
    node.activation = activation;
    return dqg_graph_append(graph, node, graph->values[x].rows, graph->values[x].columns);
}

int32_t dqg_graph_norm(struct dqg_graph *graph, const char *name, int32_t x, int32_t modulation, size_t shift_column,
                       size_t scale_column, float epsilon) {
    struct dqg_node node = dqg_node_make(DQG_NODE_NORM, name, x);
    node.modulation = modulation;
    node.shift_column = shift_column;
    node.scale_column = scale_column;
    node.epsilon = epsilon;
    return dqg_graph_append(graph, node, graph->values[x].rows, graph->values[x].columns);
}

int32_t dqg_graph_norm_learned(struct dqg_graph *graph, const char *name, int32_t x, const float *factor,
                               const float *bias, bool rms, float epsilon) {
    struct dqg_node node = dqg_node_make(DQG_NODE_NORM, name, x);
    node.factor = factor;
    node.bias = bias;
    node.rms = rms;
    node.epsilon = epsilon;
    return dqg_graph_append(graph, node, graph->values[x].rows, graph->values[x].columns);
}

int32_t dqg_graph_glu(struct dqg_graph *graph, const char *name, int32_t x, enum dqg_activation activation) {
    struct dqg_node node = dqg_node_make(DQG_NODE_GLU, name, x);
    node.activation = activation;
    return dqg_graph_append(graph, node, graph->values[x].rows, graph->values[x].columns / 2);
}

int32_t dqg_graph_attention(struct dqg_graph *graph, const char *name, int32_t qkv, size_t heads) {
    size_t width = graph->values[qkv].columns / 3;
    struct dqg_graph_attention_args args = {.q = qkv,
                                            .k = qkv,
                                            .v = qkv,
                                            .k_column = width,
                                            .v_column = 2 * width,
                                            .width = width,
                                            .heads = heads,
                                            .mask = DQG_NO_VALUE,
                                            .self = true};
    return dqg_graph_attention_to(graph, name, &args);
}

int32_t dqg_graph_attention_to(struct dqg_graph *graph, const char *name, const struct dqg_graph_attention_args *args) {
    struct dqg_node node = dqg_node_make(DQG_NODE_ATTENTION, name, args->q);
    node.k = args->k;
    node.v = args->v;
    node.mask = args->mask;
    node.q_column = args->q_column;
    node.k_column = args->k_column;
    node.v_column = args->v_column;
    node.heads = args->heads;
    node.head_columns = args->head_columns > 0 ? args->head_columns : args->width / args->heads;
    node.scores = args->scores;
    node.scale = args->scale;
    node.causal = args->causal;
    node.counted = args->counted;
    node.self = args->self;
    node.identity = args->self && graph->perturbed;
    node.keeps = args->self && graph->keep_keys;
    if (node.keeps) {
        node.kept = graph->kept_floats;
        size_t keys = dqg_graph_keys(graph, &node), floats;
        if (!dqg_mul_size(graph->samples * keys, 2 * args->width, &floats) ||
            !dqg_add_size(graph->kept_floats, floats, &graph->kept_floats)) {
            graph->kept_floats = SIZE_MAX; /* which nothing can hold */
        }
    }
    return dqg_graph_append(graph, node, graph->values[args->q].rows, args->width);
}

size_t dqg_graph_keys(const struct dqg_graph *graph, const struct dqg_node *node) {
    size_t left_out = node->keeps && graph->active_tokens > 0 ? graph->tokens - graph->active_tokens : 0;
    return graph->values[node->k].rows / graph->samples + left_out;
}

int32_t dqg_graph_add(struct dqg_graph *graph, const char *name, int32_t residual, int32_t modulation,
                      size_t gate_column, int32_t x) {
    struct dqg_node node = dqg_node_make(DQG_NODE_ADD, name, x);
    node.residual = residual;
    node.modulation = modulation;
    node.gate_column = gate_column;
    return dqg_graph_append(graph, node, graph->values[x].rows, graph->values[x].columns);
}

int32_t dqg_graph_add_table(struct dqg_graph *graph, const char *name, int32_t x, const float *table) {
    struct dqg_node node = dqg_node_make(DQG_NODE_ADD_TABLE, name, x);
    node.table = table;
    return dqg_graph_append(graph, node, graph->values[x].rows, graph->values[x].columns);
}

void dqg_graph_unpatchify(struct dqg_graph *graph, const char *name, int32_t x) {
    /* The evaluation's output: a value without memory of its own. */
    dqg_graph_append(graph, dqg_node_make(DQG_NODE_UNPATCHIFY, name, x), 0, 0);
}

void dqg_graph_unpack(struct dqg_graph *graph, const char *name, int32_t x) {
    struct dqg_node node = dqg_node_make(DQG_NODE_UNPATCHIFY, name, x);
    node.by_channels = true;
    dqg_graph_append(graph, node, 0, 0);
}

static void declare(struct dqg_graph *graph, struct dqg_span_list *list, struct dqg_span span) {
    if (list->spans == NULL) {
        size_t bytes = (size_t)graph->node_capacity * sizeof *list->spans;
        list->spans = dqg_arena_alloc(&graph->context->alloc, &graph->arena, bytes);
        graph->failed = graph->failed || list->spans == NULL;
    }
    if (list->spans != NULL && list->count < graph->node_capacity) {
        list->spans[list->count++] = span;
    }
}

void dqg_graph_block(struct dqg_graph *graph, int32_t enter, int32_t leave, int32_t input) {
    declare(graph, &graph->blocks, (struct dqg_span){enter, leave, input});
}

void dqg_graph_branch(struct dqg_graph *graph, int32_t enter, int32_t leave) {
    declare(graph, &graph->branches, (struct dqg_span){enter, leave, DQG_NO_VALUE});
}
