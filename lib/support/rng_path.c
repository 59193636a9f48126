/* SPDX-License-Identifier: MIT */
/*
 * Brownian motion that can be asked for at any time: a tree of midpoints that is never stored, each node drawn from the
 * counter where it is needed ("Scalable gradients for stochastic differential equations", Li et al. 2020, arXiv
 * 2001.01328, section 4). Times have their octaves, 2^k to 2^(k+1), each with a tree of its own, so that small times
 * are as finely divided as large ones. Called by lib/run for the fresh noise of stochastic solvers.
 */
#include "support/rng.h"

#include <math.h>
#include <stdbool.h>

/* Levels of an octave's tree. Below, a path is straight: over 2^-24 of its time, where a step of 10^5 in an octave has
 * 2^-17. */
enum { LEVELS = 24, FIRST_OCTAVE = -120, OCTAVE_USES = DQG_RNG_PATH + 128 };

struct octave_time {
    int octave;
    double part; /* 0 <= part < 1 of the octave */
};

static struct octave_time split_time(double time) {
    int exponent;
    double mantissa = frexp(fmax(time, 0x1p-120), &exponent); /* 0.5 <= mantissa < 1 */
    struct octave_time split = {exponent - 1, 2 * mantissa - 1};
    return split;
}

/* What four paths gain in a whole octave. */
static void whole(uint64_t seed, uint64_t block, int octave, double gain[4]) {
    float z[4];
    dqg_rng_four(seed, block, 0, (uint32_t)(OCTAVE_USES + octave), z);
    for (int j = 0; j < 4; j++) {
        gain[j] = ldexp(1, octave / 2) * (octave % 2 == 0 ? 1 : octave > 0 ? sqrt(2) : sqrt(0.5)) * z[j];
    }
}

/* What four paths gain from the beginning of an octave to a part of it. */
static void gained(uint64_t seed, uint64_t block, struct octave_time time, double gain[4]) {
    double left[4] = {0}, right[4];
    double start = 0;
    double length = 1; /* of the interval start ... start + length that holds the time, in octaves */
    uint32_t node = 1; /* as in a heap: its children are 2 node and 2 node + 1; 0 is the octave as a whole */
    whole(seed, block, time.octave, right);
    for (int level = 0; level < LEVELS && time.part > start; level++) {
        double deviation = 0.5 * sqrt(ldexp(length, time.octave));
        bool upper = time.part >= start + length / 2;
        float z[4];
        dqg_rng_four(seed, block, node, (uint32_t)(OCTAVE_USES + time.octave), z);
        for (int j = 0; j < 4; j++) {
            double middle = 0.5 * (left[j] + right[j]) + deviation * z[j];
            left[j] = upper ? middle : left[j];
            right[j] = upper ? right[j] : middle;
        }
        length /= 2;
        start += upper ? length : 0;
        node = 2 * node + upper;
    }
    for (int j = 0; j < 4; j++) {
        gain[j] = left[j] + (time.part - start) / length * (right[j] - left[j]);
    }
}

void dqg_rng_path(uint64_t seed, double from, double to, uint64_t first, float *out, size_t count) {
    struct octave_time high = split_time(from), low = split_time(to);
    double scale = 1 / sqrt(from - to);
    size_t skip = first % 4;
    for (size_t i = 0; i < count; skip = 0) {
        uint64_t block = (first + i) / 4;
        double sum[4], part[4];
        gained(seed, block, high, sum);
        gained(seed, block, low, part);
        for (int octave = low.octave; octave < high.octave; octave++) {
            double gain[4];
            whole(seed, block, octave, gain);
            for (int j = 0; j < 4; j++) {
                sum[j] += gain[j];
            }
        }
        for (size_t j = skip; j < 4 && i < count; j++) {
            out[i++] = (float)(scale * (sum[j] - part[j]));
        }
    }
}
