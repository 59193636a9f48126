/* SPDX-License-Identifier: MIT */
/* The probe of 3 x 3 convolutions of square images, with the quantization of the input that they need. */
#include <math.h>

#include "measure/measure.h"
#include "ops/conv.h"

enum { KERNEL = 3, COMPARED_PIXELS = 6, COMPARED_OUTPUTS = 64, LOUD_CHANNELS = 20 };

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

/* One result in double precision from exact weights w, (channels, 3, 3), and floats. */
static double exact_result(const struct conv_task *task, const float *w, size_t y, size_t x) {
    size_t side = task->shape.size[1], channels = task->shape.channels;
    double sum = 0.0;
    for (size_t tap = 0; tap < KERNEL * KERNEL; tap++) {
        size_t at_y = y + tap / KERNEL - 1, at_x = x + tap % KERNEL - 1; /* those above and left wrap to huge */
        for (size_t c = 0; c < channels && at_y < side && at_x < side; c++) {
            sum += (double)task->x[(at_y * side + at_x) * channels + c] * w[c * KERNEL * KERNEL + tap];
        }
    }
    return sum;
}

static dqg_status compare_conv(struct dqg_probe *probe) {
    struct conv_task *task = probe->task;
    const struct dqg_weight *weight = &probe->weights[0];
    size_t outputs = weight->size.rows, compared = dqg_min_size(outputs, COMPARED_OUTPUTS);
    size_t side = task->shape.size[1];
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
            size_t y = j * (side - 1) / (COMPARED_PIXELS - 1), x = j * 7 % side;
            double sum = exact_result(task, w, y, x);
            double difference = task->args.out[(y * side + x) * outputs + output] - sum;
            error += difference * difference;
            norm += sum * sum;
        }
    }
    probe->error = norm > 0.0 ? sqrt(error / norm) : 0.0;
    return DQG_OK;
}

dqg_status dqg_probe_conv(struct dqg_probe *probe) {
    const dqg_measure_spec *spec = probe->spec;
    struct conv_task *task;
    DQG_TRY(dqg_probe_range(probe, "rows", spec->rows, 1, 1 << 14));
    DQG_TRY(dqg_probe_range(probe, "samples", spec->samples, 1, 4096));
    DQG_TRY(dqg_probe_range(probe, "inputs", spec->inputs, 1, 1 << 13));
    DQG_TRY(dqg_probe_weights(probe, (spec->flags & DQG_MEASURE_COLD) != 0));
    const struct dqg_weight *weight = &probe->weights[0];
    size_t side = (size_t)spec->rows, channels = (size_t)spec->inputs, outputs = weight->size.rows;
    size_t pixels = (size_t)spec->samples * side * side;
    bool integer = dqg_dtype_is_quantized(weight->dtype);
    DQG_TRY(dqg_probe_alloc(probe, 1, sizeof *task, &task));
    task->shape = dqg_conv_square((size_t)spec->samples, channels, side, side, KERNEL);
    if (!dqg_conv_valid(&task->shape, weight)) {
        return dqg_fail(probe->context, DQG_ERROR_RANGE, "a convolution of this size is not supported");
    }
    DQG_TRY(dqg_probe_alloc(probe, pixels * channels, sizeof *task->x, &task->x));
    DQG_TRY(dqg_probe_alloc(probe, pixels * outputs, sizeof *task->args.out, &task->args.out));
    make_input(task, pixels * channels);
    if (integer) {
        size_t bytes;
        void *block;
        bool fits = dqg_conv_image_bytes(&task->shape, weight, &bytes);
        DQG_TRY(dqg_probe_alloc(probe, fits ? bytes : SIZE_MAX, 1, &block));
        task->image = dqg_conv_image_at(&task->shape, weight, block);
        task->args.image = &task->image;
    }
    task->args.shape = &task->shape;
    task->args.x = task->x;
    task->args.ldx = channels;
    task->args.ld_out = outputs;
    probe->task = task;
    probe->call = call_conv;
    probe->compare = compare_conv;
    probe->ceiling = integer ? probe->ops.kernels->ceiling_i8 : probe->ops.kernels->ceiling_f32;
    probe->operations = 2.0 * (double)pixels * (double)outputs * (double)weight->size.columns;
    probe->bytes = (double)(weight->bytes[0] + weight->bytes[1] + weight->bytes[2]) +
                   (double)pixels * 4.0 * (double)(channels + outputs);
    return DQG_OK;
}
