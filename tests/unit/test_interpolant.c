/* SPDX-License-Identifier: MIT */
/*
 * Stochastic interpolants through the public interface: paths and their rates, the fields of a mixture of pairs against
 * numbers computed elsewhere, what sampling makes of them, rectified flow as a special case, saved states, refusals.
 */
#include "check.h"
#include "halton.h"
#include "model_fixture.h"

#include <math.h>
#include <stdlib.h>

/* Between a mixture of three Gaussians and one of two in the plane, coupled independently. */
static const double weight0[3] = {0.5, 0.3, 0.2}, mean0[3][2] = {{2, 0}, {-1, 1.5}, {-0.5, -2}};
static const double std0[3] = {0.25, 0.40, 0.30};
static const double weight1[2] = {0.6, 0.4}, mean1[2][2] = {{0, 3}, {3, -3}}, std1[2] = {0.3, 0.5};

static dqg_interpolant linear(int32_t gamma) {
    dqg_interpolant interpolant;
    DQG_INIT(&interpolant);
    interpolant.gamma = gamma;
    interpolant.steps = 200;
    return interpolant;
}

/* b and s at (x, t) of the linear path. */
static void fields(const dqg_interpolant_point *p, double t, const float *x, float *b, float *s) {
    double log_weight[6], drift[6][2], score[6][2], largest = -INFINITY;
    for (int k = 0; k < 6; k++) {
        int i = k / 2, j = k % 2;
        double s0 = std0[i] * std0[i], s1 = std1[j] * std1[j];
        double variance = (1 - t) * (1 - t) * s0 + t * t * s1 + p->gamma * p->gamma;
        double gain = (-(1 - t) * s0 + t * s1 + p->gamma_product) / variance;
        double distance = 0;
        for (int d = 0; d < 2; d++) {
            double offset = x[d] - (1 - t) * mean0[i][d] - t * mean1[j][d];
            drift[k][d] = mean1[j][d] - mean0[i][d] + gain * offset;
            score[k][d] = -offset / variance;
            distance += offset * offset;
        }
        log_weight[k] = log(weight0[i] * weight1[j] / variance) - 0.5 * distance / variance;
        largest = fmax(largest, log_weight[k]);
    }
    double total = 0, sum[4] = {0, 0, 0, 0};
    for (int k = 0; k < 6; k++) {
        double weight = exp(log_weight[k] - largest);
        total += weight;
        for (int d = 0; d < 2; d++) {
            sum[d] += weight * drift[k][d];
            sum[2 + d] += weight * score[k][d];
        }
    }
    for (int d = 0; d < 2; d++) {
        b[d] = (float)(sum[d] / total);
        s[d] = (float)(sum[2 + d] / total);
    }
}

static void golden_fields(void **state) {
    struct model_fixture *fixture = *state;
    static const struct {
        int32_t gamma;
        double t, b[2], s[2];
    } rows[] = {
        {DQG_GAMMA_ZERO, 0.25, {3.727553, -4.567660}, {-4.732263, -1.183064}},
        {DQG_GAMMA_BROWNIAN, 0.25, {1.904793, -1.955285}, {0.246087, 0.037635}},
        {DQG_GAMMA_BSQUARED, 0.25, {4.052746, -4.389587}, {-3.371425, -0.842889}},
        {DQG_GAMMA_BROWNIAN, 0.5, {-0.195503, 3.382177}, {-0.521919, 1.075328}},
        {DQG_GAMMA_BROWNIAN, 0.9, {-1.120413, 8.552152}, {-2.961276, 12.555058}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dqg_interpolant interpolant = linear(rows[i].gamma);
        dqg_interpolant_point point;
        DQG_INIT(&point);
        assert_ok(dqg_scheduler_interpolant_at(fixture->context, &interpolant, rows[i].t, &point));
        float b[2], s[2];
        fields(&point, rows[i].t, (float[2]){0.5f, 0.5f}, b, s);
        for (int d = 0; d < 2; d++) {
            assert_true(fabs(b[d] - rows[i].b[d]) < 2e-6 && fabs(s[d] - rows[i].s[d]) < 2e-6);
        }
    }
}

/* Rates are those of the coefficients; ends are the two distributions. */
static void rates(void **state) {
    struct model_fixture *fixture = *state;
    for (int32_t path = DQG_INTERPOLATE_LINEAR; path <= DQG_INTERPOLATE_ONE_SIDED_TRIG; path++) {
        for (int32_t gamma = DQG_GAMMA_ZERO; gamma <= DQG_GAMMA_SIGMOID; gamma++) {
            dqg_interpolant at = linear(gamma);
            dqg_interpolant_point p[3];
            at.path = path;
            at.gamma_scale = 0.7;
            DQG_INIT(&p[0]);
            DQG_INIT(&p[1]);
            DQG_INIT(&p[2]);
            if (dqg_scheduler_interpolant_at(fixture->context, &at, 0.3, &p[0]) == DQG_ERROR_UNSUPPORTED) {
                assert_true((path >= DQG_INTERPOLATE_ONE_SIDED_LINEAR) == (gamma != 0) ||
                            path == DQG_INTERPOLATE_MIRROR);
                continue;
            }
            for (double t = 0.05; t < 0.99; t += 0.095) {
                const double h = 1e-5;
                for (int j = 0; j < 3; j++) {
                    assert_ok(dqg_scheduler_interpolant_at(fixture->context, &at, t + (j - 1) * h, &p[j]));
                }
                assert_true(fabs((p[2].start - p[0].start) / (2 * h) - p[1].start_rate) < 1e-6);
                assert_true(fabs((p[2].end - p[0].end) / (2 * h) - p[1].end_rate) < 1e-6);
                double squares = p[2].gamma * p[2].gamma - p[0].gamma * p[0].gamma;
                assert_true(fabs(squares / (4 * h) - p[1].gamma_product) < 1e-6);
                if (path == DQG_INTERPOLATE_TRIG) {
                    assert_true(fabs(p[1].start * p[1].start + p[1].end * p[1].end + p[1].gamma * p[1].gamma - 1) <
                                1e-12);
                }
            }
            assert_ok(dqg_scheduler_interpolant_at(fixture->context, &at, 0, &p[0]));
            assert_ok(dqg_scheduler_interpolant_at(fixture->context, &at, 1, &p[1]));
            assert_true(fabs(p[0].gamma) < 1e-12 && fabs(p[1].gamma) < 1e-12 && fabs(p[1].end - 1) < 1e-12);
            assert_true(path == DQG_INTERPOLATE_MIRROR || (fabs(p[0].start - 1) < 1e-12 && fabs(p[0].end) < 1e-12));
        }
    }
}

/* ---- sampling ---- */

enum { MOST = 40000 };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LAW = MOST / 10 }; /* values of a sample whose law is looked at */
static const double slack = 0.03;
#else
enum { LAW = MOST };
static const double slack = 0;
#endif
static float x[MOST], b[MOST], s[MOST];

/* n / 2 points that fill one of the two mixtures evenly: moments without the error of random draws */
static void draw(const double *weight, const double (*mean)[2], const double *std, size_t n) {
    for (size_t i = 0; i < n; i += 2) {
        size_t index = i / 2 + 1;
        double u = halton(5, index), radius = sqrt(-2 * log(halton(2, index)));
        double angle = 6.283185307179586 * halton(3, index);
        int k = 0;
        for (; u > weight[k]; k++) {
            u -= weight[k];
        }
        x[i] = (float)(mean[k][0] + std[k] * radius * cos(angle));
        x[i + 1] = (float)(mean[k][1] + std[k] * radius * sin(angle));
    }
}

/* From x to x. The network is given v and E[z | x] where the interpolant says so. */
static void sample(dqg_context *context, const dqg_interpolant *interpolant, size_t n) {
    const int64_t shape[2] = {1, (int64_t)n};
    dqg_scheduler *scheduler;
    dqg_run *run;
    dqg_request request;
    dqg_interpolant_point p;
    DQG_INIT(&request);
    DQG_INIT(&p);
    dqg_tensor_view latent = view_f32(x, 1, (int64_t)n, 0, 0), drift = view_f32(b, 1, (int64_t)n, 0, 0);
    dqg_tensor_view score = view_f32(s, 1, (int64_t)n, 0, 0);
    assert_ok(dqg_scheduler_create_interpolant(context, interpolant, &scheduler));
    assert_ok(dqg_run_create_custom(context, scheduler, shape, 2, NULL, &run));
    assert_ok(dqg_run_write(run, &latent));
    while (dqg_run_request(run, &request, &latent) == DQG_OK) {
        assert_ok(dqg_scheduler_interpolant_at(context, interpolant, request.timestep, &p));
        for (size_t i = 0; i < n; i += 2) {
            fields(&p, request.timestep, x + i, b + i, s + i);
            for (size_t d = i; d < i + 2; d++) {
                b[d] += interpolant->drift == DQG_DRIFT_V ? (float)(p.gamma_product * s[d]) : 0;
                s[d] *= interpolant->score == DQG_SCORE_ETA ? -(float)p.gamma : 1;
            }
        }
        assert_true(dqg_run_submit_fields(run, &drift, &score) >= 0);
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &latent));
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
}

/* Fraction, mean and deviation of one mode of the target: the points on its side. */
static void moments(size_t n, int upper, double *fraction, double mean[2], double *std) {
    double count = 0, sum[2] = {0, 0}, square = 0;
    for (size_t i = 0; i < n; i += 2) {
        if ((x[i + 1] > 0) == upper) {
            count++;
            sum[0] += x[i];
            sum[1] += x[i + 1];
            square += (double)x[i] * x[i] + (double)x[i + 1] * x[i + 1];
        }
    }
    *fraction = 2 * count / (double)n;
    mean[0] = sum[0] / count;
    mean[1] = sum[1] / count;
    *std = sqrt((square / count - mean[0] * mean[0] - mean[1] * mean[1]) / 2);
}

/*
 * Fraction, mean and deviation of both modes, whatever gamma and the noise. Starts fill the source evenly: the
 * differential equation has no random error, and that of Heun's rule at 200 steps is far below these limits. With noise
 * 20000 points have a standard error of 0.0035 in the fraction, 0.0056 in the lower mode's mean and 0.0028 in its
 * deviation; the limit of the fraction is lower by one of them than 0.598.
 */
static void laws(void **state) {
    struct model_fixture *fixture = *state;
    static const double diffusions[] = {0, 0.25, 1};
    static const int32_t gammas[] = {DQG_GAMMA_BROWNIAN, DQG_GAMMA_ZERO, DQG_GAMMA_BSQUARED};
    static const double least[2] = {0.297, 0.497}, most[2] = {0.306, 0.502};
    for (int i = 0; i < 9; i++) {
        dqg_interpolant interpolant = linear(gammas[i / 3]);
        interpolant.diffusion = diffusions[i % 3];
        interpolant.integrator = DQG_INTEGRATE_HEUN;
        draw(weight0, mean0, std0, LAW);
        sample(fixture->context, &interpolant, LAW);
        for (int j = 0; j < 2; j++) {
            double fraction, mean[2], std;
            moments(LAW, j == 0, &fraction, mean, &std);
            double upper = j == 0 ? fraction : 1 - fraction;
            double x_error = fabs(mean[0] - mean1[j][0]), y_error = fabs(mean[1] - mean1[j][1]);
            double lowest = interpolant.diffusion > 0 ? 0.5945 : 0.598;
            if (!(upper > lowest - slack && upper < 0.608 + slack && fmax(x_error, y_error) < 0.015 + 2 * slack &&
                  std > least[j] - slack && std < most[j] + slack)) {
                fail_msg("gamma %d, diffusion %g, mode %d: fraction %.4f, mean off by (%.4f, %.4f), deviation %.4f",
                         (int)interpolant.gamma, interpolant.diffusion, j, fraction, x_error, y_error, std);
            }
        }
    }
}

/* Euler-Maruyama at 50 steps is too wide, more than at 200; Heun is not. v and E[z | x] give what b and s give. */
static void integrators(void **state) {
    struct model_fixture *fixture = *state;
    double deviation[3], lower[3], fraction, mean[2];
    for (int i = 0; i < 3; i++) {
        dqg_interpolant interpolant = linear(DQG_GAMMA_BROWNIAN);
        interpolant.diffusion = 1;
        interpolant.steps = i == 1 ? 200 : 50;
        interpolant.integrator = i == 2 ? DQG_INTEGRATE_HEUN : DQG_INTEGRATE_EULER;
        draw(weight0, mean0, std0, LAW / 2);
        sample(fixture->context, &interpolant, LAW / 2);
        moments(LAW / 2, 1, &fraction, mean, &deviation[i]);
        moments(LAW / 2, 0, &fraction, mean, &lower[i]);
    }
    print_message("deviation of the upper mode: %.4f at 50 steps, %.4f at 200, %.4f with Heun\n", deviation[0],
                  deviation[1], deviation[2]);
    assert_true(fabs(deviation[0] - 0.324) < 0.006 + slack && fabs(lower[0] - 0.513) < 0.01 + 2 * slack);
    assert_true(fabs(deviation[1] - 0.3) < 0.5 * fabs(deviation[0] - 0.3) + slack);

    static float first[2000];
    for (int i = 0; i < 2; i++) {
        dqg_interpolant interpolant = linear(DQG_GAMMA_BROWNIAN);
        interpolant.diffusion = 0.25;
        interpolant.drift = i == 0 ? DQG_DRIFT_B : DQG_DRIFT_V;
        interpolant.score = i == 0 ? DQG_SCORE_S : DQG_SCORE_ETA;
        draw(weight0, mean0, std0, 2000);
        sample(fixture->context, &interpolant, 2000);
        if (i == 0) {
            memcpy(first, x, sizeof first);
        }
    }
    double worst = 0;
    for (int i = 0; i < 2000; i++) {
        worst = fmax(worst, fabs(x[i] - first[i]));
    }
    assert_true(worst < 2e-3);
}

/* There and back again by the differential equation; backwards with noise ends in the law of the start. */
static void backward(void **state) {
    struct model_fixture *fixture = *state;
    static float start[2000];
    dqg_interpolant interpolant = linear(DQG_GAMMA_BSQUARED);
    interpolant.integrator = DQG_INTEGRATE_HEUN;
    draw(weight0, mean0, std0, 2000);
    memcpy(start, x, sizeof start);
    sample(fixture->context, &interpolant, 2000);
    interpolant.backward = 1;
    sample(fixture->context, &interpolant, 2000);
    int far = 0;
    for (int i = 0; i < 2000; i++) {
        far += fabsf(x[i] - start[i]) > 0.02f;
    }
    assert_true(far < 40);

    interpolant = linear(DQG_GAMMA_BROWNIAN);
    interpolant.backward = 1;
    interpolant.diffusion = 0.25;
    draw(weight1, mean1, std1, LAW / 2);
    sample(fixture->context, &interpolant, LAW / 2);
    double mean[2] = {0, 0};
    for (int i = 0; i < LAW / 2; i++) {
        mean[i % 2] += x[i] / (LAW / 4.0);
    }
    assert_true(fabs(mean[0] - 0.6) < 0.05 + 3 * slack && fabs(mean[1] - 0.05) < 0.05 + 3 * slack);
}

/* Rectified flow with its own Euler is the one-sided linear path with t = 1 - sigma and b = -v. */
static void rectified_flow(void **state) {
    enum { N = 64, STEPS = 12 };
    struct model_fixture *fixture = *state;
    const int64_t shape[2] = {1, N};
    double times[STEPS + 1];
    float ends[2][N];
    dqg_scheduler *schedulers[2];
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_SCHEDULER);
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_options_set_float(options, DQG_SCHEDULER_SHIFT, 3));
    assert_ok(dqg_scheduler_create(fixture->context, options, &schedulers[0]));
    dqg_options_destroy(options);
    for (int i = 0; i <= STEPS; i++) {
        dqg_point point;
        DQG_INIT(&point);
        assert_ok(dqg_scheduler_point(schedulers[0], i, &point));
        times[i] = 1 - point.sigma;
    }
    dqg_interpolant interpolant = linear(DQG_GAMMA_ZERO);
    interpolant.path = DQG_INTERPOLATE_ONE_SIDED_LINEAR;
    interpolant.steps = STEPS;
    interpolant.times = times;
    assert_ok(dqg_scheduler_create_interpolant(fixture->context, &interpolant, &schedulers[1]));
    for (int i = 0; i < 2; i++) {
        dqg_run *run;
        dqg_request request;
        DQG_INIT(&request);
        dqg_tensor_view latent = view_f32(x, 1, N, 0, 0), drift = view_f32(b, 1, N, 0, 0);
        assert_ok(dqg_run_create_custom(fixture->context, schedulers[i], shape, 2, NULL, &run));
        while (dqg_run_request(run, &request, &latent) == DQG_OK) {
            double t = i == 0 ? 1 - request.timestep / 1000 : request.timestep;
            double rate = (t * 0.25 - (1 - t)) / (t * t * 0.25 + (1 - t) * (1 - t)); /* x1 ~ N(1, 0.5^2) */
            for (int j = 0; j < N; j++) {
                b[j] = (float)((i == 0 ? -1 : 1) * (1 + rate * (x[j] - t)));
            }
            assert_true(dqg_run_submit(run, &drift) >= 0);
        }
        latent = view_f32(ends[i], 1, N, 0, 0);
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &latent));
        dqg_run_destroy(run);
        dqg_scheduler_release(schedulers[i]);
    }
    for (int j = 0; j < N; j++) {
        assert_true(fabsf(ends[0][j] - ends[1][j]) < 2e-6f);
    }
}

/* A run saved between the halves of a step with noise goes on to the same bits. */
static void saved_states(void **state) {
    enum { N = 10 };
    struct model_fixture *fixture = *state;
    const int64_t shape[2] = {1, N};
    dqg_interpolant interpolant = linear(DQG_GAMMA_BROWNIAN);
    interpolant.steps = 3;
    interpolant.diffusion = 1;
    interpolant.integrator = DQG_INTEGRATE_HEUN;
    float ends[2][N];
    dqg_scheduler *scheduler;
    assert_ok(dqg_scheduler_create_interpolant(fixture->context, &interpolant, &scheduler));
    for (int saved = -1; saved < 6; saved++) {
        dqg_run *run;
        dqg_request request;
        DQG_INIT(&request);
        dqg_tensor_view latent = view_f32(x, 1, N, 0, 0);
        assert_ok(dqg_run_create_custom(fixture->context, scheduler, shape, 2, NULL, &run));
        for (int i = 0; i < 6; i++) {
            if (i == saved) {
                size_t size;
                assert_ok(dqg_run_state_size(run, &size));
                void *bytes = malloc(size);
                assert_ok(dqg_run_save(run, bytes, size));
                dqg_run_destroy(run);
                assert_ok(dqg_run_create_custom(fixture->context, scheduler, shape, 2, NULL, &run));
                assert_ok(dqg_run_restore(run, bytes, size));
                free(bytes);
            }
            assert_ok(dqg_run_request(run, &request, &latent));
            assert_int_equal(dqg_run_submit(run, &latent), DQG_ERROR_STATE); /* no score */
            assert_int_equal(dqg_run_submit_fields(run, &latent, &latent), i == 5       ? DQG_DONE
                                                                           : i % 2 == 0 ? DQG_PENDING
                                                                                        : DQG_OK);
        }
        latent = view_f32(ends[saved >= 0], 1, N, 0, 0);
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &latent));
        assert_memory_equal(ends[0], ends[saved >= 0], sizeof ends[0]);
        dqg_run_destroy(run);
    }
    dqg_scheduler_release(scheduler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_fields), cmocka_unit_test(rates),    cmocka_unit_test(laws),
        cmocka_unit_test(integrators),   cmocka_unit_test(backward), cmocka_unit_test(rectified_flow),
        cmocka_unit_test(saved_states),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
