/* SPDX-License-Identifier: MIT */
/*
 * MMDiT networks of reduced widths against diffusers: under its names and the authors', every backend, with blocks left
 * out, with some of the image's tokens computed, with step caches, with 4-bit weights.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "named_weights.h"
#include "run/run.h"
#include "tiny_model.h"
#include "relative.h"

enum { SAMPLES = 2, CHANNELS = 16 };

static const double limit = 1e-4; /* largest relative error of the float path */

/* ---- models ---- */

static unsigned char *make_file(const char *name, int own, const char *prefix, size_t *bytes) {
    char path[128];
    /* As programs write it, and as a file of this library keeps a folder's configuration. */
    const char *told =
        own ? "{\"denoiser/config.json\":\"{\\\"num_attention_heads\\\": 4}\"}" : "{\"num_attention_heads\":\"4\"}";
    const char *metadata = strcmp(name, "heads") == 0 ? told : NULL;
    const struct named_file file = {.list = path, .second = own, .prefix = prefix, .metadata = metadata};
    snprintf(path, sizeof path, "tests/golden/mmdit/%s.txt", name);
    unsigned char *made = named_file_make(&file, bytes);
    assert_non_null(made);
    return made;
}

static dqg_model *load(dqg_context *context, const char *name, int own, const char *prefix) {
    size_t bytes;
    dqg_model *model;
    unsigned char *file = make_file(name, own, prefix, &bytes);
    if (dqg_model_load_memory(context, file, bytes, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", name, dqg_context_error(context));
    }
    free(file);
    return model;
}

/* ---- recorded evaluations ---- */

struct golden {
    struct npy x, t, context, pooled, out, skip;
    double timesteps[SAMPLES];
    size_t count;
    dqg_tensor_view views[4]; /* x, context, pooled, extra channels */
    dqg_inputs inputs;
};

static void read_array(const char *name, const char *part, struct npy *array) {
    *array = golden_array("mmdit/%s_%s", name, part);
}

static void read_golden(const char *name, struct golden *g) {
    read_array(name, "x", &g->x);
    read_array(name, "t", &g->t);
    read_array(name, "context", &g->context);
    read_array(name, "pooled", &g->pooled);
    read_array(name, "out", &g->out);
    read_array(name, "skip", &g->skip);
    for (int i = 0; i < SAMPLES; i++) {
        g->timesteps[i] = g->t.data[i];
    }
    g->count = (size_t)g->out.count;
    g->views[0] = view_channels(g->x.data, g->x.shape, 0, CHANNELS);
    g->views[3] = view_channels(g->x.data, g->x.shape, CHANNELS, g->x.shape[1] - CHANNELS);
    g->views[1] = view_f32(g->context.data, SAMPLES, g->context.shape[1], g->context.shape[2], 0);
    g->views[2] = view_f32(g->pooled.data, SAMPLES, g->pooled.shape[1], 0, 0);
    g->inputs = (dqg_inputs){.struct_size = sizeof g->inputs, .context = &g->views[1], .pooled = &g->views[2]};
    g->inputs.extra = g->x.shape[1] > CHANNELS ? &g->views[3] : NULL;
}

static void free_golden(struct golden *g) {
    free(g->x.data);
    free(g->t.data);
    free(g->context.data);
    free(g->pooled.data);
    free(g->out.data);
    free(g->skip.data);
}

static void denoise(dqg_context *context, const dqg_model *model, const struct golden *g, float *out) {
    dqg_tensor_view y = view_f32(out, SAMPLES, CHANNELS, g->x.shape[2], g->x.shape[3]);
    memset(out, 0xff, g->count * sizeof *out);
    if (dqg_model_denoise(context, model, &g->views[0], g->timesteps, &g->inputs, NULL, NULL, &y) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
}

static void check_shape(dqg_context *context, const dqg_model *models[2], const char *name) {
    struct golden g;
    read_golden(name, &g);
    float *out[2] = {malloc(g.count * sizeof(float)), malloc(g.count * sizeof(float))};
    for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
        assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
        denoise(context, models[0], &g, out[0]);
        denoise(context, models[1], &g, out[1]);
        double error = relative(out[0], g.out.data, g.count);
        printf("%-12s %-8s relative error %.2e\n", name, dqg_backend_name(i), error);
        assert_true(error < limit);
        assert_memory_equal(out[0], out[1], g.count * sizeof(float));
    }
    free(out[0]);
    free(out[1]);
    free_golden(&g);
}

/* Under both kinds of names. */
static void check_case(const char *name, const char *const shapes[], size_t count) {
    dqg_context *context;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *models[2] = {load(context, name, 0, ""), load(context, name, 1, "model.diffusion_model.")};
    for (size_t i = 0; i < count; i++) {
        check_shape(context, (const dqg_model **)models, shapes[i]);
    }
    dqg_model_release(models[0]);
    dqg_model_release(models[1]);
    dqg_context_destroy(context);
}

static void test_sd3(void **state) {
    static const char *const shapes[] = {"sd3_8x12", "sd3_14x6"};
    (void)state;
    check_case("sd3", shapes, 2);
}

/* Norms of queries and keys, from which the heads follow, and a block with two attentions. */
static void test_sd35(void **state) {
    static const char *const shapes[] = {"sd35_6x16", "sd35_18x10"};
    (void)state;
    check_case("sd35", shapes, 2);
}

/* Heads of a width that only the metadata tells; channels behind the latent's. */
static void test_heads(void **state) {
    static const char *const shapes[] = {"heads_4x6"};
    (void)state;
    check_case("heads", shapes, 1);
}

/* ---- parts of evaluations ---- */

struct evaluation {
    dqg_context *context;
    dqg_model *model;
    struct golden golden;
    struct dqg_graph graph;
    struct dqg_exec exec;
    struct dqg_exec_io io;
    float *out;
};

static void open_model(struct evaluation *e, const char *name, const char *shape) {
    assert_ok(dqg_context_create(NULL, &e->context));
    e->model = load(e->context, name, 1, "");
    read_golden(shape, &e->golden);
    e->out = calloc(e->golden.count, sizeof *e->out);
}

static void close_model(struct evaluation *e) {
    dqg_model_release(e->model);
    dqg_context_destroy(e->context);
    free_golden(&e->golden);
    free(e->out);
}

static void make_graph(struct evaluation *e, struct dqg_graph_config config) {
    const struct golden *g = &e->golden;
    config.samples = config.samples > 0 ? config.samples : SAMPLES;
    config.height = (size_t)g->x.shape[2];
    config.width = (size_t)g->x.shape[3];
    config.context_tokens = (size_t)g->context.shape[1];
    if (dqg_model_graph(e->context, e->model, &config, &e->graph) != DQG_OK) {
        fail_msg("%s", dqg_context_error(e->context));
    }
    assert_ok(dqg_exec_init(e->context, &e->graph, &e->exec));
    e->io = (struct dqg_exec_io){.x = g->x.data,
                                 .timesteps = g->timesteps,
                                 .context = g->context.data,
                                 .pooled = g->pooled.data,
                                 .kept = e->io.kept,
                                 .active = e->io.active,
                                 .out = e->out};
}

static void free_graph(struct evaluation *e) {
    dqg_exec_free(&e->exec);
    dqg_graph_free(&e->graph);
}

static void run(struct evaluation *e, struct dqg_graph_config config) {
    dqg_status status = DQG_PENDING;
    make_graph(e, config);
    while (status == DQG_PENDING) {
        status = dqg_exec_next(&e->exec, &e->io);
    }
    assert_int_equal(status, DQG_DONE);
    free_graph(e);
}

static void second_half(struct npy *array) {
    memmove(array->data, array->data + array->count / 2, (size_t)array->count / 2 * sizeof *array->data);
}

/* Skip-layer guidance and PAG. */
static void check_perturbed(const char *name, const char *shape) {
    static const int64_t block = 1, last = 2;
    struct evaluation e = {0};
    struct dqg_perturbation skip = {DQG_PERTURB_SKIP, &block, 1}, pag = {DQG_PERTURB_ATTENTION, &last, 1};
    open_model(&e, name, shape);
    run(&e, (struct dqg_graph_config){.perturbation = &skip});
    assert_true(relative(e.out, e.golden.skip.data, e.golden.count) < limit);
    run(&e, (struct dqg_graph_config){.perturbation = &pag});
    double moved = relative(e.out, e.golden.out.data, e.golden.count);
    assert_true(moved > 0.01 && moved < 1);
    /* A sample alone, the second, gives the same. */
    size_t half = e.golden.count / 2;
    float *both = malloc(e.golden.count * sizeof *both);
    memcpy(both, e.out, e.golden.count * sizeof *both);
    e.golden.timesteps[0] = e.golden.timesteps[1];
    second_half(&e.golden.x);
    second_half(&e.golden.context);
    second_half(&e.golden.pooled);
    run(&e, (struct dqg_graph_config){.samples = 1, .perturbation = &pag});
    assert_true(relative(e.out, both + half, half) < 1e-6);
    free(both);
    close_model(&e);
}

static void test_perturbed(void **state) {
    (void)state;
    check_perturbed("sd3", "sd3_14x6");
    check_perturbed("sd35", "sd35_6x16");
}

/* Some tokens, with what attention kept of the others from an evaluation of all: what they give is the same. */
static void check_active(const char *name, const char *shape) {
    static const int32_t active[SAMPLES][5] = {{0, 2, 7, 12, 13}, {1, 2, 3, 9, 20}};
    struct evaluation e = {0};
    open_model(&e, name, shape);
    make_graph(&e, (struct dqg_graph_config){.keep_keys = true});
    float *kept = malloc(e.graph.kept_floats * sizeof *kept);
    e.io.kept = kept;
    free_graph(&e);
    run(&e, (struct dqg_graph_config){.keep_keys = true});
    assert_true(relative(e.out, e.golden.out.data, e.golden.count) < limit);
    size_t width = (size_t)e.golden.x.shape[3], plane = (size_t)e.golden.x.shape[2] * width, grid = width / 2;
    memset(e.out, 0, e.golden.count * sizeof *e.out);
    e.io.active = active[0];
    run(&e, (struct dqg_graph_config){.keep_keys = true, .active_tokens = 5});
    for (size_t s = 0; s < SAMPLES; s++) {
        for (size_t i = 0; i < 5; i++) {
            size_t token = (size_t)active[s][i], first = (token / grid * width + token % grid) * 2;
            for (size_t c = 0; c < CHANNELS; c++) {
                size_t at = (s * CHANNELS + c) * plane + first;
                assert_float_equal(e.out[at], e.golden.out.data[at], 1e-4);
                assert_float_equal(e.out[at + width + 1], e.golden.out.data[at + width + 1], 1e-4);
                e.out[at] = e.out[at + 1] = e.out[at + width] = e.out[at + width + 1] = 0;
            }
        }
    }
    for (size_t i = 0; i < e.golden.count; i++) {
        assert_true(e.out[i] == 0);
    }
    close_model(&e);
    free(kept);
}

static void test_active(void **state) {
    (void)state;
    check_active("sd3", "sd3_14x6");
    check_active("sd35", "sd35_6x16");
}

/* Of two samples the first is given the same again and takes what was stored; the second has changed and computes. */
static void check_cache(struct evaluation *e, enum dqg_cache_kind kind) {
    const struct dqg_cache_config config = {.kind = kind, .threshold = 1e-3, .warmup = 1};
    struct golden *g = &e->golden;
    struct dqg_cache cache;
    size_t bytes = 0, used = 0, half = g->count / 2;
    make_graph(e, (struct dqg_graph_config){.fewer_samples = true});
    assert_ok(dqg_cache_init(e->context, &config, &e->graph, &cache));
    assert_true(dqg_cache_lay_out(&cache, NULL, &bytes));
    char *block = malloc(bytes + 64);
    assert_true(dqg_cache_lay_out(&cache, block + (64 - (uintptr_t)block % 64) % 64, &used));
    dqg_cache_fill(&cache, &config);
    for (int32_t step = 0; step < 2; step++) {
        dqg_status status = DQG_PENDING;
        dqg_cache_begin(&cache, step, 100);
        while (status == DQG_PENDING) {
            status = dqg_cache_next(&cache, &e->exec, &e->io);
        }
        assert_int_equal(status, DQG_DONE);
        assert_true(relative(e->out, g->out.data, half) < limit);
        for (size_t i = half; step == 0 && i < g->count; i++) {
            g->x.data[i] *= 0.5f;
        }
    }
    assert_int_equal(cache.computed, SAMPLES + 1);
    assert_int_equal(cache.skipped, 1);
    float *plain = malloc(g->count * sizeof *plain);
    denoise(e->context, e->model, g, plain);
    assert_true(relative(e->out + half, plain + half, half) < 1e-6);
    free(plain);
    for (size_t i = half; i < g->count; i++) {
        g->x.data[i] *= 2;
    }
    free_graph(e);
    free(block);
}

static void test_caches(void **state) {
    struct evaluation e = {0};
    (void)state;
    open_model(&e, "sd35", "sd35_18x10");
    check_cache(&e, DQG_CACHE_FIRST_BLOCK);
    check_cache(&e, DQG_CACHE_TEACACHE);
    close_model(&e);
}

/* The entropy of joint attention: as many rows of text were there in training. */
static void test_entropy(void **state) {
    struct evaluation e = {0};
    int32_t joint = 0, alone = 0;
    (void)state;
    open_model(&e, "sd35", "sd35_6x16");
    make_graph(&e, (struct dqg_graph_config){.entropy_scale = true, .train_tokens = 100});
    for (int32_t i = 0; i < e.graph.node_count; i++) {
        const struct dqg_node *node = &e.graph.nodes[i];
        if (node->kind == DQG_NODE_ATTENTION) {
            bool both = dqg_graph_keys(&e.graph, node) == 24 + 11;
            double factor = both ? dqg_entropy_scale(24 + 11, 100 + 11) : dqg_entropy_scale(24, 100);
            assert_float_equal(node->scale, factor / sqrt(32), 1e-6);
            joint += both;
            alone += !both;
        }
    }
    assert_true(joint == 3 && alone == 1);
    free_graph(&e);
    close_model(&e);
}

/* ---- refusals ---- */

static void test_sizes(void **state) {
    float some[CHANNELS * 20 * 20] = {0}, given[72] = {0};
    double timestep = 500;
    dqg_context *context;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, "sd3", 0, "transformer.");
    dqg_tensor_view text = view_f32(given, 1, 1, 72, 0), pooled = view_f32(given, 1, 40, 0, 0);
    dqg_inputs inputs = {.struct_size = sizeof inputs, .context = &text, .pooled = &pooled};
    static const int64_t sides[][2] = {{18, 18}, {20, 4}, {4, 20}, {7, 8}, {8, 5}};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        dqg_tensor_view x = view_f32(some, 1, CHANNELS, sides[i][0], sides[i][1]);
        dqg_status status = dqg_model_denoise(context, model, &x, &timestep, &inputs, NULL, NULL, &x);
        assert_int_equal(status, i == 0 ? DQG_OK : DQG_ERROR_RANGE);
        assert_true(i == 0 || i > 2 || strstr(dqg_context_error(context), "position table") != NULL);
    }
    dqg_model_release(model);
    dqg_context_destroy(context);
}

/* ---- runs ---- */

/* With what changes which parts of the network are evaluated, and by the schedule that the family names. */
static void check_run(dqg_context *context, dqg_model *model, const char *text, const struct golden *g, float *latent) {
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_run *run;
    dqg_tensor_view view = view_f32(latent, 1, CHANNELS, 8, 12);
    dqg_tensor_view rows = view_f32(g->context.data, 1, g->context.shape[1], g->context.shape[2], 0);
    dqg_tensor_view pooled = view_f32(g->pooled.data, 1, g->pooled.shape[1], 0, 0);
    dqg_inputs inputs = {.struct_size = sizeof inputs, .context = &rows, .pooled = &pooled};
    parse_options(options, "height=8 width=12 context-tokens=13 guidance=4");
    parse_options(options, text);
    assert_ok(dqg_run_create(context, model, NULL, options, &run));
    assert_ok(dqg_run_set_inputs(run, -1, 0, &inputs));
    dqg_status status = DQG_OK;
    while (status == DQG_OK) {
        status = dqg_run_step(run);
    }
    assert_int_equal(status, DQG_DONE);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    for (size_t i = 0; i < g->count / SAMPLES; i++) {
        assert_true(isfinite(latent[i]));
    }
    dqg_run_destroy(run);
    dqg_options_destroy(options);
}

static void test_runs(void **state) {
    static const char *const changes[] = {"seed=1",
                                          "perturbation=skip perturbed-scale=2.8 perturbed-blocks=1",
                                          "perturbation=attention perturbed-scale=2",
                                          "ras-ratio=0.5",
                                          "cache=first-block cache-threshold=0.2",
                                          "attention-scale=1"};
    enum { CHANGES = sizeof changes / sizeof changes[0], VALUES = CHANNELS * 8 * 12 };
    static float latents[CHANGES][VALUES];
    dqg_context *context;
    struct golden g;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, "sd3", 0, "transformer/");
    read_golden("sd3_8x12", &g);
    for (size_t i = 0; i < CHANGES; i++) {
        check_run(context, model, changes[i], &g, latents[i]);
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(latents[i], latents[k], sizeof latents[i]);
        }
    }
    free_golden(&g);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

/* ---- 4 bits ---- */

static void check_quantized(const char *name, const char *shape, int own, double most) {
    char directory[128], from[192], to[192];
    size_t bytes;
    dqg_context *context;
    dqg_quantizer *quantizer;
    dqg_model *model;
    struct golden g;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    unsigned char *data = make_file(name, own, "", &bytes);
    FILE *file = fopen(tiny_path(from, sizeof from, directory, "float.safetensors"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
    free(data);
    tiny_path(to, sizeof to, directory, "small.dqg");
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, from, to));
    assert_ok(dqg_model_load(context, to, NULL, &model));
    read_golden(shape, &g);
    float *out = malloc(g.count * sizeof *out);
    denoise(context, model, &g, out);
    double error = relative(out, g.out.data, g.count);
    printf("%s at 4 bits: relative error %.3f\n", shape, error);
    assert_true(error < most);
    free(out);
    free_golden(&g);
    dqg_model_release(model);
    dqg_quantizer_destroy(quantizer);
    dqg_context_destroy(context);
    tiny_dir_remove(directory);
}

static void test_quantized(void **state) {
    (void)state;
    check_quantized("sd3", "sd3_8x12", 0, 0.14);
    check_quantized("sd35", "sd35_18x10", 1, 0.14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sd3),       cmocka_unit_test(test_sd35),      cmocka_unit_test(test_heads),
        cmocka_unit_test(test_active),    cmocka_unit_test(test_perturbed), cmocka_unit_test(test_caches),
        cmocka_unit_test(test_entropy),   cmocka_unit_test(test_sizes),     cmocka_unit_test(test_runs),
        cmocka_unit_test(test_quantized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
