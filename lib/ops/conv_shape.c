/* SPDX-License-Identifier: MIT */
/* Geometry of convolutions: which shapes are possible, sizes of results, which input pixel a position reads. */
#include "ops/conv.h"

enum {
    LARGEST_SIDE = 1 << 20,
    MOST_DEPTH = 131072 /* taps * padded channels: sums of int8 products fit int32 */
};

struct dqg_conv_shape dqg_conv_square(size_t samples, size_t channels, size_t height, size_t width, size_t kernel) {
    size_t pad = kernel / 2;
    return (struct dqg_conv_shape){.samples = samples,
                                   .channels = channels,
                                   .size = {1, height, width},
                                   .kernel = {1, kernel, kernel},
                                   .stride = {1, 1, 1},
                                   .dilation = {1, 1, 1},
                                   .before = {0, pad, pad},
                                   .after = {0, pad, pad}};
}

static bool doubled(const struct dqg_conv_shape *shape, int axis) {
    return shape->upsample && axis > 0;
}

/* Pixels of an axis before padding, after doubling. */
static size_t inner_size(const struct dqg_conv_shape *shape, int axis) {
    return shape->size[axis] << (doubled(shape, axis) ? 1 : 0);
}

static bool axis_valid(const struct dqg_conv_shape *shape, int axis) {
    const size_t numbers[] = {shape->size[axis], shape->kernel[axis], shape->stride[axis], shape->dilation[axis]};
    for (size_t i = 0; i < DQG_COUNT_OF(numbers); i++) {
        if (numbers[i] < 1 || numbers[i] > LARGEST_SIDE) {
            return false;
        }
    }
    size_t inner = inner_size(shape, axis);
    size_t before = shape->before[axis], after = shape->after[axis];
    size_t most = before > after ? before : after;
    if (most > LARGEST_SIDE || (shape->upsample && shape->stride[axis] != 1) ||
        (uint64_t)shape->dilation[axis] * (shape->kernel[axis] - 1) >= inner + before + after) {
        return false;
    }
    switch (shape->padding) {
    case DQG_PAD_ZERO:
        return true;
    case DQG_PAD_REFLECT: /* the border of a doubled image reads a pixel for each two positions: right for one */
        return most < inner && !(doubled(shape, axis) && most > 1);
    case DQG_PAD_CIRCULAR:
        return most <= inner;
    default:
        return false;
    }
}

bool dqg_conv_valid(const struct dqg_conv_shape *shape, const struct dqg_weight *weight) {
    size_t taps = 1, pixels = shape->samples, in = shape->samples;
    for (int axis = 0; axis < 3; axis++) {
        if (!axis_valid(shape, axis) || !dqg_mul_size(taps, shape->kernel[axis], &taps) ||
            !dqg_mul_size(in, shape->size[axis], &in) || !dqg_mul_size(pixels, dqg_conv_out(shape, axis), &pixels)) {
            return false;
        }
    }
    const struct dqg_matrix_size *size = &weight->size;
    size_t count;
    return shape->samples > 0 && weight->rank >= 2 && (size_t)weight->shape[1] == shape->channels &&
           size->taps == taps && size->columns_padded <= MOST_DEPTH &&
           dqg_mul_size(pixels, size->rows * sizeof(float), &count) && count <= SIZE_MAX / 4 &&
           dqg_mul_size(in, shape->channels * sizeof(float), &count) && count <= SIZE_MAX / 4;
}

size_t dqg_conv_out(const struct dqg_conv_shape *shape, int axis) {
    size_t window = shape->dilation[axis] * (shape->kernel[axis] - 1);
    size_t padded = inner_size(shape, axis) + shape->before[axis] + shape->after[axis];
    return (padded - window - 1) / shape->stride[axis] + 1;
}

size_t dqg_conv_out_pixels(const struct dqg_conv_shape *shape) {
    return shape->samples * dqg_conv_out(shape, 0) * dqg_conv_out(shape, 1) * dqg_conv_out(shape, 2);
}

ptrdiff_t dqg_conv_source(const struct dqg_conv_shape *shape, int axis, ptrdiff_t position) {
    ptrdiff_t inner = (ptrdiff_t)inner_size(shape, axis);
    if (position < 0 || position >= inner) {
        switch (shape->padding) {
        case DQG_PAD_REFLECT:
            position = position < 0 ? -position : 2 * (inner - 1) - position;
            break;
        case DQG_PAD_CIRCULAR:
            position += position < 0 ? inner : -inner;
            break;
        default:
            return -1;
        }
    }
    return doubled(shape, axis) ? position / 2 : position;
}
