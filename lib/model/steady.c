/* SPDX-License-Identifier: MIT */
/*
 * What of a network depends on its prompt alone - the context and its mask, pooled rows, sizes, the control picture -
 * is the same in every step: keys and values of cross-attention above all. These operators go to the front, and what
 * the others read of them keeps a place of its own, so that an evaluation can begin behind them. Called by plan.c.
 */
#include "model/graph.h"

/* Whatever it makes of steady values is steady. */
static bool is_plain(const struct dqg_node *node) {
    switch (node->kind) {
    case DQG_NODE_LINEAR:
    case DQG_NODE_CONV:
    case DQG_NODE_ACTIVATE:
    case DQG_NODE_NORM:
    case DQG_NODE_GLU:
    case DQG_NODE_QUANTIZE:
    case DQG_NODE_HEADS:
    case DQG_NODE_CONCAT:
    case DQG_NODE_JOIN:
    case DQG_NODE_SLICE:
    case DQG_NODE_ADD:
    case DQG_NODE_ADD_TABLE:
        return true;
    default:
        return false;
    }
}

static bool is_steady(const struct dqg_graph *graph, const struct dqg_node *node) {
    int32_t inputs[DQG_NODE_INPUTS];
    if (node->kind == DQG_NODE_INPUT || node->kind == DQG_NODE_TIMESTEP) {
        return node->input == DQG_INPUT_CONTEXT || node->input == DQG_INPUT_MASK || node->input == DQG_INPUT_POOLED ||
               node->input == DQG_INPUT_SIZES || node->input == DQG_INPUT_CONTROL_SCALE;
    }
    if (node->kind == DQG_NODE_PATCHIFY) {
        return node->image != NULL; /* the control picture */
    }
    dqg_node_inputs(node, inputs);
    bool steady = is_plain(node);
    for (int i = 0; i < DQG_NODE_INPUTS; i++) {
        steady = steady && (inputs[i] == DQG_NO_VALUE || graph->values[inputs[i]].steady);
    }
    return steady;
}

/* Steady values that are read by others are kept; the rest live among themselves. */
static void keep_values(struct dqg_graph *graph) {
    for (int32_t i = 0; i < graph->value_count; i++) {
        graph->values[i].steady = false;
    }
    for (int32_t i = graph->steady; i < graph->node_count; i++) {
        int32_t inputs[DQG_NODE_INPUTS];
        dqg_node_inputs(&graph->nodes[i], inputs);
        for (int input = 0; input < DQG_NODE_INPUTS; input++) {
            if (inputs[input] != DQG_NO_VALUE && graph->values[inputs[input]].producer < graph->steady) {
                graph->values[inputs[input]].steady = true;
            }
        }
    }
}

bool dqg_graph_sort_steady(struct dqg_graph *graph) {
    size_t bytes = (size_t)graph->node_count * sizeof *graph->nodes;
    struct dqg_node *rest = dqg_malloc(&graph->context->alloc, bytes);
    int32_t rest_count = 0;
    if (rest == NULL) {
        return false;
    }
    graph->steady = 0;
    for (int32_t i = 0; i < graph->node_count; i++) {
        struct dqg_node node = graph->nodes[i];
        graph->values[node.out].steady = is_steady(graph, &node);
        if (graph->values[node.out].steady) {
            graph->nodes[graph->steady++] = node;
        } else {
            rest[rest_count++] = node;
        }
    }
    memcpy(graph->nodes + graph->steady, rest, (size_t)rest_count * sizeof *rest);
    dqg_free(&graph->context->alloc, rest, bytes);
    for (int32_t i = 0; i < graph->node_count; i++) {
        graph->values[graph->nodes[i].out].producer = i;
    }
    keep_values(graph);
    return true;
}
