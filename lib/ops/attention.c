/* SPDX-License-Identifier: MIT */
/* Self-attention: one task for each block of queries of a head of a sample. Never a tokens x tokens matrix. */
#include <math.h>

#include "ops/ops.h"

struct attention_task {
    const struct dqg_ops *ops;
    const struct dqg_self_attention *args;
    size_t query_blocks;
};

size_t dqg_op_attention_scratch(void) {
    return DQG_ATTENTION_SCRATCH * sizeof(float);
}

static void attention_tile(void *argument, size_t index, size_t lane) {
    const struct attention_task *task = argument;
    const struct dqg_self_attention *args = task->args;
    size_t first = index % task->query_blocks * DQG_ATTENTION_QUERIES;
    size_t head = index / task->query_blocks % args->heads;
    size_t sample = index / task->query_blocks / args->heads;
    size_t columns = args->heads * args->width;
    size_t ld = 3 * columns;
    const float *base = args->qkv + sample * args->tokens * ld + head * args->width;
    struct dqg_attention kernel = {
        .q = base + first * ld,
        .k = base + columns,
        .v = base + 2 * columns,
        .out = args->out + (sample * args->tokens + first) * columns + head * args->width,
        .ld_q = ld,
        .ld_kv = ld,
        .ld_out = columns,
        .queries = dqg_min_size(DQG_ATTENTION_QUERIES, args->tokens - first),
        .keys = args->tokens,
        .width = args->width,
        .scale = 1.0f / sqrtf((float)args->width),
        .scratch = (float *)(task->ops->scratch + lane * task->ops->lane_bytes),
    };
    task->ops->kernels->attention_f32_f32(&kernel);
}

void dqg_op_self_attention(const struct dqg_ops *ops, const struct dqg_self_attention *args) {
    struct attention_task task = {ops, args, (args->tokens + DQG_ATTENTION_QUERIES - 1) / DQG_ATTENTION_QUERIES};
    dqg_parallel(ops->context, args->samples * args->heads * task.query_blocks, attention_tile, &task);
}
