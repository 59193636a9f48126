/* SPDX-License-Identifier: MIT */
/*
 * Worker threads that sleep when there is nothing to do, and dqg_parallel() which spreads indices over them or over the
 * host's job system. A job has seats: workers take them one by one as they come, the caller works at once and closes
 * the job when it has run out of indices. So a worker that wakes up late finds no seat and costs nobody time; the
 * caller waits for those only that are in the middle of an index.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "support/support.h"

enum {
    MAX_THREADS = 256,
    CACHE_LINE = 64,
    SPIN_US = 50,     /* before a thread sleeps: operators follow each other within microseconds */
    SPIN_ROUNDS = 64, /* between two looks at the clock */
};

/* The job's state is one number: generation << 32 | seats << 16 | workers at it. */
enum { SEAT = 1 << 16, WORKERS_MASK = SEAT - 1 };
#define GENERATION (UINT64_C(1) << 32)
#define SEATS_MASK (GENERATION - SEAT)

struct dqg_pool {
    /* Written by the caller before it offers seats, read by workers that have one. */
    dqg_task_fn fn;
    void *task;
    int32_t started; /* workers */
    int32_t room;    /* for so many */

    _Alignas(CACHE_LINE) _Atomic uint64_t state;

    _Alignas(CACHE_LINE) _Atomic int32_t sleepers; /* workers that must be woken */
    _Atomic bool caller_sleeps;
    bool stop; /* under mutex */
    pthread_mutex_t mutex;
    pthread_cond_t wake; /* workers wait here for a seat */
    pthread_cond_t idle; /* the caller waits here for the last worker */
    pthread_t thread[];
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

/* Watch the state for a moment, until one of the wanted bits is set or, with wanted 0, no worker is left. */
static bool spin(const struct dqg_pool *pool, uint64_t wanted) {
    uint64_t seen = atomic_load(&pool->state);
    int64_t until = dqg_now_us() + SPIN_US;
    do {
        for (int i = 0; i < SPIN_ROUNDS; i++) {
            uint64_t state = atomic_load_explicit(&pool->state, memory_order_acquire);
            if (wanted != 0 ? (state & wanted) != 0 : (state & WORKERS_MASK) == 0) {
                return true;
            }
            if (state / GENERATION != seen / GENERATION) { /* others got the seats, but there is work about */
                seen = state;
                until = dqg_now_us() + SPIN_US;
            }
            spin_pause();
        }
    } while (dqg_now_us() < until);
    return false;
}

/* ---- workers ---- */

/*
 * Sleep until there are seats. Sleepers are counted before the state is looked at again, and the caller looks at their
 * number after it has offered seats: one of the two sees the other. False when the pool is being destroyed.
 */
static bool sleep_until_seats(struct dqg_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!pool->stop && (atomic_load(&pool->state) & SEATS_MASK) == 0) {
        pthread_cond_wait(&pool->wake, &pool->mutex);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    bool stop = pool->stop;
    pthread_mutex_unlock(&pool->mutex);
    return !stop;
}

/* The number of the seat taken, or 0. */
static int32_t take_seat(struct dqg_pool *pool) {
    uint64_t state = atomic_load(&pool->state);
    while ((state & SEATS_MASK) != 0) {
        if (atomic_compare_exchange_weak(&pool->state, &state, state - SEAT + 1)) {
            return (int32_t)((state & SEATS_MASK) / SEAT);
        }
    }
    return 0;
}

static void leave_job(struct dqg_pool *pool) {
    uint64_t state = atomic_fetch_sub(&pool->state, 1);
    if ((state & WORKERS_MASK) == 1 && atomic_load(&pool->caller_sleeps)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->idle);
        pthread_mutex_unlock(&pool->mutex);
    }
}

static void *worker_main(void *argument) {
    struct dqg_pool *pool = argument;
    while (spin(pool, SEATS_MASK) || sleep_until_seats(pool)) {
        int32_t seat = take_seat(pool);
        if (seat > 0) {
            pool->fn(pool->task, seat);
            leave_job(pool);
        }
    }
    return NULL;
}

struct dqg_pool *dqg_pool_create(const struct dqg_alloc *alloc, int32_t threads) {
    int32_t workers = threads - 1;
    struct dqg_pool *pool = dqg_calloc(alloc, 1, sizeof *pool + (size_t)workers * sizeof pool->thread[0]);
    if (pool == NULL) {
        return NULL;
    }
    pool->room = workers;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    /* Where the system gives no more threads, the ones that run do the work. */
    while (pool->started < workers &&
           pthread_create(&pool->thread[pool->started], NULL, worker_main, pool) == 0) {
        pool->started++;
    }
    return pool;
}

void dqg_pool_destroy(const struct dqg_alloc *alloc, struct dqg_pool *pool) {
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int32_t i = 0; i < pool->started; i++) {
        pthread_join(pool->thread[i], NULL);
    }
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    dqg_free(alloc, pool, sizeof *pool + (size_t)pool->room * sizeof pool->thread[0]);
}

/* ---- the caller ---- */

static void wake_workers(struct dqg_pool *pool, int32_t seats) {
    pthread_mutex_lock(&pool->mutex);
    if (seats >= atomic_load(&pool->sleepers)) {
        pthread_cond_broadcast(&pool->wake);
    } else {
        for (int32_t i = 0; i < seats; i++) {
            pthread_cond_signal(&pool->wake);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_for_workers(struct dqg_pool *pool) {
    if (spin(pool, 0)) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while ((atomic_load(&pool->state) & WORKERS_MASK) != 0) {
        pthread_cond_wait(&pool->idle, &pool->mutex);
    }
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

void dqg_pool_run(struct dqg_pool *pool, int32_t count, dqg_task_fn fn, void *task) {
    int32_t seats = (count <= pool->started ? count : pool->started + 1) - 1;
    if (seats < 1) {
        fn(task, 0);
        return;
    }
    pool->fn = fn;
    pool->task = task;
    atomic_fetch_add(&pool->state, GENERATION + (uint64_t)seats * SEAT);
    if (atomic_load(&pool->sleepers) > 0) {
        wake_workers(pool, seats);
    }
    fn(task, 0);
    if ((atomic_fetch_and(&pool->state, ~SEATS_MASK) & WORKERS_MASK) != 0) {
        wait_for_workers(pool);
    }
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

/*
 * Each lane begins with a share of neighbouring indices and then helps with the shares of others. Operators that follow
 * each other cut their rows alike, so that a lane finds most of what it reads in its own cache.
 */
enum { MAX_SHARES = 64 };

struct share {
    _Alignas(CACHE_LINE) _Atomic size_t next;
    size_t end;
};

struct lanes {
    dqg_lane_fn fn;
    void *task;
    size_t shares;
    struct share share[MAX_SHARES];
};

static void lane_main(void *task, int32_t lane) {
    struct lanes *lanes = task;
    for (size_t i = 0; i < lanes->shares; i++) {
        struct share *share = &lanes->share[((size_t)lane + i) % lanes->shares];
        size_t index;
        while (atomic_load_explicit(&share->next, memory_order_relaxed) < share->end &&
               (index = atomic_fetch_add_explicit(&share->next, 1, memory_order_relaxed)) < share->end) {
            lanes->fn(lanes->task, index, (size_t)lane);
        }
    }
}

void dqg_parallel(struct dqg_context *context, size_t count, dqg_lane_fn fn, void *task) {
    struct lanes lanes;
    size_t width = dqg_min_size(count, dqg_concurrency(context));
    bool alone = width <= 1 || (context->parallel == NULL && context->pool == NULL);
    lanes.fn = fn;
    lanes.task = task;
    lanes.shares = alone ? 1 : dqg_min_size(width, MAX_SHARES);
    for (size_t i = 0; i < lanes.shares; i++) {
        atomic_init(&lanes.share[i].next, i * (count / lanes.shares) + dqg_min_size(i, count % lanes.shares));
        lanes.share[i].end = (i + 1) * (count / lanes.shares) + dqg_min_size(i + 1, count % lanes.shares);
    }
    if (alone) {
        lane_main(&lanes, 0);
    } else if (context->parallel != NULL) {
        context->parallel(context->parallel_user, (int32_t)width, lane_main, &lanes);
    } else {
        dqg_pool_run(context->pool, (int32_t)width, lane_main, &lanes);
    }
}
