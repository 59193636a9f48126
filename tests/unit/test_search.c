/* SPDX-License-Identifier: MIT */
/*
 * Search for samples of high reward on a mixture in the plane, whose velocity is a formula: published values of the
 * converted velocity; distributions that any fresh noise keeps; rewards by method and budget; budgets kept; states.
 */
#include <math.h>
#include <stdlib.h>

#include "analytic.h"
#include "check.h"
#include "sched/particle.h"
#include "support/rng.h"

enum { MOST = 40000 };

/* What a flow network says of the mixture at x = (1 - t) x0 + t eps. */
static void velocity(double t, float *x, size_t n) {
    double *x0 = malloc(n * sizeof *x0);
    analytic_mixture_x0(NULL, 1 - t, t, x, x0, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((x[i] - (1 - t) * x0[i]) / t - x0[i]);
    }
    free(x0);
}

static void near(double value, double expected) {
    assert_true(fabs(value - expected) < 2e-6);
}

static void converted_velocity(void **state) {
    static const double golden[3][7] = {{.5, -1.116967, .094883, .840496, -.258672, -.177718, .681118},
                                        {.9, -.093466, -.006351, .617300, .029583, -.389621, .700705},
                                        {.2, -2.572206, 1.299920, .855453, -.836276, .860885, .062784}};
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct dqg_path_point at = dqg_path_at(DQG_INTERPOLANT_VP, DQG_DIFFUSION_SQUARE, 3, golden[k][0]);
        double t = dqg_path_time(&at), scale = dqg_path_input_scale(&at);
        float u[2] = {(float)(.4 * scale), (float)(-.7 * scale)};
        velocity(t, u, 2);
        for (int j = 0; j < 2; j++) {
            double x = j == 0 ? .4 : -.7;
            double x0 = x * scale - t * u[j], eps = x * scale + (1 - t) * u[j];
            near(at.d_alpha * x0 + at.d_sigma * eps, golden[k][1 + j]);
            near(x0, golden[k][3 + j]);
            near(-eps / at.sigma, golden[k][5 + j]);
        }
        near(at.diffusion, 3 * golden[k][0] * golden[k][0]);
    }
}

/* Adding noise and taking the estimate back leaves the forward process. */
static void moves(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct dqg_path_point from = dqg_path_at((enum dqg_particle_path)i, DQG_DIFFUSION_SIN, 1, .3);
        struct dqg_path_point to = dqg_path_at((enum dqg_particle_path)i, DQG_DIFFUSION_SIN, 1, .6);
        struct dqg_move back = dqg_path_back(&from, &to);
        near(back.x0, to.alpha);
        near(hypot(back.eps, back.noise), to.sigma);
        near(back.eps / from.sigma, to.alpha / from.alpha);
    }
    struct dqg_path_point from = dqg_path_at(DQG_INTERPOLANT_LINEAR, DQG_DIFFUSION_CONSTANT, 2, .5);
    struct dqg_path_point to = dqg_path_at(DQG_INTERPOLANT_LINEAR, DQG_DIFFUSION_CONSTANT, 2, .4);
    struct dqg_move quiet = dqg_path_step(&from, &to, false), noisy = dqg_path_step(&from, &to, true);
    near(quiet.x0, .6);
    near(quiet.eps, .4);
    near(quiet.noise, 0);
    near(noisy.eps, .4 - .1 * 4 / (2 * .5));
    near(noisy.noise, 2 * sqrt(.1));
    near(dqg_path_level(0, 10), 1);
    near(dqg_path_level(9, 10), sqrt(.19));
    static const double shapes[] = {.25, .5, 1, .5, .70710678, 1, 0, 0};
    for (int i = 0; i < 8; i++) {
        near(dqg_path_at(DQG_INTERPOLANT_LINEAR, (enum dqg_diffusion)i, 1, .5).diffusion, shapes[i]);
    }
}

/* ---- runs ---- */

struct settings {
    const char *method, *interpolant;
    int budget, steps, finish;
    double scale;
    int64_t count, seed;
};

struct session {
    dqg_context *context;
    dqg_scheduler *scheduler;
    int rewards; /* calls */
};

static int setup(void **state) {
    static struct session session;
    assert_ok(dqg_context_create(NULL, &session.context));
    assert_ok(dqg_scheduler_create(session.context, NULL, &session.scheduler));
    *state = &session;
    return 0;
}

static int teardown(void **state) {
    struct session *session = *state;
    dqg_scheduler_release(session->scheduler);
    dqg_context_destroy(session->context);
    return 0;
}

static double goodness(const float *x) {
    return -hypot(x[0] + .25, x[1] + 1.9);
}

static int32_t reward(void *user, const dqg_tensor_view *x0, double *value) {
    struct session *session = user;
    session->rewards++;
    *value = goodness(x0->data);
    return 0;
}

static dqg_options *search_options(struct session *session, const struct settings *settings) {
    dqg_options *options = make_options(session->context, DQG_OPTIONS_SEARCH);
    assert_ok(dqg_options_set_text(options, DQG_SEARCH_METHOD, settings->method));
    assert_ok(dqg_options_set_text(options, DQG_SEARCH_INTERPOLANT, settings->interpolant));
    assert_ok(dqg_options_set_int(options, DQG_SEARCH_BUDGET, settings->budget));
    assert_ok(dqg_options_set_int(options, DQG_SEARCH_STEPS, settings->steps));
    assert_ok(dqg_options_set_int(options, DQG_SEARCH_FINISH, settings->finish > 0 ? settings->finish : 1));
    assert_ok(dqg_options_set_float(options, DQG_SEARCH_DIFFUSION_SCALE, settings->scale));
    return options;
}

static dqg_run *make_run(struct session *session, const struct settings *settings) {
    const int64_t shape[2] = {settings->count, 2};
    dqg_options *run_options = make_options(session->context, DQG_OPTIONS_RUN);
    dqg_options *options = search_options(session, settings);
    dqg_run *run;
    assert_ok(dqg_options_set_int(run_options, DQG_RUN_SEED, settings->seed));
    assert_ok(dqg_run_create_custom(session->context, session->scheduler, shape, 2, run_options, &run));
    assert_ok(dqg_run_search(run, options, settings->count > 1 ? NULL : reward, session));
    dqg_options_destroy(options);
    dqg_options_destroy(run_options);
    return run;
}

/* One evaluation; DQG_DONE after the last. */
static dqg_status advance(dqg_run *run, int64_t count) {
    static float x[MOST];
    dqg_tensor_view view = view_f32(x, count, 2, 0, 0);
    dqg_request request;
    DQG_INIT(&request);
    dqg_status status = dqg_run_request(run, &request, &view);
    if (status == DQG_OK) {
        velocity(request.timestep / 1000, x, (size_t)count * 2);
        status = dqg_run_submit(run, &view);
    }
    return status;
}

static int run_to_end(dqg_run *run, int64_t count, float *out) {
    int evaluations = 1;
    dqg_tensor_view view = view_f32(out, count, 2, 0, 0);
    for (; advance(run, count) == DQG_OK; evaluations++) {
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    assert_int_equal(advance(run, count), DQG_DONE);
    return evaluations;
}

static void marginals_are_kept(void **state) {
    static const double mean[3][2] = {{2, 0}, {-1, 1.5}, {-.5, -2}}, share[3] = {.5, .3, .2};
    static float x[MOST];
    for (int k = 0; k < 4; k++) {
        struct settings settings = {"sde", k % 2 ? "vp" : "linear", 400, 400, 1, k / 2 * 3.0, MOST / 2, 11};
        dqg_run *run = make_run(*state, &settings);
        double sum[2] = {0}, product[3] = {0}, modes[3] = {0};
        assert_int_equal(run_to_end(run, MOST / 2, x), 400);
        dqg_run_destroy(run);
        for (int i = 0; i < MOST; i += 2) {
            int nearest = 0;
            for (int m = 1; m < 3; m++) {
                bool closer = hypot(x[i] - mean[m][0], x[i + 1] - mean[m][1]) <
                              hypot(x[i] - mean[nearest][0], x[i + 1] - mean[nearest][1]);
                nearest = closer ? m : nearest;
            }
            modes[nearest] += 2.0 / MOST;
            for (int j = 0; j < 3; j++) {
                product[j] += 2.0 / MOST * x[i + j / 2] * x[i + (j + 1) / 2];
            }
            sum[0] += 2.0 / MOST * x[i];
            sum[1] += 2.0 / MOST * x[i + 1];
        }
        assert_true(fabs(sum[0] - .6) < .03 && fabs(sum[1] - .05) < .03);
        assert_true(fabs(product[0] - sum[0] * sum[0] - 2.08725) < .09);
        assert_true(fabs(product[1] - sum[0] * sum[1] + .28) < .09);
        assert_true(fabs(product[2] - sum[1] * sum[1] - 1.56975) < .09);
        for (int m = 0; m < 3; m++) {
            assert_true(fabs(modes[m] - share[m]) < .01);
        }
    }
}

/* Mean reward of 300 samples. */
static double mean_reward(struct session *session, struct settings settings) {
    double sum = 0;
    for (int i = 0; i < 300; i++) {
        float x[2];
        dqg_search_info info;
        DQG_INIT(&info);
        settings.seed = 1000 + i;
        dqg_run *run = make_run(session, &settings);
        int evaluations = run_to_end(run, 1, x);
        assert_true(evaluations <= settings.budget);
        assert_ok(dqg_run_get_search(run, &info));
        assert_int_equal(info.evaluations, evaluations);
        assert_true(info.reward == goodness(x));
        sum += goodness(x);
        dqg_run_destroy(run);
    }
    return sum / 300;
}

static void rewards_by_budget(void **state) {
    static const char *const methods[] = {"best-of-n", "rbf", "svdd", "code", "smc", "sop"};
    static const int budgets[] = {100, 200, 500};
    double linear[6][3];
    for (int m = 0; m < 6; m++) {
        for (int b = 0; b < 3; b++) {
            struct settings settings = {methods[m], "linear", budgets[b], 10, 1, 3, 1, 0};
            linear[m][b] = mean_reward(*state, settings);
            print_message("  %s %d: %.3f\n", methods[m], budgets[b], linear[m][b]);
            assert_true(b == 0 || linear[m][b] > linear[m][b - 1]);
            assert_true(m != 1 || linear[1][b] > linear[0][b]);
        }
    }
    static const double best_of_n[] = {-.513, -.283, -.144}, rbf[] = {-.083, -.057, -.036},
                        vp[] = {-.407, -.340, -.271};
    for (int b = 0; b < 3; b++) {
        struct settings settings = {"rbf", "vp", budgets[b], 10, 1, 3, 1, 0};
        double value = mean_reward(*state, settings);
        print_message("  rbf vp %d: %.3f\n", budgets[b], value);
        assert_true(fabs(value - vp[b]) < .12);
        assert_true(fabs(linear[0][b] - best_of_n[b]) < .1);
        assert_true(fabs(linear[1][b] - rbf[b]) < .08);
    }
}

/* Along the ODE, and to its end: where the exact path from the same noise leads. */
static void finishing(void **state) {
    enum { COUNT = 200 };
    static float x[2 * COUNT];
    struct settings settings = {"sde", "vp", 599, 400, 200, 0, COUNT, 9};
    struct dqg_path_point start = dqg_path_at(DQG_INTERPOLANT_VP, DQG_DIFFUSION_SQUARE, 0, 1);
    dqg_run *run = make_run(*state, &settings);
    assert_int_equal(run_to_end(run, COUNT, x), 599);
    dqg_run_destroy(run);
    int near_enough = 0;
    for (int i = 0; i < COUNT; i++) {
        float noise[2];
        dqg_rng_normal((uint64_t)settings.seed + (uint64_t)i, 0, noise, 2);
        double end[2] = {noise[0] * start.sigma / start.alpha, noise[1] * start.sigma / start.alpha};
        analytic_mixture_map(start.sigma / start.alpha, 1e-3, 400, end, 2);
        near_enough += hypot(x[2 * i] - end[0], x[2 * i + 1] - end[1]) < .05;
    }
    assert_true(near_enough >= COUNT * 95 / 100); /* not all: between two modes little decides */
}

static void states(void **state) {
    static const char *const methods[] = {"rbf", "best-of-n", "svdd", "code", "smc", "sop", "sde"};
    struct session *session = *state;
    for (int m = 0; m < 7; m++) {
        struct settings settings = {methods[m], "vp", 60, 5, 3, 3, 1, 4};
        float expected[2], x[2];
        size_t size;
        dqg_run *run = make_run(session, &settings);
        int evaluations = run_to_end(run, 1, expected);
        assert_ok(dqg_run_state_size(run, &size));
        unsigned char *saved = malloc(size);
        dqg_run_destroy(run);
        for (int stop = 0; stop < evaluations; stop++) {
            dqg_run *first = make_run(session, &settings), *second;
            for (int i = 0; i < stop; i++) {
                assert_ok(advance(first, 1));
            }
            assert_ok(dqg_run_save(first, saved, size));
            dqg_run_destroy(first);
            settings.seed++;
            second = make_run(session, &settings);
            settings.seed--;
            assert_ok(advance(second, 1));
            assert_ok(dqg_run_restore(second, saved, size));
            assert_int_equal(run_to_end(second, 1, x), evaluations - stop);
            assert_memory_equal(x, expected, sizeof x);
            dqg_run_destroy(second);
        }
        settings.budget++;
        run = make_run(session, &settings);
        assert_int_not_equal(dqg_run_restore(run, saved, size), DQG_OK);
        dqg_run_destroy(run);
        free(saved);
    }
}

static int32_t stop_once(void *user, const dqg_tensor_view *x0, double *value) {
    int *calls = user;
    *value = (double)NAN;
    (void)x0;
    return ++*calls == 3;
}

static void refused(void **state) {
    struct session *session = *state;
    struct settings settings = {"rbf", "vp", 30, 5, 1, 3, 1, 4};
    const int64_t shape[2] = {1, 2};
    float x[2];
    int calls = 0;
    dqg_tensor_view view = view_f32(x, 1, 2, 0, 0);
    dqg_search_info info;
    dqg_run *run, *fork;
    DQG_INIT(&info);
    assert_ok(dqg_run_create_custom(session->context, session->scheduler, shape, 2, NULL, &run));
    dqg_options *options = search_options(session, &settings);
    dqg_options *wrong = make_options(session->context, DQG_OPTIONS_RUN);
    assert_int_equal(dqg_run_search(NULL, options, reward, session), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_get_search(run, &info), DQG_ERROR_STATE);
    assert_int_equal(dqg_run_get_search(NULL, &info), DQG_ERROR_ARGUMENT);
    assert_fails(session->context, dqg_run_search(run, wrong, reward, session), DQG_ERROR_ARGUMENT);
    assert_fails(session->context, dqg_run_search(run, options, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_options_set_int(options, DQG_SEARCH_FINISH, 30));
    assert_fails(session->context, dqg_run_search(run, options, reward, session), DQG_ERROR_RANGE);
    assert_ok(dqg_options_set_int(options, DQG_SEARCH_FINISH, 1));
    assert_ok(dqg_run_search(run, options, stop_once, &calls));
    assert_int_equal(dqg_run_get_search(run, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(session->context, dqg_run_search(run, options, reward, session), DQG_ERROR_STATE);
    assert_fails(session->context, dqg_run_write(run, &view), DQG_ERROR_STATE);
    assert_fails(session->context, dqg_run_seek(run, 0), DQG_ERROR_STATE);
    assert_fails(session->context, dqg_run_start(run, 0, NULL, 1), DQG_ERROR_STATE);
    assert_fails(session->context, dqg_run_set_scheduler(run, session->scheduler, 0), DQG_ERROR_STATE);
    assert_fails(session->context, dqg_run_fork(run, &fork), DQG_ERROR_STATE);
    assert_ok(advance(run, 1));
    assert_ok(advance(run, 1));
    assert_fails(session->context, advance(run, 1), DQG_ERROR_CANCELLED);
    assert_int_equal(run_to_end(run, 1, x), 28); /* rewards that are no numbers do not stop it */
    dqg_run_destroy(run);

    dqg_options *vp = make_options(session->context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *linear;
    assert_ok(dqg_options_set_text(vp, DQG_SCHEDULER_SCHEDULE, "linear"));
    assert_ok(dqg_scheduler_create(session->context, vp, &linear));
    assert_ok(dqg_run_create_custom(session->context, linear, shape, 2, NULL, &run));
    assert_fails(session->context, dqg_run_search(run, options, reward, session), DQG_ERROR_UNSUPPORTED);
    dqg_run_destroy(run);
    dqg_scheduler_release(linear);
    dqg_options_destroy(vp);
    dqg_options_destroy(wrong);
    dqg_options_destroy(options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converted_velocity),
        cmocka_unit_test(moves),
        cmocka_unit_test(marginals_are_kept),
        cmocka_unit_test(finishing),
        cmocka_unit_test(rewards_by_budget),
        cmocka_unit_test(states),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
