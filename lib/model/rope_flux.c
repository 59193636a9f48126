/* SPDX-License-Identifier: MIT */
/*
 * FLUX.1's rotary position embedding (arXiv 2104.09864) with three axes: each has some of the columns of a head, in
 * order, whose neighbours i and i + 1 turn by position * 10000^(-i / columns of the axis). Called by arch_flux.c.
 */
#include <math.h>

#include "model/flux.h"
#include "model/settings.h"

enum { AXES = DQG_COUNT_OF(((struct dqg_hyper *)0)->axes) };

static const char key[] = "axes_dims_rope";

dqg_status dqg_flux_axes(struct dqg_context *context, struct dqg_model *model, size_t width) {
    size_t *axes = model->hyper.axes, sum = 0;
    axes[1] = axes[2] = width * 7 / 32 * 2;
    axes[0] = width - axes[1] - axes[2];
    size_t found = dqg_model_settings(model, "transformer", key, axes, AXES);
    bool even = found == 0 || found == AXES;
    for (size_t i = 0; i < AXES; i++) {
        even = even && axes[i] % 2 == 0;
        sum += axes[i];
    }
    if (!even || sum != width) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "heads of %zu columns: '%s' must be %d even numbers that are %zu together", width, key,
                        (int)AXES, width);
    }
    return DQG_OK;
}

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
