/* SPDX-License-Identifier: MIT */
/*
 * A network on every backend that this CPU can run, in several storage formats, with attention in floats and in
 * integers: the same bits for one, two and three threads, and results as near to each other as rounding allows.
 */
#include <math.h>
#include <stdio.h>

#include "check.h"
#include "tiny_model.h"

enum { IMAGES = 2, SIDE = 20, FLOATS = IMAGES * 4 * SIDE * SIDE, STEPS = 1 }; /* 100 tokens: more than a tile of keys */

struct fixture {
    char directory[128], checkpoint[192], stored[192];
    dqg_context *context;
};

static void sample(dqg_context *context, dqg_model *model, const char *attention, float *out) {
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_options *scheduling = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    dqg_run *run;
    dqg_tensor_view view = view_f32(out, IMAGES, 4, SIDE, SIDE);
    assert_ok(dqg_options_set_int(scheduling, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, IMAGES));
    assert_ok(dqg_options_set_text(options, DQG_RUN_ATTENTION, attention));
    assert_ok(dqg_options_parse(options, "classes", "1,4"));
    assert_ok(dqg_scheduler_create(context, scheduling, &scheduler));
    assert_ok(dqg_run_create(context, model, scheduler, options, &run));
    while (dqg_run_step(run) == DQG_OK) {
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(scheduling);
    dqg_options_destroy(options);
}

static double relative(const float *a, const float *b) {
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < FLOATS; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / norm);
}

/* limit: of the difference between two backends. The model is loaded anew for each: sums and panels are its own. */
static void check_network(struct fixture *fixture, const char *path, const char *attention, double limit) {
    static float first[FLOATS], one[FLOATS], more[FLOATS];
    dqg_context *context = fixture->context;
    for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
        dqg_model *model;
        assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
        assert_ok(dqg_model_load(context, path, NULL, &model));
        for (int32_t threads = 1; threads <= 3; threads++) {
            assert_ok(dqg_context_set_threads(context, threads));
            sample(context, model, attention, threads == 1 ? one : more);
            assert_true(threads == 1 || memcmp(one, more, sizeof one) == 0);
        }
        if (i == 0) {
            memcpy(first, one, sizeof first);
        }
        double difference = relative(one, first);
        if (!(difference <= limit)) {
            fail_msg("%s, attention %s: %s and %s differ by %g", path, attention, dqg_backend_name(i),
                     dqg_backend_name(0), difference);
        }
        dqg_model_release(model);
    }
}

/* Measured: 2e-7, 2e-6. */
static void float_network(void **state) {
    struct fixture *fixture = *state;
    check_network(fixture, fixture->checkpoint, "float", 2e-6);
    check_network(fixture, fixture->checkpoint, "int8", 1e-5);
}

/* No sum of integers differs; but a float that rounds the other way makes its code one larger. Measured: 8e-5, 2e-4. */
static void quantized_network(void **state) {
    static const struct {
        const char *format, *attention;
        double limit;
    } cases[] = {{"int8", "float", 3e-4}, {"int4", "int8", 1e-3}, {"int4z", "float", 3e-4}, {"int3z", "int8", 1e-3},
                 {"nf4", "float", 3e-4},  {"e4m3", "int8", 1e-3}, {"bin2", "float", 3e-4},  {"vq2", "int8", 1e-3}};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dqg_options *options = make_options(fixture->context, DQG_OPTIONS_QUANTIZER);
        dqg_quantizer *quantizer;
        assert_ok(dqg_options_set_text(options, DQG_QUANTIZER_FORMAT, cases[i].format));
        assert_ok(dqg_quantizer_create(fixture->context, options, &quantizer));
        assert_ok(dqg_quantizer_run(quantizer, fixture->checkpoint, fixture->stored));
        dqg_quantizer_destroy(quantizer);
        dqg_options_destroy(options);
        check_network(fixture, fixture->stored, cases[i].attention, cases[i].limit);
    }
}

static int setup(void **state) {
    static struct fixture fixture;
    *state = &fixture;
    if (tiny_dir_make(fixture.directory, sizeof fixture.directory) != 0) {
        return -1;
    }
    tiny_path(fixture.checkpoint, sizeof fixture.checkpoint, fixture.directory, "tiny.safetensors");
    tiny_path(fixture.stored, sizeof fixture.stored, fixture.directory, "tiny.dqg");
    return tiny_dit_write(fixture.checkpoint, 80, 2, 2, 2, 4, SIDE, 5, 0, 3) ||
           dqg_context_create(NULL, &fixture.context);
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    dqg_context_destroy(fixture->context);
    tiny_dir_remove(fixture->directory);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(float_network), cmocka_unit_test(quantized_network)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
