/* SPDX-License-Identifier: MIT */
/* Configuration files of diffusers; see settings.h. */
#include "model/settings.h"

#include <math.h>

/* A size: whole, at least 1; else 0. */
static size_t read_size(struct dqg_json *json) {
    double value = 0;
    return dqg_json_number(json, &value) && value >= 1 && value <= 1 << 24 && value == (double)(size_t)value
               ? (size_t)value
               : 0;
}

/* The value that comes next: a number or a list of them. */
static size_t read_sizes(struct dqg_json *json, size_t *numbers, size_t count) {
    size_t found = 0;
    enum dqg_json_kind kind = dqg_json_peek(json);
    if (kind == DQG_JSON_NUMBER) {
        numbers[0] = read_size(json);
        return 1;
    }
    if (kind != DQG_JSON_ARRAY || !dqg_json_enter(json)) {
        return 0;
    }
    while (found < count && dqg_json_next(json)) {
        numbers[found] = read_size(json);
        found += json->error == NULL;
    }
    return found;
}

/* Where the value of a key is: at a metadata entry of its own, else in a configuration. False where there is none. */
static bool find(const struct dqg_model *model, const char *folder, const char *key, struct dqg_json *json) {
    char file[64];
    const char *text = dqg_model_find_metadata(model, key);
    if (text != NULL) {
        dqg_json_init(json, text, strlen(text));
        return true;
    }
    dqg_format(file, sizeof file, "%s/config.json", folder);
    text = dqg_model_find_metadata(model, file);
    text = text != NULL ? text : dqg_model_find_metadata(model, "config.json");
    if (text == NULL) {
        return false;
    }
    dqg_json_init(json, text, strlen(text));
    return dqg_json_seek(json, key);
}

size_t dqg_model_settings(const struct dqg_model *model, const char *folder, const char *key, size_t *numbers,
                          size_t count) {
    struct dqg_json json;
    return find(model, folder, key, &json) ? read_sizes(&json, numbers, count) : 0;
}

bool dqg_model_number(const struct dqg_model *model, const char *folder, const char *key, double *number) {
    struct dqg_json json;
    return find(model, folder, key, &json) && dqg_json_peek(&json) == DQG_JSON_NUMBER &&
           dqg_json_number(&json, number) && isfinite(*number);
}

bool dqg_model_setting_is(const struct dqg_model *model, const char *file, const char *key, const char *value) {
    struct dqg_json json;
    const char *text = dqg_model_find_metadata(model, file);
    if (text == NULL) {
        return false;
    }
    dqg_json_init(&json, text, strlen(text));
    return dqg_json_seek(&json, key) && dqg_json_is(&json, value);
}
