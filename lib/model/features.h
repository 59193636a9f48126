/* SPDX-License-Identifier: MIT */
/* What a block of a network makes of images, as features: evaluation up to that block, pooling. */
#ifndef DQG_FEATURES_H
#define DQG_FEATURES_H

#include "model/model.h"

/* Features (columns, pool, pool) of a sample's rows (height, width, columns): means of cells that share the rows as
 * evenly as can be and overlap where they do not divide, as adaptive pooling does. */
void dqg_features_pool(float *out, const float *rows, size_t height, size_t width, size_t columns, size_t pool);

/* The grid of a block's rows: the graph's, or one of a U-Net's halvings of it. False where it is none of them. */
bool dqg_features_grid(const struct dqg_graph *graph, size_t rows, size_t *height, size_t *width);

/* Run operators up to the one that makes value. */
dqg_status dqg_features_run(struct dqg_exec *exec, const struct dqg_exec_io *io, int32_t value);

#endif
