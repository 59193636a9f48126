/* SPDX-License-Identifier: MIT */
/* PixArt's names in other programs, and its published variants, which weights alone do not tell apart. */
#ifndef DQG_PIXART_H
#define DQG_PIXART_H

#include "model/model.h"

bool dqg_pixart_rename(const char *name, struct dqg_rename *to);

/* Set what depends on the variant: the latent's sides, tokens of the context, scale of latents, step of positions. Of
 * hyper, patch must be set. Fails, with the choices named, where nothing tells which it is. */
dqg_status dqg_pixart_find_variant(struct dqg_context *context, struct dqg_model *model);

#endif
