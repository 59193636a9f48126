/* SPDX-License-Identifier: MIT */
/*
 * A mixture in the plane on continuous VP, with samples in double: median distance of 1024 end points to the exact
 * ones, against figures computed elsewhere.
 */
#include "halton.h"
#include "sched_check.h"

enum { MOST = 100 };

/* ---- points ---- */

enum { POINTS = 1024 };

static void mixture_starts(float *x) {
    for (int32_t i = 0; i < POINTS; i++) {
        double radius = sqrt(-2 * log(halton(2, (size_t)i + 1)));
        double angle = 6.28318530717958647692 * halton(3, (size_t)i + 1);
        x[2 * i] = (float)(radius * cos(angle));
        x[2 * i + 1] = (float)(radius * sin(angle));
    }
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double mixture_error(const char *solver, int32_t order, int32_t n, void (*grid)(int32_t, double *),
                            const float *starts, const double *ends) {
    double sigmas[MOST], errors[POINTS];
    float x[2 * POINTS];
    grid(n, sigmas);
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = "vp";
    config.sigmas = sigmas;
    config.sigma_count = n + 1;
    config.order = order;
    config.lower_order_final = strcmp(solver, "dpm++-2m") == 0 ? "on" : NULL;
    struct dqg_sched sched;
    assert_int_equal(dqg_sched_init(&context, &config, &sched), DQG_OK);
    double length = hypot(sched.points[0].alpha, sched.points[0].sigma);
    for (int32_t i = 0; i < 2 * POINTS; i++) {
        x[i] = (float)(starts[i] * length);
    }
    struct analytic_job job = {.sched = &sched, .denoiser = analytic_mixture_x0, .x = x, .n = 2 * POINTS};
    assert_true(analytic_run(&job) > 0);
    length = hypot(sched.points[n].alpha, sched.points[n].sigma);
    for (int32_t i = 0; i < POINTS; i++) {
        errors[i] = hypot(x[2 * i] / length - ends[2 * i], x[2 * i + 1] / length - ends[2 * i + 1]);
    }
    dqg_sched_free(&context.alloc, &sched);
    qsort(errors, POINTS, sizeof(errors[0]), compare_doubles);
    return 0.5 * (errors[POINTS / 2 - 1] + errors[POINTS / 2]);
}

static void test_mixture(void **state) {
    (void)state;
    static float starts[2 * POINTS];
    static double ends[2 * POINTS];
    double sigmas[3];
    square_grid(1, sigmas);
    mixture_starts(starts);
    for (int32_t i = 0; i < 2 * POINTS; i++) {
        ends[i] = starts[i] * hypot(1, sigmas[0]);
    }
    analytic_mixture_map(sigmas[0], sigmas[1], 600, ends, 2 * POINTS);
    for (int32_t i = 0; i < 2 * POINTS; i++) {
        ends[i] /= hypot(1, sigmas[1]);
    }
    static const double first[6] = {-0.96170128, 1.68422121, -0.62840614, -2.20732989, 1.98497105, 0.14771750};
    for (int i = 0; i < 6; i++) {
        assert_true(fabs(ends[i] - first[i]) < 1e-5);
    }
    static const struct {
        const char *solver;
        int32_t order, first; /* first: least number of steps, then twice that and so on */
        double square[5], lambda[5];
    } rows[] = {
        {"ddim", 0, 5, {2.83e-1, 1.38e-1, 6.93e-2, 3.49e-2, 1.75e-2}, {4.94e-1, 2.23e-1, 1.08e-1, 5.29e-2, 2.63e-2}},
        {"euler", 0, 5, {2.83e-1, 1.38e-1, 6.93e-2, 3.49e-2, 1.75e-2}, {4.94e-1, 2.23e-1, 1.08e-1, 5.29e-2, 2.63e-2}},
        {"lms", 0, 5, {1.83e-1, 6.48e-2, 1.28e-2, 1.71e-3, 1.70e-4}, {0}},
        {"deis", 0, 5, {2.07e-1, 3.15e-2, 5.64e-3, 8.82e-4, 1.25e-4}, {9.73e-2, 1.13e-2, 3.21e-3, 5.57e-4, 7.03e-5}},
        {"deis-t", 2, 5, {1.12e-1, 4.46e-2, 1.42e-2, 4.05e-3, 1.09e-3}, {0}},
        {"deis-t", 3, 5, {7.81e-2, 2.36e-2, 4.71e-3, 7.41e-4, 1.05e-4}, {0}},
        {"deis-t", 4, 5, {8.39e-2, 1.78e-2, 2.00e-3, 1.68e-4, 1.43e-5}, {1.16e-1, 2.87e-2, 6.25e-3, 6.50e-4, 6.07e-5}},
        {"ipndm", 0, 5, {1.04e-1, 1.22e-2, 3.31e-3, 1.00e-3, 2.95e-4}, {0}},
        {"dpm++-2m",
         0,
         5,
         {1.20e-1, 1.15e-2, 8.03e-3, 2.61e-3, 6.61e-4},
         {1.45e-1, 8.30e-2, 1.49e-2, 3.40e-3, 8.28e-4}},
        {"dpm++-2m", 3, 5, {1.46e-1, 5.48e-2, 6.63e-3, 3.64e-4, 7.31e-5}, {0}},
        {"unipc", 0, 5, {1.61e-1, 4.30e-3, 5.33e-3, 7.17e-4, 6.97e-5}, {0}},
        {"unipc-3", 0, 5, {1.85e-1, 6.58e-2, 1.77e-3, 2.71e-4, 5.42e-5}, {2.63e-1, 9.51e-2, 8.24e-3, 1.26e-4, 1.54e-5}},
        {"heun", 0, 3, {3.88}, {0}},
        {"heun", 0, 5, {4.71e-1, 6.97e-2, 1.42e-2, 3.16e-3}, {0}},
        {"dpm2", 0, 3, {7.40e-1}, {0}},
        {"dpm2", 0, 5, {1.35e-1, 2.47e-2, 5.79e-3, 1.41e-3}, {0}},
        {"dpm++-2s", 0, 3, {1.41e-1}, {0}},
        {"dpm++-2s", 0, 5, {6.51e-2, 2.12e-2, 5.83e-3, 1.52e-3}, {0}},
    };
    for (size_t i = 0; i < 10 * DQG_COUNT_OF(rows); i++) {
        size_t row = i / 10;
        int32_t n = rows[row].first << i % 5;
        double expected = i % 10 < 5 ? rows[row].square[i % 5] : rows[row].lambda[i % 5];
        if (expected == 0) {
            continue;
        }
        double median =
            mixture_error(rows[row].solver, rows[row].order, n, i % 10 < 5 ? square_grid : lambda_grid, starts, ends);
        if (!(fabs(median - expected) < 0.03 * expected)) {
            fail_msg("%s, %d steps: median %.4g, expected %.3g", rows[row].solver, (int)n, median, expected);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mixture)};
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
