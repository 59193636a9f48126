/* SPDX-License-Identifier: MIT */
/*
 * Region-adaptive sampling of runs: with all tokens it gives the bits of a run without; tokens left out move on as they
 * last did; same bits for any threads, budgets and batch, and after saving, forking, writing.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "model_fixture.h"
#include "run/run.h"

enum { IMAGES = 3, IMAGE = 4 * 8 * 8, VALUES = IMAGES * IMAGE, STEPS = 12 };

struct setup {
    const char *solver;
    double ratio, high, starvation;
    int32_t first, count; /* images */
    int64_t range[2];
};
static const struct setup half = {"euler", .5, .3, -.1, 0, IMAGES, {2, 10}};
static const int64_t resets[] = {5, 8};

static dqg_options *run_options(dqg_context *context, const struct setup *setup) {
    static const int64_t classes[IMAGES] = {0, 2, 4};
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, setup->count));
    assert_ok(dqg_options_set_int(options, DQG_RUN_SEED, 7 + setup->first));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, classes + setup->first, setup->count));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, 2.5));
    assert_ok(dqg_options_set_float(options, DQG_RUN_RAS_RATIO, setup->ratio));
    assert_ok(dqg_options_set_float(options, DQG_RUN_RAS_HIGH, setup->high));
    assert_ok(dqg_options_set_float(options, DQG_RUN_RAS_STARVATION, setup->starvation));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_RAS_RANGE, setup->range, 2));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_RAS_RESETS, resets, 2));
    return options;
}

static dqg_scheduler *make_scheduler(dqg_context *context, const char *solver) {
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, solver));
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    dqg_options_destroy(options);
    return scheduler;
}

static dqg_run *make_run(const struct model_fixture *fixture, const struct setup *setup) {
    dqg_options *options = run_options(fixture->context, setup);
    dqg_scheduler *scheduler = make_scheduler(fixture->context, setup->solver);
    dqg_run *run;
    if (dqg_run_create(fixture->context, fixture->model, scheduler, options, &run) != DQG_OK) {
        fail_msg("%s", dqg_context_error(fixture->context));
    }
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(options);
    return run;
}

static void read_latent(dqg_run *run, float *latent) {
    dqg_tensor_view view = view_f32(latent, (int64_t)run->images, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
}

/* To the end, with a budget or, negative, step by step; the run goes. */
static void finish(dqg_run *run, int64_t budget, float *latent) {
    dqg_status status;
    do {
        status = budget < 0 ? dqg_run_step(run) : dqg_run_advance(run, budget);
        assert_true(status >= 0);
    } while (status != DQG_DONE);
    read_latent(run, latent);
    dqg_run_destroy(run);
}

static bool is_sparse(const dqg_run *run) {
    return dqg_ras_is_sparse(&run->ras, run->state.step, STEPS);
}

static bool is_active(const dqg_run *run, size_t at) {
    size_t y = at / 8 % 8, x = at % 8, image = at / IMAGE;
    const int32_t *active = run->ras.active + image * run->ras.active_count;
    for (size_t i = 0; i < run->ras.active_count; i++) {
        if (active[i] == (int32_t)(y / 2 * 4 + x / 2)) {
            return true;
        }
    }
    return false;
}

/* ---- what it does ---- */

static void test_all_tokens(void **state) {
    static const char *const solvers[] = {"euler", "dpm++-2m", "euler-ancestral"};
    float plain[VALUES], all[VALUES], few[VALUES];
    for (size_t i = 0; i < DQG_COUNT_OF(solvers); i++) {
        struct setup setup = half;
        setup.solver = solvers[i];
        finish(make_run(*state, &setup), -1, few);
        setup.ratio = 0;
        finish(make_run(*state, &setup), -1, plain);
        setup.ratio = 1;
        finish(make_run(*state, &setup), -1, all);
        assert_memory_equal(plain, all, sizeof plain);
        assert_memory_not_equal(plain, few, sizeof plain);
    }
}

/* Also where guidance asks for fewer evaluations: none at first, then without the unconditional. */
static void test_guided(void **state) {
    const struct model_fixture *fixture = *state;
    float latents[2][VALUES];
    for (int ratio = 0; ratio < 2; ratio++) {
        dqg_options *options = run_options(fixture->context, &half);
        dqg_run *run;
        assert_ok(dqg_options_set_float(options, DQG_RUN_RAS_RATIO, ratio));
        assert_ok(dqg_options_set_int(options, DQG_RUN_ZERO_STEPS, 3));
        assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE_LOW, .2));
        assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE_HIGH, .6));
        assert_ok(dqg_run_create(fixture->context, fixture->model, NULL, options, &run));
        for (int step = 0; step < 5; step++) {
            assert_ok(dqg_run_step(run));
            assert_true(ratio == 0 || run->ras.filled == (step >= 3)); /* nothing to keep before */
        }
        finish(run, -1, latents[ratio]);
        dqg_options_destroy(options);
    }
    assert_memory_equal(latents[0], latents[1], sizeof latents[0]);
}

/* Which steps compute few tokens: a first one that is not the run's, resets, the last one with the tokens before. */
static void test_steps(void **state) {
    static const char want[] = "DDRRRDRRDRRD";
    dqg_run *run = make_run(*state, &half);
    int32_t before[2 * VALUES];
    size_t bytes = run->ras.samples * run->ras.active_count * sizeof *before;
    assert_int_equal(run->ras.active_count, 9);
    for (int32_t i = 0; i < STEPS; i++) {
        assert_int_equal(is_sparse(run), want[i] == 'R');
        assert_true(dqg_run_step(run) >= 0);
        assert_ptr_equal(run->exec.graph, want[i] == 'R' ? &run->sparse : &run->graph);
        if (i == 9) {
            assert_memory_equal(before, run->ras.active, bytes); /* nothing is chosen for the last one */
        }
        memcpy(before, run->ras.active, bytes);
    }
    /* Both samples of an image have its tokens. */
    size_t half_of_them = IMAGES * run->ras.active_count;
    assert_memory_equal(run->ras.active, run->ras.active + half_of_them, half_of_them * sizeof(int32_t));
    dqg_run_destroy(run);
}

/* A network whose tokens ignore each other: without the result of attention. */
static void forget_neighbours(dqg_model *model) {
    static const char *const names[] = {"blocks.0.attn.proj.weight", "blocks.1.attn.proj.weight",
                                        "blocks.0.attn.proj.bias", "blocks.1.attn.proj.bias"};
    for (size_t i = 0; i < DQG_COUNT_OF(names); i++) {
        for (size_t w = 0; w < model->weight_count; w++) {
            struct dqg_weight *weight = &model->weights[w];
            if (strcmp(weight->name, names[i]) == 0) {
                size_t count = i < 2 ? weight->size.rows * weight->size.columns : (size_t)weight->shape[0];
                memset(weight->codes, 0, count * sizeof(float));
            }
        }
    }
}

/* Then active tokens move as in a step that computes all, and the others keep their velocity exactly. */
static void test_held_velocity(void **state) {
    struct model_fixture fixture;
    struct setup setup = half, plain = half;
    float x[VALUES], next[VALUES], dense[VALUES], held[VALUES], output[VALUES];
    (void)state;
    assert_int_equal(model_fixture_open(&fixture), 0);
    forget_neighbours(fixture.model);
    plain.ratio = 0;
    dqg_run *run = make_run(&fixture, &setup), *other = make_run(&fixture, &plain);
    int sparse_steps = 0;
    for (int32_t step = 0; step < STEPS; step++) {
        dqg_tensor_view view = view_f32(x, IMAGES, 4, 8, 8);
        bool sparse = is_sparse(run), active[VALUES];
        for (size_t i = 0; i < VALUES; i++) {
            active[i] = is_active(run, i);
        }
        read_latent(run, x);
        if (step > 0) {
            assert_ok(dqg_run_write(other, &view));
        }
        assert_true(dqg_run_step(other) >= 0 && dqg_run_step(run) >= 0);
        read_latent(other, dense);
        read_latent(run, next);
        memcpy(output, run->output, sizeof output);
        const struct dqg_sched_point *points = run->scheduler->sched.points;
        double dt = points[step + 1].sigma - points[step].sigma;
        for (size_t i = 0; i < VALUES; i++) {
            if (sparse && !active[i]) {
                assert_true(output[i] == held[i] && fabs(next[i] - (x[i] + dt * held[i])) < 1e-6);
            } else {
                assert_true(next[i] == dense[i]);
            }
        }
        sparse_steps += sparse;
        memcpy(held, output, sizeof held);
    }
    assert_int_equal(sparse_steps, 7);
    dqg_run_destroy(run);
    dqg_run_destroy(other);
    model_fixture_close(&fixture);
}

/* ---- what it promises ---- */

static void test_same_bits(void **state) {
    const struct model_fixture *fixture = *state;
    float want[VALUES], got[VALUES];
    assert_ok(dqg_context_set_threads(fixture->context, 1));
    finish(make_run(fixture, &half), -1, want);
    for (int32_t image = 0; image < IMAGES; image++) {
        struct setup alone = half;
        alone.first = image;
        alone.count = 1;
        finish(make_run(fixture, &alone), -1, got);
        assert_memory_equal(want + image * IMAGE, got, IMAGE * sizeof *got);
    }
    for (int32_t threads = 1; threads <= 3; threads++) {
        assert_ok(dqg_context_set_threads(fixture->context, threads));
        finish(make_run(fixture, &half), threads == 2 ? 0 : 50, got);
        assert_memory_equal(want, got, sizeof want);
    }
}

/* Saved after any number of operators, in the middle of evaluations too. */
static void test_restore(void **state) {
    float want[VALUES], got[VALUES];
    finish(make_run(*state, &half), -1, want);
    dqg_run *run = make_run(*state, &half);
    size_t size;
    assert_ok(dqg_run_state_size(run, &size));
    char *saved = malloc(size);
    assert_non_null(saved);
    for (int operators = 0; run->state.step < STEPS - 1; operators++) {
        assert_true(dqg_run_advance(run, 0) >= 0);
        if (operators % 7 == 0) {
            assert_ok(dqg_run_save(run, saved, size));
            dqg_run *other = make_run(*state, &half);
            assert_ok(dqg_run_restore(other, saved, size));
            finish(other, -1, got);
            assert_memory_equal(want, got, sizeof want);
        }
    }
    struct setup quarter = half;
    quarter.ratio = .25;
    dqg_run *other = make_run(*state, &quarter);
    assert_fails(((const struct model_fixture *)*state)->context, dqg_run_restore(other, saved, size), DQG_ERROR_STATE);
    dqg_run_destroy(other);
    free(saved);
    dqg_run_destroy(run);
}

static void test_fork(void **state) {
    float want[VALUES], got[VALUES];
    dqg_run *copy, *run = make_run(*state, &half);
    while (run->state.step < 4 || run->exec.next < 9) {
        assert_true(dqg_run_advance(run, 0) >= 0);
    }
    assert_true(run->exec.graph == &run->sparse);
    assert_ok(dqg_run_fork(run, &copy));
    finish(run, -1, want);
    finish(copy, -1, got);
    assert_memory_equal(want, got, sizeof want);
}

/* Cancelled in the middle of an evaluation, it goes on from there. */
static void test_cancel(void **state) {
    const struct model_fixture *fixture = *state;
    float want[VALUES], got[VALUES];
    finish(make_run(fixture, &half), -1, want);
    dqg_run *run = make_run(fixture, &half);
    while (run->state.step < 3 || run->exec.next < 9) {
        assert_true(dqg_run_advance(run, 0) >= 0);
    }
    dqg_run_cancel(run);
    assert_int_equal(dqg_run_step(run), DQG_ERROR_CANCELLED);
    finish(run, -1, got);
    assert_memory_equal(want, got, sizeof want);
}

/* What was kept belongs to another sample or plan: all tokens are computed next. */
static void check_forgotten(dqg_run *run) {
    assert_false(run->ras.filled || run->ras.selected);
    for (size_t i = 0; i < run->ras.images * run->ras.tokens; i++) {
        assert_int_equal(run->ras.left_out[i], 0);
    }
    assert_ok(dqg_run_step(run));
    assert_ptr_equal(run->exec.graph, &run->graph);
    assert_ok(dqg_run_step(run));
    assert_ptr_equal(run->exec.graph, &run->sparse);
}

static void test_changes(void **state) {
    const struct model_fixture *fixture = *state;
    float latent[VALUES];
    dqg_run *run = make_run(fixture, &half);
    dqg_scheduler *euler = make_scheduler(fixture->context, "euler"), *heun = make_scheduler(fixture->context, "heun");
    for (int i = 0; i < 3; i++) {
        assert_ok(dqg_run_step(run));
    }
    assert_true(is_sparse(run));
    read_latent(run, latent);
    dqg_tensor_view view = view_f32(latent, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_write(run, &view));
    check_forgotten(run);
    assert_fails(fixture->context, dqg_run_set_scheduler(run, heun, 3), DQG_ERROR_UNSUPPORTED);
    assert_ok(dqg_run_set_scheduler(run, euler, 3));
    check_forgotten(run);
    assert_ok(dqg_run_resize(run, 4, 12, NULL, 0.75)); /* 6 x 2 tokens from step 3 on */
    assert_int_equal(run->ras.active_count, 6 + 1);
    check_forgotten(run);
    assert_fails(fixture->context, dqg_run_resize(run, 8, 8, heun, 0.75), DQG_ERROR_UNSUPPORTED);
    assert_int_equal(run->shape[2], 4);
    assert_ok(dqg_run_step(run));
    dqg_scheduler_release(euler);
    dqg_scheduler_release(heun);
    dqg_run_destroy(run);
}

static void test_memory(void **state) {
    const struct model_fixture *fixture = *state;
    dqg_options *options = run_options(fixture->context, &half);
    dqg_memory_info info, without;
    DQG_INIT(&info);
    DQG_INIT(&without);
    assert_ok(dqg_model_memory(fixture->context, fixture->model, NULL, options, &info));
    assert_ok(dqg_options_set_float(options, DQG_RUN_RAS_RATIO, 0));
    assert_ok(dqg_model_memory(fixture->context, fixture->model, NULL, options, &without));
    size_t kept = 2 * 2 * IMAGES * 16 * 2 * 64 * sizeof(float); /* blocks, samples, tokens, K and V */
    assert_true(info.run_bytes > without.run_bytes + kept);
    dqg_options_destroy(options);
}

/* ---- what it refuses ---- */

static void refuse(const struct model_fixture *fixture, dqg_scheduler *scheduler, dqg_options *options,
                   int32_t status) {
    dqg_run *run = anything;
    assert_fails(fixture->context, dqg_run_create(fixture->context, fixture->model, scheduler, options, &run), status);
    assert_null(run);
    dqg_options_destroy(options);
}

static void test_refused(void **state) {
    static const int64_t shape[4] = {1, 4, 8, 8};
    const struct model_fixture *fixture = *state;
    dqg_scheduler *heun = make_scheduler(fixture->context, "heun");
    dqg_options *options = run_options(fixture->context, &half);
    dqg_run *run;
    assert_fails(fixture->context, dqg_run_create_custom(fixture->context, heun, shape, 4, options, &run),
                 DQG_ERROR_UNSUPPORTED);
    refuse(fixture, heun, options, DQG_ERROR_UNSUPPORTED);
    options = run_options(fixture->context, &half);
    assert_ok(dqg_options_set_int(options, DQG_RUN_TIME_AXES, 1));
    refuse(fixture, NULL, options, DQG_ERROR_UNSUPPORTED);
    options = run_options(fixture->context, &half);
    assert_ok(dqg_options_set_text(options, DQG_RUN_CACHE, "teacache"));
    refuse(fixture, NULL, options, DQG_ERROR_UNSUPPORTED);
    options = run_options(fixture->context, &half);
    assert_ok(dqg_options_set_float(options, DQG_RUN_PERTURBED_SCALE, 2));
    refuse(fixture, NULL, options, DQG_ERROR_UNSUPPORTED);
    options = run_options(fixture->context, &half);
    assert_ok(dqg_options_set_ints(options, DQG_RUN_RAS_RANGE, (const int64_t[]){4}, 1));
    refuse(fixture, NULL, options, DQG_ERROR_RANGE);
    options = run_options(fixture->context, &half);
    assert_ok(dqg_options_set_ints(options, DQG_RUN_RAS_RANGE, (const int64_t[]){4, 3}, 2));
    refuse(fixture, NULL, options, DQG_ERROR_RANGE);
    options = run_options(fixture->context, &half);
    assert_ok(dqg_options_set_float(options, DQG_RUN_RAS_HIGH, 1));
    dqg_memory_info info;
    DQG_INIT(&info);
    assert_ok(dqg_options_set_float(options, DQG_RUN_RAS_RATIO, 1e-12));
    assert_fails(fixture->context, dqg_model_memory(fixture->context, fixture->model, NULL, options, &info),
                 DQG_ERROR_RANGE);
    refuse(fixture, NULL, options, DQG_ERROR_RANGE);
    run = make_run(fixture, &half);
    options = make_options(fixture->context, DQG_OPTIONS_SEARCH);
    assert_ok(dqg_options_set_text(options, DQG_SEARCH_METHOD, "sde"));
    assert_fails(fixture->context, dqg_run_search(run, options, NULL, NULL), DQG_ERROR_UNSUPPORTED);
    dqg_options_destroy(options);
    dqg_run_destroy(run);
    dqg_scheduler_release(heun);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_tokens), cmocka_unit_test(test_steps),   cmocka_unit_test(test_held_velocity),
        cmocka_unit_test(test_same_bits),  cmocka_unit_test(test_restore), cmocka_unit_test(test_fork),
        cmocka_unit_test(test_cancel),     cmocka_unit_test(test_changes), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_guided),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
