/* SPDX-License-Identifier: MIT */
/*
 * What tests of lib/sched share: cmocka with its prelude, a context, plans that must come out, the continuous VP grids
 * that published figures are given on.
 */
#ifndef TESTS_SCHED_CHECK_H
#define TESTS_SCHED_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "analytic.h"
#include "sched/pieces.h"

static struct dqg_context context;

static inline int sched_setup(void **state) {
    (void)state;
    analytic_context(&context);
    return 0;
}

/* To be freed by dqg_sched_free(). */
static inline struct dqg_sched sched_make(const struct dqg_sched_config *config) {
    struct dqg_sched sched;
    dqg_error_clear(&context);
    dqg_status status = dqg_sched_init(&context, config, &sched);
    assert_string_equal(context.error, "");
    assert_int_equal(status, DQG_OK);
    return sched;
}

/* ln a(t) = -0.25 t^2 (20 - 0.1) - 0.05 t */
static inline double continuous_alpha(double t) {
    return exp(-0.25 * t * t * (20 - 0.1) - 0.05 * t);
}

static inline double continuous_sigma(double t) {
    double a = continuous_alpha(t);
    return sqrt(1 - a * a) / a;
}

/* From t = 1 to 0.001, even in the square root of t. */
static inline void square_grid(int32_t n, double *sigmas) {
    for (int32_t i = 0; i <= n; i++) {
        double root = 1 + i * (sqrt(1e-3) - 1) / n;
        sigmas[i] = continuous_sigma(root * root);
    }
}

/* Even in lambda = -ln sigma. */
static inline void lambda_grid(int32_t n, double *sigmas) {
    double first = log(continuous_sigma(1)), last = log(continuous_sigma(1e-3));
    for (int32_t i = 0; i <= n; i++) {
        sigmas[i] = exp(first + i * (last - first) / n);
    }
}

#endif
