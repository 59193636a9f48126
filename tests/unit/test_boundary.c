/* SPDX-License-Identifier: MIT */
/*
 * What a run starts from and is shown: the start noise that is best for many inputs, on a linear Gaussian model; the
 * offset of DiffuseVAE's second form; temperature; quadratic spacing.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "support/rng.h"

enum { SIZE = 16, CODE = 4, REFERENCE = 20, HELD_OUT = 500, CANDIDATES = 1000 };

/* x0 | y ~ N(A y, 0.3^2); VP coordinates of schedule linear. */
struct toy {
    float a[SIZE][CODE];
    float y[REFERENCE + HELD_OUT][CODE], z[REFERENCE + HELD_OUT][SIZE];
    int calls;
};

static double mean_of(const struct toy *toy, int pair, int i) {
    double sum = 0;
    for (int j = 0; j < CODE; j++) {
        sum += toy->a[i][j] * toy->y[pair][j];
    }
    return sum;
}

static int32_t evaluate(void *user, int32_t pair, const dqg_request *request, const dqg_tensor_view *input,
                        const dqg_tensor_view *output) {
    struct toy *toy = user;
    const float *x = input->data;
    float *eps = output->data;
    double s = request->sigma, a = sqrt(1 - s * s), v = a * a * .09 + s * s;
    for (int i = 0; i < SIZE; i++) {
        eps[i] = (float)(s * (x[i] - a * mean_of(toy, pair, i)) / v);
    }
    toy->calls++;
    return 0;
}

static int32_t squared_error(void *user, int32_t pair, const dqg_tensor_view *result, double *score) {
    const struct toy *toy = user;
    const float *x = result->data;
    *score = 0;
    for (int i = 0; i < SIZE; i++) {
        *score += (x[i] - toy->z[pair][i]) * (x[i] - toy->z[pair][i]) / SIZE;
    }
    return 0;
}

static dqg_run *make_run(dqg_context *context, const char *solver, int steps, const char *spacing, int64_t size) {
    const int64_t shape[2] = {1, size};
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    dqg_run *run;
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "linear"));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SPACING, spacing));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, solver));
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, steps));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    assert_ok(dqg_run_create_custom(context, scheduler, shape, 2, NULL, &run));
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(options);
    return run;
}

static void make_toy(struct toy *toy) {
    memset(toy, 0, sizeof *toy);
    dqg_rng_normal(1, 0, &toy->a[0][0], SIZE * CODE);
    dqg_rng_normal(2, 0, &toy->y[0][0], (REFERENCE + HELD_OUT) * CODE);
    dqg_rng_normal(3, 0, &toy->z[0][0], (REFERENCE + HELD_OUT) * SIZE);
    for (int p = 0; p < REFERENCE + HELD_OUT; p++) {
        for (int i = 0; i < SIZE; i++) {
            toy->z[p][i] = (float)(mean_of(toy, p, i) + .3 * toy->z[p][i]);
        }
    }
}

static void best_start(void **state) {
    static struct toy toy, held;
    dqg_context *context = *state;
    dqg_run *run = make_run(context, "ddim", 50, "trailing", SIZE);
    dqg_boundary boundary;
    dqg_boundary_result best, again, one;
    make_toy(&toy);
    DQG_INIT(&boundary);
    DQG_INIT(&best);
    DQG_INIT(&again);
    DQG_INIT(&one);
    boundary.candidates = CANDIDATES;
    boundary.pairs = REFERENCE;
    boundary.first_seed = 100;
    boundary.evaluate = evaluate;
    boundary.metric = squared_error;
    boundary.user = &toy;
    assert_ok(dqg_run_find_noise(run, &boundary, &best));
    assert_int_equal(best.evaluations, toy.calls);
    assert_true(best.stopped > CANDIDATES / 2);
    assert_ok(dqg_run_find_noise(run, &boundary, &again));
    assert_memory_equal(&again, &best, sizeof best);

    /* Each of 40 seeds alone on pairs held out. */
    held = toy;
    memcpy(held.y, toy.y + REFERENCE, HELD_OUT * sizeof toy.y[0]);
    memcpy(held.z, toy.z + REFERENCE, HELD_OUT * sizeof toy.z[0]);
    boundary.user = &held;
    boundary.candidates = 1;
    boundary.pairs = HELD_OUT;
    double sum = 0, squares = 0;
    for (int k = 0; k < 40; k++) {
        boundary.first_seed = 5000 + k;
        assert_ok(dqg_run_find_noise(run, &boundary, &one));
        sum += one.score / 40;
        squares += one.score * one.score / 40;
    }
    boundary.first_seed = best.seed;
    assert_ok(dqg_run_find_noise(run, &boundary, &one));
    print_message("  reference %.3f, held out %.3f, others %.3f (%.3f)\n", best.score, one.score, sum,
                  sqrt(squares - sum * sum));
    assert_true(one.score < sum - sqrt(squares - sum * sum));
    assert_true(fabs(best.score - .103) < .015 && fabs(one.score - .117) < .015 && fabs(sum - .161) < .015);

    /* The run stands at its start with that noise. */
    float noise[SIZE], latent[SIZE];
    dqg_tensor_view view = view_f32(latent, 1, SIZE, 0, 0);
    dqg_rng_normal((uint64_t)best.seed, 0, noise, SIZE);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    assert_memory_equal(latent, noise, sizeof noise);
    dqg_run_destroy(run);
}

/* Score of one seed, or of no noise at all, on pairs of a toy. */
static double score_of(dqg_run *run, struct toy *toy, int32_t pairs, int64_t seed) {
    dqg_boundary boundary;
    dqg_boundary_result result;
    DQG_INIT(&boundary);
    DQG_INIT(&result);
    boundary.candidates = 1;
    boundary.pairs = pairs;
    boundary.first_seed = seed;
    boundary.evaluate = evaluate;
    boundary.metric = squared_error;
    boundary.user = toy;
    assert_ok(dqg_run_find_noise(run, &boundary, &result));
    return result.score;
}

static double score_without_noise(dqg_run *run, struct toy *toy, int32_t pairs) {
    double sum = 0;
    for (int32_t pair = 0; pair < pairs; pair++) {
        float x[SIZE] = {0};
        double score;
        dqg_request request;
        dqg_tensor_view view = view_f32(x, 1, SIZE, 0, 0);
        DQG_INIT(&request);
        assert_ok(dqg_run_seek(run, 0));
        assert_ok(dqg_run_write(run, &view));
        while (dqg_run_request(run, &request, &view) == DQG_OK) {
            assert_int_equal(evaluate(toy, pair, &request, &view, &view), 0);
            assert_true(dqg_run_submit(run, &view) >= 0);
        }
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
        assert_int_equal(squared_error(toy, pair, &view, &score), 0);
        sum += score / pairs;
    }
    return sum;
}

/* Seeds rank on other pairs as they do on few; no noise at all leaves what nobody can know, 0.09. */
static void ranks(void **state) {
    enum { SEEDS = 200 };
    static struct toy toy, held;
    static double scores[2][SEEDS];
    dqg_run *run = make_run(*state, "ddim", 50, "trailing", SIZE);
    make_toy(&toy);
    held = toy;
    memcpy(held.y, toy.y + REFERENCE, HELD_OUT * sizeof toy.y[0]);
    memcpy(held.z, toy.z + REFERENCE, HELD_OUT * sizeof toy.z[0]);
    for (int i = 0; i < SEEDS; i++) {
        scores[0][i] = score_of(run, &toy, REFERENCE, 100 + i);
        scores[1][i] = score_of(run, &held, HELD_OUT, 100 + i);
    }
    double differences = 0, least = scores[1][0];
    for (int i = 0; i < SEEDS; i++) {
        int rank[2] = {0, 0};
        for (int j = 0; j < SEEDS; j++) {
            rank[0] += scores[0][j] < scores[0][i];
            rank[1] += scores[1][j] < scores[1][i];
        }
        differences += (double)(rank[0] - rank[1]) * (rank[0] - rank[1]);
        least = fmin(least, scores[1][i]);
    }
    double correlation = 1 - 6 * differences / (SEEDS * ((double)SEEDS * SEEDS - 1));
    double quiet = score_without_noise(run, &held, HELD_OUT);
    print_message("  rank correlation %.3f; held out without noise %.4f, best seed %.4f\n", correlation, quiet, least);
    assert_true(correlation > .9);
    assert_true(fabs(quiet - .0897) < .004 && quiet < least);
    dqg_run_destroy(run);
}

static int32_t stop(void *user, int32_t pair) {
    (void)user;
    return pair == 1;
}

static int32_t negative(void *user, int32_t pair, const dqg_tensor_view *result, double *score) {
    (void)user;
    (void)result;
    *score = pair == 0 ? (double)NAN : -1;
    return 0;
}

static void refused(void **state) {
    static struct toy toy;
    dqg_context *context = *state;
    dqg_run *run = make_run(context, "ddim", 5, "trailing", SIZE);
    dqg_boundary boundary;
    dqg_boundary_result result;
    DQG_INIT(&boundary);
    DQG_INIT(&result);
    boundary.candidates = 2;
    boundary.pairs = 2;
    boundary.metric = squared_error;
    boundary.user = &toy;
    assert_int_equal(dqg_run_find_noise(NULL, &boundary, &result), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_find_noise(run, NULL, &result), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_find_noise(run, &boundary, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_find_noise(run, &boundary, &result), DQG_ERROR_ARGUMENT); /* no network */
    boundary.evaluate = evaluate;
    boundary.first_seed = INT64_MAX;
    assert_fails(context, dqg_run_find_noise(run, &boundary, &result), DQG_ERROR_RANGE);
    boundary.first_seed = 0;
    boundary.prepare = stop;
    assert_fails(context, dqg_run_find_noise(run, &boundary, &result), DQG_ERROR_CANCELLED);
    boundary.prepare = NULL;
    dqg_run_cancel(run);
    assert_fails(context, dqg_run_find_noise(run, &boundary, &result), DQG_ERROR_CANCELLED);
    boundary.pairs = 0;
    assert_fails(context, dqg_run_find_noise(run, &boundary, &result), DQG_ERROR_RANGE);
    boundary.pairs = 1;
    boundary.metric = negative;
    assert_ok(dqg_run_find_noise(run, &boundary, &result)); /* no score at all: the first */
    assert_int_equal(result.seed, 0);
    dqg_run_destroy(run);
}

/* ---- DiffuseVAE ---- */

/* Network of the Gaussian N(1, 0.5^2), seen without or with an offset. */
static double gaussian_eps(double x, double s) {
    double a = sqrt(1 - s * s);
    return s * (x - a) / (a * a * .25 + s * s);
}

static void second_form(void **state) {
    dqg_context *context = *state;
    float value[2], offset = .37f;
    dqg_run *runs[2];
    for (int form = 0; form < 2; form++) {
        runs[form] = make_run(context, "ddpm", 1000, "trailing", 1);
    }
    dqg_tensor_view shift = view_f32(&offset, 1, 1, 0, 0);
    assert_ok(dqg_run_set_offset(runs[1], &shift));
    assert_int_equal(dqg_run_set_offset(NULL, &shift), DQG_ERROR_ARGUMENT);
    shift.shape[1] = 2;
    assert_fails(context, dqg_run_set_offset(runs[1], &shift), DQG_ERROR_ARGUMENT);
    for (int step = 0; step < 1000; step++) {
        for (int form = 0; form < 2; form++) {
            dqg_tensor_view view = view_f32(&value[form], 1, 1, 0, 0);
            dqg_request request;
            DQG_INIT(&request);
            assert_ok(dqg_run_request(runs[form], &request, &view));
            value[form] = (float)gaussian_eps(value[form] - form * (double)offset, request.sigma);
            assert_true(dqg_run_submit(runs[form], &view) >= 0);
            assert_ok(dqg_run_read(runs[form], DQG_SOURCE_LATENT, &view));
        }
        assert_true(fabs(value[0] - value[1]) < 1e-5);
        if (step == 500) { /* a fork sees the same */
            dqg_run *fork;
            assert_ok(dqg_run_fork(runs[1], &fork));
            dqg_run_destroy(runs[1]);
            runs[1] = fork;
        }
    }
    assert_ok(dqg_run_set_offset(runs[1], NULL));
    dqg_run_destroy(runs[0]);
    dqg_run_destroy(runs[1]);
}

/* Where x and x0 lead from timestep 500 to 499; fresh noise, the same each time, is taken off. */
static double posterior(dqg_context *context, double x, double x0) {
    double result = 0;
    for (int k = 0; k < 2; k++) {
        dqg_run *run = make_run(context, "ddpm", 1000, "trailing", 1);
        dqg_request request;
        float value = (float)(k == 0 ? x : 0);
        dqg_tensor_view view = view_f32(&value, 1, 1, 0, 0);
        DQG_INIT(&request);
        assert_ok(dqg_run_seek(run, 499));
        assert_ok(dqg_run_write(run, &view));
        assert_ok(dqg_run_request(run, &request, &view));
        assert_true(request.timestep == 500);
        value = (float)(k == 0 ? (x - sqrt(1 - request.sigma * request.sigma) * x0) / request.sigma : 0);
        assert_ok(dqg_run_submit(run, &view));
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
        result += k == 0 ? value : -value;
        dqg_run_destroy(run);
    }
    return result;
}

static void posterior_weights(void **state) {
    assert_true(fabs(posterior(*state, 0, 1) - .003058057) < 1e-6);
    assert_true(fabs(posterior(*state, 1, 0) - .994104351) < 1e-6);
}

static void temperature(void **state) {
    const int64_t shape[2] = {1, 5};
    float plain[5], cool[5];
    for (int k = 0; k < 2; k++) {
        dqg_options *options = make_options(*state, DQG_OPTIONS_RUN);
        dqg_scheduler *scheduler;
        dqg_run *run;
        dqg_tensor_view view = view_f32(k == 0 ? plain : cool, 1, 5, 0, 0);
        assert_ok(dqg_options_set_float(options, DQG_RUN_TEMPERATURE, k == 0 ? 1 : .5));
        assert_ok(dqg_scheduler_create(*state, NULL, &scheduler));
        assert_ok(dqg_run_create_custom(*state, scheduler, shape, 2, options, &run));
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
        dqg_run_destroy(run);
        dqg_scheduler_release(scheduler);
        dqg_options_destroy(options);
    }
    for (int i = 0; i < 5; i++) {
        assert_true(cool[i] == .5f * plain[i]);
    }
}

static void quadratic(void **state) {
    static const double expected[10] = {800, 632, 483, 355, 246, 158, 88, 39, 9, 0};
    dqg_options *options = make_options(*state, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    dqg_point point;
    DQG_INIT(&point);
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "linear"));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SPACING, "quadratic"));
    for (int steps = 1; steps <= 1000; steps = steps == 1 ? 10 : steps * 10) {
        assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, steps));
        assert_ok(dqg_scheduler_create(*state, options, &scheduler));
        for (int i = 0; steps == 10 && i < steps; i++) {
            assert_ok(dqg_scheduler_point(scheduler, i, &point));
            assert_true(point.timestep == expected[i]);
        }
        dqg_scheduler_release(scheduler);
    }
    dqg_options_destroy(options);
}

static int setup(void **state) {
    return dqg_context_create(NULL, (dqg_context **)state);
}

static int teardown(void **state) {
    dqg_context_destroy(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_start),        cmocka_unit_test(ranks),
        cmocka_unit_test(refused),           cmocka_unit_test(second_form),
        cmocka_unit_test(posterior_weights), cmocka_unit_test(temperature),
        cmocka_unit_test(quadratic),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
