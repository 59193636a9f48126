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

/* What decoders read of a panel. */
static struct dqg_codes panel_codes(const struct dqg_weight *weight, const struct dqg_format *format, size_t panel) {
    size_t depth = weight->size.columns_padded, column = panel * DQG_PANEL;
    struct dqg_codes codes = {.codes = (const uint8_t *)weight->codes + panel * dqg_panel_bytes(format, depth),
                              .bits = format->bits,
                              .levels = format->kind == DQG_FORMAT_VECTOR ? weight->codebook : format->levels,
                              .scale_stride = weight->size.rows_padded,
                              .k = depth,
                              .group = (size_t)weight->group};
    if (dqg_format_has_groups(format)) {
        codes.scales = (const uint16_t *)weight->scales + column;
        codes.zeros = format->zeros ? weight->zeros + column : NULL;
        codes.inverse = weight->inverse + column;
    }
    return codes;
}

const int8_t *dqg_panels_int8(const struct dqg_ops *ops, const struct dqg_weight *weight, size_t first, size_t panels,
                              char *scratch) {
    const struct dqg_format *format = dqg_format_find(weight->dtype);
    size_t panel_values = DQG_PANEL * weight->size.columns_padded;
    if (format->kind == DQG_FORMAT_INT8) {
        return (const int8_t *)weight->codes + first * panel_values;
    }
    dqg_decode_i8_fn *decode = decoder(ops->kernels, format->kind);
    for (size_t p = 0; p < panels; p++) {
        struct dqg_codes codes = panel_codes(weight, format, first + p);
        decode((int8_t *)scratch + p * panel_values, &codes);
    }
    return (const int8_t *)scratch;
}

void dqg_panels_multiply(const struct dqg_ops *ops, const struct dqg_weight *weight, size_t first,
                         struct dqg_gemm_i8 *product, char *scratch) {
    const struct dqg_format *format = dqg_format_find(weight->dtype);
    if (product->w == NULL && product->rows <= ops->kernels->few_rows && format->kind == DQG_FORMAT_GROUP) {
        struct dqg_gemm_i8 panel = *product;
        for (size_t p = 0; p < product->panels; p++, panel.c += DQG_PANEL, panel.sums += DQG_PANEL) {
            struct dqg_codes codes = panel_codes(weight, format, first + p);
            ops->kernels->gemm_group_i32(&panel, &codes);
        }
        return;
    }
    if (product->w == NULL) {
        product->w = dqg_panels_int8(ops, weight, first, product->panels, scratch);
    }
    ops->kernels->gemm_i8_i32(product);
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
