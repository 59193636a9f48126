/* SPDX-License-Identifier: MIT */
/*
 * Attention, cut into blocks of queries of a head of a sample. Never a queries x keys matrix. The integer kernels read
 * keys and values that are packed once for each head. Where there are many heads for each lane, one lane does all of a
 * head and keeps it in its own cache; where there are few, lanes pack a sample's heads, then share their queries.
 */
#include <math.h>

#include "ops/ops.h"

enum { HEADS_PER_LANE = 4 /* fewer would leave lanes idle at the end */ };

struct attention_task {
    const struct dqg_ops *ops;
    const struct dqg_attention_args *args;
    size_t first; /* sample */
    size_t query_blocks;
    size_t packed_bytes; /* of a head */
};

static bool whole_heads(const struct dqg_context *context, size_t samples, size_t heads) {
    return samples * heads >= HEADS_PER_LANE * dqg_concurrency(context);
}

size_t dqg_op_attention_scratch(void) {
    return DQG_ATTENTION_SCRATCH * sizeof(float);
}

bool dqg_op_attention_shared(const struct dqg_context *context, size_t samples, size_t heads, size_t keys, size_t width,
                             size_t *bytes) {
    size_t slots = whole_heads(context, samples, heads) ? dqg_concurrency(context) : heads, elements;
    return dqg_mul_size(keys, width, &elements) &&
           elements < SIZE_MAX / (64 * DQG_ATTENTION_KEYS) && /* amply what padding and scales may multiply it by */
           dqg_mul_size(slots, dqg_attention_packed_bytes(keys, width), bytes);
}

/* The column of a head in rows of q, k and v. */
static size_t column_of(const struct dqg_attention_args *args, size_t head) {
    return head * (args->head_columns > 0 ? args->head_columns : args->width);
}

static size_t keys_of(const struct dqg_attention_args *args, size_t sample) {
    return args->counts != NULL ? dqg_min_size((size_t)args->counts[sample], args->keys) : args->keys;
}

/* A block of queries; packed: keys and values of the head, or NULL for the float kernel. */
static void attend(const struct attention_task *task, size_t sample, size_t head, size_t block, const void *packed,
                   size_t lane) {
    const struct dqg_attention_args *args = task->args;
    size_t first = block * DQG_ATTENTION_QUERIES;
    size_t query = sample * args->queries + first, key = sample * args->keys, column = column_of(args, head);
    struct dqg_attention kernel = {
        .q = args->q + query * args->ld_q + column,
        .k = args->k + key * args->ld_k + column,
        .v = args->v + key * args->ld_v + column,
        .packed = packed,
        .out = args->out + query * args->ld_out + head * args->width,
        .ld_q = args->ld_q,
        .ld_k = args->ld_k,
        .ld_v = args->ld_v,
        .ld_out = args->ld_out,
        .queries = dqg_min_size(DQG_ATTENTION_QUERIES, args->queries - first),
        .keys = keys_of(args, sample),
        .width = args->width,
        .scale = args->scale != 0.0f ? args->scale : 1.0f / sqrtf((float)args->width),
        .ld_bias = args->bias_query,
        .visible = args->causal ? first + 1 : 0,
        .scratch = (float *)(task->ops->scratch + lane * task->ops->lane_bytes),
    };
    if (args->bias != NULL) {
        kernel.bias = args->bias + sample * args->bias_sample + head * args->bias_head + first * args->bias_query;
    }
    if (packed != NULL) {
        task->ops->kernels->attention_i8_f32(&kernel);
    } else {
        task->ops->kernels->attention_f32_f32(&kernel);
    }
}

/* Pack a head into one of the slots of shared memory. */
static const void *pack(const struct attention_task *task, size_t sample, size_t head, size_t slot) {
    const struct dqg_attention_args *args = task->args;
    size_t row = sample * args->keys, column = column_of(args, head);
    char *packed = task->ops->shared + slot * task->packed_bytes;
    task->ops->kernels->attention_pack_f32_i8(packed, args->k + row * args->ld_k + column, args->ld_k,
                                              args->v + row * args->ld_v + column, args->ld_v, keys_of(args, sample),
                                              args->width);
    return packed;
}

static void whole_head(void *argument, size_t index, size_t lane) {
    const struct attention_task *task = argument;
    size_t sample = index / task->args->heads, head = index % task->args->heads;
    const void *packed = pack(task, sample, head, lane);
    for (size_t block = 0; block < task->query_blocks; block++) {
        attend(task, sample, head, block, packed, lane);
    }
}

static void pack_head(void *argument, size_t head, size_t lane) {
    const struct attention_task *task = argument;
    (void)lane;
    pack(task, task->first, head, head);
}

static void query_block(void *argument, size_t index, size_t lane) {
    const struct attention_task *task = argument;
    size_t heads = task->args->heads, block = index % task->query_blocks, head = index / task->query_blocks % heads;
    size_t sample = task->first + index / task->query_blocks / heads;
    const char *packed = task->args->int8 ? task->ops->shared + head * task->packed_bytes : NULL;
    attend(task, sample, head, block, packed, lane);
}

void dqg_op_attention(const struct dqg_ops *ops, const struct dqg_attention_args *args) {
    struct attention_task task = {ops, args, 0, (args->queries + DQG_ATTENTION_QUERIES - 1) / DQG_ATTENTION_QUERIES,
                                  dqg_attention_packed_bytes(args->keys, args->width)};
    size_t blocks = args->heads * task.query_blocks;
    if (!args->int8) {
        dqg_parallel(ops->context, args->samples * blocks, query_block, &task);
    } else if (whole_heads(ops->context, args->samples, args->heads)) {
        dqg_parallel(ops->context, args->samples * args->heads, whole_head, &task);
    } else {
        for (; task.first < args->samples; task.first++) {
            dqg_parallel(ops->context, args->heads, pack_head, &task);
            dqg_parallel(ops->context, blocks, query_block, &task);
        }
    }
}
