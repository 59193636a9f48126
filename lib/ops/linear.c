/* SPDX-License-Identifier: MIT */
/*
 * Matrix products with weights in any storage format. The output is cut into blocks of DQG_BLOCK_COLUMNS output
 * channels by some rows; a lane decodes the block's weights once, in cache, and all the block's rows reuse them.
 * Quantized weights are multiplied as int8 x int8 -> int32 over the whole depth; float ones as floats.
 */
#include "ops/ops.h"
#include "support/blas.h"

enum {
    TILE_ROWS = 48,        /* rows of one kernel call: accumulators stay in the first-level cache */
    FLOAT_BLOCK_ROWS = 192 /* fixed: BLIS may add in another order for another size */
};

struct linear_task {
    const struct dqg_ops *ops;
    const struct dqg_linear *args;
    size_t block_rows;
    size_t column_blocks;
};

size_t dqg_op_linear_scratch(const struct dqg_weight *weight) {
    size_t depth =
        dqg_dtype_is_quantized(weight->dtype) ? weight->size.columns_padded : weight->size.columns * sizeof(float);
    size_t rows = dqg_dtype_is_quantized(weight->dtype) ? TILE_ROWS : FLOAT_BLOCK_ROWS;
    return DQG_BLOCK_COLUMNS * (dqg_round_up(depth, DQG_ALIGNMENT) + rows * sizeof(float));
}

/* Hand rows [row, row + count) of accumulators to the epilogue, one sample at a time. */
static void finish_rows(const struct linear_task *task, const void *c, bool integer, size_t row, size_t count,
                        size_t column, size_t columns) {
    const struct dqg_linear *args = task->args;
    while (count > 0) {
        size_t sample = row / args->rows_per_sample;
        size_t in_sample = row - sample * args->rows_per_sample;
        size_t rows = dqg_min_size(count, args->rows_per_sample - in_sample);
        struct dqg_epilogue epilogue = {.ld_residual = args->ld_residual, .activation = args->activation};
        if (args->bias != NULL) {
            epilogue.bias = args->bias + column;
        }
        if (args->gate != NULL) {
            epilogue.gate = args->gate + sample * args->ld_gate + column;
        }
        if (args->residual != NULL) {
            size_t residual_row = args->residual_repeats ? in_sample : row;
            epilogue.residual = args->residual + residual_row * args->ld_residual + column;
        }
        float *out = args->out + row * args->ld_out + column;
        if (integer) {
            epilogue.row_scale = args->x.row_scale + row;
            epilogue.column_scale = args->weight->column_scale + column;
            task->ops->kernels->epilogue_i32_f32(out, args->ld_out, c, DQG_BLOCK_COLUMNS, rows, columns, &epilogue);
        } else {
            task->ops->kernels->epilogue_f32_f32(out, args->ld_out, c, DQG_BLOCK_COLUMNS, rows, columns, &epilogue);
        }
        c = (const char *)c + rows * DQG_BLOCK_COLUMNS * sizeof(float);
        row += rows;
        count -= rows;
    }
}

static void integer_block(const struct linear_task *task, size_t row, size_t end, size_t column, size_t columns,
                          char *scratch) {
    const struct dqg_linear *args = task->args;
    size_t depth = args->weight->size.columns_padded;
    size_t panels = (columns + DQG_PANEL - 1) / DQG_PANEL;
    const int8_t *w = dqg_panels_int8(task->ops, args->weight, column / DQG_PANEL, panels, scratch);
    int32_t *c = (int32_t *)(scratch + DQG_BLOCK_COLUMNS * dqg_round_up(depth, DQG_ALIGNMENT));
    for (; row < end; row += TILE_ROWS) {
        size_t rows = dqg_min_size(TILE_ROWS, end - row);
        task->ops->kernels->gemm_i8_i32(c, DQG_BLOCK_COLUMNS, args->x.q8 + row * args->x.ld, args->x.ld, w,
                                        DQG_PANEL * depth, rows, panels, depth);
        finish_rows(task, c, true, row, rows, column, columns);
    }
}

static void float_block(const struct linear_task *task, size_t row, size_t end, size_t column, size_t columns,
                        char *scratch) {
    const struct dqg_linear *args = task->args;
    const struct dqg_kernels *kernels = task->ops->kernels;
    const struct dqg_weight *weight = args->weight;
    size_t depth = weight->size.columns;
    size_t padded = dqg_round_up(columns, DQG_PANEL);
    float *b = (float *)scratch;
    float *c = (float *)(scratch + DQG_BLOCK_COLUMNS * dqg_round_up(depth * sizeof(float), DQG_ALIGNMENT));
    const char *w = (const char *)weight->codes + column * depth * dqg_dtype_size(weight->dtype);
    kernels->decode_float_f32(b, DQG_BLOCK_COLUMNS, w, depth, weight->dtype, columns, padded, depth);
    const float *a = args->x.f32 + row * args->x.ld;
    if (!kernels->portable || !dqg_blas_sgemm(c, DQG_BLOCK_COLUMNS, a, args->x.ld, b, DQG_BLOCK_COLUMNS, end - row,
                                              padded, depth)) {
        kernels->gemm_f32(c, DQG_BLOCK_COLUMNS, a, args->x.ld, b, DQG_BLOCK_COLUMNS, end - row, padded, depth);
    }
    finish_rows(task, c, false, row, end - row, column, columns);
}

static void linear_tile(void *argument, size_t index, size_t lane) {
    const struct linear_task *task = argument;
    const struct dqg_linear *args = task->args;
    size_t row = index / task->column_blocks * task->block_rows;
    size_t column = index % task->column_blocks * DQG_BLOCK_COLUMNS;
    size_t end = dqg_min_size(row + task->block_rows, args->rows);
    size_t columns = dqg_min_size(DQG_BLOCK_COLUMNS, args->weight->size.rows - column);
    char *scratch = task->ops->scratch + lane * task->ops->lane_bytes;
    if (dqg_dtype_is_quantized(args->weight->dtype)) {
        integer_block(task, row, end, column, columns, scratch);
    } else {
        float_block(task, row, end, column, columns, scratch);
    }
}

void dqg_op_linear(const struct dqg_ops *ops, const struct dqg_linear *args) {
    struct linear_task task = {.ops = ops, .args = args, .block_rows = FLOAT_BLOCK_ROWS};
    task.column_blocks = (args->weight->size.rows + DQG_BLOCK_COLUMNS - 1) / DQG_BLOCK_COLUMNS;
    if (dqg_dtype_is_quantized(args->weight->dtype)) {
        /* Decode each block once, unless that leaves lanes idle. Integer sums do not depend on the cut. */
        size_t wanted = 3 * dqg_concurrency(ops->context);
        task.block_rows = args->rows;
        while (task.block_rows > 2 * TILE_ROWS &&
               task.column_blocks * ((args->rows + task.block_rows - 1) / task.block_rows) < wanted) {
            task.block_rows = dqg_round_up(task.block_rows / 2, TILE_ROWS);
        }
    }
    size_t row_blocks = (args->rows + task.block_rows - 1) / task.block_rows;
    dqg_parallel(ops->context, task.column_blocks * row_blocks, linear_tile, &task);
}
