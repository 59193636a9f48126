/* SPDX-License-Identifier: MIT */
/*
 * Runs of networks that take text, pooled rows, sizes and extra channels, step by step against single evaluations that
 * are guided and integrated here. U-Nets of reduced widths, of the form of an inpainting network and SDXL's refiner.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "named_weights.h"

enum { SIDE = 8, PLANE = SIDE * SIDE, LATENT = 4 * PLANE, EXTRA = 5 * PLANE, TOKENS = 3, WIDTH = 40, STEPS = 4 };

static const double guidance = 3;

/* What one condition says. */
struct said {
    float context[TOKENS * WIDTH], pooled[WIDTH], extra[EXTRA];
    double sizes[5];
};

struct fixture {
    dqg_context *context;
    dqg_model *model;
    dqg_model_info info;
    dqg_scheduler *scheduler;
};

static float noise(unsigned *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (1 << 23) - 1;
}

static struct said make_said(unsigned seed) {
    struct said said;
    for (size_t i = 0; i < sizeof said.context / sizeof(float); i++) {
        said.context[i] = noise(&seed);
    }
    for (size_t i = 0; i < WIDTH; i++) {
        said.pooled[i] = noise(&seed);
    }
    for (size_t i = 0; i < EXTRA; i++) {
        said.extra[i] = noise(&seed);
    }
    for (size_t i = 0; i < 5; i++) {
        said.sizes[i] = 100 + 50 * (double)noise(&seed);
    }
    return said;
}

static struct fixture open_network(const char *list, const char *metadata) {
    struct fixture f;
    size_t bytes;
    const struct named_file file = {.list = list, .metadata = metadata};
    unsigned char *data = named_file_make(&file, &bytes);
    assert_non_null(data);
    assert_ok(dqg_context_create(NULL, &f.context));
    assert_ok(dqg_context_set_threads(f.context, 2));
    assert_ok(dqg_model_load_memory(f.context, data, bytes, NULL, &f.model));
    free(data);
    DQG_INIT(&f.info);
    assert_ok(dqg_model_get_info(f.model, &f.info));
    dqg_options *options = make_options(f.context, DQG_OPTIONS_SCHEDULER);
    parse_options(options, "solver=euler schedule=scaled-linear prediction=epsilon");
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_scheduler_create(f.context, options, &f.scheduler));
    dqg_options_destroy(options);
    return f;
}

static struct fixture open_inpainting(void) {
    return open_network("tests/golden/unet/inpaint.txt", "{\"num_attention_heads\":\"[2, 4]\"}");
}

static struct fixture open_refiner(void) {
    return open_network("tests/golden/unet/refiner.txt", NULL);
}

static void close_network(struct fixture *f) {
    dqg_scheduler_release(f->scheduler);
    dqg_model_release(f->model);
    dqg_context_destroy(f->context);
}

static dqg_run *start(const struct fixture *f, const char *text) {
    dqg_options *options = make_options(f->context, DQG_OPTIONS_RUN);
    dqg_run *run;
    parse_options(options, text);
    assert_ok(dqg_options_set_int(options, DQG_RUN_HEIGHT, SIDE));
    assert_ok(dqg_options_set_int(options, DQG_RUN_WIDTH, SIDE));
    assert_ok(dqg_options_set_int(options, DQG_RUN_CONTEXT_TOKENS, TOKENS));
    if (dqg_run_create(f->context, f->model, f->scheduler, options, &run) != DQG_OK) {
        fail_msg("%s", dqg_context_error(f->context));
    }
    dqg_options_destroy(options);
    return run;
}

/* Views on what is said, as far as the network takes it. */
struct views {
    dqg_tensor_view context, pooled, extra;
    dqg_inputs inputs;
};

static void make_views(const struct fixture *f, struct said *said, struct views *views) {
    views->context = view_f32(said->context, 1, TOKENS, f->info.context_columns, 0);
    views->pooled = view_f32(said->pooled, 1, f->info.pooled_columns, 0, 0);
    views->extra = view_f32(said->extra, 1, f->info.extra_channels, SIDE, SIDE);
    DQG_INIT(&views->inputs);
    views->inputs.context = &views->context;
    views->inputs.pooled = f->info.pooled_columns > 0 ? &views->pooled : NULL;
    views->inputs.extra = f->info.extra_channels > 0 ? &views->extra : NULL;
    views->inputs.sizes = f->info.sizes > 0 ? said->sizes : NULL;
}

static void tell(const struct fixture *f, dqg_run *run, int32_t index, struct said *said) {
    struct views views;
    make_views(f, said, &views);
    assert_ok(dqg_run_set_inputs(run, -1, index, &views.inputs));
}

static void evaluate(const struct fixture *f, const float *latent, double timestep, struct said *said, float *out) {
    float x[LATENT];
    struct views views;
    memcpy(x, latent, sizeof x);
    dqg_tensor_view in = view_f32(x, 1, 4, SIDE, SIDE), to = view_f32(out, 1, 4, SIDE, SIDE);
    make_views(f, said, &views);
    assert_ok(dqg_model_denoise(f->context, f->model, &in, &timestep, &views.inputs, NULL, NULL, &to));
}

/* A step of Euler's method in the latent over alpha, guided where scale is not 1. */
static void step(const struct fixture *f, int32_t index, double scale, struct said *condition, struct said *without,
                 float *latent) {
    dqg_point from, to;
    float c[LATENT], u[LATENT] = {0}, x[LATENT];
    DQG_INIT(&from);
    DQG_INIT(&to);
    assert_ok(dqg_scheduler_point(f->scheduler, index, &from));
    assert_ok(dqg_scheduler_point(f->scheduler, index + 1, &to));
    for (size_t i = 0; i < LATENT; i++) {
        x[i] = (float)(from.input_scale * latent[i]);
    }
    evaluate(f, x, from.timestep, condition, c);
    if (scale != 1) {
        evaluate(f, x, from.timestep, without, u);
    }
    for (size_t i = 0; i < LATENT; i++) {
        double guided = scale != 1 ? u[i] + scale * (c[i] - u[i]) : c[i];
        double over = latent[i] / from.alpha + (to.sigma / to.alpha - from.sigma / from.alpha) * guided;
        latent[i] = (float)(over * to.alpha);
    }
}

static void read_latent(dqg_run *run, float *latent) {
    dqg_tensor_view view = view_f32(latent, 1, 4, SIDE, SIDE);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
}

static void assert_near(const float *a, const float *b, double limit) {
    double error = 0, size = 0;
    for (size_t i = 0; i < LATENT; i++) {
        error = fmax(error, fabs((double)a[i] - b[i]));
        size = fmax(size, fabs((double)b[i]));
    }
    if (!(error <= limit * size)) {
        fail_msg("error %g of values up to %g", error, size);
    }
}

/* Two prompts, changed on the way. */
static void follow(struct fixture f) {
    struct said said[4] = {make_said(1), make_said(2), make_said(3), make_said(4)};
    float latent[LATENT], got[LATENT];
    dqg_run *run = start(&f, "seed=3 guidance=3");
    tell(&f, run, 0, &said[0]);
    tell(&f, run, DQG_UNCONDITIONAL, &said[1]);
    read_latent(run, latent);
    for (int32_t i = 0; i < STEPS; i++) {
        struct said *condition = &said[i < 2 ? 0 : 2], *without = &said[i < 3 ? 1 : 3];
        if (i == 2) {
            tell(&f, run, 0, condition);
        } else if (i == 3) {
            tell(&f, run, DQG_UNCONDITIONAL, without);
        }
        step(&f, i, guidance, condition, without, latent);
        assert_int_equal(dqg_run_step(run), i < STEPS - 1 ? DQG_OK : DQG_DONE);
        read_latent(run, got);
        assert_near(got, latent, 1e-4);
    }
    dqg_run_destroy(run);
    close_network(&f);
}

static void inpainting(void **state) {
    (void)state;
    follow(open_inpainting());
}

static void refiner(void **state) {
    (void)state;
    follow(open_refiner());
}

/* A change in the middle of an evaluation counts for the whole of it. */
static void change_within(void **state) {
    (void)state;
    struct fixture f = open_inpainting();
    struct said said[2] = {make_said(5), make_said(6)};
    float latent[LATENT], got[LATENT];
    dqg_run *run = start(&f, "guidance=1");
    tell(&f, run, 0, &said[0]);
    read_latent(run, latent);
    step(&f, 0, 1, &said[0], NULL, latent);
    assert_ok(dqg_run_step(run));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(dqg_run_advance(run, 0), DQG_PENDING);
    }
    tell(&f, run, 0, &said[1]);
    step(&f, 1, 1, &said[1], NULL, latent);
    assert_ok(dqg_run_step(run));
    read_latent(run, got);
    assert_near(got, latent, 1e-4);
    dqg_run_destroy(run);
    close_network(&f);
}

/* A saved run and a fork go on with what was said. */
static void saved(void **state) {
    (void)state;
    struct fixture f = open_refiner();
    struct said said[2] = {make_said(7), make_said(8)};
    float ends[3][LATENT];
    size_t size;
    dqg_run *run = start(&f, "guidance=3"), *other = start(&f, "guidance=3"), *copy;
    tell(&f, run, 0, &said[0]);
    tell(&f, run, DQG_UNCONDITIONAL, &said[1]);
    assert_ok(dqg_run_step(run));
    assert_ok(dqg_run_state_size(run, &size));
    char *bytes = malloc(size);
    assert_non_null(bytes);
    assert_ok(dqg_run_save(run, bytes, size));
    assert_ok(dqg_run_step(other)); /* of other prompts, so that nothing of it may stay */
    assert_ok(dqg_run_restore(other, bytes, size));
    assert_ok(dqg_run_fork(run, &copy));
    free(bytes);
    dqg_run *runs[3] = {run, other, copy};
    for (int i = 0; i < 3; i++) {
        while (dqg_run_step(runs[i]) == DQG_OK) {
        }
        read_latent(runs[i], ends[i]);
        dqg_run_destroy(runs[i]);
    }
    assert_memory_equal(ends[0], ends[1], sizeof ends[0]);
    assert_memory_equal(ends[0], ends[2], sizeof ends[0]);
    close_network(&f);
}

/* Sizes that nobody gave are those of the picture; a poor score leads away. */
static void own_sizes(void **state) {
    (void)state;
    struct fixture f = open_refiner();
    struct said said = make_said(9), bad = said;
    const double good_sizes[5] = {8 * SIDE, 8 * SIDE, 0, 0, 6}, bad_sizes[5] = {8 * SIDE, 8 * SIDE, 0, 0, 2.5};
    float latent[LATENT], got[LATENT];
    struct views views;
    dqg_run *run = start(&f, "guidance=3");
    make_views(&f, &said, &views);
    views.inputs.sizes = NULL;
    assert_ok(dqg_run_set_inputs(run, 0, 0, &views.inputs));
    assert_ok(dqg_run_set_inputs(run, 0, DQG_UNCONDITIONAL, &views.inputs));
    memcpy(said.sizes, good_sizes, sizeof said.sizes);
    memcpy(bad.sizes, bad_sizes, sizeof bad.sizes);
    read_latent(run, latent);
    step(&f, 0, guidance, &said, &bad, latent);
    assert_ok(dqg_run_step(run));
    read_latent(run, got);
    assert_near(got, latent, 1e-4);
    dqg_run_destroy(run);
    close_network(&f);
}

/* Inputs of another form. */
static void refused(void **state) {
    (void)state;
    struct fixture f = open_inpainting();
    struct said said = make_said(10);
    struct views views;
    float x[LATENT] = {0};
    double time = 1, sizes[5] = {0};
    dqg_tensor_view image = view_f32(x, 1, 4, SIDE, SIDE);
    dqg_run *run = start(&f, "guidance=3");
    make_views(&f, &said, &views);
    views.context.shape[1] = TOKENS - 1;
    assert_fails(f.context, dqg_run_set_inputs(run, 0, 0, &views.inputs), DQG_ERROR_ARGUMENT);
    views.context.shape[1] = TOKENS;
    views.context.shape[0] = 2;
    assert_fails(f.context, dqg_run_set_inputs(run, 0, 0, &views.inputs), DQG_ERROR_ARGUMENT);
    views.context.shape[0] = 1;
    views.inputs.mask = &views.pooled;
    assert_fails(f.context, dqg_run_set_inputs(run, 0, 0, &views.inputs), DQG_ERROR_ARGUMENT);
    views.inputs.mask = NULL;
    views.inputs.sizes = sizes;
    assert_fails(f.context, dqg_run_set_inputs(run, 0, 0, &views.inputs), DQG_ERROR_ARGUMENT);
    views.inputs.sizes = NULL;
    views.extra.shape[2] = SIDE - 1;
    assert_fails(f.context, dqg_run_set_inputs(run, 0, 0, &views.inputs), DQG_ERROR_ARGUMENT);
    views.inputs.extra = NULL;
    assert_fails(f.context, dqg_model_denoise(f.context, f.model, &image, &time, &views.inputs, NULL, NULL, &image),
                 DQG_ERROR_ARGUMENT);
    dqg_run_destroy(run);
    close_network(&f);
    f = open_refiner();
    run = start(&f, "guidance=3");
    make_views(&f, &said, &views);
    said.sizes[2] = NAN;
    assert_fails(f.context, dqg_run_set_inputs(run, 0, 0, &views.inputs), DQG_ERROR_RANGE);
    dqg_run_destroy(run);
    close_network(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inpainting), cmocka_unit_test(refiner),   cmocka_unit_test(change_within),
        cmocka_unit_test(saved),      cmocka_unit_test(own_sizes), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
