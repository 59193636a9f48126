/* SPDX-License-Identifier: MIT */
/*
 * Step caches of runs with several passes: the cache belongs to the pass of all copies, the others compute everything,
 * and what it holds is dropped when that pass was left out, and with the class or place that it was made for.
 */
#include <stdlib.h>

#include "check.h"
#include "model_fixture.h"

enum { IMAGES = 2, IMAGE = 4 * 8 * 8, VALUES = IMAGES * IMAGE, STEPS = 12 };

/* Thresholds at which the samples of the tiny model do not all agree. */
static const char *const caches[] = {"cache=first-block cache-threshold=0.6", "cache=teacache cache-threshold=0.15",
                                     "cache=easycache cache-threshold=0.14 cache-warmup=2"};

/* All passes: pair and perturbed, conditions alone and perturbed, conditions alone. */
static const char all_passes[] =
    "classes=1,2 guidance=3 guidance-low=0.5 guidance-high=6 perturbed-scale=2 perturbed-end=0.7";
static const char pair_and_perturbed[] = "classes=1,2 guidance=3 perturbed-scale=2";

static dqg_run *make_run(const struct model_fixture *fixture, const char *guidance, const char *cache) {
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    dqg_options *plan = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    dqg_run *run;
    assert_ok(dqg_options_set_int(plan, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_scheduler_create(fixture->context, plan, &scheduler));
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, IMAGES));
    parse_options(options, guidance);
    parse_options(options, cache);
    if (dqg_run_create(fixture->context, fixture->model, scheduler, options, &run) != DQG_OK) {
        fail_msg("%s %s: %s", guidance, cache, dqg_context_error(fixture->context));
    }
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(plan);
    dqg_options_destroy(options);
    return run;
}

static dqg_run_info info_of(const dqg_run *run) {
    dqg_run_info info;
    DQG_INIT(&info);
    assert_ok(dqg_run_get_info(run, &info));
    return info;
}

/* To the end; the run goes. */
static dqg_run_info finish(dqg_run *run, float *latent) {
    dqg_tensor_view view = view_f32(latent, IMAGES, 4, 8, 8);
    dqg_status status = DQG_OK;
    while (status == DQG_OK) {
        status = dqg_run_step(run);
    }
    assert_int_equal(status, DQG_DONE);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    dqg_run_info info = info_of(run);
    dqg_run_destroy(run);
    return info;
}

static void threshold_zero(void **state) {
    static const char *const zero[] = {"cache=first-block cache-threshold=0", "cache=teacache cache-threshold=0",
                                       "cache=easycache cache-threshold=0"};
    float plain[VALUES], cached[VALUES];
    finish(make_run(*state, all_passes, "cache=none"), plain);
    for (size_t i = 0; i < 3; i++) {
        dqg_run_info info = finish(make_run(*state, all_passes, zero[i]), cached);
        assert_memory_equal(plain, cached, sizeof plain);
        assert_int_equal(info.skipped, 0);
        assert_true(info.computed > 0 && info.computed < 2 * IMAGES * STEPS); /* pairs come in some steps only */
        info = finish(make_run(*state, pair_and_perturbed, zero[i]), cached);
        assert_int_equal(info.computed, 2 * IMAGES * STEPS);
    }
}

/* Saved after any number of operators; operators done never exceed all. */
static void saved_states(void **state) {
    static const char *const guidance[] = {all_passes, pair_and_perturbed};
    for (size_t i = 0; i < 6; i++) {
        const char *settings = guidance[i / 3], *cache = caches[i % 3];
        float want[VALUES], got[VALUES];
        dqg_run_info whole = finish(make_run(*state, settings, cache), want);
        assert_true(whole.skipped > 0 && whole.computed > 0);
        dqg_run *run = make_run(*state, settings, cache);
        size_t size;
        assert_ok(dqg_run_state_size(run, &size));
        char *saved = malloc(size);
        assert_non_null(saved);
        for (int operators = 0; info_of(run).step < STEPS - 1; operators++) {
            assert_true(dqg_run_advance(run, 0) >= 0);
            assert_true(info_of(run).operator_index < info_of(run).operators);
            if (operators % 17 != 0) {
                continue;
            }
            assert_ok(dqg_run_save(run, saved, size));
            dqg_run *other = make_run(*state, settings, cache);
            assert_ok(dqg_run_step(other));
            assert_ok(dqg_run_restore(other, saved, size));
            dqg_run_info info = finish(other, got);
            assert_memory_equal(want, got, sizeof want);
            assert_int_equal(info.computed, whole.computed);
        }
        free(saved);
        dqg_run_destroy(run);
    }
}

static void steps(dqg_run *run, int count, int64_t computed) {
    for (int i = 0; i < count; i++) {
        assert_ok(dqg_run_step(run));
    }
    assert_int_equal(info_of(run).computed, computed * 2 * IMAGES);
}

static void set_guidance(const struct model_fixture *fixture, dqg_run *run, const char *settings) {
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    parse_options(options, settings);
    assert_ok(dqg_run_set_guidance(run, options));
    dqg_options_destroy(options);
}

/* With a threshold that all changes are below, pairs are computed where there is nothing to stand in, and only there.
 */
static void dropped(void **state) {
    dqg_condition condition;
    DQG_INIT(&condition);
    dqg_run *run = make_run(*state, "classes=1,2 guidance=3 zero-steps=1", "cache=first-block cache-threshold=1e6");
    steps(run, 1, 0);
    steps(run, 3, 1);
    set_guidance(*state, run, "guidance=1");
    steps(run, 1, 1);
    set_guidance(*state, run, "guidance=3");
    steps(run, 2, 2); /* the pair was left out for a step */
    condition.flags = DQG_CONDITION_WEIGHT;
    condition.weight = 0.5;
    assert_ok(dqg_run_set_condition(run, -1, 0, &condition));
    steps(run, 1, 2); /* weights are nothing to the network */
    condition.flags = DQG_CONDITION_CLASS;
    condition.label = 3;
    assert_ok(dqg_run_set_condition(run, 0, 0, &condition));
    steps(run, 2, 3);
    assert_ok(dqg_run_seek(run, 4));
    steps(run, 2, 4);
    dqg_run_destroy(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threshold_zero),
        cmocka_unit_test(saved_states),
        cmocka_unit_test(dropped),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
