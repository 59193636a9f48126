/* SPDX-License-Identifier: MIT */
/*
 * Fusion: what follows a matrix product element by element becomes its epilogue, and inputs of quantized products
 * become int8, in the operator that makes them where that is a norm, else by a quantization of their own.
 */
#include "model/graph.h"

/* The only node that reads a value, or -1 where there are none or several. */
static int32_t only_reader(const struct dqg_graph *graph, int32_t value) {
    int32_t reader = -1;
    for (int32_t i = 0; i < graph->node_count; i++) {
        const struct dqg_node *node = &graph->nodes[i];
        int uses = (node->x == value) + (node->modulation == value) + (node->residual == value);
        if (node->kind == DQG_NODE_REMOVED || uses == 0) {
            continue;
        }
        if (reader >= 0 || uses > 1) {
            return -1;
        }
        reader = i;
    }
    return reader;
}

/* A folded operator runs earlier than it stood: its other inputs must be there by then. */
static bool ready_before(const struct dqg_graph *graph, int32_t value, int32_t node) {
    return value == DQG_NO_VALUE || graph->values[value].producer < node;
}

static bool wants_int8(const struct dqg_node *node) {
    return node->kind == DQG_NODE_LINEAR && dqg_dtype_is_quantized(node->weight->dtype);
}

/* Quantized products multiply both halves of a gated unit at once where panels do not straddle them. */
static bool can_be_gated(const struct dqg_node *linear) {
    return wants_int8(linear) && linear->weight->size.rows % (2 * DQG_PANEL) == 0;
}

static bool fold_into_linear(struct dqg_graph *graph, int32_t at) {
    struct dqg_node *linear = &graph->nodes[at];
    int32_t reader = only_reader(graph, linear->out);
    if (reader < 0) {
        return false;
    }
    struct dqg_node *next = &graph->nodes[reader];
    bool plain = linear->residual == DQG_NO_VALUE && linear->table == NULL;
    if (next->x != linear->out || !plain) {
        return false;
    }
    bool bare = linear->activation == DQG_ACT_NONE && !linear->gated;
    if (next->kind == DQG_NODE_ACTIVATE && bare) {
        linear->activation = next->activation;
    } else if (next->kind == DQG_NODE_GLU && bare && can_be_gated(linear)) {
        linear->activation = next->activation;
        linear->gated = true;
    } else if (next->kind == DQG_NODE_ADD && ready_before(graph, next->residual, at) &&
               ready_before(graph, next->modulation, at)) {
        linear->residual = next->residual;
        linear->modulation = next->modulation;
        linear->gate_column = next->gate_column;
    } else if (next->kind == DQG_NODE_ADD_TABLE) {
        linear->table = next->table;
    } else {
        return false;
    }
    linear->out = next->out;
    graph->values[linear->out].producer = at;
    next->kind = DQG_NODE_REMOVED;
    return true;
}

/* Is a value read as the input of quantized products, and by nothing else? */
static bool only_int8_readers(const struct dqg_graph *graph, int32_t value) {
    bool any = false;
    for (int32_t i = 0; i < graph->node_count; i++) {
        const struct dqg_node *node = &graph->nodes[i];
        if (node->kind == DQG_NODE_REMOVED) {
            continue;
        }
        if (node->modulation == value || node->residual == value || (node->x == value && !wants_int8(node))) {
            return false;
        }
        any = any || node->x == value;
    }
    return any;
}

/* Rebuild the node list from a copy of it: without the folded nodes, with a quantization wherever a quantized product
 * reads floats. */
static void insert_quantizations(struct dqg_graph *graph, struct dqg_node *from, int32_t count) {
    graph->node_count = 0;
    for (int32_t i = 0; i < count; i++) {
        struct dqg_node node = from[i];
        if (node.kind == DQG_NODE_REMOVED) {
            continue;
        }
        if (wants_int8(&node) && !graph->values[node.x].int8) {
            struct dqg_value value = graph->values[node.x];
            value.int8 = true;
            value.producer = graph->node_count;
            struct dqg_node quantize = {.kind = DQG_NODE_QUANTIZE,
                                        .name = node.name,
                                        .x = node.x,
                                        .modulation = DQG_NO_VALUE,
                                        .residual = DQG_NO_VALUE,
                                        .out = graph->value_count};
            /* Later readers of the same value share it. */
            for (int32_t j = i; j < count; j++) {
                if (wants_int8(&from[j]) && from[j].x == quantize.x) {
                    from[j].x = quantize.out;
                }
            }
            node.x = quantize.out;
            graph->values[graph->value_count++] = value;
            graph->nodes[graph->node_count++] = quantize;
        }
        graph->values[node.out].producer = graph->node_count;
        graph->nodes[graph->node_count++] = node;
    }
}

dqg_status dqg_graph_fuse(struct dqg_graph *graph) {
    for (int32_t i = 0; i < graph->node_count; i++) {
        while (graph->nodes[i].kind == DQG_NODE_LINEAR && fold_into_linear(graph, i)) {
        }
    }
    for (int32_t i = 0; i < graph->node_count; i++) {
        struct dqg_node *node = &graph->nodes[i];
        if (node->kind == DQG_NODE_ADD || node->kind == DQG_NODE_ADD_TABLE) {
            return dqg_fail(graph->context, DQG_ERROR_INTERNAL, "operator '%s' could not be fused", node->name);
        }
        if (node->kind == DQG_NODE_NORM && only_int8_readers(graph, node->out)) {
            graph->values[node->out].int8 = true;
        }
    }
    size_t bytes = (size_t)graph->node_count * sizeof(struct dqg_node);
    struct dqg_node *copy = dqg_malloc(&graph->context->alloc, bytes);
    if (copy == NULL) {
        return dqg_fail_memory(graph->context, "the network graph", bytes);
    }
    memcpy(copy, graph->nodes, bytes);
    insert_quantizations(graph, copy, graph->node_count);
    dqg_free(&graph->context->alloc, copy, bytes);
    return DQG_OK;
}
