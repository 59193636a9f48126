/* SPDX-License-Identifier: MIT */
/*
 * Files of several networks whose networks are read when they are used: the same bits as with all in memory, the memory
 * that was stated beforehand, files that change, failing memory, several threads.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "failing_alloc.h"
#include "pipeline_folder.h"
#include "tiny_model.h"

enum { SIDE = 16, PICTURE = 2 * SIDE, PIXELS = 3 * PICTURE * PICTURE, LATENT = 4 * SIDE * SIDE, ROWS = 77 * 64 };

/* Of all tests: a small Stable Diffusion, the same at 4 bits, and that with a control network. */
static char folder[128], file[192], controlled[192];

static int make_files(void **state) {
    char control[192];
    dqg_context *context = NULL;
    dqg_quantizer *quantizer = NULL;
    (void)state;
    int bad = tiny_dir_make(folder, sizeof folder) || pipeline_folder_make(folder, PIPELINE_SD) ||
              dqg_context_create(NULL, &context);
    tiny_path(file, sizeof file, folder, "all.dqg");
    tiny_path(controlled, sizeof controlled, folder, "controlled.dqg");
    bad = bad || dqg_quantizer_create(context, NULL, &quantizer) || dqg_quantizer_run(quantizer, folder, file) ||
          pipeline_folder_make(folder, PIPELINE_CONTROL) || dqg_quantizer_run(quantizer, folder, controlled);
    pipeline_folder_remove(tiny_path(control, sizeof control, folder, "controlnet"));
    dqg_quantizer_destroy(quantizer);
    dqg_context_destroy(context);
    return bad;
}

static int remove_files(void **state) {
    (void)state;
    pipeline_folder_remove(folder);
    return 0;
}

static dqg_status load(dqg_context *context, const char *path, const char *components, dqg_model **model) {
    dqg_options *options;
    *model = NULL;
    dqg_status status = dqg_options_create(context, DQG_OPTIONS_MODEL, &options);
    if (status == DQG_OK) {
        status = dqg_options_set_text(options, DQG_MODEL_COMPONENTS, components);
    }
    if (status == DQG_OK) {
        status = dqg_model_load(context, path, options, model);
    }
    dqg_options_destroy(options);
    return status;
}

static dqg_status set_prompt(dqg_options *options) {
    dqg_status status = dqg_options_set_text(options, DQG_RUN_PROMPT, "a red lighthouse");
    if (status == DQG_OK) {
        status = dqg_options_set_float(options, DQG_RUN_GUIDANCE, 3);
    }
    return status;
}

/* A prompt, one step, a picture. */
static dqg_status draw(dqg_context *context, dqg_model *model, float *pixels) {
    dqg_options *options = NULL;
    dqg_run *run = NULL;
    dqg_image_view image;
    DQG_INIT(&image);
    image.data = pixels;
    image.width = image.height = PICTURE;
    image.channels = 3;
    image.dtype = DQG_DTYPE_F32;
    dqg_status status = dqg_options_create(context, DQG_OPTIONS_RUN, &options);
    if (status == DQG_OK) {
        status = set_prompt(options);
    }
    if (status == DQG_OK) {
        status = dqg_run_create(context, model, NULL, options, &run);
        assert_true((status == DQG_OK) == (run != NULL));
    }
    if (status == DQG_OK) {
        status = dqg_run_step(run);
    }
    if (status == DQG_OK) {
        status = dqg_run_read_image(run, 0, DQG_SOURCE_X0, &image);
    }
    dqg_run_destroy(run);
    dqg_options_destroy(options);
    return status;
}

static dqg_status encode(dqg_context *context, const dqg_model *model, float *rows) {
    static const char *const prompts[2] = {"a red lighthouse", NULL};
    dqg_tensor_view view = view_f32(rows, 2, 77, 64, 0);
    return dqg_model_encode_prompts(context, model, prompts, 2, NULL, &view, NULL, NULL);
}

static dqg_status decode(dqg_context *context, const dqg_model *model, float *pixels) {
    static float latent[LATENT];
    dqg_tensor_view from = view_f32(latent, 1, 4, SIDE, SIDE), to = view_f32(pixels, 1, 3, PICTURE, PICTURE);
    for (int i = 0; i < LATENT; i++) {
        latent[i] = (float)(i * 37 % 101) / 50.0f - 1.0f;
    }
    return dqg_model_decode(context, model, &from, NULL, &to, NULL);
}

/* Whatever takes a model. */
static void use(dqg_context *context, dqg_model *model, float *out) {
    static const int32_t ids[4] = {1512, 7, 9, 1513};
    const double time = 500;
    dqg_inputs inputs;
    DQG_INIT(&inputs);
    assert_ok(encode(context, model, out));
    dqg_tensor_view rows = view_f32(out, 1, 77, 64, 0), x = view_f32(out, 1, 4, SIDE, SIDE);
    dqg_tensor_view answer = view_f32(out + 2 * ROWS, 1, 4, SIDE, SIDE);
    inputs.context = &rows;
    assert_ok(dqg_model_denoise(context, model, &x, &time, &inputs, NULL, NULL, &answer));
    out += 2 * ROWS + LATENT;
    assert_ok(decode(context, model, out));
    out += PIXELS;
    rows = view_f32(out, 1, 4, 64, 0);
    assert_ok(dqg_model_encode_tokens(context, model, ids, 1, 4, NULL, NULL, &rows, NULL));
    out += 4 * 64;
    dqg_tensor_view weight = view_f32(out, 32, 4, 3, 3);
    assert_ok(dqg_model_read_tensor(context, model, "input_blocks.0.0.weight", &weight));
    out += 32 * 4 * 9;
    if (draw(context, model, out) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
}

enum { ALL = 2 * ROWS + LATENT + PIXELS + 4 * 64 + 32 * 4 * 9 + PIXELS };

static void test_same_bits(void **state) {
    static float out[3][ALL];
    dqg_context *context;
    dqg_model *model;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(load(context, file, "resident", &model));
    use(context, model, out[0]);
    dqg_model_release(model);
    assert_ok(load(context, file, "on-demand", &model));
    use(context, model, out[1]);
    use(context, model, out[2]); /* again */
    dqg_model_release(model);
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    assert_memory_equal(out[0], out[2], sizeof out[0]);
    dqg_context_destroy(context);
}

/* What the model is said to be does not depend on it. */
static void test_same_description(void **state) {
    dqg_context *context;
    dqg_model *models[2];
    dqg_model_info info[2];
    dqg_component_info component[2];
    dqg_tensor_info tensor[2];
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(load(context, file, "resident", &models[0]));
    assert_ok(load(context, file, "on-demand", &models[1]));
    DQG_INIT(&info[0]);
    DQG_INIT(&info[1]);
    DQG_INIT(&component[0]);
    DQG_INIT(&component[1]);
    DQG_INIT(&tensor[0]);
    DQG_INIT(&tensor[1]);
    assert_ok(dqg_model_get_info(models[0], &info[0]));
    assert_ok(dqg_model_get_info(models[1], &info[1]));
    assert_memory_equal(&info[0], &info[1], sizeof info[0]);
    int32_t count = 0;
    for (; dqg_model_component_at(models[0], count, &component[0]) == DQG_OK; count++) {
        assert_ok(dqg_model_component_at(models[1], count, &component[1]));
        assert_string_equal(component[0].role, component[1].role);
        assert_true(component[0].parameters == component[1].parameters && component[0].flags == component[1].flags &&
                    component[0].weight_bytes == component[1].weight_bytes);
    }
    assert_int_equal(count, 3);
    assert_int_equal(dqg_model_component_at(models[1], -1, &component[1]), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_component_at(models[1], 0, NULL), DQG_ERROR_ARGUMENT);
    for (int32_t i = 0; dqg_model_tensor_at(models[0], i, &tensor[0]) == DQG_OK; i++) {
        assert_ok(dqg_model_tensor_at(models[1], i, &tensor[1]));
        assert_string_equal(tensor[0].name, tensor[1].name);
        assert_true(tensor[0].dtype == tensor[1].dtype && tensor[0].memory_bytes == tensor[1].memory_bytes);
    }
    dqg_model_release(models[0]);
    dqg_model_release(models[1]);
    dqg_context_destroy(context);
}

/* ---- memory ---- */

/* The peak of what comes next, beside what is there. */
static int64_t begin_peak(struct failing_alloc *memory) {
    int64_t now = memory->live_bytes;
    memory->peak_bytes = now;
    return now;
}

static void check_peak(const char *what, const struct failing_alloc *memory, int64_t before, uint64_t stated) {
    int64_t peak = memory->peak_bytes - before;
    printf("%-10s stated %llu, measured %lld\n", what, (unsigned long long)stated, (long long)peak);
    /* A real network is a thousand times as large as what is not counted: the parser's and decoders' small change. */
    assert_true(llabs((int64_t)stated - peak) < peak / 50 + 192 * 1024);
}

static void measure(const char *path, const char *components) {
    static float out[2 * ROWS], pixels[PIXELS];
    struct failing_alloc memory;
    dqg_allocator allocator;
    dqg_context *context;
    dqg_model *model;
    dqg_phase_memory stated;
    dqg_memory_info run_memory;
    dqg_options *options;
    dqg_run *run;
    failing_alloc_init(&memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    assert_ok(dqg_context_set_threads(context, 2));
    assert_ok(load(context, path, components, &model));
    options = make_options(context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, 3));
    DQG_INIT(&stated);
    DQG_INIT(&run_memory);
    assert_ok(dqg_model_phase_memory(context, model, NULL, options, NULL, &stated));
    assert_ok(encode(context, model, out)); /* threads begin */
    int64_t before = begin_peak(&memory);
    assert_ok(encode(context, model, out));
    check_peak("encode", &memory, before, stated.encode_bytes);
    before = begin_peak(&memory);
    assert_ok(dqg_run_create(context, model, NULL, options, &run));
    while (dqg_run_step(run) == DQG_OK) {
    }
    dqg_run_destroy(run);
    check_peak("denoise", &memory, before, stated.denoise_bytes);
    before = begin_peak(&memory);
    assert_ok(decode(context, model, pixels));
    check_peak("decode", &memory, before, stated.decode_bytes);
    uint64_t most = stated.encode_bytes > stated.denoise_bytes ? stated.encode_bytes : stated.denoise_bytes;
    most = stated.decode_bytes > most ? stated.decode_bytes : most;
    assert_true(stated.peak_bytes == stated.model_bytes + most);
    /* with a prompt */
    assert_ok(set_prompt(options));
    assert_ok(dqg_model_memory(context, model, NULL, options, &run_memory));
    assert_true(run_memory.model_bytes == stated.model_bytes && run_memory.run_bytes >= stated.denoise_bytes);
    /* the model itself */
    dqg_options_destroy(options);
    int64_t with = memory.live_bytes;
    dqg_model_release(model);
    printf("%-10s stated %llu, measured %lld\n", components, (unsigned long long)stated.model_bytes,
           (long long)(with - memory.live_bytes));
    double exact = (double)(with - memory.live_bytes);
    assert_true((double)stated.model_bytes > 0.97 * exact && (double)stated.model_bytes < 1.03 * exact);
    dqg_context_destroy(context);
    assert_int_equal(failing_alloc_errors(&memory), 0);
}

static void test_stated_memory(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        measure(i == 0 ? file : controlled, "resident");
        measure(i == 0 ? file : controlled, "on-demand");
    }
}

static void test_failing_memory(void **state) {
    static float pixels[PIXELS];
    struct failing_alloc memory;
    dqg_allocator allocator;
    dqg_context *context;
    dqg_model *model;
    dqg_status status = DQG_ERROR_MEMORY;
    (void)state;
    for (int64_t at = 1; status != DQG_OK; at += 1 + at / 24) {
        failing_alloc_init(&memory, &allocator);
        assert_ok(dqg_context_create(&allocator, &context));
        memory.fail_at = at;
        status = load(context, controlled, "on-demand", &model);
        if (status == DQG_OK) {
            status = draw(context, model, pixels);
        }
        if (status != DQG_OK) {
            assert_int_equal(status, DQG_ERROR_MEMORY);
            assert_true(strlen(dqg_context_error(context)) > 8);
        }
        dqg_model_release(model);
        dqg_context_destroy(context);
        assert_int_equal(failing_alloc_errors(&memory), 0);
    }
}

/* ---- files ---- */

static void test_changed_file(void **state) {
    static float rows[2 * ROWS], pixels[PIXELS];
    char other[192], kept[192];
    dqg_context *context;
    dqg_model *model;
    dqg_quantizer *quantizer;
    dqg_options *options;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(load(context, file, "on-demand", &model));
    options = make_options(context, DQG_OPTIONS_QUANTIZER);
    parse_options(options, "bits=8");
    assert_ok(dqg_quantizer_create(context, options, &quantizer));
    tiny_path(other, sizeof other, folder, "other.dqg");
    tiny_path(kept, sizeof kept, folder, "kept.dqg");
    assert_ok(dqg_quantizer_run(quantizer, folder, other));
    assert_int_equal(rename(file, kept), 0);
    assert_fails(context, encode(context, model, rows), DQG_ERROR_NOT_FOUND);
    assert_fails(context, draw(context, model, pixels), DQG_ERROR_NOT_FOUND);
    assert_int_equal(rename(other, file), 0);
    assert_fails(context, encode(context, model, rows), DQG_ERROR_STATE);
    assert_fails(context, decode(context, model, pixels), DQG_ERROR_STATE);
    assert_int_equal(rename(kept, file), 0);
    assert_ok(encode(context, model, rows));
    dqg_quantizer_destroy(quantizer);
    dqg_options_destroy(options);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

static int32_t no_read(void *user, uint64_t offset, void *buffer, size_t size) {
    (void)user;
    (void)offset;
    memset(buffer, 0, size);
    return 0;
}

static void test_sources_without_path(void **state) {
    size_t size;
    dqg_context *context;
    dqg_model *model = anything;
    dqg_reader reader;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_options *options = make_options(context, DQG_OPTIONS_MODEL);
    parse_options(options, "components=on-demand");
    unsigned char *data = tiny_dit_build(64, 1, 4, 2, 4, 8, 3, 0, 1, &size);
    assert_fails(context, dqg_model_load_memory(context, data, size, options, &model), DQG_ERROR_UNSUPPORTED);
    assert_null(model);
    DQG_INIT(&reader);
    reader.size = 64;
    reader.read = no_read;
    assert_true(dqg_model_load_reader(context, &reader, options, &model) < 0);
    assert_null(model);
    free(data);
    dqg_options_destroy(options);
    dqg_context_destroy(context);
}

/* ---- threads ---- */

struct worker {
    dqg_model *model;
    float rows[2 * ROWS], pixels[PIXELS];
    dqg_status status;
};

static void *work(void *user) {
    struct worker *worker = user;
    dqg_context *context;
    worker->status = dqg_context_create(NULL, &context);
    if (worker->status == DQG_OK) {
        worker->status = encode(context, worker->model, worker->rows);
    }
    if (worker->status == DQG_OK) {
        worker->status = draw(context, worker->model, worker->pixels);
    }
    dqg_context_destroy(context);
    return NULL;
}

static void test_threads(void **state) {
    enum { THREADS = 3 };
    static struct worker workers[THREADS];
    pthread_t threads[THREADS];
    dqg_context *context;
    dqg_model *model;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(load(context, file, "on-demand", &model));
    for (int i = 0; i < THREADS; i++) {
        workers[i].model = model;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_ok(workers[i].status);
        assert_memory_equal(workers[i].rows, workers[0].rows, sizeof workers[0].rows);
        assert_memory_equal(workers[i].pixels, workers[0].pixels, sizeof workers[0].pixels);
    }
    dqg_model_release(model);
    dqg_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),     cmocka_unit_test(test_same_description),
        cmocka_unit_test(test_stated_memory), cmocka_unit_test(test_failing_memory),
        cmocka_unit_test(test_changed_file),  cmocka_unit_test(test_sources_without_path),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
