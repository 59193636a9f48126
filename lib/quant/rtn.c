/* SPDX-License-Identifier: MIT */
/*
 * Round to nearest with a searched scale. For each group (or output channel) a grid of clipping thresholds is tried;
 * for each, codes are rounded and the scale that fits them best in the least-squares sense is taken. Panels of 16
 * output channels are independent, so the result does not depend on the number of lanes.
 */
#include <math.h>

#include "quant/quant.h"
#include "tensor/half.h"

/* Thresholds run from the largest magnitude down to this part of it. */
static const float lowest_clip = 0.5f;

static float round_scale(float scale, bool half) {
    return half ? dqg_f16_to_f32(dqg_f32_to_f16(scale)) : scale;
}

/* Sums are kept in this many parts, so that the loops over a group fill vector registers. */
enum { PARTS = 16 };

static float sum_parts(const float parts[PARTS]) {
    float sum = 0.0f;
    for (int i = 0; i < PARTS; i++) {
        sum += parts[i];
    }
    return sum;
}

/* Round to nearest even for |x| < 2^22: the float adder rounds where the fraction falls off. */
static inline float round_even(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23 */
    return (x + magic) - magic;
}

/* Codes less their zero point for a scale, as floats; returns the squared error. */
static float round_codes(const float *x, size_t n, float scale, float low, float high, float *codes) {
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    float errors[PARTS] = {0.0f};
    for (size_t i = 0; i < n; i += PARTS) {
        for (size_t j = 0; j < PARTS; j++) {
            float code = x[i + j] * inverse;
            code = code < low ? low : code;
            code = round_even(code > high ? high : code);
            float difference = x[i + j] - code * scale;
            errors[j] += difference * difference;
            codes[i + j] = code;
        }
    }
    return sum_parts(errors);
}

/* The least-squares scale for given codes. */
static float fit_scale(const float *x, size_t n, const float *codes, float fallback) {
    float xq[PARTS] = {0.0f};
    float qq[PARTS] = {0.0f};
    for (size_t i = 0; i < n; i += PARTS) {
        for (size_t j = 0; j < PARTS; j++) {
            xq[j] += x[i + j] * codes[i + j];
            qq[j] += codes[i + j] * codes[i + j];
        }
    }
    float above = sum_parts(xq);
    float below = sum_parts(qq);
    return below > 0.0f && above > 0.0f ? above / below : fallback;
}

float dqg_search_scale(const float *x, size_t n, struct dqg_code_range range, int32_t steps, float *codes, int *zero) {
    float low = 0.0f;
    float high = 0.0f;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    int best_zero = zero != NULL ? range.lowest : 0;
    float best_scale = 0.0f;
    float best_error = INFINITY;
    for (int32_t step = 0; step < steps; step++) {
        float clip = steps > 1 ? 1.0f - (1.0f - lowest_clip) * (float)step / (float)(steps - 1) : 1.0f;
        int try_zero = 0;
        float scale;
        if (zero != NULL) {
            scale = (high - low) * clip / (float)(range.highest - range.lowest);
            try_zero = scale > 0.0f ? (int)nearbyintf(-low * clip / scale) : 0;
            try_zero = try_zero > range.highest ? range.highest : try_zero;
        } else {
            scale = fmaxf(-low / (float)-range.lowest, high / (float)range.highest) * clip;
        }
        float lowest = (float)(range.lowest - try_zero);
        float highest = (float)(range.highest - try_zero);
        for (int pass = 0; pass < 2; pass++) {
            scale = round_scale(pass == 0 ? scale : fit_scale(x, n, codes, scale), range.half);
            float error = round_codes(x, n, scale, lowest, highest, codes);
            if (error < best_error) {
                best_error = error;
                best_scale = scale;
                best_zero = try_zero;
            }
        }
    }
    round_codes(x, n, best_scale, (float)(range.lowest - best_zero), (float)(range.highest - best_zero), codes);
    if (zero != NULL) {
        *zero = best_zero;
    }
    return best_scale;
}

/* ---- tensors ---- */

struct pack_task {
    struct dqg_packing *packing;
    struct dqg_matrix_size size;
    float inverse_scale; /* 1 / the tensor's scale, a power of two */
    char *scratch;
    size_t lane_bytes;
    double (*errors)[2]; /* for each panel: squared error, squared norm */
};

/* Row as floats divided by the tensor's scale, padded with zeros; false where an element is not finite. */
static void load_row(const struct pack_task *task, size_t row, float *out) {
    const struct dqg_tensor_desc *from = task->packing->from;
    size_t columns = task->size.columns;
    const char *in = (const char *)task->packing->in + row * columns * dqg_dtype_size(from->dtype);
    dqg_floats_decode(out, in, from->dtype, columns);
    for (size_t i = 0; i < columns; i++) {
        out[i] *= task->inverse_scale;
    }
    memset(out + columns, 0, (dqg_round_up(task->size.columns_padded, PARTS) - columns) * sizeof *out);
}

/* Store a group's codes as bytes that count from offset; add up error and norm. */
static void keep_codes(int8_t *out, const float *codes, const float *x, size_t n, float scale, int offset,
                       double sums[2]) {
    for (size_t i = 0; i < n; i++) {
        double difference = (double)x[i] - (double)codes[i] * scale;
        sums[0] += difference * difference;
        sums[1] += (double)x[i] * x[i];
        out[i] = (int8_t)((int)codes[i] + offset);
    }
}

/* All groups of one row: codes to codes[], scales and zero points to their planes. rounded: room for a group. */
static void pack_row(const struct pack_task *task, size_t row, const float *x, float *rounded, int8_t *codes,
                     double sums[2]) {
    const struct dqg_tensor_desc *to = task->packing->to;
    size_t n = task->size.columns_padded / task->size.groups;
    bool eight = to->dtype == DQG_DTYPE_INT8;
    bool zeroed = to->dtype == DQG_DTYPE_INT4Z;
    struct dqg_code_range range = {eight ? -127 : zeroed ? 0 : -8, eight ? 127 : zeroed ? 15 : 7, !eight};
    for (size_t g = 0; g < task->size.groups; g++) {
        size_t at = g * task->size.rows_padded + row;
        int zero = 0;
        float scale = dqg_search_scale(x + g * n, dqg_round_up(n, PARTS), range, task->packing->search, rounded,
                                       zeroed ? &zero : NULL);
        keep_codes(codes + g * n, rounded, x + g * n, n, scale, eight ? 0 : zeroed ? zero : 8, sums);
        if (eight) {
            ((float *)task->packing->planes[DQG_PLANE_SCALES])[at] = scale;
        } else {
            ((uint16_t *)task->packing->planes[DQG_PLANE_SCALES])[at] = dqg_f32_to_f16(scale);
        }
        if (zeroed) {
            ((uint8_t *)task->packing->planes[DQG_PLANE_ZEROS])[at] = (uint8_t)zero;
        }
    }
}

static void pack_panel(void *argument, size_t panel, size_t lane) {
    struct pack_task *task = argument;
    size_t padded = task->size.columns_padded;
    size_t width = dqg_round_up(padded, PARTS);
    float *x = (float *)(task->scratch + lane * task->lane_bytes);
    float *rounded = x + width;
    int8_t *codes = (int8_t *)(rounded + width);
    double sums[2] = {0.0, 0.0};
    memset(codes, 0, DQG_PANEL * padded);
    for (size_t i = 0; i < DQG_PANEL && panel * DQG_PANEL + i < task->size.rows; i++) {
        load_row(task, panel * DQG_PANEL + i, x);
        pack_row(task, panel * DQG_PANEL + i, x, rounded, codes + i * padded, sums);
    }
    char *out = task->packing->planes[DQG_PLANE_CODES];
    if (task->packing->to->dtype == DQG_DTYPE_INT8) {
        dqg_pack_i8_panel((int8_t *)out + panel * DQG_PANEL * padded, codes, padded);
    } else {
        dqg_pack_i4_panel((uint8_t *)out + panel * DQG_PANEL * padded / 2, (const uint8_t *)codes, padded);
    }
    task->errors[panel][0] = sums[0];
    task->errors[panel][1] = sums[1];
}

static double relative_error(double (*sums)[2], size_t count) {
    double error = 0.0;
    double norm = 0.0;
    for (size_t i = 0; i < count; i++) {
        error += sums[i][0];
        norm += sums[i][1];
    }
    return norm > 0.0 ? sqrt(error / norm) : 0.0;
}

static dqg_status quantize_matrix(struct dqg_context *context, struct dqg_packing *packing, float largest) {
    struct pack_task task = {.packing = packing};
    struct dqg_tensor_desc *to = packing->to;
    dqg_matrix_size(to->dtype, to->group, to->rank, to->shape, &task.size);
    /* A power of two that brings the weights near 1, where F16 scales have all their bits. */
    int exponent = 0;
    frexpf(largest, &exponent);
    to->scale = largest > 0.0f ? ldexpf(1.0f, exponent < -100 ? -100 : exponent) : 1.0f;
    task.inverse_scale = 1.0f / to->scale;
    size_t width = dqg_round_up(task.size.columns_padded, PARTS);
    task.lane_bytes = dqg_round_up(width * (2 * sizeof(float) + DQG_PANEL), DQG_ALIGNMENT);
    size_t panels = task.size.rows_padded / DQG_PANEL;
    size_t scratch_bytes;
    size_t error_bytes = panels * sizeof *task.errors;
    if (!dqg_mul_size(task.lane_bytes, dqg_concurrency(context), &scratch_bytes)) {
        return dqg_fail_memory(context, to->name, SIZE_MAX);
    }
    task.scratch = dqg_malloc(&context->alloc, scratch_bytes);
    task.errors = dqg_malloc(&context->alloc, error_bytes);
    dqg_status status = DQG_OK;
    if (task.scratch == NULL || task.errors == NULL) {
        status = dqg_fail_memory(context, to->name, scratch_bytes);
    } else {
        for (int plane = DQG_PLANE_SCALES; plane < DQG_PLANE_COUNT; plane++) {
            if (to->plane_bytes[plane] > 0) { /* padded channels have scale 0 */
                memset(packing->planes[plane], 0, (size_t)to->plane_bytes[plane]);
            }
        }
        dqg_parallel(context, panels, pack_panel, &task);
        packing->error = relative_error(task.errors, panels);
    }
    dqg_free(&context->alloc, task.errors, error_bytes);
    dqg_free(&context->alloc, task.scratch, scratch_bytes);
    return status;
}

enum { CHUNK = 1024 };

/* Between float formats, in pieces. */
static dqg_status convert_floats(struct dqg_context *context, struct dqg_packing *packing, uint64_t count) {
    const struct dqg_tensor_desc *from = packing->from;
    struct dqg_tensor_desc *to = packing->to;
    double sums[1][2] = {{0.0, 0.0}};
    float x[CHUNK];
    float back[CHUNK];
    to->scale = 1.0f;
    for (uint64_t at = 0; at < count; at += CHUNK) {
        size_t n = count - at < CHUNK ? (size_t)(count - at) : CHUNK;
        char *out = (char *)packing->planes[0] + at * dqg_dtype_size(to->dtype);
        dqg_floats_decode(x, (const char *)packing->in + at * dqg_dtype_size(from->dtype), from->dtype, n);
        dqg_floats_encode(out, x, to->dtype, n);
        dqg_floats_decode(back, out, to->dtype, n);
        for (size_t i = 0; i < n; i++) {
            double difference = (double)x[i] - back[i];
            sums[0][0] += difference * difference;
            sums[0][1] += (double)x[i] * x[i];
        }
    }
    packing->error = relative_error(sums, 1);
    if (!isfinite(packing->error)) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "tensor '%s' has values beyond the range of %s; store it as bf16 or f32", to->name,
                        dqg_dtype_name(to->dtype));
    }
    return DQG_OK;
}

dqg_status dqg_quantize_tensor(struct dqg_context *context, struct dqg_packing *packing) {
    const struct dqg_tensor_desc *from = packing->from;
    uint64_t count = 0;
    float largest = 0.0f;
    float x[CHUNK];
    dqg_shape_count(from->rank, from->shape, &count);
    for (uint64_t at = 0; at < count; at += CHUNK) {
        size_t n = count - at < CHUNK ? (size_t)(count - at) : CHUNK;
        dqg_floats_decode(x, (const char *)packing->in + at * dqg_dtype_size(from->dtype), from->dtype, n);
        for (size_t i = 0; i < n; i++) {
            if (!isfinite(x[i])) {
                return dqg_fail(context, DQG_ERROR_RANGE,
                                "tensor '%s': element %llu is not finite; the checkpoint is "
                                "damaged",
                                from->name, (unsigned long long)(at + i));
            }
            largest = fmaxf(largest, fabsf(x[i]));
        }
    }
    return dqg_dtype_is_float(packing->to->dtype) ? convert_floats(context, packing, count)
                                                  : quantize_matrix(context, packing, largest);
}
