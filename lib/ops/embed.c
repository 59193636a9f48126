/* SPDX-License-Identifier: MIT */
/* Embeddings and patches: small or memory-bound work on the calling thread. */
#include <math.h>

#include "ops/ops.h"

void dqg_op_timestep(float *out, const double *timesteps, size_t samples, size_t width) {
    size_t half = width / 2;
    for (size_t s = 0; s < samples; s++) {
        float *row = out + s * width;
        if (s > 0 && timesteps[s] == timesteps[s - 1]) { /* as a rule, all samples are at the same time */
            memcpy(row, row - width, width * sizeof(float));
            continue;
        }
        for (size_t k = 0; k < half; k++) {
            double angle = timesteps[s] * exp(-log(10000.0) * (double)k / (double)half);
            row[k] = (float)cos(angle);
            row[half + k] = (float)sin(angle);
        }
    }
}

void dqg_op_label(const struct dqg_ops *ops, float *out, const float *in, const struct dqg_weight *table,
                  const int32_t *labels, size_t samples) {
    size_t columns = table->size.columns;
    for (size_t s = 0; s < samples; s++) {
        size_t row = labels[s] >= 0 ? (size_t)labels[s] : table->size.rows - 1;
        float *to = out + s * columns;
        dqg_weight_decode_rows(table, row, 1, to, ops->scratch);
        for (size_t i = 0; i < columns; i++) {
            to[i] += in[s * columns + i];
        }
    }
}

void dqg_op_patchify(float *rows, const float *images, const struct dqg_patches *args) {
    size_t patch = args->patch;
    for (size_t s = 0; s < args->samples; s++) {
        for (size_t y = 0; y < args->height; y += patch) {
            for (size_t x = 0; x < args->width; x += patch) {
                for (size_t c = 0; c < args->channels; c++) {
                    for (size_t p = 0; p < patch; p++) {
                        size_t line = (s * args->channels + c) * args->height + y + p;
                        memcpy(rows, images + line * args->width + x, patch * sizeof(float));
                        rows += patch;
                    }
                }
            }
        }
    }
}

void dqg_op_unpatchify(float *images, const float *rows, const struct dqg_patches *args) {
    size_t patch = args->patch;
    for (size_t s = 0; s < args->samples; s++) {
        for (size_t y = 0; y < args->height; y += patch) {
            for (size_t x = 0; x < args->width; x += patch) {
                for (size_t p = 0; p < patch; p++) {
                    for (size_t q = 0; q < patch; q++) {
                        for (size_t c = 0; c < args->channels; c++) {
                            size_t line = (s * args->channels + c) * args->height + y + p;
                            images[line * args->width + x + q] = *rows++;
                        }
                    }
                }
            }
        }
    }
}
