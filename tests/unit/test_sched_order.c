/* SPDX-License-Identifier: MIT */
/*
 * With samples in double: the order of convergence of every solver, errors of single steps from an exact history, and
 * equalities between solvers to 1e-10. The models are a scalar Gaussian, whose paths are known, and for orders of
 * solvers without history a mixture in the plane.
 */
#include "sched_check.h"

enum { MOST = 400 };

static const struct analytic_gaussian gaussian = {1, 0.5};

/* Where x ends; after each of the first steps it is put back onto the exact path. error: distance to that in the end.
 */
static double end_of(const struct dqg_sched_config *config, double start, int32_t exact_steps, double *error) {
    struct dqg_sched sched = sched_make(config);
    struct dqg_sched_state state = {0};
    double history[DQG_SOLVER_BUFFERS], x = start, exact = start;
    for (int32_t j = 0; j < DQG_SOLVER_BUFFERS; j++) {
        state.history[j] = j < dqg_sched_buffers(&sched) ? &history[j] : NULL;
    }
    while (state.step < sched.steps) {
        int32_t draws = state.step;
        double clean, estimate, scratch;
        struct dqg_sched_point p = dqg_sched_request(&sched, &state);
        analytic_gaussian_x0(&gaussian, p.alpha, p.sigma, &x, &clean, 1);
        double eps = (x - p.alpha * clean) / p.sigma;
        double r = hypot(p.alpha, p.sigma);
        double output = sched.prediction == DQG_PREDICT_X0     ? clean
                        : sched.prediction == DQG_PREDICT_V    ? (p.alpha * eps - p.sigma * clean) / r
                        : sched.prediction == DQG_PREDICT_FLOW ? eps - clean
                                                               : eps;
        dqg_status status =
            dqg_sched_feed(&sched, &state, &x, &output, &estimate, &scratch, 1, analytic_cosine_noise, &draws);
        assert_true(status >= 0);
        if (status != DQG_PENDING) {
            exact = analytic_gaussian_map(&gaussian, &sched.points[0], &sched.points[state.step], start);
            x = state.step <= exact_steps ? exact : x;
        }
    }
    if (error != NULL) {
        *error = fabs(x - exact);
    }
    dqg_sched_free(&context.alloc, &sched);
    return x;
}

/* ---- order ---- */

/* Distance to the exact end of one path of the mixture in the plane. */
static double mixture_error(const struct dqg_sched_config *config, double first, double last) {
    struct dqg_sched sched = sched_make(config);
    double scale = hypot(sched.points[0].alpha, sched.points[0].sigma) / hypot(1, first);
    double end_scale = hypot(sched.points[sched.steps].alpha, sched.points[sched.steps].sigma) / hypot(1, last);
    double x[2] = {3 * scale, -2 * scale}, exact[2] = {3, -2};
    int32_t draws = 0;
    struct analytic_job job = {.sched = &sched,
                               .denoiser = analytic_mixture_x0,
                               .x = x,
                               .n = 2,
                               .noise = analytic_cosine_noise,
                               .user = &draws};
    assert_true(analytic_run(&job) > 0);
    dqg_sched_free(&context.alloc, &sched);
    analytic_mixture_map(first, last, 2000, exact, 2);
    return hypot(x[0] / end_scale - exact[0], x[1] / end_scale - exact[1]);
}

static double path_error(const char *solver, bool flow, int32_t exact_steps, int32_t n) {
    double sigmas[MOST + 1], error;
    for (int32_t i = 0; i <= n; i++) { /* even in sigma, or in ln sigma */
        sigmas[i] = flow ? 0.95 + (0.2 - 0.95) * i / n : 5 * pow(0.1 / 5, (double)i / n);
    }
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = flow ? "flow" : "vp"; /* smooth in time */
    config.prediction = "x0";
    config.lower_order_final = "off";
    config.sigmas = sigmas;
    config.sigma_count = n + 1;
    if (flow || exact_steps > 0) {
        (void)end_of(&config, flow ? 0.9 : 3, exact_steps, &error);
        return error;
    }
    return mixture_error(&config, sigmas[0], sigmas[n]);
}

/* A row for each solver. order 0: always stochastic. exact_steps: where a history has to be built up first. */
static const struct {
    const char *solver;
    bool flow;
    int32_t exact_steps;
    double order;
} orders[] = {
    {"euler", false, 0, 1},
    {"heun", false, 0, 2},
    {"ddim", false, 0, 1},
    {"ddpm", false, 0, 1},
    {"lcm", false, 0, 0},
    {"tcd", false, 0, 1},
    {"euler-ancestral", false, 0, 1},
    {"midpoint", false, 0, 2},
    {"dpm2", false, 0, 2},
    {"dpm2-ancestral", false, 0, 2},
    {"dpm-3s", false, 0, 3},
    {"dpm++-2s", false, 0, 2},
    {"dpm++-2s-ancestral", false, 0, 2},
    {"dpm++-sde", false, 0, 2},
    {"dpm-2m", false, 1, 2},
    {"dpm-3m", false, 2, 2}, /* as published: half of the second difference that third order needs */
    {"dpm++-2m", false, 1, 2},
    {"dpm++-2m-heun", false, 1, 2},
    {"dpm++-2m-sde", false, 1, 2},
    {"dpm++-2m-sde-heun", false, 1, 2},
    {"dpm++-3m", false, 2, 2},
    {"dpm++-3m-sde", false, 2, 2},
    {"er-sde", false, 0, 0},
    {"unipc", false, 1, 3},
    {"unipc-bh1", false, 1, 3},
    {"unipc-3", false, 2, 4},
    {"lms", false, 3, 4},
    {"deis", false, 2, 3},
    {"deis-t", false, 3, 4},
    {"kutta3", false, 0, 3},
    {"ralston3", false, 0, 3},
    {"heun3", false, 0, 3},
    {"vdh3", false, 0, 3},
    {"ssp3", false, 0, 3},
    {"rk4", false, 0, 4},
    {"ipndm", true, 3, 4}, /* weights of even steps */
    {"plms", true, 3, 4},
    {"pndm", true, 0, 4},
};

static void test_orders(void **state) {
    (void)state;
    for (size_t i = 0; i < dqg_solver_count; i++) {
        size_t row = 0;
        while (row < DQG_COUNT_OF(orders) && strcmp(orders[row].solver, dqg_solvers[i].piece.name) != 0) {
            row++;
        }
        if (row == DQG_COUNT_OF(orders)) {
            fail_msg("solver %s has no row in this test", dqg_solvers[i].piece.name);
        }
        if (orders[row].order == 0) {
            assert_true(dqg_solvers[i].always_noise);
            continue;
        }
        double coarse = path_error(orders[row].solver, orders[row].flow, orders[row].exact_steps, MOST / 2);
        double fine = path_error(orders[row].solver, orders[row].flow, orders[row].exact_steps, MOST);
        double order = log2(coarse / fine);
        if (!(fabs(order - orders[row].order) < 0.15)) {
            fail_msg("%s: order %.3f, expected %g", orders[row].solver, order, orders[row].order);
        }
    }
}

/* Four exact points in k coordinates, evenly in lambda, then one step from lambda = 0.3. */
static void test_single_steps(void **state) {
    (void)state;
    static const struct {
        const char *solver;
        int32_t order;
        double errors[4]; /* of h = 0.4, 0.2, 0.1, 0.05 */
    } rows[] = {
        {"dpm++-2m", 1, {9.361e-3, 2.519e-3, 6.514e-4, 1.655e-4}},
        {"dpm++-2m", 2, {8.661e-4, 1.149e-4, 1.458e-5, 1.828e-6}},
        {"dpm++-2m-heun", 2, {3.013e-4, 3.482e-5, 3.965e-6, 4.643e-7}},
        {"dpm++-3m", 3, {7.430e-4, 5.995e-5, 3.919e-6, 2.172e-7}},
    };
    for (size_t i = 0; i < 4 * DQG_COUNT_OF(rows); i++) {
        double h = 0.4 / (1 << i % 4), sigmas[4], error;
        for (int j = 0; j < 4; j++) {
            sigmas[j] = exp(-0.3 + (2 - j) * h);
        }
        struct dqg_sched_config config = analytic_config();
        config.solver = rows[i / 4].solver;
        config.order = rows[i / 4].order;
        config.schedule = "scaled-linear";
        config.lower_order_final = "off";
        config.sigmas = sigmas;
        config.sigma_count = 4;
        (void)end_of(&config, 1 + 0.7 * sqrt(0.25 + sigmas[0] * sigmas[0]), 2, &error);
        double expected = rows[i / 4].errors[i % 4];
        if (!(fabs(error - expected) < 0.0006 * expected)) {
            fail_msg("%s, order %d, h %g: error %.4g, expected %.4g", config.solver, (int)config.order, h, error,
                     expected);
        }
    }
}

/* ---- equalities ---- */

static void assert_close(const char *what, double a, double b) {
    if (!(fabs(a - b) < 1e-10)) {
        fail_msg("%s: %.14g and %.14g", what, a, b);
    }
}

static struct dqg_sched_config ten_levels(const char *solver, double last) {
    static double sigmas[11];
    for (int i = 0; i < 11; i++) {
        sigmas[i] = i < 10 ? 12 * pow(0.03 / 12, i / 9.0) : last;
    }
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = "scaled-linear";
    config.sigmas = sigmas;
    config.sigma_count = 11;
    return config;
}

/* In the variance-preserving coordinates of the last point. */
static double scaled_end(const struct dqg_sched_config *config) {
    struct dqg_sched sched = sched_make(config);
    double scale = hypot(sched.points[0].alpha, sched.points[0].sigma);
    double end_scale = hypot(sched.points[10].alpha, sched.points[10].sigma);
    dqg_sched_free(&context.alloc, &sched);
    return end_of(config, 1.5 * scale, 0, NULL) / end_scale;
}

static double end_with(const char *solver, int32_t order, double eta, const char *prediction, double last) {
    struct dqg_sched_config config = ten_levels(solver, last);
    config.order = order;
    config.eta = eta;
    config.prediction = prediction;
    return scaled_end(&config);
}

static void test_first_orders(void **state) {
    (void)state;
    static const char *const multistep[] = {"dpm-2m", "dpm-3m", "dpm++-2m", "dpm++-2m-heun", "dpm++-2m-sde", "dpm++-3m",
                                            "lms",    "deis",   "ipndm",    "plms",          "pndm"};
    double ddim = end_with("ddim", 0, 0, "epsilon", 0.01);
    assert_close("euler", end_with("euler", 0, 0, "epsilon", 0.01), ddim);
    assert_close("ddpm", end_with("ddpm", 0, 0, "epsilon", 0.01), ddim);
    for (size_t i = 0; i < DQG_COUNT_OF(multistep); i++) {
        assert_close(multistep[i], end_with(multistep[i], 1, 0, "epsilon", 0.01), ddim);
    }
}

static void test_equal_solvers(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"euler-ancestral", "euler"}, {"dpm2-ancestral", "dpm2"},   {"dpm++-2s-ancestral", "dpm++-2s"},
        {"dpm++-sde", "dpm++-2s"},    {"dpm++-2m-sde", "dpm++-2m"}, {"dpm++-2m-sde-heun", "dpm++-2m-heun"},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(pairs); i++) {
        assert_close(pairs[i][0], end_with(pairs[i][0], 0, 0, "epsilon", 0), end_with(pairs[i][1], 0, 0, "epsilon", 0));
    }
    assert_close("unipc-3", end_with("unipc-3", 0, 0, "epsilon", 0.01), end_with("unipc", 3, 0, "epsilon", 0.01));
    struct dqg_sched_config config = ten_levels("dpm++-3m", 0.01);
    config.lower_order_final = "off";
    assert_close("dpm++-3m-sde", end_with("dpm++-3m-sde", 0, 0, "epsilon", 0.01), scaled_end(&config));
    assert_close("dpm++-3m", end_with("dpm++-3m", 2, 0, "epsilon", 0), end_with("dpm++-2m-heun", 0, 0, "epsilon", 0));
}

/* UniPC of second order with B2 and without its corrector is DPM-Solver++ 2M. */
static void test_uncorrected(void **state) {
    (void)state;
    struct dqg_sched_config multi = ten_levels("dpm++-2m", 0.01);
    struct dqg_sched_config uni = ten_levels("unipc", 0.01);
    multi.lower_order_final = "on";
    double corrected[11];
    for (uni.uncorrected = 0; uni.uncorrected <= 10; uni.uncorrected++) {
        corrected[uni.uncorrected] = scaled_end(&uni);
    }
    assert_close("unipc, uncorrected", corrected[10], scaled_end(&multi));
    assert_close("the last result", corrected[9], corrected[10]); /* is never corrected */
    for (int i = 0; i < 9; i++) {
        assert_true(fabs(corrected[i + 1] - corrected[i]) > 1e-9);
    }
}

/* One model told in epsilon, v or x0, by every solver with its own eta. */
static void test_predictions(void **state) {
    (void)state;
    for (size_t i = 0; i < dqg_solver_count; i++) {
        const char *name = dqg_solvers[i].piece.name;
        double epsilon = end_with(name, 0, DQG_ETA_OWN, "epsilon", 0.01);
        assert_close(name, end_with(name, 0, DQG_ETA_OWN, "v", 0.01), epsilon);
        assert_close(name, end_with(name, 0, DQG_ETA_OWN, "x0", 0.01), epsilon);
    }
}

/* TCD without noise is DDIM, on the list of consistency models and to timestep 0. */
static void test_tcd_is_ddim(void **state) {
    (void)state;
    for (int32_t steps = 1; steps <= 8; steps++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = "scaled-linear";
        config.spacing = "lcm";
        config.steps = steps;
        config.solver = "tcd";
        double tcd = end_of(&config, 1.5, 0, NULL);
        config.solver = "ddim";
        assert_close("tcd", tcd, end_of(&config, 1.5, 0, NULL));
    }
}

static void noise_of_time(void *user, const struct dqg_draw *draw, double *buffer, size_t n) {
    (void)user;
    for (size_t i = 0; i < n; i++) {
        buffer[i] = cos(999 - draw->index);
    }
}

/*
 * The second form of DiffuseVAE, written out: its network was trained on x + offset, its posterior is shifted. DDPM
 * with the offset taken off is the same path, less the offset, at each of 1000 steps.
 */
static void test_second_form(void **state) {
    (void)state;
    static const double offset = 0.37;
    struct dqg_sched_config config = analytic_config();
    config.solver = "ddpm";
    config.schedule = "linear";
    config.variance = "large";
    config.eta = 1;
    config.spacing = "trailing";
    config.steps = 1000;
    struct dqg_sched sched = sched_make(&config);
    struct dqg_sched_state at = {0};
    double x = 1.5, shifted = 1.5 + offset;
    for (int32_t step = 0; step < 1000; step++) {
        const struct dqg_sched_point *from = &sched.points[step], *to = from + 1;
        double seen = shifted - offset, clean, estimate, scratch, z;
        double acp = from->alpha * from->alpha, acp_to = to->alpha * to->alpha, beta = 1 - acp / acp_to;
        double c1 = beta * to->alpha / (1 - acp), c2 = sqrt(1 - beta) * (1 - acp_to) / (1 - acp);
        analytic_gaussian_x0(&gaussian, from->alpha, from->sigma, &seen, &clean, 1);
        noise_of_time(NULL, &(struct dqg_draw){.index = step}, &z, 1);
        shifted = c1 * clean + c2 * shifted + (1 - c2) * offset + (step < 999 ? sqrt(beta) * z : 0);
        analytic_gaussian_x0(&gaussian, from->alpha, from->sigma, &x, &clean, 1);
        double eps = (x - from->alpha * clean) / from->sigma;
        assert_true(dqg_sched_feed(&sched, &at, &x, &eps, &estimate, &scratch, 1, noise_of_time, NULL) >= 0);
        assert_true(fabs(shifted - offset - x) < 1e-11);
    }
    assert_close("ddpm", x, 0.99642147422);
    dqg_sched_free(&context.alloc, &sched);
}

/*
 * Where x0 is affine in lambda along the path, the heun form of DPM-Solver++ 2M is exact once it has a history, on even
 * steps and others: x' = (sigma' / sigma) x + integral of exp(lambda - lambda') x0 in k coordinates.
 */
static void test_affine_estimates(void **state) {
    (void)state;
    static const double sigmas[] = {4, 2.5, 1, 0.7, 0.2};
    struct dqg_sched_config config = analytic_config();
    config.solver = "dpm++-2m-heun";
    config.schedule = "scaled-linear";
    config.prediction = "x0";
    config.lower_order_final = "off";
    config.sigmas = sigmas;
    config.sigma_count = 5;
    struct dqg_sched sched = sched_make(&config);
    double history, x = 3, exact = 3;
    struct dqg_sched_state at = {.history = {&history}};
    for (int i = 0; i < 4; i++) {
        double s = sigmas[i], t = sigmas[i + 1], h = log(s / t), slope = 0.3, estimate, scratch;
        double output = 0.5 - slope * log(s);
        exact = t / s * exact + output * (1 - t / s) + slope * (h - 1 + t / s);
        assert_true(dqg_sched_feed(&sched, &at, &x, &output, &estimate, &scratch, 1, NULL, NULL) >= 0);
        if (i == 0) {
            x = exact; /* the first step knows no slope */
        }
        assert_close("dpm++-2m-heun", x, exact);
    }
    dqg_sched_free(&context.alloc, &sched);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),           cmocka_unit_test(test_single_steps),
        cmocka_unit_test(test_first_orders),     cmocka_unit_test(test_equal_solvers),
        cmocka_unit_test(test_predictions),      cmocka_unit_test(test_tcd_is_ddim),
        cmocka_unit_test(test_affine_estimates), cmocka_unit_test(test_uncorrected),
        cmocka_unit_test(test_second_form),
    };
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
