/* SPDX-License-Identifier: MIT */
/*
 * Networks with random weights for dqgen bench: the published sizes of DiT, in any storage format. Speed does not
 * depend on what the weights are, so that no file is needed.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_ops.h"

static const struct random_network {
    const char *name;
    int64_t hidden, depth;
} networks[] = {{"dit-xl2", 1152, 28}, {"dit-l2", 1024, 24}, {"dit-b2", 768, 12}, {"dit-s2", 384, 12}};

enum { CHANNELS = 4, PATCH = 2, GRID = 16, CLASSES = 1000, FREQUENCIES = 256, NAME_SIZE = 64 };

struct list {
    dqg_tensor_info *tensors;
    char (*names)[NAME_SIZE];
    int32_t count;
    const struct storage_format *format; /* of the matrices of blocks */
    int32_t group;
};

const char *random_network_name(size_t index) {
    return index < COUNT_OF(networks) ? networks[index].name : NULL;
}

static dqg_tensor_info *add(struct list *list, int32_t dtype, int32_t rank, const char *prefix, const char *name) {
    dqg_tensor_info *tensor = &list->tensors[list->count];
    char *text = list->names[list->count++];
    snprintf(text, NAME_SIZE, "%s%s", prefix, name);
    DQG_INIT(tensor);
    tensor->name = text;
    tensor->dtype = dtype;
    tensor->rank = rank;
    return tensor;
}

/* A matrix and its bias. Those outside of blocks are F16, as the quantizer stores them. */
static void add_linear(struct list *list, bool in_block, const char *prefix, const char *name, int64_t outputs,
                       int64_t inputs) {
    char part[NAME_SIZE];
    snprintf(part, sizeof(part), "%s.weight", name);
    dqg_tensor_info *weight = add(list, in_block ? list->format->dtype : DQG_DTYPE_F16, 2, prefix, part);
    weight->group = in_block ? list->group : 0;
    weight->shape[0] = outputs;
    weight->shape[1] = inputs;
    snprintf(part, sizeof(part), "%s.bias", name);
    add(list, DQG_DTYPE_F32, 1, prefix, part)->shape[0] = outputs;
}

static void add_all(struct list *list, const struct random_network *network) {
    int64_t d = network->hidden;
    dqg_tensor_info *proj = add(list, DQG_DTYPE_F16, 4, "x_embedder.", "proj.weight");
    proj->shape[0] = d;
    proj->shape[1] = CHANNELS;
    proj->shape[2] = proj->shape[3] = PATCH;
    add(list, DQG_DTYPE_F32, 1, "x_embedder.", "proj.bias")->shape[0] = d;
    add_linear(list, false, "t_embedder.", "mlp.0", d, FREQUENCIES);
    add_linear(list, false, "t_embedder.", "mlp.2", d, d);
    dqg_tensor_info *table = add(list, DQG_DTYPE_F16, 2, "y_embedder.", "embedding_table.weight");
    table->shape[0] = CLASSES + 1;
    table->shape[1] = d;
    dqg_tensor_info *positions = add(list, DQG_DTYPE_F16, 3, "", "pos_embed");
    positions->shape[0] = 1;
    positions->shape[1] = GRID * GRID;
    positions->shape[2] = d;
    for (int64_t i = 0; i < network->depth; i++) {
        char prefix[32];
        snprintf(prefix, sizeof(prefix), "blocks.%d.", (int)i);
        add_linear(list, true, prefix, "attn.qkv", 3 * d, d);
        add_linear(list, true, prefix, "attn.proj", d, d);
        add_linear(list, true, prefix, "mlp.fc1", 4 * d, d);
        add_linear(list, true, prefix, "mlp.fc2", d, 4 * d);
        add_linear(list, true, prefix, "adaLN_modulation.1", 6 * d, d);
    }
    add_linear(list, false, "final_layer.", "linear", PATCH * PATCH * 2 * CHANNELS, d);
    add_linear(list, false, "final_layer.", "adaLN_modulation.1", 2 * d, d);
}

dqg_model *random_network(struct cli *cli, const char *name, const char *format, int64_t group, int *exit_code) {
    const struct random_network *network = networks;
    while (strcmp(network->name, name) != 0) {
        network++;
    }
    struct list list = {.format = storage_find(format)};
    if (list.format == NULL) {
        *exit_code = cli_error(cli, EXIT_USAGE, "--format does not know '%s'", format);
        return NULL;
    }
    list.group = !list.format->grouped ? 0 : group > 0 ? (int32_t)group : 64;
    size_t most = 12 + 10 * (size_t)network->depth;
    list.tensors = calloc(most, sizeof(*list.tensors));
    list.names = calloc(most, sizeof(*list.names));
    dqg_model *model = NULL;
    dqg_status status = DQG_ERROR_MEMORY;
    if (list.tensors != NULL && list.names != NULL) {
        add_all(&list, network);
        progress_begin(&cli->progress, "making weights");
        status = dqg_measure_model(cli->context, list.tensors, list.count, &model);
        progress_end(&cli->progress);
    }
    *exit_code = status < 0 ? cli_library_error(cli, status, "make the network %s", name) : EXIT_OK;
    free(list.tensors);
    free(list.names);
    return model;
}
