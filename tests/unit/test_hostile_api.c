/* SPDX-License-Identifier: MIT */
/*
 * Wrong arguments to the public functions of contexts, options, models and files: NULL, wrong record sizes, shapes,
 * types, ranges and names. Each call must return the documented status with its outputs cleared. Its
 * siblings test_hostile_scheduler.c and test_hostile_run.c do the same for schedulers, runs and quantizers.
 */
#include "check.h"
#include "failing_alloc.h"
#include "model_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct fixture {
    struct model_fixture base;
    unsigned char *bytes; /* the same file in memory */
    size_t size;
};

static void statuses_and_records(void **state) {
    (void)state;
    for (int32_t status = -120; status < 120; status++) {
        assert_true(strlen(dqg_status_text(status)) > 0);
    }
    assert_non_null(dqg_status_text(INT32_MIN));
    assert_non_null(dqg_status_text(INT32_MAX));
    assert_int_equal(dqg_version(), 1000 * (1000 * DQG_VERSION_MAJOR + DQG_VERSION_MINOR) + DQG_VERSION_PATCH);
    unsigned char bytes[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    dqg_record_init(NULL, 8);
    dqg_record_init(bytes, 3);
    assert_int_equal(bytes[0], 9);
    dqg_record_init(bytes, 7);
    assert_int_equal(bytes[0] + bytes[1] + bytes[2] + bytes[3], 7);
    assert_int_equal(bytes[6], 0);
    assert_int_equal(bytes[7], 9);
}

static void context_create(void **state) {
    (void)state;
    struct failing_alloc memory;
    dqg_allocator good, bad;
    failing_alloc_init(&memory, &good);
    assert_int_equal(dqg_context_create(NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_context_create(&good, NULL), DQG_ERROR_ARGUMENT);
    for (int i = 0; i < 5; i++) {
        dqg_context *context = anything;
        bad = good;
        switch (i) {
        case 0:
            bad.struct_size = 0;
            break;
        case 1:
            bad.struct_size = 8;
            break;
        case 2:
            bad.flags = 1;
            break;
        case 3:
            bad.allocate = NULL;
            break;
        case 4:
            bad.release = NULL;
            break;
        }
        assert_int_equal(dqg_context_create(&bad, &context), DQG_ERROR_ARGUMENT);
        assert_null(context);
    }
    assert_int_equal(failing_alloc_errors(&memory), 0);
    dqg_context_destroy(NULL);
}

static void run_all(void *user, int32_t count, dqg_task_fn fn, void *task) {
    (void)user;
    for (int32_t i = 0; i < count; i++) {
        fn(task, i);
    }
}

static void context_settings(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    assert_non_null(dqg_context_error(NULL));
    assert_string_equal(dqg_context_backend(NULL), "");
    assert_int_equal(dqg_context_set_threads(NULL, 1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_context_set_parallel(NULL, run_all, NULL, 1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_context_set_backend(NULL, "auto"), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_context_set_log(NULL, NULL, NULL, 0), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_context_set_progress(NULL, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_context_set_threads(context, -1), DQG_ERROR_RANGE);
    assert_fails(context, dqg_context_set_threads(context, 257), DQG_ERROR_RANGE);
    assert_fails(context, dqg_context_set_threads(context, INT32_MIN), DQG_ERROR_RANGE);
    assert_fails(context, dqg_context_set_parallel(context, run_all, NULL, 0), DQG_ERROR_RANGE);
    assert_fails(context, dqg_context_set_parallel(context, run_all, NULL, 257), DQG_ERROR_RANGE);
    assert_fails(context, dqg_context_set_backend(context, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_context_set_backend(context, ""), DQG_ERROR_NAME);
    assert_fails(context, dqg_context_set_backend(context, "AVX2 "), DQG_ERROR_NAME);
    assert_ok(dqg_context_set_backend(context, "scalar"));
    assert_string_equal(dqg_context_error(context), "");
    assert_string_equal(dqg_context_backend(context), "scalar");
    assert_ok(dqg_context_set_backend(context, "auto"));
    assert_string_equal(dqg_context_backend(context), dqg_backend_name(0));
    assert_null(dqg_backend_name(-1));
    assert_null(dqg_backend_name(1000));
    /* one of these belongs to another processor */
    assert_true(dqg_context_set_backend(context, "neon") == DQG_ERROR_UNSUPPORTED ||
                dqg_context_set_backend(context, "avx2") == DQG_ERROR_UNSUPPORTED);
    assert_ok(dqg_context_set_backend(context, "auto"));
    assert_ok(dqg_context_set_log(context, NULL, NULL, DQG_LOG_DEBUG));
    assert_ok(dqg_context_set_parallel(context, NULL, NULL, 1));
    assert_ok(dqg_context_set_threads(context, 1));
}

static void option_table(void **state) {
    (void)state;
    dqg_option_info row;
    DQG_INIT(&row);
    assert_int_equal(dqg_option_at(DQG_OPTIONS_RUN, 0, NULL), DQG_ERROR_ARGUMENT);
    row.struct_size = 4;
    assert_int_equal(dqg_option_at(DQG_OPTIONS_RUN, 0, &row), DQG_ERROR_ARGUMENT);
    DQG_INIT(&row);
    assert_true(dqg_option_at(0, 0, &row) < 0);
    assert_true(dqg_option_at(6, 0, &row) < 0);
    assert_int_equal(dqg_option_at(DQG_OPTIONS_RUN, -1, &row), DQG_ERROR_RANGE);
    assert_int_equal(dqg_option_at(DQG_OPTIONS_RUN, 1000, &row), DQG_ERROR_RANGE);
}

/* Values that one option refuses, whatever its type; it keeps what it had. */
static void refuse_int(dqg_context *context, dqg_options *options, const dqg_option_info *row) {
    int64_t value, before;
    assert_ok(dqg_options_get_int(options, row->key, &before));
    assert_true((double)before == row->default_value);
    if (row->minimum > -9e15) {
        assert_fails(context, dqg_options_set_int(options, row->key, (int64_t)row->minimum - 1), DQG_ERROR_RANGE);
        assert_fails(context, dqg_options_set_int(options, row->key, INT64_MIN), DQG_ERROR_RANGE);
    }
    if (row->maximum < 9e15) {
        assert_fails(context, dqg_options_set_int(options, row->key, (int64_t)row->maximum + 1), DQG_ERROR_RANGE);
        assert_fails(context, dqg_options_set_int(options, row->key, INT64_MAX), DQG_ERROR_RANGE);
    }
    assert_fails(context, dqg_options_parse(options, row->name, "1.5x"), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_options_parse(options, row->name, ""), DQG_ERROR_ARGUMENT);
    assert_true(dqg_options_parse(options, row->name, "99999999999999999999999999") < 0);
    assert_fails(context, dqg_options_set_text(options, row->key, "1"), DQG_ERROR_NAME);
    assert_ok(dqg_options_get_int(options, row->key, &value));
    assert_true(value == before);
}

static void refuse_float(dqg_context *context, dqg_options *options, const dqg_option_info *row) {
    double value;
    const double bad[] = {NAN, INFINITY, -INFINITY, nextafter(row->minimum, -INFINITY),
                          nextafter(row->maximum, INFINITY)};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_fails(context, dqg_options_set_float(options, row->key, bad[i]), DQG_ERROR_RANGE);
    }
    assert_true(dqg_options_parse(options, row->name, "nan") < 0);
    assert_true(dqg_options_parse(options, row->name, "inf") < 0);
    assert_true(dqg_options_parse(options, row->name, "1e999") < 0);
    assert_fails(context, dqg_options_parse(options, row->name, "one"), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_options_set_ints(options, row->key, (int64_t[]){1}, 1), DQG_ERROR_NAME);
    assert_ok(dqg_options_get_float(options, row->key, &value));
    assert_true(value == row->default_value);
}

static void refuse_text(dqg_context *context, dqg_options *options, const dqg_option_info *row) {
    const char *value;
    assert_fails(context, dqg_options_set_text(options, row->key, NULL), DQG_ERROR_ARGUMENT);
    if (row->choices != NULL) {
        assert_true(dqg_options_set_text(options, row->key, "no-such-choice") < 0);
        assert_true(dqg_options_set_text(options, row->key, row->choices) < 0 || strchr(row->choices, '|') == NULL);
    }
    assert_fails(context, dqg_options_set_int(options, row->key, 1), DQG_ERROR_NAME);
    assert_ok(dqg_options_get_text(options, row->key, &value));
    assert_true(row->default_text == NULL || strcmp(value, row->default_text) == 0);
    /* the empty text is fine where it is the default: it means that something else decides */
    assert_true(dqg_options_set_text(options, row->key, "") < 0 || row->default_text == NULL || value[0] == '\0');
}

static void refuse_array(dqg_context *context, dqg_options *options, const dqg_option_info *row) {
    const double bad_float[] = {1.0, NAN};
    assert_fails(context, dqg_options_parse(options, row->name, "1,,2"), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_options_parse(options, row->name, "1,x"), DQG_ERROR_ARGUMENT);
    if (row->type == DQG_TYPE_INTS) {
        assert_fails(context, dqg_options_set_ints(options, row->key, NULL, 1), DQG_ERROR_ARGUMENT);
        assert_true(dqg_options_set_ints(options, row->key, (int64_t[]){1}, -1) < 0);
        assert_fails(context, dqg_options_set_floats(options, row->key, bad_float, 1), DQG_ERROR_NAME);
        assert_ok(dqg_options_set_ints(options, row->key, NULL, 0));
    } else {
        assert_fails(context, dqg_options_set_floats(options, row->key, NULL, 1), DQG_ERROR_ARGUMENT);
        assert_true(dqg_options_set_floats(options, row->key, bad_float, -1) < 0);
        assert_fails(context, dqg_options_set_floats(options, row->key, bad_float, 2), DQG_ERROR_RANGE);
        assert_ok(dqg_options_set_floats(options, row->key, NULL, 0));
    }
}

static void every_option_refuses_bad_values(void **state) {
    struct fixture *fixture = *state;
    int rows = 0;
    for (int32_t kind = DQG_OPTIONS_MODEL; kind <= DQG_OPTIONS_SEARCH; kind++) {
        dqg_options *options;
        dqg_option_info row;
        DQG_INIT(&row);
        assert_ok(dqg_options_create(fixture->base.context, kind, &options));
        for (int32_t index = 0; dqg_option_at(kind, index, &row) == DQG_OK; index++, rows++) {
            assert_int_equal(row.kind, kind);
            assert_true(strlen(row.help) > 0 && strlen(row.name) > 0);
            switch (row.type) {
            case DQG_TYPE_INT:
                refuse_int(fixture->base.context, options, &row);
                break;
            case DQG_TYPE_FLOAT:
                refuse_float(fixture->base.context, options, &row);
                break;
            case DQG_TYPE_TEXT:
                refuse_text(fixture->base.context, options, &row);
                break;
            default:
                refuse_array(fixture->base.context, options, &row);
                break;
            }
        }
        dqg_options_destroy(options);
    }
    assert_int_equal(rows, 117); /* one for each key in the header */
}

static void options_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_options *options = anything;
    int64_t number = 7;
    double real = 7;
    const char *text = "seven";
    assert_int_equal(dqg_options_create(NULL, DQG_OPTIONS_RUN, &options), DQG_ERROR_ARGUMENT);
    assert_null(options);
    assert_fails(context, dqg_options_create(context, DQG_OPTIONS_RUN, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_options_create(context, 0, &options), DQG_ERROR_RANGE);
    assert_fails(context, dqg_options_create(context, 6, &options), DQG_ERROR_RANGE);
    assert_null(options);
    assert_ok(dqg_options_create(context, DQG_OPTIONS_RUN, &options));
    assert_fails(context, dqg_options_set_int(options, DQG_QUANTIZER_BITS, 4), DQG_ERROR_NAME);
    assert_fails(context, dqg_options_set_int(options, 0, 4), DQG_ERROR_NAME);
    assert_fails(context, dqg_options_set_int(options, INT32_MAX, 4), DQG_ERROR_NAME);
    assert_fails(context, dqg_options_parse(options, "bits", "4"), DQG_ERROR_NAME);
    assert_fails(context, dqg_options_parse(options, NULL, "4"), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_options_parse(options, "count", NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_get_int(options, DQG_RUN_COUNT, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_get_float(options, DQG_RUN_GUIDANCE, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_get_text(options, DQG_RUN_COUNT, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_get_int(options, DQG_RUN_GUIDANCE, &number), DQG_ERROR_NAME);
    assert_int_equal(dqg_options_get_float(options, DQG_RUN_COUNT, &real), DQG_ERROR_NAME);
    assert_int_equal(dqg_options_get_text(options, DQG_RUN_COUNT, &text), DQG_ERROR_NAME);
    assert_true(number == 0 && real == 0 && text == NULL);
    dqg_options_destroy(options);
    dqg_options_destroy(NULL);
    assert_int_equal(dqg_options_set_int(NULL, DQG_RUN_COUNT, 1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_set_float(NULL, DQG_RUN_GUIDANCE, 1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_set_text(NULL, DQG_SCHEDULER_SOLVER, "euler"), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_set_ints(NULL, DQG_RUN_SEEDS, &number, 1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_set_floats(NULL, DQG_SCHEDULER_SIGMAS, &real, 1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_parse(NULL, "count", "1"), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_get_int(NULL, DQG_RUN_COUNT, &number), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_get_float(NULL, DQG_RUN_GUIDANCE, &real), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_options_get_text(NULL, DQG_SCHEDULER_SOLVER, &text), DQG_ERROR_ARGUMENT);
}

static int32_t read_fixture(void *user, uint64_t offset, void *buffer, size_t size) {
    const struct fixture *fixture = user;
    assert_true(offset <= fixture->size && size <= fixture->size - offset);
    memcpy(buffer, fixture->bytes + offset, size);
    return 0;
}

static int32_t read_nothing(void *user, uint64_t offset, void *buffer, size_t size) {
    (void)user, (void)offset, (void)buffer, (void)size;
    return 5;
}

static void model_load_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_model *model = anything;
    dqg_options *wrong;
    char path[256];
    assert_int_equal(dqg_model_load(NULL, fixture->base.path, NULL, &model), DQG_ERROR_ARGUMENT);
    assert_null(model);
    model = anything;
    assert_fails(context, dqg_model_load(context, NULL, NULL, &model), DQG_ERROR_ARGUMENT);
    assert_null(model);
    assert_fails(context, dqg_model_load(context, fixture->base.path, NULL, NULL), DQG_ERROR_ARGUMENT);
    tiny_path(path, sizeof(path), fixture->base.directory, "missing.dqg");
    assert_fails(context, dqg_model_load(context, path, NULL, &model), DQG_ERROR_NOT_FOUND);
    assert_non_null(strstr(dqg_context_error(context), "missing.dqg"));
    assert_true(dqg_model_load(context, fixture->base.directory, NULL, &model) < 0);
    assert_true(dqg_model_load(context, "", NULL, &model) < 0);
    assert_ok(dqg_options_create(context, DQG_OPTIONS_RUN, &wrong));
    assert_fails(context, dqg_model_load(context, fixture->base.path, wrong, &model), DQG_ERROR_ARGUMENT);
    dqg_options_destroy(wrong);
    assert_ok(dqg_options_create(context, DQG_OPTIONS_MODEL, &wrong));
    assert_ok(dqg_options_set_int(wrong, DQG_MODEL_MEMORY_LIMIT, 1000));
    assert_fails(context, dqg_model_load(context, fixture->base.path, wrong, &model), DQG_ERROR_LIMIT);
    dqg_options_destroy(wrong);
    assert_null(model);

    assert_int_equal(dqg_model_load_memory(NULL, fixture->bytes, fixture->size, NULL, &model), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_load_memory(context, NULL, 8, NULL, &model), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_load_memory(context, fixture->bytes, 8, NULL, NULL), DQG_ERROR_ARGUMENT);
    for (size_t size = 0; size < fixture->size; size += size < 64 ? 1 : 9973) {
        model = anything;
        assert_true(dqg_model_load_memory(context, fixture->bytes, size, NULL, &model) < 0);
        assert_null(model);
        assert_true(strlen(dqg_context_error(context)) > 8);
    }
    assert_ok(dqg_model_load_memory(context, fixture->bytes, fixture->size, NULL, &model));
    dqg_model_release(model);
}

static void reader_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_model *model = anything;
    dqg_reader reader, bad;
    DQG_INIT(&reader);
    reader.size = fixture->size;
    reader.read = read_fixture;
    reader.user = fixture;
    assert_int_equal(dqg_model_load_reader(NULL, &reader, NULL, &model), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_load_reader(context, NULL, NULL, &model), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_load_reader(context, &reader, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_file_verify(NULL, fixture->base.path), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_file_verify(context, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_file_verify(context, "/nonexistent/file"), DQG_ERROR_NOT_FOUND);
    assert_int_equal(dqg_file_verify_reader(NULL, &reader), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_file_verify_reader(context, NULL), DQG_ERROR_ARGUMENT);
    for (int i = 0; i < 5; i++) {
        dqg_status expected = DQG_ERROR_ARGUMENT;
        bad = reader;
        switch (i) {
        case 0:
            bad.struct_size = 0;
            break;
        case 1:
            bad.struct_size = 16;
            break;
        case 2:
            bad.flags = 4;
            break;
        case 3:
            bad.read = NULL;
            break;
        case 4:
            bad.read = read_nothing;
            expected = DQG_ERROR_IO;
            break;
        }
        model = anything;
        assert_fails(context, dqg_model_load_reader(context, &bad, NULL, &model), expected);
        assert_null(model);
        assert_fails(context, dqg_file_verify_reader(context, &bad), expected);
    }
    assert_ok(dqg_file_verify_reader(context, &reader));
    assert_ok(dqg_model_load_reader(context, &reader, NULL, &model));
    dqg_model_release(model);
}

static void model_getters(void **state) {
    struct fixture *fixture = *state;
    dqg_model *model = fixture->base.model;
    dqg_model_info info;
    dqg_tensor_info tensor;
    const char *key = anything, *value = anything;
    DQG_INIT(&info);
    DQG_INIT(&tensor);
    dqg_model_retain(NULL);
    dqg_model_release(NULL);
    assert_int_equal(dqg_model_get_info(NULL, &info), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_get_info(model, NULL), DQG_ERROR_ARGUMENT);
    info.struct_size = 4;
    assert_int_equal(dqg_model_get_info(model, &info), DQG_ERROR_ARGUMENT);
    DQG_INIT(&info);
    assert_ok(dqg_model_get_info(model, &info));
    assert_int_equal(info.classes, 5);
    memset(&info, 0x55, sizeof(info)); /* a caller with an older, shorter record */
    info.struct_size = offsetof(dqg_model_info, width);
    assert_ok(dqg_model_get_info(model, &info));
    assert_int_equal(info.height, 8);
    assert_int_equal(info.width, 0x55555555);
    assert_null(dqg_model_class_name(NULL, 0));
    assert_null(dqg_model_class_name(model, -1));
    assert_null(dqg_model_class_name(model, 5));
    assert_string_equal(dqg_model_class_name(model, 4), "class4");
    assert_int_equal(dqg_model_class_find(NULL, "class1"), -1);
    assert_int_equal(dqg_model_class_find(model, NULL), -1);
    assert_int_equal(dqg_model_class_find(model, "class"), -1);
    assert_int_equal(dqg_model_class_find(model, "class3"), 3);
    assert_int_equal(dqg_model_metadata_at(NULL, 0, &key, &value), DQG_ERROR_ARGUMENT);
    assert_true(key == NULL && value == NULL);
    assert_int_equal(dqg_model_metadata_at(model, 0, NULL, &value), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_metadata_at(model, -1, &key, &value), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_metadata_at(model, 10000, &key, &value), DQG_ERROR_RANGE);
    assert_null(dqg_model_metadata(NULL, "license"));
    assert_null(dqg_model_metadata(model, NULL));
    assert_null(dqg_model_metadata(model, "no such key"));
    assert_int_equal(dqg_model_tensor_at(NULL, 0, &tensor), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_tensor_at(model, 0, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_tensor_at(model, -1, &tensor), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_tensor_at(model, 1 << 20, &tensor), DQG_ERROR_RANGE);
    tensor.struct_size = 4;
    assert_int_equal(dqg_model_tensor_at(model, 0, &tensor), DQG_ERROR_ARGUMENT);
}

/* Every way to spoil a view that must be (2, 4, 8, 8) floats. Returns false when there are no more. */
static int spoil(dqg_tensor_view *view, float *data, int how) {
    *view = view_f32(data, 2, 4, 8, 8);
    switch (how) {
    case 0:
        view->struct_size = 0;
        return 1;
    case 1:
        view->struct_size = 40;
        return 1;
    case 2:
        view->flags = 1;
        return 1;
    case 3:
        view->data = NULL;
        return 1;
    case 4:
        view->dtype = DQG_DTYPE_U8;
        return 1;
    case 5:
        view->dtype = 0;
        return 1;
    case 6:
        view->dtype = DQG_DTYPE_INT4;
        return 1;
    case 7:
        view->rank = 3;
        return 1;
    case 8:
        view->rank = -1;
        return 1;
    case 9:
        view->rank = DQG_MAX_RANK + 1;
        return 1;
    case 10:
        view->shape[0] = 0;
        return 1;
    case 11:
        view->shape[1] = 3;
        return 1;
    case 12:
        view->shape[3] = -8;
        return 1;
    case 13:
        view->shape[2] = INT64_MAX;
        return 1;
    case 14:
        view->rank = INT32_MAX;
        return 1;
    default:
        return 0;
    }
}

static void evaluate_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_model *model = fixture->base.model;
    static float x[512], y[512];
    const double times[2] = {500, 1};
    const int32_t labels[2] = {0, 4}, too_large[2] = {0, 5}, too_small[2] = {-2, 0};
    dqg_tensor_view input = view_f32(x, 2, 4, 8, 8), output = view_f32(y, 2, 4, 8, 8), bad;
    assert_int_equal(dqg_model_evaluate(NULL, model, &input, times, labels, NULL, NULL, &output), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_evaluate(context, NULL, &input, times, labels, NULL, NULL, &output),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_evaluate(context, model, NULL, times, labels, NULL, NULL, &output),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_evaluate(context, model, &input, NULL, labels, NULL, NULL, &output),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_evaluate(context, model, &input, times, NULL, NULL, NULL, &output),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_evaluate(context, model, &input, times, labels, NULL, NULL, NULL),
                 DQG_ERROR_ARGUMENT);
    for (int how = 0; spoil(&bad, x, how); how++) {
        assert_fails(context, dqg_model_evaluate(context, model, &bad, times, labels, NULL, NULL, &output),
                     DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_model_evaluate(context, model, &input, times, labels, NULL, NULL, &bad),
                     DQG_ERROR_ARGUMENT);
    }
    assert_fails(context, dqg_model_evaluate(context, model, &input, times, too_large, NULL, NULL, &output),
                 DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_evaluate(context, model, &input, times, too_small, NULL, NULL, &output),
                 DQG_ERROR_RANGE);
    assert_ok(dqg_model_evaluate(context, model, &input, times, labels, NULL, NULL, &output));
}

static void read_tensor_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    static float data[64 * 4 * 2 * 2];
    const char *name = "x_embedder.proj.weight";
    dqg_tensor_view view = view_f32(data, 64, 4, 2, 2), bad;
    assert_int_equal(dqg_model_read_tensor(NULL, fixture->base.model, name, &view), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_read_tensor(context, NULL, name, &view), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_read_tensor(context, fixture->base.model, NULL, &view), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_read_tensor(context, fixture->base.model, name, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_read_tensor(context, fixture->base.model, "x_embedder", &view), DQG_ERROR_NAME);
    for (int how = 0; spoil(&bad, data, how); how++) {
        assert_fails(context, dqg_model_read_tensor(context, fixture->base.model, name, &bad), DQG_ERROR_ARGUMENT);
    }
    assert_ok(dqg_model_read_tensor(context, fixture->base.model, name, &view));
}

static void memory_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_memory_info info;
    DQG_INIT(&info);
    assert_int_equal(dqg_model_memory(NULL, fixture->base.model, NULL, NULL, &info), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_memory(context, NULL, NULL, NULL, &info), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_memory(context, fixture->base.model, NULL, NULL, NULL), DQG_ERROR_ARGUMENT);
    info.struct_size = 4;
    assert_fails(context, dqg_model_memory(context, fixture->base.model, NULL, NULL, &info), DQG_ERROR_ARGUMENT);
    DQG_INIT(&info);
    assert_ok(dqg_model_memory(context, fixture->base.model, NULL, NULL, &info));
    assert_true(info.run_bytes > 1000 && info.model_bytes > 500000);
}

static int setup(void **state) {
    static struct fixture fixture;
    *state = &fixture;
    fixture.bytes = tiny_dit_build(64, 2, 4, 2, 4, 8, 5, 0, 1, &fixture.size);
    return fixture.bytes == NULL || model_fixture_open(&fixture.base);
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    model_fixture_close(&fixture->base);
    free(fixture->bytes);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_and_records),
        cmocka_unit_test(context_create),
        cmocka_unit_test(context_settings),
        cmocka_unit_test(option_table),
        cmocka_unit_test(every_option_refuses_bad_values),
        cmocka_unit_test(options_arguments),
        cmocka_unit_test(model_load_arguments),
        cmocka_unit_test(reader_arguments),
        cmocka_unit_test(model_getters),
        cmocka_unit_test(evaluate_arguments),
        cmocka_unit_test(read_tensor_arguments),
        cmocka_unit_test(memory_arguments),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
