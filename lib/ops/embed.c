/* SPDX-License-Identifier: MIT */
/* Embeddings on the calling thread, and patches: a sample each to a lane. */
#include <math.h>

#include "ops/ops.h"

void dqg_op_timestep(float *out, const double *numbers, size_t count, double factor, size_t width) {
    size_t half = width / 2;
    for (size_t i = 0; i < count; i++) {
        float *row = out + i * width;
        if (i > 0 && numbers[i] == numbers[i - 1]) { /* as a rule, all samples are at the same time */
            memcpy(row, row - width, width * sizeof(float));
            continue;
        }
        for (size_t k = 0; k < half; k++) {
            double angle = factor * numbers[i] * exp(-log(10000.0) * (double)k / (double)half);
            row[k] = (float)cos(angle);
            row[half + k] = (float)sin(angle);
        }
    }
}

enum { CHUNK_TOKENS = 16 };

struct tokens_task {
    const struct dqg_ops *ops;
    const struct dqg_tokens *args;
};

static void tokens_chunk(void *argument, size_t index, size_t lane) {
    const struct tokens_task *task = argument;
    const struct dqg_tokens *args = task->args;
    size_t rows = args->table->size.rows, columns = args->table->size.columns;
    size_t end = dqg_min_size((index + 1) * CHUNK_TOKENS, args->count);
    for (size_t i = index * CHUNK_TOKENS; i < end; i++) {
        float *out = args->out + i * columns;
        size_t row = args->tokens[i] >= 0 ? (size_t)args->tokens[i] : rows - 1;
        if (row >= rows && row - rows < args->added_count) {
            memcpy(out, args->added + (row - rows) * columns, columns * sizeof *out);
        } else {
            dqg_weight_decode_rows(args->table, dqg_min_size(row, rows - 1), 1, out,
                                   task->ops->scratch + lane * task->ops->lane_bytes);
        }
    }
}

void dqg_op_tokens(const struct dqg_ops *ops, const struct dqg_tokens *args) {
    struct tokens_task task = {ops, args};
    dqg_parallel(ops->context, (args->count + CHUNK_TOKENS - 1) / CHUNK_TOKENS, tokens_chunk, &task);
}

void dqg_op_label(const struct dqg_ops *ops, float *out, const float *in, const struct dqg_weight *table, size_t null,
                  const int32_t *labels, size_t samples) {
    size_t columns = table->size.columns;
    for (size_t s = 0; s < samples; s++, in += columns, out += columns) {
        size_t row = labels[s] >= 0 ? (size_t)labels[s] : null;
        if (row >= table->size.rows) {
            memcpy(out, in, columns * sizeof *out);
            continue;
        }
        dqg_weight_decode_rows(table, row, 1, out, ops->scratch);
        for (size_t i = 0; i < columns; i++) {
            out[i] += in[i];
        }
    }
}

struct patch_task {
    struct dqg_patches shape;
    float *out;
    const float *in;
    size_t values; /* of one sample, in the image */
};

/* One patch in the order (p, q, c); image: its first pixel. */
static void patch_by_pixels(float *row, const float *image, const struct dqg_patches *args) {
    size_t plane = args->height * args->width;
    for (size_t p = 0; p < args->patch; p++) {
        for (size_t q = 0; q < args->patch; q++, row += args->pixel_padded) {
            memset(row, 0, args->pixel_padded * sizeof *row);
            for (size_t c = 0; c < args->channels; c++) {
                row[c] = image[c * plane + p * args->width + q];
            }
        }
    }
}

/* One patch in the order (c, p, q). */
static void patch_by_channels(float *row, const float *image, const struct dqg_patches *args) {
    for (size_t c = 0; c < args->channels; c++) {
        for (size_t p = 0; p < args->patch; p++, row += args->patch) {
            memcpy(row, image + (c * args->height + p) * args->width, args->patch * sizeof *row);
        }
    }
}

static void patchify_sample(void *argument, size_t index, size_t lane) {
    const struct patch_task *task = argument;
    const struct dqg_patches *args = &task->shape;
    const float *image = task->in + index * task->values;
    size_t patch = args->patch;
    size_t columns = patch * patch * (args->pixel_padded > 0 ? args->pixel_padded : args->channels);
    float *row = task->out + index * (args->height / patch) * (args->width / patch) * columns;
    (void)lane;
    for (size_t y = 0; y < args->height; y += patch) {
        for (size_t x = 0; x < args->width; x += patch, row += columns) {
            const float *first = image + y * args->width + x;
            if (args->pixel_padded > 0) {
                patch_by_pixels(row, first, args);
            } else {
                patch_by_channels(row, first, args);
            }
        }
    }
}

/* A row in the order (c, p, q) to the patch whose first pixel this is. */
static void unpatch_by_channels(float *image, const float *row, const struct dqg_patches *args) {
    for (size_t c = 0; c < args->channels; c++) {
        for (size_t p = 0; p < args->patch; p++, row += args->patch) {
            memcpy(image + (c * args->height + p) * args->width, row, args->patch * sizeof *row);
        }
    }
}

/* The same in the order (p, q, c). */
static void unpatch_by_pixels(float *image, const float *row, const struct dqg_patches *args) {
    for (size_t p = 0; p < args->patch; p++) {
        for (size_t q = 0; q < args->patch; q++) {
            for (size_t c = 0; c < args->channels; c++) {
                image[(c * args->height + p) * args->width + q] = *row++;
            }
        }
    }
}

static void unpatchify_sample(void *argument, size_t index, size_t lane) {
    const struct patch_task *task = argument;
    const struct dqg_patches *args = &task->shape;
    size_t patch = args->patch, grid = args->width / patch, columns = patch * patch * args->channels;
    size_t count = args->tokens != NULL ? args->token_count : args->height / patch * grid;
    float *image = task->out + index * task->values;
    (void)lane;
    for (size_t i = 0; i < count; i++) {
        size_t token = args->tokens != NULL ? (size_t)args->tokens[index * count + i] : i;
        float *first = image + (token / grid * args->width + token % grid) * patch;
        const float *row = task->in + (index * count + i) * columns;
        if (args->by_channels) {
            unpatch_by_channels(first, row, args);
        } else {
            unpatch_by_pixels(first, row, args);
        }
    }
}

static struct patch_task patch_task(float *out, const float *in, const struct dqg_patches *args) {
    return (struct patch_task){*args, out, in, args->channels * args->height * args->width};
}

void dqg_op_patchify(const struct dqg_ops *ops, float *rows, const float *images, const struct dqg_patches *args) {
    struct patch_task task = patch_task(rows, images, args);
    dqg_parallel(ops->context, args->samples, patchify_sample, &task);
}

void dqg_op_unpatchify(const struct dqg_ops *ops, float *images, const float *rows, const struct dqg_patches *args) {
    struct patch_task task = patch_task(images, rows, args);
    dqg_parallel(ops->context, args->samples, unpatchify_sample, &task);
}
