/* SPDX-License-Identifier: MIT */
/* The benchmark of the decoders to int8 panels: one panel after another of a matrix that stays in the caches. */
#include <stdio.h>

#include "bench.h"

enum { GROUP = 64 };

static const int8_t levels[512] = {1, 2, 3};

struct code_bench {
    const struct dqg_kernels *kernels;
    dqg_decode_i8_fn *decode;
    struct dqg_codes codes;
    struct buffer panels, stored, scales, zeros, inverse, few;
};

static void call(const void *argument) {
    const struct code_bench *b = argument;
    struct dqg_codes codes = b->codes;
    for (size_t p = 0; p < DQG_BLOCK_PANELS; p++) {
        codes.codes = (uint8_t *)b->stored.data + p * DQG_PANEL * DEPTH * (size_t)codes.bits / 8;
        codes.scales = (uint16_t *)b->scales.data + p * DQG_PANEL;
        b->decode((int8_t *)b->panels.data + p * DQG_PANEL * DEPTH, &codes);
    }
}

static struct code_bench make_bench(const struct dqg_kernels *kernels, dqg_decode_i8_fn *decode, int32_t bits,
                                    const int8_t *table, int zeros) {
    struct code_bench b = {.kernels = kernels,
                           .decode = decode,
                           .panels = buffer_make(DQG_BLOCK_COLUMNS, DEPTH, DEPTH, 1),
                           .stored = buffer_make(DQG_BLOCK_COLUMNS, DEPTH, DEPTH, 1),
                           .scales = buffer_make(DEPTH / GROUP * 2, DQG_BLOCK_COLUMNS, DQG_BLOCK_COLUMNS, 2),
                           .zeros = buffer_make(DEPTH / GROUP, DQG_BLOCK_COLUMNS, DQG_BLOCK_COLUMNS, 1),
                           .inverse = buffer_make(1, DQG_PANEL, 0, 4),
                           .few = buffer_make(1, DQG_PANEL, 0, 4)};
    check_seed(1);
    for (size_t i = 0; i < b.stored.size; i++) {
        ((uint8_t *)b.stored.data)[i] = (uint8_t)random_bits();
    }
    for (size_t i = 0; i < b.scales.size / 2; i++) {
        ((uint16_t *)b.scales.data)[i] = 0x3800;
    }
    for (size_t i = 0; i < DQG_PANEL; i++) {
        ((float *)b.inverse.data)[i] = 500.0f;
    }
    b.codes = (struct dqg_codes){.bits = bits,
                                 .levels = table,
                                 .zeros = zeros ? b.zeros.data : NULL,
                                 .scale_stride = DQG_BLOCK_COLUMNS,
                                 .inverse = b.inverse.data,
                                 .k = DEPTH,
                                 .group = GROUP};
    return b;
}

static struct rate finish_bench(struct code_bench *b, void (*fn)(const void *argument)) {
    double seconds = bench_seconds(fn, b);
    struct buffer *all[] = {&b->panels, &b->stored, &b->scales, &b->zeros, &b->inverse, &b->few};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
    return (struct rate){(double)DQG_BLOCK_COLUMNS * DEPTH / seconds * 1e-9, "weight"};
}

static struct rate measure_codes(dqg_decode_i8_fn *decode, int32_t bits, const int8_t *table, int zeros) {
    struct code_bench b = make_bench(NULL, decode, bits, table, zeros);
    return finish_bench(&b, call);
}

struct rate bench_decode_group_i8(const struct dqg_kernels *kernels) {
    return measure_codes(kernels->decode_group_i8, 4, NULL, 0);
}

struct rate bench_decode_sign_i8(const struct dqg_kernels *kernels) {
    return measure_codes(kernels->decode_sign_i8, 1, NULL, 0);
}

struct rate bench_decode_f8_i8(const struct dqg_kernels *kernels) {
    return measure_codes(kernels->decode_f8_i8, 8, levels, 0);
}

struct rate bench_decode_vector_i8(const struct dqg_kernels *kernels) {
    return measure_codes(kernels->decode_vector_i8, 2, levels, 0);
}

/* One row: all of a block's panels, from the caches. */
static void call_few(const void *argument) {
    const struct code_bench *b = argument;
    struct dqg_codes codes = b->codes;
    size_t zero = 0;
    struct dqg_gemm_i8 product = {.c = b->few.data,
                                  .ldc = DQG_PANEL,
                                  .a = b->panels.data,
                                  .row = &zero,
                                  .run = &zero,
                                  .sums = b->few.data,
                                  .rows = 1,
                                  .panels = 1,
                                  .runs = 1,
                                  .k = DEPTH};
    for (size_t p = 0; p < DQG_BLOCK_PANELS; p++) {
        codes.codes = (uint8_t *)b->stored.data + p * DQG_PANEL * DEPTH * (size_t)codes.bits / 8;
        codes.scales = (uint16_t *)b->scales.data + p * DQG_PANEL;
        b->kernels->gemm_group_i32(&product, &codes);
    }
}

struct rate bench_gemm_group_i32(const struct dqg_kernels *kernels) {
    struct code_bench b = make_bench(kernels, NULL, 4, NULL, 0);
    return finish_bench(&b, call_few);
}

static void print(const struct dqg_kernels *kernels, const char *what, struct rate rate) {
    printf("%-10s   %-16s %9.2f G%s/s\n", kernels->name, what, rate.giga, rate.unit);
}

void bench_codes(const struct dqg_kernels *kernels) {
    for (int32_t bits = 2; bits <= 6; bits++) {
        char what[16];
        for (int zeros = 0; zeros < 2; zeros++) {
            snprintf(what, sizeof what, "int%d%s", (int)bits, zeros ? "z" : "");
            print(kernels, what, measure_codes(kernels->decode_group_i8, bits, NULL, zeros));
        }
    }
    print(kernels, "table of 16", measure_codes(kernels->decode_group_i8, 4, levels, 0));
    print(kernels, "bin1", measure_codes(kernels->decode_sign_i8, 1, NULL, 0));
    print(kernels, "bin2", measure_codes(kernels->decode_sign_i8, 2, NULL, 0));
    print(kernels, "vq2", measure_codes(kernels->decode_vector_i8, 4, levels, 0));
    print(kernels, "vq4", measure_codes(kernels->decode_vector_i8, 2, levels, 0));
}
