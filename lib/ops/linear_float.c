/* SPDX-License-Identifier: MIT */
/*
 * Matrix products with weights kept in F32, F16 or BF16. A lane takes a tile of rows by columns and walks over the
 * depth in steps: it decodes a step of a block of weights, in cache, and the rows reuse it. A few rows take the weights
 * as they are. For products of bfloat16 the rows of a step are rounded to scratch first. Each result is one sum in
 * order of k either way, so that no cut of rows, columns or depth shows in the bits.
 */
#include "ops/linear.h"
#include "support/blas.h"

/* Together a tile's weights, rows and sums fill about half of a second-level cache of 1 MB. */
enum {
    TILE_ROWS = 384,
    LEAST_ROWS = 48, /* of a tile that is cut for the sake of more lanes */
    STEP = 512,
    BF16_STEP = 256,
    BF16_COLUMNS = 4 * DQG_BLOCK_COLUMNS /* rounding a row costs as much as multiplying it with 14 columns */
};

struct float_task {
    const struct dqg_ops *ops;
    const struct dqg_linear *args;
    size_t step;
    size_t tile_rows, tile_columns, column_tiles;
};

/* A tile, in a lane's scratch. */
struct float_tile {
    size_t row, rows, column, columns;
    float *c;    /* for each block of columns [tile_rows][DQG_BLOCK_COLUMNS] */
    void *b;     /* [step][DQG_BLOCK_COLUMNS] floats, or half as many pairs */
    uint32_t *a; /* pairs [rows][step / 2] */
};

static size_t step_of(const struct dqg_weight *weight, bool bf16) {
    return dqg_min_size(bf16 ? BF16_STEP : STEP, dqg_round_up(weight->size.columns, 2));
}

size_t dqg_linear_float_scratch(const struct dqg_weight *weight, bool bf16) {
    size_t step = step_of(weight, bf16);
    size_t sums = (size_t)TILE_ROWS * (bf16 ? BF16_COLUMNS : DQG_BLOCK_COLUMNS);
    size_t factors = bf16 ? step / 2 * (DQG_BLOCK_COLUMNS + TILE_ROWS) : step * DQG_BLOCK_COLUMNS;
    return (sums + factors) * sizeof(float);
}

/* Add to the sums of a block of columns, n into the tile, what the inputs k .. k + depth - 1 give. */
static void add_step(const struct float_task *task, const struct float_tile *tile, size_t n, size_t k, size_t depth) {
    const struct dqg_kernels *kernels = task->ops->kernels;
    const struct dqg_weight *weight = task->args->weight;
    const char *w =
        (const char *)weight->codes +
        ((task->args->first + tile->column + n) * weight->size.columns + k) * dqg_dtype_size(weight->dtype);
    size_t ldw = weight->size.columns, ld = DQG_BLOCK_COLUMNS;
    size_t columns = dqg_min_size(DQG_BLOCK_COLUMNS, tile->columns - n), padded = dqg_round_up(columns, DQG_PANEL);
    const float *a = task->args->x.f32 + tile->row * task->args->x.ld + k;
    size_t lda = task->args->x.ld, rows = tile->rows;
    float *c = tile->c + n * task->tile_rows;
    if (task->ops->bf16) {
        size_t ld_pairs = task->step / 2;
        if (n == 0) {
            kernels->round_f32_bf16(tile->a, ld_pairs, a, lda, rows, depth);
        }
        kernels->decode_float_bf16(tile->b, ld, w, ldw, weight->dtype, columns, padded, depth);
        kernels->gemm_bf16_f32(c, ld, tile->a, ld_pairs, tile->b, ld, rows, padded, (depth + 1) / 2, k > 0);
        return;
    }
    kernels->decode_float_f32(tile->b, ld, w, ldw, weight->dtype, columns, padded, depth);
    if (!kernels->portable || !dqg_blas_sgemm(c, ld, a, lda, tile->b, ld, rows, padded, depth, k > 0)) {
        kernels->gemm_f32(c, ld, a, lda, tile->b, ld, rows, padded, depth, k > 0);
    }
}

static void run_tile(void *argument, size_t index, size_t lane) {
    const struct float_task *task = argument;
    const struct dqg_linear *args = task->args;
    size_t depth = args->weight->size.columns, ld = DQG_BLOCK_COLUMNS;
    struct float_tile tile = {.row = index / task->column_tiles * task->tile_rows,
                              .column = index % task->column_tiles * task->tile_columns};
    tile.rows = dqg_min_size(task->tile_rows, args->rows - tile.row);
    tile.columns = dqg_min_size(task->tile_columns, dqg_linear_outputs(args) - tile.column);
    tile.c = (float *)(task->ops->scratch + lane * task->ops->lane_bytes);
    float *b = tile.c + task->tile_rows * task->tile_columns;
    tile.b = b;
    tile.a = (uint32_t *)(void *)(b + task->step / 2 * ld);
    for (size_t k = 0; k < depth; k += task->step) {
        for (size_t n = 0; n < tile.columns; n += ld) {
            add_step(task, &tile, n, k, dqg_min_size(task->step, depth - k));
        }
    }
    for (size_t n = 0; n < tile.columns; n += ld) {
        dqg_linear_finish(task->ops, args, tile.c + n * task->tile_rows, ld, false, tile.row, tile.rows,
                          tile.column + n, dqg_min_size(ld, tile.columns - n));
    }
}

/* A block of columns for a few rows. */
static void run_few(void *argument, size_t index, size_t lane) {
    const struct float_task *task = argument;
    const struct dqg_linear *args = task->args;
    const struct dqg_weight *weight = args->weight;
    size_t column = index * DQG_BLOCK_COLUMNS, depth = weight->size.columns;
    size_t columns = dqg_min_size(DQG_BLOCK_COLUMNS, dqg_linear_outputs(args) - column);
    const char *w = (const char *)weight->codes + (args->first + column) * depth * dqg_dtype_size(weight->dtype);
    float *c = (float *)(task->ops->scratch + lane * task->ops->lane_bytes);
    task->ops->kernels->gemm_float_f32(c, DQG_BLOCK_COLUMNS, args->x.f32, args->x.ld, w, depth, weight->dtype,
                                       args->rows, columns, dqg_round_up(columns, DQG_PANEL), depth);
    dqg_linear_finish(task->ops, args, c, DQG_BLOCK_COLUMNS, false, 0, args->rows, column, columns);
}

static size_t tiles_of(struct float_task *task) {
    task->column_tiles = (dqg_linear_outputs(task->args) + task->tile_columns - 1) / task->tile_columns;
    return task->column_tiles * ((task->args->rows + task->tile_rows - 1) / task->tile_rows);
}

void dqg_linear_float(const struct dqg_ops *ops, const struct dqg_linear *args) {
    struct float_task task = {.ops = ops, .args = args, .tile_rows = TILE_ROWS, .tile_columns = DQG_BLOCK_COLUMNS};
    if (args->rows <= DQG_FEW_ROWS && !ops->bf16 && !ops->kernels->portable) {
        dqg_parallel(ops->context, tiles_of(&task), run_few, &task);
        return;
    }
    task.step = step_of(args->weight, ops->bf16);
    if (ops->bf16) {
        task.tile_columns = BF16_COLUMNS;
    }
    size_t wanted = 3 * dqg_concurrency(ops->context);
    while (tiles_of(&task) < wanted && (task.tile_columns > DQG_BLOCK_COLUMNS || task.tile_rows > LEAST_ROWS)) {
        if (task.tile_columns > DQG_BLOCK_COLUMNS && task.tile_columns >= task.tile_rows / 2) {
            task.tile_columns /= 2;
        } else {
            task.tile_rows /= 2;
        }
    }
    dqg_parallel(ops->context, tiles_of(&task), run_tile, &task);
}
