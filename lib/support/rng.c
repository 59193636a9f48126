/* SPDX-License-Identifier: MIT */
/*
 * Philox4x32-10, and numbers in double from one counter at a time: relies on the C library's log, cos and sin, whose
 * last bit may differ between libraries. White noise of runs comes from kernels (lib/kernel/normal.c).
 */
#include "support/rng.h"

#include <math.h>

static uint32_t multiply(uint32_t a, uint32_t b, uint32_t *high) {
    uint64_t product = (uint64_t)a * b;
    *high = (uint32_t)(product >> 32);
    return (uint32_t)product;
}

void dqg_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint32_t high0, high1;
        uint32_t low0 = multiply(0xD2511F53u, c0, &high0);
        uint32_t low1 = multiply(0xCD9E8D57u, c2, &high1);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Two draws to two normals, in double. */
static void box_muller(const uint32_t draw[2], float out[2]) {
    const double two_pi = 6.28318530717958647692;
    double radius = sqrt(-2 * log((draw[0] + 0.5) * 0x1p-32));
    double angle = two_pi * ((draw[1] + 0.5) * 0x1p-32);
    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

/* Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; shapes below 1 by a power of a uniform.
 */
double dqg_rng_gamma(uint64_t seed, uint32_t stream, double shape) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    double d = (shape < 1 ? shape + 1 : shape) - 1 / 3.0;
    double c = 1 / sqrt(9 * d);
    for (uint32_t attempt = 0; attempt < 1000; attempt++) { /* more than 95 in 100 succeed */
        const uint32_t counter[4] = {attempt, 0, stream, DQG_RNG_GAMMA};
        uint32_t draw[4];
        float normal[2];
        dqg_philox(counter, key, draw);
        box_muller(draw, normal);
        double z = normal[0];
        double v = pow(fmax(1 + c * z, 0), 3);
        if (v > 0 && log((draw[2] + 0.5) * 0x1p-32) < 0.5 * z * z + d * (1 - v + log(v))) {
            return d * v * (shape < 1 ? pow((draw[3] + 0.5) * 0x1p-32, 1 / shape) : 1);
        }
    }
    return d;
}
