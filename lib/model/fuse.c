/* SPDX-License-Identifier: MIT */
/*
 * Fusion: what follows a matrix product element by element becomes its epilogue, and inputs of quantized products
 * become int8, in the operator that makes them where that is a norm, else by a quantization of their own.
 */
#include "model/graph.h"

/* How many of a node's inputs a value is. */
static int count_uses(const struct dqg_node *node, int32_t value) {
    int32_t inputs[DQG_NODE_INPUTS];
    int uses = 0;
    dqg_node_inputs(node, inputs);
    for (int i = 0; i < DQG_NODE_INPUTS; i++) {
        uses += inputs[i] == value;
    }
    return uses;
}

/* The only node that reads a value, or -1 where there are none or several. */
static int32_t only_reader(const struct dqg_graph *graph, int32_t value) {
    int32_t reader = -1;
    for (int32_t i = 0; i < graph->node_count; i++) {
        const struct dqg_node *node = &graph->nodes[i];
        int uses = count_uses(node, value);
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

static bool is_product(const struct dqg_node *node) {
    return node->kind == DQG_NODE_LINEAR || node->kind == DQG_NODE_CONV;
}

static bool wants_int8(const struct dqg_node *node) {
    return is_product(node) && dqg_dtype_is_quantized(node->weight->dtype);
}

/* int8 rows, which any number of products can read; a convolution wants an image of its own. */
static bool wants_int8_rows(const struct dqg_node *node) {
    return node->kind == DQG_NODE_LINEAR && wants_int8(node);
}

/* Quantized products multiply both halves of a gated unit at once where panels do not straddle them. */
static bool can_be_gated(const struct dqg_node *product) {
    return wants_int8_rows(product) && product->first_output == 0 && product->weight->size.rows % (2 * DQG_PANEL) == 0;
}

static bool in_spans(const struct dqg_span_list *list, int32_t value) {
    for (int32_t i = 0; i < list->count; i++) {
        if (list->spans[i].enter == value || list->spans[i].leave == value) {
            return true;
        }
    }
    return false;
}

/* Fold the only reader of a matrix product or convolution into it. What goes into or out of a span stays a value. */
static bool fold_into_product(struct dqg_graph *graph, int32_t at) {
    struct dqg_node *product = &graph->nodes[at];
    int32_t reader = only_reader(graph, product->out);
    if (reader < 0 || in_spans(&graph->blocks, product->out) || in_spans(&graph->branches, product->out)) {
        return false;
    }
    struct dqg_node *next = &graph->nodes[reader];
    bool plain = product->residual == DQG_NO_VALUE && product->table == NULL;
    if (next->x != product->out || !plain) {
        return false;
    }
    bool bare = product->activation == DQG_ACT_NONE && !product->gated;
    if (next->kind == DQG_NODE_ACTIVATE && bare) {
        product->activation = next->activation;
    } else if (next->kind == DQG_NODE_GLU && bare && can_be_gated(product)) {
        product->activation = next->activation;
        product->gated = true;
    } else if (next->kind == DQG_NODE_ADD && ready_before(graph, next->residual, at) &&
               ready_before(graph, next->modulation, at)) {
        product->residual = next->residual;
        product->modulation = next->modulation;
        product->gate_column = next->gate_column;
    } else if (next->kind == DQG_NODE_ADD_TABLE && product->kind == DQG_NODE_LINEAR) {
        product->table = next->table;
    } else {
        return false;
    }
    product->out = next->out;
    graph->values[product->out].producer = at;
    next->kind = DQG_NODE_REMOVED;
    return true;
}

/* Is a value read as the input of quantized matrix products, and by nothing else? */
static bool only_int8_readers(const struct dqg_graph *graph, int32_t value) {
    bool any = false;
    for (int32_t i = 0; i < graph->node_count; i++) {
        const struct dqg_node *node = &graph->nodes[i];
        int uses = count_uses(node, value);
        if (node->kind == DQG_NODE_REMOVED || uses == 0) {
            continue;
        }
        if (uses > 1 || node->x != value || !wants_int8_rows(node)) {
            return false;
        }
        any = true;
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
            struct dqg_node quantize = dqg_node_make(DQG_NODE_QUANTIZE, node.name, node.x);
            quantize.out = graph->value_count;
            if (node.kind == DQG_NODE_CONV) {
                quantize.conv = node.conv;
                quantize.weight = node.weight;
                if (!dqg_conv_image_bytes(node.conv, node.weight, &value.image_bytes)) {
                    value.image_bytes = SIZE_MAX; /* refused by the plan */
                }
            }
            /* Later readers of the same value share rows. */
            for (int32_t j = i; j < count && node.kind == DQG_NODE_LINEAR; j++) {
                if (wants_int8_rows(&from[j]) && from[j].x == quantize.x) {
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
        while (is_product(&graph->nodes[i]) && fold_into_product(graph, i)) {
        }
    }
    for (int32_t i = 0; i < graph->node_count; i++) {
        struct dqg_node *node = &graph->nodes[i];
        if (node->kind == DQG_NODE_ADD && node->modulation != DQG_NO_VALUE) {
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
