/* SPDX-License-Identifier: MIT */
/*
 * Wrong arguments to the calls that take a run off the plain way: times of parts, forks, other schedulers, inversion,
 * other starts; and that a refused call changes nothing.
 */
#include <math.h>

#include "context_check.h"
#include "host_run.h"

enum { STEPS = 6, SIZE = 2 * 3 * 5 };

static void ends(const struct host *host, float *out) {
    host_advance(host, -1);
    host_read(host, DQG_SOURCE_LATENT, out);
}

static void times_of_parts(void **state) {
    (void)state;
    dqg_scheduler *scheduler = host_scheduler(context, "ddpm", "linear", "linspace", STEPS);
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    const int64_t shape[2] = {2, 3};
    dqg_run *run;
    assert_ok(dqg_options_set_int(options, DQG_RUN_TIME_AXES, 3));
    assert_fails(context, dqg_run_create_custom(context, scheduler, shape, 2, options, &run), DQG_ERROR_RANGE);
    assert_ok(dqg_options_set_int(options, DQG_RUN_TIME_AXES, 1));
    assert_ok(dqg_options_set_text(options, DQG_RUN_NOISE, "torch-cpu"));
    assert_fails(context, dqg_run_create_custom(context, scheduler, shape, 2, options, &run), DQG_ERROR_UNSUPPORTED);
    assert_ok(dqg_options_set_text(options, DQG_RUN_NOISE, "native"));
    assert_ok(dqg_run_create_custom(context, scheduler, shape, 2, options, &run));
    dqg_options_destroy(options);

    const int32_t steps[3] = {1, STEPS + 1, 0}, below[2] = {2, -1};
    int32_t at[2];
    double values[2];
    assert_fails(context, dqg_run_set_steps(run, steps, 2), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_steps(run, below, 2), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_steps(run, steps, 1), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_set_steps(run, steps, 3), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_set_steps(run, NULL, 2), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_get_times(run, at, values, values, 1), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_get_times(run, at, NULL, NULL, 2));
    assert_true(at[0] == 0 && at[1] == 0); /* nothing was placed */
    assert_int_equal(dqg_run_times(NULL), 0);
    assert_int_equal(dqg_run_set_steps(NULL, steps, 2), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_get_times(NULL, at, NULL, NULL, 2), DQG_ERROR_ARGUMENT);
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
}

static void forks_and_schedulers(void **state) {
    (void)state;
    dqg_scheduler *one = host_scheduler(context, "heun", "linear", "linspace", STEPS);
    dqg_scheduler *other = host_scheduler(context, "unipc", "linear", "linspace", STEPS + 2);
    struct host host = {.shape = {2, 3, 5}, .rank = 3}, plain = host;
    float expected[SIZE], out[SIZE];
    dqg_run *copy = anything;
    host_start(&plain, context, one, 7, 0);
    ends(&plain, expected);
    host_start(&host, context, one, 7, 0);
    assert_fails(context, dqg_run_set_scheduler(host.run, NULL, 0), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_set_scheduler(host.run, other, STEPS + 3), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_scheduler(host.run, other, -2), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_scheduler(host.run, other, 3), DQG_ERROR_STATE); /* no estimate yet */
    dqg_tensor_view view = view_f32(out, 2, 3, 5, 0);
    dqg_request request;
    DQG_INIT(&request);
    assert_ok(dqg_run_request(host.run, &request, &view));
    assert_ok(dqg_run_fork(host.run, &copy));
    assert_fails(context, dqg_run_submit(copy, &view), DQG_ERROR_STATE); /* nobody asked this one */
    dqg_run_destroy(copy);
    assert_int_equal(host_evaluate(&host), DQG_PENDING);
    assert_fails(context, dqg_run_set_scheduler(host.run, other, 0), DQG_ERROR_STATE);
    ends(&host, out);
    assert_memory_equal(out, expected, sizeof out);
    assert_fails(context, dqg_run_set_scheduler(host.run, other, DQG_NEAREST_POINT), DQG_ERROR_STATE);
    assert_int_equal(dqg_run_set_scheduler(NULL, other, 0), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_fork(NULL, &copy), DQG_ERROR_ARGUMENT);
    assert_null(copy);
    assert_fails(context, dqg_run_fork(host.run, NULL), DQG_ERROR_ARGUMENT);
    dqg_run_destroy(host.run);
    dqg_run_destroy(plain.run);
    dqg_scheduler_release(one);
    dqg_scheduler_release(other);
}

static void refuse(const char *solver, const char *schedule, const char *prediction, double eta) {
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler, *inverse = anything;
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, solver));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, schedule));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_PREDICTION, prediction));
    assert_ok(dqg_options_set_float(options, DQG_SCHEDULER_ETA, eta));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    assert_fails(context, dqg_scheduler_invert(context, scheduler, &inverse), DQG_ERROR_UNSUPPORTED);
    assert_null(inverse);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(options);
}

static void inversion(void **state) {
    (void)state;
    dqg_scheduler *inverse = anything;
    refuse("unipc", "flow", "flow", -1);
    refuse("lcm", "linear", "epsilon", -1);
    refuse("ddpm", "linear", "epsilon", -1);
    refuse("ddim", "linear", "epsilon", 0.5);
    refuse("euler", "flow", "x0", -1);
    assert_fails(context, dqg_scheduler_invert(context, NULL, &inverse), DQG_ERROR_ARGUMENT);
    assert_null(inverse);
    assert_int_equal(dqg_scheduler_invert(NULL, NULL, &inverse), DQG_ERROR_ARGUMENT);
}

static void starts(void **state) {
    (void)state;
    dqg_scheduler *scheduler = host_scheduler(context, "euler", "flow", "linspace", 4), *inverse;
    struct host host = {.shape = {2, 3}, .rank = 2};
    float values[6] = {0};
    double variance = 1;
    dqg_tensor_view mean = view_f32(values, 3, 0, 0, 0), whole = view_f32(values, 2, 3, 0, 0);
    host_start(&host, context, scheduler, 5, 0);
    assert_int_equal(dqg_run_start(NULL, 0, NULL, 1), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_start(host.run, 5, &mean, 1), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_start(host.run, -1, &mean, 1), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_start(host.run, 0, &mean, -1), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_start(host.run, 0, &mean, NAN), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_start(host.run, 0, &whole, 1), DQG_ERROR_ARGUMENT);
    host_advance(&host, 1);
    assert_fails(context, dqg_run_start(host.run, 0, &mean, 1), DQG_ERROR_STATE);
    dqg_run_destroy(host.run);
    assert_ok(dqg_scheduler_invert(context, scheduler, &inverse));
    host_start(&host, context, inverse, 5, 0);
    assert_fails(context, dqg_run_start(host.run, 0, &mean, 1), DQG_ERROR_STATE);
    dqg_run_destroy(host.run);
    dqg_scheduler_release(inverse);
    dqg_scheduler_release(scheduler);
    assert_int_equal(dqg_run_fit_start(NULL, &whole, &mean, &variance), DQG_ERROR_ARGUMENT);
    assert_true(variance == 0);
    assert_fails(context, dqg_run_fit_start(context, NULL, &mean, &variance), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_fit_start(context, &whole, NULL, &variance), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_fit_start(context, &whole, &mean, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_fit_start(context, &whole, &whole, &variance), DQG_ERROR_ARGUMENT);
    whole.shape[0] = 0;
    assert_fails(context, dqg_run_fit_start(context, &whole, &mean, &variance), DQG_ERROR_ARGUMENT);
}

static void scaled_inputs(void **state) {
    (void)state;
    dqg_scheduler *scheduler = host_scheduler(context, "euler", "linear", "linspace", 4);
    float x[6] = {0};
    dqg_tensor_view from = view_f32(x, 2, 3, 0, 0), to = view_f32(x, 2, 3, 0, 0);
    to.shape[1] = 2;
    assert_fails(context, dqg_scheduler_scale_input(context, scheduler, 0, &from, &to), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_scale_input(context, scheduler, 5, &from, &from), DQG_ERROR_RANGE);
    assert_fails(context, dqg_scheduler_scale_input(context, scheduler, 0, NULL, &from), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_scale_input(context, NULL, 0, &from, &from), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_scheduler_scale_input(NULL, scheduler, 0, &from, &from), DQG_ERROR_ARGUMENT);
    dqg_scheduler_release(scheduler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_of_parts), cmocka_unit_test(forks_and_schedulers), cmocka_unit_test(inversion),
        cmocka_unit_test(starts),         cmocka_unit_test(scaled_inputs),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
