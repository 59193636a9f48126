/* SPDX-License-Identifier: MIT */
/*
 * Parts of graphs whose weights are found by name and checked while they are built: convolutions and norms of pictures,
 * products and norms of rows. Used by the families of autoencoders and U-Nets.
 */
#ifndef DQG_PICTURE_PARTS_H
#define DQG_PICTURE_PARTS_H

#include "model/model.h"

struct dqg_picture {
    const struct dqg_model *model;
    struct dqg_graph *graph;
    size_t height, width; /* of the rows in hand */
};

enum dqg_picture_conv {
    DQG_CONV_SAME,
    DQG_CONV_HALF,     /* stride 2, a border all around */
    DQG_CONV_HALF_END, /* stride 2, a border at the right and bottom only */
    DQG_CONV_DOUBLE    /* after doubling by the nearest pixel */
};

/* "<prefix>.<part>" where it is a tensor, or NULL. */
const struct dqg_weight *dqg_picture_find(const struct dqg_model *model, const char *prefix, const char *part);

/* A name that lives as long as the graph. */
const char *dqg_picture_name(struct dqg_picture *picture, const char *prefix, const char *part);

/* Notes that a tensor "<prefix>.<part>" cannot be used, and what is wrong with it; returns x. */
int32_t dqg_picture_fail(struct dqg_picture *picture, const char *prefix, const char *part, const char *what,
                         int32_t x);

/* Each returns x and marks the graph as failed where a tensor is missing or does not fit. A bias that is not needed is
 * added where there is one. */
int32_t dqg_picture_conv(struct dqg_picture *picture, const char *prefix, int32_t x, enum dqg_picture_conv form,
                         bool needs_bias);
/* Of form DQG_CONV_SAME; addend has a row for each sample, which is added to all its pixels. */
int32_t dqg_picture_conv_added(struct dqg_picture *picture, const char *prefix, int32_t x, int32_t addend);
int32_t dqg_picture_norm(struct dqg_picture *picture, const char *prefix, int32_t x, size_t groups, float epsilon,
                         enum dqg_activation activation);
/* Products and layer norms of rows, whatever these stand for. */
int32_t dqg_picture_linear(struct dqg_picture *picture, const char *prefix, int32_t x, bool needs_bias);
int32_t dqg_picture_layer_norm(struct dqg_picture *picture, const char *prefix, int32_t x, float epsilon);

#endif
