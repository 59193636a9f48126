/* SPDX-License-Identifier: MIT */
/* What the files of the benchmark share: its data and the stopwatch. */
#ifndef DQG_TEST_KERNELS_BENCH_H
#define DQG_TEST_KERNELS_BENCH_H

#include "check.h"

enum { ROWS = 256, DEPTH = 1024, WIDTH = 1024, HEAD = 64 };

/* Everything that a call may need. */
struct bench {
    const struct dqg_kernels *kernels;
    struct buffer a8, w8, c32, x, y, b, scratch;
    struct dqg_epilogue epilogue;
};

/* Seconds of CPU time that a call takes, the best of a few runs. */
double bench_seconds(void (*call)(const void *argument), const void *argument);

/* The rate of a call with the shared data, which does the given number of operations each time. */
struct rate measure(const struct dqg_kernels *kernels, void (*call)(const struct bench *b), double operations,
                    const char *unit);

#endif
