/* SPDX-License-Identifier: MIT */
/*
 * Wrong arguments to the public functions of schedulers, and every combination of their pieces: each works to the end
 * or is refused with words.
 */
#include "check.h"
#include "model_fixture.h"

#include <math.h>
#include <stdio.h>

enum { STEPS = 4 };

static void scheduler_arguments(void **state) {
    struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    dqg_scheduler *scheduler = anything;
    dqg_options *wrong = make_options(context, DQG_OPTIONS_RUN);
    dqg_point point;
    float data[3] = {1, 2, 3};
    dqg_tensor_view three = view_f32(data, 3, 0, 0, 0), two = view_f32(data, 2, 0, 0, 0);
    DQG_INIT(&point);
    assert_int_equal(dqg_scheduler_create(NULL, NULL, &scheduler), DQG_ERROR_ARGUMENT);
    assert_null(scheduler);
    assert_fails(context, dqg_scheduler_create(context, NULL, NULL), DQG_ERROR_ARGUMENT);
    scheduler = anything;
    assert_fails(context, dqg_scheduler_create(context, wrong, &scheduler), DQG_ERROR_ARGUMENT);
    assert_null(scheduler);
    dqg_options_destroy(wrong);
    dqg_scheduler_retain(NULL);
    dqg_scheduler_release(NULL);
    assert_ok(dqg_options_create(context, DQG_OPTIONS_SCHEDULER, &wrong));
    assert_ok(dqg_options_set_int(wrong, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_scheduler_create(context, wrong, &scheduler));
    dqg_options_destroy(wrong);
    assert_int_equal(dqg_scheduler_steps(NULL), 0);
    assert_int_equal(dqg_scheduler_steps(scheduler), STEPS);
    assert_int_equal(dqg_scheduler_point(NULL, 0, &point), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_scheduler_point(scheduler, 0, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_scheduler_point(scheduler, -1, &point), DQG_ERROR_RANGE);
    assert_int_equal(dqg_scheduler_point(scheduler, STEPS + 1, &point), DQG_ERROR_RANGE);
    assert_ok(dqg_scheduler_point(scheduler, STEPS, &point));
    point.struct_size = 4;
    assert_int_equal(dqg_scheduler_point(scheduler, 0, &point), DQG_ERROR_ARGUMENT);
    double weights[2] = {7, 7};
    assert_int_equal(dqg_scheduler_weights(NULL, 0, weights, 2), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_scheduler_weights(scheduler, 0, NULL, 2), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_scheduler_weights(scheduler, 0, weights, -1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_scheduler_weights(scheduler, STEPS, weights, 2), DQG_ERROR_RANGE);
    assert_int_equal(dqg_scheduler_weights(scheduler, 0, weights, 2), DQG_ERROR_UNSUPPORTED); /* euler */
    assert_true(weights[0] == 0 && weights[1] == 0);
    assert_int_equal(dqg_scheduler_add_noise(NULL, scheduler, 0, &three, &three, &three), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_add_noise(context, NULL, 0, &three, &three, &three), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_add_noise(context, scheduler, 0, NULL, &three, &three), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_add_noise(context, scheduler, 0, &three, NULL, &three), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_add_noise(context, scheduler, 0, &three, &three, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_add_noise(context, scheduler, 0, &three, &two, &three), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_add_noise(context, scheduler, 0, &three, &three, &two), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_add_noise(context, scheduler, 9, &three, &three, &three), DQG_ERROR_RANGE);
    assert_fails(context, dqg_scheduler_add_noise(context, scheduler, -1, &three, &three, &three), DQG_ERROR_RANGE);
    dqg_scheduler_release(scheduler);
}

/* Every choice of the four options is a piece of that name, and nothing else is. */
static void scheduler_pieces(void **state) {
    static const int32_t keys[] = {DQG_SCHEDULER_SOLVER, DQG_SCHEDULER_SCHEDULE, DQG_SCHEDULER_SPACING,
                                   DQG_SCHEDULER_PREDICTION};
    (void)state;
    dqg_piece_info piece;
    DQG_INIT(&piece);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char names[1024] = "";
        for (int32_t at = 0; dqg_scheduler_piece_at(keys[i], at, &piece) == DQG_OK; at++) {
            assert_true(piece.key == keys[i] && strlen(piece.doc) > 8 && piece.paths != 0);
            assert_int_equal(piece.evaluations > 0, keys[i] == DQG_SCHEDULER_SOLVER);
            size_t used = strlen(names);
            snprintf(names + used, sizeof(names) - used, "%s%s", at > 0 ? "|" : "", piece.name);
        }
        dqg_option_info option;
        DQG_INIT(&option);
        for (int32_t at = 0; option.key != keys[i]; at++) {
            assert_ok(dqg_option_at(DQG_OPTIONS_SCHEDULER, at, &option));
        }
        assert_string_equal(names, option.choices);
        assert_int_equal(dqg_scheduler_piece_at(keys[i], -1, &piece), DQG_ERROR_RANGE);
        assert_int_equal(dqg_scheduler_piece_at(keys[i], INT32_MAX, &piece), DQG_ERROR_RANGE);
        assert_int_equal(dqg_scheduler_piece_at(keys[i], 0, NULL), DQG_ERROR_ARGUMENT);
    }
    assert_int_equal(dqg_scheduler_piece_at(DQG_SCHEDULER_STEPS, 0, &piece), DQG_ERROR_NAME);
    assert_int_equal(dqg_scheduler_piece_at(0, 0, &piece), DQG_ERROR_NAME);
    piece.struct_size = 4;
    assert_int_equal(dqg_scheduler_piece_at(DQG_SCHEDULER_SOLVER, 0, &piece), DQG_ERROR_ARGUMENT);
}

/* The n-th of "a|b|c" to choice, or false. */
static int nth_choice(const char *choices, int n, char *choice, size_t size) {
    for (; n > 0; n--) {
        choices = strchr(choices, '|');
        if (choices == NULL) {
            return 0;
        }
        choices++;
    }
    size_t length = strcspn(choices, "|");
    assert_true(length < size);
    memcpy(choice, choices, length);
    choice[length] = '\0';
    return 1;
}

/* The choices of one text option of schedulers. */
static const char *choices_of(int32_t key) {
    dqg_option_info row;
    DQG_INIT(&row);
    for (int32_t i = 0; dqg_option_at(DQG_OPTIONS_SCHEDULER, i, &row) == DQG_OK; i++) {
        if (row.key == key) {
            return row.choices;
        }
    }
    fail_msg("the option table lacks key %d", (int)key);
    return NULL;
}

/* Drive a scheduler to its end with a network that says a quarter of its input. */
static void drive(dqg_context *context, dqg_scheduler *scheduler) {
    const int64_t shape[2] = {2, 3};
    float data[6];
    dqg_run *run;
    dqg_request request;
    dqg_tensor_view view = view_f32(data, 2, 3, 0, 0);
    DQG_INIT(&request);
    assert_ok(dqg_run_create_custom(context, scheduler, shape, 2, NULL, &run));
    dqg_status status = DQG_OK;
    while (status != DQG_DONE) {
        assert_ok(dqg_run_request(run, &request, &view));
        assert_true(isfinite(request.timestep) && isfinite(request.sigma));
        for (int i = 0; i < 6; i++) {
            assert_true(isfinite(data[i]));
            data[i] *= 0.25f;
        }
        status = dqg_run_submit(run, &view);
        assert_true(status >= 0);
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    for (int i = 0; i < 6; i++) {
        assert_true(isfinite(data[i]));
    }
    dqg_run_destroy(run);
}

/* One choice for each of four keys: works to the end for any number of steps, or is refused with words. */
static int try_combination(dqg_context *context, const int32_t keys[4], char choice[4][32], int64_t steps) {
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler = anything;
    for (int i = 0; i < 4; i++) {
        assert_ok(dqg_options_set_text(options, keys[i], choice[i]));
    }
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, steps));
    dqg_status status = dqg_scheduler_create(context, options, &scheduler);
    dqg_options_destroy(options);
    if (status == DQG_OK) {
        drive(context, scheduler);
        dqg_scheduler_release(scheduler);
        return 1;
    }
    assert_true(status == DQG_ERROR_UNSUPPORTED || status == DQG_ERROR_RANGE);
    assert_null(scheduler);
    assert_true(strlen(dqg_context_error(context)) > 8);
    return 0;
}

static void scheduler_combinations(void **state) {
    struct model_fixture *fixture = *state;
    const int32_t keys[4] = {DQG_SCHEDULER_SOLVER, DQG_SCHEDULER_SCHEDULE, DQG_SCHEDULER_SPACING,
                             DQG_SCHEDULER_PREDICTION};
    char choice[4][32];
    int at[4] = {0, 0, 0, 0}, worked = 0, refused = 0, key = 0;
    while (key < 4) { /* at counts like the digits of a number */
        for (key = 0; key < 4; key++) {
            assert_true(nth_choice(choices_of(keys[key]), at[key], choice[key], sizeof(choice[key])));
        }
        int64_t most = (at[0] + at[1] + at[2] + at[3]) % 4 == 0 ? 1000 : 10; /* many steps: every fourth */
        for (int64_t steps = 1; steps <= most; steps *= 10) {
            int fine = try_combination(fixture->context, keys, choice, steps);
            worked += fine;
            refused += !fine;
        }
        for (key = 0; key < 4; key++) {
            if (nth_choice(choices_of(keys[key]), ++at[key], choice[key], sizeof(choice[key]))) {
                break;
            }
            at[key] = 0;
        }
    }
    print_message("%d combinations worked, %d were refused\n", worked, refused);
    assert_true(worked > 40);
}

static void model_scheduler_options(void **state) {
    struct model_fixture *fixture = *state;
    dqg_options *options = anything;
    dqg_scheduler *scheduler;
    const char *text;
    assert_int_equal(dqg_model_scheduler_options(NULL, fixture->model, &options), DQG_ERROR_ARGUMENT);
    assert_null(options);
    options = anything;
    assert_fails(fixture->context, dqg_model_scheduler_options(fixture->context, NULL, &options), DQG_ERROR_ARGUMENT);
    assert_null(options);
    assert_fails(fixture->context, dqg_model_scheduler_options(fixture->context, fixture->model, NULL),
                 DQG_ERROR_ARGUMENT);
    assert_ok(dqg_model_scheduler_options(fixture->context, fixture->model, &options));
    assert_ok(dqg_options_get_text(options, DQG_SCHEDULER_SCHEDULE, &text));
    assert_string_equal(text, "flow");
    assert_ok(dqg_scheduler_create(fixture->context, options, &scheduler));
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(options);
}

static void scheduler_bad_lists(void **state) {
    struct model_fixture *fixture = *state;
    static const double lists[][3] = {{0.5, 0.9, 0}, {0.9, 0.9, 0}, {0.9, 0.5, 0.5}, {-1, -2, 0}, {0.9, -0.5, 0}};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        dqg_scheduler *scheduler = anything;
        dqg_options *options = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
        dqg_status status = dqg_options_set_floats(options, DQG_SCHEDULER_SIGMAS, lists[i], 3);
        if (status == DQG_OK) {
            status = dqg_scheduler_create(fixture->context, options, &scheduler);
            assert_null(scheduler);
        }
        assert_true(status < 0 && strlen(dqg_context_error(fixture->context)) > 8);
        dqg_options_destroy(options);
    }
}

static void interpolant_arguments(void **state) {
    struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    static const double backwards[] = {0.5, 0.2}, outside[] = {0, 1.5}, not_numbers[] = {NAN, 1};
    const dqg_interpolant good = {.struct_size = sizeof good, .steps = 1};
    dqg_interpolant bad[16];
    for (int i = 0; i < 16; i++) {
        bad[i] = good;
    }
    bad[0].struct_size = 8;
    bad[1].path = 6;
    bad[2].gamma = -1;
    bad[3].gamma_scale = NAN;
    bad[4].diffusion = -1;
    bad[5].backward = 2;
    bad[6].integrator = 2;
    bad[7].drift = 2;
    bad[8].score = -1;
    bad[9].steps = INT32_MAX;
    bad[10].timestep_scale = INFINITY;
    bad[11].times = backwards;
    bad[12].times = outside;
    bad[13].times = not_numbers;
    bad[14].score = DQG_SCORE_ETA;
    bad[14].diffusion = 1;
    bad[15].path = DQG_INTERPOLATE_MIRROR;
    dqg_scheduler *scheduler = anything;
    dqg_interpolant_point point;
    DQG_INIT(&point);
    for (int i = 0; i < 16; i++) {
        scheduler = anything;
        assert_true(dqg_scheduler_create_interpolant(context, &bad[i], &scheduler) < 0);
        assert_true(scheduler == NULL && strlen(dqg_context_error(context)) > 8);
    }
    assert_int_equal(dqg_scheduler_create_interpolant(NULL, &good, &scheduler), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_create_interpolant(context, NULL, &scheduler), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_create_interpolant(context, &good, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_scheduler_interpolant_at(NULL, &good, 0, &point), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_interpolant_at(context, NULL, 0, &point), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_interpolant_at(context, &good, 0, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_scheduler_interpolant_at(context, &good, NAN, &point), DQG_ERROR_RANGE);
    assert_fails(context, dqg_scheduler_interpolant_at(context, &bad[1], 0, &point), DQG_ERROR_ARGUMENT);

    const int64_t shape[1] = {3};
    float data[3] = {0, 0, 0};
    dqg_tensor_view three = view_f32(data, 3, 0, 0, 0), two = view_f32(data, 2, 0, 0, 0);
    dqg_interpolant noisy = good;
    noisy.diffusion = 1;
    dqg_run *run = anything;
    dqg_request request;
    DQG_INIT(&request);
    assert_ok(dqg_scheduler_create_interpolant(context, &noisy, &scheduler));
    assert_fails(context, dqg_run_create(context, fixture->model, scheduler, NULL, &run), DQG_ERROR_UNSUPPORTED);
    assert_null(run);
    assert_ok(dqg_run_create_custom(context, scheduler, shape, 1, NULL, &run));
    assert_int_equal(dqg_run_submit_fields(NULL, &three, &three), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_submit_fields(run, &three, &three), DQG_ERROR_STATE);
    assert_ok(dqg_run_request(run, &request, &three));
    assert_fails(context, dqg_run_submit(run, &three), DQG_ERROR_STATE);
    assert_fails(context, dqg_run_submit_fields(run, &three, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_submit_fields(run, &two, &three), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_submit_fields(run, &three, &three), DQG_DONE);
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
}

/* Values that no setter takes: each names the option and its range. */
static void scheduler_bad_values(void **state) {
    struct model_fixture *fixture = *state;
    static const struct {
        int32_t key;
        double bad[4];
    } floats[] = {
        {DQG_SCHEDULER_SHIFT, {0, -3, 1e9, NAN}},
        {DQG_SCHEDULER_ETA, {-2, 1.1, INFINITY, NAN}},
        {DQG_SCHEDULER_SIGMA_MIN, {-1, 1e7, INFINITY, NAN}},
        {DQG_SCHEDULER_SIGMA_MAX, {-1, 1e7, INFINITY, NAN}},
        {DQG_SCHEDULER_SIGMA_DATA, {-1, 1e7, INFINITY, NAN}},
        {DQG_SCHEDULER_RHO, {-7, 1e4, INFINITY, NAN}},
        {DQG_SCHEDULER_BASE_SHIFT, {-11, 11, INFINITY, NAN}},
        {DQG_SCHEDULER_MAX_SHIFT, {-11, 11, -INFINITY, NAN}},
        {DQG_SCHEDULER_SHIFT_POWER, {0, -1, INFINITY, NAN}},
        {DQG_SCHEDULER_SHIFT_TERMINAL, {-1, 1, INFINITY, NAN}},
        {DQG_SCHEDULER_PFGM_DIMENSIONS, {-1, 1e10, INFINITY, NAN}},
        {DQG_SCHEDULER_BETA_START, {-1, 1, INFINITY, NAN}},
        {DQG_SCHEDULER_TIMESTEP_SCALE, {0, -1, INFINITY, NAN}},
    };
    static const int64_t steps[] = {0, -1, 10001, 1000000, INT64_MAX, INT64_MIN};
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
    for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++) {
        for (int j = 0; j < 4; j++) {
            assert_fails(fixture->context, dqg_options_set_float(options, floats[i].key, floats[i].bad[j]),
                         DQG_ERROR_RANGE);
        }
    }
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_fails(fixture->context, dqg_options_set_int(options, DQG_SCHEDULER_STEPS, steps[i]), DQG_ERROR_RANGE);
    }
    assert_fails(fixture->context, dqg_options_set_int(options, DQG_SCHEDULER_IMAGE_TOKENS, -1), DQG_ERROR_RANGE);
    assert_fails(fixture->context, dqg_options_set_text(options, DQG_SCHEDULER_INTERPOLATION, "cubic"),
                 DQG_ERROR_RANGE);
    dqg_options_destroy(options);
}

/* Options that are fine one by one and contradict each other; "key=value;key=value". */
static void scheduler_contradictions(void **state) {
    struct model_fixture *fixture = *state;
    static const char *const cases[] = {
        "schedule=edm;sigma-min=10;sigma-max=1",
        "schedule=edm;sigma-min=100",
        "schedule=edm;prediction=flow",
        "schedule=edm;spacing=linspace",
        "schedule=edm;solver=ddim",
        "schedule=edm;timesteps=900,500",
        "schedule=edm;pfgm-dimensions=0.5",
        "schedule=flow;prediction=edm",
        "schedule=linear;prediction=edm",
        "schedule=flow;pfgm-dimensions=128",
        "schedule=flow;timesteps=900,500",
        "schedule=linear;timesteps=900,500;sigmas=1,0",
        "schedule=linear;sigma-max=10",
        "schedule=linear;steps=1001",
        "schedule=linear;zero-snr=1",
        "schedule=linear;beta-start=0.5;beta-end=0.9",
        "schedule=flow;shift=3;image-tokens=1024",
        "schedule=flow;image-tokens=16777216",
        "schedule=flow;spacing=karras;sigma-max=2",
        "schedule=flow;sigmas=2,1,0",
        "schedule=edm;sigmas=80",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dqg_scheduler *scheduler = anything;
        dqg_options *options = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
        char text[128];
        assert_true(strlen(cases[i]) < sizeof(text));
        strcpy(text, cases[i]);
        for (char *name = text, *next; name != NULL; name = next) {
            next = strchr(name, ';');
            if (next != NULL) {
                *next++ = '\0';
            }
            char *value = strchr(name, '=');
            *value++ = '\0';
            assert_ok(dqg_options_parse(options, name, value));
        }
        dqg_status status = dqg_scheduler_create(fixture->context, options, &scheduler);
        if (status >= 0) {
            fail_msg("%s was accepted", cases[i]);
        }
        assert_true(status != DQG_ERROR_INTERNAL && strlen(dqg_context_error(fixture->context)) > 8);
        assert_null(scheduler);
        dqg_options_destroy(options);
    }
}

/* A million steps are refused, in a list of the host's too; the most that are taken work. */
static void scheduler_many_steps(void **state) {
    struct model_fixture *fixture = *state;
    static double sigmas[1000001];
    static const int32_t counts[] = {1000001, 100001};
    for (int i = 0; i < 2; i++) {
        dqg_scheduler *scheduler = anything;
        dqg_options *options = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
        for (int32_t j = 0; j < counts[i]; j++) {
            sigmas[j] = (counts[i] - 1 - j) / (double)counts[i];
        }
        assert_ok(dqg_options_set_floats(options, DQG_SCHEDULER_SIGMAS, sigmas, counts[i]));
        dqg_status status = dqg_scheduler_create(fixture->context, options, &scheduler);
        if (i == 0) {
            assert_int_equal(status, DQG_ERROR_RANGE);
            assert_non_null(strstr(dqg_context_error(fixture->context), "number of steps is 1e6"));
            assert_null(scheduler);
        } else {
            assert_ok(status);
            assert_int_equal(dqg_scheduler_steps(scheduler), 100000);
            dqg_scheduler_release(scheduler);
        }
        dqg_options_destroy(options);
    }
}

/* Noise for the host: that of a run with the same seeds; wrong arguments. */
static void scheduler_draw_noise(void **state) {
    struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    static const int64_t seeds[2] = {5, -9};
    const int64_t shape[3] = {2, 3, 4};
    for (int pfgm = 0; pfgm < 2; pfgm++) {
        float noise[24], latent[24];
        dqg_tensor_view view = view_f32(noise, 2, 3, 4, 0), start = view_f32(latent, 2, 3, 4, 0);
        dqg_tensor_view wrong = view_f32(noise, 3, 3, 0, 0);
        dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
        dqg_scheduler *scheduler;
        dqg_run *run;
        assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "edm"));
        assert_ok(dqg_options_set_float(options, DQG_SCHEDULER_PFGM_DIMENSIONS, pfgm ? 16 : 0));
        assert_ok(dqg_options_set_float(options, DQG_SCHEDULER_SIGMA_MAX, 64));
        assert_ok(dqg_scheduler_create(context, options, &scheduler));
        dqg_options_destroy(options);
        options = make_options(context, DQG_OPTIONS_RUN);
        assert_ok(dqg_options_set_ints(options, DQG_RUN_SEEDS, seeds, 2));
        assert_ok(dqg_run_create_custom(context, scheduler, shape, 3, options, &run));
        dqg_options_destroy(options);
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &start));
        assert_ok(dqg_scheduler_draw_noise(context, scheduler, seeds, 2, &view));
        for (int i = 0; i < 24; i++) {
            assert_true(fabs(latent[i] - 64.0 * noise[i]) <= 1e-6 * fabs(latent[i]));
        }
        dqg_run_destroy(run);
        assert_int_equal(dqg_scheduler_draw_noise(NULL, scheduler, seeds, 2, &view), DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_scheduler_draw_noise(context, NULL, seeds, 2, &view), DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_scheduler_draw_noise(context, scheduler, NULL, 2, &view), DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_scheduler_draw_noise(context, scheduler, seeds, 2, NULL), DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_scheduler_draw_noise(context, scheduler, seeds, 2, &wrong), DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_scheduler_draw_noise(context, scheduler, seeds, 0, &view), DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_scheduler_draw_noise(context, scheduler, seeds, -2, &view), DQG_ERROR_ARGUMENT);
        dqg_scheduler_release(scheduler);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scheduler_arguments),
        cmocka_unit_test(scheduler_pieces),
        cmocka_unit_test(scheduler_combinations),
        cmocka_unit_test(model_scheduler_options),
        cmocka_unit_test(scheduler_bad_lists),
        cmocka_unit_test(scheduler_bad_values),
        cmocka_unit_test(scheduler_contradictions),
        cmocka_unit_test(scheduler_many_steps),
        cmocka_unit_test(scheduler_draw_noise),
        cmocka_unit_test(interpolant_arguments),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
