/* SPDX-License-Identifier: MIT */
/* Wrong arguments to the public functions of guidance; a run that was asked goes on as if it had not been. */
#include <math.h>

#include "check.h"
#include "model_fixture.h"

enum { PLANE = 64, VALUES = 4 * PLANE };

static dqg_run *make_run(struct model_fixture *fixture) {
    dqg_run *run;
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_parse(options, "classes", "1"));
    assert_ok(dqg_options_parse(options, "guidance", "2"));
    assert_ok(dqg_run_create(fixture->context, fixture->model, NULL, options, &run));
    dqg_options_destroy(options);
    return run;
}

static void creation(void **state) {
    static const struct {
        const char *names[3], *values[3];
        dqg_status expected;
    } rows[] = {
        {{"conditions"}, {"2"}, DQG_ERROR_ARGUMENT},
        {{"conditions", "classes"}, {"2", "1"}, DQG_ERROR_ARGUMENT},
        {{"conditions", "classes"}, {"2", "1,2,3"}, DQG_ERROR_ARGUMENT},
        {{"conditions", "classes"}, {"2", "1,5"}, DQG_ERROR_RANGE},
        {{"conditions", "classes", "condition-weights"}, {"2", "1,2", "1"}, DQG_ERROR_ARGUMENT},
        {{"condition-weights"}, {"1,1"}, DQG_ERROR_ARGUMENT},
        {{"perturbed-scale", "perturbed-blocks"}, {"1", "2"}, DQG_ERROR_RANGE},
        {{"perturbed-scale", "perturbed-blocks", "perturbation"}, {"1", "100000", "skip"}, DQG_ERROR_RANGE},
        {{"cfg-channels", "guidance", "classes"}, {"5", "2", "1"}, DQG_ERROR_RANGE},
    };
    struct model_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dqg_run *run = anything;
        dqg_memory_info info;
        DQG_INIT(&info);
        dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
        for (int j = 0; j < 3 && rows[i].names[j] != NULL; j++) {
            assert_ok(dqg_options_parse(options, rows[i].names[j], rows[i].values[j]));
        }
        assert_fails(fixture->context, dqg_run_create(fixture->context, fixture->model, NULL, options, &run),
                     rows[i].expected);
        assert_null(run);
        assert_fails(fixture->context, dqg_model_memory(fixture->context, fixture->model, NULL, options, &info),
                     rows[i].expected);
        dqg_options_destroy(options);
    }
}

static void set_guidance(void **state) {
    struct model_fixture *fixture = *state;
    dqg_run *run = make_run(fixture);
    dqg_options *wrong = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
    assert_int_equal(dqg_run_set_guidance(NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(fixture->context, dqg_run_set_guidance(run, wrong), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_set_guidance(run, NULL));
    dqg_options_destroy(wrong);
    dqg_run_destroy(run);
}

static void set_condition(void **state) {
    struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    dqg_run *run = make_run(fixture), *other = make_run(fixture);
    float mask[PLANE], latents[2][VALUES];
    dqg_tensor_view view = view_f32(mask, 8, 8, 0, 0);
    dqg_condition condition;
    DQG_INIT(&condition);
    assert_int_equal(dqg_run_set_condition(NULL, 0, 0, &condition), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_set_condition(run, 0, 0, NULL), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_set_condition(run, 0, 0, &condition)); /* changes nothing */
    assert_fails(context, dqg_run_set_condition(run, 1, 0, &condition), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_condition(run, -2, 0, &condition), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_condition(run, 0, 1, &condition), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_condition(run, 0, -1, &condition), DQG_ERROR_RANGE);
    condition.flags = 8;
    assert_fails(context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_ARGUMENT);
    condition.flags = DQG_CONDITION_CLASS;
    condition.reserved = 1;
    assert_fails(context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_ARGUMENT);
    condition.reserved = 0;
    condition.label = 5;
    assert_fails(context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_RANGE);
    condition.label = -2;
    assert_fails(context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_RANGE);
    condition.flags = DQG_CONDITION_WEIGHT;
    const double weights[] = {NAN, INFINITY, -INFINITY, 101};
    for (int i = 0; i < 4; i++) {
        condition.weight = weights[i];
        assert_fails(context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_RANGE);
    }
    condition.flags = DQG_CONDITION_MASK | DQG_CONDITION_CLASS;
    condition.label = 3;
    condition.mask = &view;
    const float values[] = {NAN, INFINITY, -0.001f, 1.001f};
    for (int i = 0; i < 4; i++) {
        memset(mask, 0, sizeof mask);
        mask[PLANE - 1] = values[i];
        assert_fails(context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_RANGE);
    }
    view.shape[0] = 7;
    assert_fails(context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_ARGUMENT);
    condition.struct_size = 8;
    assert_fails(context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_ARGUMENT);
    for (int i = 0; i < 2; i++) {
        view = view_f32(latents[i], 1, 4, 8, 8);
        assert_ok(dqg_run_step(i == 0 ? run : other));
        assert_ok(dqg_run_read(i == 0 ? run : other, DQG_SOURCE_LATENT, &view));
    }
    assert_memory_equal(latents[0], latents[1], sizeof latents[0]);
    dqg_run_destroy(run);
    dqg_run_destroy(other);
}

/* A network that takes classes only. */
static void set_inputs(void **state) {
    struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    static float rows[64];
    dqg_tensor_view view = {.struct_size = sizeof view, .data = rows, .dtype = DQG_DTYPE_F32, .rank = 3};
    const double number = 1;
    int32_t label = 5;
    dqg_run *run = NULL;
    dqg_inputs inputs;
    DQG_INIT(&inputs);
    view.shape[0] = view.shape[1] = view.shape[2] = 4;
    assert_ok(dqg_run_create(context, fixture->model, NULL, NULL, &run));
    assert_int_equal(dqg_run_set_inputs(NULL, 0, 0, &inputs), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_set_inputs(run, 0, 0, NULL), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_set_inputs(run, 0, 0, &inputs)); /* changes nothing */
    assert_fails(context, dqg_run_set_inputs(run, 1, 0, &inputs), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_inputs(run, -2, 0, &inputs), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_inputs(run, 0, 1, &inputs), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_inputs(run, 0, -2, &inputs), DQG_ERROR_RANGE);
    assert_fails(context, dqg_run_set_inputs(run, 0, DQG_UNCONDITIONAL, &inputs), DQG_ERROR_STATE);
    inputs.labels = &label;
    assert_fails(context, dqg_run_set_inputs(run, 0, 0, &inputs), DQG_ERROR_RANGE);
    inputs.labels = NULL;
    const dqg_tensor_view **const views[] = {&inputs.context, &inputs.mask, &inputs.pooled, &inputs.extra};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        *views[i] = &view;
        assert_fails(context, dqg_run_set_inputs(run, 0, 0, &inputs), DQG_ERROR_ARGUMENT);
        *views[i] = NULL;
    }
    inputs.sizes = &number;
    assert_fails(context, dqg_run_set_inputs(run, 0, 0, &inputs), DQG_ERROR_ARGUMENT);
    inputs.sizes = NULL;
    inputs.guidance = &number;
    assert_fails(context, dqg_run_set_inputs(run, 0, 0, &inputs), DQG_ERROR_ARGUMENT);
    inputs.guidance = NULL;
    inputs.flags = 1;
    assert_fails(context, dqg_run_set_inputs(run, 0, 0, &inputs), DQG_ERROR_ARGUMENT);
    inputs.flags = 0;
    inputs.struct_size = 8;
    assert_fails(context, dqg_run_set_inputs(run, 0, 0, &inputs), DQG_ERROR_ARGUMENT);
    dqg_run_destroy(run);
}

/* One evaluation of it. */
static void denoise(void **state) {
    struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    dqg_model *model = fixture->model, *joined;
    static float values[2 * 4 * 8 * 8];
    dqg_tensor_view x = {.struct_size = sizeof x, .data = values, .dtype = DQG_DTYPE_F32, .rank = 4};
    const double time = 1;
    const int32_t label = 5;
    dqg_inputs inputs;
    DQG_INIT(&inputs);
    x.shape[0] = 1;
    x.shape[1] = 4;
    x.shape[2] = x.shape[3] = 8;
    assert_int_equal(dqg_model_denoise(NULL, model, &x, &time, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_denoise(context, NULL, &x, &time, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_denoise(context, model, NULL, &time, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_denoise(context, model, &x, NULL, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_denoise(context, model, &x, &time, &inputs, NULL, NULL, NULL), DQG_ERROR_ARGUMENT);
    inputs.labels = &label;
    assert_fails(context, dqg_model_denoise(context, model, &x, &time, &inputs, NULL, NULL, &x), DQG_ERROR_RANGE);
    inputs.labels = NULL;
    inputs.context = &x;
    assert_fails(context, dqg_model_denoise(context, model, &x, &time, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_model_denoise(context, model, &x, &time, NULL, NULL, NULL, &x));
    assert_int_equal(dqg_model_attach_control(NULL, model, model, &joined), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_attach_control(context, NULL, model, &joined), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_attach_control(context, model, NULL, &joined), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_attach_control(context, model, model, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_attach_control(context, model, model, &joined), DQG_ERROR_ARGUMENT);
    assert_null(joined);
}

static void runs_without_model(void **state) {
    struct model_fixture *fixture = *state;
    const int64_t shape[2] = {1, 3};
    dqg_scheduler *scheduler;
    dqg_run *run;
    dqg_condition condition;
    DQG_INIT(&condition);
    assert_ok(dqg_scheduler_create(fixture->context, NULL, &scheduler));
    assert_ok(dqg_run_create_custom(fixture->context, scheduler, shape, 2, NULL, &run));
    assert_fails(fixture->context, dqg_run_set_guidance(run, NULL), DQG_ERROR_STATE);
    assert_fails(fixture->context, dqg_run_set_condition(run, 0, 0, &condition), DQG_ERROR_STATE);
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
}

static void combine(void **state) {
    struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    float c[4] = {1, 2, 3, 4}, out[4];
    dqg_tensor_view in = view_f32(c, 2, 2, 0, 0), other = view_f32(c, 4, 0, 0, 0), result = view_f32(out, 2, 2, 0, 0);
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_options *wrong = make_options(context, DQG_OPTIONS_MODEL);
    dqg_guidance_terms terms;
    DQG_INIT(&terms);
    terms.steps = 1;
    terms.sigma = 1;
    terms.conditional = &in;
    assert_int_equal(dqg_guidance_combine(NULL, NULL, &terms, &result), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_guidance_combine(context, NULL, NULL, &result), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_guidance_combine(context, NULL, &terms, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_guidance_combine(context, wrong, &terms, &result), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_guidance_combine(context, NULL, &terms, &result));
    assert_memory_equal(c, out, sizeof c);
    static const char *const needs[][2] = {{"guidance", "2"}, {"perturbed-scale", "1"}, {"cfg-channels", "3"}};
    for (int i = 0; i < 3; i++) {
        dqg_options *one = make_options(context, DQG_OPTIONS_RUN);
        assert_ok(dqg_options_parse(one, needs[i][0], needs[i][1]));
        assert_fails(context, dqg_guidance_combine(context, one, &terms, &result),
                     i < 2 ? DQG_ERROR_ARGUMENT : DQG_ERROR_RANGE);
        dqg_options_destroy(one);
    }
    assert_ok(dqg_options_parse(options, "guidance", "2"));
    assert_ok(dqg_options_parse(options, "guidance-form", "apg"));
    terms.unconditional = &other;
    assert_fails(context, dqg_guidance_combine(context, options, &terms, &result), DQG_ERROR_ARGUMENT);
    terms.unconditional = &in;
    assert_fails(context, dqg_guidance_combine(context, options, &terms, &result), DQG_ERROR_ARGUMENT); /* momentum */
    terms.unconditional = NULL;
    const struct {
        int32_t step, steps;
        double sigma;
    } bad[] = {{-1, 1, 1}, {1, 1, 1}, {0, 0, 1}, {0, -5, 1}, {0, 1, NAN}, {0, 1, -1}, {INT32_MAX, INT32_MIN, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        terms.step = bad[i].step;
        terms.steps = bad[i].steps;
        terms.sigma = bad[i].sigma;
        assert_fails(context, dqg_guidance_combine(context, NULL, &terms, &result), DQG_ERROR_RANGE);
    }
    terms.step = 0;
    terms.steps = 1;
    terms.sigma = 1;
    in.shape[0] = INT64_MAX;
    in.shape[1] = INT64_MAX;
    assert_fails(context, dqg_guidance_combine(context, NULL, &terms, &in), DQG_ERROR_ARGUMENT);
    in.rank = 0;
    assert_fails(context, dqg_guidance_combine(context, NULL, &terms, &in), DQG_ERROR_ARGUMENT);
    in.rank = DQG_MAX_RANK + 1;
    assert_fails(context, dqg_guidance_combine(context, NULL, &terms, &in), DQG_ERROR_ARGUMENT);
    terms.flags = 1;
    assert_fails(context, dqg_guidance_combine(context, NULL, &terms, &result), DQG_ERROR_ARGUMENT);
    terms.flags = 0;
    terms.struct_size = 8;
    assert_fails(context, dqg_guidance_combine(context, NULL, &terms, &result), DQG_ERROR_ARGUMENT);
    dqg_options_destroy(options);
    dqg_options_destroy(wrong);
}

/* x0 estimates are clipped to -1 .. 1, and not below. */
static int32_t check_clipped(void *user, const dqg_tensor_view *x0, double *reward) {
    const float *values = x0->data;
    int *calls = user;
    float most = 0;
    for (int i = 0; i < 4 * 8 * 8; i++) {
        most = fmaxf(most, fabsf(values[i]));
    }
    assert_float_equal(most, 1, 1e-5);
    *reward = ++*calls;
    return 0;
}

/* Particles do not follow each other: no momentum, nothing that counts steps; the rest works on the search's own path.
 */
static void searches(void **state) {
    struct model_fixture *fixture = *state;
    static const char *const refused[] = {"guidance-form=apg", "zero-steps=1", "perturbed-scale=2 perturbed-end=0.5"};
    static const char fine[] =
        "classes=1 guidance=6 guidance-form=apg apg-momentum=0 perturbed-scale=2 threshold=0.9 threshold-limit=1";
    dqg_options *plan = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
    dqg_options *guidance = make_options(fixture->context, DQG_OPTIONS_RUN);
    dqg_scheduler *scheduler;
    dqg_run *run;
    int calls = 0;
    parse_options(plan, "schedule=flow prediction=flow");
    assert_ok(dqg_scheduler_create(fixture->context, plan, &scheduler));
    for (size_t i = 0; i < 3; i++) {
        dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
        parse_options(options, "classes=1 guidance=3");
        parse_options(options, refused[i]);
        assert_ok(dqg_run_create(fixture->context, fixture->model, scheduler, options, &run));
        assert_fails(fixture->context, dqg_run_search(run, NULL, check_clipped, &calls), DQG_ERROR_UNSUPPORTED);
        dqg_run_destroy(run);
        dqg_options_destroy(options);
    }
    parse_options(guidance, fine);
    assert_ok(dqg_run_create(fixture->context, fixture->model, scheduler, guidance, &run));
    assert_ok(dqg_run_search(run, NULL, check_clipped, &calls));
    assert_ok(dqg_options_set_int(guidance, DQG_RUN_ZERO_STEPS, 1));
    assert_fails(fixture->context, dqg_run_set_guidance(run, guidance), DQG_ERROR_UNSUPPORTED);
    for (int i = 0; i < 20; i++) {
        assert_ok(dqg_run_step(run));
    }
    assert_true(calls > 5);
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(guidance);
    dqg_options_destroy(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(creation),      cmocka_unit_test(set_guidance),
                                       cmocka_unit_test(set_condition), cmocka_unit_test(set_inputs),
                                       cmocka_unit_test(denoise),       cmocka_unit_test(runs_without_model),
                                       cmocka_unit_test(combine),       cmocka_unit_test(searches)};
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
