/* SPDX-License-Identifier: MIT */
/*
 * Memory plan: values whose lives do not overlap share memory. Greedy first fit in order of execution; a residual sum
 * that ends its input's life is computed in place, and so are norms of heads. Steady values lie below all others.
 */
#include <math.h>

#include "model/graph.h"

const char dqg_attention_names[] = "auto|float|int8";

/* Columns of an int8 row in memory: a multiple of every group size. */
enum { INT8_COLUMNS = 128 };

static bool set_size(struct dqg_value *value) {
    size_t element = value->int8 ? 1 : sizeof(float);
    size_t bytes;
    if (value->image_bytes > 0) {
        value->bytes = value->image_bytes;
        return value->bytes <= SIZE_MAX / 4;
    }
    value->ld = value->int8 ? dqg_round_up(value->columns, INT8_COLUMNS) : value->columns;
    if (!dqg_mul_size(value->ld, value->rows, &bytes) || !dqg_mul_size(bytes, element, &bytes) ||
        bytes > SIZE_MAX / 4) {
        return false;
    }
    bytes = dqg_round_up(bytes, DQG_ALIGNMENT);
    bytes += value->int8 ? value->rows * sizeof(float) : 0;
    value->bytes = dqg_round_up(bytes, DQG_ALIGNMENT);
    return true;
}

static void note_use(struct dqg_graph *graph, int32_t value, int32_t node) {
    if (value != DQG_NO_VALUE) {
        graph->values[value].last_use = node;
    }
}

/* Among those that share memory. */
static bool alive(const struct dqg_value *value, int32_t node) {
    return value->bytes > 0 && !value->steady && value->producer <= node && value->last_use >= node;
}

/* The lowest place where a value of node fits between those that are alive then. */
static size_t first_fit(const struct dqg_graph *graph, int32_t node, const struct dqg_value *wanted,
                        size_t steady_bytes) {
    size_t offset = steady_bytes;
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t i = 0; i < graph->value_count; i++) {
            const struct dqg_value *value = &graph->values[i];
            if (value == wanted || !alive(value, node) || value->producer == node) {
                continue;
            }
            if (offset < value->offset + value->bytes && value->offset < offset + wanted->bytes) {
                offset = value->offset + value->bytes;
                moved = true;
            }
        }
    }
    return offset;
}

static size_t node_scratch(const struct dqg_graph *graph, const struct dqg_node *node) {
    switch (node->kind) {
    case DQG_NODE_LINEAR:
        return dqg_op_linear_scratch(node->weight, graph->bf16);
    case DQG_NODE_CONV:
        return dqg_op_conv_scratch(node->weight);
    case DQG_NODE_NORM:
        return dqg_op_norm_scratch(graph->values[node->x].columns);
    case DQG_NODE_ATTENTION:
        return dqg_op_attention_scratch();
    case DQG_NODE_LABEL:
    case DQG_NODE_TOKENS:
        return dqg_weight_scratch(node->weight);
    case DQG_NODE_GROUP_NORM:
        return dqg_op_group_norm_scratch(graph->values[node->x].columns);
    default:
        return 0;
    }
}

/* The value that a node's result may take the place of, because this is its last use; or DQG_NO_VALUE. */
static int32_t place_of(const struct dqg_graph *graph, int32_t index) {
    const struct dqg_node *node = &graph->nodes[index];
    int32_t value = node->kind == DQG_NODE_HEADS ? node->x : node->residual != node->x ? node->residual : DQG_NO_VALUE;
    bool free = value != DQG_NO_VALUE && graph->values[value].last_use == index && !graph->values[value].steady &&
                !graph->values[node->out].steady;
    return free ? value : DQG_NO_VALUE;
}

/* Integer attention where it is wanted, or where it pays and the network is quantized anyway. */
static bool choose_int8(const struct dqg_graph *graph, size_t keys) {
    size_t enough = graph->context->kernels->int8_attention_keys;
    if (graph->attention != DQG_ATTENTION_AUTO) {
        return graph->attention == DQG_ATTENTION_INT8;
    }
    bool quantized = false;
    for (int32_t i = 0; i < graph->node_count; i++) {
        const struct dqg_weight *weight = graph->nodes[i].kind == DQG_NODE_LINEAR ? graph->nodes[i].weight : NULL;
        quantized = quantized || (weight != NULL && dqg_dtype_is_quantized(weight->dtype));
    }
    return quantized && enough > 0 && keys >= enough;
}

double dqg_entropy_scale(size_t keys, size_t train_keys) {
    keys = keys > 2 ? keys : 2;
    train_keys = train_keys > 2 ? train_keys : 2;
    return keys == train_keys ? 1.0 : sqrt(log((double)keys) / log((double)train_keys));
}

/* The scale of self-attention among keys tokens; levels of a U-Net have fewer in training and now, in proportion. What
 * stands behind the image's tokens was there in training too. */
static void plan_scale(const struct dqg_graph *graph, struct dqg_node *node, size_t keys) {
    if (graph->train_tokens == 0 || !node->self || graph->tokens == 0) {
        return;
    }
    size_t others = keys > graph->tokens ? keys - graph->tokens : 0;
    double level = (double)(keys - others) / (double)graph->tokens;
    double factor = dqg_entropy_scale(keys, (size_t)((double)graph->train_tokens * level + 0.5) + others);
    size_t width = graph->values[node->out].columns / node->heads;
    node->scale = factor != 1.0 ? (float)(factor / sqrt((double)width)) : 0.0f;
}

/* Shared memory of integer attention; with fewer samples lanes may share their work in the other way. */
static bool plan_shared(struct dqg_graph *graph, const struct dqg_node *node, size_t keys, size_t samples) {
    size_t bytes;
    if (!dqg_op_attention_shared(graph->context, samples, node->heads, keys,
                                 graph->values[node->out].columns / node->heads, &bytes)) {
        return false;
    }
    graph->shared_bytes = bytes > graph->shared_bytes ? bytes : graph->shared_bytes;
    return true;
}

static bool plan_attention(struct dqg_graph *graph, struct dqg_node *node) {
    size_t keys = dqg_graph_keys(graph, node);
    node->int8 = choose_int8(graph, keys);
    plan_scale(graph, node, keys);
    return !node->int8 || (plan_shared(graph, node, keys, graph->samples) &&
                           (!graph->fewer_samples || plan_shared(graph, node, keys, 1)));
}

/* What lanes make for each other. */
static bool plan_lanes(struct dqg_graph *graph, struct dqg_node *node) {
    if (node->kind == DQG_NODE_ATTENTION) {
        return plan_attention(graph, node);
    }
    if (node->kind == DQG_NODE_GROUP_NORM) {
        const struct dqg_value *x = &graph->values[node->x];
        size_t floats = dqg_op_group_norm_work(graph->samples, x->rows / graph->samples, x->columns, node->heads);
        size_t bytes = dqg_round_up(floats * sizeof(float), DQG_ALIGNMENT);
        graph->shared_bytes = bytes > graph->shared_bytes ? bytes : graph->shared_bytes;
    }
    return true;
}

/* Places of steady values; false on overflow. */
static bool place_steady(struct dqg_graph *graph, size_t *end) {
    *end = 0;
    for (int32_t i = 0; i < graph->value_count; i++) {
        struct dqg_value *value = &graph->values[i];
        if (value->steady) {
            value->offset = *end;
            if (!dqg_add_size(*end, value->bytes, end)) {
                return false;
            }
        }
    }
    return true;
}

dqg_status dqg_graph_plan(struct dqg_graph *graph) {
    if (!dqg_graph_sort_steady(graph)) {
        return dqg_fail_memory(graph->context, "the network graph", (size_t)graph->node_count * sizeof *graph->nodes);
    }
    for (int32_t i = 0; i < graph->value_count; i++) {
        graph->values[i].last_use = -1;
        if (!set_size(&graph->values[i])) {
            return dqg_fail(graph->context, DQG_ERROR_LIMIT, "a run of this size does not fit the address space");
        }
    }
    for (int32_t i = 0; i < graph->node_count; i++) {
        int32_t inputs[DQG_NODE_INPUTS];
        dqg_node_inputs(&graph->nodes[i], inputs);
        for (int input = 0; input < DQG_NODE_INPUTS; input++) {
            note_use(graph, inputs[input], i);
        }
    }
    size_t steady_bytes;
    if (!place_steady(graph, &steady_bytes)) {
        return dqg_fail(graph->context, DQG_ERROR_LIMIT, "a run of this size does not fit the address space");
    }
    graph->memory_bytes = steady_bytes;
    for (int32_t i = 0; i < graph->node_count; i++) {
        struct dqg_node *node = &graph->nodes[i];
        struct dqg_value *out = &graph->values[node->out];
        int32_t place = place_of(graph, i);
        if (place != DQG_NO_VALUE) {
            out->offset = graph->values[place].offset;
        } else if (!out->steady) {
            out->offset = first_fit(graph, i, out, steady_bytes);
        }
        size_t end;
        if (!dqg_add_size(out->offset, out->bytes, &end) || !plan_lanes(graph, node)) {
            return dqg_fail(graph->context, DQG_ERROR_LIMIT, "a run of this size does not fit the address space");
        }
        graph->memory_bytes = end > graph->memory_bytes ? end : graph->memory_bytes;
        size_t scratch = dqg_round_up(node_scratch(graph, node), DQG_ALIGNMENT);
        graph->lane_bytes = scratch > graph->lane_bytes ? scratch : graph->lane_bytes;
    }
    return DQG_OK;
}
