/* SPDX-License-Identifier: MIT */
/*
 * Whole trajectories against diffusers' schedulers: schedulers/cases.txt names the options, schedulers/trajectories.npy
 * holds what make_scheduler_golden.py recorded. The same function stands for the network, and the noise is that of the
 * same torch generators.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "npy.h"

enum { SAMPLES = 2, ELEMENTS = 16, SIZE = SAMPLES * ELEMENTS, FIRST_SEED = 11, MOST_STEPS = 64 };

/* Of a sample of variance 1. */
static const double tolerance = 1e-5;

struct trajectory {
    char name[64], options[256];
    int steps, evaluations, last, own_start;
    double time_tolerance;
    bool failed;
    const float *levels, *timesteps, *samples; /* [steps + 1], [evaluations], [steps + 1][SIZE] */
};

static struct npy golden;
static FILE *cases;
static dqg_context *context;

static int setup(void **state) {
    (void)state;
    cases = fopen("tests/golden/schedulers/cases.txt", "r");
    bool ready = cases != NULL && dqg_context_create(NULL, &context) == DQG_OK;
    return ready ? npy_read("tests/golden/schedulers/trajectories.npy", &golden) : -1;
}

static int teardown(void **state) {
    (void)state;
    fclose(cases);
    free(golden.data);
    dqg_context_destroy(context);
    return 0;
}

static bool next_case(struct trajectory *t, int64_t *at) {
    char line[512] = "#";
    while (line[0] == '#') {
        if (fgets(line, sizeof line, cases) == NULL) {
            return false;
        }
    }
    t->failed = false;
    assert_int_equal(sscanf(line, "%63[^|]|%d|%d|%d|%d|%lf|%255[^\n]", t->name, &t->steps, &t->evaluations, &t->last,
                            &t->own_start, &t->time_tolerance, t->options),
                     7);
    assert_true(t->steps < MOST_STEPS && t->last <= t->steps);
    t->levels = golden.data + *at;
    t->timesteps = t->levels + t->steps + 1;
    t->samples = t->timesteps + t->evaluations;
    *at += t->steps + 1 + t->evaluations + (t->steps + 1) * SIZE;
    assert_true(*at <= golden.count);
    return true;
}

/* "name=value name=value"; "@" stands for the recorded list. */
static dqg_scheduler *make_scheduler(const struct trajectory *t) {
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    char text[256], *rest = NULL;
    double list[MOST_STEPS];
    snprintf(text, sizeof text, "%s", t->options);
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = '\0';
        bool sigmas = strcmp(word, "sigmas") == 0;
        if (strcmp(value, "@") != 0) {
            assert_ok(dqg_options_parse(options, word, value));
            continue;
        }
        for (int i = 0; i < t->steps + sigmas; i++) {
            list[i] = sigmas ? t->levels[i] : t->timesteps[i];
        }
        assert_ok(dqg_options_set_floats(options, sigmas ? DQG_SCHEDULER_SIGMAS : DQG_SCHEDULER_TIMESTEPS, list,
                                         t->steps + sigmas));
    }
    dqg_scheduler *scheduler;
    dqg_status status = dqg_scheduler_create(context, options, &scheduler);
    if (status != DQG_OK) {
        fail_msg("%s: %s", t->name, dqg_context_error(context));
    }
    dqg_options_destroy(options);
    return scheduler;
}

static dqg_run *make_run(dqg_scheduler *scheduler) {
    static const int64_t shape[2] = {SAMPLES, ELEMENTS};
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_set_int(options, DQG_RUN_SEED, FIRST_SEED));
    assert_ok(dqg_options_set_text(options, DQG_RUN_NOISE, "torch-cpu"));
    dqg_run *run;
    assert_ok(dqg_run_create_custom(context, scheduler, shape, 2, options, &run));
    dqg_options_destroy(options);
    return run;
}

/* From the channels of each sample what is said of them, and of their variance. */
static void network(float *values, double timestep, float (*twice)[2][ELEMENTS]) {
    for (int i = 0; i < SIZE; i++) {
        double u = values[i];
        twice[i / ELEMENTS][0][i % ELEMENTS] = values[i] =
            (float)(0.9 * tanh(1.2 * u + 0.3) - 0.25 * sin(2 * u + 0.004 * timestep));
        twice[i / ELEMENTS][1][i % ELEMENTS] = (float)sin(3 * u + 0.01 * timestep);
    }
}

static dqg_point point_at(const dqg_scheduler *scheduler, int32_t index) {
    dqg_point point;
    DQG_INIT(&point);
    assert_ok(dqg_scheduler_point(scheduler, index, &point));
    return point;
}

/* Tells of the first difference in a trajectory and goes on, so that one run of the test tells all that differ. */
static void check_number(struct trajectory *t, const char *what, int step, double got, double expected, double most) {
    if (!t->failed && !(fabs(got - expected) <= most)) {
        print_error("%s: %s at step %d is %.9g, expected %.9g\n", t->name, what, step, got, expected);
        t->failed = true;
    }
}

static void check_points(struct trajectory *t, const dqg_scheduler *scheduler) {
    assert_int_equal(dqg_scheduler_steps(scheduler), t->steps);
    bool flow = strstr(t->options, "schedule=flow") != NULL;
    for (int i = 0; i <= t->last; i++) {
        dqg_point point = point_at(scheduler, i);
        double level = flow ? point.sigma : point.sigma / point.alpha;
        check_number(t, "noise level", i, level, t->levels[i], tolerance * fmax(t->levels[i], 0.1));
    }
}

static void check_sample(struct trajectory *t, const dqg_scheduler *scheduler, dqg_run *run, int step) {
    float sample[SIZE];
    dqg_tensor_view view = view_f32(sample, SAMPLES, ELEMENTS, 0, 0);
    dqg_point point = point_at(scheduler, step);
    const float *expected = t->samples + step * SIZE;
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    for (int i = 0; i < SIZE; i++) {
        check_number(t, "sample", step, sample[i] / hypot(point.alpha, point.sigma), expected[i],
                     tolerance * fmax(fabs(expected[i]), 1));
    }
}

static void write_start(const struct trajectory *t, const dqg_scheduler *scheduler, dqg_run *run) {
    float sample[SIZE];
    dqg_tensor_view view = view_f32(sample, SAMPLES, ELEMENTS, 0, 0);
    dqg_point point = point_at(scheduler, 0);
    for (int i = 0; i < SIZE; i++) {
        sample[i] = (float)(t->samples[i] * hypot(point.alpha, point.sigma));
    }
    assert_ok(dqg_run_write(run, &view));
}

static void check_trajectory(struct trajectory *t) {
    float values[SIZE], twice[SAMPLES][2][ELEMENTS];
    dqg_tensor_view view = view_f32(values, SAMPLES, ELEMENTS, 0, 0);
    dqg_tensor_view both = view_f32(&twice[0][0][0], SAMPLES, 2 * ELEMENTS, 0, 0);
    bool learned = strstr(t->options, "variance=learned") != NULL;
    dqg_request request;
    DQG_INIT(&request);
    dqg_scheduler *scheduler = make_scheduler(t);
    check_points(t, scheduler);
    dqg_run *run = make_run(scheduler);
    if (t->own_start) {
        check_sample(t, scheduler, run, 0);
    } else {
        write_start(t, scheduler, run);
    }
    int step = 0;
    for (int evaluation = 0; step < t->last; evaluation++) {
        assert_true(evaluation < t->evaluations);
        assert_ok(dqg_run_request(run, &request, &view));
        check_number(t, "timestep", step, request.timestep, t->timesteps[evaluation], t->time_tolerance);
        network(values, t->timesteps[evaluation], twice);
        dqg_status status = dqg_run_submit(run, learned ? &both : &view);
        assert_true(status >= 0);
        if (status != DQG_PENDING) {
            check_sample(t, scheduler, run, ++step);
        }
    }
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
}

static void test_trajectories(void **state) {
    struct trajectory t;
    int64_t at = 0;
    int failures = 0;
    (void)state;
    while (next_case(&t, &at)) {
        check_trajectory(&t);
        failures += t.failed;
    }
    assert_int_equal(failures, 0);
    assert_int_equal(at, golden.count);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trajectories)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
