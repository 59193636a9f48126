/* SPDX-License-Identifier: MIT */
/*
 * Philox4x32-10 and standard normals from it. Relies on the C library's log, cos and sin in double; their last bit may
 * differ between libraries, which after rounding to float shows in about one value of a hundred million.
 * Called by lib/run for latents and fresh noise.
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

/* Two draws to two normals. The half keeps the logarithm away from 0: no value is larger than 6.77. */
static void box_muller(const uint32_t draw[2], float out[2]) {
    const double two_pi = 6.28318530717958647692;
    double radius = sqrt(-2 * log((draw[0] + 0.5) * 0x1p-32));
    double angle = two_pi * ((draw[1] + 0.5) * 0x1p-32);
    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

void dqg_rng_normal_from(uint64_t seed, uint32_t stream, uint64_t first, float *out, size_t count) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    size_t skip = first % 4;
    for (size_t i = 0; i < count; skip = 0) {
        uint64_t block = (first + i) / 4;
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream, 0};
        uint32_t draw[4];
        float normal[4];
        dqg_philox(counter, key, draw);
        box_muller(draw, normal);
        box_muller(draw + 2, normal + 2);
        for (size_t j = skip; j < 4 && i < count; j++) {
            out[i++] = normal[j];
        }
    }
}

void dqg_rng_normal(uint64_t seed, uint32_t stream, float *out, size_t count) {
    dqg_rng_normal_from(seed, stream, 0, out, count);
}
