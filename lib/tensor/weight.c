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

/* Bytes of column_scale, sums, inverse and codebook; 0 where the format has none. */
static void derived_bytes(const struct dqg_weight *weight, size_t bytes[4]) {
    const struct dqg_format *format = dqg_format_find(weight->dtype);
    bytes[0] = bytes[1] = dqg_dtype_is_quantized(weight->dtype) ? scale_bytes(weight) : 0;
    bytes[2] = dqg_format_has_groups(format) ? scale_bytes(weight) : 0;
    bytes[3] = format->kind == DQG_FORMAT_VECTOR ? DQG_CODEBOOK_ENTRIES * dqg_vector_width(format) : 0;
}

static dqg_status allocate(struct dqg_context *context, const struct dqg_weight *weight, void **ptr, uint64_t bytes) {
    if (bytes > 0) {
        *ptr = dqg_malloc(&context->alloc, (size_t)bytes);
        if (*ptr == NULL) {
            return dqg_fail_memory(context, weight->name, (size_t)bytes);
        }
    }
    return DQG_OK;
}

dqg_status dqg_weight_allocate(struct dqg_context *context, struct dqg_weight *weight) {
    size_t derived[4];
    derived_bytes(weight, derived);
    DQG_TRY(allocate(context, weight, &weight->codes, weight->bytes[0]));
    DQG_TRY(allocate(context, weight, &weight->scales, weight->bytes[1]));
    DQG_TRY(allocate(context, weight, (void **)&weight->zeros, weight->bytes[2]));
    DQG_TRY(allocate(context, weight, (void **)&weight->column_scale, derived[0]));
    DQG_TRY(allocate(context, weight, (void **)&weight->sums, derived[1]));
    DQG_TRY(allocate(context, weight, (void **)&weight->inverse, derived[2]));
    return allocate(context, weight, (void **)&weight->codebook, derived[3]);
}

void dqg_weight_free(const struct dqg_alloc *alloc, struct dqg_weight *weight) {
    size_t derived[4];
    derived_bytes(weight, derived);
    dqg_free(alloc, weight->codes, (size_t)weight->bytes[0]);
    dqg_free(alloc, weight->scales, (size_t)weight->bytes[1]);
    dqg_free(alloc, weight->zeros, (size_t)weight->bytes[2]);
    dqg_free(alloc, weight->column_scale, derived[0]);
    dqg_free(alloc, weight->sums, derived[1]);
    dqg_free(alloc, weight->inverse, derived[2]);
    dqg_free(alloc, weight->codebook, derived[3]);
}

uint64_t dqg_weight_bytes(const struct dqg_weight *weight) {
    size_t derived[4];
    derived_bytes(weight, derived);
    return weight->bytes[0] + weight->bytes[1] + weight->bytes[2] + derived[0] + derived[1] + derived[2] + derived[3];
}

static dqg_status bad_scale(struct dqg_context *context, const struct dqg_weight *weight) {
    return dqg_fail(context, DQG_ERROR_FORMAT,
                    "tensor '%s': a scale is negative or not finite; the file is damaged "
                    "or was written by a faulty program",
                    weight->name);
}

/* The largest |level| of each group's codes where there are no zero points. */
static float level_range(const struct dqg_format *format) {
    float largest = 1.0f; /* of signs */
    if (format->levels != NULL) {
        for (int i = 0; i < 16; i++) {
            largest = fmaxf(largest, (float)format->levels[i]);
        }
    } else if (format->kind == DQG_FORMAT_GROUP) {
        largest = (float)(1 << (format->bits - 1));
    }
    return largest;
}

/* The largest |code - zero| of a group. */
static float zero_range(const struct dqg_format *format, int zero) {
    int top = (1 << format->bits) - 1;
    return (float)(zero > top - zero ? zero : top - zero);
}

/* Raise largest[n] to what the decoded levels of each output n may reach in group g, in units of scale * level. */
static dqg_status add_group(struct dqg_context *context, const struct dqg_weight *weight,
                            const struct dqg_format *format, size_t g, float *largest) {
    size_t stride = weight->size.rows_padded;
    size_t bases = format->kind == DQG_FORMAT_SIGN ? (size_t)format->bits : 1;
    float range = level_range(format);
    for (size_t n = 0; n < stride; n++) {
        float sum = 0.0f;
        for (size_t b = 0; b < bases; b++) {
            float scale = dqg_f16_to_f32(((const uint16_t *)weight->scales)[(g * bases + b) * stride + n]);
            if (!isfinite(scale) || scale < 0.0f) {
                return bad_scale(context, weight);
            }
            sum += scale;
        }
        if (format->zeros) {
            int zero = weight->zeros[g * stride + n];
            if (zero > (int)dqg_largest_code(format)) {
                return dqg_fail(context, DQG_ERROR_FORMAT, "tensor '%s': a zero point is above %u", weight->name,
                                (unsigned)dqg_largest_code(format));
            }
            range = zero_range(format, zero);
        }
        largest[n] = sum * range > largest[n] ? sum * range : largest[n];
    }
    return DQG_OK;
}

/* int8 = level * scale / output scale must stay within 127 for every group of an output. */
static dqg_status derive_group_scales(struct dqg_context *context, struct dqg_weight *weight,
                                      const struct dqg_format *format) {
    float *largest = weight->column_scale; /* at first: groups are looked at in the order of memory */
    memset(largest, 0, scale_bytes(weight));
    for (size_t g = 0; g < weight->size.groups; g++) {
        DQG_TRY(add_group(context, weight, format, g, largest));
    }
    for (size_t n = 0; n < weight->size.rows_padded; n++) {
        float channel = largest[n] / 127.0f;
        weight->inverse[n] = channel > 0.0f ? 128.0f / channel : 0.0f;
        weight->column_scale[n] = channel * format->unit * weight->scale;
    }
    return DQG_OK;
}

/* Kernels need int8 codes in -127..127, and 8-bit floats must be numbers. */
static dqg_status check_codes(struct dqg_context *context, const struct dqg_weight *weight,
                              const struct dqg_format *format) {
    const uint8_t *codes = weight->codes;
    bool eight = format->kind == DQG_FORMAT_INT8;
    uint8_t most = eight ? 127 : (uint8_t)dqg_largest_code(format);
    bool bad = false;
    for (size_t i = 0; i < weight->bytes[0]; i++) {
        bad |= eight ? codes[i] == 128 : (codes[i] & 127) > most;
    }
    if (bad) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        eight ? "tensor '%s': a code is -128; codes must lie in -127..127"
                              : "tensor '%s': a weight is infinite or not a number",
                        weight->name);
    }
    return DQG_OK;
}

/* The codebook as int8; unit is what 1 stands for. */
static dqg_status derive_codebook(struct dqg_context *context, struct dqg_weight *weight, size_t count, float *unit) {
    const uint16_t *book = (const void *)weight->zeros;
    float largest = 0.0f;
    for (size_t i = 0; i < count; i++) {
        float value = fabsf(dqg_f16_to_f32(book[i]));
        if (!isfinite(value)) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "tensor '%s': an entry of the codebook is not finite",
                            weight->name);
        }
        largest = fmaxf(largest, value);
    }
    *unit = largest / 127.0f;
    for (size_t i = 0; i < count; i++) {
        float value = dqg_f16_to_f32(book[i]);
        weight->codebook[i] = (int8_t)(largest > 0.0f ? nearbyintf(value / largest * 127.0f) : 0.0f);
    }
    return DQG_OK;
}

/* One F32 scale for each output. */
static dqg_status derive_output_scales(struct dqg_context *context, struct dqg_weight *weight, float unit) {
    const float *scales = weight->scales;
    for (size_t n = 0; n < weight->size.rows_padded; n++) {
        if (!isfinite(scales[n]) || scales[n] < 0.0f) {
            return bad_scale(context, weight);
        }
        weight->column_scale[n] = scales[n] * unit * weight->scale;
    }
    return DQG_OK;
}

dqg_status dqg_weight_finish(struct dqg_context *context, struct dqg_weight *weight) {
    const struct dqg_format *format = dqg_format_find(weight->dtype);
    float unit = format->unit;
    if (!isfinite(weight->scale) || weight->scale < 0.0f) {
        return bad_scale(context, weight);
    }
    if (!dqg_dtype_is_quantized(weight->dtype)) {
        return DQG_OK;
    }
    if (dqg_format_has_groups(format)) {
        return derive_group_scales(context, weight, format);
    }
    if (format->kind == DQG_FORMAT_VECTOR) {
        DQG_TRY(derive_codebook(context, weight, DQG_CODEBOOK_ENTRIES * dqg_vector_width(format), &unit));
    } else {
        DQG_TRY(check_codes(context, weight, format));
    }
    return derive_output_scales(context, weight, unit);
}

/* ---- exact decoding ---- */

size_t dqg_weight_scratch(const struct dqg_weight *weight) {
    return dqg_dtype_is_quantized(weight->dtype) ? DQG_PANEL * weight->size.columns_padded : 1;
}

static float group_scale(const struct dqg_weight *weight, size_t index) {
    return dqg_f16_to_f32(((const uint16_t *)weight->scales)[index]) * weight->scale;
}

static float decode_code(const struct dqg_weight *weight, const struct dqg_format *format, uint32_t code, size_t row,
                         size_t k) {
    size_t stride = weight->size.rows_padded;
    if (format->kind == DQG_FORMAT_SIGN) {
        size_t index = k / (size_t)weight->group * (size_t)format->bits * stride + row;
        float first = group_scale(weight, index);
        float second = format->bits > 1 ? group_scale(weight, index + stride) : 0.0f;
        return (code & 1u ? first : -first) + (code & 2u ? second : -second);
    }
    if (format->kind == DQG_FORMAT_GROUP) {
        size_t index = k / (size_t)weight->group * stride + row;
        float zero = format->zeros ? (float)weight->zeros[index] : 0.0f;
        return (dqg_code_value(format, code) - zero) * group_scale(weight, index);
    }
    float scale = ((const float *)weight->scales)[row] * weight->scale;
    if (format->kind == DQG_FORMAT_VECTOR) {
        size_t width = dqg_vector_width(format);
        return dqg_f16_to_f32(((const uint16_t *)(const void *)weight->zeros)[code * width + k % width]) * scale;
    }
    return dqg_code_value(format, code) * scale;
}

void dqg_weight_decode_rows(const struct dqg_weight *weight, size_t first, size_t count, float *out, void *scratch) {
    const struct dqg_matrix_size *size = &weight->size;
    const struct dqg_format *format = dqg_format_find(weight->dtype);
    if (weight->codes == NULL) {
        memset(out, 0, count * size->columns * sizeof *out);
        return;
    }
    if (dqg_dtype_is_float(weight->dtype)) {
        const char *rows = (const char *)weight->codes + first * size->columns * dqg_dtype_size(weight->dtype);
        dqg_floats_decode(out, rows, weight->dtype, count * size->columns);
        return;
    }
    size_t panel_bytes = dqg_panel_bytes(format, size->columns_padded);
    size_t loaded = SIZE_MAX;
    for (size_t row = first; row < first + count; row++) {
        if (row / DQG_PANEL != loaded) {
            loaded = row / DQG_PANEL;
            dqg_unpack_panel(format, scratch, (const uint8_t *)weight->codes + loaded * panel_bytes,
                             size->columns_padded);
        }
        const uint8_t *codes = (const uint8_t *)scratch + row % DQG_PANEL * size->columns_padded;
        for (size_t k = 0; k < size->columns; k++) {
            size_t column = dqg_matrix_column(size, k);
            *out++ = decode_code(weight, format, codes[column], row, column);
        }
    }
}
