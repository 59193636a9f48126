/* SPDX-License-Identifier: MIT */
/* Numbers that a file tells of its networks beside their tensors: as metadata of its own, or in the config.json of each
 * network of a folder that diffusers wrote, which is metadata too. */
#include <math.h>

#include "model/model.h"

/* The member of a JSON object with this key, where it is a number. */
static bool find_number(const struct dqg_alloc *alloc, const char *text, const char *key, double *number) {
    struct dqg_arena arena = {0};
    struct dqg_json json;
    const char *name;
    bool found = false;
    dqg_json_init(&json, text, strlen(text));
    if (dqg_json_peek(&json) == DQG_JSON_OBJECT && dqg_json_enter(&json)) {
        while (!found && dqg_json_next(&json) && dqg_json_key(&json, alloc, &arena, &name)) {
            if (strcmp(name, key) == 0 && dqg_json_peek(&json) == DQG_JSON_NUMBER) {
                found = dqg_json_number(&json, number);
            } else if (!dqg_json_skip(&json)) {
                break;
            }
        }
    }
    dqg_arena_free(alloc, &arena);
    return found && isfinite(*number);
}

bool dqg_model_number(const struct dqg_model *model, const char *folder, const char *key, double *number) {
    char name[64];
    struct dqg_json json;
    const char *text = dqg_model_find_metadata(model, key);
    if (text != NULL) {
        dqg_json_init(&json, text, strlen(text));
        return dqg_json_peek(&json) == DQG_JSON_NUMBER && dqg_json_number(&json, number) && isfinite(*number);
    }
    dqg_format(name, sizeof name, "%s/config.json", folder);
    text = dqg_model_find_metadata(model, name);
    text = text != NULL ? text : dqg_model_find_metadata(model, "config.json");
    return text != NULL && find_number(&model->alloc, text, key, number);
}
