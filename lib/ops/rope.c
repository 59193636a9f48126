/* SPDX-License-Identifier: MIT */
/* Rotary position embedding of queries and keys, in place inside packed rows. */
#include "ops/ops.h"

enum { CHUNK_ROWS = 16 };

struct rotary_task {
    const struct dqg_ops *ops;
    const struct dqg_rotary *args;
};

/* Rows of one chunk lie in one sample: angles repeat from sample to sample. */
static void rotary_chunk(void *argument, size_t index, size_t lane) {
    const struct rotary_task *task = argument;
    const struct dqg_rotary *args = task->args;
    size_t chunks = (args->rows_per_sample + CHUNK_ROWS - 1) / CHUNK_ROWS;
    size_t token = index % chunks * CHUNK_ROWS;
    size_t row = index / chunks * args->rows_per_sample + token;
    size_t half = args->width / 2;
    struct dqg_rope rope = {.y = args->y + row * args->ldy,
                            .x = args->x + row * args->ldx,
                            .cosine = args->cosine + token * half,
                            .sine = args->sine + token * half,
                            .ldy = args->ldy,
                            .ldx = args->ldx,
                            .ld_table = half,
                            .rows = dqg_min_size(CHUNK_ROWS, args->rows_per_sample - token),
                            .heads = args->heads,
                            .width = args->width,
                            .neighbours = args->neighbours};
    (void)lane;
    task->ops->kernels->rope_f32_f32(&rope);
}

void dqg_op_rope(const struct dqg_ops *ops, const struct dqg_rotary *args) {
    struct rotary_task task = {ops, args};
    size_t chunks = (args->rows_per_sample + CHUNK_ROWS - 1) / CHUNK_ROWS;
    dqg_parallel(ops->context, args->samples * chunks, rotary_chunk, &task);
}
