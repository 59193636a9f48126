/* SPDX-License-Identifier: MIT */
/* Operators that work on rows or elements alone: quantization, activation, gated units, moves, sums, softmax. */
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

struct glu_task {
    const struct dqg_ops *ops;
    const struct dqg_glu *args;
};

static void glu_chunk(void *argument, size_t index, size_t lane) {
    const struct glu_task *task = argument;
    const struct dqg_glu *args = task->args;
    size_t end = dqg_min_size((index + 1) * CHUNK_ROWS, args->rows);
    (void)lane;
    for (size_t row = index * CHUNK_ROWS; row < end; row++) {
        task->ops->kernels->glu_f32_f32(args->y + row * args->ldy, args->value + row * args->ldx,
                                        args->gate + row * args->ldx, args->columns, args->activation);
    }
}

void dqg_op_glu(const struct dqg_ops *ops, const struct dqg_glu *args) {
    struct glu_task task = {ops, args};
    dqg_parallel(ops->context, (args->rows + CHUNK_ROWS - 1) / CHUNK_ROWS, glu_chunk, &task);
}

struct move_task {
    const struct dqg_row_move *args;
    bool gather;
};

static void move_chunk(void *argument, size_t index, size_t lane) {
    const struct move_task *task = argument;
    const struct dqg_row_move *args = task->args;
    size_t end = dqg_min_size((index + 1) * CHUNK_ROWS, args->samples * args->packed);
    (void)lane;
    for (size_t packed = index * CHUNK_ROWS; packed < end; packed++) {
        size_t sample = packed / args->packed, row = packed % args->packed;
        size_t place = row < args->indexed ? (size_t)args->index[sample * args->indexed + row]
                                           : row + args->full - args->packed;
        size_t full = sample * args->full + place;
        memcpy(args->y + (task->gather ? packed : full) * args->ldy,
               args->x + (task->gather ? full : packed) * args->ldx, args->columns * sizeof *args->y);
    }
}

static void move_rows(const struct dqg_ops *ops, const struct dqg_row_move *args, bool gather) {
    struct move_task task = {args, gather};
    dqg_parallel(ops->context, (args->samples * args->packed + CHUNK_ROWS - 1) / CHUNK_ROWS, move_chunk, &task);
}

void dqg_op_gather_rows(const struct dqg_ops *ops, const struct dqg_row_move *args) {
    move_rows(ops, args, true);
}

void dqg_op_scatter_rows(const struct dqg_ops *ops, const struct dqg_row_move *args) {
    move_rows(ops, args, false);
}

struct add_task {
    const struct dqg_ops *ops;
    float *y;
    const float *a, *b;
    size_t count;
    float factor;
};

static void add_chunk(void *argument, size_t index, size_t lane) {
    const struct add_task *task = argument;
    size_t at = index * CHUNK_VALUES;
    (void)lane;
    task->ops->kernels->add_f32(task->y + at, task->a + at, task->b + at, dqg_min_size(CHUNK_VALUES, task->count - at),
                                task->factor);
}

void dqg_op_add(const struct dqg_ops *ops, float *y, const float *a, const float *b, size_t count, float factor) {
    struct add_task task = {ops, y, a, b, count, factor};
    dqg_parallel(ops->context, (count + CHUNK_VALUES - 1) / CHUNK_VALUES, add_chunk, &task);
}

struct softmax_task {
    const struct dqg_ops *ops;
    const struct dqg_softmax *args;
};

static void softmax_chunk(void *argument, size_t index, size_t lane) {
    const struct softmax_task *task = argument;
    const struct dqg_softmax *args = task->args;
    size_t row = index * CHUNK_ROWS;
    (void)lane;
    task->ops->kernels->softmax_f32_f32(args->y + row * args->ldy, args->ldy, args->x + row * args->ldx, args->ldx,
                                        dqg_min_size(CHUNK_ROWS, args->rows - row), args->columns, args->scale);
}

void dqg_op_softmax(const struct dqg_ops *ops, const struct dqg_softmax *args) {
    struct softmax_task task = {ops, args};
    dqg_parallel(ops->context, (args->rows + CHUNK_ROWS - 1) / CHUNK_ROWS, softmax_chunk, &task);
}
