/* SPDX-License-Identifier: MIT */
/*
 * What must hold of solvers whatever the numbers: order of convergence, moments of what they draw, equalities between
 * them, and the outer contract (phases, repeated requests, saved states, empty samples).
 */
#include <stdlib.h>

#include "sched_check.h"
#include "support/rng.h"

enum { SAMPLES = 20000 };

static const struct analytic_gaussian gaussian = {1, 0.5};
static float samples[SAMPLES], other_samples[SAMPLES];

static int32_t run(const struct dqg_sched *sched, float *x, size_t n, int32_t steps, float *x0) {
    uint64_t seed = 11;
    struct analytic_job job = {.sched = sched,
                               .denoiser = analytic_gaussian_x0,
                               .model = &gaussian,
                               .x = x,
                               .n = n,
                               .steps = steps,
                               .noise = analytic_normal_noise,
                               .user = &seed,
                               .x0 = x0};
    return analytic_run(&job);
}

/* ---- order ---- */

/* Distance to the exact path at the last point but one: the step to sigma = 0 is of first order in every solver. */
static double path_error(struct dqg_sched_config config, int32_t steps) {
    config.steps = steps;
    struct dqg_sched sched = sched_make(&config);
    const struct dqg_sched_point *first = &sched.points[0];
    const struct dqg_sched_point *last = &sched.points[steps - 1];
    float x = (float)(1.5 * hypot(first->alpha, first->sigma));
    double exact = analytic_gaussian_map(&gaussian, first, last, x);
    assert_true(run(&sched, &x, 1, steps - 1, NULL) > 0);
    double error = fabs(x - exact) / hypot(last->alpha, last->sigma);
    dqg_sched_free(&context.alloc, &sched);
    return error;
}

static void test_order(void **state) {
    (void)state;
    static const struct {
        const char *schedule, *spacing, *solver;
        int32_t steps;
        double order;
    } rows[] = {
        {"flow", "linspace", "euler", 100, 1},
        {"flow", "linspace", "ddim", 100, 1},
        {"flow", "linspace", "heun", 60, 2},
        {"scaled-linear", "linspace", "euler", 200, 1},
        {"scaled-linear", "linspace", "heun", 100, 2},
        {"scaled-linear", "linspace", "ddim", 200, 1},
        {"linear", "linspace", "ddim", 250, 1},
        {"scaled-linear", "exponential", "dpm2", 30, 2},
        {"scaled-linear", "exponential", "dpm++-2s", 30, 2},
        {"scaled-linear", "exponential", "dpm++-2m", 60, 2},
        {"scaled-linear", "karras", "deis", 45, 3},
        {"scaled-linear", "exponential", "unipc", 20, 3},
        {"scaled-linear", "exponential", "unipc-bh1", 40, 3},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = rows[i].schedule;
        config.spacing = rows[i].spacing;
        config.solver = rows[i].solver;
        double order = log2(path_error(config, rows[i].steps) / path_error(config, 2 * rows[i].steps));
        if (!(fabs(order - rows[i].order) < 0.15)) {
            fail_msg("%s on %s: order %.3f, expected %g", rows[i].solver, rows[i].schedule, order, rows[i].order);
        }
    }
}

/* ---- moments ---- */

static void check_moments(const struct dqg_sched_config *config, double limit) {
    struct dqg_sched sched = sched_make(config);
    dqg_rng_normal(42, 0, samples, SAMPLES);
    dqg_combine(samples, sched.initial_scale, samples, 0, samples, SAMPLES);
    assert_true(run(&sched, samples, SAMPLES, 0, NULL) > 0);
    dqg_sched_free(&context.alloc, &sched);
    double mean = 0, square = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        mean += samples[i] / (double)SAMPLES;
        square += (double)samples[i] * samples[i] / SAMPLES;
    }
    double std = sqrt(square - mean * mean);
    if (!(fabs(mean - gaussian.mean) < limit && fabs(std - gaussian.std) < limit)) {
        fail_msg("%s on %s, eta %g: mean %.4f, deviation %.4f", config->solver, config->schedule, config->eta, mean,
                 std);
    }
}

static void test_moments(void **state) {
    (void)state;
    static const struct {
        const char *schedule, *spacing, *solver;
        double eta;
        int32_t steps;
    } rows[] = {
        {"flow", "linspace", "euler", 0, 100},   {"flow", "linspace", "heun", 0, 30},
        {"linear", "linspace", "euler", 0, 200}, {"linear", "linspace", "heun", 0, 50},
        {"linear", "trailing", "heun", 0, 100},  {"cosine", "linspace", "heun", 0, 300},
        {"linear", "linspace", "ddim", 0, 200},  {"linear", "linspace", "ddim", 0.5, 200},
        {"linear", "linspace", "ddim", 1, 250},  {"linear", "leading", "ddim", 1, 250},
        {"sigmoid", "trailing", "ddim", 1, 250}, {"cosine", "trailing", "ddim", 1, 1000},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = rows[i].schedule;
        config.spacing = rows[i].spacing;
        config.solver = rows[i].solver;
        config.steps = rows[i].steps;
        config.eta = rows[i].eta;
        check_moments(&config, 0.02);
    }
}

/* The noise that one step adds has the amplitude of the formula, and the part that is kept makes up the rest. */
static void test_fresh_noise(void **state) {
    (void)state;
    static const double timesteps[] = {700, 300};
    for (int i = 1; i <= 4; i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = "linear";
        config.solver = "ddim";
        config.timesteps = timesteps;
        config.timestep_count = 2;
        config.eta = i / 4.0;
        struct dqg_sched sched = sched_make(&config);
        const struct dqg_sched_point *from = &sched.points[0];
        const struct dqg_sched_point *to = &sched.points[1];
        for (size_t j = 0; j < SAMPLES; j++) {
            samples[j] = 0.25f;
        }
        assert_int_equal(run(&sched, samples, SAMPLES, 1, NULL), 1);
        double acp_s = from->alpha * from->alpha, acp_t = to->alpha * to->alpha;
        double sd = config.eta * sqrt((1 - acp_t) / (1 - acp_s)) * sqrt(1 - acp_s / acp_t);
        dqg_rng_normal(11, 1, other_samples, SAMPLES);
        for (size_t j = 1; j < 100; j++) {
            double difference = samples[j] - samples[0];
            double expected = sd * ((double)other_samples[j] - other_samples[0]);
            assert_true(fabs(difference - expected) < 1e-6);
        }
        double gain = from->alpha * 0.25 / (acp_s * 0.25 + 1 - acp_s);
        double x0 = 1 + gain * (0.25 - from->alpha);
        double eps = (0.25 - from->alpha * x0) / from->sigma;
        double kept = to->alpha * x0 + sqrt(1 - acp_t - sd * sd) * eps;
        assert_true(fabs(samples[0] - kept - sd * other_samples[0]) < 1e-6);
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* ---- equalities ---- */

static void test_flow_euler_is_ddim(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.shift = 3;
    for (config.steps = 1; config.steps <= 40; config.steps += 3) {
        dqg_rng_normal(1, 0, samples, 64);
        memcpy(other_samples, samples, 64 * sizeof(float));
        config.solver = "euler";
        struct dqg_sched euler = sched_make(&config);
        config.solver = "ddim";
        struct dqg_sched ddim = sched_make(&config);
        assert_int_equal(run(&euler, samples, 64, 0, NULL), config.steps);
        assert_int_equal(run(&ddim, other_samples, 64, 0, NULL), config.steps);
        assert_memory_equal(samples, other_samples, 64 * sizeof(float));
        dqg_sched_free(&context.alloc, &euler);
        dqg_sched_free(&context.alloc, &ddim);
    }
}

/* Euler in k coordinates and DDIM without fresh noise are one path in two coordinates, at every point of it. */
static void test_k_euler_is_ddim(void **state) {
    (void)state;
    enum { N = 64, STEPS = 20 };
    static const char *const schedules[] = {"linear", "scaled-linear", "sigmoid"};
    for (size_t i = 0; i < 3 * 3; i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = schedules[i % 3];
        config.prediction = dqg_predictions[i / 3].piece.name;
        config.steps = STEPS;
        struct dqg_sched euler = sched_make(&config);
        config.solver = "ddim";
        struct dqg_sched ddim = sched_make(&config);
        for (int32_t steps = 1; steps <= STEPS; steps++) {
            dqg_rng_normal(2, 0, other_samples, N);
            dqg_combine(samples, 1 / ddim.points[0].alpha, other_samples, 0, other_samples, N);
            assert_int_equal(run(&euler, samples, N, steps, NULL), steps);
            assert_int_equal(run(&ddim, other_samples, N, steps, NULL), steps);
            for (int j = 0; j < N; j++) {
                double k = samples[j] * ddim.points[steps].alpha;
                assert_true(fabs(k - other_samples[j]) < 1e-5);
            }
        }
        dqg_sched_free(&context.alloc, &euler);
        dqg_sched_free(&context.alloc, &ddim);
    }
}

/* One model told in epsilon, v, x0 or flow gives one trajectory. */
static void test_predictions_agree(void **state) {
    (void)state;
    enum { N = 64 };
    for (size_t i = 0; i < dqg_solver_count * 2; i++) {
        struct dqg_sched_config config = analytic_config();
        config.solver = dqg_solvers[i / 2].piece.name;
        config.schedule = i % 2 == 0 ? "scaled-linear" : "flow";
        config.prediction = "x0";
        config.eta = strcmp(config.solver, "ddim") == 0 && i % 2 == 0 ? 0.7 : 0;
        struct dqg_sched reference = sched_make(&config);
        dqg_rng_normal(3, 0, samples, N);
        dqg_combine(samples, reference.initial_scale, samples, 0, samples, N);
        memcpy(other_samples, samples, N * sizeof(float));
        assert_true(run(&reference, samples, N, 0, NULL) > 0);
        for (size_t p = 0; p < dqg_prediction_count; p++) {
            if (!(dqg_predictions[p].families & (i % 2 == 0 ? DQG_FAMILY_VP : DQG_FAMILY_FLOW))) {
                continue;
            }
            float x[N];
            memcpy(x, other_samples, sizeof(x));
            config.prediction = dqg_predictions[p].piece.name;
            struct dqg_sched sched = sched_make(&config);
            assert_true(run(&sched, x, N, 0, NULL) > 0);
            for (int j = 0; j < N; j++) {
                assert_true(fabs(x[j] - samples[j]) < 1e-5);
            }
            dqg_sched_free(&context.alloc, &sched);
        }
        dqg_sched_free(&context.alloc, &reference);
    }
}

/* ---- contract ---- */

/* A clean last point gives the x0 estimate itself, to the bit; a first step's estimate is the denoiser's answer. */
static void test_estimates(void **state) {
    (void)state;
    enum { N = 16 };
    for (size_t i = 0; i < dqg_solver_count * 2; i++) {
        struct dqg_sched_config config = analytic_config();
        config.solver = dqg_solvers[i / 2].piece.name;
        config.schedule = i % 2 == 0 ? "linear" : "flow";
        struct dqg_sched sched = sched_make(&config);
        const struct dqg_sched_point *first = &sched.points[0];
        float x[N], start[N], x0[N];
        dqg_rng_normal(4, 0, x, N);
        dqg_combine(x, sched.initial_scale, x, 0, x, N);
        memcpy(start, x, sizeof(x));
        assert_true(sched.points[config.steps].sigma == 0);
        assert_true(run(&sched, x, N, 0, x0) > 0);
        assert_memory_equal(x, x0, sizeof(x));
        if (dqg_sched_evaluations(&sched) == 1) {
            double u[N];
            memcpy(x, start, sizeof(x));
            assert_int_equal(run(&sched, x, N, 1, x0), 1);
            for (int j = 0; j < N; j++) {
                start[j] *= (float)first->input_scale;
            }
            analytic_gaussian_x0(&gaussian, first->alpha * first->input_scale, first->sigma * first->input_scale, start,
                                 u, N);
            for (int j = 0; j < N; j++) {
                assert_true(fabs(x0[j] - u[j]) < 2e-4); /* VP: the signal is 1/150 of what is there */
            }
        }
        dqg_sched_free(&context.alloc, &sched);
    }
}

static void test_one_step(void **state) {
    (void)state;
    for (size_t i = 0; i < dqg_solver_count * 2; i++) {
        struct dqg_sched_config config = analytic_config();
        config.solver = dqg_solvers[i / 2].piece.name;
        config.schedule = i % 2 == 0 ? "linear" : "flow";
        config.spacing = "linspace";
        config.steps = 1;
        struct dqg_sched sched = sched_make(&config);
        float x = (float)sched.initial_scale, x0;
        assert_true(run(&sched, &x, 1, 0, &x0) <= dqg_sched_evaluations(&sched));
        if (i % 2 == 1) { /* at sigma = 1 the model knows nothing but the mean */
            assert_true(fabsf(x - 1) < 1e-6f && x == x0);
        }
        dqg_sched_free(&context.alloc, &sched);
    }
}

/*
 * Every solver, with its own eta, on both families: a state copied after any evaluation goes on to the same bits.
 */
static void test_copied_states(void **state) {
    (void)state;
    enum { N = 5, STEPS = 7, X = DQG_SOLVER_BUFFERS, BUFFERS };
    for (size_t i = 0; i < dqg_solver_count * 2; i++) {
        struct dqg_sched_config config = analytic_config();
        config.solver = dqg_solvers[i / 2].piece.name;
        config.schedule = i % 2 == 0 ? "scaled-linear" : "flow";
        config.steps = STEPS;
        config.eta = DQG_ETA_OWN;
        struct dqg_sched sched = sched_make(&config);
        float memory[2][BUFFERS][N] = {{{0}}}, ends[N] = {0};
        int32_t evaluations = INT32_MAX;
        for (int32_t cut = -1; cut < evaluations; cut++) { /* first without a copy */
            struct dqg_sched_state at = {0};
            float(*use)[N] = memory[0];
            dqg_status status = DQG_OK;
            dqg_rng_normal(5, 0, use[X], N);
            dqg_combine(use[X], sched.initial_scale, use[X], 0, use[X], N);
            int32_t done = 0;
            for (; status != DQG_DONE; done++) {
                if (done == cut) {
                    memcpy(memory[1], memory[0], sizeof(memory[0]));
                    memset(memory[0], 0x55, sizeof(memory[0]));
                    use = memory[1];
                }
                for (int j = 0; j < DQG_SOLVER_BUFFERS; j++) {
                    at.history[j] = j < dqg_sched_buffers(&sched) ? use[j] : NULL;
                }
                struct dqg_sched_point point = dqg_sched_request(&sched, &at);
                assert_true(point.sigma <= sched.points[at.step].sigma && point.sigma > 0);
                float output[N], x0[N], scratch[N];
                for (int j = 0; j < N; j++) {
                    output[j] = 0.5f * (float)point.input_scale * use[X][j] + 0.1f;
                }
                uint64_t seed = 3;
                status = dqg_sched_feed(&sched, &at, use[X], output, x0, scratch, N, analytic_normal_noise, &seed);
                assert_true(status >= 0);
            }
            if (cut < 0) {
                memcpy(ends, use[X], sizeof(ends));
                evaluations = done;
            }
            assert_int_equal(done, evaluations);
            assert_memory_equal(ends, use[X], sizeof(ends));
        }
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* Heun's half step: where it evaluates, what x holds meanwhile, and what a state copied in the middle does. */
static void test_heun_phases(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.solver = "heun";
    config.steps = 3;
    struct dqg_sched sched = sched_make(&config);
    assert_int_equal(dqg_sched_buffers(&sched), 1);
    assert_int_equal(dqg_sched_evaluations(&sched), 2);
    float x = 0.5f, x0, scratch, history = 0;
    struct dqg_sched_state at = {.history = {&history}};
    assert_true(dqg_sched_request(&sched, &at).sigma == sched.points[0].sigma);
    assert_int_equal(dqg_sched_feed(&sched, &at, &x, (float[]){3}, &x0, &scratch, 1, NULL, NULL), DQG_PENDING);
    assert_true(at.step == 0 && at.phase == 1);
    assert_true(fabsf(x - (0.5f - 1)) < 1e-6f); /* 0.5 + 3 (2/3 - 1) */
    assert_true(fabsf(x0 - (0.5f - 3)) < 1e-6f);
    assert_true(dqg_sched_request(&sched, &at).sigma == sched.points[1].sigma);

    struct dqg_sched_state saved = at;
    float saved_history = history, saved_x = x;
    saved.history[0] = &saved_history;
    assert_int_equal(dqg_sched_feed(&sched, &at, &x, (float[]){1}, &x0, &scratch, 1, NULL, NULL), DQG_OK);
    assert_true(at.step == 1 && at.phase == 0);
    assert_true(fabsf(x - (0.5f - 2 / 3.0f)) < 1e-6f); /* 0.5 + (3 + 1) / 2 (2/3 - 1) */
    assert_int_equal(dqg_sched_feed(&sched, &saved, &saved_x, (float[]){1}, &x0, &scratch, 1, NULL, NULL), DQG_OK);
    assert_true(saved_x == x);

    at.step = 2; /* the last step is Euler's */
    assert_int_equal(dqg_sched_feed(&sched, &at, &x, (float[]){1}, &x0, &scratch, 1, NULL, NULL), DQG_DONE);
    assert_true(at.step == 3 && at.phase == 0);
    dqg_sched_free(&context.alloc, &sched);
}

/* The widest lists that are taken: every coefficient is still a float. */
static void test_extremes(void **state) {
    (void)state;
    static const double lists[][4] = {
        {1e12, 1e-12, 0}, {1e12, 1, 0}, {1, 1e-12, 0}, {1e12, 9.9e11, 0}, {1e-11, 1e-12, 0}};
    for (size_t i = 0; i < DQG_COUNT_OF(lists) * dqg_solver_count * dqg_prediction_count; i++) {
        struct dqg_sched_config config = analytic_config();
        size_t prediction = i / DQG_COUNT_OF(lists) % dqg_prediction_count;
        config.sigmas = lists[i % DQG_COUNT_OF(lists)];
        config.sigma_count = 3;
        config.solver = dqg_solvers[i / DQG_COUNT_OF(lists) / dqg_prediction_count].piece.name;
        config.prediction = dqg_predictions[prediction].piece.name;
        bool vp = (dqg_predictions[prediction].families & DQG_FAMILY_VP) != 0;
        bool edm = dqg_predictions[prediction].families == DQG_FAMILY_EDM;
        bool k_coordinates = dqg_solvers[i / DQG_COUNT_OF(lists) / dqg_prediction_count].k_coordinates;
        if (edm ? !k_coordinates : !vp && config.sigmas[0] > 1) {
            continue;
        }
        config.schedule = vp ? "linear" : edm ? "edm" : "flow";
        struct dqg_sched sched = sched_make(&config);
        float x = (float)sched.initial_scale, x0;
        assert_true(run(&sched, &x, 1, 0, &x0) > 0);
        assert_true(isfinite(x) && isfinite(x0));
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* Nothing to do, and nothing touched. */
static void test_empty(void **state) {
    (void)state;
    for (size_t i = 0; i < dqg_solver_count; i++) {
        struct dqg_sched_config config = analytic_config();
        config.solver = dqg_solvers[i].piece.name;
        config.steps = 4;
        struct dqg_sched sched = sched_make(&config);
        assert_true(run(&sched, NULL, 0, 0, NULL) >= 4);
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* A state outside the plan is a bug of the caller: reported in release builds. */
static void test_bad_state(void **state) {
    (void)state;
#ifdef NDEBUG
    struct dqg_sched_config config = analytic_config();
    struct dqg_sched sched = sched_make(&config);
    float x = 0, x0 = 0, scratch;
    static const struct dqg_sched_state bad[] = {{.step = 10}, {.step = -1}, {.phase = 1}, {.phase = -1}};
    for (size_t i = 0; i < DQG_COUNT_OF(bad); i++) {
        struct dqg_sched_state at = bad[i];
        assert_true(dqg_sched_request(&sched, &at).sigma == 0);
        assert_int_equal(dqg_sched_feed(&sched, &at, &x, &x, &x0, &scratch, 1, NULL, NULL), DQG_ERROR_INTERNAL);
    }
    dqg_sched_free(&context.alloc, &sched);
    config.schedule = "linear";
    config.solver = "ddim";
    config.eta = 1;
    sched = sched_make(&config);
    struct dqg_sched_state at = {0};
    assert_int_equal(dqg_sched_feed(&sched, &at, &x, &x, &x0, &scratch, 1, NULL, NULL), DQG_ERROR_INTERNAL);
    dqg_sched_free(&context.alloc, &sched);
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),           cmocka_unit_test(test_moments),
        cmocka_unit_test(test_fresh_noise),     cmocka_unit_test(test_flow_euler_is_ddim),
        cmocka_unit_test(test_k_euler_is_ddim), cmocka_unit_test(test_predictions_agree),
        cmocka_unit_test(test_estimates),       cmocka_unit_test(test_one_step),
        cmocka_unit_test(test_heun_phases),     cmocka_unit_test(test_copied_states),
        cmocka_unit_test(test_extremes),        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_bad_state),
    };
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
