/* SPDX-License-Identifier: MIT */
/*
 * Group norm of images in NHWC. Pixels are cut into blocks whose size follows from the number of channels alone; lanes
 * take moments of blocks, which are then combined in order, so that results do not depend on who took which block.
 */
#include <math.h>

#include "ops/ops.h"

enum { BLOCK_VALUES = 1 << 15 /* a block is read twice and should stay in the second-level cache */ };

/* The arrays in args->work, one after the other. */
struct group_norm_task {
    const struct dqg_ops *ops;
    const struct dqg_group_norm *args;
    size_t block_pixels, blocks; /* of a sample */
    float *factor, *offset;      /* [samples][channels] */
    float *moments;              /* [samples][blocks][groups][2] */
    float *ranges;               /* [samples][blocks][2] */
};

static size_t block_pixels(size_t channels) {
    return channels < BLOCK_VALUES ? BLOCK_VALUES / channels : 1;
}

static size_t block_count(size_t pixels, size_t channels) {
    size_t size = block_pixels(channels);
    return (pixels + size - 1) / size;
}

size_t dqg_op_group_norm_work(size_t samples, size_t pixels, size_t channels, size_t groups) {
    return samples * (2 * channels + block_count(pixels, channels) * (2 * groups + 2));
}

size_t dqg_op_group_norm_scratch(size_t channels) {
    return 2 * channels * sizeof(float);
}

static size_t pixels_in_block(const struct group_norm_task *task, size_t block) {
    return dqg_min_size(task->block_pixels, task->args->pixels - block * task->block_pixels);
}

static void take_moments(void *argument, size_t index, size_t lane) {
    const struct group_norm_task *task = argument;
    const struct dqg_group_norm *args = task->args;
    size_t sample = index / task->blocks, block = index % task->blocks;
    const float *x = args->x + (sample * args->pixels + block * task->block_pixels) * args->ldx;
    task->ops->kernels->moments_f32(task->moments + index * args->groups * 2, x, args->ldx,
                                    pixels_in_block(task, block), args->groups, args->channels / args->groups,
                                    (float *)(task->ops->scratch + lane * task->ops->lane_bytes));
}

/* Mean and 1 / sqrt(variance + epsilon) of one group of one sample: as given, or of the blocks. */
static void use_given(const struct dqg_group_norm *args, size_t sample, size_t group, double *mean, double *inverse) {
    const double *given = args->given + (sample * args->groups + group) * 2;
    *mean = given[0];
    *inverse = 1 / sqrt(given[1] + (double)args->epsilon);
}

static void combine(const struct group_norm_task *task, size_t sample, size_t group, double *mean, double *inverse) {
    const struct dqg_group_norm *args = task->args;
    const float *moments = task->moments + (sample * task->blocks * args->groups + group) * 2;
    size_t step = 2 * args->groups;
    double pixels = (double)args->pixels, width = (double)(args->channels / args->groups), squares = 0;
    *mean = 0;
    for (size_t b = 0; b < task->blocks; b++) {
        *mean += (double)moments[b * step] * (double)pixels_in_block(task, b) / pixels;
    }
    for (size_t b = 0; b < task->blocks; b++) {
        double apart = (double)moments[b * step] - *mean;
        squares += (double)moments[b * step + 1] + (double)pixels_in_block(task, b) * width * apart * apart;
    }
    *inverse = 1 / sqrt(squares / (pixels * width) + (double)args->epsilon);
}

/* Factor and offset of each channel of one sample. */
static void make_factors(void *argument, size_t sample, size_t lane) {
    const struct group_norm_task *task = argument;
    const struct dqg_group_norm *args = task->args;
    size_t width = args->channels / args->groups;
    double mean = 0, inverse = 0;
    (void)lane;
    for (size_t c = 0; c < args->channels; c++) {
        if (c % width == 0 && args->given != NULL) {
            use_given(args, sample, c / width, &mean, &inverse);
        } else if (c % width == 0) {
            combine(task, sample, c / width, &mean, &inverse);
        }
        double factor = args->weight != NULL ? inverse * (double)args->weight[c] : inverse;
        double offset = (args->bias != NULL ? (double)args->bias[c] : 0) - mean * factor;
        if (args->scale != NULL) {
            double scale = 1 + (double)args->scale[sample * args->ld_modulation + c];
            factor *= scale;
            offset = offset * scale + (double)args->shift[sample * args->ld_modulation + c];
        }
        task->factor[sample * args->channels + c] = (float)factor;
        task->offset[sample * args->channels + c] = (float)offset;
    }
}

static void apply_factors(void *argument, size_t index, size_t lane) {
    const struct group_norm_task *task = argument;
    const struct dqg_group_norm *args = task->args;
    size_t sample = index / task->blocks, block = index % task->blocks;
    size_t pixel = sample * args->pixels + block * task->block_pixels;
    struct dqg_affine affine = {.y = args->y != NULL ? args->y + pixel * args->ldy : NULL,
                                .x = args->x + pixel * args->ldx,
                                .factor = task->factor + sample * args->channels,
                                .offset = task->offset + sample * args->channels,
                                .ldy = args->ldy,
                                .ldx = args->ldx,
                                .rows = pixels_in_block(task, block),
                                .n = args->channels,
                                .activation = args->activation};
    (void)lane;
    task->ops->kernels->affine_f32_f32(task->ranges + 2 * index, &affine);
}

void dqg_op_group_norm(const struct dqg_ops *ops, const struct dqg_group_norm *args) {
    struct group_norm_task task = {.ops = ops, .args = args, .block_pixels = block_pixels(args->channels)};
    task.blocks = block_count(args->pixels, args->channels);
    task.factor = args->work;
    task.offset = task.factor + args->samples * args->channels;
    task.moments = task.offset + args->samples * args->channels;
    task.ranges = task.moments + args->samples * task.blocks * args->groups * 2;
    if (args->given == NULL) {
        dqg_parallel(ops->context, args->samples * task.blocks, take_moments, &task);
    }
    dqg_parallel(ops->context, args->samples, make_factors, &task);
    dqg_parallel(ops->context, args->samples * task.blocks, apply_factors, &task);
    for (size_t i = 0; args->range != NULL && i < args->samples * task.blocks; i++) {
        float *range = args->range + i / task.blocks * 2;
        range[0] = i % task.blocks == 0 ? task.ranges[2 * i] : fminf(range[0], task.ranges[2 * i]);
        range[1] = i % task.blocks == 0 ? task.ranges[2 * i + 1] : fmaxf(range[1], task.ranges[2 * i + 1]);
    }
}

/* ---- moments of a part of an image ---- */

struct group_moments_task {
    const struct dqg_ops *ops;
    const struct dqg_group_moments *args;
};

static void take_row(void *argument, size_t row, size_t lane) {
    const struct group_moments_task *task = argument;
    const struct dqg_group_moments *args = task->args;
    size_t pixel = (args->first_row + row) * args->width + args->first_column;
    task->ops->kernels->moments_f32(args->work + row * args->groups * 2, args->x + pixel * args->ldx, args->ldx,
                                    args->columns, args->groups, args->channels / args->groups,
                                    (float *)(task->ops->scratch + lane * task->ops->lane_bytes));
}

void dqg_op_group_moments(const struct dqg_ops *ops, const struct dqg_group_moments *args) {
    struct group_moments_task task = {ops, args};
    double count = (double)(args->columns * (args->channels / args->groups));
    dqg_parallel(ops->context, args->rows, take_row, &task);
    for (size_t i = 0; i < args->rows * args->groups; i++) { /* in order: the same sums for any number of lanes */
        double *sum = args->sums + i % args->groups * 3, apart = (double)args->work[2 * i] - sum[1];
        double total = sum[0] + count;
        sum[1] += apart * count / total;
        sum[2] += (double)args->work[2 * i + 1] + apart * apart * sum[0] * count / total;
        sum[0] = total;
    }
}
