/* SPDX-License-Identifier: MIT */
/*
 * Variance of DDPM's noise as the network learned it: its ends are the small and the large one, a guided run with a
 * model is what a host does with the same network and twice the channels, states, refusals. Against diffusers:
 * tests/golden/test_schedulers.c.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "model_fixture.h"

enum { IMAGES = 2, PLANE = 64, IMAGE = 4 * PLANE, VALUES = IMAGES * IMAGE, STEPS = 5 };

struct fixture {
    struct model_fixture plain; /* its network says nothing of a variance */
    dqg_model *model;
    char path[192];
};

static int setup(void **state) {
    static struct fixture fixture;
    *state = &fixture;
    if (model_fixture_open(&fixture.plain) != 0) {
        return -1;
    }
    tiny_path(fixture.path, sizeof fixture.path, fixture.plain.directory, "learned.safetensors");
    if (tiny_dit_write(fixture.path, 64, 2, 4, 2, 4, 8, 5, 1, 3) != 0) {
        return -1;
    }
    return dqg_model_load(fixture.plain.context, fixture.path, NULL, &fixture.model);
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    dqg_model_release(fixture->model);
    model_fixture_close(&fixture->plain);
    return 0;
}

static dqg_scheduler *make_scheduler(struct fixture *fixture, const char *variance) {
    dqg_options *options = make_options(fixture->plain.context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    parse_options(options, "schedule=linear solver=ddpm spacing=leading");
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_VARIANCE, variance));
    assert_ok(dqg_scheduler_create(fixture->plain.context, options, &scheduler));
    dqg_options_destroy(options);
    return scheduler;
}

static dqg_options *run_options(struct fixture *fixture) {
    dqg_options *options = make_options(fixture->plain.context, DQG_OPTIONS_RUN);
    parse_options(options, "seed=7 count=2 classes=1,3 guidance=3");
    return options;
}

static dqg_run *custom(struct fixture *fixture, const char *variance) {
    const int64_t shape[4] = {IMAGES, 4, 8, 8};
    dqg_scheduler *scheduler = make_scheduler(fixture, variance);
    dqg_options *options = run_options(fixture);
    dqg_run *run;
    assert_ok(dqg_run_create_custom(fixture->plain.context, scheduler, shape, 4, options, &run));
    dqg_options_destroy(options);
    dqg_scheduler_release(scheduler);
    return run;
}

static void read_latent(dqg_run *run, float *out) {
    dqg_tensor_view view = view_f32(out, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    dqg_run_destroy(run);
}

/* A network that says the sample is noise, and the same of the variance everywhere: channels last. */
static void constant(struct fixture *fixture, const char *variance, float share, float *out) {
    static float x[VALUES], twice[IMAGES][8][8][8];
    dqg_run *run = custom(fixture, variance);
    dqg_tensor_view view = view_f32(x, IMAGES, 4, 8, 8), both = view_f32(twice, IMAGES, 8, 8, 8);
    dqg_request request;
    DQG_INIT(&request);
    both.strides[0] = sizeof twice[0];
    both.strides[1] = sizeof(float);
    both.strides[2] = sizeof twice[0][0];
    both.strides[3] = sizeof twice[0][0][0];
    while (dqg_run_request(run, &request, &view) == DQG_OK) {
        for (int i = 0; i < VALUES; i++) {
            int channel = i % IMAGE / PLANE, pixel = i % PLANE;
            twice[i / IMAGE][pixel / 8][pixel % 8][channel] = x[i];
            twice[i / IMAGE][pixel / 8][pixel % 8][channel + 4] = share;
        }
        assert_true(dqg_run_submit(run, strcmp(variance, "learned") == 0 ? &both : &view) >= 0);
    }
    read_latent(run, out);
}

static void ends(void **state) {
    static float small[VALUES], large[VALUES], learned[VALUES];
    struct fixture *fixture = *state;
    constant(fixture, "small", 0, small);
    constant(fixture, "large", 0, large);
    constant(fixture, "learned", -1, learned);
    assert_memory_equal(learned, small, sizeof small);
    constant(fixture, "learned", 1, learned);
    double worst = 0, apart = 0;
    for (int i = 0; i < VALUES; i++) {
        worst = fmax(worst, fabs(learned[i] - large[i]));
        apart = fmax(apart, fabs(small[i] - large[i]));
    }
    assert_true(worst < 1e-6 && apart > 1e-2);
}

/* ---- with a model ---- */

static dqg_run *with_model(struct fixture *fixture) {
    dqg_scheduler *scheduler = make_scheduler(fixture, "learned");
    dqg_options *options = run_options(fixture);
    dqg_run *run;
    assert_ok(dqg_run_create(fixture->plain.context, fixture->model, scheduler, options, &run));
    dqg_options_destroy(options);
    dqg_scheduler_release(scheduler);
    return run;
}

static void guided(void **state) {
    static float x[VALUES], host[VALUES], own[VALUES], twice[2][2 * VALUES];
    static const int32_t labels[2][IMAGES] = {{1, 3}, {-1, -1}};
    struct fixture *fixture = *state;
    dqg_run *run = custom(fixture, "learned");
    dqg_tensor_view view = view_f32(x, IMAGES, 4, 8, 8);
    dqg_request request;
    DQG_INIT(&request);
    while (dqg_run_request(run, &request, &view) == DQG_OK) {
        const double times[IMAGES] = {request.timestep, request.timestep};
        dqg_tensor_view both = view_f32(twice[0], IMAGES, 8, 8, 8);
        for (int k = 0; k < 2; k++) {
            dqg_tensor_view output = view_f32(twice[k], IMAGES, 8, 8, 8);
            assert_ok(dqg_model_evaluate(fixture->plain.context, fixture->model, &view, times, labels[k], NULL, NULL,
                                         &output));
        }
        for (int i = 0; i < 2 * VALUES; i++) { /* the mean is guided, the variance that of the condition */
            int mean = i / IMAGE % 2 == 0;
            twice[0][i] = mean ? twice[1][i] + 3 * (twice[0][i] - twice[1][i]) : twice[0][i];
        }
        assert_true(dqg_run_submit(run, &both) >= 0);
    }
    read_latent(run, host);
    run = with_model(fixture);
    while (dqg_run_step(run) == DQG_OK) {
    }
    read_latent(run, own);
    for (int i = 0; i < VALUES; i++) {
        assert_true(fabsf(own[i] - host[i]) <= 2e-5f * fmaxf(fabsf(host[i]), 1));
    }
}

static void saved_states(void **state) {
    static float expected[VALUES], got[VALUES];
    struct fixture *fixture = *state;
    dqg_run *run = with_model(fixture), *other = with_model(fixture);
    size_t size;
    assert_ok(dqg_run_step(run));
    assert_ok(dqg_run_state_size(run, &size));
    void *bytes = malloc(size);
    assert_ok(dqg_run_save(run, bytes, size));
    assert_ok(dqg_run_restore(other, bytes, size));
    free(bytes);
    while (dqg_run_step(run) == DQG_OK) {
    }
    while (dqg_run_advance(other, 50) != DQG_DONE) {
    }
    read_latent(run, expected);
    read_latent(other, got);
    assert_memory_equal(got, expected, sizeof got);
}

/* ---- refusals ---- */

static int32_t no_evaluation(void *user, int32_t pair, const dqg_request *request, const dqg_tensor_view *input,
                             const dqg_tensor_view *output) {
    (void)user, (void)pair, (void)request, (void)input, (void)output;
    return 1;
}

static int32_t no_score(void *user, int32_t pair, const dqg_tensor_view *result, double *score) {
    (void)user, (void)pair, (void)result, (void)score;
    return 1;
}

static void refused(void **state) {
    static float x[VALUES];
    struct fixture *fixture = *state;
    dqg_context *context = fixture->plain.context;
    const int64_t flat[1] = {IMAGES}, shape[2] = {IMAGES, 3};
    dqg_scheduler *learned = make_scheduler(fixture, "learned"), *small = make_scheduler(fixture, "small");
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_boundary boundary;
    dqg_boundary_result found;
    dqg_run *run;
    dqg_request request;
    dqg_tensor_view view = view_f32(x, IMAGES, 4, 8, 8);
    DQG_INIT(&request);
    DQG_INIT(&boundary);
    DQG_INIT(&found);
    boundary.candidates = boundary.pairs = 1;
    boundary.evaluate = no_evaluation;
    boundary.metric = no_score;
    assert_fails(context, dqg_run_create(context, fixture->plain.model, learned, NULL, &run), DQG_ERROR_UNSUPPORTED);
    assert_fails(context, dqg_run_create_custom(context, learned, flat, 1, NULL, &run), DQG_ERROR_UNSUPPORTED);
    assert_ok(dqg_options_set_int(options, DQG_RUN_TIME_AXES, 1));
    assert_fails(context, dqg_run_create_custom(context, learned, shape, 2, options, &run), DQG_ERROR_UNSUPPORTED);
    run = custom(fixture, "learned");
    assert_fails(context, dqg_run_find_noise(run, &boundary, &found), DQG_ERROR_UNSUPPORTED);
    assert_fails(context, dqg_run_set_scheduler(run, small, 0), DQG_ERROR_UNSUPPORTED);
    assert_ok(dqg_run_request(run, &request, &view));
    assert_fails(context, dqg_run_submit(run, &view), DQG_ERROR_ARGUMENT); /* the mean alone */
    assert_fails(context, dqg_run_submit(run, NULL), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_submit_fields(run, &view, &view));
    dqg_run_destroy(run);
    run = custom(fixture, "small");
    assert_fails(context, dqg_run_set_scheduler(run, learned, 0), DQG_ERROR_UNSUPPORTED);
    dqg_run_destroy(run);
    dqg_options_destroy(options);
    dqg_scheduler_release(learned);
    dqg_scheduler_release(small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends),
        cmocka_unit_test(guided),
        cmocka_unit_test(saved_states),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
