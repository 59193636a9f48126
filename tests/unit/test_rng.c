/* SPDX-License-Identifier: MIT */
/*
 * Philox4x32-10 against the known-answer vectors published with Random123, and the normals drawn from it: moments,
 * the same parts from every backend, independence of streams and seeds.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/kernel.h"
#include "support/rng.h"

enum { SAMPLES = 1 << 18 };

static void test_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        uint32_t out[4];
        dqg_philox(vectors[i].counter, vectors[i].key, out);
        for (int j = 0; j < 4; j++) {
            assert_int_equal(out[j], vectors[i].out[j]);
        }
    }
}

/* Mean of a[i] * b[i]. */
static double mean_product(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum / (double)count;
}

static void test_moments(void **state) {
    (void)state;
    float *z = malloc(SAMPLES * sizeof(*z));
    dqg_rng_normal(1234, 0, z, SAMPLES);
    double sums[5] = {0};
    size_t beyond_2 = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        double power = 1;
        for (int p = 1; p <= 4; p++) {
            power *= z[i];
            sums[p] += power / SAMPLES;
        }
        beyond_2 += fabsf(z[i]) > 2;
        assert_true(fabsf(z[i]) < 6.8f);
    }
    /* Five standard errors each. */
    double root = sqrt(SAMPLES);
    assert_true(fabs(sums[1]) < 5 * 1 / root);
    assert_true(fabs(sums[2] - 1) < 5 * sqrt(2) / root);
    assert_true(fabs(sums[3]) < 5 * sqrt(15) / root);
    assert_true(fabs(sums[4] - 3) < 5 * sqrt(96) / root);
    assert_true(fabs((double)beyond_2 / SAMPLES - 0.0455003) < 5 * 0.21 / root);
    assert_true(fabs(mean_product(z, z + 1, SAMPLES - 1)) < 5 / root); /* the pair that one Box-Muller makes */
    assert_true(fabs(mean_product(z, z + 2, SAMPLES - 2)) < 5 / root);
    free(z);
}

/* The same bits on any machine, and what Box-Muller gives in double. */
static void test_values(void **state) {
    (void)state;
    static const float expected[5] = {-0x1.a99956p+0f, -0x1.42c0cp-1f, -0x1.3c38ccp-4f, -0x1.bb36f6p-4f,
                                      0x1.4daedep-3f};
    static const double in_double[5] = {-1.66249603245, -0.63037684115, -0.07720260983, -0.10820670853, 0.16293118274};
    float z[5];
    dqg_rng_normal(0x0123456789abcdef, 7, z, 5);
    for (int i = 0; i < 5; i++) {
        assert_true(z[i] == expected[i]);
        assert_true(fabs(z[i] - in_double[i]) < 1e-7);
    }
}

static void test_prefix(void **state) {
    (void)state;
    float all[64], some[64];
    dqg_rng_normal(99, 3, all, 64);
    for (size_t count = 0; count <= 64; count++) {
        memset(some, 0x55, sizeof(some));
        dqg_rng_normal(99, 3, some, count);
        assert_memory_equal(some, all, count * sizeof(float));
        for (size_t i = count; i < 64; i++) { /* and nothing behind it */
            assert_memory_equal(&some[i], "\x55\x55\x55\x55", 4);
        }
    }
}

/* Any part of a stream can be had alone, from any backend. */
static void test_parts(void **state) {
    (void)state;
    enum { COUNT = 83 };
    const uint64_t start = UINT64_C(0x3fffffff0); /* its blocks pass 2^32 */
    float whole[COUNT], part[COUNT];
    const struct dqg_kernels *kernels;
    dqg_rng_normal_from(12, 3, start, whole, COUNT);
    for (int32_t i = 0; (kernels = dqg_kernels_at(i)) != NULL; i++) {
        for (size_t first = 0; first < COUNT; first++) {
            for (size_t count = 0; first + count <= COUNT; count++) {
                dqg_kernels_normal(kernels, 12, 3, start + first, part, count);
                assert_memory_equal(part, whole + first, count * sizeof *part);
            }
        }
    }
}

static void test_streams(void **state) {
    (void)state;
    static const struct {
        uint64_t seed;
        uint32_t stream;
    } others[] = {{5, 1}, {5, 2}, {5, 0xffffffff}, {6, 0}, {5 + (1ull << 32), 0}, {0, 5}};
    float *first = malloc(SAMPLES * sizeof(*first));
    float *other = malloc(SAMPLES * sizeof(*other));
    dqg_rng_normal(5, 0, first, SAMPLES);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        dqg_rng_normal(others[i].seed, others[i].stream, other, SAMPLES);
        assert_true(fabs(mean_product(first, other, SAMPLES)) < 5 / sqrt(SAMPLES));
    }
    free(other);
    free(first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers), cmocka_unit_test(test_moments), cmocka_unit_test(test_values),
        cmocka_unit_test(test_prefix),        cmocka_unit_test(test_streams), cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
