/* SPDX-License-Identifier: MIT */
/*
 * Forks of a run at every half step of every solver, and schedulers changed between steps: what goes on bit for bit,
 * where a changed plan ends, and what is refused.
 */
#include <math.h>
#include <stdlib.h>

#include "context_check.h"
#include "host_run.h"
#include "model_fixture.h"

enum { STEPS = 6, SIZE = 2 * 3 * 5 };

static const struct analytic_gaussian gaussian = {1, 0.5};

static void ends(const struct host *host, float *out) {
    host_advance(host, -1);
    host_read(host, DQG_SOURCE_LATENT, out);
}

/* ---- forks ---- */

/* The copy first, and thrown away, or the original first: neither minds the other. */
static void fork_everywhere(dqg_scheduler *scheduler, int32_t time_axes) {
    float expected[SIZE], out[SIZE];
    struct host plain = {.shape = {2, 3, 5}, .rank = 3};
    host_start(&plain, context, scheduler, 7, time_axes);
    struct host walker = plain;
    assert_ok(dqg_run_fork(plain.run, &walker.run));
    ends(&plain, expected);
    dqg_run_destroy(plain.run);
    for (dqg_status status = DQG_OK; status != DQG_DONE;) {
        struct host copy = walker;
        assert_ok(dqg_run_fork(walker.run, &copy.run));
        ends(&copy, out);
        assert_memory_equal(out, expected, sizeof expected);
        dqg_run_destroy(copy.run);
        status = host_evaluate(&walker);
    }
    host_read(&walker, DQG_SOURCE_LATENT, out);
    assert_memory_equal(out, expected, sizeof expected);
    dqg_run_destroy(walker.run);
}

static void test_every_solver(void **state) {
    (void)state;
    char solver[32];
    for (int32_t i = 0; host_solver(i / 2, solver); i++) {
        dqg_scheduler *scheduler =
            host_scheduler(context, solver, i % 2 == 0 ? "scaled-linear" : "flow", "linspace", STEPS);
        fork_everywhere(scheduler, 0);
        fork_everywhere(scheduler, 2);
        dqg_scheduler_release(scheduler);
    }
}

static void test_generators(void **state) {
    (void)state;
    static const char *const sources[] = {"torch-cpu", "torch-cuda"};
    dqg_scheduler *scheduler = host_scheduler(context, "ddpm", "linear", "linspace", STEPS);
    for (int i = 0; i < 2; i++) {
        struct host host = {.shape = {2, 3, 5}, .rank = 3}, copy = host;
        float a[SIZE], b[SIZE];
        dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
        assert_ok(dqg_options_set_text(options, DQG_RUN_NOISE, sources[i]));
        assert_ok(dqg_run_create_custom(context, scheduler, host.shape, host.rank, options, &host.run));
        dqg_options_destroy(options);
        host_advance(&host, 2);
        assert_ok(dqg_run_fork(host.run, &copy.run));
        ends(&host, a);
        ends(&copy, b);
        assert_memory_equal(a, b, sizeof a);
        dqg_run_destroy(host.run);
        dqg_run_destroy(copy.run);
    }
    dqg_scheduler_release(scheduler);
}

static void read_model(dqg_run *run, float *out) {
    dqg_tensor_view view = view_f32(out, 2, 4, 8, 8);
    while (dqg_run_step(run) == DQG_OK) {
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
}

/* Inside an evaluation; the copy outlives the run, and the handles of both. */
static void test_model(void **state) {
    (void)state;
    struct model_fixture fixture;
    float expected[2 * 4 * 8 * 8], out[2 * 4 * 8 * 8];
    dqg_run *run, *copy;
    assert_int_equal(model_fixture_open(&fixture), 0);
    dqg_scheduler *scheduler = host_scheduler(fixture.context, "heun", "flow", "linspace", STEPS);
    dqg_options *options = make_options(fixture.context, DQG_OPTIONS_RUN);
    const int64_t classes[2] = {1, 3};
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, 2));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, classes, 2));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, 2));
    assert_ok(dqg_run_create(fixture.context, fixture.model, scheduler, options, &run));
    read_model(run, expected);
    dqg_run_destroy(run);
    for (int operators = 0; operators < 120; operators += 13) {
        assert_ok(dqg_run_create(fixture.context, fixture.model, scheduler, options, &run));
        for (int i = 0; i < operators; i++) {
            assert_true(dqg_run_advance(run, 0) >= 0);
        }
        assert_ok(dqg_run_fork(run, &copy));
        read_model(run, out);
        assert_memory_equal(out, expected, sizeof expected);
        dqg_run_destroy(run);
        read_model(copy, out);
        assert_memory_equal(out, expected, sizeof expected);
        dqg_run_destroy(copy);
    }
    dqg_options_destroy(options);
    dqg_scheduler_release(scheduler);
    model_fixture_close(&fixture);
}

/* ---- another scheduler ---- */

/* To an equal plan at the same point: one-step solvers go on as if nothing had happened, the others without history. */
static void test_equal_plan(void **state) {
    (void)state;
    static const char *const solvers[] = {"euler", "ddim", "heun", "ddpm", "euler-ancestral", "dpm++-sde"};
    static const char *const schedules[] = {"flow", "scaled-linear"};
    for (size_t i = 0; i < 12; i++) {
        dqg_scheduler *one = host_scheduler(context, solvers[i / 2], schedules[i % 2], "linspace", STEPS);
        dqg_scheduler *two = host_scheduler(context, solvers[i / 2], schedules[i % 2], "linspace", STEPS);
        float expected[SIZE], out[SIZE];
        for (int32_t at = 0; at < STEPS; at++) {
            for (int32_t near = 0; near < 2; near++) {
                struct host plain = {.shape = {2, 3, 5}, .rank = 3};
                struct host changed = plain;
                host_start(&plain, context, one, 7, 0);
                host_start(&changed, context, one, 7, 0);
                ends(&plain, expected);
                host_advance(&changed, at);
                assert_ok(dqg_run_set_scheduler(changed.run, two, near ? DQG_NEAREST_POINT : at));
                ends(&changed, out);
                assert_memory_equal(out, expected, sizeof out);
                dqg_run_destroy(plain.run);
                dqg_run_destroy(changed.run);
            }
        }
        dqg_scheduler_release(one);
        dqg_scheduler_release(two);
    }
}

/* The end of a run of a Gaussian's denoiser on the way from one plan to another, against the exact end. */
static double changed_error(const char *const first[3], enum host_path path, int32_t before, int32_t at,
                            const char *const second[3], enum host_path path_after, int32_t after) {
    struct host host = {.shape = {1, 4}, .rank = 2, .path = path};
    float start[4], out[4];
    double worst = 0;
    dqg_point point;
    DQG_INIT(&point);
    dqg_scheduler *one = host_scheduler(context, first[0], first[1], first[2], before);
    dqg_scheduler *two = host_scheduler(context, second[0], second[1], second[2], after);
    assert_ok(dqg_scheduler_point(one, 0, &point));
    host.denoiser = analytic_gaussian_x0;
    host.model = &gaussian;
    host_start(&host, context, one, 7, 0);
    host_read(&host, DQG_SOURCE_LATENT, start);
    host_advance(&host, at);
    assert_ok(dqg_run_set_scheduler(host.run, two, DQG_NEAREST_POINT));
    dqg_scheduler_release(one);
    dqg_scheduler_release(two);
    host.path = path_after;
    ends(&host, out);
    dqg_run_destroy(host.run);
    for (int i = 0; i < 4; i++) {
        struct dqg_sched_point from = {.alpha = point.alpha, .sigma = point.sigma}, to = {.alpha = 1};
        worst = fmax(worst, fabs(out[i] - analytic_gaussian_map(&gaussian, &from, &to, start[i])));
    }
    return worst;
}

static void test_changed_plan(void **state) {
    (void)state;
    static const struct {
        const char *first[3], *second[3];
        enum host_path path, path_after;
        int32_t before, at, after;
        double limit;
    } rows[] = {
        /* more steps, fewer steps, another solver with more history, other coordinates, another family */
        {{"euler", "flow", "linspace"}, {"euler", "flow", "linspace"}, HOST_FLOW, HOST_FLOW, 100, 37, 150, 0.02},
        {{"euler", "flow", "linspace"}, {"heun", "flow", "linspace"}, HOST_FLOW, HOST_FLOW, 100, 37, 40, 0.02},
        {{"heun", "flow", "linspace"}, {"unipc-3", "flow", "linspace"}, HOST_FLOW, HOST_FLOW, 60, 20, 40, 0.01},
        {{"unipc-3", "flow", "linspace"}, {"euler", "flow", "linspace"}, HOST_FLOW, HOST_FLOW, 40, 20, 300, 0.01},
        {{"ddim", "linear", "linspace"}, {"heun", "linear", "karras"}, HOST_VP, HOST_K, 200, 80, 40, 0.02},
        {{"heun", "linear", "karras"}, {"ddim", "linear", "linspace"}, HOST_K, HOST_VP, 40, 17, 200, 0.02},
        {{"heun", "linear", "karras"}, {"heun", "flow", "linspace"}, HOST_K, HOST_FLOW, 40, 17, 60, 0.02},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double error = changed_error(rows[i].first, rows[i].path, rows[i].before, rows[i].at, rows[i].second,
                                     rows[i].path_after, rows[i].after);
        if (!(error < rows[i].limit)) {
            fail_msg("row %zu: error %.4f", i, error);
        }
    }
}

/* Held parts stay held and untouched, others go to their own nearest points; the run's state fits its new scheduler. */
static void test_parts(void **state) {
    (void)state;
    static const int32_t steps[3] = {STEPS, 2, 0};
    dqg_scheduler *one = host_scheduler(context, "euler", "flow", "linspace", STEPS);
    dqg_scheduler *two = host_scheduler(context, "dpm++-3m", "flow", "linspace", 2 * STEPS);
    struct host host = {.shape = {1, 3, 5}, .rank = 3};
    float before[15], after[15];
    int32_t at[3];
    size_t small, large;
    host_start(&host, context, one, 7, 2);
    assert_ok(dqg_run_set_steps(host.run, steps, 3));
    (void)host_evaluate(&host);
    host_read(&host, DQG_SOURCE_LATENT, before);
    assert_ok(dqg_run_state_size(host.run, &small));
    assert_ok(dqg_run_set_scheduler(host.run, two, DQG_NEAREST_POINT));
    assert_ok(dqg_run_state_size(host.run, &large));
    assert_int_equal(large - small, 2 * sizeof before);
    assert_ok(dqg_run_get_times(host.run, at, NULL, NULL, 3));
    assert_true(at[0] == 2 * STEPS && at[1] == 6 && at[2] == 2);
    host_read(&host, DQG_SOURCE_LATENT, after);
    assert_memory_equal(before, after, sizeof before);
    ends(&host, after);
    assert_memory_equal(before, after, 5 * sizeof *before);
    assert_true(isfinite(after[5]) && isfinite(after[14]));
    dqg_run_destroy(host.run);
    dqg_scheduler_release(one);
    dqg_scheduler_release(two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_solver), cmocka_unit_test(test_generators),   cmocka_unit_test(test_model),
        cmocka_unit_test(test_equal_plan),   cmocka_unit_test(test_changed_plan), cmocka_unit_test(test_parts),

    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
