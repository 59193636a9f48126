/* SPDX-License-Identifier: MIT */
/* Sources made of others: renamed, put together from rows, halves exchanged, transposed; and what is refused. */
#include "io_check.h"

#define HEADER                                                                                                         \
    "{\"q\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"                                              \
    "\"k\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[24,36]},"                                              \
    "\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[36,44]}}"

enum { FILE_BYTES = 8 + sizeof(HEADER) - 1 + 44 };
static uint8_t file[FILE_BYTES];

static void make_file(void) {
    const uint64_t length = sizeof(HEADER) - 1;
    memcpy(file, &length, 8);
    memcpy(file + 8, HEADER, length);
    for (int i = 0; i < 9; i++) {
        float value = (float)i;
        memcpy(file + 8 + length + 4 * i, &value, 4);
    }
    memcpy(file + 8 + length + 36, "\0\x3c\0\x40\0\x42\0\x44", 8); /* 1 2 3 4 */
}

static void open_twice(struct io_fixture *fixture, struct dqg_source inner[2]) {
    assert_ok(io_open_bytes(fixture, file, sizeof(file), &inner[0]));
    assert_ok(io_open_bytes(fixture, file, sizeof(file), &inner[1]));
}

static struct dqg_tensor_desc described(const char *name, int32_t dtype, int32_t rank, int64_t rows, int64_t columns) {
    struct dqg_tensor_desc desc = {.name = name, .dtype = dtype, .rank = rank, .shape = {rows, columns}, .scale = 1};
    desc.plane_bytes[0] = (uint64_t)(rows * (rank > 1 ? columns : 1) * (dtype == DQG_DTYPE_F32 ? 4 : 2));
    return desc;
}

static void assert_values(struct dqg_source *source, const char *name, const float *want, size_t count) {
    int64_t at = dqg_source_find(source, name);
    assert_true(at >= 0);
    float got[16];
    assert_ok(dqg_source_read(source, (size_t)at, DQG_PLANE_CODES, 0, got, count * sizeof(float)));
    assert_memory_equal(got, want, count * sizeof(float));
}

static void test_pieces(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source inner[2], source;
    open_twice(fixture, inner);
    size_t q = (size_t)dqg_source_find(&inner[0], "q"), k = (size_t)dqg_source_find(&inner[0], "k");
    size_t h = (size_t)dqg_source_find(&inner[0], "h");
    const struct dqg_part joined[] = {{0, q, 0, 24}, {1, k, 0, 12}}, halves[] = {{1, q, 12, 12}, {1, q, 0, 12}};
    const struct dqg_part whole = {0, q, 0, 24}, half = {1, h, 0, 8};
    const struct dqg_mapping mappings[] = {{described("qk", DQG_DTYPE_F32, 2, 3, 3), joined, 2, false},
                                           {described("swapped", DQG_DTYPE_F32, 2, 2, 3), halves, 2, false},
                                           {described("across", DQG_DTYPE_F32, 2, 3, 2), &whole, 1, true},
                                           {described("flat", DQG_DTYPE_F32, 1, 6, 1), &whole, 1, false},
                                           {described("h", DQG_DTYPE_F16, 2, 2, 2), &half, 1, false}};
    const struct dqg_metadata metadata = {"key", "value"};
    assert_ok(dqg_source_open_mapped(fixture->context, inner, 2, true, mappings, 5, &metadata, 1, &source));
    assert_string_equal(dqg_source_metadata(&source, "key"), "value");
    assert_values(&source, "qk", (const float[]){0, 1, 2, 3, 4, 5, 6, 7, 8}, 9);
    assert_values(&source, "swapped", (const float[]){3, 4, 5, 0, 1, 2}, 6);
    assert_values(&source, "across", (const float[]){0, 3, 1, 4, 2, 5}, 6);
    assert_values(&source, "flat", (const float[]){0, 1, 2, 3, 4, 5}, 6);
    float part[2];
    size_t at = (size_t)dqg_source_find(&source, "qk");
    assert_ok(dqg_source_read(&source, at, DQG_PLANE_CODES, 20, part, 8)); /* over the seam */
    assert_true(part[0] == 5 && part[1] == 6);
    at = (size_t)dqg_source_find(&source, "across");
    assert_int_equal(dqg_source_read(&source, at, DQG_PLANE_CODES, 4, part, 8), DQG_ERROR_UNSUPPORTED);
    assert_ok(io_read_planes(&source));
    assert_ok(dqg_source_verify(&source));
    dqg_source_close(&source);
}

static void refuse(struct io_fixture *fixture, struct dqg_mapping first, struct dqg_mapping second, dqg_status want) {
    struct dqg_source inner[2], source;
    const struct dqg_mapping mappings[] = {first, second};
    open_twice(fixture, inner);
    assert_int_equal(dqg_source_open_mapped(fixture->context, inner, 2, true, mappings, 2, NULL, 0, &source), want);
}

static void test_refused(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source inner[2];
    open_twice(fixture, inner);
    size_t q = (size_t)dqg_source_find(&inner[0], "q"), h = (size_t)dqg_source_find(&inner[0], "h");
    dqg_source_close(&inner[0]);
    dqg_source_close(&inner[1]);
    const struct dqg_part whole = {0, q, 0, 24}, mixed[] = {{0, q, 0, 24}, {0, h, 0, 8}};
    struct dqg_mapping good = {described("a", DQG_DTYPE_F32, 2, 2, 3), &whole, 1, false}, bad = good;
    refuse(fixture, good, bad, DQG_ERROR_FORMAT); /* two of one name */
    bad.desc = described("b", DQG_DTYPE_F32, 2, 2, 2);
    refuse(fixture, good, bad, DQG_ERROR_FORMAT);
    bad = (struct dqg_mapping){described("b", DQG_DTYPE_F32, 2, 4, 2), mixed, 2, false};
    refuse(fixture, good, bad, DQG_ERROR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pieces, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(test_refused, io_setup, io_teardown),
    };
    make_file();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
