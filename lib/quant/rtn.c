/* SPDX-License-Identifier: MIT */
/*
 * Round to nearest, tensor by tensor: each row is rounded group by group (round.c, codebook.c) and packed into panels.
 * Panels of 16 output channels are independent, so the result does not depend on the number of lanes.
 */
#include <math.h>

#include "quant/round.h"
#include "tensor/half.h"

struct pack_task {
    struct dqg_packing *packing;
    const struct dqg_format *format;
    struct dqg_rounding rounding;
    char *scratch;
    size_t lane_bytes;
    double (*errors)[2]; /* for each panel: squared error, squared norm */
};

enum { PIECE = 256 };

/* Rows of panels stand in another order than those of convolutions in the checkpoint. */
void dqg_packing_row(const struct dqg_packing *packing, size_t row, float *out) {
    const struct dqg_tensor_desc *from = packing->from;
    size_t columns = packing->size.columns, element = dqg_dtype_size(from->dtype);
    const char *in = (const char *)packing->in + row * columns * element;
    float piece[PIECE];
    memset(out, 0, dqg_packing_width(packing) * sizeof *out);
    for (size_t at = 0; at < columns; at += PIECE) {
        size_t count = dqg_min_size(PIECE, columns - at);
        dqg_floats_decode(piece, in + at * element, from->dtype, count);
        for (size_t i = 0; i < count; i++) {
            out[dqg_matrix_column(&packing->size, at + i)] = piece[i] * packing->inverse_scale;
        }
    }
}

/* Scales and zero point of row and group to their planes. */
static void keep_group(const struct pack_task *task, size_t row, size_t g, const struct dqg_rounded *rounded) {
    size_t stride = task->packing->size.rows_padded;
    void *scales = task->packing->planes[DQG_PLANE_SCALES];
    if (!dqg_format_has_groups(task->format)) {
        ((float *)scales)[row] = rounded->scales[0];
        return;
    }
    size_t bases = task->format->kind == DQG_FORMAT_SIGN ? (size_t)task->format->bits : 1;
    for (size_t b = 0; b < bases; b++) {
        ((uint16_t *)scales)[(g * bases + b) * stride + row] = dqg_f32_to_f16(rounded->scales[b]);
    }
    if (task->format->zeros) {
        ((uint8_t *)task->packing->planes[DQG_PLANE_ZEROS])[g * stride + row] = (uint8_t)rounded->zero;
    }
}

/* Weights of a group without what pads its tap; a row that is one group keeps the zeros between its taps. */
static size_t group_count(const struct dqg_matrix_size *size, size_t g, size_t n) {
    size_t channels = size->columns / size->taps;
    return n > size->tap_padded ? dqg_matrix_extent(size) : dqg_min_size(n, channels - g * n % size->tap_padded);
}

/* All groups of one row. values: room for a row. */
static void pack_row(const struct pack_task *task, size_t row, const float *x, float *values, uint8_t *codes,
                     double sums[2]) {
    const struct dqg_matrix_size *size = &task->packing->size;
    size_t n = size->columns_padded / size->groups;
    for (size_t g = 0; g < size->groups; g++) {
        struct dqg_rounded rounded = {.codes = codes + g * n, .values = values};
        size_t count = group_count(size, g, n);
        dqg_round_group(&task->rounding, x + g * n, count, dqg_round_up(n, DQG_ROUND_PARTS), &rounded);
        keep_group(task, row, g, &rounded);
        for (size_t i = 0; i < count; i++) {
            double difference = (double)x[g * n + i] - (double)values[i];
            sums[0] += difference * difference;
            sums[1] += (double)x[g * n + i] * x[g * n + i];
        }
    }
}

static void pack_panel(void *argument, size_t panel, size_t lane) {
    struct pack_task *task = argument;
    const struct dqg_packing *packing = task->packing;
    size_t padded = packing->size.columns_padded;
    size_t width = dqg_packing_width(packing);
    float *x = (float *)(task->scratch + lane * task->lane_bytes);
    float *values = x + width;
    uint8_t *row_codes = (uint8_t *)(values + width);
    uint8_t *codes = row_codes + width;
    double sums[2] = {0.0, 0.0};
    memset(codes, 0, DQG_PANEL * padded);
    for (size_t i = 0; i < DQG_PANEL && panel * DQG_PANEL + i < packing->size.rows; i++) {
        dqg_packing_row(packing, panel * DQG_PANEL + i, x);
        memset(row_codes, 0, width);
        pack_row(task, panel * DQG_PANEL + i, x, values, row_codes, sums);
        memcpy(codes + i * padded, row_codes, padded);
    }
    uint8_t *out = packing->planes[DQG_PLANE_CODES];
    dqg_pack_panel(task->format, out + panel * dqg_panel_bytes(task->format, padded), codes, padded);
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

/* The tensor's scale: a power of two that brings the weights near 1, where F16 scales have all their bits. */
static float tensor_scale(float largest) {
    int exponent = 0;
    frexpf(largest, &exponent);
    return largest > 0.0f ? ldexpf(1.0f, exponent < -100 ? -100 : exponent) : 1.0f;
}

static dqg_status quantize_matrix(struct dqg_context *context, struct dqg_packing *packing, float largest) {
    struct dqg_tensor_desc *to = packing->to;
    struct pack_task task = {.packing = packing, .format = dqg_format_find(to->dtype)};
    dqg_matrix_size(to->dtype, to->group, to->rank, to->shape, &packing->size);
    to->scale = tensor_scale(largest);
    packing->inverse_scale = 1.0f / to->scale;
    for (int plane = DQG_PLANE_SCALES; plane < DQG_PLANE_COUNT; plane++) {
        if (to->plane_bytes[plane] > 0) { /* padded channels have scale 0 */
            memset(packing->planes[plane], 0, (size_t)to->plane_bytes[plane]);
        }
    }
    if (task.format->kind == DQG_FORMAT_VECTOR) {
        DQG_TRY(dqg_codebook_train(context, packing));
    }
    dqg_rounding_init(&task.rounding, context->kernels, task.format, packing);
    size_t width = dqg_packing_width(packing);
    size_t panels = packing->size.rows_padded / DQG_PANEL;
    size_t scratch_bytes;
    size_t error_bytes = panels * sizeof *task.errors;
    task.lane_bytes = dqg_round_up(width * (2 * sizeof(float) + 1 + DQG_PANEL), DQG_ALIGNMENT);
    if (!dqg_mul_size(task.lane_bytes, dqg_concurrency(context), &scratch_bytes)) {
        return dqg_fail_memory(context, to->name, SIZE_MAX);
    }
    task.scratch = dqg_malloc(&context->alloc, scratch_bytes);
    task.errors = dqg_malloc(&context->alloc, error_bytes);
    dqg_status status = DQG_OK;
    if (task.scratch == NULL || task.errors == NULL) {
        status = dqg_fail_memory(context, to->name, scratch_bytes);
    } else {
        dqg_parallel(context, panels, pack_panel, &task);
        packing->error = relative_error(task.errors, panels);
    }
    dqg_free(&context->alloc, task.errors, error_bytes);
    dqg_free(&context->alloc, task.scratch, scratch_bytes);
    return status;
}

enum { CHUNK = 1024 };

/* A look at all elements: the largest magnitude, and the first that is not finite. */
struct scan {
    const struct dqg_kernels *kernels;
    const struct dqg_packing *packing;
    uint64_t count;
    atomic_uint largest; /* bits of it; of floats without sign they have the order of the numbers */
    atomic_bool infinite;
};

enum { SCAN_BLOCK = 64 * CHUNK };

static void scan_block(void *argument, size_t index, size_t lane) {
    struct scan *scan = argument;
    const struct dqg_tensor_desc *from = scan->packing->from;
    const char *in = scan->packing->in;
    float x[CHUNK], range[2], most = 0.0f;
    uint64_t end = dqg_min_size((index + 1) * SCAN_BLOCK, (size_t)scan->count);
    (void)lane;
    for (uint64_t at = index * SCAN_BLOCK; at < end; at += CHUNK) {
        size_t n = dqg_min_size((size_t)(end - at), CHUNK);
        dqg_floats_decode(x, in + at * dqg_dtype_size(from->dtype), from->dtype, n);
        scan->kernels->range_f32(range, x, n);
        most = fmaxf(most, fmaxf(-range[0], range[1]));
    }
    if (!isfinite(most)) {
        atomic_store(&scan->infinite, true);
    }
    unsigned old = atomic_load(&scan->largest), bits = dqg_float_to_bits(most);
    while (bits > old && !atomic_compare_exchange_weak(&scan->largest, &old, bits)) {
    }
}

static dqg_status fail_infinite(struct dqg_context *context, const struct dqg_packing *packing, uint64_t count) {
    const struct dqg_tensor_desc *from = packing->from;
    float x = 0.0f;
    uint64_t at = 0;
    for (; at < count && isfinite(x); at++) {
        dqg_floats_decode(&x, (const char *)packing->in + at * dqg_dtype_size(from->dtype), from->dtype, 1);
    }
    return dqg_fail(context, DQG_ERROR_RANGE, "tensor '%s': element %llu is not finite; the checkpoint is damaged",
                    from->name, (unsigned long long)(at - 1));
}

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
    struct scan scan = {.kernels = context->kernels, .packing = packing};
    dqg_shape_count(packing->from->rank, packing->from->shape, &scan.count);
    atomic_init(&scan.largest, 0);
    atomic_init(&scan.infinite, false);
    dqg_parallel(context, (size_t)((scan.count + SCAN_BLOCK - 1) / SCAN_BLOCK), scan_block, &scan);
    if (atomic_load(&scan.infinite)) {
        return fail_infinite(context, packing, scan.count);
    }
    return dqg_dtype_is_float(packing->to->dtype)
               ? convert_floats(context, packing, scan.count)
               : quantize_matrix(context, packing, dqg_bits_to_float(atomic_load(&scan.largest)));
}
