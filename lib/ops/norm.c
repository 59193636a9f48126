/* SPDX-License-Identifier: MIT */
/* Norms of rows: layer norm, RMS norm, learned weights, modulation. */
#include "ops/ops.h"

enum { CHUNK_ROWS = 16 };

struct norm_task {
    const struct dqg_ops *ops;
    const struct dqg_norm *args;
};

size_t dqg_op_norm_scratch(size_t columns) {
    return DQG_NORM_ROWS * columns * sizeof(float);
}

static void norm_chunk(void *argument, size_t index, size_t lane) {
    const struct norm_task *task = argument;
    const struct dqg_norm *args = task->args;
    const struct dqg_kernels *kernels = task->ops->kernels;
    struct dqg_norm_form form = args->form;
    float *scratch = (float *)(task->ops->scratch + lane * task->ops->lane_bytes);
    size_t end = dqg_min_size((index + 1) * CHUNK_ROWS, args->rows);
    for (size_t row = index * CHUNK_ROWS, rows; row < end; row += rows) {
        size_t at = row * args->out.ld;
        const float *x = args->x + row * args->ldx;
        rows = end - row;
        if (args->form.scale != NULL) { /* rows of one sample */
            size_t sample = row / args->rows_per_sample;
            rows = dqg_min_size(rows, (sample + 1) * args->rows_per_sample - row);
            form.scale = args->form.scale + sample * args->ld_modulation;
            form.shift = args->form.shift + sample * args->ld_modulation;
        }
        if (args->out.f32 != NULL) {
            kernels->norm_f32_f32(args->out.f32 + at, args->out.ld, x, args->ldx, rows, args->columns, &form);
        } else {
            kernels->norm_f32_i8(args->out.q8 + at, args->out.ld, args->out.row_scale + row, x, args->ldx, rows,
                                 args->columns, args->columns_padded, &form, scratch);
        }
    }
}

void dqg_op_norm(const struct dqg_ops *ops, const struct dqg_norm *args) {
    struct norm_task task = {ops, args};
    dqg_parallel(ops->context, (args->rows + CHUNK_ROWS - 1) / CHUNK_ROWS, norm_chunk, &task);
}
