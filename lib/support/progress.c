/* SPDX-License-Identifier: MIT */
/* The clocks, and progress reports with an estimate of the time left. */
#include <time.h>

#include "support/support.h"

enum { REPORT_INTERVAL_US = 5000 };

static int64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t dqg_now_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

int64_t dqg_process_ns(void) {
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t dqg_thread_ns(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

int64_t dqg_now_us(void) {
    return dqg_now_ns() / 1000;
}

void dqg_work_begin(struct dqg_work *work, struct dqg_context *context, int32_t phase, uint64_t total) {
    int64_t now = dqg_now_us();
    *work = (struct dqg_work){.context = context, .phase = phase, .total = total, .start_us = now, .report_us = -1};
}

dqg_status dqg_work_set(struct dqg_work *work, uint64_t done, const char *name) {
    struct dqg_context *context = work->context;
    work->done = done;
    if (context->progress == NULL) {
        return DQG_OK;
    }
    int64_t now = dqg_now_us();
    if (done < work->total && work->report_us >= 0 && now - work->report_us < REPORT_INTERVAL_US) {
        return DQG_OK;
    }
    work->report_us = now;
    dqg_progress progress;
    DQG_INIT(&progress);
    progress.phase = work->phase;
    progress.done = done;
    progress.total = work->total;
    progress.elapsed_us = work->spent_us + now - work->start_us;
    progress.remaining_us = -1;
    if (done > 0 && done <= work->total) {
        progress.remaining_us = (int64_t)((double)progress.elapsed_us * (double)(work->total - done) / (double)done);
    }
    progress.name = name;
    if (context->progress(context->progress_user, &progress) != 0) {
        return dqg_fail(context, DQG_ERROR_CANCELLED, "stopped by the progress callback at %s", name);
    }
    return DQG_OK;
}
