/* SPDX-License-Identifier: MIT */
/* What the configuration files say that diffusers writes beside weights. They are metadata of folders, under their
 * paths. */
#ifndef DQG_SETTINGS_H
#define DQG_SETTINGS_H

#include "model/model.h"

/*
 * Numbers under a key: one, or a list, of which count at most. They are in a metadata entry of that key, else in
 * "<folder>/config.json", else in "config.json". Returns how many there are, 0 where nothing or null is said.
 * Numbers that are no sizes are 0.
 */
size_t dqg_model_settings(const struct dqg_model *model, const char *folder, const char *key, size_t *numbers,
                          size_t count);

/* A single number found in the same way, whole or not. */
bool dqg_model_number(const struct dqg_model *model, const char *folder, const char *key, double *number);

/* Does the metadata file, a JSON object, have this text under a key? False where there is no such file. */
bool dqg_model_setting_is(const struct dqg_model *model, const char *file, const char *key, const char *value);

#endif
