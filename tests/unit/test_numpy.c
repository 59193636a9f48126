/* SPDX-License-Identifier: MIT */
/* The reader of NumPy's arrays: headers of every version, types, orders, archives, and what must be refused. */
#include "io_check.h"

#include "zip_builder.h"

/* An array whose header is padded so that data begins at a multiple of 64. */
static void put_array(struct builder *file, int version, const char *header, const void *data, size_t size) {
    size_t begin = file->size, before = version == 1 ? 10 : 12;
    size_t length = (before + strlen(header) + 1 + 63) / 64 * 64 - before;
    put_literal(file, "\x93NUMPY");
    put_number(file, (uint64_t)version, 1);
    put_number(file, 0, 1);
    put_number(file, length, version == 1 ? 2 : 4);
    put(file, header, strlen(header));
    while (file->size < begin + before + length - 1) {
        put_literal(file, " ");
    }
    put_literal(file, "\n");
    put(file, data, size);
}

static const float values[6] = {0, 1, 2, 3, 4, 5};

/* file must live as long as the source. */
static dqg_status open_array(struct io_fixture *fixture, struct builder *file, const char *header, const void *data,
                             size_t size, struct dqg_source *source) {
    file->size = 0;
    put_array(file, 1, header, data, size);
    return io_open_bytes(fixture, file->bytes, file->size, source);
}

static void check_values(struct dqg_source *source, size_t tensor, const float *want) {
    float got[6];
    assert_ok(dqg_source_read(source, tensor, DQG_PLANE_CODES, 0, got, sizeof(got)));
    assert_memory_equal(got, want, sizeof(got));
}

static void reads_arrays(void **state) {
    struct io_fixture *fixture = *state;
    struct builder file;
    struct dqg_source source;
    for (int version = 1; version <= 3; version++) {
        file.size = 0;
        put_array(&file, version, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", values, 24);
        assert_int_equal(file.size, 128 + 24);
        assert_ok(io_open_bytes(fixture, file.bytes, file.size, &source));
        assert_string_equal(source.format, "NumPy");
        assert_string_equal(source.tensors[0].name, "array");
        assert_int_equal(source.tensors[0].rank, 2);
        assert_int_equal(source.tensors[0].shape[1], 3);
        check_values(&source, 0, values);
        dqg_source_close(&source);
    }
    assert_ok(open_array(fixture, &file, "{\"shape\":(2L,3L),\"fortran_order\":True,\"descr\":\"=f4\"}", values, 24,
                         &source));
    check_values(&source, 0, (float[]){0, 2, 4, 1, 3, 5});
    dqg_source_close(&source);
    assert_ok(open_array(fixture, &file, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", "\0\0\0\0\0\0\4\x40",
                         8, &source));
    assert_int_equal(source.tensors[0].rank, 0);
    assert_int_equal(source.tensors[0].dtype, DQG_DTYPE_F32);
    float scalar;
    assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 0, &scalar, 4));
    assert_true(scalar == 2.5f);
    dqg_source_close(&source);
}

static void reads_archives(void **state) {
    struct io_fixture *fixture = *state;
    struct zip_builder zip = {.count = 0};
    struct builder file = {.size = 0};
    struct dqg_source source;
    put_array(&file, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", values, 24);
    put_zip_entry(&zip, "first.npy", file.bytes, file.size);
    put_zip_entry(&zip, "second.part.npy", file.bytes, file.size);
    put_zip_entry(&zip, "note.txt", "?", 1);
    put_zip_end(&zip, false);
    assert_ok(io_open_bytes(fixture, zip.file.bytes, zip.file.size, &source));
    assert_int_equal(source.tensor_count, 2);
    assert_int_equal(dqg_source_find(&source, "first"), 0);
    assert_int_equal(dqg_source_find(&source, "second.part"), 1);
    check_values(&source, 1, values);
    dqg_source_close(&source);
    while (zip.file.size > 0) {
        zip.file.size--;
        assert_true(io_load_bytes(fixture, zip.file.bytes, zip.file.size) < 0);
    }
    zip = (struct zip_builder){.method = 8};
    put_zip_entry(&zip, "a.npy", file.bytes, file.size);
    put_zip_end(&zip, false);
    assert_int_equal(io_load_bytes(fixture, zip.file.bytes, zip.file.size), DQG_ERROR_UNSUPPORTED);
    assert_non_null(strstr(dqg_context_error(fixture->context), "compressed"));
}

static void refuses_others(void **state) {
    static const struct {
        const char *header;
        size_t size;
        dqg_status status;
    } arrays[] = {
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", 3, DQG_OK},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (0, 3)}", 0, DQG_OK},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (6,)}", 24, DQG_ERROR_UNSUPPORTED},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", 24, DQG_ERROR_UNSUPPORTED},
        {"{'descr': '<U4', 'fortran_order': False, 'shape': (1,)}", 16, DQG_ERROR_UNSUPPORTED},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", 23, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-6,)}", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6)", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False}", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': None, 'shape': (6,)}", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} + 1", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 6)}", 24, DQG_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", 0, DQG_ERROR_FORMAT},
        {"", 24, DQG_ERROR_FORMAT},
    };
    struct io_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
        struct builder file = {.size = 0};
        put_array(&file, 1, arrays[i].header, values, arrays[i].size);
        dqg_status status = io_load_bytes(fixture, file.bytes, file.size);
        if (status != arrays[i].status) {
            fail_msg("%s gives %d: %s", arrays[i].header, (int)status, dqg_context_error(fixture->context));
        }
    }
    struct builder file = {.size = 0};
    put_array(&file, 2, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", values, 24);
    while (file.size > 0) {
        file.size--;
        assert_true(io_load_bytes(fixture, file.bytes, file.size) < 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_arrays, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(reads_archives, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_others, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
