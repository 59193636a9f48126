/* SPDX-License-Identifier: MIT */
/*
 * Solvers against end points computed elsewhere in double: a scalar Gaussian on continuous VP, k, discrete and flow
 * grids, and a mixture in the plane. Samples are float here, hence limits near 1e-6.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analytic.h"

enum { MOST = 200 };

static const struct analytic_gaussian gaussian = {1, 0.5};
static const char *const vp_predictions[] = {"epsilon", "v", "x0"};

static struct dqg_context context;

static int setup(void **state) {
    (void)state;
    analytic_context(&context);
    return 0;
}

/* Cosine noise; steps 0: all. Returns the final x. */
static double end_of(const struct dqg_sched_config *config, double x, int32_t steps) {
    struct dqg_sched sched;
    dqg_error_clear(&context);
    dqg_status status = dqg_sched_init(&context, config, &sched);
    assert_string_equal(context.error, "");
    assert_int_equal(status, DQG_OK);
    float sample = (float)x;
    int32_t draws = 0;
    struct analytic_job job = {.sched = &sched,
                               .denoiser = analytic_gaussian_x0,
                               .model = &gaussian,
                               .x = &sample,
                               .n = 1,
                               .steps = steps,
                               .noise = analytic_cosine_noise,
                               .user = &draws};
    assert_true(analytic_run(&job) > 0);
    dqg_sched_free(&context.alloc, &sched);
    return sample;
}

static void assert_end(double value, double expected, double limit) {
    if (!(fabs(value - expected) <= limit * fabs(expected))) {
        fail_msg("%.10f where %.10f is expected: off by %.2g", value, expected, fabs(value / expected - 1));
    }
}

/* ---- continuous VP: ln a(t) = -0.25 t^2 (20 - 0.1) - 0.05 t from t = 1 to 0.001, then a 0 that is not visited ---- */

static double continuous_alpha(double t) {
    return exp(-0.25 * t * t * (20 - 0.1) - 0.05 * t);
}

/* Even in the square root of t. */
static void square_grid(int32_t n, double *sigmas) {
    for (int32_t i = 0; i <= n; i++) {
        double root = 1 + i * (sqrt(1e-3) - 1) / n;
        double a = continuous_alpha(root * root);
        sigmas[i] = sqrt(1 - a * a) / a;
    }
    sigmas[n + 1] = 0;
}

/* Even in lambda = -ln sigma. */
static void lambda_grid(int32_t n, double *sigmas) {
    for (int32_t i = 0; i <= n; i++) {
        sigmas[i] = exp(5.024978406659 - i * (4.557714932730 + 5.024978406659) / n);
    }
    sigmas[n + 1] = 0;
}

static double continuous_end(const char *solver, const char *prediction, void (*grid)(int32_t, double *), int32_t n) {
    double sigmas[MOST];
    grid(n, sigmas);
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = "scaled-linear"; /* the model does not look at timesteps */
    config.prediction = prediction;
    config.sigmas = sigmas;
    config.sigma_count = n + 2;
    if (strcmp(solver, "ddim") == 0) {
        return end_of(&config, 1.5, n);
    }
    return end_of(&config, 1.5 * hypot(1, sigmas[0]), n) / hypot(1, sigmas[n]);
}

static void test_continuous(void **state) {
    (void)state;
    static const double exact = 1.746794463249;
    for (int i = 0; i < 3; i++) {
        const char *p = vp_predictions[i];
        assert_end(continuous_end("ddim", p, square_grid, 10), 1.6361137253, 3e-6);
        assert_end(continuous_end("ddim", p, lambda_grid, 10), 1.5878282793, 3e-6);
        assert_end(continuous_end("euler", p, square_grid, 10), 1.6361137253, 3e-6);
        assert_end(continuous_end("euler", p, lambda_grid, 10), 1.5878282793, 3e-6);
        assert_end(continuous_end("heun", p, square_grid, 10), 1.7863299400, 3e-6);
        assert_end(continuous_end("heun", p, lambda_grid, 10), 1.8584027541, 3e-6);
    }
    static const struct {
        const char *solver;
        double square, lambda;
    } more[] = {
        {"lms", 1.7146714211, 1.6546695623},      {"deis", 1.7464189008, 1.7321402965},
        {"ipndm", 1.7598814260, 1.7769105565},    {"dpm2", 1.7695943219, 1.7965300770},
        {"dpm++-2s", 1.7278709790, 1.7119097533},
    };
    for (size_t i = 0; i < 3 * DQG_COUNT_OF(more); i++) {
        const char *p = vp_predictions[i % 3];
        assert_end(continuous_end(more[i / 3].solver, p, square_grid, 10), more[i / 3].square, 6e-6);
        assert_end(continuous_end(more[i / 3].solver, p, lambda_grid, 10), more[i / 3].lambda, 6e-6);
    }
    static const struct {
        int32_t n;
        double ddim, heun;
    } errors[] = {{40, 2.93e-2, 2.12e-3}, {80, 1.48e-2, 5.19e-4}, {160, 7.44e-3, 1.28e-4}};
    for (size_t i = 0; i < DQG_COUNT_OF(errors); i++) {
        assert_true(fabs(fabs(continuous_end("ddim", "epsilon", square_grid, errors[i].n) - exact) - errors[i].ddim) <
                    0.01 * errors[i].ddim);
        assert_true(fabs(fabs(continuous_end("heun", "epsilon", square_grid, errors[i].n) - exact) - errors[i].heun) <
                    0.04 * errors[i].heun);
    }
}

/* ---- ten sigmas of Karras et al. in k coordinates ---- */

static void test_karras(void **state) {
    (void)state;
    double sigmas[11] = {0};
    double smallest = pow(0.0291671582, 1 / 7.0);
    double largest = pow(14.6146412293, 1 / 7.0);
    for (int i = 0; i < 10; i++) {
        sigmas[i] = pow(largest + i / 9.0 * (smallest - largest), 7);
    }
    struct dqg_sched_config config = analytic_config();
    config.schedule = "scaled-linear";
    config.sigmas = sigmas;
    config.sigma_count = 11;
    static const struct {
        const char *solver;
        double eta, end;
    } rows[] = {
        {"euler", 0, 1.5930584556},
        {"heun", 0, 1.7641883553},
        {"dpm2", 0, 1.7425108565},
        {"dpm++-2m", 0, 1.7522388072},
        {"euler-ancestral", 1, 1.2270898311},
        {"dpm2-ancestral", 1, 1.2036145899},
        {"dpm++-2s-ancestral", 1, 1.2197639681},
        {"dpm++-sde", 1, 1.0579534068},
        {"dpm++-2m-sde", 1, 1.4444395830},
        {"dpm++-2m-sde-heun", 1, 1.5449596785},
        {"dpm++-3m-sde", 1, 1.6759464223},
        {"er-sde", 0, 1.3641281448},
        {"dpm++-2s", 0, 1.6925842929},
        {"dpm++-sde", 0, 1.6925842929},
        {"dpm++-2m-sde", 0, 1.7522388072},
        {"dpm++-2m-sde-heun", 0, 1.7824519130},
        {"dpm++-3m-sde", 0, 1.7532119528},
        {"dpm++-3m", 0, 1.7532119528},
        {"euler-ancestral", 0, 1.5930584556},
        {"dpm2-ancestral", 0, 1.7425108565},
    };
    for (size_t i = 0; i < 3 * DQG_COUNT_OF(rows); i++) {
        config.prediction = vp_predictions[i % 3];
        config.solver = rows[i / 3].solver;
        config.eta = rows[i / 3].eta;
        assert_end(end_of(&config, 1.5 * 14.6146412293, 0), rows[i / 3].end, 2e-6);
    }
}

/* sigma of a training timestep of scaled-linear, in k coordinates */
static double sigma_at(double timestep) {
    struct dqg_sched_config config = analytic_config();
    struct dqg_sched sched;
    config.schedule = "scaled-linear";
    config.timesteps = &timestep;
    config.timestep_count = 1;
    assert_int_equal(dqg_sched_init(&context, &config, &sched), DQG_OK);
    double sigma = sched.points[0].sigma;
    dqg_sched_free(&context.alloc, &sched);
    return sigma;
}

/* ---- discrete: t = 901, 801 ... 1, then training timestep 0 ---- */

static void test_discrete(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.solver = "ddim";
    config.schedule = "scaled-linear";
    config.spacing = "leading";
    config.steps_offset = 1;
    for (int i = 0; i < 3; i++) {
        config.prediction = vp_predictions[i];
        config.solver = "ddim";
        config.eta = 0;
        assert_end(end_of(&config, 1.5, 0), 1.5613257669, 1e-6);
        config.eta = 1;
        assert_end(end_of(&config, 1.5, 0), 1.1364302503, 1e-6);
        config.solver = "ddpm";
        assert_end(end_of(&config, 1.5, 0), 1.1537232233, 1e-6);
        config.solver = "plms";
        config.eta = 0;
        /* In k coordinates: from those that keep the variance, at t = 901, and back, at t = 0. */
        double first = hypot(1, sigma_at(901));
        assert_end(end_of(&config, 1.5 * first, 0) * sqrt(0.99915), 1.6678980548, 2e-6);
    }
    config.solver = "lcm";
    config.spacing = "lcm";
    config.steps = 4;
    assert_end(end_of(&config, 1.5, 0), 0.7497555942, 1e-6);
}

/* ---- flow ---- */

static void test_flow(void **state) {
    (void)state;
    static const int32_t steps[] = {4, 10, 20, 50};
    static const struct {
        const char *solver;
        double shift;
        double ends[4];
    } rows[] = {
        {"euler", 1, {1.5108108108, 1.6461739073, 1.6963712511, 1.7280951074}},
        {"ddim", 1, {1.5108108108, 1.6461739073, 1.6963712511, 1.7280951074}},
        {"heun", 1, {1.6490731800, 1.7362194364, 1.7468318762, 1.7495213575}},
        {"midpoint", 1, {1.6222118056, 1.7320006087, 1.7458595477, 1.7493746997}},
        {"euler", 3, {1.3181621622, 1.5545380123, 1.6473341274, 1.7073809608}},
        {"ddim", 3, {1.3181621622, 1.5545380123, 1.6473341274, 1.7073809608}},
        {"heun", 3, {1.3407346708, 1.6321327787, 1.7170099514, 1.7445236569}},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        for (int j = 0; j < 4; j++) {
            struct dqg_sched_config config = analytic_config();
            config.solver = rows[i].solver;
            config.shift = rows[i].shift;
            config.steps = steps[j];
            config.prediction = "flow";
            assert_end(end_of(&config, 1.5, 0), rows[i].ends[j], 1e-6);
            config.prediction = "x0";
            assert_end(end_of(&config, 1.5, 0), rows[i].ends[j], 1e-6);
        }
    }
}

/* ---- mixture: median distance to the exact ends on the square grid ---- */

enum { POINTS = 1024 };

static double halton(int32_t base, int32_t index) {
    double value = 0;
    for (double f = 1.0 / base; index > 0; index /= base, f /= base) {
        value += f * (index % base);
    }
    return value;
}

static void mixture_starts(float *x) {
    for (int32_t i = 0; i < POINTS; i++) {
        double radius = sqrt(-2 * log(halton(2, i + 1)));
        double angle = 6.28318530717958647692 * halton(3, i + 1);
        x[2 * i] = (float)(radius * cos(angle));
        x[2 * i + 1] = (float)(radius * sin(angle));
    }
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double mixture_error(const char *solver, int32_t n, const float *starts, const double *ends) {
    double sigmas[MOST], errors[POINTS];
    float x[2 * POINTS];
    square_grid(n, sigmas);
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = "scaled-linear";
    config.sigmas = sigmas;
    config.sigma_count = n + 2;
    struct dqg_sched sched;
    assert_int_equal(dqg_sched_init(&context, &config, &sched), DQG_OK);
    double length = hypot(sched.points[0].alpha, sched.points[0].sigma);
    for (int32_t i = 0; i < 2 * POINTS; i++) {
        x[i] = (float)(starts[i] * length);
    }
    struct analytic_job job = {.sched = &sched, .denoiser = analytic_mixture_x0, .x = x, .n = 2 * POINTS, .steps = n};
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
        int32_t n;
        double median;
    } rows[] = {
        {"ddim", 5, 2.83e-1},   {"ddim", 10, 1.38e-1}, {"ddim", 20, 6.93e-2},  {"ddim", 40, 3.49e-2},
        {"euler", 10, 1.38e-1}, {"heun", 3, 3.88},     {"heun", 5, 4.71e-1},   {"heun", 10, 6.97e-2},
        {"heun", 20, 1.42e-2},  {"heun", 40, 3.16e-3}, {"dpm2", 10, 2.47e-2},  {"dpm++-2s", 10, 2.12e-2},
        {"lms", 20, 1.28e-2},   {"deis", 20, 5.64e-3}, {"ipndm", 20, 3.31e-3},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        double median = mixture_error(rows[i].solver, rows[i].n, starts, ends);
        if (!(fabs(median - rows[i].median) < 0.01 * rows[i].median)) {
            fail_msg("%s, %d steps: median %.4g, expected %.3g", rows[i].solver, (int)rows[i].n, median,
                     rows[i].median);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_continuous), cmocka_unit_test(test_karras),  cmocka_unit_test(test_discrete),
        cmocka_unit_test(test_flow),       cmocka_unit_test(test_mixture),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
