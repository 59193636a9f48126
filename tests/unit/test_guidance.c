/* SPDX-License-Identifier: MIT */
/* Guidance on arrays through the public call: numbers worked out by hand from the papers' formulas. */
#include <math.h>
#include <string.h>

#include "check.h"

enum { VALUES = 4 };

static const float conditional[VALUES] = {1, 2, -1, 0.5f};
static const float unconditional[VALUES] = {0.5f, 1, 0, 0.25f};

static dqg_context *context;
static dqg_options *options;

static int setup(void **state) {
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    options = make_options(context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_parse(options, "guidance", "7.5"));
    assert_ok(dqg_options_parse(options, "apg-momentum", "0"));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    dqg_options_destroy(options);
    dqg_context_destroy(context);
    return 0;
}

static void set(const char *name, const char *value) {
    assert_ok(dqg_options_parse(options, name, value));
}

/* Two samples of (2, 2) values at step 3 of 10, sigma 0.5: the second is the first negated, and must come out so. */
struct sample {
    const float *c, *u, *p;
    float *momentum;
};

static void combine(const struct sample *sample, float *out) {
    float data[5][2 * VALUES];
    const float *from[4] = {sample->c, sample->u, sample->p, sample->momentum};
    dqg_tensor_view views[5];
    for (int i = 0; i < 5; i++) {
        views[i] = view_f32(data[i], 2, 2, 2, 0);
        for (int j = 0; j < VALUES && i < 4 && from[i] != NULL; j++) {
            data[i][j] = from[i][j];
            data[i][VALUES + j] = -from[i][j];
        }
    }
    dqg_guidance_terms terms;
    DQG_INIT(&terms);
    terms.step = 3;
    terms.steps = 10;
    terms.sigma = 0.5;
    terms.conditional = &views[0];
    terms.unconditional = sample->u != NULL ? &views[1] : NULL;
    terms.perturbed = sample->p != NULL ? &views[2] : NULL;
    terms.momentum = sample->momentum != NULL ? &views[3] : NULL;
    assert_ok(dqg_guidance_combine(context, options, &terms, &views[4]));
    memcpy(out, data[4], VALUES * sizeof *out);
    if (sample->momentum != NULL) {
        memcpy(sample->momentum, data[3], VALUES * sizeof *out);
    }
    for (int j = 0; j < VALUES; j++) {
        assert_true(data[4][j] == -data[4][VALUES + j]);
    }
}

static void assert_near(const float *values, const double *wanted) {
    for (int i = 0; i < VALUES; i++) {
        if (!(fabs(values[i] - wanted[i]) <= 1e-6 * fabs(wanted[i]) + 1e-6)) {
            fail_msg("value %d is %.9g, not %.9g", i, (double)values[i], wanted[i]);
        }
    }
}

#define expect(...)                                                                                                    \
    do {                                                                                                               \
        float out[VALUES];                                                                                             \
        combine(&(struct sample){conditional, unconditional, NULL, NULL}, out);                                        \
        assert_near(out, (const double[VALUES]){__VA_ARGS__});                                                         \
    } while (0)

static void plain(void **state) {
    (void)state;
    expect(4.25, 8.5, -7.5, 2.125);
    set("guidance", "1");
    expect(1, 2, -1, 0.5);
    set("guidance", "0");
    expect(0.5, 1, 0, 0.25);
}

static void rescaled(void **state) {
    (void)state;
    set("guidance-rescale", "0.7");
    expect(1.824335, 3.648670, -3.219414, 0.912167);
}

static void projected(void **state) {
    (void)state;
    set("guidance-form", "apg");
    expect(0.48, 0.96, -3.73, 0.24);
    set("apg-norm", "1");
    expect(0.65805, 1.3161, -2.795237, 0.329025);
    set("apg-norm", "0");
    set("apg-parallel", "1"); /* all of the difference: plain guidance */
    expect(4.25, 8.5, -7.5, 2.125);
    set("guidance-form", "apg-unconditional");
    expect(4.25, 8.5, -7.5, 2.125);
    set("apg-parallel", "0"); /* u + 7.5 of the orthogonal part, which is (-.08, -.16, -.42, -.04) */
    expect(-0.1, -0.2, -3.15, -0.05);
}

/* The running difference is d, then d - d / 2. */
static void momentum(void **state) {
    (void)state;
    float running[VALUES] = {0}, out[VALUES];
    set("guidance-form", "apg");
    set("apg-momentum", "-0.5");
    combine(&(struct sample){conditional, unconditional, NULL, running}, out);
    assert_near(out, (const double[VALUES]){0.48, 0.96, -3.73, 0.24});
    assert_near(running, (const double[VALUES]){0.5, 1, -1, 0.25});
    combine(&(struct sample){conditional, unconditional, NULL, running}, out);
    assert_near(out, (const double[VALUES]){0.74, 1.48, -2.365, 0.37});
    assert_near(running, (const double[VALUES]){0.25, 0.5, -0.5, 0.125});
    /* Outside the interval it stays as it is. */
    set("guidance-high", "0.4");
    combine(&(struct sample){conditional, unconditional, NULL, running}, out);
    assert_memory_equal(out, conditional, sizeof out);
    assert_near(running, (const double[VALUES]){0.25, 0.5, -0.5, 0.125});
}

static void cfg_zero(void **state) {
    (void)state;
    set("guidance-form", "cfg-zero");
    expect(1, 2, -7.5, 0.5);
    set("zero-steps", "3"); /* step 3 is the fourth */
    expect(1, 2, -7.5, 0.5);
    set("zero-steps", "4");
    expect(0, 0, 0, 0);
}

static void interval(void **state) {
    static const struct {
        const char *low, *high;
        int guided;
    } rows[] = {{"0", "0", 1},    {"0.49", "0.5", 1}, {"0.5", "1", 0},
                {"0", "0.49", 0}, {"0", "0.5", 1},    {"1000000", "0", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float out[VALUES];
        set("guidance-low", rows[i].low);
        set("guidance-high", rows[i].high);
        combine(&(struct sample){conditional, unconditional, NULL, NULL}, out);
        assert_true((out[0] == 4.25f) == rows[i].guided);
        assert_true((out[0] == 1.0f) == !rows[i].guided);
    }
}

/* c + 6.5 (c - u) + 2 (c - p), in steps strictly between the shares; step 3 of 10. */
static void perturbed(void **state) {
    static const float worse[VALUES] = {1.5f, 2, 0, 0};
    static const struct {
        const char *start, *end;
        int active;
    } rows[] = {{"0", "1", 1}, {"0.2", "0.4", 1}, {"0.3", "1", 0}, {"0", "0.3", 0}, {"0.31", "1", 0}};
    (void)state;
    set("perturbed-scale", "2");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float out[VALUES];
        set("perturbed-start", rows[i].start);
        set("perturbed-end", rows[i].end);
        combine(&(struct sample){conditional, unconditional, worse, NULL}, out);
        double share = rows[i].active ? 2 : 0;
        assert_near(out, (const double[VALUES]){4.25 - 0.5 * share, 8.5, -7.5 - share, 2.125 + 0.5 * share});
    }
    float out[VALUES];
    set("perturbed-start", "0");
    set("perturbed-end", "1");
    set("guidance", "1"); /* alone */
    combine(&(struct sample){conditional, NULL, worse, NULL}, out);
    assert_near(out, (const double[VALUES]){0, 2, -3, 1.5});
}

static void channels(void **state) {
    (void)state;
    set("cfg-channels", "1");
    expect(4.25, 8.5, -1, 0.5);
}

static void threshold(void **state) {
    float x0[8] = {-3, -1.5f, 0.2f, 0.8f, 1.2f, 2.5f, 0.1f, -0.4f}, out[8];
    static const double wanted[8] = {-1, -0.502934, 0.067058, 0.268231, 0.402347, 0.838223, 0.033529, -0.134116};
    dqg_tensor_view in = view_f32(x0, 1, 8, 0, 0), result = view_f32(out, 1, 8, 0, 0);
    dqg_guidance_terms terms;
    (void)state;
    DQG_INIT(&terms);
    terms.steps = 1;
    terms.conditional = &in;
    set("guidance", "1");
    set("threshold", "0.995");
    assert_ok(dqg_guidance_combine(context, options, &terms, &result));
    for (int i = 0; i < 8; i++) {
        assert_true(fabs(out[i] - wanted[i]) < 1e-6);
    }
    set("threshold-limit", "1"); /* plain clipping */
    assert_ok(dqg_guidance_combine(context, options, &terms, &result));
    for (int i = 0; i < 8; i++) {
        assert_true(out[i] == fmaxf(-1, fminf(1, x0[i])));
    }
    /* A quantile within 1 leaves everything up to 1 alone; not a number stays one and keeps no one waiting. */
    x0[7] = NAN;
    set("threshold", "0.25");
    set("threshold-limit", "100");
    assert_ok(dqg_guidance_combine(context, options, &terms, &result));
    assert_true(isnan(out[7]) && out[2] == x0[2] && out[6] == x0[6]);
}

/* Half floats and strides in, the result over an input. */
static void views(void **state) {
    float c[2 * VALUES] = {0}, u[VALUES];
    dqg_guidance_terms terms;
    (void)state;
    for (int i = 0; i < VALUES; i++) {
        c[2 * i] = conditional[i];
    }
    memcpy(u, unconditional, sizeof u);
    dqg_tensor_view in = view_f32(c, 1, VALUES, 0, 0), without = view_f32(u, 1, VALUES, 0, 0);
    in.strides[0] = sizeof c;
    in.strides[1] = 2 * sizeof(float);
    DQG_INIT(&terms);
    terms.steps = 1;
    terms.sigma = 1;
    terms.conditional = &in;
    terms.unconditional = &without;
    assert_ok(dqg_guidance_combine(context, options, &terms, &without));
    assert_near(u, (const double[VALUES]){4.25, 8.5, -7.5, 2.125});
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(plain),     TEST(rescaled), TEST(projected), TEST(momentum),
                                       TEST(cfg_zero),  TEST(interval), TEST(perturbed), TEST(channels),
                                       TEST(threshold), TEST(views)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
