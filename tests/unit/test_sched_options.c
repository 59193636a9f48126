/* SPDX-License-Identifier: MIT */
/*
 * Options that adjust solvers: what is refused, buffers of lower orders, lower orders at the end, churn, the variable
 * that DPM-Solver++ extrapolates in, plans that end above zero.
 */
#include "sched_check.h"

static const struct analytic_gaussian gaussian = {1, 0.5};

/* Cosine noise; the number of evaluations is left in *evaluations. */
static double end_of(const struct dqg_sched_config *config, double x, int32_t *evaluations) {
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
    *evaluations = analytic_run(&job);
    assert_true(*evaluations > 0);
    dqg_sched_free(&context.alloc, &sched);
    return sample;
}

static void assert_near(double value, double expected, double limit) {
    if (!(fabs(value - expected) <= limit)) {
        fail_msg("%.9g where %.9g is expected", value, expected);
    }
}

static const double nan_range[] = {NAN, 1};
static const double falling_range[] = {2, 1};
static const double good_range[] = {0.5, 5};

#define BASE .steps = 5, .shift = 1, .train_timesteps = 1000, .timestep_scale = 1000

static const struct {
    struct dqg_sched_config config;
    dqg_status status;
    const char *says;
} refused[] = {
    {{BASE, .solver = "euler", .order = 1}, DQG_ERROR_UNSUPPORTED, "leave order at 0"},
    {{BASE, .solver = "heun", .lower_order_final = "on"}, DQG_ERROR_UNSUPPORTED, "lower_order_final"},
    {{BASE, .solver = "dpm++-2m", .order = 4},
     DQG_ERROR_RANGE,
     "order of solver 'dpm++-2m' is 4; it must be from 1 to 3"},
    {{BASE, .solver = "lms", .order = 5}, DQG_ERROR_RANGE, "is 5"},
    {{BASE, .solver = "lms", .order = -1}, DQG_ERROR_RANGE, "is -1"},
    {{BASE, .solver = "lms", .order = INT32_MAX}, DQG_ERROR_RANGE, "from 1 to 4"},
    {{BASE, .solver = "lms", .uncorrected = 1}, DQG_ERROR_UNSUPPORTED, "no corrector"},
    {{BASE, .solver = "unipc", .uncorrected = -1}, DQG_ERROR_RANGE, "uncorrected is -1"},
    {{BASE, .solver = "lms", .lower_order_final = "yes"}, DQG_ERROR_NAME, "auto|on|off"},
    {{BASE, .solver = "ddpm", .variance = "larg"}, DQG_ERROR_NAME, "small|large|learned"},
    {{BASE, .solver = "ddpm", .variance = "large"}, DQG_ERROR_UNSUPPORTED, "on schedule 'flow'"},
    {{BASE, .solver = "ddim", .variance = "large", .schedule = "linear"}, DQG_ERROR_UNSUPPORTED, "use ddpm"},
    {{BASE, .solver = "ddim", .variance = "learned", .schedule = "linear"}, DQG_ERROR_UNSUPPORTED, "use ddpm"},
    {{BASE, .solver = "euler", .lambda = "log-sigma"}, DQG_ERROR_UNSUPPORTED, "lambda"},
    {{BASE, .solver = "euler", .lambda = "log"}, DQG_ERROR_NAME, "log-snr|log-sigma"},
    {{BASE, .solver = "euler", .s_churn = 1}, DQG_ERROR_UNSUPPORTED, "no churn"},
    {{BASE, .solver = "ddim", .schedule = "linear", .s_churn = 1}, DQG_ERROR_UNSUPPORTED, "no churn"},
    {{BASE, .schedule = "linear", .s_churn = -1}, DQG_ERROR_RANGE, "s_churn is -1"},
    {{BASE, .schedule = "linear", .s_churn = NAN}, DQG_ERROR_RANGE, "s_churn is nan"},
    {{BASE, .schedule = "linear", .s_churn = INFINITY}, DQG_ERROR_RANGE, "s_churn is inf"},
    {{BASE, .schedule = "linear", .s_noise = 3}, DQG_ERROR_RANGE, "s_noise 3"},
    {{BASE, .schedule = "linear", .churn_range = good_range, .churn_range_count = 1}, DQG_ERROR_RANGE, "two values"},
    {{BASE, .schedule = "linear", .churn_range = nan_range, .churn_range_count = 2}, DQG_ERROR_RANGE, "two values"},
    {{BASE, .schedule = "linear", .churn_range = falling_range, .churn_range_count = 2}, DQG_ERROR_RANGE, "two values"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(refused); i++) {
        struct dqg_sched sched;
        dqg_error_clear(&context);
        dqg_status status = dqg_sched_init(&context, &refused[i].config, &sched);
        if (status != refused[i].status || strstr(context.error, refused[i].says) == NULL) {
            fail_msg("case %zu: status %d, \"%s\" does not say \"%s\"", i, (int)status, context.error, refused[i].says);
        }
        assert_null(sched.points);
    }
}

/* Every order that a solver offers works to the end, with a buffer less for each order less. */
static void test_every_order(void **state) {
    (void)state;
    for (size_t i = 0; i < dqg_solver_count; i++) {
        const struct dqg_solver *solver = &dqg_solvers[i];
        int32_t most = solver->most_order > 0 ? solver->most_order : solver->order;
        for (int32_t order = 1; order <= most; order++) {
            for (int flow = 0; flow < 2; flow++) {
                struct dqg_sched_config config = analytic_config();
                config.solver = solver->piece.name;
                config.schedule = flow ? "flow" : "scaled-linear";
                config.eta = DQG_ETA_OWN;
                config.order = order;
                struct dqg_sched sched = sched_make(&config);
                int32_t buffers = dqg_sched_buffers(&sched);
                assert_int_equal(buffers, solver->buffers + order - solver->order);
                assert_true(buffers >= 0 && buffers <= DQG_SOLVER_BUFFERS);
                double start = sched.initial_scale;
                dqg_sched_free(&context.alloc, &sched);
                int32_t evaluations;
                assert_true(fabs(end_of(&config, start, &evaluations)) < 10);
            }
        }
    }
}

/* Each option that changes what is computed makes another plan; one that changes nothing does not. */
static void test_identities(void **state) {
    (void)state;
    struct dqg_sched_config configs[10];
    uint64_t identity[10];
    for (size_t i = 0; i < 10; i++) {
        configs[i] = analytic_config();
        configs[i].solver = i < 4 ? "dpm++-2m" : i < 8 ? "heun" : "unipc";
        configs[i].schedule = i < 4 ? "flow" : "scaled-linear";
    }
    configs[1].order = 1;
    configs[2].lower_order_final = "off"; /* auto is on for few steps */
    configs[3].lambda = "log-sigma";
    configs[5].s_churn = 4;
    configs[6].s_churn = 4;
    configs[6].s_noise = 1.003;
    configs[7].s_churn = 4;
    configs[7].churn_range = good_range;
    configs[7].churn_range_count = 2;
    configs[9].uncorrected = 1;
    for (size_t i = 0; i < 10; i++) {
        struct dqg_sched sched = sched_make(&configs[i]);
        identity[i] = sched.identity;
        dqg_sched_free(&context.alloc, &sched);
        for (size_t j = 0; j < i; j++) {
            assert_true(identity[i] != identity[j]);
        }
    }
    configs[0].order = 2;
    configs[0].lower_order_final = "on";
    struct dqg_sched sched = sched_make(&configs[0]);
    assert_true(sched.identity == identity[0]);
    dqg_sched_free(&context.alloc, &sched);
}

/* auto: below 15 steps for DPM-Solver++, always for UniPC, never for others. */
static void test_lower_order(void **state) {
    (void)state;
    static const struct {
        const char *solver;
        int32_t steps;
        bool lower;
    } rows[] = {{"dpm++-3m", 14, true}, {"dpm++-3m", 15, false}, {"dpm-2m", 14, true},       {"unipc", 100, true},
                {"lms", 5, false},      {"deis", 5, false},      {"dpm++-3m-sde", 5, false}, {"ipndm", 5, false}};
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        struct dqg_sched_config config = analytic_config();
        config.solver = rows[i].solver;
        config.steps = rows[i].steps;
        struct dqg_sched sched = sched_make(&config);
        assert_true(sched.lower_final == rows[i].lower);
        dqg_sched_free(&context.alloc, &sched);
    }
    static const int32_t orders[2][6] = {{1, 2, 3, 3, 3, 3}, {1, 2, 3, 3, 2, 1}};
    for (int32_t i = 0; i < 12; i++) {
        int32_t index = i % 6;
        struct dqg_step step = {.most = 3, .kept = index, .left = 6 - index, .lower_final = i >= 6};
        assert_int_equal(dqg_step_order(&step, 0), orders[i / 6][index]);
        if (index > 0) {
            assert_int_equal(dqg_step_order(&step, 1), orders[i / 6][index - 1]);
        }
    }
}

/* Algorithm 2 of Karras et al. step by step: within the range noise raises the sample before it is evaluated. */
static void test_churn(void **state) {
    (void)state;
    static const double sigmas[] = {10, 4, 1, 0.2, 0};
    for (int heun = 0; heun < 2; heun++) {
        struct dqg_sched_config config = analytic_config();
        config.solver = heun ? "heun" : "euler";
        config.schedule = "scaled-linear";
        config.prediction = "x0";
        config.sigmas = sigmas;
        config.sigma_count = 5;
        config.s_churn = heun ? 0.8 : 100; /* 0.2 a step; more than sqrt(2) - 1 */
        config.s_noise = 1.003;
        config.churn_range = good_range;
        config.churn_range_count = 2;
        double x = 12;
        int draws = 0;
        for (int i = 0; i < 4; i++) {
            double raised = sigmas[i];
            if (sigmas[i] >= good_range[0] && sigmas[i] <= good_range[1]) {
                raised *= heun ? 1.2 : sqrt(2);
                x += 1.003 * sqrt(raised * raised - sigmas[i] * sigmas[i]) * cos(++draws);
            }
            double slope = (x - (1 + 0.25 / (0.25 + raised * raised) * (x - 1))) / raised;
            double next = x + (sigmas[i + 1] - raised) * slope;
            if (heun && sigmas[i + 1] > 0) {
                double s = sigmas[i + 1];
                double second = (next - (1 + 0.25 / (0.25 + s * s) * (next - 1))) / s;
                next = x + (s - raised) * (slope + second) / 2;
            }
            x = next;
        }
        assert_int_equal(draws, 2);
        int32_t evaluations;
        assert_near(end_of(&config, 12, &evaluations), x, 3e-6);
        assert_int_equal(evaluations, heun ? 7 : 4);
        struct dqg_sched sched = sched_make(&config);
        struct dqg_sched_state at = {.step = 1};
        struct dqg_sched_point point = dqg_sched_request(&sched, &at);
        assert_near(point.sigma, heun ? 4.8 : 4 * sqrt(2), 1e-12);
        assert_near(point.input_scale, 1 / hypot(1, point.sigma), 1e-12);
        assert_true(point.timestep > sched.points[1].timestep);
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* DPM-Solver++ 2M on flow as k-diffusion writes it, in -ln sigma: another second order, the same first. */
static void test_lambda(void **state) {
    (void)state;
    static const double sigmas[] = {1, 0.8, 0.5, 0.3, 0.1, 0};
    struct dqg_sched_config config = analytic_config();
    config.solver = "dpm++-2m";
    config.lower_order_final = "off";
    config.sigmas = sigmas;
    config.sigma_count = 6;
    config.lambda = "log-sigma";
    double x = 1.5, old = 0;
    for (int i = 0; i < 5; i++) {
        double s = sigmas[i], t = sigmas[i + 1], a = 1 - s;
        double x0 = 1 + a * 0.25 / (a * a * 0.25 + s * s) * (x - a);
        double d = x0;
        if (i > 0 && t > 0) {
            double r = log(sigmas[i - 1] / s) / log(s / t);
            d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * old;
        }
        x = t / s * x + (1 - t / s) * d;
        old = x0;
    }
    int32_t evaluations;
    assert_near(end_of(&config, 1.5, &evaluations), x, 1e-6);
    config.lambda = NULL;
    assert_true(fabs(end_of(&config, 1.5, &evaluations) - x) > 1e-3);
    config.order = 1;
    double first = end_of(&config, 1.5, &evaluations);
    config.lambda = "log-sigma";
    assert_near(end_of(&config, 1.5, &evaluations), first, 1e-6);
}

/* Where Runge-Kutta steps are evaluated, and that they have four evaluations. */
static void test_pndm(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.solver = "pndm";
    config.schedule = "scaled-linear";
    config.spacing = "leading";
    config.steps_offset = 1;
    struct dqg_sched sched = sched_make(&config);
    static const double timesteps[] = {901, 851, 851, 801};
    for (int32_t phase = 0; phase < 4; phase++) {
        struct dqg_sched_state at = {.phase = phase};
        assert_near(dqg_sched_request(&sched, &at).timestep, timesteps[phase], 1e-12);
    }
    int32_t evaluations;
    double start = sched.initial_scale;
    dqg_sched_free(&context.alloc, &sched);
    (void)end_of(&config, start, &evaluations);
    assert_int_equal(evaluations, 10 + 9);
}

/* A list that ends above zero: the path goes on from there as if it had not been cut, for one-step solvers. */
static void test_two_halves(void **state) {
    (void)state;
    static const double whole[] = {0.9, 0.6, 0.4, 0.2, 0.1};
    static const char *const solvers[] = {"euler", "heun", "ddim", "midpoint", "dpm2", "dpm++-2s", "dpm-3s"};
    for (size_t i = 0; i < DQG_COUNT_OF(solvers); i++) {
        struct dqg_sched_config config = analytic_config();
        int32_t evaluations;
        config.solver = solvers[i];
        config.sigmas = whole;
        config.sigma_count = 5;
        double end = end_of(&config, 1.3, &evaluations);
        config.sigma_count = 3;
        double half = end_of(&config, 1.3, &evaluations);
        config.sigmas = whole + 2;
        assert_near(end_of(&config, half, &evaluations), end, 1e-6);
        struct dqg_sched sched = sched_make(&config);
        assert_true(sched.points[2].sigma == 0.1 && sched.points[2].timestep == 1000 * 0.1);
        dqg_sched_free(&context.alloc, &sched);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_every_order), cmocka_unit_test(test_identities),
        cmocka_unit_test(test_lower_order), cmocka_unit_test(test_churn),       cmocka_unit_test(test_lambda),
        cmocka_unit_test(test_pndm),        cmocka_unit_test(test_two_halves),
    };
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
