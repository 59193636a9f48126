/* SPDX-License-Identifier: MIT */
/* Building a graph, continued: what an evaluation is given, norms of images and heads, rows and images rearranged. */
#include "model/graph.h"

/* ---- inputs and outputs ---- */

int32_t dqg_graph_number_rows(struct dqg_graph *graph, const char *name, enum dqg_graph_input input, size_t count,
                              double factor, size_t width) {
    struct dqg_node node = dqg_node_make(DQG_NODE_TIMESTEP, name, DQG_NO_VALUE);
    node.input = input;
    node.first = count;
    node.multiplier = factor;
    return dqg_graph_append(graph, node, graph->samples * count, width);
}

int32_t dqg_graph_numbers(struct dqg_graph *graph, const char *name, enum dqg_graph_input input, size_t count,
                          double factor, size_t width) {
    int32_t x = dqg_graph_number_rows(graph, name, input, count, factor, width);
    graph->values[x].rows = graph->samples; /* the same floats */
    graph->values[x].columns = count * width;
    return x;
}

int32_t dqg_graph_timestep(struct dqg_graph *graph, const char *name, size_t width) {
    return dqg_graph_numbers(graph, name, DQG_INPUT_TIMESTEPS, 1, 1, width);
}

int32_t dqg_graph_input(struct dqg_graph *graph, const char *name, enum dqg_graph_input input, size_t columns) {
    struct dqg_node node = dqg_node_make(DQG_NODE_INPUT, name, DQG_NO_VALUE);
    node.input = input;
    return dqg_graph_append(graph, node, graph->samples * (input == DQG_INPUT_CONTEXT ? graph->context_tokens : 1),
                            columns);
}

int32_t dqg_graph_tokens(struct dqg_graph *graph, const char *name, const struct dqg_weight *table) {
    struct dqg_node node = dqg_node_make(DQG_NODE_TOKENS, name, DQG_NO_VALUE);
    node.weight = table;
    node.added = graph->additions.tokens;
    node.added_count = graph->additions.token_count;
    return dqg_graph_append(graph, node, graph->samples * graph->tokens, table->size.columns);
}

void dqg_graph_result(struct dqg_graph *graph, const char *name, int32_t x, int32_t output) {
    struct dqg_node node = dqg_node_make(DQG_NODE_RESULT, name, x);
    node.input = output;
    dqg_graph_append(graph, node, 0, 0); /* without memory of its own */
}

/* ---- norms ---- */

int32_t dqg_graph_group_norm_modulated(struct dqg_graph *graph, const char *name, int32_t x, size_t groups,
                                       const float *factor, const float *bias, float epsilon,
                                       enum dqg_activation activation, int32_t modulation, size_t shift_column,
                                       size_t scale_column) {
    struct dqg_node node = dqg_node_make(DQG_NODE_GROUP_NORM, name, x);
    node.heads = groups;
    node.factor = factor;
    node.bias = bias;
    node.epsilon = epsilon;
    node.activation = activation;
    node.modulation = modulation;
    node.shift_column = shift_column;
    node.scale_column = scale_column;
    return dqg_graph_append(graph, node, graph->values[x].rows, graph->values[x].columns);
}

int32_t dqg_graph_group_norm(struct dqg_graph *graph, const char *name, int32_t x, size_t groups, const float *factor,
                             const float *bias, float epsilon, enum dqg_activation activation) {
    return dqg_graph_group_norm_modulated(graph, name, x, groups, factor, bias, epsilon, activation, DQG_NO_VALUE, 0,
                                          0);
}

int32_t dqg_graph_heads(struct dqg_graph *graph, const char *name, int32_t qkv, const struct dqg_heads *form) {
    struct dqg_node node = dqg_node_make(DQG_NODE_HEADS, name, qkv);
    node.form = dqg_graph_keep(graph, form, sizeof *form);
    return dqg_graph_append(graph, node, graph->values[qkv].rows, graph->values[qkv].columns);
}

/* ---- rows and columns ---- */

int32_t dqg_graph_concat(struct dqg_graph *graph, const char *name, int32_t a, int32_t b) {
    struct dqg_node node = dqg_node_make(DQG_NODE_CONCAT, name, a);
    node.k = b;
    return dqg_graph_append(graph, node, graph->values[a].rows, graph->values[a].columns + graph->values[b].columns);
}

int32_t dqg_graph_join(struct dqg_graph *graph, const char *name, int32_t a, int32_t b) {
    struct dqg_node node = dqg_node_make(DQG_NODE_JOIN, name, a);
    node.k = b;
    return dqg_graph_append(graph, node, graph->values[a].rows + graph->values[b].rows, graph->values[a].columns);
}

int32_t dqg_graph_slice(struct dqg_graph *graph, const char *name, int32_t x, size_t first, size_t count) {
    struct dqg_node node = dqg_node_make(DQG_NODE_SLICE, name, x);
    node.first = first;
    DQG_ASSERT(graph->samples * (first + count) <= graph->values[x].rows);
    return dqg_graph_append(graph, node, graph->samples * count, graph->values[x].columns);
}

int32_t dqg_graph_pick(struct dqg_graph *graph, const char *name, int32_t x) {
    return dqg_graph_append(graph, dqg_node_make(DQG_NODE_PICK, name, x), graph->samples, graph->values[x].columns);
}

/* ---- images ---- */

static int32_t resized(struct dqg_graph *graph, enum dqg_node_kind kind, const char *name, int32_t x, size_t height,
                       size_t width, size_t out_height, size_t out_width) {
    struct dqg_node node = dqg_node_make(kind, name, x);
    const struct dqg_resize sizes = {.samples = graph->samples,
                                     .channels = graph->values[x].columns,
                                     .height = height,
                                     .width = width,
                                     .out_height = out_height,
                                     .out_width = out_width};
    DQG_ASSERT(graph->samples * height * width == graph->values[x].rows);
    node.image = dqg_graph_keep(graph, &sizes, sizeof sizes);
    return dqg_graph_append(graph, node, graph->samples * out_height * out_width, sizes.channels);
}

int32_t dqg_graph_resize(struct dqg_graph *graph, const char *name, int32_t x, size_t height, size_t width,
                         size_t out_height, size_t out_width) {
    return resized(graph, DQG_NODE_RESIZE, name, x, height, width, out_height, out_width);
}

int32_t dqg_graph_pool(struct dqg_graph *graph, const char *name, int32_t x, size_t height, size_t width) {
    return resized(graph, DQG_NODE_POOL, name, x, height, width, height / 2, width / 2);
}
