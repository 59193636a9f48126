/* SPDX-License-Identifier: MIT */
/*
 * The allocation sweep: each piece of work is done again and again while the first, second, third ... request for
 * memory fails, until one pass needs no failure. Every pass must end with a status and a message, give back all memory,
 * and leave no file behind.
 */
#include "check.h"
#include "failing_alloc.h"
#include "tensor_file.h"
#include "tiny_model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { IMAGES = 2, FLOATS = IMAGES * 4 * 8 * 8, MOST_REQUESTS = 20000, MOST_RESULTS = 1 << 16 };

struct fixture {
    char directory[128];
    char checkpoint[192]; /* .safetensors */
    char quantized[192];  /* .dqg */
    char output[192];     /* written and removed by the quantizer's sweep */
    const char *model;    /* of the piece of work at hand: one of the two above */
    struct tensor_file *adapter;
};

typedef dqg_status work_fn(dqg_context *context, const struct fixture *fixture);

/* What a piece of work gives when nothing fails; a pass that goes well in spite of a failure must give the same. */
static struct {
    unsigned char bytes[MOST_RESULTS];
    size_t size, at;
    int recording;
} results;

static void result(const void *data, size_t size) {
    if (results.recording) {
        assert_true(size <= MOST_RESULTS - results.size);
        memcpy(results.bytes + results.size, data, size);
        results.size += size;
        return;
    }
    assert_true(size <= results.size - results.at);
    assert_memory_equal(results.bytes + results.at, data, size);
    results.at += size;
}

static dqg_status load(dqg_context *context, const struct fixture *fixture) {
    dqg_model *model;
    dqg_status status = dqg_model_load(context, fixture->model, NULL, &model);
    assert_true((status == DQG_OK) == (model != NULL));
    dqg_model_release(model);
    return status;
}

static dqg_status verify(dqg_context *context, const struct fixture *fixture) {
    return dqg_file_verify(context, fixture->model);
}

static dqg_status run_options(dqg_context *context, dqg_options **options) {
    static const int64_t classes[] = {1, 3};
    dqg_status status = dqg_options_create(context, DQG_OPTIONS_RUN, options);
    if (status == DQG_OK) {
        status = dqg_options_set_int(*options, DQG_RUN_COUNT, IMAGES);
    }
    if (status == DQG_OK) {
        status = dqg_options_set_ints(*options, DQG_RUN_CLASSES, classes, 2);
    }
    if (status == DQG_OK) {
        status = dqg_options_set_float(*options, DQG_RUN_GUIDANCE, 3.0);
    }
    if (status == DQG_OK) {
        status = dqg_options_set_text(*options, DQG_RUN_CACHE, "first-block");
    }
    if (status == DQG_OK) {
        status = dqg_options_set_float(*options, DQG_RUN_PERTURBED_SCALE, 2.0);
    }
    if (status == DQG_OK) {
        status = dqg_options_set_text(*options, DQG_RUN_GUIDANCE_FORM, "apg");
    }
    return status;
}

/* A run with two threads: made, stepped, saved, restored, read, its model evaluated outside of it too. */
static dqg_status use_run(dqg_context *context, dqg_model *model, dqg_run *run) {
    static float out[FLOATS], x[FLOATS];
    const double times[IMAGES] = {900, 100};
    const int32_t labels[IMAGES] = {0, -1};
    dqg_tensor_view view = view_f32(out, IMAGES, 4, 8, 8);
    dqg_tensor_view input = view_f32(x, IMAGES, 4, 8, 8);
    size_t size;
    dqg_status status = dqg_run_step(run);
    if (status == DQG_OK) {
        status = dqg_run_state_size(run, &size);
    }
    if (status == DQG_OK) {
        void *state = malloc(size);
        status = dqg_run_save(run, state, size);
        if (status == DQG_OK) {
            status = dqg_run_restore(run, state, size);
        }
        free(state);
    }
    if (status == DQG_OK) {
        dqg_run *copy = NULL;
        status = dqg_run_fork(run, &copy);
        assert_true((status == DQG_OK) == (copy != NULL));
        dqg_run_destroy(copy);
    }
    while (status == DQG_OK || status == DQG_PENDING) {
        status = dqg_run_advance(run, 200);
    }
    if (status == DQG_DONE) {
        status = dqg_run_read(run, DQG_SOURCE_X0, &view);
    }
    if (status == DQG_OK) {
        dqg_guidance_terms terms;
        DQG_INIT(&terms);
        terms.steps = 1;
        terms.conditional = &view;
        status = dqg_guidance_combine(context, NULL, &terms, &view);
    }
    if (status == DQG_OK) {
        result(out, sizeof(out));
        status = dqg_model_evaluate(context, model, &input, times, labels, NULL, NULL, &view);
    }
    if (status == DQG_OK) {
        result(out, sizeof(out));
        status = dqg_run_resize(run, 4, 4, NULL, 1);
    }
    return status;
}

static dqg_status use_features(dqg_context *context, dqg_model *model) {
    static float x[FLOATS], out[IMAGES * 64];
    dqg_tensor_view input = view_f32(x, IMAGES, 4, 8, 8), output = view_f32(out, IMAGES, 64, 0, 0);
    dqg_scheduler *scheduler = NULL;
    dqg_feature_spec spec;
    DQG_INIT(&spec);
    spec.block = spec.pool = 1;
    dqg_status status = dqg_scheduler_create(context, NULL, &scheduler);
    if (status == DQG_OK) {
        status = dqg_model_features(context, model, scheduler, &input, &spec, NULL, NULL, &output, NULL);
    }
    dqg_scheduler_release(scheduler);
    return status;
}

static dqg_status generate(dqg_context *context, const struct fixture *fixture) {
    dqg_options *options = NULL;
    dqg_model *model = NULL;
    dqg_run *run = NULL;
    dqg_memory_info memory;
    DQG_INIT(&memory);
    dqg_status status = dqg_context_set_threads(context, 2);
    if (status == DQG_OK) {
        status = run_options(context, &options);
    }
    if (status == DQG_OK) {
        status = dqg_model_load(context, fixture->model, NULL, &model);
    }
    if (status == DQG_OK) {
        status = dqg_model_memory(context, model, NULL, options, &memory);
    }
    if (status == DQG_OK) {
        status = dqg_run_create(context, model, NULL, options, &run);
        assert_true((status == DQG_OK) == (run != NULL));
    }
    if (status == DQG_OK) {
        status = use_run(context, model, run);
    }
    if (status == DQG_OK) {
        status = use_features(context, model);
    }
    dqg_run_destroy(run);
    dqg_model_release(model);
    dqg_options_destroy(options);
    return status;
}

static dqg_status schedule(dqg_context *context, const struct fixture *fixture) {
    (void)fixture;
    const int64_t shape[3] = {2, 3, 5};
    float data[30] = {0};
    dqg_options *options = NULL;
    float mean[15] = {0};
    double variance;
    dqg_scheduler *scheduler = NULL, *inverse = NULL;
    dqg_run *run = NULL, *copy = NULL;
    dqg_request request;
    dqg_tensor_view view = view_f32(data, 2, 3, 5, 0);
    dqg_tensor_view middle = view_f32(mean, 3, 5, 0, 0);
    DQG_INIT(&request);
    dqg_status status = dqg_options_create(context, DQG_OPTIONS_SCHEDULER, &options);
    if (status == DQG_OK) {
        status = dqg_options_parse(options, "solver", "heun");
    }
    if (status == DQG_OK) {
        status = dqg_scheduler_create(context, options, &scheduler);
    }
    if (status == DQG_OK) {
        status = dqg_run_create_custom(context, scheduler, shape, 3, NULL, &run);
    }
    if (status == DQG_OK) {
        status = dqg_scheduler_scale_input(context, scheduler, 0, &view, &view);
    }
    if (status == DQG_OK) {
        status = dqg_run_fit_start(context, &view, &middle, &variance);
    }
    if (status == DQG_OK) {
        status = dqg_scheduler_invert(context, scheduler, &inverse);
        assert_true((status == DQG_OK) == (inverse != NULL));
    }
    if (status == DQG_OK) {
        status = dqg_run_fork(run, &copy);
        assert_true((status == DQG_OK) == (copy != NULL));
    }
    if (status == DQG_OK) {
        status = dqg_options_parse(options, "solver", "unipc");
    }
    if (status == DQG_OK) {
        dqg_scheduler_release(scheduler);
        status = dqg_scheduler_create(context, options, &scheduler);
    }
    if (status == DQG_OK) {
        status = dqg_run_set_scheduler(copy, scheduler, 0);
    }
    while (status == DQG_OK || status == DQG_PENDING) {
        status = dqg_run_request(run, &request, &view);
        if (status == DQG_OK) {
            status = dqg_run_submit(run, &view);
        }
    }
    if (status == DQG_DONE) {
        status = dqg_run_read(run, DQG_SOURCE_LATENT, &view);
    }
    if (status == DQG_OK) {
        result(data, sizeof(data));
    }
    dqg_run_destroy(copy);
    dqg_run_destroy(run);
    dqg_scheduler_release(inverse);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(options);
    return status;
}

/* To the end with a network that says what it sees. */
static dqg_status finish(dqg_run *run, const dqg_tensor_view *view) {
    dqg_request request;
    DQG_INIT(&request);
    dqg_status status = DQG_OK;
    while (status == DQG_OK || status == DQG_PENDING) {
        status = dqg_run_request(run, &request, view);
        if (status == DQG_OK) {
            status = dqg_run_submit_fields(run, view, view);
        }
    }
    return status == DQG_DONE ? DQG_OK : status;
}

static int32_t first_value(void *user, const dqg_tensor_view *x0, double *value) {
    (void)user;
    *value = *(const float *)x0->data;
    return 0;
}

static int32_t score(void *user, int32_t pair, const dqg_tensor_view *x0, double *value) {
    *value = pair + 1.0;
    return first_value(user, x0, value);
}

static int32_t repeat(void *user, int32_t pair, const dqg_request *request, const dqg_tensor_view *input,
                      const dqg_tensor_view *output) {
    (void)user;
    (void)pair;
    memcpy(output->data, input->data, 64 * sizeof(float));
    return request->sigma > 0 ? 0 : 1;
}

enum other { INTERPOLATES, STARTS_LATER, CHANGES_SIZE, SEARCHES, FINDS_NOISE, OTHERS };

static dqg_status use_other(dqg_context *context, enum other kind, dqg_scheduler *scheduler, dqg_run *run) {
    static float data[64];
    const int64_t seed = 3;
    dqg_options *options = NULL;
    dqg_boundary boundary;
    dqg_boundary_result best;
    DQG_INIT(&boundary);
    DQG_INIT(&best);
    dqg_tensor_view view = view_f32(data, 1, 1, 8, 8);
    dqg_status status = DQG_OK;
    if (kind == STARTS_LATER) {
        status = dqg_scheduler_draw_noise(context, scheduler, &seed, 1, &view);
        status = status < 0 ? status : dqg_scheduler_add_noise(context, scheduler, 1, &view, &view, &view);
        status = status < 0 ? status : dqg_run_set_offset(run, &view);
        dqg_tensor_view mean = view_f32(data, 1, 8, 8, 0);
        status = status < 0 ? status : dqg_run_start(run, 1, &mean, 0.5);
    } else if (kind == CHANGES_SIZE) {
        status = finish(run, &view);
        status = status < 0 ? status : dqg_run_resize(run, 4, 4, scheduler, 1);
        view = view_f32(data, 1, 1, 4, 4);
    } else if (kind == SEARCHES) {
        status = dqg_options_create(context, DQG_OPTIONS_SEARCH, &options);
        status = status < 0 ? status : dqg_options_set_text(options, DQG_SEARCH_METHOD, "smc");
        status = status < 0 ? status : dqg_run_search(run, options, first_value, NULL);
        dqg_options_destroy(options);
    } else if (kind == FINDS_NOISE) {
        boundary.candidates = boundary.pairs = 2;
        boundary.evaluate = repeat;
        boundary.metric = score;
        status = dqg_run_find_noise(run, &boundary, &best);
    }
    status = status < 0 ? status : finish(run, &view);
    status = status < 0 ? status : dqg_run_read(run, DQG_SOURCE_LATENT, &view);
    if (status == DQG_OK) {
        result(data, (size_t)(view.shape[2] * view.shape[3]) * sizeof *data);
    }
    return status;
}

static dqg_status other_runs(dqg_context *context, const struct fixture *fixture) {
    (void)fixture;
    const int64_t shape[4] = {1, 1, 8, 8};
    dqg_interpolant interpolant;
    DQG_INIT(&interpolant);
    interpolant.steps = 4;
    interpolant.gamma = DQG_GAMMA_BROWNIAN;
    interpolant.diffusion = 1;
    dqg_status status = DQG_OK;
    for (int kind = 0; kind < OTHERS && status == DQG_OK; kind++) {
        dqg_scheduler *scheduler = NULL;
        dqg_run *run = NULL;
        status = kind == INTERPOLATES ? dqg_scheduler_create_interpolant(context, &interpolant, &scheduler)
                                      : dqg_scheduler_create(context, NULL, &scheduler);
        status = status < 0 ? status : dqg_run_create_custom(context, scheduler, shape, 4, NULL, &run);
        assert_true((status == DQG_OK) == (run != NULL));
        status = status < 0 ? status : use_other(context, kind, scheduler, run);
        dqg_run_destroy(run);
        dqg_scheduler_release(scheduler);
    }
    return status;
}

/* Adapted, used, adapted once more from there. */
static dqg_status adapt(dqg_context *context, const struct fixture *fixture) {
    static float x[FLOATS], out[FLOATS];
    const double times[IMAGES] = {900, 100};
    const int32_t labels[IMAGES] = {0, -1};
    dqg_tensor_view input = view_f32(x, IMAGES, 4, 8, 8), view = view_f32(out, IMAGES, 4, 8, 8);
    dqg_model *model = NULL, *adapted = NULL, *again = NULL;
    dqg_adaptation list[2];
    DQG_INIT(&list[0]);
    list[0].data = fixture->adapter->bytes;
    list[0].size = fixture->adapter->size;
    list[0].scale = 0.5;
    list[1] = list[0];
    list[1].flags = fixture->model == fixture->checkpoint ? DQG_ADAPT_MERGE : 0;
    dqg_status status = dqg_model_load(context, fixture->model, NULL, &model);
    status = status < 0 ? status : dqg_model_adapt(context, model, list, 2, &adapted);
    assert_true((status == DQG_OK) == (adapted != NULL));
    status = status < 0 ? status : dqg_model_adapt(context, adapted, list, 1, &again);
    dqg_model_release(model);
    dqg_model_release(adapted);
    status = status < 0 ? status : dqg_model_evaluate(context, again, &input, times, labels, NULL, NULL, &view);
    if (status == DQG_OK) {
        result(out, sizeof out);
    }
    dqg_model_release(again);
    return status;
}

static int count_files(const char *directory) {
    int count = 0;
    DIR *folder = opendir(directory);
    while (folder != NULL && readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static dqg_status quantize(dqg_context *context, const struct fixture *fixture) {
    dqg_quantizer *quantizer;
    const char *text;
    int files = count_files(fixture->directory);
    dqg_status status = dqg_quantizer_create(context, NULL, &quantizer);
    if (status == DQG_OK) {
        status = dqg_quantizer_add_rule(quantizer, "*.adaLN_modulation.*", "int8");
    }
    if (status == DQG_OK) {
        status = dqg_quantizer_add_rule(quantizer, "blocks.0.attn.proj.weight", "vq4");
    }
    if (status == DQG_OK) {
        status = dqg_quantizer_set_metadata(quantizer, "license", "CC0-1.0");
    }
    if (status == DQG_OK) {
        status = dqg_quantizer_run(quantizer, fixture->checkpoint, fixture->output);
        if (status != DQG_OK) {
            assert_int_equal(count_files(fixture->directory), files);
        }
    }
    for (int32_t format = DQG_REPORT_TEXT; status == DQG_OK && format <= DQG_REPORT_JSON; format++) {
        status = dqg_quantizer_report(quantizer, format, &text);
        if (status == DQG_OK) {
            result(text, strlen(text));
        }
    }
    dqg_quantizer_destroy(quantizer);
    unlink(fixture->output);
    return status;
}

/*
 * One pass with the n-th request failing, n counted from after the context was made. Returns whether a request failed.
 * A pass that goes well although a request failed is fine too: the library may do without that memory.
 */
static int one_pass(work_fn *work, const struct fixture *fixture, int64_t n, int forever) {
    struct failing_alloc memory;
    dqg_allocator allocator;
    dqg_context *context;
    failing_alloc_init(&memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    memory.fail_forever = forever;
    memory.fail_at = n;
    results.at = 0;
    dqg_status status = work(context, fixture);
    if (status == DQG_OK) {
        assert_true(results.at == results.size || results.recording);
    }
    if (status != DQG_OK && (status != DQG_ERROR_MEMORY || strlen(dqg_context_error(context)) < 8)) {
        fail_msg("request %lld: status %d, message \"%s\"", (long long)n, (int)status, dqg_context_error(context));
    }
    int failed = memory.failed > 0;
    if (!failed) {
        assert_ok(status);
    }
    memory.fail_forever = 0;
    memory.fail_at = 0;
    dqg_context_destroy(context);
    if (failing_alloc_errors(&memory) != 0) {
        fail_msg("request %lld: see above", (long long)n);
    }
    return failed;
}

static void sweep(const char *name, work_fn *work, const struct fixture *fixture) {
    int64_t n = 1;
    results.size = 0;
    results.recording = 1;
    assert_int_equal(one_pass(work, fixture, 0, 0), 0);
    results.recording = 0;
    while (one_pass(work, fixture, n, 0)) {
        one_pass(work, fixture, n, 1);
        assert_true(++n < MOST_REQUESTS);
    }
    print_message("%s: every one of %lld requests failed once\n", name, (long long)(n - 1));
    assert_true(n > 1);
}

static void context_create(void **state) {
    (void)state;
    for (int64_t n = 1;; n++) {
        struct failing_alloc memory;
        dqg_allocator allocator;
        dqg_context *context = (dqg_context *)&memory;
        failing_alloc_init(&memory, &allocator);
        memory.fail_at = n;
        dqg_status status = dqg_context_create(&allocator, &context);
        if (memory.failed == 0) {
            assert_ok(status);
            dqg_context_destroy(context);
            assert_int_equal(failing_alloc_errors(&memory), 0);
            return;
        }
        assert_int_equal(status, DQG_ERROR_MEMORY);
        assert_null(context);
        assert_int_equal(failing_alloc_errors(&memory), 0);
    }
}

static void model_load(void **state) {
    struct fixture *fixture = *state;
    fixture->model = fixture->checkpoint;
    sweep("load of a safetensors file", load, fixture);
    sweep("verification of a safetensors file", verify, fixture);
    fixture->model = fixture->quantized;
    sweep("load of a .dqg file", load, fixture);
    sweep("verification of a .dqg file", verify, fixture);
}

static void run_float(void **state) {
    struct fixture *fixture = *state;
    fixture->model = fixture->checkpoint;
    sweep("run on the float path", generate, fixture);
}

static void run_4_bit(void **state) {
    struct fixture *fixture = *state;
    fixture->model = fixture->quantized;
    sweep("run with 4-bit weights", generate, fixture);
}

static void adapters(void **state) {
    struct fixture *fixture = *state;
    struct tensor_file file = {0};
    tensor_file_matrix(&file, "transformer.blocks.0.attn.qkv.lora_A.weight", 2, 64, 1, 0.2f);
    tensor_file_matrix(&file, "transformer.blocks.0.attn.qkv.lora_B.weight", 192, 2, 2, 0.2f);
    tensor_file_close(&file);
    fixture->adapter = &file;
    fixture->model = fixture->checkpoint;
    sweep("adapter, merged too", adapt, fixture);
    fixture->model = fixture->quantized;
    sweep("adapter beside 4-bit weights", adapt, fixture);
    tensor_file_free(&file);
}

static void custom_run(void **state) {
    sweep("run without a model", schedule, *state);
}

static void searches_and_others(void **state) {
    sweep("interpolant, start, change of size, search, start noise", other_runs, *state);
}

static void quantizer(void **state) {
    sweep("quantizer", quantize, *state);
}

/* Stepping allocates nothing: all memory is taken when the run is made. */
static void steps_allocate_nothing(void **state) {
    struct fixture *fixture = *state;
    struct failing_alloc memory;
    dqg_allocator allocator;
    dqg_context *context;
    dqg_model *model;
    dqg_options *options;
    dqg_run *run;
    dqg_memory_info info;
    DQG_INIT(&info);
    failing_alloc_init(&memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    assert_ok(dqg_context_set_threads(context, 2));
    assert_ok(dqg_model_load(context, fixture->quantized, NULL, &model));
    assert_ok(run_options(context, &options));
    assert_ok(dqg_model_memory(context, model, NULL, options, &info));
    int64_t before = memory.live_bytes;
    assert_ok(dqg_run_create(context, model, NULL, options, &run));
    double taken = (double)(memory.live_bytes - before);
    print_message("run: %.0f bytes, foreseen %.0f\n", taken, (double)info.run_bytes);
    assert_true((double)info.run_bytes > 0.95 * taken && (double)info.run_bytes < 1.05 * taken);
    assert_true(dqg_run_step(run) >= 0); /* starts the workers */
    int64_t requests = memory.requests;
    while (dqg_run_step(run) == DQG_OK) {
    }
    assert_int_equal(memory.requests, requests);
    dqg_run_destroy(run);
    dqg_options_destroy(options);
    dqg_model_release(model);
    dqg_context_destroy(context);
    assert_int_equal(failing_alloc_errors(&memory), 0);
}

static int setup(void **state) {
    static struct fixture fixture;
    *state = &fixture;
    if (tiny_dir_make(fixture.directory, sizeof(fixture.directory))) {
        return -1;
    }
    tiny_path(fixture.checkpoint, sizeof(fixture.checkpoint), fixture.directory, "tiny.safetensors");
    tiny_path(fixture.quantized, sizeof(fixture.quantized), fixture.directory, "tiny.dqg");
    tiny_path(fixture.output, sizeof(fixture.output), fixture.directory, "out.dqg");
    dqg_context *context = NULL;
    dqg_quantizer *maker = NULL;
    int failed = tiny_dit_write_default(fixture.checkpoint) || dqg_context_create(NULL, &context);
    failed = failed || dqg_quantizer_create(context, NULL, &maker);
    failed = failed || dqg_quantizer_run(maker, fixture.checkpoint, fixture.quantized);
    dqg_quantizer_destroy(maker);
    dqg_context_destroy(context);
    return failed ? -1 : 0;
}

static int teardown(void **state) {
    tiny_dir_remove(((struct fixture *)*state)->directory);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_create), cmocka_unit_test(model_load),
        cmocka_unit_test(run_float),      cmocka_unit_test(run_4_bit),
        cmocka_unit_test(custom_run),     cmocka_unit_test(searches_and_others),
        cmocka_unit_test(adapters),
        cmocka_unit_test(quantizer),      cmocka_unit_test(steps_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
