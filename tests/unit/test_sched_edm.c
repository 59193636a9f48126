/* SPDX-License-Identifier: MIT */
/*
 * The EDM schedule and its predictions, spacings that came with it, the shift of flows by resolution, and the noise of
 * PFGM++. Tables without a word on their source were computed with SciPy from the formulas in docs/schedulers.md.
 */
#include "sched_check.h"
#include "support/rng.h"

static const struct analytic_gaussian gaussian = {1, 0.5};
static struct dqg_sched sched;

static int teardown(void **state) {
    (void)state;
    dqg_sched_free(&context.alloc, &sched);
    return 0;
}

static void make(const struct dqg_sched_config *config) {
    dqg_sched_free(&context.alloc, &sched);
    sched = sched_make(config);
}

static struct dqg_sched_config edm_config(int32_t steps) {
    struct dqg_sched_config config = analytic_config();
    config.schedule = "edm";
    config.steps = steps;
    config.eta = DQG_ETA_OWN;
    return config;
}

static void assert_relative(double value, double expected, double limit) {
    if (!(fabs(value - expected) <= limit * fabs(expected))) {
        fail_msg("%.12g where %.12g is expected", value, expected);
    }
}

static void assert_sigmas(const double *expected, int32_t count, double limit) {
    assert_int_equal(sched.steps, count);
    for (int32_t i = 0; i < count; i++) {
        assert_relative(sched.points[i].sigma, expected[i], limit);
    }
    assert_true(sched.points[count].sigma == 0);
}

/* Steps as published for CIFAR-10; coordinates; what the network is given. */
static void test_edm_points(void **state) {
    (void)state;
    static const struct {
        int32_t at;
        double sigma;
    } known[] = {{0, 80}, {1, 57.585985}, {2, 40.785574}, {3, 28.374585}, {15, 0.022935}, {16, 0.007528}, {17, 0.002}};
    struct dqg_sched_config config = edm_config(18);
    config.solver = "heun";
    make(&config);
    assert_int_equal(sched.prediction, DQG_PREDICT_EDM);
    assert_true(sched.initial_scale == sched.points[0].sigma);
    for (size_t i = 0; i < DQG_COUNT_OF(known); i++) {
        assert_true(fabs(sched.points[known[i].at].sigma - known[i].sigma) < 6e-7);
    }
    for (int32_t i = 0; i < 18; i++) {
        const struct dqg_sched_point *p = &sched.points[i];
        assert_true(p->alpha == 1);
        assert_relative(p->timestep, log(p->sigma) / 4, 1e-14);
        assert_relative(p->input_scale, 1 / sqrt(0.25 + p->sigma * p->sigma), 1e-14);
    }
    config.solver = "dpm2"; /* points between have the same coordinates */
    make(&config);
    const struct dqg_sched_point *between = &sched.points[18 + 1];
    assert_relative(between->sigma, sqrt(sched.points[0].sigma * sched.points[1].sigma), 1e-14);
    assert_relative(between->timestep, log(between->sigma) / 4, 1e-14);
    assert_relative(between->input_scale, 1 / sqrt(0.25 + between->sigma * between->sigma), 1e-14);
    config.prediction = "v"; /* SVD: data of deviation 1 */
    config.sigma_max = 700;
    make(&config);
    assert_relative(sched.points[0].sigma, 700, 1e-13);
    assert_relative(sched.points[0].input_scale, 1 / sqrt(1 + 700.0 * 700), 1e-14);
}

/* x0 and eps as linear functions of x and the output, in the letters of the paper. */
static void test_edm_predictions(void **state) {
    (void)state;
    static const double sigmas[] = {700, 80, 1, 0.5, 0.002};
    for (size_t i = 0; i < 5; i++) {
        for (int j = 0; j < 2; j++) {
            double s = sigmas[i], d = j == 0 ? 0.5 : 1;
            struct dqg_sched_point point = {.alpha = 1, .sigma = s, .data = d};
            struct dqg_estimate e;
            double skip = d * d / (s * s + d * d), out = s * d / sqrt(s * s + d * d);
            dqg_predictions[DQG_PREDICT_EDM].estimate(&point, &e);
            assert_relative(e.x0_x, skip, 1e-13);
            assert_relative(e.x0_output, out, 1e-13);
            assert_relative(e.eps_x, s / (s * s + d * d), 1e-13);
            assert_relative(e.eps_output, -out / s, 1e-13);
            dqg_predictions[DQG_PREDICT_V].estimate(&point, &e);
            assert_relative(e.x0_x, skip, 1e-13);
            assert_relative(e.x0_output, -out, 1e-13);
        }
    }
}

static float run_one(const struct dqg_sched_config *config, double start) {
    int32_t draws = 0;
    float x = (float)start;
    make(config);
    struct analytic_job job = {.sched = &sched,
                               .denoiser = analytic_gaussian_x0,
                               .model = &gaussian,
                               .x = &x,
                               .n = 1,
                               .noise = analytic_cosine_noise,
                               .user = &draws};
    assert_true(analytic_run(&job) > 0);
    return x;
}

/* One model in four parametrisations takes the same path with every solver that fits, as on a VP schedule at the same
 * noise levels: what is between network and solver differs, the path does not. */
static void test_edm_parametrisations(void **state) {
    (void)state;
    static const char *const predictions[] = {"edm", "v", "epsilon", "x0"};
    static const double sigmas[] = {10, 6, 3, 1, 0.4, 0.1, 0};
    int fitting = 0;
    for (size_t i = 0; i < dqg_solver_count; i++) {
        struct dqg_sched_config config = edm_config(6);
        config.solver = dqg_solvers[i].piece.name;
        if (!dqg_solvers[i].k_coordinates) {
            struct dqg_sched none;
            assert_int_equal(dqg_sched_init(&context, &config, &none), DQG_ERROR_UNSUPPORTED);
            continue;
        }
        fitting++;
        config.sigmas = sigmas;
        config.sigma_count = 7;
        double ends[5];
        for (int j = 0; j < 4; j++) {
            config.prediction = predictions[j];
            ends[j] = run_one(&config, 12.5);
        }
        config.schedule = "scaled-linear";
        config.prediction = "epsilon";
        ends[4] = run_one(&config, 12.5);
        /* Two go by the time, which runs otherwise there. */
        bool timed = dqg_solvers[i].middle_time != NULL || dqg_solvers[i].weights == dqg_deis_time_weights;
        for (int j = 1; j < (timed ? 4 : 5); j++) {
            assert_relative(ends[j], ends[0], 1e-5);
        }
    }
    assert_true(fitting > 20);
}

/* Heun comes to the exact end with second order. */
static void test_edm_order(void **state) {
    (void)state;
    double errors[2];
    for (int i = 0; i < 2; i++) {
        struct dqg_sched_config config = edm_config(i == 0 ? 18 : 36);
        config.solver = "heun";
        double end = run_one(&config, 100);
        const struct dqg_sched_point last = {.alpha = 1};
        errors[i] = fabs(end - analytic_gaussian_map(&gaussian, &sched.points[0], &last, 100));
    }
    assert_true(errors[0] < 0.05 && errors[1] < errors[0] / 3);
}

/* ---- spacings ---- */

static void test_spacings(void **state) {
    (void)state;
    static const double polyexponential[] = {79.99999999999997,    3.9264138081662106,   0.2753431016069395,
                                             0.029192367371386158, 0.005160012512519811, 0.0020000000000000005};
    static const double beta[] = {80.0, 70.16650580683428, 50.98464614172436, 29.01735385827562, 9.835494193165712,
                                  0.002};
    static const double rho3[] = {49.99999999999999, 26.73931858056183,  12.113062970172242,
                                  4.118148069501736, 0.7514887792208192, 0.009999999999999995};
    static const double svd[] = {700, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034};
    static const double svd25[] = {699.9999999999998,
                                   252.12587876288413,
                                   90.81065534565215,
                                   42.59122324676324,
                                   26.01161610700267,
                                   15.885999999999996,
                                   12.059924022228737,
                                   9.155342277598505,
                                   7.032481125844906,
                                   5.465709452814809,
                                   4.248,
                                   3.0057637402209907,
                                   2.1267927641307165,
                                   1.5864342372839868,
                                   1.2475143232747237,
                                   0.981,
                                   0.6872637269060867,
                                   0.4814795416114622,
                                   0.34029318962724764,
                                   0.24263289514308212,
                                   0.173,
                                   0.0902441853195496,
                                   0.04707521956063129,
                                   0.019292527712833758,
                                   0.006211687003195471};
    struct dqg_sched_config config = edm_config(6);
    config.spacing = "polyexponential";
    config.rho = 1.5;
    make(&config);
    assert_sigmas(polyexponential, 6, 1e-10);
    config.spacing = "karras";
    config.rho = 3;
    config.sigma_min = 0.01;
    config.sigma_max = 50;
    make(&config);
    assert_sigmas(rho3, 6, 1e-10);
    config = edm_config(6);
    config.spacing = "polyexponential"; /* rho 1 */
    make(&config);
    struct dqg_sched_point even[7];
    memcpy(even, sched.points, sizeof(even));
    config.spacing = "exponential";
    make(&config);
    for (int i = 0; i < 6; i++) {
        assert_relative(sched.points[i].sigma, even[i].sigma, 1e-13);
    }
    config.spacing = "beta-levels";
    make(&config);
    assert_sigmas(beta, 6, 1e-10);
    config.spacing = "ays-svd";
    config.steps = 10;
    make(&config);
    assert_sigmas(svd, 10, 0);
    config.steps = 25;
    make(&config);
    assert_sigmas(svd25, 25, 1e-12);
}

/* stable-diffusion.cpp and Ideogram 4 */
static void test_borrowed_spacings(void **state) {
    (void)state;
    static const double eight[] = {999, 956, 843, 683, 500, 316, 156, 43};
    static const double logit_normal[] = {0.9998766054240137,  0.957441576623344,   0.9157638931604818,
                                          0.8668632271877241,  0.80952395930736,    0.742957398560313,
                                          0.6666666666666666,  0.5805173422558542,  0.4848482422238215,
                                          0.38055106799839133, 0.26897277030825173, 0.1509598534399039};
    struct dqg_sched_config config = analytic_config();
    config.schedule = "linear";
    config.spacing = "smoothstep";
    config.steps = 8;
    make(&config);
    for (int i = 0; i < 8; i++) {
        assert_true(sched.points[i].timestep == eight[i]);
    }
    config.steps = 1000; /* each once, where rounding would repeat some */
    make(&config);
    config = analytic_config();
    config.spacing = "logit-normal";
    config.shift = 2;
    config.shift_power = 1.75;
    config.steps = 12;
    make(&config);
    assert_sigmas(logit_normal, 12, 1e-10);
    for (int i = 1; i < 20; i++) { /* quantiles, back through the distribution */
        double p = i < 10 ? pow(10, -i) : i / 20.0;
        assert_relative(0.5 * erfc(-dqg_normal_quantile(p) / sqrt(2)), p, 1e-12);
        assert_true(dqg_normal_quantile(1 - 0.05 * i) == -dqg_normal_quantile(1 - (1 - 0.05 * i)) || i == 10);
    }
    assert_true(fabs(dqg_normal_quantile(0.5)) < 1e-15);
}

/* Timesteps that were published beside the levels of Align Your Steps; levels at them by either interpolation. */
static void test_ays_timesteps(void **state) {
    (void)state;
    static const struct {
        const char *spacing;
        double timesteps[10];
    } rows[] = {{"ays", {999, 850, 736, 645, 545, 455, 343, 233, 124, 24}},
                {"ays-sdxl", {999, 845, 730, 587, 443, 310, 193, 116, 53, 13}}};
    for (int i = 0; i < 2; i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = "scaled-linear";
        config.spacing = rows[i].spacing;
        make(&config);
        for (int j = 0; j < 10; j++) {
            assert_true(fabs(sched.points[j].timestep - rows[i].timesteps[j]) <= 1);
        }
    }
}

static void test_interpolation(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.schedule = "scaled-linear";
    config.steps = 20;
    static const struct {
        const char *spacing, *interpolation;
        double second;
    } rows[] = {{"linspace", NULL, 10.746844}, {"linspace", "linear", 10.746844}, {"linspace", "log", 10.746802},
                {"normal", NULL, 10.746802},   {"normal", "log", 10.746802},      {"normal", "linear", 10.746844}};
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        config.spacing = rows[i].spacing;
        config.interpolation = rows[i].interpolation;
        make(&config);
        assert_true(fabs(sched.points[1].sigma - rows[i].second) < 6e-7);
    }
    config.spacing = "leading"; /* what a run of these published settings starts from */
    config.steps_offset = 1;
    make(&config);
    assert_true(fabs(sched.initial_scale - 11.073576) < 6e-7);
}

/* ---- shift ---- */

static void test_resolution_shift(void **state) {
    (void)state;
    static const struct {
        int32_t tokens;
        double mu;
    } rows[] = {{256, 0.5}, {1024, 0.63}, {4032, 1.1391666666666667}, {4096, 1.15}};
    struct dqg_sched_config config = analytic_config();
    config.base_shift = 0.5;
    config.max_shift = 1.15;
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        config.image_tokens = rows[i].tokens;
        make(&config);
        for (int j = 1; j < 10; j++) {
            assert_relative(sched.points[j].sigma, exp(rows[i].mu) / (exp(rows[i].mu) + j / (10.0 - j)), 1e-13);
        }
    }
    config.shift_power = 1.7;
    make(&config);
    assert_relative(sched.points[3].sigma, exp(1.15) / (exp(1.15) + pow(1 / 0.7 - 1, 1.7)), 1e-13);
    config.shift_power = 0;
    config.resolution_shift = "sqrt"; /* 3 at 1024 x 1024 is 1.5 at 512 x 512 */
    config.shift = 3;
    config.image_tokens = 1024;
    make(&config);
    assert_relative(sched.points[5].sigma, 1.5 / (1.5 + 1), 1e-13);
}

/* The last level goes where it is told, in the proportion of the others; the first stays. */
static void test_terminal(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.shift = 2;
    make(&config);
    struct dqg_sched_point plain[11];
    memcpy(plain, sched.points, sizeof(plain));
    config.shift_terminal = 0.1;
    make(&config);
    assert_true(sched.points[0].sigma == 1);
    assert_relative(sched.points[9].sigma, 0.1, 1e-14);
    for (int i = 0; i < 10; i++) {
        double expected = 1 - (1 - plain[i].sigma) * 0.9 / (1 - plain[9].sigma);
        assert_relative(sched.points[i].sigma, expected, 1e-13);
        assert_true(sched.points[i].timestep == 1000 * sched.points[i].sigma);
    }
    config.steps = 1;
    make(&config);
    assert_true(sched.points[0].sigma == 1);
}

/* ---- PFGM++ ---- */

enum { POINTS = 4, ENDS = 4000 };
static const double data_points[POINTS][2] = {{2, 0}, {-1, 1.5}, {-0.5, -2}, {0.5, 0.7}};

/* Exact denoiser of the four points; d 0: Gaussian noise. */
static void denoise(double d, double sigma, const double x[2], double x0[2]) {
    double log_weight[POINTS], largest = -INFINITY, total = 0;
    for (int k = 0; k < POINTS; k++) {
        double distance = pow(x[0] - data_points[k][0], 2) + pow(x[1] - data_points[k][1], 2);
        log_weight[k] = d > 0 ? -(2 + d) / 2 * log(distance + sigma * sigma * d) : -distance / (2 * sigma * sigma);
        largest = fmax(largest, log_weight[k]);
    }
    x0[0] = x0[1] = 0;
    for (int k = 0; k < POINTS; k++) {
        double weight = exp(log_weight[k] - largest);
        total += weight;
        x0[0] += weight * data_points[k][0];
        x0[1] += weight * data_points[k][1];
    }
    x0[0] /= total;
    x0[1] /= total;
}

static void denoise_pairs(const void *model, double a, double s, const float *u, double *x0, size_t n) {
    for (size_t i = 0; i + 1 < n; i += 2) {
        denoise(*(const double *)model, s / a, (const double[2]){u[i] / a, u[i + 1] / a}, x0 + i);
    }
}

static void test_pfgm_denoiser(void **state) {
    (void)state;
    static const struct {
        double d, x0[2];
    } rows[] = {{1, {0.454881, 0.116826}},
                {128, {0.516029, 0.076195}},
                {2048, {0.517966, 0.075039}},
                {0, {0.518098, 0.074961}}};
    static const struct {
        double d, largest;
    } gaps[] = {{1, 1.175}, {16, 0.3053}, {128, 0.0476}, {2048, 0.00307}, {65536, 9.6e-5}};
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        double x0[2];
        denoise(rows[i].d, 1, (const double[2]){0.3, -0.4}, x0);
        assert_true(fabs(x0[0] - rows[i].x0[0]) < 6e-7 && fabs(x0[1] - rows[i].x0[1]) < 6e-7);
    }
    for (size_t i = 0; i < DQG_COUNT_OF(gaps); i++) {
        double largest = 0;
        for (int j = 0; j < 169; j++) {
            const double x[2] = {-3 + j % 13 * 0.5, -3 + j / 13 * 0.5};
            double with[2], gaussian_x0[2];
            denoise(gaps[i].d, 1, x, with);
            denoise(0, 1, x, gaussian_x0);
            largest = fmax(largest, fmax(fabs(with[0] - gaussian_x0[0]), fabs(with[1] - gaussian_x0[1])));
        }
        assert_relative(largest, gaps[i].largest, 0.01);
    }
}

/* Lengths of 3072 dimensions; the direction stays; D = 0 changes no bit. */
static void test_pfgm_prior(void **state) {
    (void)state;
    enum { SIZE = 3072, DRAWS = 20000 };
    static const struct { double d, square, spread; } rows[] = {{128, 3120.76, 0.0644}, {2048, 3075.00, 0.0202}};
    static float z[SIZE], kept[SIZE];
    dqg_rng_normal(5, 0, kept, SIZE);
    struct dqg_sched_config config = edm_config(18);
    make(&config);
    memcpy(z, kept, sizeof(z));
    dqg_sched_shape_noise(&sched, 1, z, SIZE);
    assert_memory_equal(z, kept, sizeof(z));
    for (int i = 0; i < 2; i++) {
        config.pfgm_dimensions = rows[i].d;
        make(&config);
        memcpy(z, kept, sizeof(z));
        dqg_sched_shape_noise(&sched, 1, z, SIZE);
        for (int j = 0; j < SIZE; j++) {
            assert_relative(z[j] / (double)z[0], kept[j] / (double)kept[0], 1e-6);
        }
        double mean = 0, square = 0;
        for (uint64_t seed = 0; seed < DRAWS; seed++) {
            double r = sqrt(rows[i].d * dqg_rng_gamma(seed, 0, SIZE / 2.0) / dqg_rng_gamma(seed, 1, rows[i].d / 2));
            mean += r / DRAWS;
            square += r * r / DRAWS;
        }
        assert_relative(square, rows[i].square, 0.005);
        assert_relative(sqrt(square - mean * mean) / mean, rows[i].spread, 0.03);
        double norm = 0;
        for (int j = 0; j < SIZE; j++) {
            norm += (double)z[j] * z[j];
        }
        double r2 = rows[i].d * dqg_rng_gamma(1, 0, SIZE / 2.0) / dqg_rng_gamma(1, 1, rows[i].d / 2);
        assert_relative(norm, r2, 1e-6);
    }
}

/* From the prior to the data: ends lie on the points, each point gets its share. */
static void test_pfgm_ends(void **state) {
    (void)state;
    static const double dimensions[] = {1, 128, 2048, 0};
    static float x[2 * ENDS];
    for (int i = 0; i < 4; i++) {
        struct dqg_sched_config config = edm_config(18);
        config.solver = "heun";
        config.pfgm_dimensions = dimensions[i];
        make(&config);
        for (uint64_t seed = 0; seed < ENDS; seed++) {
            dqg_rng_normal(seed, 0, x + 2 * seed, 2);
            dqg_sched_shape_noise(&sched, seed, x + 2 * seed, 2);
        }
        dqg_combine(x, sched.initial_scale, x, 0, x, 2 * ENDS);
        struct analytic_job job = {
            .sched = &sched, .denoiser = denoise_pairs, .model = &dimensions[i], .x = x, .n = 2 * ENDS};
        assert_int_equal(analytic_run(&job), 35);
        int near = 0, shares[POINTS] = {0};
        double limit = dimensions[i] == 1 ? 6e-3 : 1e-6;
        for (int j = 0; j < ENDS; j++) {
            int nearest = 0;
            double least = INFINITY;
            for (int k = 0; k < POINTS; k++) {
                double distance = hypot(x[2 * j] - data_points[k][0], x[2 * j + 1] - data_points[k][1]);
                nearest = distance < least ? k : nearest;
                least = fmin(least, distance);
            }
            near += least < limit;
            shares[nearest]++;
        }
        print_message("D = %g: %d of %d ends on a point; %d %d %d %d\n", dimensions[i], near, (int)ENDS, shares[0],
                      shares[1], shares[2], shares[3]);
        assert_true(near >= 0.99 * ENDS);
        for (int k = 0; k < POINTS; k++) {
            assert_true(fabs(shares[k] / (double)ENDS - 0.25) < (dimensions[i] > 0 ? 0.02 : 0.03));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edm_points),
        cmocka_unit_test(test_edm_predictions),
        cmocka_unit_test(test_edm_parametrisations),
        cmocka_unit_test(test_edm_order),
        cmocka_unit_test(test_spacings),
        cmocka_unit_test(test_borrowed_spacings),
        cmocka_unit_test(test_ays_timesteps),
        cmocka_unit_test(test_interpolation),
        cmocka_unit_test(test_resolution_shift),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_pfgm_denoiser),
        cmocka_unit_test(test_pfgm_prior),
        cmocka_unit_test(test_pfgm_ends),
    };
    return cmocka_run_group_tests(tests, sched_setup, teardown);
}
