/* SPDX-License-Identifier: MIT */
/*
 * The int8 image of a convolution's input: floats read twice, for their range and for their codes, and a border that
 * holds what padding means. All taps of a window share one integer sum, so that a sample has one scale; a zero point
 * makes use of the whole range after SiLU, whose results are hardly negative.
 */
#include <math.h>

#include "ops/conv.h"

/* Parts of a sample whose ranges are found apart, and steps of the codes: two less than there are, so that codes of
 * both ends lie in -127..127 however they and the zero point are rounded. */
enum { RANGE_PARTS = 32, CODE_STEPS = 252 };

struct image_task {
    const struct dqg_ops *ops;
    const struct dqg_conv_shape *shape;
    const struct dqg_conv_image *image;
    const float *x;
    size_t ldx;
};

static void set_size(const struct dqg_conv_shape *shape, const struct dqg_weight *weight,
                     struct dqg_conv_image *image) {
    for (int axis = 0; axis < 3; axis++) {
        size_t border = shape->before[axis], end = (dqg_conv_out(shape, axis) - 1) * shape->stride[axis] +
                                                   shape->dilation[axis] * (shape->kernel[axis] - 1) + 1;
        if (shape->upsample && axis > 0) { /* end counts doubled positions from the border's first */
            border = (border + 1) / 2;
            end = (end + 2 * border - shape->before[axis] + 1) / 2;
        }
        size_t inner = border + shape->size[axis];
        image->border[axis] = border;
        image->size[axis] = end > inner ? end : inner;
    }
    image->pixel = weight->size.tap_padded;
}

struct dqg_conv_image dqg_conv_image_at(const struct dqg_conv_shape *shape, const struct dqg_weight *weight,
                                        void *block) {
    struct dqg_conv_image image;
    set_size(shape, weight, &image);
    image.sample = image.size[0] * image.size[1] * image.size[2] * image.pixel;
    image.codes = block;
    image.scale = (float *)(image.codes + dqg_round_up(shape->samples * image.sample, DQG_ALIGNMENT));
    image.zero = (int32_t *)(image.scale + shape->samples);
    image.ranges = (float *)(image.zero + shape->samples);
    return image;
}

bool dqg_conv_image_bytes(const struct dqg_conv_shape *shape, const struct dqg_weight *weight, size_t *bytes) {
    struct dqg_conv_image image;
    set_size(shape, weight, &image);
    const size_t factors[] = {image.size[1], image.size[2], image.pixel, shape->samples};
    *bytes = image.size[0];
    for (size_t i = 0; i < DQG_COUNT_OF(factors); i++) {
        if (!dqg_mul_size(*bytes, factors[i], bytes)) {
            return false;
        }
    }
    size_t tail = shape->samples * (sizeof(float) + sizeof(int32_t) + 2 * RANGE_PARTS * sizeof(float));
    return *bytes <= SIZE_MAX / 4 && dqg_add_size(dqg_round_up(*bytes, DQG_ALIGNMENT), tail, bytes);
}

/* ---- range ---- */

static void widen(float range[2], const float other[2]) {
    range[0] = other[0] < range[0] ? other[0] : range[0];
    range[1] = other[1] > range[1] ? other[1] : range[1];
}

static void find_range(void *argument, size_t index, size_t lane) {
    const struct image_task *task = argument;
    const struct dqg_conv_shape *shape = task->shape;
    size_t pixels = shape->size[0] * shape->size[1] * shape->size[2];
    size_t part = index % RANGE_PARTS;
    size_t first = pixels * part / RANGE_PARTS, end = pixels * (part + 1) / RANGE_PARTS;
    const float *x = task->x + index / RANGE_PARTS * pixels * task->ldx;
    float *range = task->image->ranges + 2 * index;
    (void)lane;
    if (task->ldx == shape->channels) {
        task->ops->kernels->range_f32(range, x + first * task->ldx, (end - first) * shape->channels);
        return;
    }
    range[0] = range[1] = 0.0f;
    for (size_t pixel = first; pixel < end; pixel++) {
        float one[2];
        task->ops->kernels->range_f32(one, x + pixel * task->ldx, shape->channels);
        widen(range, one);
    }
}

static float code_factor(const float range[2]) {
    return (float)(CODE_STEPS / ((double)range[1] - range[0]));
}

/* From the parts' ranges to the sample's, its scale and zero point. The range replaces that of the first part. */
static void set_scale(const struct dqg_conv_image *image, size_t sample) {
    float *ranges = image->ranges + 2 * RANGE_PARTS * sample;
    for (size_t part = 1; part < RANGE_PARTS; part++) {
        widen(ranges, ranges + 2 * part);
    }
    double width = (double)ranges[1] - ranges[0];
    bool usable = isfinite(width) && isfinite(code_factor(ranges));
    image->scale[sample] = usable ? (float)(width / CODE_STEPS) : 0.0f;
    image->zero[sample] = usable ? (int32_t)lrint(-CODE_STEPS / 2 - (double)(ranges[0] * code_factor(ranges))) : 0;
}

/* ---- codes ---- */

/* The input pixel that a pixel of the image with borders shows, or -1. */
static ptrdiff_t shown(const struct image_task *task, int axis, size_t at) {
    ptrdiff_t position = (ptrdiff_t)at - (ptrdiff_t)task->image->border[axis];
    if (task->shape->upsample && axis > 0) {
        position = 2 * position + (position < 0 ? 1 : 0);
    }
    return dqg_conv_source(task->shape, axis, position);
}

/* Pixels left and right of a line whose inner ones are there. */
static void fill_ends(const struct image_task *task, int8_t *line, int zero) {
    const struct dqg_conv_image *image = task->image;
    size_t left = image->border[2], right = left + task->shape->size[2];
    for (size_t x = 0; x < image->size[2]; x = x + 1 == left ? right : x + 1) {
        ptrdiff_t from = shown(task, 2, x);
        if (from < 0) {
            memset(line + x * image->pixel, zero, image->pixel);
        } else {
            memcpy(line + x * image->pixel, line + (left + (size_t)from) * image->pixel, image->pixel);
        }
    }
}

static void fill_line(void *argument, size_t index, size_t lane) {
    const struct image_task *task = argument;
    const struct dqg_conv_shape *shape = task->shape;
    const struct dqg_conv_image *image = task->image;
    size_t sample = index / (image->size[0] * image->size[1]);
    ptrdiff_t z = shown(task, 0, index / image->size[1] % image->size[0]);
    ptrdiff_t y = shown(task, 1, index % image->size[1]);
    int8_t *line = image->codes + index * image->size[2] * image->pixel;
    int zero = image->zero[sample];
    (void)lane;
    if (z < 0 || y < 0 || image->scale[sample] == 0.0f) {
        memset(line, zero, image->size[2] * image->pixel);
        return;
    }
    size_t from = ((sample * shape->size[0] + (size_t)z) * shape->size[1] + (size_t)y) * shape->size[2];
    task->ops->kernels->offset_f32_i8(line + image->border[2] * image->pixel, image->pixel, task->x + from * task->ldx,
                                      task->ldx, shape->size[2], shape->channels, image->pixel,
                                      code_factor(image->ranges + 2 * RANGE_PARTS * sample), zero);
    fill_ends(task, line, zero);
}

void dqg_op_conv_image(const struct dqg_ops *ops, const struct dqg_conv_shape *shape,
                       const struct dqg_conv_image *image, const float *x, size_t ldx) {
    struct image_task task = {ops, shape, image, x, ldx};
    dqg_parallel(ops->context, shape->samples * RANGE_PARTS, find_range, &task);
    for (size_t sample = 0; sample < shape->samples; sample++) {
        set_scale(image, sample);
    }
    dqg_parallel(ops->context, shape->samples * image->size[0] * image->size[1], fill_line, &task);
}
