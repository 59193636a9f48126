/* SPDX-License-Identifier: MIT */
/*
 * dqg_parallel() on own workers and on a host's job system: every index once, no lane twice at a time, many small jobs
 * in a row, workers that sleep when there is nothing to do. Also run under ThreadSanitizer. With --bench it prints what
 * a call costs.
 */
#include "check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support/support.h"

enum { MOST_INDICES = 300, MOST_LANES = 8 };

static dqg_context *make_context(int32_t threads) {
    dqg_context *context;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_context_set_threads(context, threads));
    assert_ok(dqg_parallel_prepare(context));
    return context;
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void rest(long microseconds) {
    nanosleep(&(struct timespec){microseconds / 1000000, microseconds % 1000000 * 1000}, NULL);
}

/* ---- a job that watches how it is done ---- */

struct job {
    atomic_int done[MOST_INDICES];
    atomic_int inside[MOST_LANES];
    atomic_int overlaps;
    atomic_int strange_lanes;
    int lanes;
    int plain[MOST_INDICES]; /* what a lane writes without atomics, the caller reads */
    long sleep_us;           /* in each index */
};

static void watch_index(void *task, size_t index, size_t lane) {
    struct job *job = task;
    if (lane >= (size_t)job->lanes) {
        atomic_fetch_add(&job->strange_lanes, 1);
        return;
    }
    if (atomic_fetch_add(&job->inside[lane], 1) != 0) {
        atomic_fetch_add(&job->overlaps, 1);
    }
    job->plain[index] += (int)index + 1;
    atomic_fetch_add(&job->done[index], 1);
    if (job->sleep_us > 0) {
        rest(job->sleep_us);
    }
    atomic_fetch_sub(&job->inside[lane], 1);
}

static void run_job(dqg_context *context, int lanes, size_t count, long sleep_us) {
    struct job job = {.lanes = lanes, .sleep_us = sleep_us};
    dqg_parallel(context, count, watch_index, &job);
    assert_int_equal(atomic_load(&job.overlaps), 0);
    assert_int_equal(atomic_load(&job.strange_lanes), 0);
    for (size_t i = 0; i < MOST_INDICES; i++) {
        assert_int_equal(atomic_load(&job.done[i]), i < count);
        assert_int_equal(job.plain[i], i < count ? i + 1 : 0);
    }
}

static void does_each_index_once(void **state) {
    (void)state;
    for (int32_t threads = 1; threads <= MOST_LANES; threads++) {
        dqg_context *context = make_context(threads);
        for (size_t count = 0; count < 20; count++) {
            run_job(context, threads, count, 0);
        }
        run_job(context, threads, MOST_INDICES, 0);
        run_job(context, threads, 40, 300); /* longer than anybody spins */
        dqg_context_destroy(context);
    }
}

/* Small jobs at once one after the other, then with pauses in which workers fall asleep, or are about to. */
static void survives_many_small_jobs(void **state) {
    (void)state;
    dqg_context *context = make_context(4);
    for (int i = 0; i < 3000; i++) {
        run_job(context, 4, (size_t)(i % 7), 0);
    }
    for (int i = 0; i < 300; i++) {
        run_job(context, 4, 1 + (size_t)(i % 7), 0);
        rest(i % 2 == 0 ? 50 : i);
    }
    dqg_context_destroy(context);
}

/* Workers do take part: each of two indices waits for the other to be begun. */
static void meet(void *task, size_t index, size_t lane) {
    atomic_int *begun = task;
    (void)index;
    (void)lane;
    atomic_fetch_add(begun, 1);
    double until = seconds(CLOCK_MONOTONIC) + 30;
    while (atomic_load(begun) < 2 && seconds(CLOCK_MONOTONIC) < until) {
        rest(10);
    }
}

static void workers_wake_up(void **state) {
    (void)state;
    dqg_context *context = make_context(2);
    for (long pause_us = 0; pause_us <= 20000; pause_us += 2000) {
        atomic_int begun = 0;
        double start = seconds(CLOCK_MONOTONIC);
        dqg_parallel(context, 2, meet, &begun);
        assert_true(seconds(CLOCK_MONOTONIC) - start < 29);
        rest(pause_us);
    }
    dqg_context_destroy(context);
}

/* CPU time of this process while the caller sleeps for a second. */
static double used_in_a_second(void) {
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    rest(1000000);
    return seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
}

/* Less than 0.1 % of a core, beside what the process takes without a context: a sanitizer has a thread of its own. */
static void sleeps_when_idle(void **state) {
    (void)state;
    double alone = used_in_a_second();
    dqg_context *context = make_context(4);
    run_job(context, 4, MOST_INDICES, 0);
    rest(20000); /* the last ones fall asleep */
    double used = used_in_a_second() - alone;
    print_message("an idle context takes %.4f %% of a core\n", 100 * used);
    assert_true(used < 0.001);
    dqg_context_destroy(context);
}

/* ---- the host's job system ---- */

static void host_parallel(void *user, int32_t count, dqg_task_fn fn, void *task) {
    atomic_fetch_add((atomic_int *)user, 1);
    for (int32_t i = count; i > 0; i--) {
        fn(task, i - 1);
    }
}

static void uses_the_host_job_system(void **state) {
    (void)state;
    atomic_int calls = 0;
    dqg_context *context = make_context(1);
    assert_ok(dqg_context_set_parallel(context, host_parallel, &calls, 3));
    run_job(context, 3, MOST_INDICES, 0);
    run_job(context, 3, 2, 0);
    assert_int_equal(atomic_load(&calls), 2);
    run_job(context, 3, 1, 0); /* no need to ask the host */
    run_job(context, 3, 0, 0);
    assert_int_equal(atomic_load(&calls), 2);
    dqg_context_destroy(context);
}

/* ---- benchmark ---- */

static void nothing(void *task, size_t index, size_t lane) {
    (void)task;
    (void)index;
    (void)lane;
}

/* Best of many rounds; pause_us: before each call, so that workers sleep. */
static double call_us(dqg_context *context, size_t count, long pause_us) {
    int calls = pause_us > 0 ? 1 : 1000;
    double best = 1e9;
    for (int round = 0; round < (pause_us > 0 ? 200 : 50); round++) {
        if (pause_us > 0) {
            rest(pause_us);
        }
        double start = seconds(CLOCK_MONOTONIC);
        for (int i = 0; i < calls; i++) {
            dqg_parallel(context, count, nothing, NULL);
        }
        double us = 1e6 * (seconds(CLOCK_MONOTONIC) - start) / calls;
        best = us < best ? us : best;
    }
    return best;
}

static void meet_spinning(void *task, size_t index, size_t lane) {
    atomic_int *begun = task;
    (void)index;
    (void)lane;
    atomic_fetch_add(begun, 1);
    while (atomic_load(begun) < 2) {
    }
}

/* Time until a second lane is at work; the median, as the best would be luck. */
static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double meeting_us(dqg_context *context, long pause_us) {
    enum { ROUNDS = 201 };
    double times[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        if (pause_us > 0) {
            rest(pause_us);
        }
        atomic_int begun = 0;
        double start = seconds(CLOCK_MONOTONIC);
        dqg_parallel(context, 2, meet_spinning, &begun);
        times[i] = 1e6 * (seconds(CLOCK_MONOTONIC) - start);
    }
    qsort(times, ROUNDS, sizeof(times[0]), by_value);
    return times[ROUNDS / 2];
}

static int bench(void) {
    for (int32_t threads = 1; threads <= 4; threads *= 2) {
        dqg_context *context = make_context(threads);
        printf("%d threads: call of 2 empty tasks %.2f us, of 64 %.2f us; with sleeping workers %.2f us\n",
               (int)threads, call_us(context, 2, 0), call_us(context, 64, 0), call_us(context, 2, 1000));
        if (threads == 2) {
            printf("2 threads: both at work after %.2f us, %.2f us with a sleeping worker\n", meeting_us(context, 0),
                   meeting_us(context, 1000));
        }
        dqg_context_destroy(context);
    }
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_each_index_once), cmocka_unit_test(survives_many_small_jobs),
        cmocka_unit_test(workers_wake_up),      cmocka_unit_test(sleeps_when_idle),
        cmocka_unit_test(uses_the_host_job_system),
    };
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        return bench();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
