/* SPDX-License-Identifier: MIT */
/* One context for all tests of a program: setup and teardown of a group. */
#ifndef TESTS_CONTEXT_CHECK_H
#define TESTS_CONTEXT_CHECK_H

#include "check.h"

static dqg_context *context;

static inline int context_setup(void **state) {
    (void)state;
    return dqg_context_create(NULL, &context);
}

static inline int context_teardown(void **state) {
    (void)state;
    dqg_context_destroy(context);
    return 0;
}

#endif
