/* SPDX-License-Identifier: MIT */
/* Weights of any quantized storage format as int8 panels, ready for integer products. */
#include "ops/ops.h"

const int8_t *dqg_panels_int8(const struct dqg_ops *ops, const struct dqg_weight *weight, size_t first, size_t panels,
                              char *scratch) {
    size_t depth = weight->size.columns_padded;
    size_t panel_values = DQG_PANEL * depth;
    if (weight->dtype == DQG_DTYPE_INT8) {
        return (const int8_t *)weight->codes + first * panel_values;
    }
    for (size_t p = 0; p < panels; p++) {
        size_t column = (first + p) * DQG_PANEL;
        ops->kernels->decode_i4_i8(
            (int8_t *)scratch + p * panel_values, (const uint8_t *)weight->codes + (first + p) * panel_values / 2,
            (const uint16_t *)weight->scales + column, weight->zeros != NULL ? weight->zeros + column : NULL,
            weight->size.rows_padded, weight->inverse + column, depth, (size_t)weight->group);
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
