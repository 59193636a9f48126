/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints that parse but lie: every byte of a safetensors header replaced, whole values replaced by extremes. A
 * load either fails with a status and a message, or gives a model that runs.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "failing_alloc.h"
#include "tiny_model.h"

static struct failing_alloc memory;
static dqg_context *context;
static int loaded;
static int refused;

static int setup(void **state) {
    dqg_allocator allocator;
    (void)state;
    failing_alloc_init(&memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    return dqg_context_set_threads(context, 1);
}

static int teardown(void **state) {
    (void)state;
    dqg_context_destroy(context);
    printf("%d loaded, %d refused\n", loaded, refused);
    return failing_alloc_errors(&memory);
}

/* Use a model that loaded: two steps with guidance. A lie about sizes may ask for much: the limit keeps the test small.
 */
static void use_model(dqg_model *model) {
    dqg_options *options;
    dqg_run *run;
    const int64_t class_index = 0;
    assert_ok(dqg_options_create(context, DQG_OPTIONS_RUN, &options));
    assert_ok(dqg_options_set_ints(options, DQG_RUN_CLASSES, &class_index, 1));
    assert_ok(dqg_options_set_float(options, DQG_RUN_GUIDANCE, 2.0));
    assert_ok(dqg_options_set_int(options, DQG_RUN_MEMORY_LIMIT, 16 << 20));
    dqg_status status = dqg_run_create(context, model, NULL, options, &run);
    if (status == DQG_OK) {
        assert_true(dqg_run_step(run) >= 0);
        assert_true(dqg_run_step(run) >= 0);
        dqg_run_destroy(run);
    } else {
        assert_true(strlen(dqg_context_error(context)) > 8);
        assert_int_not_equal(status, DQG_ERROR_INTERNAL);
    }
    dqg_options_destroy(options);
}

static void try_file(const unsigned char *file, size_t size) {
    dqg_model *model;
    dqg_status status = dqg_model_load_memory(context, file, size, NULL, &model);
    if (status == DQG_OK) {
        loaded++;
        if (loaded % 16 == 0) {
            use_model(model);
        }
        dqg_model_release(model);
        return;
    }
    refused++;
    assert_null(model);
    assert_true(status < 0 && status != DQG_ERROR_INTERNAL);
    assert_true(strlen(dqg_context_error(context)) > 8);
}

static size_t header_size(const unsigned char *file) {
    size_t size = 0;
    for (int i = 7; i >= 0; i--) {
        size = size << 8 | file[i];
    }
    return 8 + size;
}

static void test_bytes(void **state) {
    static const unsigned char replacements[] = {'0', '9', '"', '}', ',', '-', 0x80};
    size_t size;
    unsigned char *file = tiny_dit_build(32, 1, 2, 2, 4, 4, 3, 0, 1, &size);
    (void)state;
    assert_non_null(file);
    for (size_t i = 0; i < header_size(file); i++) {
        for (size_t r = 0; r < sizeof replacements; r++) {
            unsigned char kept = file[i];
            file[i] = replacements[r];
            try_file(file, size);
            file[i] = kept;
        }
    }
    free(file);
}

/* Replace text in the header, padding with spaces or refusing where it grows. */
static void replace_text(const unsigned char *file, size_t size, const char *from, const char *to) {
    size_t header = header_size(file);
    size_t length = strlen(from);
    unsigned char *copy = malloc(size);
    memcpy(copy, file, size);
    for (size_t i = 8; i + length <= header; i++) {
        if (memcmp(copy + i, from, length) == 0 && strlen(to) <= length) {
            memset(copy + i, ' ', length);
            memcpy(copy + i, to, strlen(to));
        }
    }
    try_file(copy, size);
    free(copy);
}

static void test_values(void **state) {
    static const char *const swaps[][2] = {
        {"blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.w"},
        {"blocks.0.attn.proj.bias\"", "blocks.1.attn.proj.bias\""},
        {"[1,4,32]", "[4,1,32]"},
        {"[1,4,32]", "[1,128]"},
        {"[32,4,2,2]", "[32,2,4,2]"},
        {"[32,4,2,2]", "[32,16]"},
        {"[32,4,2,2]", "[4,32,2,2]"},
        {"[32,4,2,2]", "[512]"},
        {"[4,32]", "[32,4]"},
        {"[4,32]", "[128]"},
        {"[16,32]", "[32,16]"},
        {"[16,32]", "[512,1]"},
        {"[192,32]", "[32,192]"},
        {"[32,256]", "[256,32]"},
        {"\"num_heads\": \"2\"", "\"num_heads\": \"0\""},
        {"\"num_heads\":\"2\"", "\"num_heads\":\"0\""},
        {"\"num_heads\":\"2\"", "\"num_heads\":\"7\""},
        {"\"num_heads\":\"2\"", "\"num_heads\":\"-\""},
        {"F32", "I32"},
        {"F32", "U32"},
        {"F32", "F16"},
    };
    size_t size;
    unsigned char *file = tiny_dit_build(32, 1, 2, 2, 4, 4, 3, 0, 1, &size);
    (void)state;
    assert_non_null(file);
    for (size_t i = 0; i < sizeof swaps / sizeof swaps[0]; i++) {
        replace_text(file, size, swaps[i][0], swaps[i][1]);
    }
    for (size_t cut = 0; cut < size; cut += 997) {
        try_file(file, cut);
    }
    free(file);
}

static void test_junk(void **state) {
    unsigned char junk[4096];
    uint32_t x = 12345;
    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t size = (size_t)(round * 7) % sizeof junk;
        for (size_t i = 0; i < size; i++) {
            x = x * 1664525u + 1013904223u;
            junk[i] = (unsigned char)(x >> 24);
        }
        if (round % 3 == 0 && size >= 8) {
            memcpy(junk,
                   "\x89"
                   "DQG\r\n\x1a\n",
                   8);
        } else if (round % 3 == 1 && size >= 9) {
            memset(junk, 0, 8);
            junk[0] = (unsigned char)(size / 2);
            junk[8] = '{';
        }
        try_file(junk, size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_junk),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
