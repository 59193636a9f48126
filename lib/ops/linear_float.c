/* SPDX-License-Identifier: MIT */
/*
 * Matrix products with weights kept in F32, F16 or BF16. The output is cut into blocks of DQG_BLOCK_COLUMNS output
 * channels by FLOAT_BLOCK_ROWS rows; a lane decodes the block's weights to floats, in cache, and its rows reuse them.
 */
#include "ops/linear.h"
#include "support/blas.h"

enum { FLOAT_BLOCK_ROWS = 192 /* fixed: BLIS may add in another order for another size */ };

struct float_task {
    const struct dqg_ops *ops;
    const struct dqg_linear *args;
    size_t column_blocks;
};

size_t dqg_linear_float_scratch(const struct dqg_weight *weight) {
    return DQG_BLOCK_COLUMNS *
           (dqg_round_up(weight->size.columns * sizeof(float), DQG_ALIGNMENT) + FLOAT_BLOCK_ROWS * sizeof(float));
}

static void float_tile(void *argument, size_t index, size_t lane) {
    const struct float_task *task = argument;
    const struct dqg_linear *args = task->args;
    const struct dqg_kernels *kernels = task->ops->kernels;
    const struct dqg_weight *weight = args->weight;
    size_t row = index / task->column_blocks * FLOAT_BLOCK_ROWS;
    size_t column = index % task->column_blocks * DQG_BLOCK_COLUMNS;
    size_t rows = dqg_min_size(FLOAT_BLOCK_ROWS, args->rows - row);
    size_t columns = dqg_min_size(DQG_BLOCK_COLUMNS, weight->size.rows - column);
    size_t padded = dqg_round_up(columns, DQG_PANEL);
    size_t depth = weight->size.columns;
    char *scratch = task->ops->scratch + lane * task->ops->lane_bytes;
    float *b = (float *)scratch;
    float *c = (float *)(scratch + DQG_BLOCK_COLUMNS * dqg_round_up(depth * sizeof(float), DQG_ALIGNMENT));
    const char *w = (const char *)weight->codes + column * depth * dqg_dtype_size(weight->dtype);
    kernels->decode_float_f32(b, DQG_BLOCK_COLUMNS, w, depth, weight->dtype, columns, padded, depth);
    const float *a = args->x.f32 + row * args->x.ld;
    if (!kernels->portable ||
        !dqg_blas_sgemm(c, DQG_BLOCK_COLUMNS, a, args->x.ld, b, DQG_BLOCK_COLUMNS, rows, padded, depth)) {
        kernels->gemm_f32(c, DQG_BLOCK_COLUMNS, a, args->x.ld, b, DQG_BLOCK_COLUMNS, rows, padded, depth);
    }
    dqg_linear_finish(task->ops, args, c, DQG_BLOCK_COLUMNS, false, row, rows, column, columns);
}

void dqg_linear_float(const struct dqg_ops *ops, const struct dqg_linear *args) {
    struct float_task task = {.ops = ops, .args = args};
    task.column_blocks = (args->weight->size.rows + DQG_BLOCK_COLUMNS - 1) / DQG_BLOCK_COLUMNS;
    size_t row_blocks = (args->rows + FLOAT_BLOCK_ROWS - 1) / FLOAT_BLOCK_ROWS;
    dqg_parallel(ops->context, task.column_blocks * row_blocks, float_tile, &task);
}
