/* SPDX-License-Identifier: MIT */
/*
 * What the header promises about threads: contexts in different threads share one model, a run is cancelled from
 * another thread, the last reference may be given up anywhere, and results are the same bytes whatever the number of
 * threads. Also run under ThreadSanitizer.
 */
#include "check.h"
#include "tiny_model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { IMAGES = 2, FLOATS = IMAGES * 4 * 8 * 8, STEPS = 6 };

struct fixture {
    char directory[128];
    char path[192];
};

/* One generation: a context of its own, a shared model. */
struct job {
    const struct fixture *fixture;
    dqg_model *model; /* a reference that the job gives up, or NULL to load one */
    int32_t threads;
    dqg_status status;
    float out[FLOATS];
};

static dqg_run *make_run(dqg_context *context, dqg_model *model) {
    dqg_options *options, *scheduling;
    dqg_scheduler *scheduler;
    dqg_run *run = NULL;
    assert_ok(dqg_options_create(context, DQG_OPTIONS_SCHEDULER, &scheduling));
    assert_ok(dqg_options_set_int(scheduling, DQG_SCHEDULER_STEPS, STEPS));
    assert_ok(dqg_scheduler_create(context, scheduling, &scheduler));
    assert_ok(dqg_options_create(context, DQG_OPTIONS_RUN, &options));
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, IMAGES));
    assert_ok(dqg_options_parse(options, "classes", "1,4"));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, 2.0));
    assert_ok(dqg_run_create(context, model, scheduler, options, &run));
    dqg_options_destroy(scheduling);
    dqg_options_destroy(options);
    dqg_scheduler_release(scheduler);
    return run;
}

static void read_latent(dqg_run *run, float *out) {
    dqg_tensor_view view = view_f32(out, IMAGES, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
}

static void generate(struct job *job) {
    dqg_context *context;
    dqg_model *model = job->model;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_context_set_threads(context, job->threads));
    if (model == NULL) {
        assert_ok(dqg_model_load(context, job->fixture->path, NULL, &model));
    }
    dqg_run *run = make_run(context, model);
    do {
        job->status = dqg_run_step(run);
    } while (job->status == DQG_OK);
    read_latent(run, job->out);
    dqg_run_destroy(run);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

static void *generate_thread(void *job) {
    generate(job);
    return NULL;
}

static void two_contexts_share_a_model(void **state) {
    struct job alone = {*state, NULL, 1, 0, {0}};
    generate(&alone);
    assert_int_equal(alone.status, DQG_DONE);

    dqg_context *context;
    dqg_model *model;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_model_load(context, alone.fixture->path, NULL, &model));
    struct job jobs[2] = {{*state, model, 1, 0, {0}}, {*state, model, 2, 0, {0}}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        dqg_model_retain(model);
        assert_int_equal(pthread_create(&threads[i], NULL, generate_thread, &jobs[i]), 0);
    }
    dqg_model_release(model); /* the jobs hold the last references, the loading context goes first */
    dqg_context_destroy(context);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].status, DQG_DONE);
        assert_memory_equal(jobs[i].out, alone.out, sizeof(alone.out));
    }
}

static void same_bytes_for_any_thread_count(void **state) {
    struct job first = {*state, NULL, 1, 0, {0}};
    generate(&first);
    for (int32_t threads = 2; threads <= 5; threads += 3) {
        struct job other = {*state, NULL, threads, 0, {0}};
        generate(&other);
        assert_memory_equal(first.out, other.out, sizeof(first.out));
    }
}

struct canceller {
    dqg_run *run;
    _Atomic int stop;
    _Atomic int requests;
};

static void *cancel_thread(void *user) {
    struct canceller *canceller = user;
    while (!atomic_load(&canceller->stop)) {
        dqg_run_cancel(canceller->run);
        atomic_fetch_add(&canceller->requests, 1);
        nanosleep(&(struct timespec){0, 300000}, NULL);
    }
    return NULL;
}

static void cancel_from_another_thread(void **state) {
    struct job plain = {*state, NULL, 2, 0, {0}};
    generate(&plain);

    dqg_context *context;
    dqg_model *model;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_context_set_threads(context, 2));
    assert_ok(dqg_model_load(context, plain.fixture->path, NULL, &model));
    struct canceller canceller = {make_run(context, model), 0, 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_thread, &canceller), 0);

    while (atomic_load(&canceller.requests) == 0) { /* the first call meets a request for sure */
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    int cancelled = 0;
    dqg_status status;
    do {
        status = dqg_run_step(canceller.run);
        if (status == DQG_ERROR_CANCELLED) {
            assert_true(strlen(dqg_context_error(context)) > 0);
            cancelled++;
            if (cancelled >= 20) {
                atomic_store(&canceller.stop, 1); /* enough: now let it finish */
            }
        }
    } while (status == DQG_OK || status == DQG_ERROR_CANCELLED);
    atomic_store(&canceller.stop, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(status, DQG_DONE);
    assert_true(cancelled > 0);

    float out[FLOATS];
    read_latent(canceller.run, out);
    assert_memory_equal(out, plain.out, sizeof(out));
    dqg_run_destroy(canceller.run);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

/* A request made while nothing is at work stops the next call, once. */
static void one_request_stops_one_call(void **state) {
    const struct fixture *fixture = *state;
    dqg_context *context;
    dqg_model *model;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_model_load(context, fixture->path, NULL, &model));
    dqg_run *run = make_run(context, model);
    dqg_run_cancel(run);
    dqg_run_cancel(run);
    assert_fails(context, dqg_run_step(run), DQG_ERROR_CANCELLED);
    assert_ok(dqg_run_step(run));
    dqg_run_cancel(run);
    assert_fails(context, dqg_run_advance(run, 1000000), DQG_ERROR_CANCELLED);
    assert_true(dqg_run_advance(run, 0) >= 0);
    dqg_run_destroy(run);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

/* The host's job system: tasks in reverse order, spread over threads made on the spot. */
struct spread {
    dqg_task_fn fn;
    void *task;
    int32_t count;
    _Atomic int32_t next;
};

static void *spread_thread(void *user) {
    struct spread *spread = user;
    for (;;) {
        int32_t index = atomic_fetch_add(&spread->next, 1);
        if (index >= spread->count) {
            return NULL;
        }
        spread->fn(spread->task, spread->count - 1 - index);
    }
}

static void host_parallel(void *user, int32_t count, dqg_task_fn fn, void *task) {
    struct spread spread = {fn, task, count, 0};
    pthread_t thread;
    int started = pthread_create(&thread, NULL, spread_thread, &spread) == 0;
    spread_thread(&spread);
    if (started) {
        pthread_join(thread, NULL);
    }
    atomic_fetch_add((_Atomic int *)user, 1);
}

static void host_job_system_gives_the_same_bytes(void **state) {
    struct job plain = {*state, NULL, 1, 0, {0}};
    generate(&plain);
    _Atomic int calls = 0;
    dqg_context *context;
    dqg_model *model;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_context_set_parallel(context, host_parallel, &calls, 2));
    assert_ok(dqg_model_load(context, plain.fixture->path, NULL, &model));
    dqg_run *run = make_run(context, model);
    dqg_status status;
    do {
        status = dqg_run_advance(run, 50);
    } while (status == DQG_OK || status == DQG_PENDING);
    assert_int_equal(status, DQG_DONE);
    assert_true(atomic_load(&calls) > 0);
    float out[FLOATS];
    read_latent(run, out);
    assert_memory_equal(out, plain.out, sizeof(out));
    dqg_run_destroy(run);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

static int setup_float(void **state) {
    static struct fixture fixture;
    *state = &fixture;
    return tiny_dir_make(fixture.directory, sizeof(fixture.directory)) ||
           tiny_dit_write_default(tiny_path(fixture.path, sizeof(fixture.path), fixture.directory, "tiny.safetensors"));
}

/* The same model with 4-bit weights: other operators, and a reader that uses the workers. */
static int setup_4_bit(void **state) {
    if (setup_float(state) != 0) {
        return -1;
    }
    struct fixture *fixture = *state;
    char checkpoint[192];
    dqg_context *context = NULL;
    dqg_quantizer *quantizer = NULL;
    memcpy(checkpoint, fixture->path, sizeof(checkpoint));
    tiny_path(fixture->path, sizeof(fixture->path), fixture->directory, "tiny.dqg");
    int failed = dqg_context_create(NULL, &context) || dqg_quantizer_create(context, NULL, &quantizer) ||
                 dqg_quantizer_run(quantizer, checkpoint, fixture->path);
    dqg_quantizer_destroy(quantizer);
    dqg_context_destroy(context);
    return failed ? -1 : 0;
}

static int teardown(void **state) {
    tiny_dir_remove(((struct fixture *)*state)->directory);
    return 0;
}

/* ---- a shared scheduler ---- */

struct host_job {
    dqg_scheduler *scheduler; /* a reference that the job gives up */
    float out[12];
};

/* Runs with a network of the host's own, in a context of this thread. */
static void *drive(void *user) {
    struct host_job *job = user;
    dqg_context *context;
    dqg_run *run;
    const int64_t shape[2] = {3, 4};
    dqg_tensor_view view = view_f32(job->out, 3, 4, 0, 0);
    dqg_request request;
    DQG_INIT(&request);
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_run_create_custom(context, job->scheduler, shape, 2, NULL, &run));
    while (dqg_run_request(run, &request, &view) == DQG_OK) {
        for (int i = 0; i < 12; i++) {
            job->out[i] *= 0.5f;
        }
        assert_true(dqg_run_submit(run, &view) >= 0);
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    dqg_scheduler_release(job->scheduler);
    dqg_run_destroy(run);
    dqg_context_destroy(context);
    return NULL;
}

static void runs_share_a_scheduler(void **state) {
    enum { THREADS = 4 };
    (void)state;
    dqg_context *context;
    dqg_options *options;
    dqg_scheduler *scheduler;
    struct host_job jobs[THREADS];
    pthread_t threads[THREADS];
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_options_create(context, DQG_OPTIONS_SCHEDULER, &options));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, "dpm++-sde"));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    dqg_options_destroy(options);
    for (int i = 0; i < THREADS; i++) {
        jobs[i].scheduler = scheduler;
        dqg_scheduler_retain(scheduler);
        assert_int_equal(pthread_create(&threads[i], NULL, drive, &jobs[i]), 0);
    }
    dqg_scheduler_release(scheduler);
    dqg_context_destroy(context); /* the jobs' runs go on without it */
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_memory_equal(jobs[i].out, jobs[0].out, sizeof jobs[0].out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_contexts_share_a_model),           cmocka_unit_test(same_bytes_for_any_thread_count),
        cmocka_unit_test(cancel_from_another_thread),           cmocka_unit_test(one_request_stops_one_call),
        cmocka_unit_test(host_job_system_gives_the_same_bytes), cmocka_unit_test(runs_share_a_scheduler),
    };
    return cmocka_run_group_tests_name("float", tests, setup_float, teardown) +
           cmocka_run_group_tests_name("4-bit", tests, setup_4_bit, teardown);
}
