/* SPDX-License-Identifier: MIT */
/* The benchmark of kernels that work on rows and elements: few enough rows for the second-level cache. */
#include "bench.h"

enum { FEW_ROWS = 48 };

static void call_quantize_f32_i8(const struct bench *b) {
    b->kernels->quantize_f32_i8(b->a8.data, DEPTH, b->b.data, b->x.data, WIDTH, FEW_ROWS, WIDTH, DEPTH);
}

static void call_range_f32(const struct bench *b) {
    b->kernels->range_f32(b->b.data, b->x.data, FEW_ROWS * WIDTH);
}

static void call_offset_f32_i8(const struct bench *b) {
    b->kernels->offset_f32_i8(b->a8.data, DEPTH, b->x.data, WIDTH, FEW_ROWS, WIDTH, DEPTH, 100.0f, 7);
}

static void call_norm_f32_f32(const struct bench *b) {
    struct dqg_norm_form form = {.scale = b->b.data, .shift = b->b.data, .eps = 1e-6f};
    b->kernels->norm_f32_f32(b->y.data, WIDTH, b->x.data, WIDTH, FEW_ROWS, WIDTH, &form);
}

static void call_norm_f32_i8(const struct bench *b) {
    struct dqg_norm_form form = {.scale = b->b.data, .shift = b->b.data, .eps = 1e-6f};
    b->kernels->norm_f32_i8(b->a8.data, DEPTH, b->b.data, b->x.data, WIDTH, FEW_ROWS, WIDTH, DEPTH, &form,
                            b->scratch.data);
}

static void call_moments_f32(const struct bench *b) {
    b->kernels->moments_f32(b->b.data, b->x.data, WIDTH, FEW_ROWS, 32, WIDTH / 32, b->scratch.data);
}

static void call_affine_f32_f32(const struct bench *b) {
    struct dqg_affine affine = {b->y.data, b->x.data, b->x.data, b->x.data,   WIDTH,
                                WIDTH,     FEW_ROWS,  WIDTH,     DQG_ACT_SILU};
    float range[2];
    b->kernels->affine_f32_f32(range, &affine);
}

static void call_activate_f32_f32(const struct bench *b) {
    b->kernels->activate_f32_f32(b->y.data, b->x.data, FEW_ROWS * WIDTH, DQG_ACT_SILU);
}

static void call_glu_f32_f32(const struct bench *b) {
    b->kernels->glu_f32_f32(b->y.data, b->x.data, b->b.data, FEW_ROWS * WIDTH, DQG_ACT_GELU_ERF);
}

static void call_add_f32(const struct bench *b) {
    b->kernels->add_f32(b->y.data, b->x.data, b->b.data, FEW_ROWS * WIDTH, 1.0f);
}

static void call_softmax_f32_f32(const struct bench *b) {
    b->kernels->softmax_f32_f32(b->y.data, WIDTH, b->x.data, WIDTH, FEW_ROWS, WIDTH, 1.0f);
}

static void call_rope_f32_f32(const struct bench *b) {
    struct dqg_rope rope = {b->y.data, b->x.data, b->b.data,    b->b.data, WIDTH, WIDTH,
                            HEAD,      FEW_ROWS,  WIDTH / HEAD, HEAD,      1};
    b->kernels->rope_f32_f32(&rope);
}

static void call_normal_f32(const struct bench *b) {
    b->kernels->normal_f32(b->y.data, 1, 0, 0, 0, FEW_ROWS * WIDTH / 4);
}

static void call_fit_scales_f32(const struct bench *b) {
    struct dqg_scale_fit fit = {.half = 1};
    for (size_t i = 0; i < DQG_FIT_SCALES; i++) {
        fit.scales[0][i] = 0.1f + 0.01f * (float)i;
        fit.low[i] = -8.0f;
        fit.high[i] = 7.0f;
    }
    for (size_t i = 0; i < WIDTH / 32; i++) {
        b->kernels->fit_scales_f32(&fit, (const float *)b->x.data + i * 32, 32);
    }
}

struct rate bench_quantize_f32_i8(const struct dqg_kernels *kernels) {
    return measure(kernels, call_quantize_f32_i8, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_range_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_range_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_offset_f32_i8(const struct dqg_kernels *kernels) {
    return measure(kernels, call_offset_f32_i8, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_norm_f32_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_norm_f32_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_norm_f32_i8(const struct dqg_kernels *kernels) {
    return measure(kernels, call_norm_f32_i8, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_moments_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_moments_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_affine_f32_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_affine_f32_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_activate_f32_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_activate_f32_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_glu_f32_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_glu_f32_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_add_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_add_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_softmax_f32_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_softmax_f32_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_rope_f32_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_rope_f32_f32, (double)FEW_ROWS * WIDTH, "element");
}

struct rate bench_fit_scales_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_fit_scales_f32, (double)WIDTH * DQG_FIT_SCALES, "element and scale");
}

struct rate bench_normal_f32(const struct dqg_kernels *kernels) {
    return measure(kernels, call_normal_f32, (double)FEW_ROWS * WIDTH, "element");
}
