/* SPDX-License-Identifier: MIT */
/*
 * The LML correction of updates: numbers computed elsewhere in double, what it must keep, that it is nothing when it is
 * off, and that it looks at each sample alone.
 */
#include <stdlib.h>

#include "sched_check.h"
#include "support/rng.h"

enum { LARGE = 16384 };

/* The corrected update of n after p, as a step of length 1 from 0. */
static void correct(const struct dqg_lml *lml, const float *n, const float *p, float *out, size_t count,
                    size_t samples) {
    struct dqg_sched_point point = {.timestep = 500};
    struct dqg_levels levels = {.count = 1000};
    float *buffers = malloc(2 * count * sizeof(float));
    memcpy(buffers, n, count * sizeof(float));
    memcpy(buffers + count, p, count * sizeof(float));
    memset(out, 0, count * sizeof(float));
    struct dqg_step step = {.from = &point,
                            .levels = &levels,
                            .lml = lml,
                            .kept = 1,
                            .samples = samples,
                            .scratch = buffers,
                            .update = buffers + count,
                            .x = out,
                            .n = count};
    dqg_lml_add(&step, 1, 1);
    assert_memory_equal(buffers + count, n, count * sizeof(float)); /* remembered as it was */
    free(buffers);
}

static void test_numbers(void **state) {
    (void)state;
    static const float n[4] = {1, 2, -1, 0.5f}, p[4] = {0.8f, 2.2f, -0.7f, 0.4f};
    static const struct {
        struct dqg_lml lml;
        double expected[4];
    } rows[] = {
        {{.lambda = 0.001, .kappa = 0.1}, {1.07363248, -1.42292091, -1.66866345, 0.53681624}},
        {{.lambda = 1, .kappa = 0.5}, {1.36167332, 1.13437038, -1.62650270, 0.68083666}},
        {{.lambda = 0.001, .kappa = 1e-6}, {1.00109945, 1.9984489, -1.00172445, 0.50054972}},
        {{.lambda = 0.001, .kappa = 0}, {1, 2, -1, 0.5}},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        float out[4];
        double length = 0;
        correct(&rows[i].lml, n, p, out, 4, 1);
        for (int j = 0; j < 4; j++) {
            length += (double)out[j] * out[j];
            if (!(fabs(out[j] - rows[i].expected[j]) < 1e-6)) {
                fail_msg("case %zu: %.8f where %.8f is expected", i, out[j], rows[i].expected[j]);
            }
        }
        assert_true(fabs(sqrt(length / 6.25) - 1) < 1e-6);
    }
    /* rho is kappa |n|^2 / lambda */
    struct dqg_lml by_kappa = {.lambda = 0.001, .kappa = 1e-5}, by_rho = {.lambda = 0.001, .rho = 6.25e-2};
    float a[4], b[4];
    correct(&by_kappa, n, p, a, 4, 1);
    correct(&by_rho, n, p, b, 4, 1);
    assert_true(fabsf(a[0] - b[0]) < 1e-6f && fabsf(a[1] - b[1]) < 1e-6f && a[1] < 1.99f);
}

/* The formula as published, in double throughout: o = n - e (n.e) / (lambda + |e|^2), at the length of n. */
static void reference(const struct dqg_lml *lml, const float *n, const float *p, double *out, size_t count) {
    long double ne = 0, ee = 0, nn = 0, oo = 0;
    for (size_t i = 0; i < count; i++) {
        long double e = lml->kappa * (long double)p[i] + (1 - (long double)lml->kappa) * n[i];
        ne += n[i] * e;
        ee += e * e;
        nn += (long double)n[i] * n[i];
    }
    for (size_t i = 0; i < count; i++) {
        long double e = lml->kappa * (long double)p[i] + (1 - (long double)lml->kappa) * n[i];
        long double o = n[i] - e * ne / (lml->lambda + ee);
        oo += o * o;
        out[i] = (double)o;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] *= (double)sqrtl(nn / oo);
    }
}

static void test_large(void **state) {
    (void)state;
    static float n[LARGE], p[LARGE], out[LARGE];
    static double expected[LARGE];
    dqg_rng_normal(1, 0, n, LARGE);
    dqg_rng_normal(1, 1, p, LARGE);
    dqg_combine(p, 0.995, n, 0.1, p, LARGE);
    static const double kappas[] = {1e-9, 1e-8, 1e-7, 1e-3, 0.1, 0.5};
    for (size_t k = 0; k < DQG_COUNT_OF(kappas); k++) {
        struct dqg_lml lml = {.lambda = 0.001, .kappa = kappas[k]};
        correct(&lml, n, p, out, LARGE, 1);
        reference(&lml, n, p, expected, LARGE);
        double off = 0, all = 0;
        for (size_t i = 0; i < LARGE; i++) {
            off += (out[i] - expected[i]) * (out[i] - expected[i]);
            all += expected[i] * expected[i];
        }
        if (!(sqrt(off / all) < 1e-6)) {
            fail_msg("kappa %g: relative error %.2g", kappas[k], sqrt(off / all));
        }
    }
}

static void test_samples_are_alone(void **state) {
    (void)state;
    enum { ONE = 100 };
    static float n[3 * ONE], p[3 * ONE], together[3 * ONE], alone[ONE];
    struct dqg_lml lml = {.lambda = 0.001, .rho = 0.2};
    dqg_rng_normal(2, 0, n, 3 * ONE);
    dqg_rng_normal(2, 1, p, 3 * ONE);
    correct(&lml, n, p, together, 3 * ONE, 3);
    for (int i = 0; i < 3; i++) {
        correct(&lml, n + i * ONE, p + i * ONE, alone, ONE, 1);
        assert_memory_equal(together + i * ONE, alone, sizeof(alone));
    }
}

/* ---- in solvers ---- */

/* Pairs near the mixture's modes, so that updates turn. */
static void run(const char *solver, const char *schedule, struct dqg_lml lml, float *x, size_t n) {
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = schedule;
    config.lml = lml;
    struct dqg_sched sched;
    assert_int_equal(dqg_sched_init(&context, &config, &sched), DQG_OK);
    dqg_rng_normal(3, 0, x, n);
    dqg_combine(x, sched.initial_scale, x, 0, x, n);
    struct analytic_job job = {.sched = &sched, .denoiser = analytic_mixture_x0, .x = x, .n = n};
    assert_int_equal(analytic_run(&job), config.steps);
    dqg_sched_free(&context.alloc, &sched);
}

static void test_solvers(void **state) {
    (void)state;
    enum { N = 64 };
    static const char *const fits[][2] = {{"ddim", "linear"},     {"ddim", "vp"},       {"euler", "flow"},
                                          {"dpm++-2m", "linear"}, {"dpm++-2m", "flow"}, {"dpm++-3m", "scaled-linear"},
                                          {"dpm++-3m", "flow"}};
    for (size_t i = 0; i < DQG_COUNT_OF(fits); i++) {
        float plain[N], off[N], weak[N], strong[N];
        run(fits[i][0], fits[i][1], (struct dqg_lml){0}, plain, N);
        run(fits[i][0], fits[i][1], (struct dqg_lml){.lambda = 0.001, .freeze = 0.5}, off, N);
        run(fits[i][0], fits[i][1], (struct dqg_lml){.lambda = 0.001, .rho = 1e-9}, weak, N);
        run(fits[i][0], fits[i][1], (struct dqg_lml){.lambda = 0.001, .rho = 0.1}, strong, N);
        assert_memory_equal(plain, off, sizeof(plain));
        double little = 0, much = 0;
        for (int j = 0; j < N; j++) {
            little = fmax(little, fabs(weak[j] - plain[j]));
            much = fmax(much, fabs(strong[j] - plain[j]));
        }
        if (!(little < 2e-4 && much > 1e-3)) {
            fail_msg("%s on %s: rho 1e-9 changes by %.2g, 0.1 by %.2g", fits[i][0], fits[i][1], little, much);
        }
    }
}

/* Frozen from the start, it never acts; half frozen, the first half of the path is the plain one. */
static void test_freeze(void **state) {
    (void)state;
    enum { N = 16 };
    float plain[N], frozen[N], half[N];
    run("ddim", "linear", (struct dqg_lml){0}, plain, N);
    run("ddim", "linear", (struct dqg_lml){.lambda = 0.001, .rho = 0.3, .freeze = 1}, frozen, N);
    run("ddim", "linear", (struct dqg_lml){.lambda = 0.001, .rho = 0.3, .freeze = 0.5}, half, N);
    double little = 0, much = 0;
    for (int j = 0; j < N; j++) {
        little = fmax(little, fabs(frozen[j] - plain[j]));
        much = fmax(much, fabs(half[j] - plain[j]));
    }
    assert_true(little < 1e-5 && much > 1e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_large),  cmocka_unit_test(test_samples_are_alone),
        cmocka_unit_test(test_solvers), cmocka_unit_test(test_freeze),
    };
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
