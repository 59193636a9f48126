/* SPDX-License-Identifier: MIT */
/*
 * Operators that move values without computing: rows put together and taken out, images resized to the
 * nearest pixel or averaged. All are bound by memory; a chunk of rows or a line of an image goes to a lane.
 */
#include "ops/ops.h"

enum { CHUNK_ROWS = 16 };

/* ---- rows of samples ---- */

struct rows_task {
    const struct dqg_row_copy *args;
    size_t chunks; /* of a sample */
};

static void copy_sample_chunk(void *argument, size_t index, size_t lane) {
    const struct rows_task *task = argument;
    const struct dqg_row_copy *args = task->args;
    size_t sample = index / task->chunks, first = index % task->chunks * CHUNK_ROWS;
    size_t rows = dqg_min_size(CHUNK_ROWS, args->count - first);
    float *y = args->y + (sample * args->y_rows + args->y_first + first) * args->ldy;
    const float *x = args->x + (sample * args->x_rows + args->x_first + first) * args->ldx;
    (void)lane;
    for (size_t row = 0; row < rows; row++) {
        memcpy(y + row * args->ldy, x + row * args->ldx, args->columns * sizeof *y);
    }
}

void dqg_op_copy_rows(const struct dqg_ops *ops, const struct dqg_row_copy *args) {
    struct rows_task task = {args, (args->count + CHUNK_ROWS - 1) / CHUNK_ROWS};
    dqg_parallel(ops->context, args->samples * task.chunks, copy_sample_chunk, &task);
}

void dqg_op_copy_columns(const struct dqg_ops *ops, float *y, size_t ldy, const float *x, size_t ldx, size_t rows,
                         size_t columns) {
    const struct dqg_row_copy args = {
        .y = y, .x = x, .ldy = ldy, .ldx = ldx, .samples = 1, .count = rows, .columns = columns};
    dqg_op_copy_rows(ops, &args);
}

/* ---- images ---- */

struct resize_task {
    const struct dqg_resize *args;
};

/* One line of the result. Nearest: pixel i comes from floor(i * from / to). */
static void resize_line(void *argument, size_t index, size_t lane) {
    const struct dqg_resize *args = ((struct resize_task *)argument)->args;
    size_t sample = index / args->out_height, line = index % args->out_height;
    size_t from = sample * args->height + line * args->height / args->out_height;
    const float *x = args->x + from * args->width * args->channels;
    float *y = args->y + index * args->out_width * args->channels;
    (void)lane;
    for (size_t i = 0; i < args->out_width; i++, y += args->channels) {
        memcpy(y, x + i * args->width / args->out_width * args->channels, args->channels * sizeof(float));
    }
}

void dqg_op_resize(const struct dqg_ops *ops, const struct dqg_resize *args) {
    struct resize_task task = {args};
    dqg_parallel(ops->context, args->samples * args->out_height, resize_line, &task);
}

static void pool_line(void *argument, size_t index, size_t lane) {
    const struct dqg_resize *args = ((struct resize_task *)argument)->args;
    size_t stride = args->width * args->channels, channels = args->channels;
    size_t sample = index / args->out_height, line = index % args->out_height;
    const float *x = args->x + (sample * args->height + 2 * line) * stride;
    float *y = args->y + index * args->out_width * channels;
    (void)lane;
    for (size_t i = 0; i < args->out_width; i++, x += 2 * channels, y += channels) {
        for (size_t c = 0; c < channels; c++) {
            y[c] = 0.25f * ((x[c] + x[channels + c]) + (x[stride + c] + x[stride + channels + c]));
        }
    }
}

void dqg_op_pool(const struct dqg_ops *ops, const struct dqg_resize *args) {
    struct resize_task task = {args};
    dqg_parallel(ops->context, args->samples * args->out_height, pool_line, &task);
}
