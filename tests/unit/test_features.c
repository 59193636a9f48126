/* SPDX-License-Identifier: MIT */
/*
 * Features for classification: the last block's features and the layers behind it make the network's output, no
 * operator runs behind the block, pooling, noise level of the published setting, and what 4 bits leave of them.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "model/features.h"
#include "model_fixture.h"
#include "support/rng.h"

enum { SAMPLES = 2, CHANNELS = 4, SIDE = 8, GRID = 4, HIDDEN = 64, DEPTH = 2, IMAGE = CHANNELS * SIDE * SIDE };

/* A scheduler whose point 0 is timestep 90 of linear betas. */
static dqg_scheduler *make_scheduler(dqg_context *context) {
    const double timesteps[] = {90};
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "linear"));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, "ddim"));
    assert_ok(dqg_options_set_floats(options, DQG_SCHEDULER_TIMESTEPS, timesteps, 1));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    dqg_options_destroy(options);
    return scheduler;
}

static dqg_feature_spec make_spec(int32_t block, int32_t pool) {
    dqg_feature_spec spec;
    DQG_INIT(&spec);
    spec.block = block;
    spec.pool = pool;
    spec.seed = 5;
    return spec;
}

static void features(dqg_context *context, const dqg_model *model, float *images, int32_t samples, int32_t block,
                     int32_t pool, float *out) {
    dqg_scheduler *scheduler = make_scheduler(context);
    dqg_feature_spec spec = make_spec(block, pool);
    dqg_tensor_view x = view_f32(images, samples, CHANNELS, SIDE, SIDE);
    dqg_tensor_view output = view_f32(out, samples, (int64_t)HIDDEN * pool * pool, 0, 0);
    int64_t count;
    assert_ok(dqg_model_features(context, model, scheduler, &x, &spec, NULL, NULL, NULL, &count));
    assert_int_equal(count, HIDDEN * pool * pool);
    assert_ok(dqg_model_features(context, model, scheduler, &x, &spec, NULL, NULL, &output, NULL));
    dqg_scheduler_release(scheduler);
}

static void test_noise_level(void **state) {
    const struct model_fixture *fixture = *state;
    dqg_scheduler *scheduler = make_scheduler(fixture->context);
    dqg_point point;
    DQG_INIT(&point);
    assert_ok(dqg_scheduler_point(scheduler, 0, &point));
    assert_float_equal(point.alpha, .955648722, 1e-9);
    assert_float_equal(point.sigma, .294508946, 1e-9);
    assert_true(point.timestep == 90 && point.input_scale == 1);
    dqg_scheduler_release(scheduler);
}

static void test_pool(void **state) {
    float ramp[16 * 16], out[4], odd[3 * 3] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    (void)state;
    for (int i = 0; i < 16 * 16; i++) {
        ramp[i] = (float)i;
    }
    dqg_features_pool(out, ramp, 16, 16, 1, 2);
    assert_true(out[0] == 59.5f && out[1] == 67.5f && out[2] == 187.5f && out[3] == 195.5f);
    dqg_features_pool(out, odd, 3, 3, 1, 2); /* cells overlap in the middle */
    assert_true(out[0] == 3 && out[1] == 4 && out[2] == 6 && out[3] == 7);
}

/* ---- the layers behind the last block, in double ---- */

static void read(const struct model_fixture *fixture, const char *name, int64_t d0, int64_t d1, float *out) {
    dqg_tensor_view view = view_f32(out, d0, d1, 0, 0);
    assert_ok(dqg_model_read_tensor(fixture->context, fixture->model, name, &view));
}

struct condition {
    float vector[SAMPLES * HIDDEN]; /* after SiLU: the input of modulations */
};

/* Taps the condition. */
static int32_t tap_condition(void *user, const char *name, const dqg_tensor_view *output) {
    struct condition *condition = user;
    if (strcmp(name, "condition") == 0) {
        memcpy(condition->vector, output->data, sizeof condition->vector);
    }
    return 0;
}

static void test_last_block(void **state) {
    enum { OUT = 2 * 2 * CHANNELS };
    const struct model_fixture *fixture = *state;
    static float images[SAMPLES * IMAGE], noisy[SAMPLES * IMAGE], want[SAMPLES * IMAGE];
    static float found[SAMPLES * HIDDEN * GRID * GRID];
    static float modulation[2 * HIDDEN * HIDDEN], shift[2 * HIDDEN], weight[OUT * HIDDEN], bias[OUT];
    const double timesteps[SAMPLES] = {90, 90};
    const int32_t labels[SAMPLES] = {-1, -1};
    struct condition condition;
    dqg_rng_normal(3, 0, images, SAMPLES * IMAGE);
    features(fixture->context, fixture->model, images, SAMPLES, DEPTH, GRID, found);
    dqg_rng_normal(5, 0, noisy, IMAGE);
    memcpy(noisy + IMAGE, noisy, IMAGE * sizeof *noisy);
    for (int i = 0; i < SAMPLES * IMAGE; i++) {
        noisy[i] = (float)(.955648721886 * images[i] + .294508946 * noisy[i]);
    }
    dqg_tensor_view x = view_f32(noisy, SAMPLES, CHANNELS, SIDE, SIDE);
    dqg_tensor_view output = view_f32(want, SAMPLES, CHANNELS, SIDE, SIDE);
    assert_ok(dqg_model_evaluate(fixture->context, fixture->model, &x, timesteps, labels, tap_condition, &condition,
                                 &output));
    read(fixture, "final_layer.adaLN_modulation.1.weight", 2 * HIDDEN, HIDDEN, modulation);
    read(fixture, "final_layer.adaLN_modulation.1.bias", 2 * HIDDEN, 0, shift);
    read(fixture, "final_layer.linear.weight", OUT, HIDDEN, weight);
    read(fixture, "final_layer.linear.bias", OUT, 0, bias);
    for (int s = 0; s < SAMPLES; s++) {
        for (int token = 0; token < GRID * GRID; token++) {
            double row[HIDDEN], mean = 0, square = 0;
            for (int i = 0; i < HIDDEN; i++) {
                row[i] = found[(s * HIDDEN + i) * GRID * GRID + token];
                mean += row[i] / HIDDEN;
                square += row[i] * row[i] / HIDDEN;
            }
            for (int i = 0; i < HIDDEN; i++) {
                double moved = shift[i], scale = 1 + shift[HIDDEN + i];
                for (int j = 0; j < HIDDEN; j++) {
                    moved += (double)modulation[i * HIDDEN + j] * condition.vector[s * HIDDEN + j];
                    scale += (double)modulation[(HIDDEN + i) * HIDDEN + j] * condition.vector[s * HIDDEN + j];
                }
                row[i] = (row[i] - mean) / sqrt(square - mean * mean + 1e-6) * scale + moved;
            }
            for (int o = 0; o < OUT; o++) {
                double sum = bias[o];
                for (int i = 0; i < HIDDEN; i++) {
                    sum += weight[o * HIDDEN + i] * row[i];
                }
                int y = token / GRID * 2 + o / (2 * CHANNELS), column = token % GRID * 2 + o / CHANNELS % 2;
                assert_float_equal(want[((s * CHANNELS + o % CHANNELS) * SIDE + y) * SIDE + column], sum, 2e-5);
            }
        }
    }
}

struct counter {
    int operators, behind;
};

static int32_t count_operator(void *user, const char *name, const dqg_tensor_view *output) {
    struct counter *counter = user;
    (void)output;
    counter->operators++;
    counter->behind += strncmp(name, "blocks.1", 8) == 0 || strncmp(name, "final", 5) == 0 || !strcmp(name, "output");
    return 0;
}

static void test_early_exit(void **state) {
    const struct model_fixture *fixture = *state;
    static float images[IMAGE], out[HIDDEN];
    dqg_scheduler *scheduler = make_scheduler(fixture->context);
    struct counter early = {0, 0}, late = {0, 0};
    dqg_tensor_view x = view_f32(images, 1, CHANNELS, SIDE, SIDE), output = view_f32(out, 1, HIDDEN, 0, 0);
    dqg_feature_spec spec = make_spec(1, 1);
    assert_ok(dqg_model_features(fixture->context, fixture->model, scheduler, &x, &spec, count_operator, &early,
                                 &output, NULL));
    spec.block = DEPTH;
    assert_ok(dqg_model_features(fixture->context, fixture->model, scheduler, &x, &spec, count_operator, &late, &output,
                                 NULL));
    assert_int_equal(early.behind, 0);
    assert_int_equal(late.operators - early.operators, late.behind); /* one block more, and nothing of the last layer */
    assert_int_equal(late.behind, 8);
    dqg_scheduler_release(scheduler);
}

/* ---- 4 bits ---- */

static double cosine(const float *a, const float *b, int count) {
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < count; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

enum { CLASSES = 10, TRAIN = 8, TEST = 20, EACH = TRAIN + TEST, TOTAL = CLASSES * EACH, COUNT = HIDDEN * 2 * 2 };

/* How many test images are nearest to the mean of their own class. */
static int nearest_means(const float *found) {
    static double means[CLASSES][COUNT];
    int right = 0;
    memset(means, 0, sizeof means);
    for (int i = 0; i < TOTAL; i++) {
        for (int j = 0; j < COUNT && i % EACH < TRAIN; j++) {
            means[i / EACH][j] += found[i * COUNT + j] / TRAIN;
        }
    }
    for (int i = 0; i < TOTAL; i++) {
        int best = 0;
        double least = INFINITY;
        for (int c = 0; c < CLASSES; c++) {
            double distance = 0;
            for (int j = 0; j < COUNT; j++) {
                distance += pow(found[i * COUNT + j] - means[c][j], 2);
            }
            best = distance < least ? c : best;
            least = fmin(least, distance);
        }
        right += i % EACH >= TRAIN && best == i / EACH;
    }
    return right;
}

static void test_four_bits(void **state) {
    const struct model_fixture *fixture = *state;
    static float images[TOTAL * IMAGE], centre[IMAGE], exact[TOTAL * COUNT], small[TOTAL * COUNT];
    char path[256];
    dqg_quantizer *quantizer;
    dqg_model *model;
    assert_ok(dqg_quantizer_create(fixture->context, NULL, &quantizer));
    tiny_path(path, sizeof path, fixture->directory, "features.dqg");
    assert_ok(dqg_quantizer_run(quantizer, fixture->path, path));
    dqg_quantizer_destroy(quantizer);
    assert_ok(dqg_model_load(fixture->context, path, NULL, &model));
    dqg_rng_normal(11, 0, images, TOTAL * IMAGE);
    for (int i = 0; i < TOTAL; i++) {
        dqg_rng_normal(100 + (uint64_t)(i / EACH), 0, centre, IMAGE);
        for (int j = 0; j < IMAGE; j++) {
            images[i * IMAGE + j] = 0.4f * centre[j] + 0.8f * images[i * IMAGE + j];
        }
    }
    features(fixture->context, fixture->model, images, TOTAL, 1, 2, exact);
    features(fixture->context, model, images, TOTAL, 1, 2, small);
    for (int i = 0; i < TOTAL; i++) {
        assert_true(cosine(exact + i * COUNT, small + i * COUNT, COUNT) >= .98);
    }
    int right = nearest_means(exact);
    assert_true(right > CLASSES * TEST / 2);
    assert_true(nearest_means(small) >= .99 * right);
    dqg_model_release(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise_level), cmocka_unit_test(test_pool),      cmocka_unit_test(test_last_block),
        cmocka_unit_test(test_early_exit),  cmocka_unit_test(test_four_bits),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
