/* SPDX-License-Identifier: MIT */
/*
 * DEIS: coefficients, end points and orders of its multistep forms on continuous VP, its Runge-Kutta forms, the spacing
 * in a root of the time, and the schedule itself. Numbers were computed elsewhere in double.
 */
#include <stdlib.h>

#include "sched_check.h"

static const struct analytic_gaussian gaussian = {1, 0.5};
static const double exact_end = 1.746794463249; /* from 1.5 at t = 1 to t = 0.001 */

/* n steps from t = 1 to t = 0.001; the step to sigma 0 that follows is not taken. */
static struct dqg_sched_config continuous(const char *solver, const char *spacing, int32_t n) {
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = "vp";
    config.spacing = spacing;
    config.steps = n + 1;
    return config;
}

/* points 0: as many as the solver has */
static double end_of(const char *solver, int32_t points, const char *spacing, int32_t n) {
    struct dqg_sched_config config = continuous(solver, spacing, n);
    config.order = points;
    struct dqg_sched sched = sched_make(&config);
    float x = (float)(1.5 * hypot(1, sched.points[0].sigma));
    struct analytic_job job = {
        .sched = &sched, .denoiser = analytic_gaussian_x0, .model = &gaussian, .x = &x, .n = 1, .steps = n};
    assert_true(analytic_run(&job) > 0);
    double end = x / hypot(1, sched.points[n].sigma);
    dqg_sched_free(&context.alloc, &sched);
    return end;
}

static void assert_close(const char *what, double value, double expected, double limit) {
    if (!(fabs(value - expected) <= limit * fabs(expected))) {
        fail_msg("%s: %.12g where %.12g is expected, off by %.2g", what, value, expected, fabs(value / expected - 1));
    }
}

/* ---- schedule and spacing ---- */

static void test_schedule(void **state) {
    (void)state;
    struct dqg_sched_config config = continuous("deis-t", "time-power", 10);
    config.timestep_scale = 999;
    struct dqg_sched sched = sched_make(&config);
    assert_close("ln(alpha / sigma) at t = 1", -log(sched.points[0].sigma), -5.024978406659, 1e-12);
    assert_close("ln(alpha / sigma) at t = 0.001", -log(sched.points[10].sigma), 4.557714932730, 1e-12);
    for (int32_t i = 0; i <= 10; i++) {
        double root = 1 + i * (sqrt(1e-3) - 1) / 10;
        assert_close("timestep", sched.points[i].timestep, 999 * root * root, 1e-12);
    }
    dqg_sched_free(&context.alloc, &sched);

    /* Beyond its ends a network is told the nearest time it knows; times go on. */
    static const double sigmas[] = {1000, 1, 0};
    config.sigmas = sigmas;
    config.sigma_count = 3;
    sched = sched_make(&config);
    assert_true(sched.points[0].timestep == 999);
    assert_true(dqg_levels_time(&sched.levels, 1000) > 1);
    dqg_sched_free(&context.alloc, &sched);
}

/* Discrete timesteps: whole, distinct, those missing made up by the smallest that are free. */
static void test_whole_timesteps(void **state) {
    (void)state;
    double few[] = {9, 5.5, 2.9, 2.2, 1.1, 0};
    static const double few_whole[] = {9, 5, 3, 2, 1, 0};
    double gap[] = {9, 8.2, 8.1, 8, 7.5, 7};
    static const double gap_whole[] = {9, 8, 7, 2, 1, 0};
    dqg_spacing_make_whole(few, 6);
    assert_memory_equal(few, few_whole, sizeof(few));
    dqg_spacing_make_whole(gap, 6);
    assert_memory_equal(gap, gap_whole, sizeof(gap));
    for (int32_t steps = 1; steps <= 1000; steps += 111) {
        struct dqg_sched_config config = continuous("deis-t", "time-power", steps - 1);
        config.schedule = "linear";
        struct dqg_sched sched = sched_make(&config);
        for (int32_t i = 0; i < steps; i++) {
            double t = sched.points[i].timestep;
            assert_true(t == floor(t) && t >= steps - 1 - i && t <= 999 &&
                        (i == 0 || t < sched.points[i - 1].timestep));
        }
        assert_true(sched.points[0].timestep == 999);
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* ---- coefficients ---- */

/* In coordinates that keep the variance. */
static void coefficients(const struct dqg_sched *sched, int32_t step, double weights[4]) {
    assert_true(dqg_sched_weights(sched, step, weights));
    for (int j = 0; j < 4; j++) {
        weights[j] /= hypot(1, sched->points[step + 1].sigma);
    }
}

static void test_coefficients(void **state) {
    (void)state;
    static const double expected[4] = {-0.6734659139891, 0.5250572990963, -0.2577020386186, 0.0497521557487};
    struct dqg_sched_config config = continuous("deis-t", "time-power", 10);
    struct dqg_sched sched = sched_make(&config);
    double weights[4];
    coefficients(&sched, 5, weights);
    for (int j = 0; j < 4; j++) {
        assert_close("coefficient", weights[j], expected[j], 1e-9);
    }
    assert_close("sum", weights[0] + weights[1] + weights[2] + weights[3], -0.3563584977627, 1e-9);
    double psi = hypot(1, sched.points[5].sigma) / hypot(1, sched.points[6].sigma);
    assert_close("psi", psi, 1.2255631850873, 1e-9);
    assert_false(dqg_sched_weights(&sched, 11, weights));
    assert_false(dqg_sched_weights(&sched, -1, weights));
    dqg_sched_free(&context.alloc, &sched);
}

/* The weights of any step of any of them add up to the length of the step, which is DDIM's coefficient. */
static void test_sums(void **state) {
    (void)state;
    static const char *const solvers[] = {"lms", "deis", "deis-t", "ipndm", "plms", "pndm"};
    static const char *const schedules[] = {"vp", "linear", "scaled-linear", "cosine", "flow"};
    for (size_t i = 0; i < 30 * 4; i++) {
        struct dqg_sched_config config = continuous(solvers[i % 6], "karras", 20);
        config.schedule = schedules[i % 30 / 6];
        config.order = (int32_t)(i / 30) + 1;
        struct dqg_sched sched;
        if (dqg_sched_init(&context, &config, &sched) < 0) { /* there is no deis of order 4 */
            assert_true(i % 6 == 1 && config.order == 4);
            continue;
        }
        for (int32_t step = 0; step < 20; step++) {
            double weights[4];
            assert_true(dqg_sched_weights(&sched, step, weights));
            double h = sched.points[step + 1].sigma - sched.points[step].sigma;
            assert_close("sum", weights[0] + weights[1] + weights[2] + weights[3], h, 1e-10);
            assert_true((step > 0 && config.order > 1) || weights[1] == 0);
        }
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* Integral of ln(u)^k over u to this end. */
static double integral_of_log(double end, int32_t k) {
    double l = log(end);
    return end * (k == 0 ? 1 : k == 1 ? l - 1 : l * l - 2 * l + 2);
}

/*
 * What defines the weights: slopes that are a polynomial of less degree than the order are integrated exactly. In sigma
 * that is DEIS's rhoAB, and LMS of one order more; in ln sigma the closed forms of DEIS. Orders grow from 1.
 */
static void test_polynomials(void **state) {
    (void)state;
    for (int in_log = 0; in_log < 2; in_log++) {
        struct dqg_sched_config config = continuous(in_log ? "deis" : "lms", "time-power", 10);
        struct dqg_sched sched = sched_make(&config);
        for (int32_t step = 0; step < 10; step++) {
            double weights[4], from = sched.points[step].sigma, to = sched.points[step + 1].sigma;
            int32_t order = step + 1 < sched.order ? step + 1 : sched.order;
            assert_true(dqg_sched_weights(&sched, step, weights));
            for (int32_t k = 0; k < order; k++) {
                double sum = 0;
                for (int32_t j = 0; j < order; j++) {
                    double sigma = sched.points[step - j].sigma;
                    sum += weights[j] * pow(in_log ? log(sigma) : sigma, k);
                }
                double exact = in_log ? integral_of_log(to, k) - integral_of_log(from, k)
                                      : (pow(to, k + 1) - pow(from, k + 1)) / (k + 1);
                assert_close("integral", sum, exact, 1e-9);
            }
        }
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* ---- end points and orders ---- */

static void test_ends(void **state) {
    (void)state;
    static const struct {
        const char *solver;
        int32_t points;
        double power, even;
    } rows[] = {
        {"euler", 0, 1.6361137253, 1.5878282793},  {"deis-t", 2, 1.7037472340, 1.6583549139},
        {"deis-t", 3, 1.7258990706, 1.6900157007}, {"deis-t", 4, 1.7351518719, 1.7090320121},
        {"deis", 2, 1.7338307276, 1.6917070385},   {"deis", 3, 1.7464189008, 1.7321402965},
        {"lms", 4, 1.7146714211, 1.6546695623},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        double power = end_of(rows[i].solver, rows[i].points, "time-power", 10);
        double even = end_of(rows[i].solver, rows[i].points, "exponential", 10);
        assert_close(rows[i].solver, power, rows[i].power, 6e-6);
        assert_close(rows[i].solver, even, rows[i].even, 6e-6);
    }
    static const struct {
        const char *solver;
        int32_t points;
        double errors[3]; /* of 40, 80 and 160 steps */
    } more[] = {
        {"deis-t", 2, {3.47e-3, 9.07e-4, 2.32e-4}}, {"deis-t", 3, {5.30e-4, 7.46e-5, 1.01e-5}},
        {"deis-t", 4, {1.07e-4, 1.02e-5, 0}}, /* then below what float can tell */
        {"deis", 2, {7.39e-4, 1.86e-4, 4.67e-5}},   {"deis", 3, {1.93e-4, 3.01e-5, 0}},
        {"lms", 4, {5.00e-4, 4.42e-5, 0}},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(more); i++) {
        for (int j = 0; j < 3 && more[i].errors[j] > 0; j++) {
            double error = fabs(end_of(more[i].solver, more[i].points, "time-power", 40 << j) - exact_end);
            if (!(fabs(error - more[i].errors[j]) < 0.02 * more[i].errors[j] + 3e-6)) {
                fail_msg("%s with %d points, %d steps: error %.3g, expected %.3g", more[i].solver, (int)more[i].points,
                         40 << j, error, more[i].errors[j]);
            }
        }
    }
}

/* Runge-Kutta rules have the order of their name on a smooth grid; nothing is evaluated behind the host's back. */
static void test_runge_kutta(void **state) {
    (void)state;
    static const struct {
        const char *solver;
        int32_t stages, steps;
    } rows[] = {{"kutta3", 3, 60}, {"ralston3", 3, 60}, {"heun3", 3, 60},
                {"vdh3", 3, 60},   {"ssp3", 3, 60},     {"rk4", 4, 40}};
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        double errors[2];
        for (int j = 0; j < 2; j++) {
            struct dqg_sched_config config = continuous(rows[i].solver, "exponential", rows[i].steps << j);
            config.steps--; /* with the step to sigma 0, which has one evaluation */
            struct dqg_sched sched = sched_make(&config);
            assert_int_equal(dqg_sched_evaluations(&sched), rows[i].stages);
            double start = sched.points[0].sigma * 1.2;
            float x = (float)start;
            struct analytic_job job = {
                .sched = &sched, .denoiser = analytic_gaussian_x0, .model = &gaussian, .x = &x, .n = 1};
            job.steps = config.steps - 1;
            assert_int_equal(analytic_run(&job), (config.steps - 1) * rows[i].stages);
            errors[j] =
                fabs(x - analytic_gaussian_map(&gaussian, &sched.points[0], &sched.points[config.steps - 1], start));
            dqg_sched_free(&context.alloc, &sched);
        }
        double order = log2(errors[0] / errors[1]);
        if (!(order > rows[i].stages - 0.5 && order < rows[i].stages + 1.2)) {
            fail_msg("%s: errors %.3g and %.3g, order %.2f", rows[i].solver, errors[0], errors[1], order);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule),    cmocka_unit_test(test_whole_timesteps), cmocka_unit_test(test_coefficients),
        cmocka_unit_test(test_sums),        cmocka_unit_test(test_polynomials),     cmocka_unit_test(test_ends),
        cmocka_unit_test(test_runge_kutta),
    };
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
