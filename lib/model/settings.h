/* SPDX-License-Identifier: MIT */
/* What the configuration files say that diffusers writes beside weights. They are metadata of folders, under their
 * paths. */
#ifndef DQG_SETTINGS_H
#define DQG_SETTINGS_H

#include "model/model.h"

/*
 * Numbers under a key: one, or a list, of which count at most. They are in the metadata "<folder>/config.json", else
 * "config.json", else in a metadata entry of that key. Returns how many there are, 0 where nothing or null is said.
 * Numbers that are no sizes are 0.
 */
size_t dqg_model_settings(const struct dqg_model *model, const char *folder, const char *key, size_t *numbers,
                          size_t count);

/* Does the metadata file, a JSON object, have this text under a key? False where there is no such file. */
bool dqg_model_setting_is(const struct dqg_model *model, const char *file, const char *key, const char *value);

#endif
