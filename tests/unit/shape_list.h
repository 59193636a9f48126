/* SPDX-License-Identifier: MIT */
/* Networks by the names and shapes of their tensors alone, without weights: lists of them, and what the families take
 * them for. */
#ifndef TESTS_SHAPE_LIST_H
#define TESTS_SHAPE_LIST_H

#include <stdio.h>
#include <stdlib.h>

#include "context_check.h"
#include "model/model.h"

enum { TENSORS_MAX = 2048 };

struct list {
    struct dqg_tensor_desc tensors[TENSORS_MAX];
    char names[TENSORS_MAX][160];
    size_t count;
};

static struct list list;

static inline void add_shaped(const char *prefix, const char *name, int32_t rank, const int64_t *shape) {
    struct dqg_tensor_desc *desc = &list.tensors[list.count];
    assert_true(list.count < TENSORS_MAX);
    dqg_format(list.names[list.count], sizeof list.names[0], "%s%s", prefix, name);
    *desc = (struct dqg_tensor_desc){
        .name = list.names[list.count], .dtype = DQG_DTYPE_F16, .rank = rank, .scale = 1, .type_name = "F16"};
    desc->stored_bytes = 2;
    for (int32_t i = 0; i < rank; i++) {
        desc->shape[i] = shape[i];
        desc->stored_bytes *= (uint64_t)shape[i];
    }
    desc->plane_bytes[0] = desc->stored_bytes;
    list.count++;
}

/* columns 0: a vector */
static inline void add(const char *prefix, const char *name, int64_t rows, int64_t columns) {
    const int64_t shape[] = {rows, columns};
    add_shaped(prefix, name, columns > 0 ? 2 : 1, shape);
}

static inline void add_layer(const char *prefix, const char *layers, int layer, const char *part, int64_t rows,
                             int64_t columns) {
    char name[128];
    dqg_format(name, sizeof name, "%s%d.%s", layers, layer, part);
    add(prefix, name, rows, columns);
}

static inline void add_biased(const char *prefix, const char *layers, int layer, const char *part, int64_t rows,
                              int64_t columns) {
    char name[64];
    dqg_format(name, sizeof name, "%s.weight", part);
    add_layer(prefix, layers, layer, name, rows, columns);
    dqg_format(name, sizeof name, "%s.bias", part);
    add_layer(prefix, layers, layer, name, rows, 0);
}

static inline void no_planes(void *user, const struct dqg_tensor_desc *desc, enum dqg_plane plane, void *out,
                             size_t size) {
    (void)user, (void)desc, (void)plane, (void)out, (void)size;
    fail_msg("weights were read");
}

/* A component as a model without weights, configured. */
static inline struct dqg_hyper configure(struct dqg_checkpoint *checkpoint, size_t index, uint64_t *parameters) {
    struct dqg_source view;
    struct dqg_model model = {.alloc = context->alloc, .family = checkpoint->components[index].family};
    assert_ok(dqg_checkpoint_component(context, checkpoint, index, &view));
    model.weights = calloc(view.tensor_count, sizeof *model.weights);
    model.weight_count = view.tensor_count;
    *parameters = 0;
    for (size_t i = 0; i < view.tensor_count; i++) {
        struct dqg_weight *weight = &model.weights[i];
        *weight =
            (struct dqg_weight){.name = view.tensors[i].name, .dtype = DQG_DTYPE_F16, .rank = view.tensors[i].rank};
        memcpy(weight->shape, view.tensors[i].shape, sizeof weight->shape);
        if (!dqg_matrix_size(weight->dtype, 0, weight->rank, weight->shape, &weight->size)) {
            weight->size = (struct dqg_matrix_size){0};
        }
        *parameters += dqg_weight_count(weight);
    }
    if (model.family->configure(context, &model) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    free(model.weights);
    dqg_source_close(&view);
    return model.hyper;
}

#endif
