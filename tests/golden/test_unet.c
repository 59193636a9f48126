/* SPDX-License-Identifier: MIT */
/*
 * U-Nets of reduced widths against diffusers: of the form of Stable Diffusion 1, 2, XL, its refiner, of networks for
 * inpainting, and one without a middle; under diffusers' names and the authors', and with 4-bit weights.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "named_weights.h"
#include "tiny_model.h"
#include "relative.h"

static const double limit = 1e-4; /* largest relative error of the float path */

struct network {
    const char *name;
    const char *metadata; /* what shapes do not tell */
    const char *shapes[2];
    dqg_model_info info;
};

#define INFO(width, tokens, pooled, count, extra, side)                                                                \
    {                                                                                                                  \
        .context_columns = (width), .context_tokens = (tokens), .pooled_columns = (pooled), .sizes = (count),          \
        .extra_channels = (extra), .height = (side)                                                                    \
    }

static const struct network sd1 = {"sd1", NULL, {"8x16", "9x7"}, INFO(40, 77, 0, 0, 0, 64)},
                            sd2 = {"sd2", NULL, {"8x8", "5x10"}, INFO(72, 77, 0, 0, 0, 64)},
                            sdxl = {"sdxl", NULL, {"8x8", "7x12"}, INFO(80, 77, 48, 6, 0, 128)},
                            refiner = {"refiner", NULL, {"8x8", "11x6"}, INFO(40, 77, 40, 5, 0, 128)},
                            inpaint = {"inpaint",
                                       "{\"num_attention_heads\":\"[2, 4]\"}",
                                       {"8x4", "5x5"},
                                       INFO(24, 77, 0, 0, 5, 64)},
                            bare = {"bare",
                                    "{\"config.json\":\"{\\\"sample_size\\\": 24, \\\"num_attention_heads\\\": null, "
                                    "\\\"attention_head_dim\\\": [4, 3]}\"}",
                                    {"6x8", "5x3"},
                                    INFO(56, 77, 0, 0, 0, 24)};

static struct named_file file_of(const struct network *network, int original, char list[128]) {
    snprintf(list, 128, "tests/golden/unet/%s.txt", network->name);
    return (struct named_file){.list = list, .second = original, .metadata = network->metadata};
}

static dqg_model *load(dqg_context *context, const struct network *network, int original) {
    char list[128];
    size_t bytes;
    dqg_model *model;
    const struct named_file file = file_of(network, original, list);
    unsigned char *data = named_file_make(&file, &bytes);
    assert_non_null(data);
    if (dqg_model_load_memory(context, data, bytes, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", network->name, dqg_context_error(context));
    }
    free(data);
    return model;
}

/* ---- one evaluation ---- */

struct arrays {
    struct npy x, t, c, p, s, out;
};

static void read_array(const struct network *network, int shape, const char *part, struct npy *array) {
    *array = golden_array("unet/%s_%s_%s", network->name, network->shapes[shape], part);
}

static struct arrays read_arrays(const struct network *network, int shape) {
    struct arrays arrays = {0};
    read_array(network, shape, "x", &arrays.x);
    read_array(network, shape, "t", &arrays.t);
    read_array(network, shape, "c", &arrays.c);
    read_array(network, shape, "out", &arrays.out);
    if (network->info.pooled_columns > 0) {
        read_array(network, shape, "p", &arrays.p);
        read_array(network, shape, "s", &arrays.s);
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
}

/* What the network gives for the arrays; free() it. */
static float *evaluate(dqg_context *context, const dqg_model *model, const struct arrays *arrays) {
    double timesteps[2] = {(double)arrays->t.data[0], (double)arrays->t.data[1]}, sizes[16];
    float *out = malloc((size_t)arrays->out.count * sizeof *out);
    dqg_tensor_view x = view_channels(arrays->x.data, arrays->x.shape, 0, 4), extra,
                    to = golden_view(&arrays->out, out);
    dqg_tensor_view rows = golden_view(&arrays->c, arrays->c.data), pooled;
    dqg_inputs inputs;
    DQG_INIT(&inputs);
    inputs.context = &rows;
    if (arrays->x.shape[1] > 4) {
        extra = view_channels(arrays->x.data, arrays->x.shape, 4, arrays->x.shape[1] - 4);
        inputs.extra = &extra;
    }
    if (arrays->p.data != NULL) {
        pooled = golden_view(&arrays->p, arrays->p.data);
        inputs.pooled = &pooled;
        for (int64_t i = 0; i < arrays->s.count; i++) {
            sizes[i] = (double)arrays->s.data[i];
        }
        inputs.sizes = sizes;
    }
    if (dqg_model_denoise(context, model, &x, timesteps, &inputs, NULL, NULL, &to) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    return out;
}

/* ---- against diffusers ---- */

static void check_info(const dqg_model *model, const struct network *network) {
    dqg_model_info info;
    DQG_INIT(&info);
    assert_ok(dqg_model_get_info(model, &info));
    assert_string_equal(info.family, "unet");
    assert_int_equal(info.channels, 4);
    assert_int_equal(info.context_columns, network->info.context_columns);
    assert_int_equal(info.context_tokens, network->info.context_tokens);
    assert_int_equal(info.pooled_columns, network->info.pooled_columns);
    assert_int_equal(info.sizes, network->info.sizes);
    assert_int_equal(info.extra_channels, network->info.extra_channels);
    assert_int_equal(info.height, network->info.height);
}

/* Two shapes; the same bits under both programs' names. */
static void check_network(const struct network *network) {
    dqg_context *context;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, network, 0), *original = load(context, network, 1);
    check_info(model, network);
    for (int shape = 0; shape < 2; shape++) {
        struct arrays arrays = read_arrays(network, shape);
        float *out = evaluate(context, model, &arrays), *same = evaluate(context, original, &arrays);
        double error = relative(out, arrays.out.data, arrays.out.count);
        printf("%-8s %-5s relative error %.2e\n", network->name, network->shapes[shape], error);
        assert_true(error < limit);
        assert_memory_equal(out, same, (size_t)arrays.out.count * sizeof *out);
        free(out);
        free(same);
        free_arrays(&arrays);
    }
    dqg_model_release(model);
    dqg_model_release(original);
    dqg_context_destroy(context);
}

static void test_sd1(void **state) {
    (void)state;
    check_network(&sd1);
}

static void test_sd2(void **state) {
    (void)state;
    check_network(&sd2);
}

static void test_sdxl(void **state) {
    (void)state;
    check_network(&sdxl);
}

static void test_refiner(void **state) {
    (void)state;
    check_network(&refiner);
}

static void test_inpaint(void **state) {
    (void)state;
    check_network(&inpaint);
}

static void test_bare(void **state) {
    (void)state;
    check_network(&bare);
}

/* ---- adapters ---- */

static const struct {
    const char *what, *prefix, *down, *up;
    int original; /* modules under the authors' names */
    char dot;     /* what stands between their words */
} programs[] = {
    {"kohya, names of diffusers", "lora_unet_", ".lora_down.weight", ".lora_up.weight", 0, '_'},
    {"kohya, names of the authors", "lora_unet_", ".lora_down.weight", ".lora_up.weight", 1, '_'},
    {"PEFT", "unet.", ".lora_A.weight", ".lora_B.weight", 0, '.'},
};

/* A list for an update of rank 2 of every matrix and convolution of the network. */
static void list_updates(const struct network *network, int program, const char *path) {
    char from[128], line[256], names[2][112];
    snprintf(from, sizeof from, "tests/golden/unet/%s.txt", network->name);
    FILE *in = fopen(from, "r"), *out = fopen(path, "w");
    assert_true(in != NULL && out != NULL);
    while (fgets(line, sizeof line, in) != NULL) {
        long shape[4];
        int sides = sscanf(line, "%111s %111s %ld %ld %ld %ld", names[0], names[1], &shape[0], &shape[1], &shape[2],
                           &shape[3]) -
                    2;
        char *module = names[programs[program].original], *end = strstr(names[0], ".weight");
        if (sides < 2 || end == NULL) {
            continue;
        }
        *end = '\0';
        *strstr(names[1], ".weight") = '\0';
        fprintf(out, "%s.down ", names[0]);
        char stored[112];
        snprintf(stored, sizeof stored, "%s", module);
        for (char *at = stored; *at != '\0'; at++) {
            *at = *at == '.' ? programs[program].dot : *at;
        }
        fprintf(out, "%s%s%s 2 %ld", programs[program].prefix, stored, programs[program].down, shape[1]);
        fprintf(out, sides > 2 ? " %ld %ld\n" : "\n", shape[2], shape[3]);
        fprintf(out, "%s.up %s%s%s %ld 2%s\n", names[0], programs[program].prefix, stored, programs[program].up,
                shape[0], sides > 2 ? " 1 1" : "");
    }
    fclose(in);
    fclose(out);
}

static void check_adapted(const struct network *network, int program, int original, const char *folder) {
    char list[192];
    size_t bytes;
    dqg_context *context;
    dqg_model *adapted;
    dqg_adaptation adaptation;
    struct arrays arrays = read_arrays(network, 1);
    struct npy wanted;
    list_updates(network, program, tiny_path(list, sizeof list, folder, "updates.txt"));
    const struct named_file file = {.list = list, .second = 1};
    unsigned char *data = named_file_make(&file, &bytes);
    read_array(network, 1, "lora", &wanted);
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, network, original);
    DQG_INIT(&adaptation);
    adaptation.data = data;
    adaptation.size = bytes;
    adaptation.scale = 0.2;
    if (dqg_model_adapt(context, model, &adaptation, 1, &adapted) != DQG_OK) {
        fail_msg("%s, %s: %s", network->name, programs[program].what, dqg_context_error(context));
    }
    dqg_model_release(model);
    float *out = evaluate(context, adapted, &arrays);
    double error = relative(out, wanted.data, wanted.count);
    printf("%-8s adapted, %s: relative error %.2e, of the network's own %.2f\n", network->name, programs[program].what,
           error, relative(arrays.out.data, wanted.data, wanted.count));
    assert_true(error < limit);
    free(out);
    free(data);
    free(wanted.data);
    free_arrays(&arrays);
    dqg_model_release(adapted);
    dqg_context_destroy(context);
}

static void test_adapters(void **state) {
    char folder[128];
    (void)state;
    assert_int_equal(tiny_dir_make(folder, sizeof folder), 0);
    for (int program = 0; program < 3; program++) {
        check_adapted(&sd1, program, program % 2, folder);
        check_adapted(&sdxl, program, 1 - program % 2, folder);
    }
    tiny_dir_remove(folder);
}

/* ---- 4 bits ---- */

static double cosine(const float *a, const float *b, int64_t count) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < count; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Gated units among the products that were fused. */
static void check_quantized_adapted(dqg_context *context, const struct network *network, dqg_model *model,
                                    const char *folder) {
    char list[192];
    dqg_adaptation adaptation;
    dqg_model *adapted;
    struct npy wanted;
    size_t bytes;
    struct arrays arrays = read_arrays(network, 1);
    list_updates(network, 0, tiny_path(list, sizeof list, folder, "updates.txt"));
    const struct named_file file = {.list = list, .second = 1};
    unsigned char *data = named_file_make(&file, &bytes);
    read_array(network, 1, "lora", &wanted);
    DQG_INIT(&adaptation);
    adaptation.data = data;
    adaptation.size = bytes;
    adaptation.scale = 0.2;
    assert_ok(dqg_model_adapt(context, model, &adaptation, 1, &adapted));
    float *out = evaluate(context, adapted, &arrays);
    double same = cosine(out, wanted.data, wanted.count);
    printf("%-8s adapted at 4 bits: cosine %.4f\n", network->name, same);
    assert_true(same > 0.97);
    dqg_model_release(adapted);
    free(out);
    free(data);
    free(wanted.data);
    free_arrays(&arrays);
}

static void check_quantized(const struct network *network, bool adapted) {
    char directory[128], from[192], to[192], list[128];
    dqg_context *context;
    dqg_quantizer *quantizer;
    dqg_model *model;
    const struct named_file file = file_of(network, 0, list);
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    assert_int_equal(named_file_write(&file, tiny_path(from, sizeof from, directory, "float.safetensors")), 0);
    tiny_path(to, sizeof to, directory, "small.dqg");
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, from, to));
    assert_ok(dqg_model_load(context, to, NULL, &model));
    check_info(model, network);
    for (int shape = 0; shape < 2; shape++) {
        struct arrays arrays = read_arrays(network, shape);
        float *out = evaluate(context, model, &arrays);
        double same = cosine(out, arrays.out.data, arrays.out.count);
        printf("%-8s %-5s at 4 bits: cosine %.4f\n", network->name, network->shapes[shape], same);
        assert_true(same > 0.97); /* random weights of a tenth of the real widths are harder than trained ones */
        free(out);
        free_arrays(&arrays);
    }
    if (adapted) {
        check_quantized_adapted(context, network, model, directory);
    }
    dqg_model_release(model);
    dqg_quantizer_destroy(quantizer);
    dqg_context_destroy(context);
    tiny_dir_remove(directory);
}

static void test_quantized(void **state) {
    (void)state;
    check_quantized(&sd1, true);
    check_quantized(&sdxl, true);
    check_quantized(&inpaint, false);
}

/* ---- runs ---- */

enum { ROWS = 7, LATENT = 4 * 9 * 10 };

/* Latents of a run with these options; sd1 alone has as many columns of context. */
static void sample(dqg_context *context, dqg_model *model, const char *text, float out[LATENT]) {
    static float rows[ROWS * 40];
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_options *plan = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_tensor_view words = view_f32(rows, 1, ROWS, 40, 0), latent = view_f32(out, 1, 4, 9, 10);
    dqg_scheduler *scheduler;
    dqg_inputs inputs;
    dqg_run *run;
    for (size_t i = 0; i < ROWS * 40; i++) {
        rows[i] = sinf((float)i);
    }
    parse_options(plan, "schedule=scaled-linear steps=6");
    parse_options(options, "height=9 width=10 context-tokens=7 guidance=3");
    parse_options(options, text);
    assert_ok(dqg_scheduler_create(context, plan, &scheduler));
    if (dqg_run_create(context, model, scheduler, options, &run) != DQG_OK) {
        fail_msg("%s: %s", text, dqg_context_error(context));
    }
    DQG_INIT(&inputs);
    inputs.context = &words;
    assert_ok(dqg_run_set_inputs(run, -1, 0, &inputs));
    dqg_status status;
    while ((status = dqg_run_step(run)) == DQG_OK) {
    }
    assert_int_equal(status, DQG_DONE);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &latent));
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(plan);
    dqg_options_destroy(options);
}

/* Step caches leave parts out and stay near; the perturbed blocks are the middle one's unless they are named. */
static void test_runs(void **state) {
    static float plain[LATENT], other[LATENT], same[LATENT];
    static const char *const branches[] = {"cache=deepcache cache-interval=2", "cache=deepcache cache-branch=5",
                                           "cache=deepcache cache-branch=11"};
    dqg_context *context;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, &sd1, 1);
    sample(context, model, "", plain);
    sample(context, model, "cache=deepcache cache-interval=1", same);
    assert_memory_equal(plain, same, sizeof plain);
    for (size_t i = 0; i < 3; i++) {
        sample(context, model, branches[i], other);
        double change = relative(other, plain, LATENT);
        printf("%-34s changes the latent by %.3f\n", branches[i], change);
        assert_true(change > 1e-4 && change < 0.5);
    }
    sample(context, model, "perturbed-scale=2", other);
    sample(context, model, "perturbed-scale=2 perturbed-blocks=6", same);
    assert_memory_equal(other, same, sizeof other);
    assert_true(relative(other, plain, LATENT) > 1e-4);
    sample(context, model, "perturbed-scale=2 perturbed-blocks=6 perturbation=skip", same);
    assert_true(relative(other, same, LATENT) > 1e-4);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sd1),       cmocka_unit_test(test_sd2),     cmocka_unit_test(test_sdxl),
        cmocka_unit_test(test_refiner),   cmocka_unit_test(test_inpaint), cmocka_unit_test(test_bare),
        cmocka_unit_test(test_quantized), cmocka_unit_test(test_runs),    cmocka_unit_test(test_adapters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
