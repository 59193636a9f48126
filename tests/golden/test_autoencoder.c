/* SPDX-License-Identifier: MIT */
/*
 * Autoencoders of reduced widths against diffusers: under its names and the authors', whole and in tiles, with 4-bit
 * weights. Weights follow from names and places.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "golden.h"
#include "failing_alloc.h"
#include "named_weights.h"
#include "tiny_model.h"
#include "whole_file.h"
#include "relative.h"

static const double limit = 1e-4;     /* largest relative error of the float path */
static const float seam = 1.0f / 255; /* largest difference that tiles may make */

/* ---- the model ---- */

static unsigned char *make_file(const char *name, int original, const char *side, size_t *bytes) {
    char path[128];
    snprintf(path, sizeof path, "tests/golden/autoencoder/%s.txt", name);
    /* The authors' attention is made of convolutions. */
    const struct named_file file = {.list = path, .second = original, .convolutions = 1, .side = side};
    unsigned char *made = named_file_make(&file, bytes);
    assert_non_null(made);
    return made;
}

static void write_bytes(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

static dqg_model *load(dqg_context *context, const char *name, int original, const char *side) {
    size_t bytes;
    dqg_model *model;
    unsigned char *file = make_file(name, original, side, &bytes);
    if (dqg_model_load_memory(context, file, bytes, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", name, dqg_context_error(context));
    }
    free(file);
    return model;
}

/* ---- comparisons ---- */

static dqg_picture_spec plain_spec(void) {
    dqg_picture_spec spec;
    DQG_INIT(&spec);
    spec.scale = 1;
    return spec;
}

static double check_direction(dqg_context *context, const dqg_model *model, const char *base, int decode) {
    struct npy in, expected;
    char path[128];
    snprintf(path, sizeof path, "tests/golden/autoencoder/%s_%s.npy", base, decode ? "z" : "x");
    assert_int_equal(npy_read(path, &in), 0);
    snprintf(path, sizeof path, "tests/golden/autoencoder/%s_%s.npy", base, decode ? "dec" : "enc");
    assert_int_equal(npy_read(path, &expected), 0);
    float *out = malloc((size_t)expected.count * sizeof *out);
    dqg_tensor_view from = golden_view(&in, in.data), to = golden_view(&expected, out);
    dqg_picture_spec spec = plain_spec();
    dqg_status status = decode ? dqg_model_decode(context, model, &from, &spec, &to, NULL)
                               : dqg_model_encode(context, model, &from, &spec, &to, NULL);
    if (status != DQG_OK) {
        fail_msg("%s: %s", base, dqg_context_error(context));
    }
    double error = relative(out, expected.data, (size_t)expected.count);
    free(out);
    free(in.data);
    free(expected.data);
    return error;
}

/* Both directions, two shapes, under both kinds of names. */
static void check_case(const char *name, const char *shape_a, const char *shape_b) {
    const char *shapes[] = {shape_a, shape_b};
    dqg_context *context;
    assert_ok(dqg_context_create(NULL, &context));
    for (int original = 0; original < 2; original++) {
        dqg_model *model = load(context, name, original, NULL);
        for (int i = 0; i < 2; i++) {
            char base[64];
            snprintf(base, sizeof base, "%s_%s", name, shapes[i]);
            double decoded = check_direction(context, model, base, 1),
                   encoded = check_direction(context, model, base, 0);
            printf("%-12s relative error of decoding %.2e, of encoding %.2e\n", base, decoded, encoded);
            assert_true(decoded < limit && encoded < limit);
        }
        dqg_model_release(model);
    }
    dqg_context_destroy(context);
}

static void test_kl_of_4_channels(void **state) {
    (void)state;
    check_case("kl4", "8x8", "5x7");
}

static void test_kl_of_16_channels(void **state) {
    (void)state;
    check_case("kl16", "8x8", "5x7");
}

static void test_tiny(void **state) {
    (void)state;
    check_case("tiny4", "4x4", "3x5");
}

static void test_tiny_with_pooling(void **state) {
    (void)state;
    check_case("tiny32", "4x4", "3x5");
}

/* Files of a decoder or an encoder alone, whose names begin with a place. */
static void test_tiny_halves(void **state) {
    (void)state;
    dqg_context *context;
    float some[4 * 4 * 4 * 64] = {0};
    dqg_tensor_view latent = view_f32(some, 1, 4, 4, 4), picture = view_f32(some, 1, 3, 32, 32);
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *decoder = load(context, "tiny4", 1, "decoder."), *encoder = load(context, "tiny4", 1, "encoder.");
    assert_true(check_direction(context, decoder, "tiny4_4x4", 1) < limit);
    assert_true(check_direction(context, encoder, "tiny4_3x5", 0) < limit);
    assert_fails(context, dqg_model_encode(context, decoder, &picture, NULL, &latent, NULL), DQG_ERROR_UNSUPPORTED);
    assert_fails(context, dqg_model_decode(context, encoder, &latent, NULL, &picture, NULL), DQG_ERROR_UNSUPPORTED);
    dqg_model_release(decoder);
    dqg_model_release(encoder);
    dqg_context_destroy(context);
}

/* A folder with a file of each half is both. */
static void test_tiny_folder(void **state) {
    static const char *const sides[] = {"encoder.", "decoder."};
    char directory[128], path[256];
    dqg_context *context;
    dqg_model *model;
    (void)state;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    for (int i = 0; i < 2; i++) {
        size_t bytes;
        unsigned char *file = make_file("tiny4", 1, sides[i], &bytes);
        snprintf(path, sizeof path, "%s/taesd_%.7s.safetensors", directory, sides[i]);
        write_bytes(path, file, bytes);
        free(file);
    }
    assert_ok(dqg_context_create(NULL, &context));
    if (dqg_model_load(context, directory, NULL, &model) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_true(check_direction(context, model, "tiny4_4x4", 1) < limit);
    assert_true(check_direction(context, model, "tiny4_3x5", 0) < limit);
    dqg_model_release(model);
    snprintf(path, sizeof path, "%s/taef1_decoder.safetensors", directory);
    write_bytes(path, "", 0);
    assert_fails(context, dqg_model_load(context, directory, NULL, &model), DQG_ERROR_UNSUPPORTED);
    dqg_context_destroy(context);
    tiny_dir_remove(directory);
}

/* ---- drawn latents ---- */

/* Latents less their means, in standard deviations: standard normals, others for each seed, the same for the same. */
static void test_drawn_latents(void **state) {
    enum { TIMES = 40, VALUES = 2 * 4 * 8 * 8 };
    static float drawn[TIMES][VALUES], again[VALUES];
    struct npy x, mean, deviation;
    dqg_context *context;
    dqg_picture_spec spec = plain_spec();
    double sum = 0, squares = 0, products = 0;
    (void)state;
    assert_int_equal(npy_read("tests/golden/autoencoder/kl4_8x8_x.npy", &x), 0);
    assert_int_equal(npy_read("tests/golden/autoencoder/kl4_8x8_enc.npy", &mean), 0);
    assert_int_equal(npy_read("tests/golden/autoencoder/kl4_8x8_std.npy", &deviation), 0);
    assert_int_equal(mean.count, VALUES);
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, "kl4", 0, NULL);
    dqg_tensor_view from = golden_view(&x, x.data);
    spec.flags = DQG_PICTURE_SAMPLE;
    for (int t = 0; t < TIMES; t++) {
        dqg_tensor_view to = golden_view(&mean, drawn[t]);
        spec.seed = 100 + 2 * t; /* two pictures */
        assert_ok(dqg_model_encode(context, model, &from, &spec, &to, NULL));
        for (int i = 0; i < VALUES; i++) {
            drawn[t][i] = (drawn[t][i] - mean.data[i]) / deviation.data[i];
            sum += (double)drawn[t][i];
            squares += (double)drawn[t][i] * (double)drawn[t][i];
            products += t > 0 ? (double)drawn[t][i] * (double)drawn[t - 1][i] : 0;
        }
    }
    double count = TIMES * VALUES; /* five standard errors */
    printf("drawn latents: mean %.4f, variance %.4f, covariance of seeds %.4f\n", sum / count, squares / count,
           products / count);
    assert_true(fabs(sum / count) < 5 / sqrt(count));
    assert_true(fabs(squares / count - 1) < 5 * sqrt(2 / count));
    assert_true(fabs(products / count) < 5 / sqrt(count));
    /* The second picture has the seed after the first. */
    spec.seed = 101;
    dqg_tensor_view to = golden_view(&mean, again);
    assert_ok(dqg_model_encode(context, model, &from, &spec, &to, NULL));
    for (int i = 0; i < VALUES / 2; i++) {
        float normal = (again[i] - mean.data[i]) / deviation.data[i];
        assert_true(fabsf(normal - drawn[0][VALUES / 2 + i]) < 1e-3f);
    }
    dqg_model_release(model);
    dqg_context_destroy(context);
    free(x.data);
    free(mean.data);
    free(deviation.data);
}

/* ---- beside a denoiser ---- */

/* A folder as diffusers writes it: a denoiser, from a list of names or a file, the autoencoder in vae with its
 * configuration. */
struct pipeline {
    const char *sub, *list, *file;
    const char *config;
    double scale, shift;
};

static void write_pipeline(const char *directory, const struct pipeline *pipeline) {
    char path[256];
    size_t bytes;
    const struct named_file named = {.list = pipeline->list};
    unsigned char *file = pipeline->list != NULL ? named_file_make(&named, &bytes) : whole_file(pipeline->file, &bytes);
    assert_non_null(file);
    snprintf(path, sizeof path, "%s/%s", directory, pipeline->sub);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/vae", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/%s/diffusion_pytorch_model.safetensors", directory, pipeline->sub);
    write_bytes(path, file, bytes);
    free(file);
    file = make_file("kl4", 0, NULL, &bytes);
    snprintf(path, sizeof path, "%s/vae/diffusion_pytorch_model.safetensors", directory);
    write_bytes(path, file, bytes);
    free(file);
    snprintf(path, sizeof path, "%s/vae/config.json", directory);
    write_bytes(path, pipeline->config, strlen(pipeline->config));
}

static void remove_pipeline(const char *directory, const struct pipeline *pipeline) {
    const char *const parts[] = {pipeline->sub, "vae"};
    for (int i = 0; i < 2; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", directory, parts[i]);
        tiny_dir_remove(path);
    }
    tiny_dir_remove(directory);
}

/* The picture of the golden latent. */
static void decode_golden(dqg_context *context, const char *path, double scale, double shift, float *out) {
    struct npy z, expected;
    dqg_model *model;
    dqg_picture_spec spec;
    DQG_INIT(&spec);
    spec.scale = scale;
    spec.shift = shift;
    assert_int_equal(npy_read("tests/golden/autoencoder/kl4_8x8_z.npy", &z), 0);
    assert_int_equal(npy_read("tests/golden/autoencoder/kl4_8x8_dec.npy", &expected), 0);
    dqg_tensor_view from = golden_view(&z, z.data), to = golden_view(&expected, out);
    if (dqg_model_load(context, path, NULL, &model) != DQG_OK ||
        dqg_model_decode(context, model, &from, &spec, &to, NULL) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    dqg_model_release(model);
    free(z.data);
    free(expected.data);
}

static void quantize(dqg_context *context, const char *from, const char *to) {
    dqg_quantizer *quantizer;
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, from, to));
    dqg_quantizer_destroy(quantizer);
}

/* In a folder or a file with a denoiser it gives the same bits as alone with the scale that belongs to them. */
static void check_pipeline(const struct pipeline *pipeline) {
    enum { VALUES = 2 * 3 * 16 * 16 };
    static float alone[VALUES], together[VALUES];
    char directory[128], vae[256], small[2][256];
    dqg_context *context;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    snprintf(vae, sizeof vae, "%s/vae", directory);
    tiny_path(small[0], sizeof small[0], directory, "whole.dqg");
    tiny_path(small[1], sizeof small[1], directory, "vae.dqg");
    write_pipeline(directory, pipeline);
    assert_ok(dqg_context_create(NULL, &context));
    decode_golden(context, vae, pipeline->scale, pipeline->shift, alone);
    decode_golden(context, directory, 0, 0, together);
    assert_memory_equal(alone, together, sizeof alone);
    quantize(context, vae, small[1]);
    quantize(context, directory, small[0]);
    decode_golden(context, small[1], pipeline->scale, pipeline->shift, alone);
    decode_golden(context, small[0], 0, 0, together);
    assert_memory_equal(alone, together, sizeof alone);
    remove_pipeline(directory, pipeline);
    dqg_context_destroy(context);
}

static void test_beside_a_denoiser(void **state) {
    static const char alpha[] = "tests/golden/pixart/alpha_diffusers.safetensors";
    static const struct pipeline pipelines[] = {
        {"transformer", NULL, alpha, "{\"scaling_factor\": 0.25, \"shift_factor\": 0.125}", 0.25, 0.125},
        {"transformer", NULL, alpha, "{\"latent_channels\": 4}", 0.18215, 0},
        {"unet", "tests/golden/unet/sdxl.txt", NULL, "{\"scaling_factor\": null}", 0.13025, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pipelines / sizeof *pipelines; i++) {
        check_pipeline(&pipelines[i]);
    }
}

/* ---- adapters ---- */

/* Low-rank updates of convolutions of every kind, beside the weights and merged into them. */
static void test_adapter(void **state) {
    (void)state;
    dqg_context *context;
    dqg_adaptation adaptation;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, "kl4", 1, NULL), *adapted;
    DQG_INIT(&adaptation);
    adaptation.path = "tests/golden/adapters/vae.safetensors";
    adaptation.scale = 1;
    for (int merged = 0; merged < 2; merged++) {
        adaptation.flags = merged ? DQG_ADAPT_MERGE : 0;
        if (dqg_model_adapt(context, model, &adaptation, 1, &adapted) != DQG_OK) {
            fail_msg("%s", dqg_context_error(context));
        }
        double decoded = check_direction(context, adapted, "lora_5x7", 1),
               encoded = check_direction(context, adapted, "lora_5x7", 0);
        printf("adapted: relative error of decoding %.2e, of encoding %.2e\n", decoded, encoded);
        assert_true(decoded < limit && encoded < limit);
        dqg_model_release(adapted);
    }
    assert_true(check_direction(context, model, "kl4_5x7", 1) < limit);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

/* ---- tiles ---- */

/* Smooth latents or pictures, brighter at one side, that no two tiles see alike. */
static void fill_scene(float *x, int64_t channels, int64_t height, int64_t width, float middle, float range) {
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < height * width; i++) {
            double v = (double)(i / width) / (double)height, h = (double)(i % width) / (double)width;
            double wave = sin(9 * v + (double)c) * cos(13 * h - (double)c) + 0.7 * sin(60 * v * h) + 1.5 * (h - v);
            x[c * height * width + i] = middle + range * (float)(wave / 3);
        }
    }
}

struct scene {
    float *in, *whole, *tiled;
    dqg_tensor_view from, to;
    size_t count;
};

static float largest_difference(const struct scene *scene) {
    float largest = 0;
    for (size_t i = 0; i < scene->count; i++) {
        largest = fmaxf(largest, fabsf(scene->whole[i] - scene->tiled[i]));
    }
    return largest;
}

static dqg_status convert(dqg_context *context, const dqg_model *model, int decode, struct scene *scene,
                          const dqg_picture_spec *spec, float *out, dqg_memory_info *memory) {
    scene->to.data = out;
    return decode ? dqg_model_decode(context, model, &scene->from, spec, &scene->to, memory)
                  : dqg_model_encode(context, model, &scene->from, spec, &scene->to, memory);
}

static void check_tiles(const char *name, int64_t channels, int64_t times, int decode, int64_t height, int64_t width) {
    dqg_context *context;
    dqg_memory_info whole, tiled;
    dqg_picture_spec spec = plain_spec();
    struct scene scene = {0};
    int64_t in_channels = decode ? channels : 3, in_times = decode ? 1 : times;
    int64_t out_channels = decode ? 3 : channels, out_times = decode ? times : 1;
    size_t in = (size_t)(in_channels * height * width * in_times * in_times);
    scene.count = (size_t)(out_channels * height * width * out_times * out_times);
    scene.in = malloc(in * sizeof(float));
    scene.whole = malloc(scene.count * sizeof(float));
    scene.tiled = malloc(scene.count * sizeof(float));
    scene.from = view_f32(scene.in, 1, in_channels, height * in_times, width * in_times);
    scene.to = view_f32(NULL, 1, out_channels, height * out_times, width * out_times);
    fill_scene(scene.in, in_channels, height * in_times, width * in_times, decode ? 0 : 0.5f, decode ? 2 : 0.5f);
    assert_ok(dqg_context_create(NULL, &context));
    dqg_model *model = load(context, name, 0, NULL);
    DQG_INIT(&whole);
    DQG_INIT(&tiled);
    assert_ok(convert(context, model, decode, &scene, &spec, scene.whole, &whole));
    spec.tile = 16;
    assert_ok(convert(context, model, decode, &scene, &spec, scene.tiled, &tiled));
    printf("%-7s %s in tiles of 16: largest difference %.2f / 255, memory %.1f of %.1f MB\n", name,
           decode ? "decoded" : "encoded", 255 * (double)largest_difference(&scene), 1e-6 * (double)tiled.run_bytes,
           1e-6 * (double)whole.run_bytes);
    assert_true(largest_difference(&scene) <= seam);
    assert_true(tiled.run_bytes < whole.run_bytes);
    dqg_model_release(model);
    dqg_context_destroy(context);
    free(scene.in);
    free(scene.whole);
    free(scene.tiled);
}

static void test_tiles(void **state) {
    (void)state;
    check_tiles("kl16", 16, 4, 1, 50, 44);
    check_tiles("kl16", 16, 4, 0, 50, 44);
    check_tiles("kl4", 4, 2, 1, 64, 48);
    check_tiles("kl4", 4, 2, 0, 64, 48);
    check_tiles("tiny4", 4, 8, 1, 50, 44);
    check_tiles("tiny4", 4, 8, 0, 50, 44);
}

/* ---- memory ---- */

/* What is foretold is what the allocator sees at most. */
static void check_memory(const char *name, int64_t channels, int64_t times, int decode, int32_t tile) {
    struct failing_alloc counted;
    dqg_allocator allocator;
    dqg_context *context;
    dqg_memory_info memory;
    dqg_picture_spec spec = plain_spec();
    const int64_t side = 20, samples = 2, large = side * times;
    float *latents = calloc((size_t)(samples * channels * side * side), sizeof *latents);
    float *pictures = calloc((size_t)(samples * 3 * large * large), sizeof *pictures);
    dqg_tensor_view latent = view_f32(latents, samples, channels, side, side);
    dqg_tensor_view picture = view_f32(pictures, samples, 3, large, large);
    failing_alloc_init(&counted, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    assert_ok(dqg_context_set_threads(context, 2));
    dqg_model *model = load(context, name, 0, NULL);
    DQG_INIT(&memory);
    spec.tile = tile;
    spec.overlap = 2;
    counted.peak_bytes = counted.live_bytes;
    int64_t before = counted.live_bytes;
    assert_ok(decode ? dqg_model_decode(context, model, &latent, &spec, NULL, &memory)
                     : dqg_model_encode(context, model, &picture, &spec, NULL, &memory));
    int64_t asking = counted.peak_bytes - before;
    assert_int_equal(counted.live_bytes, before);
    counted.peak_bytes = before;
    assert_ok(decode ? dqg_model_decode(context, model, &latent, &spec, &picture, NULL)
                     : dqg_model_encode(context, model, &picture, &spec, &latent, NULL));
    int64_t taken = counted.peak_bytes - before;
    printf("%-7s %s in tiles of %d: foretold %llu bytes, taken %lld, to ask %lld\n", name,
           decode ? "decoded" : "encoded", (int)tile, (unsigned long long)memory.run_bytes, (long long)taken,
           (long long)asking);
    assert_int_equal(memory.run_bytes, taken);
    assert_true(asking < taken);
    assert_int_equal(counted.live_bytes, before);
    dqg_model_release(model);
    dqg_context_destroy(context);
    assert_int_equal(failing_alloc_errors(&counted), 0);
    free(latents);
    free(pictures);
}

static void test_memory(void **state) {
    (void)state;
    for (int decode = 0; decode < 2; decode++) {
        for (int32_t tile = 0; tile <= 10; tile += 10) {
            check_memory("kl16", 16, 4, decode, tile);
            check_memory("kl4", 4, 2, decode, tile);
            check_memory("tiny4", 4, 8, decode, tile);
            check_memory("tiny32", 32, 8, decode, tile);
        }
    }
}

/* ---- 4 bits ---- */

static void write_file(const char *path, const char *name) {
    char list[128];
    snprintf(list, sizeof list, "tests/golden/autoencoder/%s.txt", name);
    assert_int_equal(named_file_write(&(struct named_file){.list = list}, path), 0);
}

/* Widths are a quarter of real ones and less, so that rounding weighs more than there. */
static void check_quantized(const char *name, const char *base, const char *pattern) {
    char directory[128], from[192], to[192];
    dqg_context *context;
    dqg_quantizer *quantizer;
    dqg_model *model;
    const char *report;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    write_file(tiny_path(from, sizeof from, directory, "float.safetensors"), name);
    tiny_path(to, sizeof to, directory, "small.dqg");
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, from, to));
    assert_ok(dqg_quantizer_report(quantizer, DQG_REPORT_TEXT, &report));
    assert_non_null(strstr(report, "int4:32"));
    assert_ok(dqg_model_load(context, to, NULL, &model));
    dqg_tensor_info info;
    int32_t halves = 0;
    for (int32_t i = 0; DQG_INIT(&info), dqg_model_tensor_at(model, i, &info) == DQG_OK; i++) {
        bool end = strstr(info.name, pattern) != NULL && info.rank > 1;
        assert_true(!end || info.dtype == DQG_DTYPE_F16);
        halves += end;
    }
    assert_true(halves > 0);
    double decoded = check_direction(context, model, base, 1), encoded = check_direction(context, model, base, 0);
    printf("%s at 4 bits: relative error of decoding %.3f, of encoding %.3f\n", base, decoded, encoded);
    assert_true(decoded < 0.14 && encoded < 0.14); /* a cosine of 0.99 */
    dqg_model_release(model);
    dqg_quantizer_destroy(quantizer);
    dqg_context_destroy(context);
    tiny_dir_remove(directory);
}

static void test_quantized(void **state) {
    (void)state;
    check_quantized("kl4", "kl4_8x8", "conv_in");
    check_quantized("tiny4", "tiny4_4x4", "coder.0.w");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kl_of_4_channels),
        cmocka_unit_test(test_kl_of_16_channels),
        cmocka_unit_test(test_adapter),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_tiny_with_pooling),
        cmocka_unit_test(test_tiny_halves),
        cmocka_unit_test(test_tiny_folder),
        cmocka_unit_test(test_drawn_latents),
        cmocka_unit_test(test_beside_a_denoiser),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_quantized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
