/* SPDX-License-Identifier: MIT */
/*
 * Runs that change their size: Lanczos resampling; the published stages of Bottleneck Sampling; a field of Gaussian
 * pixels through three stages; nothing of the time before the change shows; a network at three sizes; what is refused.
 */
#include <math.h>
#include <stdlib.h>

#include "analytic.h"
#include "check.h"
#include "model_fixture.h"
#include "run/run.h"

enum { MOST = 2 * 3 * 64 * 64 };

static void lanczos(void **state) {
    static float small[32 * 32], large[64 * 64], again[32 * 32];
    struct dqg_context context;
    (void)state;
    analytic_context(&context);
    for (int i = 0; i < 32 * 32; i++) {
        small[i] = 0.7f;
    }
    assert_ok(dqg_lanczos(&context, large, 47, 64, small, 32, 32, 1));
    for (int i = 0; i < 47 * 64; i++) {
        assert_true(fabs(large[i] - 0.7) < 1e-6);
    }
    for (int i = 0; i < 32 * 32; i++) {
        small[i] = (float)(sin(0.5 * (i % 32)) * cos(0.4 * (i / 32)));
    }
    assert_ok(dqg_lanczos(&context, again, 32, 32, small, 32, 32, 1));
    for (int i = 0; i < 32 * 32; i++) {
        assert_true(fabs(again[i] - small[i]) < 1e-6);
    }
    assert_ok(dqg_lanczos(&context, large, 64, 64, small, 32, 32, 1));
    assert_ok(dqg_lanczos(&context, again, 32, 32, large, 64, 64, 1));
    for (int y = 4; y < 28; y++) { /* edges see less than the kernel */
        for (int x = 4; x < 28; x++) {
            assert_true(fabs(again[y * 32 + x] - small[y * 32 + x]) < 1e-2);
        }
    }
}

static dqg_scheduler *scheduler(dqg_context *context, const char *solver, int steps, double shift) {
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *made;
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, solver));
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, steps));
    assert_ok(dqg_options_set_float(options, DQG_SCHEDULER_SHIFT, shift));
    assert_ok(dqg_scheduler_create(context, options, &made));
    dqg_options_destroy(options);
    return made;
}

/* Pixels N(0.8, 0.6^2), each on its own. */
static void finish(dqg_run *run, int64_t height, int64_t width) {
    static float x[MOST];
    dqg_tensor_view view = view_f32(x, 2, 3, height, width);
    dqg_request request;
    DQG_INIT(&request);
    while (dqg_run_request(run, &request, &view) == DQG_OK) {
        double t = request.sigma, a = 1 - t, v = a * a * .36 + t * t;
        for (int64_t i = 0; i < 6 * height * width; i++) {
            double d = x[i] - a * .8;
            x[i] = (float)(t * d / v - (.8 + a * .36 * d / v));
        }
        assert_true(dqg_run_submit(run, &view) >= 0);
    }
}

static dqg_run *custom(dqg_context *context, dqg_scheduler *plan, int64_t size, const int64_t *seeds) {
    const int64_t shape[4] = {2, 3, size, size};
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_run *run;
    assert_ok(dqg_options_set_ints(options, DQG_RUN_SEEDS, seeds, 2));
    assert_ok(dqg_run_create_custom(context, plan, shape, 4, options, &run));
    dqg_options_destroy(options);
    return run;
}

static const int64_t seeds[2] = {3, 70};

static double sigma_of(const dqg_run *run) {
    dqg_run_info info;
    DQG_INIT(&info);
    assert_ok(dqg_run_get_info(run, &info));
    return info.sigma;
}

/* Steps, strength, shift of each stage; sigmas where stages two and three begin and what follows. */
static void published_stages(void **state) {
    static const struct {
        int steps[3];
        double strength[3], shift[3], start[2];
        int executed[3];
    } rows[] = {{{6, 20, 8}, {1, .8, .6}, {9, 6, 9}, {.96, .9}, {6, 16, 4}},
                {{4, 24, 16}, {1, .8, .7}, {7, 9, 9}, {.971591, .951923}, {4, 19, 11}}};
    struct model_fixture *fixture = *state;
    for (int r = 0; r < 2; r++) {
        dqg_run_info info;
        DQG_INIT(&info);
        dqg_scheduler *plan = scheduler(fixture->context, "euler", rows[r].steps[0], rows[r].shift[0]);
        dqg_run *run = custom(fixture->context, plan, 8, seeds);
        dqg_scheduler_release(plan);
        finish(run, 8, 8);
        int before = rows[r].executed[0];
        for (int s = 1; s < 3; s++) {
            int size = s == 1 ? 4 : 8;
            plan = scheduler(fixture->context, "euler", rows[r].steps[s], rows[r].shift[s]);
            assert_ok(dqg_run_resize(run, size, size, plan, rows[r].strength[s]));
            dqg_scheduler_release(plan);
            assert_true(fabs(sigma_of(run) - rows[r].start[s - 1]) < 1e-6);
            finish(run, size, size);
            assert_ok(dqg_run_get_info(run, &info));
            assert_int_equal(info.evaluations - before, rows[r].executed[s]);
            before = info.evaluations;
        }
        dqg_run_destroy(run);
    }
    static const double list[] = {1, .978261, .947368, -1, .818182, .642857, 0};
    dqg_scheduler *plan = scheduler(fixture->context, "euler", 6, 9);
    for (int i = 0; i < 7; i++) {
        dqg_point point;
        DQG_INIT(&point);
        assert_ok(dqg_scheduler_point(plan, i, &point));
        assert_true(list[i] < 0 || fabs(point.sigma - list[i]) < 1e-6);
    }
    dqg_scheduler_release(plan);
}

static void gaussian_field(void **state) {
    static float x[MOST];
    struct model_fixture *fixture = *state;
    dqg_scheduler *plan = scheduler(fixture->context, "heun", 60, 1);
    dqg_run *run = custom(fixture->context, plan, 64, seeds);
    dqg_tensor_view view = view_f32(x, 2, 3, 64, 64);
    finish(run, 64, 64);
    assert_ok(dqg_run_resize(run, 32, 32, NULL, .95));
    finish(run, 32, 32);
    assert_ok(dqg_run_resize(run, 64, 64, NULL, .95));
    finish(run, 64, 64);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    double sum = 0, squares = 0;
    for (int i = 0; i < MOST; i++) {
        sum += x[i] / (double)MOST;
        squares += x[i] * (double)x[i] / MOST;
    }
    assert_true(fabs(sum - .8) < .02);
    assert_true(fabs(sqrt(squares - sum * sum) - .6) < .02);
    dqg_run_destroy(run);
    dqg_scheduler_release(plan);
}

static int64_t next_seed(int64_t seed) {
    uint64_t z = (uint64_t)seed + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (int64_t)(z ^ (z >> 31));
}

/* Multistep and stochastic solvers after a change at full strength: bit for bit a fresh run of that size. */
static void nothing_is_left(void **state) {
    static const char *const solvers[] = {"euler", "dpm++-2m", "euler-ancestral", "unipc"};
    static float expected[2 * 3 * 6 * 10], got[2 * 3 * 6 * 10];
    struct model_fixture *fixture = *state;
    const int64_t shape[4] = {2, 3, 6, 10}, small[2] = {11, 22};
    const int64_t derived[2] = {next_seed(small[0]), next_seed(small[1])};
    for (int s = 0; s < 4; s++) {
        dqg_scheduler *plan = scheduler(fixture->context, solvers[s], 7, 2);
        dqg_scheduler *other = scheduler(fixture->context, "lms", 9, 1);
        dqg_tensor_view view = view_f32(got, 2, 3, 6, 10), wanted = view_f32(expected, 2, 3, 6, 10);
        dqg_run *run = custom(fixture->context, other, 4, small), *fresh;
        finish(run, 4, 4);
        assert_ok(dqg_run_seek(run, 3));
        assert_ok(dqg_run_resize(run, 6, 10, plan, 1));
        assert_ok(dqg_run_create_custom(fixture->context, plan, shape, 4, NULL, &fresh));
        size_t size;
        assert_ok(dqg_run_state_size(run, &size));
        void *saved = malloc(size);
        assert_ok(dqg_run_save(run, saved, size));
        assert_ok(dqg_run_restore(fresh, saved, size)); /* seeds above 2^53 are no options, but a state may hold them */
        free(saved);
        finish(run, 6, 10);
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
        finish(fresh, 6, 10);
        assert_ok(dqg_run_read(fresh, DQG_SOURCE_LATENT, &wanted));
        assert_memory_equal(got, expected, sizeof got);
        assert_true(derived[0] != derived[1] && derived[0] != small[0]);
        dqg_run_destroy(fresh);
        dqg_run_destroy(run);
        dqg_scheduler_release(plan);
        dqg_scheduler_release(other);
    }
}

/* High, low, high with a network; after each change the run is as large as one made at that size. */
static void network(void **state) {
    static float x[4 * 16 * 16];
    struct model_fixture *fixture = *state;
    dqg_scheduler *plan = scheduler(fixture->context, "euler", 5, 3);
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    dqg_run *run;
    assert_ok(dqg_options_set_int(options, DQG_RUN_HEIGHT, 16));
    assert_ok(dqg_options_set_int(options, DQG_RUN_WIDTH, 16));
    assert_ok(dqg_run_create(fixture->context, fixture->model, plan, options, &run));
    for (int stage = 0; stage < 3; stage++) {
        int size = stage == 1 ? 8 : 16;
        dqg_tensor_view view = view_f32(x, 1, 4, size, size);
        if (stage > 0) {
            assert_ok(dqg_run_resize(run, size, size, NULL, .8));
            assert_fails(fixture->context, dqg_run_resize(run, 7, 8, NULL, .8), DQG_ERROR_RANGE);
        }
        while (dqg_run_advance(run, 100) != DQG_DONE) {
        }
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
        for (int i = 0; i < 4 * size * size; i++) {
            assert_true(isfinite(x[i]));
        }
    }
    assert_fails(fixture->context, dqg_run_resize(run, 8, 8, NULL, 0), DQG_ERROR_RANGE);
    assert_fails(fixture->context, dqg_run_resize(run, 8, 8, NULL, 1.5), DQG_ERROR_RANGE);
    assert_fails(fixture->context, dqg_run_resize(run, 8, 8, NULL, (double)NAN), DQG_ERROR_RANGE);
    assert_fails(fixture->context, dqg_run_resize(run, 8, 8, NULL, .1), DQG_ERROR_RANGE);
    assert_fails(fixture->context, dqg_run_resize(run, 0, 8, NULL, 1), DQG_ERROR_RANGE);
    assert_fails(fixture->context, dqg_run_resize(run, INT32_MAX - 1, INT32_MAX - 1, NULL, 1), DQG_ERROR_LIMIT);
    assert_int_equal(dqg_run_resize(NULL, 8, 8, NULL, 1), DQG_ERROR_ARGUMENT);
    dqg_run_destroy(run);
    dqg_options_destroy(options);
    dqg_scheduler_release(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanczos),         cmocka_unit_test(published_stages), cmocka_unit_test(gaussian_field),
        cmocka_unit_test(nothing_is_left), cmocka_unit_test(network),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
