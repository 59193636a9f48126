/* SPDX-License-Identifier: MIT */
/* The probe of convolutions of images and volumes, with the quantization of the input that they need. Those without a
 * window are products of pixels (probe_linear.c), as in a network. */
#include <math.h>

#include "measure/measure.h"
#include "ops/conv.h"

enum { MOST_SIDE = 1 << 14, COMPARED_PIXELS = 6, COMPARED_OUTPUTS = 64, LOUD_CHANNELS = 20 };

struct conv_task {
    struct dqg_conv_shape shape;
    struct dqg_conv_image image;
    struct dqg_conv args;
    float *x;
};

static void call_conv(struct dqg_probe *probe) {
    struct conv_task *task = probe->task;
    task->args.weight = &probe->weights[probe->turn++ % probe->weight_count];
    if (task->args.image != NULL) {
        dqg_op_conv_image(&probe->ops, &task->shape, &task->image, task->x, task->args.ldx);
    }
    dqg_op_conv(&probe->ops, &task->args);
}

/* What a convolution gets after group norm and SiLU; one channel in LOUD_CHANNELS is five times as large. */
static void make_input(const struct conv_task *task, size_t count) {
    dqg_random_floats(99, task->x, count);
    for (size_t i = 0; i < count; i++) {
        float x = task->x[i];
        x = x / (1.0f + expf(-x));
        task->x[i] = i % task->shape.channels % LOUD_CHANNELS == 0 ? 5.0f * x : x;
    }
}

/* The input pixel under one tap of the window of a result; -1 for a zero. position and tap: depth, height, width. */
static ptrdiff_t source(const struct dqg_conv_shape *shape, const size_t position[3], const size_t tap[3]) {
    ptrdiff_t pixel = 0;
    for (int axis = 0; axis < 3; axis++) {
        size_t at = position[axis] * shape->stride[axis] + tap[axis];
        ptrdiff_t from = dqg_conv_source(shape, axis, (ptrdiff_t)at - (ptrdiff_t)shape->before[axis]);
        if (from < 0) {
            return -1;
        }
        pixel = pixel * (ptrdiff_t)shape->size[axis] + from;
    }
    return pixel;
}

/* One result of the first sample in double precision from exact weights w, (channels, taps), and floats. */
static double exact_result(const struct conv_task *task, const float *w, const size_t position[3]) {
    const struct dqg_conv_shape *shape = &task->shape;
    const size_t *kernel = shape->kernel;
    size_t taps = kernel[0] * kernel[1] * kernel[2];
    double sum = 0.0;
    for (size_t tap = 0; tap < taps; tap++) {
        size_t at[3] = {tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]};
        ptrdiff_t pixel = source(shape, position, at);
        for (size_t c = 0; c < shape->channels && pixel >= 0; c++) {
            sum += (double)task->x[(size_t)pixel * shape->channels + c] * w[c * taps + tap];
        }
    }
    return sum;
}

static dqg_status compare_conv(struct dqg_probe *probe) {
    struct conv_task *task = probe->task;
    const struct dqg_weight *weight = &probe->weights[0];
    size_t outputs = weight->size.rows, compared = dqg_min_size(outputs, COMPARED_OUTPUTS);
    size_t depth = dqg_conv_out(&task->shape, 0), height = dqg_conv_out(&task->shape, 1);
    size_t width = dqg_conv_out(&task->shape, 2);
    double error = 0.0, norm = 0.0;
    float *w;
    void *scratch;
    DQG_TRY(dqg_probe_alloc(probe, weight->size.columns, sizeof *w, &w));
    DQG_TRY(dqg_probe_alloc(probe, dqg_weight_scratch(weight), 1, &scratch));
    probe->turn = 0;
    call_conv(probe);
    for (size_t i = 0; i < compared; i++) {
        size_t output = i * outputs / compared;
        dqg_weight_decode_rows(weight, output, 1, w, scratch);
        for (size_t j = 0; j < COMPARED_PIXELS; j++) {
            size_t at[3] = {j % depth, j * (height - 1) / (COMPARED_PIXELS - 1), j * 7 % width};
            double sum = exact_result(task, w, at);
            double difference =
                task->args.out[((at[0] * height + at[1]) * width + at[2]) * outputs + output] - sum;
            error += difference * difference;
            norm += sum * sum;
        }
    }
    probe->error = norm > 0.0 ? sqrt(error / norm) : 0.0;
    return DQG_OK;
}

static dqg_status check_sizes(struct dqg_probe *probe, int64_t height, int64_t width) {
    const dqg_measure_spec *spec = probe->spec;
    DQG_TRY(dqg_probe_range(probe, "samples", spec->samples, 1, 4096));
    DQG_TRY(dqg_probe_range(probe, "depth", spec->depth, 1, 1024));
    DQG_TRY(dqg_probe_range(probe, "height", height, 1, MOST_SIDE));
    DQG_TRY(dqg_probe_range(probe, "width", width, 1, MOST_SIDE));
    DQG_TRY(dqg_probe_range(probe, "inputs", spec->inputs, 1, 1 << 13));
    DQG_TRY(dqg_probe_range(probe, "kernel", spec->kernel, 1, 31));
    DQG_TRY(dqg_probe_range(probe, "stride", spec->stride, 1, 8));
    bool doubled = (spec->flags & DQG_MEASURE_UPSAMPLE) != 0;
    if (spec->kernel % 2 == 0 || (doubled && (spec->stride > 1 || height % 2 > 0 || width % 2 > 0))) {
        return dqg_fail(probe->context, DQG_ERROR_RANGE,
                        "a kernel is an odd number; a doubled image has even sizes, and no stride");
    }
    return DQG_OK;
}

/* The shape whose result has the spec's sizes. */
static struct dqg_conv_shape make_shape(const dqg_measure_spec *spec, size_t height, size_t width) {
    size_t stride = (size_t)spec->stride, kernel = (size_t)spec->kernel;
    bool doubled = (spec->flags & DQG_MEASURE_UPSAMPLE) != 0;
    size_t factor = doubled ? 2 : 1;
    struct dqg_conv_shape shape = dqg_conv_square((size_t)spec->samples, (size_t)spec->inputs, height * stride / factor,
                                                  width * stride / factor, kernel);
    shape.upsample = doubled;
    shape.stride[1] = shape.stride[2] = stride;
    if (spec->depth > 1) {
        shape.size[0] = (size_t)spec->depth;
        shape.kernel[0] = kernel;
        shape.before[0] = shape.after[0] = kernel / 2;
    }
    return shape;
}

static dqg_status make_image(struct dqg_probe *probe, struct conv_task *task) {
    const struct dqg_weight *weight = &probe->weights[0];
    size_t bytes;
    void *block;
    bool fits = dqg_conv_image_bytes(&task->shape, weight, &bytes);
    DQG_TRY(dqg_probe_alloc(probe, fits ? bytes : SIZE_MAX, 1, &block));
    task->image = dqg_conv_image_at(&task->shape, weight, block);
    task->args.image = &task->image;
    return DQG_OK;
}

dqg_status dqg_probe_conv(struct dqg_probe *probe) {
    const dqg_measure_spec *spec = probe->spec;
    struct conv_task *task;
    bool square = spec->height == 0 && spec->width == 0;
    int64_t height = square ? spec->rows : spec->height, width = square ? spec->rows : spec->width;
    DQG_TRY(check_sizes(probe, height, width));
    if (dqg_probe_pointwise(spec)) {
        return dqg_probe_linear(probe);
    }
    DQG_TRY(dqg_probe_weights(probe, (spec->flags & DQG_MEASURE_COLD) != 0));
    const struct dqg_weight *weight = &probe->weights[0];
    DQG_TRY(dqg_probe_alloc(probe, 1, sizeof *task, &task));
    task->shape = make_shape(spec, (size_t)height, (size_t)width);
    if (!dqg_conv_valid(&task->shape, weight)) {
        return dqg_fail(probe->context, DQG_ERROR_RANGE, "a convolution of this size is not supported");
    }
    const size_t *size = task->shape.size;
    size_t channels = task->shape.channels, outputs = weight->size.rows, pixels = dqg_conv_out_pixels(&task->shape);
    size_t read = task->shape.samples * size[0] * size[1] * size[2] * channels;
    DQG_TRY(dqg_probe_alloc(probe, read, sizeof *task->x, &task->x));
    DQG_TRY(dqg_probe_alloc(probe, pixels * outputs, sizeof *task->args.out, &task->args.out));
    make_input(task, read);
    DQG_TRY(dqg_dtype_is_quantized(weight->dtype) ? make_image(probe, task) : DQG_OK);
    task->args.shape = &task->shape;
    task->args.x = task->x;
    task->args.ldx = channels;
    task->args.ld_out = outputs;
    probe->task = task;
    probe->call = call_conv;
    probe->compare = compare_conv;
    probe->ceiling = task->args.image != NULL ? probe->ops.kernels->ceiling_i8 : probe->ops.kernels->ceiling_f32;
    probe->operations = 2.0 * (double)pixels * (double)outputs * (double)weight->size.columns;
    probe->bytes = (double)(weight->bytes[0] + weight->bytes[1] + weight->bytes[2]) +
                   4.0 * ((double)read + (double)pixels * (double)outputs);
    return DQG_OK;
}
