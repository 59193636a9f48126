/* SPDX-License-Identifier: MIT */
/*
 * A control network inside the graph of the U-Net that it controls: built block by block along with it, so that what
 * its blocks give needs no memory longer than it must. Called by unet_parts.c and arch_unet.c.
 */
#ifndef DQG_CONTROL_H
#define DQG_CONTROL_H

#include "model/unet_parts.h"

struct dqg_control {
    struct dqg_unet unet; /* its own way down and middle */
    int32_t x;            /* rows in hand */
    int32_t hint;         /* what the picture became */
    int32_t gate;         /* (samples, any width): the scale, in all columns */
};

/* What depends on the prompt and the picture alone. context: rows, or DQG_NO_VALUE. The graph has been made. */
dqg_status dqg_control_init(struct dqg_control *control, const struct dqg_model *model, struct dqg_graph *graph,
                            int32_t context);

/* The time, then rows of the latent. */
void dqg_control_start(struct dqg_control *control, int32_t x);

/* Go on by a block, or the middle. Returns x with what is added to the U-Net's result there; with DQG_NO_VALUE that
 * alone. */
int32_t dqg_control_block(struct dqg_control *control, size_t block, int32_t x);
int32_t dqg_control_middle(struct dqg_control *control, int32_t x);

#endif
