/* SPDX-License-Identifier: MIT */
/*
 * How a scheduler is put together: the tables and their names, defaults, what is refused and what the refusal says,
 * identity, and what is left behind when memory runs out.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sched_check.h"

/* ---- tables ---- */

static char guide[1 << 16]; /* docs/schedulers.md */

static int read_guide(void **state) {
    (void)state;
    FILE *file = fopen("docs/schedulers.md", "rb");
    if (file == NULL) {
        print_error("docs/schedulers.md is not there: run this from the root of the source tree\n");
        return -1;
    }
    guide[fread(guide, 1, sizeof(guide) - 1, file)] = '\0';
    fclose(file);
    return 0;
}

static void check_table(const char *names, const void *table, size_t count, size_t row_size) {
    char joined[1024] = "";
    for (size_t i = 0; i < count; i++) {
        const struct dqg_piece *piece = (const struct dqg_piece *)((const char *)table + i * row_size);
        assert_true(strlen(joined) + strlen(piece->name) + 2 < sizeof(joined));
        strcat(strcat(joined, i > 0 ? "|" : ""), piece->name);
        assert_true(strlen(piece->doc) > 10 && strchr(piece->doc, '\n') == NULL);
        char row[64];
        snprintf(row, sizeof(row), "\n| `%s` |", piece->name);
        if (strstr(guide, row) == NULL) {
            fail_msg("docs/schedulers.md has no table row for %s", piece->name);
        }
    }
    assert_string_equal(joined, names);
}

static void test_names(void **state) {
    (void)state;
    check_table(dqg_solver_names, dqg_solvers, dqg_solver_count, sizeof(dqg_solvers[0]));
    check_table(dqg_schedule_names, dqg_schedules, dqg_schedule_count, sizeof(dqg_schedules[0]));
    check_table(dqg_spacing_names, dqg_spacings, dqg_spacing_count, sizeof(dqg_spacings[0]));
    check_table(dqg_prediction_names, dqg_predictions, dqg_prediction_count, sizeof(dqg_predictions[0]));
    for (size_t i = 0; i < dqg_solver_count; i++) {
        assert_true(dqg_solvers[i].buffers >= 0 && dqg_solvers[i].buffers <= DQG_SOLVER_BUFFERS);
        assert_true(dqg_solvers[i].evaluations >= 1 && dqg_solvers[i].feed != NULL);
    }
    assert_string_equal(dqg_predictions[DQG_PREDICT_EPSILON].piece.name, "epsilon");
    assert_string_equal(dqg_predictions[DQG_PREDICT_V].piece.name, "v");
    assert_string_equal(dqg_predictions[DQG_PREDICT_X0].piece.name, "x0");
    assert_string_equal(dqg_predictions[DQG_PREDICT_FLOW].piece.name, "flow");
    assert_string_equal(dqg_predictions[DQG_PREDICT_EDM].piece.name, "edm");
}

/* Every combination either works or is refused with a reason. */
static void test_every_combination(void **state) {
    (void)state;
    size_t total = dqg_solver_count * dqg_schedule_count * dqg_spacing_count * dqg_prediction_count;
    size_t made = 0;
    for (size_t i = 0; i < total; i++) {
        struct dqg_sched_config config = analytic_config();
        size_t rest = i;
        config.solver = dqg_solvers[rest % dqg_solver_count].piece.name;
        rest /= dqg_solver_count;
        config.spacing = dqg_spacings[rest % dqg_spacing_count].piece.name;
        rest /= dqg_spacing_count;
        config.prediction = dqg_predictions[rest % dqg_prediction_count].piece.name;
        config.schedule = dqg_schedules[rest / dqg_prediction_count].piece.name;
        struct dqg_sched sched;
        dqg_error_clear(&context);
        dqg_status status = dqg_sched_init(&context, &config, &sched);
        if (status == DQG_OK) {
            made++;
            dqg_sched_free(&context.alloc, &sched);
        } else {
            assert_int_equal(status, DQG_ERROR_UNSUPPORTED);
            assert_non_null(strstr(context.error, "what fits there: "));
        }
    }
    size_t spacings[3] = {0, 0, 0}, k_solvers = 0;
    for (size_t i = 0; i < dqg_solver_count; i++) {
        k_solvers += dqg_solvers[i].k_coordinates;
    }
    for (size_t i = 0; i < dqg_spacing_count; i++) {
        spacings[0] += (dqg_spacings[i].families & DQG_FAMILY_FLOW) != 0;
        spacings[1] += (dqg_spacings[i].families & DQG_FAMILY_VP) != 0;
        spacings[2] += (dqg_spacings[i].families & DQG_FAMILY_EDM) != 0;
        assert_true((dqg_spacings[i].timesteps != NULL) + (dqg_spacings[i].levels != NULL) <= 1);
    }
    /* solvers x (flow: two predictions; five VP schedules: three); EDM has four and some of the solvers */
    assert_int_equal(made, dqg_solver_count * (spacings[0] * 2 + 5 * spacings[1] * 3) + k_solvers * spacings[2] * 4);
}

static void test_defaults(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    struct dqg_sched bare, named;
    assert_int_equal(dqg_sched_init(&context, &config, &bare), DQG_OK);
    config.solver = "euler";
    config.schedule = "flow";
    config.spacing = "linspace";
    config.prediction = "flow";
    assert_int_equal(dqg_sched_init(&context, &config, &named), DQG_OK);
    assert_int_equal(bare.identity, named.identity);
    assert_int_equal(bare.prediction, DQG_PREDICT_FLOW);
    assert_int_equal(dqg_sched_buffers(&bare), 0);
    assert_int_equal(dqg_sched_evaluations(&bare), 1);
    dqg_sched_free(&context.alloc, &bare);
    dqg_sched_free(&context.alloc, &named);
    assert_null(bare.points);

    config = analytic_config();
    config.schedule = "linear";
    config.prediction = ""; /* as an option that was not set */
    assert_int_equal(dqg_sched_init(&context, &config, &bare), DQG_OK);
    assert_int_equal(bare.prediction, DQG_PREDICT_EPSILON);
    dqg_sched_free(&context.alloc, &bare);
    dqg_sched_free(&context.alloc, &bare); /* nothing left to free */
}

/* ---- refusals ---- */

static const double rising[] = {0.5, 0.7, 0};
static const double equal[] = {0.5, 0.5, 0};
static const double not_less[] = {1, 0.5, 0.5};
static const double below_zero[] = {1, 0.5, -0.1};
static const double tiny[] = {1, 0.5, 1e-13};
static const double nan_last[] = {1, 0.5, NAN};
static const double too_early[] = {0.5, 0, 0};
static const double above_one[] = {1.5, 0.5, 0};
static const double negative[] = {0.5, -0.1, 0};
static const double infinite[] = {INFINITY, 1, 0};
static const double not_a_number[] = {1, NAN, 0};
static const double good_sigmas[] = {1, 0.5, 0};
static const double good_timesteps[] = {900, 500, 1};
static const double rising_timesteps[] = {1, 500, 900};
static const double late_timesteps[] = {1000, 500, 1};
static const double negative_timesteps[] = {500, 1, -1};
static const double nan_timesteps[] = {500, NAN, 1};

#define SIGMAS(list) .sigmas = (list), .sigma_count = 3
#define TIMESTEPS(list) .timesteps = (list), .timestep_count = 3
#define NUMBERS .shift = 1, .train_timesteps = 1000, .timestep_scale = 1000, .time_power = 2

static const struct {
    struct dqg_sched_config config;
    dqg_status status;
    const char *says;
} refused[] = {
    {{NUMBERS, .steps = 5, .solver = "eulr"}, DQG_ERROR_NAME, "'eulr'; there are euler|heun|ddim|"},
    {{NUMBERS, .steps = 5, .schedule = "quadratic"}, DQG_ERROR_NAME, "no schedule"},
    {{NUMBERS, .steps = 5, .spacing = "carras"}, DQG_ERROR_NAME, "no spacing"},
    {{NUMBERS, .steps = 5, .prediction = "noise"}, DQG_ERROR_NAME, "no prediction"},
    {{NUMBERS, .steps = 5, .spacing = "leading"}, DQG_ERROR_UNSUPPORTED, "what fits there: linspace, normal"},
    {{NUMBERS, .steps = 5, .spacing = "trailing"}, DQG_ERROR_UNSUPPORTED, "what fits there: linspace, normal"},
    {{NUMBERS, .steps = 5, .prediction = "epsilon"}, DQG_ERROR_UNSUPPORTED, "what fits there: x0, flow"},
    {{NUMBERS, .steps = 5, .prediction = "v"}, DQG_ERROR_UNSUPPORTED, "what fits there: x0, flow"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .prediction = "flow"},
     DQG_ERROR_UNSUPPORTED,
     "what fits there: epsilon, v, x0"},
    {{NUMBERS, .steps = 5, .solver = "ddim", .eta = 0.5}, DQG_ERROR_UNSUPPORTED, "set eta to 0"},
    {{NUMBERS, .steps = 5, .solver = "euler", .schedule = "linear", .eta = 0.5},
     DQG_ERROR_UNSUPPORTED,
     "'euler' on schedule 'linear'"},

    {{NUMBERS, .steps = 5, .schedule = "vp", .prediction = "v", .zero_snr = true},
     DQG_ERROR_UNSUPPORTED,
     "no table to rescale"},
    {{NUMBERS, .steps = 5, .lml = {.lambda = 1, .rho = 0.1}, .solver = "heun"},
     DQG_ERROR_UNSUPPORTED,
     "LML does not fit solver 'heun'"},
    {{NUMBERS, .steps = 5, .lml = {.lambda = 1, .rho = 0.1, .kappa = 0.1}}, DQG_ERROR_ARGUMENT, "both given"},
    {{NUMBERS, .steps = 5, .lml = {.lambda = 0, .rho = 0.1}}, DQG_ERROR_RANGE, "lml_lambda is 0"},
    {{NUMBERS, .steps = 5, .lml = {.lambda = 1, .kappa = NAN}}, DQG_ERROR_RANGE, "lml_kappa is nan"},
    {{NUMBERS, .steps = 5, .lml = {.lambda = 1, .rho = -1}}, DQG_ERROR_RANGE, "lml_rho is -1"},
    {{NUMBERS, .steps = 5, .lml = {.lambda = 1, .rho = 1, .freeze = 2}}, DQG_ERROR_RANGE, "lml_freeze is 2"},
    {{.steps = 5, .spacing = "time-power", .shift = 1, .train_timesteps = 1000, .timestep_scale = 1000},
     DQG_ERROR_RANGE,
     "time_power is 0"},

    {{NUMBERS, .steps = 0}, DQG_ERROR_RANGE, "number of steps is 0"},
    {{NUMBERS, .steps = -1}, DQG_ERROR_RANGE, "number of steps is -1"},
    {{NUMBERS, .steps = INT32_MAX}, DQG_ERROR_RANGE, "number of steps"},
    {{NUMBERS, .steps = 1001, .schedule = "linear"}, DQG_ERROR_RANGE, "only 1000 train_timesteps"},
    {{NUMBERS, .steps = 1000, .schedule = "linear", .spacing = "leading", .steps_offset = 1},
     DQG_ERROR_RANGE,
     "visit timestep 1000"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .steps_offset = -1}, DQG_ERROR_RANGE, "steps_offset is -1"},

    {{NUMBERS, .steps = 5, .schedule = "edm", .spacing = "linspace"}, DQG_ERROR_UNSUPPORTED, "what fits there: karras"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .prediction = "flow"},
     DQG_ERROR_UNSUPPORTED,
     "what fits there: epsilon, v, x0, edm"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .solver = "ddim"}, DQG_ERROR_UNSUPPORTED, "what fits there: euler, heun"},
    {{NUMBERS, .steps = 5, .prediction = "edm"}, DQG_ERROR_UNSUPPORTED, "what fits there: x0, flow"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .eta = 0.5}, DQG_ERROR_UNSUPPORTED, "'euler' on schedule 'edm'"},
    {{NUMBERS, .schedule = "edm", TIMESTEPS(good_timesteps)}, DQG_ERROR_UNSUPPORTED, "give sigmas"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .sigma_min = 2, .sigma_max = 1}, DQG_ERROR_RANGE, "sigma_min 2"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .sigma_min = 80}, DQG_ERROR_RANGE, "not below sigma_max 80"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .sigma_min = NAN}, DQG_ERROR_RANGE, "sigma_min is nan"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .sigma_max = INFINITY}, DQG_ERROR_RANGE, "sigma_max is inf"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .sigma_data = -1}, DQG_ERROR_RANGE, "sigma_data is -1"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .rho = NAN}, DQG_ERROR_RANGE, "rho is nan"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .pfgm_dimensions = 0.5}, DQG_ERROR_RANGE, "pfgm_dimensions is 0.5"},
    {{NUMBERS, .steps = 5, .schedule = "edm", .pfgm_dimensions = NAN}, DQG_ERROR_RANGE, "pfgm_dimensions is nan"},
    {{NUMBERS, .steps = 5, .pfgm_dimensions = 128}, DQG_ERROR_UNSUPPORTED, "need schedule 'edm'"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .sigma_max = 10}, DQG_ERROR_UNSUPPORTED, "chooses timesteps"},
    {{NUMBERS, .steps = 5, .spacing = "karras", .sigma_max = 2}, DQG_ERROR_RANGE, "is 2; each must be less"},
    {{NUMBERS, .steps = 5, .image_tokens = -1}, DQG_ERROR_RANGE, "image_tokens is -1"},
    {{NUMBERS, .steps = 5, .image_tokens = INT32_MAX, .max_shift = 1}, DQG_ERROR_RANGE, "shift is inf"},
    {{NUMBERS, .steps = 5, .shift_power = NAN}, DQG_ERROR_RANGE, "shift_power is nan"},
    {{NUMBERS, .steps = 5, .shift_terminal = 1}, DQG_ERROR_RANGE, "shift_terminal is 1"},
    {{.steps = 5, .shift = 3, .image_tokens = 256}, DQG_ERROR_ARGUMENT, "both given"},

    {{.steps = 5, .shift = NAN, .timestep_scale = 1000}, DQG_ERROR_RANGE, "shift is nan"},
    {{.steps = 5, .shift = 0, .timestep_scale = 1000}, DQG_ERROR_RANGE, "shift is 0"},
    {{.steps = 5, .shift = -3, .timestep_scale = 1000}, DQG_ERROR_RANGE, "shift is -3"},
    {{.steps = 5, .shift = INFINITY, .timestep_scale = 1000}, DQG_ERROR_RANGE, "shift is inf"},
    {{.steps = 5, .shift = 1, .timestep_scale = NAN}, DQG_ERROR_RANGE, "timestep_scale is nan"},
    {{.steps = 5, .shift = 1, .timestep_scale = 0}, DQG_ERROR_RANGE, "timestep_scale is 0"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .eta = NAN}, DQG_ERROR_RANGE, "eta is nan"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .solver = "ddim", .eta = 1.001}, DQG_ERROR_RANGE, "eta is 1.001"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .solver = "ddim", .eta = -0.1}, DQG_ERROR_RANGE, "eta is -0.1"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .beta_start = NAN, .beta_end = 0.02}, DQG_ERROR_RANGE, "beta_start"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .beta_start = 1e-4}, DQG_ERROR_RANGE, "beta_end 0"},
    {{NUMBERS, .steps = 5, .schedule = "sigmoid", .beta_start = 1e-4, .beta_end = 1}, DQG_ERROR_RANGE, "beta_end 1"},
    {{NUMBERS, .steps = 5, .schedule = "linear", .beta_start = 0.5, .beta_end = 0.9}, DQG_ERROR_RANGE, "no signal"},
    {{.steps = 5, .schedule = "linear", .train_timesteps = 0}, DQG_ERROR_RANGE, "train_timesteps is 0"},
    {{.steps = 5, .schedule = "linear", .train_timesteps = INT32_MAX}, DQG_ERROR_RANGE, "train_timesteps"},
    {{.steps = 5, .schedule = "linear", .train_timesteps = 1000000}, DQG_ERROR_RANGE, "no signal"},

    {{NUMBERS, SIGMAS(rising)}, DQG_ERROR_RANGE, "sigma 1 of the list is 0.7"},
    {{NUMBERS, SIGMAS(equal)}, DQG_ERROR_RANGE, "sigma 1 of the list is 0.5"},
    {{NUMBERS, SIGMAS(not_less)}, DQG_ERROR_RANGE, "the last sigma of the list is 0.5; it must be 0, or less than"},
    {{NUMBERS, SIGMAS(below_zero)}, DQG_ERROR_RANGE, "the last sigma of the list is -0.1"},
    {{NUMBERS, SIGMAS(tiny)}, DQG_ERROR_RANGE, "the last sigma of the list is 1e-13"},
    {{NUMBERS, SIGMAS(nan_last)}, DQG_ERROR_RANGE, "the last sigma of the list is nan"},
    {{NUMBERS, SIGMAS(too_early)}, DQG_ERROR_RANGE, "sigma 1 of the list is 0"},
    {{NUMBERS, SIGMAS(above_one)}, DQG_ERROR_RANGE, "sigma 0 of the list is 1.5"},
    {{NUMBERS, SIGMAS(negative)}, DQG_ERROR_RANGE, "sigma 1 of the list is -0.1"},
    {{NUMBERS, SIGMAS(infinite), .schedule = "linear"}, DQG_ERROR_RANGE, "sigma 0 of the list is inf"},
    {{NUMBERS, SIGMAS(not_a_number), .schedule = "linear"}, DQG_ERROR_RANGE, "sigma 1 of the list is nan"},
    {{NUMBERS, .sigmas = good_sigmas, .sigma_count = 1}, DQG_ERROR_RANGE, "number of steps is 0"},
    {{NUMBERS, .sigmas = good_sigmas, .sigma_count = -1}, DQG_ERROR_RANGE, "number of steps is 0"},
    {{NUMBERS, TIMESTEPS(good_timesteps)}, DQG_ERROR_UNSUPPORTED, "give sigmas"},
    {{NUMBERS, TIMESTEPS(good_timesteps), SIGMAS(good_sigmas), .schedule = "linear"}, DQG_ERROR_ARGUMENT, "both given"},
    {{NUMBERS, TIMESTEPS(rising_timesteps), .schedule = "linear"}, DQG_ERROR_RANGE, "timestep 1 of the list is 500"},
    {{NUMBERS, TIMESTEPS(late_timesteps), .schedule = "linear"}, DQG_ERROR_RANGE, "timestep 0 of the list is 1000"},
    {{NUMBERS, TIMESTEPS(negative_timesteps), .schedule = "linear"}, DQG_ERROR_RANGE, "timestep 2 of the list is -1"},
    {{NUMBERS, TIMESTEPS(nan_timesteps), .schedule = "linear"}, DQG_ERROR_RANGE, "timestep 1 of the list is nan"},
    {{NUMBERS, .timesteps = good_timesteps, .timestep_count = -3, .schedule = "linear"},
     DQG_ERROR_RANGE,
     "number of steps is -3"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(refused); i++) {
        struct dqg_sched sched;
        memset(&sched, 0x55, sizeof(sched));
        dqg_error_clear(&context);
        dqg_status status = dqg_sched_init(&context, &refused[i].config, &sched);
        if (status != refused[i].status || strstr(context.error, refused[i].says) == NULL) {
            fail_msg("case %zu: status %d, \"%s\" does not say \"%s\"", i, (int)status, context.error, refused[i].says);
        }
        assert_null(sched.points);
        dqg_sched_free(&context.alloc, &sched);
    }
}

/* Lists of length 0 count as not given, wherever they point. */
static void test_empty_lists(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.sigmas = good_sigmas;
    config.timesteps = good_timesteps;
    struct dqg_sched sched;
    assert_int_equal(dqg_sched_init(&context, &config, &sched), DQG_OK);
    assert_int_equal(sched.steps, 10);
    dqg_sched_free(&context.alloc, &sched);
}

/* ---- identity ---- */

static uint64_t identity_of(const struct dqg_sched_config *config) {
    struct dqg_sched sched;
    assert_int_equal(dqg_sched_init(&context, config, &sched), DQG_OK);
    uint64_t identity = sched.identity;
    dqg_sched_free(&context.alloc, &sched);
    return identity;
}

static void test_identity(void **state) {
    (void)state;
    struct dqg_sched_config configs[12];
    for (size_t i = 0; i < DQG_COUNT_OF(configs); i++) {
        configs[i] = analytic_config();
        configs[i].schedule = i < 6 ? "flow" : "linear";
    }
    configs[1].solver = "heun";
    configs[2].solver = "ddim";
    configs[3].prediction = "x0";
    configs[4].shift = 1.0000001;
    configs[5].steps = 11;
    configs[7].solver = "ddim";
    configs[8].solver = "ddim";
    configs[8].eta = 1e-9;
    configs[9].prediction = "v";
    configs[10].spacing = "trailing";
    configs[11].beta_start = 1e-4;
    configs[11].beta_end = 0.0200001;
    for (size_t i = 0; i < DQG_COUNT_OF(configs); i++) {
        assert_true(identity_of(&configs[i]) == identity_of(&configs[i]));
        for (size_t j = 0; j < i; j++) {
            assert_true(identity_of(&configs[i]) != identity_of(&configs[j]));
        }
    }
    configs[7].eta = -0.0;
    struct dqg_sched_config positive = configs[7];
    positive.eta = 0;
    assert_true(identity_of(&configs[7]) == identity_of(&positive));
}

/* ---- memory ---- */

static int32_t requests_left;
static int64_t live;

static void *limited_allocate(void *user, size_t size, size_t alignment) {
    (void)user;
    if (requests_left-- <= 0) {
        return NULL;
    }
    live += (int64_t)size;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void limited_release(void *user, void *ptr, size_t size) {
    (void)user;
    live -= (int64_t)size;
    free(ptr);
}

static void test_memory(void **state) {
    (void)state;
    dqg_allocator allocator = {
        .struct_size = sizeof(allocator), .allocate = limited_allocate, .release = limited_release};
    struct dqg_context limited;
    analytic_context(&limited);
    assert_int_equal(dqg_alloc_init(&limited.alloc, &allocator), DQG_OK);
    struct dqg_sched_config config = analytic_config();
    config.schedule = "linear";
    struct dqg_sched sched;
    dqg_status status = DQG_ERROR_MEMORY;
    int32_t granted = 0;
    for (; status != DQG_OK; granted++) {
        assert_true(granted < 5);
        requests_left = granted;
        dqg_error_clear(&limited);
        status = dqg_sched_init(&limited, &config, &sched);
        if (status != DQG_OK) {
            assert_int_equal(status, DQG_ERROR_MEMORY);
            assert_non_null(strstr(limited.error, "out of memory"));
            assert_null(sched.points);
            assert_int_equal(live, 0);
        }
    }
    assert_int_equal(granted, 4); /* none, one, two, three */
    assert_int_equal(live, 11 * sizeof(struct dqg_sched_point) + 1000 * sizeof(double));
    dqg_sched_free(&limited.alloc, &sched);
    assert_int_equal(live, 0);
    requests_left = 1 << 20;
    for (size_t i = 0; i < DQG_COUNT_OF(refused); i++) {
        (void)dqg_sched_init(&limited, &refused[i].config, &sched);
        assert_int_equal(live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_names, read_guide),
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_empty_lists),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, sched_setup, NULL);
}
