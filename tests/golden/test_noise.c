/* SPDX-License-Identifier: MIT */
/*
 * Random numbers against torch's. Those of its CPU generator bit for bit; but draws of fewer than 16 values take their
 * logarithm and sines from the C library, and may differ by 1 ulp. Those of CUDA against values of a GPU.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "npy.h"
#include "support/rng_torch.h"

enum { LARGEST = 1000000, MOST_DRAWS = 4 };

/* As in make_noise_golden.py. */
static const int64_t seeds[] = {0, 42, -5, ((int64_t)1 << 40) + 7};
static const size_t cases[][MOST_DRAWS] = {
    {1, 1, 1}, {15, 2}, {16}, {17}, {9, 9, 33, 5}, {1000, 16, 31, 4}, {16384, 4, 16384}, {1000000, 3}, {999999, 16},
};
enum { SEEDS = sizeof seeds / sizeof seeds[0], CASES = sizeof cases / sizeof cases[0] };

static struct npy golden;
static float *values;

static int setup(void **state) {
    (void)state;
    values = malloc(LARGEST * sizeof *values);
    return values == NULL ? -1 : npy_read("tests/golden/noise/torch_cpu.npy", &golden);
}

static int teardown(void **state) {
    (void)state;
    free(values);
    free(golden.data);
    return 0;
}

static void check_draw(const float *drawn, size_t size, int64_t *at) {
    size_t step = size >= 200 ? size / 100 : 1;
    for (size_t i = 0; i < size; i += step) {
        assert_true(*at < golden.count);
        float expected = golden.data[(*at)++];
        float tolerance = size < 16 ? nextafterf(fabsf(expected), INFINITY) - fabsf(expected) : 0;
        assert_true(fabsf(drawn[i] - expected) <= tolerance);
    }
}

static void test_cpu(void **state) {
    int64_t at = 0;
    (void)state;
    for (int s = 0; s < SEEDS; s++) {
        for (int c = 0; c < CASES; c++) {
            struct dqg_torch_rng rng;
            dqg_torch_seed(&rng, (uint64_t)seeds[s]);
            for (int d = 0; d < MOST_DRAWS && cases[c][d] > 0; d++) {
                dqg_torch_normal(&rng, values, cases[c][d]);
                check_draw(values, cases[c][d], &at);
            }
        }
    }
    assert_int_equal(at, golden.count);
}

/* Skipping a draw leaves the generator as making it does. */
static void test_skip(void **state) {
    (void)state;
    for (int c = 0; c < CASES; c++) {
        struct dqg_torch_rng drawn, skipped;
        dqg_torch_seed(&drawn, 3);
        dqg_torch_seed(&skipped, 3);
        for (int d = 0; d < MOST_DRAWS && cases[c][d] > 0; d++) {
            dqg_torch_normal(&drawn, values, cases[c][d]);
            dqg_torch_skip(&skipped, cases[c][d]);
            assert_memory_equal(drawn.words, skipped.words, sizeof drawn.words);
            assert_int_equal(drawn.next, skipped.next);
            assert_int_equal(drawn.has_spare, skipped.has_spare);
            assert_memory_equal(&drawn.spare, &skipped.spare, sizeof drawn.spare);
        }
    }
}

/* torch.manual_seed(0); torch.randn(3, 4, device="cuda"), to the digits that a GPU's sines have. */
static void test_cuda(void **state) {
    static const double expected[12] = {-0.92466259, -0.42534415, -2.6438457,  0.14518388,  -0.12086647, -0.57972564,
                                        -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497};
    float drawn[12], next[12];
    (void)state;
    dqg_torch_normal_cuda(0, 0, drawn, 12);
    dqg_torch_normal_cuda(0, 1, next, 12);
    for (int i = 0; i < 12; i++) {
        assert_true(fabs(drawn[i] - expected[i]) < 2e-6);
        assert_true(drawn[i] != next[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_cuda),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
