/* SPDX-License-Identifier: MIT */
/* Building a graph, continued: the branches that adapters put beside products. They see the floats that the product's
 * input is before it becomes int8. Called by graph.c. */
#include "model/graph.h"

/* The first branch of a weight of the model; weights that a builder made itself have none. */
static const struct dqg_branch *first_branch(const struct dqg_graph *graph, const struct dqg_weight *weight) {
    const struct dqg_graph_additions *additions = &graph->additions;
    size_t index = ((uintptr_t)weight - (uintptr_t)additions->weights) / sizeof *weight;
    return additions->branches != NULL && index < additions->weight_count ? additions->branches[index] : NULL;
}

int32_t dqg_graph_branch_nodes(const struct dqg_graph *graph) {
    int32_t most = 0;
    for (size_t i = 0; graph->additions.branches != NULL && i < graph->additions.weight_count; i++) {
        int32_t count = 0;
        for (const struct dqg_branch *branch = graph->additions.branches[i]; branch != NULL; branch = branch->next) {
            count++;
        }
        most = count > most ? count : most;
    }
    return most > 0 ? 2 * most + 3 : 1; /* and patches in another order, the product, a sum */
}

/* Rows of floats in the order of a weight's columns as files have them. */
static int32_t plain_input(struct dqg_graph *graph, int32_t x) {
    const struct dqg_node *producer = &graph->nodes[graph->values[x].producer];
    bool padded = producer->kind == DQG_NODE_PATCHIFY && producer->pixel_padded > 0;
    return padded ? dqg_graph_patchify(graph, producer->name, NULL) : x;
}

/* "<name>.<part>", kept as long as the graph. */
static const char *part_name(struct dqg_graph *graph, const char *name, const char *part) {
    char full[288];
    dqg_format(full, sizeof full, "%s.%s", name, part);
    return dqg_graph_name(graph, full);
}

static int32_t append_down(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_branch *branch,
                           const struct dqg_conv_shape *shape) {
    struct dqg_node node = dqg_node_make(shape != NULL ? DQG_NODE_CONV : DQG_NODE_LINEAR, name, x);
    size_t rows = shape != NULL ? dqg_conv_out_pixels(shape) : graph->values[x].rows;
    node.weight = branch->down;
    node.conv = shape;
    node.factor = branch->factors;
    return dqg_graph_append(graph, node, rows, branch->down->size.rows);
}

int32_t dqg_graph_branch_of(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_weight *weight,
                            const struct dqg_conv_shape *shape, size_t first, size_t count) {
    const struct dqg_branch *branch = first_branch(graph, weight);
    int32_t sum = DQG_NO_VALUE;
    if (branch == NULL) {
        return sum;
    }
    const char *down = part_name(graph, name, "down"), *up = part_name(graph, name, "up");
    for (x = plain_input(graph, x); branch != NULL; branch = branch->next) {
        int32_t inner = append_down(graph, down, x, branch, shape);
        struct dqg_node node = dqg_node_make(DQG_NODE_LINEAR, up, inner);
        node.weight = branch->up;
        node.addend = sum;
        node.first_output = first;
        sum = dqg_graph_append(graph, node, graph->values[inner].rows, count);
    }
    return sum;
}
