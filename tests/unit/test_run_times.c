/* SPDX-License-Identifier: MIT */
/*
 * Times of their own for parts of a latent: equal times give the bits of a run with one; different ones those of runs
 * that stand there as a whole; held parts stay as they are, whatever the network says of them; published numbers.
 */
#include <math.h>
#include <stdlib.h>

#include "context_check.h"
#include "host_run.h"
#include "model_fixture.h"

enum { STEPS = 5, MOST = 120 };

/* Solvers on both families, by a running number. */
static dqg_scheduler *every_scheduler(int32_t index) {
    char solver[32];
    if (!host_solver(index / 2, solver)) {
        return NULL;
    }
    return host_scheduler(context, solver, index % 2 == 0 ? "scaled-linear" : "flow", "linspace", STEPS);
}

static void set_steps(dqg_run *run, const int32_t *steps, int32_t count) {
    assert_int_equal(dqg_run_times(run), count);
    assert_ok(dqg_run_set_steps(run, steps, count));
}

static void test_equal_times(void **state) {
    (void)state;
    static const struct host shapes[] = {
        {.shape = {4}, .rank = 1}, {.shape = {2, 3, 5}, .rank = 3}, {.shape = {2, 2, 3, 7}, .rank = 4}};
    dqg_scheduler *scheduler;
    for (int32_t i = 0; (scheduler = every_scheduler(i)) != NULL; i++) {
        for (int32_t axes = 1; axes <= 4; axes++) {
            struct host one = shapes[i % 3];
            struct host many = one;
            float a[MOST], b[MOST];
            if (axes > one.rank) {
                continue;
            }
            host_start(&one, context, scheduler, 7, 0);
            host_start(&many, context, scheduler, 7, axes);
            for (dqg_status status = DQG_OK; status != DQG_DONE;) {
                status = host_evaluate(&one);
                assert_int_equal(host_evaluate(&many), status);
                for (int32_t source = DQG_SOURCE_LATENT; source <= DQG_SOURCE_X0; source++) {
                    host_read(&one, source, a);
                    host_read(&many, source, b);
                    assert_memory_equal(a, b, host_size(&one) * sizeof *a);
                }
            }
            dqg_run_destroy(one.run);
            dqg_run_destroy(many.run);
        }
        dqg_scheduler_release(scheduler);
    }
}

/* Save, restore into another run of the same making, which goes on. */
static void move_on(struct host *host, dqg_scheduler *scheduler) {
    struct host other = *host;
    size_t size;
    assert_ok(dqg_run_state_size(host->run, &size));
    char *saved = malloc(size);
    assert_ok(dqg_run_save(host->run, saved, size));
    host_start(&other, context, scheduler, 3, 2);
    assert_ok(dqg_run_restore(other.run, saved, size));
    dqg_run_destroy(host->run);
    free(saved);
    *host = other;
}

/* Frames that stand apart, one of them held: each ends as in a run that starts at its point as a whole. */
static void test_frames_apart(void **state) {
    (void)state;
    static const int32_t steps[] = {STEPS - 1, 0, STEPS, 2, 3, 1};
    enum { FRAMES = 6, FRAME = 5, SIZE = FRAMES * FRAME };
    dqg_scheduler *scheduler;
    for (int32_t i = 0; (scheduler = every_scheduler(i)) != NULL; i++) {
        struct host apart = {.shape = {2, 3, 5}, .rank = 3};
        float start[SIZE], ends[SIZE], expected[SIZE];
        host_start(&apart, context, scheduler, 7, 2);
        host_read(&apart, DQG_SOURCE_LATENT, start);
        set_steps(apart.run, steps, FRAMES);
        for (dqg_status status = DQG_OK; status != DQG_DONE;) {
            status = host_evaluate(&apart);
            move_on(&apart, scheduler);
        }
        host_read(&apart, DQG_SOURCE_LATENT, ends);
        dqg_run_destroy(apart.run);
        for (int frame = 0; frame < FRAMES; frame++) {
            struct host whole = {.shape = {2, 3, 5}, .rank = 3};
            host_start(&whole, context, scheduler, 7, 0);
            assert_ok(dqg_run_seek(whole.run, steps[frame]));
            host_advance(&whole, -1);
            host_read(&whole, DQG_SOURCE_LATENT, expected);
            dqg_run_destroy(whole.run);
            assert_memory_equal(ends + frame * FRAME, expected + frame * FRAME, FRAME * sizeof *ends);
        }
        assert_memory_equal(ends + 2 * FRAME, start + 2 * FRAME, FRAME * sizeof *ends);
        dqg_scheduler_release(scheduler);
    }
}

/* What a network says of a held frame does not matter, and the estimate of it is the frame. */
static void test_held(void **state) {
    (void)state;
    enum { FRAME = 4, SIZE = 3 * FRAME };
    static const int32_t steps[] = {STEPS, 0, STEPS};
    dqg_scheduler *scheduler = host_scheduler(context, "heun", "flow", "linspace", STEPS);
    struct host host = {.shape = {1, 3, 4}, .rank = 3};
    float start[SIZE], data[SIZE];
    dqg_tensor_view view = view_f32(data, 1, 3, 4, 0);
    dqg_request request;
    DQG_INIT(&request);
    host_start(&host, context, scheduler, 7, 2);
    set_steps(host.run, steps, 3);
    host_read(&host, DQG_SOURCE_LATENT, start);
    for (int i = 0; i < FRAME; i++) {
        start[i] = 0.25f * (float)i;
    }
    host_write(&host, start);
    for (dqg_status status = DQG_OK; status != DQG_DONE;) {
        double timesteps[3], sigmas[3];
        assert_ok(dqg_run_request(host.run, &request, &view));
        assert_ok(dqg_run_get_times(host.run, NULL, timesteps, sigmas, 3));
        assert_true(timesteps[0] == 0 && sigmas[0] == 0 && timesteps[2] == 0);
        assert_true(timesteps[1] == request.timestep && sigmas[1] == request.sigma && request.sigma > 0);
        assert_memory_equal(data, start, FRAME * sizeof *data); /* at sigma 0 the network sees it as it is */
        for (int i = 0; i < SIZE; i++) {
            data[i] = i / FRAME == 1 ? 0.5f : NAN;
        }
        status = dqg_run_submit(host.run, &view);
        assert_true(status >= 0);
        for (int32_t source = DQG_SOURCE_LATENT; source <= DQG_SOURCE_X0; source++) {
            host_read(&host, source, data);
            assert_memory_equal(data, start, FRAME * sizeof *data);
            assert_memory_equal(data + 2 * FRAME, start + 2 * FRAME, FRAME * sizeof *data);
            assert_true(isfinite(data[FRAME]));
        }
    }
    dqg_run_destroy(host.run);
    dqg_scheduler_release(scheduler);
}

/* DDIM on linear betas with the mixture; timesteps 999, 979, 500, 480, 0, then no noise. */
static dqg_scheduler *frame_scheduler(void) {
    static const double timesteps[] = {999, 979, 500, 480, 0};
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, "ddim"));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "linear"));
    assert_ok(dqg_options_set_floats(options, DQG_SCHEDULER_TIMESTEPS, timesteps, 5));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    dqg_options_destroy(options);
    return scheduler;
}

static void one_step(const int32_t steps[3], const float x[6], float out[6]) {
    dqg_scheduler *scheduler = frame_scheduler();
    struct host host = {.shape = {1, 3, 2}, .rank = 3, .path = HOST_VP, .denoiser = analytic_mixture_x0};
    int32_t after[3];
    host_start(&host, context, scheduler, 7, 2);
    set_steps(host.run, steps, 3);
    host_write(&host, x);
    (void)host_evaluate(&host);
    host_read(&host, DQG_SOURCE_LATENT, out);
    assert_ok(dqg_run_get_times(host.run, after, NULL, NULL, 3));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(after[i], steps[i] + 1);
    }
    dqg_run_destroy(host.run);
    dqg_scheduler_release(scheduler);
}

static void check_numbers(const float *got, const double *expected) {
    for (int i = 0; i < 6; i++) {
        if (!(fabs(got[i] - expected[i]) < 1e-6)) {
            fail_msg("value %d: %.6f, expected %.6f", i, got[i], expected[i]);
        }
    }
}

static void test_numbers(void **state) {
    (void)state;
    static const float x[] = {1.5f, 0.2f, -0.3f, 0.4f, 0.8f, -1.0f};
    static const double apart[] = {1.500874, 0.199690, -0.286147, 0.405492, 0.800854, -0.999936};
    static const double equal[] = {1.530381, 0.199142, -0.286147, 0.405492, 0.825161, -1.001444};
    static const float permuted[] = {0.8f, -1.0f, 1.5f, 0.2f, -0.3f, 0.4f};
    static const int order[] = {2, 0, 1};
    float out[6], other[6];
    one_step((const int32_t[]){4, 2, 0}, x, out);
    check_numbers(out, apart);
    one_step((const int32_t[]){0, 4, 2}, permuted, other); /* frames and times permuted: results permuted */
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(other + 2 * i, out + 2 * order[i], 2 * sizeof *out);
    }
    one_step((const int32_t[]){2, 2, 2}, x, out);
    check_numbers(out, equal);
}

/* The published loop steps conditioning frames from timestep 0 each time: they become the model's estimates and drift.
 */
static void test_published_loop(void **state) {
    (void)state;
    dqg_scheduler *scheduler = frame_scheduler();
    struct host host = {.shape = {1, 2, 2}, .rank = 3, .path = HOST_VP, .denoiser = analytic_mixture_x0};
    float before[4] = {1.5f, 0.2f, 0.3f, -0.1f}, after[4];
    host_start(&host, context, scheduler, 7, 2);
    host_write(&host, before);
    for (int32_t step = 0; step < 5; step++) {
        double s = sqrt(1e-4), estimate[2]; /* acp[0] = 1 - 1e-4 */
        set_steps(host.run, (const int32_t[]){4, step}, 2);
        host_read(&host, DQG_SOURCE_LATENT, before);
        (void)host_evaluate(&host);
        host_read(&host, DQG_SOURCE_LATENT, after);
        analytic_mixture_x0(NULL, sqrt(1 - 1e-4), s, before, estimate, 2);
        assert_true(fabs(after[0] - estimate[0]) < 2e-6 && fabs(after[1] - estimate[1]) < 2e-6);
        assert_true(after[0] != before[0]);
    }
    assert_true(fabsf(after[0] - 1.5f) > 4e-3f);
    dqg_run_destroy(host.run);
    dqg_scheduler_release(scheduler);
}

/* Placing parts where they are already disturbs nothing, not even inside a step. */
static void test_placed_again(void **state) {
    (void)state;
    dqg_scheduler *scheduler = host_scheduler(context, "plms", "flow", "linspace", STEPS);
    struct host plain = {.shape = {2, 3}, .rank = 2}, placed = plain;
    float a[6], b[6];
    int32_t steps[2];
    host_start(&plain, context, scheduler, 7, 1);
    host_start(&placed, context, scheduler, 7, 1);
    for (dqg_status status = DQG_OK; status != DQG_DONE;) {
        assert_ok(dqg_run_get_times(placed.run, steps, NULL, NULL, 2));
        set_steps(placed.run, steps, 2);
        status = host_evaluate(&plain);
        assert_int_equal(host_evaluate(&placed), status);
    }
    host_read(&plain, DQG_SOURCE_LATENT, a);
    host_read(&placed, DQG_SOURCE_LATENT, b);
    assert_memory_equal(a, b, sizeof a);
    dqg_run_destroy(plain.run);
    dqg_run_destroy(placed.run);
    dqg_scheduler_release(scheduler);
}

/* The first step of PLMS takes two evaluations. A frame that is sent back to it lets the other wait for the second. */
static void test_waiting(void **state) {
    (void)state;
    dqg_scheduler *scheduler = host_scheduler(context, "plms", "flow", "linspace", STEPS);
    struct host plain = {.shape = {2, 3}, .rank = 2}, waiting = plain;
    float a[6], b[6];
    host_start(&plain, context, scheduler, 7, 0);
    host_advance(&plain, -1);
    host_start(&waiting, context, scheduler, 7, 1);
    host_advance(&waiting, 2);
    set_steps(waiting.run, (const int32_t[]){2, 0}, 2);
    assert_int_equal(host_evaluate(&waiting), DQG_PENDING);
    assert_int_equal(host_evaluate(&waiting), DQG_OK);
    int32_t at[2];
    assert_ok(dqg_run_get_times(waiting.run, at, NULL, NULL, 2));
    assert_true(at[0] == 3 && at[1] == 1);
    host_advance(&waiting, -1);
    host_read(&plain, DQG_SOURCE_LATENT, a);
    host_read(&waiting, DQG_SOURCE_LATENT, b);
    assert_memory_equal(a, b, 3 * sizeof *a);
    dqg_run_destroy(plain.run);
    dqg_run_destroy(waiting.run);
    dqg_scheduler_release(scheduler);
}

/* ---- with a model ---- */

enum { IMAGES = 3, IMAGE = 4 * 8 * 8 };

static dqg_run *model_run(struct model_fixture *fixture, dqg_scheduler *scheduler, int32_t time_axes) {
    static const int64_t classes[IMAGES] = {0, 2, 4};
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    dqg_run *run;
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, IMAGES));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, classes, IMAGES));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, 2));
    assert_ok(dqg_options_set_int(options, DQG_RUN_TIME_AXES, time_axes));
    assert_ok(dqg_run_create(fixture->context, fixture->model, scheduler, options, &run));
    dqg_options_destroy(options);
    return run;
}

static void finish(dqg_run *run, float *latent) {
    dqg_tensor_view view = view_f32(latent, IMAGES, 4, 8, 8);
    while (dqg_run_step(run) == DQG_OK) {
    }
    assert_int_equal(dqg_run_step(run), DQG_DONE);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
}

static void test_images_of_a_model(void **state) {
    struct model_fixture fixture;
    static const int32_t steps[IMAGES] = {3, STEPS, 0};
    static const char *const solvers[] = {"heun", "dpm++-2m-sde", "unipc"};
    (void)state;
    assert_int_equal(model_fixture_open(&fixture), 0);
    for (int i = 0; i < 3; i++) {
        dqg_scheduler *scheduler = host_scheduler(fixture.context, solvers[i], "flow", "linspace", STEPS);
        float apart[IMAGES * IMAGE], whole[IMAGES * IMAGE];
        dqg_run *run = model_run(&fixture, scheduler, 1);
        set_steps(run, steps, IMAGES);
        finish(run, apart);
        dqg_run_destroy(run);
        for (int image = 0; image < IMAGES; image++) {
            run = model_run(&fixture, scheduler, 0);
            assert_ok(dqg_run_seek(run, steps[image]));
            finish(run, whole);
            dqg_run_destroy(run);
            assert_memory_equal(apart + image * IMAGE, whole + image * IMAGE, IMAGE * sizeof *whole);
        }
        dqg_scheduler_release(scheduler);
    }
    dqg_options *options = make_options(fixture.context, DQG_OPTIONS_RUN);
    dqg_run *run;
    assert_ok(dqg_options_set_int(options, DQG_RUN_TIME_AXES, 2));
    assert_fails(fixture.context, dqg_run_create(fixture.context, fixture.model, NULL, options, &run),
                 DQG_ERROR_UNSUPPORTED);
    dqg_options_destroy(options);
    model_fixture_close(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_times),
        cmocka_unit_test(test_frames_apart),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_published_loop),
        cmocka_unit_test(test_placed_again),
        cmocka_unit_test(test_images_of_a_model),

        cmocka_unit_test(test_waiting),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
