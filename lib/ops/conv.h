/* SPDX-License-Identifier: MIT */
/*
 * Convolutions of images and volumes: the geometry, the int8 image, the operator. Axes are depth, height, width, in
 * this order; an image has depth 1. Pixels are rows of channels: (samples, depth, height, width, channels).
 *
 * With quantized weights the input is first made an int8 image with a border (conv_image.c): padding is solved there,
 * once. A window is then a list of runs at fixed distances from its first pixel, and the product (conv.c) reads the
 * image in place. With float weights (conv_float.c) strips of windows are gathered to scratch.
 */
#ifndef DQG_CONV_H
#define DQG_CONV_H

#include "ops/ops.h"

enum dqg_padding { DQG_PAD_ZERO, DQG_PAD_REFLECT /* without the edge */, DQG_PAD_CIRCULAR };

struct dqg_conv_shape {
    size_t samples, channels;
    size_t size[3];   /* of the input */
    size_t kernel[3]; /* taps of the window */
    size_t stride[3], dilation[3];
    size_t before[3], after[3]; /* padding */
    enum dqg_padding padding;
    bool upsample; /* the input is doubled in height and width before, by the nearest pixel; strides are 1 then */
};

/* Plain convolution of images: an odd window, stride 1, padding that keeps the size. */
struct dqg_conv_shape dqg_conv_square(size_t samples, size_t channels, size_t height, size_t width, size_t kernel);

/* False where the shape is impossible, too large, or not that of weight. */
bool dqg_conv_valid(const struct dqg_conv_shape *shape, const struct dqg_weight *weight);

/* For valid shapes: sizes and pixels of the result. */
size_t dqg_conv_out(const struct dqg_conv_shape *shape, int axis);
size_t dqg_conv_out_pixels(const struct dqg_conv_shape *shape);

/*
 * The input pixel at a position of the padded, doubled axis, counted from the first real pixel; -1 for a zero.
 * Positions reach from -before to the end of the last window.
 */
ptrdiff_t dqg_conv_source(const struct dqg_conv_shape *shape, int axis, ptrdiff_t position);

/* ---- int8 image ---- */

/*
 * One scale and zero point for each sample: x = scale * (code - zero), exact for 0, which is what borders and the
 * padding of channels hold.
 */
struct dqg_conv_image {
    size_t border[3]; /* in front of the first pixel */
    size_t size[3];   /* with borders */
    size_t pixel;     /* bytes: channels padded as the weights' taps are */
    size_t sample;    /* bytes */
    int8_t *codes;    /* [samples][size][pixel] */
    float *scale;     /* [samples]; 0 for samples with values that are not finite, or zeros only */
    int32_t *zero;    /* [samples] */
    float *ranges;    /* scratch of the quantization */
};

/* The image of a valid shape for quantized weights in a block of memory, which dqg_conv_image_bytes() sizes. */
struct dqg_conv_image dqg_conv_image_at(const struct dqg_conv_shape *shape, const struct dqg_weight *weight,
                                        void *block);
bool dqg_conv_image_bytes(const struct dqg_conv_shape *shape, const struct dqg_weight *weight, size_t *bytes);

void dqg_op_conv_image(const struct dqg_ops *ops, const struct dqg_conv_shape *shape,
                       const struct dqg_conv_image *image, const float *x, size_t ldx);

/* ---- operator ---- */

/* y = activation(conv(x) + bias + addend); out = y, or residual + gate y. */
struct dqg_conv {
    const struct dqg_conv_shape *shape;
    const struct dqg_weight *weight;    /* (outputs, channels, kernel sizes) */
    const float *bias;                  /* [outputs], or NULL */
    const struct dqg_conv_image *image; /* quantized weights */
    const float *x;                     /* float weights: [pixels][ldx] */
    float *out;                         /* [out pixels][ld_out] */
    const float *addend;                /* [samples][ld_addend], or NULL */
    const float *gate;                  /* [samples][ld_gate], or NULL for 1; used with residual */
    const float *residual;              /* [out pixels][ld_residual], or NULL; may be out */
    size_t ldx, ld_out, ld_addend, ld_gate, ld_residual;
    enum dqg_activation activation;
};
void dqg_op_conv(const struct dqg_ops *ops, const struct dqg_conv *args);
size_t dqg_op_conv_scratch(const struct dqg_weight *weight);

/* ---- shared by conv.c and conv_float.c ---- */

/* Rows of results that lie at equal distances in one sample. */
struct dqg_conv_rows {
    size_t sample;
    size_t pixel;    /* of the result, among all samples */
    size_t distance; /* pixels from one to the next */
    size_t count;    /* at most DQG_CONV_TILE */
};

enum { DQG_CONV_TILE = 48 /* accumulators of one kernel call stay in the first-level cache */ };

/* Fills bias[columns] with what is added to every pixel of a sample, for columns of results. */
void dqg_conv_bias(const struct dqg_conv *args, size_t sample, size_t column, size_t columns, float *bias);

/* Hands c, [rows][ldc], to the epilogue; c is int32 sums where the args have an image, else floats. */
void dqg_conv_finish(const struct dqg_ops *ops, const struct dqg_conv *args, const void *c, size_t ldc,
                     const float *bias, const struct dqg_conv_rows *rows, size_t column, size_t columns);

void dqg_conv_float(const struct dqg_ops *ops, const struct dqg_conv *args);
size_t dqg_conv_float_scratch(const struct dqg_weight *weight);

#endif
