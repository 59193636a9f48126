/* SPDX-License-Identifier: MIT */
/*
 * Parts of the U-Nets of latent diffusion: blocks by their numbers, the path down, the middle, the path up, under the
 * names of the authors' code. arch_unet.c makes a denoiser of them; a control network is the way down and the middle.
 *
 * Order of a graph: everything that depends on the prompt alone (dqg_unet_constants, and what its caller adds to the
 * time), then what depends on the time (dqg_unet_time), then the rows of the latent. Nothing in front of the first
 * operator that reads timesteps changes between the steps of a run.
 */
#ifndef DQG_UNET_PARTS_H
#define DQG_UNET_PARTS_H

#include "model/picture_parts.h"

enum { DQG_UNET_LEVELS = 8, DQG_UNET_SKIPS = 64, DQG_UNET_NAME = 192 };

/* A result of the path down that the path up reads. */
struct dqg_unet_skip {
    int32_t value;
    size_t height, width;
};

struct dqg_unet {
    struct dqg_picture picture;    /* model, graph, size of the rows in hand */
    size_t heads[DQG_UNET_LEVELS]; /* of the metadata, by level; 0: as the projections say */
    size_t level;                  /* of the rows in hand: 0 has the latent's size */
    int32_t *times;                /* [ResBlocks]: projections of the time, in the order of execution */
    int32_t *keys;                 /* [layers][2]: keys and values of cross-attention, likewise */
    size_t residual, layer;        /* the next ResBlock and transformer layer */
    const int32_t *residuals;      /* of a control network, or NULL: added to each skip, then to the middle's result */
    struct dqg_unet_skip skips[DQG_UNET_SKIPS];
    size_t skip_count;
};

/* Sets up unet and graph, with room for extra more operators. folder: of the network in a checkpoint of diffusers. */
dqg_status dqg_unet_init(struct dqg_unet *unet, const struct dqg_model *model, struct dqg_graph *graph,
                         const char *folder, int32_t extra);

/* Keys and values of all cross-attention, of rows of the context. */
void dqg_unet_constants(struct dqg_unet *unet, int32_t context);

/* Sinusoids of the timestep through time_embed; plus addend, (samples, width), or DQG_NO_VALUE; activated and projected
 * for all ResBlocks. */
void dqg_unet_time(struct dqg_unet *unet, int32_t addend);

/* x: rows of the latent's pixels. hint: rows that are added to the first block's result, or DQG_NO_VALUE. Fills skips
 * in order; returns the last result, without residual. */
int32_t dqg_unet_down(struct dqg_unet *unet, int32_t x, int32_t hint);
int32_t dqg_unet_middle(struct dqg_unet *unet, int32_t x);
int32_t dqg_unet_up(struct dqg_unet *unet, int32_t x);

/* What names and shapes of tensors tell of the whole; 0: there is no such thing. */
struct dqg_unet_sizes {
    size_t context;        /* columns of its rows */
    size_t label;          /* columns of the row that label_emb takes */
    size_t layers, middle; /* of all transformers; the one in the middle of middle_block, in the order of execution */
};
struct dqg_unet_sizes dqg_unet_measure(const struct dqg_model *model);

/* ---- names_unet.c ---- */

/* The family's own name of a tensor, which diffusers counts by level: other tensors of source behind prefix say how
 * many blocks a level has. */
bool dqg_unet_rename(const struct dqg_source *source, const char *prefix, const char *name, struct dqg_rename *to);
bool dqg_unet_rename_loaded(const struct dqg_model *model, const char *name, struct dqg_rename *to);

#endif
