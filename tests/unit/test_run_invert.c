/* SPDX-License-Identifier: MIT */
/*
 * Inversion: a sample led back to noise and sampled again returns. Exactly where the network always says the same, with
 * a first-order error on a Gaussian, through the request loop and with a model; what has no inverse is refused.
 */
#include <math.h>

#include "context_check.h"
#include "host_run.h"
#include "model_fixture.h"

enum { COUNT = 6 };

static const struct analytic_gaussian gaussian = {1, 0.5};
static const float sample[COUNT] = {1.7f, 0.4f, 1.0f, -0.2f, 0.9f, 1.2f};

static dqg_scheduler *invert(dqg_scheduler *scheduler) {
    dqg_scheduler *inverse;
    assert_ok(dqg_scheduler_invert(context, scheduler, &inverse));
    assert_int_equal(dqg_scheduler_steps(inverse), dqg_scheduler_steps(scheduler));
    return inverse;
}

/* There and back; noise receives what is between. */
static void round_trip(struct host host, dqg_scheduler *scheduler, float *noise, float *back) {
    dqg_scheduler *ways[2] = {invert(scheduler), scheduler};
    float x[COUNT];
    memcpy(x, sample, sizeof x);
    for (int way = 0; way < 2; way++) {
        host_start(&host, context, ways[way], 7, 0);
        host_write(&host, x);
        host_advance(&host, -1);
        host_read(&host, DQG_SOURCE_LATENT, x);
        memcpy(way == 0 ? noise : back, x, sizeof x);
        dqg_run_destroy(host.run);
    }
    dqg_scheduler_release(ways[0]);
}

static const struct {
    const char *solver, *schedule;
    enum host_path path;
} cases[] = {{"euler", "flow", HOST_FLOW}, {"ddim", "flow", HOST_FLOW}, {"heun", "flow", HOST_FLOW},
             {"ddim", "linear", HOST_VP},  {"euler", "linear", HOST_K}, {"heun", "linear", HOST_K}};
enum { CASES = 6 };

/* A network whose output is always 0.3. */
static dqg_status constant_evaluate(const struct host *host) {
    float data[COUNT];
    dqg_tensor_view view = view_f32(data, COUNT, 0, 0, 0);
    dqg_request request;
    DQG_INIT(&request);
    dqg_status status = dqg_run_request(host->run, &request, &view);
    for (int i = 0; i < COUNT; i++) {
        data[i] = 0.3f;
    }
    return status == DQG_OK ? dqg_run_submit(host->run, &view) : status;
}

static void test_constant(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct host host = {.shape = {COUNT}, .rank = 1};
        dqg_scheduler *scheduler = host_scheduler(context, cases[i].solver, cases[i].schedule, "linspace", 13);
        dqg_scheduler *ways[2] = {invert(scheduler), scheduler};
        dqg_point point;
        float x[COUNT];
        DQG_INIT(&point);
        memcpy(x, sample, sizeof x);
        for (int way = 0; way < 2; way++) {
            host_start(&host, context, ways[way], 7, 0);
            host_write(&host, x);
            dqg_status status = DQG_OK;
            while (status != DQG_DONE) {
                status = constant_evaluate(&host);
                assert_true(status >= 0);
            }
            host_read(&host, DQG_SOURCE_LATENT, x);
            dqg_run_destroy(host.run);
        }
        assert_ok(dqg_scheduler_point(scheduler, 0, &point));
        double unit = point.alpha > 0 ? fmax(point.sigma, 1) / point.alpha : 1; /* of rounding on the way */
        for (int j = 0; j < COUNT; j++) {
            if (!(fabs(x[j] - sample[j]) < 1e-6 * unit)) {
                fail_msg("%s on %s: %.7f back, not %.7f", cases[i].solver, cases[i].schedule, x[j], sample[j]);
            }
        }
        dqg_scheduler_release(ways[0]);
        dqg_scheduler_release(scheduler);
    }
}

/* Errors of the noise against the exact path, and of the sample that comes back. */
static void errors(int index, int32_t steps, double *there, double *again) {
    struct host host = {.shape = {COUNT}, .rank = 1, .path = cases[index].path};
    dqg_scheduler *scheduler = host_scheduler(context, cases[index].solver, cases[index].schedule, "linspace", steps);
    float noise[COUNT], back[COUNT];
    dqg_point first, last;
    DQG_INIT(&first);
    DQG_INIT(&last);
    host.denoiser = analytic_gaussian_x0;
    host.model = &gaussian;
    round_trip(host, scheduler, noise, back);
    assert_ok(dqg_scheduler_point(scheduler, 0, &first));
    assert_ok(dqg_scheduler_point(scheduler, steps, &last));
    struct dqg_sched_point from = {.alpha = last.alpha, .sigma = last.sigma};
    struct dqg_sched_point to = {.alpha = first.alpha, .sigma = first.sigma};
    *there = *again = 0;
    for (int i = 0; i < COUNT; i++) {
        double exact = analytic_gaussian_map(&gaussian, &from, &to, sample[i]);
        *there = fmax(*there, fabs(noise[i] - exact) / hypot(first.alpha, first.sigma));
        *again = fmax(*again, fabs(back[i] - sample[i]));
    }
    dqg_scheduler_release(scheduler);
}

static void test_gaussian(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        double there[2], again[2];
        int32_t steps = strcmp(cases[i].solver, "heun") == 0 ? 40 : 200; /* above the rounding of floats */
        for (int j = 0; j < 2; j++) {
            errors(i, steps << j, &there[j], &again[j]);
        }
        print_message("%s on %s: noise %.2g %.2g, back %.2g %.2g\n", cases[i].solver, cases[i].schedule, there[0],
                      there[1], again[0], again[1]);
        /* A step between sigma 0 and the first timestep is as long whatever the number of steps: 1e-3 is its share. */
        assert_true(log2(there[0] / there[1]) > 0.9 && (log2(again[0] / again[1]) > 0.9 || again[1] < 1e-3));
        assert_true(again[1] < 0.03);
    }
}

static double distance(const float *a, const float *b, int count) {
    double sum = 0, all = 0;
    for (int i = 0; i < count; i++) {
        sum += ((double)a[i] - b[i]) * (a[i] - b[i]);
        all += (double)b[i] * b[i];
    }
    return sqrt(sum / all);
}

/* A picture made by the sprite model, inverted and made again. */
static void test_sprites(void **state) {
    (void)state;
    enum { PIXELS = 4 * 32 * 32 };
    static float picture[PIXELS], back[PIXELS];
    dqg_tensor_view view = view_f32(picture, 1, 4, 32, 32);
    dqg_model *model;
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    const int64_t class_index = 1;
    double error[2];
    assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, &class_index, 1));
    assert_ok(dqg_model_load(context, "examples/models/sprites.safetensors", NULL, &model));
    for (int j = 0; j < 2; j++) {
        dqg_scheduler *scheduler = host_scheduler(context, "euler", "flow", "linspace", 16 << 2 * j);
        dqg_scheduler *ways[3] = {scheduler, invert(scheduler), scheduler};
        for (int way = j == 0 ? 0 : 1; way < 3; way++) {
            dqg_run *run;
            assert_ok(dqg_run_create(context, model, ways[way], options, &run));
            view.data = way == 1 ? picture : back;
            if (way > 0) {
                assert_ok(dqg_run_write(run, &view));
            }
            while (dqg_run_step(run) == DQG_OK) {
            }
            view.data = way == 0 ? picture : back;
            assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
            dqg_run_destroy(run);
        }
        error[j] = distance(back, picture, PIXELS);
        dqg_scheduler_release(ways[1]);
        dqg_scheduler_release(scheduler);
    }
    print_message("sprite back after inversion: %.3f with 16 steps, %.3f with 64\n", error[0], error[1]);
    assert_true(error[1] < 0.4 * error[0]);
    dqg_options_destroy(options);
    dqg_model_release(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_gaussian),
        cmocka_unit_test(test_sprites),

    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
