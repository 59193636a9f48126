/* SPDX-License-Identifier: MIT */
/* Wrong arguments of the calls on text encoders; text encoders where images are made; damaged files of them. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "failing_alloc.h"
#include "tiny_model.h"

enum { TOKENS = 7, COLUMNS = 64 };

static struct failing_alloc memory;
static dqg_context *context;
static dqg_model *clip, *t5, *dit;
static float rows_data[2 * TOKENS * COLUMNS], pooled_data[2 * COLUMNS];
static const int32_t ids[2 * TOKENS] = {48, 3, 4, 49, 49, 49, 49, 48, 9, 9, 9, 9, 9, 9};

static dqg_status encode(const dqg_model *model, const int32_t *lengths, const dqg_text_settings *settings) {
    dqg_tensor_view rows = view_f32(rows_data, 2, TOKENS, COLUMNS, 0), pooled = view_f32(pooled_data, 2, COLUMNS, 0, 0);
    return dqg_model_encode_tokens(context, model, ids, 2, TOKENS, lengths, settings, &rows, &pooled);
}

static void test_arguments(void **state) {
    dqg_tensor_view rows = view_f32(rows_data, 2, TOKENS, COLUMNS, 0), bad = view_f32(rows_data, 2, COLUMNS, TOKENS, 0);
    const int32_t outside[2] = {0, 50}, lengths[2] = {1, TOKENS + 1};
    (void)state;
    assert_ok(encode(clip, NULL, NULL));
    assert_int_equal(dqg_model_encode_tokens(NULL, clip, ids, 2, TOKENS, NULL, NULL, &rows, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_tokens(context, NULL, ids, 2, TOKENS, NULL, NULL, &rows, NULL),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_tokens(context, clip, NULL, 2, TOKENS, NULL, NULL, &rows, NULL),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_tokens(context, clip, ids, 2, TOKENS, NULL, NULL, NULL, NULL),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_tokens(context, clip, ids, 2, TOKENS, NULL, NULL, &bad, NULL),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_tokens(context, clip, ids, 0, TOKENS, NULL, NULL, &rows, NULL),
                 DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_encode_tokens(context, clip, ids, 4097, TOKENS, NULL, NULL, &rows, NULL),
                 DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_encode_tokens(context, clip, ids, 1, 0, NULL, NULL, &rows, NULL), DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_encode_tokens(context, clip, ids, 1, 13, NULL, NULL, &rows, NULL), DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_encode_tokens(context, t5, ids, 1, 65537, NULL, NULL, &rows, NULL),
                 DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_encode_tokens(context, clip, outside, 1, 2, NULL, NULL, &rows, NULL),
                 DQG_ERROR_RANGE);
    assert_fails(context, encode(clip, lengths, NULL), DQG_ERROR_RANGE);
    assert_fails(context, encode(t5, NULL, NULL), DQG_ERROR_UNSUPPORTED); /* a pooled row */
    assert_fails(context, encode(dit, NULL, NULL), DQG_ERROR_UNSUPPORTED);
}

static void test_settings(void **state) {
    dqg_text_settings settings;
    (void)state;
    DQG_INIT(&settings);
    settings.skip = 3;
    assert_ok(encode(clip, NULL, &settings));
    settings.skip = 4;
    assert_fails(context, encode(clip, NULL, &settings), DQG_ERROR_RANGE);
    settings.skip = -1;
    assert_fails(context, encode(clip, NULL, &settings), DQG_ERROR_RANGE);
    DQG_INIT(&settings);
    settings.end_token = 50;
    assert_fails(context, encode(clip, NULL, &settings), DQG_ERROR_RANGE);
    DQG_INIT(&settings);
    settings.flags = 4;
    assert_fails(context, encode(clip, NULL, &settings), DQG_ERROR_ARGUMENT);
    DQG_INIT(&settings);
    settings.role = "clip_2";
    assert_fails(context, encode(clip, NULL, &settings), DQG_ERROR_NAME);
    settings.role = "clip";
    assert_ok(encode(clip, NULL, &settings));
    settings.struct_size = 8;
    assert_fails(context, encode(clip, NULL, &settings), DQG_ERROR_ARGUMENT);
}

static void test_info(void **state) {
    dqg_text_info info;
    (void)state;
    DQG_INIT(&info);
    assert_ok(dqg_model_text_at(clip, 0, &info));
    assert_int_equal(info.columns, COLUMNS);
    assert_int_equal(info.tokens, 12);
    assert_int_equal(info.vocabulary, 50);
    assert_int_equal(info.layers, 3);
    assert_string_equal(info.role, "clip");
    assert_int_equal(dqg_model_text_at(clip, 1, &info), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_text_at(clip, -1, &info), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_text_at(dit, 0, &info), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_text_at(NULL, 0, &info), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_text_at(clip, 0, NULL), DQG_ERROR_ARGUMENT);
}

/* What makes images refuses what makes none. */
static void test_not_a_denoiser(void **state) {
    dqg_run *run;
    dqg_scheduler *scheduler;
    dqg_memory_info needed;
    dqg_tensor_view x = view_f32(rows_data, 1, 1, 1, 7);
    dqg_feature_spec spec;
    const double times[1] = {0};
    const int32_t labels[1] = {0};
    (void)state;
    assert_fails(context, dqg_run_create(context, clip, NULL, NULL, &run), DQG_ERROR_UNSUPPORTED);
    assert_null(run);
    DQG_INIT(&needed);
    assert_fails(context, dqg_model_memory(context, t5, NULL, NULL, &needed), DQG_ERROR_UNSUPPORTED);
    assert_fails(context, dqg_model_evaluate(context, clip, &x, times, labels, NULL, NULL, &x), DQG_ERROR_UNSUPPORTED);
    DQG_INIT(&spec);
    assert_ok(dqg_scheduler_create(context, NULL, &scheduler));
    assert_fails(context, dqg_model_features(context, clip, scheduler, &x, &spec, NULL, NULL, NULL, NULL),
                 DQG_ERROR_UNSUPPORTED);
    dqg_scheduler_release(scheduler);
}

/* Every allocation of a call fails once. */
static void test_memory(void **state) {
    dqg_status status = DQG_ERROR_MEMORY;
    (void)state;
    for (int64_t i = 1; status == DQG_ERROR_MEMORY; i++) {
        memory.fail_at = i;
        status = encode(clip, NULL, NULL);
        memory.fail_at = 0;
        assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
        assert_true(i < 10000);
    }
}

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(*size);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

/* Digits of shapes and letters of names in the header replaced: refused with words, or a model that encodes. */
static void test_damaged(void **state) {
    static const char *const paths[] = {"tests/golden/encoders/clip_deep.safetensors",
                                        "tests/golden/encoders/t5_odd.safetensors"};
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        size_t size;
        unsigned char *file = read_file(paths[p], &size);
        size_t header = 8 + (size_t)(file[0] | file[1] << 8);
        for (size_t i = 8; i < header; i += 3) {
            unsigned char kept = file[i];
            dqg_model *model;
            file[i] = kept == '1' ? '2' : '1';
            if (dqg_model_load_memory(context, file, size, NULL, &model) == DQG_OK) {
                dqg_status status = encode(model, NULL, NULL);
                assert_int_not_equal(status, DQG_ERROR_INTERNAL);
                dqg_model_release(model);
            } else {
                assert_true(strlen(dqg_context_error(context)) > 8);
            }
            file[i] = kept;
        }
        free(file);
    }
}

static int setup(void **state) {
    dqg_allocator allocator;
    unsigned char *file;
    size_t size;
    (void)state;
    failing_alloc_init(&memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    assert_ok(dqg_context_set_threads(context, 1));
    assert_ok(dqg_model_load(context, "tests/golden/encoders/clip_deep.safetensors", NULL, &clip));
    assert_ok(dqg_model_load(context, "tests/golden/encoders/t5_odd.safetensors", NULL, &t5));
    file = tiny_dit_build(32, 1, 2, 2, 4, 4, 3, 0, 1, &size);
    assert_ok(dqg_model_load_memory(context, file, size, NULL, &dit));
    free(file);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    dqg_model_release(clip);
    dqg_model_release(t5);
    dqg_model_release(dit);
    dqg_context_destroy(context);
    return failing_alloc_errors(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),      cmocka_unit_test(test_settings), cmocka_unit_test(test_info),
        cmocka_unit_test(test_not_a_denoiser), cmocka_unit_test(test_memory),   cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
