/* SPDX-License-Identifier: MIT */
/*
 * The benchmark of attention, at the heads of some diffusion networks, on one core: 4 T^2 d operations for a head of
 * width d and T tokens. A line for each shape; the result is their geometric mean. Packing is part of the integer form.
 */
#include <math.h>
#include <stdio.h>

#include "bench.h"

static const struct shape { size_t width, tokens; } shapes[] = {{40, 4096}, {72, 256}, {64, 1101}, {128, 1024}};

enum what { FLOAT, INTEGER, PACK };

/* A head: x holds q, k and v side by side. */
struct head {
    const struct dqg_kernels *kernels;
    const struct shape *shape;
    enum what what;
    struct buffer x, packed, out, scratch;
};

/* All queries of a head. */
static void run_head(const void *argument) {
    const struct head *head = argument;
    const struct dqg_kernels *kernels = head->kernels;
    size_t width = head->shape->width, tokens = head->shape->tokens, ld = 3 * width;
    const float *x = head->x.data;
    if (head->what != FLOAT) {
        kernels->attention_pack_f32_i8(head->packed.data, x + width, ld, x + 2 * width, ld, tokens, width);
    }
    for (size_t first = 0; first < tokens && head->what != PACK; first += DQG_ATTENTION_QUERIES) {
        size_t left = tokens - first;
        struct dqg_attention call = {.q = x + first * ld,
                                     .k = x + width,
                                     .v = x + 2 * width,
                                     .packed = head->packed.data,
                                     .out = (float *)head->out.data + first * width,
                                     .ld_q = ld,
                                     .ld_k = ld,
                                     .ld_v = ld,
                                     .ld_out = width,
                                     .queries = left < DQG_ATTENTION_QUERIES ? left : DQG_ATTENTION_QUERIES,
                                     .keys = tokens,
                                     .width = width,
                                     .scale = 1.0f / sqrtf((float)width),
                                     .scratch = head->scratch.data};
        (head->what == FLOAT ? kernels->attention_f32_f32 : kernels->attention_i8_f32)(&call);
    }
}

static double seconds_of(const struct dqg_kernels *kernels, const struct shape *shape, enum what what) {
    struct head head = {kernels,
                        shape,
                        what,
                        buffer_make(shape->tokens, 3 * shape->width, 3 * shape->width, 4),
                        buffer_make(1, dqg_attention_packed_bytes(shape->tokens, shape->width), 0, 1),
                        buffer_make(shape->tokens, shape->width, shape->width, 4),
                        buffer_make(1, DQG_ATTENTION_SCRATCH, 0, 4)};
    for (size_t i = 0; i < head.x.size / 4; i++) {
        ((float *)head.x.data)[i] = random_unit();
    }
    double seconds = bench_seconds(run_head, &head);
    struct buffer *all[] = {&head.x, &head.packed, &head.out, &head.scratch};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
    return seconds;
}

static void run_ceiling_i8(const void *kernels) {
    ((const struct dqg_kernels *)kernels)->ceiling_i8(10000);
}

static void run_ceiling_f32(const void *kernels) {
    ((const struct dqg_kernels *)kernels)->ceiling_f32(10000);
}

/* Operations a second on registers alone. */
static double ceiling_of(const struct dqg_kernels *kernels, enum what what) {
    uint64_t operations = what == FLOAT ? kernels->ceiling_f32(10000) : kernels->ceiling_i8(10000);
    return (double)operations / bench_seconds(what == FLOAT ? run_ceiling_f32 : run_ceiling_i8, kernels);
}

static struct rate bench_shapes(const struct dqg_kernels *kernels, enum what what) {
    double sum = 0.0, ceiling = ceiling_of(kernels, what);
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        const struct shape *shape = &shapes[i];
        double elements = (double)shape->tokens * (double)shape->width;
        double operations = what == PACK ? 2.0 * elements : 4.0 * (double)shape->tokens * elements;
        double rate = operations / seconds_of(kernels, shape, what);
        printf("%-10s   width %3zu tokens %4zu  %9.2f", kernels->name, shape->width, shape->tokens, rate * 1e-9);
        if (what != PACK) {
            printf("  %4.1f %% of registers alone", 100.0 * rate / ceiling);
        }
        printf("\n");
        sum += log(rate * 1e-9);
    }
    return (struct rate){exp(sum / COUNT_OF(shapes)), what == PACK ? "element" : "OP"};
}

struct rate bench_attention_f32_f32(const struct dqg_kernels *kernels) {
    return bench_shapes(kernels, FLOAT);
}

struct rate bench_attention_i8_f32(const struct dqg_kernels *kernels) {
    return bench_shapes(kernels, INTEGER);
}

struct rate bench_attention_pack_f32_i8(const struct dqg_kernels *kernels) {
    return bench_shapes(kernels, PACK);
}
