/* SPDX-License-Identifier: MIT */
/*
 * The .dqg writer when things go wrong: whatever fails, and wherever, no file is left behind and an older one is
 * untouched.
 */
#include "container_file.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const char old_text[] = "what was here before";

static void check_untouched(struct io_fixture *fixture, const char *path) {
    size_t size;
    uint8_t *bytes = io_read_file(path, &size);
    assert_int_equal(size, sizeof(old_text));
    assert_memory_equal(bytes, old_text, size);
    assert_int_equal(io_files(fixture, false), 1);
    free(bytes);
}

static void replaces_an_older_file_only_when_finished(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[SMALL_TENSORS];
    struct dqg_writer *writer;
    struct dqg_source source;
    uint64_t size;
    struct stat about;
    const char *path = io_path(fixture, "target.dqg");
    describe_small(tensors);
    io_write_file(path, old_text, sizeof(old_text));
    assert_ok(dqg_writer_create(fixture->context, path, tensors, SMALL_TENSORS, NULL, 0, 3, &writer));
    assert_int_equal(io_files(fixture, false), 2);
    assert_ok(write_planes(writer, tensors, SMALL_TENSORS));
    dqg_writer_abandon(writer);
    check_untouched(fixture, path);

    mode_t mask = umask(027);
    assert_ok(dqg_writer_create(fixture->context, path, tensors, SMALL_TENSORS, NULL, 0, 3, &writer));
    umask(mask);
    assert_ok(write_planes(writer, tensors, SMALL_TENSORS));
    assert_ok(dqg_writer_finish(writer, &size));
    assert_int_equal(dqg_writer_finish(writer, &size), DQG_ERROR_STATE);
    assert_int_equal(size, 0);
    dqg_writer_abandon(writer);
    dqg_writer_abandon(NULL);
    dqg_error_clear(fixture->context);
    assert_int_equal(io_files(fixture, false), 1);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
    assert_ok(dqg_source_open_path(fixture->context, path, &source));
    assert_ok(dqg_source_verify(&source));
    dqg_source_close(&source);
}

static void survives_failing_allocations(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[SMALL_TENSORS];
    const char *path = io_path(fixture, "target.dqg");
    int64_t n = 0;
    describe_small(tensors);
    io_write_file(path, old_text, sizeof(old_text));
    int64_t before = fixture->memory.live_blocks;
    for (dqg_status status = DQG_ERROR_MEMORY; status != DQG_OK;) {
        check_untouched(fixture, path);
        fixture->memory.fail_at = ++n;
        status = write_container(fixture->context, path, tensors, SMALL_TENSORS);
        assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
        assert_true(status == DQG_OK || strstr(dqg_context_error(fixture->context), "memory") != NULL);
        assert_int_equal(fixture->memory.live_blocks, before);
    }
    assert_true(n > 8);
    assert_int_equal(io_files(fixture, false), 1);
}

/* The size limit of a process stands in for a full disk: writing past it fails like one. */
static void survives_a_full_disk(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[SMALL_TENSORS];
    struct rlimit before, limit;
    const char *path = io_path(fixture, "target.dqg");
    rlim_t size = 0;
    dqg_status status = DQG_ERROR_IO;
    describe_small(tensors);
    io_write_file(path, old_text, sizeof(old_text));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    while (status != DQG_OK) {
        limit = before;
        limit.rlim_cur = size;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        status = write_container(fixture->context, path, tensors, SMALL_TENSORS);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        if (status != DQG_OK) {
            assert_int_equal(status, DQG_ERROR_IO);
            assert_non_null(strstr(dqg_context_error(fixture->context), path));
            check_untouched(fixture, path);
        }
        size += 97;
        assert_true(size < 100000);
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(io_files(fixture, false), 1);
}

static void refuses_places_it_cannot_write_to(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensor = describe("a", DQG_DTYPE_F32, 0, 1, 1, 0, 0);
    dqg_context *context = fixture->context;
    assert_fails(context, write_container(context, io_path(fixture, "none/x.dqg"), &tensor, 1), DQG_ERROR_IO);
    assert_fails(context, write_container(context, fixture->folder, &tensor, 1), DQG_ERROR_IO);
    assert_fails(context, write_container(context, "", &tensor, 1), DQG_ERROR_IO);
    assert_int_equal(io_files(fixture, false), 0);
}

static dqg_status create(struct io_fixture *fixture, const struct dqg_tensor_desc *tensors, size_t count,
                         const struct dqg_metadata *metadata, size_t metadata_count) {
    struct dqg_writer *writer;
    dqg_error_clear(fixture->context);
    dqg_status status = dqg_writer_create(fixture->context, io_path(fixture, "x.dqg"), tensors, count, metadata,
                                          metadata_count, 3, &writer);
    assert_true((writer != NULL) == (status == DQG_OK));
    assert_true(status == DQG_OK || strlen(dqg_context_error(fixture->context)) > 10);
    dqg_writer_abandon(writer);
    assert_int_equal(io_files(fixture, false), 0);
    return status;
}

static void refuses_descriptions_that_no_reader_would_take(void **state) {
    struct io_fixture *fixture = *state;
    const struct dqg_tensor_desc good = describe("a", DQG_DTYPE_INT4, 32, 2, 4, 40, 0);
    struct dqg_tensor_desc bad[2] = {good, good};
    struct dqg_metadata metadata = {"key", "value"};
    char long_name[1026];
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';

    assert_int_equal(create(fixture, bad, 1, &metadata, 1), DQG_OK);
    assert_int_equal(create(fixture, bad, 2, NULL, 0), DQG_ERROR_ARGUMENT); /* one name twice */
    bad[0].name = "";
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_ARGUMENT);
    bad[0].name = NULL;
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_ARGUMENT);
    bad[0].name = long_name;
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_ARGUMENT);
    bad[0].name = long_name + 1;
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_OK);
    bad[0].name = "\xc3";
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_ARGUMENT);
    bad[0] = good;
    bad[0].dtype = DQG_DTYPE_U8;
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_UNSUPPORTED);
    bad[0] = good;
    bad[0].group = 16;
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_FORMAT);
    bad[0] = good;
    bad[0].rank = 9;
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_FORMAT);
    bad[0] = good;
    bad[0].shape[1] = -40;
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_FORMAT);
    bad[0] = good;
    bad[0].plane_bytes[DQG_PLANE_SCALES]++;
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_ARGUMENT);
    bad[0] = describe("huge", DQG_DTYPE_F32, 0, 2, INT64_C(1) << 28, INT64_C(1) << 28, 0);
    assert_int_equal(create(fixture, bad, 1, NULL, 0), DQG_ERROR_LIMIT);
    metadata.key = "";
    assert_int_equal(create(fixture, &good, 1, &metadata, 1), DQG_ERROR_ARGUMENT);
    metadata.key = "\xff";
    assert_int_equal(create(fixture, &good, 1, &metadata, 1), DQG_ERROR_ARGUMENT);
    metadata.key = "key";
    metadata.value = NULL;
    assert_int_equal(create(fixture, &good, 1, &metadata, 1), DQG_ERROR_ARGUMENT);
}

/* After a refused plane the writer cannot go on: the file would have a hole. */
static void refuses_planes_out_of_order(void **state) {
    static const struct {
        size_t tensor;
        enum dqg_plane plane;
        size_t size;
        float scale;
        dqg_status status;
    } calls[] = {
        {0, DQG_PLANE_SCALES, 64, 0.5f, DQG_ERROR_STATE},        {1, DQG_PLANE_CODES, 128, 0.5f, DQG_ERROR_STATE},
        {2, DQG_PLANE_CODES, 128, 0.5f, DQG_ERROR_STATE},        {0, DQG_PLANE_COUNT, 128, 0.5f, DQG_ERROR_STATE},
        {0, DQG_PLANE_CODES, 127, 0.5f, DQG_ERROR_ARGUMENT},     {0, DQG_PLANE_CODES, 128, NAN, DQG_ERROR_ARGUMENT},
        {0, DQG_PLANE_CODES, 128, INFINITY, DQG_ERROR_ARGUMENT},
    };
    struct io_fixture *fixture = *state;
    const struct dqg_tensor_desc tensors[2] = {describe("a", DQG_DTYPE_INT8, 0, 2, 2, 8, 0),
                                               describe("b", DQG_DTYPE_F32, 0, 1, 32, 0, 0)};
    const char *path = io_path(fixture, "x.dqg");
    const uint8_t data[128] = {0};
    uint64_t stored, size;
    struct dqg_writer *writer;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        assert_ok(dqg_writer_create(fixture->context, path, tensors, 2, NULL, 0, 3, &writer));
        dqg_error_clear(fixture->context);
        assert_fails(
            fixture->context,
            dqg_writer_plane(writer, calls[i].tensor, calls[i].plane, data, calls[i].size, calls[i].scale, &stored),
            calls[i].status);
        assert_int_equal(dqg_writer_plane(writer, 0, DQG_PLANE_CODES, data, 128, 0.5f, &stored), DQG_ERROR_STATE);
        assert_int_equal(dqg_writer_finish(writer, &size), DQG_ERROR_STATE);
        dqg_writer_abandon(writer);
        assert_int_equal(io_files(fixture, false), 0);
    }
    assert_ok(dqg_writer_create(fixture->context, path, tensors, 2, NULL, 0, 3, &writer));
    assert_ok(dqg_writer_plane(writer, 0, DQG_PLANE_CODES, data, 128, 0.5f, &stored));
    assert_int_equal(dqg_writer_plane(writer, 0, DQG_PLANE_SCALES, data, 64, 0.25f, &stored), DQG_ERROR_ARGUMENT);
    dqg_writer_abandon(writer);
    assert_ok(dqg_writer_create(fixture->context, path, tensors + 1, 1, NULL, 0, 3, &writer));
    assert_int_equal(dqg_writer_plane(writer, 0, DQG_PLANE_CODES, data, 128, 0.5f, &stored), DQG_ERROR_ARGUMENT);
    dqg_writer_abandon(writer);
    assert_ok(dqg_writer_create(fixture->context, path, tensors, 2, NULL, 0, 3, &writer));
    assert_int_equal(dqg_writer_finish(writer, &size), DQG_ERROR_STATE);
    dqg_writer_abandon(writer);
}

/* What does not compress is stored as it is; levels outside zstd's range are brought into it. */
static void compresses_where_that_helps(void **state) {
    struct io_fixture *fixture = *state;
    const struct dqg_tensor_desc tensor = describe("a", DQG_DTYPE_F32, 0, 1, 300000, 0, 0);
    const size_t size = 1200000;
    uint8_t *data = calloc(1, size);
    for (int step = 0; step < 5; step++) {
        static const int32_t levels[5] = {3, INT32_MIN, INT32_MAX, 0, 3};
        struct dqg_writer *writer;
        uint64_t stored, file_bytes;
        uint64_t random = 1;
        for (size_t i = 0; step >= 3 && i < size; i++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            data[i] = (uint8_t)(random >> 56);
        }
        memset(data, 0, step == 4 ? size / 100 : 0); /* saves one part in a hundred: not enough */
        assert_ok(
            dqg_writer_create(fixture->context, io_path(fixture, "x.dqg"), &tensor, 1, NULL, 0, levels[step], &writer));
        assert_ok(dqg_writer_plane(writer, 0, DQG_PLANE_CODES, data, size, 1.0f, &stored));
        assert_ok(dqg_writer_finish(writer, &file_bytes));
        dqg_writer_abandon(writer);
        assert_true(stored <= size);
        assert_true(step == 1 || (step >= 3 ? stored == size : stored < size / 100));
    }
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replaces_an_older_file_only_when_finished, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_a_full_disk, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_places_it_cannot_write_to, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_descriptions_that_no_reader_would_take, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_planes_out_of_order, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(compresses_where_that_helps, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
