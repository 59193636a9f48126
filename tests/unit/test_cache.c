/* SPDX-License-Identifier: MIT */
/*
 * Step caches of runs: threshold 0 changes nothing, the first step is never changed, and with evaluations left out for
 * some samples of the batch a run gives the same bits for any threads, budgets and batch, and after restoring.
 */
#include <stdlib.h>

#include "check.h"
#include "model_fixture.h"
#include "run/cache.h"

enum { IMAGES = 3, IMAGE = 4 * 8 * 8, VALUES = IMAGES * IMAGE, STEPS = 12 };

struct cached {
    const char *cache;
    double threshold; /* at which the samples of the tiny model do not all agree */
};
static const struct cached caches[] = {{"first-block", 0.6}, {"teacache", 0.15}, {"easycache", 0.14}};

static dqg_run *make_run(const struct model_fixture *fixture, const char *cache, double threshold, int32_t first,
                         int32_t count) {
    static const int64_t classes[IMAGES] = {0, 2, 4};
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    dqg_options *schedule = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    dqg_run *run;
    assert_ok(dqg_options_set_int(schedule, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_scheduler_create(fixture->context, schedule, &scheduler));
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, count));
    assert_ok(dqg_options_set_int(options, DQG_RUN_SEED, 7 + first));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, classes + first, count));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, 2.5));
    assert_ok(dqg_options_set_text(options, DQG_RUN_CACHE, cache));
    assert_ok(dqg_options_set_float(options, DQG_RUN_CACHE_THRESHOLD, threshold));
    assert_ok(dqg_options_set_int(options, DQG_RUN_CACHE_WARMUP, 2));
    if (dqg_run_create(fixture->context, fixture->model, scheduler, options, &run) != DQG_OK) {
        fail_msg("%s", dqg_context_error(fixture->context));
    }
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(schedule);
    dqg_options_destroy(options);
    return run;
}

static void read_latent(dqg_run *run, float *latent, int32_t count) {
    dqg_tensor_view view = view_f32(latent, count, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
}

static dqg_run_info info_of(const dqg_run *run) {
    dqg_run_info info;
    DQG_INIT(&info);
    assert_ok(dqg_run_get_info(run, &info));
    return info;
}

/* To the end, with a budget or, negative, step by step; the run goes. */
static dqg_run_info finish(dqg_run *run, int64_t budget, float *latent, int32_t count) {
    dqg_status status;
    do {
        status = budget < 0 ? dqg_run_step(run) : dqg_run_advance(run, budget);
        assert_true(status >= 0);
    } while (status != DQG_DONE);
    read_latent(run, latent, count);
    dqg_run_info info = info_of(run);
    dqg_run_destroy(run);
    return info;
}

static void test_threshold_zero(void **state) {
    float plain[VALUES], cached[VALUES];
    finish(make_run(*state, "none", 0, 0, IMAGES), -1, plain, IMAGES);
    for (size_t i = 0; i < DQG_COUNT_OF(caches); i++) {
        dqg_run_info info = finish(make_run(*state, caches[i].cache, 0, 0, IMAGES), -1, cached, IMAGES);
        assert_memory_equal(plain, cached, sizeof plain);
        assert_int_equal(info.skipped, 0);
        assert_int_equal(info.computed, 2 * IMAGES * STEPS);
    }
}

/* However much may be left out, nothing is in the first step. */
static void test_first_step(void **state) {
    float plain[VALUES], cached[VALUES];
    dqg_run *run = make_run(*state, "none", 0, 0, IMAGES);
    assert_ok(dqg_run_step(run));
    read_latent(run, plain, IMAGES);
    dqg_run_destroy(run);
    for (size_t i = 0; i < DQG_COUNT_OF(caches); i++) {
        run = make_run(*state, caches[i].cache, 1e6, 0, IMAGES);
        assert_ok(dqg_run_step(run));
        read_latent(run, cached, IMAGES);
        assert_memory_equal(plain, cached, sizeof plain);
        dqg_run_info info = finish(run, -1, cached, IMAGES);
        int last = strcmp(caches[i].cache, "first-block") != 0; /* the others compute the last step too */
        assert_int_equal(info.computed, 2 * IMAGES * (2 + last));
        assert_int_equal(info.computed + info.skipped, 2 * IMAGES * STEPS);
    }
}

static void test_same_bits(void **state) {
    const struct model_fixture *fixture = *state;
    for (size_t i = 0; i < DQG_COUNT_OF(caches); i++) {
        float want[VALUES], got[VALUES];
        const char *cache = caches[i].cache;
        double threshold = caches[i].threshold;
        assert_ok(dqg_context_set_threads(fixture->context, 1));
        dqg_run_info info = finish(make_run(fixture, cache, threshold, 0, IMAGES), -1, want, IMAGES);
        assert_true(info.skipped > 0 && info.computed > 4 * IMAGES);
        int64_t computed = 0;
        for (int32_t image = 0; image < IMAGES; image++) {
            dqg_run_info alone = finish(make_run(fixture, cache, threshold, image, 1), -1, got, 1);
            assert_memory_equal(want + image * IMAGE, got, IMAGE * sizeof *got);
            computed += alone.computed;
        }
        assert_int_equal(computed, info.computed);
        assert_true(computed % (2 * IMAGES) != 0); /* some samples computed where others did not */
        for (int32_t threads = 1; threads <= 3; threads++) {
            assert_ok(dqg_context_set_threads(fixture->context, threads));
            finish(make_run(fixture, cache, threshold, 0, IMAGES), threads == 2 ? 0 : 50, got, IMAGES);
            assert_memory_equal(want, got, sizeof want);
        }
    }
}

/* Saved after any number of operators, in the middle of evaluations too. */
static void test_restore(void **state) {
    for (size_t i = 0; i < DQG_COUNT_OF(caches); i++) {
        float want[VALUES], got[VALUES];
        const char *cache = caches[i].cache;
        double threshold = caches[i].threshold;
        dqg_run_info whole = finish(make_run(*state, cache, threshold, 0, IMAGES), -1, want, IMAGES);
        dqg_run *run = make_run(*state, cache, threshold, 0, IMAGES);
        size_t size;
        assert_ok(dqg_run_state_size(run, &size));
        char *saved = malloc(size);
        for (int operators = 0; info_of(run).step < STEPS - 1; operators++) {
            assert_true(dqg_run_advance(run, 0) >= 0);
            if (operators % 7 != 0) {
                continue;
            }
            assert_ok(dqg_run_save(run, saved, size));
            dqg_run *other = make_run(*state, cache, threshold, 0, IMAGES);
            assert_ok(dqg_run_restore(other, saved, size));
            dqg_run_info info = finish(other, -1, got, IMAGES);
            assert_memory_equal(want, got, sizeof want);
            assert_int_equal(info.computed, whole.computed);
        }
        free(saved);
        dqg_run_destroy(run);
    }
}

/* A fork has a cache of its own, with the same content; both go on alone. */
static void test_fork(void **state) {
    for (size_t i = 0; i < DQG_COUNT_OF(caches); i++) {
        float want[VALUES], got[VALUES];
        dqg_run *copy, *run = make_run(*state, caches[i].cache, caches[i].threshold, 0, IMAGES);
        for (int step = 0; step < 6; step++) {
            assert_ok(dqg_run_step(run));
        }
        assert_ok(dqg_run_fork(run, &copy));
        dqg_run_info first = finish(run, -1, want, IMAGES), second = finish(copy, -1, got, IMAGES);
        assert_memory_equal(want, got, sizeof want);
        assert_int_equal(first.computed, second.computed);
    }
}

/* Writing the latent empties the cache: the next evaluation is a whole one. */
static void test_write_forgets(void **state) {
    float latent[VALUES];
    dqg_run *run = make_run(*state, "first-block", 1e6, 0, IMAGES);
    for (int i = 0; i < 4; i++) {
        assert_ok(dqg_run_step(run));
    }
    assert_int_equal(info_of(run).computed, 4 * IMAGES);
    read_latent(run, latent, IMAGES);
    dqg_tensor_view view = view_f32(latent, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_write(run, &view));
    assert_ok(dqg_run_step(run));
    assert_int_equal(info_of(run).computed, 6 * IMAGES);
    dqg_run_destroy(run);
}

static void test_refused(void **state) {
    const struct model_fixture *fixture = *state;
    const double coefficients[9] = {1};
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    dqg_run *run;
    assert_ok(dqg_options_set_text(options, DQG_RUN_CACHE, "deepcache"));
    assert_fails(fixture->context, dqg_run_create(fixture->context, fixture->model, NULL, options, &run),
                 DQG_ERROR_UNSUPPORTED);
    assert_ok(dqg_options_set_text(options, DQG_RUN_CACHE, "teacache"));
    assert_ok(dqg_options_set_floats(options, DQG_RUN_CACHE_POLYNOMIAL, coefficients, 9));
    assert_fails(fixture->context, dqg_run_create(fixture->context, fixture->model, NULL, options, &run),
                 DQG_ERROR_ARGUMENT);
    dqg_options_destroy(options);
}

/* The published polynomial for FLUX. */
static void test_polynomial(void **state) {
    static const double x[] = {.02, .05, .1, .2}, want[] = {0.20797829, 0.18050262, 0.20684738, 0.26199518};
    struct dqg_cache cache = {.polynomial = {498.651651, -283.781631, 55.8554382, -3.82021401, 0.264230861},
                              .polynomial_count = 5};
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(x); i++) {
        assert_float_equal(dqg_cache_rescale(&cache, x[i]), want[i], 1e-8);
    }
    cache.polynomial_count = 0;
    assert_true(dqg_cache_rescale(&cache, 0.3) == 0.3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threshold_zero), cmocka_unit_test(test_first_step),    cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_restore),        cmocka_unit_test(test_write_forgets), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_polynomial),     cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
