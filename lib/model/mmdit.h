/* SPDX-License-Identifier: MIT */
/* Names of tensors of MMDiT networks in other programs; see struct dqg_family. */
#ifndef DQG_MMDIT_H
#define DQG_MMDIT_H

#include "model/model.h"

bool dqg_mmdit_rename(const struct dqg_source *source, const char *prefix, const char *name, struct dqg_rename *to);

#endif
