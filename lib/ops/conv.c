/* SPDX-License-Identifier: MIT */
/*
 * Convolutions with quantized weights, as products of the int8 image's windows with weight panels; no window is ever
 * copied to memory. Results are cut into blocks of output channels by pixels; a lane decodes the
 * block's weights once, in cache. Float weights: conv_float.c.
 *
 * A doubled image is never made. Of the results, those in even or odd lines and columns see its pixels in four
 * different patterns: four products, each over all taps, whose windows lie on the small image.
 */
#include "ops/conv.h"

enum {
    BLOCK_PIXELS = 1024, /* decoding the weights costs as much as some 12 pixels */
    MOST_PANELS = 8,     /* of weights decoded together; each strip of pixels is gathered once for all of them */
    MOST_COLUMNS = MOST_PANELS * DQG_PANEL,
    FEWEST_PANELS = 4,
    MOST_BLOCK = 768 << 10 /* bytes of weights decoded together: they stay in the second-level cache */
};

/* Every result, or one of the four patterns of a doubled image. */
struct pattern {
    size_t parity[3];
    size_t size[3]; /* results along each axis */
    size_t pixels;  /* results of all samples */
    size_t blocks;
};

struct conv_task {
    const struct dqg_ops *ops;
    const struct dqg_conv *args;
    struct pattern patterns[4];
    size_t out[3];
    size_t block_pixels, block_columns;
    size_t column_blocks;
    size_t runs, run_taps; /* taps next to each other along a line are one run */
};

/* ---- one block ---- */

/* Where the taps lie, from a window's first pixel. */
static void place_runs(const struct conv_task *task, const struct pattern *pattern, size_t *run) {
    const struct dqg_conv_shape *shape = task->args->shape;
    const struct dqg_conv_image *image = task->args->image;
    for (size_t i = 0; i < task->runs; i++) {
        size_t tap = i * task->run_taps, offset[3];
        const size_t at[3] = {tap / shape->kernel[2] / shape->kernel[1], tap / shape->kernel[2] % shape->kernel[1],
                              tap % shape->kernel[2]};
        for (int axis = 0; axis < 3; axis++) {
            offset[axis] = at[axis] * shape->dilation[axis];
            if (shape->upsample && axis > 0) { /* not negative: the border is at least half the padding */
                offset[axis] += pattern->parity[axis] + 2 * image->border[axis] - shape->before[axis];
                offset[axis] /= 2;
            }
        }
        run[i] = ((offset[0] * image->size[1] + offset[1]) * image->size[2] + offset[2]) * image->pixel;
    }
}

/* Result number `index` of a pattern and those that follow it in its line, at most `most`; windows: the first ones'
 * place in the image and the way to the next. */
static struct dqg_conv_rows place_rows(const struct conv_task *task, const struct pattern *pattern, size_t index,
                                       size_t most, size_t windows[2]) {
    const struct dqg_conv_shape *shape = task->args->shape;
    const struct dqg_conv_image *image = task->args->image;
    size_t x = index % pattern->size[2], line = index / pattern->size[2];
    size_t y = line % pattern->size[1], z = line / pattern->size[1] % pattern->size[0];
    size_t sample = line / pattern->size[1] / pattern->size[0];
    size_t step = shape->upsample ? 2 : 1;
    struct dqg_conv_rows rows = {
        .sample = sample, .distance = step, .count = dqg_min_size(most, pattern->size[2] - x)};
    rows.pixel = ((sample * task->out[0] + z) * task->out[1] + y * step + pattern->parity[1]) * task->out[2] +
                 x * step + pattern->parity[2];
    windows[0] = sample * image->sample + ((z * shape->stride[0] * image->size[1] + y * shape->stride[1]) *
                                               image->size[2] +
                                           x * shape->stride[2]) *
                                              image->pixel;
    windows[1] = shape->stride[2] * image->pixel;
    return rows;
}

static void multiply_block(const struct conv_task *task, const struct pattern *pattern, size_t pixel, size_t end,
                           size_t column, char *scratch) {
    const struct dqg_conv *args = task->args;
    size_t columns = dqg_min_size(task->block_columns, args->weight->size.rows - column);
    size_t depth = args->weight->size.columns_padded, sample = SIZE_MAX;
    struct dqg_conv_rows rows[DQG_CONV_TILE];
    size_t row[DQG_CONV_TILE];
    float bias[MOST_COLUMNS];
    int32_t *c = (int32_t *)(scratch + dqg_round_up(task->block_columns * depth, DQG_ALIGNMENT));
    size_t *run = (size_t *)(c + DQG_CONV_TILE * MOST_COLUMNS);
    place_runs(task, pattern, run);
    struct dqg_gemm_i8 product = {.c = c,
                                  .ldc = MOST_COLUMNS,
                                  .a = args->image->codes,
                                  .row = row,
                                  .run = run,
                                  .sums = args->weight->sums + column,
                                  .panel_stride = DQG_PANEL * depth,
                                  .panels = (columns + DQG_PANEL - 1) / DQG_PANEL,
                                  .runs = task->runs,
                                  .k = task->run_taps * args->weight->size.tap_padded};
    product.w = dqg_panels_int8(task->ops, args->weight, column / DQG_PANEL, product.panels, scratch);
    while (pixel < end) {
        size_t parts = 0, windows[2];
        for (product.rows = 0; product.rows < DQG_CONV_TILE && pixel < end; parts++) {
            size_t most = dqg_min_size(DQG_CONV_TILE - product.rows, end - pixel);
            rows[parts] = place_rows(task, pattern, pixel, most, windows);
            for (size_t i = 0; i < rows[parts].count; i++) {
                row[product.rows++] = windows[0] + i * windows[1];
            }
            pixel += rows[parts].count;
        }
        task->ops->kernels->gemm_i8_i32(&product);
        const int32_t *sums = c;
        for (size_t i = 0; i < parts; i++) {
            if (rows[i].sample != sample) {
                sample = rows[i].sample;
                dqg_conv_bias(args, sample, column, columns, bias);
            }
            dqg_conv_finish(task->ops, args, sums, MOST_COLUMNS, bias, &rows[i], column, columns);
            sums += rows[i].count * MOST_COLUMNS;
        }
    }
}

static void conv_tile(void *argument, size_t index, size_t lane) {
    const struct conv_task *task = argument;
    const struct pattern *pattern = task->patterns;
    size_t block = index / task->column_blocks;
    for (; block >= pattern->blocks; pattern++) {
        block -= pattern->blocks;
    }
    size_t first = block * task->block_pixels;
    multiply_block(task, pattern, first, dqg_min_size(first + task->block_pixels, pattern->pixels),
                   index % task->column_blocks * task->block_columns,
                   task->ops->scratch + lane * task->ops->lane_bytes);
}

/* ---- operator ---- */

/* Even, because kernels take panels in pairs. */
static size_t block_panels(const struct dqg_weight *weight) {
    size_t panels = MOST_BLOCK / (DQG_PANEL * weight->size.columns_padded) / 2 * 2;
    panels = panels < FEWEST_PANELS ? FEWEST_PANELS : panels;
    return panels < MOST_PANELS ? panels : MOST_PANELS;
}

static size_t count_blocks(const struct conv_task *task, size_t pixels) {
    return (pixels + task->block_pixels - 1) / task->block_pixels;
}

/* Blocks of about BLOCK_PIXELS, less where lanes would be idle. Integer sums do not depend on the cut. */
static size_t choose_block(const struct conv_task *task, size_t pixels, size_t patterns) {
    size_t wanted = 3 * dqg_concurrency(task->ops->context);
    size_t blocks = (pixels + BLOCK_PIXELS - 1) / BLOCK_PIXELS;
    while (blocks * patterns * task->column_blocks < wanted && pixels / blocks > 2 * DQG_CONV_TILE) {
        blocks++;
    }
    return dqg_round_up((pixels + blocks - 1) / blocks, DQG_CONV_TILE);
}

void dqg_op_conv(const struct dqg_ops *ops, const struct dqg_conv *args) {
    if (!dqg_dtype_is_quantized(args->weight->dtype)) {
        dqg_conv_float(ops, args);
        return;
    }
    const struct dqg_conv_shape *shape = args->shape;
    struct conv_task task = {.ops = ops, .args = args};
    task.block_columns = DQG_PANEL * block_panels(args->weight);
    task.column_blocks = (args->weight->size.rows + task.block_columns - 1) / task.block_columns;
    task.run_taps = shape->dilation[2] == 1 && !shape->upsample ? shape->kernel[2] : 1;
    task.runs = args->weight->size.taps / task.run_taps;
    size_t patterns = shape->upsample ? 4 : 1, step = shape->upsample ? 2 : 1, blocks = 0;
    for (size_t i = 0; i < patterns; i++) {
        struct pattern *pattern = &task.patterns[i];
        pattern->parity[1] = i / 2;
        pattern->parity[2] = i % 2;
        for (int axis = 0; axis < 3; axis++) {
            task.out[axis] = dqg_conv_out(shape, axis);
            size_t every = axis > 0 ? step : 1;
            pattern->size[axis] = (task.out[axis] + every - 1 - pattern->parity[axis]) / every;
        }
        pattern->pixels = shape->samples * pattern->size[0] * pattern->size[1] * pattern->size[2];
        if (i == 0) {
            task.block_pixels = choose_block(&task, pattern->pixels, patterns);
        }
        pattern->blocks = count_blocks(&task, pattern->pixels);
        blocks += pattern->blocks;
    }
    dqg_parallel(ops->context, blocks * task.column_blocks, conv_tile, &task);
}

size_t dqg_op_conv_scratch(const struct dqg_weight *weight) {
    if (!dqg_dtype_is_quantized(weight->dtype)) {
        return dqg_conv_float_scratch(weight);
    }
    size_t block = DQG_PANEL * block_panels(weight) * weight->size.columns_padded;
    return dqg_round_up(block, DQG_ALIGNMENT) + DQG_CONV_TILE * MOST_COLUMNS * sizeof(int32_t) +
           weight->size.taps * sizeof(size_t);
}

/* ---- shared with conv_float.c ---- */

void dqg_conv_bias(const struct dqg_conv *args, size_t sample, size_t column, size_t columns, float *bias) {
    const struct dqg_weight *weight = args->weight;
    for (size_t n = 0; n < columns; n++) {
        bias[n] = args->bias != NULL ? args->bias[column + n] : 0.0f;
        bias[n] += args->addend != NULL ? args->addend[sample * args->ld_addend + column + n] : 0.0f;
        if (args->image != NULL) { /* every code of the image is too large by the zero point */
            float unit = weight->column_scale[column + n] * args->image->scale[sample];
            bias[n] -= (float)args->image->zero[sample] * (float)weight->sums[column + n] * unit;
        }
    }
}

void dqg_conv_finish(const struct dqg_ops *ops, const struct dqg_conv *args, const void *c, size_t ldc,
                     const float *bias, const struct dqg_conv_rows *rows, size_t column, size_t columns) {
    size_t ld_out = args->ld_out * rows->distance;
    float *out = args->out + rows->pixel * args->ld_out + column;
    struct dqg_epilogue epilogue = {.bias = bias, .activation = args->activation};
    if (args->gate != NULL) {
        epilogue.gate = args->gate + rows->sample * args->ld_gate + column;
    }
    if (args->residual != NULL) {
        epilogue.residual = args->residual + rows->pixel * args->ld_residual + column;
        epilogue.ld_residual = args->ld_residual * rows->distance;
    }
    if (args->image == NULL) {
        ops->kernels->epilogue_f32_f32(out, ld_out, c, ldc, rows->count, columns, &epilogue);
        return;
    }
    float scale[DQG_CONV_TILE];
    for (size_t i = 0; i < rows->count; i++) {
        scale[i] = args->image->scale[rows->sample];
    }
    epilogue.row_scale = scale;
    epilogue.column_scale = args->weight->column_scale + column;
    ops->kernels->epilogue_i32_f32(out, ld_out, c, ldc, rows->count, columns, &epilogue);
}
