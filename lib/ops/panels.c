/* SPDX-License-Identifier: MIT */
/* Weights of any quantized storage format as int8 panels, ready for integer products. */
#include "ops/ops.h"

static dqg_decode_i8_fn *decoder(const struct dqg_kernels *kernels, enum dqg_format_kind kind) {
    switch (kind) {
    case DQG_FORMAT_SIGN:
        return kernels->decode_sign_i8;
    case DQG_FORMAT_F8:
        return kernels->decode_f8_i8;
    case DQG_FORMAT_VECTOR:
        return kernels->decode_vector_i8;
    default:
        return kernels->decode_group_i8;
    }
}

const int8_t *dqg_panels_int8(const struct dqg_ops *ops, const struct dqg_weight *weight, size_t first, size_t panels,
                              char *scratch) {
    const struct dqg_format *format = dqg_format_find(weight->dtype);
    size_t depth = weight->size.columns_padded;
    size_t bytes = dqg_panel_bytes(format, depth);
    const uint8_t *stored = (const uint8_t *)weight->codes + first * bytes;
    if (format->kind == DQG_FORMAT_INT8) {
        return (const int8_t *)stored;
    }
    dqg_decode_i8_fn *decode = decoder(ops->kernels, format->kind);
    struct dqg_codes codes = {.codes = stored,
                              .bits = format->bits,
                              .levels = format->kind == DQG_FORMAT_VECTOR ? weight->codebook : format->levels,
                              .scale_stride = weight->size.rows_padded,
                              .k = depth,
                              .group = (size_t)weight->group};
    for (size_t p = 0; p < panels; p++, codes.codes += bytes) {
        if (dqg_format_has_groups(format)) {
            size_t column = (first + p) * DQG_PANEL;
            codes.scales = (const uint16_t *)weight->scales + column;
            codes.zeros = format->zeros ? weight->zeros + column : NULL;
            codes.inverse = weight->inverse + column;
        }
        decode((int8_t *)scratch + p * DQG_PANEL * depth, &codes);
    }
    return (const int8_t *)scratch;
}

struct sums_task {
    const struct dqg_ops *ops;
    struct dqg_weight *weight;
};

static void sum_panel(void *argument, size_t index, size_t lane) {
    const struct sums_task *task = argument;
    char *scratch = task->ops->scratch + lane * task->ops->lane_bytes;
    const int8_t *panel = dqg_panels_int8(task->ops, task->weight, index, 1, scratch);
    task->ops->kernels->sum_i8_i32(task->weight->sums + index * DQG_PANEL, panel, task->weight->size.columns_padded);
}

void dqg_op_weight_sums(const struct dqg_ops *ops, struct dqg_weight *weight) {
    struct sums_task task = {ops, weight};
    dqg_parallel(ops->context, weight->size.rows_padded / DQG_PANEL, sum_panel, &task);
}
