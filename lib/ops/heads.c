/* SPDX-License-Identifier: MIT */
/*
 * Queries and keys in front of an attention: RMS norm of each head (Henry et al. 2020, arXiv 2010.04245) and rotary
 * position embedding, in one pass over packed rows of queries, keys and values.
 */
#include "ops/ops.h"

enum { CHUNK_ROWS = 16 };

struct heads_task {
    const struct dqg_ops *ops;
    const struct dqg_heads *args;
    size_t chunks; /* of a sample: angles repeat from sample to sample */
};

/* Norm of heads heads of one row from column on. */
static void norm_heads(const struct heads_task *task, size_t row, size_t column, const float *factor) {
    const struct dqg_heads *args = task->args;
    const float *x = args->x + row * args->ldx + column;
    float *y = args->y + row * args->ldy + column;
    struct dqg_norm_form form = {.weight = factor, .eps = args->epsilon, .rms = true};
    if (factor != NULL) {
        task->ops->kernels->norm_f32_f32(y, args->width, x, args->width, args->heads, args->width, &form);
    } else if (y != x) {
        memcpy(y, x, args->heads * args->width * sizeof(float));
    }
}

/* rows rows, whose angles stand in order from table row token on. */
static void rotate(const struct heads_task *task, size_t row, size_t token, size_t rows, size_t column) {
    const struct dqg_heads *args = task->args;
    size_t half = args->width / 2;
    float *at = args->y + row * args->ldy + column;
    struct dqg_rope rope = {.y = at,
                            .x = at,
                            .cosine = args->cosine + token * half,
                            .sine = args->sine + token * half,
                            .ldy = args->ldy,
                            .ldx = args->ldy,
                            .ld_table = half,
                            .rows = rows,
                            .heads = args->heads,
                            .width = args->width,
                            .neighbours = args->neighbours};
    task->ops->kernels->rope_f32_f32(&rope);
}

/* The table row of a row of a sample. */
static size_t table_row(const struct dqg_heads *args, size_t sample, size_t row) {
    if (args->index == NULL) {
        return row;
    }
    return row < args->indexed ? (size_t)args->index[sample * args->indexed + row]
                               : args->first_after + row - args->indexed;
}

/* Rows first to first + rows of a sample, those together whose table rows follow each other. */
static void rotate_rows(const struct heads_task *task, size_t sample, size_t first, size_t rows) {
    const struct dqg_heads *args = task->args;
    for (size_t row = first, run; row < first + rows; row += run) {
        size_t token = table_row(args, sample, row), at = sample * args->rows_per_sample + row;
        for (run = 1; row + run < first + rows && table_row(args, sample, row + run) == token + run;) {
            run++;
        }
        rotate(task, at, token, run, 0);
        rotate(task, at, token, run, args->heads * args->width);
    }
}

static void heads_chunk(void *argument, size_t index, size_t lane) {
    const struct heads_task *task = argument;
    const struct dqg_heads *args = task->args;
    size_t sample = index / task->chunks, token = index % task->chunks * CHUNK_ROWS;
    size_t first = sample * args->rows_per_sample + token;
    size_t rows = dqg_min_size(CHUNK_ROWS, args->rows_per_sample - token);
    size_t width = args->heads * args->width;
    (void)lane;
    for (size_t row = first; row < first + rows; row++) {
        norm_heads(task, row, 0, args->q_factor);
        norm_heads(task, row, width, args->k_factor);
        if (args->y != args->x) {
            memcpy(args->y + row * args->ldy + 2 * width, args->x + row * args->ldx + 2 * width,
                   (args->columns - 2 * width) * sizeof(float));
        }
    }
    if (args->cosine != NULL) {
        rotate_rows(task, sample, token, rows);
    }
}

void dqg_op_heads(const struct dqg_ops *ops, const struct dqg_heads *args) {
    struct heads_task task = {ops, args, (args->rows_per_sample + CHUNK_ROWS - 1) / CHUNK_ROWS};
    dqg_parallel(ops->context, args->samples * task.chunks, heads_chunk, &task);
}
