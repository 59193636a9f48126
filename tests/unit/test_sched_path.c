/* SPDX-License-Identifier: MIT */
/*
 * Noise along a Brownian path: moments, additivity, which intervals solvers ask for, and that more steps of a
 * stochastic solver come nearer to one end point, which white noise does not. And the Gamma variables of rng.c.
 */
#include "sched_check.h"
#include "support/rng.h"

enum { SAMPLES = 20000, PATHS = 400 };

static float a[SAMPLES], b[SAMPLES], c[SAMPLES];

static double mean_product(const float *x, const float *y) {
    double sum = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        sum += (double)x[i] * y[i] / SAMPLES;
    }
    return sum;
}

/* Standard normal on intervals within an octave, over many, on its edges, and far smaller than the time. */
static void test_moments(void **state) {
    (void)state;
    static const double intervals[][2] = {{80, 57.6}, {80, 0.002},      {4, 2},        {3, 2.9999},   {2.5, 1.5},
                                          {1, 0.5},   {1, 1 - 0x1p-16}, {1e-9, 5e-10}, {1e12, 1e-12}, {14.6, 13.2}};
    for (size_t i = 0; i < DQG_COUNT_OF(intervals); i++) {
        dqg_rng_path(7, intervals[i][0], intervals[i][1], 0, a, SAMPLES);
        double mean = 0, fourth = 0;
        for (size_t j = 0; j < SAMPLES; j++) {
            mean += a[j] / (double)SAMPLES;
            fourth += pow(a[j], 4) / SAMPLES;
        }
        double variance = mean_product(a, a);
        if (!(fabs(mean) < 0.03 && fabs(variance - 1) < 0.04 && fabs(fourth - 3) < 0.35)) {
            fail_msg("%g to %g: mean %.4f, variance %.4f, fourth moment %.3f", intervals[i][0], intervals[i][1], mean,
                     variance, fourth);
        }
    }
}

/* Neighbouring intervals are independent and add up to their union; a path has the same values however many are drawn,
 * and other seeds have others. */
static void test_additivity(void **state) {
    (void)state;
    static const double times[][3] = {{80, 40.5, 3}, {3.9, 3.1, 2.2}, {1, 0.999, 0.99}, {0.7, 0.3, 1e-6}, {8, 4, 2}};
    for (size_t i = 0; i < DQG_COUNT_OF(times); i++) {
        const double *t = times[i];
        dqg_rng_path(3, t[0], t[1], 0, a, SAMPLES);
        dqg_rng_path(3, t[1], t[2], 0, b, SAMPLES);
        dqg_rng_path(3, t[0], t[2], 0, c, SAMPLES);
        for (size_t j = 0; j < SAMPLES; j++) {
            double sum = sqrt(t[0] - t[1]) * a[j] + sqrt(t[1] - t[2]) * b[j];
            assert_true(fabs(sum - sqrt(t[0] - t[2]) * c[j]) < 2e-6 * sqrt(t[0] - t[2]));
        }
        assert_true(fabs(mean_product(a, b)) < 0.03);
    }
    dqg_rng_path(3, 8, 4, 0, b, 7);
    dqg_rng_path(3, 8, 4, 0, a, SAMPLES);
    assert_memory_equal(a, b, 7 * sizeof(float));
    dqg_rng_path(3, 8, 4, 5, b, 6); /* from the middle */
    assert_memory_equal(a + 5, b, 6 * sizeof(float));
    dqg_rng_path(4, 8, 4, 0, b, SAMPLES);
    assert_true(fabs(mean_product(a, b)) < 0.03);
}

/* ---- solvers ---- */

static const uint64_t path_seed = 17;

static void path_noise(void *user, const struct dqg_draw *draw, float *buffer, size_t n) {
    (void)user;
    dqg_rng_path(path_seed, draw->from, draw->to, 0, buffer, n);
}

static void white_noise(void *user, const struct dqg_draw *draw, float *buffer, size_t n) {
    const uint32_t *steps = user; /* other steps have other noise */
    dqg_rng_normal(path_seed + *steps, (uint32_t)draw->index + 1, buffer, n);
}

static void end_points(const char *solver, const char *schedule, uint32_t steps, dqg_noise_fn noise, float *x) {
    static const struct analytic_gaussian gaussian = {1, 0.5};
    struct dqg_sched_config config = analytic_config();
    struct dqg_sched sched;
    config.solver = solver;
    config.schedule = schedule;
    config.spacing = "karras";
    config.steps = (int32_t)steps;
    config.eta = DQG_ETA_OWN;
    assert_int_equal(dqg_sched_init(&context, &config, &sched), DQG_OK);
    dqg_rng_normal(1, 0, x, PATHS);
    dqg_combine(x, sched.initial_scale, x, 0, x, PATHS);
    struct analytic_job job = {.sched = &sched,
                               .denoiser = analytic_gaussian_x0,
                               .model = &gaussian,
                               .x = x,
                               .n = PATHS,
                               .noise = noise,
                               .user = &steps};
    assert_true(analytic_run(&job) > 0);
    dqg_sched_free(&context.alloc, &sched);
}

/* Root mean square distance of the ends of so many steps and of twice as many. */
static double refinement(const char *solver, const char *schedule, uint32_t steps, dqg_noise_fn noise) {
    end_points(solver, schedule, steps, noise, a);
    end_points(solver, schedule, 2 * steps, noise, b);
    double sum = 0;
    for (size_t i = 0; i < PATHS; i++) {
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]) / PATHS;
    }
    return sqrt(sum);
}

static void test_refinement(void **state) {
    (void)state;
    static const char *const solvers[] = {"euler-ancestral", "dpm++-2m-sde", "dpm++-sde"};
    static const char *const schedules[] = {"edm", "scaled-linear", "flow"};
    for (size_t i = 0; i < DQG_COUNT_OF(solvers) * DQG_COUNT_OF(schedules); i++) {
        const char *solver = solvers[i % 3], *schedule = schedules[i / 3];
        double coarse = refinement(solver, schedule, 20, path_noise);
        double fine = refinement(solver, schedule, 160, path_noise);
        double white = refinement(solver, schedule, 160, white_noise);
        print_message("%s, %s: 20 steps %.4f, 160 steps %.4f; white %.4f\n", schedule, solver, coarse, fine, white);
        assert_true(fine < 0.5 * coarse && fine < 0.35 * white);
    }
}

struct intervals {
    int count;
    struct dqg_draw draws[16];
};

static void note_interval(void *user, const struct dqg_draw *draw, float *buffer, size_t n) {
    struct intervals *seen = user;
    assert_true(seen->count < 16);
    seen->draws[seen->count++] = *draw;
    memset(buffer, 0, n * sizeof(*buffer));
}

/* One draw covers its step. Of two, the first ends at the middle; both begin with the step. */
static void test_intervals(void **state) {
    (void)state;
    static const double sigmas[] = {10, 4, 1, 0};
    for (int two = 0; two < 2; two++) {
        static const struct analytic_gaussian gaussian = {1, 0.5};
        struct dqg_sched_config config = analytic_config();
        struct dqg_sched sched;
        struct intervals seen = {0};
        float x[2] = {10, -3};
        config.solver = two ? "dpm++-sde" : "dpm2-ancestral";
        config.schedule = "edm";
        config.sigmas = sigmas;
        config.sigma_count = 4;
        config.eta = DQG_ETA_OWN;
        assert_int_equal(dqg_sched_init(&context, &config, &sched), DQG_OK);
        struct analytic_job job = {.sched = &sched,
                                   .denoiser = analytic_gaussian_x0,
                                   .model = &gaussian,
                                   .x = x,
                                   .n = 2,
                                   .noise = note_interval,
                                   .user = &seen};
        assert_true(analytic_run(&job) > 0);
        assert_int_equal(seen.count, two ? 4 : 2);
        for (int i = 0; i < seen.count; i++) {
            const struct dqg_draw *draw = &seen.draws[i];
            int step = two ? i / 2 : i;
            bool first = two && i % 2 == 0;
            assert_true(draw->from == sigmas[step]);
            assert_true(first ? draw->to < draw->from && draw->to > sigmas[step + 1] : draw->to == sigmas[step + 1]);
            assert_int_equal(draw->index, step + (two && !first ? DQG_SECOND_DRAW : 0));
        }
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* ---- Gamma ---- */

/* Mean and variance of a Gamma variable are its shape. */
static void test_gamma(void **state) {
    (void)state;
    static const double shapes[] = {0.5, 1, 1.5, 10, 1536, 5e8};
    for (size_t i = 0; i < DQG_COUNT_OF(shapes); i++) {
        double mean = 0, square = 0, shape = shapes[i];
        for (uint64_t seed = 0; seed < SAMPLES; seed++) {
            double value = dqg_rng_gamma(seed, 5, shape);
            assert_true(value > 0 && value == dqg_rng_gamma(seed, 5, shape));
            double z = (value - shape) / sqrt(shape);
            mean += z / SAMPLES;
            square += z * z / SAMPLES;
        }
        if (!(fabs(mean) < 0.03 && fabs(square - 1) < 0.08)) {
            fail_msg("shape %g: mean %.4f and variance %.4f after standardising", shape, mean, square);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),   cmocka_unit_test(test_additivity), cmocka_unit_test(test_refinement),
        cmocka_unit_test(test_intervals), cmocka_unit_test(test_gamma),
    };
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
