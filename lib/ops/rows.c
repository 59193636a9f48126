/* SPDX-License-Identifier: MIT */
/* Operators that work on rows or elements alone: quantization, activation, gated units, sums, softmax. */
#include "ops/ops.h"

enum { CHUNK_ROWS = 16, CHUNK_VALUES = 4096 };

struct quantize_task {
    const struct dqg_ops *ops;
    const float *x;
    size_t ldx;
    struct dqg_rows out;
    size_t rows, columns, columns_padded;
};

static void quantize_chunk(void *argument, size_t index, size_t lane) {
    const struct quantize_task *task = argument;
    size_t row = index * CHUNK_ROWS;
    size_t rows = dqg_min_size(CHUNK_ROWS, task->rows - row);
    (void)lane;
    task->ops->kernels->quantize_f32_i8(task->out.q8 + row * task->out.ld, task->out.ld, task->out.row_scale + row,
                                        task->x + row * task->ldx, task->ldx, rows, task->columns,
                                        task->columns_padded);
}

void dqg_op_quantize(const struct dqg_ops *ops, const float *x, size_t ldx, struct dqg_rows out, size_t rows,
                     size_t columns, size_t columns_padded) {
    struct quantize_task task = {ops, x, ldx, out, rows, columns, columns_padded};
    dqg_parallel(ops->context, (rows + CHUNK_ROWS - 1) / CHUNK_ROWS, quantize_chunk, &task);
}

struct activate_task {
    const struct dqg_ops *ops;
    float *y;
    const float *x;
    size_t count;
    enum dqg_activation activation;
};

static void activate_chunk(void *argument, size_t index, size_t lane) {
    const struct activate_task *task = argument;
    size_t at = index * CHUNK_VALUES;
    (void)lane;
    task->ops->kernels->activate_f32_f32(task->y + at, task->x + at, dqg_min_size(CHUNK_VALUES, task->count - at),
                                         task->activation);
}

void dqg_op_activate(const struct dqg_ops *ops, float *y, const float *x, size_t count,
                     enum dqg_activation activation) {
    struct activate_task task = {ops, y, x, count, activation};
    dqg_parallel(ops->context, (count + CHUNK_VALUES - 1) / CHUNK_VALUES, activate_chunk, &task);
}
