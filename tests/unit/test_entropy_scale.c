/* SPDX-License-Identifier: MIT */
/*
 * The scale that keeps attention's entropy: published factors; what it does to the entropy of random scores, by the
 * library's softmax; the model's own size gives the same bits with it, another size gives others.
 */
#include <stdlib.h>

#include "model/graph.h"
#include "model_fixture.h"
#include "ops_check.h"
#include "support/rng.h"

static void test_factors(void **state) {
    static const struct {
        size_t train, keys;
        double factor;
    } rows[] = {
        {4096, 256, .8165},     {4096, 784, .89511}, {4096, 1024, .91287}, {4096, 2304, .96479}, {4096, 9216, 1.04761},
        {4096, 16384, 1.08012}, {1024, 64, .7746},   {1024, 256, .89443},  {1024, 576, .9576},   {1024, 2304, 1.05688},
        {1024, 4096, 1.09545},  {256, 64, .86603},   {256, 144, .9467},    {256, 576, 1.07063},  {256, 1024, 1.11803},
    };
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        assert_near(dqg_entropy_scale(rows[i].keys, rows[i].train), rows[i].factor, 5.1e-6 + 5e-5 * (i == 0 || i == 6));
    }
    assert_true(dqg_entropy_scale(64, 64) == 1.0);
    assert_true(dqg_entropy_scale(0, 1) == 1.0); /* both are held at 2 */
}

/* Entropy over ln N of softmax(scale * scores), scores independent standard normals; mean of some rows. */
static double entropy(const struct dqg_ops *ops, size_t keys, float scale) {
    enum { ROWS = 400 };
    float *x = malloc(ROWS * keys * sizeof *x);
    assert_non_null(x);
    dqg_rng_normal(keys, 0, x, ROWS * keys);
    struct dqg_softmax args = {x, x, keys, keys, ROWS, keys, scale};
    dqg_op_softmax(ops, &args);
    double sum = 0;
    for (size_t i = 0; i < ROWS * keys; i++) {
        sum -= x[i] > 0 ? x[i] * log((double)x[i]) : 0;
    }
    free(x);
    return sum / ROWS / log((double)keys);
}

static void test_entropy(void **state) {
    static const size_t keys[] = {256, 1024, 4096, 16384};
    static const double plain[] = {.9116, .9283, .9398, .9485};
    struct dqg_ops ops = make_ops(2);
    double low = 1, high = 0;
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(keys); i++) {
        assert_near(entropy(&ops, keys[i], 1.0f), plain[i], .004);
        double scaled = entropy(&ops, keys[i], (float)dqg_entropy_scale(keys[i], 4096));
        assert_near(scaled, 1 - 1 / (2 * log(4096.0)), .004);
        low = fmin(low, scaled);
        high = fmax(high, scaled);
    }
    assert_true(high - low < .005);
    free_ops(&ops);
}

enum { MOST = 4 * 16 * 16 };

static void run(const struct model_fixture *fixture, int64_t side, bool scaled, int64_t train_tokens, float *latent) {
    dqg_options *options = make_options(fixture->context, DQG_OPTIONS_RUN);
    dqg_run *made;
    assert_ok(dqg_options_set_int(options, DQG_RUN_HEIGHT, side));
    assert_ok(dqg_options_set_int(options, DQG_RUN_WIDTH, side));
    assert_ok(dqg_options_set_int(options, DQG_RUN_ATTENTION_SCALE, scaled));
    assert_ok(dqg_options_set_int(options, DQG_RUN_TRAIN_TOKENS, train_tokens));
    assert_ok(dqg_run_create(fixture->context, fixture->model, NULL, options, &made));
    assert_ok(dqg_run_step(made));
    dqg_tensor_view view = view_f32(latent, 1, 4, side, side);
    assert_ok(dqg_run_read(made, DQG_SOURCE_LATENT, &view));
    dqg_run_destroy(made);
    dqg_options_destroy(options);
}

static void test_runs(void **state) {
    static float plain[MOST], scaled[MOST];
    run(*state, 8, false, 0, plain);
    run(*state, 8, true, 0, scaled); /* the tiny model's own 16 tokens */
    assert_memory_equal(plain, scaled, 256 * sizeof *plain);
    run(*state, 8, true, 64, scaled);
    assert_memory_not_equal(plain, scaled, 256 * sizeof *plain);
    run(*state, 16, false, 0, plain);
    run(*state, 16, true, 0, scaled);
    assert_memory_not_equal(plain, scaled, sizeof plain);
    run(*state, 16, true, 64, scaled);
    assert_memory_equal(plain, scaled, sizeof plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_factors), cmocka_unit_test(test_entropy),
                                       cmocka_unit_test(test_runs)};
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
