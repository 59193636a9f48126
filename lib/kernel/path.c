/* SPDX-License-Identifier: MIT */
/*
 * Brownian motion that can be asked for at any time: a tree of midpoints that is never stored, each node drawn from the
 * counter where it is needed ("Scalable gradients for stochastic differential equations", Li et al. 2020, arXiv
 * 2001.01328, section 4). Times have their octaves, 2^k to 2^(k+1), each with a tree of its own, so that small times
 * are as finely divided as large ones. All paths visit the same nodes: a tile of them goes down the tree at a time.
 * Called by lib/run for the fresh noise of stochastic solvers.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernel/kernel.h"
#include "support/rng.h"

const struct dqg_kernels *dqg_backend_scalar(void);

/* Levels of an octave's tree. Below, a path is straight: over 2^-24 of its time, where a step of 10^5 in an octave has
 * 2^-17. */
enum { LEVELS = 24, FIRST_OCTAVE = -120, OCTAVE_USES = DQG_RNG_PATH + 128 };

enum { TILE_BLOCKS = 64, TILE = 4 * TILE_BLOCKS };

struct octave_time {
    int octave;
    double part; /* 0 <= part < 1 of the octave */
};

static struct octave_time split_time(double time) {
    int exponent;
    double mantissa = frexp(fmax(time, ldexp(1, FIRST_OCTAVE)), &exponent); /* 0.5 <= mantissa < 1 */
    struct octave_time split = {exponent - 1, 2 * mantissa - 1};
    return split;
}

/* Some paths: blocks of four of one seed. */
struct tile {
    const struct dqg_kernels *kernels;
    uint64_t seed, block;
    size_t blocks;
};

/* Node 0 is an octave as a whole; the others are numbered as in a heap: the children of n are 2 n and 2 n + 1. */
static void draw(const struct tile *tile, int octave, uint32_t node, float z[TILE]) {
    tile->kernels->normal_f32(z, tile->seed, node, (uint32_t)(OCTAVE_USES + octave), tile->block, tile->blocks);
}

/* sum += factor * what the paths gain in a whole octave */
static void add_octave(const struct tile *tile, int octave, double factor, double sum[TILE]) {
    float z[TILE];
    draw(tile, octave, 0, z);
    double deviation = factor * sqrt(ldexp(1, octave));
    for (size_t i = 0; i < 4 * tile->blocks; i++) {
        sum[i] += deviation * z[i];
    }
}

/* sum += factor * what they gain from the beginning of an octave to a part of it */
static void add_part(const struct tile *tile, struct octave_time time, double factor, double sum[TILE]) {
    double left[TILE] = {0}, right[TILE] = {0};
    size_t count = 4 * tile->blocks;
    double start = 0;
    double length = 1; /* of the interval start ... start + length that holds the time, in octaves */
    uint32_t node = 1;
    add_octave(tile, time.octave, 1, right);
    for (int level = 0; level < LEVELS && time.part > start; level++) {
        double deviation = 0.5 * sqrt(ldexp(length, time.octave));
        bool upper = time.part >= start + length / 2;
        double *end = upper ? left : right;
        float z[TILE];
        draw(tile, time.octave, node, z);
        for (size_t i = 0; i < count; i++) {
            end[i] = 0.5 * (left[i] + right[i]) + deviation * z[i];
        }
        length /= 2;
        start += upper ? length : 0;
        node = 2 * node + upper;
    }
    double share = (time.part - start) / length;
    for (size_t i = 0; i < count; i++) {
        sum[i] += factor * (left[i] + share * (right[i] - left[i]));
    }
}

void dqg_kernels_path(const struct dqg_kernels *kernels, uint64_t seed, double from, double to, uint64_t first,
                      float *out, size_t count) {
    struct octave_time high = split_time(from), low = split_time(to);
    double scale = 1 / sqrt(from - to);
    for (size_t i = 0, taken; i < count; i += taken) {
        size_t skip = (first + i) % 4, left = skip + count - i;
        size_t values = left < TILE ? left : TILE;
        struct tile tile = {kernels, seed, (first + i) / 4, (values + 3) / 4};
        double sum[TILE] = {0};
        add_part(&tile, high, scale, sum);
        add_part(&tile, low, -scale, sum);
        for (int octave = low.octave; octave < high.octave; octave++) {
            add_octave(&tile, octave, scale, sum);
        }
        taken = values - skip;
        for (size_t j = 0; j < taken; j++) {
            out[i + j] = (float)sum[skip + j];
        }
    }
}

void dqg_rng_path(uint64_t seed, double from, double to, uint64_t first, float *out, size_t count) {
    dqg_kernels_path(dqg_backend_scalar(), seed, from, to, first, out, count);
}
