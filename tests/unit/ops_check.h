/* SPDX-License-Identifier: MIT */
/* What tests of operators share: random input, an operator's surroundings with any number of threads, comparison. */
#ifndef TESTS_OPS_CHECK_H
#define TESTS_OPS_CHECK_H

#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "ops/ops.h"
#include "support/support.h"

enum { LANE_BYTES = 1 << 18, MOST_THREADS = 3 };

static uint32_t random_state = 1;

static inline float random_float(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(int32_t)random_state * 0x1p-31f;
}

static inline float *random_floats(size_t count) {
    float *x = malloc(count * sizeof(float));
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) {
        x[i] = random_float();
    }
    return x;
}

static inline struct dqg_ops make_ops(int32_t threads) {
    struct dqg_ops ops = {.lane_bytes = LANE_BYTES};
    assert_ok(dqg_context_create(NULL, &ops.context));
    assert_ok(dqg_context_set_threads(ops.context, threads));
    assert_ok(dqg_parallel_prepare(ops.context));
    ops.kernels = ops.context->kernels;
    ops.scratch = aligned_alloc(DQG_ALIGNMENT, MOST_THREADS * LANE_BYTES);
    assert_non_null(ops.scratch);
    return ops;
}

static inline void free_ops(struct dqg_ops *ops) {
    free(ops->scratch);
    dqg_context_destroy(ops->context);
}

static inline void assert_near(double got, double want, double limit) {
    if (!(fabs(got - want) <= limit)) {
        print_error("%.9g, expected %.9g\n", got, want);
        fail();
    }
}

#endif
