/* SPDX-License-Identifier: MIT */
/*
 * The noise of runs: each image has that of its own seed, from every source; later draws of a stochastic solver go on
 * where the first one ended, after save and restore too; variation seeds, offset noise, and what is refused.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "support/rng.h"
#include "support/rng_torch.h"
#include "support/support.h"

enum { IMAGES = 3, STEPS = 6, MOST = 4 * 5 * 7 };

static const int64_t seeds[IMAGES] = {5, -7, (int64_t)1 << 40 | 12};
static const int64_t variations[IMAGES] = {5, 1000, -9};
static const char *const sources[] = {"native", "torch-cpu", "torch-cuda"};
enum { SOURCES = 3 };

/* Shapes: many values of one image; fewer than 16, an odd number. */
static const struct shape {
    int64_t sizes[4];
    int32_t rank, size, channels;
} shapes[] = {{{IMAGES, 4, 5, 7}, 4, 140, 4}, {{IMAGES, 3, 3, 1}, 3, 9, 3}};
enum { SHAPES = 2 };

struct settings {
    const struct shape *shape;
    const char *source;
    double strength, offset;
    bool other_seeds;
};

struct session {
    dqg_context *context;
    dqg_scheduler *scheduler;
    dqg_run *run;
    const struct shape *shape;
};

static int setup(void **state) {
    static struct session session;
    dqg_options *options;
    assert_ok(dqg_context_create(NULL, &session.context));
    options = make_options(session.context, DQG_OPTIONS_SCHEDULER);
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "linear"));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, "ddim"));
    assert_ok(dqg_options_set_float(options, DQG_SCHEDULER_ETA, 1.0));
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_scheduler_create(session.context, options, &session.scheduler));
    dqg_options_destroy(options);
    *state = &session;
    return 0;
}

static int teardown(void **state) {
    struct session *session = *state;
    dqg_scheduler_release(session->scheduler);
    dqg_context_destroy(session->context);
    return 0;
}

static dqg_options *noise_options(dqg_context *context, const struct settings *settings) {
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_set_ints(options, DQG_RUN_SEEDS, settings->other_seeds ? variations : seeds, IMAGES));
    assert_ok(dqg_options_set_text(options, DQG_RUN_NOISE, settings->source));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_VARIATION_SEEDS, variations, IMAGES));
    assert_ok(dqg_options_set_float(options, DQG_RUN_VARIATION_STRENGTH, settings->strength));
    assert_ok(dqg_options_set_float(options, DQG_RUN_OFFSET_NOISE, settings->offset));
    return options;
}

static void open_run(struct session *session, const struct settings *settings) {
    const struct shape *shape = settings->shape;
    dqg_options *options = noise_options(session->context, settings);
    session->shape = shape;
    assert_ok(
        dqg_run_create_custom(session->context, session->scheduler, shape->sizes, shape->rank, options, &session->run));
    dqg_options_destroy(options);
}

static dqg_tensor_view view_of(const struct shape *shape, float *data) {
    return view_f32(data, shape->sizes[0], shape->sizes[1], shape->sizes[2], shape->rank > 3 ? shape->sizes[3] : 0);
}

static void read_latent(const struct session *session, float *latent) {
    dqg_tensor_view view = view_of(session->shape, latent);
    assert_ok(dqg_run_read(session->run, DQG_SOURCE_LATENT, &view));
}

static void first_latent(struct session *session, const struct settings *settings, float *latent) {
    open_run(session, settings);
    read_latent(session, latent);
    dqg_run_destroy(session->run);
}

/* One step of a network that answers 0. */
static void step(const struct session *session) {
    static float values[IMAGES * MOST];
    dqg_request request;
    dqg_tensor_view view = view_of(session->shape, values);
    DQG_INIT(&request);
    assert_ok(dqg_run_request(session->run, &request, &view));
    memset(values, 0, sizeof values);
    assert_true(dqg_run_submit(session->run, &view) >= 0);
}

/*
 * Draws of one seed, straight from the generators: the latent, the offsets where there are some, and the noise of the
 * first step that has some.
 */
static void expected_draws(const struct settings *settings, int64_t seed, float *latent, float *offsets, float *fresh) {
    size_t size = (size_t)settings->shape->size;
    size_t channels = settings->offset > 0 ? (size_t)settings->shape->channels : 0;
    if (strcmp(settings->source, "torch-cpu") == 0) {
        struct dqg_torch_rng rng;
        dqg_torch_seed(&rng, (uint64_t)seed);
        dqg_torch_normal(&rng, latent, size);
        dqg_torch_normal(&rng, offsets, channels);
        dqg_torch_normal(&rng, fresh, size);
    } else if (strcmp(settings->source, "torch-cuda") == 0) {
        dqg_torch_normal_cuda((uint64_t)seed, 0, latent, size);
        dqg_torch_normal_cuda((uint64_t)seed, 1, offsets, channels);
        dqg_torch_normal_cuda((uint64_t)seed, channels > 0 ? 2 : 1, fresh, size);
    } else {
        dqg_rng_normal((uint64_t)seed, 0, latent, size);
        dqg_rng_normal((uint64_t)seed, UINT32_MAX, offsets, channels);
        dqg_rng_normal((uint64_t)seed, 1, fresh, size);
    }
}

static void test_latents(void **state) {
    struct session *session = *state;
    float latent[IMAGES * MOST], first[MOST], offsets[MOST], fresh[MOST];
    for (int i = 0; i < SHAPES * SOURCES * 2; i++) {
        struct settings settings = {&shapes[i / 2 / SOURCES], sources[i / 2 % SOURCES], 0, i % 2 * 0.25, false};
        size_t size = (size_t)settings.shape->size;
        size_t plane = size / (size_t)settings.shape->channels;
        first_latent(session, &settings, latent);
        for (size_t image = 0; image < IMAGES; image++) {
            expected_draws(&settings, seeds[image], first, offsets, fresh);
            for (size_t j = 0; settings.offset > 0 && j < size; j++) {
                first[j] += 0.25f * offsets[j / plane];
            }
            assert_memory_equal(latent + image * size, first, size * sizeof(float));
        }
    }
}

/* Images of many values are drawn by several threads. */
static void test_long_latent(void **state) {
    struct session *session = *state;
    const struct shape shape = {{IMAGES, 4, 64, 161}, 4, 4 * 64 * 161, 4};
    struct settings settings = {&shape, "native", 0, 0, false};
    size_t size = (size_t)shape.size;
    float *latent = malloc(IMAGES * size * sizeof *latent), *first = malloc(size * sizeof *first);
    assert_ok(dqg_context_set_threads(session->context, 3));
    assert_ok(dqg_parallel_prepare(session->context));
    first_latent(session, &settings, latent);
    for (size_t image = 0; image < IMAGES; image++) {
        dqg_rng_normal((uint64_t)seeds[image], 0, first, size);
        assert_memory_equal(latent + image * size, first, size * sizeof *first);
    }
    free(first);
    free(latent);
}

/* The solver's first step, solved for its fresh noise: x' = a'/a x + sd z. */
static void test_fresh_noise(void **state) {
    struct session *session = *state;
    float before[IMAGES * MOST], after[IMAGES * MOST], first[MOST], offsets[MOST], fresh[MOST];
    dqg_point points[2];
    for (int i = 0; i < 2; i++) {
        DQG_INIT(&points[i]);
        assert_ok(dqg_scheduler_point(session->scheduler, i, &points[i]));
    }
    double ratio = points[1].alpha / points[0].alpha;
    double amplitude = points[1].sigma / points[0].sigma * sqrt(1 - 1 / (ratio * ratio));
    for (int i = 0; i < SHAPES * SOURCES * 3; i++) {
        struct settings settings = {&shapes[i / 3 / SOURCES], sources[i / 3 % SOURCES], i % 3 == 1 ? 0.4 : 0,
                                    i % 3 == 2 ? 0.1 : 0, false};
        size_t size = (size_t)settings.shape->size;
        open_run(session, &settings);
        read_latent(session, before);
        step(session);
        read_latent(session, after);
        dqg_run_destroy(session->run);
        for (size_t image = 0; image < IMAGES; image++) {
            expected_draws(&settings, seeds[image], first, offsets, fresh);
            for (size_t j = 0; j < size; j++) {
                size_t at = image * size + j;
                double z = ((double)after[at] - ratio * before[at]) / amplitude;
                assert_true(fabs(z - fresh[j]) < 1e-5);
            }
        }
    }
}

/* Save after any number of steps, restore into a run with other seeds, go on. */
static void test_save_restore(void **state) {
    struct session *session = *state;
    float whole[IMAGES * MOST], resumed[IMAGES * MOST];
    for (int i = 0; i < SHAPES * SOURCES * 2 * STEPS; i++) {
        struct settings settings = {&shapes[i % 2], sources[i / 2 % SOURCES], 0.5, i / 6 % 2 == 0 ? 0 : 0.1, false};
        size_t size;
        int saved_at = i / 12;
        open_run(session, &settings);
        assert_ok(dqg_run_state_size(session->run, &size));
        char *saved = malloc(size);
        for (int j = 0; j < STEPS; j++) {
            if (j == saved_at) {
                assert_ok(dqg_run_save(session->run, saved, size));
            }
            step(session);
        }
        read_latent(session, whole);
        dqg_run_destroy(session->run);
        settings.other_seeds = true;
        open_run(session, &settings);
        assert_ok(dqg_run_restore(session->run, saved, size));
        for (int j = saved_at; j < STEPS; j++) {
            step(session);
        }
        read_latent(session, resumed);
        dqg_run_destroy(session->run);
        free(saved);
        assert_memory_equal(whole, resumed, (size_t)settings.shape->size * IMAGES * sizeof(float));
    }
}

static double dot(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum;
}

/* Cosine of the angle between two noises. */
static double cosine(const float *a, const float *b, size_t count) {
    return dot(a, b, count) / sqrt(dot(a, a, count) * dot(b, b, count));
}

static void test_variation(void **state) {
    struct session *session = *state;
    float from[IMAGES * MOST], to[IMAGES * MOST], between[IMAGES * MOST];
    for (int i = 0; i < SHAPES * SOURCES; i++) {
        struct settings settings = {&shapes[i % SHAPES], sources[i / SHAPES], 0, 0, false};
        size_t size = (size_t)settings.shape->size;
        first_latent(session, &settings, from);
        settings.other_seeds = true;
        first_latent(session, &settings, to);
        settings.other_seeds = false;
        settings.strength = 1;
        first_latent(session, &settings, between);
        assert_memory_equal(to, between, IMAGES * size * sizeof(float));
        settings.strength = 0.25;
        first_latent(session, &settings, between);
        assert_memory_equal(from, between, size * sizeof(float)); /* the first seeds are equal */
        for (size_t at = size; at < IMAGES * size; at += size) {
            double whole = acos(cosine(from + at, to + at, size));
            double part = acos(cosine(from + at, between + at, size));
            double rest = acos(cosine(between + at, to + at, size));
            assert_true(fabs(part + rest - whole) < 1e-5); /* on the arc */
            for (size_t j = at; j < at + size; j++) {      /* with the weights of a quarter of the angle */
                double value = (sin(0.75 * whole) * from[j] + sin(0.25 * whole) * to[j]) / sin(whole);
                assert_true(fabs(between[j] - value) < 1e-6);
            }
        }
    }
}

static void test_errors(void **state) {
    struct session *session = *state;
    dqg_context *context = session->context;
    struct settings settings = {&shapes[0], "native", 0.5, 0, false};
    dqg_options *options = noise_options(context, &settings);
    dqg_run *run;
    assert_fails(context, dqg_options_set_text(options, DQG_RUN_NOISE, "torch"), DQG_ERROR_RANGE);
    assert_fails(context, dqg_options_set_float(options, DQG_RUN_VARIATION_STRENGTH, 1.01), DQG_ERROR_RANGE);
    assert_fails(context, dqg_options_set_float(options, DQG_RUN_VARIATION_STRENGTH, NAN), DQG_ERROR_RANGE);
    assert_fails(context, dqg_options_set_float(options, DQG_RUN_OFFSET_NOISE, -0.1), DQG_ERROR_RANGE);
    for (int32_t count = 0; count < 3; count += 2) {
        assert_ok(dqg_options_set_ints(options, DQG_RUN_VARIATION_SEEDS, variations, count));
        assert_fails(context, dqg_run_create_custom(context, session->scheduler, shapes[0].sizes, 4, options, &run),
                     DQG_ERROR_ARGUMENT);
        assert_null(run);
    }
    assert_ok(dqg_options_set_ints(options, DQG_RUN_VARIATION_SEEDS, variations, 1));
    assert_ok(dqg_run_create_custom(context, session->scheduler, shapes[0].sizes, 4, options, &run));
    dqg_run_destroy(run);
    dqg_options_destroy(options);
}

/* A state goes on only where its noise goes on. */
static void test_other_noise(void **state) {
    struct session *session = *state;
    struct settings settings = {&shapes[0], "torch-cpu", 0, 0.1, false};
    size_t size;
    open_run(session, &settings);
    assert_ok(dqg_run_state_size(session->run, &size));
    char *saved = malloc(size);
    assert_ok(dqg_run_save(session->run, saved, size));
    dqg_run_destroy(session->run);
    for (int i = 0; i < 4; i++) {
        settings.source = i < SOURCES ? sources[i] : "torch-cpu";
        settings.offset = i < SOURCES ? 0.1 : 0;
        open_run(session, &settings);
        if (i == 1) {
            assert_ok(dqg_run_restore(session->run, saved, size));
        } else {
            assert_fails(session->context, dqg_run_restore(session->run, saved, size), DQG_ERROR_STATE);
        }
        dqg_run_destroy(session->run);
    }
    free(saved);
}

/* Noise along a path: a restored run goes on exactly, and one with white noise does not take the state. */
static void test_path(void **state) {
    struct session *session = *state;
    static float once[IMAGES * MOST], again[IMAGES * MOST];
    dqg_run *runs[3];
    size_t size;
    session->shape = &shapes[0];
    for (int i = 0; i < 3; i++) {
        dqg_options *options = make_options(session->context, DQG_OPTIONS_RUN);
        assert_ok(dqg_options_set_ints(options, DQG_RUN_SEEDS, seeds, IMAGES));
        assert_ok(dqg_options_set_text(options, DQG_RUN_NOISE_PATH, i < 2 ? "brownian" : "white"));
        assert_ok(dqg_run_create_custom(session->context, session->scheduler, session->shape->sizes,
                                        session->shape->rank, options, &runs[i]));
        dqg_options_destroy(options);
    }
    session->run = runs[0];
    step(session);
    step(session);
    assert_ok(dqg_run_state_size(runs[0], &size));
    void *saved = malloc(size);
    assert_ok(dqg_run_save(runs[0], saved, size));
    for (int i = 0; i < 2; i++) {
        session->run = runs[i];
        if (i == 1) {
            assert_ok(dqg_run_restore(runs[1], saved, size));
        }
        for (int j = 2; j < STEPS; j++) {
            step(session);
        }
        read_latent(session, i == 0 ? once : again);
    }
    assert_memory_equal(once, again, sizeof once);
    assert_fails(session->context, dqg_run_restore(runs[2], saved, size), DQG_ERROR_STATE);
    session->run = runs[2];
    for (int j = 0; j < STEPS; j++) {
        step(session);
    }
    read_latent(session, again);
    assert_memory_not_equal(once, again, sizeof once);
    free(saved);
    for (int i = 0; i < 3; i++) {
        dqg_run_destroy(runs[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),         cmocka_unit_test(test_latents),   cmocka_unit_test(test_fresh_noise),
        cmocka_unit_test(test_save_restore), cmocka_unit_test(test_variation), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_other_noise),  cmocka_unit_test(test_long_latent),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
