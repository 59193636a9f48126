/* SPDX-License-Identifier: MIT */
/*
 * Starting at an earlier point (Analytic-Init): the fitted moments, the Gaussian that a run then starts from, the mean
 * of what comes out beside that of runs which start from plain noise and from the exact marginal; what is refused.
 */
#include <math.h>

#include "context_check.h"
#include "host_run.h"
#include "support/rng.h"

enum { CHAINS = 20000, SIZE = 2 * CHAINS, STEPS = 50 };

static float data[SIZE], noise[SIZE], out[SIZE];

/* Samples of the mixture of analytic.h. */
static void draw_mixture(float *x) {
    static const double means[3][2] = {{2, 0}, {-1, 1.5}, {-0.5, -2}}, stds[3] = {0.25, 0.40, 0.30};
    dqg_rng_normal(1, 0, x, SIZE);
    for (uint32_t i = 0; i < CHAINS; i++) {
        uint32_t pick = i * 7919 % CHAINS; /* shares of exactly .5 .3 .2 */
        int mode = pick < CHAINS / 2 ? 0 : pick < CHAINS * 8 / 10 ? 1 : 2;
        for (int j = 0; j < 2; j++) {
            x[2 * i + j] = (float)(means[mode][j] + stds[mode] * x[2 * i + j]);
        }
    }
}

static void test_fit(void **state) {
    (void)state;
    const float clips[12] = {1, 2, 3, 4, 3, 2, 1, 0, 2, 5, -1, 2};
    float copy[12], mean[4];
    double variance;
    memcpy(copy, clips, sizeof copy);
    dqg_tensor_view samples = view_f32(copy, 3, 2, 2, 0), view = view_f32(mean, 2, 2, 0, 0);
    assert_ok(dqg_run_fit_start(context, &samples, &view, &variance));
    assert_true(mean[0] == 2 && mean[1] == 3 && mean[2] == 1 && mean[3] == 2);
    assert_true(fabs(variance - (2 + 6 + 8 + 8) / 12.0) < 1e-12);
    draw_mixture(data);
    samples = view_f32(data, CHAINS, 2, 0, 0);
    view = view_f32(mean, 2, 0, 0, 0);
    assert_ok(dqg_run_fit_start(context, &samples, &view, &variance));
    assert_true(fabsf(mean[0] - 0.6f) < 5e-3f && fabsf(mean[1] - 0.05f) < 5e-3f && fabs(variance - 1.8285) < 5e-3);
}

/* scaled-linear, DDIM, round(arange(M, 0, -M / 50)) - 1 */
static dqg_scheduler *truncated(int32_t m) {
    double timesteps[STEPS];
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    for (int i = 0; i < STEPS; i++) {
        timesteps[i] = nearbyint(m - i * m / (double)STEPS) - 1;
    }
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, "ddim"));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "scaled-linear"));
    assert_ok(dqg_options_set_floats(options, DQG_SCHEDULER_TIMESTEPS, timesteps, STEPS));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    dqg_options_destroy(options);
    return scheduler;
}

enum start { PLAIN, ANALYTIC, EXACT };

/* Distance of the mean of the ends from that of the data. */
static double mean_error(dqg_scheduler *scheduler, enum start start) {
    struct host host = {.shape = {CHAINS, 2}, .rank = 2, .path = HOST_VP, .denoiser = analytic_mixture_x0};
    float mean[2] = {0.6f, 0.05f};
    dqg_tensor_view view = view_f32(mean, 2, 0, 0, 0);
    host_start(&host, context, scheduler, 5, 0);
    if (start == ANALYTIC) {
        assert_ok(dqg_run_start(host.run, 0, &view, 1.8285));
    } else if (start == EXACT) {
        dqg_tensor_view x0 = view_f32(data, CHAINS, 2, 0, 0), z = view_f32(noise, CHAINS, 2, 0, 0);
        draw_mixture(data);
        dqg_rng_normal(9, 0, noise, SIZE);
        assert_ok(dqg_scheduler_add_noise(context, scheduler, 0, &x0, &z, &x0));
        host_write(&host, data);
    }
    host_advance(&host, -1);
    host_read(&host, DQG_SOURCE_LATENT, out);
    dqg_run_destroy(host.run);
    double sums[2] = {0, 0};
    for (int i = 0; i < SIZE; i++) {
        sums[i % 2] += out[i] / (double)CHAINS;
    }
    return hypot(sums[0] - 0.6, sums[1] - 0.05);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        int32_t m;
        double acp, spread, mean, gain, plain;
    } rows[] = {{1000, 0.004660, 1.001929, 0.040959, 0.00085, 0.040},
                {940, 0.009321, 1.003854, 0.057927, 0.0017, 0.061},
                {800, 0.037195, 1.015291, 0.115716, 0.0072, 0.127},
                {600, 0.161753, 1.064900, 0.241311, 0.0376, 0.257}};
    for (int i = 0; i < 4; i++) {
        dqg_scheduler *scheduler = truncated(rows[i].m);
        struct host host = {.shape = {2, 2}, .rank = 2};
        float plain[4], x[4], mean[2] = {0.6f, 0.05f};
        dqg_tensor_view view = view_f32(mean, 2, 0, 0, 0);
        dqg_point point;
        DQG_INIT(&point);
        assert_ok(dqg_scheduler_point(scheduler, 0, &point));
        assert_true(point.timestep == rows[i].m - 1 && fabs(point.alpha * point.alpha - rows[i].acp) < 1e-6);
        host_start(&host, context, scheduler, 5, 0);
        host_read(&host, DQG_SOURCE_LATENT, plain);
        assert_ok(dqg_run_start(host.run, 0, &view, 1.8285));
        host_read(&host, DQG_SOURCE_LATENT, x);
        dqg_run_destroy(host.run);
        double spread = (x[2] - x[0]) / (plain[2] - plain[0]);
        double centre = x[0] - spread * plain[0];
        double low = x[1] - spread * plain[1];
        assert_true(fabs(spread - rows[i].spread) < 2e-6 && fabs(centre - rows[i].mean) < 2e-6);
        /* Nats that the Gaussian is nearer to the marginal than plain noise, in two dimensions. */
        double gain = spread * spread - 1 - log(spread * spread) + (centre * centre + low * low) / 2;
        assert_true(fabs(gain - rows[i].gain) < 0.01 * rows[i].gain + 5e-6);

        double from_noise = mean_error(scheduler, PLAIN);
        double analytic = mean_error(scheduler, ANALYTIC);
        double exact = mean_error(scheduler, EXACT);
        print_message("start at %d: plain noise %.3f, analytic %.3f, exact %.3f\n", (int)rows[i].m, from_noise,
                      analytic, exact);
        assert_true(fabs(analytic - exact) < 0.02 && fabs(from_noise - rows[i].plain) < 0.02);
        dqg_scheduler_release(scheduler);
    }
}

/* From the middle of a plan, in k coordinates and on flow, with a frame that is held. */
static void test_elsewhere(void **state) {
    (void)state;
    static const char *const schedules[] = {"linear", "flow"};
    for (int i = 0; i < 2; i++) {
        dqg_scheduler *scheduler = host_scheduler(context, "euler", schedules[i], "linspace", 10);
        struct host host = {.shape = {2, 2, 3}, .rank = 3};
        float before[12], after[12], mean[6] = {1, 2, 3, 4, 5, 6};
        dqg_tensor_view view = view_f32(mean, 2, 3, 0, 0);
        dqg_point first, point;
        int32_t at[4];
        DQG_INIT(&first);
        DQG_INIT(&point);
        assert_ok(dqg_scheduler_point(scheduler, 0, &first));
        assert_ok(dqg_scheduler_point(scheduler, 4, &point));
        host_start(&host, context, scheduler, 5, 2);
        assert_ok(dqg_run_set_steps(host.run, (const int32_t[]){10, 0, 0, 0}, 4));
        host_read(&host, DQG_SOURCE_LATENT, before);
        assert_ok(dqg_run_start(host.run, 4, &view, 0.25));
        host_read(&host, DQG_SOURCE_LATENT, after);
        assert_memory_equal(before, after, 3 * sizeof *before);
        for (int j = 3; j < 12; j++) {
            double expected =
                point.alpha * mean[j % 6] + hypot(point.sigma, point.alpha * 0.5) * before[j] / first.sigma;
            assert_true(fabs(after[j] - expected) < 4e-6);
        }
        assert_ok(dqg_run_get_times(host.run, at, NULL, NULL, 4));
        assert_true(at[0] == 10 && at[1] == 4 && at[2] == 4 && at[3] == 4);
        dqg_run_destroy(host.run);
        dqg_scheduler_release(scheduler);
    }
}

/* What hosts with a loop of their own are given is what a run hands out. */
static void test_scale_input(void **state) {
    (void)state;
    dqg_scheduler *scheduler = host_scheduler(context, "euler", "linear", "linspace", 4);
    struct host host = {.shape = {2, 3}, .rank = 2};
    float x[6], input[6], scaled[6];
    dqg_tensor_view from = view_f32(x, 2, 3, 0, 0), to = view_f32(scaled, 2, 3, 0, 0), in = view_f32(input, 2, 3, 0, 0);
    dqg_request request;
    DQG_INIT(&request);
    host_start(&host, context, scheduler, 5, 0);
    for (int32_t step = 0; step < 4; step++) {
        host_read(&host, DQG_SOURCE_LATENT, x);
        assert_ok(dqg_run_request(host.run, &request, &in));
        assert_ok(dqg_scheduler_scale_input(context, scheduler, step, &from, &to));
        assert_memory_equal(scaled, input, sizeof scaled);
        (void)host_evaluate(&host);
    }
    dqg_run_destroy(host.run);
    dqg_scheduler_release(scheduler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_scale_input),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
