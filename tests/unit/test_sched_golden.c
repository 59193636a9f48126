/* SPDX-License-Identifier: MIT */
/*
 * Solvers against end points computed elsewhere in double: a scalar Gaussian on continuous VP, k, discrete and flow
 * grids. Built twice: with samples in float, hence limits near 1e-6, and in double, to all digits given.
 */
#include <stdlib.h>

#include "sched_check.h"

enum { MOST = 200 };

static const struct analytic_gaussian gaussian = {1, 0.5};
static const char *const vp_predictions[] = {"epsilon", "v", "x0"};

/* Cosine noise. Returns the final x. */
static double end_of(const struct dqg_sched_config *config, double x) {
    struct dqg_sched sched = sched_make(config);
    float sample = (float)x;
    int32_t draws = 0;
    struct analytic_job job = {.sched = &sched,
                               .denoiser = analytic_gaussian_x0,
                               .model = &gaussian,
                               .x = &sample,
                               .n = 1,
                               .noise = analytic_cosine_noise,
                               .user = &draws};
    assert_true(analytic_run(&job) > 0);
    dqg_sched_free(&context.alloc, &sched);
    return sample;
}

/* limit: of float samples */
static void assert_end(const char *what, double value, double expected, double limit) {
#ifdef DOUBLE_SAMPLES
    limit = strcmp(what, "lcm") == 0 ? 2e-8 : 1e-9; /* the boundary terms that are left out; the inputs' digits */
#endif
    if (!(fabs(value - expected) <= limit * fabs(expected))) {
        fail_msg("%s: %.10f where %.10f is expected: off by %.2g", what, value, expected, fabs(value / expected - 1));
    }
}

/* ---- continuous VP: ln a(t) = -0.25 t^2 (20 - 0.1) - 0.05 t from t = 1 to 0.001 ---- */

static double continuous_end(const char *solver, int32_t order, const char *prediction, void (*grid)(int32_t, double *),
                             int32_t n) {
    double sigmas[MOST];
    grid(n, sigmas);
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = "vp"; /* the model does not look at timesteps, but deis-t does */
    config.prediction = prediction;
    config.sigmas = sigmas;
    config.sigma_count = n + 1;
    config.order = order;
    config.lower_order_final = strcmp(solver, "dpm++-2m") == 0 ? "on" : NULL;
    if (strcmp(solver, "ddim") == 0) {
        return end_of(&config, 1.5);
    }
    return end_of(&config, 1.5 * hypot(1, sigmas[0])) / hypot(1, sigmas[n]);
}

static void test_continuous(void **state) {
    (void)state;
    static const struct {
        const char *solver;
        int32_t order;
        double square, lambda;
        double errors[3]; /* on the square grid with 40, 80 and 160 steps */
    } rows[] = {
        {"ddim", 0, 1.6361137253, 1.5878282793, {2.93e-2, 1.48e-2, 7.44e-3}},
        {"euler", 0, 1.6361137253, 1.5878282793, {2.93e-2, 1.48e-2, 7.44e-3}},
        {"lms", 0, 1.7146714211, 1.6546695623, {5.00e-4, 4.42e-5, 3.40e-6}},
        {"deis", 0, 1.7464189008, 1.7321402965, {1.93e-4, 3.01e-5, 4.21e-6}},
        {"deis", 2, 1.7338307276, 1.6917070385, {7.39e-4, 1.86e-4, 4.67e-5}},
        {"deis-t", 2, 1.7037472340, 1.6583549139, {3.47e-3, 9.07e-4, 2.32e-4}},
        {"deis-t", 3, 1.7258990706, 1.6900157007, {5.30e-4, 7.46e-5, 1.01e-5}},
        {"deis-t", 4, 1.7351518719, 1.7090320121, {1.07e-4, 1.02e-5, 9.63e-7}},
        {"ipndm", 0, 1.7598814260, 1.7769105565, {6.68e-4, 1.67e-4, 4.17e-5}},
        {"dpm++-2m", 0, 1.7679311584, 1.7634854068, {2.91e-3, 6.90e-4, 1.67e-4}},
        {"dpm++-2m", 3, 1.7897574603, 1.8368846960, {2.23e-5, 6.72e-5, 2.69e-5}},
        {"unipc", 0, 1.7757753866, 1.7745414735, {8.16e-4, 8.67e-5, 7.19e-6}},
        {"unipc", 3, 1.7830412616, 1.8233548427, {3.75e-4, 4.89e-5, 8.62e-6}},
        {"unipc-3", 0, 1.7830412616, 1.8233548427, {3.75e-4, 4.89e-5, 8.62e-6}},
        {"unipc-bh1", 0, 1.8248087143, 1.8691529993, {1.34e-3, 1.41e-4, 1.34e-5}},
        {"heun", 0, 1.7863299400, 1.8584027541, {2.12e-3, 5.19e-4, 1.28e-4}},
        {"dpm2", 0, 1.7695943219, 1.7965300770, {1.33e-3, 3.28e-4, 8.16e-5}},
        {"dpm++-2s", 0, 1.7278709790, 1.7119097533, {1.27e-3, 3.21e-4, 8.08e-5}},
        {"dpm-3s", 0, 1.7462054872, 1.7482189119, {1.10e-5, 1.41e-6, 1.79e-7}},
    };
    static const double exact = 1.746794463249;
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        const char *solver = rows[i].solver;
        int32_t order = rows[i].order;
        for (int p = 0; p < 3; p++) {
            assert_end(solver, continuous_end(solver, order, vp_predictions[p], square_grid, 10), rows[i].square, 6e-6);
            assert_end(solver, continuous_end(solver, order, vp_predictions[p], lambda_grid, 10), rows[i].lambda, 6e-6);
        }
#ifdef DOUBLE_SAMPLES
        double coarse = fabs(continuous_end(solver, order, "epsilon", lambda_grid, 80) - exact);
        double fine = fabs(continuous_end(solver, order, "epsilon", lambda_grid, 160) - exact);
        assert_true(strcmp(solver, "deis-t") != 0 || order != 4 || log2(coarse / fine) > 3.8);
#endif
        for (int j = 0; j < 3; j++) { /* given to three digits */
            double error = fabs(continuous_end(solver, order, "epsilon", square_grid, 40 << j) - exact);
            double limit = 0.006 * rows[i].errors[j] + (sizeof(float) == 4 ? 1e-5 : 0);
            if (!(fabs(error - rows[i].errors[j]) < limit)) {
                fail_msg("%s, %d steps: error %.4g, expected %.3g", solver, 40 << j, error, rows[i].errors[j]);
            }
        }
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
        {"dpm++-2m-heun", 0, 1.7824519130},
        {"euler-ancestral", 1, 1.2270898311},
        {"dpm2-ancestral", 1, 1.2036145899},
        {"dpm++-2s-ancestral", 1, 1.2197639681},
        {"dpm++-sde", 1, 1.0579534068},
        {"dpm++-2m-sde", 1, 1.4444395830},
        {"dpm++-2m-sde-heun", 1, 1.5449596785},
        {"dpm++-3m-sde", 1, 1.6759464223},
        {"er-sde", 0, 1.3641281448},
        {"dpm++-2s", 0, 1.6925842929},
        {"dpm++-2s-ancestral", 0, 1.6925842929},
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
        config.lower_order_final = strcmp(config.solver, "dpm++-3m") == 0 ? "off" : NULL;
        assert_end(config.solver, end_of(&config, 1.5 * 14.6146412293), rows[i / 3].end, 2e-6);
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
    static const struct {
        const char *solver, *spacing, *variance;
        double eta;
        int32_t steps;
        double end;
    } rows[] = {
        {"ddim", "leading", NULL, 0, 10, 1.5613257669},    {"ddim", "leading", NULL, 1, 10, 1.1364302503},
        {"ddpm", "leading", "small", 1, 10, 1.1537232233}, {"ddpm", "leading", "large", 1, 10, 0.9444811729},
        {"plms", "leading", NULL, 0, 10, 1.6678980548},    {"lcm", "lcm", NULL, 0, 4, 0.7497555942},
        {"tcd", "lcm", NULL, 0.3, 4, 0.9100732105},        {"tcd", "lcm", NULL, 0, 4, 1.4137764105},
        {"ddim", "lcm", NULL, 0, 4, 1.4137764105},
    };
    for (size_t i = 0; i < 3 * DQG_COUNT_OF(rows); i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = "scaled-linear";
        config.prediction = vp_predictions[i % 3];
        config.solver = rows[i / 3].solver;
        config.spacing = rows[i / 3].spacing;
        config.variance = rows[i / 3].variance;
        config.eta = rows[i / 3].eta;
        config.steps = rows[i / 3].steps;
        config.steps_offset = 1;
        double before = 1, after = 1;
        if (strcmp(config.solver, "plms") ==
            0) { /* k coordinates: from variance-preserving ones at t = 901, and back */
            before = hypot(1, sigma_at(901));
            after = sqrt(0.99915);
        }
        assert_end(config.solver, end_of(&config, 1.5 * before) * after, rows[i / 3].end, 2e-6);
    }
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
            assert_end(config.solver, end_of(&config, 1.5), rows[i].ends[j], 1e-6);
            config.prediction = "x0";
            assert_end(config.solver, end_of(&config, 1.5), rows[i].ends[j], 1e-6);
        }
    }
}

/* One step of rectified flow with fresh noise from 0.9 to 0.75: to a lower point, scaled back, and how much noise. */
static void test_flow_ancestral(void **state) {
    (void)state;
    static const struct {
        double eta, down, fresh, scale;
    } rows[] = {{1, 0.625, 0.6236095645, 2 / 3.0}, {0.5, 0.6875, 0.5099019514, 0.8}};
    static const double sigmas[] = {0.9, 0.75};
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        const struct dqg_sched_point from = {.alpha = 0.1, .sigma = 0.9}, to = {.alpha = 0.25, .sigma = 0.75};
        struct dqg_split split = dqg_ancestral_split(&from, &to, rows[i].eta);
        assert_true(fabs(split.down.sigma - rows[i].down) < 1e-10);
        assert_true(fabs(split.fresh - rows[i].fresh) < 1e-10);
        assert_true(fabs(split.scale - rows[i].scale) < 1e-10);
        struct dqg_sched_config config = analytic_config();
        config.solver = "euler-ancestral";
        config.sigmas = sigmas;
        config.sigma_count = 2;
        config.eta = rows[i].eta;
        double x0 = 1 + 0.1 * 0.25 / (0.01 * 0.25 + 0.81) * (1.2 - 0.1);
        double ratio = rows[i].down / 0.9;
        double end = rows[i].scale * (ratio * 1.2 + (1 - ratio) * x0) + rows[i].fresh * cos(1);
        assert_end("euler-ancestral", end_of(&config, 1.2), end, 1e-6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_continuous), cmocka_unit_test(test_karras),         cmocka_unit_test(test_discrete),
        cmocka_unit_test(test_flow),       cmocka_unit_test(test_flow_ancestral),
    };
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
