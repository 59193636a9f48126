/* SPDX-License-Identifier: MIT */
/*
 * Convolutions with weights kept in F32, F16 or BF16. Results of a sample are cut into blocks of DQG_BLOCK_COLUMNS
 * output channels by BLOCK_PIXELS. Channels are taken in parts: a part's weights are decoded to floats, in cache, put
 * into the order (tap, channel), and multiplied with strips of windows, which are gathered from the input, padding and
 * doubling included.
 */
#include "ops/conv.h"

enum {
    BLOCK_PIXELS = 8 * DQG_CONV_TILE,
    PART_DEPTH = 512 /* taps * channels of a part, unless there are more taps */
};

struct float_task {
    const struct dqg_ops *ops;
    const struct dqg_conv *args;
    size_t out[3];
    size_t sample_pixels, sample_blocks, column_blocks;
};

/* A lane's scratch. */
struct areas {
    float *natural; /* [part depth][columns]: weights as they are stored, channel by channel */
    float *b;       /* [part depth][columns]: tap by tap */
    float *a;       /* [DQG_CONV_TILE][part depth] */
    float *c;       /* [BLOCK_PIXELS][columns] */
};

static size_t part_channels(const struct dqg_weight *weight) {
    size_t channels = PART_DEPTH / weight->size.taps;
    return dqg_min_size(channels > 0 ? channels : 1, (size_t)weight->shape[1]);
}

size_t dqg_conv_float_scratch(const struct dqg_weight *weight) {
    size_t depth = part_channels(weight) * weight->size.taps;
    return sizeof(float) * (depth * (2 * DQG_BLOCK_COLUMNS + DQG_CONV_TILE) + BLOCK_PIXELS * DQG_BLOCK_COLUMNS);
}

static struct areas make_areas(const struct float_task *task, size_t lane) {
    size_t depth = part_channels(task->args->weight) * task->args->weight->size.taps;
    struct areas areas = {.natural = (float *)(task->ops->scratch + lane * task->ops->lane_bytes)};
    areas.b = areas.natural + depth * DQG_BLOCK_COLUMNS;
    areas.c = areas.b + depth * DQG_BLOCK_COLUMNS;
    areas.a = areas.c + BLOCK_PIXELS * DQG_BLOCK_COLUMNS;
    return areas;
}

/* Weights of channels [first, first + count), for `columns` outputs from column on, to areas->b. */
static void decode_part(const struct float_task *task, const struct areas *areas, size_t first, size_t count,
                        size_t column, size_t columns) {
    const struct dqg_weight *weight = task->args->weight;
    size_t taps = weight->size.taps, element = dqg_dtype_size(weight->dtype);
    const char *w = (const char *)weight->codes + (column * weight->size.columns + first * taps) * element;
    task->ops->kernels->decode_float_f32(areas->natural, DQG_BLOCK_COLUMNS, w, weight->size.columns, weight->dtype,
                                         columns, dqg_round_up(columns, DQG_PANEL), count * taps);
    for (size_t k = 0; k < count * taps; k++) {
        memcpy(areas->b + (k % taps * count + k / taps) * DQG_BLOCK_COLUMNS, areas->natural + k * DQG_BLOCK_COLUMNS,
               DQG_BLOCK_COLUMNS * sizeof(float));
    }
}

/* The input pixel along an axis under a tap of a result's window; -1 for a zero. */
static ptrdiff_t source_at(const struct dqg_conv_shape *shape, int axis, size_t result, size_t tap) {
    size_t position = result * shape->stride[axis] + tap * shape->dilation[axis];
    return dqg_conv_source(shape, axis, (ptrdiff_t)position - (ptrdiff_t)shape->before[axis]);
}

/* Channels [first, first + count) of a result's window: pixel is its number in the sample. */
static void gather_window(const struct float_task *task, float *to, size_t sample, size_t pixel, size_t first,
                          size_t count) {
    const struct dqg_conv_shape *shape = task->args->shape;
    size_t x = pixel % task->out[2], y = pixel / task->out[2] % task->out[1], z = pixel / task->out[2] / task->out[1];
    for (size_t tap_z = 0; tap_z < shape->kernel[0]; tap_z++) {
        ptrdiff_t from_z = source_at(shape, 0, z, tap_z);
        for (size_t tap_y = 0; tap_y < shape->kernel[1]; tap_y++) {
            ptrdiff_t from_y = source_at(shape, 1, y, tap_y);
            bool outside = from_z < 0 || from_y < 0;
            size_t line = ((sample * shape->size[0] + (size_t)from_z) * shape->size[1] + (size_t)from_y) *
                          shape->size[2];
            for (size_t tap_x = 0; tap_x < shape->kernel[2]; tap_x++, to += count) {
                ptrdiff_t from_x = source_at(shape, 2, x, tap_x);
                if (outside || from_x < 0) {
                    memset(to, 0, count * sizeof *to);
                } else {
                    memcpy(to, task->args->x + (line + (size_t)from_x) * task->args->ldx + first, count * sizeof *to);
                }
            }
        }
    }
}

/* One part of the channels for all pixels of a block. */
static void multiply_part(const struct float_task *task, const struct areas *areas, size_t sample, size_t pixel,
                          size_t end, size_t first, size_t count, size_t columns) {
    size_t depth = count * task->args->weight->size.taps;
    size_t padded = dqg_round_up(columns, DQG_PANEL);
    for (float *c = areas->c; pixel < end; c += DQG_CONV_TILE * DQG_BLOCK_COLUMNS) {
        size_t rows = dqg_min_size(DQG_CONV_TILE, end - pixel);
        for (size_t m = 0; m < rows; m++) {
            gather_window(task, areas->a + m * depth, sample, pixel++, first, count);
        }
        task->ops->kernels->gemm_f32(c, DQG_BLOCK_COLUMNS, areas->a, depth, areas->b, DQG_BLOCK_COLUMNS, rows, padded,
                                     depth, first > 0);
    }
}

static void float_tile(void *argument, size_t index, size_t lane) {
    const struct float_task *task = argument;
    const struct dqg_conv *args = task->args;
    size_t column = index % task->column_blocks * DQG_BLOCK_COLUMNS;
    size_t block = index / task->column_blocks;
    size_t sample = block / task->sample_blocks;
    size_t pixel = block % task->sample_blocks * BLOCK_PIXELS;
    size_t end = dqg_min_size(pixel + BLOCK_PIXELS, task->sample_pixels);
    size_t columns = dqg_min_size(DQG_BLOCK_COLUMNS, args->weight->size.rows - column);
    struct areas areas = make_areas(task, lane);
    size_t step = part_channels(args->weight);
    for (size_t first = 0; first < args->shape->channels; first += step) {
        size_t count = dqg_min_size(step, args->shape->channels - first);
        decode_part(task, &areas, first, count, column, columns);
        multiply_part(task, &areas, sample, pixel, end, first, count, columns);
    }
    float bias[DQG_BLOCK_COLUMNS];
    dqg_conv_bias(args, sample, column, columns, bias);
    struct dqg_conv_rows rows = {.sample = sample, .distance = 1};
    for (const float *c = areas.c; pixel < end; pixel += rows.count, c += rows.count * DQG_BLOCK_COLUMNS) {
        rows.pixel = sample * task->sample_pixels + pixel;
        rows.count = dqg_min_size(DQG_CONV_TILE, end - pixel);
        dqg_conv_finish(task->ops, args, c, DQG_BLOCK_COLUMNS, bias, &rows, column, columns);
    }
}

void dqg_conv_float(const struct dqg_ops *ops, const struct dqg_conv *args) {
    struct float_task task = {.ops = ops, .args = args};
    for (int axis = 0; axis < 3; axis++) {
        task.out[axis] = dqg_conv_out(args->shape, axis);
    }
    task.sample_pixels = task.out[0] * task.out[1] * task.out[2];
    task.sample_blocks = (task.sample_pixels + BLOCK_PIXELS - 1) / BLOCK_PIXELS;
    task.column_blocks = (args->weight->size.rows + DQG_BLOCK_COLUMNS - 1) / DQG_BLOCK_COLUMNS;
    dqg_parallel(ops->context, args->shape->samples * task.sample_blocks * task.column_blocks, float_tile, &task);
}
