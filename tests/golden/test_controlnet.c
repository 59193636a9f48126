/* SPDX-License-Identifier: MIT */
/*
 * Control networks of reduced widths along with their U-Nets against diffusers: of Stable Diffusion 1 and XL, in files
 * of their own under both programs' names and in one file with the U-Net, at 4 bits, in runs; and the published ones by
 * the shapes of their tensors.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "context_check.h"
#include "failing_alloc.h"
#include "model/model.h"
#include "named_weights.h"
#include "tiny_model.h"
#include "relative.h"

static const double limit = 1e-4; /* largest relative error of the float path */

struct network {
    const char *name;
    const char *shapes[2];
    int pooled;
};

static const struct network sd1 = {"sd1", {"4x6", "5x3"}, 0}, sdxl = {"sdxl", {"4x4", "3x6"}, 1};

static dqg_model *load_file(const struct named_file *file) {
    size_t bytes;
    dqg_model *model;
    unsigned char *data = named_file_make(file, &bytes);
    assert_non_null(data);
    if (dqg_model_load_memory(context, data, bytes, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", file->list, dqg_context_error(context));
    }
    free(data);
    return model;
}

static dqg_model *load(const char *folder, const char *name, const char *side, int original) {
    char list[128];
    snprintf(list, sizeof list, "tests/golden/%s/%s.txt", folder, name);
    return load_file(&(struct named_file){.list = list, .second = original, .side = side});
}

/* A U-Net with its control network. */
static dqg_model *load_joined(const struct network *network, int original) {
    dqg_model *unet = load("unet", network->name, NULL, original), *joined;
    dqg_model *control = load("controlnet", network->name, "control.", original);
    if (dqg_model_attach_control(context, unet, control, &joined) != DQG_OK) {
        fail_msg("%s: %s", network->name, dqg_context_error(context));
    }
    dqg_model_release(unet);
    dqg_model_release(control);
    return joined;
}

/* ---- one evaluation ---- */

struct arrays {
    struct npy x, t, c, p, s, out, weak;
    float *picture;
};

static struct npy read_array(const struct network *network, int shape, const char *part) {
    return golden_array("controlnet/%s_%s_%s", network->name, network->shapes[shape], part);
}

static struct arrays read_arrays(const struct network *network, int shape) {
    struct arrays arrays = {.x = read_array(network, shape, "x"),
                            .t = read_array(network, shape, "t"),
                            .c = read_array(network, shape, "c"),
                            .out = read_array(network, shape, "out"),
                            .weak = read_array(network, shape, "weak")};
    if (network->pooled) {
        arrays.p = read_array(network, shape, "p");
        arrays.s = read_array(network, shape, "s");
    }
    size_t count = (size_t)(2 * 3 * 64 * arrays.x.shape[2] * arrays.x.shape[3]);
    arrays.picture = malloc(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        arrays.picture[i] = (float)((uint32_t)(i * 2654435761u) >> 8) / 16777216;
    }
    return arrays;
}

static void free_arrays(struct arrays *arrays) {
    free(arrays->x.data);
    free(arrays->t.data);
    free(arrays->c.data);
    free(arrays->p.data);
    free(arrays->s.data);
    free(arrays->out.data);
    free(arrays->weak.data);
    free(arrays->picture);
}

/* What the network gives, with the picture where scale is not 0; free() it. */
static float *evaluate(const dqg_model *model, const struct arrays *arrays, double scale) {
    double timesteps[2] = {(double)arrays->t.data[0], (double)arrays->t.data[1]}, sizes[12];
    float *out = malloc((size_t)arrays->out.count * sizeof *out);
    dqg_tensor_view x = golden_view(&arrays->x, arrays->x.data), to = golden_view(&arrays->out, out);
    dqg_tensor_view rows = golden_view(&arrays->c, arrays->c.data), pooled, picture;
    dqg_inputs inputs;
    DQG_INIT(&inputs);
    inputs.context = &rows;
    if (arrays->p.data != NULL) {
        pooled = golden_view(&arrays->p, arrays->p.data);
        inputs.pooled = &pooled;
        for (int64_t i = 0; i < arrays->s.count; i++) {
            sizes[i] = (double)arrays->s.data[i];
        }
        inputs.sizes = sizes;
    }
    if (scale != 0) {
        picture = view_f32(arrays->picture, 2, 3, 8 * arrays->x.shape[2], 8 * arrays->x.shape[3]);
        inputs.control = &picture;
        inputs.control_scale = scale == 1 ? 0 : scale;
    }
    if (dqg_model_denoise(context, model, &x, timesteps, &inputs, NULL, NULL, &to) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    return out;
}

static double check(const dqg_model *model, const struct arrays *arrays, double scale) {
    const struct npy *expected = scale == 1 ? &arrays->out : &arrays->weak;
    float *out = evaluate(model, arrays, scale);
    double error = relative(out, expected->data, expected->count);
    free(out);
    return error;
}

/* ---- against diffusers ---- */

static void check_network(const struct network *network) {
    dqg_model *joined[2] = {load_joined(network, 0), load_joined(network, 1)};
    dqg_model *unet = load("unet", network->name, NULL, 0);
    for (int shape = 0; shape < 2; shape++) {
        struct arrays arrays = read_arrays(network, shape);
        for (int original = 0; original < 2; original++) {
            double error = check(joined[original], &arrays, 1), weak = check(joined[original], &arrays, 0.6);
            printf("%-5s %s relative error %.2e, at scale 0.6 %.2e\n", network->name, network->shapes[shape], error,
                   weak);
            assert_true(error < limit && weak < limit);
        }
        float *without = evaluate(joined[0], &arrays, 0), *plain = evaluate(unet, &arrays, 0);
        assert_memory_equal(without, plain, (size_t)arrays.out.count * sizeof *plain);
        free(without);
        free(plain);
        free_arrays(&arrays);
    }
    dqg_model_release(joined[0]);
    dqg_model_release(joined[1]);
    dqg_model_release(unet);
}

static void test_sd1(void **state) {
    (void)state;
    check_network(&sd1);
}

static void test_sdxl(void **state) {
    (void)state;
    check_network(&sdxl);
}

/* ---- one file ---- */

static void copy_lines(FILE *to, const char *path, const char *drop, const char *prefix) {
    char name[128], other[128], rest[64];
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    while (fscanf(from, "%127s %127s %63[^\n]", name, other, rest) == 3) {
        fprintf(to, "%s %s%s %s\n", name, prefix, other + strlen(drop), rest);
    }
    fclose(from);
}

/* Both networks as their authors store them. */
static void write_both(const char *list) {
    FILE *to = fopen(list, "w");
    assert_non_null(to);
    copy_lines(to, "tests/golden/unet/sd1.txt", "", "model.diffusion_model.");
    copy_lines(to, "tests/golden/controlnet/sd1.txt", "control.", "control_model.");
    fclose(to);
}

static void check_flag(const dqg_model *model) {
    dqg_model_info info;
    DQG_INIT(&info);
    assert_ok(dqg_model_get_info(model, &info));
    assert_string_equal(info.family, "unet");
    assert_int_equal(info.flags, DQG_MODEL_CONTROLLED);
}

static void test_one_file(void **state) {
    char directory[128], list[192], from[192], to[192];
    dqg_quantizer *quantizer;
    dqg_model *model;
    (void)state;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    write_both(tiny_path(list, sizeof list, directory, "both.txt"));
    const struct named_file file = {.list = list, .second = 1};
    struct arrays arrays = read_arrays(&sd1, 0);
    model = load_file(&file);
    check_flag(model);
    assert_true(check(model, &arrays, 1) < limit);
    dqg_model_release(model);
    assert_int_equal(named_file_write(&file, tiny_path(from, sizeof from, directory, "both.safetensors")), 0);
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, from, tiny_path(to, sizeof to, directory, "both.dqg")));
    dqg_quantizer_destroy(quantizer);
    assert_ok(dqg_model_load(context, to, NULL, &model));
    check_flag(model);
    double error = check(model, &arrays, 1);
    printf("sd1   4x6 at 4 bits: relative error %.3f\n", error);
    assert_true(error <
                0.25); /* a cosine of 0.97; random weights of a tenth of the real widths are harder than trained */
    dqg_model_release(model);
    free_arrays(&arrays);
    tiny_dir_remove(directory);
}

/* ---- runs ---- */

enum { LATENT = 4 * 4 * 6 };

static dqg_run *make_run(dqg_model *model, const struct arrays *arrays, double guidance, const char *more) {
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_run *run;
    dqg_inputs inputs;
    dqg_tensor_view rows = view_f32(arrays->c.data, 1, arrays->c.shape[1], arrays->c.shape[2], 0);
    assert_ok(dqg_options_set_int(options, DQG_RUN_HEIGHT, 4));
    assert_ok(dqg_options_set_int(options, DQG_RUN_WIDTH, 6));
    assert_ok(dqg_options_set_int(options, DQG_RUN_CONTEXT_TOKENS, arrays->c.shape[1]));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, guidance));
    parse_options(options, more);
    assert_ok(dqg_run_create(context, model, NULL, options, &run));
    dqg_options_destroy(options);
    DQG_INIT(&inputs);
    inputs.context = &rows;
    assert_ok(dqg_run_set_inputs(run, -1, 0, &inputs));
    return run;
}

static void set_picture(dqg_run *run, int32_t index, const struct arrays *arrays, double scale) {
    dqg_inputs inputs;
    dqg_tensor_view picture = view_f32(arrays->picture, 1, 3, 32, 48);
    DQG_INIT(&inputs);
    inputs.control = &picture;
    inputs.control_scale = scale;
    assert_ok(dqg_run_set_inputs(run, -1, index, &inputs));
}

static void steps(dqg_run *run, int count, float *latent) {
    dqg_tensor_view view = view_f32(latent, 1, 4, 4, 6);
    for (int i = 0; i < count; i++) {
        assert_true(dqg_run_step(run) >= 0);
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
}

/* Without a picture as the U-Net alone, to the bit; with one otherwise; a new scale in the middle counts. */
static void test_run(void **state) {
    float plain[LATENT], without[LATENT], with[LATENT], weak[LATENT], turned[LATENT];
    struct arrays arrays = read_arrays(&sd1, 0);
    dqg_model *joined = load_joined(&sd1, 0), *unet = load("unet", "sd1", NULL, 0);
    (void)state;
    dqg_run *runs[] = {make_run(unet, &arrays, 3, ""), make_run(joined, &arrays, 3, ""),
                       make_run(joined, &arrays, 3, ""), make_run(joined, &arrays, 3, "")};
    steps(runs[0], 2, plain);
    steps(runs[1], 2, without);
    assert_memory_equal(plain, without, sizeof plain);
    for (int i = 2; i < 4; i++) {
        set_picture(runs[i], 0, &arrays, i == 2 ? 0 : 0.5);
        set_picture(runs[i], DQG_UNCONDITIONAL, &arrays, i == 2 ? 0 : 0.5);
    }
    steps(runs[2], 2, with);
    steps(runs[3], 1, weak);
    set_picture(runs[3], 0, &arrays, 1);
    steps(runs[3], 1, turned);
    assert_true(relative(with, plain, LATENT) > 1e-3);
    assert_true(relative(turned, with, LATENT) > 1e-4);
    for (int i = 0; i < 4; i++) {
        dqg_run_destroy(runs[i]);
    }
    free_arrays(&arrays);
    dqg_model_release(joined);
    dqg_model_release(unet);
}

static int32_t count_operators(const dqg_model *model, bool control, const struct dqg_perturbation *perturbation) {
    const struct dqg_graph_config config = {
        .samples = 1, .height = 8, .width = 8, .control = control, .perturbation = perturbation};
    struct dqg_graph graph;
    assert_ok(dqg_model_graph(context, model, &config, &graph));
    int32_t count = graph.node_count;
    dqg_graph_free(&graph);
    return count;
}

/* Blocks that are left out are the U-Net's alone. */
static void test_skipped_block(void **state) {
    static const int64_t blocks[] = {1};
    const struct dqg_perturbation skip = {DQG_PERTURB_SKIP, blocks, 1};
    (void)state;
    dqg_model *joined = load_joined(&sd1, 0);
    int32_t plain = count_operators(joined, false, NULL), skipped = count_operators(joined, false, &skip);
    assert_true(skipped < plain);
    assert_int_equal(count_operators(joined, true, NULL) - plain, count_operators(joined, true, &skip) - skipped);
    dqg_model_release(joined);
}

/* Blocks that are perturbed or left out are the U-Net's, and a cache of its inner part may hold the network's, too. */
static void test_run_options(void **state) {
    static const char *const options[] = {"perturbed-scale=2", "perturbed-scale=2 perturbation=skip",
                                          "cache=deepcache cache-interval=2"};
    struct arrays arrays = read_arrays(&sd1, 0);
    dqg_model *joined = load_joined(&sd1, 0), *unet = load("unet", "sd1", NULL, 0);
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        float plain[LATENT], without[LATENT], with[LATENT];
        dqg_run *runs[] = {make_run(unet, &arrays, 3, options[i]), make_run(joined, &arrays, 3, options[i]),
                           make_run(joined, &arrays, 3, options[i])};
        set_picture(runs[2], 0, &arrays, 0);
        steps(runs[0], 4, plain);
        steps(runs[1], 4, without);
        steps(runs[2], 4, with);
        assert_memory_equal(plain, without, sizeof plain);
        assert_true(relative(with, plain, LATENT) > 1e-3);
        for (int k = 0; k < 3; k++) {
            dqg_run_destroy(runs[k]);
        }
    }
    free_arrays(&arrays);
    dqg_model_release(joined);
    dqg_model_release(unet);
}

/* ---- published networks ---- */

enum { MOST_TENSORS = 1536 };

static struct {
    char names[MOST_TENSORS][128];
    struct dqg_tensor_desc tensors[MOST_TENSORS];
    struct dqg_weight weights[MOST_TENSORS];
    size_t count;
} full;

static void no_planes(void *user, const struct dqg_tensor_desc *desc, enum dqg_plane plane, void *out, size_t size) {
    (void)user, (void)desc, (void)plane, (void)out, (void)size;
    fail_msg("weights were read");
}

/* As 16-bit floats under diffusers' names. */
static void read_list(const char *path) {
    char name[128], other[128], rest[64];
    FILE *list = fopen(path, "r");
    assert_non_null(list);
    for (full.count = 0; fscanf(list, "%127s %127s %63[^\n]", name, other, rest) == 3; full.count++) {
        struct dqg_tensor_desc *desc = &full.tensors[full.count];
        assert_true(full.count < MOST_TENSORS);
        long n[4] = {1, 1, 1, 1};
        int rank = sscanf(rest, "%ld %ld %ld %ld", &n[0], &n[1], &n[2], &n[3]);
        strcpy(full.names[full.count], name + strlen("control."));
        *desc = (struct dqg_tensor_desc){.name = full.names[full.count],
                                         .dtype = DQG_DTYPE_F16,
                                         .rank = rank,
                                         .shape = {n[0], n[1], n[2], n[3]},
                                         .scale = 1,
                                         .type_name = "F16"};
        desc->plane_bytes[0] = desc->stored_bytes = (uint64_t)(2 * n[0] * n[1] * n[2] * n[3]);
    }
    fclose(list);
}

static void check_full(const char *path, uint64_t parameters, size_t blocks) {
    struct dqg_source source;
    struct dqg_checkpoint checkpoint;
    struct dqg_graph graph;
    uint64_t counted = 0;
    read_list(path);
    assert_ok(dqg_source_open_made(context, full.tensors, full.count, no_planes, NULL, &source));
    assert_ok(dqg_checkpoint_open(context, &source, &checkpoint));
    assert_int_equal(checkpoint.count, 1);
    assert_string_equal(checkpoint.components[0].role, "controlnet");
    struct dqg_model model = {.alloc = context->alloc,
                              .family = checkpoint.components[0].family,
                              .weights = full.weights,
                              .weight_count = checkpoint.canonical.tensor_count};
    for (size_t i = 0; i < model.weight_count; i++) {
        const struct dqg_tensor_desc *desc = &checkpoint.canonical.tensors[i];
        struct dqg_weight *weight = &full.weights[i];
        *weight = (struct dqg_weight){.name = desc->name, .dtype = DQG_DTYPE_F16, .rank = desc->rank};
        memcpy(weight->shape, desc->shape, sizeof weight->shape);
        if (!dqg_matrix_size(weight->dtype, 0, weight->rank, weight->shape, &weight->size)) {
            weight->size = (struct dqg_matrix_size){0};
        }
        counted += dqg_weight_count(weight);
    }
    assert_int_equal(counted, parameters);
    assert_ok(model.family->configure(context, &model));
    assert_int_equal(model.hyper.control_channels, 3);
    assert_int_equal(model.hyper.control_times, 8);
    if (dqg_model_graph(context, &model, &(struct dqg_graph_config){.samples = 1}, &graph) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    char name[64];
    snprintf(name, sizeof name, "zero_convs.%zu.0.weight", blocks - 1);
    assert_non_null(dqg_model_find(&model, name));
    dqg_graph_free(&graph);
    dqg_checkpoint_close(&checkpoint);
    dqg_source_close(&source);
}

static void test_full(void **state) {
    (void)state;
    check_full("tests/golden/controlnet/full_sd1.txt", 361279120, 12);
    check_full("tests/golden/controlnet/full_sdxl.txt", 1251014160, 9);
}

/* ---- memory ---- */

/* The n-th request of attaching and evaluating fails, n up from 1: an error, nothing lost. */
static void test_failing(void **state) {
    struct failing_alloc memory;
    dqg_allocator allocator;
    dqg_context *usual = context;
    struct arrays arrays = read_arrays(&sd1, 1);
    double timesteps[2] = {981, 17.5};
    float *out = malloc((size_t)arrays.out.count * sizeof *out);
    dqg_tensor_view x = golden_view(&arrays.x, arrays.x.data), to = golden_view(&arrays.out, out);
    dqg_tensor_view rows = golden_view(&arrays.c, arrays.c.data), picture = view_f32(arrays.picture, 2, 3, 40, 24);
    dqg_inputs inputs;
    (void)state;
    failing_alloc_init(&memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    dqg_model *unet = load("unet", "sd1", NULL, 0), *control = load("controlnet", "sd1", "control.", 0), *joined;
    DQG_INIT(&inputs);
    inputs.context = &rows;
    inputs.control = &picture;
    dqg_status status = DQG_ERROR_MEMORY;
    for (int64_t n = 1; status == DQG_ERROR_MEMORY; n++) {
        memory.fail_at = n;
        status = dqg_model_attach_control(context, unet, control, &joined);
        assert_true((status == DQG_OK) == (joined != NULL));
        if (status == DQG_OK) {
            status = dqg_model_denoise(context, joined, &x, timesteps, &inputs, NULL, NULL, &to);
        }
        memory.fail_at = 0;
        dqg_model_release(joined);
    }
    assert_ok(status);
    assert_true(relative(out, arrays.out.data, arrays.out.count) < limit);
    dqg_model_release(unet);
    dqg_model_release(control);
    dqg_context_destroy(context);
    assert_int_equal(failing_alloc_errors(&memory), 0);
    context = usual;
    free(out);
    free_arrays(&arrays);
}

/* ---- what does not fit ---- */

/* Of networks for several kinds of pictures: one tensor that others lack. */
static void test_union(void **state) {
    char directory[128], list[192];
    size_t bytes;
    dqg_model *model;
    (void)state;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    FILE *to = fopen(tiny_path(list, sizeof list, directory, "union.txt"), "w");
    assert_non_null(to);
    copy_lines(to, "tests/golden/controlnet/sd1.txt", "control.", "");
    fprintf(to, "control.task_embedding task_embedding 6 40\n");
    fclose(to);
    unsigned char *data = named_file_make(&(struct named_file){.list = list, .second = 1}, &bytes);
    assert_non_null(data);
    assert_fails(context, dqg_model_load_memory(context, data, bytes, NULL, &model), DQG_ERROR_UNSUPPORTED);
    assert_non_null(strstr(dqg_context_error(context), "several kinds"));
    free(data);
    tiny_dir_remove(directory);
}

static void test_messages(void **state) {
    float some[4 * 4 * 6] = {0}, rows[7 * 40] = {0};
    const double time = 1;
    dqg_inputs inputs;
    dqg_model *joined;
    (void)state;
    dqg_model *unet = load("unet", "sd1", NULL, 0), *control = load("controlnet", "sd1", "control.", 0);
    dqg_model *other = load("controlnet", "sdxl", "control.", 0);
    dqg_tensor_view x = view_f32(some, 1, 4, 4, 6), context_rows = view_f32(rows, 1, 7, 40, 0);
    DQG_INIT(&inputs);
    inputs.context = &context_rows;
    inputs.control = &x;
    assert_fails(context, dqg_model_denoise(context, unet, &x, &time, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_denoise(context, control, &x, &time, &inputs, NULL, NULL, &x),
                 DQG_ERROR_UNSUPPORTED);
    assert_fails(context, dqg_model_attach_control(context, unet, other, &joined), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_attach_control(context, unet, unet, &joined), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_attach_control(context, control, control, &joined), DQG_ERROR_UNSUPPORTED);
    assert_fails(context, dqg_model_attach_control(context, unet, NULL, &joined), DQG_ERROR_ARGUMENT);
    assert_null(joined);
    assert_int_equal(dqg_model_attach_control(NULL, unet, control, &joined), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_model_attach_control(context, unet, control, &joined));
    check_flag(joined);
    assert_fails(context, dqg_model_denoise(context, joined, &x, &time, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    assert_non_null(strstr(dqg_context_error(context), "inputs->control"));
    inputs.control = NULL;
    inputs.control_scale = 2;
    assert_fails(context, dqg_model_denoise(context, joined, &x, &time, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    inputs.control_scale = NAN;
    assert_fails(context, dqg_model_denoise(context, joined, &x, &time, &inputs, NULL, NULL, &x), DQG_ERROR_ARGUMENT);
    dqg_model_release(joined);
    dqg_model_release(unet);
    dqg_model_release(control);
    dqg_model_release(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sd1),           cmocka_unit_test(test_sdxl),        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_run),           cmocka_unit_test(test_run_options), cmocka_unit_test(test_full),
        cmocka_unit_test(test_skipped_block), cmocka_unit_test(test_failing),     cmocka_unit_test(test_messages),
        cmocka_unit_test(test_union),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
