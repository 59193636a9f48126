/* SPDX-License-Identifier: MIT */
/*
 * What solvers draw from a mixture in the plane: 20000 chains from the exact marginal at the largest noise level,
 * against as many samples of the mixture, by sliced 2-Wasserstein distance. Between two sets of true samples it is
 * about 0.05.
 */
#include <stdlib.h>

#include "sched_check.h"
#include "support/rng.h"

enum { CHAINS = 20000, DIRECTIONS = 64 };

static float start[2 * CHAINS], truth[2 * CHAINS], x[2 * CHAINS], projected[2][CHAINS];

/* Samples of the mixture: components in their exact shares. */
static void draw_mixture(uint64_t seed, float *out) {
    static const double mean[3][2] = {{2, 0}, {-1, 1.5}, {-0.5, -2}};
    static const double std[3] = {0.25, 0.40, 0.30};
    dqg_rng_normal(seed, 0, out, 2 * CHAINS);
    for (int i = 0; i < 2 * CHAINS; i++) {
        int share = i / 2 % 10;
        int k = share < 5 ? 0 : share < 8 ? 1 : 2;
        out[i] = (float)(mean[k][i % 2] + std[k] * out[i]);
    }
}

static int setup(void **state) {
    (void)state;
    sched_setup(state);
    draw_mixture(1, start);
    draw_mixture(2, truth);
    return 0;
}

static int compare_floats(const void *a, const void *b) {
    float p = *(const float *)a, q = *(const float *)b;
    return (p > q) - (p < q);
}

static double sliced_distance(void) {
    double total = 0;
    for (int d = 0; d < DIRECTIONS; d++) {
        double angle = 3.14159265358979323846 * (d + 0.5) / DIRECTIONS;
        for (int set = 0; set < 2; set++) {
            const float *from = set == 0 ? x : truth;
            for (int i = 0; i < CHAINS; i++) {
                projected[set][i] = (float)(cos(angle) * from[2 * i] + sin(angle) * from[2 * i + 1]);
            }
            qsort(projected[set], CHAINS, sizeof(float), compare_floats);
        }
        for (int i = 0; i < CHAINS; i++) {
            double gap = (double)projected[0][i] - projected[1][i];
            total += gap * gap;
        }
    }
    return sqrt(total / CHAINS / DIRECTIONS);
}

static void check(const char *solver, bool flow, double shift, int32_t n, double expected) {
    struct dqg_sched_config config = analytic_config();
    config.solver = solver;
    config.schedule = flow ? "flow" : "scaled-linear";
    config.spacing = flow ? "linspace" : "karras";
    config.shift = shift;
    config.eta = DQG_ETA_OWN;
    config.steps = n;
    struct dqg_sched sched;
    assert_int_equal(dqg_sched_init(&context, &config, &sched), DQG_OK);
    dqg_rng_normal(3, 0, x, 2 * CHAINS);
    for (int i = 0; i < 2 * CHAINS; i++) {
        x[i] = (float)(sched.points[0].alpha * start[i] + sched.points[0].sigma * x[i]);
    }
    uint64_t seed = 4;
    struct analytic_job job = {.sched = &sched,
                               .denoiser = analytic_mixture_x0,
                               .x = x,
                               .n = 2 * CHAINS,
                               .noise = analytic_normal_noise,
                               .user = &seed};
    assert_true(analytic_run(&job) > 0);
    dqg_sched_free(&context.alloc, &sched);
    double distance = sliced_distance();
    if (!(distance < expected + 0.03)) {
        fail_msg("%s, %d steps: distance %.3f, expected %.3f", solver, (int)n, distance, expected);
    }
}

static void test_levels(void **state) {
    (void)state;
    static const int32_t steps[] = {10, 20, 50};
    static const struct {
        const char *solver;
        double distance[3];
    } rows[] = {
        {"euler", {.136, .069, .047}},           {"dpm++-2m", {.078, .049, .046}},
        {"euler-ancestral", {.242, .150, .077}}, {"dpm++-2s-ancestral", {.120, .086, .065}},
        {"dpm++-2m-sde", {.167, .088, .057}},    {"dpm++-3m-sde", {.215, .078, .061}},
        {"er-sde", {.078, .059, .070}},
    };
    for (size_t i = 0; i < 3 * DQG_COUNT_OF(rows); i++) {
        check(rows[i / 3].solver, false, 1, steps[i % 3], rows[i / 3].distance[i % 3]);
    }
}

static void test_flow(void **state) {
    (void)state;
    static const int32_t steps[] = {4, 10, 20, 50};
    static const struct {
        const char *solver;
        double shift, distance[4];
    } rows[] = {
        {"euler", 1, {.243, .108, .065, .052}},
        {"heun", 1, {.103, .055, .054, .054}},
        {"euler", 3, {.358, .125, .078, .056}},
    };
    for (size_t i = 0; i < 4 * DQG_COUNT_OF(rows); i++) {
        check(rows[i / 4].solver, true, rows[i / 4].shift, steps[i % 4], rows[i / 4].distance[i % 4]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_flow)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
