/* SPDX-License-Identifier: MIT */
/* The benchmark of each kernel at the sizes of a small diffusion transformer, on one core. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"

enum { RUNS = 5 };
static const double run_seconds = 0.03;

/* CPU time, which other programs disturb less than the clock. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct bench make_bench(const struct dqg_kernels *kernels) {
    check_seed(1);
    struct bench b = {.kernels = kernels,
                      .a8 = buffer_make(ROWS, DEPTH, DEPTH, 1),
                      .w8 = buffer_make(DQG_BLOCK_COLUMNS, DEPTH, DEPTH, 1),
                      .c32 = buffer_make(ROWS, DQG_BLOCK_COLUMNS, DQG_BLOCK_COLUMNS, 4),
                      .x = buffer_make(ROWS, WIDTH, WIDTH, 4),
                      .y = buffer_make(ROWS, WIDTH, WIDTH, 4),
                      .b = buffer_make(DEPTH, DQG_BLOCK_COLUMNS, DQG_BLOCK_COLUMNS, 4),
                      .scratch = buffer_make(1, DQG_ATTENTION_SCRATCH, 0, 4)};
    fill_small_ints(b.a8.data, b.a8.size);
    fill_small_ints(b.w8.data, b.w8.size);
    for (size_t i = 0; i < (size_t)ROWS * WIDTH; i++) {
        ((float *)b.x.data)[i] = random_unit();
        ((float *)b.y.data)[i] = random_unit();
    }
    for (size_t i = 0; i < (size_t)DEPTH * DQG_BLOCK_COLUMNS; i++) {
        ((float *)b.b.data)[i] = random_unit();
    }
    for (size_t i = 0; i < (size_t)ROWS * DQG_BLOCK_COLUMNS; i++) {
        ((int32_t *)b.c32.data)[i] = (int32_t)random_bits() >> 12;
    }
    b.epilogue = (struct dqg_epilogue){.row_scale = b.x.data,
                                       .column_scale = b.x.data,
                                       .bias = b.x.data,
                                       .gate = b.x.data,
                                       .residual = b.y.data,
                                       .ld_residual = WIDTH,
                                       .activation = DQG_ACT_GELU_TANH};
    return b;
}

double bench_seconds(void (*call)(const void *argument), const void *argument) {
    double best = INFINITY;
    size_t repeats = 1;
    for (int run = 0; run < RUNS;) {
        double start = now();
        for (size_t i = 0; i < repeats; i++) {
            call(argument);
        }
        double seconds = now() - start;
        if (seconds < run_seconds) {
            repeats *= 2;
            continue;
        }
        best = fmin(best, seconds / (double)repeats);
        run++;
    }
    return best;
}

/* A call with the data that all calls share. */
struct shared_call {
    void (*call)(const struct bench *b);
    const struct bench *b;
};

static void call_shared(const void *argument) {
    const struct shared_call *shared = argument;
    shared->call(shared->b);
}

struct rate measure(const struct dqg_kernels *kernels, void (*call)(const struct bench *b), double operations,
                    const char *unit) {
    struct bench b = make_bench(kernels);
    struct shared_call shared = {call, &b};
    double seconds = bench_seconds(call_shared, &shared);
    struct buffer *all[] = {&b.a8, &b.w8, &b.c32, &b.x, &b.y, &b.b, &b.scratch};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
    return (struct rate){operations / seconds * 1e-9, unit};
}

static void call_ceiling_i8(const struct bench *b) {
    b->kernels->ceiling_i8(1000);
}

static void call_ceiling_f32(const struct bench *b) {
    b->kernels->ceiling_f32(1000);
}

static void call_ceiling_bf16(const struct bench *b) {
    b->kernels->ceiling_bf16(1000);
}

static void call_gemm_i8_i32(const struct bench *b) {
    size_t row[ROWS], run = 0;
    for (size_t m = 0; m < ROWS; m++) {
        row[m] = m * DEPTH;
    }
    struct dqg_gemm_i8 product = {.c = b->c32.data,
                                  .ldc = DQG_BLOCK_COLUMNS,
                                  .a = b->a8.data,
                                  .row = row,
                                  .run = &run,
                                  .w = b->w8.data,
                                  .sums = b->c32.data, /* any numbers */
                                  .panel_stride = DQG_PANEL * DEPTH,
                                  .rows = ROWS,
                                  .panels = DQG_BLOCK_PANELS,
                                  .runs = 1,
                                  .k = DEPTH};
    b->kernels->gemm_i8_i32(&product);
}

static void call_sum_i8_i32(const struct bench *b) {
    b->kernels->sum_i8_i32(b->c32.data, b->w8.data, DEPTH);
}

static void call_gemm_f32(const struct bench *b) {
    b->kernels->gemm_f32(b->c32.data, DQG_BLOCK_COLUMNS, b->x.data, WIDTH, b->b.data, DQG_BLOCK_COLUMNS, ROWS,
                         DQG_BLOCK_COLUMNS, DEPTH, 0);
}

static void call_decode_float_f32(const struct bench *b) {
    b->kernels->decode_float_f32(b->b.data, DQG_BLOCK_COLUMNS, b->x.data, DEPTH, DQG_DTYPE_F16, DQG_BLOCK_COLUMNS,
                                 DQG_BLOCK_COLUMNS, DEPTH);
}

/* One row, weights from the nearest caches. */
static void call_gemm_float_f32(const struct bench *b) {
    b->kernels->gemm_float_f32(b->c32.data, DQG_BLOCK_COLUMNS, b->y.data, WIDTH, b->x.data, DEPTH, DQG_DTYPE_F16, 1,
                               DQG_BLOCK_COLUMNS, DQG_BLOCK_COLUMNS, DEPTH);
}

static void call_round_f32_bf16(const struct bench *b) {
    b->kernels->round_f32_bf16(b->y.data, WIDTH / 2, b->x.data, WIDTH, ROWS, WIDTH);
}

static void call_decode_float_bf16(const struct bench *b) {
    b->kernels->decode_float_bf16(b->b.data, DQG_BLOCK_COLUMNS, b->x.data, DEPTH, DQG_DTYPE_F16, DQG_BLOCK_COLUMNS,
                                  DQG_BLOCK_COLUMNS, DEPTH);
}

/* The bits of floats as pairs: numbers of usual size in every other place. */
static void call_gemm_bf16_f32(const struct bench *b) {
    b->kernels->gemm_bf16_f32(b->c32.data, DQG_BLOCK_COLUMNS, b->x.data, WIDTH, b->b.data, DQG_BLOCK_COLUMNS, ROWS,
                              DQG_BLOCK_COLUMNS, DEPTH / 2, 0);
}

static void call_epilogue_i32_f32(const struct bench *b) {
    b->kernels->epilogue_i32_f32(b->y.data, WIDTH, b->c32.data, DQG_BLOCK_COLUMNS, ROWS, DQG_BLOCK_COLUMNS,
                                 &b->epilogue);
}

static void call_epilogue_f32_f32(const struct bench *b) {
    b->kernels->epilogue_f32_f32(b->y.data, WIDTH, b->x.data, WIDTH, ROWS, DQG_BLOCK_COLUMNS, &b->epilogue);
}

struct rate bench_sum_i8_i32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_sum_i8_i32, (double)DQG_PANEL * DEPTH, "weight");
}

struct rate bench_gemm_i8_i32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_gemm_i8_i32, 2.0 * ROWS * DQG_BLOCK_COLUMNS * DEPTH, "OP");
}

struct rate bench_gemm_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_gemm_f32, 2.0 * ROWS * DQG_BLOCK_COLUMNS * DEPTH, "OP");
}

struct rate bench_decode_float_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_decode_float_f32, (double)DQG_BLOCK_COLUMNS * DEPTH, "weight");
}

struct rate bench_gemm_float_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_gemm_float_f32, (double)DQG_BLOCK_COLUMNS * DEPTH, "weight");
}

struct rate bench_round_f32_bf16(const struct dqg_kernels *kernels) {
    return measure(kernels, call_round_f32_bf16, (double)ROWS * WIDTH, "element");
}

struct rate bench_decode_float_bf16(const struct dqg_kernels *kernels) {
    return measure(kernels, call_decode_float_bf16, (double)DQG_BLOCK_COLUMNS * DEPTH, "weight");
}

struct rate bench_gemm_bf16_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_gemm_bf16_f32, 2.0 * ROWS * DQG_BLOCK_COLUMNS * DEPTH, "OP");
}

struct rate bench_epilogue_i32_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_epilogue_i32_f32, (double)ROWS * DQG_BLOCK_COLUMNS, "element");
}

struct rate bench_epilogue_f32_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_epilogue_f32_f32, (double)ROWS * DQG_BLOCK_COLUMNS, "element");
}

struct rate bench_ceiling_i8(const struct dqg_kernels *kernels) {
    return measure(kernels, call_ceiling_i8, (double)kernels->ceiling_i8(1000), "OP");
}

struct rate bench_ceiling_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_ceiling_f32, (double)kernels->ceiling_f32(1000), "OP");
}

struct rate bench_ceiling_bf16(const struct dqg_kernels *kernels) {
    return measure(kernels, call_ceiling_bf16, (double)kernels->ceiling_bf16(1000), "OP");
}
