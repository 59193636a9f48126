/* SPDX-License-Identifier: MIT */
/*
 * What tests of the public API share: cmocka with its prelude, options, views of test buffers, and a check that a call
 * fails with the status it documents and says why.
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "libdqgen.h"

/* The call gives this status, and the context explains it. */
#define assert_fails(context, call, expected)                                                                          \
    do {                                                                                                               \
        assert_int_equal((call), (expected));                                                                          \
        assert_true(strlen(dqg_context_error(context)) > 8);                                                           \
    } while (0)

#define assert_ok(call) assert_int_equal((call), DQG_OK)

/* An output that a failing call must clear. */
static void *const anything = (void *)0x10;

static inline dqg_options *make_options(dqg_context *context, int32_t kind) {
    dqg_options *options;
    assert_ok(dqg_options_create(context, kind, &options));
    return options;
}

/* Options in one text, "name=value name=value". */
static inline void parse_options(dqg_options *options, const char *text) {
    char copy[256];
    assert_true(strlen(text) < sizeof copy);
    strcpy(copy, text);
    for (char *word = copy, *next; *word != '\0'; word = next) {
        next = word + strcspn(word, " ");
        next = *next == ' ' ? (*next = '\0', next + 1) : next;
        char *value = strchr(word, '=');
        *value = '\0';
        if (dqg_options_parse(options, word, value + 1) != DQG_OK) {
            fail_msg("%s = %s is refused", word, value + 1);
        }
    }
}

/* A contiguous F32 view. Unused sizes are 0 and end the shape. */
static inline dqg_tensor_view view_f32(void *data, int64_t d0, int64_t d1, int64_t d2, int64_t d3) {
    const int64_t sizes[4] = {d0, d1, d2, d3};
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.data = data;
    view.dtype = DQG_DTYPE_F32;
    while (view.rank < 4 && sizes[view.rank] != 0) {
        view.shape[view.rank] = sizes[view.rank];
        view.rank++;
    }
    return view;
}

/* Some channels of a batch of images of this shape. */
static inline dqg_tensor_view view_channels(float *data, const int64_t *shape, int64_t first, int64_t count) {
    int64_t plane = shape[2] * shape[3], element = (int64_t)sizeof *data;
    dqg_tensor_view view = view_f32(data + first * plane, shape[0], count, shape[2], shape[3]);
    view.strides[0] = shape[1] * plane * element;
    view.strides[1] = plane * element;
    view.strides[2] = shape[3] * element;
    view.strides[3] = element;
    return view;
}

#endif
