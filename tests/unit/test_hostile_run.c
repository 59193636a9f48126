/* SPDX-License-Identifier: MIT */
/*
 * Wrong arguments to the public functions of runs and quantizers. After every refused call a run must still give the
 * result of one that was never disturbed.
 */
#include "check.h"
#include "model_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STEPS = 4, FLOATS = 2 * 4 * 8 * 8 };

struct fixture {
    struct model_fixture base;
    dqg_scheduler *scheduler;
};

static dqg_run *make_run(struct fixture *fixture) {
    dqg_run *run;
    dqg_options *options = make_options(fixture->base.context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_set_int(options, DQG_RUN_COUNT, 2));
    assert_ok(dqg_run_create(fixture->base.context, fixture->base.model, fixture->scheduler, options, &run));
    dqg_options_destroy(options);
    return run;
}

static void expect_run(struct fixture *fixture, const char *name, const char *value, dqg_status expected) {
    dqg_run *run = anything;
    dqg_options *options = make_options(fixture->base.context, DQG_OPTIONS_RUN);
    dqg_status status = dqg_options_parse(options, name, value);
    if (status == DQG_OK) {
        status = dqg_run_create(fixture->base.context, fixture->base.model, NULL, options, &run);
        if (status == DQG_OK) {
            dqg_run_destroy(run);
        } else {
            assert_null(run);
        }
    }
    if (status != expected) {
        fail_msg("%s = %s: status %d, not %d", name, value, (int)status, (int)expected);
    }
    assert_true(status == DQG_OK || strlen(dqg_context_error(fixture->base.context)) > 8);
    dqg_options_destroy(options);
}

static void run_create_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_run *run = anything;
    dqg_options *wrong = make_options(context, DQG_OPTIONS_SCHEDULER);
    assert_int_equal(dqg_run_create(NULL, fixture->base.model, NULL, NULL, &run), DQG_ERROR_ARGUMENT);
    assert_null(run);
    assert_fails(context, dqg_run_create(context, NULL, NULL, NULL, &run), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_create(context, fixture->base.model, NULL, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_create(context, fixture->base.model, NULL, wrong, &run), DQG_ERROR_ARGUMENT);
    dqg_options_destroy(wrong);
    expect_run(fixture, "classes", "4", DQG_OK);
    expect_run(fixture, "classes", "-1", DQG_OK);
    expect_run(fixture, "classes", "5", DQG_ERROR_RANGE);
    expect_run(fixture, "classes", "-2", DQG_ERROR_RANGE);
    expect_run(fixture, "height", "12", DQG_OK);
    expect_run(fixture, "run-memory-limit", "1000", DQG_ERROR_LIMIT);
    const struct {
        const char *name, *value;
    } refused[] = {{"classes", "0,1,2"}, {"seeds", "1,2,3"}, {"height", "7"}, {"width", "1"}, {"cfg-channels", "5"}};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
        run = anything;
        dqg_status status = dqg_options_parse(options, refused[i].name, refused[i].value);
        if (status == DQG_OK) {
            status = dqg_run_create(context, fixture->base.model, NULL, options, &run);
            assert_null(run);
        }
        assert_true(status == DQG_ERROR_ARGUMENT || status == DQG_ERROR_RANGE);
        assert_true(strlen(dqg_context_error(context)) > 8);
        dqg_options_destroy(options);
    }
}

static void custom_run_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_run *run = anything;
    const int64_t good[2] = {2, 3};
    const struct {
        int64_t shape[DQG_MAX_RANK];
        int32_t rank;
    } bad[] = {{{1}, 0},
               {{1}, -1},
               {{1, 1, 1, 1, 1, 1, 1, 1}, DQG_MAX_RANK + 1},
               {{0, 3}, 2},
               {{2, -3}, 2},
               {{INT64_MAX, INT64_MAX}, 2},
               {{INT64_MAX / 4 + 2, 4}, 2},
               {{1, INT64_MAX / 2}, 2}};
    assert_int_equal(dqg_run_create_custom(NULL, fixture->scheduler, good, 2, NULL, &run), DQG_ERROR_ARGUMENT);
    assert_null(run);
    assert_fails(context, dqg_run_create_custom(context, NULL, good, 2, NULL, &run), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_create_custom(context, fixture->scheduler, NULL, 2, NULL, &run), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_create_custom(context, fixture->scheduler, good, 2, NULL, NULL), DQG_ERROR_ARGUMENT);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        run = anything;
        dqg_status status = dqg_run_create_custom(context, fixture->scheduler, bad[i].shape, bad[i].rank, NULL, &run);
        assert_true(status < 0 && status != DQG_ERROR_INTERNAL);
        assert_null(run);
        assert_true(strlen(dqg_context_error(context)) > 8);
    }
}

static void null_runs(void **state) {
    (void)state;
    float data[4];
    dqg_tensor_view view = view_f32(data, 4, 0, 0, 0);
    dqg_image_view image;
    dqg_run_info info;
    dqg_request request;
    size_t size = 5;
    DQG_INIT(&image);
    DQG_INIT(&info);
    DQG_INIT(&request);
    dqg_run_destroy(NULL);
    dqg_run_cancel(NULL);
    assert_int_equal(dqg_run_step(NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_advance(NULL, 1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_get_info(NULL, &info), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_read(NULL, DQG_SOURCE_LATENT, &view), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_write(NULL, &view), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_seek(NULL, 0), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_resize(NULL, 8, 8, NULL, 1), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_set_offset(NULL, &view), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_search(NULL, NULL, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_get_search(NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_find_noise(NULL, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_read_image(NULL, 0, DQG_SOURCE_LATENT, &image), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_request(NULL, &request, &view), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_submit(NULL, &view), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_state_size(NULL, &size), DQG_ERROR_ARGUMENT);
    assert_int_equal(size, 0);
    assert_int_equal(dqg_run_save(NULL, data, sizeof(data)), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_run_restore(NULL, data, sizeof(data)), DQG_ERROR_ARGUMENT);
}

/* Wrong views of a (2, 4, 8, 8) latent. */
static void bad_views(dqg_context *context, dqg_run *run, float *data) {
    for (int how = 0; how < 8; how++) {
        dqg_tensor_view view = view_f32(data, 2, 4, 8, 8);
        switch (how) {
        case 0:
            view.struct_size = 12;
            break;
        case 1:
            view.flags = 2;
            break;
        case 2:
            view.data = NULL;
            break;
        case 3:
            view.dtype = DQG_DTYPE_U16;
            break;
        case 4:
            view.rank = 9;
            break;
        case 5:
            view.shape[0] = 1;
            break;
        case 6:
            view.shape[3] = 9;
            break;
        case 7:
            view.rank = -4;
            break;
        }
        assert_fails(context, dqg_run_read(run, DQG_SOURCE_LATENT, &view), DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_run_write(run, &view), DQG_ERROR_ARGUMENT);
    }
    dqg_tensor_view view = view_f32(data, 2, 4, 8, 8);
    assert_fails(context, dqg_run_read(run, 2, &view), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_read(run, DQG_SOURCE_LATENT, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_write(run, NULL), DQG_ERROR_ARGUMENT);
}

static void bad_images(dqg_context *context, dqg_run *run) {
    static unsigned char pixels[8 * 8 * 4];
    for (int how = -1; how < 10; how++) {
        dqg_image_view image;
        DQG_INIT(&image);
        image.data = pixels;
        image.width = image.height = 8;
        image.channels = 4;
        image.dtype = DQG_DTYPE_U8;
        switch (how) {
        case 0:
            image.struct_size = 20;
            break;
        case 1:
            image.flags = 1;
            break;
        case 2:
            image.data = NULL;
            break;
        case 3:
            image.width = 9;
            break;
        case 4:
            image.height = -8;
            break;
        case 5:
            image.channels = 5;
            break;
        case 6:
            image.channels = 0;
            break;
        case 7:
            image.dtype = DQG_DTYPE_F16;
            break;
        case 8:
            image.alpha = 2;
            break;
        case 9:
            image.reserved = 1;
            break;
        }
        if (how < 0) {
            assert_ok(dqg_run_read_image(run, 1, DQG_SOURCE_X0, &image));
            assert_fails(context, dqg_run_read_image(run, 2, DQG_SOURCE_X0, &image), DQG_ERROR_RANGE);
            assert_fails(context, dqg_run_read_image(run, -1, DQG_SOURCE_X0, &image), DQG_ERROR_RANGE);
            assert_fails(context, dqg_run_read_image(run, 0, 5, &image), DQG_ERROR_ARGUMENT);
            image.row_stride = 31;
        }
        assert_fails(context, dqg_run_read_image(run, 0, DQG_SOURCE_X0, &image), DQG_ERROR_ARGUMENT);
    }
    assert_fails(context, dqg_run_read_image(run, 0, DQG_SOURCE_X0, NULL), DQG_ERROR_ARGUMENT);
}

/* A state of a run: every flipped byte and every wrong length is found. */
static void bad_states(struct fixture *fixture, dqg_run *run) {
    dqg_context *context = fixture->base.context;
    size_t size = 0;
    assert_fails(context, dqg_run_state_size(run, NULL), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_state_size(run, &size));
    unsigned char *saved = malloc(size);
    assert_fails(context, dqg_run_save(run, NULL, size), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_save(run, saved, size - 1), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_save(run, saved, size));
    assert_fails(context, dqg_run_restore(run, NULL, size), DQG_ERROR_ARGUMENT);
    assert_true(dqg_run_restore(run, saved, 0) < 0);
    assert_true(dqg_run_restore(run, saved, size - 1) < 0);
    for (size_t i = 0; i < size; i += i < 256 ? 1 : 61) {
        saved[i] ^= 0x40;
        dqg_status status = dqg_run_restore(run, saved, size);
        assert_true(status == DQG_ERROR_FORMAT || status == DQG_ERROR_CHECKSUM || status == DQG_ERROR_VERSION ||
                    status == DQG_ERROR_STATE);
        assert_true(strlen(dqg_context_error(context)) > 8);
        saved[i] ^= 0x40;
    }
    dqg_run *other;
    assert_ok(dqg_run_create(context, fixture->base.model, NULL, NULL, &other));
    assert_fails(context, dqg_run_restore(other, saved, size), DQG_ERROR_STATE);
    dqg_run_destroy(other);
    free(saved);
}

static void run_survives_bad_calls(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    static float expected[FLOATS], data[FLOATS], scratch[FLOATS];
    dqg_tensor_view view = view_f32(expected, 2, 4, 8, 8), scratch_view = view_f32(scratch, 2, 4, 8, 8);
    dqg_run *plain = make_run(fixture), *run = make_run(fixture);
    dqg_run_info info;
    dqg_request request;
    DQG_INIT(&request);
    while (dqg_run_step(plain) == DQG_OK) {
    }
    assert_ok(dqg_run_read(plain, DQG_SOURCE_LATENT, &view));

    dqg_status status;
    do {
        bad_views(context, run, scratch);
        bad_images(context, run);
        bad_states(fixture, run);
        DQG_INIT(&info);
        assert_fails(context, dqg_run_get_info(run, NULL), DQG_ERROR_ARGUMENT);
        info.struct_size = 4;
        assert_fails(context, dqg_run_get_info(run, &info), DQG_ERROR_ARGUMENT);
        assert_fails(context, dqg_run_advance(run, -1), DQG_ERROR_RANGE);
        assert_fails(context, dqg_run_seek(run, -1), DQG_ERROR_RANGE);
        assert_fails(context, dqg_run_seek(run, STEPS + 1), DQG_ERROR_RANGE);
        assert_fails(context, dqg_run_request(run, &request, &scratch_view), DQG_ERROR_STATE);
        assert_fails(context, dqg_run_submit(run, &scratch_view), DQG_ERROR_STATE);
        status = dqg_run_step(run);
        assert_true(status >= 0);
    } while (status != DQG_DONE);
    assert_int_equal(dqg_run_step(run), DQG_DONE);
    assert_int_equal(dqg_run_advance(run, 100), DQG_DONE);
    view.data = data;
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    assert_memory_equal(data, expected, sizeof(data));
    dqg_run_destroy(plain);
    dqg_run_destroy(run);
}

static void custom_run_order(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    const int64_t shape[2] = {1, 3};
    float data[3];
    unsigned char pixels[16];
    dqg_run *run;
    dqg_request request;
    dqg_image_view image;
    dqg_tensor_view view = view_f32(data, 1, 3, 0, 0), bad = view_f32(data, 3, 0, 0, 0);
    DQG_INIT(&request);
    DQG_INIT(&image);
    image.data = pixels;
    image.width = image.height = image.channels = 1;
    image.dtype = DQG_DTYPE_U8;
    assert_ok(dqg_run_create_custom(context, fixture->scheduler, shape, 2, NULL, &run));
    assert_fails(context, dqg_run_step(run), DQG_ERROR_STATE);
    assert_fails(context, dqg_run_advance(run, 10), DQG_ERROR_STATE);
    assert_fails(context, dqg_run_submit(run, &view), DQG_ERROR_STATE);
    assert_fails(context, dqg_run_request(run, NULL, &view), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_request(run, &request, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_request(run, &request, &bad), DQG_ERROR_ARGUMENT);
    assert_true(dqg_run_read_image(run, 0, DQG_SOURCE_LATENT, &image) < 0);
    assert_ok(dqg_run_request(run, &request, &view));
    assert_fails(context, dqg_run_submit(run, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_run_submit(run, &bad), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_run_submit(run, &view));
    assert_fails(context, dqg_run_submit(run, &view), DQG_ERROR_STATE);
    dqg_run_destroy(run);
}

static void quantizer_arguments(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_quantizer *quantizer = anything;
    dqg_options *wrong = make_options(context, DQG_OPTIONS_RUN);
    const char *text = "text";
    char out[256], missing[256];
    tiny_path(out, sizeof(out), fixture->base.directory, "out.dqg");
    tiny_path(missing, sizeof(missing), fixture->base.directory, "missing/out.dqg");
    dqg_quantizer_destroy(NULL);
    assert_int_equal(dqg_quantizer_create(NULL, NULL, &quantizer), DQG_ERROR_ARGUMENT);
    assert_null(quantizer);
    assert_fails(context, dqg_quantizer_create(context, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_quantizer_create(context, wrong, &quantizer), DQG_ERROR_ARGUMENT);
    dqg_options_destroy(wrong);
    wrong = make_options(context, DQG_OPTIONS_QUANTIZER);
    assert_fails(context, dqg_options_set_int(wrong, DQG_QUANTIZER_BITS, 7), DQG_ERROR_RANGE);
    assert_fails(context, dqg_options_parse(wrong, "group", "33"), DQG_ERROR_RANGE);
    dqg_options_destroy(wrong);
    assert_int_equal(dqg_quantizer_add_rule(NULL, "*", "int8"), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_quantizer_set_metadata(NULL, "key", "value"), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_quantizer_run(NULL, fixture->base.path, out), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_quantizer_report(NULL, DQG_REPORT_TEXT, &text), DQG_ERROR_ARGUMENT);
    assert_null(text);
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    static const char *const formats[] = {"",
                                          "int7",
                                          "int4:",
                                          "int4:33",
                                          "int4:0",
                                          "int4:-32",
                                          "int8:32",
                                          "INT4",
                                          "int4:32 ",
                                          "f16:32",
                                          "int4:99999999999999999999"};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        assert_fails(context, dqg_quantizer_add_rule(quantizer, "*", formats[i]), DQG_ERROR_NAME);
    }
    assert_fails(context, dqg_quantizer_add_rule(quantizer, NULL, "int8"), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_quantizer_add_rule(quantizer, "*", NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_quantizer_set_metadata(quantizer, NULL, "value"), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_quantizer_set_metadata(quantizer, "key", NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_quantizer_report(quantizer, DQG_REPORT_TEXT, &text), DQG_ERROR_STATE);
    assert_fails(context, dqg_quantizer_run(quantizer, NULL, out), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_quantizer_run(quantizer, fixture->base.path, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_quantizer_run(quantizer, missing, out), DQG_ERROR_NOT_FOUND);
    assert_int_not_equal(access(out, F_OK), 0);
    assert_true(dqg_quantizer_run(quantizer, fixture->base.path, missing) < 0);
    assert_true(dqg_quantizer_run(quantizer, fixture->base.path, fixture->base.directory) < 0);
    assert_ok(dqg_quantizer_run(quantizer, fixture->base.path, out));
    assert_fails(context, dqg_quantizer_report(quantizer, 7, &text), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_quantizer_report(quantizer, DQG_REPORT_JSON, NULL), DQG_ERROR_ARGUMENT);
    assert_ok(dqg_quantizer_report(quantizer, DQG_REPORT_JSON, &text));
    dqg_quantizer_destroy(quantizer);
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_true(dqg_quantizer_run(quantizer, out, missing) < 0); /* quantized already */
    dqg_quantizer_destroy(quantizer);
}

static int setup(void **state) {
    static struct fixture fixture;
    dqg_options *options = NULL;
    *state = &fixture;
    int failed = model_fixture_open(&fixture.base) ||
                 dqg_options_create(fixture.base.context, DQG_OPTIONS_SCHEDULER, &options) ||
                 dqg_options_set_int(options, DQG_SCHEDULER_STEPS, STEPS) ||
                 dqg_scheduler_create(fixture.base.context, options, &fixture.scheduler);
    dqg_options_destroy(options);
    return failed;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    dqg_scheduler_release(fixture->scheduler);
    model_fixture_close(&fixture->base);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_create_arguments),
        cmocka_unit_test(custom_run_arguments),
        cmocka_unit_test(null_runs),
        cmocka_unit_test(run_survives_bad_calls),
        cmocka_unit_test(custom_run_order),
        cmocka_unit_test(quantizer_arguments),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
