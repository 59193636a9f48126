/* SPDX-License-Identifier: MIT */
/* Shared by the files of FLUX.1: arch_flux.c, names_flux.c, rope_flux.c. */
#ifndef DQG_FLUX_H
#define DQG_FLUX_H

#include "model/model.h"

#define DQG_FLUX_DOUBLE "double_blocks.#."
#define DQG_FLUX_SINGLE "single_blocks.#."

bool dqg_flux_rename(const char *name, struct dqg_rename *to);

/*
 * Sets hyper.axes, how the columns of a head of this width are shared by the three axes of a position: (16, 56, 56) for
 * 128 columns. 'axes_dims_rope' of the metadata or of diffusers' configuration says otherwise; other widths without it
 * have shares in this proportion. Fails where they are not even, or not the width together.
 */
dqg_status dqg_flux_axes(struct dqg_context *context, struct dqg_model *model, size_t width);

/*
 * Cosines and sines of all angles: of the image's tokens, at position (0, row, column), then of the text's, at (0, 0,
 * 0); [tokens + context_tokens][width / 2] each. The graph owns them; NULL where memory is short, which it notes.
 */
struct dqg_flux_angles {
    const float *cosine, *sine;
};
struct dqg_flux_angles dqg_flux_angles(struct dqg_graph *graph, const size_t axes[3]);

#endif
