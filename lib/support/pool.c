/* SPDX-License-Identifier: MIT */
/*
 * Worker threads that sleep when there is nothing to do, and dqg_parallel() which spreads indices over them or over the
 * host's job system. A job is announced by a generation counter; a worker that sees it change spins for a moment
 * before it sleeps, because operators follow each other within microseconds.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "support/support.h"

enum { SPIN_ROUNDS = 2000, MAX_THREADS = 256 };

struct dqg_pool {
    pthread_mutex_t mutex;
    pthread_cond_t wake; /* workers wait here for a job */
    pthread_cond_t idle; /* the caller waits here for the last worker */
    _Atomic uint32_t generation;
    _Atomic int32_t busy; /* workers that have not finished the job yet */
    bool stop;            /* under mutex */
    int32_t sleepers;     /* under mutex */
    dqg_task_fn fn;
    void *task;
    int32_t count; /* indices of the job; worker i takes index i + 1, the caller index 0 */
    int32_t workers;
    struct dqg_worker {
        struct dqg_pool *pool;
        int32_t index;
        pthread_t thread;
    } worker[];
};

int32_t dqg_cpu_count(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
}

static void spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait until the generation differs from seen. Returns false when the pool is being destroyed. */
static bool wait_for_job(struct dqg_pool *pool, uint32_t seen) {
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen) {
            return true;
        }
        spin_pause();
    }
    pthread_mutex_lock(&pool->mutex);
    pool->sleepers++;
    while (atomic_load_explicit(&pool->generation, memory_order_acquire) == seen && !pool->stop) {
        pthread_cond_wait(&pool->wake, &pool->mutex);
    }
    pool->sleepers--;
    bool stop = pool->stop;
    pthread_mutex_unlock(&pool->mutex);
    return !stop;
}

static void *worker_main(void *argument) {
    struct dqg_worker *worker = argument;
    struct dqg_pool *pool = worker->pool;
    uint32_t seen = 0;
    while (wait_for_job(pool, seen)) {
        seen = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (worker->index < pool->count) {
            pool->fn(pool->task, worker->index);
        }
        if (atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->idle);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
    return NULL;
}

struct dqg_pool *dqg_pool_create(const struct dqg_alloc *alloc, int32_t threads) {
    int32_t workers = threads - 1;
    struct dqg_pool *pool = dqg_calloc(alloc, 1, sizeof *pool + (size_t)workers * sizeof pool->worker[0]);
    if (pool == NULL) {
        return NULL;
    }
    pool->workers = workers;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    for (int32_t i = 0; i < workers; i++) {
        pool->worker[i].pool = pool;
        pool->worker[i].index = i + 1;
        if (pthread_create(&pool->worker[i].thread, NULL, worker_main, &pool->worker[i]) != 0) {
            /* The system gives no more threads: the ones that run do the work. The block keeps its size. */
            pool->worker[i].pool = NULL;
            break;
        }
    }
    return pool;
}

/* Threads that really run; worker[] is filled from the front. */
static int32_t started_workers(const struct dqg_pool *pool) {
    int32_t count = 0;
    while (count < pool->workers && pool->worker[count].pool != NULL) {
        count++;
    }
    return count;
}

void dqg_pool_destroy(const struct dqg_alloc *alloc, struct dqg_pool *pool) {
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int32_t i = 0; i < started_workers(pool); i++) {
        pthread_join(pool->worker[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    dqg_free(alloc, pool, sizeof *pool + (size_t)pool->workers * sizeof pool->worker[0]);
}

void dqg_pool_run(struct dqg_pool *pool, int32_t count, dqg_task_fn fn, void *task) {
    int32_t workers = started_workers(pool);
    if (count > workers + 1) {
        count = workers + 1; /* lanes share indices: fewer lanes do the same work */
    }
    if (workers == 0 || count <= 1) {
        fn(task, 0);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->fn = fn;
    pool->task = task;
    pool->count = count;
    atomic_store_explicit(&pool->busy, workers, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    if (pool->sleepers > 0) {
        pthread_cond_broadcast(&pool->wake);
    }
    pthread_mutex_unlock(&pool->mutex);

    fn(task, 0);

    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(&pool->busy, memory_order_acquire) == 0) {
            return;
        }
        spin_pause();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load_explicit(&pool->busy, memory_order_acquire) != 0) {
        pthread_cond_wait(&pool->idle, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
}

/* ---- lanes ---- */

size_t dqg_concurrency(const struct dqg_context *context) {
    if (context->parallel != NULL) {
        return (size_t)context->concurrency;
    }
    return (size_t)(context->threads > 0 ? context->threads : dqg_cpu_count());
}

dqg_status dqg_parallel_prepare(struct dqg_context *context) {
    size_t lanes = dqg_concurrency(context);
    if (context->parallel == NULL && context->pool == NULL && lanes > 1) {
        context->pool = dqg_pool_create(&context->alloc, (int32_t)lanes);
        if (context->pool == NULL) {
            return dqg_fail_memory(context, "the worker pool", sizeof *context->pool);
        }
    }
    return DQG_OK;
}

struct lanes {
    dqg_lane_fn fn;
    void *task;
    size_t count;
    _Atomic size_t next;
};

static void lane_main(void *task, int32_t lane) {
    struct lanes *lanes = task;
    for (;;) {
        size_t index = atomic_fetch_add_explicit(&lanes->next, 1, memory_order_relaxed);
        if (index >= lanes->count) {
            return;
        }
        lanes->fn(lanes->task, index, (size_t)lane);
    }
}

void dqg_parallel(struct dqg_context *context, size_t count, dqg_lane_fn fn, void *task) {
    struct lanes lanes = {.fn = fn, .task = task, .count = count};
    int32_t width = (int32_t)dqg_min_size(count, dqg_concurrency(context));
    if (width > 1 && context->parallel != NULL) {
        context->parallel(context->parallel_user, width, lane_main, &lanes);
    } else if (width > 1 && context->pool != NULL) {
        dqg_pool_run(context->pool, width, lane_main, &lanes);
    } else if (count > 0) {
        lane_main(&lanes, 0);
    }
}
