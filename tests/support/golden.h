/* SPDX-License-Identifier: MIT */
/* Arrays under tests/golden, and views on arrays of that form. Behind check.h. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "npy.h"

/* "tests/golden/<name>.npy"; the test fails where it cannot be read. The caller frees its data. */
static inline struct npy golden_array(const char *name, ...) {
    char path[256] = "tests/golden/";
    struct npy array;
    va_list args;
    va_start(args, name);
    vsnprintf(path + strlen(path), sizeof path - strlen(path), name, args);
    va_end(args);
    strncat(path, ".npy", sizeof path - strlen(path) - 1);
    if (npy_read(path, &array) != 0) {
        fail_msg("cannot read %s", path);
    }
    return array;
}

/* data in the shape of array. */
static inline dqg_tensor_view golden_view(const struct npy *array, float *data) {
    dqg_tensor_view view = view_f32(data, 1, 1, 1, 1);
    view.rank = array->rank;
    memcpy(view.shape, array->shape, sizeof(int64_t) * (size_t)array->rank);
    return view;
}

#endif
