/* SPDX-License-Identifier: MIT */
/*
 * Matrix products with weights in any storage format. Quantized weights are multiplied as int8 x int8 -> int32 over the
 * whole depth. The output is cut into blocks of output channels by rows; a lane decodes the block's weights once, in
 * cache, and all the block's rows reuse them. A block of a gated unit has as many outputs of the second half of the
 * weights beside those of the first. Float weights: linear_float.c.
 */
#include "ops/linear.h"

#include <math.h>

enum {
    MOST_PANELS = 8, /* of weights decoded together: wide enough for long stores, small enough for the second cache */
    MOST_COLUMNS = MOST_PANELS * DQG_PANEL,
    GATE_COLUMN = MOST_COLUMNS / 2, /* where a block's second half begins */
    TILE_ROWS = 48,                 /* rows of one kernel call: accumulators stay in the first-level cache */
    CUT_ROWS = 16,                  /* blocks are cut at multiples of it */
    MOST_INPUT = 4 << 20,           /* bytes of rows that pass over a block: they stay in the last-level cache */
    DECODE_ROWS = 6                 /* decoding a panel costs about as much as multiplying this many rows by it */
};

struct linear_task {
    const struct dqg_ops *ops;
    const struct dqg_linear *args;
    size_t block_rows, block_columns;
    size_t column_blocks;
};

size_t dqg_op_linear_scratch(const struct dqg_weight *weight, bool bf16) {
    if (!dqg_dtype_is_quantized(weight->dtype)) {
        return dqg_linear_float_scratch(weight, bf16);
    }
    return MOST_COLUMNS * (dqg_round_up(weight->size.columns_padded, DQG_ALIGNMENT) + TILE_ROWS * sizeof(int32_t));
}

void dqg_linear_finish(const struct dqg_ops *ops, const struct dqg_linear *args, const void *c, size_t ldc,
                       bool integer, size_t row, size_t count, size_t column, size_t columns) {
    while (count > 0) {
        size_t sample = row / args->rows_per_sample;
        size_t in_sample = row - sample * args->rows_per_sample;
        size_t rows = dqg_min_size(count, args->rows_per_sample - in_sample);
        struct dqg_epilogue epilogue = {
            .ld_addend = args->ld_addend, .ld_residual = args->ld_residual, .activation = args->activation};
        if (args->gated) {
            epilogue.glu_block = GATE_COLUMN;
            epilogue.glu_offset = (ptrdiff_t)args->weight->size.rows / 2;
        }
        if (args->bias != NULL) {
            epilogue.bias = args->bias + args->first + column;
        }
        if (args->addend != NULL) {
            epilogue.addend = args->addend + row * args->ld_addend + column;
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
            epilogue.column_scale = args->weight->column_scale + args->first + column;
            ops->kernels->epilogue_i32_f32(out, args->ld_out, c, ldc, rows, columns, &epilogue);
        } else {
            ops->kernels->epilogue_f32_f32(out, args->ld_out, c, ldc, rows, columns, &epilogue);
        }
        c = (const char *)c + rows * ldc * sizeof(float);
        row += rows;
        count -= rows;
    }
}

/* Outputs before the first one in its panel of the weights. */
static size_t skew_of(const struct dqg_linear *args) {
    return args->first % DQG_PANEL;
}

/* The sums of some rows for panels of weights that begin with an output; w: see dqg_panels_multiply(). */
static void multiply(const struct linear_task *task, int32_t *c, const int8_t **w, char *scratch, size_t output,
                     size_t panels, size_t row, size_t rows) {
    const struct dqg_linear *args = task->args;
    size_t depth = args->weight->size.columns_padded;
    size_t row_offsets[TILE_ROWS], run = 0;
    for (size_t m = 0; m < rows; m++) {
        row_offsets[m] = m * args->x.ld;
    }
    struct dqg_gemm_i8 product = {.c = c,
                                  .ldc = MOST_COLUMNS,
                                  .a = args->x.q8 + row * args->x.ld,
                                  .row = row_offsets,
                                  .run = &run,
                                  .w = *w,
                                  .sums = args->weight->sums + output,
                                  .panel_stride = DQG_PANEL * depth,
                                  .rows = rows,
                                  .panels = panels,
                                  .runs = 1,
                                  .k = depth};
    dqg_panels_multiply(task->ops, args->weight, output / DQG_PANEL, &product, scratch);
    *w = product.w;
}

static void integer_block(const struct linear_task *task, size_t row, size_t end, size_t column, size_t columns,
                          char *scratch) {
    const struct dqg_linear *args = task->args;
    size_t depth = args->weight->size.columns_padded;
    size_t skew = skew_of(args), output = args->first - skew + column;
    size_t panels = (skew + columns + DQG_PANEL - 1) / DQG_PANEL;
    size_t gate = column + args->weight->size.rows / 2;
    const int8_t *w = NULL, *w_gate = NULL; /* decoded by the first rows */
    int32_t *c = (int32_t *)(scratch + MOST_COLUMNS * dqg_round_up(depth, DQG_ALIGNMENT));
    for (; row < end; row += TILE_ROWS) {
        size_t rows = dqg_min_size(TILE_ROWS, end - row);
        multiply(task, c, &w, scratch, output, panels, row, rows);
        if (args->gated) {
            multiply(task, c + GATE_COLUMN, &w_gate, scratch + GATE_COLUMN * depth, gate, panels, row, rows);
        }
        dqg_linear_finish(task->ops, args, c + skew, MOST_COLUMNS, true, row, rows, column, columns);
    }
}

static void linear_tile(void *argument, size_t index, size_t lane) {
    const struct linear_task *task = argument;
    const struct dqg_linear *args = task->args;
    size_t row = index / task->column_blocks * task->block_rows;
    size_t column = index % task->column_blocks * task->block_columns;
    size_t end = dqg_min_size(row + task->block_rows, args->rows);
    size_t columns = dqg_min_size(task->block_columns, dqg_linear_outputs(args) / (args->gated ? 2 : 1) - column);
    char *scratch = task->ops->scratch + lane * task->ops->lane_bytes;
    integer_block(task, row, end, column, columns, scratch);
}

/* Cut the output into blocks so that the lanes finish together: the time of the busiest lane, in rows times panels, is
 * least. A block of rows is decoded for once, and gathering a strip of rows costs more the fewer panels share it. */
static void choose_blocks(struct linear_task *task, size_t lanes) {
    const struct dqg_linear *args = task->args;
    size_t halves = args->gated ? 2 : 1;
    size_t outputs = dqg_linear_outputs(args);
    size_t panels = (outputs / halves + DQG_PANEL - 1) / DQG_PANEL;
    size_t most_panels = MOST_PANELS / halves - (skew_of(args) > 0 ? 1 : 0); /* a skewed block touches one more */
    size_t most_rows = dqg_round_up(MOST_INPUT / args->x.ld + 1, TILE_ROWS);
    /* Rows that all lanes write are read by another than wrote them: about 4 operations' time for each byte. */
    double crossing = 8.0 / (double)outputs + 32.0 / (double)args->weight->size.columns;
    double least = INFINITY;
    for (size_t cuts = (args->rows + most_rows - 1) / most_rows; cuts <= args->rows; cuts++) {
        size_t rows = dqg_round_up((args->rows + cuts - 1) / cuts, CUT_ROWS);
        for (size_t width = most_panels; width > 0; width--) {
            size_t blocks = (panels + width - 1) / width;
            size_t row_blocks = (args->rows + rows - 1) / rows;
            size_t rounds = (blocks * row_blocks + lanes - 1) / lanes;
            double cost =
                (double)rounds * (double)(dqg_min_size(rows, args->rows) + DECODE_ROWS) * ((double)width + 0.3);
            cost *= row_blocks < lanes ? 1.0 + crossing : 1.0;
            if (cost < least) {
                least = cost;
                task->block_rows = rows;
                task->block_columns = width * DQG_PANEL;
                task->column_blocks = blocks;
            }
        }
        if (rows <= TILE_ROWS) {
            break;
        }
    }
}

void dqg_op_linear(const struct dqg_ops *ops, const struct dqg_linear *args) {
    if (!dqg_dtype_is_quantized(args->weight->dtype)) {
        dqg_linear_float(ops, args);
        return;
    }
    struct linear_task task = {.ops = ops, .args = args};
    choose_blocks(&task, dqg_concurrency(ops->context)); /* integer sums do not depend on the cut */
    size_t row_blocks = (args->rows + task.block_rows - 1) / task.block_rows;
    dqg_parallel(ops->context, task.column_blocks * row_blocks, linear_tile, &task);
}
