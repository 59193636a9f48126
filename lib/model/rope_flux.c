/* SPDX-License-Identifier: MIT */
/*
 * FLUX.1's rotary position embedding (arXiv 2104.09864) with three axes: each has some of the columns of a head, in
 * order, whose neighbours i and i + 1 turn by position * 10000^(-i / columns of the axis). Called by arch_flux.c.
 */
#include <math.h>

#include "model/flux.h"
#include "support/json.h"

enum { AXES = DQG_COUNT_OF(((struct dqg_hyper *)0)->axes) };

static const char key[] = "axes_dims_rope";

/* ---- axes ---- */

static bool read_list(struct dqg_json *json, size_t axes[AXES]) {
    size_t count = 0;
    int64_t value;
    if (!dqg_json_enter(json)) {
        return false;
    }
    while (dqg_json_next(json)) {
        if (count == AXES || !dqg_json_int(json, &value) || value < 0 || value > 1 << 16) {
            return false;
        }
        axes[count++] = (size_t)value;
    }
    return json->error == NULL && count == AXES;
}

/* Go to the value of the key in an object; false where it has none. */
static bool find_member(struct dqg_json *json, struct dqg_model *model) {
    const char *name;
    if (!dqg_json_enter(json)) {
        return false;
    }
    while (dqg_json_next(json) && dqg_json_key(json, &model->alloc, &model->arena, &name)) {
        if (strcmp(name, key) == 0) {
            return true;
        }
        dqg_json_skip(json);
    }
    return false;
}

/* Where the metadata tell of the axes, json goes there. */
static bool find_axes(struct dqg_model *model, struct dqg_json *json) {
    static const char *const files[] = {"transformer/config.json", "config.json"};
    const char *text = dqg_model_find_metadata(model, key);
    if (text != NULL) {
        dqg_json_init(json, text, strlen(text));
        return true;
    }
    for (size_t i = 0; i < DQG_COUNT_OF(files); i++) {
        text = dqg_model_find_metadata(model, files[i]);
        if (text != NULL) {
            dqg_json_init(json, text, strlen(text));
            return find_member(json, model);
        }
    }
    return false;
}

dqg_status dqg_flux_axes(struct dqg_context *context, struct dqg_model *model, size_t width) {
    size_t *axes = model->hyper.axes, sum = 0;
    struct dqg_json json;
    axes[1] = axes[2] = width * 7 / 32 * 2;
    axes[0] = width - axes[1] - axes[2];
    bool valid = !find_axes(model, &json) || read_list(&json, axes);
    for (size_t i = 0; i < AXES; i++) {
        valid = valid && axes[i] % 2 == 0;
        sum += axes[i];
    }
    if (!valid || sum != width) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "heads of %zu columns: '%s' must be %d even numbers that are %zu together", width, key,
                        (int)AXES, width);
    }
    return DQG_OK;
}

/* ---- angles ---- */

static void turn(float *cosine, float *sine, const size_t axes[AXES], const size_t position[AXES]) {
    for (size_t axis = 0; axis < AXES; axis++) {
        for (size_t i = 0; i < axes[axis]; i += 2) {
            double angle = (double)position[axis] * pow(10000.0, -(double)i / (double)axes[axis]);
            *cosine++ = (float)cos(angle);
            *sine++ = (float)sin(angle);
        }
    }
}

struct dqg_flux_angles dqg_flux_angles(struct dqg_graph *graph, const size_t axes[AXES]) {
    size_t half = (axes[0] + axes[1] + axes[2]) / 2, rows, count, columns = graph->width / graph->patch;
    float *table = NULL;
    if (dqg_add_size(graph->tokens, graph->context_tokens, &rows) &&
        dqg_mul_size(rows, 2 * half * sizeof *table, &count)) {
        table = dqg_arena_alloc(&graph->context->alloc, &graph->arena, count);
    }
    if (table == NULL) {
        graph->failed = true;
        return (struct dqg_flux_angles){NULL, NULL};
    }
    for (size_t row = 0; row < rows; row++) {
        bool image = row < graph->tokens;
        const size_t position[AXES] = {0, image ? row / columns : 0, image ? row % columns : 0};
        turn(table + row * half, table + (rows + row) * half, axes, position);
    }
    return (struct dqg_flux_angles){table, table + rows * half};
}
