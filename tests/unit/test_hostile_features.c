/* SPDX-License-Identifier: MIT */
/* Wrong arguments to dqg_model_features(): a status and a message for each, whatever it is. */
#include "check.h"
#include "model_fixture.h"

enum { CHANNELS = 4, SIDE = 8, GRID = 4, HIDDEN = 64, DEPTH = 2, IMAGE = CHANNELS * SIDE * SIDE };

static void wrong_arguments(void **state) {
    const struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    static float images[IMAGE], out[HIDDEN];
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, 1));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    dqg_options_destroy(options);
    dqg_tensor_view x = view_f32(images, 1, CHANNELS, SIDE, SIDE), output = view_f32(out, 1, HIDDEN, 0, 0);
    dqg_feature_spec good;
    DQG_INIT(&good);
    good.block = good.pool = 1;
    dqg_feature_spec spec = good;
    assert_int_equal(dqg_model_features(NULL, fixture->model, scheduler, &x, &spec, NULL, NULL, &output, NULL),
                     DQG_ERROR_ARGUMENT);
#define refuse(status)                                                                                                 \
    assert_fails(context,                                                                                              \
                 dqg_model_features(context, fixture->model, scheduler, &x, &spec, NULL, NULL, &output, NULL), status)
    spec.block = 0;
    refuse(DQG_ERROR_RANGE);
    spec.block = DEPTH + 1;
    refuse(DQG_ERROR_RANGE);
    spec = good;
    spec.pool = 0;
    refuse(DQG_ERROR_RANGE);
    spec.pool = GRID + 1;
    refuse(DQG_ERROR_RANGE);
    spec = good;
    spec.index = 1;
    refuse(DQG_ERROR_RANGE);
    spec = good;
    spec.struct_size = 4;
    refuse(DQG_ERROR_ARGUMENT);
    spec = good;
    output.shape[1] = 3;
    refuse(DQG_ERROR_ARGUMENT);
    output.shape[1] = HIDDEN;
    x.shape[3] = 7;
    assert_true(dqg_model_features(context, fixture->model, scheduler, &x, &spec, NULL, NULL, &output, NULL) < 0);
    x.shape[1] = 3;
    refuse(DQG_ERROR_ARGUMENT);
    dqg_scheduler_release(scheduler);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_arguments)};
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
