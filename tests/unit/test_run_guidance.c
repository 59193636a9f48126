/* SPDX-License-Identifier: MIT */
/*
 * Guidance of runs: what must be equal bit for bit (empty and full intervals, scales of 0, weights of 1, masks of ones,
 * budgets, restored states), which evaluations are left out, what masks do, and the sums against single evaluations.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "model_fixture.h"

enum { IMAGES = 2, PLANE = 64, IMAGE = 4 * PLANE, VALUES = IMAGES * IMAGE, STEPS = 6 };

static dqg_run *make_run_with(struct model_fixture *fixture, const char *solver, const char *settings) {
    dqg_run *run;
    dqg_scheduler *scheduler;
    dqg_options *plan = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    parse_options(plan, solver);
    assert_ok(dqg_options_set_int(plan, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_scheduler_create(fixture->context, plan, &scheduler));
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, IMAGES));
    parse_options(options, settings);
    if (dqg_run_create(fixture->context, fixture->model, scheduler, options, &run) != DQG_OK) {
        fail_msg("%s: %s", settings, dqg_context_error(fixture->context));
    }
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(plan);
    dqg_options_destroy(options);
    return run;
}

static dqg_run *make_run(struct model_fixture *fixture, const char *settings) {
    return make_run_with(fixture, "solver=heun", settings);
}

static void finish(dqg_run *run, float *latent) {
    dqg_status status = DQG_OK;
    while (status == DQG_OK) {
        status = dqg_run_step(run);
    }
    assert_int_equal(status, DQG_DONE);
    dqg_tensor_view view = view_f32(latent, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    dqg_run_destroy(run);
    for (int i = 0; i < VALUES; i++) {
        assert_true(isfinite(latent[i]));
    }
}

static void result(struct model_fixture *fixture, const char *settings, float *latent) {
    finish(make_run(fixture, settings), latent);
}

static void set_guidance(struct model_fixture *fixture, dqg_run *run, const char *settings, dqg_status expected) {
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    parse_options(options, settings);
    assert_int_equal(dqg_run_set_guidance(run, options), expected);
    dqg_options_destroy(options);
}

static void set_mask(dqg_run *run, int32_t image, int32_t index, float *mask, dqg_status expected) {
    dqg_condition condition;
    dqg_tensor_view view = view_f32(mask, 8, 8, 0, 0);
    DQG_INIT(&condition);
    condition.flags = DQG_CONDITION_MASK;
    condition.mask = mask != NULL ? &view : NULL;
    assert_int_equal(dqg_run_set_condition(run, image, index, &condition), expected);
}

#define EQUAL(a, b) assert_memory_equal(a, b, sizeof(float) * VALUES)
#define DIFFERENT(a, b) assert_memory_not_equal(a, b, sizeof(float) * VALUES)

static void equal_pairs(void **state) {
    static const char *const pairs[][2] = {
        {"classes=1 guidance=3", "classes=1 guidance=3 guidance-high=1"},   /* the interval is everything */
        {"classes=1 guidance=1", "classes=1 guidance=3 guidance-low=1000"}, /* or nothing */
        {"classes=1 guidance=1", "classes=1 guidance=3 guidance-high=0.0001"},
        {"classes=1 guidance=3", "classes=1 guidance=3 perturbed-scale=0 perturbed-blocks=0"},
        {"classes=1 guidance=3", "classes=1 guidance=3 perturbed-scale=2 perturbed-end=0"},
        {"classes=1 guidance=3", "classes=1 guidance=3 condition-weights=1"},
        {"classes=1 guidance=3", "classes=1,2 guidance=3 conditions=2 condition-weights=1,0"},
        {"classes=1 guidance=3", "classes=1,1 guidance=3 conditions=2 condition-weights=0.5,0.5"},
        {"classes=1,2 guidance=3", "classes=1,2,3,3 guidance=3 conditions=2 condition-weights=1,0"},
        {"classes=1 guidance=1 attention-scale=1 train-tokens=4",
         "classes=1 guidance=3 guidance-low=1000 attention-scale=1 train-tokens=4"},
        {"guidance=1", "guidance=3"}, /* no class, nothing to guide */
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        float a[VALUES], b[VALUES];
        result(*state, pairs[i][0], a);
        result(*state, pairs[i][1], b);
        if (memcmp(a, b, sizeof a) != 0) {
            fail_msg("'%s' and '%s' differ", pairs[i][0], pairs[i][1]);
        }
    }
}

/* Every setting does something. */
static void different_pairs(void **state) {
    static const char *const settings[] = {
        "guidance-low=0.4",
        "guidance-high=0.6",
        "guidance-rescale=0.7",
        "guidance-form=apg",
        "guidance-form=apg apg-momentum=0",
        "guidance-form=apg apg-norm=1",
        "guidance-form=apg apg-parallel=0.5",
        "guidance-form=apg-unconditional",
        "guidance-form=cfg-zero",
        "zero-steps=1",
        "threshold=0.9",
        "perturbed-scale=3",
        "perturbed-scale=3 perturbation=skip",
        "perturbed-scale=3 perturbed-blocks=0",
        "perturbed-scale=3 perturbed-blocks=0,1",
        "perturbed-scale=3 perturbed-start=0.5",
        "condition-weights=0.5",
    };
    enum { COUNT = sizeof settings / sizeof settings[0] };
    static float results[COUNT + 1][VALUES];
    result(*state, "classes=1 guidance=3", results[COUNT]);
    for (int i = 0; i < COUNT; i++) {
        char text[256] = "classes=1 guidance=3 ";
        result(*state, strcat(text, settings[i]), results[i]);
        for (int j = 0; j < i; j++) {
            DIFFERENT(results[i], results[j]);
        }
        DIFFERENT(results[i], results[COUNT]);
    }
}

/* A token that sees itself alone gives its values: on a network of one token perturbed attention changes nothing. */
static void attention_of_one_token(void **state) {
    struct model_fixture one = *(struct model_fixture *)*state;
    float latents[3][IMAGE];
    static const char *const settings[] = {"classes=1 guidance=2", "classes=1 guidance=2 perturbed-scale=3",
                                           "classes=1 guidance=2 perturbed-scale=3 perturbation=skip"};
    char path[192];
    tiny_path(path, sizeof path, one.directory, "one.safetensors");
    assert_int_equal(tiny_dit_write(path, 64, 2, 4, 8, 4, 8, 5, 0, 3), 0);
    assert_ok(dqg_model_load(one.context, path, NULL, &one.model));
    for (int i = 0; i < 3; i++) {
        dqg_run *run;
        dqg_options *options = make_options(one.context, DQG_OPTIONS_RUN);
        dqg_tensor_view view = view_f32(latents[i], 1, 4, 8, 8);
        parse_options(options, settings[i]);
        assert_ok(dqg_run_create(one.context, one.model, NULL, options, &run));
        assert_ok(dqg_run_step(run));
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
        dqg_run_destroy(run);
        dqg_options_destroy(options);
    }
    float skipped = 0;
    for (int i = 0; i < IMAGE; i++) {
        assert_true(fabsf(latents[0][i] - latents[1][i]) < 1e-5f);
        skipped = fmaxf(skipped, fabsf(latents[0][i] - latents[2][i]));
    }
    assert_true(skipped > 1e-4f);
    dqg_model_release(one.model);
}

static void operators(dqg_run *run, int32_t *all) {
    dqg_run_info info;
    DQG_INIT(&info);
    assert_ok(dqg_run_get_info(run, &info));
    *all = info.operators;
}

/* A perturbed evaluation has operators of its own, counted where it is active only; zero steps have no evaluation. */
static void passes(void **state) {
    struct model_fixture *fixture = *state;
    int32_t plain, both, later, skipped;
    dqg_run *run = make_run(fixture, "classes=1 guidance=3");
    operators(run, &plain);
    dqg_run_destroy(run);
    run = make_run(fixture, "classes=1 guidance=3 perturbed-scale=2 perturbed-end=0.1");
    operators(run, &both);
    assert_int_equal(both, 2 * plain);
    int32_t calls = 0;
    dqg_run_info info;
    DQG_INIT(&info);
    while (dqg_run_advance(run, 0) == DQG_PENDING) {
        calls++;
        assert_ok(dqg_run_get_info(run, &info));
        assert_true(info.operator_index >= 0 && info.operator_index < info.operators);
    }
    assert_int_equal(calls + 1, 2 * both); /* Heun's two evaluations */
    operators(run, &later);
    assert_int_equal(later, plain);
    dqg_run_destroy(run);
    run = make_run(fixture, "classes=1 guidance=3 perturbed-scale=2 perturbation=skip perturbed-blocks=0,1");
    operators(run, &skipped);
    assert_true(skipped > plain && skipped < plain + plain / 2);
    dqg_run_destroy(run);
    run = make_run(fixture, "classes=1 guidance=3 zero-steps=1");
    assert_int_equal(dqg_run_advance(run, 0), DQG_PENDING);
    assert_int_equal(dqg_run_advance(run, 0), DQG_OK);
    dqg_run_destroy(run);
}

static void evaluate(struct model_fixture *fixture, float *x, double timestep, int32_t label, float *out) {
    const double times[IMAGES] = {timestep, timestep};
    const int32_t labels[IMAGES] = {label, label};
    dqg_tensor_view in = view_f32(x, IMAGES, 4, 8, 8), result_view = view_f32(out, IMAGES, 4, 8, 8);
    assert_ok(dqg_model_evaluate(fixture->context, fixture->model, &in, times, labels, NULL, NULL, &result_view));
}

/* One Euler step of two conditions against the sum of single evaluations: masks of columns, weights, no rest. */
static void regions(void **state) {
    struct model_fixture *fixture = *state;
    float x[VALUES], after[VALUES], u[VALUES], a[VALUES], b[VALUES], left[PLANE], right[PLANE];
    dqg_point points[2];
    dqg_run *run = make_run_with(fixture, "solver=euler", "classes=1,2 guidance=3 conditions=2 condition-weights=1,2");
    dqg_tensor_view view = view_f32(x, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    for (int i = 0; i < PLANE; i++) {
        left[i] = i % 8 < 5 ? 1 : 0; /* two columns are in both */
        right[i] = i % 8 >= 3 ? 1 : 0;
    }
    right[7] = 0; /* nobody's */
    set_mask(run, -1, 0, left, DQG_OK);
    set_mask(run, 0, 1, right, DQG_OK); /* image 1 has its second condition everywhere */
    dqg_run_info info;
    DQG_INIT(&info);
    assert_ok(dqg_run_get_info(run, &info));
    points[0].sigma = info.sigma;
    evaluate(fixture, x, info.timestep, -1, u);
    evaluate(fixture, x, info.timestep, 1, a);
    evaluate(fixture, x, info.timestep, 2, b);
    assert_ok(dqg_run_step(run));
    assert_ok(dqg_run_get_info(run, &info));
    points[1].sigma = info.sigma;
    view = view_f32(after, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    for (int i = 0; i < VALUES; i++) {
        int pixel = i % PLANE;
        float overlap = i < IMAGE && left[pixel] + right[pixel] > 1 ? 2 : 1;
        double first = left[pixel] / overlap, second = i < IMAGE ? 2 * right[pixel] / overlap : 2;
        double c = u[i] + first * (a[i] - u[i]) + second * (b[i] - u[i]);
        double wanted = x[i] + (points[1].sigma - points[0].sigma) * (u[i] + 3 * (c - u[i]));
        assert_true(fabs(after[i] - wanted) < 1e-5 * (1 + fabs(wanted)));
    }
    dqg_run_destroy(run);
}

static void masks_of_ones(void **state) {
    static const char *const settings[] = {"classes=1 guidance=3",
                                           "classes=1,2 guidance=3 conditions=2 condition-weights=0.25,0.75"};
    for (int i = 0; i < 2; i++) {
        float plain[VALUES], masked[VALUES], taken[VALUES], ones[PLANE];
        for (int j = 0; j < PLANE; j++) {
            ones[j] = 1;
        }
        result(*state, settings[i], plain);
        dqg_run *run = make_run(*state, settings[i]);
        set_mask(run, -1, 0, ones, DQG_OK);
        finish(run, masked);
        EQUAL(plain, masked);
        ones[5] = 0;
        run = make_run(*state, settings[i]);
        set_mask(run, -1, 0, ones, DQG_OK);
        assert_ok(dqg_run_step(run));
        finish(run, masked);
        DIFFERENT(plain, masked);
        run = make_run(*state, settings[i]);
        set_mask(run, -1, 0, ones, DQG_OK);
        set_mask(run, -1, 0, NULL, DQG_OK);
        finish(run, taken);
        EQUAL(plain, taken);
    }
}

/* Changed before the start is made so; changed within an evaluation is changed before it; refusals change nothing. */
static void changes(void **state) {
    struct model_fixture *fixture = *state;
    float three[VALUES], changed[VALUES], early[VALUES], late[VALUES];
    result(fixture, "classes=1 guidance=3 guidance-rescale=0.5", three);
    dqg_run *run = make_run(fixture, "classes=1 guidance=7");
    set_guidance(fixture, run, "guidance=3 guidance-rescale=0.5", DQG_OK);
    finish(run, changed);
    EQUAL(three, changed);
    for (int within = 0; within < 2; within++) {
        run = make_run(fixture, "classes=1 guidance=7");
        assert_ok(dqg_run_step(run));
        for (int i = 0; within && i < 5; i++) {
            assert_int_equal(dqg_run_advance(run, 0), DQG_PENDING);
        }
        set_guidance(fixture, run, "guidance=3", DQG_OK);
        set_guidance(fixture, run, "guidance=3 guidance-form=apg", DQG_ERROR_STATE);
        set_guidance(fixture, run, "guidance=3 perturbed-scale=1", DQG_ERROR_STATE);
        set_guidance(fixture, run, "cfg-channels=5", DQG_ERROR_RANGE);
        finish(run, within ? late : early);
    }
    EQUAL(early, late);
    DIFFERENT(early, three);
    run = make_run(fixture, "classes=1");
    set_guidance(fixture, run, "guidance=3", DQG_ERROR_STATE);
    set_mask(run, -1, 0, three, DQG_ERROR_RANGE);
    finish(run, late);
    result(fixture, "classes=1", early);
    EQUAL(early, late);
    dqg_condition condition;
    DQG_INIT(&condition);
    condition.flags = DQG_CONDITION_CLASS;
    condition.label = 4;
    run = make_run(fixture, "classes=1 guidance=3");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dqg_run_advance(run, 0), DQG_PENDING);
    }
    assert_ok(dqg_run_set_condition(run, 1, 0, &condition));
    finish(run, late);
    result(fixture, "classes=1,4 guidance=3", early);
    EQUAL(early, late);
}

static const char rich[] = "classes=1,2 guidance=4 conditions=2 guidance-form=apg guidance-low=0.2 guidance-high=0.9 "
                           "perturbed-scale=2 perturbed-end=0.7 threshold=0.99";

/* Any budgets give the same. */
static void budgets(void **state) {
    float whole[VALUES], pieces[VALUES];
    result(*state, rich, whole);
    dqg_run *run = make_run(*state, rich);
    while (dqg_run_advance(run, 20) != DQG_DONE) {
    }
    finish(run, pieces);
    EQUAL(whole, pieces);
}

/* The rest of a run after every step and within evaluations, in another run, with masks and changed settings. */
static void saved_states(void **state) {
    struct model_fixture *fixture = *state;
    float whole[VALUES], rest[VALUES], mask[PLANE];
    size_t size = 0;
    for (int i = 0; i < PLANE; i++) {
        mask[i] = i < 40 ? 1 : 0.25f;
    }
    for (int stop = 0; stop < 200; stop += 23) {
        for (int form = 0; form < 2; form++) {
            dqg_run *run = make_run(fixture, rich);
            if (form == 1) {
                set_mask(run, 1, 1, mask, DQG_OK);
                set_guidance(fixture, run, "guidance=2 guidance-form=apg-unconditional", DQG_OK);
            }
            for (int i = 0; i < stop; i++) {
                assert_true(dqg_run_advance(run, 0) >= 0);
            }
            assert_ok(dqg_run_state_size(run, &size));
            void *saved = malloc(size);
            assert_non_null(saved);
            assert_ok(dqg_run_save(run, saved, size));
            finish(run, whole);
            run = make_run(fixture, rich);
            assert_ok(dqg_run_step(run));
            assert_ok(dqg_run_restore(run, saved, size));
            finish(run, rest);
            EQUAL(whole, rest);
            run = make_run(fixture, "classes=1 guidance=4");
            assert_int_equal(dqg_run_restore(run, saved, size), DQG_ERROR_STATE);
            dqg_run_destroy(run);
            free(saved);
        }
    }
}

/* Forks go on as the run does, with momentum, perturbed evaluations, masks and changed settings. */
static void forks(void **state) {
    struct model_fixture *fixture = *state;
    float whole[VALUES], rest[VALUES], mask[PLANE] = {1, 1, 1, 0.5f};
    for (int stop = 0; stop < 100; stop += 31) {
        dqg_run *fork, *run = make_run(fixture, rich);
        set_mask(run, 1, 1, mask, DQG_OK);
        for (int i = 0; i < stop; i++) {
            assert_true(dqg_run_advance(run, 0) >= 0);
        }
        set_guidance(fixture, run, "guidance=2 guidance-form=cfg perturbed-scale=1", DQG_OK); /* the layout stays */
        assert_ok(dqg_run_fork(run, &fork));
        finish(run, whole);
        finish(fork, rest);
        EQUAL(whole, rest);
    }
}

/* At another size masks are stretched and momentum is empty; a change that is refused leaves an evaluation going on. */
static void sizes(void **state) {
    struct model_fixture *fixture = *state;
    float whole[VALUES], rest[VALUES], mask[PLANE];
    for (int i = 0; i < PLANE; i++) {
        mask[i] = i % 8 < 4 ? 1 : 0;
    }
    for (int refused = 0; refused < 2; refused++) {
        dqg_run *run = make_run(fixture, rich);
        set_mask(run, -1, 0, mask, DQG_OK);
        assert_ok(dqg_run_step(run));
        for (int i = 0; i < 70; i++) {
            assert_true(dqg_run_advance(run, 0) >= 0);
        }
        if (refused) {
            assert_int_equal(dqg_run_resize(run, 7, 8, NULL, 0.5), DQG_ERROR_RANGE);
        }
        finish(run, refused ? rest : whole);
    }
    EQUAL(whole, rest);
    dqg_run *run = make_run(fixture, rich);
    set_mask(run, -1, 0, mask, DQG_OK);
    assert_ok(dqg_run_step(run));
    assert_ok(dqg_run_resize(run, 16, 12, NULL, 0.5));
    assert_ok(dqg_run_step(run));
    assert_ok(dqg_run_resize(run, 8, 8, NULL, 0.5));
    finish(run, rest);
    DIFFERENT(whole, rest);
}

/* Images with times of their own are each guided at their own noise level. */
static void times_of_images(void **state) {
    static const char settings[] = "classes=1 guidance=3 guidance-low=0.3 guidance-high=0.7 perturbed-scale=1 "
                                   "perturbed-end=0.5 zero-steps=1 guidance-form=cfg-zero";
    struct model_fixture *fixture = *state;
    float alone[VALUES], apart[VALUES];
    char text[256];
    finish(make_run_with(fixture, "solver=euler", settings), alone);
    dqg_run *run = make_run_with(fixture, "solver=euler", strcat(strcpy(text, settings), " time-axes=1"));
    /* The first image goes two steps ahead and waits at the end; as noise cannot skip, both keep their start. */
    const int32_t held[IMAGES] = {0, STEPS};
    assert_ok(dqg_run_set_steps(run, held, IMAGES));
    assert_ok(dqg_run_step(run));
    assert_ok(dqg_run_step(run));
    const int32_t apart_steps[IMAGES] = {2, 0};
    assert_ok(dqg_run_set_steps(run, apart_steps, IMAGES));
    finish(run, apart);
    EQUAL(alone, apart);
}

/* A state of a run whose guidance this one has no memory for. */
static void states_that_do_not_fit(void **state) {
    static const char *const pairs[][2] = {
        {"classes=1 guidance=3 perturbed-scale=1", "classes=1 guidance=3"},
        {"classes=1 guidance=3", "classes=1"},
        {"classes=1 guidance=3 guidance-form=apg", "classes=1 guidance=3"},
        {"classes=1,2 conditions=2", "classes=1 guidance=3"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        size_t size;
        dqg_run *run = make_run(*state, pairs[i][0]);
        assert_ok(dqg_run_state_size(run, &size));
        void *saved = malloc(size);
        assert_ok(dqg_run_save(run, saved, size));
        dqg_run_destroy(run);
        run = make_run(*state, pairs[i][1]);
        assert_int_equal(dqg_run_restore(run, saved, size), DQG_ERROR_STATE);
        float after[VALUES], alone[VALUES];
        finish(run, after);
        result(*state, pairs[i][1], alone);
        EQUAL(after, alone);
        free(saved);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_pairs),
        cmocka_unit_test(different_pairs),
        cmocka_unit_test(attention_of_one_token),
        cmocka_unit_test(passes),
        cmocka_unit_test(regions),
        cmocka_unit_test(masks_of_ones),
        cmocka_unit_test(changes),
        cmocka_unit_test(budgets),
        cmocka_unit_test(saved_states),
        cmocka_unit_test(forks),
        cmocka_unit_test(times_of_images),
        cmocka_unit_test(sizes),
        cmocka_unit_test(states_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
