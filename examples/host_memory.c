/* SPDX-License-Identifier: MIT */
/*
 * A host with its own memory, threads and files: an allocator that counts bytes, a job system of two pthreads behind
 * dqg_context_set_parallel(), and a model loaded from memory. Usage: host_memory MODEL. Fails when a byte stays behind.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdqgen.h"

/* ---- memory: every byte is counted; sizes come back on release, so no header is needed ---- */

struct memory {
    atomic_size_t used, peak;
};

static void *host_allocate(void *user, size_t size, size_t alignment) {
    void *ptr = NULL;
    if (posix_memalign(&ptr, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) != 0) {
        return NULL;
    }
    struct memory *memory = user;
    size_t used = atomic_fetch_add(&memory->used, size) + size;
    size_t peak = atomic_load(&memory->peak);
    while (used > peak && !atomic_compare_exchange_weak(&memory->peak, &peak, used))
        ;
    return ptr;
}

static void host_release(void *user, void *ptr, size_t size) {
    atomic_fetch_sub(&((struct memory *)user)->used, size);
    free(ptr);
}

/* ---- jobs: one helper thread sleeps until there is work; the caller works along ---- */

struct jobs {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    dqg_task_fn fn;
    void *task;
    int32_t count;
    atomic_int next;
    int busy, quit; /* busy: the helper has work it did not report as finished */
};

static void take_jobs(struct jobs *jobs) {
    for (int32_t i; (i = atomic_fetch_add(&jobs->next, 1)) < jobs->count;) {
        jobs->fn(jobs->task, i);
    }
}

static void *helper(void *user) {
    struct jobs *jobs = user;
    pthread_mutex_lock(&jobs->mutex);
    while (!jobs->quit) {
        if (jobs->busy) {
            pthread_mutex_unlock(&jobs->mutex);
            take_jobs(jobs);
            pthread_mutex_lock(&jobs->mutex);
            jobs->busy = 0;
            pthread_cond_broadcast(&jobs->changed);
        } else {
            pthread_cond_wait(&jobs->changed, &jobs->mutex);
        }
    }
    pthread_mutex_unlock(&jobs->mutex);
    return NULL;
}

static void signal_helper(struct jobs *jobs, int *flag) {
    pthread_mutex_lock(&jobs->mutex);
    *flag = 1;
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->mutex);
}

static void host_parallel(void *user, int32_t count, dqg_task_fn fn, void *task) {
    struct jobs *jobs = user;
    jobs->fn = fn;
    jobs->task = task;
    jobs->count = count;
    atomic_store(&jobs->next, 0);
    signal_helper(jobs, &jobs->busy);
    take_jobs(jobs);
    pthread_mutex_lock(&jobs->mutex);
    while (jobs->busy) {
        pthread_cond_wait(&jobs->changed, &jobs->mutex);
    }
    pthread_mutex_unlock(&jobs->mutex);
}

/* ---- the host ---- */

static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    long length = file != NULL && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    void *data = length > 0 ? malloc((size_t)length) : NULL;
    *size = data != NULL && fseek(file, 0, SEEK_SET) == 0 ? fread(data, 1, (size_t)length, file) : 0;
    if (file != NULL) {
        fclose(file);
    }
    return data;
}

static dqg_status generate(dqg_context *context, const void *data, size_t size) {
    dqg_model *model;
    dqg_run *run = NULL;
    dqg_memory_info memory = {.struct_size = sizeof(memory)};
    dqg_status status = dqg_model_load_memory(context, data, size, NULL, &model);
    if (status >= 0 && (status = dqg_model_memory(context, model, NULL, NULL, &memory)) >= 0) {
        printf("model %" PRIu64 " bytes, run %" PRIu64 " bytes\n", memory.model_bytes, memory.run_bytes);
        status = dqg_run_create(context, model, NULL, NULL, &run);
    }
    while (status == DQG_OK) {
        status = dqg_run_step(run);
    }
    dqg_run_destroy(run);
    dqg_model_release(model);
    return status;
}

int main(int argc, char **argv) {
    static struct memory memory;
    static struct jobs jobs = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    size_t size;
    void *data = read_file(argc > 1 ? argv[1] : "examples/models/sprites.dqg", &size);
    dqg_context *context;
    dqg_allocator allocator = {sizeof(allocator), 0, host_allocate, host_release, &memory};
    if (data == NULL || pthread_create(&jobs.thread, NULL, helper, &jobs) != 0 ||
        dqg_context_create(&allocator, &context) < 0) {
        fprintf(stderr, "host_memory: cannot start; give it a readable model file\n");
        return 1;
    }
    dqg_status status = dqg_context_set_parallel(context, host_parallel, &jobs, 2);
    status = status < 0 ? status : generate(context, data, size);
    if (status < 0) {
        fprintf(stderr, "host_memory: %s\n", dqg_context_error(context));
    }
    dqg_context_destroy(context);
    signal_helper(&jobs, &jobs.quit);
    pthread_join(jobs.thread, NULL);
    free(data);
    printf("peak %zu bytes, left behind %zu\n", atomic_load(&memory.peak), atomic_load(&memory.used));
    return status == DQG_DONE && atomic_load(&memory.used) == 0 ? 0 : 1;
}
