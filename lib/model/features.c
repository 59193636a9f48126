/* SPDX-License-Identifier: MIT */
/* Features of images: evaluation that ends early, and adaptive average pooling. */
#include "model/features.h"

/* The mean of channel c over rows [y0, y1) and columns [x0, x1) of the grid. */
static float cell(const float *rows, size_t width, size_t columns, const size_t y[2], const size_t x[2], size_t c) {
    double sum = 0;
    for (size_t row = y[0]; row < y[1]; row++) {
        for (size_t column = x[0]; column < x[1]; column++) {
            sum += rows[(row * width + column) * columns + c];
        }
    }
    return (float)(sum / (double)((y[1] - y[0]) * (x[1] - x[0])));
}

void dqg_features_pool(float *out, const float *rows, size_t height, size_t width, size_t columns, size_t pool) {
    for (size_t c = 0; c < columns; c++) {
        for (size_t i = 0; i < pool; i++) {
            const size_t y[2] = {i * height / pool, ((i + 1) * height + pool - 1) / pool};
            for (size_t j = 0; j < pool; j++) {
                const size_t x[2] = {j * width / pool, ((j + 1) * width + pool - 1) / pool};
                *out++ = cell(rows, width, columns, y, x, c);
            }
        }
    }
}

bool dqg_features_grid(const struct dqg_graph *graph, size_t rows, size_t *height, size_t *width) {
    *height = graph->height / graph->patch;
    *width = graph->width / graph->patch;
    while (*height * *width > rows && *height % 2 == 0 && *width % 2 == 0) {
        *height /= 2;
        *width /= 2;
    }
    return *height * *width == rows;
}

dqg_status dqg_features_run(struct dqg_exec *exec, const struct dqg_exec_io *io, int32_t value) {
    int32_t end = exec->graph->values[value].producer + 1;
    dqg_exec_restart(exec);
    while (exec->next < end) {
        dqg_status status = dqg_exec_next(exec, io);
        if (status != DQG_PENDING) {
            return status;
        }
    }
    return DQG_OK;
}
