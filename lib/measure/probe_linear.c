/* SPDX-License-Identifier: MIT */
/* The probe of matrix products with weights in any storage format. */
#include <math.h>

#include "measure/measure.h"

enum {
    FEW_ROWS = 16, /* up to here a product is bound by reading its weights */
    COMPARED_ROWS = 4,
    COMPARED_OUTPUTS = 256
};

struct linear_task {
    struct dqg_linear args;
    float *x;      /* [rows][inputs] */
    bool quantize; /* in each call, as a part of a convolution */
};

static void quantize(struct dqg_probe *probe, const struct linear_task *task) {
    size_t inputs = probe->weights[0].size.columns;
    dqg_op_quantize(&probe->ops, task->x, inputs, task->args.x, task->args.rows, inputs, task->args.x.ld);
}

static void call_linear(struct dqg_probe *probe) {
    struct linear_task *task = probe->task;
    task->args.weight = &probe->weights[probe->turn++ % probe->weight_count];
    if (task->quantize) {
        quantize(probe, task);
    }
    dqg_op_linear(&probe->ops, &task->args);
}

/* Against the product of the floats and the exactly decoded weights, for some rows and outputs all over the matrix. */
static dqg_status compare_linear(struct dqg_probe *probe) {
    struct linear_task *task = probe->task;
    const struct dqg_weight *weight = &probe->weights[0];
    size_t outputs = weight->size.rows, inputs = weight->size.columns;
    size_t compared = dqg_min_size(outputs, COMPARED_OUTPUTS);
    double error = 0.0, norm = 0.0;
    float *w;
    void *scratch;
    DQG_TRY(dqg_probe_alloc(probe, inputs, sizeof *w, &w));
    DQG_TRY(dqg_probe_alloc(probe, dqg_weight_scratch(weight), 1, &scratch));
    probe->turn = 0;
    call_linear(probe);
    for (size_t i = 0; i < compared; i++) {
        size_t output = i * outputs / compared;
        dqg_weight_decode_rows(weight, output, 1, w, scratch);
        for (size_t j = 0; j < dqg_min_size(task->args.rows, COMPARED_ROWS); j++) {
            size_t row = j * task->args.rows / COMPARED_ROWS;
            double sum = 0.0;
            for (size_t k = 0; k < inputs; k++) {
                sum += (double)task->x[row * inputs + k] * w[k];
            }
            double difference = task->args.out[row * task->args.ld_out + output] - sum;
            error += difference * difference;
            norm += sum * sum;
        }
    }
    probe->error = norm > 0.0 ? sqrt(error / norm) : 0.0;
    return DQG_OK;
}

/* The input as the product reads it. Making int8 of it belongs to whatever made it, and is not timed but in
 * convolutions. */
static dqg_status make_input(struct dqg_probe *probe, struct linear_task *task) {
    const struct dqg_weight *weight = &probe->weights[0];
    size_t rows = task->args.rows, inputs = weight->size.columns;
    DQG_TRY(dqg_probe_alloc(probe, rows * inputs, sizeof *task->x, &task->x));
    dqg_random_floats(99, task->x, rows * inputs);
    struct dqg_rows *x = &task->args.x;
    if (!dqg_dtype_is_quantized(weight->dtype)) {
        *x = (struct dqg_rows){.f32 = task->x, .ld = inputs};
        return DQG_OK;
    }
    x->ld = dqg_round_up(weight->size.columns_padded, DQG_ALIGNMENT);
    DQG_TRY(dqg_probe_alloc(probe, rows, x->ld, &x->q8));
    DQG_TRY(dqg_probe_alloc(probe, rows, sizeof *x->row_scale, &x->row_scale));
    task->quantize = probe->spec->operation == DQG_MEASURE_CONV;
    quantize(probe, task);
    return DQG_OK;
}

dqg_status dqg_probe_linear(struct dqg_probe *probe) {
    const dqg_measure_spec *spec = probe->spec;
    int64_t count = spec->operation == DQG_MEASURE_CONV ? dqg_probe_pixels(spec) : spec->rows;
    struct linear_task *task;
    DQG_TRY(dqg_probe_range(probe, "rows", count, 1, 1 << 20));
    DQG_TRY(dqg_probe_weights(probe, count <= FEW_ROWS || (spec->flags & DQG_MEASURE_COLD) != 0));
    const struct dqg_weight *weight = &probe->weights[0];
    size_t rows = (size_t)count, outputs = weight->size.rows;
    DQG_TRY(dqg_probe_alloc(probe, 1, sizeof *task, &task));
    task->args.rows = task->args.rows_per_sample = rows;
    DQG_TRY(make_input(probe, task));
    float *bias;
    DQG_TRY(dqg_probe_alloc(probe, outputs, sizeof *bias, &bias)); /* zeros: read, but no part of the comparison */
    DQG_TRY(dqg_probe_alloc(probe, rows * outputs, sizeof *task->args.out, &task->args.out));
    task->args.bias = bias;
    task->args.ld_out = outputs;
    bool integer = dqg_dtype_is_quantized(weight->dtype);
    probe->task = task;
    probe->call = call_linear;
    probe->compare = compare_linear;
    probe->ceiling = dqg_probe_roof(probe, weight->dtype);
    probe->operations = 2.0 * (double)rows * (double)outputs * (double)spec->inputs;
    probe->bytes = (double)(weight->bytes[0] + weight->bytes[1] + weight->bytes[2]) +
                   (double)rows * ((double)spec->inputs * (integer ? 1 : 4) + (double)outputs * 4);
    return DQG_OK;
}
