/* SPDX-License-Identifier: MIT */
/*
 * Runs through the public API: the same bytes for any number of threads, step or advance with any budget, save and
 * restore at any point; reading and writing the latent, seeking, guidance, progress, memory known in advance.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "failing_alloc.h"
#include "tiny_model.h"

enum { IMAGES = 3, VALUES = IMAGES * 4 * 8 * 8, STEPS = 5 };

static char directory[128];
static char float_path[256];
static char int4_path[256];

static int setup(void **state) {
    dqg_context *context;
    dqg_quantizer *quantizer;
    (void)state;
    if (tiny_dir_make(directory, sizeof directory) != 0 ||
        tiny_dit_write_default(tiny_path(float_path, sizeof float_path, directory, "tiny.safetensors")) != 0) {
        return -1;
    }
    tiny_path(int4_path, sizeof int4_path, directory, "tiny.dqg");
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, float_path, int4_path));
    dqg_quantizer_destroy(quantizer);
    dqg_context_destroy(context);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    tiny_dir_remove(directory);
    return 0;
}

/* A context, model and run. */
struct session {
    dqg_context *context;
    dqg_model *model;
    dqg_scheduler *scheduler;
    dqg_run *run;
};

static dqg_options *run_options(dqg_context *context, int64_t count, int64_t seed, double guidance) {
    static const int64_t classes[IMAGES] = {0, 2, 4};
    dqg_options *options;
    assert_ok(dqg_options_create(context, DQG_OPTIONS_RUN, &options));
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, count));
    assert_ok(dqg_options_set_int(options, DQG_RUN_SEED, seed));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, classes, (int32_t)count));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, guidance));
    return options;
}

static dqg_scheduler *make_scheduler(dqg_context *context, const char *solver) {
    dqg_options *options;
    dqg_scheduler *scheduler;
    assert_ok(dqg_options_create(context, DQG_OPTIONS_SCHEDULER, &options));
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, solver));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    dqg_options_destroy(options);
    return scheduler;
}

static void open_session(struct session *session, const char *path, int32_t threads, const char *solver) {
    assert_ok(dqg_context_create(NULL, &session->context));
    assert_ok(dqg_context_set_threads(session->context, threads));
    if (dqg_model_load(session->context, path, NULL, &session->model) != DQG_OK) {
        fail_msg("%s", dqg_context_error(session->context));
    }
    session->scheduler = make_scheduler(session->context, solver);
    dqg_options *options = run_options(session->context, IMAGES, 7, 2.5);
    assert_ok(dqg_run_create(session->context, session->model, session->scheduler, options, &session->run));
    dqg_options_destroy(options);
}

static void close_session(struct session *session) {
    dqg_run_destroy(session->run);
    dqg_scheduler_release(session->scheduler);
    dqg_model_release(session->model);
    dqg_context_destroy(session->context);
}

static void read_latent(dqg_run *run, float *latent) {
    dqg_tensor_view view = view_f32(latent, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
}

static void finish(dqg_run *run, float *latent) {
    dqg_status status = DQG_OK;
    while (status == DQG_OK) {
        status = dqg_run_step(run);
    }
    assert_int_equal(status, DQG_DONE);
    read_latent(run, latent);
}

/* What every way of running must give. */
static void reference(const char *path, const char *solver, float *latent) {
    struct session session;
    open_session(&session, path, 1, solver);
    finish(session.run, latent);
    close_session(&session);
    for (int i = 0; i < VALUES; i++) {
        assert_true(isfinite(latent[i]));
    }
}

static const char *const solvers[] = {"euler", "heun", "ddim"};

static void test_threads(void **state) {
    (void)state;
    for (int file = 0; file < 2; file++) {
        const char *path = file == 0 ? float_path : int4_path;
        float one[VALUES];
        float many[VALUES];
        reference(path, "heun", one);
        for (int32_t threads = 2; threads <= 5; threads++) {
            struct session session;
            open_session(&session, path, threads, "heun");
            finish(session.run, many);
            close_session(&session);
            assert_memory_equal(one, many, sizeof one);
        }
    }
}

static void test_budgets(void **state) {
    static const int64_t budgets[] = {0, 1, 50, 300, 5000, INT64_MAX};
    float whole[VALUES];
    float pieces[VALUES];
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        reference(int4_path, solvers[s], whole);
        for (size_t b = 0; b < sizeof budgets / sizeof budgets[0]; b++) {
            struct session session;
            int steps = 0;
            dqg_status status = DQG_OK;
            open_session(&session, int4_path, 2, solvers[s]);
            while (status != DQG_DONE) {
                status = dqg_run_advance(session.run, budgets[b]);
                assert_true(status >= 0);
                steps += status != DQG_PENDING;
            }
            assert_int_equal(steps, STEPS);
            assert_int_equal(dqg_run_advance(session.run, 0), DQG_DONE);
            read_latent(session.run, pieces);
            close_session(&session);
            assert_memory_equal(whole, pieces, sizeof whole);
        }
    }
}

/* Save after any number of operators, restore into a fresh run, go on. */
static void test_save_restore(void **state) {
    float whole[VALUES];
    float resumed[VALUES];
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        reference(int4_path, solvers[s], whole);
        for (int pieces = 0; pieces < 400; pieces += 23) {
            struct session first;
            struct session second;
            size_t size;
            open_session(&first, int4_path, 1, solvers[s]);
            for (int i = 0; i < pieces; i++) {
                assert_true(dqg_run_advance(first.run, 0) >= 0);
            }
            assert_ok(dqg_run_state_size(first.run, &size));
            char *saved = malloc(size);
            assert_ok(dqg_run_save(first.run, saved, size));
            finish(first.run, resumed);
            assert_memory_equal(whole, resumed, sizeof whole);
            close_session(&first);
            open_session(&second, int4_path, 2, solvers[s]);
            assert_ok(dqg_run_restore(second.run, saved, size));
            finish(second.run, resumed);
            close_session(&second);
            free(saved);
            assert_memory_equal(whole, resumed, sizeof whole);
        }
    }
}

/* Every solver runs the model, saved at any step and half step and going on to the same bits. */
static void test_every_solver(void **state) {
    float whole[VALUES];
    float resumed[VALUES];
    (void)state;
    dqg_option_info row;
    DQG_INIT(&row);
    for (int32_t i = 0; row.key != DQG_SCHEDULER_SOLVER; i++) {
        assert_ok(dqg_option_at(DQG_OPTIONS_SCHEDULER, i, &row));
    }
    for (const char *rest = row.choices; *rest != '\0';) {
        char name[32] = "";
        size_t length = strcspn(rest, "|");
        assert_true(length < sizeof name);
        memcpy(name, rest, length);
        rest += length + (rest[length] == '|');
        struct session session;
        size_t size;
        reference(float_path, name, whole);
        open_session(&session, float_path, 1, name);
        assert_ok(dqg_run_state_size(session.run, &size));
        char *saved = malloc(size);
        for (dqg_status status = DQG_OK; status != DQG_DONE;) {
            struct session other;
            status = dqg_run_advance(session.run, 0);
            assert_true(status >= 0);
            dqg_run_info info;
            DQG_INIT(&info);
            assert_ok(dqg_run_get_info(session.run, &info));
            if (info.operator_index != 0) {
                continue;
            }
            assert_ok(dqg_run_save(session.run, saved, size));
            open_session(&other, float_path, 1, name);
            assert_ok(dqg_run_restore(other.run, saved, size));
            finish(other.run, resumed);
            close_session(&other);
            assert_memory_equal(whole, resumed, sizeof whole);
        }
        free(saved);
        close_session(&session);
    }
}

/* Do so many actions of a host with churn: each step is requested twice, then submitted. Returns the last status. */
static dqg_status churn_actions(dqg_run *run, int from, int to) {
    float data[4];
    dqg_status status = DQG_OK;
    dqg_request request;
    dqg_tensor_view view = view_f32(data, 2, 2, 0, 0);
    DQG_INIT(&request);
    for (int i = from; i < to && status != DQG_DONE; i++) {
        assert_ok(dqg_run_request(run, &request, &view));
        if (i % 3 == 2) {
            for (int j = 0; j < 4; j++) {
                data[j] = 0.5f * data[j] + 0.1f;
            }
            status = dqg_run_submit(run, &view);
            assert_true(status >= 0);
        }
    }
    return status;
}

/* Noise that raises the sample comes once a step, however often the evaluation is requested or the run restored. */
static void test_churn(void **state) {
    enum { MOST_ACTIONS = 100 };
    const int64_t shape[2] = {2, 2};
    float whole[4], resumed[4];
    dqg_context *context;
    dqg_scheduler *scheduler;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, "heun"));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "scaled-linear"));
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_options_set_float(options, DQG_SCHEDULER_S_CHURN, 1));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    dqg_options_destroy(options);
    for (int cut = 0; cut < 3 * (2 * STEPS - 1); cut++) {
        dqg_run *run, *other;
        size_t size;
        dqg_tensor_view view = view_f32(cut == 0 ? whole : resumed, 2, 2, 0, 0);
        assert_ok(dqg_run_create_custom(context, scheduler, shape, 2, NULL, &run));
        assert_ok(dqg_run_create_custom(context, scheduler, shape, 2, NULL, &other));
        assert_ok(dqg_run_state_size(run, &size));
        char *saved = malloc(size);
        (void)churn_actions(run, 0, cut);
        assert_ok(dqg_run_save(run, saved, size));
        assert_ok(dqg_run_restore(other, saved, size));
        assert_int_equal(churn_actions(other, cut, MOST_ACTIONS), DQG_DONE);
        assert_ok(dqg_run_read(other, DQG_SOURCE_LATENT, &view));
        assert_true(cut == 0 || memcmp(whole, resumed, sizeof whole) == 0);
        free(saved);
        dqg_run_destroy(other);
        dqg_run_destroy(run);
    }
    dqg_scheduler_release(scheduler);
    dqg_context_destroy(context);
}

/* Going back to the start with the latent of the start is a new start: nothing is left of the solver's history. */
static void test_seek_forgets(void **state) {
    static const char *const multistep[] = {"dpm++-3m", "unipc-3", "lms", "plms"};
    float whole[VALUES], start[VALUES], again[VALUES];
    (void)state;
    for (size_t i = 0; i < sizeof multistep / sizeof multistep[0]; i++) {
        struct session session;
        dqg_tensor_view view = view_f32(start, IMAGES, 4, 8, 8);
        reference(float_path, multistep[i], whole);
        open_session(&session, float_path, 1, multistep[i]);
        read_latent(session.run, start);
        assert_int_equal(dqg_run_step(session.run), DQG_OK);
        assert_int_equal(dqg_run_step(session.run), DQG_OK);
        assert_ok(dqg_run_seek(session.run, 0));
        assert_ok(dqg_run_write(session.run, &view));
        finish(session.run, again);
        close_session(&session);
        assert_memory_equal(whole, again, sizeof whole);
    }
}

/* A damaged, foreign or short state is refused and changes nothing. */
static void test_bad_state(void **state) {
    struct session session;
    struct session other;
    size_t size;
    float before[VALUES];
    float after[VALUES];
    (void)state;
    open_session(&session, int4_path, 1, "euler");
    open_session(&other, int4_path, 1, "heun");
    assert_int_equal(dqg_run_step(session.run), DQG_OK);
    assert_ok(dqg_run_state_size(session.run, &size));
    char *saved = malloc(size);
    assert_fails(session.context, dqg_run_save(session.run, saved, size - 1), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_save(session.run, saved, size));
    assert_fails(other.context, dqg_run_restore(other.run, saved, size), DQG_ERROR_STATE);
    read_latent(session.run, before);
    for (size_t i = 0; i < size; i += 37) {
        saved[i] = (char)(saved[i] ^ 0x20);
        assert_true(dqg_run_restore(session.run, saved, size) < 0);
        saved[i] = (char)(saved[i] ^ 0x20);
    }
    for (size_t short_size = 0; short_size < size; short_size += 101) {
        assert_true(dqg_run_restore(session.run, saved, short_size) < 0);
    }
    read_latent(session.run, after);
    assert_memory_equal(before, after, sizeof before);
    assert_ok(dqg_run_restore(session.run, saved, size));
    free(saved);
    close_session(&other);
    close_session(&session);
}

/* An image depends on its own seed and class alone, not on the batch it is made in. */
static void test_batches(void **state) {
    float batch[VALUES];
    float alone[VALUES / IMAGES];
    struct session session;
    (void)state;
    reference(int4_path, "euler", batch);
    open_session(&session, int4_path, 2, "euler");
    for (int i = 0; i < IMAGES; i++) {
        dqg_run *run;
        int64_t class_index = 2 * i;
        dqg_options *options = run_options(session.context, 1, 7 + i, 2.5);
        assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, &class_index, 1));
        assert_ok(dqg_run_create(session.context, session.model, session.scheduler, options, &run));
        while (dqg_run_step(run) == DQG_OK) {
        }
        dqg_tensor_view view = view_f32(alone, 1, 4, 8, 8);
        assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
        assert_memory_equal(batch + i * VALUES / IMAGES, alone, sizeof alone);
        dqg_run_destroy(run);
        dqg_options_destroy(options);
    }
    close_session(&session);
}

/* Writing back what was read changes nothing, in the middle of an evaluation too; another latent changes the result. */
static void test_write(void **state) {
    float whole[VALUES];
    float latent[VALUES];
    struct session session;
    (void)state;
    reference(int4_path, "euler", whole);
    open_session(&session, int4_path, 1, "euler");
    assert_int_equal(dqg_run_step(session.run), DQG_OK);
    assert_int_equal(dqg_run_advance(session.run, 0), DQG_PENDING);
    read_latent(session.run, latent);
    dqg_tensor_view view = view_f32(latent, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_write(session.run, &view));
    dqg_run_info info;
    DQG_INIT(&info);
    assert_ok(dqg_run_get_info(session.run, &info));
    assert_int_equal(info.step, 1);
    assert_int_equal(info.operator_index, 0);
    finish(session.run, latent);
    assert_memory_equal(whole, latent, sizeof whole);
    assert_ok(dqg_run_seek(session.run, STEPS - 1));
    latent[0] += 1.0f;
    assert_ok(dqg_run_write(session.run, &view));
    assert_int_equal(dqg_run_step(session.run), DQG_DONE);
    read_latent(session.run, latent);
    assert_memory_not_equal(whole, latent, sizeof whole);
    close_session(&session);
}

/* Guidance 1 is the conditional network alone; a strided half-precision view holds what the plain one does. */
static void test_views(void **state) {
    static float plain[VALUES];
    static uint16_t halves[VALUES * 2];
    struct session session;
    (void)state;
    open_session(&session, int4_path, 1, "euler");
    assert_int_equal(dqg_run_step(session.run), DQG_OK);
    read_latent(session.run, plain);
    dqg_tensor_view view = view_f32(halves, IMAGES, 4, 8, 8);
    view.dtype = DQG_DTYPE_BF16;
    view.strides[0] = 4 * 64 * 4;
    view.strides[1] = 4;      /* channels next to each other ... */
    view.strides[2] = 8 * 16; /* ... pixels 16 bytes apart */
    view.strides[3] = 16;
    assert_ok(dqg_run_read(session.run, DQG_SOURCE_LATENT, &view));
    for (int n = 0; n < IMAGES; n++) {
        for (int c = 0; c < 4; c++) {
            for (int p = 0; p < 64; p++) {
                uint32_t bits = (uint32_t)halves[n * 512 + p * 8 + c * 2] << 16;
                float value;
                memcpy(&value, &bits, sizeof value);
                float exact = plain[n * 256 + c * 64 + p];
                assert_true(fabsf(value - exact) <= fabsf(exact) / 256.0f);
            }
        }
    }
    close_session(&session);
}

struct reports {
    int calls;
    int stop_at;
    uint64_t last;
};

static int32_t on_progress(void *user, const dqg_progress *progress) {
    struct reports *reports = user;
    assert_int_equal(progress->struct_size, sizeof *progress);
    assert_true(progress->done <= progress->total && progress->total > 0);
    assert_true(progress->name != NULL && progress->elapsed_us >= 0);
    assert_true(progress->done >= reports->last);
    reports->last = progress->done;
    return ++reports->calls == reports->stop_at;
}

static void test_progress(void **state) {
    struct reports reports = {0};
    struct session session;
    float whole[VALUES];
    float stopped[VALUES];
    (void)state;
    reference(int4_path, "heun", whole);
    open_session(&session, int4_path, 1, "heun");
    assert_ok(dqg_context_set_progress(session.context, on_progress, &reports));
    reports.stop_at = 1;
    assert_fails(session.context, dqg_run_step(session.run), DQG_ERROR_CANCELLED);
    finish(session.run, stopped);
    assert_memory_equal(whole, stopped, sizeof whole);
    assert_true(reports.calls >= 2);
    assert_int_equal(reports.last, (2 * STEPS) * 1000);
    close_session(&session);
}

/* bfloat16 moves the result a little, by the same bits for any number of threads. */
static void test_bf16(void **state) {
    float exact[VALUES], rounded[2][VALUES];
    double error = 0.0, norm = 0.0;
    (void)state;
    reference(float_path, "euler", exact);
    for (int32_t i = 0; i < 2; i++) {
        struct session session;
        open_session(&session, float_path, 1 + 2 * i, "euler");
        dqg_run_destroy(session.run);
        dqg_options *options = run_options(session.context, IMAGES, 7, 2.5);
        assert_ok(dqg_options_set_text(options, DQG_RUN_FLOAT_COMPUTE, "bf16"));
        assert_ok(dqg_run_create(session.context, session.model, session.scheduler, options, &session.run));
        dqg_options_destroy(options);
        finish(session.run, rounded[i]);
        close_session(&session);
    }
    assert_memory_equal(rounded[0], rounded[1], sizeof exact);
    for (int i = 0; i < VALUES; i++) {
        error += pow((double)rounded[0][i] - (double)exact[i], 2.0);
        norm += pow((double)exact[i], 2.0);
    }
    assert_true(error > 0.0 && error < 1e-3 * norm);
}

/* torch's noise changes the result, to the same bits for any number of threads. */
static void test_noise(void **state) {
    float native[VALUES], torch[2][VALUES];
    (void)state;
    reference(int4_path, "ddim", native);
    for (int32_t i = 0; i < 2; i++) {
        struct session session;
        open_session(&session, int4_path, 1 + 2 * i, "ddim");
        dqg_run_destroy(session.run);
        dqg_options *options = run_options(session.context, IMAGES, 7, 2.5);
        assert_ok(dqg_options_set_text(options, DQG_RUN_NOISE, "torch-cpu"));
        assert_ok(dqg_run_create(session.context, session.model, session.scheduler, options, &session.run));
        dqg_options_destroy(options);
        finish(session.run, torch[i]);
        close_session(&session);
    }
    assert_memory_equal(torch[0], torch[1], sizeof native);
    assert_memory_not_equal(native, torch[0], sizeof native);
}

/* What dqg_model_memory() says is what the allocator sees, within 3 %. */
static void test_memory(void **state) {
    struct failing_alloc memory;
    dqg_allocator allocator;
    dqg_context *context;
    dqg_model *model;
    dqg_run *run;
    dqg_memory_info info;
    (void)state;
    failing_alloc_init(&memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    assert_ok(dqg_context_set_threads(context, 2));
    assert_ok(dqg_model_load(context, int4_path, NULL, &model));
    dqg_options *options = run_options(context, IMAGES, 7, 2.5);
    assert_ok(dqg_options_set_text(options, DQG_RUN_NOISE, "torch-cpu"));
    assert_ok(dqg_options_set_text(options, DQG_RUN_GUIDANCE_FORM, "apg"));
    assert_ok(dqg_options_set_float(options, DQG_RUN_PERTURBED_SCALE, 2));
    DQG_INIT(&info);
    assert_ok(dqg_model_memory(context, model, NULL, options, &info));
    int64_t before = memory.live_bytes;
    int64_t limit = (int64_t)info.run_bytes;
    assert_ok(dqg_run_create(context, model, NULL, options, &run));
    int64_t taken = memory.live_bytes - before;
    assert_true(llabs(taken - limit) * 100 <= 3 * taken);
    int64_t requests = memory.requests;
    assert_int_equal(dqg_run_step(run), DQG_OK);
    assert_int_equal(memory.requests, requests); /* stepping allocates nothing */
    dqg_run_destroy(run);
    assert_ok(dqg_options_set_int(options, DQG_RUN_MEMORY_LIMIT, limit));
    assert_ok(dqg_run_create(context, model, NULL, options, &run));
    dqg_run_destroy(run);
    assert_ok(dqg_options_set_int(options, DQG_RUN_MEMORY_LIMIT, limit - 1));
    assert_fails(context, dqg_run_create(context, model, NULL, options, &run), DQG_ERROR_LIMIT);
    assert_null(run);
    dqg_options_destroy(options);
    dqg_model_release(model);
    dqg_context_destroy(context);
    assert_int_equal(failing_alloc_errors(&memory), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_budgets),      cmocka_unit_test(test_save_restore),
        cmocka_unit_test(test_every_solver), cmocka_unit_test(test_seek_forgets), cmocka_unit_test(test_bad_state),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_batches),      cmocka_unit_test(test_write),        cmocka_unit_test(test_views),
        cmocka_unit_test(test_progress),     cmocka_unit_test(test_memory),       cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
