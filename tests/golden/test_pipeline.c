/* SPDX-License-Identifier: MIT */
/*
 * What prompts become, against the pipelines of diffusers: Stable Diffusion 1.5, XL, its refiner, 3 with and without
 * T5, FLUX, PixArt, each a denoiser that wants such inputs beside the same small text encoders; weights of words and
 * long prompts as AUTOMATIC1111's program has them. make_pipeline_golden.py wrote the files.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "context_check.h"
#include "model/pipeline.h"
#include "pipeline_folder.h"
#include "tiny_model.h"
#include "relative.h"

enum { EVERY = 5 /* rows are kept of these */ };

static const double limit = 1e-4;
static const char prompt[] = "a photo of an old red lighthouse in the storm";

/* What a denoiser takes. */
struct wanted {
    const char *name;
    int parts;
    size_t width, tokens, pooled;
    bool masked;
};

static struct npy read_array(const char *name, const char *part) {
    return golden_array("pipeline/%s_%s", name, part);
}

/* The denoiser of the folder is a small DiT that is told to take a context. */
static void adopt(dqg_model *model, const struct wanted *wanted) {
    const struct dqg_checkpoint no_prefixes = {0};
    model->hyper.context_width = wanted->width;
    model->hyper.context_tokens = wanted->tokens;
    model->hyper.pooled_width = wanted->pooled;
    model->hyper.masked = wanted->masked;
    assert_ok(dqg_pipeline_describe(context, &no_prefixes, model));
}

static dqg_model *load(const char *path, const struct wanted *wanted) {
    dqg_model *model;
    if (dqg_model_load(context, path, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    adopt(model, wanted);
    return model;
}

static dqg_model *load_folder(const struct wanted *wanted, char folder[128]) {
    assert_int_equal(tiny_dir_make(folder, 128), 0);
    assert_int_equal(pipeline_folder_make(folder, wanted->parts | PIPELINE_DIT), 0);
    return load(folder, wanted);
}

struct encoded {
    dqg_prompt_info info;
    float *rows, *mask, *pooled;
};

static struct encoded encode(const dqg_model *model, const char *const *prompts, int32_t count,
                             const dqg_prompt_settings *settings) {
    struct encoded out;
    DQG_INIT(&out.info);
    if (dqg_model_prompt_info(context, model, prompts, count, settings, &out.info) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    size_t rows = (size_t)count * (size_t)out.info.tokens;
    out.rows = malloc(rows * (size_t)out.info.columns * sizeof(float));
    out.mask = malloc(rows * sizeof(float));
    out.pooled = malloc(((size_t)count * (size_t)out.info.pooled + 1) * sizeof(float));
    dqg_tensor_view views[3] = {view_f32(out.rows, count, out.info.tokens, out.info.columns, 0),
                                view_f32(out.mask, count, out.info.tokens, 0, 0),
                                view_f32(out.pooled, count, out.info.pooled, 0, 0)};
    if (dqg_model_encode_prompts(context, model, prompts, count, settings, &views[0], &views[1],
                                 out.info.pooled > 0 ? &views[2] : NULL) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    return out;
}

static void drop(struct encoded *out) {
    free(out->rows);
    free(out->mask);
    free(out->pooled);
}

static void check_rows(const struct encoded *out, const char *name) {
    struct npy rows = read_array(name, "rows");
    int64_t kept = (out->info.tokens + EVERY - 1) / EVERY, columns = out->info.columns;
    assert_int_equal(rows.shape[1], kept);
    assert_int_equal(rows.shape[2], columns);
    float *picked = malloc((size_t)rows.count * sizeof *picked);
    for (int64_t i = 0; i < rows.shape[0] * kept; i++) {
        memcpy(picked + i * columns, out->rows + (i / kept * out->info.tokens + i % kept * EVERY) * columns,
               (size_t)columns * sizeof *picked);
    }
    double error = relative(picked, rows.data, rows.count);
    printf("%-10s rows   relative error %.2e\n", name, error);
    assert_true(error < limit);
    free(picked);
    free(rows.data);
}

static void check_other(const float *values, const char *name, const char *part) {
    struct npy wanted = read_array(name, part);
    double error = relative(values, wanted.data, wanted.count);
    printf("%-10s %-6s relative error %.2e\n", name, part, error);
    assert_true(error < limit);
    free(wanted.data);
}

static void check_case(const dqg_model *model, const struct wanted *wanted) {
    const char *prompts[2] = {prompt, "ugly"};
    struct encoded out = encode(model, prompts, 2, NULL);
    check_rows(&out, wanted->name);
    if (wanted->pooled > 0) {
        check_other(out.pooled, wanted->name, "pooled");
    }
    if (wanted->masked) {
        check_other(out.mask, wanted->name, "mask");
    }
    drop(&out);
}

enum { BOTH = PIPELINE_CLIP | PIPELINE_CLIP_2 };

static const struct wanted sd15 = {"sd15", PIPELINE_CLIP, 64, 77, 0, false};
static const struct wanted sdxl = {"sdxl", BOTH, 192, 77, 96, false};
static const struct wanted cases[] = {
    {"sd15", PIPELINE_CLIP, 64, 77, 0, false},
    {"sdxl", BOTH, 192, 77, 96, false},
    {"refiner", PIPELINE_CLIP_2, 128, 77, 96, false},
    {"sd3", BOTH | PIPELINE_T5, 192, 333, 160, false},
    {"flux", PIPELINE_CLIP | PIPELINE_T5, 192, 512, 64, false},
    {"pixart", PIPELINE_T5, 192, 300, 0, true},
};

static void test_cases(void **state) {
    char folder[128];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dqg_model *model = load_folder(&cases[i], folder);
        check_case(model, &cases[i]);
        dqg_model_release(model);
        pipeline_folder_remove(folder);
    }
}

/* Of a quantized file, which keeps everything in floats: the same, and nothing else is needed. */
static void test_container(void **state) {
    char folder[128], path[192];
    dqg_quantizer *quantizer;
    dqg_options *options = make_options(context, DQG_OPTIONS_QUANTIZER);
    (void)state;
    parse_options(options, "format=f32 default-rules=0");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dqg_model *model = load_folder(&cases[i], folder);
        dqg_model_release(model);
        tiny_path(path, sizeof path, folder, "all.dqg");
        assert_ok(dqg_quantizer_create(context, options, &quantizer));
        if (dqg_quantizer_run(quantizer, folder, path) != DQG_OK) {
            fail_msg("%s", dqg_context_error(context));
        }
        dqg_quantizer_destroy(quantizer);
        model = load(path, &cases[i]);
        for (size_t m = 0; m < model->metadata_count; m++) {
            assert_null(strstr(model->metadata[m].key, "vocab.json"));
        }
        check_case(model, &cases[i]);
        dqg_model_release(model);
        pipeline_folder_remove(folder);
    }
    dqg_options_destroy(options);
}

static void test_settings(void **state) {
    char folder[128], text[2048] = "", half[2048] = "";
    const char *prompts[2] = {prompt, "ugly"};
    dqg_prompt_settings settings;
    (void)state;
    dqg_model *model = load_folder(&sd15, folder);
    DQG_INIT(&settings);
    settings.skip = 1;
    struct encoded out = encode(model, prompts, 1, &settings);
    check_rows(&out, "sd15_skip");
    drop(&out);
    prompts[0] = "a (red:1.5) cat";
    out = encode(model, prompts, 1, NULL);
    check_rows(&out, "weighted");
    drop(&out);
    for (int i = 0; i < 40; i++) {
        strcat(text, "lighthouse storm ");
        strcat(half, "lighthouse ");
    }
    prompts[0] = text;
    out = encode(model, prompts, 1, NULL);
    assert_int_equal(out.info.tokens, 4 * 77);
    assert_int_equal(out.info.chunks, 4);
    check_rows(&out, "chunks");
    /* A shorter prompt beside it goes on with chunks of the empty one; alone it is the same when it is told to. */
    prompts[1] = half;
    struct encoded both = encode(model, prompts, 2, NULL);
    settings.skip = 0;
    settings.chunks = 4;
    struct encoded alone = encode(model, prompts + 1, 1, &settings);
    size_t row = 64 * sizeof(float), rows = 4 * 77 * row;
    assert_memory_equal(both.rows, out.rows, rows);
    assert_memory_equal(both.rows + 4 * 77 * 64, alone.rows, rows);
    assert_int_equal(alone.info.tokens, 4 * 77);
    const char *empty[2] = {"", NULL};
    struct encoded none = encode(model, empty, 2, NULL);
    assert_memory_equal(alone.rows + 3 * 77 * 64, none.rows, 77 * row);
    assert_memory_equal(none.rows, none.rows + 77 * 64, 77 * row); /* what is not given is the empty text here */
    settings.flags = DQG_PROMPT_ONE_CHUNK;
    settings.chunks = 0;
    struct encoded cut = encode(model, prompts, 1, &settings);
    assert_int_equal(cut.info.tokens, 77);
    assert_int_equal(cut.info.flags, DQG_PROMPT_CUT);
    drop(&cut);
    drop(&none);
    drop(&alone);
    drop(&both);
    drop(&out);
    dqg_model_release(model);
    pipeline_folder_remove(folder);
}

/* SDXL: a negative prompt that is not given is zeros. */
static void test_zeros(void **state) {
    char folder[128];
    const char *prompts[2] = {prompt, NULL};
    (void)state;
    dqg_model *model = load_folder(&sdxl, folder);
    struct encoded out = encode(model, prompts, 2, NULL);
    for (size_t i = 0; i < 77 * 192; i++) {
        assert_true(out.rows[77 * 192 + i] == 0.0f);
    }
    for (size_t i = 0; i < 96; i++) {
        assert_true(out.pooled[96 + i] == 0.0f && out.pooled[i] != 0.0f);
    }
    drop(&out);
    dqg_model_release(model);
    pipeline_folder_remove(folder);
}

/* What the file says goes before what is known of published models. */
static void test_written_wiring(void **state) {
    static const char *const bad[] = {"",
                                      "clip skip",
                                      "clip skip 99",
                                      "clip skip -1",
                                      "clip |",
                                      "| clip",
                                      "clip_9",
                                      "clip_2",
                                      "t5",
                                      "clip no-such-word",
                                      "clip pad 1514",
                                      "clip mask",
                                      "clip tokens 78",
                                      "clip tokens 2",
                                      "zeros",
                                      "zeros skip 1",
                                      "zeros tokens 9 | clip",
                                      "clip clip",
                                      "clip + clip + clip + clip + clip + clip + clip + clip + clip",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                      "clip skip 99999999999999999999999999"};
    char folder[128];
    const char *prompts[1] = {prompt};
    dqg_prompt_info info;
    (void)state;
    dqg_model *model = load_folder(&sd15, folder);
    size_t at = 0;
    while (strcmp(model->metadata[at].key, "pipeline.context") != 0) {
        at++;
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        model->metadata[at].value = bad[i];
        DQG_INIT(&info);
        dqg_status status = dqg_model_prompt_info(context, model, prompts, 1, NULL, &info);
        if (status != DQG_ERROR_FORMAT && status != DQG_ERROR_UNSUPPORTED) {
            fail_msg("'%s' gives %d", bad[i], (int)status);
        }
        assert_true(strlen(dqg_context_error(context)) > 8);
    }
    model->metadata[at].value = "clip skip 1 no-norm  +  zeros tokens 4 + clip tokens 40 pad 7";
    struct encoded out = encode(model, prompts, 1, NULL);
    assert_int_equal(out.info.tokens, 77 + 4 + 40);
    assert_true(out.rows[76 * 64] != 0.0f && out.rows[77 * 64] == 0.0f && out.rows[81 * 64] != 0.0f);
    drop(&out);
    dqg_model_release(model);
    pipeline_folder_remove(folder);
}

static void test_no_t5(void **state) {
    static const struct wanted wanted = {"sd3_no_t5", BOTH, 192, 333, 160, false};
    char folder[128];
    (void)state;
    dqg_model *model = load_folder(&wanted, folder);
    const char *prompts[2] = {prompt, "ugly"};
    struct encoded out = encode(model, prompts, 2, NULL);
    check_rows(&out, wanted.name);
    check_other(out.pooled, wanted.name, "pooled");
    drop(&out);
    dqg_model_release(model);
    pipeline_folder_remove(folder);
}

/* From prompt to picture: DDIM, noise as PyTorch has it. */
static void draw(const char *path, const char *components) {
    enum { HEIGHT = 32, WIDTH = 24, COLOURS = 3 };
    static float pixels[HEIGHT * WIDTH * COLOURS];
    struct npy picture;
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_options *loading = make_options(context, DQG_OPTIONS_MODEL);
    dqg_options *plan;
    dqg_scheduler *scheduler;
    dqg_model *model;
    dqg_run *run;
    dqg_image_view image;
    assert_ok(dqg_options_set_text(loading, DQG_MODEL_COMPONENTS, components));
    if (dqg_model_load(context, path, loading, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    assert_ok(dqg_model_scheduler_options(context, model, &plan));
    assert_ok(dqg_options_set_int(plan, DQG_SCHEDULER_STEPS, 5));
    assert_ok(dqg_scheduler_create(context, plan, &scheduler));
    parse_options(options, "height=16 width=12 guidance=4 seed=7 noise=torch-cpu negative-prompt=ugly");
    assert_ok(dqg_options_set_text(options, DQG_RUN_PROMPT, prompt));
    if (dqg_run_create(context, model, scheduler, options, &run) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    dqg_model_release(model);
    dqg_status status = DQG_OK;
    while (status == DQG_OK) {
        status = dqg_run_step(run);
    }
    assert_int_equal(status, DQG_DONE);
    DQG_INIT(&image);
    image.data = pixels;
    image.width = WIDTH;
    image.height = HEIGHT;
    image.channels = COLOURS;
    image.dtype = DQG_DTYPE_F32;
    if (dqg_run_read_image(run, 0, DQG_SOURCE_LATENT, &image) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_int_equal(npy_read("tests/golden/pipeline/picture.npy", &picture), 0);
    assert_int_equal(picture.count, HEIGHT * WIDTH * COLOURS);
    double error = relative(pixels, picture.data, picture.count);
    printf("picture    %-10s relative error %.2e\n", components, error);
    assert_true(error < 10 * limit); /* of five steps */
    free(picture.data);
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(plan);
    dqg_options_destroy(loading);
    dqg_options_destroy(options);
}

static void test_picture(void **state) {
    char folder[128];
    (void)state;
    assert_int_equal(tiny_dir_make(folder, sizeof folder), 0);
    assert_int_equal(pipeline_folder_make(folder, PIPELINE_SD), 0);
    draw(folder, "resident");
    draw(folder, "on-demand");
    pipeline_folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),   cmocka_unit_test(test_container), cmocka_unit_test(test_settings),
        cmocka_unit_test(test_zeros),   cmocka_unit_test(test_no_t5),     cmocka_unit_test(test_written_wiring),
        cmocka_unit_test(test_picture),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
