/* SPDX-License-Identifier: MIT */
/*
 * Convolutions at the sizes of Stable Diffusion's U-Net and image decoder: INT4 weights in groups of 64, input
 * quantization included. Prints billions of multiplications and additions in a second, best and median of some runs.
 *
 *   bench_conv [threads] [name part]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ops/conv.h"
#include "support/support.h"

enum { RUNS = 7 };

static const struct problem {
    const char *name;
    size_t height, width, channels, outputs, kernel, stride;
    bool upsample;
    int32_t dtype;
} problems[] = {
    {"unet 64x64 320>320", 64, 64, 320, 320, 3, 1, false, DQG_DTYPE_INT4},
    {"unet 32x32 640>640", 32, 32, 640, 640, 3, 1, false, DQG_DTYPE_INT4},
    {"unet 16x16 1280>1280", 16, 16, 1280, 1280, 3, 1, false, DQG_DTYPE_INT4},
    {"unet 8x8 1280>1280", 8, 8, 1280, 1280, 3, 1, false, DQG_DTYPE_INT4},
    {"unet 64x64 960>320", 64, 64, 960, 320, 3, 1, false, DQG_DTYPE_INT4},
    {"unet 64x64 320>320 stride 2", 64, 64, 320, 320, 3, 2, false, DQG_DTYPE_INT4},
    {"unet 32x32 640>640 doubled", 32, 32, 640, 640, 3, 1, true, DQG_DTYPE_INT4},
    {"vae 64x64 512>512", 64, 64, 512, 512, 3, 1, false, DQG_DTYPE_INT4},
    {"vae 128x128 512>512", 128, 128, 512, 512, 3, 1, false, DQG_DTYPE_INT4},
    {"vae 256x256 512>256", 256, 256, 512, 256, 3, 1, false, DQG_DTYPE_INT4},
    {"vae 512x512 256>128", 512, 512, 256, 128, 3, 1, false, DQG_DTYPE_INT4},
    {"vae 512x512 128>128", 512, 512, 128, 128, 3, 1, false, DQG_DTYPE_INT4},
    {"first 64x64 4>320 f16", 64, 64, 4, 320, 3, 1, false, DQG_DTYPE_F16},
    {"first 64x64 4>320 int8", 64, 64, 4, 320, 3, 1, false, DQG_DTYPE_INT8},
    {"float 64x64 320>320 f16", 64, 64, 320, 320, 3, 1, false, DQG_DTYPE_F16},
};

static void *take(dqg_context *context, size_t bytes) {
    void *memory = dqg_malloc(&context->alloc, bytes);
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

/* Random codes, scales near 1; values do not matter for time. */
static void make_weight(dqg_context *context, const struct problem *problem, struct dqg_weight *weight) {
    *weight = (struct dqg_weight){.name = problem->name,
                                  .dtype = problem->dtype,
                                  .group = problem->dtype == DQG_DTYPE_INT4 ? 64 : 0,
                                  .rank = 4,
                                  .shape = {(int64_t)problem->outputs, (int64_t)problem->channels,
                                            (int64_t)problem->kernel, (int64_t)problem->kernel},
                                  .scale = 1.0f};
    if (!dqg_matrix_size(weight->dtype, weight->group, 4, weight->shape, &weight->size) ||
        !dqg_format_plane_bytes(weight->dtype, weight->group, 4, weight->shape, weight->bytes) ||
        dqg_weight_allocate(context, weight) < 0) {
        exit(1);
    }
    for (size_t i = 0; i < weight->bytes[0]; i++) {
        ((uint8_t *)weight->codes)[i] = (uint8_t)((i * 2654435761u >> 13) & 0x3f);
    }
    for (size_t i = 0; i < weight->bytes[1]; i++) {
        ((uint8_t *)weight->scales)[i] = 0x2c;
    }
    if (dqg_weight_finish(context, weight) < 0) {
        exit(1);
    }
}

/* Microseconds: of the clock, or for one thread of the processor, which other programs disturb less. */
static int64_t now(const dqg_context *context) {
    struct timespec t;
    clock_gettime(dqg_concurrency(context) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void measure(dqg_context *context, const struct problem *problem) {
    struct dqg_conv_shape shape =
        dqg_conv_square(1, problem->channels, problem->height, problem->width, problem->kernel);
    shape.stride[1] = shape.stride[2] = problem->stride;
    shape.upsample = problem->upsample;
    struct dqg_weight weight;
    make_weight(context, problem, &weight);
    bool quantized = dqg_dtype_is_quantized(weight.dtype);
    size_t image_bytes = 0, in = problem->height * problem->width, out = dqg_conv_out_pixels(&shape);
    if (!dqg_conv_valid(&shape, &weight) || (quantized && !dqg_conv_image_bytes(&shape, &weight, &image_bytes))) {
        exit(1);
    }
    size_t lane_bytes = dqg_round_up(dqg_op_conv_scratch(&weight), DQG_ALIGNMENT);
    size_t panel = dqg_round_up(DQG_PANEL * weight.size.columns_padded, DQG_ALIGNMENT);
    lane_bytes = panel > lane_bytes ? panel : lane_bytes;
    size_t lanes = dqg_concurrency(context);
    struct dqg_ops ops = {context, context->kernels, take(context, lanes * lane_bytes), lane_bytes};
    float *x = take(context, in * problem->channels * sizeof *x);
    float *y = take(context, out * problem->outputs * sizeof *y);
    void *block = take(context, image_bytes);
    struct dqg_conv_image image;
    struct dqg_conv args = {.shape = &shape, .weight = &weight, .x = x, .out = y};
    args.ldx = problem->channels;
    args.ld_out = problem->outputs;
    for (size_t i = 0; i < in * problem->channels; i++) {
        x[i] = (float)(i * 2654435761u >> 8 & 0xffff) * 0x1p-16f - 0.25f;
    }
    if (quantized) {
        image = dqg_conv_image_at(&shape, &weight, block);
        args.image = &image;
        dqg_op_weight_sums(&ops, &weight);
    }
    int64_t times[RUNS][2], wall[RUNS];
    for (int run = -1; run < RUNS; run++) {
        int64_t start = now(context), middle;
        int repeats = problem->height > 64 ? 1 : 5;
        int64_t quantize = 0;
        for (int i = 0; i < repeats; i++) {
            middle = now(context);
            if (quantized) {
                dqg_op_conv_image(&ops, &shape, &image, x, args.ldx);
            }
            quantize += now(context) - middle;
            dqg_op_conv(&ops, &args);
        }
        if (run >= 0) {
            times[run][0] = (now(context) - start) / repeats;
            times[run][1] = quantize / repeats;
            wall[run] = times[run][0];
        }
    }
    qsort(times, RUNS, sizeof times[0], by_size);
    qsort(wall, RUNS, sizeof wall[0], by_size);
    double operations = 2.0 * (double)(out * problem->outputs * weight.size.columns);
    printf("%-30s %8.2f ms  best %6.0f  median %6.0f GOP/s  quantize %4.1f %%  scratch %4zu KB\n", problem->name,
           (double)wall[0] * 1e-3, operations / (double)wall[0] * 1e-3, operations / (double)wall[RUNS / 2] * 1e-3,
           100.0 * (double)times[0][1] / (double)times[0][0], lane_bytes >> 10);
    dqg_free(&context->alloc, ops.scratch, lanes * lane_bytes);
    dqg_free(&context->alloc, x, in * problem->channels * sizeof *x);
    dqg_free(&context->alloc, y, out * problem->outputs * sizeof *y);
    dqg_free(&context->alloc, block, image_bytes);
    dqg_weight_free(&context->alloc, &weight);
}

int main(int argc, char **argv) {
    dqg_context *context;
    if (dqg_context_create(NULL, &context) < 0 ||
        dqg_context_set_threads(context, argc > 1 ? atoi(argv[1]) : 2) < 0 || dqg_parallel_prepare(context) < 0) {
        return 1;
    }
    for (size_t i = 0; i < DQG_COUNT_OF(problems); i++) {
        if (argc < 3 || strstr(problems[i].name, argv[2]) != NULL) {
            measure(context, &problems[i]);
        }
    }
    dqg_context_destroy(context);
    return 0;
}
