/* SPDX-License-Identifier: MIT */
/*
 * Autoencoders, which turn pictures into latents and back: what their families share, and how they are run in tiles.
 *
 * Each direction is two graphs that hand on rows of channels, pixels of the latent's size. The one at that size is
 * always run whole: it has the attention and reaches far. The one towards the picture is what takes memory and time; it
 * can be run tile by tile.
 */
#ifndef DQG_AUTOENCODER_H
#define DQG_AUTOENCODER_H

#include "model/picture_parts.h"

/* ---- for families ---- */

/* Rows of the graph's own size: from an image, or as another graph left them. */
int32_t dqg_picture_start(struct dqg_picture *picture, enum dqg_stage stage, size_t columns);

/* Build the two graphs of a direction, at a small size, to check every tensor they read. */
dqg_status dqg_picture_check(struct dqg_context *context, const struct dqg_model *model, bool decode);

/* ---- running: autoencoder.c ---- */

struct dqg_autoencode {
    bool decode;
    size_t height, width; /* of the latent */
    size_t tile;          /* side of a tile in latent pixels, without what it shares with others; 0: all in one */
    size_t overlap;       /* latent pixels that a tile reaches beyond its own on each side */
    const float *in;      /* (channels, height, width), of a latent or picture */
    float *out;           /* rows of pixels: (height, width, columns) */
};

/* Channels of what encoding gives: mean, or mean and logarithm of the variance. */
dqg_status dqg_autoencoder_columns(struct dqg_context *context, const struct dqg_model *model, size_t *columns);

/* Bytes that dqg_autoencode() allocates. */
dqg_status dqg_autoencode_bytes(struct dqg_context *context, const struct dqg_model *model,
                                const struct dqg_autoencode *job, uint64_t *bytes);

/* One picture or latent. */
dqg_status dqg_autoencode(struct dqg_context *context, const struct dqg_model *model, const struct dqg_autoencode *job);

#endif
