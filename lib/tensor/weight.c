/* SPDX-License-Identifier: MIT */
/*
 * Weights in memory: planes as the file has them, and the per-channel scales that the integer path needs. Filled by
 * lib/model/load.c, read by the operators and by dqg_model_read_tensor().
 */
#include <math.h>

#include "tensor/half.h"
#include "tensor/weight.h"

size_t dqg_weight_count(const struct dqg_weight *weight) {
    uint64_t count = 0;
    dqg_shape_count(weight->rank, weight->shape, &count);
    return (size_t)count;
}

static size_t scale_bytes(const struct dqg_weight *weight) {
    return weight->size.rows_padded * sizeof(float);
}

dqg_status dqg_weight_allocate(struct dqg_context *context, struct dqg_weight *weight) {
    const struct dqg_alloc *alloc = &context->alloc;
    void **planes[3] = {&weight->codes, &weight->scales, (void **)&weight->zeros};
    bool quantized = dqg_dtype_is_quantized(weight->dtype);
    bool grouped = quantized && weight->dtype != DQG_DTYPE_INT8;
    for (int i = 0; i < 3; i++) {
        if (weight->bytes[i] > 0) {
            *planes[i] = dqg_malloc(alloc, (size_t)weight->bytes[i]);
            if (*planes[i] == NULL) {
                return dqg_fail_memory(context, weight->name, (size_t)weight->bytes[i]);
            }
        }
    }
    if (quantized) {
        weight->column_scale = dqg_malloc(alloc, scale_bytes(weight));
        weight->sums = dqg_malloc(alloc, scale_bytes(weight));
    }
    if (grouped) {
        weight->inverse = dqg_malloc(alloc, scale_bytes(weight));
    }
    if ((quantized && (weight->column_scale == NULL || weight->sums == NULL)) || (grouped && weight->inverse == NULL)) {
        return dqg_fail_memory(context, weight->name, scale_bytes(weight));
    }
    return DQG_OK;
}

void dqg_weight_free(const struct dqg_alloc *alloc, struct dqg_weight *weight) {
    dqg_free(alloc, weight->codes, (size_t)weight->bytes[0]);
    dqg_free(alloc, weight->scales, (size_t)weight->bytes[1]);
    dqg_free(alloc, weight->zeros, (size_t)weight->bytes[2]);
    dqg_free(alloc, weight->column_scale, scale_bytes(weight));
    dqg_free(alloc, weight->inverse, scale_bytes(weight));
    dqg_free(alloc, weight->sums, scale_bytes(weight));
}

uint64_t dqg_weight_bytes(const struct dqg_weight *weight) {
    uint64_t derived = (weight->column_scale != NULL) + (weight->inverse != NULL) + (weight->sums != NULL);
    return weight->bytes[0] + weight->bytes[1] + weight->bytes[2] + derived * scale_bytes(weight);
}

static dqg_status bad_scale(struct dqg_context *context, const struct dqg_weight *weight) {
    return dqg_fail(context, DQG_ERROR_FORMAT,
                    "tensor '%s': a scale is negative or not finite; the file is damaged "
                    "or was written by a faulty program",
                    weight->name);
}

/* The largest |code - zero| of a group. */
static float code_range(const struct dqg_weight *weight, size_t index) {
    if (weight->zeros == NULL) {
        return 8.0f;
    }
    int zero = weight->zeros[index];
    return (float)(zero > 15 - zero ? zero : 15 - zero);
}

/* int8 = code * scale / channel scale must stay within 127 for every group of a channel. */
static dqg_status derive_group_scales(struct dqg_context *context, struct dqg_weight *weight) {
    size_t stride = weight->size.rows_padded;
    const uint16_t *scales = weight->scales;
    for (size_t n = 0; n < stride; n++) {
        float largest = 0.0f;
        for (size_t g = 0; g < weight->size.groups; g++) {
            size_t index = g * stride + n;
            float scale = dqg_f16_to_f32(scales[index]);
            if (!isfinite(scale) || scale < 0.0f) {
                return bad_scale(context, weight);
            }
            if (weight->zeros != NULL && weight->zeros[index] > 15) {
                return dqg_fail(context, DQG_ERROR_FORMAT, "tensor '%s': a zero point is above 15", weight->name);
            }
            largest = fmaxf(largest, scale * code_range(weight, index));
        }
        float channel = largest / 127.0f;
        weight->inverse[n] = channel > 0.0f ? 128.0f / channel : 0.0f;
        weight->column_scale[n] = channel * weight->scale;
    }
    return DQG_OK;
}

/* Kernels need int8 codes in -127..127. */
static dqg_status check_int8_codes(struct dqg_context *context, const struct dqg_weight *weight) {
    const int8_t *codes = weight->codes;
    int lowest = 0;
    for (size_t i = 0; i < weight->bytes[0]; i++) {
        lowest = codes[i] < lowest ? codes[i] : lowest;
    }
    if (lowest < -127) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "tensor '%s': a code is -128; codes must lie in -127..127",
                        weight->name);
    }
    return DQG_OK;
}

dqg_status dqg_weight_finish(struct dqg_context *context, struct dqg_weight *weight) {
    if (!isfinite(weight->scale) || weight->scale < 0.0f) {
        return bad_scale(context, weight);
    }
    if (weight->dtype == DQG_DTYPE_INT8) {
        const float *scales = weight->scales;
        for (size_t n = 0; n < weight->size.rows_padded; n++) {
            if (!isfinite(scales[n]) || scales[n] < 0.0f) {
                return bad_scale(context, weight);
            }
            weight->column_scale[n] = scales[n] * weight->scale;
        }
        return check_int8_codes(context, weight);
    }
    return weight->inverse != NULL ? derive_group_scales(context, weight) : DQG_OK;
}

/* ---- exact decoding ---- */

size_t dqg_weight_scratch(const struct dqg_weight *weight) {
    return dqg_dtype_is_quantized(weight->dtype) ? DQG_PANEL * weight->size.columns_padded : 1;
}

static float decode_code(const struct dqg_weight *weight, const uint8_t *codes, size_t row, size_t k) {
    const struct dqg_matrix_size *size = &weight->size;
    uint8_t code = codes[(row % DQG_PANEL) * size->columns_padded + k];
    if (weight->dtype == DQG_DTYPE_INT8) {
        return (float)(int8_t)code * ((const float *)weight->scales)[row] * weight->scale;
    }
    size_t index = k / (size_t)weight->group * size->rows_padded + row;
    int zero = weight->zeros != NULL ? weight->zeros[index] : 8;
    return (float)(code - zero) * dqg_f16_to_f32(((const uint16_t *)weight->scales)[index]) * weight->scale;
}

void dqg_weight_decode_rows(const struct dqg_weight *weight, size_t first, size_t count, float *out, void *scratch) {
    const struct dqg_matrix_size *size = &weight->size;
    if (dqg_dtype_is_float(weight->dtype)) {
        const char *rows = (const char *)weight->codes + first * size->columns * dqg_dtype_size(weight->dtype);
        dqg_floats_decode(out, rows, weight->dtype, count * size->columns);
        return;
    }
    size_t panel_values = DQG_PANEL * size->columns_padded;
    size_t loaded = SIZE_MAX;
    for (size_t row = first; row < first + count; row++) {
        if (row / DQG_PANEL != loaded) {
            loaded = row / DQG_PANEL;
            if (weight->dtype == DQG_DTYPE_INT8) {
                dqg_unpack_i8_panel(scratch, (const int8_t *)weight->codes + loaded * panel_values,
                                    size->columns_padded);
            } else {
                dqg_unpack_i4_panel(scratch, (const uint8_t *)weight->codes + loaded * panel_values / 2,
                                    size->columns_padded);
            }
        }
        for (size_t k = 0; k < size->columns; k++) {
            *out++ = decode_code(weight, scratch, row, k);
        }
    }
}
