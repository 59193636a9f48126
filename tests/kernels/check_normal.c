/* SPDX-License-Identifier: MIT */
/* Checks of normal_f32: its formula in double, counters that carry, any number of blocks, and the distribution. */
#include <math.h>
#include <stdlib.h>

#include "check.h"

static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 129};

static const uint32_t factors[2] = {0xD2511F53u, 0xCD9E8D57u}, steps[2] = {0x9E3779B9u, 0xBB67AE85u};

static void philox(uint32_t c[4], uint64_t seed) {
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++, key[0] += steps[0], key[1] += steps[1]) {
        uint64_t a = (uint64_t)c[0] * factors[0], b = (uint64_t)c[2] * factors[1];
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ key[0];
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ key[1];
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
    }
}

/* x with odd * x = 1 modulo 2^32, by Newton's iteration. */
static uint32_t inverse(uint32_t odd) {
    uint32_t x = odd;
    for (int i = 0; i < 5; i++) {
        x *= 2 - odd * x;
    }
    return x;
}

/* The counter that philox() turns into these draws: it is a bijection, so any draws can be tried. */
static void philox_back(uint32_t c[4], uint64_t seed) {
    for (uint32_t round = 10; round-- > 0;) {
        uint32_t key[2] = {(uint32_t)seed + round * steps[0], (uint32_t)(seed >> 32) + round * steps[1]};
        uint32_t c0 = c[3] * inverse(factors[0]), c2 = c[1] * inverse(factors[1]);
        c[1] = c[0] ^ (uint32_t)((uint64_t)c2 * factors[1] >> 32) ^ key[0];
        c[3] = c[2] ^ (uint32_t)((uint64_t)c0 * factors[0] >> 32) ^ key[1];
        c[0] = c0;
        c[2] = c2;
    }
}

/* Four normals and, for each, the radius that errors are in proportion to. */
static void double_block(double normal[4], double norm[4], uint64_t seed, uint32_t stream, uint32_t use,
                         uint64_t block) {
    uint32_t draw[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream, use};
    philox(draw, seed);
    for (int i = 0; i < 4; i += 2) {
        double radius = sqrt(-2.0 * log((draw[i] + 0.5) * 0x1p-32));
        double angle = 6.28318530717958647692 * ((draw[i + 1] + 0.5) * 0x1p-32);
        normal[i] = radius * cos(angle);
        normal[i + 1] = radius * sin(angle);
        norm[i] = norm[i + 1] = radius;
    }
}

static void check_blocks(const struct check *check, uint64_t seed, uint32_t stream, uint32_t use, uint64_t first,
                         size_t blocks) {
    struct buffer got = buffer_make(1, 4 * blocks, 0, 4), scalar = buffer_make(1, 4 * blocks, 0, 4);
    double *want = malloc(4 * blocks * sizeof *want), *norm = malloc(4 * blocks * sizeof *norm);
    for (size_t i = 0; i < blocks; i++) {
        double_block(want + 4 * i, norm + 4 * i, seed, stream, use, first + i);
    }
    check->tested->normal_f32(got.data, seed, stream, use, first, blocks);
    check_close(got.data, 4 * blocks, want, norm, 1, 4 * blocks, 3.2e-7);
    check->scalar->normal_f32(scalar.data, seed, stream, use, first, blocks);
    check_equal(got.data, scalar.data, 1, 4 * blocks, 4 * blocks, 4);
    free(want);
    free(norm);
    buffer_free(&got);
    buffer_free(&scalar);
}

/* Powers, shares beyond 1 to 4 and neighbours, within five standard errors of a normal variable's; the largest value.
 */
static void check_distribution(const struct check *check, size_t blocks) {
    static const double power[] = {0, 1, 0, 3}, power_variance[] = {1, 2, 15, 96};
    static const double beyond[] = {0.317310508, 0.0455002639, 0.0026997961, 6.33424837e-05};
    size_t count = 4 * blocks;
    float *z = malloc(count * sizeof *z);
    double sum[4] = {0}, past[4] = {0}, pair[2] = {0}, root = sqrt((double)count);
    check_case("normal_f32 %s: distribution of %zu", check->tested->name, count);
    check->tested->normal_f32(z, 1234, 0, 0, 0, blocks);
    for (size_t i = 0; i < count; i++) {
        double product = 1.0;
        for (int p = 0; p < 4; p++) {
            product *= z[i];
            sum[p] += product / (double)count;
            past[p] += fabs(z[i]) > p + 1 ? 1.0 / (double)count : 0.0;
        }
        for (size_t j = 1; j < 3 && i + j < count; j++) {
            pair[j - 1] += (double)z[i] * z[i + j] / (double)count;
        }
        if (!(fabsf(z[i]) < 6.77f)) {
            check_fail("[%zu] %g", i, (double)z[i]);
        }
    }
    for (int p = 0; p < 4; p++) {
        if (fabs(sum[p] - power[p]) > 5.0 * sqrt(power_variance[p]) / root) {
            check_fail("mean of z^%d is %g", p + 1, sum[p]);
        }
        if (fabs(past[p] - beyond[p]) > 5.0 * sqrt(beyond[p]) / root + 1.0 / (double)count) {
            check_fail("%g of all beyond %d", past[p], p + 1);
        }
    }
    if (fabs(pair[0]) > 5.0 / root || fabs(pair[1]) > 5.0 / root) {
        check_fail("products of neighbours: %g, next but one %g", pair[0], pair[1]);
    }
    free(z);
}

/* A block whose draws are a, b and b, a. */
static void check_draws(const struct check *check, uint32_t a, uint32_t b) {
    uint64_t seed = (uint64_t)random_bits() << 32 | random_bits();
    uint32_t counter[4] = {a, b, b, a};
    check_case("normal_f32 %s: draws %x and %x", check->tested->name, (unsigned)a, (unsigned)b);
    philox_back(counter, seed);
    check_blocks(check, seed, counter[2], counter[3], (uint64_t)counter[1] << 32 | counter[0], 1);
}

/* The smallest and largest radius; where formulas change: at 1/2 and times of sqrt(1/2), at the ends of quadrants. */
static void check_corners(const struct check *check) {
    static const uint32_t corners[] = {0,          1,          2,          0x2d413ccc, 0x2d413ccd, 0x5a827999,
                                       0x5a82799a, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffffffe,
                                       0x1fffffff, 0x20000000, 0x3fffffff, 0x40000000, 0x60000000, 0x9fffffff,
                                       0xa0000000, 0xc0000000, 0xe0000000, 0x00ffffff, 0x01000000, 0x01000001};
    for (size_t i = 0; i < COUNT_OF(corners); i++) {
        for (size_t j = 0; j < COUNT_OF(corners); j++) {
            check_draws(check, corners[i], corners[j]);
        }
    }
}

/* The same bits on every machine: the FNV-1a hash of many of them. */
static void check_bits(const struct check *check) {
    enum { COUNT = 1 << 14 };
    static uint32_t bits[COUNT];
    uint64_t hash = 0xcbf29ce484222325;
    check_case("normal_f32 %s: bits", check->tested->name);
    check->tested->normal_f32((float *)bits, 1234, 0, 0, 0, COUNT / 4);
    for (size_t i = 0; i < COUNT; i++) {
        hash = (hash ^ bits[i]) * 0x100000001b3;
    }
    if (hash != 0x9bde7786eda8d47b) {
        check_fail("hash %llx", (unsigned long long)hash);
    }
}

void check_normal_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        uint64_t seed = (uint64_t)random_bits() << 32 | random_bits();
        uint64_t first = (uint64_t)random_bits() << random_below(33);
        size_t blocks = RANDOM_SIZE(sizes);
        uint32_t stream = random_bits(), use = random_below(2) ? 0 : random_bits();
        if (random_below(3) == 0) { /* the counter's lower half wraps on the way, or all of it */
            first = (random_below(2) ? UINT32_MAX : UINT64_MAX) - random_below(blocks);
        }
        check_case("normal_f32 %s: seed %llx stream %x use %x first %llx blocks %zu", check->tested->name,
                   (unsigned long long)seed, (unsigned)stream, (unsigned)use, (unsigned long long)first, blocks);
        check_blocks(check, seed, stream, use, first, blocks);
    }
    for (size_t i = 0; i < check->cases * 4; i++) { /* radii of all sizes */
        uint32_t draw = random_bits() >> random_below(32);
        check_draws(check, random_below(2) ? draw : ~draw, random_bits());
    }
    check_corners(check);
    check_bits(check);
    check_distribution(check, check->cases < 50 ? 1 << 10 : 1 << 17);
}
